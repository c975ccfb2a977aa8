"""``healthseg init`` on exports of billing and CRM systems: ends, cents, test mode, deleted rows, currencies."""

from __future__ import annotations

import json
from pathlib import Path

import healthseg as hs
from healthseg.data.exports.portfolio_file import write_portfolio
from tests.data.test_init import EXPORTS, rows_of, write


def test_ends_of_a_last_subscription_are_churn_and_others_are_not(tmp_path: Path) -> None:
    header = (EXPORTS / "stripe" / "subscriptions.csv").read_text().splitlines()[0]
    ended = "s{n},cus_{c},,,P,1,usd,month,10.00,canceled,2024-01-05 10:00,2024-01-05 10:00,,2025-02-05 10:00,,,,2025-02-05 10:00"
    live = "s{n},cus_{c},,,P,1,usd,month,10.00,active,2024-01-05 10:00,2024-01-05 10:00,,2025-09-05 10:00,,,,"
    rows = [
        ended.format(n=1, c=1),
        live.format(n=2, c=1),
        ended.format(n=3, c=2),
        live.format(n=4, c=3),
    ]
    write(tmp_path, subscriptions__csv="\n".join([header, *rows, ""]))
    write_portfolio([tmp_path], tmp_path)
    assert "no table lists the customers" in (tmp_path / "portfolio.toml").read_text("utf-8")
    changes = rows_of(tmp_path, "arr_changes")
    assert changes == [("cus_2", "2025-02-05 10:00", 0, "churn")]


def test_cents_are_asked_about_only_where_no_amount_has_decimals(tmp_path: Path) -> None:
    source = (EXPORTS / "stripe" / "subscriptions.csv").read_text()
    write(tmp_path / "cents", subscriptions__csv=source.replace(".00,", "00,"))
    write(tmp_path / "units", subscriptions__csv=source)
    questions = [
        write_portfolio([tmp_path / name], tmp_path / name).decisions for name in ("cents", "units")
    ]
    assert ["cents" in " ".join(decisions) for decisions in questions] == [True, False]


def test_the_apis_subscriptions_are_in_cents_except_where_a_currency_has_none(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "id": f"sub_{currency}",
            "customer": f"cus_{currency}",
            "status": "active",
            "currency": currency,
            "created": 1_700_000_000,
            "start_date": 1_700_000_000,
            "current_period_end": 1_760_000_000,
            "quantity": 3,
            "plan": {
                "id": "p",
                "amount": 2500,
                "currency": currency,
                "interval": interval,
                "interval_count": count,
            },
        }
        for currency, interval, count in (
            ("eur", "month", 1),
            ("jpy", "year", 1),
            ("usd", "month", 3),
        )
    ]
    write(tmp_path, subscriptions__jsonl="\n".join(map(json.dumps, rows)))
    write_portfolio([tmp_path], tmp_path)
    contracts = hs.Portfolio.open(tmp_path).table("contracts").set_index("client_id")
    assert dict(contracts["arr"]) == {"cus_eur": 900, "cus_jpy": 7500, "cus_usd": 300}
    assert str(contracts["starts_on"].iloc[0])[:10] == "2023-11-14"


STRIPE = "id,Customer ID,Plan,Quantity,Currency,Interval,Amount,Status,Coupon,Created (UTC),Start Date (UTC),Current Period End (UTC),Cancel At Period End,Canceled At (UTC),Ended At (UTC)"


def test_a_subscription_cancelled_at_the_end_of_its_period_ends_there(tmp_path: Path) -> None:
    rows = [
        "s1,cus_1,P,2,usd,month,10.50,active,,2024-01-05 10:00,2024-01-05 10:00,2025-03-05 10:00,true,2025-02-11 09:00,",
        "s2,cus_2,P,1,usd,year,100.50,active,,2024-01-05 10:00,2024-01-05 10:00,2026-01-05 10:00,false,,",
        "s3,cus_3,P,,usd,month,10.50,canceled,,2024-01-05 10:00,2024-01-05 10:00,2024-07-05 10:00,true,2024-06-20 09:00,2024-07-05 10:00",
        "s4,cus_4,P,1,usd,month,10.50,active,TEN,2024-01-05 10:00,2024-01-05 10:00,2025-03-05 10:00,false,2025-02-01 10:00,",
        "s5,cus_5,P,1,usd,month,10.50,unpaid,,2024-01-05 10:00,2024-01-05 10:00,2025-03-05 10:00,false,,",
        "s6,cus_6,P,1,usd,month,10.50,trialing,,2024-01-05 10:00,2024-01-05 10:00,2025-03-05 10:00,false,,",
    ]
    write(tmp_path, subscriptions__csv="\n".join([STRIPE, *rows, ""]))
    decisions = " ".join(write_portfolio([tmp_path], tmp_path).decisions)
    for question in (
        "1 rows are paused or unpaid",
        "1 rows have a coupon",
        "1 rows were cancelled",
    ):
        assert question in decisions and f"DECIDE: {question}" in written(tmp_path)
    contracts = hs.Portfolio.open(tmp_path).table("contracts").set_index("client_id")
    assert dict(contracts["arr"]) == {
        "cus_1": 252,
        "cus_2": 100.5,
        "cus_3": 126,
        "cus_4": 126,
        "cus_5": 126,
    }
    ends = contracts["ends_on"].astype(str).str[:10]
    assert (ends["cus_1"], ends["cus_3"]) == ("2025-03-05", "2024-07-05")
    assert contracts["ends_on"].isna().sum() == 3
    renews = contracts["auto_renews"]
    assert (bool(renews["cus_1"]), bool(renews["cus_2"])) == (False, True)


def test_an_export_without_ends_has_those_of_cancelled_subscriptions(tmp_path: Path) -> None:
    rows = [
        "s1,cus_1,P,1,usd,month,10.50,canceled,2024-01-05 10:00,2024-07-05 10:00,2024-06-20 09:00",
        "s2,cus_2,P,1,usd,month,10.50,active,2024-01-05 10:00,2024-07-05 10:00,",
    ]
    header = "id,Customer ID,Plan,Quantity,Currency,Interval,Amount,Status,Created (UTC),Current Period End (UTC),Canceled At (UTC)"
    write(tmp_path, subscriptions__csv="\n".join([header, *rows, ""]))
    write_portfolio([tmp_path], tmp_path)
    contracts = hs.Portfolio.open(tmp_path).table("contracts").set_index("client_id")
    assert str(contracts["ends_on"]["cus_1"])[:10] == "2024-06-20"
    assert contracts["ends_on"].isna()["cus_2"]


def written(folder: Path) -> str:
    return (folder / "portfolio.toml").read_text("utf-8")


def test_the_apis_test_mode_is_left_out_and_planned_ends_are_read(tmp_path: Path) -> None:
    plan = {"id": "p", "amount": 1000, "currency": "usd", "interval": "month", "interval_count": 1}
    row = {
        "status": "active",
        "currency": "usd",
        "created": 1_700_000_000,
        "start_date": 1_700_000_000,
        "current_period_end": 1_760_000_000,
        "cancel_at_period_end": False,
        "cancel_at": None,
        "canceled_at": None,
        "ended_at": None,
        "livemode": True,
        "quantity": 1,
        "plan": plan,
    }
    changes = (
        {},
        {"livemode": False},
        {"cancel_at": 1_770_000_000, "canceled_at": 1_750_000_000},
        {"cancel_at_period_end": True, "canceled_at": 1_750_000_000},
    )
    rows = [
        row | {"id": f"sub_{n}", "customer": f"cus_{n}"} | change
        for n, change in enumerate(changes)
    ]
    write(tmp_path, subscriptions__jsonl="\n".join(map(json.dumps, rows)))
    write_portfolio([tmp_path], tmp_path)
    assert "1 of 4 rows are left out: they are of Stripe's test mode" in written(tmp_path)
    contracts = hs.Portfolio.open(tmp_path).table("contracts").set_index("client_id")
    assert list(contracts.index) == ["cus_0", "cus_2", "cus_3"]
    ends = contracts["ends_on"].dropna().astype(str).str[:10]
    assert dict(ends) == {"cus_2": "2026-02-02", "cus_3": "2025-10-09"}
    assert list(contracts["auto_renews"].astype(bool)) == [True, False, False]


def test_deleted_rows_are_left_out_currencies_read_and_tests_asked_about(tmp_path: Path) -> None:
    header = "Id,IsDeleted,Name,Type,OwnerId,CreatedDate,Industry,ARR__c,CurrencyIsoCode"
    row = (
        "{id},{deleted},{name},Customer - Direct,o1,2024-01-10T09:12:00.000Z,Media,{arr},{currency}"
    )
    names = ("Alder", "Bay Test Account", "Contest GmbH", "Dune")
    accounts = [
        row.format(
            id=f"A{n}", deleted=str(n == 3).lower(), name=name, arr=1000 * (n + 1), currency=code
        )
        for n, (name, code) in enumerate(zip(names, ("EUR", "USD", "EUR", "EUR"), strict=True))
    ]
    deals = [
        "O1,false,A0,Unterzeichnet,1200,2024-02-01,true,USD",
        "O2,true,A0,Unterzeichnet,9900,2024-02-01,true,USD",
        "O3,false,A1,Verloren,500,2024-02-01,false,USD",
    ]
    write(
        tmp_path,
        Account__csv="\n".join([header, *accounts, ""]),
        Opportunity__csv="\n".join(
            ["Id,IsDeleted,AccountId,StageName,Amount,CloseDate,IsWon,CurrencyIsoCode", *deals, ""]
        ),
    )
    decisions = " ".join(write_portfolio([tmp_path], tmp_path).decisions)
    assert "1 rows have a name as tests have" in decisions
    assert "1 of 4 rows are left out: they are in the recycle bin" in written(tmp_path)
    portfolio = hs.Portfolio.open(tmp_path)
    customers = portfolio.table("customers").set_index("client_id")
    assert dict(customers["currency"]) == {"A0": "EUR", "A1": "USD", "A2": "EUR"}
    contracts = portfolio.table("contracts")
    assert contracts[["client_id", "arr", "currency"]].values.tolist() == [["A0", 1200, "USD"]]
