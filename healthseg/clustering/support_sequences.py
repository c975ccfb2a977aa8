"""What follows what in support, how long it takes, and how many help themselves.

A sequence of topics counts where it comes in consecutive tickets of a customer. Chance keeps each customer's own topics
and turns their order about: of n tickets with n_a of topic a the pair a → b is then expected n_a·n_b / n times (a → a:
n_a·(n_a − 1) / n), so that a customer which only ever asks about one thing makes no sequence. The excess over that has
mean zero in every customer; its Student's t over customers is the test. Of three topics in a row p is the largest of
its own and its two pairs'.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from healthseg.clustering.judging import Family, Limits
from healthseg.clustering.support_tickets import tickets
from healthseg.clustering.support_times import Resolution, SelfService, resolution, self_service
from healthseg.metrics.counting import epoch_day

ARROW = " → "
LEAST_CUSTOMERS = 20
HELD_OUT = 1 / 3


@dataclass(frozen=True)
class Support:
    """What was found in tickets. ``family`` is None where ``sequences_reason`` says why sequences can't be told;
    ``resolution`` is None without a tickets table."""

    family: Family | None
    sequences_reason: str | None
    resolution: Resolution | None
    self_service: SelfService
    tickets: int


def support(
    portfolio: Any, clients: Sequence[str], start: dt.date, end: dt.date, seed: int = 7
) -> Support:
    """The tickets that these customers opened in ``[start, end)``: sequences, time to resolution, self-service.

    Keys of the family: ``login → permissions``, ``login → permissions → billing``; support is the customers in which it
    comes, n those with two tickets or more, lift what was seen over what chance expects.
    """
    rows = tickets(portfolio, clients, end)
    served = self_service(portfolio, sorted(clients), rows, start, end)
    if rows is None:
        return Support(None, "there is no tickets table", None, served, 0)
    rows = rows[rows["opened_day"] >= epoch_day(start)].reset_index(drop=True)
    told = rows.dropna(subset=["topic"]).reset_index(drop=True)
    reason = _reason(told)
    family = _family(told, start, end) if reason is None else None
    times = resolution(rows, start, end, seed, portfolio.settings.interval_level)
    return Support(family, reason, times, served, len(rows))


def _reason(rows: pd.DataFrame) -> str | None:
    many = int((rows.groupby("client_id").size() >= 2).sum())
    if many < LEAST_CUSTOMERS:
        return f"{many} customers with two tickets or more that have a topic, at least {LEAST_CUSTOMERS} are needed"
    return None


def _family(rows: pd.DataFrame, start: dt.date, end: dt.date) -> Family:
    late = rows["opened_day"] >= epoch_day(end) - round((end - start).days * HELD_OUT)
    now, later = _Chains(rows), _Chains(rows[late].reset_index(drop=True))
    keys = now.keys()
    frame = now.tried(keys)
    held = later.tried(keys).assign(p=lambda one: one["p"] / 2)[["key", "lift", "p"]]

    def again(weights: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen, expected = now.counts([keys[place] for place in at])
        with np.errstate(divide="ignore", invalid="ignore"):
            return weights @ (seen > 0), (weights @ seen) / (weights @ expected)

    return Family("support", frame, now.clients, again, held, Limits(LEAST_CUSTOMERS, 1.25))


class _Chains:
    """Tickets in order by customer, those with two or more: their topics as numbers."""

    def __init__(self, rows: pd.DataFrame) -> None:
        size = rows.groupby("client_id")["topic"].transform("size")
        rows = rows[size >= 2]
        self.clients = sorted(rows["client_id"].unique())
        self.client = pd.Index(self.clients).get_indexer(rows["client_id"])
        self.topic = rows["topic"].astype(str).to_numpy(dtype=object)
        self.topics = sorted(set(self.topic))
        shape = (len(self.clients), len(self.topics))
        self.has = np.zeros(shape)
        np.add.at(self.has, (self.client, pd.Index(self.topics).get_indexer(self.topic)), 1)

    def keys(self) -> list[tuple[str, ...]]:
        """All pairs, and the triples whose customers are enough to be spoken of."""
        pairs = list(itertools.product(self.topics, repeat=2))
        triples = self._seen(3)
        many = triples.drop_duplicates(["client", "key"]).groupby("key").size()
        return pairs + sorted(many.index[many >= LEAST_CUSTOMERS])

    def _seen(self, length: int) -> pd.DataFrame:
        """Every run of ``length`` consecutive tickets of a customer: client, key."""
        end = len(self.client) - length + 1
        if end <= 0:
            return pd.DataFrame({"client": [], "key": []})
        same = self.client[:end] == self.client[length - 1 :]
        runs = zip(*(self.topic[at : at + end] for at in range(length)), strict=True)
        frame = pd.DataFrame(
            {"client": self.client[:end], "key": pd.Series(list(runs), dtype=object)}
        )
        return frame[same].reset_index(drop=True)

    def counts(self, keys: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """Seen and expected, ``[client, key]``."""
        place = {key: at for at, key in enumerate(keys)}
        seen = np.zeros((len(self.clients), len(keys)))
        for length in {len(key) for key in keys}:
            runs = self._seen(length)
            at = runs["key"].map(place)
            known = at.notna().to_numpy(dtype=bool)
            np.add.at(
                seen,
                (
                    runs["client"].to_numpy(dtype=np.int64)[known],
                    at[known].to_numpy(dtype=np.int64),
                ),
                1,
            )
        expected = [self._expected(key) for key in keys]
        return seen, np.column_stack(expected) if expected else seen

    def _expected(self, key: tuple[str, ...]) -> np.ndarray:
        """In each customer: places for the run times the chance of drawing its topics one after the other."""
        n, chance, taken = self.has.sum(axis=1), np.ones(len(self.clients)), dict.fromkeys(key, 0)
        for at, topic in enumerate(key):
            own = (
                self.has[:, self.topics.index(topic)] if topic in self.topics else np.zeros(len(n))
            )
            chance = chance * np.maximum(own - taken[topic], 0) / np.maximum(n - at, 1)
            taken[topic] += 1
        return chance * np.maximum(n - len(key) + 1, 0)

    def tried(self, keys: list[tuple[str, ...]]) -> pd.DataFrame:
        seen, expected = self.counts(keys)
        n = len(self.clients)
        count, like = seen.sum(axis=0), expected.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (
                np.sqrt(n) * (seen - expected).std(axis=0, ddof=1)
                if n > 1
                else np.full(len(keys), np.nan)
            )
            t = np.nan_to_num((count - like) / error)
            lift, reach = (
                np.where(like > 0, count / like, 1.0),
                1.96 * error / np.maximum(count, 0.5),
            )
        p = 2 * scipy.special.stdtr(max(n - 1, 1), -np.abs(t))
        own = dict(zip(keys, p.tolist(), strict=True))
        p = np.array(
            [max(own[key], *(own[pair] for pair in itertools.pairwise(key))) for key in keys]
        )
        shows = (seen > 0).sum(axis=0)
        places = np.maximum(self.has.sum(axis=1) - 1, 0).sum()
        return pd.DataFrame(
            {
                "key": [ARROW.join(key) for key in keys],
                "support": shows,
                "n": n,
                "prevalence": shows / max(n, 1),
                "base_rate": like / max(places, 1),
                "lift": lift,
                "lower": lift * np.exp(-reach),
                "upper": lift * np.exp(reach),
                "p": p,
                "seen": count.astype(int),
            }
        )
