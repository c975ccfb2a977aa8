"""One customer's response, put together from its changes, its days and its stage's curve."""

from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg import rules
from healthseg.metrics.stages import Change, in_force
from healthseg.tools.lifecycle import standing as standings
from healthseg.tools.lifecycle.criteria import Held
from healthseg.tools.lifecycle.disagree import disagreements, suggestion
from healthseg.tools.lifecycle.moments import told
from healthseg.tools.lifecycle.moves import CORRECTION, Move
from healthseg.tools.lifecycle.result import (
    CriterionDetail,
    Door,
    Fired,
    Interval,
    LifecycleStage,
    NextStage,
    Position,
    Progress,
    ProgressionStep,
    RecordedChange,
    StageHealth,
    TriggeredAction,
    TypicalDuration,
)
from healthseg.tools.lifecycle.subject import Subject
from healthseg.tools.rounding import integer, rounded

TOOL = "manage_lifecycle_stages"
NO_HISTORY = "no stage was recorded or imported for this customer by then"


def answer(subject: Subject, asked: Any, made: Move | None) -> LifecycleStage:
    """The response; ``made`` is what came of an update or a transition, None where only was read."""
    last, spells = subject.last, subject.spells
    place = _standing(subject)
    coming = _next(subject)
    apart = disagreements(
        subject.stage, last.day if last else None, subject.left_on, subject.now, subject.day
    )
    hint = suggestion(subject.left_on, subject.now)
    actions = _fired(subject, place, coming, apart, hint.stage)
    response = LifecycleStage(
        as_of=subject.as_of,
        data_until=subject.portfolio.data_until,
        fingerprint=subject.portfolio.fingerprint(subject.as_of, ledger=subject.known.head),
        warnings=_warnings(subject),
        not_measured=_not_measured(subject, coming),
        client_id=subject.client_id,
        customer_name=str(subject.customer.get("name") or subject.client_id),
        action=asked.action,
        changed=made is not None and made.changed,
        request_id=last.request_id if last else None,
        previous_stage=spells[-2].stage if len(spells) > 1 else None,
        current_stage=subject.stage,
        stage_source=last.source if last else "none",
        transition_date=told(last.effective_at) if last else None,
        transition_reason=last.reason if last else None,
        automated=last.automated if last else None,
        actor=last.actor if last else None,
        recorded_at=told(last.known_at) if last else None,
        correction=last is not None and last.kind == CORRECTION,
        known_at=None if subject.known_by is None else told(subject.known_by),
        days_in_previous_stage=spells[-2].days(subject.as_of) if len(spells) > 1 else None,
        days_in_current_stage=subject.days_in_stage,
        stage_progression=_progression(subject),
        stage_health=_health(subject),
        position=_position(subject, place),
        stuck_share=subject.settings.lifecycle.stuck_share,
        automated_actions_triggered=_triggered(subject, made) if made is not None else [],
        last_transition_actions=_of_last(subject),
        next_stage_criteria=coming,
        suggestion=hint,
        disagreements=apart,
        recommended_actions=[one.text for one in actions],
        recommended_actions_detail=actions,
        history=_history(subject),
    )
    return response.with_frames(**_frames(subject, response))


def _progression(subject: Subject) -> list[ProgressionStep]:
    return [
        ProgressionStep(
            stage=one.stage,
            start_date=one.start,
            end_date=one.end,
            duration_days=one.days(subject.as_of),
            visit=one.visit,
        )
        for one in subject.spells
    ]


def _standing(subject: Subject) -> standings.Standing:
    return standings.standing(
        subject.stay, subject.days_in_stage or 0, subject.settings, subject.edge is not None
    )


def _position(subject: Subject, place: standings.Standing) -> Position | None:
    if place.still_in is None:
        return None
    doors = [
        Door(to=to, share=rounded(share), share_from_here=rounded(here))
        for to, share, here in standings.doors(subject.stay, place.day)
    ]
    return Position(
        day=place.day,
        share_still_in=rounded(place.still_in),
        text=place.text,
        stuck=place.stuck,
        half_of_these_left_by_day=place.half_gone_by,
        stuck_from_day=place.stuck_from,
        doors=doors,
    )


def _health(subject: Subject) -> StageHealth:
    score = integer(subject.figure("health_score"))
    least = subject.settings.lifecycle.minimum_health.get(subject.stage) if subject.stage else None
    stay = subject.stay
    enough = stay is not None and stay.n >= subject.settings.lifecycle.min_spells
    median = stay.median if enough else None
    typical = None if not enough else "ongoing" if median.time is None else integer(median.time)
    detail = (
        None
        if stay is None
        else TypicalDuration(
            median_days=median.time if median else None,
            n=stay.n,
            ended=stay.ended,
            interval=Interval(lower=median.lower, upper=median.upper)
            if median and median.lower is not None
            else None,
            interval_level=subject.settings.interval_level,
            watched_until_days=stay.observed_until(),
        )
    )
    return StageHealth(
        current_stage_typical_duration_days=typical,
        health_score=score,
        minimum_health=least,
        typical_duration=detail,
        stage_appropriate_health=None if least is None or score is None else score >= least,
    )


def _next(subject: Subject) -> NextStage:
    edge, found, level = subject.edge, subject.held, subject.settings.interval_level
    guess = standings.estimate(
        subject.stay, subject.days_in_stage or 0, [one.days_until_met for one in found], level
    )
    interval = None if guess.days is None else Interval(lower=guess.lower, upper=guess.upper)
    return NextStage(
        target_stage=edge.target if edge else None,
        criteria=[one.criterion.text for one in found],
        criteria_detail=[_criterion(one) for one in found],
        allowed_stages=list(subject.settings.lifecycle.targets(subject.stage)),
        progress=Progress(
            criteria_met=sum(one.met is True for one in found),
            criteria_total=len(found),
            estimated_days_to_transition=guess.days,
            estimated_days_interval=interval,
            interval_level=level,
            estimate_basis=guess.basis,
        ),
    )


def _criterion(one: Held) -> CriterionDetail:
    asked = one.criterion
    return CriterionDetail(
        text=asked.text,
        figure=asked.figure,
        value=rounded(one.value),
        unit=asked.unit,
        target=asked.target,
        days=asked.days,
        met=one.met,
        held_days=one.held_days,
        since=one.since,
        since_or_earlier=one.since_or_earlier,
    )


def _triggered(subject: Subject, made: Move) -> list[TriggeredAction]:
    """What this call's transition set off (of a repeated request: what it set off the first time), as it stands."""
    return _actions(subject, made.event.request_id) if made.event is not None else []


def _of_last(subject: Subject) -> list[TriggeredAction]:
    request = subject.last.request_id if subject.last else None
    return _actions(subject, request) if request else []


def _actions(subject: Subject, request_id: str) -> list[TriggeredAction]:
    from healthseg.data.outbox.outbox import of_request

    return [
        TriggeredAction(
            action=one.message.action,
            status=one.status,
            reason=one.reason,
            attempts=one.attempts,
            scheduled_for=None if one.message.due_at is None else told(one.message.due_at),
        )
        for one in sorted(
            of_request(subject.portfolio.ledger(), request_id), key=lambda one: one.position
        )
    ]


def _fired(
    subject: Subject,
    place: standings.Standing,
    coming: NextStage,
    apart: list[Any],
    suggested: str | None,
) -> list[Fired]:
    open_ones = [one.text for one in coming.criteria_detail if one.met is not True]
    given = {
        **{
            name: value
            for name, value in subject.now.items()
            if isinstance(value, int | float | str)
        },
        "stage": subject.stage or "none",
        "stage_words": (subject.stage or "none").replace("_", " "),
        "suggested": (suggested or "none").replace("_", " "),
        "days_in_stage": subject.days_in_stage,
        "stuck": None if place.stuck is None else float(place.stuck),
        "still_percent": None if place.still_in is None else 100 * place.still_in,
        "next_stage": (coming.target_stage or "none").replace("_", " "),
        "criteria_met": coming.progress.criteria_met,
        "criteria_total": coming.progress.criteria_total,
        "criteria_open": len(open_ones),
        "first_open": open_ones[0] if open_ones else "nothing",
        "disagreements": len(apart),
        "disagreement": apart[0].text if apart else "nothing",
        "minimum_health": subject.settings.lifecycle.minimum_health.get(subject.stage or ""),
    }
    return [Fired(**one) for one in rules.fired(TOOL, "action", given)]


def _history(subject: Subject) -> list[RecordedChange]:
    standing = {id(one) for one in subject.changes}
    known = [
        one for one in subject.given if subject.known_by is None or one.known_at <= subject.known_by
    ]
    ordered = sorted(known, key=lambda one: (one.effective_at, one.known_at, one.seq, one.stage))
    return [_recorded(one, id(one) in standing) for one in ordered]


def _recorded(one: Change, in_force: bool) -> RecordedChange:
    return RecordedChange(
        stage=one.stage,
        effective_at=told(one.effective_at),
        recorded_at=told(one.known_at),
        reason=one.reason,
        automated=one.automated,
        actor=one.actor,
        kind=one.kind,
        source=one.source,
        in_force=in_force,
    )


def _warnings(subject: Subject) -> list[str]:
    found = []
    if not isinstance(subject.customer.get("timezone"), str):
        found.append(
            f"the customer has no time zone: days are those of {subject.settings.default_timezone}"
        )
    if subject.as_of > subject.day:
        found.append(f"the data end on {subject.day}: what is counted from them is as of then")
    if subject.known_by is not None and in_force(subject.given) != in_force(
        subject.given, known_by=subject.known_by
    ):
        found.append(f"as it was known at {told(subject.known_by)}; more has been recorded since")
    return found


def _not_measured(subject: Subject, coming: NextStage) -> dict[str, str]:
    found: dict[str, str] = {}
    if subject.stage is None:
        found |= dict.fromkeys(
            ("$.current_stage", "$.transition_date", "$.days_in_current_stage"), NO_HISTORY
        )
    if subject.figure("health_score") is None:
        why = (
            "the customer has left"
            if subject.left_on
            else "no score: too little is known of the customer"
        )
        found["$.stage_health.health_score"] = why
    if subject.stage and subject.settings.lifecycle.minimum_health.get(subject.stage) is None:
        found["$.stage_health.stage_appropriate_health"] = (
            f"no score is asked of the stage {subject.stage}"
        )
    least = subject.settings.lifecycle.min_spells
    if subject.stay is None or subject.stay.n < least:
        found["$.stage_health.current_stage_typical_duration_days"] = (
            f"{subject.stay.n if subject.stay else 0} stays in this stage were watched, at least {least} are needed"
        )
    if coming.target_stage is None:
        found["$.next_stage_criteria.target_stage"] = "no way forward is set for this stage"
    elif coming.progress.estimated_days_to_transition is None:
        found["$.next_stage_criteria.progress.estimated_days_to_transition"] = (
            "a criterion is not met and nothing moves towards it, or the curve does not say"
        )
    for place, one in enumerate(coming.criteria_detail):
        if one.met is None:
            found[f"$.next_stage_criteria.criteria_detail[{place}].met"] = (
                f"{one.figure} is not measured"
            )
    return found


def _frames(subject: Subject, response: LifecycleStage) -> dict[str, pd.DataFrame]:
    steps = [one.model_dump() for one in response.stage_progression]
    columns = list(ProgressionStep.model_fields)
    stay = subject.stay
    told = response.position is not None
    curve = pd.DataFrame(
        columns=["time", "at_risk", "events", "survival", "std_error", "lower", "upper"]
    )
    exits = pd.DataFrame(columns=["cause", "time", "cumulative_incidence", "std_error"])
    details = [one.model_dump() for one in response.next_stage_criteria.criteria_detail]
    out = [one.model_dump() for one in (response.position.doors if told else None) or []]
    return {
        "progression": pd.DataFrame(steps, columns=columns),
        "curve": stay.curve if stay is not None and told else curve,
        "exits": exits if stay is None else stay.exits,
        "doors": pd.DataFrame(out, columns=list(Door.model_fields)),
        "criteria": pd.DataFrame(details, columns=list(CriterionDetail.model_fields)),
        "history": pd.DataFrame(
            [one.model_dump() for one in response.history],
            columns=list(RecordedChange.model_fields),
        ),
    }
