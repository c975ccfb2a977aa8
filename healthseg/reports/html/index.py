"""The index of a folder of reports: the portfolio at a glance, what was made, and what failed and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from healthseg.charts import formats
from healthseg.integrations.alerts import digest as alerts_page
from healthseg.reports.batches.job import ReportOutcome, report_name
from healthseg.reports.html import scripting
from healthseg.reports.html.writer import inert

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


MOVED = 5
STYLES = ("page.css", "pieces.css", "index.css")
SHORT = {
    "calculate_health_score": "health",
    "track_usage_engagement": "usage",
    "segment_customers": "segment",
    "track_feature_adoption": "features",
    "manage_lifecycle_stages": "stage",
    "track_adoption_milestones": "milestones",
    "segment_by_value_tier": "tier",
    "analyze_engagement_patterns": "patterns",
}
COLUMNS = (
    Shown("name", "Customer"),
    Shown("score", "Score", formats.number, True),
    Shown("change", "Change", formats.signed, True),
    Shown("risk_level", "Risk", formats.words),
    Shown("at_stake", "Expected churned ARR", numeric=True, money=True),
    Shown("arr", "ARR", numeric=True, money=True),
    Shown("renewal_on", "Renewal", formats.day, tight=True),
    Shown("stage", "Stage", formats.words),
    Shown("csm_id", "Manager"),
    Shown("reason", "Why"),
)


@dataclass(frozen=True)
class Shelf:
    """What lies where: the folder of the index, that of the reports, and what is known of each report."""

    folder: Path
    place: Path
    tools: Sequence[str]
    lines: Mapping[str, Mapping[str, Any]]
    run: str = ""

    def href(self, client_id: str | None, tool: str) -> str:
        """The address of a report as seen from the index; empty where there is none."""
        page = self.place / f"{report_name(client_id, tool)}.html"
        return page.relative_to(self.folder).as_posix() if page.is_file() else ""

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """The reports that were tried last without success."""
        return [line for _, line in sorted(self.lines.items()) if line.get("error")]


def page(
    overview: Any,
    shelf: Shelf,
    outcomes: Sequence[ReportOutcome],
    before: Mapping[str, Any],
    at: dt.datetime,
    seconds: float,
) -> str:
    """The index as one page that opens from a drive; a row links to its reports where there are any.

    ``before`` is the last line of the run that came before: what changed since then is told.
    """
    customers = overview.customers
    rows = [_row(row, shelf) for row in customers]
    script = scripting.index()
    return _template().render(
        style="".join((scripting.templates() / name).read_text("utf-8") for name in STYLES),
        script=script,
        policy=scripting.policy([script]),
        verdict=overview.verdict(),
        as_of=formats.day(overview.as_of),
        data_until=formats.day(overview.data_until),
        columns=COLUMNS,
        rows=rows,
        data=inert(rows),
        managers=sorted({formats.plain(row["csm_id"]) for row in customers if row.get("csm_id")}),
        reports=_reports(shelf),
        failed=[_failure(line) for line in shelf.failed],
        made=len(outcomes),
        changes=changes(overview, before, shelf),
        alerts=alerts_page.FILE if (shelf.folder / alerts_page.FILE).is_file() else "",
        least=MOVED,
        provenance=_provenance(overview, outcomes, at, seconds),
    )


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(scripting.templates())
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(
        "index.html.j2"
    )


def _row(row: Row, shelf: Shelf) -> dict[str, Any]:
    pages = [(tool, shelf.href(row["client_id"], tool)) for tool in shelf.tools]
    links = [(SHORT.get(tool, formats.words(tool)), href) for tool, href in pages if href]
    return {
        "cells": [column.cell(row) for column in COLUMNS],
        "href": links[0][1] if links else "",
        "links": links if len(links) > 1 else [],
        "manager": formats.plain(row.get("csm_id")),
    }


def _reports(shelf: Shelf) -> list[dict[str, str]]:
    found = [
        (tool, shelf.href(None, tool), shelf.lines.get(report_name(None, tool), {}))
        for tool in shelf.tools
    ]
    return [
        {
            "href": href,
            "name": line.get("kind") or formats.sentence(formats.words(tool)),
            "says": line.get("verdict") or "made before",
        }
        for tool, href, line in found
        if href
    ]


def _failure(line: Mapping[str, Any]) -> dict[str, str]:
    error = line["error"]
    return {
        "who": line.get("client_id") or "the portfolio",
        "tool": formats.words(line["tool"]),
        "why": formats.plain(error.get("message"), 400),
        "code": f"{line['status']}, {error.get('code', '')}",
    }


def changes(overview: Any, before: Mapping[str, Any], shelf: Shelf) -> dict[str, Any]:
    """What is different from the run before: who came and went, whose risk changed, whose score moved by 5 or more."""
    known = before.get("customers") or {}
    rows = {row["client_id"]: row for row in overview.customers}
    if not known:
        return {}
    told = [_changed(row, known[client], shelf) for client, row in rows.items() if client in known]
    came = [formats.plain(rows[client]["name"]) for client in rows if client not in known]
    gone = [client for client in known if client not in rows]
    return {
        "since": formats.day(before["as_of"]) if before.get("as_of") else "the run before",
        "moved": sorted(filter(None, told), key=lambda one: (-abs(one["by"]), one["name"])),
        "came": came,
        "gone": gone,
    }


def _changed(row: Row, was: Sequence[Any], shelf: Shelf) -> dict[str, Any] | None:
    score, risk = row.get("score"), row.get("risk_level")
    by = 0 if formats.is_missing(score) or was[0] is None else round(score - was[0])
    if abs(by) < MOVED and risk == was[1]:
        return None
    words = [f"score {formats.number(was[0])} to {formats.number(score)}"] if by else []
    risks = [formats.words(level or "unknown") for level in (was[1], risk)]
    words += [f"risk {risks[0]} to {risks[1]}"] if risk != was[1] else []
    href = next(filter(None, (shelf.href(row["client_id"], tool) for tool in shelf.tools)), "")
    return {"name": formats.plain(row["name"]), "href": href, "by": by, "says": ", ".join(words)}


def _provenance(
    overview: Any, outcomes: Sequence[ReportOutcome], at: dt.datetime, seconds: float
) -> list[tuple[str, str]]:
    import healthseg

    return [
        ("Fingerprint", overview.fingerprint),
        ("healthseg", healthseg.__version__),
        ("Made", f"{formats.day(at.date())}, {at:%H:%M} UTC"),
        ("Reports", f"{sum(one.ok for one in outcomes)} of {len(outcomes)}"),
        ("Took", f"{seconds:.0f} s"),
        (
            "Not counted",
            "; ".join(
                f"{count} {formats.words(why)}" for why, count in overview.excluded.items() if count
            )
            or "none",
        ),
    ]
