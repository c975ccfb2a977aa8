"""Which stage was each customer in, from when to when, as far as was known, and how long do customers stay in it?

A change is a customer's entry into a stage at an instant; imported and recorded changes are in one order. Of two at the
same instant the one recorded later counts; an entry into the stage that the customer is in already is no change. What
lies between two changes is a spell. Curves of the time in a stage have competing exits and late entry: a spell
counts from the day on which tracking began (left truncation), and churn is an exit like the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.errors import require_known
from healthseg.metrics.counting import customers
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.statements import table_rows
from healthseg.periods import UTC, end_of_day_utc, local_day
from healthseg.statistics.survival import (
    Median,
    aalen_johansen,
    kaplan_meier,
    quantile_time,
    survival_at,
)

if TYPE_CHECKING:
    from healthseg.data.ledger.ledger import StageEvent
    from healthseg.data.portfolio import Portfolio


RECORDED, IMPORTED = "recorded", "imported"


@dataclass(frozen=True)
class StageChange:
    """A customer entered ``stage`` at ``effective_at``, which we know since ``known_at``."""

    client_id: str
    stage: str
    effective_at: dt.datetime
    day: dt.date  # account-local
    known_at: dt.datetime
    reason: str | None = None
    automated: bool = False
    actor: str | None = None
    kind: str = "transition"
    source: str = IMPORTED
    request_id: str | None = None
    seq: int = 0


@dataclass(frozen=True)
class StageSpell:
    """One spell in a stage: ``[start, end)`` in account-local days, end None while it lasts; ``visit`` counts them."""

    change: StageChange
    end: dt.date | None
    exit_to: str | None
    visit: int

    @property
    def stage(self) -> str:
        return self.change.stage

    @property
    def start(self) -> dt.date:
        return self.change.day

    def days(self, until: dt.date) -> int:
        """Whole days of it by ``until``, its own end exclusive."""
        return max(0, ((self.end or until) - self.start).days)


def in_force(
    changes: Iterable[StageChange],
    effective_by: dt.datetime | None = None,
    known_by: dt.datetime | None = None,
) -> list[StageChange]:
    """One customer's changes that were effective before one instant and known by another, without what they replace.

    >>> day = lambda n: dt.datetime(2025, 3, n, tzinfo=UTC)
    >>> changes = [StageChange("a", stage, day(n), day(n).date(), day(k)) for stage, n, k in
    ...         [("trial", 1, 1), ("active", 9, 9), ("onboarding", 9, 12)]]
    >>> [change.stage for change in in_force(changes)], [change.stage for change in in_force(changes, known_by=day(9))]
    (['trial', 'onboarding'], ['trial', 'active'])
    """
    ordered = sorted(
        (
            change
            for change in changes
            if (effective_by is None or change.effective_at < effective_by)
            and (known_by is None or change.known_at <= known_by)
        ),
        key=lambda change: (change.effective_at, change.known_at, change.seq, change.stage),
    )
    last_of = {change.effective_at: change for change in ordered}
    standing: list[StageChange] = []
    for change in last_of.values():
        if not standing or standing[-1].stage != change.stage:
            standing.append(change)
    return standing


def spells(changes: Iterable[StageChange]) -> list[StageSpell]:
    """One customer's spells, from its changes in force.

    >>> day = lambda n: dt.datetime(2025, 3, n, tzinfo=UTC)
    >>> changes = [StageChange("a", stage, day(n), day(n).date(), day(n)) for stage, n in
    ...         [("active", 1), ("at_risk", 5), ("active", 12)]]
    >>> [(spell.stage, spell.days(dt.date(2025, 3, 20)), spell.visit) for spell in spells(changes)]
    [('active', 4, 1), ('at_risk', 7, 1), ('active', 8, 2)]
    """
    ordered, visits = list(changes), dict[str, int]()
    result = []
    for index, change in enumerate(ordered):
        following = ordered[index + 1] if index + 1 < len(ordered) else None
        visits[change.stage] = visits.get(change.stage, 0) + 1
        end = None if following is None else following.day
        result.append(
            StageSpell(
                change, end, None if following is None else following.stage, visits[change.stage]
            )
        )
    return result


class History:
    """All changes of a portfolio by customer: the imported ones, and those of the ledger up to its newest row."""

    def __init__(
        self,
        by_client: Mapping[str, list[StageChange]],
        recorded: list[StageChange],
        seq: int,
        head: str,
    ) -> None:
        self.by_client, self.recorded, self.seq, self.head = by_client, recorded, seq, head

    def of(self, client_id: str) -> list[StageChange]:
        return self.by_client.get(client_id, [])

    def newest_by(self, as_of: dt.date) -> int:
        """The newest recorded change that was effective by ``as_of``: later ones change no spell until then."""
        return max((change.seq for change in self.recorded if change.day <= as_of), default=0)


@dataclass
class _Latest:
    history: History


def history(portfolio: Portfolio) -> History:
    """The portfolio's changes as they stand now: the imported are read once, the ledger's newest at each call.

    Where one of the newest was known by the end of the data, the open portfolio's tables and panel are read anew as well.
    """
    known = _latest(portfolio).history
    newest = _recorded(portfolio, after=max(0, known.seq - 1))
    if known.seq and known.head not in {event.digest for event in newest}:
        # There is another ledger now.
        known = _imported_alone(portfolio)
        newest = _recorded(portfolio)
    fresh = [event for event in newest if event.seq > known.seq]
    if fresh:
        known = _with_events(known, fresh, zones(portfolio), portfolio.settings.lifecycle.name)
        fresh = [event for event in fresh if not event.lifecycle]
        if _concern_the_panel(portfolio, fresh):
            portfolio.reload_ledger()
    _latest(portfolio).history = known
    return known


def _latest(portfolio: Portfolio) -> _Latest:
    return portfolio.cache.get(
        "stage_history", None, lambda: _Latest(_imported_alone(portfolio)), disk=False
    )


def _recorded(portfolio: Portfolio, after: int = 0) -> list[StageEvent]:
    return portfolio.ledger().stage_events(after=after) if portfolio.has_ledger else []


def _concern_the_panel(portfolio: Portfolio, fresh: list[StageEvent]) -> bool:
    """Whether a day of the data knows of them, and the portfolio's tables, as they were read, don't."""
    read = max((event.seq for event in portfolio.recorded_stages), default=0)
    zone = zones(portfolio)
    return any(
        event.seq > read
        and local_day(event.recorded_at, zone[event.client_id]) <= portfolio.data_until
        for event in fresh
        if event.client_id in zone
    )


def _imported_alone(portfolio: Portfolio) -> History:
    if portfolio.settings.lifecycle.name:  # the table holds the customers' own stages
        return History({}, [], 0, "")
    imported = portfolio.cache.get(
        "imported_stages", None, lambda: _imported(portfolio), disk=False
    )
    return History(imported, [], 0, "")


def _with_events(
    known: History, events: list[Any], zone: Mapping[str, str], lifecycle: str
) -> History:
    by_client = dict(known.by_client)
    changes = [
        of_event(event, zone[event.client_id])
        for event in events
        if event.client_id in zone and event.lifecycle == lifecycle
    ]
    for change in changes:
        by_client[change.client_id] = [*by_client.get(change.client_id, []), change]
    newest = max(events, key=lambda event: event.seq)
    return History(by_client, [*known.recorded, *changes], newest.seq, newest.digest)


def of_event(event: Any, zone: str) -> StageChange:
    """A row of the ledger as a change."""
    return StageChange(
        event.client_id,
        event.stage,
        event.effective_at,
        local_day(event.effective_at, zone),
        event.recorded_at,
        event.reason,
        event.automated,
        event.actor,
        event.kind,
        RECORDED,
        event.request_id,
        event.seq,
    )


def zones(portfolio: Portfolio) -> dict[str, str]:
    """Each customer's time zone."""

    def build() -> dict[str, str]:
        known = customers(portfolio)
        return known["timezone"].fillna(portfolio.settings.default_timezone).to_dict()

    return portfolio.cache.get("zones", None, build, disk=False)


def _imported(portfolio: Portfolio) -> dict[str, list[StageChange]]:
    by_client: dict[str, list[StageChange]] = {}
    for row in table_rows(portfolio, "stage_history").itertuples(index=False):
        effective = _instant(row.effective_at)
        recorded = effective if pd.isna(row.recorded_at) else _instant(row.recorded_at)
        by_client.setdefault(row.client_id, []).append(
            StageChange(
                row.client_id,
                row.stage,
                effective,
                row.effective_day.date(),
                recorded,
                _text(row.reason),
                bool(row.automated) if not pd.isna(row.automated) else False,
                _text(row.actor),
            )
        )
    return by_client


def _instant(moment: pd.Timestamp) -> dt.datetime:
    return moment.to_pydatetime().replace(tzinfo=UTC)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def of_lifecycle(portfolio: Portfolio, name: str) -> Portfolio:
    """The portfolio with the stages of another lifecycle (``[settings.lifecycles.<name>]``) in place of its customers' own."""
    if not name:
        return portfolio
    known = portfolio.settings.lifecycles
    require_known(name, known, f"there is no lifecycle {name!r}", parameter="lifecycle")
    lifecycle = known[name].model_copy(update={"name": name})

    def build() -> Portfolio:
        return portfolio.with_settings(
            portfolio.settings.model_copy(update={"lifecycle": lifecycle})
        )

    return portfolio.cache.get("of_lifecycle", name, build, disk=False)


# -- time in stage ---------------------------------------------------------------------


# unlike the tables, the ledger of an open portfolio grows: the last few are enough
SPELLS_IN_MEMORY = 8
SAME_DAY = 0.5  # days: a spell that began and ended on one day
CHURNED = "churned"
SPELL_COLUMNS = [
    "client_id",
    "stage",
    "start",
    "end",
    "days",
    "entry",
    "exit_to",
    "visit",
    "automated",
]


def stage_spells(
    portfolio: Portfolio, known: History, as_of: dt.date, known_by: dt.datetime | None = None
) -> pd.DataFrame:
    """One row per spell in a stage that began by the end of ``as_of``, as known.

    Columns: client_id, stage, start, end (dates, end NaT while it lasts), days (to the end, or to ``as_of``), entry
    (days after its start from which it was tracked), exit_to (None while it lasts; churned also where the customer
    churned and no stage says so), visit, automated.
    """
    zone, counted = zones(portfolio), customers_as_of(portfolio, min(as_of, portfolio.data_until))
    churned_on = counted["churned_on"].dropna().dt.date.to_dict()
    limits = {name: end_of_day_utc(as_of, name) for name in set(zone.values())}
    rows = []
    for client in sorted(known.by_client):
        if client not in zone:
            continue
        client_spells = spells(in_force(known.of(client), limits[zone[client]], known_by))
        for spell in client_spells:
            end, exit_to = spell.end, spell.exit_to
            if (
                end is None
                and spell.stage != CHURNED
                and client in churned_on
                and churned_on[client] > spell.start
            ):
                end, exit_to = churned_on[client], CHURNED
            rows.append(
                (
                    client,
                    spell.stage,
                    spell.start,
                    end,
                    ((end or as_of) - spell.start).days,
                    exit_to,
                    spell.visit,
                    spell.change.automated,
                )
            )
    frame = pd.DataFrame(
        rows,
        columns=["client_id", "stage", "start", "end", "days", "exit_to", "visit", "automated"],
    )
    untracked_days = np.maximum(
        0, [(portfolio.first_event_day - day).days for day in frame["start"]]
    )
    frame = frame.assign(entry=untracked_days.astype(float), days=frame["days"].astype(float))
    dates = {name: pd.to_datetime(frame[name]).astype("datetime64[s]") for name in ("start", "end")}
    return frame.assign(**dates)[SPELL_COLUMNS]


@dataclass(frozen=True)
class TimeInStage:
    """How long customers stay in a stage: the share still in it by day, and the share that exited to each stage."""

    stage: str
    curve: pd.DataFrame  # kaplan_meier's
    exits: pd.DataFrame  # aalen_johansen's
    n: int
    ended: int
    median: Median

    def still_in(self, day: float) -> float:
        """The share of those that entered that is still in it after ``day`` days."""
        return float(survival_at(self.curve, [day])[0])

    def observed_until(self) -> float:
        """The last day on which a spell ended: the curve says nothing beyond it."""
        return float(self.curve["time"].iloc[-1]) if len(self.curve) else 0.0

    def exited_by(self, day: float, share: float) -> float | None:
        """The day by which ``share`` of those still in it on ``day`` had exited; None where that was not observed."""
        still = self.still_in(day)
        reached = self.curve["survival"].to_numpy() <= still * (1 - share) + 1e-12
        later = reached & (self.curve["time"].to_numpy() > day)
        return float(self.curve["time"].to_numpy()[later][0]) if still > 0 and later.any() else None

    def exit_shares(self, day: float | None = None) -> dict[str, float]:
        """The share that had exited to each stage by ``day`` (by the curve's end)."""
        rows = self.exits if day is None else self.exits[self.exits["time"] <= day]
        return {
            str(stage): float(group["cumulative_incidence"].iloc[-1])
            for stage, group in rows.groupby("cause", sort=True)
        }


def time_in_stage(frame: pd.DataFrame, level: float) -> dict[str, TimeInStage]:
    """The curves of each stage, from ``stage_spells``, without spells that were over before tracking began.

    >>> rows = pd.DataFrame({"stage": "trial", "days": [10.0, 20.0, 30.0, 40.0], "entry": 0.0,
    ...                      "exit_to": ["active", "churned", "active", None]})
    >>> trial = time_in_stage(rows, 0.9)["trial"]
    >>> trial.median.time, trial.still_in(30), trial.exit_shares()
    (20.0, 0.25, {'active': 0.5, 'churned': 0.25})
    """
    by_stage = {}
    for stage, group in frame.groupby("stage", sort=True):
        time = np.maximum(group["days"].to_numpy(dtype=float), SAME_DAY)
        observed = group["entry"].to_numpy(dtype=float) < time
        group, time = group[observed], time[observed]
        if not len(group) or stage == CHURNED:
            continue
        entry, exit_to = group["entry"].to_numpy(dtype=float), group["exit_to"].astype(object)
        curve = kaplan_meier(time, exit_to.notna(), entry, level)
        by_stage[str(stage)] = TimeInStage(
            str(stage),
            curve,
            aalen_johansen(time, exit_to.tolist(), entry),
            len(group),
            int(exit_to.notna().sum()),
            quantile_time(curve),
        )
    return by_stage


def portfolio_stage_spells(
    portfolio: Portfolio, known: History, as_of: dt.date, known_by: dt.datetime | None
) -> pd.DataFrame:
    """``stage_spells``, built once for the same changes."""
    return portfolio.cache.get(
        "stage_spells",
        (as_of, known_by, known.newest_by(as_of)),
        lambda: stage_spells(portfolio, known, as_of, known_by),
        disk=False,
        limit=SPELLS_IN_MEMORY,
    )


def portfolio_time_in_stage(
    portfolio: Portfolio, known: History, as_of: dt.date, known_by: dt.datetime | None
) -> Mapping[str, TimeInStage]:
    """``time_in_stage`` of the whole portfolio, built once for the same changes."""
    return portfolio.cache.get(
        "time_in_stage",
        (as_of, known_by, known.newest_by(as_of)),
        lambda: time_in_stage(
            portfolio_stage_spells(portfolio, known, as_of, known_by),
            portfolio.settings.interval_level,
        ),
        disk=False,
        limit=SPELLS_IN_MEMORY,
    )
