"""Pages in headless Chromium, at the width of a phone and of a screen, in light and dark."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from benchmarks._attacks import counting
from healthseg.reports.html import index, writer
from tests.reports import samples
from tests.reports.browser import Browser, browsing
from tests.reports.hostile import HOSTILE
from tests.reports.pages import html_of

TOOL = "calculate_health_score"
AT = dt.datetime(2025, 10, 11, 4, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    hostile = samples.health(
        name=" ".join(HOSTILE),
        warnings=list(HOSTILE),
        risk_indicators=list(HOSTILE),
        client_id="cs_client_000",
    )
    portfolio = samples.portfolio()
    rows = [
        {**row, "name": HOSTILE[index % len(HOSTILE)], "reason": HOSTILE[-index % len(HOSTILE)]}
        for index, row in enumerate(portfolio.customers)
    ]
    failed = {
        "tool": TOOL,
        "client_id": "cs_client_004",
        "status": "failed",
        "error": {"code": "CALCULATION_ERROR", "message": HOSTILE[0], "cell": 3},
    }
    reports = index.ReportFolder(folder, folder, [TOOL], {})
    bad = index.ReportFolder(folder, folder, [TOOL], {f"cs_client_004/{TOOL}": failed})
    html = {
        "customer": html_of("customer", samples.health()),
        "hostile": html_of("customer", hostile),
        "portfolio": html_of("portfolio", portfolio),
        "index": index.page(portfolio, reports, [], {}, AT, 1.0),
        "hostile-index": index.page(
            portfolio.model_copy(update={"customers": rows}), bad, [], {}, AT, 1.0
        ),
    }
    for name, text in html.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return {name: folder / f"{name}.html" for name in html}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", ["customer", "hostile", "portfolio", "index", "hostile-index"])
def test_a_page_opens_quietly_and_fits_its_screen(browser: Browser, pages, name, width, dark):
    browser.open(pages[name], width, dark)
    assert browser.problems == []
    assert browser.requests == [pages[name].resolve().as_uri()], "the page asks for nothing"
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 24, 31)" if dark else "rgb(255, 255, 255)"
    )


def test_paper_has_what_the_screen_shows_on_few_pages(browser: Browser, pages):
    browser.open(pages["portfolio"])
    browser.run("""document.querySelectorAll('.hs-table tbody').forEach(body => {
      for (const row of [...body.querySelectorAll('.hs-later')])
        for (let copy = 0; copy < 9; copy++) body.append(row.cloneNode(true));
    })""")
    assert browser.run("document.querySelectorAll('.hs-later').length") > 300
    paper = browser.print()
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 4
    browser.call("Emulation.setEmulatedMedia", media="print")
    shown = browser.run(
        "[...document.querySelectorAll('.hs-later')].filter(row => row.checkVisibility()).length"
    )
    assert shown == 0
    wide = browser.run(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert wide, "nothing is clipped"
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [390, 1440])
def test_each_chart_is_drawn_once_for_the_screen_at_hand(browser: Browser, pages, width):
    browser.open(pages["customer"], width)
    seen = browser.run(
        "document.querySelectorAll('details').forEach(fold => fold.open = true);"
        "[...document.querySelectorAll('.hs-chart svg')]"
        ".map(svg => svg.getBoundingClientRect().width).filter(width => width > 0)"
    )
    assert len(seen) == 4 and all(wide >= (330 if width == 390 else 600) for wide in seen)


def test_a_page_and_a_notebook_have_the_same_dark_colours():
    dark = []
    for name, rule in (
        ("pieces.css", r'\[data-jp-theme-light="false"\] \.hs{(.*?)}'),
        ("page.css", r"\.hs\.hs{(.*?)}"),
    ):
        text = (writer.templates() / name).read_text("utf-8")
        (block,) = re.findall(rule, text, re.DOTALL)
        dark.append(dict(re.findall(r"(--[\w-]+):(#\w+)", block)))
    assert dark[0] == dark[1] and len(dark[0]) > 20


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_words_of_a_chart_can_be_read(browser: Browser, pages, dark):
    browser.open(pages["customer"], 1440, dark)
    contrast = browser.run("""(() => {
      const linear = part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
      const light = text => text.match(/[\\d.]+/g).slice(0, 3).map(part => linear(part / 255))
        .reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], 0);
      const paper = light(getComputedStyle(document.body).backgroundColor);
      const inks = [...document.querySelectorAll('.hs-drawn svg text')].map(text => light(getComputedStyle(text).fill));
      return Math.min(...inks.map(ink => (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05)));
    })()""")
    assert contrast >= 4.5


def test_hostile_texts_are_seen_as_text(browser: Browser, pages):
    browser.open(pages["hostile"])
    seen = browser.run("document.body.innerText")
    assert "<script>alert(1)</script>" in seen and "{{ 7 * 7 }}" in seen
    assert browser.run("document.querySelectorAll('img, iframe, base, object').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 1


# what would run if escaping failed: put into a finished page as it is
MARKUP = (
    "<script>window.ran = 1</script>",
    "<script src='http://127.0.0.1:9/x.js'></script>",
    "<script type='module'>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'></svg>",
    "<body onload='window.ran = 1'>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    "<iframe src='javascript:parent.ran = 1'></iframe>",
    "<object data='data:text/html,<script>parent.ran = 1</script>'></object>",
    "<embed src='javascript:window.ran = 1'>",
    "<link rel=stylesheet href='http://127.0.0.1:9/x.css'>",
    "<style>@import 'http://127.0.0.1:9/x.css'; body { background: url(http://127.0.0.1:9/x) }</style>",
    "<base href='http://127.0.0.1:9/'>",
    "<form id=f action='http://127.0.0.1:9/'><input name=a value=b></form>",
    "<a id=a href='javascript:window.ran = 1'>x</a>",
    "<details open ontoggle='window.ran = 1'>x</details>",
    "<input autofocus onfocus='window.ran = 1'>",
    "<video><source onerror='window.ran = 1'></video>",
    "<img src='http://127.0.0.1:9/x.png'>",
)


@pytest.mark.parametrize("name", ["customer", "portfolio", "index"])
def test_markup_that_is_put_into_a_page_on_purpose_runs_nothing(browser: Browser, pages, name):
    text = pages[name].read_text("utf-8")
    head, end, tail = text.rpartition("</main>" if "</main>" in text else "</body>")
    page = pages[name].with_name(f"{name}-with-markup.html")
    requests: list[str] = []
    with counting(requests) as address:
        markup = "".join(MARKUP).replace("http://127.0.0.1:9", address)
        page.write_text(head + markup + end + tail, "utf-8")
        _try_to_run(browser, page)
    assert browser.run("window.ran === undefined")
    assert browser.run("location.protocol") == "file:"
    assert not requests
    assert any("Content Security Policy" in problem for problem in browser.problems)


def _try_to_run(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("(document.getElementById('a').click(), document.getElementById('f').submit())")
    browser.run("new Promise(done => setTimeout(done, 100))")


def test_a_long_table_opens_and_closes(browser: Browser, pages):
    browser.open(pages["portfolio"])
    rows = "[...document.querySelectorAll('table')[0].tBodies[0].rows].filter(row => row.offsetHeight).length"
    assert browser.run(rows) == 12
    browser.run("document.querySelector('.hs-more input').click()")
    assert browser.run(rows) == 60


def test_in_jupyterlab_names_are_on_the_left_and_figures_on_the_right(browser: Browser, pages):
    """Its own stylesheet puts all cells of tables to the right."""
    text = pages["portfolio"].read_text("utf-8")
    page = pages["portfolio"].with_name("portfolio-in-lab.html")
    theirs = (
        ".jp-RenderedHTMLCommon:not(.jp-RenderedMarkdown) :is(td, th, tr) { text-align: right }"
    )
    text = text.replace("<head>", f"<head><style>{theirs}</style>", 1)
    page.write_text(text.replace("<body", "<body class='jp-RenderedHTMLCommon'", 1), "utf-8")
    browser.open(page)
    align = "getComputedStyle(document.querySelector('tbody {}')).textAlign"
    assert browser.run(align.format("th")) == "left"
    assert browser.run(align.format(".hs-num")) == "right"


@pytest.mark.parametrize("width", [390, 1440])
def test_the_index_searches_sorts_and_filters(browser: Browser, pages, width):
    browser.open(pages["index"], width)
    rows = "[...document.querySelectorAll('#customers tbody tr')].filter(row => row.offsetHeight)"
    browser.run("search.value = 'nörthwind TRADERS'; search.dispatchEvent(new Event('input'))")
    assert browser.run(f"{rows}.length") == browser.run(
        "document.getElementById('count').textContent.split(' ')[0] | 0"
    )
    assert (
        browser.run(f"{rows}.every(row => row.textContent.includes('Northwind'))")
        and browser.run(f"{rows}.length") >= 1
    )
    browser.run("search.value = ''; search.dispatchEvent(new Event('input'))")
    manager = "document.querySelector('[data-filter=manager]')"
    pick = f"{manager}.selectedIndex = %d; {manager}.dispatchEvent(new Event('change'))"
    everybody = browser.run(f"{rows}.length")
    browser.run(pick % 2)
    assert 0 < browser.run(f"{rows}.length") < everybody
    browser.run(f"{pick % 0};document.querySelectorAll('#customers thead button')[1].click()")
    every_score = (
        "(() => { const scores = [], forth = document.getElementById('forth'); for (;;) { scores.push("
        f"...{rows}.map(row => row.cells[1].dataset.sort)); if (forth.disabled) return scores; "
        "forth.click() } })()"
    )
    scores = browser.run(every_score)
    known = [float(score) for score in scores if score]
    assert known == sorted(known, reverse=True) and scores[-1] == "", (
        "an unknown score comes last, whichever way"
    )
    browser.run("document.querySelectorAll('#customers thead button')[1].click()")
    scores = browser.run(every_score)
    assert [float(score) for score in scores if score] == sorted(known) and scores[-1] == ""
    assert browser.problems == []
