"""Long frames in: checked, sorted, and laid on each series' own regular grid."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from healthseg.errors import InvalidParameters, hint
from healthseg.forecasting.fit import Bounds
from healthseg.forecasting.spacing import INDEX, Spacing, anchored, detect, named

COLUMNS = ("client_id", "date", "value")
LARGEST = 1e100  # squares of larger values leave the range of floating point
LONGEST_GRID = 1_000_000  # steps; more means that the spacing is not what was thought


@dataclass(frozen=True)
class Series:
    """One client's values on a regular grid from ``first``; steps without a value are interpolated and marked.

    ``spacing`` is None only where there is no value at all.
    """

    client_id: Any
    first: int
    last: int
    values: np.ndarray
    known: np.ndarray
    spacing: Spacing
    season_length: int

    @property
    def missing_share(self) -> float:
        return 1 - float(self.known.mean())


@dataclass(frozen=True)
class Portfolio:
    """The series of a frame in order of client_id, and what their dates were."""

    series: tuple[Series, ...]
    empty: tuple[Any, ...]  # clients whose every value is missing
    by_date: bool
    dtype: Any  # of client_id

    def dates(self, instants: np.ndarray) -> np.ndarray:
        return instants.astype("datetime64[us]") if self.by_date else instants

    def clients(self, ids: list) -> pd.Series:
        return pd.Series(ids, dtype=self.dtype)


def refuse(message: str, parameter: str, value: Any, rule: str) -> NoReturn:
    raise InvalidParameters(
        message, parameter=parameter, value_provided=str(value)[:200], validation_rule=rule
    )


def whole(value: Any, parameter: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        rule = f"a whole number of at least {least}"
        refuse(f"{parameter} {value!r} is not {rule}", parameter, value, rule)
    return int(value)


def share(value: Any, parameter: str = "level") -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < 1:
        rule = "a number between 0 and 1, such as 0.9"
        refuse(f"{parameter} {value!r} is not {rule}", parameter, value, rule)
    return float(value)


def bounds(lower: Any, upper: Any) -> Bounds:
    for name, value in (("lower_bound", lower), ("upper_bound", upper)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(value)
        ):
            refuse(
                f"{name} {value!r} is not a finite number: leave it out where there is none",
                name,
                value,
                "a finite number or None",
            )
    if lower is not None and upper is not None and not lower < upper:
        refuse(
            f"lower_bound {lower} does not lie below upper_bound {upper}",
            "lower_bound",
            lower,
            "lower_bound < upper_bound",
        )
    return Bounds(None if lower is None else float(lower), None if upper is None else float(upper))


def read(
    frame: pd.DataFrame,
    limits: Bounds,
    season_length: int | None = None,
    spacing: str | None = None,
) -> Portfolio:
    """A checked portfolio of series from a long frame; the order of rows and columns does not matter."""
    _columns(frame)
    instants, by_date = _instants(frame["date"])
    codes, clients = _clients(frame["client_id"])
    values = _numbers(frame["value"])
    _within(values, limits)
    order = np.lexsort((instants, codes))
    codes, instants, values = codes[order], instants[order], values[order]
    _no_duplicates(codes, instants, clients, by_date)
    known = ~np.isnan(values)
    present = np.unique(codes[known])
    empty = tuple(clients[code] for code in np.setdiff1d(np.unique(codes), present))
    codes, instants, values = codes[known], instants[known], values[known]
    starts = np.searchsorted(codes, present)
    parts = (
        list(
            zip(present, np.split(instants, starts[1:]), np.split(values, starts[1:]), strict=True)
        )
        if len(present)
        else []
    )
    grids = _spacings([part[1] for part in parts], by_date, spacing)
    series = tuple(
        _series(clients[code], when, what, grid, season_length)
        for (code, when, what), grid in zip(parts, grids, strict=True)
    )
    return Portfolio(series, empty, by_date, frame["client_id"].dtype)


def _columns(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        refuse(
            f"frame is a {type(frame).__name__}: give a pandas DataFrame with {', '.join(COLUMNS)}",
            "frame",
            type(frame).__name__,
            "a DataFrame",
        )
    for column in COLUMNS:
        if column not in frame.columns:
            given = [str(name) for name in frame.columns]
            refuse(
                f"frame has no column {column!r} (it has {', '.join(given) or 'none'})"
                f"{hint(column, given)}",
                "frame",
                ", ".join(given),
                "columns " + ", ".join(COLUMNS),
            )
        if frame.columns.tolist().count(column) > 1:
            refuse(
                f"frame has more than one column {column!r}",
                "frame",
                column,
                "one column of each name",
            )


def _instants(dates: pd.Series) -> tuple[np.ndarray, bool]:
    """Microseconds since 1970, or the integers of an index."""
    rule = "dates without a time zone, or integers"
    if dates.isna().any():
        refuse(f"date is missing in row {dates.index[dates.isna()][0]}", "date", None, rule)
    if pd.api.types.is_integer_dtype(dates):
        return dates.to_numpy(dtype=np.int64), False
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        refuse(
            f"date has the time zone {dates.dt.tz}: turn it into local dates or into UTC without a zone first",
            "date",
            dates.dt.tz,
            rule,
        )
    if pd.api.types.is_datetime64_dtype(dates):
        return dates.to_numpy().astype("datetime64[us]").astype(np.int64), True
    return np.array([_instant(date, rule) for date in dates], dtype="datetime64[us]").astype(
        np.int64
    ), True


def _instant(date: Any, rule: str) -> np.datetime64:
    try:
        if isinstance(date, str):
            date = dt.datetime.fromisoformat(date.strip())
        if isinstance(date, dt.date) and getattr(date, "tzinfo", None) is None:
            return np.datetime64(date, "us")
    except ValueError:
        pass
    refuse(f"date {date!r} is not a date: give {rule}", "date", date, rule)


def _clients(ids: pd.Series) -> tuple[np.ndarray, list]:
    if ids.isna().any():
        refuse(
            f"client_id is missing in row {ids.index[ids.isna()][0]}",
            "client_id",
            None,
            "no missing client_id",
        )
    try:
        codes, clients = pd.factorize(ids, sort=True)
    except TypeError:
        refuse(
            "client_id holds values that can't be sorted or compared: give text, or whole numbers",
            "client_id",
            ids.iloc[0],
            "text or whole numbers",
        )
    return codes, list(clients)


def _numbers(values: pd.Series) -> np.ndarray:
    rule = f"a finite number of at most {LARGEST:g} in size, or missing"
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
    else:
        for value, missing in zip(values, values.isna(), strict=True):
            if not missing and (isinstance(value, bool) or not isinstance(value, Real | Decimal)):
                refuse(f"value {value!r} is not {rule}", "value", value, rule)
        numbers = np.array(
            [
                np.nan if missing else float(value)
                for value, missing in zip(values, values.isna(), strict=True)
            ],
            dtype=float,
        )
    for number in numbers[~np.isnan(numbers) & ~(np.abs(numbers) <= LARGEST)][:1]:
        refuse(f"value {number} is not {rule}", "value", number, rule)
    return numbers


def _within(values: np.ndarray, limits: Bounds) -> None:
    for value in values[limits.clip(values) != values]:
        if not np.isnan(value):
            refuse(
                f"value {value:g} lies outside the bounds {limits.lower} to {limits.upper} that were given",
                "value",
                value,
                "lower_bound <= value <= upper_bound",
            )


def _no_duplicates(codes: np.ndarray, instants: np.ndarray, clients: list, by_date: bool) -> None:
    twice = np.flatnonzero((np.diff(codes) == 0) & (np.diff(instants) == 0))
    if len(twice):
        client, date = clients[codes[twice[0]]], _shown(instants[twice[0]], by_date)
        refuse(
            f"client {client!r} has more than one row on {date}: add them up or take one first",
            "date",
            date,
            "one row per client_id and date",
        )


def _shown(instant: int, by_date: bool) -> str:
    if not by_date:
        return str(instant)
    return str(np.int64(instant).astype("datetime64[us]")).removesuffix("T00:00:00.000000")


def _spacings(instants: list[np.ndarray], by_date: bool, spacing: str | None) -> Iterator[Spacing]:
    """Each series' own spacing; one with a single value takes the portfolio's commonest."""
    if not by_date:
        if spacing is not None:
            refuse(
                "spacing is for dates: an integer index is one step apart",
                "spacing",
                spacing,
                "None with integers",
            )
        return iter([INDEX] * len(instants))
    if spacing is not None:
        grid = named(spacing)
        return iter([anchored(grid, when) for when in instants])
    found = [detect(when) for when in instants]
    if found and not any(found):
        refuse(
            "no series has two dates to tell their spacing from: give spacing, such as spacing='weekly'",
            "spacing",
            None,
            "needed where every series has a single value",
        )
    common = Counter(grid for grid in found if grid)
    usual = (
        min(common, key=lambda grid: (-common[grid], grid.step, grid.months, grid.day))
        if common
        else None
    )
    return (grid or anchored(usual, when) for grid, when in zip(found, instants, strict=True))


def _series(
    client: Any, instants: np.ndarray, values: np.ndarray, spacing: Spacing, season: int | None
) -> Series:
    positions = spacing.positions(instants)
    if positions is None:
        refuse(
            f"the dates of client {client!r} are not evenly spaced: bring them to one per hour, day, week, month, "
            "quarter or year first (steps may be missing)",
            "date",
            client,
            "evenly spaced dates",
        )
    length = int(positions[-1]) + 1
    if length > LONGEST_GRID:
        refuse(
            f"the dates of client {client!r} span {length:,} steps, mostly empty: give coarser dates",
            "date",
            client,
            f"at most {LONGEST_GRID:,} steps from first to last",
        )
    grid = np.interp(np.arange(length), positions, values)
    known = np.zeros(length, dtype=bool)
    known[positions] = True
    return Series(
        client,
        int(instants[0]),
        int(instants[-1]),
        grid,
        known,
        spacing,
        spacing.season_length if season is None else season,
    )
