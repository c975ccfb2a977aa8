"""Usage: the charts of a customer's and of the portfolio's use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from healthseg.charts import bars, canvas, columns, formats, heat, scatter, theme

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

# Of the scale at least, and for how many days a cause's name stands alone.
LEAST_RATIO, CAUSE_DAYS = 1.6, 45


def histogram(users: pd.DataFrame) -> Picture:
    names = ("power", "regular", "at_risk", "inactive")
    paints = dict(zip(names, (*theme.KINDS[:3], theme.FAINT), strict=True))
    words = {**{name: name.capitalize() for name in names}, "at_risk": "Occasional"}
    counts = users.groupby("cohort")["users"].sum() if len(users) else {}
    return columns.columns(
        users.assign(start=users["active_days"] - 0.42, end=users["active_days"] + 0.42),
        _cohorts(counts, users["users"].sum()),
        f"Users by their active days of the last 28; n = {users['users'].sum():.0f} users",
        "No user could have been active in the last 28 days, or they were not tracked.",
        "start",
        "end",
        [("users", "", "")],
        by=("cohort", paints),
        legend=[(f"{words[name]} {counts.get(name, 0)}", paints[name]) for name in names],
        time=False,
        ticks=(0, 4, 8, 12, 16, 20, 24, 28),
        height=150,
    )


def _cohorts(counts: Mapping[str, float], users: float) -> str:
    """How many of the users are active on a day a week or more."""
    often = sum(int(counts.get(name, 0)) for name in ("power", "regular"))
    verb = "is" if often == 1 else "are"
    return f"{often:,} of {users:,.0f} users {verb} active on at least a day a week"


def _busiest(parts: pd.DataFrame) -> str:
    """What the most and the median part of the period had."""
    if not len(parts) or not parts["person_events"].sum():
        return "Events by people"
    top = parts.loc[parts["person_events"].idxmax()]
    day = formats.day(str(top["start"])[:10])
    return f"{parts['person_events'].sum():,.0f} events by people, the most on {day}"


def series(parts: pd.DataFrame) -> Picture:
    cut = " Faint: not a whole part." if len(parts) and not parts["complete"].all() else ""
    return columns.columns(
        parts,
        _busiest(parts),
        f"Events by people on the account's clock, without API calls; n = {parts['person_events'].sum():,.0f}.{cut}",
        "No person used it in this period.",
        "start",
        "end",
        [("person_events", "events", theme.HIGHLIGHT)],
        light=lambda part: not part["complete"],
    )


def trend(weeks: pd.DataFrame, finding: str = "") -> Picture:
    fitted = weeks["fitted"].notna().any() if len(weeks) else False
    finding += _after_peak(weeks) if finding.startswith("Usage grows") else ""
    note = "the line is their trend" if fitted else "too few weeks for a trend"
    return columns.columns(
        weeks,
        finding or "Events by week",
        f"Events by people in blocks of seven days; {note}; n = {len(weeks)} weeks",
        "No whole week with events lies before the end of the period.",
        "start",
        "end",
        [("person_events", "events", theme.FAINT)],
        line=("fitted", "trend"),
    )


def _after_peak(weeks: pd.DataFrame) -> str:
    """How many weeks lie behind the busiest of a growing usage: the trend of all says nothing of its last."""
    events, fitted = weeks["person_events"].reset_index(drop=True), weeks["fitted"].dropna()
    growing = len(fitted) > 1 and fitted.iloc[-1] > fitted.iloc[0]
    since = len(events) - 1 - int(events.idxmax()) if growing else 0
    return f"; the last {since} weeks were below the peak" if since > 1 else ""


def growth(weeks: pd.DataFrame) -> Picture:
    return columns.columns(
        weeks,
        _users_since(weeks),
        "Users by week. Back: after a week or more without use; paused: active the week before, not in this one; "
        f"n = {len(weeks)} weeks",
        "No week has active users and a tracked week before it.",
        "start",
        "end",
        [
            ("returning_users", "Active again", theme.FAINT),
            ("resurrected_users", "Back", theme.KINDS[0]),
            ("new_users", "New", theme.KINDS[1]),
        ],
        below=[("dormant_users", "Paused", theme.DOWN)],
        height=190,
    )


def _users_since(weeks: pd.DataFrame) -> str:
    """The active users of the last week beside those of the first."""
    known = weeks["active_users"].dropna() if len(weeks) else None
    if known is None or len(known) < 2:
        return "Users week by week"
    now, before = int(known.iloc[-1]), int(known.iloc[0])
    users = f"{now:,} user{'' if now == 1 else 's'} active in the last week"
    return f"{users}, {before:,} in the week {len(known) - 1} weeks before"


def heatmap(grid: pd.DataFrame) -> Picture:
    return heat.weekly(
        grid,
        "Hours of the week",
        "Hours in which a user was active, local time; "
        f"n = {grid['user_hours'].sum() if len(grid) else 0:,.0f} user-hours",
        "No event of a user has a time of day in this period.",
    )


def retention(cohorts: pd.DataFrame) -> Picture:
    users = cohorts.groupby("cohort")["users"].first().sum() if len(cohorts) else 0
    return heat.cohorts(
        cohorts,
        _back_after(cohorts),
        "Share of the users first seen in a week, by weeks since; users in brackets, also those of customers that "
        f"churned since; n = {users:,.0f}",
        "No week of the users first seen in the last twelve is over.",
    )


def _back_after(cohorts: pd.DataFrame) -> str:
    """How many new users are active again one and four weeks after their first."""
    known = cohorts.dropna(subset="retained") if len(cohorts) else cohorts
    shares = {}
    for week in (1, 4):
        rows = known[known["week"] == week] if len(known) else known
        if len(rows):
            shares[week] = formats.percent(rows["retained"].sum() / rows["users"].sum())
    if 1 not in shares:
        return "Retention of new users"
    later = f", {shares[4]} after four" if 4 in shares else ""
    return f"{shares[1]} of new users are active again one week later{later}"


def features(frame: pd.DataFrame) -> Picture:
    return bars.bars(
        frame.dropna(subset="adoption_rate"),
        _most_used(frame),
        "Share of the period's active users; n = {n} features",
        "No feature was used by a person in this period.",
        bars.row(
            "{feature:words}",
            "{adoption_rate:percent} of users · {weekly_usage:rate} a week",
            "adoption_rate",
        ),
        bars.shares(),
    )


def _most_used(frame: pd.DataFrame) -> str:
    known = frame.dropna(subset="adoption_rate")
    if not len(known):
        return "Features in use"
    top = known.loc[known["adoption_rate"].idxmax()]
    name = formats.sentence(formats.words(top["feature"]))
    return f"{name} is used by {formats.percent(top['adoption_rate'])} of the active users"


def peers(frame: pd.DataFrame, client_id: str) -> Picture:
    return scatter.strip(
        frame,
        "Among all customers",
        f"Weekly active users per seat or user; n = {frame['value'].notna().sum()} customers",
        "No other customer can be compared.",
        "value",
        lambda row: row["client_id"] == client_id,
        "{value:number.2} weekly active users per seat or user",
    )


def breaking_away(customers: pd.DataFrame) -> Picture:
    dropped = customers[customers["breaks_away"].fillna(False).astype(bool)]
    median = float(customers["usage_ratio"].median())
    return bars.bars(
        dropped,
        "Sharp drops against the portfolio",
        f"28 days against the 84 before; the mark is the portfolio's median, "
        f"{100 * median:.0f}%; n = {{n}} of {len(customers)} customers",
        "No customer's usage dropped far below what the others show.",
        bars.row(
            "{name}",
            "{usage_ratio:percent} of its baseline",
            "usage_ratio",
            colour=theme.DOWN,
            target=median,
        ),
        bars.shares(1.1 * median),
        most=12,
    )


def utilisation(seats: pd.DataFrame) -> Picture:
    return columns.columns(
        seats,
        _full_and_idle(seats),
        "Customers by share of their seats used in 30 days; the last bar uses all or more; "
        f"n = {seats['customers'].sum():.0f}",
        "No customer's seats are known.",
        "low",
        "high",
        [("customers", "customers", theme.HIGHLIGHT)],
        colour=lambda step: theme.DOWN if step["high"] <= 0.5 + 1e-9 else theme.HIGHLIGHT,
        time=False,
        ticks=(0, 0.2, 0.4, 0.6, 0.8, 1),
        tick_form="percent",
        labelled=True,
        height=160,
    )


def _full_and_idle(seats: pd.DataFrame) -> str:
    full = seats.loc[seats["low"] >= 1 - 1e-9, "customers"].sum()
    idle = seats.loc[seats["high"] <= 0.5 + 1e-9, "customers"].sum()
    customers = f"{full:.0f} customer{' uses all its' if full == 1 else 's use all their'} seats"
    return f"{customers}, {idle:.0f} fewer than half"


def _first_cause(calendar: str | None) -> str:
    """The first of a day's causes without its kind: "holiday: Christmas Day; …" is too long beside a point."""
    if not isinstance(calendar, str):
        return ""
    first = calendar.partition(";")[0]
    return formats.plain(first.partition(": ")[2] or first)[:30]


def days(frame: pd.DataFrame) -> Picture:
    """The ratio to the weekday's usual number of events; unusual days are dots with the name of their cause."""
    unusual = int(frame["unusual"].sum()) if len(frame) else 0
    title = f"{unusual} day{' was' if unusual == 1 else 's were'} unlike the others in a year"
    rows = [
        row | {"cause": _first_cause(row["calendar"])} for row in canvas.records(frame, "ratio")
    ]
    if not rows:
        nothing = "The portfolio has too few weeks to tell what is usual on a weekday."
        return theme.nothing(title, nothing)
    points: canvas.Rows = [
        {
            "start": canvas.moment(row["date"]),
            "value": float(row["ratio"]),
            "tip": f"{formats.day(row['date'])}: {formats.percent(row['ratio'])}"
            + (f", {row['cause']}" if row["unusual"] and row["cause"] else ""),
        }
        for row in rows
    ]
    marked = [row for row in rows if row["unusual"]]
    dots = [point for point, row in zip(points, rows, strict=True) if row["unusual"]]
    span = canvas.days(points[0]["start"], points[-1]["start"])
    high = max(LEAST_RATIO, *(point["value"] for point in points))
    x = canvas.at("start", span, canvas.axis("date", 5, grid=False))
    y = canvas.at("value", canvas.span(0, high * 1.04), canvas.axis("percent", 4))
    text = {"align": "center", "dy": 12, "fontSize": 11, "color": theme.SOFT}
    layers = [
        canvas.layer(points, "line", {"color": theme.FAINT, "strokeWidth": 1}, x=x, y=y),
        canvas.layer(dots, "circle", {"color": theme.DOWN, "size": 50, "opacity": 1}, x=x, y=y),
        canvas.layer(_spaced(marked), "text", text, x=x, y=y, text="text"),
    ]
    count = frame["ratio"].notna().sum()
    subtitle = f"Events by people against the weekday's usual number; n = {count} days"
    return canvas.picture(layers, title, subtitle, 190, left=48, right=12, bottom=26)


def _spaced(rows: canvas.Rows) -> canvas.Rows:
    """The causes of days; a cause stands once, and not where the one before it still runs."""
    names, last, free = [], "", pd.Timestamp.min
    for row in rows:
        text = row["cause"]
        if text and text != last and row["date"] >= free:
            last, free = text, row["date"] + pd.Timedelta(days=CAUSE_DAYS)
            start = canvas.moment(row["date"])
            names.append({"start": start, "value": float(row["ratio"]), "text": text})
    return names
