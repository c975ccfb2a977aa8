"""Value tiers of the portfolio: who is in which tier, and the sections of the result."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.charts.formats import brief_money, money
from healthseg.clustering.rules import UNPLACED, bounds
from healthseg.metrics import catalog
from healthseg.metrics import spans as span_metrics
from healthseg.metrics.money import PARTS, movements
from healthseg.metrics.spells import merged_into
from healthseg.periods import year_before
from healthseg.scoring.churn.base_rates import THE_PORTFOLIO
from healthseg.statistics.rates import lorenz, percentages
from healthseg.tools.base import Figure, TriggeredRule
from healthseg.tools.context import DAY, PortfolioContext, chosen_warnings
from healthseg.tools.expansion import arr_per_seat, expansion_potential, premium_effects
from healthseg.tools.renewals import renewal_windows, renewals
from healthseg.tools.revenue import revenue_by_month
from healthseg.tools.tiers import tier as figures
from healthseg.tools.tiers.allocation import (
    RANKED,
    by_amount,
    by_sizes,
    composite,
    sensitivity,
    staffing,
    suggested_thresholds,
)
from healthseg.tools.tiers.customer import customer_frame
from healthseg.tools.tiers.result import (
    PremiumStep,
    SuggestedThresholds,
    TierMove,
    TierMoves,
    TierStaffing,
    ValueTier,
    ValueTiers,
    WeightSensitivity,
)
from healthseg.tools.values import integer, records, rounded, slugs

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

TOOL = "segment_by_value_tier"
NOT_PLACED, NEW, CHURNED = "Not placed", "New", "Churned"
NO_ARR, NO_RATE = "no ARR is known", "its ARR's currency has no rate"
NOT_REQUESTED, SUMMARY = "not requested", "only the summary was requested"
AMOUNT = {"arr_based": "ARR", "potential_based": "ARR + potential", "strategic_value": "ARR"}
BINS, SHOWN_DRAWS = 30, 0.999


@dataclass(frozen=True)
class TierOptions:
    """How the tiers are cut and named, and what the result holds of them."""

    model: str
    thresholds: tuple[float, ...]
    names: tuple[str, ...]
    with_potential: bool
    with_strategic_value: bool
    detail: str
    only: str | None = None


def value_tiers(portfolio: Portfolio, as_of: dt.date, options: TierOptions) -> ValueTiers:
    """The result for the live customers of ``as_of``, computed once per open portfolio."""

    def build() -> ValueTiers:
        return TierRun(PortfolioContext.of(portfolio, as_of, options.only), options).result()

    return portfolio.cache.get("value_tiers", (as_of, options), build, disk=False)


class TierRun:
    """The customers with their tiers, and what the sections of the result share."""

    def __init__(self, context: PortfolioContext, options: TierOptions) -> None:
        self.context, self.options, self.settings = context, options, context.settings
        self.names, self.thresholds = list(options.names), options.thresholds
        self.rows, self.money = context.live, context.money
        self.arr = self.money.amounts
        self.potential = expansion_potential(context, context.as_of)
        self.by_arr = by_amount(self.arr, self.thresholds)
        self.number = self._numbers()
        names = dict(enumerate(self.names)) | {UNPLACED: NOT_PLACED}
        self.tier = self.number.map(names)

    # -- who is in which tier --------------------------------------------------------------

    def _numbers(self) -> pd.Series:
        """Each customer's tier by the model."""
        if self.options.model == "arr_based":
            return self.by_arr
        if self.context.only is not None:  # their place among all customers
            return TierRun(self.context.whole, self.options).number.reindex(self.rows.index)
        if self.by_rank:
            return by_sizes(self.classified_by, self.sizes)
        return by_amount(self.classified_by, self.thresholds)

    @property
    def by_rank(self) -> bool:
        return self.options.model == "strategic_value"

    @property
    def sizes(self) -> list[int]:
        """Customers of each tier by ARR: the sizes into which strategic ranks are cut."""
        return [int((self.by_arr == tier).sum()) for tier in range(len(self.names))]

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """What the strategic rank weighs, of customers with a known ARR."""
        values = self.context.static("strategic_value", snapshot=True)
        strategic = pd.to_numeric(values, errors="coerce")
        columns = (self.arr, self.potential["potential"], strategic)
        frame = pd.DataFrame(dict(zip(RANKED, columns, strict=True)))
        return frame.astype(float).where(self.arr.notna())

    @cached_property
    def classified_by(self) -> pd.Series:
        """What decides the tier: ARR, ARR and potential, or the weighted rank."""
        if self.by_rank:
            return composite(self.ranked, self.settings.strategic_weights)
        if self.options.model == "potential_based":
            return self.arr + self.potential["potential"].fillna(0.0)
        return self.arr

    def members(self, name: str) -> pd.Index:
        return self.tier.index[self.tier == name]

    @cached_property
    def users(self) -> tuple[pd.Series, str]:
        """Users of each customer and which: provisioned ones, else those active in 30 days."""
        portfolio, as_of = self.context.portfolio, self.context.as_of
        clients = self.context.client_ids
        if not portfolio.has("users") or not clients:
            return self.rows["monthly_active_users"].astype(float), "active in 30 days"
        spans = pd.DataFrame({"client_id": clients, "span_id": 0, "start": as_of})
        spans["end"] = as_of + DAY
        counts = self.context.stored(
            "provisioned_users", lambda: span_metrics.over(portfolio, spans, ["provisioned_users"])
        ).set_index("client_id")["provisioned_users"]
        return counts.astype(float), "provisioned"

    # -- a year ago ------------------------------------------------------------------------

    @cached_property
    def since(self) -> dt.date | None:
        """The day a year ago, where the ARR of that day is known."""
        day = year_before(self.context.as_of)
        if not self.money.addable:
            return None
        then = self.context.money_on(day)
        return day if then.addable and then.amounts.notna().any() else None

    @cached_property
    def movements(self) -> pd.DataFrame:
        """Each customer's ARR and tier a year ago and now."""
        assert self.since is not None
        then = self.context.money_on(self.since).amounts
        frame = movements(then, self.arr, merged_into(self.context.portfolio, self.context.as_of))
        names: dict[int, str | None] = dict(enumerate(self.names)) | {UNPLACED: None}
        tier_then = by_amount(then, self.thresholds).map(names).reindex(frame.index)
        return frame.assign(tier_then=tier_then, tier_now=self.tier.reindex(frame.index))

    # -- the result ------------------------------------------------------------------------

    @property
    def no_past(self) -> str:
        if not self.money.addable:
            return self.context.missing_arr
        return "the ARR of a year ago is not known"

    def written(self, amount: float | None) -> str | None:
        """An amount as the rules' texts show it."""
        return None if amount is None else brief_money(amount, self.money.currency)

    @cached_property
    def shown(self) -> list[str]:
        """The tiers from the highest down, then customers in none."""
        unplaced = [NOT_PLACED] if (self.number == UNPLACED).any() else []
        return [*reversed(self.names), *unplaced]

    @cached_property
    def arr_percent(self) -> dict[str, float | None]:
        """Per cent of the ARR by tier, adding up to 100."""
        shares = self.context.arr_percentages([self.members(name) for name in self.shown])
        return dict(zip(self.shown, shares, strict=True))

    @cached_property
    def staffing(self) -> pd.DataFrame:
        shares = {
            name: None if percent is None else percent / 100
            for name, percent in self.arr_percent.items()
        }
        return staffing(self.context, self.names, self.tier, shares)

    @cached_property
    def revenue(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Revenue by month, churned customers, cohorts; sums of the latter are unknown where currencies do not add up."""
        portfolio, months = self.context.portfolio, self.settings.revenue_months
        by_month, churned, cohorts = revenue_by_month(
            portfolio, self.context.as_of, months, self.context.chosen
        )
        if not self.money.addable:
            cohorts = cohorts.assign(arr=np.nan, arr_share=np.nan)
        return by_month, churned, cohorts

    def result(self) -> ValueTiers:
        context, options, since = self.context, self.options, self.since
        shares = percentages([len(self.members(name)) for name in self.shown])
        tiers = [
            self._value_tier(name, share) for name, share in zip(self.shown, shares, strict=True)
        ]
        triggered, ranked, addable = self._actions(tiers), self.by_rank, self.money.addable
        placed = self.number != UNPLACED
        highest = self.names[::-1]
        past = None if since is None else figures.revenue(self.movements, self.movements)
        risk = figures.churn_risk(self, self.rows.index) if addable else None
        no_weights = "only tiers by strategic value have weights"
        result = ValueTiers(
            as_of=context.as_of,
            data_until=context.portfolio.data_until,
            fingerprint=context.portfolio.fingerprint(context.as_of),
            coverage=rounded(placed.mean()) if len(self.rows) else None,
            warnings=self._warnings(),
            total_customers=len(self.rows),
            excluded=context.excluded(),
            total_arr=Figure(context.total_arr, context.missing_arr),
            total_arr_by_currency=self.money.totals(self.rows["arr"].astype(float)),
            currency=self.money.currency,
            segmentation_model=options.model,
            arr_thresholds=list(self.thresholds),
            tier_names=self.names,
            output_detail_level=options.detail,
            interval_level=self.settings.interval_level,
            value_tiers=tiers,
            unplaced=self._unplaced(),
            pareto_analysis=figures.pareto(self),
            resource_allocation_recommendations=self._staffing(),
            tier_health_summary={
                key: figures.health(self, self.members(name))
                for key, name in zip(slugs(highest), highest, strict=True)
            },
            recommended_actions=[rule.text for rule in triggered],
            recommended_actions_detail=triggered,
            decide_by=self.settings.decide_by(context.as_of),
            retention=Figure(past, self.no_past),
            retention_since=Figure(since, self.no_past),
            year_on_year=Figure(None if since is None else self._moves(since), self.no_past),
            at_risk=Figure(risk, self.context.missing_arr),
            growth=figures.growth(self),
            suggested_thresholds=self._suggestion(),
            premium_steps=self._premium_steps(),
            strategic_weights=Figure(self._weights() if ranked else None, no_weights),
            sensitivity=Figure(self._sensitivity() if ranked else None, no_weights),
            **self._newer(),
            nrr_target=self.settings.nrr_target,
            grr_target=self.settings.grr_target,
            cohorts=records(self.revenue[2].assign(cohort=self.revenue[2]["cohort"].astype(str))),
            customer_standing=Figure(None, "no client_id was given"),
        )
        return result.with_frames(**self._frames(result))

    def _newer(self) -> dict[str, int]:
        """How many customers began in the months of the cohorts, and how many of them are live."""
        last = self.revenue[2].sort_values("months").groupby("cohort")[["customers", "live"]].last()
        return {"began": int(last["customers"].sum()), "began_live": int(last["live"].sum())}

    def _value_tier(self, name: str, share: float) -> ValueTier:
        options, members, placed = self.options, self.members(name), name != NOT_PLACED
        arr, addable = self.arr.reindex(members), self.money.addable
        known = addable and bool(arr.notna().any())
        low, high = bounds(self.thresholds, self.names.index(name)) if placed else (None, None)
        strategic = self.ranked["strategic_value"].reindex(members).mean()
        no_mean = (
            self.context.missing_arr
            if not addable or self.arr.isna().all()
            else "a tier without ARR"
        )
        ends = (None, None) if self.by_rank else (low, high)
        open_end = "cut by rank" if self.by_rank else "the tier is open on this side"

        def detail(build: Any, argument: Any, available: bool, reason: str) -> Figure:
            if options.detail == "summary":
                return Figure(None, SUMMARY)
            return Figure(build(self, argument) if available else None, reason)

        return ValueTier(
            tier_name=name,
            tier_description=self._description(low, high) if placed else f"{NO_ARR}, or {NO_RATE}",
            above=Figure(ends[0], open_end),
            up_to=Figure(ends[1], open_end),
            customer_count=len(members),
            percentage_of_customers=share,
            total_arr=Figure(
                round(float(arr.sum()), 2) if known or (addable and members.empty) else None,
                self.context.missing_arr,
            ),
            percentage_of_arr=Figure(self.arr_percent[name], self.context.missing_arr),
            avg_arr_per_customer=Figure(rounded(arr.mean(), 0) if known else None, no_mean),
            characteristics=detail(figures.characteristics, members, True, ""),
            engagement_strategy=detail(figures.engagement, name, placed, "not a tier"),
            expansion_pipeline=detail(
                figures.pipeline, members, options.with_potential, NOT_REQUESTED
            ),
            retention=detail(
                figures.tier_revenue, name, placed and self.since is not None, self.no_past
            ),
            at_risk=detail(figures.churn_risk, members, addable, self.context.missing_arr),
            avg_strategic_value=Figure(
                rounded(strategic, 2) if options.with_strategic_value else None,
                "known of no customer of the tier"
                if options.with_strategic_value
                else NOT_REQUESTED,
            ),
            client_ids=Figure(
                sorted(members) if options.detail == "full" else None,
                "the list of customers was not requested",
            ),
        )

    def _description(self, low: float | None, high: float | None) -> str:
        """The tier's limits: "EUR 50,000 < ARR <= EUR 250,000"."""
        ends = [None if end is None else money(end, self.money.currency) for end in (low, high)]
        amount = AMOUNT[self.options.model]
        text = f"{amount} > {ends[0]}" if high is None else f"{amount} <= {ends[1]}"
        if low is not None and high is not None:
            text = f"{ends[0]} < {text}"
        return f"by weighted rank, as many customers as have {text}" if self.by_rank else text

    def _staffing(self) -> list[TierStaffing]:
        reason = "neither a csms table nor csm_id names the managers"
        return [
            TierStaffing(
                tier=row["tier"],
                recommended_csm_count=int(row["need"]),
                current_csm_count=Figure(integer(row["current"]), reason),
                gap=Figure(integer(row["gap"]), reason),
                priority=row["priority"],
                customers=int(row["customers"]),
                hours_per_customer=row["hours_each"],
                hours_needed=round(row["hours"], 1),
                hours_available=Figure(
                    rounded(row["available_hours"], 1), "no csms table has a manager's hours"
                ),
                capacity_hours=round(row["capacity_hours"], 1),
            )
            for row in reversed(self.staffing.to_dict("records"))
        ]

    def _suggestion(self) -> SuggestedThresholds:
        hours, current = self.staffing["available_hours"], list(self.thresholds)
        limits = suggested_thresholds(
            self.arr, current, self.staffing["hours_each"].tolist(), hours.tolist()
        )
        reason = "each tier has as many customers as its managers' hours allow, from the top down"
        if limits is None:
            reason = "the hours of a tier's managers allow no customer"
            if hours.isna().any():
                reason = "the hours of each tier's managers are not known"
        sizes = by_amount(self.arr, limits or [])
        customers = [int((sizes == tier).sum()) for tier in range(len(self.names))]
        rounded_limits = None if limits is None else [round(limit, 2) for limit in limits]
        return SuggestedThresholds(
            thresholds=Figure(rounded_limits, reason),
            given=current,
            customers=Figure(None if limits is None else customers, reason),
            reason=reason,
        )

    def _premium_steps(self) -> list[PremiumStep]:
        context, as_of = self.context, self.context.as_of
        table = premium_effects(context, self.rows, arr_per_seat(context, as_of), as_of)
        table = table.drop(columns="feature").round({"per_seat": 2, "lower": 2, "upper": 2})
        return [PremiumStep(**row) for row in table.to_dict("records")]

    def _weights(self) -> dict[str, float]:
        weights = self.settings.strategic_weights
        shares = [round(weight / sum(weights), 4) for weight in weights]
        return dict(zip(RANKED, shares, strict=True))

    def _sensitivity(self) -> list[WeightSensitivity]:
        weights, step = self.settings.strategic_weights, self.settings.strategic_weight_step
        moved = sensitivity(self.ranked, weights, self.sizes, step)
        return [WeightSensitivity(**row) for row in moved]

    def _moves(self, since: dt.date) -> TierMoves:
        rows = self.movements[(self.movements["start"] > 0) | (self.movements["end"] > 0)]
        before = rows["tier_then"].where(rows["start"] > 0, NEW)
        after = rows["tier_now"].where(rows["end"] > 0, CHURNED)
        order = {name: rank for rank, name in enumerate(self.names)}
        steps = (after.map(order) - before.map(order)).dropna()
        frame = pd.DataFrame({"from": before.fillna("unknown"), "to": after.fillna("unknown")})
        frame["arr"] = rows["end"].where(rows["end"] > 0, rows["start"])
        counts = frame.groupby(["from", "to"], sort=True)["arr"].agg(["size", "sum"])
        return TierMoves(
            since=since,
            unchanged=int((steps == 0).sum()),
            up=int((steps > 0).sum()),
            down=int((steps < 0).sum()),
            new=int((before == NEW).sum()),
            churned=int((after == CHURNED).sum()),
            moves=[
                TierMove(
                    from_tier=pair[0],
                    to_tier=pair[1],
                    customers=int(row["size"]),
                    arr=round(float(row["sum"]), 2),
                )
                for pair, row in counts.iterrows()
            ],
        )

    def _actions(self, tiers: list[ValueTier]) -> list[TriggeredRule]:
        rows = self.staffing.set_index("tier").to_dict("index")
        triggered = [
            rule
            for tier in tiers
            if tier.tier_name in rows and tier.customer_count
            for rule in rules.triggered(
                TOOL,
                "portfolio_action",
                figures.rule_figures(self, tier, rows[tier.tier_name]),
                self.settings.rules,
            )
        ]
        ranked = sorted(triggered, key=lambda rule: -rules.SEVERITIES.index(rule.severity))
        return ranked[: self.settings.next_actions_shown]

    def _unplaced(self) -> dict[str, int]:
        unplaced = self.tier.index[self.number == UNPLACED]
        return dict(Counter(self.reason_without_arr(client_id) for client_id in unplaced))

    def reason_without_arr(self, client_id: str) -> str:
        """Why a customer has no ARR that could place it in a tier."""
        if client_id in self.money.no_rate:
            return NO_RATE
        metric = catalog.get("arr")
        names = (*metric.withheld_by, *metric.tables)
        reasons = (self.context.portfolio.absence(name, client_id) for name in names)
        return next((reason for reason in reasons if reason and "withheld" in reason), NO_ARR)

    def _warnings(self) -> list[str]:
        warnings = [*chosen_warnings(self.options.only), *self.context.currency_warnings]
        if self.by_rank and self.ranked["strategic_value"].isna().all():
            warnings.append("no strategic_value is known: its weight goes to ARR and potential")
        if self.since is not None:
            uncounted = int(self.arr.notna().sum() - (self.movements["end"] > 0).sum())
            if uncounted > 0:
                warnings.append(
                    f"{uncounted} customers have no ARR above 0 now, or no known ARR a year ago"
                )
        return warnings

    # -- frames ----------------------------------------------------------------------------

    def _frames(self, result: ValueTiers) -> dict[str, pd.DataFrame]:
        arr = self.arr.to_numpy(dtype=float) if self.money.addable else np.array([])
        draws = np.array([])
        if self.money.addable and len(self.rows):
            draws = self.context.simulated_churned_arr(self.rows.index).draws
        moves = [] if result.year_on_year is None else result.year_on_year.moves
        renewing = renewals(self.context)
        by_month, churned, cohorts = self.revenue
        return {
            "tiers": _tier_frame(result),
            "customers": customer_frame(self),
            "lorenz": lorenz(arr),
            "waterfall": _waterfall_frame(result),
            "moves": pd.DataFrame(
                [(move.from_tier, move.to_tier, move.customers, move.arr) for move in moves],
                columns=["from", "to", "customers", "arr"],
            ),
            "capacity": self.staffing,
            "renewals": renewing,
            "renewal_windows": renewal_windows(self.context, renewing),
            "revenue_by_month": by_month,
            "churned_customers": churned,
            "cohorts": cohorts,
            "at_risk": figures.histogram(draws, BINS, SHOWN_DRAWS),
            "thresholds": self._threshold_frame(result.suggested_thresholds),
        }

    def _threshold_frame(self, suggestion: SuggestedThresholds) -> pd.DataFrame:
        """Thresholds in use beside the suggested ones, with the customers of each tier."""
        count = len(self.names)
        suggested: Sequence[float | None] = suggestion.thresholds or [None] * (count - 1)
        columns: dict[str, Sequence[Any]] = {
            "tier": self.names,
            "given_above": [None, *self.thresholds],
            "given_customers": [len(self.members(name)) for name in self.names],
            "suggested_above": [None, *suggested],
            "suggested_customers": suggestion.customers or [None] * count,
        }
        return pd.DataFrame(columns)[::-1].reset_index(drop=True)


TIER_COLUMNS = {
    "tier": "tier_name",
    "description": "tier_description",
    "customers": "customer_count",
    "share": "percentage_of_customers",
    "arr": "total_arr",
    "arr_share": "percentage_of_arr",
    "average_arr": "avg_arr_per_customer",
    "health": "characteristics.avg_health_score",
    "nrr": "retention.nrr",
    "grr": "retention.grr",
    "cohort": "retention.cohort",
    "at_risk": "at_risk.expected",
    "at_risk_lower": "at_risk.lower",
    "at_risk_upper": "at_risk.upper",
    "potential": "expansion_pipeline.total_expansion_potential",
    "potential_lower": "expansion_pipeline.potential_interval.lower",
    "potential_upper": "expansion_pipeline.potential_interval.upper",
    "ready": "expansion_pipeline.high_probability_expansions",
}


def _tier_frame(result: ValueTiers) -> pd.DataFrame:
    """A row per tier, the highest first: ``TIER_COLUMNS``, shares of one."""
    rows = pd.json_normalize([tier.model_dump() for tier in result.value_tiers])
    frame = rows.reindex(columns=list(TIER_COLUMNS.values())).set_axis(list(TIER_COLUMNS), axis=1)
    frame[list(TIER_COLUMNS)[2:]] = frame[list(TIER_COLUMNS)[2:]].astype(float)
    return frame.assign(share=frame["share"] / 100, arr_share=frame["arr_share"] / 100)


def _waterfall_frame(result: ValueTiers) -> pd.DataFrame:
    """A row per scope (the portfolio, then each tier) and part of the revenue movement."""
    scopes = {THE_PORTFOLIO: result.retention}
    scopes |= {tier.tier_name: tier.retention for tier in result.value_tiers}
    rows = [
        (scope, part, getattr(movement, part))
        for scope, movement in scopes.items()
        if movement is not None
        for part in PARTS
    ]
    return pd.DataFrame(rows, columns=["scope", "part", "amount"]).astype({"amount": float})
