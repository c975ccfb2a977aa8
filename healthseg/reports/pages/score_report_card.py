"""The page of the score's report card: is the score any good, for whom, how early, and beside what?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from healthseg.charts import formats, models
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
    joined,
    missing,
    paragraph,
    table,
)
from healthseg.reports.pages import runs
from healthseg.reports.portfolios import open_portfolio

__all__ = ["accuracy", "alarms", "calibration", "capture", "groups", "method", "open_portfolio", "opening", "ranks",
           "runlog", "view", "warning", "weights"]  # fmt: skip


@dataclass(frozen=True)
class View:
    """A report card with its pictures."""

    card: Any
    warnings: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "card"), name)

    def charts(self) -> dict[str, Any]:
        names = ("accuracy", "calibration", "capture", "lead_times", "ranks", "weights")
        return {name: getattr(models, name)(self.card.frame(name)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        return {
            "as_of": str(self.card.as_of),
            "horizon_days": self.card.horizon_days,
            "figures": self.card.figures(),
        }


def view(card: Any) -> View:
    """The report card as pages show it."""
    return View(card)


def opening(card: Any) -> Html:
    """The verdict, and its figures at a glance."""
    told = {row["score"]: row for row in card.frame("accuracy").to_dict("records")}
    main = told["weighted_composite"]
    caught = {row["score"]: row for row in card.frame("capture").to_dict("records")}[
        "weighted_composite"
    ]
    leads = {row["lead_days"]: row for row in card.frame("lead_times").to_dict("records")
             if row["score"] == "weighted_composite"}  # fmt: skip
    alarms = {row["score"]: row for row in card.frame("false_alarms").to_dict("records")}[
        "weighted_composite"
    ]
    items = [
        Card("AUC of the health score", formats.number(main["auc"], 2),
             f"{formats.number(main['auc_lower'], 2)} to {formats.number(main['auc_upper'], 2)}; 0.5 is chance"),
        Card("Caught by the riskiest", formats.percent(caught["share"]),
             f"{caught['capacity']}; {formats.number(caught['lift'], 1)} times as many as by lot"),
        Card("Warned 30 days before", formats.percent(leads[30]["share"]), f"of {leads[30]['leavers']} leavers"),
        Card("Precision of an alarm", formats.percent(alarms["precision"]),
             f"{formats.number(alarms['false_a_month'], 1)} false ones a month"),
        Card("Losses", formats.number(main["leavers"]), f"in {formats.number(main['rows'])} customer-months"),
    ]  # fmt: skip
    about = f"As of {formats.day(card.as_of)} · losses within {card.horizon_days} days of each month's score"
    return page.opening(
        card, "Score report card", "The score’s report card", [page.safe(about)], items
    )


def accuracy(card: Any) -> Html:
    """Does the score separate churned from retained customers, and better than simple rivals?"""
    rows = card.frame("accuracy").to_dict("records")
    columns = [
        Column("name", "Score"),
        _figure("auc", "AUC"),
        _figure("auc_lower", "From"),
        _figure("auc_upper", "To"),
        _figure("average_precision", "Average precision"),
        _figure("brier", "Brier score", 3),
        Column("leavers", "Losses", formats.number, True),
        Column("rows", "Customer-months", formats.number, True),
    ]
    against = card.frame("against").to_dict("records")
    pairs = [
        Column("name", "Score"),
        Column("rival_name", "Against"),
        Column("gain", "AUC gained", lambda value: formats.signed(value, 3), True),
        Column("lower", "From", lambda value: formats.signed(value, 3), True),
        Column("upper", "To", lambda value: formats.signed(value, 3), True),
    ]
    ours = [row for row in against if row["score"] == "weighted_composite"]
    sure = [row["rival_name"].lower() for row in ours if row["lower"] > 0]
    lead = joined(
        f"On the same customer-months the health score is surely better than {len(sure)} of {len(ours)}: "
        f"{', '.join(sure) or 'none'}"
    )
    both = figure(card, "accuracy", table(rows, columns, "Scores and rivals"))
    return Html(
        paragraph(lead, "lead") + both + table(against, pairs, "Each against each", label="pairs"),
        lead,
    )


def _figure(key: str, name: str, decimals: int = 2) -> Column:
    return Column(key, name, lambda value: formats.number(value, decimals), True)


def calibration(card: Any) -> Html:
    """Do as many leave as the score says?"""
    rows = card.frame("calibration").to_dict("records")
    columns = [
        Column("name", "Score"),
        Column("bin", "Tenth", formats.number, True),
        _figure("said", "Said", 3),
        Column("rate", "Left", lambda value: formats.percent(value, 1), True),
        Column("lower", "From", lambda value: formats.percent(value, 1), True),
        Column("upper", "To", lambda value: formats.percent(value, 1), True),
        Column("rows", "Customer-months", formats.number, True),
    ]
    return Html(
        figure(card, "calibration", table(rows, columns, "Tenths, from safe to risky")),
        "calibration",
    )


def capture(card: Any) -> Html:
    """How many losses does the team’s capacity reach?"""
    rows = card.frame("capture").to_dict("records")
    columns = [
        Column("name", "Score"),
        Column("capacity", "Capacity"),
        Column("share", "Caught", formats.percent, True),
        Column("caught", "Losses caught", formats.number, True),
        Column("leavers", "Losses", formats.number, True),
        _figure("lift", "Lift", 1),
    ]
    return Html(figure(card, "capture", table(rows, columns, "Within the capacity")), "capture")


def warning(card: Any) -> Html:
    """How early did the score warn?"""
    rows = card.frame("lead_times").to_dict("records")
    columns = [
        Column("name", "Score"),
        Column("lead_days", "Days before", formats.number, True),
        Column("share", "Warned", formats.percent, True),
        Column("warned", "Churned customers warned", formats.number, True),
        Column("leavers", "Churned", formats.number, True),
    ]
    lead = joined(
        f"A customer counts as warned from the first month on which its score was below "
        f"{formats.number(card.threshold)} and stayed there until it gave notice or left; rivals raise as many alarms "
        "as the health score"
    )
    return Html(
        paragraph(lead, "lead") + figure(card, "lead_times", table(rows, columns, "Warned before")),
        lead,
    )


def alarms(card: Any) -> Html:
    """How many alarms are false?"""
    rows = card.frame("false_alarms").to_dict("records")
    columns = [
        Column("name", "Score"),
        Column("alarms", "Alarms", formats.number, True),
        Column("right", "Right", formats.number, True),
        Column("precision", "Precision", formats.percent, True),
        _figure("false_a_month", "False a month", 1),
        _figure("false_a_manager_and_month", "False a manager and month", 1),
    ]
    return Html(
        table(rows, columns, "Alarms, and those whose customer was retained", "scores"),
        "false alarms",
    )


def groups(card: Any) -> Html:
    """Is it as good in every tier and stage?"""
    rows = [
        row for row in card.frame("groups").to_dict("records") if not formats.is_missing(row["auc"])
    ]
    columns = [
        Column("group", "Group", formats.words),
        Column("kind", "Kind", formats.words),
        Column("name", "Score"),
        _figure("auc", "AUC"),
        Column("leavers", "Losses", formats.number, True),
        Column("rows", "Customer-months", formats.number, True),
    ]
    if not rows:
        return Html(missing("Tiers and stages", "in each fewer than five customers churned"))
    return Html(table(rows, columns, "With at least five churned", "groups"), "by tier and stage")


def ranks(card: Any) -> Html:
    """Who is among the riskiest whatever the weights?"""
    found = card.frame("ranks")
    always = (found["verdict"] == "always").sum()
    some = (found["verdict"] == "sometimes").sum()
    lead = joined(
        f"{always} customers are among the {card.accounts} lowest scores under nearly all weights and thresholds, "
        f"{some} more only under some"
    )
    columns = [
        Column("name", "Customer"),
        Column("score", "Score", formats.number, True),
        Column("share", "Share of scorecards", formats.percent, True),
        Column("rank_low", "Rank from", formats.number, True),
        Column("rank_high", "To", formats.number, True),
        Column("verdict", "Among the riskiest", formats.words),
    ]
    rows = found[found["verdict"] != "never"].to_dict("records")
    return Html(
        paragraph(lead, "lead") + figure(card, "ranks", table(rows, columns, label="customers")),
        lead,
    )


def weights(card: Any) -> Html:
    """Would other weights do better?"""
    told = card.suggestion
    gain = (
        f"On later time they would gain {formats.signed(told.gain, 3)} AUC ({formats.signed(told.gain_lower, 3)} to "
        f"{formats.signed(told.gain_upper, 3)})"
        if told.gain is not None
        else ""
    )
    lead = joined(f"Weights from outcomes: {told.verdict}", gain)
    columns = [
        Column("component", "Component", formats.words),
        Column("weight_now", "Today", lambda value: formats.percent(value, 1), True),
        Column("weight_suggested", "From outcomes", lambda value: formats.percent(value, 1), True),
    ]
    rows = card.frame("weights").to_dict("records")
    return Html(
        paragraph(lead, "lead") + figure(card, "weights", table(rows, columns, label="components")),
        lead,
    )


def runlog(portfolio: Any, card: Any) -> Html:
    """What changed since the last run?"""
    configuration = {"as_of": card.as_of, "horizon_days": card.horizon_days, "threshold": card.threshold,
                     "accounts": card.accounts}  # fmt: skip
    return runs.record(
        portfolio, "score_report_card", configuration, card.figures(), card.fingerprint
    )


def method(card: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        card,
        "Every score is rebuilt on a month's grid of past dates from what was known on each, ends with notice, and is "
        f"compared with notice or churn within {card.horizon_days} days",
        "Intervals are bootstraps over customers, who are drawn with all their months",
        "The churn model's score on a date is by the model that had been trained by then",
        pairs=[
            ("Threshold", formats.number(card.threshold)),
            ("Interval", formats.percent(card.interval_level)),
        ],
    )
