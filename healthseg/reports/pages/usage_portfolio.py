"""The page of the portfolio's usage: sharp drops, idle seats, users gained and lost, dependence on one user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.reports.pages.common import FIRST_ACTIONS, largest_first, portfolio_about
from healthseg.reports.pages.usage import TREND, WEEKS, growth, stood_out
from healthseg.reports.spec import Card, Cell, Chart, Columns, Page, Row, Section, Table

if TYPE_CHECKING:
    from healthseg.tools.usage.result import PortfolioUsage

# how reasons end that a row's other cells say
NAMED_AS_REST = ("below its own baseline", "seats in use", "depends on one user", " days")


def _reason(row: Row) -> str:
    """Why a customer is listed, where the row does not say it already."""
    return "" if row["reason"].endswith(NAMED_AS_REST) else "{reason:prose}"


def _customers(columns: Columns) -> Columns:
    """A customer with its reason, the columns, and its ARR."""
    return {"Customer": Cell("name", under=_reason), **columns, "ARR": "arr:money"}


def _arr(path: str) -> str:
    """The ARR of some customers in brackets, where it can be added up."""
    return f" ({{{path}:brief_money}} ARR)"


def _with_arr(usage: PortfolioUsage, count: str, path: str) -> str:
    known = getattr(usage, path)
    return count + (_arr(path) if known else "")


def _drops(usage: PortfolioUsage) -> tuple[str, ...]:
    if not usage.breaking_away:
        return ("No customer’s usage fell far below its own baseline",)
    largest = max(
        range(len(usage.breaking_away)), key=lambda at: usage.breaking_away[at]["arr"] or 0
    )
    others = usage.median_usage_ratio
    held = "the median customer is at {median_usage_ratio:percent} of its baseline"
    count = _with_arr(usage, "{breaking_away:count customer}", "breaking_away_arr")
    named = f"breaking_away[{largest}]"
    return (
        f"Usage fell sharply at {count}" + (f", while {held}" if others else ""),
        f"The largest is {{{named}.name}}: {{{named}.usage_ratio:percent}} of its baseline"
        if usage.breaking_away[largest]["arr"]
        else "",
    )


def _seats(usage: PortfolioUsage) -> tuple[str, ...]:
    if usage.licensed_seats is None:
        return ()
    return (
        "{seats_in_use:number} of {licensed_seats:number} seats were used in 30 days; "
        + _with_arr(usage, "{idle_seats:count customer}", "idle_seats_arr")
        + " used fewer than half of theirs and may not renew the rest",
        "{customers_at_their_seats:number customer} used all of theirs: offer them more"
        if usage.customers_at_their_seats
        else "",
        _most_idle(usage),
    )


def _most_idle(usage: PortfolioUsage) -> str:
    """Who pays for most seats that nobody uses, though more than half of its seats may be in use."""
    idle = [
        (row["seats"] - row["monthly_active_users"], at)
        for at, row in enumerate(usage.customers)
        if row["seats"] and row["monthly_active_users"] is not None
    ]
    seats, at = max(idle, default=(0, 0))
    of = f"customers[{at}]"
    return (
        f"{{{of}.name}} has the most idle seats: {{{of}.monthly_active_users:number}} of its {{{of}.seats:number}} are in use"
        if seats > 0
        else ""
    )


def _growth(usage: PortfolioUsage) -> tuple[str, ...]:
    if usage.growth_accounting.period.pulse_ratio is None:
        return (growth("lookback_period_days"),)
    return (
        growth("lookback_period_days")
        + ": {growth_accounting.period.pulse_ratio:number.1} gained for each one lost",
    )


def _single(usage: PortfolioUsage) -> tuple[str, ...]:
    count = _with_arr(usage, "{single_user_customers:count customer}", "single_user_arr")
    if not usage.single_user_customers and not usage.champions_departed:
        return ("No customer depends on a single user",)
    return (
        f"{count} would stop if one person did" if usage.single_user_customers else "",
        "At {champions_departed:count customer} the person who used it most has gone silent"
        if usage.champions_departed
        else "",
    )


def _last_event(row: Row) -> str:
    known = {0: "today", 1: "yesterday"}
    return known.get(row["days_since_last"], "{days_since_last:number} days ago")


PORTFOLIO = Page(
    tool="track_usage_engagement",
    kind="Portfolio usage",
    summary="The usage of all customers: where it dropped sharply, whose seats are idle, whether more "
    "users join than go dormant, and who depends on a single user.",
    title="The portfolio’s usage",
    about=(portfolio_about,),
    cards=(
        Card(
            "Active in 30 days",
            "{monthly_active_users:number}",
            "{weekly_active_users:number} in 7 days",
            "{active_users_change:signed} in {lookback_period_days:number day}",
            direction="active_users_change",
            past="frames.growth.active_users",
            past_name="active users by week",
        ),
        TREND,
        Card(
            "Seats in use",
            "{seat_utilisation:percent}",
            "{seats_in_use:number} of {licensed_seats:number} at {customers_with_seats:number customer}",
        ),
        Card(
            "Customers with a sharp drop",
            "{breaking_away:count}",
            lambda usage: "{breaking_away_arr:brief_money} ARR" if usage.breaking_away_arr else "",
        ),
        Card(
            "Customers using all their seats",
            "{customers_at_their_seats:number}",
            "ready for a talk about more",
        ),
    ),
    sections=(
        Section("actions", "What to do next?", blocks=(FIRST_ACTIONS, Chart("trend"))),
        Section(
            "breaking_away",
            "Where did usage drop sharply?",
            _drops,
            (
                Table(
                    "breaking_away",
                    _customers(
                        {
                            "Of own baseline": Cell("usage_ratio:percent", bar=True),
                            "Users in 30 days": "monthly_active_users:number",
                            "Last used": _last_event,
                        }
                    ),
                    label="customers",
                    sort=largest_first("arr"),
                ),
            ),
        ),
        Section(
            "growth",
            "Is the number of users growing?",
            _growth,
            (Chart("growth", WEEKS),),
        ),
        Section(
            "seats",
            "Which seats are idle?",
            _seats,
            (
                Chart("utilisation"),
                Table(
                    "customers",
                    {
                        "Customer": "name",
                        "Used": "monthly_active_users:number",
                        "Paid": "seats:number",
                        "ARR": "arr:money",
                    },
                    "Largest customers that use all their seats",
                    "customers",
                    where=lambda row: (row["seat_utilisation"] or 0.0) >= 1,
                    sort=largest_first("arr"),
                    limit=5,
                ),
                Table(
                    "idle_seats",
                    {
                        "Customer": "name",
                        "Seats in use": Cell("seat_utilisation:percent", bar=True),
                        "Used": "monthly_active_users:number",
                        "Paid": "seats:number",
                        "ARR": "arr:money",
                    },
                    "Fewer than half of the seats in use, the most idle seats first",
                    "customers",
                ),
            ),
        ),
        Section(
            "single_users",
            "Which customers depend on one user?",
            _single,
            (
                Table(
                    "customers",
                    {
                        "Customer": "name",
                        "Why": lambda row: (
                            "one active user" if row["single_user"] else "champion gone"
                        ),
                        "Users in 30 days": "monthly_active_users:number",
                        "Top user’s share": "top_user_share:percent",
                        "ARR": "arr:money",
                    },
                    label="customers",
                    where=lambda row: row["single_user"] or row["champion_departed"] == 1,
                    sort=largest_first("arr"),
                ),
            ),
        ),
        Section(
            "retention",
            "Do new users keep using it?",
            blocks=(Chart("retention"),),
        ),
        Section(
            "unusual_days",
            "Which days were unusual?",
            blocks=(
                Chart("days"),
                Table(
                    "unusual_days",
                    {
                        "Day": "date:day",
                        "Events against usual": "ratio:percent",
                        "What stood out": stood_out,
                        "Likely cause": "{likely_cause:prose?not known}",
                    },
                    label="days",
                    newest_first=True,
                ),
            ),
        ),
    ),
    method=(
        "Live customers only; users of a customer that churned count as dormant from that week on",
        "Weeks and months end with each account’s last whole day on its own clock",
        "A new user is one never seen before; one returned after a period of equal length without use",
        "The users first seen in a week, whose return is followed, are of the same days at every account, and those of "
        "customers that churned since are among them: not quite the new users of the weeks above",
        "Usage against the own baseline is the events of 28 days over those of the 84 days before, "
        "per tracked day; a sharp drop is below four fifths of the median customer’s, and two robust "
        "spreads away",
        "A day is unusual where as many people, or as much done by each, occurs by chance once in "
        "100,000 such days",
        lambda usage: (
            "The growth a week is within {usage_trends.growth_interval.lower:signed_percent.1} and "
            "{usage_trends.growth_interval.upper:signed_percent.1} ({usage_trends.interval_level:percent} interval)"
            if usage.usage_trends.growth_interval
            else None
        ),
        "Amounts of different currencies are never added up",
    ),
    portfolio=True,
)
