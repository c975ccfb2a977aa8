"""One customer's health: score, history, change, outlook, factors, recommendations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import pandas as pd

from healthseg import rules
from healthseg.metrics import panels
from healthseg.metrics.counting import EPOCH, epoch_day
from healthseg.metrics.milestone_plan import holidays
from healthseg.metrics.statements import table_rows
from healthseg.periods import end_of_day_utc
from healthseg.rules import alerts
from healthseg.scoring import (
    explain_change,
    row_risk_level,
    score_trend,
    shown,
    trend_window_days,
)
from healthseg.scoring import factors as score_factors
from healthseg.scoring import opportunities as score_opportunities
from healthseg.scoring.health import ramped_metrics
from healthseg.scoring.overrides import why_no_score
from healthseg.scoring.scored_panel import (
    ScoredPanel,
    ScoreModel,
    churned_rows,
    response_dates,
    score_rows_of,
    scored_panel,
)
from healthseg.settings import settings
from healthseg.statistics.peers import peers_of
from healthseg.tools import score_forecasts
from healthseg.tools.base import Figure, Interval
from healthseg.tools.context import CustomerContext
from healthseg.tools.health import outlook as ahead
from healthseg.tools.health import words
from healthseg.tools.health.result import (
    ChangeExplanation,
    ChangePart,
    ComponentDetail,
    ComponentScores,
    CustomerCard,
    Factors,
    HealthMetrics,
    HealthScore,
    HistoricalScore,
    HistoryMark,
    MetricDetail,
    Opportunity,
    ReportedArr,
    Trend,
)
from healthseg.tools.next_actions import NextActions
from healthseg.tools.overrides import caps_of
from healthseg.tools.values import integer, number, rounded, word

TOOL = words.TOOL
METRIC_FLOATS = ["value", "points", "weight", "effective_weight", "target"]
METRIC_COLUMNS = ["component", "metric", "label", "unit", *METRIC_FLOATS, "missing_reason"]
# what the response's own model, look-back and threshold decide
SCORE_FIGURES = ("score", "score_change", "score_drop", "lookback_days", "risk_threshold")
NEVER_LIVE = "the customer churned on the day it signed up"
HEALTH_METRICS = {
    "weekly_active_users": "weekly_active_users",
    "feature_adoption_rate": "feature_adoption_rate_30d",
    "open_tickets": "open_tickets",
    "nps_score": "nps_365d",
    "nps_respondents": "nps_respondents_365d",
    "payment_status": "payment_status",
    "days_overdue": "worst_days_overdue",
}


class CustomerHealth:
    """A customer's health at ``as_of``; a churned customer's on its last day (``day``)."""

    def __init__(
        self,
        context: CustomerContext,
        model: ScoreModel,
        lookback_days: int,
        risk_threshold: float,
        scored: ScoredPanel | None = None,
    ) -> None:
        self.context, self.model = context, model
        self.lookback_days, self.risk_threshold = lookback_days, risk_threshold
        self.portfolio, self.settings = context.portfolio, context.settings
        self.client_id, self.churned = context.client_id, context.churned
        self.as_of, self.day = context.as_of, context.last_day
        self.start = self.day - dt.timedelta(days=lookback_days)
        self.scored = scored or self._scored()

    def _scored(self) -> ScoredPanel:
        days = self.lookback_days
        if self.churned:
            rows = churned_rows(self.portfolio, self.as_of, days, self.client_id)
            return score_rows_of(self.portfolio, rows, self.day, days, self.model)
        return scored_panel(self.portfolio, self.day, days, self.model, [self.client_id])

    def result(
        self, scoring_model: str, include_predictions: bool, preferences: alerts.Preferences
    ) -> HealthScore:
        """The response; ``include_predictions`` adds the forecast and the churn prediction."""
        now, live = self.now, not self.churned
        metrics, history, change = self.metrics(), self.history(), self.change()
        coming, frames = self._outlook(include_predictions)
        risks = rules.triggered(TOOL, "risk", self.figures, self.settings.rules)
        own = {name: self.figures[name] for name in SCORE_FIGURES}
        coming_up = NextActions.of(self.portfolio, self.as_of).shown(self.client_id, own)
        raised = (
            alerts.raised(preferences, self.figures, self.figures_before, self.as_of)
            if live
            else []
        )
        marks = self.marks(history["date"].min())
        opportunities, reason = self.opportunities()
        not_measured = {"$.improvement_opportunities": reason} if reason else {}
        why_withheld = self._why_withheld(metrics)
        level = row_risk_level(now, self.risk_threshold, self.settings)
        weeks, least = int(self.trend["weeks"]), self.settings.trend_min_scores
        few_scores = f"{weeks} weekly scores, at least {least} are needed"
        return HealthScore(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            coverage=round(float(now["coverage"]), 4),
            warnings=self._warnings(),
            not_measured=not_measured,
            client_id=self.client_id,
            status=self.context.status,
            customer=self.card(),
            calculation_timestamp=end_of_day_utc(self.as_of, self.context.zone).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            scoring_model=scoring_model,
            component_weights=self.component_weights(),
            current_health_score=Figure(integer(now["shown"]), why_withheld),
            band=Figure(now["band"], why_withheld),
            provisional=bool(now["provisional"]),
            band_edges=self.settings.band_edges,
            possible_range=Interval(lower=round(now["lowest"], 1), upper=round(now["highest"], 1)),
            ramping=bool(now["ramping"]),
            caps=caps_of(now, self.context),
            uncapped_score=Figure(integer(shown(now["uncapped"])), why_withheld),
            health_trend=Figure(self.trend["trend"], few_scores),
            trend=self.trend_part(),
            score_change=Figure(self.score_change, "no score at one end of the look-back"),
            component_scores=self.component_scores(),
            components=self.components(metrics),
            health_metrics=self.health_metrics(),
            risk_level=Figure(level, why_withheld),
            risk_threshold=self.risk_threshold,
            risk_indicators=[rule.text for rule in risks],
            risk_indicators_detail=risks,
            **coming,
            historical_scores=self.historical_scores(history),
            change_explanation=change,
            contributing_factors=self.factors(risks),
            improvement_opportunities=opportunities,
            recommended_actions=[action.text for action in coming_up],
            recommended_actions_detail=[action.triggered for action in coming_up],
            next_actions=coming_up,
            alerts=raised,
            marks=marks,
        ).with_frames(
            history=history,
            forecast=frames["forecast"],
            change=change.waterfall(),
            metrics=metrics,
            churn=frames["churn"],
            marks=pd.DataFrame(
                [mark.model_dump() for mark in marks], columns=["date", "kind", "label"]
            ),
        )

    # -- rows and figures ------------------------------------------------------------------

    def row(self, day: dt.date) -> dict[str, Any] | None:
        """The customer's metrics and scores on a day; None before it signed up."""
        rows = self.scored.on(day)
        return rows.iloc[0].to_dict() if len(rows) else None

    @cached_property
    def now(self) -> dict[str, Any]:
        row = self.row(self.day)
        assert row is not None  # the customer had signed up by its last day
        return row

    @cached_property
    def then(self) -> dict[str, Any] | None:
        return self.row(self.start)

    @cached_property
    def points(self) -> pd.DataFrame:
        return self.scored.scores.points(self.client_id, self.day)

    @cached_property
    def trend(self) -> dict[str, Any]:
        trend = score_trend(self.scored.frame, self.day, self.lookback_days, self.settings)
        return trend.iloc[0].to_dict()

    @property
    def score_change(self) -> int | None:
        """Between the shown scores at both ends of the look-back, by today's rules."""
        now, then = self.now["shown"], None if self.then is None else self.then["shown"]
        return None if then is None or pd.isna(now) or pd.isna(then) else int(now - then)

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The named figures that the rules read."""
        earlier = self.row(self.day - dt.timedelta(days=self.settings.arr_comparison_days))
        return words.rule_figures(
            self.now,
            self.then,
            earlier,
            self.trend,
            self.lookback_days,
            self.risk_threshold,
            self.settings,
        )

    def figures_before(self, days: int) -> list[Mapping[str, Any] | None]:
        """The figures of each of the ``days`` days before, oldest first: for an alert's cooldown."""
        past = [self.as_of - dt.timedelta(days=back) for back in range(days, 0, -1)]
        dates = sorted({date for day in past for date in self._dates(day)})
        rows = panels.build(self.portfolio, dates, [self.client_id])
        signed_up = set(rows["date"])
        return [
            self._figures_on(rows, day) if pd.Timestamp(day) in signed_up else None for day in past
        ]

    def _dates(self, day: dt.date) -> list[dt.date]:
        return response_dates(day, self.lookback_days, self.settings)

    def _figures_on(self, rows: pd.DataFrame, day: dt.date) -> dict[str, Any]:
        dates = pd.to_datetime(self._dates(day))
        rows = rows[rows["date"].isin(dates)]
        scored = score_rows_of(self.portfolio, rows, day, self.lookback_days, self.model)
        context = CustomerContext(self.portfolio, self.client_id, self.as_of)
        context.as_of = day
        return CustomerHealth(
            context, self.model, self.lookback_days, self.risk_threshold, scored
        ).figures

    # -- the score and what is behind it ---------------------------------------------------

    def card(self) -> CustomerCard:
        row, customer = self.now, self.context.customer
        renewal = number(row["renewal_day"])
        # who managed the customer before the last day of the data is not known
        today = self.as_of >= self.portfolio.data_until
        currency = word(row["currency"]) or word(customer.get("currency"))
        return CustomerCard(
            name=self.context.name,
            industry=self.context.industry,
            region=word(customer.get("region")),
            tier=word(row["tier"]),
            plan=word(row["plan"]),
            stage=word(row["stage"]),
            arr=number(row["arr"]),
            currency=currency or self.settings.reporting_currency,
            reported=ReportedArr.of(self.context),
            seats=integer(row["seats"]),
            renewal_on=None if renewal is None else EPOCH + dt.timedelta(days=int(renewal)),
            days_to_renewal=None
            if renewal is None or self.churned
            else int(renewal) - epoch_day(self.as_of),
            tenure_days=int(row["tenure_days"]),
            csm_id=word(customer.get("csm_id")) if today else None,
            timezone=self.context.zone,
        )

    def component_weights(self) -> dict[str, float]:
        """The weights in force, which sum to 1."""
        if self.model.weights is not None:
            return {name: round(weight, 6) for name, weight in self.model.weights.items()}
        known = self.points.drop_duplicates("component").set_index("component")["component_weight"]
        names = self.settings.component_names
        return {f"{name}_weight": round(float(known.get(name, 0.0)), 6) for name in names}

    def component_scores(self) -> ComponentScores:
        reasons = words.of_components(self.metrics())
        scores = {name: integer(self.now[name]) for name in ComponentScores.model_fields}
        return ComponentScores(
            **{name: Figure(score, reasons.get(name)) for name, score in scores.items()}
        )

    def metrics(self) -> pd.DataFrame:
        """The scorecard's metrics with values, points, targets and reasons of missing ones."""
        frame = self.points[METRIC_COLUMNS].copy()
        frame["target"] = frame["target"].where(frame["points"].notna())
        frame["missing_reason"] = words.why_each_is_missing(frame, self.portfolio, self.client_id)
        return frame.astype(dict.fromkeys(METRIC_FLOATS, float))

    def components(self, metrics: pd.DataFrame) -> list[ComponentDetail]:
        parts = []
        for name, rows in metrics.groupby("component", sort=False):
            total = rows["weight"].sum()
            known = rows.loc[rows["value"].notna(), "weight"].sum()
            details = rows.drop(columns="component").to_dict("records")
            parts.append(
                ComponentDetail(
                    component=name,
                    score=integer(self.now[f"{name}_score"]),
                    weight=round(total, 6),
                    coverage=round(known / total, 4) if total else 0.0,
                    metrics=[
                        MetricDetail(**row | {key: rounded(row[key]) for key in METRIC_FLOATS})
                        for row in details
                    ],
                )
            )
        return parts

    def health_metrics(self) -> HealthMetrics:
        opened = panels.span_of(
            self.portfolio, self.client_id, self.day, self.lookback_days, "tickets_opened"
        )
        row = self.now
        values: dict[str, Any] = {
            key: word(row[name]) if key == "payment_status" else integer(row[name])
            for key, name in HEALTH_METRICS.items()
            if key != "feature_adoption_rate"
        }
        values["feature_adoption_rate"] = rounded(row["feature_adoption_rate_30d"])
        values["support_ticket_count"] = integer(opened)
        absence = partial(self.portfolio.absence, client_id=self.client_id)
        names = {**HEALTH_METRICS, "support_ticket_count": "tickets_90d"}
        return HealthMetrics(
            **{
                key: Figure(value, words.why_missing(names[key], "unmeasured", absence))
                for key, value in values.items()
            }
        )

    def trend_part(self) -> Trend:
        row = self.trend
        few = "too few weekly scores"
        interval = Interval(lower=rounded(row["lower"]), upper=rounded(row["upper"]))
        return Trend(
            slope_per_week=Figure(rounded(row["slope_per_week"]), few),
            interval=Figure(None, few) if interval.lower is None else interval,
            weeks=int(row["weeks"]),
            interval_level=self.settings.interval_level,
            window_days=trend_window_days(self.lookback_days, self.settings),
        )

    def factors(self, risks: Sequence[rules.TriggeredRule] = ()) -> Factors:
        """What holds the score up, other than what ``risks`` read, and what pulls it down: points it brings or costs."""
        bad = {name for risk in risks for name in risk.figures}
        bad |= ramped_metrics(self.now, self.settings)
        if self.model.predictive:
            args = self.portfolio, self.client_id, self.day, self.now
            positive, negative = ahead.model_score_factors(*args)
        else:
            rows = score_factors(self.points, self.settings)
            positive, negative = (
                [words.factor_of(row, side) for row in rows[rows["side"] == side].itertuples()]
                for side in ("positive", "negative")
            )
        positive = [factor for factor in positive if factor.metric not in bad]
        return Factors(
            positive=[factor.text for factor in positive],
            negative=[factor.text for factor in negative],
            positive_detail=positive,
            negative_detail=negative,
        )

    def opportunities(self) -> tuple[list[Opportunity], str | None]:
        """Steps that peers show to be within reach; or the reason why there are none."""
        if self.model.predictive:
            return [], None if self.churned else ahead.NO_OPPORTUNITIES
        if self.churned:
            return [], None
        if self.now["provisional"]:
            return [], why_no_score(self.now, self.settings)
        today = panels.panel(self.portfolio, [self.as_of])
        least = self.settings.peers_min
        group, peers = peers_of(today[today["live"].astype(bool)], self.client_id, least)
        if group is None:
            return [], f"fewer than {least} peers to take targets from"
        values = {name: peers[name].to_numpy(dtype=float) for name in self.points["metric"]}
        rows = score_opportunities(self.points, self.now, values, self.settings)
        return [words.opportunity_of(row, group) for row in rows.itertuples()], None

    # -- history and change ----------------------------------------------------------------

    def history(self) -> pd.DataFrame:
        """A year's scores by today's rules: date, score, shown, coverage, lower, upper, note."""
        first = min(self.portfolio.first_event_day, self.day)
        since = max(self.day - dt.timedelta(days=self.settings.score_history_days), first)
        frame = self.scored.frame
        rows = frame[frame["date"] >= pd.Timestamp(since)].reset_index(drop=True)
        note = self.scored.notes.get(self.client_id)
        past = rows["date"] < pd.Timestamp(self.portfolio.data_until)
        columns = {
            "date": "date",
            "score": "score",
            "shown": "shown",
            "coverage": "coverage",
            "lower": "lowest",
            "upper": "highest",
        }
        return pd.DataFrame({name: rows[column] for name, column in columns.items()}).assign(
            note=pd.Series([note if before else None for before in past], dtype=object)
        )

    def historical_scores(self, history: pd.DataFrame) -> list[HistoricalScore]:
        """Weekly dates within the look-back, and its first day."""
        weeks = range(self.lookback_days // 7 + 1)
        dates = {self.start, *(self.day - dt.timedelta(days=7 * week) for week in weeks)}
        rows = history[history["date"].isin(pd.to_datetime(sorted(dates)))]
        why = (
            ahead.NO_MODEL_SCORE
            if self.model.predictive
            else "withheld where too little was known, and of new customers"
        )
        return [
            HistoricalScore(
                date=row.date.date(),
                score=Figure(integer(row.shown), why),
                coverage=round(row.coverage, 4),
                note=word(row.note),
            )
            for row in rows.itertuples()
        ]

    def change(self) -> ChangeExplanation:
        """Why the score changed in the look-back; the parts' points add up to the change."""
        dates = {"from_date": self.start, "to_date": self.day}
        if self.then is None:
            return ChangeExplanation(
                **dates,
                score_then=None,
                score_now=integer(self.now["shown"]),
                change=None,
                parts=[],
                reason="the customer had not signed up then",
            )
        if self.model.predictive:
            change = ahead.model_score_change(
                self.portfolio, self.client_id, (self.start, self.then), (self.day, self.now)
            )
        else:
            before = self.portfolio.settings_at(self.start)
            rules_then = settings(before) if before is not None else self.settings
            weights = self.model.weights
            change = explain_change(
                self.then, self.now, rules_then, self.settings, weights, weights
            )
        return ChangeExplanation(
            **dates,
            score_then=change.shown_then,
            score_now=change.shown_now,
            change=change.shown,
            parts=[
                ChangePart(
                    kind=part.kind,
                    metric=part.metric,
                    label=part.label,
                    points=part.displayed,
                    unit=part.unit,
                    value_then=rounded(part.value_then),
                    value_now=rounded(part.value_now),
                )
                for part in change.parts
            ],
            reason=change.reason,
        )

    def marks(self, start: pd.Timestamp) -> list[HistoryMark]:
        """Events between the history's start and the day: calendar without holidays, changed settings, stages, notice."""

        def mark(day: Any, kind: str, label: str) -> HistoryMark:
            return HistoryMark(date=pd.Timestamp(day).date(), kind=kind, label=label)

        portfolio, marks = self.portfolio, []
        if portfolio.has("calendar"):
            calendar = portfolio.cache.get(
                "calendar", None, lambda: portfolio.table("calendar"), disk=False
            )
            off = holidays(portfolio)
            marks += [
                mark(row.starts_on, "calendar", str(row.label))
                for row in calendar.itertuples()
                if pd.Timestamp(row.starts_on).date() not in off
            ]
        # the first settings that the ledger knows are no change
        marks += [
            mark(entry.first_used_at.date(), "configuration", "settings changed")
            for entry in portfolio.settings_history[1:]
        ]
        if portfolio.has("stage_changes"):
            days = table_rows(portfolio, "stage_days").query("client_id == @self.client_id")
            marks += [mark(row.effective_day, "stage", str(row.stage)) for row in days.itertuples()]
        if self.context.notice_on is not None:
            marks.append(mark(self.context.notice_on, "notice", "notice given"))
        within = [each for each in marks if start.date() <= each.date <= self.day]
        return sorted(within, key=lambda each: (each.date, each.kind, each.label))

    # -- outlook ---------------------------------------------------------------------------

    def _outlook(self, include: bool) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
        """The forecast and the churn prediction, with their frames; or why there are none."""
        if self.churned or not include:
            missing = Figure(None, "the customer has churned" if self.churned else "not requested")
            empty = {
                "forecast": pd.DataFrame(columns=score_forecasts.COLUMNS),
                "churn": pd.DataFrame(columns=ahead.CHURN_COLUMNS),
            }
            absent = {"churn_prediction": missing, "predicted_scores": missing, "forecast": None}
            return absent, empty
        errors = score_forecasts.past_errors(self.portfolio, self.as_of, self.model)
        forecast = score_forecasts.score_forecast(self.scored, self.settings, errors)
        predicted = ahead.predicted_scores(forecast, errors, self.as_of, self.settings)
        prediction, churn_frame = ahead.churn_prediction(
            self.portfolio, self.client_id, word(self.now["tier"]), self.as_of
        )
        few = "too few weekly scores to forecast from"
        if self.now["provisional"]:
            few = why_no_score(self.now, self.settings)
        fields = {
            "churn_prediction": prediction,
            "predicted_scores": predicted or Figure(None, few),
            "forecast": ahead.forecast_part(forecast, errors, self.settings.interval_level),
        }
        return fields, {"forecast": forecast[score_forecasts.COLUMNS], "churn": churn_frame}

    def _warnings(self) -> list[str]:
        warnings = [text] if (text := self.context.api_only_warning) else []
        warnings += self.context.zone_warnings
        if self.client_id in self.scored.notes:
            note = self.scored.notes[self.client_id]
            warnings.append(f"past scores use {note}: no earlier ones are known")
        if self.churned:
            day = self.context.churned_on
            warnings.append(f"churned on {day}: everything is shown as of the day before")
        return warnings

    def _why_withheld(self, metrics: pd.DataFrame) -> str:
        if not self.now["live"]:
            return NEVER_LIVE
        if self.now["provisional"]:
            return why_no_score(self.now, self.settings)
        if self.model.predictive:
            return ahead.NO_MODEL_SCORE
        return words.why_withheld(metrics, self.portfolio, self.settings.min_coverage)
