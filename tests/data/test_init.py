"""``healthseg init`` from the exports of common systems, and from tables of one's own, to a first health score."""

from __future__ import annotations

import contextlib
import itertools
import json
import shlex
import sqlite3
import tomllib
from pathlib import Path

import duckdb
import pytest

import healthseg as hs
from healthseg.cli.main import main
from healthseg.data.exports.portfolio_file import Outline, write_portfolio, written_address
from healthseg.data.quality import Check
from healthseg.data.queries import parse
from healthseg.errors import DataRetrievalError, InvalidParameters
from healthseg.settings import trust
from tests.data.workbook import write_workbook

EXPORTS = Path(__file__).parents[2] / "examples" / "exports"
# systems, alone and together, and the rows that each table has afterwards
SETS = {
    "salesforce": {"customers": 6, "contracts": 18, "tickets": 26},
    "hubspot": {"customers": 6, "contracts": 18, "tickets": 26},
    "stripe": {"customers": 6, "contracts": 8, "invoices": 30},
    "chargebee": {"customers": 6, "contracts": 6, "invoices": 30},
    "zendesk": {"customers": 6, "tickets": 26},
    "intercom": {"customers": 6, "tickets": 26},
    "jira": {"customers": 6, "tickets": 26},
    "segment": {"customers": 6, "events": 367, "users": 15},
    "amplitude": {"customers": 6, "events": 367},
    "mixpanel": {"customers": 6, "events": 367},
    "posthog": {"customers": 6, "events": 367},
    "chargebee jira": {"customers": 6, "contracts": 6, "invoices": 30, "tickets": 26},
    "zendesk segment": {"customers": 6, "tickets": 26, "events": 367, "users": 15},
}
# of these the score is computed as well, by the commands that a new user is shown
SCORED = ("stripe", "posthog")
MIXED = ["salesforce", "stripe", "segment", "zendesk"]


def outline(systems: str, out: Path) -> Outline:
    return write_portfolio([EXPORTS / name for name in systems.split()], out)


def queries(out: Path) -> dict[str, str]:
    return tomllib.loads((out / "portfolio.toml").read_text(encoding="utf-8"))["tables"]


def kept_rows(check: Check) -> dict[str, int]:
    return {name: table.kept for name, table in check.tables.items() if table.kept}


def write(folder: Path, **files: str) -> Path:
    """Files by name, with ``__`` for the dot: ``usage__csv``."""
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def log(header: str = "account_id,timestamp,user_id,feature", *, days: range = range(1, 29)) -> str:
    """A usage log of four customers over four months."""
    rows = (
        f"C{number},2025-{month:02d}-{day:02d} 10:{number}{day % 10},u{number}{day % 2},f{day % 3}"
        for month, day, number in itertools.product((3, 4, 5, 6), days, range(1, 5))
    )
    return "\n".join([header, *rows, ""])


def accounts(header: str, *values: str) -> str:
    """Four customers; ``{n}`` in a value is the customer's number."""
    rows = (",".join(value.format(n=number) for value in values) for number in range(1, 5))
    return "\n".join([header, *rows, ""])


NAMED = accounts("account_id,name,signup_date", "C{n}", "Firm {n}", "2024-0{n}-03")


@pytest.mark.parametrize("systems", SETS)
def test_each_system_is_read_without_a_line_by_hand(systems: str, tmp_path: Path) -> None:
    outline(systems, tmp_path)
    portfolio = hs.Portfolio.open(tmp_path)
    check = portfolio.check()
    assert check.usable
    assert kept_rows(check) == SETS[systems]


@pytest.mark.parametrize("system", SCORED)
def test_the_commands_that_init_prints_lead_to_a_first_score(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [["init", str(EXPORTS / system), "--out", str(tmp_path)]]
    assert main(commands[0]) == 0
    drafted = (tmp_path / "portfolio.toml").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    (run,) = (line for line in lines if line.strip().startswith("healthseg run"))
    commands.append(shlex.split(run)[1:])
    assert main([*commands[1], "--json"]) == 0
    health = json.loads(capsys.readouterr().out)
    assert health["components"]
    assert (health["current_health_score"] is not None) == ("events" in SETS[system])
    assert len(commands) <= 3
    assert (tmp_path / "portfolio.toml").read_bytes() == drafted  # not a line by hand


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mixed")
    outline(" ".join(MIXED), out)
    return out


def test_a_crm_billing_events_and_a_help_desk_are_linked(mixed: Path) -> None:
    portfolio = hs.Portfolio.open(mixed)
    counts = kept_rows(portfolio.check())
    assert counts == {
        "customers": 6,
        "contracts": 7,
        "events": 367,
        "users": 15,
        "tickets": 22,
        "invoices": 25,
    }
    contracts = portfolio.table("contracts").set_index("client_id")
    names = portfolio.table("customers").set_index("client_id")["name"]
    arr = {names[client_id]: value for client_id, value in contracts["arr"].items()}
    assert arr["Alder & Finch"] == 12 * 12 * 45  # seats × price × months, in euros and not in cents
    dune = contracts.loc[names[names == "Dune Software"].index[0]]
    assert sorted(dune["arr"]) == [2400, 12 * 40 * 38]  # a yearly add-on is not multiplied


def test_links_are_measured_and_others_are_offered(mixed: Path) -> None:
    text = (mixed / "portfolio.toml").read_text(encoding="utf-8")
    used = "salesforce_account_id (metadata) of stripe/customers.csv = Id of salesforce/Account.csv: 5 of 6 match (83%): used"
    assert used in text
    assert (
        "-- or, Email of stripe/customers.csv = Website of salesforce/Account.csv, by domain: 6 of 6 match (100%):"
        in text
    )


def test_the_other_link_is_one_line_to_change(mixed: Path, tmp_path: Path) -> None:
    lines = (mixed / "portfolio.toml").read_text(encoding="utf-8").splitlines()
    used = lines.index('contracts = """')
    first = next(n for n, line in enumerate(lines) if n > used and line.startswith("LEFT JOIN"))
    second = next(
        n for n, line in enumerate(lines) if n > first and line.startswith("-- LEFT JOIN")
    )
    lines[first], lines[second] = f"-- {lines[first]}", lines[second].removeprefix("-- ")
    (tmp_path / "portfolio.toml").write_text("\n".join(lines), encoding="utf-8")
    trust.trust([tmp_path / "portfolio.toml"])
    counts = kept_rows(hs.Portfolio.open(tmp_path).check())
    assert counts["contracts"] == 8


def test_prospects_of_the_crm_are_no_customers(mixed: Path) -> None:
    assert "6 of 8 rows: accounts whose Type is a customer's" in (
        mixed / "portfolio.toml"
    ).read_text("utf-8")
    assert "AnnualRevenue" not in queries(mixed)["customers"]


def test_the_file_is_the_same_each_time(mixed: Path, tmp_path: Path) -> None:
    outline(" ".join(reversed(MIXED)), tmp_path)
    assert (tmp_path / "portfolio.toml").read_bytes() == (mixed / "portfolio.toml").read_bytes()


def rows_of(folder: Path, table: str) -> list[tuple]:
    query = parse(table, queries(folder)[table], [folder])
    return duckdb.sql(query.over([reference.path for reference in query.references])).fetchall()


def test_ids_of_15_and_18_characters_are_the_same_account(tmp_path: Path) -> None:
    for name in ("Account.csv", "Opportunity.csv"):
        (tmp_path / name).write_text((EXPORTS / "salesforce" / name).read_text())
    long_ids = [
        line.split(",")[2] for line in (tmp_path / "Opportunity.csv").read_text().splitlines()[1:]
    ]
    text = (tmp_path / "Opportunity.csv").read_text()
    for client_id in set(long_ids):
        text = text.replace(client_id, client_id[:15])
    (tmp_path / "Opportunity.csv").write_text(text)
    draft = write_portfolio([tmp_path], tmp_path)
    assert "by 15 characters of the id" in " ".join(draft.decisions)
    assert {row[0] for row in rows_of(tmp_path, "contracts")} <= set(long_ids)


def test_the_csv_export_of_the_help_desk_has_responses_and_satisfaction(tmp_path: Path) -> None:
    header = "Id,Requester,Requester email,Subject,Status,Priority,Created at,Organization,Solved at,Satisfaction Score,First reply time in minutes"
    row = (
        "7,Ana,ana@x.example,Help,Solved,Urgent,2025-03-01 10:00,Acme Inc,2025-03-02 10:00,Good,35"
    )
    write(
        tmp_path,
        tickets__csv=f"{header}\n{row}\n{row.replace('7,Ana', '8,Bo').replace('Good', 'Offered')}\n",
    )
    write_portfolio([tmp_path], tmp_path)
    tickets = hs.Portfolio.open(tmp_path).table("tickets").set_index("ticket_id")
    assert list(tickets["severity"]) == ["critical", "critical"]
    assert tickets.loc["7", "csat"] == 5 and tickets["csat"].isna()["8"]
    assert str(tickets.loc["7", "first_response_at"]) == "2025-03-01 10:35:00"
    assert set(tickets["client_id"]) == {"Acme_Inc"}


# Tables of one's own


def test_two_files_of_one_table_are_one_table_and_unrelated_files_are_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        customers__csv=NAMED,
        budget__csv="a,b\n1,2\n",
        empty__csv="",
        broken__parquet="x",
        notes__md="x",
    )
    write(tmp_path / "usage", **{"2024__csv": log(days=range(1, 15))})
    later = log("account_id,timestamp,user_id,feature", days=range(15, 29)).splitlines()
    write(
        tmp_path / "usage",
        **{"2025__csv": "\n".join([later[0] + ",os", *(f"{row},linux" for row in later[1:]), ""])},
    )
    draft = write_portfolio([tmp_path], tmp_path)
    assert len(rows_of(tmp_path, "events")) == 4 * 4 * 28
    unread = " ".join(draft.unread)
    for words in (
        "budget.csv is like no table",
        "empty.csv is empty",
        "broken.parquet is not a Parquet file",
        "notes.md",
    ):
        assert words in unread


def test_the_same_export_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, customers__csv=NAMED, events__csv=log())
    (tmp_path / "events (1).csv").write_text(log(), encoding="utf-8")
    write_portfolio([tmp_path], tmp_path)
    assert len(rows_of(tmp_path, "events")) == 4 * 4 * 28
    assert "448 rows are in more than one of the files" in (tmp_path / "portfolio.toml").read_text(
        "utf-8"
    )


@pytest.mark.parametrize("folder", ['it\'s a "b", $HOME {x}', "data [2025]"])
def test_names_with_quotes_blanks_and_signs_are_read(folder: str, tmp_path: Path) -> None:
    source = write(
        tmp_path / folder, **{f"{folder} customers__csv": NAMED, f"usage {folder}__csv": log()}
    )
    write_portfolio([source], tmp_path / "out")
    counts = kept_rows(hs.Portfolio.open(tmp_path / "out").check())
    assert (counts["customers"], counts["events"]) == (4, 448)


def test_dates_with_two_readings_are_asked_and_one_line_decides(tmp_path: Path) -> None:
    dates = accounts("account_id,signup_date", "C{n}", "0{n}/04/2024")
    write(tmp_path, customers__csv=dates, usage__csv=log())
    draft = write_portfolio([tmp_path], tmp_path)
    assert draft.decisions == (
        "customers: signup_date: 01/04/2024 is read day first or month first",
    )
    assert not hs.Portfolio.open(tmp_path).check().usable
    path = tmp_path / "portfolio.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next(n for n, text in enumerate(lines) if text.endswith("-- day first"))
    lines[line] = lines[line].replace("-- ", "", 1)
    path.write_text("\n".join(lines), encoding="utf-8")
    days = hs.Portfolio.open(tmp_path).table("customers")["signup_date"]
    assert [day.strftime("%d.%m.") for day in days] == ["01.04.", "02.04.", "03.04.", "04.04."]


@pytest.mark.parametrize(
    ("written", "first"),
    [("1{n}/04/2024", "2024-04-11"), ("04/1{n}/2024", "2024-04-11"), ("1{n}.04.24", "2024-04-11"), ("1{n}-Apr-2024", "2024-04-11"),
     ("1{n}/Apr/24 3:42 PM", "2024-04-11"), ("171000000{n}", "2024-03-09"), ("171000000{n}000", "2024-03-09"), ("2024/04/1{n}", "2024-04-11")],
)  # fmt: skip
def test_dates_with_one_reading_are_read(written: str, first: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        customers__csv=accounts("account_id,signup_date", "C{n}", written),
        usage__csv=log(),
    )
    assert write_portfolio([tmp_path], tmp_path).decisions == ()
    assert str(rows_of(tmp_path, "customers")[0][1])[:10] == first


@pytest.mark.parametrize(
    ("written", "first"),
    [("1{n}00.5", 1100.5), ('"1,{n}00"', None), ('"1,{n}00,000"', 1100000.0), ('"1.{n}00,50"', 1100.5), ('"$1,{n}00.50"', 1100.5),
     ('"1{n},5"', 11.5), ("1.{n}00", None), ("1 {n}00.25 €", 1100.25)],
)  # fmt: skip
def test_numbers_are_read_by_the_one_reading_of_their_column(
    written: str, first: float | None, tmp_path: Path
) -> None:
    header = "account_id,signup_date,arr"
    write(
        tmp_path, customers__csv=accounts(header, "C{n}", "2024-01-0{n}", written), usage__csv=log()
    )
    draft = write_portfolio([tmp_path], tmp_path)
    if first is None:
        assert "has two readings" in " ".join(draft.decisions)
    else:
        assert rows_of(tmp_path, "customers")[0][2] == first


def test_a_months_revenue_is_multiplied_and_said(tmp_path: Path) -> None:
    header = "account_id,name,signup_date,mrr"
    write(
        tmp_path,
        customers__csv=accounts(header, "C{n}", "F", "2024-01-0{n}", "{n}00"),
        usage__csv=log(),
    )
    write_portfolio([tmp_path], tmp_path)
    assert rows_of(tmp_path, "customers")[0][-1] == 1200
    assert "-- mrr × 12" in queries(tmp_path)["customers"]


def test_the_id_that_other_tables_refer_to_is_the_customers(tmp_path: Path) -> None:
    header = "id,account_id,name,created_at,closed_at"
    customers = accounts(header, "{n}", "C{n}", "F{n}", "2024-01-0{n}", "2025-0{n}-01")
    write(tmp_path, customers__csv=customers, usage__csv=log())
    draft = write_portfolio([tmp_path], tmp_path)
    assert [row[0] for row in rows_of(tmp_path, "customers")] == ["C1", "C2", "C3", "C4"]
    questions = " ".join(draft.decisions)
    for words in (
        "two columns could be the id",
        "created_at may be the day",
        "closed_at may be the end",
    ):
        assert words in questions


def test_small_numbers_of_two_systems_are_not_taken_for_the_same_customers(tmp_path: Path) -> None:
    write(
        tmp_path, customers__csv=accounts("id,name,signup_date", "{n}", "Firm {n}", "2024-01-0{n}")
    )
    tickets = [{"id": n, "requester_id": 1, "organization_id": n, "status": "open", "priority": "low",
                "created_at": "2025-01-01T00:00:00Z"} for n in range(1, 5)]  # fmt: skip
    write(tmp_path, tickets__jsonl="\n".join(map(json.dumps, tickets)))
    draft = write_portfolio([tmp_path], tmp_path)
    assert set(queries(tmp_path)) == {"customers"} or "tickets" not in queries(tmp_path)
    assert "both systems may count from 1" in " ".join(draft.decisions)


def test_without_customers_they_are_those_of_the_events(tmp_path: Path) -> None:
    text = log("company,event_time,email,event").replace("\nC", "\nFirm C ")
    write(tmp_path, usage__csv=text)
    draft = write_portfolio([tmp_path], tmp_path)
    assert draft.decisions[0].startswith("customers: no table lists the customers")
    assert rows_of(tmp_path, "customers") and draft.example == "Firm_C_1"
    assert hs.Portfolio.open(tmp_path).check().usable


def test_sheets_and_tables_of_database_files_are_tables(tmp_path: Path) -> None:
    rows = [line.split(",") for line in NAMED.splitlines()]
    write_workbook(tmp_path / "our crm.xlsx", {"Accounts": rows, "Notes": [["a"], ["b"]]})
    fill(tmp_path / "product.sqlite", usage=log())
    draft = write_portfolio([tmp_path], tmp_path)
    assert queries(tmp_path)["customers"].splitlines()[-1] == "FROM 'our crm.xlsx#Accounts' AS t"
    assert "our crm.xlsx#Notes is like no table" in " ".join(draft.unread)
    counts = kept_rows(hs.Portfolio.open(tmp_path).check())
    assert (counts["customers"], counts["events"]) == (4, 448)


def fill(path: Path, **tables: str) -> str:
    """A SQLite file with tables of text; its address."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for name, text in tables.items():
            header, *rows = (line.split(",") for line in text.splitlines())
            connection.execute(f"CREATE TABLE {name} ({', '.join(header)})")
            marks = ", ".join("?" * len(header))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
    return f"sqlite:///{path}"


def test_a_database_is_read_by_queries_in_its_own_dialect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "account_id,name,signup_date,mrr"
    monthly = accounts(header, "C{n}", "Firm", "2024-01-0{n}", "{n}00")
    address = fill(tmp_path / "shop.db", customers=monthly, usage_log=log())
    monkeypatch.setenv("SHOP", address)
    draft = write_portfolio(["$SHOP"], tmp_path / "out")
    assert '12 * CAST(t."mrr" AS REAL) AS arr' in queries(tmp_path / "out")["customers"]
    assert "# arr: mrr × 12" in draft.path.read_text(encoding="utf-8")
    portfolio = hs.Portfolio.open(tmp_path / "out")
    assert kept_rows(portfolio.check()) == {"customers": 4, "events": 448}
    assert list(portfolio.table("customers")["arr"]) == [1200, 2400, 3600, 4800]
    with pytest.raises(InvalidParameters, match="a database is a source alone"):
        write_portfolio([address, tmp_path], tmp_path / "out", force=True)


def test_a_password_is_never_written(tmp_path: Path) -> None:
    assert written_address("postgresql://ada:secret@db.example/crm") == "$HEALTHSEG_SOURCE"
    assert written_address("sqlite:///crm.db") == "sqlite:///crm.db"


# Refusals


def test_nothing_recognised_is_an_error_that_shows_what_was_there(tmp_path: Path) -> None:
    write(tmp_path, a__csv="x,y\n1,2\n")
    with pytest.raises(
        DataRetrievalError, match=r"a\.csv is like no table of the contract; its columns: x, y"
    ) as problem:
        write_portfolio([tmp_path], tmp_path)
    assert "docs/data.md" in problem.value.message
    assert not (tmp_path / "portfolio.toml").exists()
    with pytest.raises(DataRetrievalError, match="there is nothing at"):
        write_portfolio([tmp_path / "elsewhere"], tmp_path)


def test_an_existing_file_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, customers__csv=NAMED, usage__csv=log(), portfolio__toml="mine")
    with pytest.raises(InvalidParameters, match="--force"):
        write_portfolio([tmp_path], tmp_path)
    assert (tmp_path / "portfolio.toml").read_text() == "mine"
    write_portfolio([tmp_path], tmp_path, force=True)
    assert set(queries(tmp_path)) == {"customers", "events"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "customers.csv",
        "portfolio.toml",
        "usage.csv",
    ]


def test_the_command_names_what_to_decide_and_what_to_run_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, customers__csv=NAMED, usage__csv=log())
    assert main(["init", str(tmp_path), "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert f"healthseg check {tmp_path}" in output and "-p client_id=C1" in output
    assert "tickets: the component support" in output
    assert main(["init", str(tmp_path), "--out", str(tmp_path), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["portfolio"] == str(tmp_path / "portfolio.toml")
    assert main(["init", str(tmp_path), "--out", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error_code"] == "INVALID_PARAMETERS"
