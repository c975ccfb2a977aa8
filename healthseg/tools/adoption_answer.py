"""The replies of track_feature_adoption, put together from what was counted and judged."""
from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.measures.counting import Counting, Spans, epoch_day
from healthseg.measures.lives import provisioned
from healthseg.tools import adoption_advice as advice
from healthseg.tools import adoption_frames as frames
from healthseg.tools import adoption_funnel as funnels
from healthseg.tools import adoption_parts as parts
from healthseg.tools.adoption_benchmark import KEYS, benchmark
from healthseg.tools.adoption_effects import Effects, effects
from healthseg.tools.adoption_features import Lives, book_features, customer_features
from healthseg.tools.adoption_figures import DAY, NO_CATEGORY, RECENT_DAYS, Figures
from healthseg.tools.adoption_patterns import patterns
from healthseg.tools.adoption_result import AdoptionBook, Benchmark, FeatureAdoption, Funnel, NamedFunnel
from healthseg.tools.rounding import word

NOT_ASKED = "not requested"


def of_all(book: Any, as_of: dt.date, asked: Any, kind: type[FeatureAdoption] = FeatureAdoption) -> FeatureAdoption:
    """The reply for all live customers."""
    figures = Figures.of(book, as_of, asked.time_period_days)
    categories = _categories(figures, asked.feature_category)
    names = figures.features.index[figures.features["category"].isin(categories)].tolist()
    pairs = figures.pairs[figures.pairs["feature"].isin(names)]
    lives = Lives.of_book(figures)
    tried = effects(figures) if asked.include_correlation_analysis else None
    frame = book_features(figures, names)
    found, evidence, paths = patterns(figures)
    stages = funnels.reached(pairs, figures.settings)
    reply = _reply(figures, asked, tried, kind, {
        "client_id": None, "customer_name": None, "analysis_scope": "All customers",
        "total_customers": len(figures.live), "excluded": figures.excluded(),
        "feature_adoption_summary": {f"{name}_features": parts.summary(figures, pairs, lives, name, len(figures.live))
                                     for name in categories},
        "feature_details": parts.details(figures, frame, lives, tried, single=False),
        **_funnels(figures, asked, pairs, stages, "pairs of a customer and a feature"),
        "adoption_patterns": found, "pattern_evidence": evidence,
        "benchmark_comparison": Benchmark(vs_tier_average=None, vs_industry_average=None, vs_all_customers=None),
        "benchmark_standing": None,
        "recommendations": advice.book_recommendations(figures, frame, lives, tried),
        "low_adoption_features": advice.low_features(figures, frame, lives),
        **(_extra(figures, pairs, frame, lives) if kind is AdoptionBook else {})})
    return reply.with_frames(
        features=frame, curves=frames.named(lives.curves("feature"), names),
        category_curves=frames.named(lives.curves("category"), categories), kept=frames.named(lives.kept_curves(), categories),
        funnel=frames.funnel(pairs, stages, figures.messages_known), paths=paths,
        effects=frames.named(frames.effects(tried, figures), names),
        customers=frames.customers(figures, pairs), abandoned=frames.abandoned(frame, lives))


def of_one(book: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any) -> FeatureAdoption:
    """The reply for a customer that had signed up by ``as_of``; one that left is shown as of its last day."""
    left = customer.get("churned_on")
    churned = left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of)
    day = max(pd.Timestamp(left).date() - DAY, book.first_event_day) if churned else as_of
    figures, client = Figures.of(book, as_of, asked.time_period_days), str(customer["client_id"])
    then = Figures.of(book, day, asked.time_period_days)
    categories = _categories(figures, asked.feature_category)
    pairs = figures.pairs_of([client], day)
    pairs = pairs[pairs["category"].isin(categories)].reset_index(drop=True)
    own = figures.lives[(figures.lives["client_id"] == client) & figures.lives["category"].isin(categories)]
    lives, tried = Lives(figures, own), effects(figures) if asked.include_correlation_analysis else None
    active = float(figures.active_users([client], day)[client])
    frame = customer_features(figures, pairs, active, figures.user_days_of([client], day, RECENT_DAYS))
    who = then.known.loc[client] if client in then.known.index else figures.known.loc[client]
    tier, industry = word(who["tier"]), word(customer.get("industry"))
    users = _users(book, client, day)
    units = funnels.user_units(pairs, figures.user_days_of([client], day, max((day - book.first_event_day).days + 1, 1)),
                               figures.user_days_of([client], day, RECENT_DAYS), users)
    stages = funnels.reached(units, figures.settings)
    shown = advice.Advice(figures, client, tier, industry, frame, pairs, len(users), lives, tried)
    compared, standing = benchmark(figures, client, pairs, {"tier": tier, "industry": industry}, asked.benchmark_against,
                                   categories)
    name = str(customer.get("name") or client)
    reply = _reply(figures, asked, tried, FeatureAdoption, {
        "client_id": client, "customer_name": name, "analysis_scope": f"{name} ({client})", "total_customers": 1,
        "excluded": {}, "feature_adoption_summary": {
            f"{one}_features": parts.summary(figures, pairs, lives, one, 1) for one in categories},
        "feature_details": parts.details(figures, frame, lives, tried, single=True),
        **_funnels(figures, asked, units, stages, "pairs of a user and a feature"),
        "adoption_patterns": None, "pattern_evidence": None,
        "benchmark_comparison": compared, "benchmark_standing": standing,
        "recommendations": [] if churned else shown.recommendations(), "low_adoption_features": shown.low()},
        _customer_warnings(customer, churned, active, figures, day), day)
    return reply.with_frames(
        features=frame, curves=frames.own_times(own, Lives.of_book(figures)), kept=lives.kept_curves(),
        funnel=frames.funnel(units, stages, figures.messages_known), effects=frames.named(frames.effects(tried, figures), frame["feature"]),
        peers=shown.open)


# -- what both have --------------------------------------------------------------------------


def _reply(figures: Figures, asked: Any, tried: Effects | None, kind: type[FeatureAdoption], keys: dict[str, Any],
           warnings: list[str] | None = None, day: dt.date | None = None) -> FeatureAdoption:
    day, settings = day or figures.as_of, figures.settings
    start = day - (figures.period_days - 1) * DAY
    reply = kind(
        as_of=figures.as_of, data_until=figures.book.data_until, fingerprint=figures.book.fingerprint(figures.as_of),
        warnings=[*(warnings or []), *_warnings(figures, keys)], analysis_period_days=figures.period_days,
        period_start=start, period_end=day + DAY, feature_category=asked.feature_category,
        rule=f"events of persons on at least {settings.adopted_min_days} of {figures.period_days} days, by at least "
             f"{settings.adopted_min_users} user(s)",
        correlation_analysis=None if tried is None else parts.correlations(figures, tried), **keys)
    missing = _not_measured(figures, asked, reply, start)
    coverage = 1.0 - len({path.split(".")[1].split("[")[0] for path, why in missing.items() if why != NOT_ASKED}) / 10
    return reply.model_copy(update={"not_measured": missing, "coverage": round(max(coverage, 0.0), 4)})


def _categories(figures: Figures, asked: str) -> list[str]:
    if asked == "all":
        return figures.categories
    if NO_CATEGORY in figures.categories:
        raise InvalidParameters("the book has no features table, so no feature has a category: ask for 'all'",
                                parameter="feature_category", value_provided=asked, validation_rule="'all'")
    return [asked]


def _users(book: Any, client: str, day: dt.date) -> list[str]:
    """The customer's users: provisioned at the end of ``day``, or seen by then where no table lists them."""
    end = epoch_day(day) + 1
    zero = np.zeros(1, dtype=np.int64)
    count = Counting(book, [client], Spans(zero, zero + epoch_day(book.first_event_day), zero + end))
    return sorted(provisioned(count, end)["user_id"])


def _funnels(figures: Figures, asked: Any, units: pd.DataFrame, stages: pd.DataFrame, unit: str) -> dict[str, Any]:
    if not asked.include_adoption_funnel:
        return {"adoption_funnel": None, "category_funnels": None, "feature_funnels": None}
    known = figures.messages_known

    def by(column: str) -> list[NamedFunnel]:
        return [NamedFunnel(name=str(name), unit=unit, **funnels.counted(stages.loc[rows.index], known))
                for name, rows in units.groupby(column, sort=True)]
    return {"adoption_funnel": Funnel(unit=unit, **funnels.counted(stages, known)), "category_funnels": by("category"),
            "feature_funnels": by("feature")}


def _extra(figures: Figures, pairs: pd.DataFrame, frame: pd.DataFrame, lives: Lives) -> dict[str, Any]:
    return {"customers": frames.records(frames.customers(figures, pairs)),
            "abandoned": frames.records(frames.abandoned(frame, lives))}


def _warnings(figures: Figures, keys: Mapping[str, Any]) -> list[str]:
    found = []
    if not figures.book.has("features"):
        found.append("no features table: all features that the book was seen to use, without categories")
    elif not figures.book.has("entitlements"):
        found.append("no entitlements table: every customer is taken to be entitled to every released feature")
    if keys["client_id"] is None and not keys["total_customers"]:
        found.append("the book has no live customers on this day")
    return found


def _customer_warnings(customer: Mapping[str, Any], churned: bool, active: float, figures: Figures,
                       day: dt.date) -> list[str]:
    found = []
    if churned:
        found.append(f"churned on {pd.Timestamp(customer['churned_on']).date()}: shown as of the day before")
    if active == 0:
        found.append(f"no events in this period ({figures.period_days} days to {day})")
    return found


def _not_measured(figures: Figures, asked: Any, reply: FeatureAdoption, start: dt.date) -> dict[str, str]:
    """Why a key is null, by its path."""
    early = f"the period begins on {start}, before events were tracked ({figures.book.first_event_day})"
    nameless = "the events name no features" if not len(figures.features) else early
    single = reply.client_id is not None
    unknown = all(one.adoption_rate is None for one in reply.feature_adoption_summary.values())
    against = asked.benchmark_against or "tier"
    found = [
        ("$.feature_adoption_summary.*.adoption_rate", unknown, nameless),
        ("$.feature_details[*].average_time_to_first_use_days",
         any(one.average_time_to_first_use_days is None for one in reply.feature_details),
         "fewer than half got there, or nobody was watched from the beginning"),
        ("$.feature_details[*].customer_satisfaction", any(one.customer_satisfaction is None for one in reply.feature_details),
         "fewer than 5 answers on the feature in 365 days"),
        ("$.feature_details[*].usage_frequency", any(one.usage_frequency is None for one in reply.feature_details),
         "nobody used it in 28 days"),
        ("$.adoption_funnel", reply.adoption_funnel is None, NOT_ASKED),
        ("$.adoption_funnel.awareness", reply.adoption_funnel is not None and not figures.messages_known,
         "no message names a feature"),
        ("$.adoption_patterns", single, "patterns are of many customers: ask for all"),
        ("$.adoption_patterns[*].avg_time_to_value", bool(reply.adoption_patterns), "no first-value milestone is read here"),
        ("$.correlation_analysis", reply.correlation_analysis is None, NOT_ASKED),
        ("$.low_adoption_features[*].barriers", any(one.barriers is None for one in reply.low_adoption_features),
         "no tickets or answers name a feature"),
        *_effects_missing(reply), *_impact_missing(reply), *_benchmark_missing(reply, against)]
    return dict(sorted(parts.reasons(found).items()))


def _effects_missing(reply: FeatureAdoption) -> list[tuple[str, bool, str]]:
    if reply.correlation_analysis is None:
        return [("$.feature_details[*].correlation_with_retention", True, NOT_ASKED)]
    found = [(f"$.correlation_analysis.{name}", one.adjusted is None, one.reason or "")
             for name, one in reply.correlation_analysis.detail.items()]
    few = [one for one in reply.feature_details if one.correlation_with_retention is None]
    reason = next((one.staying.reason for one in few if one.staying and one.staying.reason), "no landmark row knows of it")
    return [*found, ("$.feature_details[*].correlation_with_retention", bool(few), f"of {len(few)} features: {reason}")]


def _impact_missing(reply: FeatureAdoption) -> list[tuple[str, bool, str]]:
    missing = any(one.expected_impact is None for one in reply.recommendations)
    return [("$.recommendations[*].expected_impact", missing,
             "this book's history shows no effect of such an action beyond chance")]


def _benchmark_missing(reply: FeatureAdoption, against: str) -> list[tuple[str, bool, str]]:
    standing = reply.benchmark_standing
    reason = "compared are single customers" if standing is None else (
        "fewer peers than the setting peers_min" if standing.peer_median is None
        else "half of the peers have adopted nothing")
    return [(f"$.benchmark_comparison.{name}", getattr(reply.benchmark_comparison, name) is None,
             reason if key == against else NOT_ASKED) for key, name in KEYS.items()]
