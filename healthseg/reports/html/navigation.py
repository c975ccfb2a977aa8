"""Where a page leads: to the portfolio, to the other pages of its customer, to the customer before and after it.

All addresses are relative, so that they work from a drive and in an archive. A customer without a page of its own has
its card in the index.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote

from healthseg.charts import formats, theme
from healthseg.reports.html.writer import safe
from healthseg.reports.writing import customer_folder

# The tabs of a customer and of the portfolio, in this order.
LABELS = {
    "customer_360": "360",
    "board": "Board",
    "calculate_health_score": "Health",
    "track_usage_engagement": "Usage",
    "track_feature_adoption": "Features",
    "manage_lifecycle_stages": "Stage",
    "track_adoption_milestones": "Milestones",
    "segment_customers": "Segment",
    "segment_by_value_tier": "Tier",
    "analyze_engagement_patterns": "Patterns",
}
# The portfolio's pages are of all of them.
OF_ALL = {
    "manage_lifecycle_stages": "Stages",
    "segment_customers": "Segments",
    "segment_by_value_tier": "Tiers",
}
CARD = "#customer="
# A chart's grammar has the customers of its marks beside their figures.
_MARKED = re.compile(rf'("client": ?"){theme.CUSTOMER}([^"]*)"')
_DRAWN = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_NAMED = re.compile(r'<a data-client="([^"]*)">(.*?)</a>', re.DOTALL)
_REPORT = re.compile(r'<p class="hs-report"><a data-report="([^"]*)"></a></p>')
# Sentences that a tool composed, as the page has them.
_COMPOSED = re.compile(
    r'(data-format="(?:prose|sentence|verdict|steps|short)[^"]*">(?:<bdi>)?)([^<]+)'
)
_WORD = re.compile(r"(?<![\w&])\w+")
# A shorter name may be an ordinary word.
LEAST_NAME = 4


@dataclass(frozen=True)
class PageLink:
    """A text and the address that it leads to; the page itself has none."""

    text: str
    href: str = ""

    def markup(self) -> str:
        words = f"<bdi>{safe(self.text)}</bdi>"
        if not self.href:
            return f'<span aria-current="page">{words}</span>'
        return f'<a href="{safe(self.href)}">{words}</a>'


@dataclass(frozen=True)
class Navigation:
    """The links of a page: breadcrumb, tabs, neighbours, and the pages of the customers that it names."""

    index: str = ""
    trail: tuple[PageLink, ...] = ()
    tabs: tuple[PageLink, ...] = ()
    before: PageLink | None = None
    after: PageLink | None = None
    # Pages by client_id; where it is None, each customer's card in the index.
    customers: Mapping[str, str] | None = field(default_factory=dict)
    # The customers' names by client_id, which sentences may mention.
    names: Mapping[str, str] = field(default_factory=dict)
    # The other pages of the same customer, or of the portfolio, by tool.
    reports: Mapping[str, PageLink] = field(default_factory=dict)

    def linked(self, markup: str) -> str:
        """The markup with the names of customers and reports as links; a name without a page is text."""
        markup = _REPORT.sub(lambda report: self._report(report[1]), markup)
        if self.names:
            markup = _COMPOSED.sub(lambda text: text[1] + self._mentioned(text[2]), markup)
        markup = _MARKED.sub(lambda mark: f'{mark[1]}{self._href(unquote(mark[2]))}"', markup)
        markup = _DRAWN.sub(lambda drawing: self._reachable(drawing[0]), markup)
        return _NAMED.sub(lambda name: self._linked(name[1], name[2]), markup)

    def _reachable(self, drawing: str) -> str:
        """A drawing with its marks' links: what holds links is a group, where a picture would hide them from readers."""
        linked = _NAMED.sub(lambda mark: self._linked(mark[1], mark[2]), drawing)
        role = 'role="group"' if 'class="hs-customer"' in linked else 'role="img"'
        return linked.replace('role="img"', role, 1)

    def _report(self, tool: str) -> str:
        link = self.reports.get(tool)
        return f'<p class="hs-report">{link.markup()}</p>' if link else ""

    @property
    def addresses(self) -> dict[str, str]:
        """The pages of the customers by their names; a name of several customers is none's."""
        written = Counter(self.names.values())
        return {
            name: href
            for client, name in self.names.items()
            if written[name] == 1 and len(name) >= LEAST_NAME
            if (href := (self.customers or {}).get(client, ""))
        }

    @cached_property
    def _by_first_word(self) -> dict[str, list[tuple[str, str]]]:
        """Names as pages write them, with their customers, by their first word; a name of several customers is none's."""
        written = Counter(map(safe, self.names.values()))
        known: dict[str, list[tuple[str, str]]] = {}
        for client, name in self.names.items():
            first = _WORD.match(safe(name))
            if first and len(name) >= LEAST_NAME and written[safe(name)] == 1:
                known.setdefault(first[0], []).append((safe(name), client))
        for names in known.values():
            names.sort(key=lambda pair: -len(pair[0]))
        return known

    def _mentioned(self, text: str) -> str:
        """A sentence with the customers that it names as links to come."""
        parts, end = [], 0
        for word in _WORD.finditer(text):
            at = word.start()
            for name, client in self._by_first_word.get(word[0], ()):
                after = text[at + len(name) : at + len(name) + 1]
                if at >= end and text.startswith(name, at) and not after.isalnum():
                    parts += [text[end:at], f'<a data-client="{safe(client)}">{name}</a>']
                    end = at + len(name)
                    break
        return "".join(parts) + text[end:]

    def _linked(self, client: str, words: str) -> str:
        href, name = self._href(client), ""
        if words.startswith(
            "<path"
        ):  # a mark of a chart: read by its name, and no stop of the keyboard
            name = f' tabindex="-1" aria-label="{safe(self.names.get(client, client))}"'
        return f'<a class="hs-customer" href="{safe(href)}"{name}>{words}</a>' if href else words

    def _href(self, client: str) -> str:
        known = self.customers
        return card(self.index, client) if known is None else known.get(client, "")

    def markup(self) -> str:
        """Breadcrumb, neighbours and tabs."""
        trail = " › ".join(link.markup() for link in self.trail)
        ways = (
            f'<a rel="{rel}" href="{safe(link.href)}">{words}</a>'
            for link, rel, words in self._neighbours()
        )
        tabs = "".join(f"<li>{link.markup()}</li>" for link in self.tabs)
        return (
            f'<nav class="trail" aria-label="Breadcrumb">{trail}'
            f'<span class="ways">{"".join(ways)}</span></nav>'
            + (f'<nav class="tabs" aria-label="Reports"><ul>{tabs}</ul></nav>' if tabs else "")
        )

    def _neighbours(self) -> list[tuple[PageLink, str, str]]:
        before, after = self.before, self.after
        return [
            *([(before, "prev", f"‹ <bdi>{safe(before.text)}</bdi>")] if before else []),
            *([(after, "next", f"<bdi>{safe(after.text)}</bdi> ›")] if after else []),
        ]


def plain(markup: str) -> str:
    """The markup with the names of customers as text."""
    return Navigation().linked(markup)


def card(index: str, client: str) -> str:
    """The address of a customer's card in the index.

    >>> card("../index.html", "a b")
    '../index.html#customer=a%20b'
    """
    return f"{index}{CARD}{quote(client)}"


def _label(client: str | None, tool: str) -> str:
    label = LABELS.get(tool, formats.words(tool))
    return label if client is not None else OF_ALL.get(tool, label)


@dataclass(frozen=True)
class Atlas:
    """The pages of a folder of reports, and the live customers, the riskiest first."""

    # Names by client_id.
    customers: Mapping[str, str]
    # The tools with a page, by client_id (None: the portfolio).
    pages: Mapping[str | None, frozenset[str]]
    # Names of churned customers by client_id.
    churned: Mapping[str, str] = field(default_factory=dict)

    def navigation(self, client: str | None, tool: str) -> Navigation:
        """The links of a page; it lies two folders deep below the index, that of the portfolio one."""
        top = "../" if client is None else "../../"
        index = f"{top}index.html"
        home, label = PageLink("Portfolio", index), _label(client, tool)
        if client is None:
            having = (name for name in self.pages if name is not None)  # of churned customers too
            named = dict.fromkeys((*self.customers, *having))
            gone = [name for name in self.churned if name in self.pages]
            pages = {name: self._href(name, index, top) for name in named}
            return Navigation(
                index,
                (home, PageLink(label)),
                self._tabs(None, tool),
                customers=pages,
                names={**self.customers, **{name: self.churned[name] for name in gone}},
                reports=self._reports(None, tool),
            )
        name = self.customers.get(client) or self.churned.get(client, client)
        before, after = self._around(client, tool, top)
        first = self._first(client)
        own = PageLink(name, "" if first == tool else f"{first}.html")
        trail = (home, own) if first == tool else (home, own, PageLink(label))
        reports = self._reports(client, tool)
        tabs = self._tabs(client, tool)
        return Navigation(index, trail, tabs, before, after, None, reports=reports)

    def _reports(self, client: str | None, tool: str) -> dict[str, PageLink]:
        pages = self.pages.get(client, frozenset()) - {tool}
        return {
            name: PageLink(f"More in the report: {_label(client, name)} ›", f"{name}.html")
            for name in sorted(pages)
        }

    def _tabs(self, client: str | None, tool: str) -> tuple[PageLink, ...]:
        pages = self.pages.get(client, frozenset()) | {tool}
        return tuple(
            PageLink(_label(client, name), "" if name == tool else f"{name}.html")
            for name in [*LABELS, *sorted(pages - LABELS.keys())]
            if name in pages
        )

    def _first(self, client: str) -> str:
        pages = self.pages.get(client, frozenset())
        return next((name for name in LABELS if name in pages), "")

    def _href(self, client: str, index: str, top: str) -> str:
        first = self._first(client)
        return (
            f"{top}customers/{quote(customer_folder(client))}/{first}.html"
            if first
            else card(index, client)
        )

    def _around(self, client: str, tool: str, top: str) -> tuple[PageLink | None, PageLink | None]:
        """The same page of the customers before and after, in the order of risk."""
        having = [name for name in self.customers if tool in self.pages.get(name, ())]
        if client not in having:
            return None, None
        at = having.index(client)
        links = [
            PageLink(
                self.customers[name], f"{top}customers/{quote(customer_folder(name))}/{tool}.html"
            )
            for name in (having[at - 1 : at] + having[at + 1 : at + 2])
        ]
        before = links[0] if at else None
        return before, links[-1] if at + 1 < len(having) else None
