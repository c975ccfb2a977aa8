"""The response of segment_customers, put together from what was placed, counted and judged."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.rules import UNPLACED
from healthseg.data.memory import remember
from healthseg.settings import BANDS, tier_names
from healthseg.statistics.rates import gini, percentages, top_fifth
from healthseg.tools.context import PortfolioContext
from healthseg.tools.segments import characteristics as counted
from healthseg.tools.segments import frames, insights, keeping, migration, missing, strategy
from healthseg.tools.segments.criteria import checked
from healthseg.tools.segments.figures import Figures
from healthseg.tools.segments.grouping import by_groups, evidence_of
from healthseg.tools.segments.making import Made, make
from healthseg.tools.segments.metrics import TOOL
from healthseg.tools.segments.placing import (
    Placer,
    by_health,
    by_rules,
    by_usage,
    by_value,
    by_word,
)
from healthseg.tools.segments.result import (
    Cell,
    Evidence,
    Fired,
    Migration,
    Pareto,
    Segment,
    Segmentation,
)
from healthseg.tools.segments.standing import place
from healthseg.tools.segments.words import brief

COVERED = 0.8  # of the top fifth: the segments that hold so many of them are named


def answer(portfolio: Any, as_of: dt.date, asked: Any) -> Segmentation:
    """The response for the live customers of ``as_of``; ``asked`` are the validated parameters."""
    criteria = checked(
        asked.segment_type, asked.segmentation_criteria, portfolio.settings, asked.max_segments
    )
    key = (
        "segmentation",
        as_of,
        str(criteria),
        str(asked.model_dump(exclude={"client_id", "segmentation_criteria"})),
    )
    response: Segmentation = remember(
        portfolio, key, lambda: _Run(portfolio, as_of, asked, criteria).response()
    )
    if asked.client_id is None:
        return response
    own = response.model_copy(update={"customer_standing": response.customer(asked.client_id)})
    return own


def placer_of(
    figures: Figures, kind: str, criteria: dict[str, Any], least: int, most: int
) -> Placer:
    """How a segment type places customers."""
    if kind == "industry":
        return by_word(figures, kind, "industry", "no industry is known")
    if kind == "lifecycle":
        return by_word(figures, kind, "stage", "no lifecycle stage is recorded")
    if kind == "custom":
        return (
            by_rules(figures, criteria)
            if "rules" in criteria
            else by_groups(figures, criteria, least, most)
        )
    return {"value": by_value, "health": by_health, "usage": by_usage}[kind](figures, criteria)


class _Run:
    """What the sections of one response share."""

    def __init__(
        self, portfolio: Any, as_of: dt.date, asked: Any, criteria: dict[str, Any]
    ) -> None:
        self.portfolio, self.as_of, self.asked, self.criteria = portfolio, as_of, asked, criteria
        self.settings, self.level = portfolio.settings, portfolio.settings.interval_level
        self.figures = Figures.of(portfolio, as_of)
        least, most = asked.min_segment_size, asked.max_segments
        self.placer = placer_of(self.figures, asked.segment_type, criteria, least, most)
        self.placed = self.placer.today(self.figures, criteria.get("hysteresis", 0.0))
        self.inputs = {
            "segment_type": asked.segment_type,
            "criteria": criteria,
            "min_segment_size": least,
            "max_segments": most,
        }
        self.made: Made = make(
            self.placer, self.placed, least, most, keeping.run_key(portfolio, self.inputs, as_of)
        )
        self.money = self.figures.money
        self.losses = PortfolioContext.of(portfolio, as_of).expected_churned_arr
        self.rows = self.figures.live.assign(
            score=self.figures.live["shown"],
            arr=self.money.amounts if self.money.addable else np.nan,
        )
        self.names = self.made.at.map({at: part.name for at, part in enumerate(self.made.segments)})

    def response(self) -> Segmentation:
        moved, flows, since, then = self._migration()
        named = [self._named(part.members) for part in self.made.segments]
        segments = self._listed(self._segments(named))
        tried = insights.differences(
            self.rows,
            self.names,
            [part.name for part in self.made.segments if part.placed],
            self.placer.ingredients,
            self.settings.effects_interval_level,
            self.settings.effects_max_q,
            self.settings.segment_min_effect,
        )
        told = insights.insights(tried, self.settings.effects_interval_level)
        actions = self._actions(named, moved) if self.asked.include_recommendations else []
        run = keeping.keep(
            self.portfolio,
            self.inputs,
            self.as_of,
            {part.id: list(part.members) for part in self.made.segments},
        )
        response = Segmentation(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            coverage=self._coverage(),
            warnings=self._warnings(run),
            total_customers=len(self.rows),
            excluded=self.figures.excluded(),
            segments_created=self.made.placed,
            segmentation_type=self.asked.segment_type,
            segmentation_criteria=self.criteria,
            min_segment_size=self.asked.min_segment_size,
            max_segments=self.asked.max_segments,
            output_format=self.asked.output_format,
            currency=self.money.currency,
            total_arr=self._total(),
            total_arr_by_currency=self.money.totals(self.figures.live["arr"].astype(float)),
            interval_level=self.level,
            segments=segments,
            segment_summary=self._summary(),
            merged=list(self.made.merged),
            unplaced=self._unplaced(),
            pareto_analysis=self._pareto(),
            cross_segment_insights=[one.text for one in told],
            cross_segment_insights_detail=told,
            insights_tried=len(tried),
            recommended_actions=[rule["text"] for rule in actions],
            recommended_actions_detail=[Fired(**rule) for rule in actions],
            migration=moved,
            value_health_matrix=self._matrix(),
            run=run,
            customer_standing=None,
            evidence=None
            if self.placer.grouping is None
            else Evidence(
                **evidence_of(self.placer.grouping, self.portfolio.settings.groups_min_customers)
            ),
        )
        response = response.model_copy(
            update={"not_measured": missing.reasons(response, self.figures, self.asked)}
        )
        places = {
            client: place(self.figures, self.placer, self.placed, self.made, client, then, since)
            for client in self.rows.index
        }
        response.with_frames(
            segments=frames.segments(response),
            customers=frames.customers(self, places),
            profile=frames.profile(response, self),
            differences=tried,
            flows=flows,
            matrix=frames.matrix(response),
            lorenz=frames.lorenz(self),
            values=frames.values(self),
            evidence=frames.evidence(self.placer),
        )
        return response.with_places(
            places,
            lambda client: place(
                self.figures, self.placer, self.placed, self.made, client, then, since, full=True
            ),
        )

    # -- the segments --------------------------------------------------------------------

    def _named(self, members: tuple[str, ...]) -> dict[str, Any]:
        """The segment's figures for the rules."""
        rows = self.rows.loc[list(members)]
        found = counted.named(self.figures, rows, self._total(), self.losses)
        mails = counted.answered(self.figures, rows.index, "channel") or []
        mail = next((one for one in mails if one.name == "email"), None)
        return found | {"opened_percent": None if mail is None else 100 * mail.opened / mail.sent}

    def _segments(self, named: list[dict[str, Any]]) -> list[Segment]:
        parts = self.made.segments
        shares = percentages([len(part.members) for part in parts])
        sums = [self.rows.loc[list(part.members), "arr"].sum() for part in parts]
        arr_shares = (
            _money_shares(sums) if self.money.addable and sum(sums) > 0 else [None] * len(parts)
        )
        return [
            self._segment(part, figures, share, arr_share)
            for part, figures, share, arr_share in zip(
                parts, named, shares, arr_shares, strict=True
            )
        ]

    def _listed(self, parts: list[Any]) -> list[Any]:
        """The highest first where they have an order; the unplaced last."""
        placed = parts[: self.made.placed]
        return [*(reversed(placed) if self.placer.ordered else placed), *parts[self.made.placed :]]

    def _segment(
        self, part: Any, figures: dict[str, Any], share: float, arr_share: float | None
    ) -> Segment:
        rows = self.rows.loc[list(part.members)]
        told = counted.characteristics(rows, self.level)
        border = part.low if self.asked.segment_type == "health" and part.placed else None
        known = self.money.addable and rows["arr"].notna().any()
        loss = self.losses.reindex(rows.index)
        return Segment(
            segment_id=part.id,
            segment_name=part.name,
            segment_description=part.description,
            placed=part.placed,
            customer_count=len(rows),
            percentage_of_total=share,
            total_arr=round(float(rows["arr"].sum()), 2) if known else None,
            percentage_of_arr=arr_share,
            expected_arr_lost_90d=round(float(loss.sum()), 2)
            if known and loss.notna().any()
            else None,
            segment_criteria=part.criteria,
            merged_from=list(part.merged_from),
            segment_characteristics={name: one.mean for name, one in told.items()},
            characteristics_detail=told,
            set_apart_by=frames.set_apart(self, part),
            client_ids=list(part.members),
            **self._strategy(rows, {**figures, "border": border}),
        )

    def _strategy(self, rows: pd.DataFrame, figures: dict[str, Any]) -> dict[str, Any]:
        if not self.asked.include_recommendations:
            return dict.fromkeys(
                (
                    "recommended_engagement_strategy",
                    "recommended_channels",
                    "channels_detail",
                    "recommended_content",
                    "content_detail",
                    "escalation_criteria",
                    "recommended_actions",
                    "strategy_rules",
                )
            )
        found, rules_held = strategy.strategy(figures)
        channels = counted.answered(self.figures, rows.index, "channel")
        content = counted.answered(self.figures, rows.index, "content")
        actions = strategy.actions(figures)
        return {
            "recommended_engagement_strategy": found,
            "recommended_channels": strategy.channels(channels),
            "channels_detail": channels,
            "recommended_content": strategy.content(content),
            "content_detail": content,
            "escalation_criteria": strategy.escalation(figures),
            "recommended_actions": [rule["text"] for rule in actions],
            "strategy_rules": [*rules_held, *(Fired(**rule) for rule in actions)],
        }

    def _summary(self) -> dict[str, int]:
        parts = self._listed(list(self.made.segments))
        keys = keeping.slugs([part.name for part in parts])
        return {key: len(part.members) for key, part in zip(keys, parts, strict=True)}

    def _unplaced(self) -> dict[str, int]:
        reasons = self.placed.reason[self.placed.place == UNPLACED].value_counts()
        return {str(why): int(count) for why, count in sorted(reasons.items())}

    # -- the portfolio ------------------------------------------------------------------------

    def _total(self) -> float | None:
        known = self.money.addable and self.money.amounts.notna().any()
        return self.money.total() if known else None

    def _coverage(self) -> float | None:
        known = self.placed.place != UNPLACED
        return round(float(known.mean()), 4) if len(known) else None

    def _pareto(self) -> Pareto:
        arr = self.rows["arr"]
        n, without = int(arr.notna().sum()), int(arr.isna().sum())
        top = top_fifth(arr.to_numpy(dtype=float), arr.index.to_numpy())
        if top.share is None:
            return Pareto(
                **dict.fromkeys(
                    (
                        "top_20_percent_contribute",
                        "segment",
                        "top_customers",
                        "top_share",
                        "top_arr",
                        "gini",
                    )
                ),
                n=n,
                without_arr=without,
            )
        counts = self.names.iloc[top.positions].value_counts()
        counts = counts.loc[sorted(counts.index, key=lambda name: (-counts[name], name))]
        enough = int(np.argmax(counts.cumsum().to_numpy() >= COVERED * top.count)) + 1
        return Pareto(
            top_20_percent_contribute=f"{100 * top.share:.0f}% of total ARR",
            segment=" & ".join(counts.index[:enough]),
            top_customers=top.count,
            top_share=round(top.share, 4),
            top_arr=round(top.total, 2),
            gini=round(gini(arr.to_numpy(dtype=float)), 4),
            n=n,
            without_arr=without,
        )

    def _matrix(self) -> list[Cell] | None:
        rows = self.rows.assign(
            loss=self.losses,
            band=self.rows["band"].fillna("unknown"),
            tier=self.rows["tier"].astype(object).fillna("unknown"),
        )
        found = rows.groupby(["tier", "band"]).agg(
            customers=("shown", "size"),
            arr=("arr", lambda arr: arr.sum(min_count=1)),
            loss=("loss", lambda loss: loss.sum(min_count=1)),
        )
        tiers = [*reversed(tier_names(self.settings)), "unknown"]
        known = self.money.addable
        return [
            Cell(
                tier=tier,
                band=band,
                customers=int(found.loc[(tier, band), "customers"]),
                arr=_rounded(found.loc[(tier, band), "arr"]) if known else None,
                expected_loss=_rounded(found.loc[(tier, band), "loss"]) if known else None,
            )
            for tier in tiers
            for band in [*reversed(BANDS), "unknown"]
            if (tier, band) in found.index
        ]

    def _actions(
        self, named: list[dict[str, Any]], moved: Migration | None
    ) -> list[dict[str, Any]]:
        noise = (
            moved.noise.expected_moves / 2
            if moved is not None and moved.noise is not None
            else None
        )
        whole = {
            "moved_down": None if moved is None else moved.down,
            "noise_down": noise,
            "since": None if moved is None else moved.since.isoformat(),
            "customers": None,
        }
        found = rules.fired(TOOL, "portfolio_action", whole)
        for part, figures in zip(self.made.segments, named, strict=True):
            arr = figures["arr"] if self.money.addable else None
            own = {**figures, "segment": part.name, "money": brief(arr, self.money.currency)}
            found += rules.fired(TOOL, "portfolio_action", own)
        order = ("critical", "high", "medium", "low")
        return sorted(found, key=lambda rule: order.index(rule["severity"]))

    # -- time ----------------------------------------------------------------------------

    def _migration(self) -> tuple[Migration | None, pd.DataFrame, dt.date | None, pd.Series | None]:
        """The moves, their frame, since when, and the customers' segments then; nothing where the portfolio begins later."""
        since = self.asked.compare_with or self.as_of - dt.timedelta(
            days=self.settings.segment_compare_days
        )
        since = since if isinstance(since, dt.date) else dt.date.fromisoformat(since)
        if since < self.portfolio.first_event_day:
            return None, pd.DataFrame(columns=migration.FLOWS), None, None
        before = self.placer.at(since)
        then = self.made.names(self.placer, before)
        frame = migration.flows(self.figures, then, self.names, since)
        order = {part.name: at for at, part in enumerate(self.made.segments) if part.placed}
        group_of = np.array(
            [self.made.of_base.get(at, -2 - at) for at in range(len(self.placer.bases))]
        )
        noise = migration.noise(self.figures, self.placer, self.placed, group_of)
        moved = migration.migration(
            self.figures, frame, order if self.placer.ordered else None, since, noise
        )
        return moved, frame, since, then

    def _warnings(self, run: Any) -> list[str]:
        found = list(self.placer.notes)
        if not self.money.addable:
            found.append(
                "several currencies and no rates: amounts are compared with the thresholds in their own, and "
                "totals are given by currency and never added up"
            )
        if self.money.no_rate:
            found.append(
                f"{len(self.money.no_rate)} customers' currencies have no rate: their ARR counts nowhere"
            )
        if self.criteria.get("hysteresis"):
            found.append(
                f"a border is crossed only by {self.criteria['hysteresis']:g} or more, over twelve weeks"
            )
        return found + ([run.reason] if run.reason else [])


def _money_shares(sums: list[float]) -> list[float]:
    """Shares of the ARR in per cent that add up to 100."""
    return percentages([round(100 * float(value)) for value in sums])


def _rounded(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 2)
