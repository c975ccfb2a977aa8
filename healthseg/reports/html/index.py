"""The index of a folder of reports: the portfolio at a glance, its reports, and those that failed and why."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from healthseg.charts import formats
from healthseg.reports.batches.job import ReportOutcome, report_name
from healthseg.reports.html import writer
from healthseg.reports.html.navigation import LABELS, OF_ALL, card
from healthseg.reports.html.writer import inert
from healthseg.rules import counted, listed

Row = Mapping[str, Any]


@dataclass(frozen=True)
class IndexColumn:
    """A column of the table of customers: what it shows, and what it is sorted by."""

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


ALERTS_FILE = "alerts.html"
# A score that moved by this many points since the last run is named.
LEAST_MOVE = 5
# Moves that are shown before a reader opens the others.
MOVES_SHOWN = 8
# Next actions and renewals at the top, and the days ahead of the latter.
ACTIONS_SHOWN = 5
RENEWALS_SHOWN = 10
RENEWAL_DAYS = 90
STYLES = ("page.css", "pieces.css", "index.css")
# Windows of the filter by renewal: its name, and the days from and to the renewal.
RENEWALS = (
    ("overdue", None, -1),
    ("in 30 days", 0, 30),
    ("in 60 days", 0, 60),
    ("in 90 days", 0, 90),
    ("in 180 days", 0, 180),
)
UNCONTRACTED = "contract expired"
FLAGS = {
    "notice_given": "notice given",
    "long_overdue": "invoice long overdue",
    "provisional": "too new for a score",
}
COLUMNS = (
    IndexColumn("name", "Customer"),
    IndexColumn("score", "Score", formats.number, True),
    IndexColumn("change", "Change", formats.signed, True),
    IndexColumn("band", "Band", formats.words),
    IndexColumn("at_stake", "ARR weighted by score", numeric=True, money=True),
    IndexColumn("arr", "ARR", numeric=True, money=True),
    IndexColumn("renewal_on", "Renewal", formats.day, tight=True),
    IndexColumn("stage", "Stage", formats.words),
    IndexColumn("tier", "Tier"),
    IndexColumn("manager", "Manager"),
    IndexColumn("reason", "Why"),
)


@dataclass(frozen=True)
class ReportFolder:
    """The folder of the index, that of the reports, and the last line of each report in the manifest."""

    index_folder: Path
    report_folder: Path
    tools: Sequence[str]
    lines: Mapping[str, Mapping[str, Any]]
    exists: Callable[[Path], bool] = Path.is_file

    def href(self, client_id: str | None, tool: str) -> str:
        """The address of a report as seen from the index; empty where there is none."""
        page = self.report_folder / f"{report_name(client_id, tool)}.html"
        return page.relative_to(self.index_folder).as_posix() if self.exists(page) else ""

    def of_customer(self, client_id: str) -> tuple[list[tuple[str, str]], str]:
        """A customer's reports as name and address in the order of the tabs, and the first one's address, else the card's."""
        order = [*LABELS, *(tool for tool in self.tools if tool not in LABELS)]
        pages = [(tool, self.href(client_id, tool)) for tool in order if tool in self.tools]
        links = [(LABELS.get(tool, formats.words(tool)), href) for tool, href in pages if href]
        return links, links[0][1] if links else card("", client_id)

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """The reports whose last try failed."""
        return [line for _, line in sorted(self.lines.items()) if line.get("error")]


def page(
    overview: Any,
    reports: ReportFolder,
    outcomes: Sequence[ReportOutcome],
    before: Mapping[str, Any],
    at: dt.datetime,
    seconds: float,
    managers: Mapping[str, str] | None = None,
    owner: str = "",
) -> str:
    """The index as one page that opens from a drive; a row links to its reports where there are any.

    ``before`` is the last line of the previous run, with which the customers are compared; ``owner`` is the manager whose
    customers these are, where they are not all.
    """
    overview = _told_apart(overview)
    customers = [
        {**row, "manager": formats.manager(row.get("csm_id"), managers)}
        for row in overview.customers
    ]
    columns, flags = _columns(overview.at_stake_basis), _flags(overview)
    columns = tuple(column for column in columns if not (owner and column.key == "manager"))
    rows = [_row(row, columns, reports, flags.get(row["client_id"], ())) for row in customers]
    script = writer.index()
    return _template().render(
        style="".join((writer.templates() / name).read_text("utf-8") for name in STYLES),
        script=script,
        policy=writer.policy([script]),
        title=f"The customers of {owner}" if owner else "The portfolio at a glance",
        verdict=_of_owner(overview, rows) if owner else overview.verdict(),
        actions=[
            *(_across(action, managers) for action in overview.portfolio_actions),
            *(_action(action, reports, managers) for action in overview.next_actions),
        ][:ACTIONS_SHOWN],
        renewals=_renewals(rows),
        renewing=f"{counted(len(_renewals(rows)), 'customer')}, {formats.amounts(_arr(_renewals(rows)))} ARR: the largest",
        renewal_days=RENEWAL_DAYS,
        renewals_shown=RENEWALS_SHOWN,
        renewal_columns=("Customer", "Score", "ARR", "Renewal"),
        as_of=formats.day(overview.as_of),
        data_until=formats.day(overview.data_until),
        columns=columns,
        rows=rows,
        data=inert(
            {
                "rows": rows,
                "renewals": RENEWALS,
                "expected": next(item.heading for item in columns if item.key == "at_stake"),
            }
        ),
        filters={
            name: known
            for name, known in _filters(rows).items()
            if not (owner and name == "manager")
        },
        reports=_portfolio_reports(reports),
        failed=[_failure(line) for line in reports.failed],
        changes=changes(overview, before, reports, bool(owner)),
        alerts=ALERTS_FILE if reports.exists(reports.index_folder / ALERTS_FILE) else "",
        least=LEAST_MOVE,
        provenance=_provenance(overview, outcomes, at, seconds, bool(owner)),
    )


def _told_apart(overview: Any) -> Any:
    """The result with the client_id beside a name that several customers have."""
    shared = Counter(row["name"] for row in overview.customers)
    rows = [
        row if shared[row["name"]] == 1 else {**row, "name": f"{row['name']} ({row['client_id']})"}
        for row in overview.customers
    ]
    return overview.model_copy(update={"customers": rows})


def _of_owner(overview: Any, rows: Sequence[Row]) -> str:
    """What a manager looks after: customers, ARR by currency, scores below the threshold, and what renews soon."""
    amounts = formats.amounts(_arr(rows))
    scores = [row["score"] for row in overview.customers if not formats.is_missing(row["score"])]
    low = sum(score < overview.risk_threshold for score in scores)
    soon = sum(0 <= row["renewal"] <= RENEWAL_DAYS for row in rows if row["renewal"] is not None)
    parts = [
        counted(len(rows), "customer") + (f" with {amounts} ARR" if amounts else ""),
        f"{low} score below {overview.risk_threshold:.0f}" if scores else "",
        f"{soon} to renew within {RENEWAL_DAYS} days" if soon else "",
    ]
    return "; ".join(filter(None, parts))


def _arr(rows: Sequence[Row]) -> dict[str, float]:
    """The ARR of rows by currency."""
    arr: dict[str, float] = {}
    for row in rows:
        if "arr" in row:
            arr[row["currency"]] = arr.get(row["currency"], 0.0) + row["arr"]
    return arr


def _across(action: Any, managers: Mapping[str, str] | None) -> dict[str, str]:
    """What is to be done with several customers, as a line: what, who, and by when."""
    known = action.figures
    who = listed(formats.manager(owner, managers) for owner in known["owners"])
    until = (
        f"the first by {formats.day(known['first_on'])}, the last by {formats.day(known['due_on'])}"
    )
    return {
        "text": formats.plain(action.text, 300),
        "level": action.severity,
        "about": formats.plain(" · ".join(filter(None, (who, until))), 600),
    }


def _action(
    action: Any, reports: ReportFolder, managers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A next action as a line: whose, what, and by when, why and how much depends on it."""
    arr = f"{formats.brief_money(action.arr, action.currency)} ARR" if action.arr else ""
    about = [
        formats.manager(action.owner, managers) if action.owner else "",
        f"by {formats.day(action.due_on)}" if action.due_on else "",
        action.why,
        arr if arr not in action.why else "",
        action.effect or "",
    ]
    return {
        "name": formats.plain(action.name),
        "href": reports.of_customer(action.client_id)[1],
        "text": formats.plain(action.text, 300),
        "level": action.severity,
        "about": formats.plain(" · ".join(filter(None, about)), 600),
    }


def _renewals(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of the customers that renew within so many days, the most ARR first."""
    due = (row for row in rows if row["renewal"] is not None)
    soon = [row for row in due if 0 <= row["renewal"] <= RENEWAL_DAYS]
    return sorted(soon, key=lambda row: (-row.get("arr", 0.0), row["renewal"]))


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(writer.templates())
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(
        "index.html.j2"
    )


def _columns(basis: str | None) -> tuple[IndexColumn, ...]:
    """The columns; without a probability of churn the ARR is weighted by the score, and the heading says so."""
    horizon = re.match(r"probability of churn in (\d+ days)", basis or "")
    if horizon is None:
        return COLUMNS
    heading = f"Expected churned ARR, {horizon[1]}"  # whatever window of renewals is chosen
    return tuple(
        replace(column, heading=heading) if column.key == "at_stake" else column
        for column in COLUMNS
    )


def _flags(overview: Any) -> dict[str, list[str]]:
    """What overrides scores, and expired contracts, by client_id."""
    flags: dict[str, list[str]] = {}
    for held in overview.overrides.held:
        name = FLAGS.get(held.override, formats.words(held.override))
        flags.setdefault(held.client_id, []).append(name)
    for client in overview.uncontracted.client_ids:
        flags.setdefault(client, []).append(UNCONTRACTED)
    return flags


def _row(
    row: Row, columns: Sequence[IndexColumn], reports: ReportFolder, flags: Sequence[str]
) -> dict[str, Any]:
    """A row of the table, and what it is filtered, summed and linked by."""
    links, href = reports.of_customer(row["client_id"])
    sums = {name: row[name] for name in ("arr", "at_stake") if not formats.is_missing(row[name])}
    days = row.get("days_to_renewal")
    return {
        "id": row["client_id"],
        "cells": [column.cell(row) for column in columns],
        "href": href,
        "links": links,
        "currency": formats.plain(row.get("currency") or "", 8),
        **sums,
        "renewal": None if days is None or formats.is_missing(days) else int(days),
        "by": {
            "manager": row["manager"],
            "band": formats.words(row.get("band") or "unknown"),
            "stage": formats.words(row.get("stage") or ""),
            "tier": formats.plain(row.get("tier") or ""),
            "flag": list(flags),
        },
    }


def _filters(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The choices of each filter that has any."""
    choices = {
        name: sorted({choice for row in rows for choice in _choices(row["by"][name])})
        for name in ("manager", "band", "stage", "tier", "flag")
    }
    choices["renewal"] = (
        [name for name, *_ in RENEWALS] if any(row["renewal"] is not None for row in rows) else []
    )
    return {name: known for name, known in choices.items() if known}


def _choices(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _portfolio_reports(reports: ReportFolder) -> list[dict[str, str]]:
    pages = [
        (tool, reports.href(None, tool), reports.lines.get(report_name(None, tool), {}))
        for tool in reports.tools
    ]
    return [
        {
            "href": href,
            "name": {**LABELS, **OF_ALL}.get(tool) or formats.sentence(formats.words(tool)),
            "verdict": line.get("verdict") or "of an earlier run",
        }
        for tool, href, line in pages
        if href
    ]


def _failure(line: Mapping[str, Any]) -> dict[str, str]:
    error = line["error"]
    return {
        "subject": line.get("client_id") or "the portfolio",
        "tool": formats.words(line["tool"]),
        "reason": formats.plain(error.get("message"), 400),
        "code": f"{line['status']}, {error.get('code', '')}",
    }


def changes(
    overview: Any, before: Mapping[str, Any], reports: ReportFolder, owned: bool = False
) -> dict[str, Any]:
    """What is different from the last run, or without one from the look-back's start: who gave notice, churned, fell below
    the band Healthy or recovered, whose score moved by 5 or more. A manager's are ``owned``: the last run may have had others.
    A run as of the same day is no earlier one."""
    if before.get("as_of") == str(overview.as_of):
        before = {}
    rows = {row["client_id"]: row for row in overview.customers}
    gone = {row["client_id"]: row["name"] for row in overview.churned_lately}
    earlier = before.get("customers") or _look_back(overview)
    if owned:
        earlier = {client: then for client, then in earlier.items() if client in rows | gone}
    start = overview.as_of - dt.timedelta(days=overview.lookback_period_days)
    since = dt.date.fromisoformat(str(before["as_of"])) if before.get("as_of") else start
    groups = _groups(overview, earlier, rows, since, reports)
    if not (earlier or groups):
        return {}
    moved = [
        _moved(row, earlier[client], reports) for client, row in rows.items() if client in earlier
    ]
    lines = sorted(filter(None, moved), key=lambda line: (-abs(line["points"]), line["name"]))
    return {
        "since": formats.day(since) if before.get("as_of") or not before else "the last run",
        "groups": groups,
        "moved": lines if before else lines[:MOVES_SHOWN],
        "added": [formats.plain(rows[client]["name"]) for client in rows if client not in earlier]
        if before
        else [],
        "removed": [gone.get(client, client) for client in earlier if client not in rows],
    }


def _look_back(overview: Any) -> dict[str, list[Any]]:
    """Each customer's score at the look-back's start; its risk of then is not known, and taken as that of now."""
    return {
        row["client_id"]: [row.get("score_before"), row.get("risk_level")]
        for row in overview.customers
        if not formats.is_missing(row.get("score_before"))
    }


def _groups(
    overview: Any,
    earlier: Mapping[str, Sequence[Any]],
    rows: Mapping[str, Row],
    since: dt.date,
    reports: ReportFolder,
) -> list[dict[str, Any]]:
    """Lists of customers that need a look, each under its heading, empty ones left out."""
    healthy = overview.band_edges[1]

    def line(client: str, text: str, name: str = "") -> dict[str, str]:
        """A customer of a list; one that is no longer live has no card."""
        links, href = reports.of_customer(client)
        shown = formats.plain(name or rows[client]["name"])
        return {"name": shown, "href": href if links or client in rows else "", "text": text}

    def crossed(down: bool) -> list[dict[str, str]]:
        lines = []
        for client, row in sorted(rows.items(), key=lambda pair: -(pair[1]["arr"] or 0.0)):
            then = earlier.get(client, (None, None))[0]
            if then is None or formats.is_missing(row["score"]) or (then >= healthy) != down:
                continue
            if (row["score"] >= healthy) != down:
                scores = f"{formats.number(then)} to {formats.number(row['score'])}"
                arr = formats.brief_money(row["arr"], row.get("currency"))
                lines.append(line(client, f"{scores}, {arr} ARR" if row["arr"] else scores))
        return lines

    notices = [
        line(held.client_id, formats.day(held.since), held.name)
        for held in overview.overrides.held
        if held.override == "notice_given" and held.since and held.since > since
    ]
    churned = [
        line(row["client_id"], formats.day(dt.date.fromisoformat(row["churned_on"])), row["name"])
        for row in overview.churned_lately
        if row["churned_on"] > str(since)
    ]
    below = f"Now below {healthy:.0f}"
    groups = {
        "Gave notice": notices,
        "Churned": churned,
        below: crossed(True),
        f"Back at {healthy:.0f} or above": crossed(False),
    }
    return [
        {"name": f"{name}: {counted(len(lines), 'customer')}", "lines": lines}
        for name, lines in groups.items()
        if lines
    ]


def _moved(row: Row, before: Sequence[Any], reports: ReportFolder) -> dict[str, Any] | None:
    score, risk = row.get("score"), row.get("risk_level")
    old_score, old_risk = before[0], before[1]
    unknown = formats.is_missing(score) or old_score is None
    points = 0 if unknown else round(score - old_score)
    if abs(points) < LEAST_MOVE and risk == old_risk:
        return None
    words = [f"score {formats.number(old_score)} to {formats.number(score)}"] if points else []
    levels = [formats.words(level or "unknown") for level in (old_risk, risk)]
    words += [f"risk {levels[0]} to {levels[1]}"] if risk != old_risk else []
    return {
        "name": formats.plain(row["name"]),
        "href": reports.of_customer(row["client_id"])[1],
        "points": points,
        "text": ", ".join(words),
    }


def _provenance(
    overview: Any,
    outcomes: Sequence[ReportOutcome],
    at: dt.datetime,
    seconds: float,
    owned: bool = False,
) -> list[tuple[str, str]]:
    import healthseg

    excluded = (
        f"{count} {formats.words(reason)}" for reason, count in overview.excluded.items() if count
    )
    return [
        ("Fingerprint", overview.fingerprint),
        ("healthseg", healthseg.__version__),
        ("Computed", f"{formats.day(at.date())}, {at:%H:%M} UTC"),
        ("Reports", f"{sum(outcome.ok for outcome in outcomes)} of {len(outcomes)}"),
        ("Took", f"{seconds:.0f} s"),
        *([] if owned else [("Not counted", "; ".join(excluded) or "none")]),
    ]
