"""The page of the segments' evidence: how many groups are there, how stable are they, and what sets them apart?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from healthseg.charts import formats
from healthseg.reports.pages.models import RUNS, ModelResult
from healthseg.reports.spec import Missing, Note, Page, Section, Table
from healthseg.tools.values import records

if TYPE_CHECKING:
    from healthseg.clustering.groups import Grouping
    from healthseg.data.portfolio import Portfolio


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
    run_figures = {
        "groups": grouping.groups,
        "customers placed": len(placed),
        **{
            f"stability of {row['groups']} groups": row["stability"]
            for row in records(tried)
            if row["stability"] is not None
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
        {"tried": tried, "apart": grouping.profile(rows)},
        {},
        run_figures,
        configuration,
    )


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
