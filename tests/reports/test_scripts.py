"""What pages do in a browser: tables sort and turn pages, weights are tried out, charts drawn, nothing foreign runs."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest

import healthseg as hs
from healthseg.reports.figures import Scope
from healthseg.reports.html import export, index, writer
from healthseg.reports.html.writer import written
from healthseg.reports.layout import grid
from healthseg.reports.spec import Table
from healthseg.tools import portfolio_health
from tests.reports import samples
from tests.reports.browser import Browser, browsing
from tests.reports.made import Portfolio
from tests.reports.pages import Read, html_of

AT = dt.datetime(2025, 10, 11, 4, 30, tzinfo=dt.UTC)
AXE = os.environ.get("HEALTHSEG_AXE", "")  # the path of axe.min.js, from the package axe-core


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scripts")
    portfolio = samples.portfolio()
    reports = index.ReportFolder(folder, folder, ["calculate_health_score"], {})
    many = [
        {
            **portfolio.customers[number % 60],
            "name": f"Customer {number:05d}",
            "score": number % 100,
        }
        for number in range(10_000)
    ]
    rows = [{"name": f"row {number:03d}", "value": (number * 37) % 250} for number in range(250)]
    table = Table("rows", {"Name": "name", "Value": "value:number"})
    long = written([grid(table, Scope({"rows": rows}, "$"))])
    html = {
        "customer": html_of("customer", samples.health()),
        "portfolio": html_of("portfolio", portfolio),
        "index": index.page(portfolio, reports, [], {}, AT, 1.0),
        "large": index.page(
            portfolio.model_copy(update={"customers": many}), reports, [], {}, AT, 1.0
        ),
        "long": _page_of(long),
    }
    for name, text in html.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return {name: folder / f"{name}.html" for name in html}


def _page_of(markup: str) -> str:
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    output = new_output("display_data", data={"text/html": f'<div class="hs">{markup}</div>'})
    cells = [new_markdown_cell("# A page"), new_code_cell("1", outputs=[output])]
    return export.to_html(new_notebook(cells=cells), export.NotebookOrigin(AT, 1.0))


def _shown(browser: Browser) -> list[list[str]]:
    return browser.run(
        "[...document.querySelectorAll('tbody tr')].filter(row => row.offsetHeight)"
        ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )


def test_a_long_table_sorts_by_its_headings_and_turns_pages(browser: Browser, pages):
    browser.open(pages["long"])
    assert len(_shown(browser)) == 12
    browser.run("document.querySelectorAll('thead button')[1].click()")
    assert [row[1] for row in _shown(browser)] == [str(249 - number) for number in range(12)]
    browser.run("document.querySelector('.hs-more input').click()")
    assert len(_shown(browser)) == 100
    browser.run("[...document.querySelectorAll('.hs-pager button')].at(-1).click()")
    assert [row[1] for row in _shown(browser)] == [str(149 - number) for number in range(100)]
    browser.run("[...document.querySelectorAll('.hs-pager button')].at(-1).click()")
    assert len(_shown(browser)) == 50 and browser.run(
        "document.querySelector('.hs-pager span').textContent"
    ) == ("201 to 250 of 250")
    browser.run("document.querySelectorAll('thead button')[0].click()")
    assert _shown(browser)[0][0] == "row 000" and len(_shown(browser)) == 100
    assert browser.problems == []


@pytest.mark.slow
def test_the_what_if_gives_the_scores_that_the_tool_gives(
    browser: Browser, small_portfolio: Portfolio, tmp_path
):
    portfolio = hs.Portfolio.open(small_portfolio.folder)
    usual = portfolio_health(portfolio)
    page = tmp_path / "portfolio.html"
    page.write_text(html_of("portfolio", usual), "utf-8")
    browser.open(page)
    rows = usual.frame("what_if")
    assert len(rows) == usual.total_customers > 10
    for weights in (
        [35, 25, 15, 15, 10],
        [100, 0, 0, 0, 0],
        [1, 0, 0, 99, 0],
        [20, 20, 20, 20, 20],
        [3, 41, 7, 0, 49],
    ):
        names = ("usage", "engagement", "support", "satisfaction", "payment")
        shares = {
            f"{name}_weight": weight / 100 for name, weight in zip(names, weights, strict=True)
        }
        tool = portfolio_health(portfolio, scoring_model="custom", component_weights=shares).frame(
            "customers"
        )
        expected = tool.set_index("client_id")["score"].reindex(rows["client_id"])
        scores = browser.run(f"document.querySelector('.hs-whatif').scores({json.dumps(weights)})")
        assert scores == [None if value != value else int(value) for value in expected], weights


def test_moving_a_weight_tells_who_changes_band_and_a_reset_brings_it_back(browser: Browser, pages):
    browser.open(pages["portfolio"])
    script = "document.querySelector('.hs-whatif-result').innerText"
    before = browser.run(script)
    assert "0 change band" in before
    browser.run(
        "(() => { const one = document.querySelectorAll('.hs-sliders input')[4]; one.value = 100;"
        "one.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run(script) != before
    assert browser.run("document.querySelector('.hs-sliders output').innerText") == "18%"
    browser.run("document.querySelector('.hs-whatif > button').click()")
    assert browser.run(script) == before and browser.problems == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_portfolios_charts_are_drawn_again_with_figures_under_the_pointer(
    browser: Browser, pages, dark
):
    browser.open(pages["portfolio"], 1440, dark)
    drawn = "[...document.querySelectorAll('figure.hs-chart')].map(one => one.dataset.drawn || '')"
    browser.run(
        f"new Promise(done => {{ let n = 0; const look = () => {drawn}.every(Boolean) || n++ > 100 ? done(1) :"
        "setTimeout(look, 50); look(); })"
    )
    states = browser.run(drawn)
    assert states and set(states) == {"again"}
    assert browser.run(
        "[...document.querySelectorAll('.hs-drawn svg')].every(svg => svg.getAttribute('aria-label') &&"
        "svg.getBoundingClientRect().width > 600)"
    )
    assert browser.problems == [] and browser.requests == [pages["portfolio"].resolve().as_uri()]
    if dark:
        inks = browser.run(
            "[...document.querySelectorAll('.hs-drawn svg text')].map(one => one.getAttribute('fill'))"
        )
        assert "#1c2733" not in inks


def test_ten_thousand_customers_are_paged_searched_and_sorted(browser: Browser, pages):
    browser.open(pages["large"])
    rows = "[...document.querySelectorAll('#customers tbody tr')]"
    assert browser.run(f"{rows}.length") == 25
    count = "document.getElementById('count').textContent"
    assert browser.run(count).startswith("10,000 customers · ARR EUR 1.31B · ")
    browser.run("document.getElementById('forth').click()")
    assert browser.run("document.getElementById('where').textContent") == "26 to 50 of 10,000"
    browser.run("search.value = 'customer 0777'; search.dispatchEvent(new Event('input'));")
    assert browser.run(f"{rows}.length") == 11
    browser.run(
        "search.value = ''; search.dispatchEvent(new Event('input'));"
        "document.querySelectorAll('#customers thead button')[1].click()"
    )
    assert browser.run(f"{rows}.every(row => row.cells[1].dataset.sort === '99')")
    assert browser.run("document.documentElement.scrollWidth") <= 1440 and browser.problems == []


def test_the_selection_of_the_index_is_summed_and_lies_in_its_address(browser: Browser, pages):
    browser.open(pages["large"])
    count = "document.getElementById('count').textContent"
    whole = browser.run(count)
    browser.run(
        "(() => { const one = document.querySelector('[data-filter=band]'); one.value = one.options[1].value;"
        "one.dispatchEvent(new Event('change')); })()"
    )
    part = browser.run(count)
    assert part != whole and "of 10,000 customers · ARR EUR" in part
    assert browser.run("location.hash").startswith("#band=")
    client = browser.run("JSON.parse(document.getElementById('rows').textContent).rows[5].id")
    browser.run(f"location.hash = '#customer={client}'; new Promise(done => setTimeout(done, 100))")
    card = "document.getElementById('card')"
    assert not browser.run(f"{card}.hidden") and "Score" in browser.run(f"{card}.textContent")
    assert browser.run(count) == whole, "an address without a filter shows all"
    browser.run("document.getElementById('clear').click()")
    assert browser.run(f"{card}.hidden") and browser.problems == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["customer", "portfolio", "index"])
def test_axe_finds_no_serious_violation(browser: Browser, pages, name, width, dark):
    if not Path(AXE).is_file():
        pytest.skip("HEALTHSEG_AXE names no axe.min.js (npm pack axe-core)")
    browser.call("Page.setBypassCSP", enabled=True)
    browser.open(pages[name], width, dark)
    browser.run(Path(AXE).read_text("utf-8") + ";1")
    violations = browser.run(
        "axe.run(document, {resultTypes: ['violations']}).then(told => told.violations.filter(one =>"
        "['serious', 'critical'].includes(one.impact)).map(one => one.id + ': ' + "
        "one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')))"
    )
    browser.call("Page.setBypassCSP", enabled=False)
    assert violations == []


def test_a_page_without_charts_to_draw_carries_no_bundle():
    static = export.NotebookOrigin(AT, 1.0, charts="static")
    from tests.reports.pages import shown

    text = export.to_html(shown("portfolio", samples.portfolio()), static, portfolio=True)
    assert (
        writer.vega() not in text
        and "hs-spec" not in text.split("</style>", 1)[1].split("<script>")[0]
    )
    assert Read(text).foreign == [] and "unsafe-eval" not in text


def test_pages_stay_within_their_budgets():
    assert len(html_of("customer", samples.health()).encode()) < 400_000
    assert len(html_of("portfolio", samples.portfolio()).encode()) < 3_000_000
