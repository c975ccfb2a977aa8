"""The files of a report: the page, the notebook behind it, the response as JSON, and what was asked for beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from healthseg.reports import writing
from healthseg.reports.batches.execution import Job, scrubbed
from healthseg.reports.html import export

KINDS = ("ipynb", "json", "html")
FORMATS = ("pdf", "csv")


def places(job: Job) -> dict[str, Path]:
    """Where each file of a report goes; refused where a name is none or a link stands in the way."""
    owner, tool = job.names
    return {
        kind: writing.inside(Path(job.folder), owner, f"{tool}.{kind}")
        for kind in (*KINDS, *job.formats)
    }


def write(
    job: Job,
    where: Mapping[str, Path],
    executed: nbformat.NotebookNode,
    facts: Mapping[str, Any],
    made: export.Made,
) -> None:
    """Write all files, the page last: where it is, the others are."""
    markup = export.to_html(executed, made, index="../index.html", portfolio=job.client_id is None)
    writing.write_whole(where["ipynb"], scrubbed(executed, job))
    if "response" in facts:
        writing.write_whole(
            where["json"], json.dumps(facts["response"], indent=1, ensure_ascii=False) + "\n"
        )
    for kind in job.formats:
        _EXTRA[kind](export.read(executed), where[kind])
    writing.write_whole(where["html"], markup)


def facts(job: Job) -> dict[str, Any]:
    """What a report that is there tells of itself beside its page: its verdict, its date, its portfolio's fingerprint."""
    told = export.facts(nbformat.read(places(job)["ipynb"], as_version=4))
    return {name: value for name, value in told.items() if name != "response"}


def _pdf(document: export.Document, place: Path) -> None:
    from healthseg.reports.html import pdf

    writing.write_whole(
        place, pdf.made(document.title, document.kicker, document.parts, document.footer)
    )


def _csv(document: export.Document, place: Path) -> None:
    from healthseg.reports.html import tables

    writing.write_folder(place, tables.csv_files(document.parts))


_EXTRA = {"pdf": _pdf, "csv": _csv}


def key_of(page: Path) -> str:
    """What a page says it was made from; empty where there is none, or none of ours."""
    try:
        with open(page, encoding="utf-8") as file:
            head = file.read(2048)
    except (OSError, UnicodeDecodeError):
        return ""
    _, found, rest = head.partition(f'<meta name="{export.KEY}" content="')
    return rest.partition('"')[0] if found else ""
