"""The response of analyze_engagement_patterns, put together from what was tried, judged and counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.settings import fingerprint
from healthseg.tools.patterns import (
    advice,
    features,
    frames,
    futures,
    held,
    missing,
    others,
    outcomes,
    words,
)
from healthseg.tools.patterns.result import EngagementPatterns, Fired, Pattern, Period
from healthseg.tools.patterns.result import Scope as ScopePart
from healthseg.tools.patterns.scope import SINGLE, Scope
from healthseg.tools.patterns.signs import TOOL
from healthseg.tools.patterns.study import ORDER, Study

CATEGORIES = ("temporal", "feature_usage", "communication", "support")


def answer(portfolio: Any, scope: Scope, asked: Any) -> EngagementPatterns:
    """The response for a scope; ``asked`` are the validated parameters."""
    given = asked.pattern_categories or ["all"]
    categories = frozenset(CATEGORIES if "all" in given else given)
    return _Run(portfolio, scope, asked, categories).response()


class _Run:
    """What the sections of one response share."""

    def __init__(
        self, portfolio: Any, scope: Scope, asked: Any, categories: frozenset[str]
    ) -> None:
        self.portfolio, self.scope, self.asked, self.categories = (
            portfolio,
            scope,
            asked,
            categories,
        )
        self.study = Study.of(portfolio, scope, categories)
        self.wide = self.study.portfolio_wide  # what leaves and orders are learnt on
        self.least = asked.min_pattern_confidence
        self.found = held.held(self.study, self.least)
        self.learnt = self.found if self.wide is self.study else held.held(self.wide, self.least)
        self.signs, self.outcomes = futures.Signs(self.wide), outcomes.Outcomes(self.wide)
        self.reasons: dict[str, str] = {}

    def response(self) -> EngagementPatterns:
        usage = self._feature_usage()
        people, told, persona_frame = self._personas()
        leaves = self.wide.foretold.reason
        risks = None if leaves else self.signs.risks(self.learnt, self.scope.client_id)
        successes = (
            None
            if leaves
            else futures.successes(
                self.wide, self.learnt, self.outcomes, self.signs, self.scope.client_id
            )
        )
        rows = self.learnt[(self.learnt["kind"] == "risk") & (self.learnt["lift"] > 1)]
        curves = self.signs.curves(rows["key"].tolist())
        moved, no_spells = futures.moved(self.wide)
        ahead, why = self._predictive(curves)
        temporal, week = others.temporal(self.study, self.reasons, self.least)
        communication = others.communication(self.study, self.reasons)
        support = others.support(self.study, self.reasons, self.least)
        unusual = others.anomalies(self.study, self.reasons)
        patterns = self._patterns()
        figures = advice.figures(self, patterns, usage, risks, moved, ahead, unusual, temporal)
        actions = [Fired(**rule) for rule in rules.fired(TOOL, "action", figures)]
        response = EngagementPatterns(
            as_of=self.scope.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self._fingerprint(),
            warnings=list(self.scope.warnings),
            analysis_id=f"pattern_{self._inputs()}",
            analysis_scope=self._scope(),
            customers_analyzed=len(self.scope.clients),
            analysis_period=self._period(),
            pattern_categories=sorted(self.categories),
            excluded=self.scope.excluded,
            identified_patterns=patterns,
            not_held=held.not_held(self.study, self.least),
            testing=held.testing(self.study, self.least),
            temporal_patterns=temporal,
            feature_usage_patterns=usage,
            communication_patterns=communication,
            support_patterns=support,
            user_personas=people,
            persona_evidence=told,
            success_patterns=successes,
            risk_patterns=risks,
            anomalies=unusual,
            pattern_transitions={"from_at_risk_to_healthy": moved},
            predictive_insights=ahead,
            engagement_optimization=advice.optimisation(figures),
            recommended_actions=[rule.text for rule in actions],
            recommended_actions_detail=actions,
        )
        response = response.model_copy(
            update={
                "not_measured": missing.reasons(
                    response, self.reasons, leaves, no_spells, why, self.asked.include_predictions
                )
            }
        )
        return response.with_frames(
            patterns=self.study.judged.drop(columns=["passes"]).assign(
                passes=self.study.judged["passes"]
            ),
            held=frames.held_frame(patterns),
            risk=frames.risk_frame(risks),
            success=frames.success_frame(successes),
            lead=curves,
            gaps=frames.gap_frame(self.wide.orders, usage),
            personas=persona_frame,
            week=week,
            anomalies=frames.anomaly_frame(unusual),
            customers=frames.customer_frame(self, ahead),
            rejected=frames.rejected_frame(response.not_held),
        )

    # -- who and when --------------------------------------------------------------------

    def _scope(self) -> ScopePart:
        return ScopePart(
            scope_type=self.scope.kind,
            segment_id=self.scope.segment_id,
            segment_name=self.scope.segment_name,
            client_id=self.scope.client_id,
            customer_name=self.scope.customer_name,
        )

    def _period(self) -> Period:
        return Period(
            start_date=self.scope.start,
            end_date=self.scope.end,
            days=self.scope.days,
            asked_days=self.scope.asked_days,
        )

    def _fingerprint(self) -> str:
        ledger = (
            self.portfolio.ledger().head()
            if self.scope.segment_id and self.portfolio.has_ledger
            else None
        )
        return self.portfolio.fingerprint(self.scope.as_of, ledger=ledger)

    def _inputs(self) -> str:
        return fingerprint(
            [
                self.portfolio.fingerprint(self.scope.as_of),
                self.asked.model_dump(mode="json"),
                self.scope.as_of.isoformat(),
            ]
        )

    # -- sections ------------------------------------------------------------------------

    def _feature_usage(self):
        if "feature_usage" not in self.categories:
            self.reasons["$.feature_usage_patterns"] = missing.NOT_ASKED
            return None
        return features.feature_usage(self.study, self.found, self.learnt, self.outcomes)

    def _personas(self):
        if "feature_usage" not in self.categories:
            self.reasons["$.user_personas"] = missing.NOT_ASKED
            return None, None, pd.DataFrame(columns=["persona", "feature", "factor", "percentage"])
        people, told, frame = features.personas(self.study)
        if told.reason and told.users < 40:
            self.reasons["$.user_personas"] = told.reason
            return None, told, frame
        return people, told, frame

    def _predictive(self, curves: pd.DataFrame):
        if not self.asked.include_predictions:
            return None, {}
        return futures.predictive(self.study, curves)

    # -- patterns --------------------------------------------------------------------------

    def _patterns(self) -> list[Pattern]:
        rows = (
            self.found
            if self.scope.kind != SINGLE
            else pd.concat([self.found, self._shown_of_portfolio()], ignore_index=True)
        )
        rows = rows.sort_values(["q", "kind", "key"], kind="stable")
        return [self._pattern(row) for row in rows.to_dict("records")]

    def _shown_of_portfolio(self) -> pd.DataFrame:
        """Of what was learnt on the portfolio, what this customer shows."""
        rows = self.learnt[self.learnt["kind"].isin(["sequence", "risk", "success", "habit"])]
        shows = [
            self.scope.client_id in futures.carriers(self.wide, row.kind, row.key, self.signs)
            for row in rows.itertuples()
        ]
        return rows[np.array(shows, dtype=bool)]

    def _pattern(self, row: dict[str, Any]) -> Pattern:
        kind, key = row["kind"], row["key"]
        evidence = held.evidence(row, self.study.level)
        return Pattern(
            pattern_id=held.pattern_id(kind, key),
            pattern_name=others.name(kind, key) or words.name(kind, key),
            pattern_type=words.TYPES.get(kind, kind),
            confidence=evidence.confidence,
            prevalence=evidence.prevalence,
            description=others.described(kind, key, row) or words.described(kind, key, row),
            business_impact=self._impact(row),
            actionable_insight=(
                others.insight(kind, key, row) or advice.insight(kind, key, row, self.wide)
            ),
            key=key,
            evidence=evidence,
            within=held.within(self.study, row),
        )

    def _impact(self, row: dict[str, Any]) -> str | None:
        if self.scope.kind == SINGLE:
            return None
        if row["kind"] in ("temporal", "communication", "support"):
            return None
        proven = self._proven(row)
        if proven is None:
            return None
        who = futures.carriers(self.wide, row["kind"], row["key"], self.signs)
        return outcomes.impact(proven, outcomes.arr_share(self.portfolio, self.scope, who))

    def _proven(self, row: dict[str, Any]) -> bool | None:
        """Whether the adjusted outcome of a pattern is beyond chance; None where it was not asked."""
        kind, key = row["kind"], row["key"]
        if kind in ("risk", "success", "habit"):
            return bool(row["hazard_lower"] > 1 or row["hazard_upper"] < 1)
        if kind == "sequence":
            tried = self.study.tried("habit")
            own = tried[tried["key"] == ORDER + key]
            return (
                None
                if not len(own)
                else bool(own["hazard_upper"].iloc[0] < 1 or own["hazard_lower"].iloc[0] > 1)
            )
        if kind == "bundle":
            shown = self.outcomes.shown(kind, key)
            one = None if shown is None else self.outcomes.staying(shown).correlation
            return None if one is None else bool(one.lower > 0 or one.upper < 0)
        return None
