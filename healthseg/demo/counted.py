"""The drivers, counted from the generated rows by plain code of the generator's own.

Each function gives customers × steps: the metric of docs/metrics.md at ``d = step - 1``. A customer that
has not signed up by ``d`` has NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from healthseg.demo import names
from healthseg.demo.activity import Events
from healthseg.demo.adoption import Adoption
from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, Zones
from healthseg.demo.users import Users


@dataclass
class Counts:
    """Daily counts of persons' events, all of them exact integers."""

    events: np.ndarray  # customers × days
    sessions: np.ndarray  # customers × days: begun
    active: np.ndarray  # users × days
    feature_days: np.ndarray  # customers × features × days: somebody used it
    users: Users

    def by_client(self, per_user: np.ndarray) -> np.ndarray:
        return np.add.reduceat(per_user, self.users.first_of, axis=0)

    def users_within(self, width: int) -> np.ndarray:
        """Customers × days: distinct users active in the ``width`` days that end with the day."""
        seen = np.cumsum(self.active, axis=1, dtype=np.int16)
        seen[:, width:] -= np.cumsum(self.active, axis=1, dtype=np.int16)[:, :-width]
        return self.by_client((seen > 0).astype(np.int32))


def _weights(events: Events) -> np.ndarray:
    return np.where(events.calls > 0, events.calls, 1)


def count(events: Events, users: Users, clients: int, days: Frame) -> Counts:
    """From persons' rows, in order of session and time."""
    span = days.days
    per_day = np.bincount(
        events.client.astype(np.int64) * span + events.day, _weights(events), clients * span
    )
    begins = np.concatenate([[True], events.session[1:] != events.session[:-1]])
    sessions = np.bincount(
        events.client[begins].astype(np.int64) * span + events.day[begins], minlength=clients * span
    )
    active = np.zeros(users.count * span, bool)
    active[events.user.astype(np.int64) * span + events.day] = True
    width = len(names.FEATURES)
    used = np.zeros(clients * width * span, bool)
    used[(events.client.astype(np.int64) * width + events.feature) * span + events.day] = True
    return Counts(
        per_day.reshape(clients, span),
        sessions.reshape(clients, span),
        active.reshape(users.count, span),
        used.reshape(clients, width, span),
        users,
    )


def trailing(daily: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """Sums over the ``width`` days that end with each of ``at``, along the last axis."""
    sums = np.concatenate(
        [np.zeros((*daily.shape[:-1], 1)), np.cumsum(daily, axis=-1, dtype=float)], axis=-1
    )
    return sums[..., at + 1] - sums[..., np.maximum(at + 1 - width, 0)]


def _lived(who: Customers, at: np.ndarray, width: int) -> np.ndarray:
    return np.clip(at[None, :] - who.signup[:, None] + 1, 0, width)


def _missing(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where, np.nan, values)


def usage_vs_own_baseline(counts: Counts, who: Customers, at: np.ndarray) -> np.ndarray:
    recent = trailing(counts.events, at, 28)
    before = trailing(counts.events, at - 28, 84)
    tracked = np.clip(at[None, :] - 28 - np.maximum(who.signup, 0)[:, None] + 1, 0, 84)
    missing = (tracked < 28) | (before == 0) | (at < 27)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _missing(recent / (before / tracked * 28), missing)


def stickiness_30d(counts: Counts, who: Customers, at: np.ndarray) -> np.ndarray:
    daily, monthly = counts.by_client(counts.active.astype(np.int32)), counts.users_within(30)
    share = np.divide(daily, monthly, out=np.zeros(daily.shape), where=monthly > 0)
    total, days_used = trailing(share, at, 30), trailing(monthly > 0, at, 30)
    with np.errstate(invalid="ignore"):
        return _missing(total / days_used, (days_used == 0) | (at < 29))


def sessions_per_user_per_week_28d(counts: Counts, who: Customers, at: np.ndarray) -> np.ndarray:
    sessions, users = trailing(counts.sessions, at, 28), counts.users_within(28)[:, at]
    weeks = _lived(who, at, 28) / 7
    with np.errstate(divide="ignore", invalid="ignore"):
        return _missing(sessions / users / weeks, (users == 0) | (at < 27))


def seat_utilisation(counts: Counts, seats: np.ndarray, at: np.ndarray) -> np.ndarray:
    return _missing(counts.users_within(30)[:, at] / seats[:, at], at < 29)


def feature_adoption_rate_30d(counts: Counts, adoption: Adoption, at: np.ndarray) -> np.ndarray:
    adopted = trailing(counts.feature_days, at, 30) >= 2
    released = np.array([day for *_, day, _ in names.FEATURES])
    listed = np.maximum(adoption.eligible, released)[:, :, None] <= at[None, None, :]
    entitled = listed.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return _missing((adopted & listed).sum(axis=1) / entitled, (entitled == 0) | (at < 29))


def days_since_last_person_event(counts: Counts, who: Customers, at: np.ndarray) -> np.ndarray:
    day = np.arange(counts.events.shape[1])
    last = np.maximum.accumulate(np.where(counts.events > 0, day, -1), axis=1)[:, at]
    return at[None, :] - np.where(last >= 0, last, np.maximum(who.signup, 0)[:, None]).astype(float)


def open_high_tickets(
    tickets: pd.DataFrame, who: Customers, zones: Zones, days: Frame, at: np.ndarray
) -> np.ndarray:
    high = tickets[tickets["severity"] >= 2]
    client = high["client"].to_numpy()
    opened, resolved = (
        zones.local_day(high[each].to_numpy(), who.zone[client]) - days.start
        for each in ("opened", "resolved")
    )
    open_then = (opened[:, None] <= at) & (resolved[:, None] > at)
    out = np.zeros((who.count, len(at)))
    np.add.at(out, client, open_then)
    return out


def worst_days_overdue(invoices: pd.DataFrame, who: Customers, at: np.ndarray) -> np.ndarray:
    client, issued, due, paid = (
        invoices[each].to_numpy() for each in ("client", "issued", "due", "paid")
    )
    paid = np.where(paid <= -(10**6), 10**6, paid)
    unpaid = (issued[:, None] <= at) & (due[:, None] < at) & (paid[:, None] > at)
    worst, known = np.zeros((who.count, len(at))), np.zeros((who.count, len(at)), bool)
    np.maximum.at(worst, client, np.where(unpaid, at - due[:, None], 0))
    np.logical_or.at(known, client, issued[:, None] <= at)
    return _missing(worst, ~known)


def nps_365d(
    surveys: pd.DataFrame, who: Customers, zones: Zones, days: Frame, at: np.ndarray
) -> np.ndarray:
    """Each respondent's latest answer within 365 days; answers without a user count each."""
    asked = surveys[surveys["kind"] == "nps"]
    client, user, score = (asked[each].to_numpy() for each in ("client", "user", "score"))
    day = zones.local_day(asked["responded"].to_numpy(), who.zone[client]) - days.start
    again = np.full(len(asked), 10**6)  # the day of the same respondent's next answer
    order = np.lexsort((asked["responded"], user, client))
    same = (
        (client[order][1:] == client[order][:-1])
        & (user[order][1:] == user[order][:-1])
        & (user[order][1:] >= 0)
    )
    again[order[:-1][same]] = day[order[1:][same]]
    counts = (day[:, None] <= at) & (day[:, None] > at - 365) & (again[:, None] > at)
    number, balance = np.zeros((who.count, len(at))), np.zeros((who.count, len(at)))
    np.add.at(number, client, counts)
    np.add.at(balance, client, counts * ((score >= 9) * 1.0 - (score <= 6))[:, None])
    with np.errstate(invalid="ignore"):
        return _missing(100 * balance / number, number == 0)


def adopted_30d(counts: Counts, feature: int, at: np.ndarray) -> np.ndarray:
    """1 where the feature was used on at least 2 of the 30 days, else 0."""
    return _missing((trailing(counts.feature_days[:, feature], at, 30) >= 2).astype(float), at < 29)


def in_order(counts: Counts, features: tuple[str, ...], at: np.ndarray) -> np.ndarray:
    """1 where all of these features have been used by then, first uses on days that rise; else 0."""
    used = counts.feature_days[:, [names.FEATURE[each] for each in features]]
    first = np.where(used.any(axis=2), used.argmax(axis=2), 10**6)
    rises = (np.diff(first, axis=1) > 0).all(axis=1)
    return (rises[:, None] & (first[:, -1:] <= at)).astype(float)
