"""What a page says before it has a form: paragraphs, tables, charts and lists with their figures filled in.

``healthseg.reports.layout`` fills a spec into these nodes; HTML, PDF and CSV are written from them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from healthseg.reports.figures import Filled, Piece

# Rows of a table that are shown before a reader opens the others.
ROWS_SHOWN = 12
PRINTED = "application/vnd.healthseg.printed+json"
NO_TEXT = Filled()
_PRINTING: ContextVar[bool] = ContextVar("printing", default=False)


@contextlib.contextmanager
def printing(wanted: bool) -> Iterator[None]:
    """Within it cells bring along what PDF and CSV are written from."""
    token = _PRINTING.set(wanted)
    try:
        yield
    finally:
        _PRINTING.reset(token)


def is_printing() -> bool:
    """Whether cells bring along what PDF and CSV are written from."""
    return _PRINTING.get()


def static(text: str) -> Filled:
    """A text without figures."""
    return Filled((Piece(text),)) if text else Filled()


@dataclass(frozen=True)
class Paragraph:
    """A text; ``kind`` is its look: lead, verdict, about, missing."""

    text: Filled
    kind: str = ""
    # A bold beginning.
    title: Filled = NO_TEXT


@dataclass(frozen=True)
class Title:
    """A heading: of the page (1) or within a section (3)."""

    text: Filled
    level: int = 3


@dataclass(frozen=True)
class Item:
    """A line of a list: severity, title, text, and a line in small type."""

    text: Filled
    title: Filled = NO_TEXT
    under: Filled = NO_TEXT
    severity: Piece | None = None
    level: str = ""


@dataclass(frozen=True)
class Listing:
    """A list of lines; ``kind`` is its look: points, warnings."""

    items: tuple[Item, ...]
    kind: str = "points"
    ordered: bool = False


@dataclass(frozen=True)
class FactList:
    """Names and values beside each other."""

    pairs: tuple[tuple[str, Filled], ...]


@dataclass(frozen=True)
class GridColumn:
    """The heading of a column, and whether it holds figures."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class GridCell:
    """What a cell shows, what it is sorted by where its text says that in another way, and its share of one."""

    text: Filled
    under: Filled = NO_TEXT
    sort: str | None = None
    share: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Grid:
    """A table; ``label`` says what its rows are."""

    columns: tuple[GridColumn, ...]
    lines: tuple[tuple[GridCell, ...], ...]
    caption: str = ""
    label: str = "rows"


@dataclass(frozen=True)
class CardText:
    """A figure at a glance, filled in."""

    name: Filled
    figure: Filled
    note: Filled = NO_TEXT
    change: Filled = NO_TEXT
    direction: str = ""
    badge: Piece | None = None
    band: str = ""
    sparkline: str = ""


@dataclass(frozen=True)
class CardRow:
    """Figures at a glance, beside each other."""

    cards: tuple[CardText, ...]


@dataclass(frozen=True)
class DrawnChart:
    """A chart as drawn, its grammar, and its figures as a table."""

    title: Filled
    subtitle: Filled
    svg: str
    grammar: Mapping[str, Any]
    table: Grid | None = None


@dataclass(frozen=True)
class Drawing:
    """A picture without a caption."""

    svg: str


@dataclass(frozen=True)
class Folded:
    """What a reader opens when wanted."""

    summary: Filled
    nodes: tuple[Node, ...]
    printed: bool = True  # whether it is on paper as well


@dataclass(frozen=True)
class Markup:
    """HTML that no other node makes; ``printed`` stands for it on paper."""

    html: str
    printed: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Opening:
    """How a page begins: title, verdict, what it is about; ``mood`` colours it."""

    title: Title
    verdict: Paragraph
    about: tuple[Paragraph, ...] = ()
    mood: str = ""


Node = (
    Paragraph
    | Title
    | Listing
    | FactList
    | Grid
    | CardRow
    | DrawnChart
    | Drawing
    | Folded
    | Markup
    | Opening
)
