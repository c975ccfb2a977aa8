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

if TYPE_CHECKING:
    from healthseg.charts.formats import Frame
    from healthseg.data.portfolio import Portfolio

UNMEASURED = spec.Table(
    "not_measured",
    {"In the response": "page_key", "Why it is not measured": "page_item"},
    label="keys",
)


class Output:
    """Nodes of a page that show themselves; ``facts`` travel beside them, for the report's title and the index."""

    def __init__(
        self, nodes: Iterable[Node], text: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        self.nodes, self.text, self.facts = tuple(nodes), text, facts

    @functools.cached_property
    def markup(self) -> str:
        """The nodes as HTML."""
        return writer.written(self.nodes)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {
            "text/html": f'<div class="hs">{self.markup}</div>',
            "text/plain": self.text or "a part of a page",
        }
        if document.is_printing():
            bundle[document.PRINTED] = printed.blocks(self.nodes)
        return bundle | ({writer.REPORT: dict(self.facts)} if self.facts else {})


class ReportPage:
    """A page over a result: its opening, its sections by name, its method and its footer."""

    def __init__(self, page: spec.Page, result: Any, portfolio: Portfolio) -> None:
        self.spec, self.result, self.portfolio = page, result, portfolio

    @functools.cached_property
    def scope(self) -> Scope:
        """The result as templates see it."""
        return root(self.result, portfolios.manager_names(self.portfolio))

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
        quality = layout.points(
            spec.Points("data_quality.summary", "{page_item}"), self.scope, "warnings"
        )
        quality += layout.points(
            spec.Points("overrides.summary", "{page_item}"), self.scope, "warnings"
        )
        quality += layout.points(
            spec.Points("uncontracted.summary", "{page_item}"), self.scope, "warnings"
        )
        warnings = layout.points(
            spec.Points("warnings", "{page_item:sentence}"), self.scope, "warnings"
        )
        cards = layout.cards(layout.chosen(page.cards, result), self.scope, result)
        facts = {
            "title": formats.plain(title.text, 120),
            "kind": page.kind,
            "verdict": verdict,
            "as_of": str(result.as_of),
            "fingerprint": result.fingerprint,
            "response": privacy.hidden(result.to_dict()),
        }
        return Output((opening, *quality, *warnings, *cards), result.verdict(), facts)

    def section(self, name: str) -> PageSection:
        """The answer to a question; its lead, charts, frames and tables can be had apart."""
        return PageSection(self, self.spec.section(name))

    def method(self) -> Output:
        """How the figures were computed, and what could not be measured, behind a fold."""
        text = sentences(self.spec.method, self.scope, self.result)
        blocks = (spec.Facts(self.spec.method_facts), UNMEASURED)
        parts = (document.Paragraph(text), *layout.nodes(blocks, self.scope, self.result))
        return Output([document.Folded(static("How this was computed"), parts)], text.text)

    def footer(self) -> Output:
        """Where the figures come from: data, settings, version."""
        import healthseg

        settings = self.portfolio.settings.differing()
        differing = "; ".join(
            f"{name} = {formats.plain(value, 80)}" for name, value in sorted(settings.items())
        )
        source = spec.Facts(
            {
                "As of": "{as_of:day}",
                "Data until": "{data_until:day}",
                "Fingerprint": "{fingerprint}",
                "Coverage": "{coverage:percent} of the inputs",
            }
        )
        package = document.FactList(
            (
                ("healthseg", static(healthseg.__version__)),
                ("Settings", static(differing or "all at their defaults")),
            )
        )
        nodes = (*layout.facts(source, self.scope, self.result), package)
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
        texts = layout.chosen(self.spec.lead, self.page.result)
        answer = sentences(texts, self.page.scope, self.page.result)
        return Output(layout.paragraph(answer, "lead"), answer.text)

    @functools.cached_property
    def blocks(self) -> list[spec.Block]:
        """The blocks that this result has."""
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
        whole = Output((*self.lead.nodes, *nodes), self.lead.text or self.question)
        return whole._repr_mimebundle_()
