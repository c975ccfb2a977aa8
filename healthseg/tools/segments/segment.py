"""One segment: its figures with intervals, the strategy that rules derive from them, what sets it apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.charts.formats import number, percent
from healthseg.clustering.groups import spread
from healthseg.metrics import communication as messages
from healthseg.tools.base import Figure, TriggeredRule
from healthseg.tools.context import mean_interval
from healthseg.tools.segmenters import described_metrics, label, written
from healthseg.tools.segments.result import Characteristic, MessageAnswers, Strategy
from healthseg.tools.values import rounded

if TYPE_CHECKING:
    from healthseg.tools.context import PortfolioContext

TOOL = "segment_customers"
# the response's key: the metric and its decimals
AVERAGES = {
    "avg_health_score": ("score", 1),
    "avg_arr": ("arr", 0),
    "avg_tenure_months": ("tenure_months", 1),
    "feature_adoption_rate": ("feature_adoption_rate_30d", 4),
    "seat_utilisation": ("seat_utilisation", 4),
    "avg_weekly_active_users": ("weekly_active_users", 1),
    "stickiness": ("stickiness_30d", 4),
    "avg_open_high_tickets": ("open_high_tickets", 2),
    "avg_nps": ("nps_365d", 1),
    "avg_csat": ("csat_180d", 2),
    "paid_on_time_share": ("paid_on_time_share_365d", 4),
}
PROFILE = (
    "seat_utilisation",
    "stickiness_30d",
    "sessions_per_user_per_week_28d",
    "feature_adoption_rate_30d",
    "score",
    "open_high_tickets",
    "nps_365d",
    "csat_180d",
    "paid_on_time_share_365d",
    "tenure_months",
    "arr",
)
IN_DAYS = {"tenure_months": "tenure_days"}
CHANNEL_WORDS = {"in_app": "in-app"}
BEST, DISTINGUISHING, NAMED = 3, 4, 3


def characteristics(rows: pd.DataFrame, level: float) -> dict[str, Characteristic]:
    """By key: the unweighted mean over the customers whose figure is known, n, Student's interval."""
    described, means = described_metrics(), {}
    for key, (column, decimals) in AVERAGES.items():
        known = rows[column].dropna().to_numpy(dtype=float)
        mean, lower, upper = (rounded(end, decimals) for end in mean_interval(known, level))
        means[key] = Characteristic(
            label=described[column].label,
            unit=described[column].unit,
            mean=mean,
            n=len(known),
            lower=lower,
            upper=upper,
            level=level,
        )
    return means


def rule_figures(
    context: PortfolioContext, rows: pd.DataFrame, total_arr: float | None, losses: pd.Series
) -> dict[str, Any]:
    """The figures of a segment that the rules read, and the settings that they compare with."""
    settings = context.settings
    score, arr, loss = rows["shown"].astype(float), rows["arr"].astype(float), losses[rows.index]
    silent, overdue = (
        rows[name].astype(float) for name in ("days_since_last_person_event", "worst_days_overdue")
    )
    trend = context.trends["trend"].reindex(rows.index).dropna()
    new = rows["tenure_days"].astype(float) < settings.new_customer_days
    hours = rows["tier"].astype(object).map(settings.tier_hours_per_month).astype(float)
    covered = arr[loss.notna()].sum()
    mails = answers(context, rows.index, "channel") or []
    mail = next((channel for channel in mails if channel.name == "email"), None)
    figures = {
        "arr": _sum(arr),
        "mean_arr": _mean(arr),
        "health": rounded(_mean(score), AVERAGES["avg_health_score"][1]),
        "arr_percent": 100 * arr.sum() / total_arr if total_arr and arr.notna().any() else None,
        "below_percent": _percent(score.dropna() < settings.band_edges[1]),
        "champions_percent": _percent(score.dropna() >= settings.band_edges[2]),
        "unknown_percent": _percent(score.isna()),
        "drop_to": _lowest_tenth(score),
        "adoption_percent": _percent(rows["feature_adoption_rate_30d"]),
        "utilisation_percent": _percent(rows["seat_utilisation"]),
        "tickets": _sum(rows["open_high_tickets"].astype(float)),
        "overdue": _sum((overdue.dropna() >= settings.segment_overdue_days).astype(int)),
        "inactive": _sum((silent.dropna() >= settings.silent_days).astype(int)),
        "new_percent": _percent(new),
        "hours": _mean(hours),
        "loss": _sum(loss),
        "loss_percent": 100 * loss.sum() / covered if covered > 0 else None,
        "declining": int((trend == "declining").sum()),
        "declining_percent": _percent(trend == "declining"),
        "opened_percent": None if mail is None else 100 * mail.opened / mail.sent,
    }
    names = {
        "below_names": score < settings.band_edges[1],
        "champion_names": score >= settings.band_edges[2],
        "inactive_names": silent >= settings.silent_days,
        "overdue_names": overdue >= settings.segment_overdue_days,
        "declining_names": context.trends["trend"].reindex(rows.index) == "declining",
        "names": score.index == score.index,
    }
    return figures | {
        **{name: _named(context, rows.index[chosen], loss, arr) for name, chosen in names.items()},
        "ticket_names": _most_tickets(context, rows["open_high_tickets"].astype(float)),
        "customers": len(rows),
        "healthy_score": settings.band_edges[1],
        "champion_score": settings.band_edges[2],
        "new_days": settings.new_customer_days,
        "silent_days": settings.silent_days,
        "overdue_days": settings.segment_overdue_days,
    }


def _named(context: PortfolioContext, clients: pd.Index, loss: pd.Series, arr: pd.Series) -> str:
    """The names of the first customers: the most expected churned ARR first, then the most ARR."""
    order = pd.DataFrame({"loss": loss.reindex(clients), "arr": arr.reindex(clients)}).astype(float)
    ranked = order.sort_values(["loss", "arr"], ascending=False, kind="stable").index
    return rules.listed(context.names.reindex(ranked[:NAMED]).astype(str))


def _most_tickets(context: PortfolioContext, tickets: pd.Series) -> str:
    """The names of the customers with the most open tickets, each with its count."""
    first = tickets[tickets > 0].sort_values(ascending=False, kind="stable")[:NAMED]
    return rules.listed([f"{context.names[client]} ({n:.0f})" for client, n in first.items()])


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if values.notna().any() else None


def _sum(values: pd.Series) -> float | None:
    return values.sum().item() if values.notna().any() else None


def _percent(values: pd.Series) -> float | None:
    mean = _mean(values.astype(float))
    return None if mean is None else 100 * mean


def _lowest_tenth(score: pd.Series) -> float | None:
    """The score that nine of ten exceed or reach: an order statistic, of ten customers or more."""
    known = np.sort(score.dropna().to_numpy())
    return float(known[int(np.ceil(len(known) / 10)) - 1]) if len(known) >= 10 else None


# -- strategy --------------------------------------------------------------------------------


def answers(context: PortfolioContext, clients: pd.Index, by: str) -> list[MessageAnswers] | None:
    """How the customers answer messages by channel or content, the best first; None where unknown."""
    rows, settings = messages.answers(context.portfolio, context.as_of), context.settings
    if rows is None or (by == "content" and not messages.are_categories(rows, settings)):
        return None
    own = rows[rows["client_id"].isin(clients)]
    table = messages.rates(own, by, settings.messages_min_sent, settings.interval_level)
    return [
        MessageAnswers(
            name=row[by],
            **{name: int(row[name]) for name in ("sent", "opened", "engaged")},
            **{name: round(row[name], 4) for name in ("rate", "lower", "upper")},
        )
        for row in table.to_dict("records")
    ]


def strategy(
    context: PortfolioContext, clients: pd.Index, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """How to work with a segment: by rules over its figures, and by how it answers messages."""
    # each of these kinds ends with a rule that always holds
    kinds = ("focus", "contact", "touch", "automation")
    chosen = {kind: _first(kind, figures) for kind in kinds}
    themes, actions, escalations = (
        rules.triggered(TOOL, kind, figures, context.settings.rules)
        for kind in ("theme", "action", "escalation")
    )
    channels, content = (answers(context, clients, by) for by in ("channel", "content"))
    few = "no messages table, or too few messages were sent to it"
    no_content = f"{few}, or contents are not categories"
    best = {
        row.name: f"{percent(row.rate)} of {number(row.sent)} answered "
        f"({percent(row.lower)} to {percent(row.upper)})"
        for row in (content or [])[:BEST]
    }
    names = [CHANNEL_WORDS.get(row.name, row.name) for row in channels or []]
    return {
        "recommended_engagement_strategy": Strategy(
            primary_focus=chosen["focus"].text,
            communication_frequency=chosen["contact"].text,
            content_themes=[theme.text for theme in themes],
            csm_touch_frequency=chosen["touch"].text,
            automation_level=chosen["automation"].text,
        ),
        "recommended_channels": Figure(names[:BEST] or None, few),
        "channels_detail": Figure(channels, few),
        "recommended_content": Figure(best or None, no_content),
        "content_detail": Figure(content, no_content),
        "escalation_criteria": [rule.text for rule in escalations],
        "recommended_actions": [rule.text for rule in actions],
        "strategy_rules": [*chosen.values(), *themes, *actions],
    }


def _first(kind: str, figures: Mapping[str, Any]) -> TriggeredRule:
    """The first rule of a kind that holds."""
    outcomes = (rule.evaluate(figures) for rule in rules.rules(TOOL, kind, {}))
    return next(outcome for outcome in outcomes if outcome is not None)


# -- what sets it apart ----------------------------------------------------------------------


def set_apart_by(
    inside: pd.DataFrame, outside: pd.DataFrame, min_distance: float, ingredients: frozenset[str]
) -> list[str]:
    """The metrics in which a segment's median is farthest from the other customers', in words.

    Those that the segments follow from (``ingredients``) are left out: by them segments differ by definition.
    """
    described = [name for name in PROFILE if not {name, IN_DAYS.get(name)} & ingredients]
    distances = []
    for metric in (name for name in described if name in inside and len(outside)):
        own, others = (rows[metric].astype(float).dropna() for rows in (inside, outside))
        scale = spread(pd.concat([own, others])) if len(own) and len(others) else 0.0
        if scale > 0:
            medians = float(own.median()), float(others.median())
            text = "{}: median {}, others {}".format(
                label(metric), *(written(metric, median) for median in medians)
            )
            distances.append((abs(medians[0] - medians[1]) / scale, text))
    distances.sort(key=lambda pair: -pair[0])
    return [text for away, text in distances[:DISTINGUISHING] if away >= min_distance]


def profile_frame(
    rows: pd.DataFrame, segments: pd.Series, names: list[str], ingredients: frozenset[str]
) -> pd.DataFrame:
    """Segment × metric: both medians, their distance in robust standard deviations, and whether it is ``favourable``: 1, −1, or
    0 where neither more nor less is better."""
    described, table = described_metrics(), []
    for metric in dict.fromkeys([*sorted(ingredients & set(rows.columns)), *PROFILE]):
        if metric not in described or rows[metric].notna().sum() <= 2:
            continue
        values = rows[metric].astype(float)
        scale, everyone = spread(values.dropna()), float(values.median())
        better = {"higher": 1.0, "lower": -1.0}.get(described[metric].better or "", 0.0)
        for name in names:
            own = values[segments == name].dropna()
            if len(own) and scale > 0:
                median = float(own.median())
                table.append(
                    {
                        "segment": name,
                        "metric": metric,
                        "label": label(metric),
                        "n": len(own),
                        "median": median,
                        "portfolio_median": everyone,
                        "distance": (median - everyone) / scale,
                        "favourable": better * float(np.sign(median - everyone)),
                        "text": written(metric, median),
                        "ingredient": metric in ingredients,
                    }
                )
    columns = [
        "segment",
        "metric",
        "label",
        "n",
        "median",
        "portfolio_median",
        "distance",
        "favourable",
        "text",
        "ingredient",
    ]
    return pd.DataFrame(table, columns=columns)
