"""The page of the segments' evidence: how many groups are there, how stable are they, and what sets them apart?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.reports.pages.models import RUNS, ModelResult
from healthseg.reports.spec import Missing, Note, Page, Section, Table

if TYPE_CHECKING:
    from healthseg.clustering.groups import Grouping
    from healthseg.data.portfolio import Portfolio


def metric_rows(portfolio: Portfolio, as_of: str | None, metrics: list[str]) -> formats.Frame:
    """The live customers' metrics on a day, by client_id."""
    from healthseg.errors import InvalidParameters, hint
    from healthseg.metrics.panels import panel

    rows = panel(portfolio, [portfolio.as_of(as_of)])
    rows = rows[rows["live"].astype(bool)].set_index("client_id")
    for name in metrics:
        if name not in rows:
            raise InvalidParameters(
                f"unknown metric {name!r}{hint(name, rows.columns)}",
                parameter="metrics",
                value_provided=name,
            )
    return rows[metrics].astype(float)


def result(
    portfolio: Portfolio,
    grouping: Grouping,
    rows: formats.Frame,
    configuration: Mapping[str, Any],
) -> ModelResult:
    """A grouping of customers as its page shows it; ``rows`` are the metrics that it is by."""
    placed, tried = grouping.placed, grouping.evidence.tried
    figures = {
        "groups": grouping.groups,
        "reason": grouping.reason,
        "customers": len(placed),
        "dropped": dict(grouping.dropped),
    }
    stable = tried[tried["stability"].notna()] if len(tried) else tried
    run_figures = {
        "groups": grouping.groups,
        "customers placed": len(placed),
        **{
            f"stability of {row['groups']:.0f} groups": round(float(row["stability"]), 4)
            for row in stable.to_dict("records")
        },
    }
    return ModelResult(
        f"{grouping.groups} stable groups of {len(placed)} customers"
        if grouping.groups
        else f"No stable groups: {grouping.reason}",
        portfolio.as_of(configuration.get("as_of")),
        portfolio.data_until,
        portfolio.fingerprint(portfolio.data_until),
        figures,
        {"tried": tried, "apart": _apart(grouping, rows)},
        {},
        run_figures,
        configuration,
    )


def _apart(grouping: Grouping, rows: formats.Frame) -> formats.Frame:
    from healthseg.clustering.groups import profile

    if not grouping.groups:
        return formats.frame([])
    return profile(rows.loc[grouping.placed.index], grouping.placed["group"])


def _dropped(result: ModelResult) -> tuple[str, ...]:
    return tuple(
        f"{formats.sentence(formats.words(name))} is left out: {{dropped.{name}:prose}}"
        for name in result.figures["dropped"]
    )


PAGE = Page(
    tool="segments",
    kind="Segments, their evidence",
    summary="Groups by metrics of your own: how many are stable, and what sets them apart.",
    title="Segments, their evidence",
    portfolio=True,
    about=("As of {as_of:day}",),
    sections=(
        Section(
            "evidence",
            "How many groups, and how stable is each number of them?",
            (),
            lambda result: (
                (
                    Table(
                        "frames.tried",
                        {
                            "Groups": "groups:number",
                            "BIC": "bic:number.2",
                            "Silhouette": "silhouette:number.2",
                            "Stability (adjusted Rand)": "stability:number.2",
                            "Least stable group (Jaccard)": "least_jaccard:number.2",
                            "Smallest group": "smallest:number",
                        },
                        "Numbers of groups that were tried",
                    ),
                    Note(_dropped(result)),
                )
                if len(result.frame("tried"))
                else (Missing("The evidence", reason="{reason:sentence}"),)
            ),
        ),
        Section(
            "apart",
            "What sets the groups apart?",
            (),
            lambda result: (
                Table(
                    "frames.apart",
                    {
                        "Group": "group:number",
                        "Metric": "metric:words",
                        "Customers": "customers:number",
                        "Median": "median:number.2",
                        "Median of the others": "others_median:number.2",
                        "Distance, sd": "distance:signed.2",
                    },
                    "Each group’s most distant metrics first",
                )
                if result.figures["groups"]
                else Missing("What sets groups apart", reason="{reason:sentence}"),
            ),
        ),
        RUNS,
    ),
)
