"""What the pages of models show: a model's figures, frames and charts, and the log of its runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats, theme
from healthseg.data.storage import FOLDER, read_json, write_json
from healthseg.reports import portfolios
from healthseg.reports.spec import Section, Table

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

RUNS_LOGGED = 50
RUNS_FOLDER = "runs"


@dataclass(frozen=True)
class ModelResult:
    """A fitted or tested model as its page shows it.

    ``run_figures`` and ``configuration`` are what a run is remembered by.
    """

    summary: str
    as_of: dt.date
    data_until: dt.date
    fingerprint: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, formats.Frame] = field(default_factory=dict)
    drawings: Mapping[str, Callable[[formats.Frame], theme.Picture]] = field(default_factory=dict)
    run_figures: Mapping[str, float | None] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    not_measured: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def verdict(self) -> str:
        """The result in a line."""
        return self.summary

    def frame(self, name: str) -> formats.Frame:
        """The rows behind a table or a chart."""
        return self.frames[name]

    def charts(self) -> dict[str, theme.Picture]:
        """The charts by the name of the frame that they draw."""
        return {name: draw(self.frames[name]) for name, draw in self.drawings.items()}

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "as_of": str(self.as_of),
            "data_until": str(self.data_until),
            "fingerprint": self.fingerprint,
            "warnings": list(self.warnings),
            "not_measured": dict(self.not_measured),
            **self.figures,
        }


# -- runs -----------------------------------------------------------------------------------------


def _changes(result: ModelResult) -> tuple[str, ...]:
    run = result.figures["run"]
    if run["number"] == 1:
        return ("The first run: no earlier one to compare with",)
    changed = [f"{{run.changed[{at}]:words}}" for at in range(len(run["changed"]))]
    return (
        "Run {run.number:number}, on the data {run.fingerprint}",
        "Changed since the previous run: " + (", ".join(changed) or "nothing but the code"),
    )


RUNS = Section(
    "runs",
    "What changed since the last run?",
    _changes,
    (
        Table(
            "frames.run",
            {
                "Figure": "name:words",
                "This run": "now:figure.4",
                "Previous run": "before:figure.4",
                "Change": "change:signed.4",
            },
            "Figures of the run",
            "figures",
        ),
    ),
)


def recorded(
    kind: str,
    result: ModelResult,
    portfolio: Portfolio,
    clock: Callable[[], dt.datetime] = portfolios.now,
) -> ModelResult:
    """The result with its run beside the previous one; adds the run to the portfolio's log.

    A run with the configuration, the data and the figures of the last one is no new run.
    """
    path = portfolio.root / FOLDER / RUNS_FOLDER / f"{kind}.json"
    log = read_json(path) or []
    run = {
        "configuration": {
            name: formats.plain(value) for name, value in sorted(result.configuration.items())
        },
        "fingerprint": result.fingerprint,
        "figures": dict(result.run_figures),
    }
    if not log or {name: log[-1][name] for name in run} != run:
        log = [*log, {"at": clock().isoformat(timespec="seconds"), **run}][-RUNS_LOGGED:]
        write_json(path, log)
    before = log[-2] if len(log) > 1 else None
    figures = {
        "number": len(log),
        "fingerprint": result.fingerprint,
        "changed": _changed(run, before) if before else [],
    }
    frames = {**result.frames, "run": _beside(run, before)}
    return replace(result, figures={**result.figures, "run": figures}, frames=frames)


def _beside(run: Mapping[str, Any], before: Mapping[str, Any] | None) -> formats.Frame:
    """The figures of a run beside those of the previous one."""
    previous = before["figures"] if before else {}
    rows = [(name, value, previous.get(name)) for name, value in run["figures"].items()]
    return formats.frame(
        [
            {
                "name": name,
                "now": value,
                "before": old,
                "change": None if None in (value, old) else round(value - old, 6),
            }
            for name, value, old in rows
        ]
    )


def _changed(run: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What differs from the previous run: parameters, and the data or the settings."""
    new, old = run["configuration"], before["configuration"]
    names = [name for name in sorted({*new, *old}) if new.get(name) != old.get(name)]
    data = ["the data or the settings"] if run["fingerprint"] != before["fingerprint"] else []
    return [*data, *names]
