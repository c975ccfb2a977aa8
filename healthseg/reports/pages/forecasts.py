"""The page of the forecasts' back-test: are they better than naive, where not, and do their intervals hold?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.reports.pages.models import RUNS, ModelResult
from healthseg.reports.spec import Columns, Missing, Page, Section, Table
from healthseg.tools.values import record

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.forecasting import Backtest

ERRORS: Columns = {
    "Model": "model:words",
    "MASE": "mase:number.3",
    "sMAPE, %": "smape:number.1",
    "Inside the interval": "coverage:percent.1",
    "Width": "width:number.1",
    "Series": "clients:number",
    "Forecasts": "forecasts:number",
}


def result(
    portfolio: Portfolio, backtest: Backtest, subject: str, configuration: Mapping[str, Any]
) -> ModelResult:
    """A back-test as its page shows it; ``subject`` says what was forecast."""
    gains = backtest.gains()
    day = portfolio.as_of(configuration.get("as_of"))
    overall = {row["model"]: record(row) for row in backtest.overall.to_dict("records")}
    figures = {
        "models": overall,
        "level": backtest.level,
        "series": len(gains),
        "better": backtest.better_than_naive,
    }
    run_figures = {
        f"{model} {name}": row[name]
        for model, row in overall.items()
        for name in ("mase", "coverage")
        if row[name] is not None
    }
    return ModelResult(
        _summary(subject, overall, backtest.level),
        day,
        portfolio.data_until,
        portfolio.fingerprint(portfolio.data_until),
        figures,
        {"overall": backtest.overall, "by_step": backtest.by_step, "gains": gains},
        {},
        run_figures,
        configuration,
    )


def _summary(subject: str, overall: Mapping[str, Any], level: float) -> str:
    if "forecast" not in overall or "naive" not in overall:
        return f"{formats.sentence(subject)}: no series is long enough to be tested"
    forecast, naive = overall["forecast"], overall["naive"]
    return (
        f"{formats.sentence(subject)}: MASE {formats.number(forecast['mase'], 3)}, the naive forecast's "
        f"{formats.number(naive['mase'], 3)}; {formats.percent(forecast['coverage'])} of outcomes were in the "
        f"{formats.percent(level)} interval"
    )


PAGE = Page(
    tool="forecasts",
    kind="Forecasts, back-tested",
    summary="Weekly health scores, forecast from earlier dates by rolling origin: how far off, beside "
    "naive, and do the intervals hold?",
    title="Forecasts, back-tested",
    portfolio=True,
    about=("As of {as_of:day}",),
    sections=(
        Section(
            "overall",
            "Is the forecast better than naive?",
            (),
            (Table("frames.overall", ERRORS, "All series and steps", "models"),),
        ),
        Section(
            "by_step",
            "How far ahead?",
            (),
            (Table("frames.by_step", {"Steps ahead": "step:number", **ERRORS}, "By step"),),
        ),
        Section(
            "gains",
            "Where does it beat naive, and where not?",
            lambda result: (
                (
                    "Better than naive in {better:number} of {series:number} series; the worst come first",
                )
                if result.figures["series"]
                else ()
            ),
            lambda result: (
                Table(
                    "frames.gains",
                    {
                        "Series": "client_id",
                        "Forecast, MASE": "forecast:number.3",
                        "Naive, MASE": "naive:number.3",
                        "Gained": "gain:signed.3",
                    },
                    label="series",
                )
                if result.figures["series"]
                else Missing("The gain", reason="no series is long enough to be tested"),
            ),
        ),
        RUNS,
    ),
    method=(
        "Each series is forecast from past dates by what was known on each, and compared with what came",
        "MASE divides the absolute error by that of the in-sample naive forecast; below one is better",
    ),
)
