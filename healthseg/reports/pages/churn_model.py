"""The page of the churn model: can the portfolio carry one, what has it learnt, who is likely to churn, what changed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import formats, models
from healthseg.reports.pages.common import largest_first
from healthseg.reports.pages.models import RUNS, ModelResult
from healthseg.reports.spec import Block, Card, Cell, Chart, Facts, Missing, Page, Section, Table
from healthseg.tools.values import record

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.scoring import ChurnModel

# Effects that a run is remembered by, the largest first.
EFFECTS_LOGGED = 8


def result(portfolio: Portfolio, model: ChurnModel, as_of: str | None = None) -> ModelResult:
    """A churn model, its effects and its predictions on a day, as its page shows them."""
    from healthseg.scoring.churn import training

    day, gate, calibration = portfolio.as_of(as_of), model.gate, model.calibration
    effects, predictions = formats.frame([]), formats.frame([])
    if model.eligible:
        effects = model.effects(training.training_rows(portfolio, model.trained_until))
        predictions = _named(portfolio, model, day)
    run_figures = {
        name: value
        for name, value in gate.to_dict().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    for row in effects.head(EFFECTS_LOGGED).to_dict("records"):
        run_figures[f"log odds {row['label']}"] = round(row["log_odds"], 4)
    configuration = {"as_of": day, "kind": model.kind, **portfolio.settings.differing()}
    reason = formats.sentence(gate.reason)
    return ModelResult(
        f"The portfolio can carry a model: {gate.reason}" if gate.eligible else reason,
        day,
        portfolio.data_until,
        portfolio.fingerprint(day),
        {
            "gate": record(gate.to_dict()),
            "trained_until": str(model.trained_until),
            "horizon_days": model.config.churn_horizon_days,
            "evaluated_horizons": list(model.judged),
            "calibration": calibration
            and {
                name: getattr(calibration, name)
                for name in ("slope", "timing_slope", "intercept", "fade")
            },
        },
        {"effects": effects, "predictions": predictions},
        {"effects": models.effects},
        run_figures,
        configuration,
    )


def _named(portfolio: Portfolio, model: ChurnModel, day: object) -> formats.Frame:
    """The predictions at the model's horizon, with the customers' names."""
    from healthseg.scoring.churn import training

    customers = portfolio.table("customers")
    table = training.predictions(portfolio, day, sorted(customers["client_id"]))  # type: ignore[arg-type]
    table = table[table["horizon_days"] == model.config.churn_horizon_days]
    ids = customers.set_index("client_id")
    names = ids["name"] if "name" in ids else ids.index.to_series()
    return table.assign(name=table["client_id"].map(names).fillna(table["client_id"]))


def _eligible(result: ModelResult, *blocks: Block) -> tuple[Block, ...]:
    """Blocks of a model, or why there is none."""
    gate = result.figures["gate"]
    return blocks if gate["eligible"] else (Missing("The model", reason="{gate.reason:sentence}"),)


PAGE = Page(
    tool="churn_model",
    kind="Churn model",
    summary="Can the portfolio carry a model of single customers, what has it learnt, and who is likely "
    "to churn?",
    title="Churn model",
    portfolio=True,
    about=("As of {as_of:day} · trained on what was known on {trained_until:day}",),
    cards=(
        Card(
            "AUC on held-out dates",
            "{gate.auc:number.2}",
            "z {gate.z:number.1}, needed {gate.z_needed:number.1}",
        ),
        Card("Skill", "{gate.skill:percent.1}", "log score gained over the base rate’s"),
        Card(
            "Churned",
            "{gate.churned:number}",
            "in {gate.customer_steps:number customer-month}",
        ),
        Card(
            "Held out",
            "{gate.held_out_dates:number}",
            "dates, on which {gate.held_out_churned:number} churned",
        ),
        Card(
            "Interval of a customer",
            "{gate.median_width:percent.1}",
            "median width, points of probability",
        ),
    ),
    sections=(
        Section(
            "gate",
            "Can the portfolio carry a model of single customers?",
            ("{gate.reason:sentence}",),
        ),
        Section(
            "effects",
            "What is associated with churn, and what with retention?",
            lambda result: (
                (
                    "Metrics that move together are one line: apart, their signs would be artefacts of each other",
                    "What is associated with churn need not cause it",
                )
                if result.figures["gate"]["eligible"]
                else ()
            ),
            lambda result: _eligible(
                result,
                Chart(
                    "effects",
                    Table(
                        "frames.effects",
                        {
                            "Metric": Cell("label", under="{members}"),
                            "From": "low:number.2",
                            "To": "high:number.2",
                            "Log odds": "log_odds:signed.2",
                            "Lower": "lower:signed.2",
                            "Upper": "upper:signed.2",
                        },
                        label="metrics",
                    ),
                ),
            ),
        ),
        Section(
            "customers",
            "Who is likely to churn?",
            lambda result: (
                ("The likeliest to churn within {horizon_days:number day} come first",)
                if result.figures["gate"]["eligible"]
                else ()
            ),
            lambda result: _eligible(
                result,
                Table(
                    "frames.predictions",
                    {
                        "Customer": Cell("name", under="{client_id}"),
                        "Probability of churn": "probability:percent.1",
                        "From": "lower:percent.1",
                        "To": "upper:percent.1",
                        "Confidence": "confidence:percent",
                    },
                    "Likeliest first",
                    "customers",
                    sort=largest_first("probability"),
                ),
            ),
        ),
        Section(
            "calibration",
            "How were its probabilities corrected?",
            lambda result: (
                (
                    "Slope and intercept were learnt on dates that the classifier had not seen, and are drawn towards "
                    "no correction",
                )
                if result.figures["gate"]["eligible"]
                else ()
            ),
            lambda result: _eligible(
                result,
                Facts(
                    {
                        "Slope": "{calibration.slope:number.2}",
                        "Slope of renewal and tenure": "{calibration.timing_slope:number.2}",
                        "Intercept": "{calibration.intercept:signed.2}",
                        "Effects that persist from month to month": "{calibration.fade:percent}",
                        "Horizons evaluated on held-out dates, in days": "{evaluated_horizons:numbers}",
                    }
                ),
            ),
        ),
        RUNS,
    ),
    method=(
        "A hazard by month: a logistic model with priors on the direction of each metric, one without, and boosted trees, "
        "with shares by their log score on held-out dates; renewals count in the month that they fall into",
        "The gate compares the ranking and the log score on held-out dates with the base rate; its error holds however "
        "often it is looked at",
    ),
)
