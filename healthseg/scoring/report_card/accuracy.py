"""How well does a score separate churned from retained customers, are its probabilities true, what is it worth to a team?

Rows are customer-months; a customer has as many as it lived, and its outcomes overlap. Intervals are over customers:
bootstraps, or Wilson's with the rows that would tell as much if each were another customer. ``churned`` are distinct
customers that were lost within the horizon of one of the rows. AUC ranks each date within itself: pooled, it would
reward a score for knowing bad months.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.statistics.effects import benjamini_hochberg
from healthseg.statistics.rates import wilson
from healthseg.statistics.separation import auc, auc_gain, average_precision, brier

BINS = 10
LEADS = tuple(range(0, 181, 30))  # days before notice or churn
ACCURACY = [
    "score",
    "rows",
    "customers",
    "churned",
    *(f"auc{end}" for end in ("", "_lower", "_upper")),
    *(f"average_precision{end}" for end in ("", "_lower", "_upper")),
    "brier",
]
CALIBRATION = [
    "score",
    "bin",
    "rows",
    "churned",
    "mean_predicted",
    "mean_score",
    "rate",
    "lower",
    "upper",
]
GROUPS = ["kind", "group", "score", "rows", "churned", "auc"]
CAPTURED = ["score", "capacity", "dates", "taken", "churned", "caught", "share", "lift"]
LEAD_TIMES = ["score", "lead_days", "churned", "warned", "share"]
FALSE_ALARMS = [
    "score",
    "alarms",
    "right",
    "false",
    "precision",
    "false_a_month",
    "false_a_manager_and_month",
]


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    draws: int
    level: float
    seed: int

    def interval(
        self, figure: Callable[..., float], rows: pd.DataFrame, columns: tuple[str, ...]
    ) -> tuple[float, float, float]:
        """A figure of (columns…, weight) with its interval: customers are drawn, with all their rows."""
        values = [
            rows[name].to_numpy() if name == "date" else rows[name].to_numpy(dtype=float)
            for name in columns
        ]
        code, names = pd.factorize(rows["client_id"])
        rng, count = np.random.default_rng(self.seed), len(names)
        weights = [
            np.bincount(rng.integers(0, count, count), minlength=count).astype(float)
            for _ in range(self.draws)
        ]
        drawn = np.array([figure(*values, weight[code]) for weight in weights])
        drawn, low, high = drawn[~np.isnan(drawn)], np.nan, np.nan
        if len(drawn):
            low, high = np.quantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2])
        return figure(*values, np.ones(len(rows))), float(low), float(high)


def churned_customers(rows: pd.DataFrame) -> int:
    """Distinct customers that were lost within the horizon of a row."""
    return int(rows.loc[rows["outcome"] == 1, "client_id"].nunique())


def share_interval(rows: pd.DataFrame, level: float) -> tuple[float, float, float]:
    """The share of rows whose customer was lost, with Wilson's interval over customers.

    Rows of a customer count as the fewer independent ones that have the variance of its clusters; where all outcomes
    are the same, as one.

    >>> twice = pd.DataFrame({"client_id": ["a", "a", "b", "b"], "outcome": [1.0, 1.0, 0.0, 0.0]})
    >>> share_interval(twice, 0.9) == share_interval(twice.drop_duplicates(), 0.9)
    True
    """
    share, n = float(rows["outcome"].mean()), len(rows)
    excess = (rows["outcome"] - share).groupby(rows["client_id"].to_numpy()).sum()
    clustered = float((excess**2).sum()) / n**2
    plain = share * (1 - share)
    effective = min(plain / clustered, n) if clustered > 0 else float(len(excess))
    low, high = wilson(share * effective, effective, level)
    return share, float(low), float(high)


def accuracy(
    rows: pd.DataFrame, names: list[str], min_churned: int, bootstrap: Bootstrap
) -> pd.DataFrame:
    """Per score and rival: rows, customers, churned, AUC and average precision with intervals, Brier score."""
    table = []
    figures = (
        ("auc", auc, ("outcome", "risk", "date")),
        ("average_precision", average_precision, ("outcome", "risk")),
    )
    for name in names:
        known = rows[rows[f"risk_{name}"].notna()].assign(risk=rows[f"risk_{name}"])
        lost = churned_customers(known)
        line: dict[str, Any] = {
            "score": name,
            "rows": len(known),
            "customers": known["client_id"].nunique(),
            "churned": lost,
        }
        if min_churned <= lost and not known["outcome"].all():
            for key, figure, columns in figures:
                ends = bootstrap.interval(figure, known, columns)
                line |= dict(zip((key, f"{key}_lower", f"{key}_upper"), ends, strict=True))
        if f"probability_{name}" in known:
            line["brier"] = brier(known[f"probability_{name}"], known["outcome"])
        table.append(line)
    return pd.DataFrame(table).reindex(columns=ACCURACY)


def gain(
    rows: pd.DataFrame, name: str, rival: str, bootstrap: Bootstrap
) -> tuple[float, float, float]:
    """By how much a score's AUC lies above a rival's, on the rows that both know."""
    columns = ("outcome", f"risk_{name}", f"risk_{rival}", "date")
    known = rows[rows[list(columns[1:3])].notna().all(axis=1)]
    return bootstrap.interval(auc_gain, known, columns)


def with_q(gains: pd.DataFrame, level: float, max_q: float) -> pd.DataFrame:
    """Gains (gain, lower, upper) with p, by the normal approximation of their intervals, q over all, and significant."""
    reach = scipy.special.ndtri((1 + level) / 2)
    error = (gains["upper"] - gains["lower"]) / (2 * reach)
    p = 2 * scipy.special.ndtr(-(gains["gain"].abs() / error.where(error > 0)))
    q = pd.Series(np.nan, index=gains.index)
    q[p.notna()] = benjamini_hochberg(p.dropna())
    return gains.assign(p=p, q=q, significant=q <= max_q)


def calibration(rows: pd.DataFrame, names: list[str], level: float) -> pd.DataFrame:
    """Per score and tenth of its rows, from safe to risky: what was predicted, and the share that was lost.

    Columns: score, bin, rows, churned, mean_predicted (probability; NaN of a score that gives none), mean_score (NaN of
    a probability), rate (of rows), lower, upper (``share_interval``).
    """
    table = []
    for name in names:
        is_probability = f"probability_{name}" in rows
        stated = f"probability_{name}" if is_probability else f"risk_{name}"
        known = rows[rows[stated].notna()]
        known = known.sort_values([stated, "client_id", "date"], kind="stable")
        for number, part in enumerate(np.array_split(np.arange(len(known)), BINS), start=1):
            if not len(part):
                continue
            tenth = known.iloc[part]
            mean, share = abs(float(tenth[stated].mean())), share_interval(tenth, level)
            means = (mean, np.nan) if is_probability else (np.nan, mean)
            table.append((name, number, len(tenth), churned_customers(tenth), *means, *share))
    return pd.DataFrame(table, columns=CALIBRATION)


def by_group(rows: pd.DataFrame, names: list[str], min_churned: int) -> pd.DataFrame:
    """AUC by tier and by stage, where enough rows were lost and some retained."""
    table = []
    for kind in ("tier", "stage"):
        for word, group in rows.groupby(kind, sort=True):
            for name in names:
                known = group[group[f"risk_{name}"].notna()]
                outcome, risk = known["outcome"].to_numpy(), known[f"risk_{name}"].to_numpy()
                lost, n = churned_customers(known), len(known)
                enough = min_churned <= lost and not outcome.all()
                date = known["date"].to_numpy()
                value = auc(outcome, risk, date, np.ones(n)) if enough else np.nan
                table.append((kind, str(word), name, n, lost, value))
    return pd.DataFrame(table, columns=GROUPS)


@dataclass(frozen=True)
class TeamCapacity:
    """What a team can look after on each date: so many accounts; or its hours, by hours a month that a tier needs."""

    accounts: int
    hours: float | None
    hours_by_tier: Mapping[str, float]
    other_hours: float
    max_reach: float

    def kinds(self) -> dict[str, float | None]:
        """By name; None for accounts."""
        by_hours = {f"{self.hours:,.0f} hours a month": self.hours} if self.hours else {}
        return {f"top {self.accounts} accounts": None, **by_hours}

    def takes(self, order: pd.DataFrame, hours: float | None) -> np.ndarray:
        """Whether each row is looked after, of rows in order of date and risk."""
        if hours is None:
            return (order.groupby("date").cumcount() < self.accounts).to_numpy()
        needed = [self.hours_by_tier.get(tier, self.other_hours) for tier in order["tier"]]
        by_row = pd.Series(needed, index=order.index, dtype=float)
        return (by_row.groupby(order["date"]).cumsum() <= hours).to_numpy()


def captured(rows: pd.DataFrame, names: list[str], capacity: TeamCapacity) -> pd.DataFrame:
    """On each date the team takes the riskiest: which share of those lost within the horizon did it look after?

    Columns: score, capacity, dates, taken (a date on average), churned, caught (taken on a date within the horizon
    before the loss), share, lift (the share of lost customer-months taken ÷ that of all). Hours that suffice for
    nearly all customers select nobody and are left out.
    """
    table = []
    for name in names:
        risk = f"risk_{name}"
        known = rows[rows[risk].notna() & rows["outcome"].notna()]
        order = known.iloc[np.lexsort((_lots(known), -known[risk], known["date"]))]
        outcome, dates = order["outcome"].to_numpy(), order["date"].nunique()
        for kind, hours in capacity.kinds().items():
            taken = capacity.takes(order, hours)
            lost, caught = churned_customers(order), churned_customers(order[taken])
            share = caught / lost if lost else np.nan
            reach = taken.sum() / len(order) if len(order) else np.nan
            if hours and reach > capacity.max_reach:
                continue
            lift = outcome[taken].sum() / outcome.sum() / reach if lost and reach else np.nan
            mean_taken = taken.sum() / max(dates, 1)
            table.append((name, kind, dates, mean_taken, lost, caught, share, lift))
    return pd.DataFrame(table, columns=CAPTURED)


def flagged(rows: pd.DataFrame, names: list[str], threshold: float) -> dict[str, np.ndarray]:
    """Per score the rows that raise an alarm: below the threshold; of a rival as many a date as the first score raises."""
    flags = {name: (rows[name] < threshold).to_numpy() for name in names if name in rows}
    first = flags.get(names[0], np.zeros(len(rows), dtype=bool))
    budget = pd.Series(first).groupby(rows["date"].to_numpy()).transform("sum").to_numpy()
    for name in names:
        if name not in rows:
            risk = rows[f"risk_{name}"].to_numpy(dtype=float)
            order = np.lexsort((_lots(rows), -risk, rows["date"]))
            rank = pd.Series(order).groupby(rows["date"].to_numpy()[order]).cumcount()
            flags[name] = (rank.to_numpy()[np.argsort(order)] < budget) & ~np.isnan(risk)
    return {name: flags[name] for name in names}


def _lots(rows: pd.DataFrame) -> np.ndarray:
    """A number for each row's customer that has nothing to do with it: among equal risks lots decide, not names or dates."""
    return pd.util.hash_array(rows["client_id"].to_numpy(dtype=object))


def lead_times(rows: pd.DataFrame, flags: dict[str, np.ndarray]) -> pd.DataFrame:
    """Of the customers that were lost: which share had an alarm, without a break, so many days before?

    An alarm counts at ``lead_days`` if the score was below its threshold on every date from at least so many days
    before notice (or churn) on. Columns: score, lead_days, churned (that were tracked so long), warned, share.
    """
    table = []
    lost = rows[rows["event_on"].notna()]
    days = (lost["event_on"] - lost["date"]).dt.days
    for name, flag in flags.items():
        alarms = pd.DataFrame({"client": lost["client_id"], "days": days, "flag": flag[lost.index]})
        alarms = alarms[lost[f"risk_{name}"].notna()]
        alarms = alarms.sort_values(["client", "days"], kind="stable")
        unbroken = alarms["flag"].groupby(alarms["client"]).cummin()
        tracked = alarms.groupby("client")["days"].max()
        earliest = alarms["days"].where(unbroken).groupby(alarms["client"]).max()
        for lead in LEADS:
            able = tracked >= lead
            warned, count = int((earliest[able] >= lead).sum()), int(able.sum())
            table.append((name, lead, count, warned, warned / count if count else np.nan))
    return pd.DataFrame(table, columns=LEAD_TIMES)


def false_alarms(
    rows: pd.DataFrame, flags: dict[str, np.ndarray], managers: int | None
) -> pd.DataFrame:
    """Alarms whose customer was not lost within the horizon, by month and manager, and the precision of alarms."""
    table, known = [], rows["outcome"].notna().to_numpy()
    months = rows.loc[known, "date"].nunique()
    for name, flag in flags.items():
        raised = flag & known
        alarms, right = int(raised.sum()), int(rows.loc[raised, "outcome"].sum())
        wrong = alarms - right
        precision = right / alarms if alarms else np.nan
        monthly = wrong / months if months else np.nan
        by_manager = wrong / months / managers if months and managers else np.nan
        table.append((name, alarms, right, wrong, precision, monthly, by_manager))
    return pd.DataFrame(table, columns=FALSE_ALARMS)
