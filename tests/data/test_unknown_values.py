"""Unknown is never good: spoiled values of a demo portfolio raise no points, activity, ARR or coverage."""

from __future__ import annotations

import pandas as pd
import pytest

import healthseg as hs
from benchmarks.unknown_values import study
from healthseg.metrics.panels import panel
from healthseg.scoring.health import score_panel
from healthseg.tools.health.words import why_missing


def test_a_value_that_became_unknown_makes_nothing_better():
    done, wrong = study(clients=25, months=3, draws=25, seed=5)
    assert done == 25
    assert wrong == []


def zoned(folder, *zones: str) -> hs.Portfolio:
    """A customer a zone, with an event at 23:00 UTC on each day of March 2025."""
    names = [f"c{number}" for number in range(len(zones))]
    customers = {"client_id": names, "signup_date": "2024-01-01", "timezone": zones}
    pd.DataFrame(customers).to_csv(folder / "customers.csv", index=False)
    days = pd.date_range("2025-03-01 23:00", "2025-03-31 23:00")
    events = [(name, "u", day) for name in names for day in days]
    columns = ["client_id", "user_id", "occurred_at"]
    pd.DataFrame(events, columns=columns).to_csv(folder / "events.csv", index=False)
    return hs.Portfolio.open(folder)


def test_what_depends_on_days_is_not_measured_where_the_zone_cannot_be_read(tmp_path):
    portfolio = zoned(tmp_path, "Europe/Paris", "Asia/Tokyo", "Mars/One", "")
    rows = panel(portfolio, [portfolio.data_until]).set_index("client_id")
    assert rows.index[rows["person_events_28d"].isna()].tolist() == ["c2"]
    assert rows.index[rows["weekly_active_users"].isna()].tolist() == ["c2"]
    reason = why_missing("stickiness_30d", "unmeasured", lambda name: portfolio.absence(name, "c2"))
    assert reason == "customers: withheld, since a value of timezone cannot be used"
    usage = hs.track_usage_engagement(portfolio, "c2")
    assert usage.engagement_metrics.weekly_active_users is None
    assert usage.data_quality.customer[0].table == "customers"
    assert hs.calculate_health_score(portfolio, "c2").current_health_score is None


def test_a_column_of_zones_that_is_mostly_unreadable_is_as_if_it_were_not_there(tmp_path):
    portfolio = zoned(tmp_path, "Europe/Paris", "zone 7", "zone 8")
    rows = panel(portfolio, [portfolio.data_until])
    assert rows["person_events_28d"].notna().all()


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("america/new_york", "America/New_York"),
        ("Pacific Time (US & Canada)", "America/Los_Angeles"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("america_slash_chicago", "America/Chicago"),
        ("Buenos Aires", "America/Buenos_Aires"),
        ("Kathmandu", "Asia/Kathmandu"),
        ("West", None),
        ("GMT+1", None),
    ],
)
def test_zones_are_read_as_other_systems_name_them(tmp_path, written, zone):
    pd.DataFrame({"client_id": ["a"], "signup_date": "2025-01-01", "timezone": written}).to_csv(
        tmp_path / "customers.csv", index=False
    )
    (read,) = hs.Portfolio.open(tmp_path).table("customers")["timezone"]
    assert (None if pd.isna(read) else read) == zone


def test_a_notice_that_cannot_be_read_leaves_its_cap_possible(tmp_path):
    days = pd.date_range("2025-01-01 23:00", "2025-03-31 23:00")
    events = [(name, "u", day) for name in ("a", "b", "c") for day in days]
    pd.DataFrame(events, columns=["client_id", "user_id", "occurred_at"]).to_csv(
        tmp_path / "events.csv", index=False
    )
    customers = {"client_id": ["a", "b", "c"], "signup_date": "2024-01-01", "seats": 1}
    pd.DataFrame({**customers, "notice_on": ["2025-03-01", "???", ""]}).to_csv(
        tmp_path / "customers.csv", index=False
    )
    portfolio = hs.Portfolio.open(tmp_path)
    scores = score_panel(panel(portfolio, [portfolio.data_until]), portfolio.settings).frame
    a, b, c = scores.set_index("client_id").loc[["a", "b", "c"]].itertuples()
    assert a.shown == 39 and b.shown == c.shown > 39
    assert b.lowest <= 39 < c.lowest
    assert b.highest == c.highest


def test_a_count_that_cannot_be_used_leaves_the_own_baseline_unmeasured(tmp_path):
    days = [f"2025-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in range(1, 29)]
    rows = [(name, "u", day, "5") for name in ("a", "b") for day in days]
    rows[3] = ("a", "u", days[3], "many")
    pd.DataFrame(rows, columns=["client_id", "user_id", "occurred_at", "count"]).to_csv(
        tmp_path / "events.csv", index=False
    )
    pd.DataFrame({"client_id": ["a", "b"], "signup_date": "2024-01-01"}).to_csv(
        tmp_path / "customers.csv", index=False
    )
    portfolio = hs.Portfolio.open(tmp_path)
    rows = panel(portfolio, [portfolio.data_until]).set_index("client_id")
    assert rows["usage_vs_own_baseline"].isna().to_dict() == {"a": True, "b": False}
    assert rows["person_events_28d"].notna().all()


def test_a_contract_that_lost_its_id_adds_no_arr(tmp_path):
    """An amendment from 100 to 60, ids known of all others: without its id ARR is not 160 but unknown by contracts."""
    rows = [("a", "A", "2024-01-01", 100), ("a", None, "2024-07-01", 60)]
    rows += [(f"c{number}", f"C{number}", "2024-01-01", 10) for number in range(20)]
    contracts = pd.DataFrame(rows, columns=["client_id", "contract_id", "starts_on", "arr"])
    contracts.assign(ends_on="2025-12-31").to_csv(tmp_path / "contracts.csv", index=False)
    customers = pd.DataFrame({"client_id": contracts["client_id"].unique()})
    customers.assign(signup_date="2024-01-01").to_csv(tmp_path / "customers.csv", index=False)
    portfolio = hs.Portfolio.open(tmp_path, {"data_until": "2025-01-31"})
    arr = panel(portfolio, [portfolio.data_until]).set_index("client_id")["arr"]
    assert pd.isna(arr["a"]) and arr["c1"] == 10
    assert "without a contract_id run beside others" in portfolio.check().to_text()
    contracts.assign(ends_on="2025-12-31", contract_id=None).to_csv(
        tmp_path / "contracts.csv", index=False
    )
    without = hs.Portfolio.open(tmp_path, {"data_until": "2025-01-31"})
    assert panel(without, [without.data_until]).set_index("client_id")["arr"]["a"] == 160


def test_an_answer_that_lost_its_user_raises_no_nps(tmp_path):
    """Of b, u1 gave a 9 and later a 0. Without the user of the latter, both would count as respondents."""
    answers = [("a", f"u{number}", "2025-01-15", score) for number, score in enumerate([10, 9, 3])]
    answers += [
        ("b", f"u{number}", "2025-01-15", score) for number, score in enumerate([7, 9, 6, 8])
    ]
    answers += [("b", "u1", "2025-01-20", 0)]
    answers += [(f"c{number % 5}", f"u{number}", "2025-01-10", 8) for number in range(20)]
    columns = ["client_id", "user_id", "responded_at", "score"]
    surveys = pd.DataFrame(answers, columns=columns).assign(kind="nps")
    customers = pd.DataFrame({"client_id": surveys["client_id"].unique()})
    customers.assign(signup_date="2024-01-01").to_csv(tmp_path / "customers.csv", index=False)

    def nps() -> pd.Series:
        surveys.to_csv(tmp_path / "surveys.csv", index=False)
        portfolio = hs.Portfolio.open(tmp_path, {"data_until": "2025-01-31"})
        return panel(portfolio, [portfolio.data_until]).set_index("client_id")["nps_365d"]

    clean = nps()
    assert clean["b"] == -50
    surveys.loc[7, "user_id"] = None
    lost = nps()
    assert lost["b"] == -50  # of 7, 9, 6, 8 and 0 the 9 is left out
    assert lost.drop("b").equals(clean.drop("b"))
    surveys.loc[surveys["client_id"] == "b", "user_id"] = None
    anonymous = nps()  # a sixth has no user: that is how this table is kept
    assert anonymous["b"] == pytest.approx(100 * (1 - 2) / 5)


def test_where_all_answers_count_no_lost_user_moves_nps(tmp_path):
    """Half of the answers have no user. u1 of a gave a 9, then a 0: without the 0's user both would be latest answers."""
    answers = [
        ("a", "u1", "2025-01-05", 9),
        ("a", "u1", "2025-01-20", 0),
        ("a", "u1", "2025-01-20", 7),
    ]
    answers += [
        ("a", None, "2025-01-06", 10),
        ("a", None, "2025-01-07", 3),
        ("a", "u2", "2025-01-08", 10),
    ]
    columns = ["client_id", "user_id", "responded_at", "score"]
    surveys = pd.DataFrame(answers, columns=columns).assign(kind="nps")
    customers = pd.DataFrame({"client_id": ["a"], "signup_date": ["2024-01-01"]})
    settings = {"data_until": "2025-01-31", "nps_of": "answers"}

    def nps(frame: pd.DataFrame, settings: dict[str, str]) -> float:
        portfolio = hs.Portfolio.open({"customers": customers, "surveys": frame}, settings)
        return panel(portfolio, [portfolio.data_until])["nps_365d"].item()

    assert nps(surveys, settings) == pytest.approx(100 * (3 - 2) / 6)
    for row in surveys.index[surveys["user_id"].notna()]:
        lost = surveys.copy()
        lost.loc[row, "user_id"] = None
        assert nps(lost, settings) == nps(surveys, settings)
    # of u1 alone the 7 is the latest, and of nobody 10 and 3 count each
    assert nps(surveys, {"data_until": "2025-01-31"}) == pytest.approx(100 * (2 - 1) / 4)
