"""Plain recounts of users' lives: growth accounting, cohorts by active days, who is there and who was activated."""

from __future__ import annotations

import datetime as dt

from tests.metrics.plain_usage import DAY, NAN, Plain, users_of


def firsts(portfolio: Plain, client: str) -> dict[str, dt.date]:
    """The first day of each user with a person event, ever."""
    first_days: dict[str, dt.date] = {}
    for event in portfolio.person(client, dt.date(1990, 1, 1), dt.date(2100, 1, 1)):
        if event.user is not None:
            first_days[event.user] = min(first_days.get(event.user, event.day), event.day)
    return first_days


def listed(portfolio: Plain, client: str) -> dict[str, tuple[dt.date | None, dt.date | None]]:
    """Of each listed user the days on which it was created and deactivated."""
    return {
        row["user_id"]: (
            portfolio.day(client, row.get("created_at")),
            portfolio.day(client, row.get("deactivated_at")),
        )
        for row in portfolio.of("users", client)
    }


def truly_new(portfolio: Plain, client: str, user: str, first: dt.date) -> bool:
    if portfolio.signup(client) >= portfolio.first_day:
        return True
    created = listed(portfolio, client).get(user, (None, None))[0]
    return (
        created >= portfolio.first_day
        if created is not None
        else first >= portfolio.first_day + 28 * DAY
    )


def growth(
    portfolio: Plain, client: str, start: dt.date, end: dt.date
) -> dict[str, set[str]] | None:
    since = start - (end - start)
    if portfolio.signup(client) < portfolio.first_day:
        since = min(since, start - 28 * DAY)
    if since < portfolio.first_day or portfolio.lived(client, start, end) <= 0:
        return None
    now = users_of(portfolio.person(client, start, end))
    before = users_of(portfolio.person(client, start - (end - start), start))
    new = {
        user
        for user, first in firsts(portfolio, client).items()
        if start <= first < end and truly_new(portfolio, client, user, first)
    }
    return {
        "new": new,
        "returning": now & before,
        "resurrected": now - before - new,
        "dormant": before - now,
    }


def _growth(kind: str):
    def metric(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
        people = growth(portfolio, client, start, end)
        return NAN if people is None else len(people[kind])

    metric.__name__ = f"{kind}_users"
    return metric


def cohort_of(portfolio: Plain, client: str, user: str, end: dt.date) -> str:
    days = len(
        {event.day for event in portfolio.person(client, end - 28 * DAY, end) if event.user == user}
    )
    first = firsts(portfolio, client).get(user)
    born = listed(portfolio, client).get(user, (None, None))[0] or (
        first if first is not None and first < end else None
    )
    lived = 28 if born is None else max(1, min(28, (end - born).days))
    if days * 28 >= 12 * lived:
        return "power"
    return "regular" if days * 28 >= 4 * lived else "at_risk" if days else "inactive"


def possible(portfolio: Plain, client: str, end: dt.date) -> set[str]:
    named = listed(portfolio, client)
    listed_users = {
        user
        for user, (created, left) in named.items()
        if not (created is not None and created >= end)
        and not (left is not None and left < end - 28 * DAY)
    }
    return listed_users | {
        user
        for user in users_of(portfolio.person(client, end - 90 * DAY, end))
        if user not in named
    }


def _cohort(kind: str):
    def metric(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
        if end - 28 * DAY < portfolio.first_day or end <= portfolio.signup(client):
            return NAN
        return sum(
            cohort_of(portfolio, client, user, end) == kind
            for user in possible(portfolio, client, end)
        )

    metric.__name__ = f"{kind}_users"
    return metric


def provisioned(portfolio: Plain, client: str, end: dt.date) -> set[str]:
    if not portfolio.has("users"):
        return {user for user, first in firsts(portfolio, client).items() if first < end}
    return {
        user
        for user, (created, left) in listed(portfolio, client).items()
        if not (created is not None and created >= end) and not (left is not None and left < end)
    }


def provisioned_users(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if not portfolio.has("users") or end < portfolio.first_day or end <= portfolio.signup(client):
        return NAN
    return len(provisioned(portfolio, client, end))


def activated_users(portfolio: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if end < portfolio.first_day or end <= portfolio.signup(client):
        return NAN
    first = firsts(portfolio, client)
    return sum(user in first and first[user] < end for user in provisioned(portfolio, client, end))


METRICS = {
    each.__name__: each
    for each in (
        *map(_growth, ("new", "returning", "resurrected", "dormant")),
        *map(_cohort, ("power", "regular", "at_risk", "inactive")),
        provisioned_users,
        activated_users,
    )
}
