"""One name for a feature whatever its case: the features table's, else the spelling that was used first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

import duckdb
import pandas as pd

from healthseg.data.engine import create_table
from healthseg.data.losses import Issue

# tables of customers whose rows may be about a feature
TABLES_OF_FEATURES = ("entitlements", "tickets", "surveys", "messages")
_NEAR, _COMPARED, _SHOWN = 0.85, 500, 5


def feature_names(listed: Iterable[str], seen: Mapping[str, str]) -> dict[str, str]:
    """By name without its case, the name; ``seen`` has the first day of each spelling in events.

    >>> feature_names(["Reports"], {"reports": "2025-01-01", "Alerts": "2025-02-01", "alerts": "2025-01-05"})
    {'reports': 'Reports', 'alerts': 'alerts'}
    """
    names = {word.casefold(): word for word in sorted(listed)}
    for word, _ in sorted(seen.items(), key=lambda item: (item[1], item[0])):
        names.setdefault(word.casefold(), word)
    return names


def create_spellings(
    connection: duckdb.DuckDBPyConnection, names: Mapping[str, str], words: Iterable[str]
) -> bool:
    """``feature_spellings``: of these words those that are written otherwise than the feature's name; whether there are any."""
    pairs = [
        (word, names[word.casefold()])
        for word in sorted(set(words))
        if names.get(word.casefold(), word) != word
    ]
    if pairs:
        frame = pd.DataFrame(pairs, columns=["written", "name"]).astype("str")
        casts = "CAST(written AS VARCHAR) AS written, CAST(name AS VARCHAR) AS name"
        create_table(connection, "feature_spellings", frame, f"SELECT {casts} FROM frame")
    return bool(pairs)


def respelt(select: str, name: str) -> str:
    """The select behind a view with the features' names; facts of one feature are added up."""
    named = (
        f"SELECT r.* REPLACE (COALESCE(m.name, r.feature) AS feature) FROM ({select}) AS r "
        "LEFT JOIN feature_spellings AS m ON m.written = r.feature"
    )
    sums = {
        "feature_day": "CAST(SUM(events) AS BIGINT) AS events",
        "feature_life": "MIN(first_day) AS first_day, MAX(last_day) AS last_day",
    }
    if name not in sums:
        return named
    keys = "client_id, user_id, feature" + (", day" if name == "feature_day" else "")
    return f"SELECT {keys}, {sums[name]} FROM ({named}) GROUP BY {keys}"


def near_misses(connection: duckdb.DuckDBPyConnection) -> Issue | None:
    """Features of events that the features table doesn't list, but whose names are near a listed one's."""
    queries = ("SELECT feature FROM features", "SELECT DISTINCT feature FROM feature_life")
    listed, seen = ([name for (name,) in connection.execute(q).fetchall()] for q in queries)
    plain = {_plain(word): word for word in listed}
    folded = {word.casefold() for word in listed}
    unlisted = sorted(word for word in seen if word.casefold() not in folded)
    pairs = []
    for word in unlisted[:_COMPARED]:
        match = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=_NEAR)
        pairs += [(word, plain[match[0]])] if match else []
    if not pairs:
        return None
    shown = ", ".join(f"{word} ({name})" for word, name in pairs[:_SHOWN])
    verb = "feature of events is" if len(pairs) == 1 else "features of events are"
    text = (
        f"{len(pairs):,} {verb} not in the features table, which has a name near: {shown}; "
        "rename one of them"
    )
    return Issue(text, len(pairs), pairs[0][0], kind="note", column="feature", rows=False)


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", "", word).casefold()
