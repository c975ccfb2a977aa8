"""The page of the portfolio's health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.charts.theme import BANDS
from healthseg.reports import layout
from healthseg.reports.document import Markup, Node, Paragraph, static
from healthseg.reports.figures import root
from healthseg.reports.html.writer import inert_data, safe, written
from healthseg.reports.pages.common import ACROSS, FIRST_ACTIONS, portfolio_about
from healthseg.reports.spec import (
    LARGEST,
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Custom,
    Fold,
    Heading,
    Note,
    Page,
    Section,
    Table,
)

if TYPE_CHECKING:
    from healthseg.tools.health.result import PortfolioHealth

# -- what if the weights were others? --------------------------------------------------------------


# Shown where no script runs, as in JupyterLab.
WEIGHTS = Table(
    "frames.weights",
    {
        "Component": "component:words",
        "Weight": "weight:percent",
        "Customers with it": "customers:number",
    },
    "The weights in force",
    "components",
)


def what_if(health: PortfolioHealth) -> Node:
    """Sliders of the weights, and what they would make of scores, bands and the customers below the threshold."""
    rows = health.frame("what_if").to_dict("records")
    if not rows:
        reason = static("No customer has a score.")
        return Paragraph(reason, "missing", static("Other weights: not measured."))
    weights = health.frame("weights")
    sliders = "".join(
        _slider(name, weight)
        for name, weight in zip(weights["component"], weights["weight"], strict=True)
    )
    table = layout.nodes((WEIGHTS,), root(health), health)
    html = (
        f'<div class="hs-whatif"><div class="hs-sliders">{sliders}</div>'
        '<button type="button" hidden>Back to the weights in force</button>'
        f'<div class="hs-whatif-result" role="status">{written(table)}</div>'
        f"{inert_data(_inputs(health, rows, list(weights['component'])))}</div>"
    )
    return Markup(html, table)


def _slider(name: str, weight: float) -> str:
    return (
        f"<label>{safe(formats.sentence(formats.words(name)))}<output>{formats.percent(weight)}</output>"
        f'<input type="range" min="0" max="100" step="1" value="{100 * weight:.4g}" disabled '
        f'aria-label="Weight of {safe(formats.words(name))}"></label>'
    )


def _inputs(
    health: PortfolioHealth, rows: list[dict[str, Any]], names: list[str]
) -> dict[str, Any]:
    """The figures that the page's script computes from: points and known shares, rounded to what decides a score."""
    return {
        "components": names,
        "bands": list(health.bands),
        "edges": list(health.band_edges),
        "threshold": health.risk_threshold,
        "least": rows[0]["least_coverage"],
        "customers": [
            {
                "name": formats.plain(row["name"], 80),
                "shown": _figure(row["shown"]),
                "cap": _figure(row["cap"]),
                "points": [_figure(row[f"{name}_points"]) for name in names],
                "known": [_figure(row[f"{name}_known"]) for name in names],
            }
            for row in rows
        ],
    }


def _figure(value: Any) -> float | None:
    return None if formats.is_missing(value) else float(f"{value:.12g}")


# An input that is known for fewer customers than this share of them is named in the lead.
WELL_KNOWN = 0.9
# The customers that a list of the largest changes names.
MOVERS_SHOWN = 6


def _has_arr(health: PortfolioHealth) -> bool:
    """Whether any ARR is known: where none is, amounts are unknown, not zero."""
    return health.total_arr is not None or bool(health.total_arr_by_currency)


def _portfolio_cards(health: PortfolioHealth) -> tuple[Card, ...]:
    known = _has_arr(health)
    mixed = health.total_arr is None and health.total_arr_by_currency
    return (
        Card(
            "Average score",
            "{average_score:number}",
            "{scored_customers:number} of {total_customers:number} have one; change in "
            "{lookback_period_days:number day}",
            "{average_change:signed.1}",
            "average_change",
        ),
        Card(
            "Below {risk_threshold:number}",
            "{at_risk_customers:number customer}" if health.scored_customers else "",
            "with {at_risk_arr:brief_money} ARR" if known else "no ARR is known",
        ),
        Card(
            _at_stake(health),
            "{at_stake:brief_money}" if known else "",
            "{at_stake_basis:short}" if known else "no ARR is known",
        ),
        Card(
            "ARR",
            "{total_arr:brief_money}",
            "in {total_arr_by_currency:count currency|currencies}"
            if mixed
            else "{total_customers:number live customer}",
        ),
    )


def _money(
    health: PortfolioHealth, name: str, path: str, bar: bool | str = False
) -> dict[str, Cell]:
    """A column of amounts: a single currency is in the heading, several in the cells."""
    if health.currency and health.currency != formats.NO_CURRENCY:
        return {f"{name}, {formats.plain(health.currency, 8)}": Cell(f"{path}:number", bar=bar)}
    return {name: Cell(f"{path}:money")}


def _at_stake(health: PortfolioHealth) -> str:
    return "Expected churned ARR" if _by_probability(health) else "ARR weighted by score"


WHO = Cell("name", under="{reason:prose}")


def _attention(health: PortfolioHealth) -> tuple[str, ...]:
    score = (
        "{at_risk_customers:number} of {total_customers:number customer} score below "
        "{risk_threshold:number}"
    )
    if not health.scored_customers:
        return (
            "No customer has a score: the largest that renew within a quarter come first",
            "A score needs events, tickets, surveys or invoices",
        )
    if not _has_arr(health):
        return score, "No ARR is known: the lowest scores come first"
    if not _by_probability(health):
        return (
            score,
            "No customer has a churn probability of its own: a low score with much ARR comes first",
        )
    return (
        score,
        "{at_stake:brief_money} is expected to churn in the next quarter; "
        "{frames.customers[0].name} alone accounts for {frames.customers[0].at_stake:brief_money}"
        if len(health.frame("customers")) and health.at_stake
        else "",
    )


def _by_probability(health: PortfolioHealth) -> bool:
    return (health.at_stake_basis or "").startswith("probability")


def _attention_blocks(health: PortfolioHealth) -> tuple[Block, ...]:
    table = Table(
        "frames.customers",
        {
            "Customer and why": WHO,
            "Score": "score:number",
            "Band": "band:Words",
            "Change": "change:signed",
            **_money(health, _at_stake(health), "at_stake", LARGEST),
            **_money(health, "ARR", "arr"),
            "Renewal": "renewal_on:day",
            "Manager": "csm_id:manager",
        },
        "Lowest score first" if health.scored_customers and not _has_arr(health) else "",
        "customers",
    )
    return (table,)


def _movers_lead(health: PortfolioHealth) -> tuple[str, ...]:
    """Who fell and who rose most."""

    def most(side: str, verb: str) -> str:
        return (
            f"{{movers_{side}[0].name}} {verb} most, {{movers_{side}[0].change:signed}} points to "
            f"{{movers_{side}[0].score:number}}"
        )

    known = [(health.movers_down, "down", "fell"), (health.movers_up, "up", "rose")]
    moved = "; ".join(most(side, verb) for rows, side, verb in known if rows)
    return (f"In {{lookback_period_days:number day}} {moved}",) if moved else ()


def _movers_blocks(health: PortfolioHealth) -> tuple[Block, ...]:
    def table(direction: str) -> Table:
        return Table(
            "frames.movers",
            {
                "Customer and why": WHO,
                "Score": "score:number",
                "Change": "change:signed",
                **_money(health, "ARR", "arr"),
            },
            label="customers",
            where=lambda row: row["direction"] == direction,
            limit=MOVERS_SHOWN,
            empty="No customer.",
        )

    return Heading("Down"), table("down"), Heading("Up"), table("up")


def _spread_blocks(health: PortfolioHealth) -> tuple[Block, ...]:
    currencies = Table(
        "total_arr_by_currency",
        {"Currency": "page_key", "ARR": "page_item:number"},
        label="currencies",
    )
    return (
        Cards(
            tuple(
                Card(
                    formats.sentence(formats.words(band)),
                    f"{{bands.{band}:number}}",
                    f"customers, ARR {{arr_by_band.{band}:brief_money}}"
                    if health.arr_by_band
                    else "customers",
                )
                for band in BANDS
            )
        ),
        Chart(
            "distribution",
            Table(
                "frames.distribution",
                {
                    "Score": "{low:number} to {high:number}",
                    "Customers": "customers:number",
                    "ARR": "arr:money",
                },
                label="steps",
            ),
        ),
        Chart(
            "bands",
            Table(
                "frames.bands",
                {
                    "Date": "date:day",
                    "Band": "band:Words",
                    "Customers": "customers:number",
                    "ARR": "arr:money",
                },
                label="rows",
            ),
        ),
        *(
            (Fold("ARR by the currency of the contracts", (currencies,)),)
            if len(health.total_arr_by_currency) > 1
            else ()
        ),
    )


def _gaps(health: PortfolioHealth) -> tuple[str, ...]:
    """The three inputs that are known for the fewest customers."""
    shares = [
        (row["measured_share"], index)
        for index, row in enumerate(health.input_coverage)
        if not formats.is_missing(row["measured_share"]) and row["measured_share"] < WELL_KNOWN
    ]
    inputs = [f"input_coverage[{index}]" for _, index in sorted(shares)[:3]]
    worst = "; ".join(f"{{{path}.label}} ({{{path}.measured_share:percent}})" for path in inputs)
    if worst:
        reason = health.not_measured.get("$.customers[*].score", "")
        return f"Least known: {worst}", reason
    return ("Every input is known for nine customers of ten",)


def _unscored(health: PortfolioHealth) -> str:
    """Why no score can be compared."""
    return (
        ""
        if health.scored_customers
        else "no customer has a score: too few of its inputs are known"
    )


def _warned(health: PortfolioHealth) -> str:
    """The score's report card in a sentence."""
    if health.scores_before_churn is None:
        return "How often the score was right, and how early, is in the score report card"
    return (
        "Of {scores_before_churn.customers:number customer} with a score that churned in the last year, the score "
        "warned of {scores_before_churn.warned:number} a quarter before"
        + (
            ", and missed {scores_before_churn.missed:number} with {scores_before_churn.missed_arr:brief_money} ARR"
            if health.scores_before_churn.missed and health.scores_before_churn.missed_arr
            else ""
        )
    )


PORTFOLIO = Page(
    tool="calculate_health_score",
    kind="Portfolio health",
    summary="The health of all customers: who needs attention, who moved, where score and money "
    "disagree, how health is spread, and what is missing.",
    title="The portfolio’s health",
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section("actions", "What to do next?", blocks=(ACROSS, FIRST_ACTIONS)),
        Section("attention", "Who needs attention today?", _attention, _attention_blocks),
        Section(
            "movers",
            "Who moved most, up and down?",
            _movers_lead,
            _movers_blocks,
            absent=_unscored,
        ),
        Section(
            "disagreement",
            "Where do score and money disagree?",
            lambda health: (
                "Score and ARR of {disagreements:count customer} point in opposite directions: look here first"
                if health.disagreements
                else "",
                "In the last year {scores_before_churn.missed_arr:brief_money} ARR churned at "
                "{scores_before_churn.missed:number customer} that had scored {scores_before_churn.threshold:number} or more a quarter before"
                if health.scores_before_churn is not None and health.scores_before_churn.missed
                else "",
            ),
            (
                Table(
                    "frames.disagreements",
                    {
                        "Customer and why": WHO,
                        "Kind": "kind:Words",
                        "Score": "score:number",
                        "ARR": "arr:money",
                        "Change of ARR": "arr_change:signed_money",
                    },
                    label="customers",
                ),
            ),
            absent=_unscored,
        ),
        Section(
            "spread",
            "How is health spread, by band and ARR, over time?",
            blocks=_spread_blocks,
            absent=_unscored,
        ),
        Section(
            "what_if",
            "What if the weights were different?",
            lambda health: (
                "Move the weights: scores, bands and the customers below {risk_threshold:number} follow"
                if len(health.frame("what_if"))
                else "",
                "Inputs, targets and caps stay as they are, and nothing is saved"
                if len(health.frame("what_if"))
                else "",
            ),
            (Custom(what_if),),
            absent=_unscored,
        ),
        Section(
            "trust",
            "Can the score be trusted?",
            (
                _warned,
                "{scored_customers:number} of {total_customers:number live customer} have a score",
                "Too new for a score: {provisional_customers:number customer}",
                "On average {coverage:percent} of its inputs are known",
            ),
            (Fold("How well churn was predicted", (Note(("{leaving_model:sentence}",)),)),),
            absent=_unscored,
        ),
        Section(
            "gaps",
            "What is missing in the data?",
            _gaps,
            (
                Fold(
                    "Every input, and for how many customers it is known",
                    (
                        Table(
                            "input_coverage",
                            {
                                "Input": "label",
                                "Component": "component:words",
                                "Measured": Cell("measured_share:percent", bar=True),
                                "Customers": "measured:number",
                                "Weight": "weight:percent.1",
                            },
                            label="inputs",
                        ),
                    ),
                ),
            ),
        ),
    ),
    method=(
        "Each live customer has the score of its own report: the weighted mean of the components that "
        "can be measured",
        "Customers with too few known inputs have none, and are listed as unknown, never as healthy",
        "Customers are ordered by {at_stake_basis}",
        "Past dates are rebuilt from what was known on each of them, by today’s rules",
        "Amounts are in one currency at the rates of {as_of:day}, or not added up where there are no rates",
    ),
    method_facts={
        "Look-back": "{lookback_period_days:number day}",
        "Risk threshold": "{risk_threshold:number}",
    },
    sure=(_warned,),
    portfolio=True,
)
