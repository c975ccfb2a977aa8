"""Plain recounts of users' lives: growth accounting, cohorts by active days, who is there and who was activated."""

from __future__ import annotations

import datetime as dt

from tests.measures.plain_usage import DAY, NAN, Plain, users_of


def firsts(book: Plain, client: str) -> dict[str, dt.date]:
    """The first day of each user with a person event, ever."""
    found: dict[str, dt.date] = {}
    for event in book.person(client, dt.date(1990, 1, 1), dt.date(2100, 1, 1)):
        if event.user is not None:
            found[event.user] = min(found.get(event.user, event.day), event.day)
    return found


def listed(book: Plain, client: str) -> dict[str, tuple[dt.date | None, dt.date | None]]:
    """Of each listed user the days on which it was created and deactivated."""
    return {
        row["user_id"]: (
            book.day(client, row.get("created_at")),
            book.day(client, row.get("deactivated_at")),
        )
        for row in book.of("users", client)
    }


def truly_new(book: Plain, client: str, user: str, first: dt.date) -> bool:
    if book.signup(client) >= book.first_day:
        return True
    created = listed(book, client).get(user, (None, None))[0]
    return created >= book.first_day if created is not None else first >= book.first_day + 28 * DAY


def growth(book: Plain, client: str, start: dt.date, end: dt.date) -> dict[str, set[str]] | None:
    since = start - (end - start)
    if book.signup(client) < book.first_day:
        since = min(since, start - 28 * DAY)
    if since < book.first_day or book.lived(client, start, end) <= 0:
        return None
    now = users_of(book.person(client, start, end))
    before = users_of(book.person(client, start - (end - start), start))
    new = {
        user
        for user, first in firsts(book, client).items()
        if start <= first < end and truly_new(book, client, user, first)
    }
    return {
        "new": new,
        "returning": now & before,
        "resurrected": now - before - new,
        "dormant": before - now,
    }


def _growth(kind: str):
    def measure(book: Plain, client: str, start: dt.date, end: dt.date) -> float:
        found = growth(book, client, start, end)
        return NAN if found is None else len(found[kind])

    measure.__name__ = f"{kind}_users"
    return measure


def cohort_of(book: Plain, client: str, user: str, end: dt.date) -> str:
    days = len(
        {event.day for event in book.person(client, end - 28 * DAY, end) if event.user == user}
    )
    first = firsts(book, client).get(user)
    born = listed(book, client).get(user, (None, None))[0] or (
        first if first is not None and first < end else None
    )
    lived = 28 if born is None else max(1, min(28, (end - born).days))
    if days * 28 >= 12 * lived:
        return "power"
    return "regular" if days * 28 >= 4 * lived else "at_risk" if days else "inactive"


def possible(book: Plain, client: str, end: dt.date) -> set[str]:
    named = listed(book, client)
    here = {
        user
        for user, (created, left) in named.items()
        if not (created is not None and created >= end)
        and not (left is not None and left < end - 28 * DAY)
    }
    return here | {
        user for user in users_of(book.person(client, end - 90 * DAY, end)) if user not in named
    }


def _cohort(kind: str):
    def measure(book: Plain, client: str, start: dt.date, end: dt.date) -> float:
        if end - 28 * DAY < book.first_day or end <= book.signup(client):
            return NAN
        return sum(
            cohort_of(book, client, user, end) == kind for user in possible(book, client, end)
        )

    measure.__name__ = f"{kind}_users"
    return measure


def provisioned(book: Plain, client: str, end: dt.date) -> set[str]:
    if not book.has("users"):
        return {user for user, first in firsts(book, client).items() if first < end}
    return {
        user
        for user, (created, left) in listed(book, client).items()
        if not (created is not None and created >= end) and not (left is not None and left < end)
    }


def provisioned_users(book: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if not book.has("users") or end < book.first_day or end <= book.signup(client):
        return NAN
    return len(provisioned(book, client, end))


def activated_users(book: Plain, client: str, start: dt.date, end: dt.date) -> float:
    if end < book.first_day or end <= book.signup(client):
        return NAN
    first = firsts(book, client)
    return sum(user in first and first[user] < end for user in provisioned(book, client, end))


MEASURES = {
    each.__name__: each
    for each in (
        *map(_growth, ("new", "returning", "resurrected", "dormant")),
        *map(_cohort, ("power", "regular", "at_risk", "inactive")),
        provisioned_users,
        activated_users,
    )
}
