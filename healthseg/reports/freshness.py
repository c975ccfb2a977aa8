"""How fresh the outside sources of a portfolio are: what responses and reports say of Mixpanel, and when that is too old."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

from healthseg.data import sync_state as states
from healthseg.errors import DataRetrievalError, HealthsegError, IntegrationError
from healthseg.settings.in_force import InForce

USERS = ("track_usage_engagement", "track_feature_adoption", "analyze_engagement_patterns")


def mixpanel(portfolio: str, settings: InForce, now: dt.datetime) -> dict[str, Any] | None:
    """What is known of a portfolio's Mixpanel events, with ``degraded`` and why; None where none are used or expected.

    They are behind when the last sync failed, days are missing, or the last good sync is older than ``max_age_hours``.
    """
    folder = Path(portfolio)
    state = (
        states.read(folder if folder.is_dir() else folder.parent)
        if "://" not in portfolio
        else None
    )
    if state is None and not settings.mixpanel.enabled:
        return None
    state = state or states.SyncState()
    age = _hours(state.synced_at, now)
    reasons = _reasons(state, age, settings.mixpanel.max_age_hours)
    return {
        "used": any(day["events"] for day in state.days.values()),
        "events_until": state.until,
        "synced_at": state.synced_at,
        "age_hours": None if age is None else round(age, 1),
        "degraded": bool(reasons),
        "reasons": reasons,
    }


def _hours(synced_at: str | None, now: dt.datetime) -> float | None:
    return (
        None
        if synced_at is None
        else (now - dt.datetime.fromisoformat(synced_at)).total_seconds() / 3600
    )


def _reasons(state: states.SyncState, age: float | None, most: float) -> list[str]:
    reasons = []
    if state.last and not state.last["ok"]:
        reasons.append(f"the last sync failed: {state.last['error']}")
    if state.incomplete:
        reasons.append(
            f"{len(state.incomplete)} days could not be fetched, the first of them {min(state.incomplete)}"
        )
    if age is None and not state.last:
        reasons.append("nothing has been synced yet")
    if age is not None and age > most:
        reasons.append(f"the last good sync is {age:.0f} hours old")
    return reasons


def around(tool: str, known: dict[str, Any] | None) -> dict[str, Any]:
    """The keys that stand beside a response of a tool that reads Mixpanel's events."""
    if known is None or tool not in USERS:
        return {}
    facts = {key: value for key, value in known.items() if key != "degraded"}
    return {"degraded": known["degraded"], "integrations": {"mixpanel": facts}}


def sentence(known: dict[str, Any] | None) -> str | None:
    """One line for a report, where the events are behind."""
    if known is None or not known["degraded"]:
        return None
    until = (
        f"shown are the events until {known['events_until']}"
        if known["events_until"]
        else "none are shown"
    )
    return f"Mixpanel's events are behind, {until}: " + "; ".join(known["reasons"])


def instead_of(problem: HealthsegError, known: dict[str, Any] | None) -> HealthsegError:
    """A portfolio without any events whose events are Mixpanel's lacks an integration, not a file."""
    missing = (
        isinstance(problem, DataRetrievalError)
        and problem.details.get("value_provided") == "events"
    )
    if known is None or not missing:
        return problem
    why = "; ".join(known["reasons"]) or "it has no events of these customers"
    return IntegrationError(
        f"there are no events, which are expected from Mixpanel: {why}; run healthseg sync mixpanel",
        parameter="mixpanel",
        validation_rule="a successful sync",
    )


def announce(portfolio: str, settings: InForce, now: dt.datetime) -> None:
    """In a notebook, a line where the events are behind; anywhere else nothing."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.display import display

    line = sentence(mixpanel(portfolio, settings, now)) if get_ipython() else None
    if line:
        from healthseg.reports import document
        from healthseg.reports.html import writer
        from healthseg.reports.render import Output

        item = document.Item(document.static(line))
        opening = document.Markup(writer.style())
        display(Output([opening, document.Listing((item,), "warnings")], line))
