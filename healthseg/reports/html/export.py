"""An executed notebook becomes one HTML file that needs nothing else: no network, no code, its own scripts only."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import nbformat
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from healthseg.charts import formats
from healthseg.reports import document
from healthseg.reports.document import PRINTED
from healthseg.reports.html import foreign, printed, writer
from healthseg.reports.html.navigation import Navigation
from healthseg.reports.html.printed import Block, text
from healthseg.reports.html.writer import REPORT

KEY = "healthseg-key"
UNANSWERED = "What is not known, and why?"
NARROW = '<div class="hs hs-narrow">'


class ReportExporter(TemplateExporter):
    """nbconvert's exporter with our template; none of its own templates is loaded."""

    file_extension = ".html"
    output_mimetype = "text/html"
    template_name = "report"

    def _template_name_default(self) -> str:
        return "report"

    @property
    def extra_template_basedirs(self) -> list[str]:  # type: ignore[override]
        return [str(writer.templates())]


@dataclass
class NotebookSection:
    """A question and what answers it."""

    heading: str = ""
    anchor: str = ""
    pieces: list[str] = field(default_factory=list)
    # The same for PDF and CSV.
    blocks: list[Block] = field(default_factory=list)
    # Where it answers nothing: the reasons.
    unknown: list[str] | None = None
    # Whether it stands beside another one where the page is wide enough.
    paired: bool = False

    @property
    def is_narrow(self) -> bool:
        return bool(self.pieces) and self.pieces[0].startswith(NARROW)


@dataclass(frozen=True)
class NotebookOrigin:
    """When a report was computed, how long that took, and what from (``key``)."""

    at: dt.datetime
    seconds: float
    key: str = ""
    charts: str = "auto"

    def sentence(self) -> str:
        when = f"{formats.day(self.at.date())} at {self.at:%H:%M} UTC"
        return f"Computed on {when} in {self.seconds:.1f} s."


def facts(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """What the opening of a report says of it: title, kind, verdict, as_of, fingerprint."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if REPORT in output.get("data", {}):
                return dict(output["data"][REPORT])
    return {}


@dataclass
class Document:
    """What an executed notebook says: its title, the questions with what answers them, and where it comes from."""

    title: str
    kicker: str
    sections: list[NotebookSection]
    footer: NotebookSection

    @property
    def printed(self) -> list[tuple[str, list[Block]]]:
        """Each heading with its blocks."""
        return [(section.heading, section.blocks) for section in self.sections]


def read(notebook: nbformat.NotebookNode) -> Document:
    """The report of an executed notebook, before it has a form."""
    known, (sections, footer) = facts(notebook), _sections(notebook)
    dated = f"as of {formats.day(known['as_of'])}" if "as_of" in known else ""
    title = " – ".join(filter(None, [known.get("title"), known.get("kind"), dated]))
    kicker = known.get("kind", _title(notebook))
    return Document(formats.plain(title or kicker, 200), kicker, sections, footer)


def to_html(
    notebook: nbformat.NotebookNode,
    origin: NotebookOrigin,
    navigation: Navigation | None = None,
    portfolio: bool = False,
) -> str:
    """The report of an executed notebook as one page; without ``navigation`` it leads nowhere."""
    document, navigation = read(notebook), navigation or Navigation()
    for section in (*document.sections, document.footer):
        section.pieces[:] = [navigation.linked(piece) for piece in section.pieces]
    interactive = origin.charts == "interactive" or (origin.charts == "auto" and portfolio)
    scripts = _scripts(document.sections, interactive)
    report = {
        "policy": writer.policy(scripts),
        "scripts": scripts,
        "key_name": KEY,
        "key": origin.key,
        "style": _style() + ("" if facts(notebook) else writer.pieces()),
        "document": document,
        "origin": origin.sentence(),
        "navigation": navigation.markup() if navigation.trail else "",
    }
    # what the template shows is in the resources: the notebook itself would only be copied, cell by cell
    body, _ = _exporter().from_notebook_node(
        nbformat.v4.new_notebook(), resources={"report": report}
    )
    return body


@cache
def _exporter() -> ReportExporter:
    return ReportExporter()


@cache
def _style() -> str:
    return (writer.templates() / "page.css").read_text("utf-8")


def _title(notebook: nbformat.NotebookNode) -> str:
    first = notebook.cells[0].source if notebook.cells else ""
    return first.lstrip("# ").splitlines()[0] if first.strip() else "Report"


def _scripts(sections: list[NotebookSection], interactive: bool) -> list[str]:
    """The scripts that a page needs; without interactive charts their grammar is taken out of its sections."""
    specs = any(writer.has_specs(piece) for section in sections for piece in section.pieces)
    if not interactive:
        for section in sections:
            section.pieces[:] = [writer.without_specs(piece) for piece in section.pieces]
    return [
        writer.report(),
        *([writer.vega(), writer.charts()] if specs and interactive else []),
    ]


def _sections(notebook: nbformat.NotebookNode) -> tuple[list[NotebookSection], NotebookSection]:
    """The cells by question, and the footer; the first cell is the title."""
    sections, footer = [NotebookSection()], NotebookSection()
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            _read_markdown(cell.source, sections)
        elif cell.cell_type == "code":
            section = footer if "footer" in cell.metadata.get("tags", []) else sections[-1]
            for output in cell.outputs:
                _read_output(output, section)
    sections = _answered(sections)
    for first, second in pairwise(sections):
        if first.is_narrow and second.is_narrow and not first.paired:
            first.paired = second.paired = True
    return sections, footer


def _answered(sections: list[NotebookSection]) -> list[NotebookSection]:
    """The sections that answer their question, and one that says of the others why they do not."""
    questions: dict[str, list[str]] = {}
    for section in sections:
        for reason in section.unknown or ():
            questions.setdefault(reason, []).append(section.heading)
    rest = NotebookSection(UNANSWERED, "not-known")
    if questions:
        items = tuple(
            document.Item(document.static(" ".join(headings)), document.static(reason))
            for reason, headings in questions.items()
        )
        listing = (document.Listing(items),)
        rest.pieces.append(f'<div class="hs">{writer.written(listing)}</div>')
        rest.blocks += printed.blocks(listing)
    left = [
        piece for section in sections if section.unknown is not None for piece in section.pieces
    ]
    rest.pieces += left  # how it was computed, where the last section answers nothing
    answered = [section for section in sections if section.unknown is None]
    if left and not questions:
        answered[-1].pieces += left
        return answered
    return [*answered, rest] if questions else answered


def _read_output(output: nbformat.NotebookNode, section: NotebookSection) -> None:
    unknown = output.get("data", {}).get(writer.UNKNOWN)
    if unknown is not None:
        section.unknown = list(unknown)
        return
    piece = foreign.piece(output)
    section.pieces += [piece] if piece else []
    own = output.get("data", {}).get(PRINTED)
    section.blocks += foreign.blocks(output) if own is None else own


def _read_markdown(source: str, sections: list[NotebookSection]) -> None:
    heading, _, rest = source.partition("\n")
    if heading.startswith("## "):
        words = heading[3:].strip()
        anchor = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
        sections.append(NotebookSection(words, anchor))
        source = rest
    if source.strip():
        sections[-1].pieces.append(markdown2html_mistune(source))
        for paragraph in source.split("\n\n"):
            sections[-1].blocks += text("p", paragraph)
