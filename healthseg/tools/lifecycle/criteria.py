"""Criteria of the next stage: the figures they read, which hold, and what contradicts a record."""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.metrics import panels
from healthseg.metrics.counting import epoch_day
from healthseg.metrics.milestones import states
from healthseg.rules.expressions import Condition
from healthseg.scoring import score_panel
from healthseg.scoring.scored_panel import with_todays_values
from healthseg.settings.lifecycle import Criterion, Edge
from healthseg.statistics.robust import theil_sen
from healthseg.tools.lifecycle.result import Disagreement, SuggestedStage
from healthseg.tools.values import number

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings


CONTRACT = ("contract_in_force", "contract_ended", "contract_began_in_stage")
MILESTONES = "required_onboarding_open"
DayFigures = dict[str, Any]


def days_before(day: dt.date, count: int) -> list[dt.date]:
    """The ``count`` days that end with ``day``, oldest first."""
    return [day - dt.timedelta(days=back) for back in range(count - 1, -1, -1)]


def customer_days(
    portfolio: Portfolio, day: dt.date, client_id: str, needed: Iterable[str], since: dt.date
) -> list[DayFigures]:
    """One customer's figures on each of the last days on which it was live, oldest first.

    ``needed`` are the figures that will be read (contracts and milestones cost a look at their tables); ``since`` is
    the day on which its stage began.
    """
    rows = panels.panel(
        portfolio, days_before(day, portfolio.settings.lifecycle.criteria_days), [client_id]
    )
    return _figures(
        portfolio,
        _with_scores(portfolio, rows[rows["live"].astype(bool)]),
        day,
        set(needed),
        {client_id: since},
    )


def _with_scores(portfolio: Portfolio, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the panel with ``health_score``, as it is shown, and whether it is ``provisional``."""
    rows, _ = with_todays_values(rows)
    if not len(rows):
        return rows.assign(health_score=np.nan)
    scores = score_panel(rows, portfolio.settings, None).frame
    return rows.assign(
        health_score=scores["shown"].to_numpy(), provisional=scores["provisional"].to_numpy()
    )


def portfolio_days(
    portfolio: Portfolio, day: dt.date, needed: Iterable[str], since: Mapping[str, dt.date]
) -> dict[str, list[DayFigures]]:
    """``customer_days`` for all customers that are live on ``day`` and have a stage (``since``), by client_id."""
    rows = panels.panel(portfolio, days_before(day, portfolio.settings.lifecycle.criteria_days))
    rows = rows[rows["live"].astype(bool) & rows["client_id"].isin(since)]
    by_client: dict[str, list[DayFigures]] = {}
    for day_figures in _figures(portfolio, _with_scores(portfolio, rows), day, set(needed), since):
        by_client.setdefault(day_figures["client_id"], []).append(day_figures)
    last = pd.Timestamp(day)
    return {
        client: days for client, days in by_client.items() if pd.Timestamp(days[-1]["date"]) == last
    }


def _figures(
    portfolio: Portfolio,
    rows: pd.DataFrame,
    day: dt.date,
    needed: set[str],
    since: Mapping[str, dt.date],
) -> list[DayFigures]:
    names = [name for name in rows if name in needed]
    days = [
        {"client_id": client, "date": date}
        for client, date in zip(
            rows["client_id"].tolist(), rows["date"].dt.date.tolist(), strict=True
        )
    ]
    for name in names:
        for figures, value in zip(days, rows[name].tolist(), strict=True):
            figures[name] = value if isinstance(value, str) else number(value)
    if needed & set(CONTRACT):
        known = contracts(portfolio)
        for figures in days:
            client = figures["client_id"]
            figures |= contract_figures(known, client, figures["date"], since[client])
    if MILESTONES in needed:
        _with_milestones(portfolio, days, day)
    return days


def refuse_unmet(
    portfolio: Portfolio, client_id: str, move: tuple[str | None, str], since: dt.date, day: dt.date
) -> None:
    """Raises InvalidParameters where a criterion of a move (source, target) is known not to be met on a day."""
    settings, target = portfolio.settings, move[1]
    edge = settings.lifecycle.guard(*move)
    if edge is None:
        return
    days = customer_days(portfolio, day, client_id, needed([edge]), since)
    states = [criterion_state(item, days, settings.interval_level) for item in edge.criteria]
    unmet = [state.criterion.text for state in states if state.met is False]
    if unmet:
        met = sum(state.met is True for state in states)
        raise InvalidParameters(
            f"{client_id} meets {met} of {len(states)} criteria of {target}; not met: {'; '.join(unmet)}. force=True "
            "with a transition_reason moves it all the same, update_stage corrects a record",
            parameter="new_stage",
            value_provided=target,
            validation_rule="all criteria met or unknown, or force",
        )


def contracts(portfolio: Portfolio) -> dict[str, list[tuple]] | None:
    """Each customer's contracts as (starts_on, ends_on, signed_on), in order; None where there is no such table.

    A contract that renews by itself has no end.
    """

    def build() -> dict[str, list[tuple]] | None:
        if not portfolio.has("contracts"):
            return None
        rows = portfolio.table("contracts")
        if "auto_renews" in rows:
            renews = rows["auto_renews"].fillna(False).astype(bool)
            rows = rows.assign(ends_on=rows["ends_on"].where(~renews))
        dates = [
            [None if pd.isna(value) else value.date() for value in pd.to_datetime(rows[name])]
            for name in ("starts_on", "ends_on", "signed_on")
        ]
        by_client: dict[str, list[tuple]] = {}
        for client, *contract in zip(rows["client_id"], *dates, strict=True):
            by_client.setdefault(client, []).append(tuple(contract))
        return {client: sorted(rows, key=lambda row: row[0]) for client, rows in by_client.items()}

    return portfolio.cache.get("contracts_of_customers", None, build, disk=False)


def contract_figures(
    known: Mapping[str, list[tuple]] | None, client: str, day: dt.date, since: dt.date
) -> DayFigures:
    """Whether a contract is in force (and began in the stage), or all have ended, and since when."""
    rows = [
        row
        for row in (known or {}).get(client, [])
        if row[0] <= day and (row[2] is None or row[2] <= day)
    ]
    if not rows:
        return dict.fromkeys(CONTRACT) | {"contract_ended_on": None, "contract_began_on": None}
    running = [row for row in rows if row[1] is None or row[1] > day]
    began = max((row[0] for row in running), default=None)
    ended = None if running else max(row[1] for row in rows)
    return {
        "contract_in_force": float(bool(running)),
        "contract_ended": float(not running),
        "contract_began_in_stage": float(began is not None and began >= since),
        "contract_ended_on": ended,
        "contract_began_on": began,
    }


def _with_milestones(portfolio: Portfolio, days: list[DayFigures], day: dt.date) -> None:
    """How many required milestones of the onboarding were open on each day; None where the customer has none."""
    waiting = portfolio.cache.get(
        "required_onboarding", day, lambda: _onboarding(portfolio, day), disk=False
    )
    for figures in days:
        completed = waiting.get(figures["client_id"])
        at = epoch_day(figures["date"])
        figures[MILESTONES] = (
            None if completed is None else float(sum(done > at for done in completed))
        )


def _onboarding(portfolio: Portfolio, day: dt.date) -> dict[str, list[float]]:
    rows = states(portfolio, day)
    if not len(rows):
        return {}
    rows = rows[rows["required"].astype(bool) & (rows["category"] == "onboarding")]
    done = np.fmin(rows["completed_day"].astype(float), rows["skipped_day"].astype(float)).fillna(
        np.inf
    )
    return done.groupby(rows["client_id"]).agg(list).to_dict()


# -- criteria ----------------------------------------------------------------------------

_OVERLAP_DAYS = 28  # neighbouring days' figures share so many days
_TREND_POINTS = 28


@dataclass(frozen=True)
class CriterionState:
    """A criterion against a customer's days: met (None: not measured), days in a row, since when.

    ``days_until_met`` is by its trend: 0 where it is met, None where there is no such trend.
    """

    criterion: Criterion
    met: bool | None
    held_days: int
    since: Any
    since_or_earlier: bool
    value: float | None
    days_until_met: float | None


@functools.lru_cache(maxsize=256)
def _condition(when: str) -> Condition:
    return Condition(when)


def needed(edges: Sequence[Edge]) -> set[str]:
    """The figures that edges read."""
    criteria = [criterion for edge in edges for criterion in edge.criteria]
    return {name for each in criteria for name in (*_condition(each.when).names, each.figure)}


def criterion_state(
    criterion: Criterion, days: Sequence[DayFigures], level: float = 0.9, trend: bool = True
) -> CriterionState:
    """Does it hold, on each of the last ``criterion.days`` days of ``days`` (oldest first)?"""
    condition = _condition(criterion.when)
    run = 0
    for day in reversed(days):
        if not condition.holds(day):
            break
        run += 1
    value = days[-1].get(criterion.figure) if days else None
    met: bool | None = run >= criterion.days
    if not met and (not days or (run < len(days) and _unknown(condition, days[-1 - run]))):
        met = None
    since = days[-run]["date"] if run else None
    until = (
        0.0 if met else _days_until(criterion, days, run, level) if trend and met is False else None
    )
    return CriterionState(criterion, met, run, since, bool(run) and run == len(days), value, until)


def _unknown(condition: Condition, day: DayFigures) -> bool:
    return any(day.get(name) is None for name in condition.names)


def _days_until(
    criterion: Criterion, days: Sequence[DayFigures], run: int, level: float
) -> float | None:
    """Days until it is met: it holds and has to go on, or its trend leads to the target; else None."""
    if run:
        return float(criterion.days - run)
    if criterion.target is None or len(days) < _TREND_POINTS:
        return None
    values = np.array(
        [np.nan if day.get(criterion.figure) is None else day[criterion.figure] for day in days]
    )
    slopes = theil_sen(
        np.arange(len(values), dtype=float),
        values,
        level,
        min_points=_TREND_POINTS,
        overlap=_OVERLAP_DAYS,
    )
    slope, direction = float(np.ravel(slopes.slope)[0]), float(np.ravel(slopes.direction)[0])
    gap = criterion.target - float(values[-1])
    if math.isnan(slope) or math.isnan(gap) or direction == 0 or slope * gap <= 0:
        return None
    return gap / slope + criterion.days


def all_met(states: Sequence[CriterionState]) -> bool:
    return bool(states) and all(state.met is True for state in states)


# -- what the data say against the record --------------------------------------------------

IN_USE = ("onboarding", "active", "engaged", "renewing", "expanded")
GROWING = ("renewing", "expanded")
NO_CUSTOMER = (None, "prospect", "trial", "churned")


def disagreements(
    stage: str | None,
    since: dt.date | None,
    churned_on: dt.date | None,
    figures: Mapping[str, Any],
    day: dt.date,
    settings: Settings,
) -> list[Disagreement]:
    """Where other tables contradict a recorded stage of the customer's own; ``figures`` are those on ``day``."""
    parts: list[Disagreement] = []
    if settings.lifecycle.name:
        return parts
    if (
        stage is not None
        and stage != "churned"
        and churned_on is not None
        and (since is None or churned_on >= since)
    ):
        parts.append(
            _disagreement(
                "leaving",
                stage,
                "churned",
                churned_on,
                f"the customer churned on {_day_text(churned_on)}",
            )
        )
    elif stage not in NO_CUSTOMER and figures.get("contract_ended") == 1:
        ended = figures["contract_ended_on"]
        why = f"the contract ended on {_day_text(ended)}, and no other began"
        parts.append(_disagreement("contract", stage, "churned", ended, why))
    if (
        stage == "churned"
        and since is not None
        and (figures.get("contract_began_on") or dt.date.min) > since
    ):
        began = figures["contract_began_on"]
        parts.append(
            _disagreement(
                "contract",
                stage,
                "active",
                began,
                f"a contract began on {_day_text(began)}, after it churned",
            )
        )
    silent = figures.get("days_since_last_person_event")
    if (
        stage in IN_USE
        and silent is not None
        and silent >= settings.lifecycle.silent_days
        and churned_on is None
    ):
        last = day - dt.timedelta(days=int(silent))
        parts.append(
            _disagreement(
                "usage", stage, "at_risk", last, f"no user has been active since {_day_text(last)}"
            )
        )
    notice = figures.get("notice_on")
    if stage in GROWING and notice is not None and notice <= day and churned_on is None:
        why = f"notice was given on {_day_text(notice)}"
        parts.append(_disagreement("notice", stage, "at_risk", notice, why))
    settled = since is None or (day - since).days >= settings.lifecycle.settled_days
    return parts + _against_score_and_renewal(stage, settled, figures, settings)


def _against_score_and_renewal(
    stage: str | None, settled: bool, figures: Mapping[str, Any], settings: Settings
) -> list[Disagreement]:
    """A stage “at risk” beside a healthy score, unless somebody has only just set it, and a renewal that is not near."""
    score, renewal = figures.get("health_score"), figures.get("days_to_renewal")
    if figures.get("provisional"):
        score = None
    if (
        stage == "at_risk"
        and settled
        and score is not None
        and score >= settings.report_card_threshold
    ):
        return [_disagreement("score", stage, "active", None, f"the health score is {score:.0f}")]
    if stage == "renewing" and renewal is not None and renewal > settings.lifecycle.renewing_days:
        why = f"the next renewal is in {renewal:.0f} days"
        return [_disagreement("renewal", stage, "active", None, why)]
    return []


def _disagreement(
    kind: str, stage: str, suggests: str, since: dt.date | None, text: str
) -> Disagreement:
    return Disagreement(
        kind=kind,
        recorded_stage=stage,
        suggests=suggests,
        since=since,
        text=f"recorded {stage.replace('_', ' ')}, but {text}",
    )


def _day_text(day: dt.date | None) -> str:
    """A day in words."""
    return "an unknown day" if day is None else f"{day.day} {day:%b %Y}"


def suggestion(
    churned_on: dt.date | None, figures: Mapping[str, Any], settings: Settings
) -> SuggestedStage:
    """The stage that the data suggest, by the first rule that holds: shown beside the record, never recorded."""
    if settings.lifecycle.name:
        return SuggestedStage(stage=None, text="data suggest the customer’s own stages alone")
    score, tenure = figures.get("health_score"), figures.get("tenure_days")
    used = (figures.get("person_events_28d") or 0) > 0
    by_rule = (
        (churned_on is not None, "churned", f"the customer churned on {_day_text(churned_on)}"),
        (figures.get("contract_ended") == 1, "churned", "its contract has ended"),
        (
            figures.get("contract_in_force") is None and not used,
            None,
            "neither a contract nor usage is known",
        ),
        (
            figures.get("contract_in_force") == 0 and not used,
            "prospect",
            "it has neither a contract nor usage",
        ),
        (
            tenure is not None and tenure < settings.lifecycle.new_customer_days,
            "onboarding",
            f"it signed up less than {settings.lifecycle.new_customer_days} days ago",
        ),
        (
            score is not None and score < settings.band_edges[0],
            "at_risk",
            f"its health score is below {settings.band_edges[0]:.0f}",
        ),
        (
            score is not None and score >= settings.band_edges[2],
            "engaged",
            f"its health score is {settings.band_edges[2]:.0f} or more",
        ),
    )
    stage, why = next(
        ((stage, why) for holds, stage, why in by_rule if holds), ("active", "it is used")
    )
    return SuggestedStage(stage=stage, text=why)
