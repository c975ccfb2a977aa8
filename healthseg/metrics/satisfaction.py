"""Satisfaction over spans: NPS of each respondent's latest answer, mean CSAT."""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, ratio
from healthseg.metrics.metric import SCORED, Metric


def _absent(spans: Spans) -> np.ndarray:
    return np.full(len(spans.k), np.nan)


def _answers(count: Counting, spans: Spans, column: str) -> np.ndarray:
    out = np.zeros(len(spans.k), dtype=np.int64)
    for length in np.unique(spans.days):
        these = spans.days == length
        table = count.distinct("nps_spells", column, int(length))
        out[these] = count.at(table, spans.k[these], spans.end[these])
    return out


def nps_respondents(count: Counting, spans: Spans) -> np.ndarray:
    return _answers(count, spans, "n").astype(float) if count.has("surveys") else _absent(spans)


def nps(count: Counting, spans: Spans) -> np.ndarray:
    """100 × (share of 9–10 − share of 0–6); NaN where nobody answered."""
    if not count.has("surveys"):
        return _absent(spans)
    score = _answers(count, spans, "promoters") - _answers(count, spans, "detractors")
    return ratio(100 * score, _answers(count, spans, "n"))


def _csat(count: Counting, spans: Spans, column: str) -> np.ndarray:
    total = np.zeros(len(spans.k), dtype=np.int64)
    for table, name in (("surveys", "csat_survey_days"), ("tickets", "csat_ticket_days")):
        if count.has(table):
            total += count.between(count.total(name, column), spans)
    return total


def csat_responses(count: Counting, spans: Spans) -> np.ndarray:
    if not (count.has("surveys") or count.has("tickets")):
        return _absent(spans)
    return _csat(count, spans, "n").astype(float)


def csat(count: Counting, spans: Spans) -> np.ndarray:
    """Mean CSAT, 1 to ``csat_max``, of surveys and of tickets (known when resolved)."""
    if not (count.has("surveys") or count.has("tickets")):
        return _absent(spans)
    return ratio(_csat(count, spans, "thousandths"), 1000 * _csat(count, spans, "n"))


METRICS = (
    Metric(
        name="nps_365d",
        label="NPS of the last 365 days",
        short="NPS",
        unit="NPS points",
        definition="100 × (share 9–10 − share 0–6) of each respondent's latest NPS in 365 days; answers without "
        "user_id count each",
        question="Would its users recommend the product?",
        format="signed",
        better="higher",
        missing="no NPS answer in 365 days",
        tables=("surveys",),
        uses=SCORED,
        count=nps,
        window_days=365,
        span_name="nps",
        above="NPS is {value}",
        below="NPS is {value}",
        high="promoters",
        low="detractors",
        kind="satisfaction",
        effort="high",
    ),
    Metric(
        name="nps_respondents_365d",
        label="NPS respondents in 365 days",
        unit="persons",
        definition="respondents of nps_365d",
        question="How many users answered the NPS question?",
        format="count",
        missing="no surveys",
        tables=("surveys",),
        count=nps_respondents,
        window_days=365,
        span_name="nps_respondents",
        logarithm=True,
    ),
    Metric(
        name="csat_180d",
        label="Mean CSAT of the last 180 days",
        short="CSAT",
        unit="1 to 5",
        definition="mean CSAT of `surveys` and of tickets (known when resolved) in 180 days",
        question="How satisfied are its users?",
        better="higher",
        missing="no CSAT answer in 180 days",
        tables=("surveys", "tickets"),
        uses=SCORED,
        count=csat,
        window_days=180,
        span_name="csat",
        above="CSAT averages {value} of 5",
        below="CSAT averages only {value} of 5",
        high="satisfied",
        low="dissatisfied",
        kind="satisfaction",
        effort="medium",
    ),
    Metric(
        name="csat_responses_180d",
        label="CSAT answers in 180 days",
        unit="answers",
        definition="answers of csat_180d",
        question="How many CSAT answers are there?",
        format="count",
        missing="no surveys or tickets",
        tables=("surveys", "tickets"),
        count=csat_responses,
        window_days=180,
        span_name="csat_responses",
        logarithm=True,
    ),
)
