"""The notebooks' pages for results at hand: the very cells, without a kernel."""

from __future__ import annotations

import datetime as dt
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
from nbformat.v4 import new_output

from healthseg import settings as config
from healthseg.reports.html import export, writer
from healthseg.reports.html.navigation import Atlas
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NAVIGATION = Atlas({}, {}).navigation(None, "calculate_health_score")
MADE = export.NotebookOrigin(dt.datetime(2025, 10, 11, 4, 30, tzinfo=dt.UTC), 3.2)


def shown(kind: str, result, settings=None) -> nbformat.NotebookNode:
    """The notebook of a kind with the outputs that its cells have for this result."""
    notebook = nbformat.read(NOTEBOOKS / kind / "calculate_health_score.ipynb", as_version=4)
    opened = SimpleNamespace(
        settings=settings or config.Settings(),
        has=lambda table: False,
        table=lambda table: pd.DataFrame({"client_id": []}),
    )
    spec = page_spec("calculate_health_score", portfolio=kind == "portfolio")
    names = {"page": ReportPage(spec, result, opened)}
    for cell in notebook.cells[3:]:
        if cell.cell_type == "code":
            bundle = eval(cell.source, names)._repr_mimebundle_()
            cell.outputs = [new_output("execute_result", data=bundle, execution_count=1)]
    return notebook


def html_of(kind: str, result, settings=None) -> str:
    return export.to_html(
        shown(kind, result, settings), MADE, navigation=NAVIGATION, portfolio=kind == "portfolio"
    )


OWN = (writer.report, writer.vega, writer.charts)


# Tags within a sentence, which part no words.
INLINE = ("span", "bdi", "b")


class Read(HTMLParser):
    """A page as its reader's machine sees it: tags with attributes, headings, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.scripts: list[tuple[str, str]] = []  # type and text of each
        self._texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        self._texts += [" "] * (tag not in INLINE)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag):
        self._texts += [" "] * (tag not in INLINE)
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        if "style" in self._open or "script" in self._open:
            return
        self._texts.append(data)
        if any(tag in self._open for tag in ("h1", "h2", "h3")):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def foreign(self) -> list[str]:
        """What would run and is not one of our own scripts."""
        return [
            text[:80]
            for kind, text in self.scripts
            if "json" not in kind and text not in [own() for own in OWN]
        ]

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).replace("\u00a0", " ").split())
