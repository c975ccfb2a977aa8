"""The page of the forecasts' back-test: are they better than naive, where not, and do their intervals hold?"""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html.page import Column, Html, joined, paragraph, style, table
from healthseg.reports.pages import runs
from healthseg.reports.portfolios import open_portfolio

__all__ = ["by_step", "open_portfolio", "opening", "overall", "runlog", "where"]

_COLUMNS = [
    Column("model", "Model", formats.words),
    Column("mase", "MASE", lambda value: formats.number(value, 3), True),
    Column("smape", "sMAPE, %", lambda value: formats.number(value, 1), True),
    Column("coverage", "Inside the interval", lambda value: formats.percent(value, 1), True),
    Column("width", "Width", lambda value: formats.number(value, 1), True),
    Column("clients", "Series", formats.number, True),
    Column("forecasts", "Forecasts", formats.number, True),
]


def opening(tested: Any, what: str) -> Html:
    """What was forecast, and how it did."""
    by = {row["model"]: row for row in tested.overall.to_dict("records")}
    ours, naive = by.get("forecast"), by.get("naive")
    verdict = (
        f"{formats.sentence(what)}: MASE {formats.number(ours['mase'], 3)}, the naive forecast's "
        f"{formats.number(naive['mase'], 3)}; {formats.percent(ours['coverage'])} of outcomes lay in the "
        f"{formats.percent(tested.level)} interval"
        if ours and naive
        else f"{formats.sentence(what)}: no series is long enough to be tested"
    )
    return Html(f"{style()}<h1>Forecasts, back-tested</h1>{paragraph(verdict, 'lead')}", verdict)


def overall(tested: Any) -> Html:
    """Is the forecast better than naive?"""
    rows = tested.overall.to_dict("records")
    return Html(table(rows, _COLUMNS, "All series and steps", "models"), "overall")


def by_step(tested: Any) -> Html:
    """How far ahead?"""
    columns = [Column("step", "Steps ahead", formats.number, True), *_COLUMNS]
    return Html(table(tested.by_step.to_dict("records"), columns, "By step", "rows"), "by step")


def where(tested: Any) -> Html:
    """Where does it beat naive, and where not?"""
    mean = tested.errors.groupby(["client_id", "model"])["mase"].mean().unstack("model")
    if "forecast" not in mean or "naive" not in mean:
        return Html(paragraph("No series is long enough to be tested.", "lead"), "nothing")
    gain = (mean["naive"] - mean["forecast"]).sort_values(kind="stable")
    rows = [
        {"client_id": client, "forecast": mean.loc[client, "forecast"], "naive": mean.loc[client, "naive"],
         "gain": gain[client]}
        for client in gain.index
    ]  # fmt: skip
    lead = joined(
        f"Better than naive in {(gain > 0).sum()} of {len(gain)} series; the worst come first"
    )
    columns = [
        Column("client_id", "Series"),
        Column("forecast", "Forecast, MASE", lambda value: formats.number(value, 3), True),
        Column("naive", "Naive, MASE", lambda value: formats.number(value, 3), True),
        Column("gain", "Gained", lambda value: formats.signed(value, 3), True),
    ]
    return Html(paragraph(lead, "lead") + table(rows, columns, label="series"), lead)


def runlog(portfolio: Any, tested: Any, configuration: dict[str, Any]) -> Html:
    """What changed since the last run?"""
    figures = {
        f"{row['model']} {name}": round(float(row[name]), 4)
        for row in tested.overall.to_dict("records")
        for name in ("mase", "coverage")
    }
    return runs.record(
        portfolio, "forecasts", configuration, figures, portfolio.fingerprint(portfolio.data_until)
    )
