"""Which scale are answers given on? One for all files of a table, as its values or a setting say; CSAT becomes 1 to 5."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from healthseg.data.tables import TableContract
from healthseg.data.validation import reasons
from healthseg.settings.data import CSAT_SCALES, UNCLEAR, DataSettings

# by table, the column with the answers and which rows have them
_ANSWERS = {"tickets": ("csat", "TRUE"), "surveys": ("score", "kind = 'csat'")}
_STANDARD = "1-5"
# slips leave a scale as it is: values that no scale but 0 to 100 has (99 for none), and values of a slightly larger scale
_FAR_SHARE, _NEAR_SHARE, _LEAST_ROWS = 0.1, 0.01, 20
_NEAR = 10
# of so many NPS answers one is above 7, unless they are of a scale that ends there
_NPS_PASSIVE = 7


@dataclass(frozen=True)
class Answers:
    """How the answers of a column are spread."""

    rows: int
    lowest: float
    highest: float
    median: float
    # by scale: inside, outside but at most 10, and at its top
    inside: dict[str, int]
    near: dict[str, int]
    top: dict[str, int]

    def scale(self) -> str:
        """The smallest scale that all but slips fit and whose top is reached; without answers above 5, 1 to 5.

        >>> def answers(*values):
        ...     inside = {name: sum(low <= v <= high for v in values) for name, (low, high) in CSAT_SCALES.items()}
        ...     near = {name: sum(high < v <= 10 for v in values) for name, (low, high) in CSAT_SCALES.items()}
        ...     top = {name: values.count(high) for name, (low, high) in CSAT_SCALES.items()}
        ...     return Answers(len(values), min(values), max(values), sorted(values)[len(values) // 2], inside, near, top)
        >>> [answers(*v).scale() for v in ((0, 1, 1), (2, 4), (3, 7), (2, 10), (60, 80), (1, 1), (2, 8), (4, 5, 50))]
        ['0-1', '1-5', '1-7', '1-10', '0-100', 'unclear', 'unclear', 'unclear']
        """
        for name in CSAT_SCALES:
            if self._fits(name) and self._reached(name):
                return name
        return UNCLEAR

    def _fits(self, name: str) -> bool:
        near, far = self.near[name], self.rows - self.inside[name] - self.near[name]
        least = int(self.rows >= _LEAST_ROWS)
        return near <= max(least, int(_NEAR_SHARE * self.rows)) and far <= max(
            least, int(_FAR_SHARE * self.rows)
        )

    def _reached(self, name: str) -> bool:
        if name == "0-1":
            return self.lowest < 1
        if name == _STANDARD:
            return self.inside[name] > self.inside["0-1"]
        if name == "0-100":
            return self.median > _NEAR
        return self.top[name] > 0


def with_scale(
    connection: duckdb.DuckDBPyConnection, table: TableContract, settings: DataSettings
) -> DataSettings:
    """The settings with the scale of the ``loaded`` rows' answers, those outside of it marked and the rest made 1 to 5."""
    if table.name not in _ANSWERS:
        return settings
    column, rows = _ANSWERS[table.name]
    scale: str = settings.csat_scale
    if scale == "detect":
        answers = _answers(connection, column, rows)
        scale = answers.scale() if answers.rows else _STANDARD
    settings = settings.model_copy(update={"csat_scale": scale})
    low, high = settings.csat_range
    outside = f"fault = 0 AND {rows} AND ({column} < {low} OR {column} > {high})"
    if table.name == "surveys":
        settings = _with_nps_scale(connection, settings)
        number = _scale_reason(table, settings)
        if settings.nps_scale == UNCLEAR:
            outside = f"({outside}) OR (fault = 0 AND kind = 'nps')"
        connection.execute(f"UPDATE loaded SET fault = {number} WHERE {outside}")
    else:
        bit = 1 << table.names.index(column)
        connection.execute(
            f"UPDATE loaded SET mask = mask | {bit}, {column} = NULL WHERE {outside}"
        )
    if scale in CSAT_SCALES and scale != _STANDARD:
        rescaled = f"1 + ({column} - {low}) * 4.0 / {high - low}"
        connection.execute(f"UPDATE loaded SET {column} = {rescaled} WHERE fault = 0 AND {rows}")
    return settings


def _with_nps_scale(connection: duckdb.DuckDBPyConnection, settings: DataSettings) -> DataSettings:
    if settings.nps_scale != "detect":
        return settings
    ((count, highest),) = connection.execute(
        "SELECT COUNT(*), MAX(score) FROM loaded WHERE fault = 0 AND kind = 'nps'"
    ).fetchall()
    unclear = count >= _LEAST_ROWS and highest <= _NPS_PASSIVE
    return settings.model_copy(update={"nps_scale": UNCLEAR if unclear else "0-10"})


def _scale_reason(table: TableContract, settings: DataSettings) -> int:
    """The number of the reason for which an answer outside of the scale is dropped."""
    named = enumerate(reasons(table, settings), start=1)
    return next(
        number
        for number, reason in named
        if "csat" in reason.condition and "score" in reason.condition
    )


def scale_note(table: TableContract, settings: DataSettings) -> list[str]:
    """On which scale the answers are read, where that is not 1 to 5."""
    if table.name not in _ANSWERS or settings.csat_scale in (_STANDARD, UNCLEAR):
        return []
    low, high = settings.csat_range
    column, _ = _ANSWERS[table.name]
    return [
        f"csat answers in {column} are read on a scale from {low:g} to {high:g}, and made 1 to 5 (csat_scale)"
    ]


def _answers(connection: duckdb.DuckDBPyConnection, column: str, rows: str) -> Answers:
    items = [
        f"COUNT({column})",
        f"MIN({column})",
        f"MAX({column})",
        f"QUANTILE_DISC({column}, 0.5)",
    ]
    for low, high in CSAT_SCALES.values():
        items.append(f"COUNT(*) FILTER ({column} BETWEEN {low} AND {high})")
        items.append(f"COUNT(*) FILTER ({column} > {high} AND {column} <= {_NEAR})")
        items.append(f"COUNT(*) FILTER ({column} = {high})")
    query = f"SELECT {', '.join(items)} FROM loaded WHERE fault = 0 AND {rows}"
    (row,) = connection.execute(query).fetchall()
    ends = [0.0 if value is None else float(value) for value in row[1:4]]
    counts = [dict(zip(CSAT_SCALES, row[position::3], strict=True)) for position in (4, 5, 6)]
    return Answers(row[0], ends[0], ends[1], ends[2], *counts)
