"""The response of segment_by_value_tier, put together from what was ranked, counted and simulated."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.rules import UNPLACED, bounds
from healthseg.data.memory import remember
from healthseg.metrics import spans as measured
from healthseg.metrics.revenue import movements
from healthseg.settings import tier_names
from healthseg.statistics.rates import gini, percentages, top_fifth
from healthseg.tools.rounding import rounded
from healthseg.tools.segments.figures import DAY, Figures
from healthseg.tools.segments.keeping import slugs
from healthseg.tools.tiers import capacity, frames, missing, parts, ranking, standing
from healthseg.tools.tiers.potential import potential, premium_effects
from healthseg.tools.tiers.ready import readiness
from healthseg.tools.tiers.result import (
    Allocation,
    Fired,
    PremiumStep,
    Sensitivity,
    Suggestion,
    TierPareto,
    ValueTier,
    ValueTiers,
)
from healthseg.tools.tiers.words import described

TOOL = "segment_by_value_tier"
NOT_PLACED = "Not placed"
WHAT = {
    "arr_based": "ARR",
    "potential_based": "ARR + potential",
    "strategic_value": "weighted rank",
}


def answer(portfolio: Any, as_of: dt.date, asked: Any) -> ValueTiers:
    """The response for the live customers of ``as_of``; ``asked`` are the validated parameters."""
    key = ("value_tiers", as_of, str(asked.model_dump(exclude={"client_id"})))
    response: ValueTiers = remember(
        portfolio, key, lambda: Tiers(portfolio, as_of, asked).response()
    )
    if asked.client_id is None:
        return response
    return response.model_copy(update={"customer_standing": response.customer(asked.client_id)})


def year_before(date: dt.date) -> dt.date:
    """The same day a year ago; of 29 February the 28th.

    >>> year_before(dt.date(2024, 2, 29)).isoformat()
    '2023-02-28'
    """
    return date.replace(
        year=date.year - 1, day=28 if (date.month, date.day) == (2, 29) else date.day
    )


class Tiers:
    """What the sections of one response share."""

    def __init__(self, portfolio: Any, as_of: dt.date, asked: Any) -> None:
        self.portfolio, self.as_of, self.asked, self.settings = (
            portfolio,
            as_of,
            asked,
            portfolio.settings,
        )
        self.level = self.settings.interval_level
        self.figures = Figures.of(portfolio, as_of)
        self.limits = [
            float(value) for value in asked.arr_thresholds or self.settings.arr_thresholds
        ]
        own = self.settings.model_copy(update={"arr_thresholds": tuple(self.limits)})
        self.names: list[str] = asked.names or list(tier_names(own))
        self.rows, self.money = self.figures.live, self.figures.money
        self.arr = self.money.amounts
        self.potential = potential(self.figures, as_of)
        self.number = self.numbers(asked.segmentation_model)
        self.tier = self.number.map(lambda at: NOT_PLACED if at == UNPLACED else self.names[at])
        self.addable = self.money.addable

    # -- who is where --------------------------------------------------------------------

    def numbers(self, model: str) -> pd.Series:
        """Each customer's tier number by a model."""
        plain = ranking.by_amount(self.arr, self.limits)
        if model == "arr_based":
            return plain
        if model == "potential_based":
            return ranking.by_amount(
                self.arr + self.potential["potential"].fillna(0.0), self.limits
            )
        return ranking.by_sizes(self.composite, self.sizes(plain))

    def sizes(self, plain: pd.Series) -> list[int]:
        """How many customers each tier has by ARR: what the strategic ranks are cut by."""
        return [int((plain == at).sum()) for at in range(len(self.names))]

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """What the strategic rank weighs, of customers with a known ARR."""
        strategic = pd.to_numeric(
            self.figures.static("strategic_value", snapshot=True), errors="coerce"
        )
        frame = pd.DataFrame(
            {
                "arr": self.arr,
                "potential": self.potential["potential"],
                "strategic_value": strategic,
            }
        )
        return frame.astype(float).where(self.arr.notna())

    @cached_property
    def composite(self) -> pd.Series:
        return ranking.composite(self.ranked, self.settings.strategic_weights)

    def members(self, name: str) -> pd.Index:
        return self.tier.index[self.tier == name]

    @cached_property
    def users(self) -> tuple[pd.Series, str]:
        """Users a customer has: provisioned ones, else those active in 30 days."""
        clients = self.rows.index.tolist()
        if self.portfolio.has("users") and clients:
            spans = pd.DataFrame(
                {"client_id": clients, "span_id": 0, "start": self.as_of, "end": self.as_of + DAY}
            )
            found = pd.concat(
                [
                    measured.over(
                        self.portfolio, spans[spans["client_id"].isin(some)], ["provisioned_users"]
                    )
                    for some in measured.chunks(clients)
                ]
            )
            return found.set_index("client_id")["provisioned_users"].astype(float), "provisioned"
        return self.rows["monthly_active_users"].astype(float), "active in 30 days"

    @cached_property
    def ready(self) -> pd.DataFrame:
        return readiness(self.figures)

    @cached_property
    def since(self) -> dt.date | None:
        """A year ago, where the ARR of then is known."""
        day = year_before(self.as_of)
        if day < self.portfolio.first_event_day or not self.addable:
            return None
        then = self.figures.money_on(day)
        return day if then.addable and then.amounts.notna().any() else None

    @cached_property
    def movements(self) -> pd.DataFrame:
        """Each customer's ARR then and now, with its tier of then and of now."""
        then = self.figures.money_on(self.since).amounts
        found = movements(then, self.arr)
        before = ranking.by_amount(then, self.limits).map(
            lambda at: None if at == UNPLACED else self.names[at]
        )
        return found.assign(
            tier_then=before.reindex(found.index), tier_now=self.tier.reindex(found.index)
        )

    # -- the response -----------------------------------------------------------------------

    def response(self) -> ValueTiers:
        shown = [*reversed(self.names), *([NOT_PLACED] if (self.number == UNPLACED).any() else [])]
        shares = percentages([len(self.members(name)) for name in shown])
        sums = [float(self.arr.reindex(self.members(name)).sum()) for name in shown]
        arr_shares = (
            percentages([round(100 * value) for value in sums])
            if self.addable and sum(sums) > 0
            else None
        )
        of_arr = dict(zip(shown, arr_shares, strict=True)) if arr_shares else dict.fromkeys(shown)
        tiers = [
            self._tier(name, share, of_arr[name]) for name, share in zip(shown, shares, strict=True)
        ]
        needs = capacity.needs(
            self.figures,
            self.names,
            self.tier,
            {name: None if value is None else value / 100 for name, value in of_arr.items()},
        )
        actions = self._actions(tiers, needs)
        whole = parts.at_risk(self, self.rows.index) if self.addable else None
        response = ValueTiers(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            coverage=rounded(float((self.number != UNPLACED).mean())) if len(self.rows) else None,
            warnings=self._warnings(),
            total_customers=len(self.rows),
            excluded=self.figures.excluded(),
            total_arr=self.money.total() if self.addable and self.arr.notna().any() else None,
            total_arr_by_currency=self.money.totals(self.rows["arr"].astype(float)),
            currency=self.money.currency,
            segmentation_model=self.asked.segmentation_model,
            arr_thresholds=self.limits,
            output_detail_level=self.asked.output_detail_level,
            interval_level=self.level,
            value_tiers=tiers,
            unplaced=self._unplaced(),
            pareto_analysis=self._pareto(),
            resource_allocation_recommendations=self._allocation(needs),
            tier_health_summary={
                key: parts.health(self, name)
                for key, name in zip(slugs(self.names[::-1]), self.names[::-1], strict=True)
            },
            recommended_actions=[rule["text"] for rule in actions],
            recommended_actions_detail=[Fired(**rule) for rule in actions],
            retention=None if self.since is None else parts.revenue(self.movements, self.movements),
            retention_since=self.since,
            year_on_year=None if self.since is None else parts.year_on_year(self),
            at_risk=whole,
            suggested_thresholds=self._suggestion(needs),
            premium_steps=self._premium(),
            strategic_weights=self._weights(),
            sensitivity=self._sensitivity(),
            customer_standing=None,
        )
        response = response.model_copy(update={"not_measured": missing.reasons(response, self)})
        places = standing.places(self, needs)
        response.with_frames(
            tiers=frames.tiers(response),
            customers=frames.customers(self, places),
            lorenz=frames.lorenz(self),
            waterfall=frames.waterfall(response),
            moves=frames.moves(response),
            capacity=needs,
            at_risk=frames.at_risk(self),
            thresholds=frames.thresholds(self, response),
        )
        return response.with_places(places)

    def _tier(self, name: str, share: float, arr_share: float | None) -> ValueTier:
        members = self.members(name)
        placed = name != NOT_PLACED
        low, high = bounds(self.limits, self.names.index(name)) if placed else (None, None)
        ranked = self.asked.segmentation_model == "strategic_value"
        text = (
            described(low, high, WHAT[self.asked.segmentation_model], self.money.currency)
            if placed
            else ("no ARR is known, or its currency has no rate")
        )
        if placed and ranked:
            text = f"by weighted rank, as many customers as have {described(low, high, 'ARR', self.money.currency)}"
        arr = self.arr.reindex(members)
        known = self.addable and arr.notna().any()
        brief_only = self.asked.output_detail_level == "summary"
        strategic = self.ranked["strategic_value"].reindex(members)
        return ValueTier(
            tier_name=name,
            tier_description=text,
            above=None if ranked else low,
            up_to=None if ranked else high,
            customer_count=len(members),
            percentage_of_customers=share,
            total_arr=round(float(arr.sum()), 2)
            if known or (self.addable and not len(members))
            else None,
            percentage_of_arr=arr_share,
            avg_arr_per_customer=rounded(arr.mean(), 0) if known else None,
            characteristics=None if brief_only else parts.characteristics(self, members),
            engagement_strategy=None if brief_only or not placed else parts.engagement(self, name),
            expansion_pipeline=None
            if brief_only or not self.asked.include_expansion_potential
            else parts.pipeline(self, members),
            retention=None
            if brief_only or self.since is None or not placed
            else parts.tier_revenue(self, name),
            at_risk=None if brief_only or not self.addable else parts.at_risk(self, members),
            avg_strategic_value=rounded(strategic.mean(), 2)
            if self.asked.include_strategic_value
            else None,
            client_ids=sorted(members) if self.asked.output_detail_level == "full" else None,
        )

    def _pareto(self) -> TierPareto:
        arr = self.arr if self.addable else self.arr * np.nan
        top = top_fifth(arr.to_numpy(dtype=float), arr.index.to_numpy())
        n, without = int(arr.notna().sum()), int(arr.isna().sum())
        if top.share is None:
            return TierPareto(
                **dict.fromkeys(
                    (
                        "top_20_percent_customers",
                        "top_20_percent_arr_contribution",
                        "tier_distribution",
                        "top_share",
                        "gini",
                    )
                ),
                n=n,
                without_arr=without,
            )
        held = self.tier.iloc[top.positions].value_counts()
        told = [f"{held[name]} {name}" for name in reversed(self.names) if name in held.index]
        return TierPareto(
            top_20_percent_customers=top.count,
            tier_distribution=" + ".join(told),
            top_20_percent_arr_contribution=f"{100 * top.share:.0f}%",
            top_share=round(top.share, 4),
            gini=rounded(gini(arr.to_numpy(dtype=float))),
            n=n,
            without_arr=without,
        )

    def _allocation(self, needs: pd.DataFrame) -> list[Allocation]:
        return [
            Allocation(
                tier=row["tier"],
                recommended_csm_count=int(row["need"]),
                current_csm_count=_whole(row["current"]),
                gap=_whole(row["gap"]),
                priority=row["priority"],
                customers=int(row["customers"]),
                hours_per_customer=row["hours_each"],
                hours_needed=round(row["hours"], 1),
                hours_available=rounded(row["available_hours"], 1),
                capacity_hours=round(row["capacity_hours"], 1),
            )
            for row in reversed(needs.to_dict("records"))
        ]

    def _suggestion(self, needs: pd.DataFrame) -> Suggestion:
        found = capacity.suggested(
            self.arr, self.limits, needs["hours_each"].tolist(), needs["available_hours"].tolist()
        )
        if found is None:
            why = (
                "it is not known what hours each tier's managers have"
                if needs["available_hours"].isna().any()
                else "the hours of a tier's managers carry no customer"
            )
            return Suggestion(thresholds=None, given=self.limits, customers=None, reason=why)
        sizes = ranking.by_amount(self.arr, found)
        return Suggestion(
            thresholds=[round(value, 2) for value in found],
            given=self.limits,
            customers=[int((sizes == at).sum()) for at in range(len(self.names))],
            reason="each tier as large as its managers' hours carry, from the top down",
        )

    def _premium(self) -> list[PremiumStep]:
        seats = self.rows["seats"].astype(float)
        table = premium_effects(
            self.figures, self.rows, self.arr / seats.where(seats > 0), self.as_of
        )
        columns = [name for name in PremiumStep.model_fields]
        return [
            PremiumStep(
                **{
                    key: round(value, 2) if isinstance(value, float) else value
                    for key, value in row.items()
                }
            )
            for row in table[columns].to_dict("records")
        ]

    def _weights(self) -> dict[str, float] | None:
        if self.asked.segmentation_model != "strategic_value":
            return None
        total = sum(self.settings.strategic_weights)
        return {
            name: round(weight / total, 4)
            for name, weight in zip(ranking.PARTS, self.settings.strategic_weights, strict=True)
        }

    def _sensitivity(self) -> list[Sensitivity] | None:
        if self.asked.segmentation_model != "strategic_value":
            return None
        sizes = self.sizes(ranking.by_amount(self.arr, self.limits))
        return [
            Sensitivity(
                weight=row["weight"],
                from_weight=row["from"],
                to_weight=row["to"],
                customers_in_another_tier=row["customers_in_another_tier"],
            )
            for row in ranking.sensitivity(self.ranked, self.settings.strategic_weights, sizes)
        ]

    def _actions(self, tiers: list[ValueTier], needs: pd.DataFrame) -> list[dict[str, Any]]:
        found = []
        rows = needs.set_index("tier").to_dict("index")
        for tier in tiers:
            if tier.tier_name in rows and tier.customer_count:
                found += rules.fired(
                    TOOL, "portfolio_action", parts.named(self, tier, rows[tier.tier_name])
                )
        order = ("critical", "high", "medium", "low")
        return sorted(found, key=lambda rule: order.index(rule["severity"]))

    def _unplaced(self) -> dict[str, int]:
        lost = self.number == UNPLACED
        no_rate = int(self.tier.index[lost].isin(self.money.no_rate).sum())
        told = {
            "no ARR is known": int(lost.sum()) - no_rate,
            "its ARR's currency has no rate": no_rate,
        }
        return {why: count for why, count in told.items() if count}

    def _warnings(self) -> list[str]:
        found = []
        if not self.addable:
            found.append(
                "several currencies and no rates: amounts are compared with the thresholds in their own, and "
                "totals are given by currency and never added up"
            )
        if (
            self.asked.segmentation_model == "strategic_value"
            and self.ranked["strategic_value"].isna().all()
        ):
            found.append("no strategic_value is known: its weight goes to ARR and potential")
        if (
            self.since is not None
            and (odd := self.arr.notna().sum() - (self.movements["end"] > 0).sum()) > 0
        ):
            found.append(
                f"{odd} customers have no ARR above 0 now, or none that is known a year ago"
            )
        return found


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)
