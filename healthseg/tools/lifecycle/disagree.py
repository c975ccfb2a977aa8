"""Where the recorded stage and what contracts, leaving and usage say are two things; what the data would suggest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from healthseg.tools.lifecycle.result import Disagreement, Suggestion

SILENT_DAYS = 28  # four weeks without anybody: no stage of a customer in use
IN_USE = ("onboarding", "active", "engaged", "renewing", "expanded")
NO_CUSTOMER = (None, "prospect", "trial", "churned")
NEW_DAYS = 90


def disagreements(
    stage: str | None,
    since: dt.date | None,
    left_on: dt.date | None,
    figures: Mapping[str, Any],
    day: dt.date,
) -> list[Disagreement]:
    """What other tables say against a recorded stage; ``figures`` are the customer's on ``day``."""
    found = []
    if (
        stage is not None
        and stage != "churned"
        and left_on is not None
        and (since is None or left_on >= since)
    ):
        found.append(
            _told("leaving", stage, "churned", left_on, f"the customer left on {_said(left_on)}")
        )
    elif stage not in NO_CUSTOMER and figures.get("contract_ended") == 1:
        ended = figures["contract_ended_on"]
        why = f"the contract ended on {_said(ended)}, and no other began"
        found.append(_told("contract", stage, "churned", ended, why))
    if (
        stage == "churned"
        and since is not None
        and (figures.get("contract_began_on") or dt.date.min) > since
    ):
        began = figures["contract_began_on"]
        found.append(
            _told(
                "contract",
                stage,
                "active",
                began,
                f"a contract began on {_said(began)}, after it left",
            )
        )
    silent = figures.get("days_since_last_person_event")
    if stage in IN_USE and silent is not None and silent >= SILENT_DAYS and left_on is None:
        last = day - dt.timedelta(days=int(silent))
        found.append(
            _told("usage", stage, "at_risk", last, f"nobody has used it since {_said(last)}")
        )
    return found


def _told(kind: str, stage: str, suggests: str, since: dt.date | None, text: str) -> Disagreement:
    return Disagreement(
        kind=kind,
        recorded_stage=stage,
        suggests=suggests,
        since=since,
        text=f"recorded {stage.replace('_', ' ')}, but {text}",
    )


def _said(day: dt.date | None) -> str:
    """A day as a reader says it."""
    return "an unknown day" if day is None else f"{day.day} {day:%b %Y}"


def suggestion(left_on: dt.date | None, figures: Mapping[str, Any]) -> Suggestion:
    """The stage that the data suggest, by the first rule that holds: a hint beside the record, never recorded."""
    score, tenure = figures.get("health_score"), figures.get("tenure_days")
    used = (figures.get("person_events_28d") or 0) > 0
    rules = (
        (left_on is not None, "churned", f"the customer left on {_said(left_on)}"),
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
            tenure is not None and tenure < NEW_DAYS,
            "onboarding",
            f"it signed up less than {NEW_DAYS} days ago",
        ),
        (score is not None and score < 40, "at_risk", "its health score is below 40"),
        (score is not None and score >= 80, "engaged", "its health score is 80 or more"),
    )
    stage, why = next(
        ((stage, why) for holds, stage, why in rules if holds), ("active", "it is used")
    )
    return Suggestion(stage=stage, text=why)
