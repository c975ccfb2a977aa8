"""What is hardly adopted and why, what to do about it, and what that has brought before, if anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.statistics.peers import order_statistic, peers_of
from healthseg.tools.adoption.effects import TOLD_HORIZON_DAYS, Effects
from healthseg.tools.adoption.features import Lives
from healthseg.tools.adoption.figures import Figures
from healthseg.tools.adoption.parts import is_found, staying
from healthseg.tools.adoption.result import Barrier, Impact, LowFeature, Recommendation
from healthseg.tools.adoption.subject import Subject
from healthseg.tools.adoption.words import TOOL
from healthseg.tools.rounding import number, rounded

LEAST_TICKETS, UNHAPPY, MOST_BARRIERS = 3, 2, 5
LEAST_CUSTOMERS, RELEASED_DAYS = 8, 90
MOST_RECOMMENDED = 5
TELLING = ("announce", "show_it")  # the rules whose action is to tell customers of a feature


# -- barriers ----------------------------------------------------------------------------


def barriers(
    figures: Figures, feature: str, clients: list[str] | None = None
) -> list[Barrier] | None:
    """Topics with at least 3 tickets on the feature in a year, and unhappy answers; None without tickets and answers."""
    if figures.tickets is None and figures.csat is None:
        return None
    rows, answers = (_of(frame, feature, clients) for frame in (figures.tickets, figures.csat))
    found = []
    if rows is not None and len(rows):
        total, topics = (
            int(rows["tickets"].sum()),
            rows.groupby("topic", sort=True)["tickets"].sum(),
        )
        found = [
            Barrier(barrier=str(topic), tickets=int(count), of=total, share=round(count / total, 4))
            for topic, count in topics.items()
            if count >= LEAST_TICKETS
        ]
        found = sorted(found, key=lambda one: (-one.tickets, one.barrier))[:MOST_BARRIERS]
    if answers is not None and (answers["score"].astype(float) <= UNHAPPY).sum() >= LEAST_TICKETS:
        low = int((answers["score"].astype(float) <= UNHAPPY).sum())
        found.append(
            Barrier(
                barrier=f"answers of {UNHAPPY} or less",
                tickets=low,
                of=len(answers),
                share=round(low / len(answers), 4),
            )
        )
    return found


def _of(frame: pd.DataFrame | None, feature: str, clients: list[str] | None) -> pd.DataFrame | None:
    if frame is None:
        return None
    rows = frame[frame["feature"] == feature]
    return rows if clients is None else rows[rows["client_id"].isin(clients)]


def _said(one: Barrier) -> str:
    kind = "answers" if one.barrier.startswith("answers") else "tickets"
    return f"{one.barrier}: {one.tickets} of {one.of} {kind} ({100 * one.share:.0f} %)"


# -- figures for the rules -----------------------------------------------------------------


def portfolio_figures(
    figures: Figures, row: Mapping[str, Any], lives: Lives, blocked: list[Barrier] | None
) -> dict[str, Any]:
    """The named figures of a feature over all customers."""
    pairs = figures.pairs[figures.pairs["feature"] == row["feature"]]
    without = pairs[pairs["adopted"] == 0]
    unaware = ~without["told"].astype(bool) & (without["days_ever"] == 0)
    untold = int(unaware.sum()) if figures.messages_known else None
    once, became = int((pairs["days_ever"] == 1).sum()), lives.became(row["feature"])
    return {
        "rate_percent": _percent(row["rate"]),
        "customers": len(pairs),
        "not_adopted": len(without),
        "untold": untold,
        "untold_percent": None if untold is None else _ratio(untold, len(without)),
        "once": once,
        "once_percent": _ratio(once, int((pairs["days_ever"] >= 1).sum())),
        "abandoned": became["abandoned"],
        "abandoned_percent": _ratio(became["abandoned"], became["adopters"]),
        **_voice(row, blocked),
    }


def _voice(row: Mapping[str, Any], blocked: list[Barrier] | None) -> dict[str, Any]:
    topic = next((one for one in blocked or [] if not one.barrier.startswith("answers")), None)
    return {
        "tickets": topic and topic.of,
        "topic": topic and topic.barrier,
        "topic_tickets": topic and topic.tickets,
        "topic_percent": topic and 100 * topic.share,
        "satisfaction": number(row["satisfaction"]),
        "satisfaction_n": number(row["satisfaction_n"]),
    }


def _ratio(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _percent(share: Any) -> float | None:
    share = number(share)
    return None if share is None else 100 * share


# -- all customers -------------------------------------------------------------------------


def low_features(figures: Figures, frame: pd.DataFrame, lives: Lives) -> list[LowFeature]:
    """Features under the setting's share, released for 90 days, that at least 8 customers could use."""
    aged = frame["released_on"].isna() | (
        frame["released_on"] <= pd.Timestamp(figures.as_of) - pd.Timedelta(days=RELEASED_DAYS)
    )
    rows = frame[
        (frame["rate"] < figures.settings.low_adoption_share)
        & aged
        & (frame["customers"] >= LEAST_CUSTOMERS)
    ]
    found = []
    for row in rows.sort_values(["rate", "feature"], kind="stable").to_dict("records"):
        blocked = barriers(figures, row["feature"])
        fired = rules.fired(TOOL, "action", portfolio_figures(figures, row, lives, blocked))
        found.append(_low(row, blocked, fired))
    return found


def _low(
    row: Mapping[str, Any], blocked: list[Barrier] | None, fired: list[dict[str, Any]]
) -> LowFeature:
    return LowFeature(
        feature=row["feature"],
        feature_category=row["category"],
        adoption_rate=rounded(row["rate"]),
        barriers=None if blocked is None else [_said(one) for one in blocked],
        improvement_strategies=[rule["text"] for rule in fired],
        barriers_detail=blocked,
        total_customers=int(row["customers"]),
    )


def portfolio_recommendations(
    figures: Figures, frame: pd.DataFrame, lives: Lives, effects: Effects | None
) -> list[Recommendation]:
    """Features furthest below the upper quarter of the tiers, for which a rule says what to do."""
    tiers = figures.pairs.assign(
        tier=figures.pairs["client_id"].map(figures.live["tier"].astype(object))
    )
    found = []
    for row in frame.to_dict("records"):
        target, among = _upper_quarter(tiers[tiers["feature"] == row["feature"]])
        gap = None if target is None or number(row["rate"]) is None else target - row["rate"]
        if gap is None or gap <= 0 or row["customers"] < LEAST_CUSTOMERS:
            continue
        fired = rules.fired(
            TOOL,
            "action",
            portfolio_figures(figures, row, lives, barriers(figures, row["feature"])),
        )
        if fired:
            reason = (
                f"{100 * row['rate']:.0f} % have adopted it, {100 * target:.0f} % in the upper quarter of "
                f"{among} tiers"
            )
            found.append(
                (gap * row["customers"], _recommended(figures, row, target, fired, effects, reason))
            )
    found.sort(key=lambda one: (-one[0], one[1].feature))
    return [one for _, one in found[:MOST_RECOMMENDED]]


def _upper_quarter(pairs: pd.DataFrame) -> tuple[float | None, int]:
    """The 75th percentile of the rates of tiers with at least 8 customers that could use the feature."""
    by = pairs.dropna(subset=["tier", "adopted"]).groupby("tier")["adopted"].agg(["mean", "size"])
    rates = np.sort(by.loc[by["size"] >= LEAST_CUSTOMERS, "mean"].to_numpy())
    return (
        (float(rates[order_statistic(len(rates), 0.75)]), len(rates))
        if len(rates) >= 2
        else (None, len(rates))
    )


def _recommended(
    figures: Figures,
    row: Mapping[str, Any],
    target: float | None,
    fired: list[dict[str, Any]],
    effects: Effects | None,
    reason: str,
) -> Recommendation:
    impact = (
        told_impact(figures, effects) if any(rule["rule"] in TELLING for rule in fired) else None
    )
    stays = None if effects is None else staying(figures, effects, row["feature"])
    if stays is not None and stays.found:
        reason += f". {stays.text}"
    return Recommendation(
        feature=row["feature"],
        current_adoption=rounded(row["rate"]),
        target_adoption=rounded(target),
        recommended_actions=[rule["text"] for rule in fired],
        expected_impact=impact and _impact_text(impact),
        expected_impact_detail=impact,
        rules=fired,
        reason=reason,
    )


def told_impact(figures: Figures, effects: Effects | None) -> Impact | None:
    """What telling customers of a feature has brought in this portfolio, where that is more than chance."""
    row = None if effects is None else effects.of("messages")
    if not is_found(figures, row) or not row["adjusted"] > 0:
        return None
    return Impact(
        lower_percentage_points=round(100 * row["adjusted_lower"], 1),
        upper_percentage_points=round(100 * row["adjusted_upper"], 1),
        interval_level=figures.settings.effects_interval_level,
        n=int(row["n"]),
        basis="customers told of a feature they had not adopted against those not told, at equal "
        + ", ".join(effects.adjusted_for),
    )


def _impact_text(impact: Impact) -> str:
    return (
        f"{impact.lower_percentage_points:+.1f} to {impact.upper_percentage_points:+.1f} percentage points of "
        f"adoption within {TOLD_HORIZON_DAYS} days among those told ({100 * impact.interval_level:.0f} %, "
        f"n = {impact.n:,})"
    )


# -- one customer --------------------------------------------------------------------------


class Advice:
    """What one customer has not adopted, held against its peers."""

    def __init__(
        self, subject: Subject, words: Mapping[str, str | None], effects: Effects | None
    ) -> None:
        self.subject, self.figures, self.effects = subject, subject.figures, effects
        everyone = self.figures.live.reset_index(drop=True)[["client_id", "tier", "industry"]]
        own = pd.DataFrame(
            {"client_id": [subject.client_id], **{name: [word] for name, word in words.items()}}
        )
        others = everyone[everyone["client_id"] != subject.client_id].astype(object)
        self.group, peers = peers_of(
            pd.concat([own.astype(object), others], ignore_index=True),
            subject.client_id,
            self.figures.settings.peers_min,
        )
        self.theirs = self.figures.pairs[self.figures.pairs["client_id"].isin(peers["client_id"])]

    @cached_property
    def open(self) -> pd.DataFrame:
        """Features that it could use and has not adopted, with the peers' adopted share and how many kept them."""
        rows = self.subject.frame[self.subject.frame["adopted"] == 0].set_index(
            "feature", drop=False
        )
        by = (
            self.theirs[self.theirs["adopted"].notna()]
            .groupby("feature")["adopted"]
            .agg(["mean", "size"])
        )
        known = by[by["size"] >= self.figures.settings.peers_min].reindex(rows.index)
        portfolio = Lives.of_portfolio(self.figures)
        kept = [portfolio.became(name)["share"] for name in rows.index]
        rows = rows.assign(peer_share=known["mean"], peers=known["size"], kept_share=kept)
        worth = rows["peer_share"] * rows["kept_share"].fillna(1.0)
        order = np.lexsort((rows["feature"], -worth.fillna(-1.0)))
        return rows.iloc[order].reset_index(drop=True)

    def figures_of(self, row: Mapping[str, Any], blocked: list[Barrier] | None) -> dict[str, Any]:
        ever = int(self.users_ever.get(row["feature"], 0))
        return {
            "users_ever": ever,
            "other_users": max(len(self.subject.users) - ever, 0),
            "peers": number(row["peers"]),
            "peer_percent": _percent(row["peer_share"]),
            "kept_percent": _percent(row["kept_share"]),
            "abandoned_here": self.subject.lives.became(row["feature"])["abandoned"],
            **_voice(row, blocked),
        }

    @cached_property
    def users_ever(self) -> pd.Series:
        return self.subject.ever.groupby("feature")["user_id"].nunique()

    def low(self) -> list[LowFeature]:
        """All that it could use and has not adopted."""
        found = []
        for row in self.open.to_dict("records"):
            blocked = barriers(self.figures, row["feature"], [self.subject.client_id])
            found.append(
                _low(row, blocked, rules.fired(TOOL, "action", self.figures_of(row, blocked)))
            )
        return found

    def recommendations(self) -> list[Recommendation]:
        """What similar customers adopted and kept, most of them first."""
        found = []
        rows = self.open[self.open["peer_share"] > 0].head(MOST_RECOMMENDED)
        for row in rows.to_dict("records"):
            blocked = barriers(self.figures, row["feature"], [self.subject.client_id])
            fired = rules.fired(TOOL, "action", self.figures_of(row, blocked))
            kept = (
                ""
                if np.isnan(row["kept_share"])
                else (
                    f"; {100 * row['kept_share']:.0f} % of adoptions in the portfolio last 180 days"
                )
            )
            reason = f"{100 * row['peer_share']:.0f} % of {row['peers']:.0f} peers ({self.group}) have adopted it{kept}"
            if fired:
                found.append(
                    _recommended(
                        self.figures, row, self._target(row["feature"]), fired, self.effects, reason
                    )
                )
        return found

    def _target(self, feature: str) -> float | None:
        """The peers' 75th percentile of the share of active users that use the feature."""
        rows = self.theirs[self.theirs["feature"] == feature]
        active = rows["client_id"].map(self.figures.users)
        shares = np.sort((rows["users"] / active.where(active > 0)).dropna().to_numpy())
        least = self.figures.settings.peers_min
        return float(shares[order_statistic(len(shares), 0.75)]) if len(shares) >= least else None
