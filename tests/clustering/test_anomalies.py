"""Days unlike others: found where they are, silent where nothing is, explained only by what the portfolio holds."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import anomalies_lasting
from healthseg.clustering.anomalies import anomalies, intensity, severity, weekday_rule
from healthseg.clustering.unusual_days import anomalies_of, explains
from healthseg.settings import Settings
from healthseg.statistics.level_changes import against_weekday, beyond_earlier
from healthseg.testing import tiny_portfolio

START, LENGTH = dt.date(2025, 1, 6), 140  # a Monday, twenty weeks
FIRST = (START - dt.date(1970, 1, 1)).days
ROOT = Path(__file__).resolve().parents[2]


def usage(seed: int = 1, length: int = 400, people: float = 8.0) -> pd.DataFrame:
    """Days of a customer: users of a weekday, one or two sessions each, geometric bursts of events."""
    random = np.random.default_rng(seed)
    day = np.arange(length)
    users = random.poisson(np.where((day + 3) % 7 < 5, people, 1.0))
    sessions = users + random.binomial(users, 0.4)
    events = np.array([random.geometric(0.2, n).sum() for n in sessions])
    return pd.DataFrame(
        {"day": day, "person_events": events, "users": users, "sessions": sessions}
    ).astype(float)


def test_people_who_do_many_times_as_much_as_usual_are_a_spike():
    days = usage()
    busy = int(days["users"].iloc[195:205].idxmax())
    days.loc[busy, "person_events"] *= 6
    table = anomalies(days, Settings())
    assert table[["day", "anomaly_type", "about"]].values.tolist() == [
        [busy, "unusual_spike", "doing"]
    ]
    assert 4 < table["ratio"].iloc[0] < 9


def test_one_spike_does_not_hide_the_next():
    days = usage(people=12)
    days.loc[[100, 101, 250], "person_events"] *= [40, 8, 8]
    assert {100, 250} <= set(anomalies(days, Settings())["day"])


def test_a_dip_of_people_over_neighbouring_days_is_one_anomaly():
    days = usage(people=40)
    days.loc[201:202, ["person_events", "users", "sessions"]] = [10.0, 2.0, 2.0]
    table = anomalies(days, Settings())
    assert table[["first_day", "last_day", "about"]].values.tolist() == [[201, 202, "people"]]
    assert table["severity"].iloc[0] in ("high", "critical")
    assert not table["open"].iloc[0]


def test_a_dip_that_lasts_to_the_end_is_open():
    days = usage(people=40)
    days.loc[394:, ["person_events", "users", "sessions"]] = 0.0
    assert anomalies(days, Settings())["open"].iloc[-1]


def test_nobody_coming_is_no_news_where_few_come():
    days = usage(people=5)
    days.loc[200, ["person_events", "users", "sessions"]] = 0.0
    assert len(anomalies(days, Settings())) == 0


def test_two_hundred_customers_without_anomalies_have_hardly_an_alarm():
    alarms = sum(
        len(anomalies(usage(seed, people=2 + seed % 20), Settings())) for seed in range(200)
    )
    assert alarms <= 2  # 219 years: 73 allowed at one in three years


def test_what_a_wider_event_left_of_a_day_is_what_the_customer_is_held_against():
    days = usage(people=40)
    days.loc[200, ["person_events", "users", "sessions"]] = [60.0, 12.0, 12.0]
    left = np.ones(400)
    left[200] = 0.3
    assert len(anomalies(days, Settings())) == 1
    assert len(anomalies(days, Settings(), left)) == 0


def test_calls_of_a_machine_are_news_only_where_they_are_like_none_before():
    days = usage().assign(api_events=np.random.default_rng(3).poisson(100, 400).astype(float))
    days.loc[[150, 160, 170, 300], "api_events"] = [400, 400, 400, 0]
    assert anomalies(days, Settings()).query("about == 'calls'")["day"].tolist() == [
        150,
        160,
        170,
        300,
    ]
    days.loc[350, "api_events"] = 390
    assert 350 not in anomalies(days, Settings())["day"].tolist()
    long = days.assign(of_usual_length=days["day"] != 300)
    assert 300 not in anomalies(long, Settings())["day"].tolist()


def test_without_times_events_are_held_against_users():
    days = usage().assign(sessions=np.nan)
    busy = int(days["users"].iloc[195:205].idxmax())
    days.loc[busy, "person_events"] *= 8
    assert busy in anomalies(days, Settings())["day"].tolist()


def test_a_short_series_says_nothing():
    assert len(anomalies(usage(length=20), Settings())) == 0
    assert intensity(np.array([5.0, 90.0]), np.array([1.0, 1.0]), Settings())[1].tolist() == [
        0.0,
        0.0,
    ]
    assert len(against_weekday(np.arange(10.0), weekday_rule(Settings())).position) == 0


def test_scores_of_intensity_are_calibrated_where_sessions_are_geometric():
    random = np.random.default_rng(11)
    sessions = random.integers(1, 5, 20_000)
    events = np.array([random.geometric(0.2, n).sum() for n in sessions])
    score = intensity(events, sessions, Settings())[1]
    assert 0.0008 < (score > 3).mean() < 0.0020  # 0.00135


def test_a_level_that_has_come_to_stay_is_soon_no_news():
    values = np.r_[np.tile([1.0, 2.0, 3.0], 100), np.tile([9.0, 10.0], 50)]
    assert beyond_earlier(values, spans=(1,)).nonzero()[0].tolist() == [300, 301, 302]
    assert beyond_earlier(values).nonzero()[0].max() < 350


def test_severity_follows_the_return_time():
    assert [severity(days, Settings()) for days in (1e5, 2e6, 2e9, 2e12)] == [
        "low",
        "medium",
        "high",
        "critical",
    ]


def portfolio(missing: int | None = None, quiet: int | None = None, **tables: pd.DataFrame):
    """Six customers of eight users; on day ``missing`` nothing was loaded, on day ``quiet`` nearly nobody came."""
    events = []
    for at in range(LENGTH):
        day = START + dt.timedelta(days=at)
        for client in range(6):
            for user in range(8 if day.weekday() < 5 else 2):
                if at == missing or (at == quiet and user > 0) or (at + user + client) % 4 == 0:
                    continue
                events.append((f"c{client}", f"{day} 09:{user:02d}", f"u{user}"))
    return tiny_portfolio(events, **tables)


CLIENTS = [f"c{at}" for at in range(6)]
END = START + dt.timedelta(days=LENGTH)


def test_a_day_that_was_not_loaded_is_no_decline():
    table = anomalies_of(portfolio(missing=72), CLIENTS, START, END)
    assert table[["client_id", "cause", "action_required"]].values.tolist() == [
        [None, "data_gap", False]
    ]
    assert "2025-03-19" in table["likely_cause"].iloc[0]


def test_a_dip_of_all_is_one_event_and_the_calendar_names_it():
    calendar = pd.DataFrame(
        {"starts_on": ["2025-03-19"], "ends_on": ["2025-03-19"], "label": ["holiday: all"]}
    )
    table = anomalies_of(portfolio(quiet=72, calendar=calendar), CLIENTS, START, END)
    assert table[["client_id", "anomaly_type", "cause", "likely_cause"]].values.tolist() == [
        [None, "unusual_dip", "calendar", "holiday: all"]
    ]


def test_tickets_are_a_cause_only_where_there_are_more_than_chance_gives():
    opened = [*(f"2025-03-19 1{at}:00" for at in range(6)), "2025-01-20 10:00", "2025-05-01 10:00"]
    tickets = pd.DataFrame(
        {
            "ticket_id": [f"t{at}" for at in range(8)],
            "client_id": "c0",
            "opened_at": opened,
            "topic": ["login"] * 8,
        }
    )
    table = anomalies_of(portfolio(quiet=72, tickets=tickets), CLIENTS, START, END, each=False)
    assert table["cause"].tolist() == ["tickets"]
    assert table["likely_cause"].iloc[0].startswith("6 tickets opened within a day of it")
    assert table["likely_cause"].iloc[0].endswith("most about login")
    few = anomalies_of(
        portfolio(quiet=72, tickets=tickets.tail(3)), CLIENTS, START, END, each=False
    )
    assert few["cause"].isna().all()


def test_only_what_touches_the_window_is_told_and_the_future_is_not_read():
    whole = portfolio(quiet=72)
    after = dt.date(2025, 3, 21)
    assert len(anomalies_of(whole, CLIENTS, after, END)) == 0
    before = anomalies_of(whole, CLIENTS, START, dt.date(2025, 3, 19))
    assert len(before) == 0
    shown = anomalies_of(whole, CLIENTS, START, dt.date(2025, 3, 20))
    assert shown["action_required"].tolist() == [True]


def benchmark():
    spec = importlib.util.spec_from_file_location(
        "patterns_anomalies", ROOT / "benchmarks" / "patterns_anomalies.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_on_the_numenta_series_the_rule_is_quiet_and_beats_a_rolling_gaussian_at_3_sigma():
    module = benchmark()
    folder = module.nab_folder()
    if folder is None:
        pytest.skip(
            f"no Numenta series: HEALTHSEG_SHARED_DATA is {os.environ.get('HEALTHSEG_SHARED_DATA')!r}"
        )
    series = module.nab(folder)
    flags = {name: beyond_earlier(frame["value"].to_numpy()) for name, (frame, _) in series.items()}
    quiet, real = (
        {name: values for name, values in series.items() if name.startswith(kind)}
        for kind in ("art", "real")
    )
    plain = {name: z > 3 for name, z in module.gaussian(real, 1152).items()}
    assert module.scored(quiet, flags)["per_1000"] <= 1
    score = module.scored(real, flags)["f1"]
    assert score >= 0.7
    assert score >= 1.5 * module.scored(real, plain)["f1"]


# -- what lasts ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 28, 60, 90])
def test_a_silence_of_any_length_is_found_and_ends_with_its_last_day(length):
    days = usage(people=20)
    days.loc[201 : 200 + length, ["person_events", "users", "sessions"]] = 0.0
    people = anomalies(days, Settings()).query("about == 'people'")
    assert people[["anomaly_type", "lasting"]].values.tolist() == [["unusual_dip", True]]
    assert abs(people["first_day"].item() - 201) <= 3
    assert abs(people["last_day"].item() - 200 - length) <= 3


def test_a_lasting_half_is_found_and_becomes_the_new_level():
    days = usage(people=60)
    days.loc[150:, "users"] = np.floor(days.loc[150:, "users"] / 2)
    people = anomalies(days, Settings()).query("about == 'people'")
    assert people["anomaly_type"].tolist() == ["unusual_dip"]
    assert not people["open"].item()
    assert people["last_day"].item() == pytest.approx(150 + 98, abs=7)


def test_many_users_where_nobody_was_are_a_rise():
    days = usage(people=40)
    days.loc[:199, ["person_events", "users", "sessions"]] = 0.0
    rise = anomalies(days, Settings()).iloc[0]
    assert (rise["anomaly_type"], rise["lasting"]) == ("unusual_spike", True)
    assert abs(rise["first_day"] - 200) <= 3
    assert rise["expected"] == 0 and np.isnan(rise["ratio"])


def test_days_without_data_are_no_departure_and_nothing_is_held_against_them():
    days = usage(people=40).assign(tracked=True)
    days.loc[200:220, ["person_events", "users", "sessions"]] = 0.0
    days.loc[200:220, "tracked"] = False
    assert not anomalies(days, Settings())["lasting"].any()


def test_figures_of_a_lasting_departure_are_those_of_its_tracked_days():
    days = usage(people=40).assign(tracked=True)
    days.loc[200:227, "users"] = np.floor(days.loc[200:227, "users"] / 2)
    days.loc[205:216, ["person_events", "users", "sessions"]] = 0.0
    days.loc[205:216, "tracked"] = False
    dip = anomalies(days, Settings()).query("lasting").iloc[0]
    within = days[days["day"].between(dip["first_day"], dip["last_day"]) & days["tracked"]]
    assert len(within) < dip["last_day"] + 1 - dip["first_day"]
    assert dip["value"] == pytest.approx(within["users"].mean())
    assert dip["ratio"] == pytest.approx(0.5, abs=0.1)


def test_days_without_data_are_no_part_of_a_new_level():
    days = usage(people=40).assign(tracked=True)
    days.loc[130:, "users"] = np.floor(days.loc[130:, "users"] / 2)
    days.loc[190:231, ["person_events", "users", "sessions"]] = 0.0
    days.loc[190:231, "tracked"] = False
    lasting = anomalies(days, Settings()).query("lasting")
    assert lasting["anomaly_type"].tolist() == ["unusual_dip"]
    assert lasting["ratio"].item() == pytest.approx(0.5, abs=0.1)


def test_a_new_level_early_in_the_series_with_a_long_memory_is_one_departure():
    days = usage(people=60)
    days.loc[62:, "users"] = np.floor(days.loc[62:, "users"] / 2)
    rule = Settings(anomaly_same_weekdays=30)
    lasting = anomalies(days, rule).query("lasting")
    assert lasting["anomaly_type"].tolist() == ["unusual_dip"]
    assert abs(lasting["first_day"].item() - 62) <= 3


def test_few_of_the_simulated_customers_without_an_event_have_an_alarm():
    quiet = [
        anomalies_lasting.false_alarms(seed, kind, Settings())
        for kind in ("negative binomial", "autocorrelated")
        for seed in range(30)
    ]
    assert sum(quiet) <= 6  # 3 expected at 0.05 a customer and year


@pytest.mark.parametrize("name", ["half for 28 days", "0 to 40 within 20 days, slowly"])
def test_most_of_the_simulated_events_are_found(name):
    hits = [anomalies_lasting.is_found(seed, name, Settings()) for seed in range(15)]
    assert np.mean(hits) >= 0.9


def calls_only(silent_days: int = 0, source: str | None = "api") -> pd.DataFrame:
    """The lasting anomalies of a customer of whom nobody is named, silent from day 84, a Monday, on, beside three others."""
    random = np.random.default_rng(5)
    rows = []
    for at in range(LENGTH):
        day = START + dt.timedelta(days=at)
        for client in range(4):
            silent = client == 0 and 84 <= at < 84 + silent_days
            if day.weekday() < 5 and not silent:
                count = 1 + random.poisson(40 * random.gamma(2, 0.5))
                rows.append((f"c{client}", f"{day} 09:00", None, "export", source, None, count))
    table = anomalies_of(tiny_portfolio(rows), ["c0", "c1", "c2", "c3"], START, END)
    return table[table["lasting"].astype(bool)]


@pytest.mark.parametrize(("source", "about"), [("api", "calls"), (None, "events")])
@pytest.mark.parametrize("length", [3, 28, 60])
def test_a_customer_without_users_that_falls_silent_is_found(source, about, length):
    rows = calls_only(length, source)
    assert rows[["client_id", "about", "anomaly_type"]].values.tolist() == [
        ["c0", about, "unusual_dip"]
    ]
    row = rows.iloc[0]
    assert row["value"] == 0 and row["expected"] > 15
    assert row["date"] == START + dt.timedelta(days=84)
    assert min(length, 56) - 3 <= row["last_day"] + 1 - row["first_day"] <= length
    assert row["open"] == (length == 60)
    assert calls_only(0, source).empty


def test_steady_calls_of_a_wide_law_have_no_lasting_fall_and_silences_of_them_do():
    assert sum(anomalies_lasting.false_falls(seed, Settings()) for seed in range(40)) <= 2
    for days in (3, 28, 60):
        hits = [anomalies_lasting.silence_is_found(seed, days, Settings()) for seed in range(15)]
        assert np.mean(hits) >= 0.8


def test_a_feature_that_all_begin_or_cease_to_use_is_named():
    events = []
    for at in range(LENGTH):
        day = START + dt.timedelta(days=at)
        used = ["base", "old" if at < 80 else "new"]
        for client in range(6):
            for user in range(6):
                events += [
                    (f"c{client}", f"{day} 09:{user:02d}", f"u{user}", name) for name in used
                ]
    rows = anomalies_of(tiny_portfolio(events), CLIENTS, START, END, each=False)
    kinds = rows[rows["about"] == "kind"].sort_values("feature")
    assert kinds[["feature", "anomaly_type"]].values.tolist() == [
        ["new", "unusual_spike"],
        ["old", "unusual_dip"],
    ]


@pytest.mark.parametrize(
    ("entry", "departure", "named"),
    [
        ((10, 10), (10, 10), True),  # a holiday's own day
        ((11, 11), (1, 30), False),  # a holiday within a month of little use
        ((1, 20), (2, 30), True),  # an outage that had begun before
        ((10, 30), (5, 30), True),  # most of its days
        ((31, 31), (1, 30), False),
    ],
)
def test_an_entry_of_the_calendar_explains_a_departure_that_it_begins_or_mostly_covers(
    entry, departure, named
):
    assert explains(*entry, *departure) is named
