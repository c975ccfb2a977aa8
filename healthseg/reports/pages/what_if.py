"""What if the weights were others? Sliders over the components' points, which the exported page computes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.reports import layout
from healthseg.reports.document import Markup, Node, Paragraph, static
from healthseg.reports.figures import root
from healthseg.reports.html.writer import inert_data, safe, written
from healthseg.reports.spec import Table

if TYPE_CHECKING:
    from healthseg.tools.health.result import PortfolioHealth

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
