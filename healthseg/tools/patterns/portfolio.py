"""The response of analyze_engagement_patterns for a scope: all customers, a segment or one customer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_signs import BY_NAME, TOOL
from healthseg.clustering.pattern_words import (
    CHURN_KINDS,
    description,
    first_upper,
    in_order,
    insight,
    listed,
    pattern_name,
    pattern_type,
)
from healthseg.clustering.sequences import ARROW
from healthseg.data.portfolio import Portfolio
from healthseg.metrics.counting import customers
from healthseg.settings import fingerprint
from healthseg.tools.base import Figure, Part
from healthseg.tools.context import PortfolioContext
from healthseg.tools.expansion import expansion_potential
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.patterns import engagement
from healthseg.tools.patterns.churn import ChurnPatterns, predictive_insights, recovery_rates
from healthseg.tools.patterns.result import (
    ActivityAnomaly,
    AnalysisScope,
    EngagementPattern,
    EngagementPatterns,
    FeatureUsagePatterns,
    OptimizationOpportunity,
    PatternWindow,
    PersonaEvidence,
    PredictiveInsights,
    RecoveryRates,
    SequenceGaps,
)
from healthseg.tools.patterns.study import (
    CATEGORIES,
    SINGLE,
    Study,
    StudyScope,
    hypothesis_counts,
    hypothesis_figures,
    pattern_id,
    pattern_in_groups,
    rejected_patterns,
)
from healthseg.tools.values import in_percent

PRIORITY = {"critical": "High", "high": "High", "medium": "Medium", "low": "Low"}
NO_SEGMENT = "the scope is not a segment"
NO_CUSTOMER = "the scope is not a single customer"
NO_IMPACT = "a single customer, or no ARR, or too few churned to test what goes with it"
TRANSITIONS = "pattern_transitions"
MOVE = "from_at_risk_to_healthy"

OF_PATTERN = {"name": "pattern_name", "type": "pattern_type"}
OF_EVIDENCE = {
    name: f"evidence.{name}"
    for name in ("support", "n", "lift", "lift_lower", "lift_upper", "q", "confidence")
}
HAZARD = {
    "hazard_ratio": "outcome.hazard_ratio",
    "hazard_lower": "outcome.lower",
    "hazard_upper": "outcome.upper",
}
RISK_COLUMNS = (
    "pattern",
    "probability_of_churn",
    "probability_lower",
    "probability_upper",
    "base_rate",
    "n",
    "lead_days",
    "among_leavers",
    "among_stayers",
    "shown_now",
)
SUCCESS_COLUMNS = (
    "pattern",
    "correlation",
    "correlation_lower",
    "correlation_upper",
    "retention_with",
    "retention_without",
    "n_with",
    "n_without",
)
ANOMALY_COLUMNS = (
    "date",
    "anomaly_type",
    "scope",
    "client_id",
    "series",
    "factor",
    "likely_cause",
    "description",
    "action_required",
)
GAP_COLUMNS = ["sequence", "step", "first", "second", "days"]
CUSTOMER_COLUMNS = [
    "client_id",
    "name",
    "signs",
    "count",
    "warnings",
    "likely_to_leave",
    "ready_to_expand",
    "churn_probability",
    "arr",
    "currency",
    "expected_churned_arr",
    "potential",
    "renewal_on",
    "csm_id",
]
# of the next actions of several customers, how many are left for those that are ready to expand
EXPANSIONS_NAMED = 2


class PatternRequest:
    """A scope and what is requested of it; ``response()`` puts the sections together."""

    def __init__(
        self,
        portfolio: Portfolio,
        scope: StudyScope,
        pattern_categories: Sequence[str],
        include_predictions: bool,
        min_confidence: float,
    ) -> None:
        chosen = CATEGORIES if "all" in pattern_categories else pattern_categories
        self.portfolio, self.scope, self.categories = portfolio, scope, frozenset(chosen)
        self.include_predictions, self.min_confidence = include_predictions, min_confidence
        self.study = Study.of(portfolio, scope, self.categories)
        self.wide = self.study.portfolio_study
        self.significant = self.study.significant(min_confidence)
        self.learned = (
            self.significant if self.wide is self.study else self.wide.significant(min_confidence)
        )
        self.churn = ChurnPatterns(self.wide, self.learned, scope.client_id)

    def response(self) -> EngagementPatterns:
        scope, study = self.scope, self.study
        recovery, no_recovery = self.recovery
        personas, evidence, _ = self.personas
        few = self.wide.churn_hypotheses.reason
        figures = self._figures()
        actions = rules.triggered(TOOL, "action", figures, self.portfolio.settings.rules)
        result = EngagementPatterns(
            as_of=scope.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self._fingerprint(),
            warnings=list(scope.warnings),
            analysis_id=f"pattern_{self._inputs()}",
            analysis_scope=self._scope(),
            customers_analyzed=len(scope.clients),
            churned_in_window=self._churned_in_window(),
            analysis_period=PatternWindow(
                start_date=scope.start,
                end_date=scope.end,
                days=scope.days,
                asked_days=scope.requested_days,
            ),
            pattern_categories=sorted(self.categories),
            excluded=scope.excluded,
            identified_patterns=self.patterns,
            currency=Figure(self.context.money.currency, "amounts of several currencies, or none"),
            not_held=rejected_patterns(study, self.min_confidence),
            testing=hypothesis_counts(study, self.min_confidence),
            temporal_patterns=self.times,
            feature_usage_patterns=_or_not_requested(self.usage),
            communication_patterns=self._section(
                "communication", lambda: engagement.message_response(study)
            ),
            support_patterns=self._section(
                "support", lambda: engagement.ticket_patterns(study, self.min_confidence)
            ),
            user_personas=personas,
            persona_evidence=evidence,
            success_patterns=Figure(None, few) if few else self.churn.successes,
            risk_patterns=Figure(None, few) if few else self.churn.risks,
            behaviours=Figure(None, few) if few else self.churn.behaviours,
            standing=Figure(None if few else self.churn.standing(), few or NO_CUSTOMER),
            anomalies=_or_not_requested(self.unusual),
            pattern_transitions={MOVE: recovery},
            predictive_insights=_or_not_requested(self.ahead),
            engagement_optimization=_opportunities(figures),
            recommended_actions=[rule.text for rule in actions],
            recommended_actions_detail=actions,
            next_actions=self._next_actions(),
            not_measured=_reasons_of(recovery, no_recovery),
        )
        return result.with_frames(**self._frames(result))

    # -- scope -------------------------------------------------------------------------------

    def _scope(self) -> AnalysisScope:
        scope = self.scope
        return AnalysisScope(
            scope_type=scope.kind,
            segment_id=Figure(scope.segment_id, NO_SEGMENT),
            segment_name=Figure(scope.segment_name, NO_SEGMENT),
            client_id=Figure(scope.client_id, NO_CUSTOMER),
            customer_name=Figure(scope.customer_name, NO_CUSTOMER),
        )

    def _churned_in_window(self) -> int:
        return len(set(self.scope.clients) - set(self.context.live.index))

    def _next_actions(self) -> list[NextAction]:
        """The customer's own, the first ones, none after its churn; of several customers the first action of those
        that are likely to churn, then a talk with those that are ready to expand, renewals and the largest first."""
        most, client = self.portfolio.settings.next_actions_shown, self.scope.client_id
        known = NextActions.of(self.portfolio, self.scope.as_of)
        if client is not None:
            return [] if self.scope.churned else known.shown(client)
        if self.ahead is None:
            return []
        ranked = self.context.ranked_by_loss(self.ahead.churn_candidates or [])
        urgent = list(itertools.islice(known.first_of(ranked), most - EXPANSIONS_NAMED))
        growth = known.ranked(self.ahead.expansion_candidates or [], ("expansion",))
        actions = [*urgent, *growth[: most - len(urgent)]]
        return sorted(actions, key=lambda action: -rules.SEVERITIES.index(action.severity))

    @cached_property
    def context(self) -> PortfolioContext:
        return PortfolioContext.of(self.portfolio, self.scope.as_of)

    def _fingerprint(self) -> str:
        segments = self.scope.segment_id is not None and self.portfolio.has_ledger
        ledger = self.portfolio.ledger().head() if segments else None
        return self.portfolio.fingerprint(self.scope.as_of, ledger=ledger)

    def _inputs(self) -> str:
        scope = self.scope
        parameters = [
            scope.kind,
            scope.client_id,
            scope.segment_id,
            scope.requested_days,
            sorted(self.categories),
            self.include_predictions,
            self.min_confidence,
            scope.as_of.isoformat(),
        ]
        return fingerprint([self.portfolio.fingerprint(scope.as_of), parameters])

    # -- sections ----------------------------------------------------------------------------

    def _section(self, category: str, build: Any) -> Any:
        """A section, or the reason why there is none."""
        requested = category in self.categories
        return build() if requested else Figure(None, engagement.NOT_REQUESTED)

    @cached_property
    def times(self) -> Any:
        return self._section(
            "temporal", lambda: engagement.activity_times(self.study, self.min_confidence)
        )

    @cached_property
    def usage(self) -> FeatureUsagePatterns | None:
        if "feature_usage" not in self.categories:
            return None
        return engagement.feature_usage(self.study, self.significant, self.learned)

    @cached_property
    def unusual(self) -> list[ActivityAnomaly] | None:
        return engagement.unusual_days(self.study) if "temporal" in self.categories else None

    @cached_property
    def recovery(self) -> tuple[RecoveryRates, str | None]:
        return recovery_rates(self.wide)

    @cached_property
    def ahead(self) -> PredictiveInsights | None:
        if not self.include_predictions:
            return None
        return predictive_insights(self.study, self.churn.lead_curves)

    @cached_property
    def personas(self) -> tuple[Any, PersonaEvidence | None, pd.DataFrame]:
        """The personas (or why they are unknown), the evidence, their frame."""
        if "feature_usage" not in self.categories:
            frame = pd.DataFrame(columns=engagement.PERSONA_COLUMNS)
            return Figure(None, engagement.NOT_REQUESTED), None, frame
        personas, evidence, frame = engagement.user_personas(self.study)
        if evidence.reason and evidence.users < self.study.settings.personas_min_users:
            return Figure(None, evidence.reason), evidence, frame
        return personas, evidence, frame

    # -- patterns ----------------------------------------------------------------------------

    @cached_property
    def patterns(self) -> list[EngagementPattern]:
        """The significant patterns; of one customer also those of the portfolio that it shows."""
        rows = self.significant
        if self.scope.kind == SINGLE:
            learned = self.learned[self.learned["kind"].isin(["sequence", *CHURN_KINDS])]
            shows = [
                self.scope.client_id in self.churn.showing_pattern(kind, key)
                for kind, key in zip(learned["kind"], learned["key"], strict=True)
            ]
            rows = pd.concat([rows, learned[np.array(shows, dtype=bool)]], ignore_index=True)
        rows = rows.sort_values(["q", "kind", "key"], kind="stable")
        return [self._pattern(row) for row in rows.to_dict("records")]

    def _pattern(self, row: dict[Any, Any]) -> EngagementPattern:
        kind, key = row["kind"], row["key"]
        evidence = hypothesis_figures(row, self.study.level)
        figures = row if kind != "sequence" else row | self._gap_figures(key)
        return EngagementPattern(
            pattern_id=pattern_id(kind, key),
            pattern_name=pattern_name(kind, key),
            pattern_type=pattern_type(kind),
            confidence=evidence.confidence,
            prevalence=evidence.prevalence,
            description=description(kind, key, row),
            business_impact=Figure(self._impact(kind, key, row), NO_IMPACT),
            actionable_insight=Figure(
                None if self._goes_with_churn(kind, key) else insight(kind, key, figures),
                "nothing is recommended that goes with churn",
            ),
            key=key,
            evidence=evidence,
            within=pattern_in_groups(self.study, row),
        )

    def _goes_with_churn(self, kind: str, key: str) -> bool:
        return kind in ("sequence", "bundle") and self.churn.goes_with_churn(kind, key)

    def _impact(self, kind: str, key: str, row: dict[Any, Any]) -> str | None:
        if self.scope.kind == SINGLE or kind not in ("sequence", "bundle", *CHURN_KINDS):
            return None
        return self.churn.impact(kind, key, row, self.scope)

    def _gap_figures(self, key: str) -> dict[str, float]:
        orders = self.wide.orders
        assert orders is not None
        unfinished, begun = orders.unfinished(key)
        days = float(np.median(orders.gaps(key)[:, 0]))
        return {"gap_days": days, "unfinished": unfinished, "begun": begun}

    # -- figures of the rules ----------------------------------------------------------------

    def _figures(self) -> dict[str, Any]:
        """Named figures for the rules; None where unknown."""
        risks = None if self.wide.churn_hypotheses.reason else self.churn.risks
        figures = {"scope": self.scope.kind, **self._feature_figures()}
        if self.unusual is not None:
            figures["open_anomalies"] = sum(day.action_required for day in self.unusual)
        if risks:
            top = risks[0]
            figures |= {
                "top_risk": top.pattern.lower(),
                "top_risk_now": top.shown_now,
                "top_risk_percent": in_percent(top.probability_of_churn),
                "top_risk_base_percent": in_percent(top.base_rate),
            }
        if self.ahead is not None:
            figures |= {
                "churn_names": self._names(self.ahead.churn_candidates),
                "expansion_names": self._names(self.ahead.expansion_candidates),
                "churn_candidates": self.ahead.likely_churn_candidates,
                "expansion_candidates": self.ahead.likely_expansion_candidates,
                "timing_days": self.ahead.timing_days,
                "timing_sign": self.ahead.timing_sign,
            }
        recovery, _ = self.recovery
        return figures | {
            "treated": recovery.treated,
            "recovery_min_spells": self.study.settings.recovery_min_spells,
            "difference_lower_percent": in_percent(recovery.difference_lower),
            "difference_upper_percent": in_percent(recovery.difference_upper),
        }

    def _names(self, clients: list[str] | None) -> str | None:
        ranked = self.context.money.amounts.reindex(clients or []).sort_values(
            ascending=False, kind="stable"
        )
        return rules.listed(self.context.names.reindex(ranked.index).astype(str)) or None

    def _feature_figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        order = max(self._begun(), key=lambda gap: gap.unfinished_of, default=None)
        if order is not None:
            figures |= {
                "sequence": first_upper(in_order(order.sequence)),
                "unfinished": round((order.unfinished_share or 0) * order.unfinished_of),
                "begun": order.unfinished_of,
                "median_gap": order.median_days,
            }
        bundles = [
            bundle
            for bundle in (self.usage.feature_bundles if self.usage else [])
            if not self._goes_with_churn("bundle", PLUS.join(bundle.bundle))
        ]
        if bundles:
            bundle = bundles[0]
            figures |= {
                "bundle": listed(bundle.bundle),
                "bundle_users": bundle.support,
                "bundle_any": bundle.users_of_any,
            }
        return figures

    def _begun(self) -> list[SequenceGaps]:
        """Orders that customers began and did not finish; of one customer those that it did not finish itself.

        Orders that go with churn are left out: nobody is led on to them.
        """
        gaps = [
            gap
            for gap in (self.usage.sequential_adoption.gaps if self.usage else [])
            if not self._goes_with_churn("sequence", ARROW.join(gap.sequence))
        ]
        orders = self.study.orders
        if self.scope.kind != SINGLE or orders is None:
            return gaps
        row = orders.days.index.get_indexer([self.scope.client_id])[0]
        return [gap for gap in gaps if not orders.shows(ARROW.join(gap.sequence))[row]]

    # -- frames ------------------------------------------------------------------------------

    def _frames(self, result: EngagementPatterns) -> dict[str, pd.DataFrame]:
        tested = self.study.judged
        risk = {name: name for name in RISK_COLUMNS} | HAZARD
        success = {name: name for name in SUCCESS_COLUMNS} | {
            "hazard_ratio": HAZARD["hazard_ratio"]
        }
        week = pd.DataFrame(columns=["weekday", "hour", "user_hours"])
        if "temporal" in self.categories:
            week = engagement.week_frame(self.study.time.grid)
        return {
            "patterns": tested[[*tested.columns.drop("passes"), "passes"]],
            "held": _frame(result.identified_patterns, OF_PATTERN | OF_EVIDENCE),
            "risk": _frame(result.risk_patterns, risk),
            "success": _frame(result.success_patterns, success),
            "lead": self.churn.lead_curves,
            "gaps": self._gap_frame(),
            "personas": self.personas[2],
            "week": week,
            "anomalies": _frame(result.anomalies, {name: name for name in ANOMALY_COLUMNS}),
            "customers": self._customer_frame(),
            "rejected": _frame(result.not_held, OF_PATTERN | {"why": "why"} | OF_EVIDENCE),
        }

    def _gap_frame(self) -> pd.DataFrame:
        """Each step of the significant orders, one row a customer."""
        orders, rows = self.wide.orders, []
        for sequence in self.usage.sequential_adoption.common_sequences if self.usage else []:
            assert orders is not None
            key = ARROW.join(sequence)
            days = orders.gaps(key)
            for step, (first, second) in enumerate(itertools.pairwise(sequence)):
                steps = np.sort(days[:, step])
                rows += [(key, step + 1, first, second, float(day)) for day in steps]
        return pd.DataFrame(rows, columns=GAP_COLUMNS)

    def _customer_frame(self) -> pd.DataFrame:
        """Customers of the scope that show a significant sign of churn, or are candidates: the most expected churned ARR
        first. ``warnings`` are all the warning signs that they show: significant ones, then those with most churn after them."""
        after = self.churn.churned_with
        keys = [*self.churn.risk_keys, *sorted(after, key=lambda key: -after[key])]
        now = {key: self.churn.showing(key) for key in keys}
        churn = set(self.ahead.churn_candidates or []) if self.ahead else set()
        expand = set(self.ahead.expansion_candidates or []) if self.ahead else set()
        rows, context = [], self.context
        names = customers(self.portfolio).get("name", pd.Series(dtype=object)).to_dict()
        on_day = pd.Timestamp(self.scope.as_of)
        facts = pd.DataFrame(
            {
                "churn_probability": context.churn["probability"],
                "arr": context.money.amounts,
                "currency": context.money.currency,
                "expected_churned_arr": context.expected_churned_arr,
                "potential": expansion_potential(context, self.scope.as_of)["potential"],
                "renewal_on": on_day
                + pd.to_timedelta(context.live["days_to_renewal"].astype(float), unit="D"),
                "csm_id": context.static("csm_id", snapshot=True),
            }
        )
        for client in self.scope.clients:
            signs, warnings = (
                [BY_NAME[key].label for key in keys if client in now[key]]
                for keys in (self.churn.risk_keys, now)
            )
            if signs or client in churn or client in expand:
                name = names[client] if isinstance(names.get(client), str) else client
                marks = client in churn, client in expand
                rows.append((client, name, signs, len(signs), warnings, *marks))
        frame = pd.DataFrame(rows, columns=CUSTOMER_COLUMNS[:7]).join(facts, on="client_id")
        return frame[CUSTOMER_COLUMNS].sort_values(
            ["likely_to_leave", "count", "expected_churned_arr", "arr", "client_id"],
            ascending=[False, False, False, False, True],
            kind="stable",
            ignore_index=True,
        )


def _or_not_requested(section: Any) -> Any:
    return Figure(None, engagement.NOT_REQUESTED) if section is None else section


def _reasons_of(recovery: RecoveryRates, reason: str | None) -> dict[str, str]:
    """Why the rates of recovery are null, by path."""
    if reason is None:
        return {}
    values = recovery.model_dump()
    return {
        f"$.{TRANSITIONS}.{MOVE}.{name}": reason for name, value in values.items() if value is None
    }


def _frame(parts: Sequence[Part] | None, columns: dict[str, str]) -> pd.DataFrame:
    """A frame of parts: column name by dotted path of the attribute."""
    rows = [[_attribute(part, path) for path in columns.values()] for part in parts or []]
    return pd.DataFrame(rows, columns=list(columns))


def _attribute(part: Any, path: str) -> Any:
    for name in path.split("."):
        part = getattr(part, name)
    return part


def _opportunities(figures: dict[str, Any]) -> list[OptimizationOpportunity]:
    """Opportunities whose rule is triggered; the impact only where history proves it."""
    entries = rules.phrases(TOOL, "optimisation")
    opportunities = []
    for rule in rules.triggered(TOOL, "focus", figures, {}):
        entry, impact = entries[rule.rule], None
        if "impact" in entry and figures.get("difference_lower_percent") is not None:
            impact = rules.words(entry["impact"], figures)
        opportunities.append(
            OptimizationOpportunity(
                opportunity=entry["opportunity"],
                current_state=rules.words(entry["now"], figures),
                opportunity_state=rule.text,
                potential_impact=Figure(impact, "no effect of it is proved by history"),
                effort=entry["effort"],
                priority=PRIORITY[rule.severity],
                rule=rule.rule,
                figures=rule.figures,
            )
        )
    return opportunities
