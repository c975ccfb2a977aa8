"""The oracle: metrics counted plainly from rows, and how detectable a planted effect is.

It shares no code with ``healthseg.metrics``, whose figures are tested against it. Day numbers count
from the first tracked day. A metric is customers × days ``at``, as of the end of each of these days,
and NaN where it is missing; the whole table before signup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import betainc, ndtr, ndtri

from healthseg.demo.schema import NEVER

if TYPE_CHECKING:
    from healthseg.demo.activity import SimulatedEvents


@dataclass
class Counts:
    """Daily counts of persons' events, all exact integers."""

    # customers × days; a session counts on the day of its first event
    events: np.ndarray
    sessions: np.ndarray
    # users × days, users sorted by customer
    active: np.ndarray
    # customers × features × days: somebody used it
    feature_days: np.ndarray
    # position of each customer's first user
    first_of: np.ndarray
    # customers × days: events that name no user
    unnamed: np.ndarray

    def by_client(self, per_user: np.ndarray) -> np.ndarray:
        return np.add.reduceat(per_user, self.first_of, axis=0)

    def users_within(self, width: int) -> np.ndarray:
        """Customers × days: distinct users active in the ``width`` days that end with the day."""
        active_days = np.cumsum(self.active, axis=1, dtype=np.int16)
        earlier = active_days[:, :-width].copy()
        active_days[:, width:] -= earlier
        return self.by_client((active_days > 0).astype(np.int32))

    def possible_users(self, width: int) -> np.ndarray:
        """``users_within``, one more where an event of these days names no user: it may be another's."""
        at = np.arange(self.unnamed.shape[1])
        return self.users_within(width) + (trailing(self.unnamed, at, width) > 0)

    @cached_property
    def monthly_users(self) -> np.ndarray:
        return self.users_within(30)


def count(
    rows: SimulatedEvents, first_of: np.ndarray, users: int, features: int, days: int
) -> Counts:
    """Counts of persons' rows, which come session by session; -1: no user, no session."""
    clients, client = len(first_of), rows.client.astype(np.int64)
    begins = np.concatenate([[True], rows.session[1:] != rows.session[:-1]])
    begins, has_user = begins & (rows.session >= 0), rows.user >= 0
    started = client[begins] * days + rows.day[begins]
    active = np.zeros(users * days, bool)
    active[rows.user[has_user].astype(np.int64) * days + rows.day[has_user]] = True
    used = np.zeros(clients * features * days, bool)
    used[(client * features + rows.feature) * days + rows.day] = True
    return Counts(
        np.bincount(client * days + rows.day, rows.weight, clients * days).reshape(clients, days),
        np.bincount(started, minlength=clients * days).reshape(clients, days),
        active.reshape(users, days),
        used.reshape(clients, features, days),
        first_of,
        np.bincount(client * days + rows.day, rows.weight * ~has_user, clients * days).reshape(
            clients, days
        ),
    )


@dataclass
class Inputs:
    """What the metrics are counted from."""

    signup: np.ndarray
    counts: Counts
    # customers × days, NaN where unknown
    seats: np.ndarray
    # customers × features: the first day on which the feature is open to the customer
    eligible: np.ndarray
    # of high and critical severity: client, opened_at, resolved_at as days
    high_tickets: pd.DataFrame
    # answers to the NPS question: client, user (-1 unknown), score, responded_at (orders them), day
    nps_answers: pd.DataFrame
    # client, issued_on, due_on, paid_on as days
    invoices: pd.DataFrame

    @property
    def first_day(self) -> np.ndarray:
        return np.maximum(self.signup, 0)[:, None]


def trailing(daily: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """Sums over the ``width`` days that end with each of ``at``, along the last axis.

    >>> trailing(np.arange(6), np.array([1, 5]), 3).tolist()
    [1.0, 12.0]
    """
    zero = np.zeros((*daily.shape[:-1], 1))
    sums = np.concatenate([zero, np.cumsum(daily, axis=-1, dtype=float)], axis=-1)
    return sums[..., at + 1] - sums[..., np.maximum(at + 1 - width, 0)]


def _ratio(above: np.ndarray, below: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """The quotient; NaN where the denominator is 0 or missing, or where ``missing``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(
            (below == 0) | (missing if missing is not None else False), np.nan, above / below
        )


def usage_vs_own_baseline(inputs: Inputs, at: np.ndarray, days: int = 28) -> np.ndarray:
    """Events over the usual events of as many days in the 84 days before."""
    recent = trailing(inputs.counts.events, at, days)
    before = trailing(inputs.counts.events, at - days, 84)
    tracked = np.clip(at - days - inputs.first_day + 1, 0, 84)
    usual = _ratio(before, tracked) * days
    return _ratio(recent, usual, (tracked < 28) | (at < days - 1))


def stickiness(inputs: Inputs, at: np.ndarray, days: int = 30) -> np.ndarray:
    """The mean of daily over monthly active users, days without monthly ones aside."""
    counts = inputs.counts
    daily = counts.by_client(counts.active.astype(np.int32))
    monthly = counts.possible_users(30)
    share = np.divide(daily, monthly, out=np.zeros(daily.shape), where=monthly > 0)
    return _ratio(trailing(share, at, days), trailing(monthly > 0, at, days), at < days - 1)


def sessions_per_user_per_week(inputs: Inputs, at: np.ndarray, days: int = 28) -> np.ndarray:
    users = inputs.counts.possible_users(days)[:, at]
    weeks = np.clip(at - inputs.signup[:, None] + 1, 0, days) / 7
    per_user = _ratio(trailing(inputs.counts.sessions, at, days), users, at < days - 1)
    return _ratio(per_user, weeks)


def seat_utilisation(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    """Users active in 30 days per seat."""
    return _ratio(inputs.counts.monthly_users[:, at], inputs.seats[:, at], at < 29)


def adopted_30d(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    """Customers × features × days: used on at least 2 of 30 days."""
    return trailing(inputs.counts.feature_days, at, 30) >= 2


def feature_adoption_rate_30d(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    eligible = inputs.eligible[:, :, None] <= at
    adopted = adopted_30d(inputs, at) & eligible
    return _ratio(adopted.sum(axis=1), eligible.sum(axis=1), at < 29)


def in_order(inputs: Inputs, features: list[int], at: np.ndarray) -> np.ndarray:
    """1 where all these features have been used, their first uses on rising days; else 0."""
    first = first_day_of(inputs.counts.feature_days[:, features])
    rises = np.all(np.diff(first, axis=1) > 0, axis=1, keepdims=True)
    return (rises & (first[:, -1:] <= at)).astype(float)


def first_day_of(mask: np.ndarray) -> np.ndarray:
    """The first True along the last axis, or NEVER."""
    return np.where(mask.any(axis=-1), mask.argmax(axis=-1), NEVER)


def nps(inputs: Inputs, at: np.ndarray, days: int = 365) -> np.ndarray:
    """Promoters less detractors in per cent, of each respondent's latest answer in the window.

    Each answer without a user counts.
    """
    answers = inputs.nps_answers.sort_values(["client", "user", "responded_at"], kind="stable")
    client, user, day, score = (
        answers[name].to_numpy() for name in ("client", "user", "day", "score")
    )
    replaced = np.full(len(answers), NEVER)
    same = (client[1:] == client[:-1]) & (user[1:] == user[:-1]) & (user[1:] >= 0)
    replaced[:-1][same] = day[1:][same]
    valid = (day[:, None] <= at) & (day[:, None] > at - days) & (replaced[:, None] > at)
    balance = (score >= 9) * 1.0 - (score <= 6)
    shape = (len(inputs.signup), len(at))
    return _ratio(100 * _sums(client, valid * balance[:, None], shape), _sums(client, valid, shape))


def _sums(client: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sums of rows by customer."""
    out = np.zeros(shape)
    np.add.at(out, client, rows)
    return out


def open_high_tickets(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    opened, resolved = (
        inputs.high_tickets[name].to_numpy()[:, None] for name in ("opened_at", "resolved_at")
    )
    is_open = (opened <= at) & (resolved > at)
    return _sums(inputs.high_tickets["client"].to_numpy(), is_open, (len(inputs.signup), len(at)))


def worst_days_overdue(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    """Days overdue of the invoice that is overdue longest; missing before the first invoice."""
    client = inputs.invoices["client"].to_numpy()
    issued, due, paid = (
        inputs.invoices[name].to_numpy()[:, None] for name in ("issued_on", "due_on", "paid_on")
    )
    unpaid = (issued <= at) & (due < at) & (paid > at)
    worst = np.zeros((len(inputs.signup), len(at)))
    np.maximum.at(worst, client, np.where(unpaid, at - due, 0))
    return np.where(_sums(client, issued <= at, worst.shape) > 0, worst, np.nan)


def days_since_last_person_event(inputs: Inputs, at: np.ndarray) -> np.ndarray:
    """Days since somebody was last active, since the first day where nobody was."""
    day = np.arange(inputs.counts.events.shape[1])
    last = np.maximum.accumulate(np.where(inputs.counts.events > 0, day, -1), axis=1)[:, at]
    return (at - np.where(last >= 0, last, inputs.first_day)).astype(float)


# the drivers of churn
METRICS: dict[str, Callable[[Inputs, np.ndarray], np.ndarray]] = {
    "usage_vs_own_baseline": usage_vs_own_baseline,
    "seat_utilisation": seat_utilisation,
    "stickiness_30d": stickiness,
    "sessions_per_user_per_week_28d": sessions_per_user_per_week,
    "feature_adoption_rate_30d": feature_adoption_rate_30d,
    "nps_365d": nps,
    "open_high_tickets": open_high_tickets,
    "worst_days_overdue": worst_days_overdue,
    "days_since_last_person_event": days_since_last_person_event,
}


def metrics(
    inputs: Inputs, at: np.ndarray, names: Iterable[str] = METRICS
) -> dict[str, np.ndarray]:
    """Customers × days of each metric; NaN before signup."""
    signed_up = inputs.signup[:, None] <= at
    return {name: np.where(signed_up, METRICS[name](inputs, at), np.nan) for name in names}


# -- power: planted effects of at least DETECTABLE power must be detected -----------------------

DETECTABLE = 0.95
# critical values: one of some thousand hypotheses under false-discovery control at .01, one of
# about ten, a single one, and one day of a customer's three years
Z_MANY, Z_FEW, Z_ONE, Z_DAY = 4.3, 2.8, 1.96, 4.5
# least ratio of a share to its base that counts as a peak
PEAK_RATIO = 1.25


def with_power(power: np.ndarray | list[float]) -> dict[str, np.ndarray]:
    """The columns `power` and `detectable`."""
    values = np.asarray(power, float)
    return {"power": values, "detectable": values >= DETECTABLE}


def power_of_z(z: np.ndarray | float, critical: float) -> np.ndarray:
    """The chance that a normal statistic with mean ``z`` passes ``critical``.

    >>> float(power_of_z(1.96, 1.96))
    0.5
    """
    return ndtr(np.abs(np.asarray(z, float)) - critical)


def z_of_power(power: float, critical: float) -> float:
    """The mean of a normal statistic that passes ``critical`` with that chance.

    Bounded by 0 and twice ``critical`` + 4.

    >>> z_of_power(0.5, 1.96)
    1.96
    """
    return float(np.clip(critical + ndtri(power), 0.0, 2 * critical + 4))


def power_of_ratio(share: np.ndarray, base: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The chance that a share over ``n`` units exceeds ``base`` by PEAK_RATIO and Z_FEW errors."""
    n = np.maximum(np.asarray(n, float), 1)
    error = np.sqrt(share * (1 - share) / n) / base
    null_error = np.sqrt(base * (1 - base) / n) / base
    needed = np.maximum(PEAK_RATIO, 1 + Z_FEW * null_error)
    return ndtr((share / base - needed) / np.maximum(error, 1e-12))


def power_of_spike(sessions: float, per_session: float, factor: float) -> float:
    """The chance that sessions with ``factor`` times their events exceed what is usual for as many.

    A session has 1 event and a geometric number more. The day must reach a number of events that as
    many plain sessions reach with the chance of a normal statistic beyond Z_DAY.

    >>> [round(power_of_spike(sessions, 5.3, 8), 2) for sessions in (0, 1, 6)]
    [0.0, 0.23, 0.97]
    """
    if sessions <= 0 or per_session <= 1:
        return 0.0
    more = np.arange(1, 20_000.0)
    # P(events beyond the first of each session ≥ more)
    reached = betainc(more, sessions, (per_session - 1) / per_session)
    least = sessions + more[np.argmax(reached <= ndtr(-Z_DAY))]
    needed = int(np.ceil(least / factor - sessions))
    return 1.0 if needed <= 0 else float(reached[needed - 1])


def power_of_odds_ratio(
    log_ratio: float, exposed_events: float, other_events: float, explained: float = 0.0
) -> float:
    """The chance that an adjusted effect on a rare event is significant at .05.

    Woolf (1955): the variance of a log odds ratio is 1/events + 1/events of both sides, where events
    are rare; adjusting for what explains a share R² of the exposure divides it by 1 − R² (Hsieh &
    Lavori 2000).
    """
    if min(exposed_events, other_events) <= 0 or explained >= 1:
        return float(power_of_z(0.0, Z_ONE))
    error = np.sqrt((1 / exposed_events + 1 / other_events) / (1 - explained))
    return float(power_of_z(log_ratio / error, Z_ONE))
