"""Holds every figure of a page against the result that it was read from, and lists a page's templates."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from healthseg.charts import formats
from healthseg.reports import figures, privacy
from healthseg.reports.html.foreign import Node, parse
from healthseg.reports.render import ReportPage
from healthseg.reports.spec import Page

LISTINGS = Path(__file__).parent / "figures"
# Numbers that belong to the name of a figure: windows, levels, thresholds of a definition.
NAMES = re.compile(
    r"\b(7 and 30|7|14|28|30|60|84|90|120|180|365|100,000) (days|such days)\b|\bL28\b|\b0 to 100\b"
    r"|\b28 days before\b|\bof the last 28\b|\b(of|the) (84|90) (days )?before\b|\bon 12 days\b|, 90 days$|\bat least 0\.8\b|\bScore of 80 or more$|\b90% interval\b|\b20 events or more\b|\bof 1\)|\ba score of 60\b|\bwithin 5 points of it\b"
)


SOURCES = "Where these figures come from"


def markup_of(page: ReportPage) -> str:
    """All cells of a page, one after the other; without the footer's version and settings."""
    parts = [page.opening(), *(page.section(name) for name in page.names), page.method()]
    return "".join(part._repr_mimebundle_()["text/html"] for part in parts)


def faults(page: ReportPage, markup: str | None = None) -> list[str]:
    """Every figure that is not what its path says, and every number without a path."""
    tree = parse(markup_of(page) if markup is None else markup)
    return [*_wrong_figures(tree, page.scope), *_numbers_without_a_path(tree), *_row_counts(tree)]


def _wrong_figures(tree: Node, scope: figures.Scope) -> Iterator[str]:
    for node in _all(tree, lambda node: "data-figure" in node.attributes):
        path, form = node.attributes["data-figure"], node.attributes.get("data-format", "")
        expected = " ".join(_expected(scope, path, form).replace("\u00a0", " ").split())
        if form == "verdict" and expected.endswith(node.text[1:]):
            continue
        if node.text != re.sub(r" (?=[:;,])", "", expected):
            yield f"{path} ({form}): {node.text!r} on the page, {expected!r} in the result"


def _expected(scope: figures.Scope, path: str, form: str) -> str:
    address, _, of_key = path.removeprefix("$").partition("#")
    target = scope.find(address)
    if target is None:
        return formats.DASH
    if of_key:
        return formats.written(str(figures.last_step(path.partition("#")[0])), form)
    if form == "verdict":
        return formats.prose(target.value)
    value = target.value
    if address.rpartition(".")[2] in privacy.USER_KEYS:
        value = privacy.shown(value)
    return formats.written(value, form, (target.outer or scope).sibling)


def _numbers_without_a_path(tree: Node) -> Iterator[str]:
    for text in _static_texts(tree):
        rest = NAMES.sub("", " ".join(text.replace("\u00a0", " ").split()))
        if re.search(r"\d", rest):
            yield f"a number without a path: {text.strip()!r}"


def _static_texts(node: Node) -> Iterator[str]:
    if "data-figure" in node.attributes or node.tag in ("svg", "style", "script", "label"):
        return
    if node.tag == "details" and SOURCES in "".join(map(str, node.elements[0].parts)):
        return  # definitions, queries and expressions of the catalogue, no figures of the result
    own = "".join(part if isinstance(part, str) else "\x00" for part in node.parts)
    yield from own.split("\x00")
    for part in node.elements:
        yield from _static_texts(part)


def _row_counts(tree: Node) -> Iterator[str]:
    for box in _all(tree, lambda node: "hs-table" in node.names):
        labels = [label.text for label in box.all("label")]
        rows = len(box.all("tbody")[0].all("tr"))
        if labels and f" {formats.number(rows)} " not in labels[0]:
            yield f"{labels[0]!r} under a table of {rows} rows"


def _all(node: Node, wanted: Callable[[Node], bool]) -> Iterator[Node]:
    for part in node.elements:
        if wanted(part):
            yield part
        yield from _all(part, wanted)


# -- the listing of a page's templates -------------------------------------------------------------


def listing(page: Page) -> str:
    """Every text of a page that holds a figure, with where it is on the page."""
    return "".join(f"{where}: {text}\n" for where, text in _texts(page, page.kind))


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """The templates of a spec; a function's are the string constants of its code."""
    if isinstance(value, str):
        if "{" in value or re.search(r":\w", value):
            yield where, value
    elif callable(value):
        for constant in _constants(value.__code__):
            yield from _texts(constant, f"{where} (chosen)")
    elif dataclasses.is_dataclass(value):
        own = (
            getattr(value, "name", None) or getattr(value, "heading", None) or type(value).__name__
        )
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            if field.name in ("direction", "band", "past", "rows", "severity", "path", "needs"):
                if part:
                    yield f"{where} / {own} / {field.name}", part
            else:
                yield from _texts(part, f"{where} / {own}")
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, str):
                yield f"{where} / {name}", part
            else:
                yield from _texts(part, f"{where} / {name}")
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts(part, where)


def _constants(code: Any) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str) and re.search(r"\{|\w:\w", constant):
            yield constant
        elif hasattr(constant, "co_consts"):
            yield from _constants(constant)


def listing_path(page: Page) -> Path:
    """The file that holds a page's listing."""
    return LISTINGS / f"{page.tool}_{'portfolio' if page.portfolio else 'customer'}.txt"


def changes(page: Page) -> str:
    """How a page's templates differ from the listing that was reviewed; empty where they don't."""
    reviewed = listing_path(page).read_text("utf-8") if listing_path(page).exists() else ""
    lines = difflib.unified_diff(
        reviewed.splitlines(), listing(page).splitlines(), lineterm="", n=0
    )
    return "\n".join(lines)


def main() -> None:
    """Write the listings anew: ``python -m tests.reports.figure_check``; review what changed."""
    from healthseg.reports.pages import (
        MODELS,
        MODULES,
        OVERVIEWS,
        model_spec,
        overview_spec,
        page_spec,
    )

    LISTINGS.mkdir(exist_ok=True)
    tools = [page_spec(tool, portfolio) for tool in MODULES for portfolio in (False, True)]
    tools += [overview_spec(kind) for kind in OVERVIEWS]
    for page in [*tools, *(model_spec(kind) for kind in MODELS)]:
        listing_path(page).write_text(listing(page), "utf-8")


if __name__ == "__main__":
    main()
