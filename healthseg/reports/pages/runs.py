"""The log of model runs: what was tried on which data, and what came of it, beside the run before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from healthseg.charts import formats
from healthseg.data.storage import FOLDER, read_json, write_json
from healthseg.reports import portfolios
from healthseg.reports.html.page import Column, Html, joined, paragraph, table

KEPT = 50
LEVEL = "runs"


def record(
    portfolio: Any,
    kind: str,
    configuration: Mapping[str, Any],
    figures: Mapping[str, float],
    fingerprint: str,
    clock: Callable[[], dt.datetime] = portfolios.now,
) -> Html:
    """Adds a run to the portfolio's log, and tells its figures beside those of the last run that differs.

    A run of the same configuration on the same data with the same figures is no new run.
    """
    path = portfolio.root / FOLDER / LEVEL / f"{kind}.json"
    log = read_json(path) or []
    run = {
        "configuration": {
            key: formats.plain(value) for key, value in sorted(configuration.items())
        },
        "fingerprint": fingerprint,
        "figures": dict(figures),
    }
    same = bool(log) and {key: log[-1][key] for key in run} == run
    if not same:
        log = [*log, {"at": clock().isoformat(timespec="seconds"), **run}][-KEPT:]
        write_json(path, log)
    return _told(log)


def _told(log: list[dict[str, Any]]) -> Html:
    last, before = log[-1], log[-2] if len(log) > 1 else None
    lead = joined(
        f"Run {len(log)}, on the data {last['fingerprint']}",
        _changed(last, before) if before else "There is no earlier run to compare with",
    )
    rows = [
        {"name": name, "now": value, "before": before["figures"].get(name) if before else None}
        for name, value in last["figures"].items()
    ]
    for row in rows:
        row["change"] = (
            None
            if row["before"] is None or row["now"] is None
            else round(row["now"] - row["before"], 6)
        )
    columns = [
        Column("name", "Figure", formats.words),
        Column("now", "This run", lambda value: formats.number(value, 4), True),
        Column("before", "The run before", lambda value: formats.number(value, 4), True),
        Column("change", "Change", lambda value: formats.signed(value, 4), True),
    ]
    return Html(
        paragraph(lead, "lead") + table(rows, columns, "Figures of the run", "figures"), lead
    )


def _changed(last: dict[str, Any], before: dict[str, Any]) -> str:
    """What is another than in the run before."""
    keys = sorted(set(last["configuration"]) | set(before["configuration"]))
    other = [
        key for key in keys if last["configuration"].get(key) != before["configuration"].get(key)
    ]
    data = [] if last["fingerprint"] == before["fingerprint"] else ["the data or the settings"]
    return "Changed since the run before: " + (", ".join([*data, *other]) or "nothing but the code")
