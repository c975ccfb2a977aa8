"""Satisfaction over spans: NPS of each respondent's latest answer, mean CSAT."""

from __future__ import annotations

import numpy as np

from healthseg.metrics.counting import Counting, Spans, ratio


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
