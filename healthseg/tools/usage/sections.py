"""Sections of the responses: trend, growth, retention, rhythm, unusual days, peers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.anomalies import weekday_rule
from healthseg.clustering.rhythms import CELLS, DAY_NAMES, Rhythm, hour_ranges, rhythms
from healthseg.clustering.unusual_days import anomalies_of, daily
from healthseg.metrics.counting import EPOCH, Counting, epoch_day
from healthseg.metrics.spans import over
from healthseg.metrics.users import feature_firsts
from healthseg.statistics.level_changes import against_weekday
from healthseg.statistics.peers import peer_standing
from healthseg.statistics.robust import VELOCITY_MIN_POINTS, theil_sen, velocity
from healthseg.tools.base import Figure, Interval
from healthseg.tools.context import DAY, CustomerContext
from healthseg.tools.usage.result import (
    GrowthAccounting,
    GrowthPeriod,
    Heatmap,
    RetentionCohort,
    RhythmCell,
    SlopeChange,
    UnusualDay,
    UsageBenchmark,
    UsageTrends,
)
from healthseg.tools.values import integer, number, rounded, word

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

WEEK = dt.timedelta(days=7)
GROWTH = ("active_users", "new_users", "returning_users", "resurrected_users", "dormant_users")
MEDIAN = 50
PER = {
    "wau_per_seat": "weekly active users per seat",
    "wau_per_user": "weekly active users per provisioned user",
}
SpanOf = tuple[Any, dt.date, dt.date]


def spans_of(client_ids: Sequence[str], parts: Sequence[SpanOf]) -> pd.DataFrame:
    """The same spans ``(span_id, start, end)`` for each customer."""
    rows = [(client, *part) for client in client_ids for part in parts]
    return pd.DataFrame(rows, columns=["client_id", "span_id", "start", "end"])


def weeks_before(end: dt.date, first: dt.date, days: int) -> list[SpanOf]:
    """Blocks of seven days counted back from ``end``, oldest first; none begins before ``first``."""
    count = min(days, (end - first).days) // 7
    return [(-back, end - back * WEEK, end - (back - 1) * WEEK) for back in range(count, 0, -1)]


# the figures of which the response's coverage is the share that is measured
COVERED = {
    "engagement_metrics": (
        "weekly_active_users",
        "monthly_active_users",
        "daily_active_users",
        "user_activation_rate",
        "feature_adoption_rate",
        "sessions_per_user_per_week",
        "average_session_duration_minutes",
    ),
    "usage_analytics": (
        "total_sessions",
        "total_events",
        "unique_features_used",
        "api_calls_count",
    ),
    "usage_trends": ("trend_direction", "weekly_growth_rate", "usage_velocity"),
}
SERIES_METRICS = ("person_events", "api_events", "active_users", "sessions")


# -- trend -----------------------------------------------------------------------------


def trends(
    weeks: pd.DataFrame, end: dt.date, settings: Settings
) -> tuple[UsageTrends, pd.DataFrame]:
    """Theil–Sen over log1p of the weeks' person events (NaN: left out); the weeks with the fitted line."""
    values = np.log1p(weeks["person_events"].to_numpy(dtype=float))
    frame = weeks[["start", "end", "person_events"]].assign(fitted=np.nan)
    level, least = settings.interval_level, settings.usage_trend_min_weeks
    known = np.isfinite(values)
    count = int(known.sum())
    shared = {
        "weeks": count,
        "window_start": weeks["start"].iloc[0] if len(weeks) else end,
        "interval_level": level,
    }
    few = f"{rules.counted(count, 'whole week')} with events, at least {least} are needed"
    if count < least or not values[known].any():
        trend = UsageTrends(
            trend_direction=Figure(None, few),
            weekly_growth_rate=Figure(None, few),
            growth_interval=Figure(None, few),
            usage_velocity=Figure(None, _few_for_velocity(count)),
            velocity=_no_slope_change(count),
            unclear=False,
            **shared,
        )
        return trend, frame
    x = np.arange(len(values), dtype=float)
    line = theil_sen(x[known], values[known], level, least)
    slope, low, high = (float(part[0]) for part in (line.slope, line.lower, line.upper))
    frame["fitted"] = np.expm1(slope * x + np.median((values - slope * x)[known]))
    direction = {1.0: "increasing", -1.0: "decreasing"}.get(float(line.direction[0]), "stable")
    speed, change = _slope_change(values[known], settings)
    trend = UsageTrends(
        trend_direction=direction,
        weekly_growth_rate=rounded(np.expm1(slope)),
        growth_interval=Interval(lower=rounded(np.expm1(low)), upper=rounded(np.expm1(high))),
        usage_velocity=Figure(speed, _few_for_velocity(count)),
        velocity=change,
        unclear=direction == "stable"
        and not np.max(np.abs(np.expm1([low, high]))) < settings.clear_trend_max_growth,
        **shared,
    )
    return trend, frame


def _few_for_velocity(weeks: int) -> str:
    return f"{rules.counted(weeks, 'whole week')} with events, at least {VELOCITY_MIN_POINTS} are needed"


def _no_slope_change(weeks: int) -> SlopeChange:
    missing = Figure(None, _few_for_velocity(weeks))
    return SlopeChange(change=missing, interval=missing)


def _slope_change(values: np.ndarray, settings: Settings) -> tuple[str | None, SlopeChange]:
    level, alike = settings.interval_level, settings.usage_week_correlation
    moved = velocity(values, settings.seed, level, alike)
    if moved.word is None:
        return None, _no_slope_change(len(values))
    interval = Interval(lower=rounded(moved.lower), upper=rounded(moved.upper))
    return moved.word, SlopeChange(change=rounded(moved.change), interval=interval)


# -- growth and retention --------------------------------------------------------------


def pulse_ratio(row: Mapping[str, Any]) -> float | None:
    """(new + resurrected) ÷ dormant users."""
    dormant = number(row["dormant_users"])
    return (row["new_users"] + row["resurrected_users"]) / dormant if dormant else None


def growth_period(row: Mapping[str, Any], start: dt.date, end: dt.date) -> GrowthPeriod:
    counts = {name: integer(row[name]) for name in GROWTH}
    ratio = rounded(pulse_ratio(row), 2)
    early = "events were not tracked in the period before, or name no user"
    return GrowthPeriod(
        start=start,
        end=end,
        **{name: Figure(count, early) for name, count in counts.items()},
        pulse_ratio=Figure(
            ratio, "no user went dormant" if counts["dormant_users"] == 0 else early
        ),
    )


def growth_accounting(
    period: GrowthPeriod, weeks: pd.DataFrame
) -> tuple[GrowthAccounting, pd.DataFrame]:
    """Growth accounting of the period and its weeks, and the weeks as a frame."""
    rows = weeks.to_dict("records")
    parts = [growth_period(row, row["start"], row["end"]) for row in rows]
    frame = weeks[["start", "end", *GROWTH]].assign(
        pulse_ratio=pd.Series([pulse_ratio(row) for row in rows], index=weeks.index, dtype=float)
    )
    return GrowthAccounting(period=period, weeks=parts), frame


def retention_cohorts(frame: pd.DataFrame) -> tuple[list[RetentionCohort], pd.DataFrame]:
    """Cohorts with users, oldest first; weeks that are not over stay null."""
    frame = frame[frame["users"] > 0].reset_index(drop=True)
    frame = frame.assign(share=frame["retained"] / frame["users"])
    cohorts = [
        RetentionCohort(
            cohort_start=start.date(),
            users=int(rows["users"].iloc[0]),
            retained=[rounded(share) for share in rows["share"]],
        )
        for start, rows in frame.groupby("cohort", sort=True)
    ]
    return cohorts, frame


# -- rhythm of the week ----------------------------------------------------------------


def heatmap(
    hours: pd.DataFrame, start: dt.date, end: dt.date, zone: str, settings: Settings
) -> tuple[Heatmap, dict[str, pd.DataFrame]]:
    """The week's rhythm with its peaks, and its frames ``heatmap`` and ``cells``."""
    user_hours = hours[hours["user"] >= 0].drop_duplicates(["user", "day", "hour"])
    week_rhythm = rhythms(
        user_hours,
        epoch_day(start),
        epoch_day(end),
        settings,
    )
    days, times = week_rhythm["day"], week_rhythm["hour"]
    grid = _grid(user_hours, hours)
    wide = grid.pivot(index="weekday", columns="hour", values="user_hours")
    part = Heatmap(
        peak_days=Figure(
            None if days.reason else [DAY_NAMES[day] for day in days.peaks], days.reason
        ),
        peak_hours=Figure(None if times.reason else hour_ranges(times.peaks), times.reason),
        statement=_statement(days, times),
        timezone=zone,
        user_hours=len(user_hours),
        days=_cells(days),
        hours=_cells(times),
        user_hours_by_weekday_and_hour=wide.to_numpy().tolist(),
        rhythm_p_days=Figure(_two_digits(days.p), days.reason),
        rhythm_p_hours=Figure(_two_digits(times.p), times.reason),
    )
    cells = [
        rhythm.cells.assign(kind=kind, name=_names(kind)) for kind, rhythm in week_rhythm.items()
    ]
    return part, {"heatmap": grid, "cells": pd.concat(cells, ignore_index=True)}


def _two_digits(probability: float) -> float | None:
    return None if number(probability) is None else float(f"{probability:.2g}")


def _names(kind: str) -> list[str]:
    return list(DAY_NAMES) if kind == "day" else [f"{hour:02d}:00" for hour in range(CELLS["hour"])]


def _grid(user_hours: pd.DataFrame, hours: pd.DataFrame) -> pd.DataFrame:
    """Weekday (0 = Monday) × hour: active user-hours and person events."""
    grid = pd.MultiIndex.from_product([range(7), range(24)], names=["weekday", "hour"])

    def counts(rows: pd.DataFrame, weights: np.ndarray | None) -> np.ndarray:
        cell = (rows["day"].to_numpy() + 3) % 7 * 24 + rows["hour"].to_numpy()
        return np.bincount(cell.astype(np.int64), weights, minlength=168).astype(np.int64)

    return grid.to_frame(index=False).assign(
        user_hours=counts(user_hours, None),
        person_events=counts(hours, hours["person_events"].to_numpy()),
    )


def _cells(rhythm: Rhythm) -> list[RhythmCell]:
    return [
        RhythmCell(
            name=name,
            user_hours=int(row.user_hours),
            share=round(float(row.share), 4),
            ratio=rounded(row.ratio, 2),
            p=rounded(row.p),
            peak=bool(row.peak),
        )
        for name, row in zip(_names(rhythm.kind), rhythm.cells.itertuples(), strict=True)
    ]


def _statement(days: Rhythm, times: Rhythm) -> str:
    """The rhythm in words."""
    reason = days.reason or times.reason
    if reason:
        return f"too little to tell: {reason}"
    if not days.peaks and not times.peaks:
        return "no distinct peak"
    parts = []
    for rhythm in (days, times):
        if not rhythm.peaks:
            parts.append(f"no distinct peak among the {rhythm.kind}s")
            continue
        is_day = rhythm.kind == "day"
        names = [DAY_NAMES[day] for day in rhythm.peaks] if is_day else hour_ranges(rhythm.peaks)
        ratio = rhythm.cells.loc[rhythm.cells["peak"], "ratio"].max()
        mean = f"up to {ratio:.1f} times the mean of the {rhythm.kind}s in use"
        parts.append(f"{', '.join(names)} ({mean})")
    return "; ".join(parts)


# -- unusual days ----------------------------------------------------------------------


def unusual_days(
    portfolio: Portfolio, clients: Sequence[str], start: dt.date, end: dt.date, until: dt.date
) -> pd.DataFrame:
    """The unusual days of ``[start, end)``, of one customer or of the sum of many; a row a day.

    Each day of an anomaly has its own events and those usual on its weekday; what stood out
    (about, value, value_expected, z) is that of the anomaly's most extreme day, of a lasting one the mean of its
    days. API calls and single features are left out: they are not a person's usage. Days before ``until`` are known.
    """
    anomalies = anomalies_of(portfolio, clients, start, end, each=False, until=until)
    anomalies = anomalies[anomalies["about"].isin(["people", "doing", "events"])].reset_index(
        drop=True
    )
    spells = [np.arange(row.first_day, row.last_day + 1) for row in anomalies.itertuples()]
    rows = anomalies.loc[np.repeat(anomalies.index, [len(spell) for spell in spells])]
    rows = rows.reset_index(drop=True)
    rows["day"] = np.concatenate(spells).astype(np.int64) if spells else np.empty(0, np.int64)
    rows = rows[(rows["day"] >= epoch_day(start)) & (rows["day"] < epoch_day(end))]
    rows = rows.assign(extremeness=-rows["z"].astype(float).abs())
    rows = rows.sort_values(["day", "extremeness", "about"], kind="stable")
    rows = rows.drop_duplicates("day").reset_index(drop=True)
    usual = usual_days(portfolio, clients, until).set_index("day").reindex(rows["day"])
    dates = [EPOCH + dt.timedelta(days=int(day)) for day in rows["day"]]
    columns = {
        "date": pd.Series(dates, dtype=object),
        **{name: usual[name].to_numpy() for name in ("person_events", "expected", "ratio")},
        "z": rows["z"].astype(float),
        "about": rows["about"].astype(object),
        "value": rows["value"].astype(float),
        "value_expected": rows["expected"].astype(float),
        "portfolio_ratio": rows["of_usual"].astype(float),
        "calendar": rows["likely_cause"].where(rows["cause"] == "calendar", None).astype(object),
        "likely_cause": rows["likely_cause"].astype(object),
    }
    return pd.DataFrame(columns)


def usual_days(portfolio: Portfolio, clients: Sequence[str], until: dt.date) -> pd.DataFrame:
    """day (since 1970), person_events, expected and their ratio, of each day before ``until``.

    Expected is the weekday's median of the eight weeks around; NaN where fewer than six days are
    like it.
    """
    series = daily(portfolio, until)
    places = pd.Index(series.clients).get_indexer(sorted(clients))
    empty = pd.DataFrame({"day": [], "person_events": []}, dtype=np.int64)
    days = (series.of(places) if len(places) else empty)[["day", "person_events"]]
    events = days["person_events"].to_numpy(dtype=float)
    like = against_weekday(events, weekday_rule(portfolio.settings))
    expected, ratio = np.full(len(days), np.nan), np.full(len(days), np.nan)
    expected[like.position], ratio[like.position] = like.expected, like.ratio
    return days.assign(person_events=events, expected=expected, ratio=ratio)


def unusual_day_parts(frame: pd.DataFrame) -> list[UnusualDay]:
    return [
        UnusualDay(
            date=row["date"],
            person_events=int(row["person_events"]),
            expected=Figure(rounded(row["expected"], 1), "too few days of its weekday around it"),
            ratio=Figure(rounded(row["ratio"], 2), "too few days of its weekday around it"),
            z=round(row["z"], 1),
            about=row["about"],
            value=round(row["value"]),
            value_expected=round(row["value_expected"], 1),
            portfolio_ratio=Figure(rounded(row["portfolio_ratio"], 2), "no other customers"),
            calendar=word(row["calendar"]),
            likely_cause=word(row["likely_cause"]),
        )
        for row in frame.to_dict("records")
    ]


def user_histogram(users: pd.DataFrame) -> pd.DataFrame:
    """Users by active days of the last 28 and cohort."""
    sizes = users.groupby(["active_days", "cohort"], sort=True).size()
    return sizes.rename("users").reset_index().astype({"active_days": int, "users": int})


# -- peers ---------------------------------------------------------------------------------


def peer_benchmark(
    context: CustomerContext,
    span: tuple[dt.date, dt.date],
    seats: float | None,
    provisioned_users: float | None,
    live_rows: pd.DataFrame,
) -> tuple[UsageBenchmark, pd.DataFrame]:
    """The comparison with peers and the industry, and the customers behind it.

    ``span`` is the last day and the day after; ``live_rows`` are the live customers on it, with
    their weekly active users, seats, industry and tier.
    """
    settings = context.settings
    metric = "wau_per_seat" if seats else "wau_per_user" if provisioned_users else None
    if metric is None:
        return _no_benchmark(), no_peers()
    table = _standings(context.portfolio, span, metric, live_rows)
    own = table[table["client_id"] == context.client_id]
    row = own.iloc[0].to_dict() if len(own) else {}
    industry = _industry_median(context, metric)
    value, rank, peer_median = (number(row.get(key)) for key in ("value", "percentile", "p50"))
    median = None if industry is None else float(industry["value"])
    label = row.get("peer_label") if rank is not None else None
    peers = int(row["n"]) if rank is not None else 0
    no_rank = (
        f"fewer than {settings.peers_min} peers have {PER[metric]}"
        if value is not None
        else f"{PER[metric]} are not measured"
    )
    no_industry = (
        f"the benchmarks table has no median of {metric} for the customer's industry"
        if context.portfolio.has("benchmarks")
        else "no benchmarks table with a source"
    )
    against = "" if industry is None else f"the industry's median ({industry['source']})"
    interval = (
        Figure(None, no_rank)
        if rank is None
        else Interval(lower=rounded(row["lower"], 1), upper=rounded(row["upper"], 1))
    )
    part = UsageBenchmark(
        vs_industry_average=Figure(_versus(value, median, metric, against), no_industry),
        percentile_rank=Figure(rounded(rank, 1), no_rank),
        percentile_interval=interval,
        metric=metric,
        value=Figure(rounded(value), f"{PER[metric]} are not measured"),
        industry_median=Figure(rounded(median), no_industry),
        source=Figure(None if industry is None else str(industry["source"]), no_industry),
        vs_peers=Figure(
            _versus(value, peer_median, metric, f"the median of {peers} peers ({label})"),
            no_rank,
        ),
        peer_median=Figure(rounded(peer_median), no_rank),
        peer_group=Figure(label, no_rank),
        peers=peers,
    )
    return part, table[["client_id", "value"]].dropna(ignore_index=True)


def _standings(
    portfolio: Portfolio, span: tuple[dt.date, dt.date], metric: str, live_rows: pd.DataFrame
) -> pd.DataFrame:
    """Every live customer's value and standing on the last day, once a day and metric."""
    day, end = span

    def build() -> pd.DataFrame:
        rows = live_rows.reset_index(drop=True)
        divisor = rows["seats"]
        if metric == "wau_per_user":
            spans = spans_of(rows["client_id"].tolist(), [(0, day, end)])
            users = over(portfolio, spans, ["provisioned_users"])
            divisor = rows["client_id"].map(users.set_index("client_id")["provisioned_users"])
        frame = rows.assign(value=rows["weekly_active_users"] / divisor.where(divisor > 0))
        missing = {name: None for name in ("industry", "tier") if name not in frame}
        settings = portfolio.settings
        return peer_standing(
            frame.assign(**missing), "value", settings.peers_min, settings.interval_level
        )

    return portfolio.cache.get("usage_standings", (day, metric), build, disk=False)


def _industry_median(context: CustomerContext, metric: str) -> dict[str, Any] | None:
    """The industry's median; of several sources the first by name."""
    industry, portfolio = context.industry, context.portfolio
    if industry is None or not portfolio.has("benchmarks"):
        return None
    rows = portfolio.cache.get(
        "benchmarks", None, lambda: portfolio.table("benchmarks"), disk=False
    )
    of_metric = (rows["industry"] == industry) & (rows["metric"] == metric)
    rows = rows[of_metric & (rows["percentile"] == MEDIAN)].sort_values("source")
    return rows.iloc[0].to_dict() if len(rows) else None


def no_peers() -> pd.DataFrame:
    return pd.DataFrame({"client_id": pd.Series(dtype="str"), "value": pd.Series(dtype=float)})


def _no_benchmark() -> UsageBenchmark:
    missing = Figure(None, "neither seats nor users are known to divide by")
    names = [name for name in UsageBenchmark.model_fields if name != "peers"]
    return UsageBenchmark(**dict.fromkeys(names, missing), peers=0)


def _versus(value: float | None, other: float | None, metric: str, reference: str) -> str | None:
    if value is None or not other:
        return None
    return f"{100 * (value / other - 1):+.0f}% {PER[metric]} against {reference}"


def adopters(
    count: Counting, weeks: pd.DataFrame, used: pd.DataFrame, end: dt.date
) -> pd.DataFrame:
    """Users that had used each of the period's features by the end of each week."""
    firsts = feature_firsts(count, end).dropna(subset="user_id")
    ends = weeks["end"].tolist() or [end]
    days = [(end - EPOCH).days for end in ends]
    rows = []
    for feature in used["feature"]:
        first = np.sort(firsts.loc[firsts["feature"] == feature, "first_day"].to_numpy())
        counts = np.searchsorted(first, days)
        rows += [
            (end - DAY, str(feature), int(count)) for end, count in zip(ends, counts, strict=True)
        ]
    return pd.DataFrame(rows, columns=["week_end", "feature", "users"])


# -- figures as records -----------------------------------------------------------------


def user_records(users: pd.DataFrame) -> list[dict[str, Any]]:
    """Each user as JSON values."""
    rows = users.astype(object).where(users.notna(), None)
    dates = [name for name in rows if name.endswith("_on")]
    return [
        {**row, **{name: row[name] and str(row[name])[:10] for name in dates}}
        for row in rows.to_dict("records")
    ]


def covered_share(parts: dict[str, Any]) -> float:
    values = [getattr(parts[part], key) for part, keys in COVERED.items() for key in keys]
    return round(sum(value is not None for value in values) / len(values), 4)


def series_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            **{name: str(row[name]) for name in ("start", "end")},
            **{name: integer(row[name]) for name in SERIES_METRICS},
            "complete": bool(row["complete"]),
        }
        for row in frame.to_dict("records")
    ]


def too_new(context: CustomerContext, end: dt.date) -> str | None:
    """Why it is not known how often users come; None of a customer that is old enough."""
    tenure, least = (end - DAY - context.signup_date).days, context.settings.frequency_min_days
    if tenure >= least:
        return None
    text = "{tenure:n day} since signup, {least:.0f} are needed"
    return rules.words(text, {"tenure": tenure, "least": least})
