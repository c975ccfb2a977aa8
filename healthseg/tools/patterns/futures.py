"""The sections about leaving and staying: signs of risk and success, what became of low spells, who is likely next."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.sequences import ARROW
from healthseg.data.memory import stored
from healthseg.metrics import panels
from healthseg.scoring.churn import training
from healthseg.scoring.scored_panel import scorecard_rows
from healthseg.tools.context import PortfolioContext
from healthseg.tools.patterns import episodes, words
from healthseg.tools.patterns.held import within
from healthseg.tools.patterns.landmarks import HORIZON_DAYS
from healthseg.tools.patterns.outcomes import Outcomes
from healthseg.tools.patterns.result import (
    Kind,
    Outcome,
    Predictive,
    Risk,
    Success,
    Transition,
    Warning_,
)
from healthseg.tools.patterns.signs import BY_NAME, RISK, SIGNS
from healthseg.tools.patterns.study import USED, Study
from healthseg.tools.patterns.transitions import transitions
from healthseg.tools.rounding import integer, rounded

THRESHOLD = 60
TIMES_BASE = (
    2.0  # the portfolio's rate of leaving: from there on churn_risk_level is high or critical
)
BACK_DATES = 4  # dates on which the rule of candidates is tried again
LEAST_CANDIDATES = 20
RANDOM_Z = 1.96


def outcome(row: dict[str, Any], study: Study, names: list[str]) -> Outcome:
    return Outcome(
        hazard_ratio=rounded(row["hazard_ratio"]),
        lower=rounded(row["hazard_lower"]),
        upper=rounded(row["hazard_upper"]),
        interval_level=study.settings.effects_interval_level,
        adjusted_for=names,
        monthly_rate_with=rounded(row["rate_with"]),
        monthly_rate_without=rounded(row["rate_without"]),
        months_with=int(row["months_with"]),
        months_without=int(row["months_without"]),
        left_with=int(row["left_with"]),
        left_without=int(row["left_without"]),
    )


class Signs:
    """The signs of leaving on weekly dates: what followed them, who shows them now."""

    def __init__(self, study: Study) -> None:
        self.study, self.weeks = study, study.landmarks.weeks()
        self.shown = {sign.name: sign.shown(self.weeks) for sign in SIGNS}
        last = self.weeks["date"].max() if len(self.weeks) else None
        self.now = self.weeks["date"].to_numpy() == (
            np.datetime64("NaT") if last is None else last.to_datetime64()
        )

    def showing(self, name: str) -> set[str]:
        """Who shows a sign on the last weekly date."""
        return set(self.weeks.loc[self.now & (self.shown[name] == 1), "client_id"])

    def risks(self, found: pd.DataFrame, client: str | None) -> list[Risk]:
        rows = found[(found["kind"] == RISK) & (found["lift"] > 1)].sort_values(
            "hazard_ratio", ascending=False, kind="stable"
        )
        passing = rows["key"].tolist()
        return [
            self._risk(row, passing, client)
            for row in rows.to_dict("records")
            if client is None or client in self.showing(row["key"])
        ]

    def _risk(self, row: dict[str, Any], passing: list[str], client: str | None) -> Risk:
        study, sign = self.study, BY_NAME[row["key"]]
        shown, level = self.shown[sign.name], study.level
        came = episodes.after(self.weeks, shown, level)
        start = episodes.first_days(self.weeks, shown)
        others = {name: self.shown[name] for name in passing if name != sign.name}
        early = episodes.warnings_of(self.weeks, start, others)[:4]
        names = study.foretold.adjusted_for
        return Risk(
            pattern=sign.label,
            risk_type="churn",
            recommended_intervention=sign.advice,
            early_warning_indicators=[BY_NAME[name].label for name, _, _ in early],
            probability_of_churn=rounded(came.rate),
            probability_lower=rounded(came.lower),
            probability_upper=rounded(came.upper),
            n=came.spells,
            base_rate=rounded(came.matched_rate),
            base_n=came.matched,
            horizon_days=HORIZON_DAYS,
            lead_days=rounded(came.lead_days, 1),
            lead_quartiles=None
            if came.lead_quartiles is None
            else [rounded(one, 1) for one in came.lead_quartiles],
            among_leavers=rounded(came.among_leavers),
            among_stayers=rounded(came.among_stayers),
            indicators=[
                Warning_(
                    sign=BY_NAME[name].label,
                    share_at_beginning=rounded(share),
                    share_otherwise=rounded(base),
                )
                for name, share, base in early
            ],
            outcome=outcome(row, study, names),
            confidence=rounded(row["confidence"]),
            shown_now=len(self.showing(sign.name)),
            within=within(study, row),
            shown_by_customer=None if client is None else True,
        )

    def curves(self, names: list[str]) -> pd.DataFrame:
        """The lead-time curves of some signs: sign, and ``lead_curve``'s columns."""
        parts = [
            episodes.lead_curve(self.weeks, self.shown[name]).assign(sign=BY_NAME[name].label)
            for name in names
        ]
        columns = ["sign", "lead_days", "leavers", "n", "stayers", "gap"]
        return (
            pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
        )


def successes(
    study: Study, found: pd.DataFrame, outcomes: Outcomes, signs: Signs, client: str | None
) -> list[Success]:
    rows = found[found["kind"].isin(["success", "habit"]) & (found["lift"] < 1)]
    rows = rows.sort_values(["hazard_ratio", "key"], kind="stable")
    return [
        _success(study, row, outcomes, None if client is None else True)
        for row in rows.to_dict("records")
        if client is None or client in carriers(study, row["kind"], row["key"], signs)
    ]


def _success(study: Study, row: dict[str, Any], outcomes: Outcomes, shown: bool | None) -> Success:
    kind, key = row["kind"], row["key"]
    found = outcomes.staying(outcomes.shown(kind, key))
    tries = study.advised if kind == "habit" else study.foretold
    one = found.correlation
    insight = f"{words.name(kind, key)}: {words.described(kind, key, row)}"
    if found.rate_with is not None and found.rate_without is not None:
        insight += (
            f". {words.percent(found.rate_with)} stayed for {HORIZON_DAYS} days with it (n = {found.n_with}), "
            f"{words.percent(found.rate_without)} without (n = {found.n_without})"
        )
    return Success(
        pattern=words.name(kind, key),
        success_metric="retention_rate",
        correlation=rounded(one and one.value),
        insight=insight,
        correlation_lower=rounded(one and one.lower),
        correlation_upper=rounded(one and one.upper),
        retention_with=rounded(found.rate_with),
        retention_without=rounded(found.rate_without),
        n_with=found.n_with,
        n_without=found.n_without,
        outcome=outcome(row, study, tries.adjusted_for),
        confidence=rounded(row["confidence"]),
        shown_by_customer=shown,
    )


def carriers(study: Study, kind: str, key: str, signs: Signs) -> set[str]:
    """Who shows a pattern: signs on the last weekly date, features in the window, orders ever."""
    if kind in ("risk", "success"):
        return signs.showing(key)
    names = words.features_of(kind, key)
    if ARROW in key:
        shows = study.orders.shows(ARROW.join(names))
        return set(study.orders.days.index[shows])
    used = study.used
    if kind == "habit" and key.startswith(USED) and names[0] not in used:
        return set()
    return set(used.index[(used[names] == 1).all(axis=1)])


# -- from at risk to healthy ---------------------------------------------------------------------


def moved(study: Study) -> tuple[Transition, str | None]:
    """What became of low spells, and why nothing can be said of it; of the whole portfolio it is kept."""

    def make() -> list[Any]:
        told, reason = _moved(study)
        return [told.model_dump(mode="json"), reason]

    if study.scope.kind == "segment":
        return _moved(study)
    told, reason = stored(study.portfolio, "pattern-transitions", study.scope.as_of, make)
    return Transition(**told), reason


def _moved(study: Study) -> tuple[Transition, str | None]:
    portfolio, scope = study.portfolio, study.scope
    rows = panels.panel(portfolio, study.landmarks.dates())
    judged = scorecard_rows(rows, scope.as_of, 30, study.settings, None)
    scores = judged.frame.assign(tier=judged.rows["tier"].to_numpy())
    scores = scores[scores["client_id"].isin(scope.clients)] if scope.kind == "segment" else scores
    given = portfolio.table("interventions") if portfolio.has("interventions") else None
    if given is not None:
        given = given[
            pd.to_datetime(given["happened_at"]) < pd.Timestamp(scope.as_of + dt.timedelta(days=1))
        ]
    found = transitions(scores, given, THRESHOLD, study.settings.seed, study.level)
    kinds = [
        Kind(kind=row.kind, spells=int(row.size_), recovered=int(row.sum_))
        for row in found.kinds.rename(columns={"size": "size_", "sum": "sum_"}).itertuples()
    ]
    common = sorted(kinds, key=lambda one: (-one.spells, one.kind))
    return Transition(
        common_interventions=None if given is None else [one.kind for one in common],
        success_rate=rounded(found.success_rate),
        avg_transition_time_days=rounded(found.median_days, 1),
        success_lower=rounded(found.success_lower),
        success_upper=rounded(found.success_upper),
        treated=found.treated,
        matched_success_rate=rounded(found.matched_rate),
        matched_lower=rounded(found.matched_lower),
        matched_upper=rounded(found.matched_upper),
        matched=found.matched,
        difference=rounded(found.difference),
        difference_lower=rounded(found.difference_lower),
        difference_upper=rounded(found.difference_upper),
        interval_level=study.level,
        by_kind=kinds,
        spells=len(found.spells),
    ), found.reason


# -- who is next -----------------------------------------------------------------------------


def predictive(study: Study, curves: pd.DataFrame) -> tuple[Predictive, dict[str, str]]:
    """Candidates of today, the timing, how often the rule of candidates was right before; and why something is null."""
    portfolio, scope, why = study.portfolio, study.scope, {}
    model = training.churn_model(portfolio, scope.as_of)
    churn = _candidates(study, scope.as_of) if model.eligible else None
    precision, n = _precision(study.portfolio_wide) if model.eligible else (None, None)
    if not model.eligible:
        why |= dict.fromkeys(("likely_churn_candidates", "confidence_score"), model.gate.reason)
    elif precision is None:
        why["confidence_score"] = f"{n} candidates on past dates, {LEAST_CANDIDATES} are needed"
    ready = PortfolioContext.of(portfolio, scope.as_of).expansion_readiness["ready"]
    expand = sorted(set(ready.index[ready.astype(bool)]) & set(scope.clients))
    sign, days = timing(curves)
    if days is None:
        why["optimal_intervention_timing"] = "no sign of leaving stands out at any time before it"
    return Predictive(
        likely_expansion_candidates=len(expand),
        likely_churn_candidates=None if churn is None else len(churn),
        optimal_intervention_timing=None
        if days is None
        else f"{days} days before leaving: {sign.lower()} tells most",
        confidence_score=rounded(precision),
        confidence_n=integer(n),
        churn_candidates=churn,
        expansion_candidates=expand,
        timing_days=days,
        timing_sign=sign,
    ), why


def _candidates(study: Study, date: dt.date) -> list[str]:
    """Customers whose risk of leaving within 90 days is at least twice the portfolio's."""
    model = training.churn_model(study.portfolio, date)
    told = training.predictions(study.portfolio, date, study.scope.clients)
    told = told[told["horizon_days"] == HORIZON_DAYS]
    return sorted(
        told.loc[
            told["probability"] >= TIMES_BASE * model.base_probability(HORIZON_DAYS), "client_id"
        ]
    )


def _precision(study: Study) -> tuple[float | None, int]:
    """Of the candidates on past dates, each by the model of its day: the share lost within 90 days, and their n."""
    lost, n = (
        _lost(study)
        if study.scope.kind == "segment"
        else stored(study.portfolio, "pattern-candidates", study.scope.as_of, lambda: _lost(study))
    )
    return (lost / n if n >= LEAST_CANDIDATES else None), n


def _lost(study: Study) -> list[int]:
    dates = [
        date
        for date in training.grid(study.portfolio, study.scope.as_of)
        if date <= study.scope.as_of - dt.timedelta(days=HORIZON_DAYS)
    ][-BACK_DATES:]
    event, lost, n = study.landmarks.event, 0, 0
    for date in dates:
        if not training.churn_model(study.portfolio, date).eligible:
            continue
        names = _candidates(study, date)
        when, until = event.reindex(names), pd.Timestamp(date) + pd.Timedelta(days=HORIZON_DAYS)
        lost += int(((when > pd.Timestamp(date)) & (when <= until)).sum())
        n += len(names)
    return [lost, n]


def timing(curves: pd.DataFrame) -> tuple[str | None, int | None]:
    """The sign and the lead day with the largest gap between leavers and stayers, of gaps beyond chance."""
    if not len(curves):
        return None, None
    spread = np.sqrt(
        (curves["leavers"] * (1 - curves["leavers"])).clip(lower=0.01) / curves["n"].clip(lower=1)
    )
    sure = curves[(curves["n"] >= LEAST_CANDIDATES) & (curves["gap"] > RANDOM_Z * spread)]
    if not len(sure):
        return None, None
    best = sure.sort_values(
        ["gap", "lead_days", "sign"], ascending=[False, False, True], kind="stable"
    ).iloc[0]
    return str(best["sign"]), int(best["lead_days"])
