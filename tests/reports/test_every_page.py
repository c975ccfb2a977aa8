"""Every kind of page in headless Chromium: of an ordinary portfolio on every screen, and of a portfolio of hostile strings."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from healthseg.charts import formats
from healthseg.data.tables import TABLES
from tests.reports import every_page, hostile_portfolio
from tests.reports.browser import Browser, browsing
from tests.reports.hostile import HOSTILE

pytestmark = pytest.mark.slow

FOREIGN = {
    "img",
    "iframe",
    "base",
    "object",
    "embed",
    "video",
    "source",
    "math",
    "mtext",
    "form",
    "mglyph",
    "template",
    "noscript",
    "textarea",
    "plaintext",
    "link",
    "audio",
    "frame",
    "applet",
    "foreignobject",
    "animate",
    "use",
}
# What an attacker's string would leave behind in a page that read it: elements, handlers, addresses, values that ran.
JUDGE = """(() => {
  const found = {tags: new Set(), bad: []};
  for (const one of document.querySelectorAll("*")) {
    found.tags.add(one.localName.toLowerCase());
    for (const {name, value} of one.attributes) {
      if (name.startsWith("on") || name === "srcdoc" || name === "formaction") found.bad.push(name + "=" + value);
      if (["href", "src", "action", "xlink:href"].includes(name) && /^\\s*(javascript|data|https?|\\/\\/)/i.test(value))
        found.bad.push(name + "=" + value);
      if (name === "style" && /expression|url\\(|@import/i.test(value)) found.bad.push(name + "=" + value);
    }
  }
  return {tags: [...found.tags], bad: found.bad, ran: window.ran, globals: Object.keys(window),
          scripts: [...document.scripts].filter(one => !one.type || one.type === "text/javascript").length,
          head: document.head.children.length, text: document.body.textContent};
})()"""
TRAPS = (
    "window.ran = []; for (const name of ['alert', 'confirm', 'prompt', 'print', 'open'])"
    " window[name] = (...given) => { window.ran.push(name + given); };"
)
SEEN = """(() => [...document.querySelectorAll(".hs-chart")].filter(one => !one.closest("details:not([open])")).map(one =>
  [...one.querySelectorAll("svg")].filter(svg => svg.checkVisibility()).map(svg => {
    const size = svg.getBoundingClientRect();
    return [Math.round(size.width), svg.querySelectorAll("path, text").length > 0];
  })))()"""
# Texts that a reader sees, drawn ones too; queries and expressions apart.
TEXTS = """(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), texts = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const fold = node.parentElement.closest("details");
    if (node.parentElement.closest("script, style") || fold?.textContent.includes("Where these figures come from")) continue;
    texts.push(node.textContent);
  }
  return texts;
})()"""
RAW_NAME = re.compile(r"(?<![\w/])[A-Za-z]+(?:_[A-Za-z]+)+(?!\w)")
SETTLED = """new Promise(done => { let left = 200; const look = () =>
  innerWidth < 641 || !left-- || [...document.querySelectorAll("script.hs-spec")].every(one =>
    one.closest("figure").dataset.drawn) ? done(left) : setTimeout(look, 20); look(); })"""


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        opened.call("Page.addScriptToEvaluateOnNewDocument", source=TRAPS)
        yield opened


@pytest.fixture(scope="module")
def ordinary(small_portfolio, tmp_path_factory) -> dict[str, Path]:
    return dict(
        every_page.pages(
            small_portfolio.folder, small_portfolio.client_id, tmp_path_factory.mktemp("ordinary")
        )
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    portfolio = hostile_portfolio.write(folder / "portfolio")
    return dict(every_page.pages(portfolio, hostile_portfolio.SHOWN, folder))


@pytest.mark.parametrize("name", every_page.KINDS)
def test_a_page_is_quiet_drawn_and_as_wide_as_its_screen(browser: Browser, ordinary, name):
    page = ordinary[name]
    for width in (390, 1440):
        for dark in (False, True):
            browser.open(page, width, dark)
            browser.run(SETTLED)
            assert browser.requests == [page.resolve().as_uri()], "the page asks for nothing"
            assert browser.run("document.documentElement.scrollWidth") <= width
            charts = browser.run(SEEN)
            assert all(len(drawn) == 1 and drawn[0][0] > 200 and drawn[0][1] for drawn in charts), (
                charts
            )
            assert browser.problems == [], (width, dark)
    assert charts or name in ("index", "alerts"), "a report has a chart"
    texts = browser.run(TEXTS)
    assert [text for text in texts if RAW_NAME.search(text)] == [], "names of settings and keys"


def test_every_column_of_text_holds_every_hostile_string():
    for table in TABLES.values():
        rows = hostile_portfolio.rows(table)
        for column in hostile_portfolio.text_columns(table):
            assert set(rows[column]) == set(HOSTILE), (table.name, column)
        assert all(len(rows.dropna(subset=column.name)) for column in table.columns)


def test_the_hostile_portfolio_is_read_whole(hostile):
    folder = hostile["index"].parent / "portfolio"
    read = every_page.hs.Portfolio.open(folder)
    for table in TABLES.values():
        if table.name == "fx":
            continue  # a text is no currency
        assert len(read.table(table.name)) == len(
            pd.read_parquet(folder / f"{table.name}.parquet")
        ), table.name


@pytest.mark.parametrize("name", every_page.KINDS)
def test_nothing_runs_and_all_is_text_on_a_page_of_hostile_strings(
    browser: Browser, ordinary, hostile, name
):
    browser.open(ordinary[name])
    browser.run(SETTLED)
    usual = browser.run(JUDGE)
    browser.open(hostile[name])
    browser.run(SETTLED)
    browser.run(
        "document.querySelectorAll('details').forEach(one => one.open = true);"
        "document.querySelectorAll('input[type=checkbox], thead button').forEach(one => one.click());"
        "document.querySelectorAll('a, button, input, td, svg *').forEach(one => ['mouseover', 'mousemove',"
        "'focus', 'toggle'].forEach(kind => one.dispatchEvent(new MouseEvent(kind, {bubbles: true}))))"
    )
    judged = browser.run(JUDGE)
    assert not (set(judged["tags"]) - set(usual["tags"])) & FOREIGN and judged["bad"] == []
    assert browser.run("document.querySelectorAll('head > *').length") == usual["head"]
    assert judged["ran"] == [] and set(judged["globals"]) <= set(usual["globals"])
    assert judged["scripts"] <= 3 and browser.requests == [hostile[name].resolve().as_uri()]
    assert browser.problems == []
    assert browser.run("document.documentElement.scrollWidth") <= 1440
    if name.startswith("customer"):
        assert formats.plain(hostile_portfolio.NAME) in " ".join(judged["text"].split())


def test_the_index_shows_each_hostile_name_as_it_is(browser: Browser, hostile):
    browser.open(hostile["index"])
    shown = browser.run(
        "(() => { const names = [], forth = document.getElementById('forth'); for (;;) { names.push(...["
        "...document.querySelectorAll('#customers tbody tr th bdi')].map(name => name.textContent)); "
        "if (forth.disabled) return names; forth.click() } })()"
    )
    names = {
        " ".join(formats.plain(unicodedata.normalize("NFC", text.strip("\ufeff"))).split())
        for text in HOSTILE
    }
    assert len(set(shown)) >= 30 and {" ".join(text.split()) for text in shown} <= names
