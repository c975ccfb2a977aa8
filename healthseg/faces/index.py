"""The index of a folder of reports: the book at a glance, what was made, and what failed and why."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from healthseg.charts import formats
from healthseg.faces.execution import Outcome
from healthseg.faces.export import templates

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A column of the table of customers: what is read, and what is sorted by."""

    key: str
    heading: str
    write: Callable[[Any], str] = formats.plain
    numeric: bool = False
    money: bool = False
    tight: bool = False

    def cell(self, row: Row) -> dict[str, Any]:
        value = row.get(self.key)
        text = formats.money(value, row.get("currency")) if self.money else self.write(value)
        return {
            "text": text or formats.DASH,
            "sort": self._sort(value),
            "numeric": self.numeric,
            "label": self.heading,
            "tight": self.tight,
            "dot": row.get("band") or "unknown" if self.key == "score" else "",
        }

    def _sort(self, value: Any) -> str:
        if formats.is_missing(value):
            return ""
        return formats.plain(value) if isinstance(value, int | float | str) else str(value)


COLUMNS = (
    Shown("name", "Customer"),
    Shown("score", "Score", formats.number, True),
    Shown("change", "Change", formats.signed, True),
    Shown("risk_level", "Risk", formats.words),
    Shown("at_stake", "At stake", numeric=True, money=True),
    Shown("arr", "ARR", numeric=True, money=True),
    Shown("renewal_on", "Renewal", formats.day, tight=True),
    Shown("stage", "Stage", formats.words),
    Shown("csm_id", "Manager"),
    Shown("reason", "Why"),
)


def page(
    overview: Any, tools: Sequence[str], folder: Path, outcomes: Sequence[Outcome], at: dt.datetime, seconds: float
) -> str:
    """The index as one page that opens from a drive; a row links to its report where there is one."""
    customers = overview.customers
    script = (templates() / "index.js").read_text("utf-8").strip()
    return _template().render(
        style="".join((templates() / name).read_text("utf-8") for name in ("page.css", "pieces.css", "index.css")),
        script=script,
        policy=_policy(script),
        verdict=overview.verdict(),
        as_of=formats.day(overview.as_of),
        data_until=formats.day(overview.data_until),
        columns=COLUMNS,
        rows=[_row(row, tools, folder) for row in customers],
        managers=sorted({formats.plain(row["csm_id"]) for row in customers if row.get("csm_id")}),
        reports=_reports(tools, folder, outcomes),
        failed=[_failure(one) for one in outcomes if not one.ok],
        made=len(outcomes),
        provenance=_provenance(overview, outcomes, at, seconds),
    )


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(templates())
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("index.html.j2")


def _policy(script: str) -> str:
    """Nothing from anywhere, and of scripts this one alone."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = ("default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'", "base-uri 'none'")
    return "; ".join((*parts, "form-action 'none'"))


def _row(row: Row, tools: Sequence[str], folder: Path) -> dict[str, Any]:
    pages = (f"{row['client_id']}/{tool}.html" for tool in tools)
    href = next((page for page in pages if (folder / page).is_file()), "")
    return {
        "cells": [column.cell(row) for column in COLUMNS],
        "href": href,
        "manager": formats.plain(row.get("csm_id")),
    }


def _reports(tools: Sequence[str], folder: Path, outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    told = {outcome.tool: outcome.facts for outcome in outcomes if outcome.client_id is None and outcome.ok}
    return [
        {
            "href": f"book/{tool}.html",
            "name": told.get(tool, {}).get("kind", formats.sentence(formats.words(tool))),
            "says": told.get(tool, {}).get("verdict", "made before"),
        }
        for tool in tools
        if (folder / "book" / f"{tool}.html").is_file()
    ]


def _failure(outcome: Outcome) -> dict[str, str]:
    error = outcome.error or {}
    return {
        "who": outcome.client_id or "the book",
        "tool": formats.words(outcome.tool),
        "why": formats.plain(error.get("error_message"), 400),
        "code": str(error.get("error_code", "")),
    }


def _provenance(overview: Any, outcomes: Sequence[Outcome], at: dt.datetime, seconds: float) -> list[tuple[str, str]]:
    import healthseg

    return [
        ("Fingerprint", overview.fingerprint),
        ("healthseg", healthseg.__version__),
        ("Made", f"{formats.day(at.date())}, {at:%H:%M} UTC"),
        ("Reports", f"{sum(one.ok for one in outcomes)} of {len(outcomes)}"),
        ("Took", f"{seconds:.0f} s"),
        (
            "Not counted",
            "; ".join(f"{count} {formats.words(why)}" for why, count in overview.excluded.items() if count) or "none",
        ),
    ]
