"""The milestones that a portfolio plans for its customers: in which order, by when, completed by what."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters, json_of_others
from healthseg.metrics.counting import EPOCH
from healthseg.metrics.panels import panel
from healthseg.rules.expressions import Condition

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio


CATEGORIES = ("onboarding", "adoption", "expansion")
MARKS = ("first_value", "activation", "full_adoption")
CALENDAR, BUSINESS = "calendar", "business"
COLUMNS = [
    "milestone_id",
    "name",
    "category",
    "target_days",
    "required",
    "depends_on",
    "feature",
    "users",
    "mark",
    "plans",
    "applies_when",
]


@dataclass(frozen=True)
class MilestonePlan:
    """The milestones in order (category, target, id), one row each, and what could not be read of them.

    Columns: milestone_id, name, category, target_days, required, depends_on (a tuple of ids), feature and users (of
    ``completes_when``; None and 0 where only a person's word completes it), mark, plans (a tuple; empty: all),
    applies_when (a condition over columns of the panel; None: always).
    """

    frame: pd.DataFrame
    warnings: list[str]

    def ids(self, category: str = "all") -> list[str]:
        rows = self.frame
        return rows.loc[
            (rows["category"] == category) | (category == "all"), "milestone_id"
        ].tolist()

    def needed_by(self, milestone_id: str) -> list[str]:
        """The milestones that depend on this one."""
        needs = self.frame["depends_on"].map(lambda ids: milestone_id in ids)
        return self.frame.loc[needs, "milestone_id"].tolist()


def plan_of(portfolio: Portfolio) -> MilestonePlan | None:
    """The portfolio's milestones; None where it has no table of them.

    >>> from healthseg.testing import tiny_portfolio
    >>> plan = pd.DataFrame({"milestone_id": ["use", "start"], "name": ["Use it", "Start"], "category": "onboarding",
    ...                      "target_days": [30, 10], "depends_on": ["start", None],
    ...                      "completes_when": ['{"feature": "search", "users": 2}', None]})
    >>> plan_of(tiny_portfolio([("a", "2025-03-03 09:00", "u1")], milestones=plan)).frame[
    ...     ["milestone_id", "depends_on", "feature", "users"]].values.tolist()
    [['start', (), None, 0], ['use', ('start',), 'search', 2]]
    """
    if not portfolio.has("milestones"):
        return None
    return portfolio.cache.get("milestone_plan", None, lambda: _plan(portfolio), disk=False)


def _plan(portfolio: Portfolio) -> MilestonePlan:
    plan = _read(portfolio.table("milestones"), portfolio.feature_names)
    if plan.frame["applies_when"].notna().any():
        columns = panel(portfolio, [portfolio.data_until]).columns
        for at, text in plan.frame["applies_when"].dropna().items():
            try:
                Condition(text, columns)
            except InvalidParameters as problem:
                name = plan.frame.loc[at, "milestone_id"]
                plan.warnings.append(f"milestone {name} applies to all: {problem.message}")
                plan.frame.loc[at, "applies_when"] = None
    return plan


def _read(table: pd.DataFrame, names: Mapping[str, str]) -> MilestonePlan:
    warnings: list[str] = []
    rows = [_row(row, warnings) for row in table.to_dict("records")]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"users": np.int64})
    frame["feature"] = frame["feature"].map(
        lambda word: names.get(word.casefold(), word), na_action="ignore"
    )
    for name in ("feature", "mark", "applies_when"):
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    order = frame["category"].map({name: at for at, name in enumerate(CATEGORIES)})
    frame = frame.assign(place=order).sort_values(
        ["place", "target_days", "milestone_id"], kind="stable"
    )
    frame = frame.drop(columns="place").reset_index(drop=True)
    frame["depends_on"] = _dependencies(frame, warnings)
    return MilestonePlan(frame, warnings)


def _row(row: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    feature, users = _completes_when(row, warnings)
    required = row["required"]
    mark = row["marks"] if isinstance(row["marks"], str) else None
    return {
        **{name: row[name] for name in ("milestone_id", "name", "category", "target_days")},
        "required": bool(required) if required is not None and not pd.isna(required) else True,
        "depends_on": listed(row["depends_on"]),
        "feature": feature,
        "users": users,
        "mark": mark,
        "plans": listed(row["plans"]),
        "applies_when": row["applies_when"],
    }


def _completes_when(row: dict[str, Any], warnings: list[str]) -> tuple[str | None, int]:
    text = row["completes_when"]
    if not isinstance(text, str) or not text.strip():
        return None, 0
    try:
        rule = json_of_others(text)
        feature, users = rule["feature"], rule.get("users", 1)
        if isinstance(feature, str) and isinstance(users, int) and users >= 1:
            return feature, users
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    warnings.append(
        f"milestone {row['milestone_id']}: completes_when {text[:60]!r} is not read; it must be like "
        '{"feature": "search", "users": 2}'
    )
    return None, 0


def listed(text: Any) -> tuple[str, ...]:
    """Several words in one field, separated by commas, semicolons or bars, or as a JSON list.

    >>> listed("a, b"), listed('["a"]'), listed(None)
    (('a', 'b'), ('a',), ())
    """
    if not isinstance(text, str):
        return ()
    words = re.split(r"[,;|]", text.strip().strip("[]"))
    return tuple(word for word in (word.strip().strip("\"'") for word in words) if word)


def _dependencies(frame: pd.DataFrame, warnings: list[str]) -> pd.Series:
    """The dependencies that are milestones, without those that would wait for themselves."""
    known = dict(zip(frame["milestone_id"], frame["depends_on"], strict=True))
    followed: dict[str, tuple[str, ...]] = {}
    for name, needs in known.items():
        strangers = [needed for needed in needs if needed not in known]
        warnings += [
            f"milestone {name} depends on {needed}, which is not a milestone"
            for needed in strangers
        ]
        followed[name] = tuple(needed for needed in needs if needed in known)
    for name in known:
        if name in _reached(name, followed):
            warnings.append(
                f"milestone {name} depends on itself: its dependencies are not followed"
            )
            followed[name] = ()
    return frame["milestone_id"].map(followed)


def _reached(name: str, needs: dict[str, tuple[str, ...]]) -> set[str]:
    """All that a milestone waits for, directly or not."""
    reached: set[str] = set()
    ahead = list(needs[name])
    while ahead:
        needed = ahead.pop()
        if needed not in reached:
            reached.add(needed)
            ahead += needs[needed]
    return reached


def holidays(portfolio: Portfolio) -> list[dt.date]:
    """The days of ``calendar`` on which nobody works: rows whose label, up to a colon where it has one, says holiday.

    Those to come are among them: they are known beforehand, and move only days that are still to come.
    """
    if not portfolio.has("calendar"):
        return []
    return portfolio.cache.get("holidays", None, lambda: _holidays(portfolio), disk=False)


def _holidays(portfolio: Portfolio) -> list[dt.date]:
    rows = portfolio.table("calendar")
    rows = rows[
        rows["label"].str.partition(":")[0].str.contains(r"\bholidays?\b", case=False, na=False)
    ]
    starts, ends = (pd.to_datetime(rows[name]) for name in ("starts_on", "ends_on"))
    spans = zip(starts, ends.fillna(starts), strict=True)
    return sorted({day.date() for start, end in spans for day in pd.date_range(start, end)})


class DayCount:
    """How days are counted from one to another: all of them, or Monday to Friday without holidays.

    >>> week = DayCount(BUSINESS, [])
    >>> friday = (dt.date(2025, 3, 7) - EPOCH).days
    >>> int(week.after(np.array([friday]), np.array([1]))[0]) - friday, int(week.between(friday, friday + 3))
    (3, 1)
    """

    def __init__(self, kind: str, holidays: list[dt.date]) -> None:
        self.kind = kind
        self._week = np.busdaycalendar(holidays=np.array(holidays, dtype="datetime64[D]"))

    def __reduce__(self) -> tuple[type[DayCount], tuple[str, list[dt.date]]]:
        """A calendar of business days cannot be pickled by itself."""
        return DayCount, (self.kind, self._week.holidays.tolist())

    @classmethod
    def of(cls, portfolio: Portfolio) -> DayCount:
        """As the settings say."""
        return (
            cls.business(portfolio)
            if portfolio.settings.milestone_days == BUSINESS
            else cls(CALENDAR, [])
        )

    @classmethod
    def business(cls, portfolio: Portfolio) -> DayCount:
        """Monday to Friday without the portfolio's holidays."""
        return cls(BUSINESS, holidays(portfolio))

    def after(self, day: np.ndarray | float, count: np.ndarray | float) -> np.ndarray:
        """The day ``count`` days after each; NaN where either is."""
        day, count = np.broadcast_arrays(
            np.asarray(day, dtype=float), np.asarray(count, dtype=float)
        )
        if self.kind == CALENDAR:
            return day + count
        out, known = np.full(day.shape, np.nan), ~(np.isnan(day) | np.isnan(count))
        out[known] = np.busday_offset(
            _dates(day[known]),
            np.ceil(count[known]).astype(np.int64),
            roll="forward",
            busdaycal=self._week,
        ).astype(np.int64)
        return out

    def nth(self, day: int, count: int) -> int:
        """The ``count``-th day after one; of business days Monday is the first after a Saturday, too."""
        if self.kind == CALENDAR:
            return day + count
        days = np.busday_offset(
            _dates(np.array([day])), count, roll="backward", busdaycal=self._week
        )
        return int(days.astype(np.int64)[0])

    def between(self, first: np.ndarray | float, second: np.ndarray | float) -> np.ndarray:
        """The days from each to each, negative backwards; NaN where either is."""
        first, second = np.broadcast_arrays(
            np.asarray(first, dtype=float), np.asarray(second, dtype=float)
        )
        if self.kind == CALENDAR:
            return second - first
        out, known = np.full(first.shape, np.nan), ~(np.isnan(first) | np.isnan(second))
        out[known] = np.busday_count(
            _dates(first[known]), _dates(second[known]), busdaycal=self._week
        )
        return out


def _dates(day: np.ndarray) -> np.ndarray:
    return np.floor(day).astype(np.int64).astype("datetime64[D]")


def date_of(day: float) -> dt.date | None:
    """The date of a day since 1970; None of NaN."""
    return None if np.isnan(day) else EPOCH + dt.timedelta(days=int(day))
