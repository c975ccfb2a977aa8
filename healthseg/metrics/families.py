"""Accounts counted in their parent, by the setting ``roll_up_children``: sums, the ARR-weighted score, the worst child."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics import catalog
from healthseg.metrics.counting import customers
from healthseg.metrics.money import in_reporting_currency, money
from healthseg.metrics.profile import tiers

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

SUMS = (
    "seats",
    "monthly_active_users",
    "weekly_active_users",
    "open_tickets",
    "tickets_90d",
    "open_high_tickets",
    "invoices_issued",
)
# of a family the worst of its accounts counts
HIGHEST, LOWEST = ("worst_days_overdue", "uncontracted_days"), ("days_to_renewal", "renewal_day")
CHILD_COLUMNS = ("children", "worst_child", "worst_child_score")


def roots(portfolio: Portfolio, clients: pd.Index) -> pd.Series:
    """The account that each of these customers is counted in: its highest parent among them, else itself.

    >>> from healthseg.testing import tiny_portfolio
    >>> known = pd.DataFrame({"client_id": ["a", "b", "c"], "signup_date": "2024-01-01", "parent_id": [None, "a", "b"]})
    >>> roots(tiny_portfolio([("a", "2025-03-03 09:00", "u")], known), pd.Index(["a", "b", "c"])).tolist()
    ['a', 'a', 'a']
    """
    table, present = customers(portfolio), set(clients)
    parent = table["parent_id"].dropna().to_dict() if "parent_id" in table else {}

    def root(client: str) -> str:
        seen = [client]
        while parent.get(seen[-1]) in present and parent[seen[-1]] not in seen:
            seen.append(parent[seen[-1]])
        return seen[-1] if parent.get(seen[-1]) not in seen else min(seen)

    return pd.Series([root(client) for client in clients], index=clients, dtype=object)


def rolled_up(
    portfolio: Portfolio, rows: pd.DataFrame, date: dt.date, rates_on: dt.date
) -> pd.DataFrame:
    """Scored rows of the panel (by client_id) with children counted in their parents, and ``CHILD_COLUMNS``.

    ARR, seats, users, tickets are sums, what is derived of them follows, the score (``shown``) is weighted by ARR; the rest
    stays the parent's own.
    """
    if not portfolio.settings.roll_up_children or not len(rows):
        return rows
    root = roots(portfolio, rows.index)
    sizes = root.value_counts()
    parents = sizes.index[sizes > 1]
    members = rows[root.isin(parents)]
    owner = root.reindex(members.index)
    amounts = money(portfolio, members, date, rates_on)
    top = rows[root == rows.index].copy()
    top["children"] = (sizes.reindex(top.index) - 1).astype(float)
    top["worst_child"], top["worst_child_score"] = None, np.nan
    if not len(parents):
        return top

    def into(name: str, values: pd.Series) -> None:
        top[name] = values.reindex(top.index).where(top.index.isin(parents), top[name])

    groups = members.groupby(owner)
    for name in (each for each in SUMS if each in members):
        # a sum with an unknown part is unknown
        parts = groups[name]
        into(name, parts.sum().astype(float).where(parts.count() == parts.size()))
    for names, how in ((HIGHEST, "max"), (LOWEST, "min")):
        for name in (each for each in names if each in members):
            into(name, groups[name].agg(how).astype(float))
    if amounts.addable:
        into("arr", amounts.amounts.groupby(owner).sum(min_count=1))
        into("currency", pd.Series(amounts.currency, index=parents, dtype=object))
    into("shown", _weighted(members["shown"].astype(float), amounts.amounts, owner))
    if "provisional" in members:  # an established account has a score
        into("provisional", groups["provisional"].min().astype(bool))
    into("worst_child_score", groups["shown"].min().astype(float))
    worst = members["shown"].astype(float).dropna().sort_values(kind="stable")
    first = pd.Series(worst.index, index=owner.reindex(worst.index).to_numpy(), dtype=object)
    into("worst_child", first.groupby(level=0).first())
    own = portfolio.settings.metrics
    derived = catalog.derived() | {name: catalog.described(name, own[name]) for name in own}
    for name, metric in derived.items():
        if metric.derive is not None and name in members:
            into(name, metric.derive(top).astype(float))
    dated = top.reset_index(drop=True).assign(client_id=top.index, date=date)
    top["tier"] = tiers(in_reporting_currency(portfolio, dated), portfolio.settings)
    return top


def _weighted(score: pd.Series, arr: pd.Series, owner: pd.Series) -> pd.Series:
    """The ARR-weighted mean score of each family, rounded as a score is shown; unweighted where none has an ARR."""
    known = score.notna()
    weight = arr.reindex(score.index).fillna(0.0).where(known, 0.0)
    sums = weight.groupby(owner).sum()
    mean = (score.fillna(0.0) * weight).groupby(owner).sum() / sums.where(sums > 0)
    mean = mean.where(mean.notna(), score.groupby(owner).mean())
    return np.floor(mean + 0.5)
