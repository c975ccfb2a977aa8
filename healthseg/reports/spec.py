"""What a page consists of: questions, each with a lead, charts, tables and lists over one result.

A page holds no figure of its own: texts are templates over the result (``healthseg.reports.figures``), and a function
may stand in place of a text, a block or a tuple of them where the result decides what is shown. docs/pages.md is the guide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from healthseg.reports.document import Node
from healthseg.reports.figures import Text

Row = Mapping[str, Any]
LARGEST = "largest"


@dataclass(frozen=True)
class Cell:
    """What a column shows of a row: a path with a format (``arr:money``) or a template over the row."""

    value: Text
    # A second line, in small type.
    under: Text = ""
    # Whether a bar behind the figure shows it as a share of one, or of the largest in its column (LARGEST).
    bar: bool | str = False
    # The path of the page that the cell leads to.
    link: str = ""


Columns = Mapping[str, Text | Cell]


@dataclass(frozen=True)
class Table:
    """Rows of the result, one for each item of a list, a mapping or a frame (``frames.weeks``).

    ``columns`` gives by heading what each column shows.
    """

    rows: str
    columns: Columns
    caption: str = ""
    # What the rows are, in the plural.
    label: str = "rows"
    where: Callable[[Row], Any] | None = None
    sort: Callable[[Row], Any] | None = None
    limit: int | None = None
    newest_first: bool = False
    empty: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart of ``result.charts()``, with its figures as a table behind a fold."""

    name: str
    table: Table | None = None
    # The path of what the chart draws: where that is unknown, there is no chart.
    needs: str = ""


@dataclass(frozen=True)
class Missing:
    """The line in place of what could not be measured: shown where the path is unknown, with the reason.

    Without a path it is always shown.
    """

    what: str
    path: str = ""
    # The reason where the response has none for the path.
    reason: Text = ""
    # The key of the response's reasons, where it isn't the path's.
    why: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values beside each other; what is unknown is left out."""

    pairs: Mapping[str, Text]


@dataclass(frozen=True)
class Points:
    """A list with a line for each row: its title in bold, a text, a line in small type, a severity as a mark."""

    rows: str
    text: Text
    title: Text = ""
    under: Text = ""
    severity: str = ""
    ordered: bool = False
    heading: str = ""
    empty: str = ""
    limit: int | None = None
    where: Callable[[Row], Any] | None = None
    sort: Callable[[Row], Any] | None = None


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: Text


@dataclass(frozen=True)
class Card:
    """A figure at a glance: its name, a note, its change and its past."""

    name: Text
    figure: Text
    note: Text = ""
    change: Text = ""
    # A path: "increasing", "decreasing" or a signed figure decides the arrow.
    direction: str = ""
    band: str = ""
    # The past of the figure: a path of a list, and its accessible name.
    past: str = ""
    past_name: str = ""
    # The least range of the sparkline, so that noise does not look like a fall.
    past_range: float = 20.0


@dataclass(frozen=True)
class Cards:
    """Figures at a glance within a section."""

    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Fold:
    """Blocks behind a summary; with ``rows`` one fold for each row, whose blocks read from the row."""

    summary: Text
    blocks: Blocks
    rows: str = ""
    where: Callable[[Row], Any] | None = None


@dataclass(frozen=True)
class Within:
    """Blocks that read from a part of the result: ``path`` leads to it."""

    path: str
    blocks: Blocks


@dataclass(frozen=True)
class Custom:
    """What no block makes: a function of the result (whatever it takes from there is escaped by it)."""

    markup: Callable[[Any], Node]


Block = Table | Chart | Missing | Facts | Points | Note | Heading | Cards | Fold | Within | Custom
Blocks = tuple[Block, ...] | Callable[[Any], tuple[Block, ...]]


@dataclass(frozen=True)
class Section:
    """A question of the reader, its answer in a sentence or two, and what shows it."""

    name: str
    question: str
    lead: tuple[Text, ...] | Callable[[Any], tuple[Text, ...]] = ()
    blocks: Blocks = ()
    # The tool whose report says more, of the same customer or of the portfolio.
    report: str = ""
    # Why the result cannot answer at all, if it cannot: the section then shows that alone.
    absent: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Page:
    """A page of a tool, for one customer or for the portfolio."""

    tool: str
    kind: str
    summary: str
    # Whose page it is: a template.
    title: Text
    sections: tuple[Section, ...]
    about: tuple[Text, ...] = ()
    cards: tuple[Card, ...] | Callable[[Any], tuple[Card, ...]] = ()
    # The band that colours the opening: a path.
    band: str = ""
    method: tuple[Text, ...] = ()
    # How sure the page is, in plain words; what is known of every page is added.
    sure: tuple[Text, ...] = ()
    method_facts: Mapping[str, Text] = field(default_factory=dict)
    portfolio: bool = False

    def section(self, name: str) -> Section:
        """The section of a name. Raises InvalidParameters where the page has none."""
        from healthseg.errors import require_known

        names = [section.name for section in self.sections]
        require_known(name, names, f"this page has no section {name!r}", parameter="name")
        return self.sections[names.index(name)]
