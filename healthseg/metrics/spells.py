"""When was each customer a customer: its spells from signup or win-back to loss, as known on a day.

A customer is lost on ``churned_on``, when its ARR ends, or in the stage ``churned``; it is live again from any later
contract, ARR above zero, or stage. Each loss ends one spell and stays in the history; what is learnt later begins the
next spell and never takes a loss back. A contract or ARR from the very day of the loss continues the spell; one that
began before it and was only recorded after it is no return.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from healthseg.metrics.counting import customers, epoch_day, epoch_days, epoch_days_or_nan
from healthseg.metrics.statements import Statements, Steps, arr_statements, statements

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

CHURNED = "churned"  # the stage
CHURNED_REASON = "churn"
# the sources of a loss; of several statements about one loss the first that there is dates it
SOURCES = ("churned_on", "arr", "stage")
CHURNED_ON, ARR, STAGE, CONTRACT = range(4)


class Fact(NamedTuple):
    """A statement about a customer: ``level`` is its ARR, or its stage (0: churned), 0 or 1 of other sources."""

    day: int
    visible: int
    source: int
    level: float
    ended: bool = False  # said to be a churn


class Spell(NamedTuple):
    """``[began, lost)`` in days since 1970; lost is None while it lasts, ``source`` says what dates the loss."""

    began: int
    lost: int | None = None
    source: int | None = None


def spells(facts: Iterable[Fact], signup: int, day: int) -> list[Spell]:
    """A customer's spells as known at the end of ``day``.

    >>> lost, back = Fact(100, 100, CHURNED_ON, 0), Fact(130, 130, CONTRACT, 1)
    >>> spells([lost, back], 0, 120), spells([lost, back], 0, 140)[1]
    ([Spell(began=0, lost=100, source=0)], Spell(began=130, lost=None, source=None))
    """
    known = [fact for fact in facts if fact.visible <= day]
    result = [Spell(signup)]
    for at, is_return, source, since in sorted(_turns(known, signup)):
        began, lost, dated_by = result[-1]
        if not is_return:
            if lost is None or (dated_by is not None and source < dated_by):
                result[-1] = Spell(began, at, source)
        elif lost is None or since < lost + (source == STAGE):
            continue
        elif at == lost:
            result[-1] = Spell(began)
        else:
            result.append(Spell(at))
    return result


def _turns(known: list[Fact], signup: int) -> Iterator[tuple[int, bool, int, int]]:
    """Days on which the customer may be lost, or live again (True), with the source and the day of the fact itself."""
    latest = {(fact.source, fact.day): fact for fact in known}
    highest, stage = 0.0, -1.0
    for fact in sorted(latest.values(), key=lambda fact: (fact.source, fact.day)):
        if fact.source == STAGE and fact.level == stage:
            continue
        if fact.source == STAGE:
            stage = fact.level
        if fact.source == ARR:
            highest = max(highest, fact.level)
        ends = fact.level == 0 and (fact.source != ARR or highest > 0 or fact.ended)
        if ends and fact.day >= signup:
            yield fact.day, False, fact.source, fact.day
        elif fact.level > 0:
            yield max(fact.day, fact.visible), True, fact.source, fact.day


@dataclass(frozen=True)
class Lives:
    """All customers' signup, facts about those that were lost, and how their state changed from day to day."""

    signup: np.ndarray
    facts: dict[int, list[Fact]]
    states: Steps  # began, lost

    def at(self, k: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When the spell of each moment began, and when it was lost (NaN: not by then)."""
        state = self.states.at(k, day)
        began = state["began"].to_numpy(dtype=float)
        return np.where(np.isnan(began), self.signup[k], began), state["lost"].to_numpy(dtype=float)


def lives(portfolio: Portfolio) -> Lives:
    """The portfolio's lives, read once."""
    return portfolio.cache.get("lives", None, lambda: _lives(portfolio), disk=False)


def _lives(portfolio: Portfolio) -> Lives:
    known, history = customers(portfolio), statements(portfolio)
    table = known.loc[history.clients]
    signup = epoch_days(table["signup_date"])
    facts = _facts(table, history)
    states: list[tuple[int, int, float, float]] = []
    for k, rows in sorted(facts.items()):
        for day in sorted({fact.visible for fact in rows}):
            began, lost, _ = spells(rows, int(signup[k]), day)[-1]
            states.append((k, day, began, np.nan if lost is None else lost))
    frame = pd.DataFrame(states, columns=["k", "day", "began", "lost"])
    return Lives(signup, facts, Steps(frame))


def _facts(table: pd.DataFrame, history: Statements) -> dict[int, list[Fact]]:
    """The facts of each customer that may have been lost, those of one source and day in order of record."""
    churned = (
        epoch_days_or_nan(table["churned_on"])
        if "churned_on" in table
        else np.full(len(table), np.nan)
    )
    lost, arr, stage = np.flatnonzero(~np.isnan(churned)), _arr_facts(history), _entries(history)
    ends = [arr.loc[arr["level"] == 0, "k"], stage.loc[stage["level"] == 0, "k"]]
    rows: dict[int, list[Fact]] = {int(k): [] for k in {*lost, *ends[0], *ends[1]}}
    for k in lost:
        rows[int(k)].append(Fact(int(churned[k]), int(churned[k]), CHURNED_ON, 0))
    begun = history.contract_rows[["k", "starts", "known"]].assign(level=1, ended=False)
    begun = begun.rename(columns={"starts": "effective", "known": "recorded"})
    for source, frame in ((ARR, arr), (STAGE, stage), (CONTRACT, begun)):
        for row in frame[frame["k"].isin(list(rows))].itertuples(index=False):
            visible = max(row.effective, row.recorded)
            fact = Fact(row.effective, visible, source, row.level, bool(row.ended))
            rows[int(row.k)].append(fact)
    return rows


def _entries(history: Statements) -> pd.DataFrame:
    """Entries into a stage, with 0 for churned and a code above it for others; repetitions of the stage before that
    were recorded at once are none."""
    rows = history.stage_rows
    at_once = rows["recorded"] <= rows["effective"]
    same = rows["k"].eq(rows["k"].shift()) & rows["stage"].eq(rows["stage"].shift())
    rows = rows[~(same & at_once & at_once.shift(fill_value=True))]
    code = 1 + pd.factorize(rows["stage"], sort=True)[0]
    return rows.assign(level=np.where(rows["stage"] == CHURNED, 0, code), ended=False)


def _arr_facts(history: Statements) -> pd.DataFrame:
    """Changes of ARR from both tables, in order of effect and record."""
    changes = history.change_rows[history.change_rows["field"] == "arr"]
    level = pd.to_numeric(changes["value"], errors="coerce")
    changes = changes.assign(level=level, ended=False)[level.notna()]
    arr = history.arr_rows.assign(level=history.arr_rows["arr"])
    arr = arr.assign(ended=arr["reason"].eq(CHURNED_REASON))
    columns = ["k", "effective", "recorded", "level", "ended"]
    both = pd.concat([frame[columns] for frame in (changes, arr) if len(frame)] or [arr[columns]])
    return both.sort_values(["k", "effective", "recorded"], kind="stable")


# -- by date -----------------------------------------------------------------------------


def spells_as_of(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """A row per customer's spell as known at the end of ``as_of``: the source of churn labels and base rates.

    Columns: client_id, spell (0, 1, …), signup_date (when the spell began: signup or win-back), notice_on (given in
    the spell), churned_on (NaT while it lasts), lost_by (what dates the loss), is_last (the customer's present or last
    spell) and merged_into (the parent that took the account over: no churn). A loss that is followed by a win-back keeps
    its row.
    """
    return portfolio.cache.get(
        "spells", as_of, lambda: _spells_as_of(portfolio, as_of), disk=False, limit=32
    )


def _spells_as_of(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    life, day = lives(portfolio), epoch_day(as_of)
    clients = statements(portfolio).clients
    rows = []
    for k, client in enumerate(clients):
        signup = int(life.signup[k])
        each = spells(life.facts[k], signup, day) if k in life.facts else [Spell(signup)]
        for number, (began, lost, source) in enumerate(each):
            word = None if source is None else SOURCES[source]
            rows.append((client, number, began, lost, word, number == len(each) - 1))
    names = ["client_id", "spell", "signup_date", "churned_on", "lost_by", "is_last"]
    frame = pd.DataFrame(rows, columns=names).astype({"is_last": bool})
    for name in ("signup_date", "churned_on"):
        days = pd.to_datetime(frame[name].astype(float), unit="D")
        frame[name] = days.astype("datetime64[us]")
    frame = frame.assign(notice_on=_notice(portfolio, frame, as_of))
    return frame.assign(merged_into=_merged(portfolio, frame, day))


def merged_into(portfolio: Portfolio, as_of: dt.date) -> pd.Series:
    """By client_id the parent that an account was merged into: neither a churn nor an expansion."""
    spells = spells_as_of(portfolio, as_of)
    return spells[spells["merged_into"].notna()].set_index("client_id")["merged_into"]


def _merged(portfolio: Portfolio, frame: pd.DataFrame, day: int) -> np.ndarray:
    """The parent of accounts that ended while it took over their ARR, at about the same time; else None."""
    settings, history, table = portfolio.settings, statements(portfolio), customers(portfolio)
    parent = frame["client_id"].map(table["parent_id"]) if "parent_id" in table else None
    if parent is None or not parent.notna().any():
        return np.full(len(frame), None, dtype=object)
    child, own = (history.k_of(column.astype(object)) for column in (frame["client_id"], parent))
    lost = frame["churned_on"].notna() & frame["is_last"] & (own >= 0) & (own != child)
    at = np.where(lost, epoch_days_or_nan(frame["churned_on"]), day).astype(np.int64)
    own = np.where(own >= 0, own, 0)

    def arr(k: np.ndarray, on: np.ndarray) -> np.ndarray:
        return arr_statements(history, history.contracts.at(k, on), k, on)[0]

    taken, days = arr(child, at - 1), settings.merger_days
    rise = arr(own, np.minimum(at + days, day)) - np.nan_to_num(arr(own, at - days))
    still_live = np.isnan(lives(portfolio).at(own, np.full(len(own), day))[1])
    merged = lost & still_live & (taken > 0) & (rise >= settings.merger_min_arr_share * taken)
    return np.array(parent.where(merged, None), dtype=object)


def _notice(portfolio: Portfolio, frame: pd.DataFrame, as_of: dt.date) -> pd.Series:
    """The notice that a customer gave in each spell, as known at ``as_of``."""
    table = customers(portfolio)
    if "notice_on" not in table or frame.empty:
        return pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us]")
    notice = frame["client_id"].map(pd.to_datetime(table["notice_on"])).astype("datetime64[us]")
    following = frame.groupby("client_id")["signup_date"].shift(-1)
    inside = (frame["spell"].eq(0) | (notice >= frame["signup_date"])) & ~(notice >= following)
    return notice.where(inside & (notice <= pd.Timestamp(as_of)))
