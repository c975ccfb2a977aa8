"""The notebooks of the pages, generated from their specs: ``python -m healthseg.reports.notebooks``."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pydantic.fields import FieldInfo

from healthseg.reports import registry
from healthseg.reports.pages import MODELS, MODULES, OVERVIEWS, model_spec, overview_spec, page_spec
from healthseg.reports.spec import Page

CLIENT = "cs_client_123"
PORTFOLIO = (
    'portfolio: str = ""  # folder, DuckDB file or database address; empty: $HEALTHSEG_PORTFOLIO, '
    "else the demo portfolio"
)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def notebook(page: Page) -> nbformat.NotebookNode:
    """The notebook of a page: its title, the parameters, the call, and a cell for each section."""
    call = "portfolio_page" if page.portfolio else "customer_page"
    call = "overview_page" if page.tool in OVERVIEWS else call
    opened = f'from healthseg.reports import {call}\n\npage = {call}("{page.tool}", vars())'
    cells = [
        new_markdown_cell(f"# {page.kind}\n\n{page.summary}", id="title"),
        _code(parameters(page), "parameters", tags=["parameters"]),
        _code(opened, "page"),
    ]
    return _notebook([*cells, *_shown(page)])


def model_notebook(page: Page, written: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook of a model: its cells up to the one that computes, as they are written, and a cell for each section."""
    ids = [cell.id for cell in written.cells]
    return _notebook([*written.cells[: ids.index("page") + 1], *_shown(page)])


def _shown(page: Page) -> list[nbformat.NotebookNode]:
    """The cells that show a page."""
    cells = [_code("page.opening()", "opening")]
    for section in page.sections:
        cells += [
            new_markdown_cell(f"## {section.question}", id=f"{section.name}-question"),
            _code(f'page.section("{section.name}")', section.name),
        ]
    return [
        *cells,
        _code("page.method()", "method"),
        _code("page.footer()", "footer", tags=["footer"]),
    ]


def _notebook(cells: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    return new_notebook(
        cells=cells,
        metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}},
        nbformat_minor=5,
    )


def _code(source: str, name: str, **metadata: Any) -> nbformat.NotebookNode:
    return new_code_cell(source, id=name, metadata=metadata)


def parameters(page: Page) -> str:
    """The cell of parameters, which papermill reads: name, type, default and meaning, one a line."""
    if page.tool in OVERVIEWS:
        own = registry.overview(page.tool).model().model_fields
        return "\n".join(
            [PORTFOLIO, *(_declared(name, own[name], {"client_id": CLIENT}) for name in own)]
        )
    tool = registry.tool(page.tool)
    if page.portfolio:
        fields = tool.portfolio_parameters.model_fields
    else:
        known = registry.report_parameters(page.tool)
        fields = {name: tool.parameters.model_fields[name] for name in known}
    defaults = {"client_id": CLIENT} | tool.report_defaults
    first = [name for name in ("client_id", "as_of") if name in fields]
    order = [*first, *(name for name in fields if name not in first)]
    lines = [_declared(name, fields[name], defaults) for name in order]
    return "\n".join([PORTFOLIO, *lines])


def _declared(name: str, field: FieldInfo, defaults: dict[str, Any]) -> str:
    default = field.get_default(call_default_factory=True)  # type: ignore[call-arg]
    if field.is_required() or (name == "client_id" and default is None):
        default = defaults.get(name)
    text = f'"{default}"' if isinstance(default, str) else repr(default)
    return f"{name}: {_kind(field.annotation)} = {text}  # {_meaning(field)}"


def _options(annotation: Any) -> list[Any]:
    """The alternatives of a union, without None and what is said about each."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [_options(part) for part in typing.get_args(annotation)]
        return [option for options in parts for option in options if option is not type(None)]
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    return [annotation]


def _kind(annotation: Any) -> str:
    first = _options(annotation)[0]
    if typing.get_origin(first) is typing.Literal:
        return type(typing.get_args(first)[0]).__name__
    return (typing.get_origin(first) or first).__name__


def _meaning(field: FieldInfo) -> str:
    """What a parameter means, with the values that it may have."""
    words = (field.description or "").split("\n")[0]
    first = _options(field.annotation)[0]
    if typing.get_origin(first) is not typing.Literal:
        return words
    *others, last = map(str, typing.get_args(first))
    return f"{words}: {', '.join(others)} or {last}" if others else words


def path_of(page: Page, folder: Path) -> Path:
    """Where the notebook of a page is."""
    if page.tool in OVERVIEWS:
        return folder / "overview" / f"{page.tool}.ipynb"
    return folder / ("portfolio" if page.portfolio else "customer") / f"{page.tool}.ipynb"


def write(folder: Path) -> None:
    """Write the notebooks of all pages."""
    for tool in MODULES:
        for portfolio in (False, True):
            page = page_spec(tool, portfolio)
            text = nbformat.writes(notebook(page))
            path_of(page, folder).write_text(text + "\n", "utf-8")
    for kind in OVERVIEWS:
        page = overview_spec(kind)
        path_of(page, folder).write_text(nbformat.writes(notebook(page)) + "\n", "utf-8")
    for kind in MODELS:
        path = folder / "models" / f"{kind}.ipynb"
        written = nbformat.read(path, as_version=4)
        path.write_text(nbformat.writes(model_notebook(model_spec(kind), written)) + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2] / "notebooks")
