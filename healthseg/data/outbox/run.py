"""One run over the outbox: what is due is delivered, tried again later, or given up with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthseg.data.ledger.ledger import Ledger
from healthseg.data.outbox import outbox
from healthseg.data.outbox.handlers import Deliver, Undelivered, deliverer
from healthseg.settings.lifecycle import Outbox

_AT_ONCE = 20  # messages in one hand
_SPARE_SECONDS = 30.0  # a lease outlasts what its messages may take by so much


def run(ledger: Ledger, settings: Outbox, folder: Path) -> dict[str, Any]:
    """Delivers what is due: counts by what happened, and the reasons of what did not arrive.

    A handler that did not answer at all is left alone for the rest of the run, so that a run ends. Two runs at once
    share the work: a message is in one hand only, until its lease ends.
    """
    handlers = {name: deliverer(handler, folder) for name, handler in settings.handlers.items()}
    lease = _SPARE_SECONDS + _AT_ONCE * max(
        (one.timeout_seconds for one in settings.handlers.values()), default=0
    )
    counts: Counter[str] = Counter()
    problems: list[dict[str, Any]] = []
    silent: set[str] = set()
    while mine := outbox.claim(ledger, _AT_ONCE, lease, silent):
        for kept in mine:
            if kept.message.handler in silent:
                outbox.release(ledger, kept)
                continue
            problem = _tried(kept, handlers, silent)
            status = outbox.settle(
                ledger, kept, problem, settings.max_attempts, wait_seconds(settings, kept.attempts)
            )
            counts[status] += 1
            if problem is not None:
                problems.append(
                    {
                        "key": kept.key,
                        "client_id": kept.message.client_id,
                        "action": kept.message.action,
                        "handler": kept.message.handler,
                        "attempt": kept.attempts + 1,
                        "status": status,
                        "reason": problem,
                    }
                )
    waiting = Counter(one.status for one in outbox.everything(ledger))
    return {
        "delivered": counts[outbox.COMPLETED],
        "to_be_retried": counts[outbox.SCHEDULED],
        "given_up": counts[outbox.FAILED],
        "problems": problems,
        "outbox": dict(sorted(waiting.items())),
    }


def wait_seconds(settings: Outbox, failures_before: int) -> float:
    """How long to wait after a failure: doubled each time, up to the most.

    >>> [wait_seconds(Outbox(), n) for n in (0, 1, 2, 20)]
    [60.0, 120.0, 240.0, 21600.0]
    """
    return min(
        settings.retry_seconds * 2.0 ** min(failures_before, 60), settings.retry_most_seconds
    )


def _tried(kept: outbox.Kept, handlers: Mapping[str, Deliver], silent: set[str]) -> str | None:
    """Why a message was not delivered, None where it was."""
    name = kept.message.handler
    if name not in handlers:
        return f"the handler {name!r} is no longer in the settings"
    try:
        handlers[name](kept.message)
    except Undelivered as problem:
        if problem.unreachable:
            silent.add(name)
        return str(problem)
    return None
