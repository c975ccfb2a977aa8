"""Two public portfolios, mapped by ``data/mappings``: real students, and a simulated network. Neither is in the project."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import healthseg as hs
from healthseg.tools import portfolio_health

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("HEALTHSEG_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
NAMES = ("oulad", "socialnet")
START = pd.Timestamp("2013-10-01")
LACKING = ("payment_score", "satisfaction_score", "support_score")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((SHARED / name).is_dir() for name in NAMES),
        reason=f"the public data sets are not at {SHARED}: HEALTHSEG_SHARED_DATA names the folder of oulad and socialnet",
    ),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The mappings beside which store and ledger may be written, and the variable that tells where the data are."""
    base = tmp_path_factory.mktemp("mappings")
    for name in NAMES:
        shutil.copytree(
            REPOSITORY / "data" / "mappings" / name,
            base / name,
            ignore=shutil.ignore_patterns(".healthseg", "healthseg.sqlite*"),
        )
    before = os.environ.get("HEALTHSEG_SHARED_DATA")
    os.environ["HEALTHSEG_SHARED_DATA"] = str(SHARED.resolve())
    yield {name: base / name for name in NAMES}
    if before is None:
        del os.environ["HEALTHSEG_SHARED_DATA"]
    else:
        os.environ["HEALTHSEG_SHARED_DATA"] = before


@pytest.fixture(scope="module")
def portfolios(folders):
    return {name: hs.Portfolio.open(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def pages(portfolios):
    return {name: portfolio_health(portfolio) for name, portfolio in portfolios.items()}


@pytest.fixture(scope="module")
def clicks():
    """The students' rows with their day and kind of page, by plain pandas."""
    rows = pd.read_csv(SHARED / "oulad" / "studentVle.csv.gz").merge(
        pd.read_csv(SHARED / "oulad" / "vle.csv"),
        on=["code_module", "code_presentation", "id_site"],
        how="left",
    )
    return rows.assign(
        client=rows["id_student"].astype(str), day=START + pd.to_timedelta(rows["date"], unit="D")
    )


@pytest.fixture(scope="module")
def posts():
    """The network's events with their day, by plain pandas."""
    rows = pd.read_parquet(SHARED / "socialnet" / "events.parquet")
    return rows.assign(client=rows["account_id"].astype(str), day=rows["event_time"].dt.normalize())


def command(folder, *words):
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "healthseg.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


# -- given ----------------------------------------------------------------------------------


def test_every_row_of_the_students_log_is_accounted_for(portfolios):
    check = portfolios["oulad"].check()
    assert check.usable and check.problems == []
    counts = {
        name: (report.read, report.kept, report.dropped) for name, report in check.tables.items()
    }
    assert counts == {"customers": (383, 383, 0), "events": (180_982, 180_982, 0)}
    assert (check.first_event_day, check.data_until) == ("2013-09-21", "2014-06-26")
    assert check.warnings == ["16 customers have events on or after churned_on, for example 129955"]


def test_every_row_of_the_networks_log_is_accounted_for(portfolios):
    check = portfolios["socialnet"].check()
    assert check.usable and check.problems == [] and check.warnings == []
    counts = {
        name: (report.read, report.kept, report.dropped) for name, report in check.tables.items()
    }
    assert counts == {
        "customers": (734, 734, 0),
        "contracts": (3_811, 3_811, 0),
        "events": (1_354_706, 1_354_706, 0),
    }
    assert (check.first_event_day, check.data_until) == ("2020-01-01", "2020-09-01")


def test_equal_rows_of_the_network_are_as_many_as_chance_brings(posts):
    """What ``keep_identical_events`` rests on: events of an account, type and day that fall on any of its seconds."""
    at_once = posts.groupby(["account_id", "event_time", "event"], observed=True).size()
    pairs = (at_once * (at_once - 1) / 2).sum()
    by_day = posts.groupby(["account_id", "day", "event"], observed=True).size()
    expected = (by_day * (by_day - 1) / 2 / 86_400).sum()
    assert pairs == 123 and abs(pairs - expected) < 2 * np.sqrt(expected)


def test_the_students_that_left_are_those_that_unregistered(portfolios):
    raw = pd.read_csv(SHARED / "oulad" / "studentRegistration.csv").set_index("id_student")
    mapped = portfolios["oulad"].table("customers").set_index("client_id")
    left = raw["date_unregistration"].dropna()
    assert len(left) == mapped["churned_on"].notna().sum() == 60
    days = (pd.to_datetime(mapped["churned_on"].dropna()) - START).dt.days
    assert days.to_dict() == {str(student): int(day) for student, day in left.items()}
    signup = (pd.to_datetime(mapped["signup_date"]) - START).dt.days
    assert signup.to_dict() == {
        str(student): int(day) for student, day in raw["date_registration"].items()
    }


def test_the_accounts_that_left_are_those_whose_last_month_had_ended(portfolios):
    raw = (
        pd.read_csv(SHARED / "socialnet" / "subscriptions.csv")
        .groupby("account_id")["end_date"]
        .max()
    )
    left = raw[raw <= "2020-09-01"]
    mapped = (
        portfolios["socialnet"].table("customers").set_index("client_id")["churned_on"].dropna()
    )
    assert len(left) == 131
    days = pd.to_datetime(mapped).dt.strftime("%Y-%m-%d")
    assert days.to_dict() == {str(account): day for account, day in left.items()}


@pytest.mark.parametrize(("name", "live", "churned"), [("oulad", 323, 60), ("socialnet", 603, 131)])
def test_the_portfolio_is_live_and_churned_customers(pages, name, live, churned):
    page = pages[name]
    assert (page.total_customers, page.excluded["churned"]) == (live, churned)
    assert page.scored_customers == sum(page.bands.values())
    assert page.scored_customers + page.provisional_customers >= 0.9 * live
    json.dumps(page.to_dict(), allow_nan=False)


# -- counted ---------------------------------------------------------------------------------


def by_hand(rows, client, day, weight):
    """A customer's figures of 28 and 30 days, from the raw rows."""
    own = rows[(rows["client"] == client) & (rows["day"] <= day)]
    month = own[own["day"] > day - pd.Timedelta(days=28)]
    thirty = own[own["day"] > day - pd.Timedelta(days=30)]
    return {
        "active_days_28d": month["day"].nunique(),
        "person_events_28d": weight(month),
        "days_since_last_person_event": (day - own["day"].max()).days,
        "adopted": int(
            (
                thirty.groupby(
                    thirty.columns[thirty.columns.isin(["activity_type", "event"])][0],
                    observed=True,
                )["day"].nunique()
                >= 2
            ).sum()
        ),
    }


@pytest.mark.parametrize("name", NAMES)
def test_usage_is_that_of_the_raw_files_exactly(portfolios, clicks, posts, name):
    from healthseg.metrics import panels as panel

    rows, weight = (
        (clicks, lambda part: part["sum_click"].sum()) if name == "oulad" else (posts, len)
    )
    portfolio = portfolios[name]
    last = pd.Timestamp(portfolio.data_until)
    dates = [last, last - pd.Timedelta(days=60)]
    counted = panel.panel(portfolio, [date.date() for date in dates])
    counted = counted[counted["live"].astype(bool)].set_index(["client_id", "date"])
    active = sorted(rows.loc[rows["day"] <= dates[1], "client"].unique())
    seen = 0
    for client in active[:: len(active) // 12]:
        for date in dates:
            if (client, date) not in counted.index:
                continue
            row, expected = counted.loc[(client, date)], by_hand(rows, client, date, weight)
            assert row["active_days_28d"] == expected["active_days_28d"]
            assert row["person_events_28d"] == expected["person_events_28d"]
            assert row["days_since_last_person_event"] == expected["days_since_last_person_event"]
            kinds = rows.loc[
                rows["day"] <= date, "activity_type" if name == "oulad" else "event"
            ].nunique()
            assert row["feature_adoption_rate_30d"] == pytest.approx(
                expected["adopted"] / kinds, abs=1e-12
            )
            seen += 1
    assert seen >= 12


# -- judged, answered ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "full", "share"), [("oulad", 0.385, 0.9), ("socialnet", 0.46, 0.7)]
)
def test_coverage_says_how_little_such_a_portfolio_knows(pages, name, full, share):
    """No seats, support, satisfaction, payment; students have no times of day, so no sessions either."""
    coverage = pages[name].frame("customers")["coverage"]
    assert coverage.max() == pytest.approx(full) and (coverage == coverage.max()).mean() > share
    known = {row["metric"]: row["measured"] for row in pages[name].input_coverage}
    lacking = {
        "seat_utilisation",
        "open_high_tickets",
        "tickets_per_10_mau_90d",
        "median_resolution_hours_90d",
        "nps_365d",
        "csat_180d",
        "worst_days_overdue",
        "paid_on_time_share_365d",
    }
    if name == "oulad":
        lacking |= {"sessions_per_user_per_week_28d"}
    assert {metric for metric, count in known.items() if not count} == lacking


@pytest.mark.parametrize("name", NAMES)
def test_what_the_portfolio_lacks_is_null_with_its_reason(portfolios, pages, name):
    live = [row["client_id"] for row in pages[name].customers]
    customers = portfolios[name].table("customers")
    churned = customers.loc[customers["churned_on"].notna(), "client_id"]
    for client in [*live[::50], *sorted(churned)[::20]]:
        health = hs.calculate_health_score(portfolios[name], client)
        response = health.to_dict()
        json.dumps(response, allow_nan=False)
        for key in LACKING:
            assert (
                response["component_scores"][key] is None
                and f"$.component_scores.{key}" in response["not_measured"]
            )
        for key, reason in {
            "support_ticket_count": "the portfolio has no tickets",
            "nps_score": "the portfolio has no surveys",
            "payment_status": "the portfolio has no invoices",
        }.items():
            assert response["health_metrics"][key] is None
            assert response["not_measured"][f"$.health_metrics.{key}"] == reason
        assert response["customer"]["seats"] is None
        assert response["customer"]["arr"] == (None if name == "oulad" else 120)
        assert response["health_metrics"]["weekly_active_users"] in (0, 1, None)
        if health.status == "live":
            assert health.possible_range.upper - health.possible_range.lower > 50
            assert (
                health.current_health_score is not None
                or "$.current_health_score" in response["not_measured"]
            )
        else:
            assert response["churn_prediction"] is None


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_finds_no_difference(portfolios, pages, name):
    path = SHARED.parent / "reference" / "conform.py"
    if not path.is_file():
        pytest.skip(f"the reference's conform.py is not at {path}")
    spec = importlib.util.spec_from_file_location("conform", path)
    conform = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conform)
    for row in pages[name].customers[::60]:
        response = hs.calculate_health_score(portfolios[name], row["client_id"]).to_dict()
        assert conform.problems("calculate_health_score", response) == []


def test_those_that_left_the_course_had_the_lower_scores(portfolios):
    """In the middle of the course: the area under the curve is 0.63; of a score that knew nothing it is one half."""
    portfolio = portfolios["oulad"]
    page = portfolio_health(portfolio, as_of="2014-02-28")
    churned_on = pd.to_datetime(portfolio.table("customers").set_index("client_id")["churned_on"])
    table = page.frame("customers").dropna(subset=["score"])
    left = table["client_id"].map(churned_on).notna()
    assert left.sum() > 15
    below = (
        table.loc[left, "score"].to_numpy()[:, None] < table.loc[~left, "score"].to_numpy()
    ).mean()
    ties = (
        table.loc[left, "score"].to_numpy()[:, None] == table.loc[~left, "score"].to_numpy()
    ).mean()
    assert below + ties / 2 > 0.6


# -- shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_checks_runs_and_reports(folders, pages, name, tmp_path):
    check = command(tmp_path, "check", str(folders[name]), "--json")
    assert check.returncode == 0 and json.loads(check.stdout)["usable"], check.stderr
    client = pages[name].customers[0]["client_id"]
    run = command(
        tmp_path,
        "run",
        "calculate_health_score",
        "--portfolio",
        str(folders[name]),
        "-p",
        f"client_id={client}",
    )
    assert run.returncode == 0, run.stdout
    assert json.loads(run.stdout)["current_health_score"] == pages[name].customers[0]["score"]
    report = command(
        tmp_path,
        "report",
        "calculate_health_score",
        "--portfolio",
        str(folders[name]),
        "--client",
        client,
        "--overview",
        "--out",
        str(tmp_path / "reports"),
        "--workers",
        "1",
    )
    assert report.returncode == 0, report.stdout + report.stderr
    written = sorted((tmp_path / "reports").rglob("*.html"))
    assert len(written) >= 3 and any(client in path.read_text(encoding="utf-8") for path in written)
