"""Two scorecards, two dates or two portfolios side by side; and the score of a customer whose metrics were others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from healthseg.data.portfolio import Portfolio
from healthseg.errors import CalculationError, InvalidParameters, hint, require_known
from healthseg.metrics import catalog, panels
from healthseg.metrics.counting import customers
from healthseg.metrics.frame_types import typed
from healthseg.metrics.money import in_reporting_currency
from healthseg.periods import as_date
from healthseg.scoring.churn import training
from healthseg.scoring.churn.candidates import outcomes
from healthseg.scoring.explanation import PART_COLUMNS, ScoreChange, explain_change
from healthseg.scoring.health import score_panel
from healthseg.scoring.report_card import accuracy
from healthseg.scoring.report_card.card import WARNED_DAYS
from healthseg.scoring.scored_panel import with_todays_values
from healthseg.settings import Settings

Side: TypeAlias = "Portfolio | Settings | Mapping[str, Any] | dt.date | str | None"
SIDES = ("a", "b")
# by whether a and b flag a customer
FLAGGED = {
    (True, True): "both",
    (False, True): "newly",
    (True, False): "no longer",
    (False, False): None,
}
TOO_FEW = "too few customers have churned to compare how well the scores predicted it"


@dataclass(frozen=True)
class ScorecardComparison:
    """Two sides' scores of the customers that both have.

    Frames by name (``frame``): customers: client_id, name, score_a, score_b, change, band_a, band_b, arr (reporting
    currency), flagged ("newly", "no longer", "both" or None: below ``threshold``), why (the metrics that moved it most); parts: why,
    client_id and the columns of ``ScoreChange.frame()``, whose points add up to the change; report_card: side, churned,
    auc with auc_lower and auc_upper, warned (share of churned customers flagged 30 days ahead), alarms, precision.
    ``gain`` is the AUC of b less that of a on the same rows, with its interval; None where it is not known.
    """

    as_of: tuple[dt.date, dt.date]
    threshold: float
    interval_level: float
    frames: Mapping[str, pd.DataFrame]
    gain: tuple[float, float, float] | None
    not_measured: Mapping[str, str]

    def frame(self, name: str) -> pd.DataFrame:
        """A frame by name; raises InvalidParameters for another name."""
        require_known(name, self.frames, f"the comparison has no frame {name!r}", parameter="name")
        return typed(name, self.frames[name])

    def verdict(self) -> str:
        """Who moves, whom each side flags, and which predicted churn better, in a line."""
        table = self.frames["customers"]
        moved = int((table["change"].fillna(0) != 0).sum())
        counts = table["flagged"].value_counts()
        newly, no_longer = (int(counts.get(word, 0)) for word in ("newly", "no longer"))
        text = (
            f"{moved} of {len(table)} customers move; {newly} newly below {self.threshold:g}, "
            f"{no_longer} no longer"
        )
        if self.gain is None:
            return f"{text}; {self.not_measured['report_card']}"
        gain, low, high = self.gain
        sure = "" if low > 0 or high < 0 else ", which is not significant"
        return f"{text}; AUC {gain:+.3f} ({100 * self.interval_level:.0f}% interval {low:+.3f} to {high:+.3f}){sure}"

    def __str__(self) -> str:
        return self.verdict()


def compare_scorecards(
    portfolio: Portfolio | str,
    a: Side = None,
    b: Side = None,
    *,
    as_of: dt.date | str | None = None,
    threshold: float | None = None,
    draws: int | None = None,
) -> ScorecardComparison:
    """What changes with another scorecard, on another date, or in another portfolio: who moves, why, and was it right?

    ``a`` and ``b`` are each None (the portfolio as it is), settings over the portfolio's (``{"scorecard": …}``), a date, or another
    portfolio. ``as_of`` is the date of sides that name none, ``threshold`` the score (0 to 100) below which a customer is flagged,
    ``draws`` the bootstrap's. Returns a ``ScorecardComparison``; ``print`` shows its verdict. Raises InvalidParameters for
    invalid settings and dates. Where fewer than ``report_card_min_churned`` customers churned, the report card is missing with its reason.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> other = {"scorecard": {"components": {"usage": {"weight": 0.9}}}}
    >>> print(compare_scorecards(tiny_portfolio(events), b=other))
    0 of 1 customers move; 0 newly below 60, 0 no longer; too few customers have churned to compare how well the scores predicted it
    """
    opened = Portfolio.of(portfolio)
    pairs = [_side(opened, side, as_of) for side in (a, b)]
    settings = opened.settings
    limit = settings.report_card_threshold if threshold is None else threshold
    scored = [_scored(*pair) for pair in pairs]
    table, parts = _compared(pairs[1][0], scored, limit)
    level, draws = settings.interval_level, draws or settings.report_card_draws
    bootstrap = accuracy.Bootstrap(draws, level, settings.seed)
    judged = [_judged(*pair) for pair in pairs]
    card = pd.DataFrame(
        [_card(*each, limit, settings, bootstrap) for each in zip(SIDES, judged, strict=True)]
    )
    known = min(card["churned"]) >= settings.report_card_min_churned
    gain = _gain(judged, bootstrap) if known else None
    return ScorecardComparison(
        (pairs[0][1], pairs[1][1]),
        limit,
        level,
        {"customers": table, "parts": parts, "report_card": card},
        gain,
        {} if gain else {"report_card": TOO_FEW},
    )


def _side(
    portfolio: Portfolio, side: Side, as_of: dt.date | str | None
) -> tuple[Portfolio, dt.date]:
    if isinstance(side, Settings | Mapping):
        portfolio = portfolio.with_settings(side)
    elif isinstance(side, Portfolio):
        portfolio = side
    elif side is not None:
        return portfolio, portfolio.as_of(as_date(side, "a or b"))
    return portfolio, portfolio.as_of(as_of)


def _scored(portfolio: Portfolio, date: dt.date) -> tuple[pd.DataFrame, Settings]:
    """Live customers' rows of the panel with their score, by client_id."""
    rows, _ = with_todays_values(panels.panel(portfolio, [date]))
    scores = score_panel(rows, portfolio.settings).frame
    extra = [name for name in scores if name not in rows]
    both = pd.concat([rows, scores[extra]], axis=1).assign(
        arr=in_reporting_currency(portfolio, rows)
    )
    return both[both["live"].astype(bool)].set_index("client_id", drop=False), portfolio.settings


def _compared(
    portfolio: Portfolio, scored: list[tuple[pd.DataFrame, Settings]], limit: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    (then, before), (now, after) = scored
    ids = [client for client in now.index if client in then.index]
    changes = {
        client: explain_change(then.loc[client], now.loc[client], before, after) for client in ids
    }
    shown_a, shown_b = then["shown"].reindex(ids), now["shown"].reindex(ids)
    low_a, low_b = ((shown.astype(float) < limit).tolist() for shown in (shown_a, shown_b))
    names = customers(portfolio).get("name", pd.Series(dtype=object)).reindex(ids)
    table = pd.DataFrame(
        {
            "client_id": ids,
            "name": np.where(names.isna(), ids, names),
            "score_a": shown_a.to_numpy(),
            "score_b": shown_b.to_numpy(),
            "change": (shown_b - shown_a).to_numpy(),
            "band_a": then["band"].reindex(ids).to_numpy(),
            "band_b": now["band"].reindex(ids).to_numpy(),
            "arr": now["arr"].reindex(ids).to_numpy(dtype=float),
            "flagged": [FLAGGED[pair] for pair in zip(low_a, low_b, strict=True)],
            "why": [_why(changes[client]) for client in ids],
        }
    )
    order = table["change"].abs().sort_values(ascending=False, kind="stable").index
    frames = [change.frame().assign(client_id=client) for client, change in changes.items()]
    parts = [frame for frame in frames if len(frame)]
    columns = ["client_id", *PART_COLUMNS]
    every = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return table.loc[order].reset_index(drop=True), every[columns]


def _why(change: ScoreChange) -> str:
    """The three parts of a change that moved most."""
    if change.reason:
        return change.reason
    largest = sorted(change.parts, key=lambda part: -abs(part.points))[:3]
    return "; ".join(
        f"{part.label} {part.displayed:+.1f}" for part in largest if part.kind != "rounding"
    )


def _judged(portfolio: Portfolio, date: dt.date) -> pd.DataFrame:
    """The months' rows with what their score was and what came of them within ``churn_horizon_days``."""
    dates = training.grid(portfolio, date)
    rows = training.training_rows(portfolio, dates[-1]) if dates else pd.DataFrame()
    if not len(rows):
        return rows
    rows = rows.reset_index(drop=True)
    keys = ["client_id", "date"]
    scores = score_panel(rows, portfolio.settings).frame[[*keys, "score"]]
    score = rows[keys].merge(scores, on=keys, how="left", validate="one_to_one")["score"]
    outcome = outcomes(rows, date, portfolio.settings.churn_horizon_days, 0)
    return rows[[*keys, "event_on"]].assign(outcome=outcome, score=score, risk_score=-score)


def _card(
    side: str, rows: pd.DataFrame, limit: float, settings: Settings, bootstrap: accuracy.Bootstrap
) -> dict[str, Any]:
    """One side's line of the report card."""
    known = rows[rows["outcome"].notna()].reset_index(drop=True) if len(rows) else rows
    if not len(known):
        return {"side": side, "churned": 0}
    flags = accuracy.flagged(rows, ["score"], limit)
    line = accuracy.accuracy(known, ["score"], settings.report_card_min_churned, bootstrap).iloc[0]
    leads = accuracy.lead_times(rows, flags).set_index("lead_days")
    alarms = accuracy.false_alarms(rows, flags, None).iloc[0]
    return {
        "side": side,
        **{name: line[name] for name in ("churned", "auc", "auc_lower", "auc_upper")},
        "warned": leads["share"].get(WARNED_DAYS, np.nan),
        "alarms": alarms["alarms"],
        "precision": alarms["precision"],
    }


def _gain(
    judged: list[pd.DataFrame], bootstrap: accuracy.Bootstrap
) -> tuple[float, float, float] | None:
    """The AUC of b less that of a, on the rows that both sides have."""
    keys = ["client_id", "date", "outcome"]
    both = judged[0].merge(judged[1], on=keys, suffixes=("_a", "_b"))
    both = both[both["outcome"].notna()].reset_index(drop=True)
    if not accuracy.churned_customers(both):
        return None
    return accuracy.gain(both, "score_b", "score_a", bootstrap)


# -- what if -----------------------------------------------------------------------------


@dataclass(frozen=True)
class WhatIf:
    """A customer's score and probability of churn as they are, and as they would be with other values.

    ``parts`` has the columns of ``ScoreChange.frame()``; the probabilities (of churn within ``horizon_days``) are None with
    a ``reason`` where no churn model is in force.
    """

    client_id: str
    name: str
    as_of: dt.date
    changes: Mapping[str, float | None]
    score: int | None
    score_if: int | None
    horizon_days: int
    probability: float | None
    probability_if: float | None
    reason: str | None
    parts: pd.DataFrame

    def verdict(self) -> str:
        """The two scores, and the two probabilities, in a line."""
        values = ", ".join(
            f"{entry.label if (entry := catalog.entry(name)) else name} {value:g}"
            if value is not None
            else f"{name} unknown"
            for name, value in self.changes.items()
        )
        text = f"{self.name}: {_word(self.score)} would be {_word(self.score_if)} with {values}"
        if self.probability is None or self.probability_if is None:
            return f"{text}; no probability: {self.reason}"
        return (
            f"{text}; churn within {self.horizon_days} days {100 * self.probability:.0f}% would be "
            f"{100 * self.probability_if:.0f}%"
        )

    def __str__(self) -> str:
        return self.verdict()


def _word(score: int | None) -> str:
    return "no score" if score is None else str(score)


def what_if(
    portfolio: Portfolio | str,
    client_id: str | int,
    changes: Mapping[str, float | None],
    as_of: dt.date | str | None = None,
) -> WhatIf:
    """If usage recovers to X: what would the score and the probability of churn be?

    ``changes`` are values of metrics of the panel in their units (``{"monthly_active_users": 40}``), None for unknown; metrics
    derived from them follow. It is what the scorecard and the model say of such a customer, and no promise of an effect. Returns a ``WhatIf``; ``print``
    shows its verdict. Raises ClientNotFound, and InvalidParameters for a metric that is not in the panel, or a customer that is not live.

    >>> from healthseg.testing import tiny_portfolio
    >>> events = [("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)]
    >>> outcome = what_if(tiny_portfolio(events), "a", {"stickiness_30d": 0.1})
    >>> outcome.score is None or outcome.score_if < outcome.score
    True
    """
    opened = Portfolio.of(portfolio)
    date, customer = opened.as_of(as_of), opened.client(client_id)
    client = customer["client_id"]
    rows = panels.panel(opened, [date], [client])
    if not len(rows) or not bool(rows["live"].iloc[0]):
        raise InvalidParameters(
            f"{client} is not a live customer on {date}",
            parameter="client_id",
            value_provided=client,
            validation_rule="a live customer",
        )
    other = _changed(rows, changes)
    change = explain_change(rows.iloc[0], other.iloc[0], opened.settings, opened.settings)
    horizon = opened.settings.churn_horizon_days
    (probability, probability_if), reason = _probabilities(opened, date, (rows, other), horizon)
    return WhatIf(
        client,
        str(customer.get("name") or client),
        date,
        dict(changes),
        change.shown_then,
        change.shown_now,
        horizon,
        probability,
        probability_if,
        reason,
        change.frame(),
    )


def _changed(rows: pd.DataFrame, changes: Mapping[str, float | None]) -> pd.DataFrame:
    """The rows with other values, and what is derived from these."""
    other = rows.copy()
    for name, value in changes.items():
        if name not in rows or not pd.api.types.is_numeric_dtype(rows[name]):
            raise InvalidParameters(
                f"{name!r} is not a number of the panel{hint(name, rows)}",
                parameter="changes",
                value_provided=name,
                validation_rule="a metric of docs/metrics.md",
            )
        other[name] = np.nan if value is None else float(value)
    for name, metric in catalog.entries().items():
        if metric.derive is None or name in changes or name not in rows:
            continue
        before, after = (float(metric.derive(frame).iloc[0]) for frame in (rows, other))
        if before != after and not (np.isnan(before) and np.isnan(after)):
            other[name] = after
    return other


def _probabilities(
    portfolio: Portfolio,
    date: dt.date,
    frames: tuple[pd.DataFrame, pd.DataFrame],
    horizon_days: int,
) -> tuple[tuple[float | None, float | None], str | None]:
    if not panels.at_risk(frames[0]).any():
        return (None, None), "notice was given"
    try:
        model = training.churn_model(portfolio, date)
        full = training.with_families(portfolio, frames[0], model)
        extra = [name for name in full if name not in frames[0]]
        rows = [full, pd.concat([frames[1], full[extra]], axis=1)]
        now, then = (
            float(model.predict(row, [horizon_days])["probability"].iloc[0]) for row in rows
        )
    except CalculationError as problem:
        return (None, None), problem.message
    return (now, then), None
