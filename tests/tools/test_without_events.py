"""The start from a CRM alone, portfolios of one customer and of none, a customer that has only just signed up."""

from __future__ import annotations

import datetime as dt
import io
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import ClientNotFound, DataRetrievalError, HealthsegError, InvalidParameters
from healthseg.reports import registry
from healthseg.reports.batches.run import BatchProgress
from healthseg.testing import tiny_portfolio
from healthseg.tools import TOOLS
from tests.reports.asked import asked_of

TODAY = dt.datetime(2025, 10, 10, 12, tzinfo=dt.UTC)
CUSTOMERS = pd.DataFrame(
    {
        "client_id": [1001, 1002, 1003],
        "name": ["Acme", "Beta", "Zeta"],
        "signup_date": ["2023-02-01", "2024-05-01", "2025-09-20"],
        "plan": ["pro", "pro", "basic"],
    }
)
CONTRACTS = pd.DataFrame(
    {
        "client_id": [1001, 1001, 1002, 1003, 1003],
        "starts_on": ["2024-02-01", "2025-02-01", "2025-05-01", "2025-09-20", "2026-01-01"],
        "ends_on": ["2025-02-01", "2026-02-01", "2025-11-01", "2026-01-01", "2027-01-01"],
        "arr": [10_000, 12_000, 40_000, 5_000, 6_000],
        "seats": [10, 12, 40, 5, 5],
    }
)
INVOICES = pd.DataFrame(
    {
        "invoice_id": ["a", "b"],
        "client_id": [1001, 1002],
        "amount": [1000, 4000],
        "issued_on": ["2025-08-01", "2025-08-01"],
        "due_on": ["2025-09-01", "2025-09-01"],
        "paid_on": ["2025-08-20", None],
    }
)
NEED_EVENTS = {name for name, tool in TOOLS.items() if "events" in tool.needs}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEALTHSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def crm():
    tables = {"customers": CUSTOMERS, "contracts": CONTRACTS, "invoices": INVOICES}
    return hs.Portfolio.open(tables, clock=lambda: TODAY)


def answer(name: str, portfolio: hs.Portfolio, client_id: str) -> dict:
    """A tool's response as JSON holds it; of a tool that needs events the error."""
    try:
        result = registry.response(name, portfolio, asked_of(name, client_id))
    except HealthsegError as problem:
        return problem.to_dict()
    return json.loads(json.dumps(result.to_dict(), default=str))


def test_the_last_recorded_day_is_the_last_day_and_later_ones_are_plans(crm):
    assert crm.data_until == crm.as_of() == dt.date(2025, 9, 20)
    later = hs.Portfolio.open(
        {"customers": CUSTOMERS, "contracts": CONTRACTS},
        {"data_until": "2025-10-31"},
        lambda: TODAY,
    )
    assert later.as_of("2025-10-15") == dt.date(2025, 10, 15)
    with pytest.raises(
        InvalidParameters, match="the setting data_until reads them as of a later day"
    ):
        crm.as_of("2025-10-01")


@pytest.mark.parametrize("name", sorted(registry.names()))
def test_every_tool_answers_from_contracts_or_names_the_table_that_it_needs(crm, name):
    response = answer(name, crm, "1001")
    if name in NEED_EVENTS:
        assert (
            "has no table events: it needs client_id and occurred_at" in response["error_message"]
        )
    else:
        assert response.get("status") != "error", response


@pytest.mark.parametrize("name", ["health", "lifecycle", "milestones", "tiers"])
def test_portfolio_functions_answer_from_contracts(crm, name):
    result = getattr(hs, f"portfolio_{name}")(crm)
    assert result.as_of == crm.data_until and "nan" not in str(result).lower().split()


def test_tiers_renewals_and_payment_are_those_of_the_tables(crm):
    tiers = hs.segment_by_value_tier(crm)
    assert tiers.to_dict()["total_arr"] == 57_000 if "total_arr" in tiers.to_dict() else True
    panel = hs.panel(crm, ["2025-09-20"]).set_index("client_id")
    assert panel["arr"].to_dict() == {"1001": 12_000, "1002": 40_000, "1003": 5_000}
    assert panel.loc["1002", "days_to_renewal"] == 42
    assert panel["person_events_28d"].isna().all() if "person_events_28d" in panel else True


def test_a_score_that_is_withheld_names_the_tables_that_would_bring_it(crm):
    health = hs.calculate_health_score(crm, 1002)
    would = "the table events would bring 60% of the inputs, tickets 15%, surveys 15%"
    assert health.not_measured["$.current_health_score"] == (
        f"withheld: nothing is known of usage and engagement; {would}"
    )
    assert str(health.verdict()).startswith(f"Beta: no score, 10% of the inputs are known; {would}")
    assert ", in 42 days" in health.verdict()
    whole = hs.portfolio_health(crm).not_measured["$.customers[*].score"]
    assert whole.endswith(f"because too little is known of them; {would}")
    (day,) = (text for text in health.warnings if "last day of the data" in text)
    assert "it is 20 Sep 2025" in day


@pytest.mark.parametrize("rows", [0, 1])
def test_a_portfolio_of_none_and_of_one_breaks_nothing(rows):
    portfolio = hs.Portfolio.open({"customers": CUSTOMERS.head(rows)}, clock=lambda: TODAY)
    assert len(portfolio) == rows and bool(portfolio)
    for name in ("health", "lifecycle", "milestones", "tiers") if not rows else ("health",):
        getattr(hs, f"portfolio_{name}")(portfolio).to_dict()
    assert portfolio.check().usable
    if not rows:
        assert "the portfolio is empty" in portfolio.check().to_text()
        with pytest.raises(ClientNotFound):
            hs.calculate_health_score(portfolio, 1001)


def test_a_batch_leaves_out_the_tools_whose_tables_are_missing(crm):
    stream = io.StringIO()
    tools = registry.answerable(crm)
    assert set(tools) == set(TOOLS) - NEED_EVENTS
    BatchProgress(stream=stream).leave_out([name for name in registry.names() if name not in tools])
    assert stream.getvalue().startswith(
        "left out, without events: track_usage_engagement, track_feature"
    )


def test_only_what_is_needed_is_read(tmp_path):
    CUSTOMERS.to_csv(tmp_path / "customers.csv", index=False)
    (tmp_path / "events.parquet").write_bytes(b"not read, and no table")
    portfolio = hs.Portfolio.open(tmp_path)
    assert portfolio.table("customers")["client_id"].tolist() == ["1001", "1002", "1003"]
    assert {
        path.name.split("-")[0] for path in (portfolio.root / ".healthseg" / "tables").iterdir()
    } <= {
        "customers",
        "copies",
    }
    with pytest.raises(
        DataRetrievalError, match=r"events .* was refused: events\.parquet is not a Parquet file"
    ):
        hs.portfolio_usage(portfolio)


def test_a_portfolio_is_a_context_and_a_collection_of_ids(crm):
    with hs.Portfolio.open({"customers": CUSTOMERS}) as portfolio:
        assert list(portfolio) == ["1001", "1002", "1003"] and len(portfolio) == 3
    for day in (
        "2025-09-01",
        dt.date(2025, 9, 1),
        dt.datetime(2025, 9, 1),
        pd.Timestamp("2025-09-01"),
    ):
        assert hs.calculate_health_score(crm, 1001, as_of=day).as_of == dt.date(2025, 9, 1)
    assert hs.calculate_health_score({"customers": CUSTOMERS}, 1001.0).client_id == "1001"
    assert len(hs.panel({"customers": CUSTOMERS}, [dt.date(2025, 9, 1)])) == 2


def young_portfolio() -> hs.Portfolio:
    """A customer of a year, and one that signed up yesterday: it has neither events nor entitlements."""
    days = [f"2025-03-{day:02d} {hour}:00" for day in range(1, 29) for hour in ("09", "23")]
    return tiny_portfolio(
        [("old", day, user, "search") for user in ("ann", "bob") for day in days],
        pd.DataFrame({"client_id": ["old", "new"], "signup_date": ["2024-01-01", "2025-03-27"]}),
        entitlements=pd.DataFrame({"client_id": ["old"], "feature": ["search"]}),
        features=pd.DataFrame({"feature": ["search"], "category": ["core"]}),
    )


@pytest.mark.slow
def test_twelve_threads_get_the_responses_of_one_for_a_customer_of_yesterday_too():
    requests = [(name, client) for client in ("new", "old") for name in registry.names()][:12]
    portfolio, barrier = young_portfolio(), Barrier(12)

    def respond(request: tuple[str, str]) -> dict:
        barrier.wait()
        return answer(request[0], portfolio, request[1])

    with ThreadPoolExecutor(12) as threads:
        responses = list(threads.map(respond, requests))
    assert not [each for each in responses if each.get("status") == "error"]
    alone = young_portfolio()
    assert responses == [answer(name, alone, client) for name, client in requests]
