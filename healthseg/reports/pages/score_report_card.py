"""The page of the score's report card: is the score any good, for whom, how early, and beside what?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.charts import models as charts
from healthseg.reports.pages.models import RUNS, ModelResult
from healthseg.reports.spec import Card, Chart, Missing, Page, Section, Table
from healthseg.tools.values import record

if TYPE_CHECKING:
    from healthseg.scoring import ReportCard

PARAMETERS = ("horizon_days", "threshold", "accounts")
DRAWINGS = {
    name: getattr(charts, name)
    for name in ("accuracy", "calibration", "capture", "lead_times", "ranks", "weights")
}


def result(card: ReportCard) -> ModelResult:
    """A report card as its page shows it."""
    suggestion = card.suggestion
    figures = {
        **{name: getattr(card, name) for name in PARAMETERS},
        "interval_level": card.interval_level,
        **{
            name: record(value) if isinstance(value, dict) else value
            for name, value in card.headlines().items()
        },
        "suggestion": record(
            {
                "verdict": suggestion.verdict,
                "gain": suggestion.gain,
                "gain_lower": suggestion.gain_lower,
                "gain_upper": suggestion.gain_upper,
            }
        ),
    }
    return ModelResult(
        card.verdict(),
        card.as_of,
        card.data_until,
        card.fingerprint,
        figures,
        card.frames,
        DRAWINGS,
        card.figures(),
        {name: getattr(card, name) for name in ("as_of", *PARAMETERS)},
        card.not_measured,
    )


def _plain(result: ModelResult) -> tuple[str, ...]:
    figures = result.figures
    if not figures["warning"]["churned"] or not figures["alarms"]["alarms"]:
        return ()
    return (
        "Of {warning.churned:number customer} that churned, the score flagged {warning.share:percent} at least "
        "{warning.lead_days:number day} ahead; {alarms.precision:percent} of alarms were right",
    )


def _better(result: ModelResult) -> tuple[str, ...]:
    names = [f"{{beaten_rivals[{at}]:lower}}" for at in range(len(result.figures["beaten_rivals"]))]
    return (
        "On the same customer-months the health score is significantly better than "
        f"{{beaten_rivals:count}} of {{rivals:number}} rivals{': ' if names else ''}"
        + ", ".join(names),
    )


PAGE = Page(
    tool="score_report_card",
    kind="Score report card",
    summary="Every score, rebuilt as it would have been on past dates, and compared with churn, "
    "beside simple rivals.",
    title="Score report card",
    portfolio=True,
    about=("As of {as_of:day} · churn within {horizon_days:number day} of each month’s score",),
    cards=(
        Card(
            "AUC of the health score",
            "{score.auc:number.2}",
            "{score.auc_lower:number.2} to {score.auc_upper:number.2}; at chance one half",
        ),
        Card(
            "Churn among the riskiest",
            "{capture.share:percent}",
            "{capture.capacity}; {capture.lift:number.1} times as much as at random",
        ),
        Card(
            "Warned {warning.lead_days:number day} before",
            "{warning.share:percent}",
            "of {warning.churned:number churned customer}",
        ),
        Card(
            "Precision of an alarm",
            "{alarms.precision:percent}",
            "{alarms.false_a_month:number.1} false alarms a month",
        ),
        Card(
            "Churned",
            "{score.churned:number}",
            "in {score.rows:number customer-month}",
        ),
    ),
    sections=(
        Section(
            "accuracy",
            "Does the score separate churned from retained customers, and better than simple rivals?",
            _better,
            (
                Chart(
                    "accuracy",
                    Table(
                        "frames.accuracy",
                        {
                            "Score": "name",
                            "AUC": "auc:number.2",
                            "AUC from": "auc_lower:number.2",
                            "AUC to": "auc_upper:number.2",
                            "Average precision": "average_precision:number.2",
                            "Brier score": "brier:number.3",
                            "Churned": "churned:number",
                            "Customer-months": "rows:number",
                        },
                        "Scores and rivals",
                        "scores",
                    ),
                ),
                Table(
                    "frames.against",
                    {
                        "Score": "name",
                        "Against": "rival_name",
                        "AUC gained": "gain:signed.3",
                        "From": "lower:signed.3",
                        "To": "upper:signed.3",
                        "q": "q:number.3",
                    },
                    "Each against each",
                    "pairs",
                    where=lambda row: row["gain"] == row["gain"],
                ),
            ),
        ),
        Section(
            "calibration",
            "Do as many customers churn as the score predicts?",
            (),
            (
                Chart(
                    "calibration",
                    Table(
                        "frames.calibration",
                        {
                            "Score": "name",
                            "Tenth": "bin:number",
                            "Expected": "mean_predicted:percent.1",
                            "Mean score": "mean_score:number",
                            "Churned": "rate:percent.1",
                            "From": "lower:percent.1",
                            "To": "upper:percent.1",
                            "Customer-months": "rows:number",
                        },
                        "Tenths, from safe to risky",
                        "tenths",
                    ),
                ),
            ),
        ),
        Section(
            "capture",
            "How much churn does the team’s capacity reach?",
            (),
            (
                Chart(
                    "capture",
                    Table(
                        "frames.capture",
                        {
                            "Score": "name",
                            "Capacity": "capacity",
                            "Reached": "share:percent",
                            "Churned and reached": "caught:number",
                            "Churned": "churned:number",
                            "Lift": "lift:number.1",
                        },
                        "Within the capacity",
                        "capacities",
                    ),
                ),
            ),
        ),
        Section(
            "warning",
            "How early did the score warn?",
            lambda result: (
                *_plain(result),
                "A customer counts as warned from the first month on which its score was below "
                "{threshold:number} and stayed there until it gave notice or churned",
                "Rivals raise as many alarms as the health score",
            ),
            (
                Chart(
                    "lead_times",
                    Table(
                        "frames.lead_times",
                        {
                            "Score": "name",
                            "Days before": "lead_days:number",
                            "Warned": "share:percent",
                            "Churned and warned": "warned:number",
                            "Churned": "churned:number",
                        },
                        "Warned before churn",
                        "rows",
                    ),
                ),
            ),
        ),
        Section(
            "alarms",
            "How many alarms are false?",
            (),
            (
                Table(
                    "frames.false_alarms",
                    {
                        "Score": "name",
                        "Alarms": "alarms:number",
                        "Right": "right:number",
                        "Precision": "precision:percent",
                        "False a month": "false_a_month:number.1",
                        "False a manager and month": "false_a_manager_and_month:number.1",
                    },
                    "Alarms, and those whose customer churned",
                    "scores",
                ),
            ),
        ),
        Section(
            "groups",
            "Is it as good in every tier and stage?",
            (),
            lambda result: (
                Table(
                    "frames.groups",
                    {
                        "Group": "group:words",
                        "Kind": "kind:words",
                        "Score": "name",
                        "AUC": "auc:number.2",
                        "Churned": "churned:number",
                        "Customer-months": "rows:number",
                    },
                    "Groups with enough churned customers",
                    "groups",
                    where=lambda row: row["auc"] == row["auc"],
                )
                if result.frame("groups")["auc"].notna().any()
                else Missing("Tiers and stages", reason="too few customers churned in each"),
            ),
        ),
        Section(
            "predictions",
            "What did we predict, and what happened?",
            (
                "Each line is a day whose {horizon_days:number day} are over: the customers expected to churn, the "
                "interval for true probabilities, and those that did",
            ),
            (
                Table(
                    "frames.predictions",
                    {
                        "Predicted on": "predicted_on:day",
                        "Model of": "model:day",
                        "Source": "source:words",
                        "Customers": "customers:number",
                        "Expected to churn": "expected:number.1",
                        "From": "lower:number",
                        "To": "upper:number",
                        "Churned": "churned:number",
                        "AUC": "auc:number.2",
                        "Brier score": "brier:number.3",
                    },
                    "Predicted and happened",
                    "days",
                ),
            ),
        ),
        Section(
            "ranks",
            "Who is among the riskiest whatever the weights?",
            (
                "{always_riskiest:number customer} of the {accounts:number} lowest scores are there under nearly all "
                "weights and thresholds; {sometimes_riskiest:number customer} more under some",
            ),
            (
                Chart(
                    "ranks",
                    Table(
                        "frames.ranks",
                        {
                            "Customer": "name",
                            "Score": "score:number",
                            "Share of scorecards": "share:percent",
                            "Rank from": "rank_low:number",
                            "To": "rank_high:number",
                            "Among the riskiest": "verdict:words",
                        },
                        label="customers",
                        where=lambda row: row["verdict"] != "never",
                    ),
                ),
            ),
        ),
        Section(
            "weights",
            "Would other weights do better?",
            (
                "Weights from outcomes: {suggestion.verdict:prose}",
                "On later dates they would gain {suggestion.gain:signed.3} AUC "
                "({suggestion.gain_lower:signed.3} to {suggestion.gain_upper:signed.3})",
            ),
            (
                Chart(
                    "weights",
                    Table(
                        "frames.weights",
                        {
                            "Component": "component:words",
                            "Today": "weight_now:percent.1",
                            "From outcomes": "weight_suggested:percent.1",
                        },
                        label="components",
                    ),
                ),
            ),
        ),
        RUNS,
    ),
    method=(
        "Every score is rebuilt on monthly past dates from what was known on each, ends with notice, and is compared "
        "with notice or churn within {horizon_days:number day}",
        "Intervals are bootstraps over customers, who are drawn with all their months",
        "The churn model’s score on a date is by the model that had been trained by then",
    ),
    method_facts={"Threshold": "{threshold:number}", "Interval": "{interval_level:percent}"},
)
