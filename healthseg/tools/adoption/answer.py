"""The responses of track_feature_adoption, put together from what was counted and judged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pandas as pd

from healthseg.errors import InvalidParameters
from healthseg.tools.adoption import advice, frames, missing, parts
from healthseg.tools.adoption import funnel as funnels
from healthseg.tools.adoption.benchmark import benchmark
from healthseg.tools.adoption.effects import Effects, effects
from healthseg.tools.adoption.features import Lives, portfolio_features
from healthseg.tools.adoption.figures import DAY, NO_CATEGORY, Figures
from healthseg.tools.adoption.patterns import patterns
from healthseg.tools.adoption.result import (
    Benchmark,
    FeatureAdoption,
    Funnel,
    NamedFunnel,
    PortfolioAdoption,
)
from healthseg.tools.adoption.subject import Subject
from healthseg.tools.rounding import records


def of_all(
    portfolio: Any, as_of: dt.date, asked: Any, kind: type[FeatureAdoption] = FeatureAdoption
) -> FeatureAdoption:
    """The response for all live customers."""
    figures = Figures.of(portfolio, as_of, asked.time_period_days)
    categories = _categories(figures, asked.feature_category)
    names = figures.features.index[figures.features["category"].isin(categories)].tolist()
    pairs = figures.pairs[figures.pairs["feature"].isin(names)]
    lives = Lives.of_portfolio(figures)
    tried = effects(figures) if asked.include_correlation_analysis else None
    frame = portfolio_features(figures, names)
    found, evidence, paths = patterns(figures)
    stages = funnels.reached(pairs, figures.settings)
    response = _response(
        figures,
        asked,
        tried,
        kind,
        {
            "client_id": None,
            "customer_name": None,
            "analysis_scope": "All customers",
            "total_customers": len(figures.live),
            "excluded": figures.excluded(),
            "feature_adoption_summary": {
                f"{name}_features": parts.summary(figures, pairs, lives, name, len(figures.live))
                for name in categories
            },
            "feature_details": parts.details(figures, frame, lives, tried, single=False),
            **_funnels(figures, asked, pairs, stages, "pairs of a customer and a feature"),
            "adoption_patterns": found,
            "pattern_evidence": evidence,
            "benchmark_comparison": Benchmark(
                vs_tier_average=None, vs_industry_average=None, vs_all_customers=None
            ),
            "benchmark_standing": None,
            "recommendations": advice.portfolio_recommendations(figures, frame, lives, tried),
            "low_adoption_features": advice.low_features(figures, frame, lives),
            **(_extra(figures, pairs, frame, lives) if kind is PortfolioAdoption else {}),
        },
    )
    return response.with_frames(
        features=frame,
        curves=frames.named(lives.curves("feature"), names),
        category_curves=frames.named(lives.curves("category"), categories),
        kept=frames.named(lives.kept_curves(), categories),
        funnel=frames.funnel(pairs, stages, figures.messages_known),
        paths=paths,
        effects=frames.named(frames.effects(tried, figures), names),
        customers=frames.customers(figures, pairs),
        abandoned=frames.abandoned(frame, lives),
    )


def of_one(
    portfolio: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any
) -> FeatureAdoption:
    """The response for a customer that had signed up by ``as_of``; one that left is shown as of its last day."""
    figures = Figures.of(portfolio, as_of, asked.time_period_days)
    subject = Subject(figures, customer, _categories(figures, asked.feature_category))
    pairs, frame, units, words = subject.pairs, subject.frame, subject.units, subject.words
    tried = effects(figures) if asked.include_correlation_analysis else None
    stages, shown = funnels.reached(units, figures.settings), advice.Advice(subject, words, tried)
    compared, standing = benchmark(
        figures, subject.client_id, pairs, words, asked.benchmark_against, subject.categories
    )
    response = _response(
        figures,
        asked,
        tried,
        FeatureAdoption,
        {
            "client_id": subject.client_id,
            "customer_name": subject.name,
            "analysis_scope": f"{subject.name} ({subject.client_id})",
            "total_customers": 1,
            "excluded": {},
            "feature_adoption_summary": {
                f"{one}_features": parts.summary(figures, pairs, subject.lives, one, 1)
                for one in subject.categories
            },
            "feature_details": parts.details(figures, frame, subject.lives, tried, single=True),
            **_funnels(figures, asked, units, stages, "pairs of a user and a feature"),
            "adoption_patterns": None,
            "pattern_evidence": None,
            "benchmark_comparison": compared,
            "benchmark_standing": standing,
            "recommendations": [] if subject.churned else shown.recommendations(),
            "low_adoption_features": shown.low(),
        },
        subject.warnings(),
        subject.day,
    )
    return response.with_frames(
        features=frame,
        curves=frames.own_times(subject.own, Lives.of_portfolio(figures)),
        kept=subject.lives.kept_curves(),
        funnel=frames.funnel(units, stages, figures.messages_known),
        peers=shown.open,
        effects=frames.named(frames.effects(tried, figures), frame["feature"]),
    )


# -- what both have --------------------------------------------------------------------------


def _response(
    figures: Figures,
    asked: Any,
    tried: Effects | None,
    kind: type[FeatureAdoption],
    keys: dict[str, Any],
    warnings: list[str] | None = None,
    day: dt.date | None = None,
) -> FeatureAdoption:
    day, settings = day or figures.as_of, figures.settings
    start = day - (figures.period_days - 1) * DAY
    response = kind(
        as_of=figures.as_of,
        data_until=figures.portfolio.data_until,
        fingerprint=figures.portfolio.fingerprint(figures.as_of),
        warnings=[*(warnings or []), *_warnings(figures, keys)],
        analysis_period_days=figures.period_days,
        period_start=start,
        period_end=day + DAY,
        feature_category=asked.feature_category,
        rule=f"events of persons on at least {settings.adopted_min_days} of {figures.period_days} days, by at least "
        f"{settings.adopted_min_users} user{'' if settings.adopted_min_users == 1 else 's'}",
        correlation_analysis=None if tried is None else parts.correlations(figures, tried),
        **keys,
    )
    return response.model_copy(
        update={
            "not_measured": missing.reasons(figures, asked, response, tried),
            "coverage": missing.coverage(response),
        }
    )


def _categories(figures: Figures, asked: str) -> list[str]:
    if asked == "all":
        return figures.categories
    if NO_CATEGORY in figures.categories:
        raise InvalidParameters(
            "the portfolio has no features table, so no feature has a category: ask for 'all'",
            parameter="feature_category",
            value_provided=asked,
            validation_rule="'all'",
        )
    return [asked]


def _funnels(
    figures: Figures, asked: Any, units: pd.DataFrame, stages: pd.DataFrame, unit: str
) -> dict[str, Any]:
    if not asked.include_adoption_funnel:
        return {"adoption_funnel": None, "category_funnels": None, "feature_funnels": None}
    known = figures.messages_known

    def by(column: str) -> list[NamedFunnel]:
        return [
            NamedFunnel(name=str(name), unit=unit, **funnels.counted(stages.loc[rows.index], known))
            for name, rows in units.groupby(column, sort=True)
        ]

    return {
        "adoption_funnel": Funnel(unit=unit, **funnels.counted(stages, known)),
        "category_funnels": by("category"),
        "feature_funnels": by("feature"),
    }


def _extra(
    figures: Figures, pairs: pd.DataFrame, frame: pd.DataFrame, lives: Lives
) -> dict[str, Any]:
    return {
        "customers": records(frames.customers(figures, pairs)),
        "abandoned": records(frames.abandoned(frame, lives)),
    }


def _warnings(figures: Figures, keys: Mapping[str, Any]) -> list[str]:
    found = []
    if not figures.portfolio.has("features"):
        found.append(
            "no features table: all features that the portfolio was seen to use, without categories"
        )
    elif not figures.portfolio.has("entitlements"):
        found.append(
            "no entitlements table: every customer is taken to be entitled to every released feature"
        )
    if keys["client_id"] is None and not keys["total_customers"]:
        found.append("the portfolio has no live customers on this day")
    return found
