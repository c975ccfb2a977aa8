"""Usage: the charts of a customer's and of the portfolio's use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import bars, columns, heat, lines, scatter, theme

if TYPE_CHECKING:
    import pandas as pd

    from healthseg.charts.theme import Picture


def histogram(users: pd.DataFrame) -> Picture:
    names = ("power", "regular", "at_risk", "inactive")
    paints = dict(zip(names, (*theme.KINDS[:3], theme.FAINT), strict=True))
    words = {**{name: name.capitalize() for name in names}, "at_risk": "Occasional"}
    counts = users.groupby("cohort")["users"].sum() if len(users) else {}
    return columns.columns(
        users.assign(start=users["active_days"] - 0.42, end=users["active_days"] + 0.42),
        "Users by active days",
        f"Active days of the last 28, by cohort; n = {users['users'].sum():.0f} users",
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


def series(parts: pd.DataFrame) -> Picture:
    cut = " Faint: not a whole part." if len(parts) and not parts["complete"].all() else ""
    return columns.columns(
        parts,
        "Events by people",
        f"Account-local time, without API calls; n = {parts['person_events'].sum():,.0f}.{cut}",
        "No person used it in this period.",
        "start",
        "end",
        [("person_events", "events", theme.HIGHLIGHT)],
        light=lambda part: not part["complete"],
    )


def trend(weeks: pd.DataFrame) -> Picture:
    fitted = weeks["fitted"].notna().any() if len(weeks) else False
    note = "the line is their trend" if fitted else "too few weeks for a trend"
    return columns.columns(
        weeks,
        "Events by week, and their trend",
        f"Blocks of seven days; {note}; n = {len(weeks)} weeks",
        "No whole week with events lies before the end of the period.",
        "start",
        "end",
        [("person_events", "events", theme.FAINT)],
        line=("fitted", "trend"),
    )


def growth(weeks: pd.DataFrame) -> Picture:
    return columns.columns(
        weeks,
        "Users week by week",
        "Back: after a week or more without use; paused: active the week before, not in this one; "
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
        "Retention of new users",
        "Share of the users first seen in a week, by weeks since; users in brackets; "
        f"n = {users:,.0f}",
        "No week of the users first seen in the last twelve is over.",
    )


def features(frame: pd.DataFrame) -> Picture:
    return bars.bars(
        frame.dropna(subset="adoption_rate"),
        "Features in use",
        "Share of the period's active users; n = {n} features",
        "No feature was used by a person in this period.",
        bars.row(
            "{feature:words}",
            "{adoption_rate:percent} of users · {weekly_usage:rate} a week",
            "adoption_rate",
        ),
        bars.shares(),
    )


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
        "Seats in use",
        "Customers by share of seats used in 30 days, the last bar all above; "
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


def days(frame: pd.DataFrame) -> Picture:
    unusual = int(frame["unusual"].sum()) if len(frame) else 0
    return lines.marked_line(
        frame,
        "Days of the whole portfolio",
        "Events by people over the weekday's usual number; "
        f"n = {frame['ratio'].notna().sum()} days, {unusual} of them unusual",
        "The portfolio has too few weeks to tell what is usual on a weekday.",
        "date",
        "ratio",
        "unusual",
        "{calendar}",
    )
