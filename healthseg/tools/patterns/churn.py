"""What precedes churn and retention, who shows it now, and what becomes of low scores."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.charts.formats import percent
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_patterns import ORDER, USED
from healthseg.clustering.churn_signs import BY_NAME, CHANGES, RISK, SIGNS, SUCCESS, Sign
from healthseg.clustering.pattern_words import description, features_of, pattern_name
from healthseg.clustering.sequences import ARROW
from healthseg.metrics import panels
from healthseg.scoring.churn import training
from healthseg.scoring.churn.expected import churned_of_likely, likely_to_churn
from healthseg.scoring.recoveries import recoveries
from healthseg.scoring.scored_panel import scorecard_rows
from healthseg.statistics.spells import (
    earliest_lead,
    early_signs,
    lead_curve,
    spell_outcomes,
    spell_starts,
)
from healthseg.tools.base import Figure
from healthseg.tools.context import PortfolioContext
from healthseg.tools.patterns.result import (
    Behaviour,
    BehaviourStanding,
    ChurnOutcome,
    CustomerName,
    EarlySign,
    PredictiveInsights,
    RecoveryRates,
    RiskPattern,
    SuccessPattern,
    TreatedSpells,
)
from healthseg.tools.patterns.study import SEGMENT, Study, StudyScope, pattern_in_groups
from healthseg.tools.segmenters import written
from healthseg.tools.values import number, rounded

RECOVERY_SHARES = (
    "success_rate",
    "success_lower",
    "success_upper",
    "matched_success_rate",
    "matched_lower",
    "matched_upper",
    "difference",
    "difference_lower",
    "difference_upper",
)
LEAD_COLUMNS = ["sign", "lead_days", "churned", "n", "retained", "gap"]


class ChurnPatterns:
    """The significant patterns of a study (``rows``) that precede churn or retention, and who shows them.

    With a ``client_id`` only those that the customer shows are returned.
    """

    def __init__(self, study: Study, rows: pd.DataFrame, client_id: str | None) -> None:
        self.study, self.rows, self.client_id = study, rows, client_id
        self.settings, self.weeks = study.settings, study.history.weeks
        self.shown = {sign.name: sign.shown(self.weeks, self.settings) for sign in SIGNS}

    @property
    def risk_keys(self) -> list[str]:
        """The significant signs of churn."""
        return self.rows.loc[(self.rows["kind"] == RISK) & (self.rows["lift"] > 1), "key"].tolist()

    @cached_property
    def _is_last_week(self) -> np.ndarray:
        dates = self.weeks["date"]
        return (dates == dates.max()).to_numpy(dtype=bool)

    def showing(self, sign: str) -> set[str]:
        """Who shows a sign on the last weekly date."""
        return set(self.weeks.loc[self._is_last_week & (self.shown[sign] == 1), "client_id"])

    def showing_pattern(self, kind: str, key: str) -> set[str]:
        """Who shows a pattern: signs on the last weekly date, features in the window, orders ever."""
        if kind in (RISK, SUCCESS):
            return self.showing(key)
        features = features_of(kind, key)
        orders, used = self.study.orders, self.study.used
        if ARROW in key and orders is not None:
            return set(orders.days.index[orders.shows(ARROW.join(features))])
        if kind == "habit" and key.startswith(USED) and features[0] not in used:
            return set()
        return set(used.index[(used[features] == 1).all(axis=1)])

    def _is_relevant(self, row: dict[Any, Any]) -> bool:
        return self.client_id is None or self.client_id in self.showing_pattern(
            row["kind"], row["key"]
        )

    # -- risks -------------------------------------------------------------------------------

    @cached_property
    def risks(self) -> list[RiskPattern]:
        rows = self.rows[self.rows["key"].isin(self.risk_keys)]
        if not len(rows):
            return []
        rows = rows.sort_values("hazard_ratio", ascending=False, kind="stable")
        return [self._risk(row) for row in rows.to_dict("records") if self._is_relevant(row)]

    def _risk(self, row: dict[Any, Any]) -> RiskPattern:
        settings, study, sign = self.settings, self.study, BY_NAME[row["key"]]
        shown, horizon = self.shown[sign.name], settings.sign_horizon_days
        starts = spell_starts(self.weeks, shown, settings.sign_quiet_weeks)
        spells = spell_outcomes(
            self.weeks, shown, starts, study.level, horizon, settings.sign_min_spells
        )
        early = early_signs(
            starts,
            {name: self.shown[name] for name in self.risk_keys if name != sign.name},
            settings.sign_min_spells,
            settings.early_sign_min_ratio,
            settings.early_sign_min_z,
        )[: settings.early_signs_shown]
        few = f"fewer than {settings.sign_min_spells} spells that could be followed for {horizon} days"
        return RiskPattern(
            pattern=sign.label,
            risk_type="churn",
            recommended_intervention=sign.advice,
            early_warning_indicators=[BY_NAME[name].label for name, _, _ in early],
            probability_of_churn=Figure(rounded(spells.rate), few),
            probability_lower=Figure(rounded(spells.lower), few),
            probability_upper=Figure(rounded(spells.upper), few),
            n=spells.spells,
            base_rate=Figure(rounded(spells.matched_rate), few),
            base_n=spells.matched,
            horizon_days=horizon,
            lead_days=Figure(rounded(spells.lead_days, 1), few),
            lead_quartiles=Figure(
                spells.lead_quartiles and [rounded(days, 1) for days in spells.lead_quartiles], few
            ),
            among_leavers=Figure(rounded(spells.among_churned), few),
            among_stayers=Figure(rounded(spells.among_retained), few),
            indicators=[
                EarlySign(
                    sign=BY_NAME[name].label,
                    share_at_beginning=rounded(share),
                    share_otherwise=rounded(base),
                )
                for name, share, base in early
            ],
            outcome=self._outcome(row),
            confidence=rounded(row["confidence"]),
            shown_now=len(self.showing(sign.name)),
            within=pattern_in_groups(study, row),
            shown_by_customer=None if self.client_id is None else True,
        )

    def _outcome(self, row: dict[Any, Any]) -> ChurnOutcome:
        return ChurnOutcome(
            hazard_ratio=rounded(row["hazard_ratio"]),
            lower=rounded(row["hazard_lower"]),
            upper=rounded(row["hazard_upper"]),
            interval_level=self.settings.effects_interval_level,
            adjusted_for=self.study.churn_hypotheses.adjusted_for(row["kind"]),
            monthly_rate_with=rounded(row["rate_with"]),
            monthly_rate_without=rounded(row["rate_without"]),
            months_with=int(row["months_with"]),
            months_without=int(row["months_without"]),
            left_with=int(row["left_with"]),
            left_without=int(row["left_without"]),
        )

    @cached_property
    def lead_curves(self) -> pd.DataFrame:
        """The lead-time curves of the significant signs: ``LEAD_COLUMNS``."""
        horizon = self.settings.sign_horizon_days
        curves = [
            lead_curve(self.weeks, self.shown[name], horizon).assign(sign=BY_NAME[name].label)
            for name in self.risk_keys
        ]
        if not curves:
            return pd.DataFrame(columns=LEAD_COLUMNS)
        return pd.concat(curves, ignore_index=True)[LEAD_COLUMNS]

    # -- successes ---------------------------------------------------------------------------

    @cached_property
    def successes(self) -> list[SuccessPattern]:
        rows = self.rows[self.rows["kind"].isin([SUCCESS, "habit"]) & (self.rows["lift"] < 1)]
        if not len(rows):
            return []
        rows = rows.sort_values(["hazard_ratio", "key"], kind="stable")
        return [self._success(row) for row in rows.to_dict("records") if self._is_relevant(row)]

    def _success(self, row: dict[Any, Any]) -> SuccessPattern:
        kind, key = row["kind"], row["key"]
        shown = self.study.shown(kind, key)
        assert shown is not None
        retention = self.study.retention.with_and_without(shown)
        correlation = retention.correlation
        name = pattern_name(kind, key)
        insight = f"{name}: {description(kind, key, row)}"
        if retention.rate_with is not None and retention.rate_without is not None:
            insight += (
                f". {percent(retention.rate_with)} were retained for "
                f"{self.settings.sign_horizon_days} days with it (n = {retention.n_with}), "
                f"{percent(retention.rate_without)} without (n = {retention.n_without})"
            )
        few = "too few churned, or were retained, to compare"
        return SuccessPattern(
            pattern=name,
            success_metric="retention_rate",
            correlation=Figure(rounded(correlation and correlation.value), few),
            insight=insight,
            correlation_lower=Figure(rounded(correlation and correlation.lower), few),
            correlation_upper=Figure(rounded(correlation and correlation.upper), few),
            retention_with=rounded(retention.rate_with),
            retention_without=rounded(retention.rate_without),
            n_with=retention.n_with,
            n_without=retention.n_without,
            outcome=self._outcome(row),
            confidence=rounded(row["confidence"]),
            shown_by_customer=None if self.client_id is None else True,
        )

    # -- behaviours --------------------------------------------------------------------------

    @cached_property
    def behaviours(self) -> list[Behaviour]:
        """Every sign that was tested, significant or not: those that the customer shows first, then the strongest."""
        significant = set(self.rows["key"])
        rows = [self._behaviour(sign, sign.name in significant) for sign in SIGNS]
        return sorted(rows, key=_first_shown)

    @property
    def churned_with(self) -> dict[str, float]:
        """The share that churned after each warning sign; 0 where it is not known."""
        tested = [] if self.study.churn_hypotheses.reason else self.behaviours
        known = {each.sign: each.churned_with or 0.0 for each in tested}
        return {sign.name: known.get(sign.name, 0.0) for sign in SIGNS if sign.kind == RISK}

    def _behaviour(self, sign: Sign, significant: bool) -> Behaviour:
        by_month = sign.shown(self.study.months, self.settings)
        rates = self.study.retention.with_and_without(by_month)
        retained, churned = self.study.retention.shares_showing(by_month)
        now, client, own = self.showing(sign.name), self.client_id, None
        if client is not None:
            own = self.weeks[self._is_last_week & (self.weeks["client_id"] == client)]
        return Behaviour(
            sign=sign.name,
            behaviour=sign.label,
            kind=sign.kind,
            significant=significant,
            figure=None if own is None or own.empty else _own_figure(sign, own.iloc[0]),
            shown_by_customer=None if client is None else client in now,
            shown_now=len(now),
            among_retained=rounded(retained),
            among_churned=rounded(churned),
            churned_with=None if rates.rate_with is None else rounded(1 - rates.rate_with),
            churned_without=None if rates.rate_without is None else rounded(1 - rates.rate_without),
            n_with=rates.n_with,
            n_without=rates.n_without,
            lead_days=self._lead_days(sign) if sign.kind == RISK else None,
            shown_by=[] if client is not None else self._named(now),
            advice=sign.advice,
        )

    def _lead_days(self, sign: Sign) -> float | None:
        shown, settings = self.shown[sign.name], self.settings
        starts = spell_starts(self.weeks, shown, settings.sign_quiet_weeks)
        return rounded(
            spell_outcomes(
                self.weeks,
                shown,
                starts,
                self.study.level,
                settings.sign_horizon_days,
                settings.sign_min_spells,
            ).lead_days,
            1,
        )

    def _named(self, clients: set[str]) -> list[CustomerName]:
        """Live customers by name, those with the most expected churned ARR first."""
        context = PortfolioContext.of(self.study.portfolio, self.study.scope.as_of)
        ranked = context.ranked_by_loss(clients)
        return [
            CustomerName(client_id=client, name=str(context.names[client])) for client in ranked
        ]

    def standing(self) -> BehaviourStanding | None:
        """How many signs the customer shows, and how many customers that were retained showed."""
        if self.client_id is None:
            return None
        months, scope = self.study.months, self.study.scope
        signs = [sign.shown(months, self.settings) == 1 for sign in SIGNS if sign.kind == RISK]
        churn = PortfolioContext.of(self.study.portfolio, scope.as_of).churn
        chance = churn["probability"]
        own = Counter(sign.kind for sign in SIGNS if self.client_id in self.showing(sign.name))
        return BehaviourStanding(
            warning_signs=own[RISK],
            strengths=own[SUCCESS],
            warning_signs_of_retained=rounded(
                self.study.retention.mean_of_retained(np.sum(signs, axis=0)), 1
            ),
            churn_probability=rounded(number(chance.get(self.client_id))),
            gave_notice=bool(churn["gave_notice"].get(self.client_id)),
            median_probability=rounded(number(chance.median())),
        )

    # -- impact ------------------------------------------------------------------------------

    def impact(self, kind: str, key: str, row: dict[Any, Any], scope: StudyScope) -> str | None:
        """High where the outcome is significant and those who show it hold much of the ARR, medium where either."""
        significant = self._is_significant(kind, key, row)
        if significant is None:
            return None
        share = self._arr_share(scope, self.showing_pattern(kind, key))
        if share is None:
            return None
        much = share >= self.settings.pattern_impact_min_arr_share
        return ("low", "medium", "high")[int(significant) + int(much)]

    def _is_significant(self, kind: str, key: str, row: dict[Any, Any]) -> bool | None:
        """Whether a pattern's adjusted outcome is significant; None where it was not tested."""
        if kind == "sequence":
            habits = self.study.tried("habit")
            habits = habits[habits["key"] == ORDER + key]
            if not len(habits):
                return None
            row = habits.iloc[0].to_dict()
        elif kind == "bundle":
            shown = self.study.shown(kind, key)
            if shown is None:
                return None
            correlation = self.study.retention.with_and_without(shown).correlation
            if correlation is None:
                return None
            return bool(correlation.lower > 0 or correlation.upper < 0)
        return bool(row["hazard_lower"] > 1 or row["hazard_upper"] < 1)

    def goes_with_churn(self, kind: str, key: str) -> bool:
        """Whether the order, or a feature that it or the bundle leads to, goes with more churn, all else equal."""
        features = key.split(ARROW)[1:] if kind == "sequence" else key.split(PLUS)
        habits = self.study.tried("habit")
        rows = habits[habits["key"].isin([ORDER + key, *(USED + name for name in features)])]
        suspect = rows["p"] <= self.study.settings.pattern_promising_max_p
        return bool((suspect & (rows["lift"] > 1)).any())

    def _arr_share(self, scope: StudyScope, client_ids: set[str]) -> float | None:
        """The share of the scope's ARR that some customers hold; None where amounts cannot be added up."""
        money = PortfolioContext.of(self.study.portfolio, scope.as_of).money
        if not money.addable:
            return None
        amounts = money.amounts
        known = amounts.reindex([name for name in scope.clients if name in amounts.index]).dropna()
        total = float(known.sum())
        if not total > 0:
            return None
        return float(known[known.index.isin(list(client_ids))].sum()) / total


def _first_shown(row: Behaviour) -> tuple[bool, bool, bool, float]:
    """Shown by the customer first, warning signs before strengths, significant ones, the larger difference."""
    difference = abs((row.churned_with or 0.0) - (row.churned_without or 0.0))
    return not row.shown_by_customer, row.kind != RISK, not row.significant, -difference


def _own_figure(sign: Sign, row: pd.Series) -> str:
    """A customer's figures behind a sign, in words."""
    texts = []
    for metric, _, _ in sign.parts:
        value = number(row[metric])
        if metric in CHANGES and value is not None:
            texts.append(f"{percent(value)} of four weeks before")
        else:
            texts.append(written(metric, value))
    return ", ".join(texts)


# -- from at risk to healthy ---------------------------------------------------------------------


def recovery_rates(study: Study) -> tuple[RecoveryRates, str | None]:
    """What became of low spells, and why nothing can be said of it."""

    def build() -> list[Any]:
        rates, reason = _recovery_rates(study)
        return [rates.model_dump(mode="json"), reason]

    values, reason = study.cached("pattern_transitions", build)
    return RecoveryRates(**values), reason


def _recovery_rates(study: Study) -> tuple[RecoveryRates, str | None]:
    portfolio, scope, settings = study.portfolio, study.scope, study.settings
    rows = panels.panel(portfolio, study.history.dates)
    scored = scorecard_rows(rows, scope.as_of, settings.score_lookback_days, settings)
    scores = scored.frame.assign(tier=scored.rows["tier"].to_numpy())
    if scope.kind == SEGMENT:
        scores = scores[scores["client_id"].isin(scope.clients)]
    interventions = None
    if portfolio.has("interventions"):
        interventions = portfolio.table("interventions")
        end = pd.Timestamp(scope.as_of + dt.timedelta(days=1))
        interventions = interventions[pd.to_datetime(interventions["happened_at"]) < end]
    result = recoveries(scores, interventions, settings, settings.seed, study.level)
    kinds = [
        TreatedSpells(kind=row["kind"], spells=int(row["size"]), recovered=int(row["sum"]))
        for row in result.kinds.to_dict("records")
    ]
    by_frequency = sorted(kinds, key=lambda treated: (-treated.spells, treated.kind))
    rates = RecoveryRates(
        common_interventions=None
        if interventions is None
        else [treated.kind for treated in by_frequency],
        avg_transition_time_days=rounded(result.median_days, 1),
        treated=result.treated,
        matched=result.matched,
        interval_level=study.level,
        by_kind=kinds,
        spells=len(result.spells),
        **{name: rounded(getattr(result, name)) for name in RECOVERY_SHARES},
    )
    return rates, result.reason


# -- who is likely next --------------------------------------------------------------------------


def predictive_insights(study: Study, curves: pd.DataFrame) -> PredictiveInsights:
    """Today's candidates, the best time to act, and how often past candidates churned."""
    portfolio, scope, settings = study.portfolio, study.scope, study.settings
    model = training.churn_model(portfolio, scope.as_of)
    reason, needed = model.gate.reason, settings.churn_candidate_min_count
    candidates, precision, n = None, None, None
    if model.eligible:
        candidates = likely_to_churn(portfolio, scope.as_of, scope.clients)
        wide = study.portfolio_study
        churned, n = wide.cached(
            "pattern_candidates",
            lambda: churned_of_likely(portfolio, scope.as_of, wide.scope.clients),
        )
        precision = churned / n if n >= needed else None
        reason = f"{n} candidates on past dates, {needed} are needed"
    context = PortfolioContext.of(portfolio, scope.as_of)
    ready = context.expansion_readiness["ready"]
    expand = sorted(set(ready.index[ready.astype(bool)]) & set(scope.clients))
    sign, days = earliest_lead(curves, settings.timing_min_customers, settings.timing_min_z)
    timing = (
        None if sign is None else f"{days} days before churn: {sign.lower()} is the earliest sign"
    )
    no_timing = "no sign of churn is significant at any time before it"
    return PredictiveInsights(
        likely_expansion_candidates=len(expand),
        likely_churn_candidates=Figure(None if candidates is None else len(candidates), reason),
        optimal_intervention_timing=Figure(timing, no_timing),
        confidence_score=Figure(rounded(precision), reason),
        confidence_n=Figure(n, reason),
        churn_candidates=Figure(candidates, reason),
        expansion_candidates=expand,
        churn_candidates_arr=Figure(
            context.arr_of(candidates or []), reason or context.missing_arr
        ),
        expansion_candidates_arr=Figure(context.arr_of(expand), context.missing_arr),
        timing_days=Figure(days, no_timing),
        timing_sign=Figure(sign, no_timing),
    )
