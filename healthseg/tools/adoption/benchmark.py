"""One customer's adoption beside that of its peers in the portfolio."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from healthseg.statistics.peers import order_statistic
from healthseg.statistics.rates import wilson
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.result import Benchmark, Standing
from healthseg.tools.adoption.words import against_peers
from healthseg.tools.rounding import number, rounded

KEYS = {
    "tier": "vs_tier_average",
    "industry": "vs_industry_average",
    "all_customers": "vs_all_customers",
}


def benchmark(
    figures: Figures,
    client_id: str,
    own: pd.DataFrame,
    words: Mapping[str, str | None],
    against: str | None,
    categories: list[str],
) -> tuple[Benchmark, Standing]:
    """The customer's adopted share against the median of the asked peers, n shown, withheld under ``peers_min``.

    ``words`` are its own tier and industry. Only the key that was asked for (default tier) is filled.
    """
    against, level = against or "tier", figures.settings.interval_level
    rate = number(own["adopted"].mean()) if len(own) else None
    group, others = _peers(figures, client_id, words, against, categories)
    nothing = dict.fromkeys(KEYS.values())
    known = {"adoption_rate": rounded(rate), "peer_group": group, "interval_level": level}
    if group is None or len(others) < figures.settings.peers_min or rate is None:
        unknown = dict.fromkeys(
            ["n", "peer_median", "percentile", "percentile_lower", "percentile_upper"]
        )
        return Benchmark(**nothing), Standing(**known, **unknown)
    median = float(others.sort_values().iloc[order_statistic(len(others), 0.5)])
    below = float((others < rate).sum() + (others == rate).sum() / 2)
    lower, upper = wilson(below, len(others), level)
    standing = Standing(
        **known,
        n=len(others),
        peer_median=rounded(median),
        percentile=round(100 * below / len(others), 1),
        percentile_lower=round(100 * float(lower), 1),
        percentile_upper=round(100 * float(upper), 1),
    )
    return Benchmark(
        **{**nothing, KEYS[against]: against_peers(rate, median, len(others))}
    ), standing


def _peers(
    figures: Figures,
    client_id: str,
    words: Mapping[str, str | None],
    against: str,
    categories: list[str],
) -> tuple[str | None, pd.Series]:
    """The label of the asked peers and their adopted shares; no label where the customer's own word is not known."""
    pairs = figures.pairs[
        figures.pairs["category"].isin(categories) & (figures.pairs["client_id"] != client_id)
    ]
    rates = pairs.groupby("client_id")["adopted"].mean().dropna()
    if against == "all_customers":
        return "all customers", rates
    if words[against] is None:
        return None, rates.iloc[:0]
    alike = figures.live.index[(figures.live[against].astype(object) == words[against]).to_numpy()]
    return f"{against} {words[against]}", rates[rates.index.isin(alike)]
