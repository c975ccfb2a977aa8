"""The page of the segments' evidence: how many groups stand, how stable are they, and what sets them apart?"""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html.page import Column, Html, joined, missing, paragraph, style, table
from healthseg.reports.pages import runs
from healthseg.reports.portfolios import open_portfolio

WHOLE = {"groups", "smallest"}

__all__ = ["apart", "evidence", "found", "open_portfolio", "opening", "rows_of", "runlog"]


def rows_of(portfolio: Any, as_of: str | None, metrics: list[str]) -> Any:
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


def found(rows: Any, method: str, least: int, most: int, seed: int) -> Any:
    """The groups that the evidence allows."""
    from healthseg.clustering.groups import grouping
    from healthseg.settings import Settings

    return grouping(rows, method, least, most, Settings(seed=seed))


def opening(groups: Any) -> Html:
    """How many groups stand."""
    verdict = (
        f"{groups.groups} groups of {len(groups.placed)} customers stand"
        if groups.groups
        else f"No stable groups: {groups.reason}"
    )
    return Html(
        f"{style()}<h1>Segments, their evidence</h1>{paragraph(joined(verdict), 'lead')}", verdict
    )


def evidence(groups: Any) -> Html:
    """How many groups, and how stable is each number of them?"""
    names = {
        "groups": "Groups",
        "bic": "BIC",
        "silhouette": "Silhouette",
        "stability": "Stability (adjusted Rand)",
        "least_jaccard": "Least stable group (Jaccard)",
        "smallest": "Smallest group",
    }
    columns = [
        Column(
            key,
            name,
            lambda value, places=0 if key in WHOLE else 2: formats.number(value, places),
            True,
        )
        for key, name in names.items()
    ]
    rows = groups.evidence.tried.to_dict("records")
    if not rows:
        return Html(missing("The evidence", groups.reason or "nothing could be tried"))
    dropped = [f"{name}: {why}" for name, why in groups.dropped.items()]
    return Html(
        table(rows, columns, "Numbers that were tried")
        + (paragraph(joined(*dropped)) if dropped else "")
    )


def apart(groups: Any, rows: Any) -> Html:
    """What sets the groups apart?"""
    from healthseg.clustering.groups import profile

    if not groups.groups:
        return Html(missing("What sets groups apart", groups.reason or "there are none"))
    told = profile(rows.loc[groups.placed.index], groups.placed["group"]).to_dict("records")
    columns = [
        Column("group", "Group", formats.number, True),
        Column("metric", "Metric", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("median", "Median", lambda value: formats.number(value, 2), True),
        Column("others_median", "The others'", lambda value: formats.number(value, 2), True),
        Column("distance", "Distance, sd", lambda value: formats.signed(value, 2), True),
    ]
    return Html(table(told, columns, "Each group's most distant metrics first"))


def runlog(portfolio: Any, groups: Any, configuration: dict[str, Any]) -> Html:
    """What changed since the last run?"""
    figures = {"groups": groups.groups, "customers placed": len(groups.placed)}
    for row in groups.evidence.tried.to_dict("records"):
        if not formats.is_missing(row["stability"]):
            figures[f"stability of {row['groups']:.0f} groups"] = round(float(row["stability"]), 4)
    return runs.record(
        portfolio, "segments", configuration, figures, portfolio.fingerprint(portfolio.data_until)
    )
