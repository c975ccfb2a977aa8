"""Which messages do customers engage with: by channel, content, weekday and frequency?

Engaged means clicked within a week or, but for mails, opened; opened mails are reported apart. A
content, or a weekday, is compared with the others *of the same channel*. The excess of a cell over
its stratum, summed by customer (of a single one: by week), has mean zero where they are alike; its
Student's t over customers is the test.

Frequency: engagement of customers by how often they receive a content, compared with that of the
same channel and weekday; the trend of the excess with the log of the frequency is tested by
Student's t over customers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.patterns import HELD_OUT, PatternFamily, PatternLimits
from healthseg.clustering.rhythms import DAY_NAMES
from healthseg.metrics.communication import answers_by_day, are_categories, rates
from healthseg.metrics.counting import epoch_day
from healthseg.settings import Settings
from healthseg.statistics.effects import benjamini_hochberg
from healthseg.statistics.rates import wilson

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

# messages a week
FREQUENCIES = {
    "daily": 5.0,
    "twice a week": 2.0,
    "weekly": 1.0,
    "bi-weekly": 0.5,
    "monthly": 12 / 52,
    "quarterly": 4 / 52,
}


@dataclass(frozen=True)
class MessagePatterns:
    """How customers engage with messages; all None where ``reason`` says why there is too little data.

    ``channels``, ``contents``, ``weekdays``: name, sent, opened, clicked, engaged, rate (engaged ÷ sent), lower, upper,
    opened_rate, opened_lower, opened_upper, best first; what was sent fewer than ``messages_min_sent`` times is left
    out. ``contents`` is None where contents are texts, no categories. ``frequency`` has one entry a content.
    """

    family: PatternFamily | None
    reason: str | None
    channels: pd.DataFrame | None
    contents: pd.DataFrame | None
    weekdays: pd.DataFrame | None
    frequency: list[ContentFrequency] | None
    sent: int


def communication(
    portfolio: Portfolio, clients: Sequence[str], start: dt.date, end: dt.date
) -> MessagePatterns:
    """How do these customers engage with the messages sent to them in ``[start, end)``?

    Keys of the family: ``content:training``, ``weekday:Tuesday`` (of engagement) and ``opened:email/Tuesday``,
    ``opened:email/training`` (of opening), each compared with the others of the same channel.
    """
    settings = portfolio.settings
    rows = answers_by_day(portfolio, start, end)
    if rows is None:
        return MessagePatterns(None, "there is no messages table", None, None, None, None, 0)
    rows = rows[rows["client_id"].isin(set(clients))].reset_index(drop=True)
    sent, least = int(rows["sent"].sum()), settings.messages_min_sent
    if sent < least:
        reason = f"{sent} messages, at least {least} are needed"
        return MessagePatterns(None, reason, None, None, None, None, sent)
    rows = rows.assign(weekday=[DAY_NAMES[(day + 3) % 7] for day in rows["sent_day"].tolist()])
    categories = are_categories(rows, settings)
    return MessagePatterns(
        _family(rows, sorted(clients), start, categories, settings),
        None,
        _rates(rows, "channel", settings),
        _rates(rows, "content", settings) if categories else None,
        _rates(rows, "weekday", settings),
        frequencies(rows, (end - start).days / 7, settings) if categories else None,
        sent,
    )


def _rates(rows: pd.DataFrame, by: str, settings: Settings) -> pd.DataFrame:
    level = settings.interval_level
    table = rates(rows.dropna(subset=[by]), by, settings.messages_min_sent, level)
    opened, sent = table["opened"].to_numpy(), table["sent"].to_numpy()
    lower, upper = wilson(opened, sent, level)
    return table.rename(columns={by: "name"}).assign(
        opened_rate=opened / np.maximum(sent, 1), opened_lower=lower, opened_upper=upper
    )


@dataclass(frozen=True)
class MessageHypothesis:
    """``inside`` marks the rows in question; they are compared with the others of the same ``stratum``."""

    key: str
    outcome: str
    inside: np.ndarray
    stratum: np.ndarray

    def at(self, rows: np.ndarray) -> MessageHypothesis:
        return replace(self, inside=self.inside[rows], stratum=self.stratum[rows])


@dataclass(frozen=True)
class ExcessTable:
    """By unit and hypothesis: messages with the outcome, those expected by the others of the stratum, messages sent,
    and the influence of the unit on the excess."""

    keys: list[str]
    responded: np.ndarray
    expected: np.ndarray
    sent: np.ndarray
    influence: np.ndarray

    def compare(self, level: float) -> pd.DataFrame:
        """key, support (units that responded), n (units), prevalence, base_rate, lift, lower, upper, p (two-sided),
        sent, answered."""
        count, like, sent = (
            part.sum(axis=0) for part in (self.responded, self.expected, self.sent)
        )
        shows, n = (self.responded > 0).sum(axis=0), (self.sent > 0).sum(axis=0)
        influence = self.influence[np.abs(self.influence).sum(axis=1) > 0]
        degrees = max(len(influence), 2) - 1
        error = np.full(len(self.keys), np.nan)
        if len(influence) > 1:
            error = np.sqrt(degrees + 1) * influence.std(axis=0, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num(influence.sum(axis=0) / error)
            lift = np.where(like > 0, count / like, 1.0)
            reach = scipy.special.stdtrit(degrees, (1 + level) / 2) * error / np.maximum(count, 0.5)
        return pd.DataFrame(
            {
                "key": self.keys,
                "support": shows,
                "n": n,
                "prevalence": shows / np.maximum(n, 1),
                "base_rate": like / np.maximum(sent, 1),
                "lift": lift,
                "lower": lift * np.exp(-reach),
                "upper": lift * np.exp(reach),
                "p": 2 * scipy.special.stdtr(degrees, -np.abs(t)),
                "sent": sent.astype(int),
                "answered": count.astype(int),
            }
        )

    def resample(self, weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = (weights @ self.responded[:, rows]) / (weights @ self.expected[:, rows])
        return weights @ (self.responded[:, rows] > 0), lift


def excess_table(
    rows: pd.DataFrame, hypotheses: list[MessageHypothesis], unit: np.ndarray, units: int
) -> ExcessTable:
    """Rows (sent, engaged, opened; several a unit) as sums by unit and hypothesis.

    Within a stratum s with pooled rate p_s, of whose messages a share w_s lies inside, the excess inside is
    Σ (x − n·p_s) over the rows inside; a unit's influence on it is its own such sum less w_s times its sum over all
    rows of the stratum, which accounts for p_s being estimated from the same messages.
    """
    sent = rows["sent"].to_numpy(dtype=float)
    sums = np.zeros((len(hypotheses), 4, units))
    for row, hypothesis in zip(sums, hypotheses, strict=True):
        outcome = rows[hypothesis.outcome].to_numpy(dtype=float)
        for target, column in zip(row, _excess(hypothesis, sent, outcome), strict=True):
            target[:] = np.bincount(unit, column, minlength=units)
    responded, expected, inside, influence = (sums[:, at].T for at in range(4))
    keys = [hypothesis.key for hypothesis in hypotheses]
    return ExcessTable(keys, responded, expected, inside, influence)


def _excess(
    hypothesis: MessageHypothesis, sent: np.ndarray, outcome: np.ndarray
) -> tuple[np.ndarray, ...]:
    """By row: outcomes inside, those expected, messages inside, influence on the excess."""
    stratum = np.unique(hypothesis.stratum, return_inverse=True)[1]
    inside = hypothesis.inside.astype(float)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            by_stratum = np.bincount(stratum, part) / np.bincount(stratum, whole)
        return np.nan_to_num(by_stratum)[stratum]

    pooled = share(outcome, sent)
    others = share(outcome * (1 - inside), sent * (1 - inside))
    influence = (outcome - sent * pooled) * (inside - share(sent * inside, sent))
    return outcome * inside, sent * inside * others, sent * inside, influence


def _hypotheses(rows: pd.DataFrame, categories: bool, least: int) -> list[MessageHypothesis]:
    """Every content and weekday, over all channels and within each, of which enough was sent."""
    channel, content = rows["channel"].fillna(""), rows["content"].fillna("")
    compared = [
        ("weekday:", "engaged", rows["weekday"]),
        ("opened:", "opened", channel + "/" + rows["weekday"]),
    ]
    if categories:
        compared += [
            ("content:", "engaged", content),
            ("opened:", "opened", channel + "/" + content),
        ]
    hypotheses, stratum = [], channel.to_numpy(dtype=object)
    for prefix, outcome, value in compared:
        sent = rows.groupby(value.to_numpy())["sent"].sum()
        hypotheses += [
            MessageHypothesis(prefix + name, outcome, (value == name).to_numpy(), stratum)
            for name in sorted(sent.index[sent >= least])
            if name.strip("/")
        ]
    return hypotheses


def _family(
    rows: pd.DataFrame, clients: list[str], start: dt.date, categories: bool, settings: Settings
) -> PatternFamily:
    hypotheses = _hypotheses(rows, categories, settings.messages_min_sent)
    week = (rows["sent_day"].to_numpy(dtype=np.int64) - epoch_day(start)) // 7
    weeks = int(week.max()) + 1
    unit, names = pd.Index(clients).get_indexer(rows["client_id"]), clients
    if len(clients) == 1:
        unit, names = week, [f"week {at + 1}" for at in range(weeks)]
    level = settings.effects_interval_level
    excess = excess_table(rows, hypotheses, unit, len(names))
    late = week >= weeks - max(round(weeks * settings.pattern_held_out_share), 1)
    of_late = [hypothesis.at(late) for hypothesis in hypotheses]
    held_out = excess_table(rows[late], of_late, unit[late], len(names)).compare(level)
    held_out = held_out.assign(p=held_out["p"] / 2)[HELD_OUT].fillna({"lift": 1.0, "p": 1.0})
    many = len(clients) >= settings.units_min_customers
    limits = PatternLimits(settings.pattern_min_customers if many else 1, settings.pattern_min_lift)
    tried = excess.compare(level)
    return PatternFamily("communication", tried, names, excess.resample, held_out, limits)


@dataclass(frozen=True)
class ContentFrequency:
    """A content: the frequency with the best engagement, None where ``reason`` says why it is unknown.

    ``seen``: frequency, customers, sent, engaged, ratio (engaged over what the content gets by the same channels and
    weekdays). ``slope`` is the change of that ratio with each doubling of the frequency.
    """

    content: str
    best: str | None
    reason: str | None
    seen: pd.DataFrame
    slope: float | None
    q: float | None


def frequencies(rows: pd.DataFrame, weeks: float, settings: Settings) -> list[ContentFrequency]:
    """For each content: customers by how often they receive it, and whether that goes with engagement.

    A customer's frequency is what it was sent over the weeks, by the nearest of the words on a scale of ratios; q is
    over the contents with enough customers at enough frequencies.
    """
    customers = {
        str(name): _by_customer(part, weeks)
        for name, part in rows.dropna(subset=["content"]).groupby("content")
    }
    by_frequency = {name: _by_frequency(frame) for name, frame in customers.items()}
    least, levels = settings.frequency_min_customers, settings.frequency_min_levels
    trends = {
        name: _frequency_trend(frame)
        for name, frame in customers.items()
        if (by_frequency[name]["customers"] >= least).sum() >= levels
    }
    q_values = benjamini_hochberg([p for _, p in trends.values()])
    q_of = dict(zip(trends, q_values, strict=True))

    def result(name: str) -> ContentFrequency:
        enough = by_frequency[name][by_frequency[name]["customers"] >= least]
        if name not in trends:
            reason = (
                f"{len(enough)} frequencies with {least} customers or more, {levels} are needed"
            )
            return ContentFrequency(name, None, reason, by_frequency[name], None, None)
        slope, q = trends[name][0], float(q_of[name])
        if q > settings.frequency_max_q:
            reason = f"how often it comes makes no difference that shows (q = {q:.2f})"
            return ContentFrequency(name, None, reason, by_frequency[name], slope, q)
        best = str(enough.loc[enough["ratio"].idxmax(), "frequency"])
        return ContentFrequency(name, best, None, by_frequency[name], slope, q)

    return [result(name) for name in customers]


def _by_customer(rows: pd.DataFrame, weeks: float) -> pd.DataFrame:
    """A row per customer: sent, engaged, expected, a_week, frequency."""
    stratum = rows.groupby(["channel", "weekday"])[["sent", "engaged"]].transform("sum")
    rows = rows.assign(expected=rows["sent"] * stratum["engaged"] / stratum["sent"])
    frame = rows.groupby("client_id", sort=True)[["sent", "engaged", "expected"]].sum()
    a_week = frame["sent"].to_numpy(dtype=float) / weeks
    away = np.abs(np.log(a_week)[:, None] - np.log(list(FREQUENCIES.values()))[None, :])
    words = np.array(list(FREQUENCIES), dtype=object)
    return frame.assign(a_week=a_week, frequency=words[away.argmin(axis=1)])


def _by_frequency(frame: pd.DataFrame) -> pd.DataFrame:
    grouped = frame.groupby("frequency")
    table = grouped[["sent", "engaged", "expected"]].sum()
    table.insert(0, "customers", grouped.size())
    table = table.reindex([name for name in FREQUENCIES if name in table.index])
    ratio = table["engaged"] / table["expected"].where(table["expected"] > 0)
    return table.assign(ratio=ratio).rename_axis("frequency").reset_index()


def _frequency_trend(frame: pd.DataFrame) -> tuple[float, float]:
    """The slope of engaged ÷ expected on log2 of the frequency, weighted by what was expected, and its p."""
    weight = frame["expected"].to_numpy(dtype=float)
    x = np.log2(frame["a_week"].to_numpy(dtype=float))
    excess = frame["engaged"].to_numpy(dtype=float) - weight
    centred = x - np.average(x, weights=weight) if weight.sum() > 0 else x
    square = float((weight * centred**2).sum())
    if square <= 0 or len(x) < 3:
        return 0.0, 1.0
    slope = float((centred * excess).sum()) / square
    error = float(np.sqrt((centred**2 * (excess - slope * weight * centred) ** 2).sum())) / square
    if error == 0:
        return slope, 1.0
    return slope, float(2 * scipy.special.stdtr(len(x) - 2, -abs(slope) / error))
