"""One customer's health score, put together from what was counted, judged and foreseen."""
from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from healthseg import playbook
from healthseg.config import COMPONENTS, Settings, settings
from healthseg.measures import panel as panels
from healthseg.measures.counting import epoch_day
from healthseg.measures.statistics.peers import peers_of
from healthseg.periods import end_of_day_utc
from healthseg.scoring import explain_change, factors, model_weights, opportunities, risk_level, score_trend, shown
from healthseg.tools import health_outlook as outlook
from healthseg.tools import health_words as words
from healthseg.tools.alerts import Preferences, preferences, raised
from healthseg.tools.health_figures import ARR_DAYS, HISTORY_DAYS, Judged, dates_of, figures, frozen_rows, judge, judged_rows, number
from healthseg.tools.health_marks import marks, settings_at
from healthseg.tools.health_result import (
    ChangeExplanation,
    ChangePart,
    ComponentDetail,
    ComponentScores,
    CustomerCard,
    Factor,
    Factors,
    Fired,
    HealthMetrics,
    HealthScore,
    HistoricalScore,
    MetricDetail,
    Opportunity,
    Range,
    Trend,
)

TOOL = words.TOOL
MISSING = {"unmeasured": "no data", "ramp": "too new: no own baseline yet", "silence": "no ticket to measure, or nobody active"}


def answer(book: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any) -> HealthScore:
    """The reply for a customer that had signed up by ``as_of``; ``asked`` are the validated parameters."""
    return _Answer(book, customer, as_of, asked).reply()


class _Answer:
    """What the parts of one reply share: the customer's rows and scores, and the date that is shown."""

    def __init__(self, book: Any, customer: Mapping[str, Any], as_of: dt.date, asked: Any,
                 judged: Judged | None = None) -> None:
        self.book, self.customer, self.as_of, self.asked = book, customer, as_of, asked
        self.settings: Settings = book.settings
        self.weights = model_weights(asked.scoring_model, asked.component_weights)
        self.preferences: Preferences = preferences(asked.alert_preferences)
        left = customer.get("churned_on")
        self.churned = left is not None and not pd.isna(left) and pd.Timestamp(left) <= pd.Timestamp(as_of)
        self.day = pd.Timestamp(left).date() - dt.timedelta(days=1) if self.churned else as_of
        self.client_id = str(customer["client_id"])
        self.judged = judged if judged is not None else self._judged()
        self.now = self._row(self.day)
        self.then = self._row(self.day - dt.timedelta(days=asked.lookback_period_days))
        self.points = self.judged.scores.points(self.client_id, self.day)
        self.trend = score_trend(self.judged.frame, self.day, asked.lookback_period_days, self.settings).iloc[0]
        self.not_measured: dict[str, str] = {}

    def _judged(self) -> Judged:
        days = self.asked.lookback_period_days
        if self.churned:
            rows = frozen_rows(self.book, self.as_of, days, self.client_id)
            return judged_rows(rows, self.day, days, self.settings, self.weights)
        return judge(self.book, self.day, days, self.settings, self.weights, [self.client_id])

    def _row(self, day: dt.date) -> dict[str, Any] | None:
        rows = self.judged.on(day)
        return rows.iloc[0].to_dict() if len(rows) else None

    # -- the reply ---------------------------------------------------------------------

    def reply(self) -> HealthScore:
        history, ahead = self._history(), self._ahead()
        change, parts = self._change()
        prediction, churn_frame = self._churn()
        errors = outlook.past_errors(self.book, self.as_of, self.settings, self.weights) if len(ahead) else pd.DataFrame()
        given = figures(self.now, self.then, self._row(self.day - dt.timedelta(days=ARR_DAYS)), self.trend,
                        self.asked.lookback_period_days, self.asked.risk_threshold)
        risks = playbook.fired(TOOL, "risk", given)
        actions = [] if self.churned else playbook.fired(TOOL, "action", given)
        found = marks(self.book, self.client_id, history["date"].min(), self.day)
        metrics = self._metrics()
        predicted = self._predicted(ahead, errors)
        result = HealthScore(
            as_of=self.as_of, data_until=self.book.data_until, fingerprint=self._fingerprint(),
            coverage=round(float(self.now["coverage"]), 4), warnings=self._warnings(),
            client_id=self.client_id, status="churned" if self.churned else "live", customer=self._card(),
            calculation_timestamp=self._timestamp(), scoring_model=self.asked.scoring_model,
            component_weights=self._component_weights(), current_health_score=_integer(self.now["shown"]),
            band=self.now["band"], possible_range=Range(lower=round(self.now["lowest"], 1), upper=round(self.now["highest"], 1)),
            ramping=bool(self.now["ramping"]), caps=self._caps(), health_trend=self.trend["trend"], trend=self._trend(),
            score_change=_difference(self.now, self.then), component_scores=self._component_scores(),
            components=self._components(metrics), health_metrics=self._health_metrics(),
            risk_level=risk_level(number(self.now["shown"]), self.asked.risk_threshold),
            risk_threshold=self.asked.risk_threshold, risk_indicators=[rule["text"] for rule in risks],
            risk_indicators_detail=[Fired(**rule) for rule in risks], churn_prediction=prediction,
            historical_scores=self._historical(history), predicted_scores=predicted,
            forecast=outlook.described(ahead, errors, self.settings) if predicted is not None else None,
            change_explanation=change, contributing_factors=self._factors(),
            improvement_opportunities=self._opportunities(), recommended_actions=[rule["text"] for rule in actions],
            recommended_actions_detail=[Fired(**rule) for rule in actions], alerts=self._alerts(given), marks=found,
            not_measured=self._not_measured())
        return result.with_frames(
            history=history, forecast=ahead.drop(columns="client_id"), change=parts, metrics=metrics, churn=churn_frame,
            marks=pd.DataFrame([mark.model_dump() for mark in found], columns=["date", "kind", "label"]))

    def _fingerprint(self) -> str:
        return self.book.fingerprint(self.as_of)

    def _timestamp(self) -> str:
        return end_of_day_utc(self.as_of, self._zone()).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _zone(self) -> str:
        zone = self.customer.get("timezone")
        return zone if isinstance(zone, str) else self.settings.default_timezone

    def _warnings(self) -> list[str]:
        found = []
        if not isinstance(self.customer.get("timezone"), str):
            found.append(f"the customer has no time zone: days are those of {self.settings.default_timezone}")
        if self.client_id in self.judged.notes:
            found.append(f"past scores use {self.judged.notes[self.client_id]}: no earlier ones are known")
        if self.churned:
            found.append(f"churned on {self.customer['churned_on']}: everything is shown as of the day before")
        return found

    def _not_measured(self) -> dict[str, str]:
        found = dict(self.not_measured)
        if self.now["withheld"]:
            found["$.current_health_score"] = "withheld: nothing is known of usage and engagement, or too little in all"
        if self.trend["trend"] is None:
            found["$.health_trend"] = f"{int(self.trend['weeks'])} weekly scores, at least 6 are needed"
        if self.then is None or pd.isna(self.then["shown"]):
            found["$.score_change"] = "no score at the beginning of the look-back"
        for component in COMPONENTS:
            if pd.isna(self.now[f"{component}_score"]):
                found[f"$.component_scores.{component}_score"] = "none of its metrics is measured"
        return dict(sorted(found.items()))

    # -- parts -------------------------------------------------------------------------

    def _card(self) -> CustomerCard:
        row = self.now
        renewal = number(row["renewal_day"])
        days = None if renewal is None else int(renewal) - epoch_day(self.as_of)
        return CustomerCard(
            name=str(self.customer["name"]), industry=_word(self.customer.get("industry")),
            region=_word(self.customer.get("region")), tier=_word(row["tier"]), plan=_word(row["plan"]),
            stage=_word(row["stage"]), arr=number(row["arr"]), currency=_word(row["currency"]) or _word(self.customer.get("currency")) or self.settings.book_currency,
            seats=_integer(row["seats"]), renewal_on=None if renewal is None else dt.date(1970, 1, 1) + dt.timedelta(int(renewal)),
            days_to_renewal=days, tenure_days=int(row["tenure_days"]), csm_id=_word(self.customer.get("csm_id")),
            timezone=self._zone())

    def _component_weights(self) -> dict[str, float]:
        if self.weights is not None:
            return {name: round(weight, 6) for name, weight in self.weights.items()}
        rules = self.points.drop_duplicates("component").set_index("component")["component_weight"]
        return {f"{name}_weight": round(float(rules.get(name, 0.0)), 6) for name in COMPONENTS}

    def _component_scores(self) -> ComponentScores:
        return ComponentScores(**{f"{name}_score": _integer(shown(self.now[f"{name}_score"])) for name in COMPONENTS})

    def _metrics(self) -> pd.DataFrame:
        """The metrics' frame: the scorecard's rows with their values, points and reasons of missing ones."""
        frame = self.points[["component", "measure", "label", "unit", "value", "points", "weight", "effective_weight", "target",
                             "missing_reason"]].copy()
        frame["target"] = frame["target"].where(frame["points"].notna())
        frame["missing_reason"] = frame["missing_reason"].map(MISSING, na_action="ignore").astype(object)
        return frame.where(frame.notna(), None).astype({name: float for name in ("value", "points", "weight", "effective_weight",
                                                                                   "target")})

    def _components(self, metrics: pd.DataFrame) -> list[ComponentDetail]:
        found = []
        for name, rows in metrics.groupby("component", sort=False):
            details = [MetricDetail(**{key: (_rounded(value) if isinstance(value, float) else value)
                                       for key, value in row.items() if key != "component"})
                       for row in rows.to_dict("records")]
            total = rows["weight"].sum()
            known = rows.loc[rows["points"].notna(), "weight"].sum()
            found.append(ComponentDetail(component=name, score=_integer(shown(self.now[f"{name}_score"])), weight=round(total, 6),
                                         coverage=round(known / total, 4) if total else 0.0, metrics=details))
        return found

    def _health_metrics(self) -> HealthMetrics:
        row, days = self.now, self.asked.lookback_period_days
        opened = panels.span_of(self.book, self.client_id, self.day, days, "tickets_opened")
        return HealthMetrics(
            weekly_active_users=_integer(row["weekly_active_users"]), feature_adoption_rate=_rounded(row["feature_adoption_rate_30d"]),
            support_ticket_count=_integer(opened), open_tickets=_integer(row["open_tickets"]),
            nps_score=_integer(shown(row["nps_365d"])), nps_respondents=_integer(row["nps_respondents_365d"]),
            payment_status=_word(row["payment_status"]), days_overdue=_integer(row["worst_days_overdue"]))

    def _caps(self) -> list[str]:
        if pd.isna(self.now["cap"]):
            return []
        return [f"capped at {self.now['cap']:.0f}: an invoice is {self.now['worst_days_overdue']:.0f} days overdue"]

    def _trend(self) -> Trend:
        row = self.trend
        interval = None if pd.isna(row["lower"]) else Range(lower=_rounded(row["lower"]), upper=_rounded(row["upper"]))
        return Trend(slope_per_week=_rounded(row["slope_per_week"]), interval=interval, weeks=int(row["weeks"]),
                     interval_level=self.settings.interval_level, window_days=max(self.asked.lookback_period_days, 84))

    def _history(self) -> pd.DataFrame:
        frame = self.judged.frame
        since = pd.Timestamp(max(self.day - dt.timedelta(days=HISTORY_DAYS), self.book.first_event_day or self.day))
        rows = frame[(frame["date"] >= since) | (frame["date"] == pd.Timestamp(self.day))]
        note = self.judged.notes.get(self.client_id)
        return pd.DataFrame({"date": rows["date"], "score": rows["score"], "shown": rows["shown"], "coverage": rows["coverage"],
                             "lower": rows["lowest"], "upper": rows["highest"],
                             "note": [note if note and date < pd.Timestamp(self.book.data_until) else None
                                      for date in rows["date"]]}).reset_index(drop=True)

    def _historical(self, history: pd.DataFrame) -> list[HistoricalScore]:
        since = pd.Timestamp(self.day - dt.timedelta(days=self.asked.lookback_period_days))
        rows = history[history["date"] >= since]
        return [HistoricalScore(date=row.date.date(), score=_integer(row.shown), coverage=round(row.coverage, 4), note=row.note)
                for row in rows.itertuples()]

    def _ahead(self) -> pd.DataFrame:
        empty = pd.DataFrame(columns=["client_id", "date", "forecast", "lower", "upper", "method"])
        if not self.asked.include_predictions or self.churned:
            return empty
        return outlook.fan(self.judged, self.settings)

    def _predicted(self, ahead: pd.DataFrame, errors: pd.DataFrame) -> list | None:
        if not self.asked.include_predictions or self.churned:
            self.not_measured["$.predicted_scores"] = "the customer has churned" if self.churned else "not requested"
            return None
        found = outlook.predictions(ahead, errors, self.as_of)
        if not found:
            self.not_measured["$.predicted_scores"] = "too few weekly scores to forecast from"
        elif found[0].confidence is None:
            self.not_measured["$.predicted_scores[*].confidence"] = "fewer than 20 back-tested forecasts in the book"
        return found or None

    def _churn(self) -> tuple[Any, pd.DataFrame]:
        empty = pd.DataFrame(columns=["horizon_days", "probability", "lower", "upper", "kind"])
        if not self.asked.include_predictions or self.churned:
            self.not_measured["$.churn_prediction"] = "the customer has churned" if self.churned else "not requested"
            return None, empty
        found = outlook.rates(self.book, self.as_of, self.settings)
        prediction, frame = outlook.churn(found, self.client_id, _word(self.now["tier"]), self.settings)
        if prediction.churn_probability is None:
            self.not_measured["$.churn_prediction.churn_probability"] = prediction.reason
        for key in ("churn_risk_level", "key_risk_factors", "protective_factors"):
            self.not_measured[f"$.churn_prediction.{key}"] = "a base rate says nothing of a single customer"
        return prediction, frame

    def _change(self) -> tuple[ChangeExplanation, pd.DataFrame]:
        start = self.day - dt.timedelta(days=self.asked.lookback_period_days)
        columns = ["kind", "label", "points", "start", "end", "value_then", "value_now", "unit", "measure"]
        if self.then is None:
            explained = ChangeExplanation(from_date=start, to_date=self.day, score_then=None, score_now=_integer(self.now["shown"]),
                                          change=None, parts=[], reason="the customer had not signed up then")
            return explained, pd.DataFrame(columns=columns)
        before = settings_at(self.book, start)
        change = explain_change(self.then, self.now, settings(before) if before is not None else self.settings, self.settings,
                                self.weights, self.weights)
        parts = [ChangePart(kind=part.kind, measure=part.measure, label=part.label, points=part.displayed,
                            value_then=_rounded(part.value_then), value_now=_rounded(part.value_now), unit=part.unit)
                 for part in change.parts]
        explained = ChangeExplanation(from_date=start, to_date=self.day, score_then=change.shown_then, score_now=change.shown_now,
                                      change=change.shown, parts=parts, reason=change.reason)
        return explained, _waterfall(explained)

    def _factors(self) -> Factors:
        rows = factors(self.points, self.settings)
        details = {side: [Factor(text=words.factor(row.measure, row.label, row.value, side), measure=row.measure,
                                 value=_rounded(row.value), unit=row.unit, points=_rounded(row.points),
                                 effect=round(row.contribution if side == "positive" else -row.lost, 2))
                          for row in rows[rows["side"] == side].itertuples()] for side in ("positive", "negative")}
        return Factors(positive=[factor.text for factor in details["positive"]],
                       negative=[factor.text for factor in details["negative"]],
                       positive_detail=details["positive"], negative_detail=details["negative"])

    def _opportunities(self) -> list[Opportunity]:
        if self.churned:
            return []
        today = panels.panel(self.book, [self.as_of])
        group, peers = peers_of(today[today["live"].astype(bool)], self.client_id, self.settings.peers_min)
        if group is None:
            self.not_measured["$.improvement_opportunities"] = f"fewer than {self.settings.peers_min} peers to take targets from"
            return []
        values = {measure: peers[measure].to_numpy(dtype=float) for measure in self.points["measure"]}
        found = opportunities(self.points, self.now, values, self.settings)
        return [Opportunity(area=words.area(row.measure, row.label), current_state=words.said(row.measure, row.value),
                            target_state=f"{words.said(row.measure, row.target)} (a quarter of the peers earn as much: {group})",
                            impact=words.impact(row.impact), effort=words.effort(row.measure), measure=row.measure,
                            current_value=_rounded(row.value), target_value=_rounded(row.target), points=round(row.impact, 2))
                for row in found.itertuples()]

    def _alerts(self, given: Mapping[str, Any]) -> list[Fired]:
        if self.churned:
            return []
        return [Fired(**alert) for alert in raised(TOOL, self.preferences, given, self._figures_before)]

    def _figures_before(self, days: int) -> list[dict[str, Any] | None]:
        """The figures of each of the ``days`` days before, oldest first: what a cooldown looks back on."""
        lookback = self.asked.lookback_period_days
        past = [self.as_of - dt.timedelta(days=back) for back in range(days, 0, -1)]
        dates = sorted({date for day in past for date in dates_of(day, lookback)})
        rows = panels.build(self.book, dates, [self.client_id])
        found = []
        for day in past:
            if not (rows["date"] == pd.Timestamp(day)).any():
                found.append(None)                     # before the customer signed up
                continue
            here = rows[rows["date"].isin(pd.to_datetime(dates_of(day, lookback)))]
            judged = judged_rows(here, day, lookback, self.settings, self.weights)
            earlier = _Answer(self.book, self.customer, day, self.asked, judged)
            found.append(figures(earlier.now, earlier.then, earlier._row(day - dt.timedelta(days=ARR_DAYS)), earlier.trend,
                                 self.asked.lookback_period_days, self.asked.risk_threshold))
        return found


def _waterfall(explained: ChangeExplanation) -> pd.DataFrame:
    """The change as steps: from the score then, part by part, to the score now."""
    columns = ["kind", "label", "points", "start", "end", "value_then", "value_now", "unit", "measure"]
    if explained.change is None:
        return pd.DataFrame(columns=columns)
    first, last = float(explained.score_then), float(explained.score_now)
    moves = np.array([part.points for part in explained.parts])
    ends = np.round(first + np.cumsum(moves), 1)
    rows = [{"kind": part.kind, "label": part.label, "points": part.points, "start": round(end - part.points, 1), "end": end,
             "value_then": part.value_then, "value_now": part.value_now, "unit": part.unit, "measure": part.measure}
            for part, end in zip(explained.parts, ends, strict=True)]
    edge = {"value_then": None, "value_now": None, "unit": None, "measure": None, "start": 0.0}
    return pd.DataFrame([{**edge, "kind": "from", "label": f"{explained.from_date}", "points": first, "end": first}, *rows,
                         {**edge, "kind": "to", "label": f"{explained.to_date}", "points": last, "end": last}], columns=columns)


def _integer(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(np.floor(float(value) + 0.5))


def _rounded(value: Any, decimals: int = 4) -> float | None:
    value = number(value)
    return None if value is None else round(value, decimals)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _difference(now: Mapping[str, Any], then: Mapping[str, Any] | None) -> int | None:
    if then is None or pd.isna(now["shown"]) or pd.isna(then["shown"]):
        return None
    return int(now["shown"] - then["shown"])
