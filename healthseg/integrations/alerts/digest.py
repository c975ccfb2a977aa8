"""The digest of a run of alerts, as a page in the reports' folder: what is new, what goes on, what is over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from healthseg.charts import formats
from healthseg.integrations.alerts.run import ENDED, GOES_ON, NEW, QUIET, AlertRun
from healthseg.reports import writing
from healthseg.reports.batches.job import report_name
from healthseg.reports.document import Item, Listing, Paragraph, static
from healthseg.reports.figures import Scope
from healthseg.reports.html import index, writer
from healthseg.reports.html.writer import safe, written
from healthseg.reports.layout import grid
from healthseg.reports.spec import Cell, Table

FILE = index.ALERTS_FILE
STYLES = ("page.css", "pieces.css", "index.css")
PARTS = (
    (NEW, "What is new?", "Nothing is new."),
    (GOES_ON, "What continues after its cooldown?", ""),
    (ENDED, "What is over?", ""),
    (QUIET, "What was announced before and continues?", ""),
)


def write(
    run: AlertRun, out: str | Path, at: dt.datetime, managers: Mapping[str, str] | None = None
) -> Path:
    """The page's path; written whole or not at all. ``managers`` are the managers' names by csm_id."""
    folder = writing.output_folder(out)
    path = writing.inside(folder, FILE)
    overview = "index.html" if (folder / "index.html").is_file() else ""
    writing.write_whole(path, digest(run, at, _links(run, folder), overview, managers))
    return path


def digest(
    run: AlertRun,
    at: dt.datetime,
    links: Mapping[str, str],
    overview: str = "",
    managers: Mapping[str, str] | None = None,
) -> str:
    """The page's markup; ``links`` are the reports of customers, by id, ``overview`` is the address of the index."""
    verdict, style = (
        _verdict(run),
        "".join((writer.templates() / name).read_text("utf-8") for name in STYLES),
    )
    back = f' · <a href="{safe(overview)}">All reports</a>' if overview else ""
    known = {"managers": managers or {}}
    parts = "".join(
        _part(run, status, question, none, links, known) for status, question, none in PARTS
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{safe(writer.policy([]))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>Alerts – {formats.day(run.as_of)}</title><style>{style}</style></head>"
        f'<body><div class="index"><main><div class="hs"><header class="hs-opening"><h1>Alerts</h1>'
        f'<p class="hs-verdict">{safe(verdict)}</p>'
        f'<p class="hs-about">As of {formats.day(run.as_of)}{back}</p></header>'
        f"{parts}{_delivery(run)}</div></main><footer><small>Evaluated {at:%Y-%m-%d %H:%M} UTC</small></footer>"
        "</div></body></html>\n"
    )


def _verdict(run: AlertRun) -> str:
    """The page in one line.

    >>> _verdict(AlertRun(dt.date(2025, 3, 1), (), {}))
    'No alert holds.'
    """
    counts = run.to_dict()["counts"]
    words = [
        f"{counts[status]} {word}"
        for status, word in (
            (NEW, "new"),
            (GOES_ON, "going on"),
            (ENDED, "over"),
            (QUIET, "announced before"),
        )
        if counts[status]
    ]
    customers = len({alert.client_id for alert in run.alerts if alert.status != ENDED})
    if not customers:
        return "No alert holds" + (": " + ", ".join(words) if words else "") + "."
    return f"Alerts of {customers} customer{'' if customers == 1 else 's'}: {', '.join(words)}."


def _part(
    run: AlertRun,
    status: str,
    question: str,
    none: str,
    links: Mapping[str, str],
    known: Mapping[str, Any],
) -> str:
    rows = [
        {**alert.to_dict(), "since": alert.since, "href": links.get(alert.client_id, "")}
        for alert in run.alerts
        if alert.status == status
    ]
    table = grid(ALERTS, Scope({"alerts": rows, **known}, f"$.{status}"))
    if table is None:
        return f"<h2>{safe(question)}</h2>{written([Paragraph(static(none))])}" if none else ""
    return f"<h2>{safe(question)}</h2>{written([table])}"


ALERTS = Table(
    "alerts",
    {
        "Customer": Cell("name", link="href"),
        "Why": "text:prose",
        "Severity": "severity:words",
        "Since": "since:day",
        "Rule": "rule:words",
        "Manager": "csm_id:manager",
    },
    label="alerts",
)


def _delivery(run: AlertRun) -> str:
    """What became of the messages, where any could be sent."""
    delivery = run.delivery
    if not delivery:
        return ""
    states = ", ".join(
        f"{count} {formats.words(status)}" for status, count in delivery["outbox"].items()
    )
    problems = [
        Item(static(f"{problem['client_id']}: {problem['reason']}"))
        for problem in delivery["problems"]
    ]
    messages = Paragraph(static(f"Messages: {states}." if states else "No messages."))
    shown = written((messages, Listing(tuple(problems), "warnings")))
    return f"<h2>What was delivered?</h2>{shown}"


def _links(run: AlertRun, folder: Path) -> dict[str, str]:
    """The health report of each customer, where there is one in the folder."""
    links = {
        alert.client_id: f"{report_name(alert.client_id, 'calculate_health_score')}.html"
        for alert in run.alerts
    }
    return {client: link for client, link in links.items() if (folder / link).is_file()}
