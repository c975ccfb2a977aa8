"""Links between pages: tabs, neighbours, and the page or the card of every customer that a page names."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import nbformat

from healthseg.reports.batches import plan
from healthseg.reports.figures import Filled, figure, root
from healthseg.reports.html import export, navigation, writer
from healthseg.reports.html.navigation import Atlas, PageLink
from healthseg.reports.pages import MODULES, overview_spec, page_spec
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


def test_a_churned_customer_leads_to_its_page_where_there_is_one():
    links = Atlas(NAMES, {"gone": frozenset({HEALTH})}).navigation(None, HEALTH)
    href = "../customers/gone/calculate_health_score.html"
    assert links.linked('<a data-client="gone">Gone</a>') == (
        f'<a class="hs-customer" href="{href}">Gone</a>'
    )


def test_a_churned_customer_has_its_name_on_its_pages_and_in_sentences():
    links = Atlas(NAMES, {"gone": frozenset({HEALTH})}, {"gone": "Dune Ltd", "older": "Elm Ltd"})
    assert links.navigation("gone", HEALTH).trail[1].text == "Dune Ltd"
    sentence = '<p data-format="prose">Dune Ltd and Elm Ltd churned</p>'
    shown = links.navigation(None, HEALTH).linked(sentence)
    assert shown.count("<a ") == 1 and f'href="../customers/gone/{HEALTH}.html">Dune Ltd' in shown


def test_a_customer_named_in_a_sentence_leads_to_its_page():
    links = Atlas(
        {"a": "Acme", "ab": "Acme & Sons", "t1": "Twin Ltd", "t2": "Twin Ltd", "x": "Ox"},
        {"a": frozenset({HEALTH})},
    ).navigation(None, HEALTH)
    own, other = "../customers/a/calculate_health_score.html", "../index.html#customer=ab"
    sentence = '<bdi data-figure="$.a[0]" data-format="prose">Call {}, then rest</bdi>'

    def linked(text: str) -> str:
        return links.linked(sentence.format(text))

    assert f'Call <a class="hs-customer" href="{own}">Acme</a>, then' in linked("Acme")
    assert f'<a class="hs-customer" href="{other}">Acme &amp; Sons</a>' in linked("Acme &amp; Sons")
    # part of a word, a name of two customers, and a name that may be a word
    for text in ("Acmeville", "Twin Ltd", "Ox"):
        assert linked(text) == sentence.format(text)
    figure = '<span data-figure="$.b" data-format="number">Acme</span>'
    assert links.linked(figure) == figure


def test_a_section_leads_to_the_report_of_its_subject_where_there_is_one():
    link = writer.report_link(HEALTH)
    assert PAGES.navigation("a", FULL).linked(link) == (
        '<p class="hs-report"><a href="calculate_health_score.html"><bdi>More in the report: Health ›'
        "</bdi></a></p>"
    )
    assert PAGES.navigation("a", HEALTH).linked(link) == ""
    assert navigation.plain(link) == ""
    subjects = {section.report for section in overview_spec(FULL).sections} - {""}
    assert subjects <= set(MODULES) and len(subjects) >= 5


def test_portfolio_pages_begin_with_what_to_do_and_list_at_most_five_actions():
    health = {"calculate_health_score"}  # its list of customers says why each needs attention
    for tool in set(MODULES) - health:
        first = page_spec(tool, portfolio=True).sections[0]
        assert first.name in ("actions", "next", "next_actions"), tool


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


def test_customers_named_under_how_sure_are_links_too():
    shown = nbformat.v4.new_output(
        "display_data", data={"text/html": '<p><a data-client="a">Alder</a></p>'}
    )
    footer = nbformat.v4.new_code_cell("footer", outputs=[shown], metadata={"tags": ["footer"]})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A page"), footer])
    origin = export.NotebookOrigin(dt.datetime(2025, 10, 11, tzinfo=dt.UTC), 1.0)
    there = navigation.Navigation(customers={"a": "a/x.html"})
    assert '<a class="hs-customer" href="a/x.html">Alder</a>' in export.to_html(
        notebook, origin, navigation=there
    )
