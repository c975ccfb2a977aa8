"""One customer's stage: its record, its time in the stage, the next stage, what contradicts it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg import rules
from healthseg.metrics.profile import customer_as_of
from healthseg.metrics.stages import (
    CHURNED,
    StageChange,
    StageSpell,
    TimeInStage,
    history,
    in_force,
    portfolio_time_in_stage,
    spells,
)
from healthseg.periods import Moment, utc_text
from healthseg.scoring.overrides import why_no_score
from healthseg.settings.lifecycle import Edge
from healthseg.tools.base import Figure, Interval, TriggeredRule
from healthseg.tools.lifecycle.criteria import (
    CriterionState,
    DayFigures,
    contract_figures,
    contracts,
    criterion_state,
    customer_days,
    disagreements,
    needed,
    suggestion,
)
from healthseg.tools.lifecycle.moves import CORRECTION, Move
from healthseg.tools.lifecycle.result import (
    CriterionDetail,
    Disagreement,
    LifecycleStage,
    NextStage,
    ProgressionStep,
    RecordedChange,
    StageExit,
    StageHealth,
    StagePosition,
    StageProgress,
    TriggeredAction,
    TypicalDuration,
)
from healthseg.tools.next_actions import NextActions
from healthseg.tools.values import day_of, integer, number, plain_figures, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

TOOL = "manage_lifecycle_stages"
NO_HISTORY = "no stage was recorded or imported for this customer by then"
FIGURES = (
    "health_score",
    "days_since_last_person_event",
    "person_events_28d",
    "open_high_tickets",
    "days_to_renewal",
    "arr",
    "tenure_days",
    "contract_ended",
    "provisional",
)
# of those still in the stage: the largest share whose day was observed is stated
STATED_SHARES = (0.7, 0.5, 0.3)


# -- time in the stage, against the portfolio's curve ----------------------------------


@dataclass(frozen=True)
class PositionOnCurve:
    """``day`` days in a stage against its curve: figures are None where the curve does not say."""

    day: int
    still_in: float | None = None
    stuck: bool | None = None
    stuck_from: float | None = None
    half_gone_by: float | None = None
    text: str | None = None


def position_on_curve(
    curve: TimeInStage | None, day: int, settings: Settings, stage: str | None
) -> PositionOnCurve:
    """How usual is it to be in a stage after so many days?

    A customer is stuck when no more than ``stuck_share`` of all that entered are still in the
    stage; only in stages where staying is bad (``stuck_stages``).
    """
    if curve is None or curve.n < settings.lifecycle.min_spells:
        return PositionOnCurve(day)
    still = curve.still_in(day)
    rare = curve.curve["survival"] <= settings.lifecycle.stuck_share
    days = curve.curve.loc[rare, "time"]
    stuck_from = float(days.iloc[0]) if len(days) else None
    may_be_stuck = stage in settings.lifecycle.stuck_stages
    stuck = may_be_stuck and stuck_from is not None and day >= stuck_from
    half = curve.exited_by(day, 0.5)
    return PositionOnCurve(day, still, stuck, stuck_from, half, _position_text(curve, day, still))


def _position_text(curve: TimeInStage, day: int, still: float) -> str | None:
    if still <= 0 or day > curve.observed_until():
        return f"no other stay was observed to end after day {curve.observed_until():.0f}"
    for share in STATED_SHARES:
        by = curve.exited_by(day, share)
        if by is not None:
            percent = f"{100 * share:.0f}%"
            return f"{percent} of those still here on day {day} had exited by day {by:.0f}"
    return None


def stage_exits(curve: TimeInStage, day: int) -> list[tuple[str, float, float | None]]:
    """Each stage that follows: share of all that enter, and of those still in on the day; likeliest first."""
    shares, before, still = curve.exit_shares(), curve.exit_shares(day), curve.still_in(day)
    observed = still > 0 and day < curve.observed_until()
    exits = [
        (to, share, (share - before.get(to, 0.0)) / still if observed else None)
        for to, share in shares.items()
    ]
    return sorted(exits, key=lambda row: (-row[1], row[0]))


def transition_estimate(
    curve: TimeInStage | None, day: int, waits: list[float | None], level: float
) -> dict[str, Any]:
    """When the next stage may come: from the curve of those still here, not before what criteria need.

    ``waits`` are days until each criterion is met by its trend. Absent where one has no trend
    towards its target, and where the curve does not say when half of those still here had exited.
    """
    fields = ("estimated_days_to_transition", "estimated_days_interval", "estimate_basis")
    unknown = dict.fromkeys(fields)
    if not waits or any(wait is None for wait in waits):
        return unknown
    need = max(float(wait) for wait in waits if wait is not None)
    if need == 0:
        return dict(
            zip(fields, (0, Interval(lower=0.0, upper=0.0), "all criteria are met"), strict=True)
        )
    if curve is None:
        return unknown
    middle, early, late = (
        curve.exited_by(day, share) for share in (0.5, (1 - level) / 2, (1 + level) / 2)
    )
    if middle is None:
        return unknown
    days = max(need, middle - day)
    interval = Interval(
        lower=max(need, (early or middle) - day),
        upper=None if late is None else max(days, late - day),
    )
    basis = "how long others still here on this day stayed, and the trend of what is missing"
    return dict(zip(fields, (math.ceil(days), interval, basis), strict=True))


# -- the customer ----------------------------------------------------------------------


class CustomerStage:
    """A customer's stage at ``as_of``; figures are those of ``day``, the last day with data."""

    def __init__(
        self,
        portfolio: Portfolio,
        client_id: str,
        zone: str,
        as_of: Moment | None = None,
        known_at: Moment | None = None,
    ) -> None:
        self.portfolio, self.client_id, self.zone = portfolio, client_id, zone
        self.settings: Settings = portfolio.settings
        self.history = history(portfolio)
        self.known_by = None if known_at is None else known_at.last
        self.recorded: list[StageChange] = self.history.of(client_id)
        limit = None if as_of is None else as_of.last + dt.timedelta(microseconds=1)
        self.changes = in_force(self.recorded, limit, self.known_by)
        last = self.changes[-1].day if self.changes else portfolio.data_until
        self.as_of = as_of.day if as_of is not None else max(portfolio.data_until, last)
        self.day = min(self.as_of, portfolio.data_until)

    def result(self, action: str, move: Move | None = None) -> LifecycleStage:
        """The response; ``move`` is what became of a change, None where the record was only read."""
        last, times = self.last, self.spells
        coming, position = self.next_stage(), self.position_on_curve
        contradictions = disagreements(
            self.stage,
            last.day if last else None,
            self.churned_on,
            {**self.now, "notice_on": day_of(self.customer.get("notice_on"))},
            self.day,
            self.settings,
        )
        suggested = suggestion(self.churned_on, self.now, self.settings)
        actions = self._recommendations(coming, contradictions, suggested.stage)
        request = move.event.request_id if move is not None and move.event is not None else None
        response = LifecycleStage(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of, ledger=self.history.head),
            warnings=self._warnings(),
            not_measured=self._reasons(coming),
            lifecycle=self.settings.lifecycle.name,
            client_id=self.client_id,
            customer_name=str(self.customer.get("name") or self.client_id),
            action=action,
            changed=move is not None and move.changed,
            request_id=last.request_id if last else None,
            previous_stage=times[-2].stage if len(times) > 1 else None,
            current_stage=self.stage,
            stage_source=last.source if last else "none",
            transition_date=utc_text(last.effective_at) if last else None,
            transition_reason=last.reason if last else None,
            automated=last.automated if last else None,
            actor=last.actor if last else None,
            recorded_at=utc_text(last.known_at) if last else None,
            correction=last is not None and last.kind == CORRECTION,
            known_at=None if self.known_by is None else utc_text(self.known_by),
            days_in_previous_stage=times[-2].days(self.as_of) if len(times) > 1 else None,
            days_in_current_stage=self.days_in_stage,
            stage_progression=[
                ProgressionStep(
                    stage=spell.stage,
                    start_date=spell.start,
                    end_date=spell.end,
                    duration_days=spell.days(self.as_of),
                    visit=spell.visit,
                )
                for spell in times
            ],
            stage_health=self.stage_health(),
            position=self.position(position),
            stuck_share=self.settings.lifecycle.stuck_share,
            automated_actions_triggered=self._actions(request),
            last_transition_actions=self._actions(last.request_id if last else None),
            next_stage_criteria=coming,
            suggestion=suggested,
            disagreements=contradictions,
            recommended_actions=[rule.text for rule in actions],
            recommended_actions_detail=actions,
            next_actions=NextActions.of(self.portfolio, self.day).shown(self.client_id)
            if move is None
            else [],
            history=self._recorded_changes(),
        )
        return response.with_frames(**self.frames(response))

    # -- record ----------------------------------------------------------------------------

    @cached_property
    def customer(self) -> Mapping[str, Any]:
        return customer_as_of(self.portfolio, self.client_id, self.day)

    @property
    def churned_on(self) -> dt.date | None:
        return day_of(self.customer["churned_on"])

    @cached_property
    def spells(self) -> list[StageSpell]:
        return spells(self.changes)

    @property
    def last(self) -> StageChange | None:
        return self.changes[-1] if self.changes else None

    @property
    def stage(self) -> str | None:
        return self.last.stage if self.last else None

    @property
    def days_in_stage(self) -> int | None:
        return self.spells[-1].days(self.as_of) if self.spells else None

    def _recorded_changes(self) -> list[RecordedChange]:
        current = {id(change) for change in self.changes}
        known = [
            change
            for change in self.recorded
            if self.known_by is None or change.known_at <= self.known_by
        ]
        known.sort(
            key=lambda change: (change.effective_at, change.known_at, change.seq, change.stage)
        )
        return [
            RecordedChange(
                stage=change.stage,
                effective_at=utc_text(change.effective_at),
                recorded_at=utc_text(change.known_at),
                reason=change.reason,
                automated=change.automated,
                actor=change.actor,
                kind=change.kind,
                source=change.source,
                in_force=id(change) in current,
            )
            for change in known
        ]

    def _actions(self, request_id: str | None) -> list[TriggeredAction]:
        """The actions that a request triggered, as they are now."""
        if request_id is None:
            return []
        from healthseg.data.outbox import of_request

        entries = of_request(self.portfolio.ledger(), request_id)
        return [
            TriggeredAction(
                action=entry.message.action,
                status=entry.status,
                reason=entry.reason,
                attempts=entry.attempts,
                scheduled_for=None
                if entry.message.due_at is None
                else utc_text(entry.message.due_at),
            )
            for entry in sorted(entries, key=lambda entry: entry.position)
        ]

    # -- figures ---------------------------------------------------------------------------

    @cached_property
    def edge(self) -> Edge | None:
        """The way forward from its stage."""
        return self.settings.lifecycle.forward(self.stage)

    @property
    def since(self) -> dt.date:
        return self.spells[-1].start if self.spells else self.day

    @cached_property
    def days(self) -> list[DayFigures]:
        """Its figures on each of the last days; none of a churned customer."""
        names = {*FIGURES, *(needed([self.edge]) if self.edge else ())}
        return customer_days(self.portfolio, self.day, self.client_id, names, self.since)

    @property
    def now(self) -> DayFigures:
        """Its figures on the day; of a churned customer those of its contracts."""
        if self.days:
            return self.days[-1]
        known = contracts(self.portfolio)
        return contract_figures(known, self.client_id, self.day, self.since)

    def figure(self, name: str) -> float | None:
        return number(self.now.get(name))

    @cached_property
    def criteria(self) -> list[CriterionState]:
        if self.edge is None:
            return []
        level = self.settings.interval_level
        return [criterion_state(criterion, self.days, level) for criterion in self.edge.criteria]

    @cached_property
    def curve(self) -> TimeInStage | None:
        """How long customers of the portfolio are in its stage."""
        if self.stage is None or self.stage == CHURNED:
            return None
        curves = portfolio_time_in_stage(self.portfolio, self.history, self.day, self.known_by)
        return curves.get(self.stage)

    @cached_property
    def position_on_curve(self) -> PositionOnCurve:
        return position_on_curve(self.curve, self.days_in_stage or 0, self.settings, self.stage)

    # -- sections --------------------------------------------------------------------------

    def position(self, position: PositionOnCurve) -> StagePosition | None:
        if position.still_in is None or self.curve is None:
            return None
        return StagePosition(
            day=position.day,
            share_still_in=rounded(position.still_in),
            text=position.text,
            stuck=position.stuck,
            half_of_these_left_by_day=position.half_gone_by,
            stuck_from_day=position.stuck_from,
            doors=[
                StageExit(to=to, share=rounded(share), share_from_here=rounded(from_here))
                for to, share, from_here in stage_exits(self.curve, position.day)
            ],
        )

    def stage_health(self) -> StageHealth:
        rules_in_force, curve = self.settings.lifecycle, self.curve
        score = integer(self.figure("health_score"))
        least = rules_in_force.lowest_health(self.stage)
        median = curve.median if curve and curve.n >= rules_in_force.min_spells else None
        typical = None if median is None else integer(median.time)
        detail = None
        if curve is not None:
            known = median is not None and median.lower is not None
            detail = TypicalDuration(
                median_days=median.time if median else None,
                n=curve.n,
                ended=curve.ended,
                interval=Interval(lower=median.lower, upper=median.upper)
                if known and median
                else None,
                interval_level=self.settings.interval_level,
                watched_until_days=curve.observed_until(),
            )
        few = (
            f"{curve.n if curve else 0} times in this stage were watched, at least "
            f"{rules_in_force.min_spells} are needed"
        )
        no_score = (
            "the customer has churned" if self.churned_on else why_no_score(self.now, self.settings)
        )
        fits = None if least is None or score is None else score >= least
        return StageHealth(
            current_stage_typical_duration_days="ongoing"
            if median is not None and typical is None
            else Figure(typical, few),
            health_score=Figure(score, no_score),
            minimum_health=least,
            typical_duration=detail,
            stage_appropriate_health=Figure(
                fits,
                f"no score is required of the stage {self.stage}"
                if self.stage and least is None
                else None,
            ),
        )

    def next_stage(self) -> NextStage:
        edge, level = self.edge, self.settings.interval_level
        waits = [state.days_until_met for state in self.criteria]
        estimate = transition_estimate(self.curve, self.days_in_stage or 0, waits, level)
        days = estimate.pop("estimated_days_to_transition")
        why = "a criterion is not met and its figure does not move towards it, or too few customers were watched for so long"
        return NextStage(
            target_stage=Figure(
                edge.target if edge else None, "no way forward is set for this stage"
            ),
            criteria=[state.criterion.text for state in self.criteria],
            criteria_detail=[_criterion_part(state) for state in self.criteria],
            allowed_stages=list(self.settings.lifecycle.targets(self.stage)),
            progress=StageProgress(
                criteria_met=sum(state.met is True for state in self.criteria),
                criteria_total=len(self.criteria),
                estimated_days_to_transition=Figure(days, why if edge else None),
                interval_level=level,
                **estimate,
            ),
        )

    def _recommendations(
        self, coming: NextStage, contradictions: list[Disagreement], suggested: str | None
    ) -> list[TriggeredRule]:
        pending = [detail.text for detail in coming.criteria_detail if detail.met is not True]
        position, stage = self.position_on_curve, self.stage or "none"
        still = position.still_in
        figures = {
            **plain_figures(self.now),
            "stage": stage,
            "stage_words": stage.replace("_", " "),
            "suggested": (suggested or "none").replace("_", " "),
            "days_in_stage": self.days_in_stage,
            "stuck": None if position.stuck is None else float(position.stuck),
            "still_percent": None if still is None else 100 * still,
            "next_stage": (coming.target_stage or "none").replace("_", " "),
            "criteria_met": coming.progress.criteria_met,
            "criteria_total": coming.progress.criteria_total,
            "criteria_open": len(pending),
            "first_open": pending[0] if pending else "nothing",
            "disagreements": len(contradictions),
            "disagreement": contradictions[0].text if contradictions else "nothing",
            "minimum_health": self.settings.lifecycle.lowest_health(self.stage),
            "risk_threshold": self.settings.report_card_threshold,
        }
        return rules.triggered(TOOL, "action", figures, self.settings.rules)

    def _warnings(self) -> list[str]:
        warnings = []
        if not isinstance(self.customer.get("timezone"), str):
            zone = self.settings.default_timezone
            warnings.append(f"the customer has no time zone: days are those of {zone}")
        if self.as_of > self.day:
            warnings.append(f"the data end on {self.day}: what is counted from them is as of then")
        if self.known_by is not None:
            then = in_force(self.recorded, known_by=self.known_by)
            if in_force(self.recorded) != then:
                known = utc_text(self.known_by)
                warnings.append(f"as it was known at {known}; more has been recorded since")
        return warnings

    def _reasons(self, coming: NextStage) -> dict[str, str]:
        """Why keys are null that no part explains."""
        reasons = {
            f"$.next_stage_criteria.criteria_detail[{index}].met": f"{detail.figure} is not measured"
            for index, detail in enumerate(coming.criteria_detail)
            if detail.met is None
        }
        if self.stage is None:
            keys = ("$.current_stage", "$.transition_date", "$.days_in_current_stage")
            reasons |= dict.fromkeys(keys, NO_HISTORY)
        return reasons

    def frames(self, response: LifecycleStage) -> dict[str, pd.DataFrame]:
        """The response's frames: progression, curve, exits, doors, criteria, history."""
        curve = self.curve
        exits = (response.position.doors if response.position else None) or []
        empty = ["time", "at_risk", "events", "survival", "std_error", "lower", "upper"]
        causes = ["cause", "time", "cumulative_incidence", "std_error"]
        known = curve is not None and response.position is not None
        return {
            "progression": _frame(response.stage_progression, ProgressionStep),
            "curve": curve.curve if known and curve else pd.DataFrame(columns=empty),
            "exits": pd.DataFrame(columns=causes) if curve is None else curve.exits,
            "doors": _frame(exits, StageExit),
            "criteria": _frame(response.next_stage_criteria.criteria_detail, CriterionDetail),
            "history": _frame(response.history, RecordedChange),
        }


def _frame(parts: list[Any], kind: type[Any]) -> pd.DataFrame:
    return pd.DataFrame([part.model_dump() for part in parts], columns=list(kind.model_fields))


def _criterion_part(state: CriterionState) -> CriterionDetail:
    criterion = state.criterion
    return CriterionDetail(
        text=criterion.text,
        figure=criterion.figure,
        value=rounded(state.value),
        unit=criterion.unit,
        target=criterion.target,
        days=criterion.days,
        met=state.met,
        held_days=state.held_days,
        since=state.since,
        since_or_earlier=state.since_or_earlier,
    )
