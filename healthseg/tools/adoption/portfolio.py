"""Responses of track_feature_adoption: for one customer, and for all with their adoption patterns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.personas import path_metrics, stable_groups
from healthseg.errors import InvalidParameters
from healthseg.metrics.counting import customers as customers_table
from healthseg.metrics.counting import epoch_day, epoch_days, epoch_days_or_nan
from healthseg.metrics.feature_times import FeatureTimes
from healthseg.metrics.milestone_times import value_median
from healthseg.metrics.money import money
from healthseg.metrics.profile import customers_as_of
from healthseg.scoring.adoption_effects import adoption_effects
from healthseg.statistics.rates import percentages
from healthseg.statistics.survival import kaplan_meier, survival_at
from healthseg.tools.adoption import advice
from healthseg.tools.adoption.customer import CustomerAdoption
from healthseg.tools.adoption.features import (
    NO_CATEGORY,
    YEAR_DAYS,
    FeatureUsage,
    category_summary,
    feature_detail,
    funnel_frame,
    funnels,
    portfolio_features,
)
from healthseg.tools.adoption.result import (
    AdoptionBenchmark,
    FeatureAdoption,
    FeatureDetail,
    Pattern,
    PatternEvidence,
    PortfolioAdoption,
)
from healthseg.tools.base import Figure
from healthseg.tools.context import DAY, CustomerContext, chosen_warnings, require_modest
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.values import records, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

Against = Literal["tier", "industry", "all_customers"]
NOT_REQUESTED = "not requested"
COVERED = (
    "adoption_rate",
    "average_time_to_first_use_days",
    "usage_frequency",
    "customer_satisfaction",
    "correlation_with_retention",
)
DETAIL_REASONS = {
    "average_time_to_first_use_days": "fewer than half got there, or none was watched from the beginning",
    "customer_satisfaction": "fewer than 5 answers on the feature in 365 days",
    "usage_frequency": "no user used it in 28 days",
    "adoption_rate": "no active user, or before events were tracked",
}


class AdoptionRequest:
    """What a response is about: the day and rule of adoption, the category, which sections it has."""

    def __init__(
        self,
        portfolio: Portfolio,
        as_of: dt.date,
        period_days: int,
        category: str,
        include_funnel: bool = True,
        include_effects: bool = True,
        only: str | None = None,
    ) -> None:
        self.usage = FeatureUsage.of(portfolio, as_of, period_days, only)
        require_modest(len(self.usage.features))
        self.category, self.include_funnel = category, include_funnel
        self.effects = (
            adoption_effects(portfolio, as_of, period_days, self.usage.messages_known)
            if include_effects
            else None
        )
        self.categories = self._categories()

    def _categories(self) -> list[str]:
        if self.category == "all":
            return self.usage.categories
        if NO_CATEGORY in self.usage.categories:
            raise InvalidParameters(
                "the portfolio has no features table, so no feature has a category: ask for 'all'",
                parameter="feature_category",
                value_provided=self.category,
                validation_rule="'all'",
            )
        return [self.category]

    # -- responses -------------------------------------------------------------------------

    def for_portfolio(self, kind: type[FeatureAdoption] = FeatureAdoption) -> FeatureAdoption:
        """The response for all live customers."""
        usage, tested = self.usage, self.effects
        features = usage.features
        names = features.index[features["category"].isin(self.categories)].tolist()
        pairs, times = usage.pairs[usage.pairs["feature"].isin(names)], usage.times
        frame = portfolio_features(usage, names)
        patterns, evidence, path_frame = adoption_patterns(usage)
        table, abandoned = customers_frame(usage, pairs), abandoned_frame(frame, times)
        extra: dict[str, Any] = {"customers": records(table), "abandoned": records(abandoned)}
        if kind is PortfolioAdoption:
            extra["next_actions"] = _next_actions(usage, pairs, frame)
        keys = {
            "client_id": None,
            "customer_name": None,
            "analysis_scope": "All customers",
            "total_customers": len(usage.live),
            "excluded": usage.excluded(),
            **self._summary_and_details(pairs, frame, times, len(usage.live), single=False),
            **self._funnels(pairs, "pairs of a customer and a feature"),
            "adoption_patterns": patterns,
            "pattern_evidence": evidence,
            "benchmark_comparison": AdoptionBenchmark(
                **dict.fromkeys(
                    AdoptionBenchmark.model_fields,
                    Figure(None, "only single customers are compared"),
                )
            ),
            "benchmark_standing": None,
            "recommendations": advice.portfolio_recommendations(usage, frame, times, tested),
            "low_adoption_features": advice.low_features(usage, frame, times, tested),
            **(extra if kind is PortfolioAdoption else {}),
        }
        warnings = chosen_warnings(usage.only)
        return self._response(kind, keys, warnings, usage.as_of).with_frames(
            features=frame,
            curves=_named(times.curves("feature"), names),
            category_curves=_named(times.curves("category"), self.categories),
            kept=_named(times.duration_curves(), self.categories),
            funnel=funnel_frame(usage, pairs),
            paths=path_frame,
            effects=_named(advice.effects_frame(tested, usage), names),
            customers=table,
            abandoned=abandoned,
        )

    def for_customer(self, context: CustomerContext, against: Against | None) -> FeatureAdoption:
        """The response for one customer."""
        usage, tested = self.usage, self.effects
        customer = CustomerAdoption(context, usage, self.categories)
        compared, standing = customer.benchmark(against)
        keys = {
            "client_id": context.client_id,
            "customer_name": context.name,
            "analysis_scope": f"{context.name} ({context.client_id})",
            "total_customers": 1,
            "excluded": {},
            **self._summary_and_details(
                customer.pairs, customer.frame, customer.times, 1, single=True
            ),
            **self._funnels(customer.units, "pairs of a user and a feature"),
            "adoption_patterns": Figure(None, "patterns are of many customers: ask for all"),
            "pattern_evidence": None,
            "benchmark_comparison": compared,
            "benchmark_standing": standing,
            "recommendations": [] if context.churned else customer.recommendations(tested),
            "low_adoption_features": customer.low_features(tested),
            "next_actions": NextActions.of(usage.portfolio, usage.as_of).shown(context.client_id),
        }
        response = self._response(FeatureAdoption, keys, customer.warnings(), customer.day)
        return response.with_frames(
            features=customer.frame,
            curves=customer.times_frame(),
            kept=customer.times.duration_curves(),
            funnel=funnel_frame(usage, customer.units),
            peers=customer.open_features,
            effects=_named(advice.effects_frame(tested, usage), customer.frame["feature"]),
        )

    # -- what both share -------------------------------------------------------------------

    def _response(
        self, kind: type[FeatureAdoption], keys: dict[str, Any], warnings: list[str], day: dt.date
    ) -> FeatureAdoption:
        usage, settings, tested = self.usage, self.usage.settings, self.effects
        users = settings.adopted_min_users
        details: list[FeatureDetail] = keys["feature_details"]
        return kind(
            as_of=usage.as_of,
            data_until=usage.portfolio.data_until,
            fingerprint=usage.portfolio.fingerprint(usage.as_of),
            coverage=self._coverage(details),
            warnings=[*warnings, *self._warnings(keys)],
            not_measured=self._reasons(keys, details),
            analysis_period_days=usage.period_days,
            period_start=day - (usage.period_days - 1) * DAY,
            period_end=day + DAY,
            feature_category=self.category,
            rule=f"use by at least {users} user{'' if users == 1 else 's'} on at least "
            f"{settings.adopted_min_days} of {usage.period_days} days",
            correlation_analysis=Figure(None, NOT_REQUESTED)
            if tested is None
            else advice.correlations(usage, tested),
            **keys,
        )

    def _summary_and_details(
        self,
        pairs: pd.DataFrame,
        frame: pd.DataFrame,
        times: FeatureTimes,
        customers: int,
        single: bool,
    ) -> dict[str, Any]:
        usage, tested = self.usage, self.effects
        details = [
            feature_detail(
                usage,
                row,
                times,
                None if tested is None else advice.retention_part(usage, tested, row["feature"]),
                single,
            )
            for row in frame.to_dict("records")
        ]
        summaries = {
            f"{name}_features": category_summary(usage, pairs, times, name, customers)
            for name in self.categories
        }
        return {"feature_adoption_summary": summaries, "feature_details": details}

    def _funnels(self, units: pd.DataFrame, unit: str) -> dict[str, Any]:
        if self.include_funnel:
            return funnels(self.usage, units, unit)
        return {
            "adoption_funnel": Figure(None, NOT_REQUESTED),
            "category_funnels": None,
            "feature_funnels": None,
        }

    def _coverage(self, details: list[FeatureDetail]) -> float | None:
        """The share of the features' figures that is measured."""
        names = COVERED if self.effects is not None else COVERED[:-1]
        known = [getattr(detail, name) is not None for detail in details for name in names]
        return round(sum(known) / len(known), 4) if known else None

    def _warnings(self, keys: dict[str, Any]) -> list[str]:
        portfolio, warnings = self.usage.portfolio, []
        if not portfolio.has("features"):
            warnings.append(
                "no features table: all features that the portfolio used, without categories"
            )
        elif not portfolio.has("entitlements"):
            warnings.append(
                "no entitlements table: every customer is taken to be entitled to every released feature"
            )
        if keys["client_id"] is None and not keys["total_customers"]:
            warnings.append("the portfolio has no live customers on this day")
        return warnings

    def _reasons(self, keys: dict[str, Any], details: list[FeatureDetail]) -> dict[str, str]:
        """Why a key is null, where the parts do not say so themselves."""
        usage, reasons = self.usage, {}
        start, tracked = (
            usage.as_of - (usage.period_days - 1) * DAY,
            usage.portfolio.first_event_day,
        )
        early = f"the period begins on {start}, before events were tracked ({tracked})"
        if not len(usage.features):
            early = "the events name no features"
        for name, summary in keys["feature_adoption_summary"].items():
            path = f"$.feature_adoption_summary.{name}"
            if summary.adoption_rate is None:
                usable = summary.total_features
                reasons[f"{path}.adoption_rate"] = early if usable else "nothing of it can be used"
            time = summary.figure_of("average_time_to_adopt_days")
            if time.value is None:
                reasons[f"{path}.average_time_to_adopt_days"] = time.reason
        for name, reason in DETAIL_REASONS.items():
            if any(getattr(detail, name) is None for detail in details):
                reasons[f"$.feature_details[*].{name}"] = reason
        if self.include_funnel and not usage.messages_known:
            reasons["$.adoption_funnel.awareness"] = "no message names a feature"
        if any(part.avg_time_to_value is None for part in _patterns_of(keys)):
            reasons["$.adoption_patterns[*].avg_time_to_value"] = (
                "no milestone marks first value, or too few of the group are known to have reached it"
            )
        return reasons | self._effect_reasons(details)

    def _effect_reasons(self, details: list[FeatureDetail]) -> dict[str, str]:
        path = "$.feature_details[*].correlation_with_retention"
        if self.effects is None:
            return {path: NOT_REQUESTED}
        reasons = {}
        for name, part in advice.correlations(self.usage, self.effects).detail.items():
            if part.adjusted is None:
                reasons[f"$.correlation_analysis.{name}"] = part.reason or ""
        unknown = [part for part in details if part.correlation_with_retention is None]
        if unknown:
            known = (part.staying.reason for part in unknown if part.staying)
            why = next(filter(None, known), "no landmark row knows of it")
            reasons[path] = f"of {len(unknown)} features: {why}"
        return reasons


def _patterns_of(keys: dict[str, Any]) -> list[Pattern]:
    patterns = keys["adoption_patterns"]
    return patterns if isinstance(patterns, list) else []


def _named(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    return frame[frame["name"].isin(list(names))].reset_index(drop=True)


# -- frames of the portfolio's page ----------------------------------------------------


def customers_frame(usage: FeatureUsage, pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a live customer: name, tier, arr, currency, entitled, adopted, rate, users; lowest rate first.

    ARR is in the portfolio's currency where amounts can be added up, else in each customer's own.
    """
    by = pairs.groupby("client_id").agg(
        entitled=("feature", "size"), adopted=("adopted", "sum"), rate=("adopted", "mean")
    )
    live, ids = usage.live, usage.live.index.to_series()
    names = customers_table(usage.portfolio).reindex(live.index).get("name")
    arr = money(usage.portfolio, live, usage.as_of)
    frame = pd.DataFrame(
        {
            "client_id": ids,
            "name": ids if names is None else names.fillna(ids),
            "tier": live["tier"].astype(object),
            "arr": arr.amounts,
            "currency": arr.by_currency if arr.currency is None else arr.currency,
        },
        index=live.index,
    )
    frame = frame.join(by).assign(users=usage.users.reindex(live.index))
    return (
        frame.fillna({"entitled": 0})
        .reset_index(drop=True)
        .sort_values(
            ["rate", "arr", "client_id"],
            ascending=[True, False, True],
            na_position="last",
            kind="stable",
            ignore_index=True,
        )
    )


def abandoned_frame(frame: pd.DataFrame, times: FeatureTimes) -> pd.DataFrame:
    """A row a feature: observed adoptions, abandoned, taken up again, share after 180 days; lowest first."""
    columns = [
        "feature",
        "category",
        "adopters",
        "abandoned",
        "readopted",
        "share",
        "lower",
        "upper",
    ]
    rows = [
        {"feature": name, "category": category, **times.outcome(name)}
        for name, category in zip(frame["feature"], frame["category"], strict=True)
    ]
    table = pd.DataFrame(rows, columns=columns)
    order = ["share", "feature"]
    return table.sort_values(order, na_position="last", kind="stable", ignore_index=True)


FEATURES_NAMED = 2


def _next_actions(
    usage: FeatureUsage, pairs: pd.DataFrame, features: pd.DataFrame
) -> list[NextAction]:
    """The shared list's actions about features, with the features that most others have adopted and it never tried."""
    known = NextActions.of(usage.portfolio, usage.as_of)
    rate, names = features.set_index("feature")["rate"], features["feature"]
    untried = pairs[(pairs["days_ever"] == 0) & pairs["feature"].isin(names)]
    order = untried.assign(rate=untried["feature"].map(rate)).sort_values("rate", ascending=False)
    actions = []
    settled = usage.live.index[usage.live["tenure_days"] >= usage.settings.paths_days]
    for action in known.ranked(settled, ("features",)):
        rows = order[order["client_id"] == action.client_id].head(FEATURES_NAMED)
        named = [str(name).replace("_", " ") for name in rows["feature"]]
        if named:
            share = 100 * float(rows["rate"].iloc[0])
            why = f"{action.why}; {share:.0f}% of the customers use {named[0]}"
            text = f"Show them {' and '.join(named)}"
            action = action.model_copy(update={"text": text, "why": why})
        actions.append(action)
    return actions


# -- patterns of adoption --------------------------------------------------------------

PatternsFound = tuple[list[Pattern], PatternEvidence, pd.DataFrame]


def adoption_patterns(usage: FeatureUsage) -> PatternsFound:
    """Groups of customers by their first 90 days with features, the evidence, and the frame of paths."""
    key = usage.as_of, usage.period_days
    cache = usage.portfolio.cache
    return cache.get("adoption_paths", key, lambda: _patterns(usage), disk=False)


def _patterns(usage: FeatureUsage) -> PatternsFound:
    known = customers_as_of(usage.portfolio, usage.as_of)
    signup = pd.Series(epoch_days(known["signup_date"]), index=known.index)
    position = usage.lives["feature"].map(usage.features["recommended_position"])
    measured = path_metrics(
        usage.lives.assign(recommended_position=position),
        signup,
        epoch_day(usage.portfolio.first_event_day),
        epoch_day(usage.as_of),
        usage.settings.paths_days,
    )
    groups = stable_groups(measured, usage.settings)
    labels = groups.labels
    frame = measured.assign(group=-1 if labels is None else labels)
    evidence = PatternEvidence(
        stable=labels is not None,
        reason=groups.reason,
        customers=groups.customers,
        groups=None if labels is None else int(labels.max() + 1),
        silhouette=rounded(groups.silhouette),
        silhouette_p=rounded(groups.silhouette_p),
        stability=rounded(groups.stability),
    )
    if labels is None:
        return [], evidence, frame.reset_index()
    shares = percentages(labels.value_counts().sort_index().tolist())
    retention = _retention_spells(usage, known, signup)
    parts = [
        _pattern(usage, frame, group, groups.used, share, retention)
        for group, share in enumerate(shares)
    ]
    return parts, evidence, frame.reset_index()


def _pattern(
    usage: FeatureUsage,
    frame: pd.DataFrame,
    group: int,
    used: list[str],
    share: float,
    retention: pd.DataFrame,
) -> Pattern:
    settings = usage.settings
    inside, others = frame[frame["group"] == group], frame[frame["group"] != group]
    difference = (inside[used].mean() - others[used].mean()) / frame[used].std().replace(0, np.nan)
    difference = difference.dropna()
    difference = difference[difference.abs() >= settings.adoption_pattern_min_difference_sds]
    difference = difference.sort_values(key=lambda values: -values.abs(), kind="stable")
    phrases, values = rules.phrases(advice.TOOL, "path"), inside[used].median()
    names, texts = [], []
    for metric, value in difference.items():
        phrase, side = phrases[metric], "high" if value > 0 else "low"
        names.append(phrase[f"name_{side}"])
        texts.append(f"{phrase[side]}: {rules.words(phrase['value'], {'value': values[metric]})}")
    year = _year_retention(
        retention[retention["client_id"].isin(inside.index)], settings.interval_level
    )
    to_value = value_median(
        usage.portfolio, usage.as_of, "first_value", inside.index, settings.peers_min
    )
    return Pattern(
        pattern=" and ".join(names[:2]).capitalize() or "Like the others",
        percentage=share,
        characteristics="; ".join(texts) or "nothing sets them apart",
        avg_time_to_value=to_value,
        retention_rate=rounded(year[0]),
        retention_lower=rounded(year[1]),
        retention_upper=rounded(year[2]),
        customers=len(inside),
        figures={str(name): rounded(value) for name, value in values.items()},
    )


def _retention_spells(usage: FeatureUsage, known: pd.DataFrame, signup: pd.Series) -> pd.DataFrame:
    """Days from day 90 until a customer churned, or was last seen live; without those that had not lived a day of them."""
    churned_day, end = epoch_days_or_nan(known["churned_on"]), epoch_day(usage.as_of)
    churned = churned_day <= end
    time = np.where(churned, churned_day, end) - signup.to_numpy() - usage.settings.paths_days
    spells = pd.DataFrame({"client_id": known.index, "time": time, "churned": churned})
    return spells[spells["time"] >= 0]


def _year_retention(rows: pd.DataFrame, level: float) -> tuple[Any, Any, Any]:
    """The share retained for a year from day 90, with its interval; None where none was followed that long."""
    if not len(rows) or rows["time"].max() < YEAR_DAYS:
        return None, None, None
    curve = kaplan_meier(rows["time"], rows["churned"], np.full(len(rows), -1.0), level)
    steps = curve[curve["time"] <= YEAR_DAYS]
    value = float(survival_at(curve, [YEAR_DAYS])[0])
    if not len(steps):
        return value, None, None
    return value, steps["lower"].iloc[-1], steps["upper"].iloc[-1]
