"""What if the weights were others? Sliders over the components' points, which the exported page computes itself."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html.page import Column, Html, inert_data, missing, paragraph, safe, table


def what_if(portfolio: Any) -> Html:
    """Sliders of the weights, and what they would make of scores, bands and customers at risk."""
    rows = portfolio.frame("what_if").to_dict("records") if "what_if" in portfolio.frames else []
    if not rows:
        return Html(missing("Other weights", "no customer has a score"))
    names = [key.removesuffix("_points") for key in rows[0] if key.endswith("_points")]
    usual = {name: _usual(rows, name) for name in names}
    lead = (
        "Move the weights: scores, bands and customers at risk follow. Inputs, targets and caps stay as they are, "
        "and nothing is saved."
    )
    sliders = "".join(_slider(name, usual[name]) for name in names)
    return Html(
        paragraph(lead, "lead")
        + f'<div class="hs-whatif"><div class="hs-sliders">{sliders}</div>'
        + '<button type="button" hidden>The weights as configured</button>'
        + f'<div class="hs-whatif-told" role="status">{_averages(rows, usual)}</div>'
        + f"{inert_data(_given(portfolio, rows, names))}</div>",
        lead,
    )


def _usual(rows: list[dict[str, Any]], name: str) -> float:
    """The weight that most customers' scorecards give a component."""
    weights = [row[f"{name}_weight"] for row in rows]
    return max(sorted(set(weights)), key=weights.count)


def _slider(name: str, weight: float) -> str:
    return (
        f"<label>{safe(formats.sentence(formats.words(name)))}<output>{formats.percent(weight)}</output>"
        f'<input type="range" min="0" max="100" step="1" value="{100 * weight:.4g}" disabled '
        f'aria-label="Weight of {safe(formats.words(name))}"></label>'
    )


def _averages(rows: list[dict[str, Any]], usual: dict[str, float]) -> str:
    """What stands here where no script runs, as in JupyterLab: the weights in force."""
    shown = [
        {
            "component": name,
            "weight": weight,
            "known": sum(row[f"{name}_known"] > 0 for row in rows),
        }
        for name, weight in usual.items()
    ]
    columns = [
        Column("component", "Component", formats.words),
        Column("weight", "Weight", formats.percent, True),
        Column("known", "Customers with it", formats.number, True),
    ]
    return table(shown, columns, "The weights in force", "components")


def _given(portfolio: Any, rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """The figures that the page's script computes from: points and known shares, rounded to what decides a score."""
    return {
        "components": names,
        "bands": list(portfolio.bands),
        "edges": list(portfolio.band_edges),
        "threshold": portfolio.risk_threshold,
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
