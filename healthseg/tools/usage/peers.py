"""How usage compares: with peers in the portfolio, and with the industry's figures where the portfolio has any."""

from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.spans import over
from healthseg.statistics.peers import peer_standing
from healthseg.tools.rounding import number, rounded
from healthseg.tools.usage.result import Benchmark, Range
from healthseg.tools.usage.subject import Subject, portfolio_rows, spans_of

METRICS = {
    "wau_per_seat": "weekly active users per seat",
    "wau_per_user": "weekly active users per provisioned user",
}
MEDIAN = 50


def standings(portfolio: Any, end: Any, day: Any, metric: str) -> pd.DataFrame:
    """Every live customer's value and standing on ``day``, the last before ``end``; made once a day and metric."""

    def make() -> pd.DataFrame:
        rows = portfolio_rows(portfolio, day)
        if metric == "wau_per_seat":
            of = rows["seats"]
        else:
            found = over(
                portfolio,
                spans_of(rows["client_id"].tolist(), [(0, day, end)]),
                ["provisioned_users"],
            )
            of = rows["client_id"].map(found.set_index("client_id")["provisioned_users"])
        frame = rows.assign(value=rows["weekly_active_users"] / of.where(of > 0))
        frame = frame.assign(**{name: None for name in ("industry", "tier") if name not in frame})
        return peer_standing(
            frame, "value", portfolio.settings.peers_min, portfolio.settings.interval_level
        )

    return remember(portfolio, ("usage standings", day, metric), make)


def metric_of(subject: Subject) -> str | None:
    """What the customer is compared by: by its seats, else by its provisioned users."""
    if subject.seats:
        return "wau_per_seat"
    return "wau_per_user" if number(subject.counted["provisioned_users"]) else None


def benchmark(subject: Subject) -> tuple[Benchmark, pd.DataFrame, dict[str, str]]:
    """The comparison, the customers behind it, and what could not be compared."""
    metric, path = metric_of(subject), "$.benchmark_insights"
    nobody = pd.DataFrame({"client_id": pd.Series(dtype="str"), "value": pd.Series(dtype=float)})
    if metric is None:
        reason = "neither seats nor users are known to divide by"
        keys = ("vs_industry_average", "percentile_rank", "vs_peers")
        return _benchmark(None, {}, None), nobody, {f"{path}.{key}": reason for key in keys}
    table = standings(subject.portfolio, subject.end, subject.period.last_day, metric)
    own = table[table["client_id"] == subject.client_id]
    row = own.iloc[0].to_dict() if len(own) else {}
    industry = _industry(subject, metric)
    part = _benchmark(metric, row, industry)
    return (
        part,
        table[["client_id", "value"]].dropna(ignore_index=True),
        _missing(subject, metric, part, path),
    )


def _missing(subject: Subject, metric: str, part: Benchmark, path: str) -> dict[str, str]:
    found, least = {}, subject.settings.peers_min
    if part.percentile_rank is None:
        reason = (
            f"fewer than {least} peers have {METRICS[metric]}"
            if part.value is not None
            else f"{METRICS[metric]} are not measured"
        )
        found |= {f"{path}.percentile_rank": reason, f"{path}.vs_peers": reason}
    if part.vs_industry_average is None:
        found[f"{path}.vs_industry_average"] = (
            f"the benchmarks table has no median of {metric} for the customer's industry"
            if subject.portfolio.has("benchmarks")
            else "no benchmarks table with a source"
        )
    return found


def _industry(subject: Subject, metric: str) -> dict[str, Any] | None:
    """The industry's median; of several sources the first by name."""
    industry = subject.customer.get("industry")
    if not subject.portfolio.has("benchmarks") or not isinstance(industry, str):
        return None
    rows = remember(subject.portfolio, "benchmarks", lambda: subject.portfolio.table("benchmarks"))
    rows = rows[
        (rows["industry"] == industry) & (rows["metric"] == metric) & (rows["percentile"] == MEDIAN)
    ]
    return rows.sort_values("source").iloc[0].to_dict() if len(rows) else None


def _benchmark(
    metric: str | None, row: dict[str, Any], industry: dict[str, Any] | None
) -> Benchmark:
    value, rank, peers = (number(row.get(name)) for name in ("value", "percentile", "p50"))
    median = None if industry is None else float(industry["value"])
    spread = (
        None if rank is None else Range(lower=round(row["lower"], 1), upper=round(row["upper"], 1))
    )
    label = row.get("peer_label") if rank is not None else None
    return Benchmark(
        vs_industry_average=_against(
            value,
            median,
            metric,
            f"the industry's median ({industry['source']})" if industry else "",
        ),
        percentile_rank=rounded(rank, 1),
        percentile_interval=spread,
        metric=metric,
        value=rounded(value),
        industry_median=rounded(median),
        source=None if industry is None else str(industry["source"]),
        vs_peers=_against(
            value, peers, metric, f"the median of {row.get('n', 0):.0f} peers ({label})"
        ),
        peer_median=rounded(peers),
        peer_group=label,
        peers=int(row["n"]) if rank is not None else 0,
    )


def _against(
    value: float | None, other: float | None, metric: str | None, whose: str
) -> str | None:
    if value is None or not other or metric is None:
        return None
    return f"{100 * (value / other - 1):+.0f} % {METRICS[metric]} against {whose}"
