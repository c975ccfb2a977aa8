"""A page's spec over a result, as cells of a notebook."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats, theme
from healthseg.reports import document, layout, portfolios, privacy, spec
from healthseg.reports.document import Node, static
from healthseg.reports.figures import Filled, Piece, Scope, Text, figure, filled, root, sentences
from healthseg.reports.html import printed, writer
from healthseg.rules import counted
from healthseg.tools.traces import sources

if TYPE_CHECKING:
    from healthseg.charts.formats import Frame
    from healthseg.data.portfolio import Portfolio

UNMEASURED = spec.Table(
    "not_measured",
    {"Figure": "page_key:path", "Why it is not measured": "page_item:reason"},
    label="keys",
)


# The notices that are shown before a reader opens the others.
NOTICES_SHOWN = 4
# The look of a section for which half of a wide page is enough.
NARROW = "hs hs-narrow"


EMPTY = "The portfolio has no live customers"

# What is said of how sure a page is, of every page.
SURE = (
    "{coverage:percent} of this page’s inputs are known",
    lambda result: (
        "{not_measured:count figure} could not be measured; the reasons are under “How this was computed”"
        if getattr(result, "not_measured", None)
        else "Every figure could be measured"
        if (getattr(result, "coverage", None) or 1.0) > 0.9999
        else ""
    ),
)


class Output:
    """Nodes of a page that show themselves; ``facts`` travel beside them, for the report's title and the index."""

    def __init__(
        self, nodes: Iterable[Node], text: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        self.nodes, self.text, self.facts = tuple(nodes), text, facts

    look = "hs"

    @functools.cached_property
    def markup(self) -> str:
        """The nodes as HTML."""
        return writer.written(self.nodes)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {
            "text/html": f'<div class="{self.look}">{self.markup}</div>',
            "text/plain": self.text or "a part of a page",
        }
        if document.is_printing():
            bundle[document.PRINTED] = printed.blocks(self.nodes)
        return bundle | ({writer.REPORT: dict(self.facts)} if self.facts else {})


def _items(rows: str, text: str, scope: Scope) -> list[document.Item]:
    """A line for each row."""
    listings = layout.points(spec.Points(rows, text), scope)
    return [item for node in listings if isinstance(node, document.Listing) for item in node.items]


class _Panels(Output):
    """A section: its lead, and below it what shows the answer, side by side where the page is wide enough."""

    def __init__(self, lead: Output, nodes: Iterable[Node], text: str, report: str = "") -> None:
        self.lead, self.blocks, self.report = lead, tuple(nodes), report
        super().__init__((*lead.nodes, *self.blocks), text)
        self.look = NARROW if writer.is_narrow(self.blocks) else "hs"

    @functools.cached_property
    def markup(self) -> str:
        return self.lead.markup + writer.panels(self.blocks) + writer.report_link(self.report)


class ReportPage:
    """A page over a result: its opening, its sections by name, its method and its footer."""

    def __init__(self, page: spec.Page, result: Any, portfolio: Portfolio) -> None:
        self.spec, self.result, self.portfolio = page, result, portfolio

    @functools.cached_property
    def scope(self) -> Scope:
        """The result as templates see it."""
        managers = portfolios.manager_names(self.portfolio)
        return root(self.result, managers, portfolios.namesakes(self.portfolio))

    @property
    def is_empty(self) -> bool:
        """Whether it is the page of a portfolio without live customers."""
        live = getattr(self.result, "total_customers", getattr(self.result, "customers", None))
        return self.spec.portfolio and live in (0, [])

    @property
    def names(self) -> list[str]:
        """The sections' names, in the page's order."""
        return [section.name for section in self.spec.sections]

    def opening(self) -> Output:
        """Whose page it is, the verdict, warnings, and figures at a glance."""
        result, page = self.result, self.spec
        title = self._filled(page.title)
        verdict = formats.prose(formats.sentence(result.verdict().removeprefix(f"{title.text}: ")))
        about = [self._filled(line) for line in page.about]
        opening = document.Opening(
            document.Title(title, 1),
            document.Paragraph(Filled((Piece(verdict, "$.page.verdict", "verdict"),)), "verdict"),
            tuple(document.Paragraph(line, "about") for line in about if line),
            figure(self.scope, page.band).text if page.band else "",
        )
        notices = self._notices()
        cards = () if self.is_empty else layout.chosen(page.cards, result)
        known = page.portfolio or getattr(result, "is_new", False)
        shown = layout.cards(cards, self.scope, result, known=known)
        facts = {
            "title": formats.plain(title.text, 120),
            "kind": page.kind,
            "verdict": verdict,
            "as_of": str(result.as_of),
            "fingerprint": result.fingerprint,
            "response": privacy.hidden(result.to_dict()),
        }
        return Output((opening, *notices, *shown), result.verdict(), facts)

    def _notices(self) -> list[Node]:
        """What a reader must know first: notice, expired contracts, then the data, of which much lies behind a fold."""
        first = [document.Item(self._filled(text)) for text in self._overrides()]
        first += _items("uncontracted.summary", "{page_item}", self.scope)
        lines = _items("data_quality.summary", "{page_item:sentence}", self.scope)
        lost = self._lost(len(lines))
        data = [line for line, of_loss in zip(lines, lost, strict=True) if of_loss]
        data += _items("warnings", "{page_item:sentence}", self.scope)
        notes = [line for line, of_loss in zip(lines, lost, strict=True) if not of_loss]
        shown = max(1, NOTICES_SHOWN - len(first))
        if len(data) > shown + 1:
            data, notes = data[:shown], data[shown:] + notes
        words = f"{counted(len(notes), 'note')} on the data"
        fold = [document.Folded(static(words), (document.Listing(tuple(notes)),))] if notes else []
        items = (*first, *data)
        return [*([document.Listing(items, "warnings")] if items else []), *fold]

    def _lost(self, lines: int) -> list[bool]:
        """Of each line on the data, whether rows or values were lost; the others say how tables were read."""
        quality = self.scope.find("data_quality")
        tables = (
            []
            if quality is None
            else quality.value["portfolio" if self.spec.portfolio else "customer"]
        )
        if len(tables) != lines:  # a result that sums its tables up in another way
            return [True] * lines
        kinds = ("refused", "rows_dropped", "values_emptied", "conflicts", "withheld_customers")
        return [any(table[kind] for kind in kinds) for table in tables]

    def _overrides(self, provisional: bool = False) -> list[str]:
        """What overrides scores, or which are provisional, with the customers' names in templates of their own."""
        overrides = getattr(self.result, "overrides", None)  # a model's result has none
        if overrides is None:
            return []
        if not self.spec.portfolio:
            return [f"{{overrides.summary[{at}]}}" for at in range(len(overrides.summary))]
        lines, settings = [], self.portfolio.settings
        for key, override in settings.overrides.items():
            held = [at for at, item in enumerate(overrides.held) if item.override == key]
            if override.of_many and held and override.provisional == provisional:
                names = ", ".join(
                    f"{{overrides.held[{at}].name}}" for at in held[: settings.overrides_named]
                )
                more = len(held) - settings.overrides_named
                count = counted(len(held), "customer")
                rest = f" and {more} more" if more > 0 else ""
                lines.append(f"{count} {override.of_many}: {names}{rest}")
        return lines

    def section(self, name: str) -> PageSection:
        """The answer to a question; its lead, charts, frames and tables can be had apart."""
        return PageSection(self, self.spec.section(name))

    def method(self) -> Output:
        """How the figures were computed, and what could not be measured, behind a fold."""
        text = sentences(self.spec.method, self.scope, self.result)
        blocks = (spec.Facts(self.spec.method_facts), UNMEASURED)
        parts = (document.Paragraph(text), *layout.nodes(blocks, self.scope, self.result))
        folds = [document.Folded(static("How this was computed"), parts)]
        return Output([*folds, *self._sources()], text.text)

    def _differing(self) -> document.Folded | None:
        """The settings that are not at their defaults, in words, behind a fold."""
        settings = sorted(self.portfolio.settings.differing().items())
        if not settings:
            return None
        pairs = tuple(
            (formats.sentence(name.replace("_", " ")), static(_setting(value)))
            for name, value in settings
        )
        differ = (
            "setting differs from its default"
            if len(pairs) == 1
            else "settings differ from their defaults"
        )
        return document.Folded(static(f"{len(pairs)} {differ}"), (document.FactList(pairs),))

    def _sources(self) -> list[Node]:
        """The figures that are counted from a table's rows, with what gives them again, behind a fold."""
        listed = sources(self.result)
        if not listed:
            return []
        how = static(
            "In a notebook, the result’s trace gives the rows behind each figure; the expressions are over "
            "them. Of healthseg’s tables, $client is the customer, $start and $end the window"
        )
        pairs = tuple(
            (
                each.label,
                static(
                    " · ".join(
                        (
                            f"{each.behind:,} {each.unit}",
                            each.definition,
                            each.window,
                            each.query,
                            each.formula,
                            each.call,
                        )
                    )
                ),
            )
            for each in listed
        )
        parts = (document.Paragraph(how), document.FactList(pairs))
        return [document.Folded(static("Where these figures come from"), parts, printed=False)]

    def _sure(self) -> document.Paragraph:
        """How sure the page is, in sentences."""
        texts = SURE[1:] if self.is_empty else (*self.spec.sure, *SURE)
        if self.spec.portfolio:  # a customer's own page opens with it
            texts = (*texts, *self._overrides(provisional=True))
        return document.Paragraph(sentences(texts, self.scope, self.result))

    def _made_with(self) -> document.Folded:
        """Which data, version and settings give the page again, behind a fold."""
        import healthseg

        own = self._differing()
        source = layout.facts(spec.Facts({"Fingerprint": "{fingerprint}"}), self.scope, self.result)
        settings = () if own else (("Settings", static("all at their defaults")),)
        package = document.FactList((("healthseg", static(healthseg.__version__)), *settings))
        parts = (*source, package, *((own,) if own else ()))
        return document.Folded(static("Version and settings"), parts)

    def footer(self) -> Output:
        """How sure the page is, and of when its data are."""
        source = spec.Facts({"As of": "{as_of:day}", "Data until": "{data_until:day}"})
        sure = (document.Title(static("How sure?")), self._sure())
        nodes = (*sure, *layout.facts(source, self.scope, self.result), self._made_with())
        footer = f'<div class="hs-footer">{writer.written(nodes)}</div>'
        text = f"as of {self.result.as_of}, {self.result.fingerprint}"
        return Output([document.Markup(footer, nodes)], text)

    def _filled(self, text: Text) -> Filled:
        return filled(text, self.scope, self.result)


class PageSection:
    """A section of a page: shown as a whole, or its lead, charts and frames apart."""

    def __init__(self, page: ReportPage, section: spec.Section) -> None:
        self.page, self.spec = page, section

    @property
    def question(self) -> str:
        return self.spec.question

    @functools.cached_property
    def lead(self) -> Output:
        """The answer in a sentence or two."""
        texts = () if self.absent else layout.chosen(self.spec.lead, self.page.result)
        answer = sentences(texts, self.page.scope, self.page.result)
        return Output(layout.paragraph(answer, "lead"), answer.text)

    @functools.cached_property
    def absent(self) -> str:
        """Why the result cannot answer the question; empty where it can."""
        if self.page.is_empty:
            return EMPTY
        return self.spec.absent(self.page.result) if self.spec.absent else ""

    @functools.cached_property
    def blocks(self) -> list[spec.Block]:
        """The blocks that this result has."""
        if self.absent:
            return [spec.Missing(self.question.rstrip("?"), reason=self.absent)]
        return list(layout.chosen(self.spec.blocks, self.page.result))

    @property
    def charts(self) -> dict[str, theme.Picture]:
        """The section's altair charts by name."""
        charts = layout.drawn(self.page.result)
        names = [block.name for block in self.blocks if isinstance(block, spec.Chart)]
        return {name: charts[name] for name in names}

    @property
    def tables(self) -> list[spec.Table]:
        """The section's tables, those behind its charts last."""
        tables = [block for block in self.blocks if isinstance(block, spec.Table)]
        folded = [block.table for block in self.blocks if isinstance(block, spec.Chart)]
        return [*tables, *(table for table in folded if table is not None)]

    @property
    def frames(self) -> dict[str, Frame]:
        """The rows of the section's tables as frames, by the name of what they show."""
        return {
            table.rows.rpartition(".")[2]: formats.frame(
                [row.value for row in layout.rows(table, self.page.scope)]
            )
            for table in self.tables
        }

    @property
    def table(self) -> Output:
        """The section's tables."""
        return Output(layout.nodes(self.tables, self.page.scope, self.page.result))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        nodes = layout.nodes(self.blocks, self.page.scope, self.page.result)
        panels = _Panels(self.lead, nodes, self.lead.text or self.question, self.spec.report)
        unknown = None if self.lead.text else _unknown(nodes)
        bundle = panels._repr_mimebundle_()
        return bundle if unknown is None else bundle | {writer.UNKNOWN: unknown}


def _setting(value: Any) -> str:
    """A setting's value in words: those of a list beside each other."""
    if isinstance(value, list | tuple):
        return formats.plain(", ".join(map(str, value)), 80)
    return formats.plain(value, 80)


def _unknown(nodes: Iterable[Node]) -> list[str] | None:
    """The reasons of nodes that show nothing else; None where they show something."""
    reasons = []
    for node in nodes:
        if not isinstance(node, document.Paragraph) or node.kind not in ("missing", "undrawn"):
            return None
        reasons.append(node.text.text.rstrip("."))
    return list(dict.fromkeys(reasons))
