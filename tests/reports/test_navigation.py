"""Links between pages: tabs, neighbours, and the page or the card of every customer that a page names."""

from __future__ import annotations

import re
from pathlib import Path

from healthseg.reports.batches import plan
from healthseg.reports.figures import Filled, figure, root
from healthseg.reports.html import writer
from healthseg.reports.html.navigation import Atlas, PageLink
from tests.reports import samples
from tests.reports.pages import html_of

NAMES = {"a": "Acme", "b": "Bolt", "c": "Crane"}
HEALTH, FULL = "calculate_health_score", "customer_360"
PAGES = Atlas(
    NAMES,
    {
        None: frozenset({"board", HEALTH}),
        "a": frozenset({HEALTH, FULL}),
        "c": frozenset({HEALTH, FULL}),
    },
)


def test_a_customers_page_leads_to_its_other_pages_and_to_its_neighbours_by_risk():
    links = PAGES.navigation("a", HEALTH)
    assert links.trail == (
        PageLink("Portfolio", "../../index.html"),
        PageLink("Acme", "customer_360.html"),
        PageLink("Health"),
    )
    assert links.tabs == (PageLink("360", "customer_360.html"), PageLink("Health"))
    assert links.before is None
    assert links.after == PageLink("Crane", "../../customers/c/calculate_health_score.html")
    assert PAGES.navigation("c", HEALTH).before.text == "Acme"
    assert PAGES.navigation("c", HEALTH).after is None


def test_a_name_on_a_portfolio_page_leads_to_the_customers_page_else_to_its_card():
    links = PAGES.navigation(None, HEALTH)
    named = [f'<a data-client="{client}">{client}</a>' for client in ("a", "b", "gone")]
    assert [links.linked(name) for name in named] == [
        '<a class="hs-customer" href="../customers/a/customer_360.html">a</a>',
        '<a class="hs-customer" href="../index.html#customer=b">b</a>',
        "gone",
    ]


def test_a_page_that_leads_nowhere_has_names_as_text():
    assert "<a data-client" not in html_of("portfolio", samples.portfolio())


def test_every_customer_of_a_table_carries_its_id_and_a_pages_own_name_does_not():
    health = samples.portfolio()
    rows = root(health).rows("frames.customers")
    names = [writer.text_of(Filled((figure(row, "name"),))) for row in rows]
    clients = health.frame("customers")["client_id"].tolist()
    assert [re.search('data-client="([^"]*)"', name)[1] for name in names] == clients
    own = figure(root(samples.health()), "customer.name")
    assert own.client == ""


def test_the_map_knows_pages_of_this_run_and_of_earlier_ones(tmp_path: Path):
    earlier = tmp_path / "customers" / "b"
    earlier.mkdir(parents=True)
    (earlier / f"{FULL}.html").write_text("")
    atlas = plan.atlas([("a", HEALTH), (None, "board")], tmp_path, NAMES)
    assert atlas.pages == {None: {"board"}, "a": {HEALTH}, "b": {FULL}, "c": frozenset()}


def test_addresses_of_odd_ids_are_quoted():
    odd = Atlas({"a": "Acme", "x y": "Odd"}, {"x y": frozenset({FULL}), "a": frozenset({FULL})})
    assert "customers/x%20y/customer_360.html" in odd.navigation("a", FULL).markup()
