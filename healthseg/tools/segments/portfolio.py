"""Segments of the portfolio: the sections of the result."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.charts.formats import brief_money
from healthseg.errors import CalculationError, DataRetrievalError
from healthseg.settings import BANDS, tier_names
from healthseg.statistics.rates import gini, lorenz, percentages, top_fifth
from healthseg.tools.base import Figure, TriggeredRule
from healthseg.tools.context import PortfolioContext, chosen_warnings
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.segmentation import MergedSegment, run_inputs, run_key, segmented
from healthseg.tools.segmenters import segmenter_of
from healthseg.tools.segments import segment as figures
from healthseg.tools.segments.comparison import (
    FLOWS,
    differences,
    migration,
    move_frame,
    significant_differences,
)
from healthseg.tools.segments.customer import customer_frame, customer_segment
from healthseg.tools.segments.result import (
    STRATEGY,
    GroupingEvidence,
    Segment,
    Segmentation,
    SegmentationRun,
    SegmentMigration,
    SegmentPareto,
    SegmentPlace,
    ValueHealthCell,
)
from healthseg.tools.values import rounded, slugs

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

NOT_REQUESTED = "not requested"
# how many customers of the segment that may lose most have a next action on the portfolio's page
OF_THE_WORST = 3


@dataclass(frozen=True)
class SegmentOptions:
    """How customers are segmented, and what the result holds of it."""

    segment_type: str
    criteria: dict[str, Any]
    min_segment_size: int
    max_segments: int
    recommendations: bool
    output_format: str
    compare_with: dt.date | None
    only: str | None = None

    @property
    def run(self) -> dict[str, Any]:
        """What the ledger records of a run."""
        names = ("segment_type", "criteria", "min_segment_size", "max_segments")
        chosen = {} if self.only is None else {"only": self.only}
        return {name: getattr(self, name) for name in names} | chosen


def segmentation(portfolio: Portfolio, as_of: dt.date, options: SegmentOptions) -> Segmentation:
    """The result for the live customers of ``as_of``, computed once per open portfolio."""

    def build() -> Segmentation:
        context = PortfolioContext.of(portfolio, as_of, options.only)
        return SegmentationBuilder(context, options).result()

    return portfolio.cache.get("segmentation", (as_of, str(options)), build, disk=False)


class SegmentationBuilder:
    """The segmented customers, and what the sections of the result share."""

    def __init__(self, context: PortfolioContext, options: SegmentOptions) -> None:
        self.context, self.options, self.settings = context, options, context.settings
        least, most = options.min_segment_size, options.max_segments
        self.segmenter = segmenter_of(context, options.segment_type, options.criteria, least, most)
        key = run_key(context.portfolio, options.run, context.as_of)
        self.segmented = segmented(self.segmenter, least, most, key)
        self.names = self.segmented.names
        self.money, self.losses = context.money, context.expected_churned_arr
        arr = self.money.amounts if self.money.addable else np.nan
        self.rows = context.live.assign(score=context.live["shown"], arr=arr)

    @cached_property
    def parts(self) -> list[MergedSegment]:
        """The segments as shown: the highest first where they have an order, unplaced customers last."""
        parts, placed = list(self.segmented.segments), self.segmented.placed
        ordered = parts[:placed][::-1] if self.segmenter.ranks is not None else parts[:placed]
        return ordered + parts[placed:]

    @cached_property
    def figures(self) -> dict[str, dict[str, Any]]:
        """The figures that the rules read, by segment id."""
        total = self.context.total_arr
        return {
            part.id: figures.rule_figures(self.context, self._rows(part), total, self.losses)
            for part in self.segmented.segments
        }

    def _rows(self, part: MergedSegment) -> pd.DataFrame:
        return self.rows.loc[list(part.members)]

    # -- time --------------------------------------------------------------------------------

    @cached_property
    def since(self) -> dt.date | None:
        """The earlier date, where the portfolio reaches back to it."""
        days = dt.timedelta(days=self.settings.segment_compare_days)
        since = self.options.compare_with or self.context.as_of - days
        return since if since >= self.context.portfolio.first_event_day else None

    @cached_property
    def before(self) -> pd.Series | None:
        """The segments' names on the earlier date, by customer."""
        return None if self.since is None else self.segmented.names_on(self.since)

    @cached_property
    def moves(self) -> pd.DataFrame:
        if self.since is None or self.before is None:
            return pd.DataFrame(columns=FLOWS)
        return move_frame(self.context, self.before, self.names, self.since)

    @cached_property
    def migration(self) -> SegmentMigration | None:
        if self.since is None:
            return None
        return migration(self.context, self.segmented, self.moves, self.since)

    # -- the result --------------------------------------------------------------------------

    def result(self) -> Segmentation:
        context, options, level = self.context, self.options, self.settings.effects_interval_level
        placed = self.segmented.placement.placed
        compared = differences(
            self.rows,
            self.names,
            [part.name for part in self.segmented.segments if part.placed],
            self.segmenter.ingredients,
            self.settings,
        )
        significant = significant_differences(
            compared, level, self.settings.segment_max_differences
        )
        actions = self._actions() if options.recommendations else []
        run, summary = self._record(), slugs(part.name for part in self.parts)
        first = context.portfolio.first_event_day
        reasons = self.segmented.placement.reason[~placed].value_counts().sort_index()
        segments = self._segments()
        result = Segmentation(
            as_of=context.as_of,
            data_until=context.portfolio.data_until,
            fingerprint=context.portfolio.fingerprint(context.as_of),
            coverage=rounded(placed.mean()) if len(placed) else None,
            warnings=self._warnings(run),
            not_measured=_unmeasured(segments),
            total_customers=len(self.rows),
            excluded=context.excluded(),
            segments_created=self.segmented.placed,
            segmentation_type=options.segment_type,
            segmentation_criteria=options.criteria,
            min_segment_size=options.min_segment_size,
            max_segments=options.max_segments,
            output_format=options.output_format,
            currency=self.money.currency,
            total_arr=Figure(context.total_arr, context.missing_arr),
            total_arr_by_currency=self.money.totals(context.live["arr"].astype(float)),
            interval_level=self.settings.interval_level,
            segments=segments,
            segment_summary={
                key: len(part.members) for key, part in zip(summary, self.parts, strict=True)
            },
            merged=[
                f"{part.name}: merged from {', '.join(part.merged_from)}"
                for part in self.segmented.segments
                if part.merged_from
            ],
            unplaced={str(reason): int(count) for reason, count in reasons.items()},
            pareto_analysis=self._pareto(),
            cross_segment_insights=[difference.text for difference in significant],
            cross_segment_insights_detail=significant,
            insights_tried=len(compared),
            recommended_actions=[rule.text for rule in actions],
            recommended_actions_detail=actions,
            migration=Figure(
                self.migration, f"the portfolio begins on {first}, after the earlier date"
            ),
            value_health_matrix=self._matrix(),
            next_actions=self._next_actions() if options.recommendations else [],
            run=run,
            customer_standing=Figure(None, "no client_id was given"),
            evidence=Figure(self._evidence(), "only segments by metrics need evidence"),
        )
        frames = self._frames(result, compared)
        return result.with_frames(**frames).with_places(self._customer_segment)

    def _customer_segment(self, client_id: str) -> SegmentPlace:
        rows = self._customers
        return customer_segment(self, rows[rows["client_id"] == client_id].to_dict("records")[0])

    @cached_property
    def _customers(self) -> pd.DataFrame:
        return customer_frame(self)

    def _segments(self) -> list[Segment]:
        shares = percentages([len(part.members) for part in self.segmented.segments])
        arr_shares = self.context.arr_percentages(
            [pd.Index(part.members) for part in self.segmented.segments]
        )
        by_id = {
            part.id: self._segment(part, share, arr_share)
            for part, share, arr_share in zip(
                self.segmented.segments, shares, arr_shares, strict=True
            )
        }
        return [by_id[part.id] for part in self.parts]

    def _segment(self, part: MergedSegment, share: float, arr_share: float | None) -> Segment:
        rows, loss = self._rows(part), self.losses[list(part.members)]
        known = self.money.addable and rows["arr"].notna().any()
        total = round(float(rows["arr"].sum()), 2) if known else None
        churned = round(float(loss.sum()), 2) if known and loss.notna().any() else None
        details = figures.characteristics(rows, self.settings.interval_level)
        own = self.figures[part.id]
        if self.options.recommendations:
            low = part.low if self.segmenter.metric == "score" and part.placed else None
            # one threshold is enough: the segment's limit where it has one
            ends = {"border": low} | ({"drop_to": None} if low else {})
            advice = figures.strategy(self.context, rows.index, own | ends)
        else:
            advice = {name: Figure(None, NOT_REQUESTED) for name in STRATEGY}
        others = self.rows.drop(index=list(part.members))
        distance = self.settings.segment_min_distance
        return Segment(
            segment_id=part.id,
            segment_name=part.name,
            segment_description=part.description,
            placed=part.placed,
            customer_count=len(rows),
            percentage_of_total=share,
            total_arr=Figure(total, self.context.missing_arr),
            percentage_of_arr=Figure(arr_share, self.context.missing_arr),
            expected_churned_arr_90d=Figure(
                churned, "no ARR is known, or the portfolio has no rate of churn"
            ),
            segment_criteria=part.criteria,
            merged_from=list(part.merged_from),
            segment_characteristics={key: detail.mean for key, detail in details.items()},
            characteristics_detail=details,
            set_apart_by=figures.set_apart_by(rows, others, distance, self.segmenter.ingredients)
            if part.placed
            else [],
            client_ids=list(part.members),
            **advice,
        )

    def _pareto(self) -> SegmentPareto:
        arr = self.rows["arr"].to_numpy(dtype=float)
        top, known = top_fifth(arr, self.rows.index.to_numpy()), int(np.isfinite(arr).sum())
        counts = self.names.iloc[top.positions].value_counts()
        order = sorted(counts.index, key=lambda name: (-counts[name], name))
        covered = counts[order].cumsum().to_numpy() >= self.settings.pareto_named_share * top.count
        values: dict[str, Any] = {
            "top_20_percent_contribute": None,
            "segment": " & ".join(order[: int(np.argmax(covered)) + 1]) if len(order) else None,
            "top_customers": top.count,
            "top_share": rounded(top.share),
            "top_arr": round(top.total, 2),
            "gini": rounded(gini(arr)),
        }
        if top.share is None:
            values = dict.fromkeys(values)
        else:
            values["top_20_percent_contribute"] = f"{100 * top.share:.0f}% of total ARR"
        reasoned = {name: Figure(value, self.context.missing_arr) for name, value in values.items()}
        return SegmentPareto(**reasoned, n=known, without_arr=len(arr) - known)

    def _matrix(self) -> list[ValueHealthCell]:
        rows = self.rows.assign(loss=self.losses, band=self.rows["band"].fillna("unknown"))
        rows["tier"] = rows["tier"].astype(object).fillna("unknown")
        cells = rows.groupby(["tier", "band"])
        amounts = cells[["arr", "loss"]].sum(min_count=1)
        amounts = amounts if self.money.addable else amounts * np.nan
        counts, reason = cells.size(), "no ARR is known, or several currencies and no rates"
        tiers = [*reversed(tier_names(self.settings)), "unknown"]
        bands = [*reversed(BANDS), "unknown"]
        return [
            ValueHealthCell(
                tier=tier,
                band=band,
                customers=int(counts[tier, band]),
                arr=Figure(rounded(amounts.loc[(tier, band), "arr"], 2), reason),
                expected_churned_arr=Figure(rounded(amounts.loc[(tier, band), "loss"], 2), reason),
            )
            for tier in tiers
            for band in bands
            if (tier, band) in counts.index
        ]

    def _evidence(self) -> GroupingEvidence | None:
        grouping = self.segmenter.grouping
        if grouping is None:
            return None
        evidence, row = grouping.evidence, grouping.evidence.row
        tried = "too few customers, or no number of groups was tried"
        return GroupingEvidence(
            stable=grouping.reason is None,
            reason=grouping.reason,
            method=grouping.method,
            metrics=list(grouping.metrics),
            transforms={scale.metric: scale.form for scale in grouping.scales},
            dropped_metrics=grouping.dropped,
            segments=Figure(evidence.groups, grouping.reason),
            customers=len(grouping.placed) or evidence.sampled,
            sampled=evidence.sampled,
            **{
                name: Figure(row.get(name), tried)
                for name in ("silhouette", "stability", "least_jaccard")
            },
            reference_p=Figure(evidence.p, "no number of groups came so far"),
            reference_draws=evidence.draws,
            least_customers=self.settings.groups_min_customers,
            tried=evidence.tried.to_dict("records"),
        )

    def _next_actions(self) -> list[NextAction]:
        """The first action of the customers whose loss would cost most: three of the segment that may lose most, then one
        of each further segment."""
        known = NextActions.of(self.context.portfolio, self.context.as_of)
        placed = [part for part in self.segmented.segments if part.placed]
        placed.sort(key=lambda part: -float(self.losses[list(part.members)].sum()))
        named: list[NextAction] = []
        for part in placed:
            most = 1 if named else OF_THE_WORST
            ranked = self.context.ranked_by_loss(part.members)
            named += itertools.islice(known.first_of(ranked), most)
        shown = named[: self.settings.next_actions_shown]
        return sorted(shown, key=lambda action: -rules.SEVERITIES.index(action.severity))

    def _actions(self) -> list[TriggeredRule]:
        moved = self.migration
        noise = None if moved is None or moved.noise is None else moved.noise.expected_moves / 2
        triggered = rules.triggered(
            figures.TOOL,
            "portfolio_action",
            {
                **dict.fromkeys(next(iter(self.figures.values()), {})),
                "moved_down": None if moved is None else moved.down,
                "noise_down": noise,
                "since": None if moved is None else moved.since.isoformat(),
            },
            self.settings.rules,
        )
        for part in self.segmented.segments:
            own = self.figures[part.id]
            known = self.money.addable and own["arr"] is not None
            money = brief_money(own["arr"], self.money.currency) if known else None
            named = own | {"segment": part.name, "money": money}
            triggered += rules.triggered(
                figures.TOOL, "portfolio_action", named, self.settings.rules
            )
        return sorted(triggered, key=lambda rule: -rules.SEVERITIES.index(rule.severity))

    def _record(self) -> SegmentationRun:
        """Records the run in the ledger, once; says why where that is not possible."""
        portfolio, as_of, run = self.context.portfolio, self.context.as_of, self.options.run
        members = {part.id: list(part.members) for part in self.segmented.segments}

        def record() -> SegmentationRun:
            try:
                ledger = portfolio.ledger()
                inputs = run_inputs(portfolio, as_of)
                run_id = ledger.record_segment_run(inputs, run, as_of, members)
            except (DataRetrievalError, CalculationError) as problem:
                reason = f"not recorded: {problem.message}"
                key = run_key(portfolio, run, as_of)
                return SegmentationRun(run_id=key, resolvable=False, reason=reason)
            return SegmentationRun(run_id=run_id, resolvable=True, reason=None)

        key = run_key(portfolio, run, as_of)
        return portfolio.cache.get("segmentation_run", key, record, disk=False)

    def _warnings(self, run: SegmentationRun) -> list[str]:
        notes = [*chosen_warnings(self.options.only), *self.segmenter.notes]
        warnings = [*notes, *self.context.currency_warnings]
        if self.money.no_rate:
            count = len(self.money.no_rate)
            warnings.append(f"{count} customers' currencies have no rate: their ARR is not counted")
        margin = self.options.criteria.get("hysteresis")
        if margin:
            warnings.append(f"a border is crossed only by {margin:g} or more, over 12 weeks")
        return warnings + ([run.reason] if run.reason else [])

    # -- frames ------------------------------------------------------------------------------

    def _frames(self, result: Segmentation, compared: pd.DataFrame) -> dict[str, pd.DataFrame]:
        names = [part.name for part in self.parts if part.placed]
        grouping = self.segmenter.grouping
        values = self._customers.dropna(subset="value").rename(columns={"segment_name": "segment"})
        values = values.sort_values(["value", "client_id"], kind="stable", ignore_index=True)
        cells = pd.DataFrame(
            [cell.model_dump() for cell in result.value_health_matrix],
            columns=list(ValueHealthCell.model_fields),
        )
        profile = figures.profile_frame(self.rows, self.names, names, self.segmenter.ingredients)
        tried = pd.DataFrame() if grouping is None else grouping.evidence.tried
        return {
            "segments": _segment_frame(result),
            "customers": self._customers,
            "profile": profile,
            "differences": compared,
            "flows": self.moves,
            "matrix": cells.astype({"arr": float, "expected_churned_arr": float}),
            "lorenz": lorenz(self.rows["arr"].to_numpy(dtype=float)),
            "values": values[["client_id", "value", "segment"]],
            "evidence": tried.reset_index(drop=True),
        }


def _segment_frame(result: Segmentation) -> pd.DataFrame:
    """A row per segment: id, name, customers, shares of one, ARR, expected churned ARR, means."""
    rows = [
        {
            "segment_id": segment.segment_id,
            "segment": segment.segment_name,
            "placed": segment.placed,
            "description": segment.segment_description,
            "customers": segment.customer_count,
            "share": segment.percentage_of_total / 100,
            "arr": segment.total_arr,
            "arr_share": None
            if segment.percentage_of_arr is None
            else segment.percentage_of_arr / 100,
            "expected_churned_arr": segment.expected_churned_arr_90d,
            **segment.segment_characteristics,
        }
        for segment in result.segments
    ]
    words = ["segment_id", "segment", "placed", "description"]
    numbers = ["customers", "share", "arr", "arr_share", "expected_churned_arr", *figures.AVERAGES]
    return pd.DataFrame(rows, columns=words + numbers).astype(dict.fromkeys(numbers, float))


def _unmeasured(segments: list[Segment]) -> dict[str, str]:
    """Why a mean is missing in some segments, by its path."""
    reasons = {}
    for key in figures.AVERAGES:
        missing = sum(segment.segment_characteristics[key] is None for segment in segments)
        if missing:
            reasons[f"$.segments[*].segment_characteristics.{key}"] = (
                f"not measured for any customer of {missing} of {len(segments)} segments"
            )
    return reasons
