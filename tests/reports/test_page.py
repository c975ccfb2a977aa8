"""The page of an exported report: complete, in order, self-contained, and only text where the portfolio has text."""

from __future__ import annotations

import itertools
import re

import pytest

from healthseg import settings as config
from healthseg.charts import formats
from healthseg.reports import layout
from healthseg.reports.figures import Filled, Piece, Scope
from healthseg.reports.html import writer
from healthseg.reports.pages import MODULES, OVERVIEWS, overview_spec, page_spec
from healthseg.reports.pages.common import churn_range, renewal_windows
from healthseg.reports.spec import Card, Table
from tests.reports import samples
from tests.reports.hostile import HOSTILE
from tests.reports.pages import Read, html_of, shown

BUDGET = {"customer": 400_000, "portfolio": 3_000_000}
RESULTS = {"customer": samples.health, "portfolio": samples.portfolio}
both = pytest.mark.parametrize("kind", RESULTS)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {kind: html_of(kind, make()) for kind, make in RESULTS.items()}


@both
def test_a_page_keeps_to_its_budget(pages, kind):
    assert len(pages[kind].encode()) <= BUDGET[kind]


@both
def test_a_page_asks_for_nothing_from_anywhere_and_says_so(pages, kind):
    read = Read(pages[kind])
    policy = next(
        attributes["content"]
        for tag, attributes in read.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "http" not in policy
    assert ("'unsafe-eval'" in policy) == (kind == "portfolio"), (
        "only what draws charts may compile"
    )
    assert (
        policy.count("sha256-") == len([1 for name, _ in read.scripts if not name])
        and read.foreign == []
    )
    assert not [
        tag for tag, _ in read.tags if tag in ("link", "iframe", "object", "embed", "img", "base")
    ]
    without_vega = pages[kind].replace(writer.vega(), "")
    assert set(re.findall(r"https?://[^\s\"'<)]+", without_vega)) <= {"http://www.w3.org/2000/svg"}


@both
def test_headings_come_in_order(pages, kind):
    levels = [level for level, _ in Read(pages[kind]).headings]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@both
def test_the_contents_lead_to_every_question(pages, kind):
    read = Read(pages[kind])
    targets = {
        attributes["id"] for tag, attributes in read.tags if tag == "section" and "id" in attributes
    }
    links = {
        attributes["href"][1:]
        for tag, attributes in read.tags
        if tag == "a" and attributes["href"].startswith("#")
    }
    assert len(targets) == {"customer": 6, "portfolio": 8}[kind] and targets < links


def test_what_to_do_has_one_heading_on_all_pages():
    specs = [page_spec(tool, portfolio) for tool in MODULES for portfolio in (False, True)]
    headings = [
        [section.question for section in spec.sections if "to do" in section.question]
        for spec in [*specs, *map(overview_spec, OVERVIEWS)]
    ]
    assert {tuple(questions) for questions in headings} <= {(), ("What to do next?",)}
    assert sum(map(len, headings)) > 12


@both
def test_every_id_is_there_once(pages, kind):
    ids = [attributes["id"] for _, attributes in Read(pages[kind]).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@both
def test_every_picture_has_a_name_and_no_code_is_shown(pages, kind):
    read = Read(pages[kind])
    assert all(
        attributes.get("role") == "img" and attributes.get("aria-label")
        for tag, attributes in read.tags
        if tag == "svg"
    )
    assert "page.opening" not in pages[kind] and "import healthseg" not in pages[kind]


@pytest.mark.parametrize(
    "words",
    [
        "Brightwater Logistics",
        "69, healthy, down 6 in 30 days; 2 high tickets are open; EUR 84k ARR renews on 26 Nov 2025, in 47 days",
        "EUR 84k",
        "26 Nov 2025",
        "91% of the inputs are known; with all of them the score would lie between 63 and 72",
        "From 75 on 10 Sep 2025 to 69 on 10 Oct 2025",
        "−0.5 points a week over 13 weeks (90% interval −0.8 to −0.2)",
        "The forecast for 8 Jan 2026 is 63 (90% interval 50 to 75)",
        "On 41 past forecasts it was off by 3.1 points on average, a forecast of no change by 3.6",
        "NPS of the last 365 days: not measured. Nobody answered an NPS survey in the last 365 days",
        "4.2% of such customers churn within 90 days (90% interval 2.7% to 6.4%)",
        "from 0.6% to 17.0% is plausible",
        "Agree a date for each of the 2 open high tickets",
        "Launch of Insights 2",
        "0123456789abcdef",
        "all at their defaults",
        "Computed on 11 Oct 2025 at 04:30 UTC in 3.2 s.",
    ],
)
def test_the_customers_page_says(pages, words):
    assert words in Read(pages["customer"]).text


@pytest.mark.parametrize(
    "words",
    [
        "60 customers, average score 60; 30 below 60 with EUR 3.91M ARR",
        "not counted: 4 churned; 1 not started; 2 prospect",
        "EUR 7.85M",
        "Northwind Traders",
        "usage is 41% under its own baseline; 2 high tickets are open",
        "Show all 60 customers",
        "ARR fell by EUR 24,000 on 1 Sep 2025",
        "is in the score report card",
        "Least known: NPS of the last 365 days (44%)",
    ],
)
def test_the_portfolios_page_says(pages, words):
    assert words in Read(pages["portfolio"]).text


def test_every_part_of_the_change_and_every_input_is_on_the_page(pages):
    text, result = Read(pages["customer"]).text, samples.health()
    for part in result.change_explanation.parts:
        assert part.label in text
    for component in result.components:
        assert all(metric.label in text for metric in component.metrics)


def test_settings_that_differ_stand_in_the_footer():
    text = Read(html_of("customer", samples.health(), config.settings({"ramp_days": 30}))).text
    assert "Ramp days" in text and "1 setting differs from its default" in text
    assert "ramp_days" not in text and "all at their defaults" not in text


def test_a_withheld_score_is_no_number_anywhere():
    withheld = samples.health(
        current_health_score=None,
        band=None,
        score_change=None,
        health_trend=None,
        predicted_scores=None,
        forecast=None,
        coverage=0.2,
        churn_prediction=None,
        not_measured={
            "$.predicted_scores": "too few scores",
            "$.churn_prediction": "not requested",
        },
    )
    text = Read(html_of("customer", withheld)).text
    assert "no score, 20% of the inputs are known" in text.lower()
    assert (
        "Too few inputs are known for a score" in text
        and "The forecast: not measured. Too few scores" in text
    )
    assert "Not requested: How likely to churn, and why?" in text


def test_hostile_texts_are_shown_as_text():
    texts = list(HOSTILE)
    hostile = samples.health(
        name=" ".join(texts[:5]),
        warnings=texts,
        not_measured=dict(zip(texts, texts, strict=True)),
        risk_indicators=texts,
        caps=texts,
    )
    read = Read(html_of("customer", hostile))
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"img", "iframe", "base", "object", "embed"} and read.foreign == []
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert (
        len([1 for tag, attributes in read.tags if tag == "meta" and "http-equiv" in attributes])
        == 1
    )
    for text in texts:
        assert " ".join(formats.plain(text).split()) in read.text


def test_hostile_customers_of_a_portfolio_are_text():
    result = samples.portfolio()
    frame = (
        result.frame("customers")
        .head(len(HOSTILE))
        .assign(name=list(HOSTILE), reason=list(HOSTILE), csm_id=list(HOSTILE))
    )
    read = Read(
        html_of(
            "portfolio",
            result.model_copy().with_frames(
                **{**{name: result.frame(name) for name in result.frames}, "customers": frame}
            ),
        )
    )
    assert not {tag for tag, _ in read.tags} & {"img", "iframe", "base"} and read.foreign == []


def test_a_table_of_more_than_twelve_rows_keeps_the_rest_for_later():
    rows = [{"name": f"row {number}"} for number in range(15)]
    table = Table("rows", {"Name": "name"}, label="customers")
    long, short = (
        writer.written([layout.grid(table, Scope({"rows": part}, "$"))])
        for part in (rows, rows[:12])
    )
    assert long.count('class="hs-later"') == 3 and "Show all 15 customers" in long
    assert "Show all" not in short


def test_there_are_never_more_than_five_cards():
    cards = layout.cards([Card("n", "{n:number}")] * 7, Scope({"n": 1}, "$"), None)
    assert writer.written(cards).count('class="hs-card"') == 5


def test_the_opening_tells_title_and_verdict_to_the_index():
    from healthseg.reports.html import export

    facts = export.facts(shown("customer", samples.health()))
    assert (
        facts["title"] == "Brightwater Logistics"
        and facts["kind"] == "Customer health"
        and facts["verdict"].startswith("69, healthy")
    )


def test_a_page_is_the_same_bytes_each_time(pages):
    assert html_of("customer", samples.health()) == pages["customer"]


def test_the_card_of_what_is_at_stake_says_how_without_a_cut_bracket():
    basis = "probability of leaving in 90 days × ARR (where notice was given, the whole ARR)"
    text = Read(html_of("portfolio", samples.portfolio(at_stake_basis=basis))).text
    assert basis in text and text.count("(where notice was given") == text.count(
        "(where notice was given, the whole"
    )
    assert text.count("probability of leaving in 90 days × ARR") > text.count(basis), (
        "and the card names it in short"
    )


def test_a_portfolio_without_arr_has_no_amounts_and_no_empty_columns():
    without = samples.portfolio(
        total_arr=None, total_arr_by_currency={}, at_risk_arr=0.0, at_stake=0.0, currency=None
    )
    blank = without.frame("customers").assign(
        arr=None, at_stake=None, currency=None, renewal_on=None
    )
    read = Read(html_of("portfolio", without.with_frames(customers=blank)))
    assert (
        "ARR weighted by score –" not in read.text  # no card without a figure
        and "No ARR is known: the lowest scores come first" in read.text
    )
    head = read.text[read.text.index("Customer and why") :][:60]
    assert "Manager" in head and "Renewal" not in head and "ARR" not in head


def test_inputs_that_are_missing_for_one_reason_share_a_line():
    health = samples.health()
    parts = [
        part.model_copy(
            update={
                "metrics": [
                    metric.model_copy(
                        update={"points": None, "value": None, "missing_reason": "no table"}
                    )
                    for metric in part.metrics
                ]
            }
        )
        for part in health.components[:2]
    ]
    text = Read(html_of("customer", samples.health(components=parts))).text
    assert (
        text.count("not measured. No table") == 1
        and "Seats in use, Usage against own baseline, Features adopted, Stickiness" in text
    )


def test_a_range_of_few_customers_does_not_read_as_an_error():
    """Σ p × ARR may lie above the upper end, where most quarters see no churn."""
    usual = {"lower": 0.0, "upper": 90.0, "expected": 30.0}
    assert churn_range()(usual) == "{lower:brief_money}\u00a0to\u00a0{upper:brief_money}"
    pieces = (Piece("0", "$.lower"), Piece("\u00a0to\u00a0"), Piece("90", "$.upper"))
    assert "</bdi>\u00a0to\u00a0<bdi" in writer.text_of(Filled(pieces))
    assert churn_range()(usual | {"upper": 0.0}) == "most likely none"
    inner = {"at_risk": usual | {"upper": 0.0}}
    assert churn_range("at_risk.", "none in 96%")(inner) == "none in 96%"


def test_who_has_no_contract_is_listed_once():
    kinds = {"days": 5, "overdue": 1, "uncontracted": 1}
    rows = [{"kind": kind, "band": "all", "customers": size} for kind, size in kinds.items()]
    listed = renewal_windows(rows)
    assert [row["kind"] for row in rows if listed(row)] == ["days", "uncontracted"]
    more = [*rows[:1], rows[1] | {"customers": 3}, rows[2]]
    assert len([row for row in more if renewal_windows(more)(row)]) == 3
