"""The page of the churn model: may there be one, what has it learnt, whom does it name, and what changed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from healthseg.charts import formats, models
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    facts,
    figure,
    joined,
    missing,
    paragraph,
    table,
)
from healthseg.reports.pages import runs
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "calibration",
    "customers",
    "gate",
    "learnt",
    "open_portfolio",
    "opening",
    "runlog",
    "view",
]


@dataclass(frozen=True)
class View:
    """A model of a portfolio, what it has learnt, and what it says of today's customers."""

    model: Any
    effects: Any
    predictions: Any
    as_of: Any
    data_until: Any
    fingerprint: str
    warnings: tuple[str, ...] = ()

    def charts(self) -> dict[str, Any]:
        return {"effects": models.effects(self.effects)}

    def verdict(self) -> str:
        told = self.model.gate
        return (
            f"The portfolio carries a model: {told.reason}"
            if told.eligible
            else formats.sentence(told.reason)
        )

    def to_dict(self) -> dict[str, Any]:
        return {"as_of": str(self.as_of), "gate": self.model.gate.to_dict()}


def view(portfolio: Any, as_of: str | None = None) -> View:
    """The model in force on a day."""
    from healthseg.scoring.churn import training

    day = portfolio.as_of(as_of)
    model = training.churn_model(portfolio, day)
    clients = sorted(portfolio.table("customers")["client_id"])
    learnt = (
        model.effects(training.training_rows(portfolio, model.trained_until))
        if model.eligible
        else None
    )
    told = training.predictions(portfolio, day, clients) if model.eligible else None
    return View(model, learnt, told, day, portfolio.data_until, portfolio.fingerprint(day))


def opening(found: View) -> Html:
    """The gate's verdict, and its figures."""
    told = found.model.gate
    items = [
        Card(
            "AUC on held-out dates", formats.number(told.auc, 2), f"z {formats.number(told.z, 1)}"
        ),
        Card("Skill", formats.percent(told.skill, 1), "log score gained over the base rate's"),
        Card(
            "Losses",
            formats.number(told.leavers),
            f"in {formats.number(told.customer_steps)} customer-months",
        ),
        Card(
            "Held out",
            formats.number(told.held_out_dates),
            f"dates with {told.held_out_leavers} losses",
        ),
        Card(
            "Interval of a customer",
            formats.percent(told.median_width, 1),
            "median width, points of probability",
        ),
    ]
    about = f"As of {formats.day(found.as_of)} · trained on what was known on {formats.day(found.model.trained_until)}"
    return page.opening(found, "Churn model", "The churn model", [page.safe(about)], items)


def gate(found: View) -> Html:
    """May the portfolio have a model of single customers?"""
    lead = found.verdict()
    return Html(paragraph(joined(lead), "lead"), lead)


def learnt(found: View) -> Html:
    """What goes with leaving, and what with staying?"""
    if found.effects is None:
        return Html(missing("What the model has learnt", found.model.gate.reason))
    columns = [
        Column("label", "Metric"),
        Column("members", "With its kin"),
        Column("low", "From", lambda value: formats.number(value, 2), True),
        Column("high", "To", lambda value: formats.number(value, 2), True),
        Column("log_odds", "Log odds", lambda value: formats.signed(value, 2), True),
        Column("lower", "Lower", lambda value: formats.signed(value, 2), True),
        Column("upper", "Upper", lambda value: formats.signed(value, 2), True),
    ]
    rows = found.effects.to_dict("records")
    lead = joined(
        "Metrics that move together are one line: apart, their signs would be artefacts of each other",
        "What is associated with churn need not cause it",
    )
    return Html(
        paragraph(lead, "lead") + figure(found, "effects", table(rows, columns, label="metrics")),
        lead,
    )


def customers(found: View) -> Html:
    """Whom does it name today?"""
    if found.predictions is None:
        return Html(missing("Probabilities of single customers", found.model.gate.reason))
    horizon = found.model.config.churn_horizon_days
    told = found.predictions[found.predictions["horizon_days"] == horizon]
    rows = told.sort_values("probability", ascending=False).to_dict("records")
    columns = [
        Column("client_id", "Customer"),
        Column(
            "probability",
            f"Leaves in {horizon} days",
            lambda value: formats.percent(value, 1),
            True,
        ),
        Column("lower", "From", lambda value: formats.percent(value, 1), True),
        Column("upper", "To", lambda value: formats.percent(value, 1), True),
        Column("confidence", "Confidence", formats.percent, True),
    ]
    return Html(table(rows, columns, "Likeliest first", "customers"), "customers")


def calibration(found: View) -> Html:
    """How were its probabilities corrected?"""
    told = found.model.calibration
    if told is None:
        return Html(missing("The calibration", found.model.gate.reason))
    pairs = [
        ("Slope", formats.number(told.slope, 2)),
        ("Intercept", formats.signed(told.intercept, 2)),
        ("A standing kept from month to month", formats.percent(told.fade)),
        (
            "Horizons evaluated on held-out time",
            ", ".join(f"{days} days" for days in found.model.judged),
        ),
    ]
    lead = "Slope and intercept were learnt on dates that the classifier had not seen, and are drawn towards none."
    return Html(paragraph(lead, "lead") + facts(pairs), lead)


def runlog(portfolio: Any, found: View) -> Html:
    """What changed since the last run?"""
    told = found.model.gate
    figures = {
        name: value for name, value in told.to_dict().items() if isinstance(value, int | float)
    }
    figures |= {} if found.effects is None else {
        f"log odds {row['label']}": round(row["log_odds"], 4) for row in found.effects.head(8).to_dict("records")
    }  # fmt: skip
    configuration = {
        "as_of": found.as_of,
        "kind": found.model.kind,
        **portfolio.settings.differing(),
    }
    return runs.record(portfolio, "churn_model", configuration, figures, found.fingerprint)
