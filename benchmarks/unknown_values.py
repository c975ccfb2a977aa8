"""Unknown is never good: values of a demo portfolio are spoiled, and no metric's points, activity or ARR may rise.

    python benchmarks/unknown_values.py [--draws 2000] [--clients 100] [--months 6] [--only contracts.]

Each round spoils one optional value of each customer, drawn at random over tables and columns: a value that cannot be
used, or none in a column of words. Of each customer then: no metric has more points, ARR and coverage are no higher, the
possible range holds the score of before, and ``data_quality`` names the value.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import healthseg as hs
from healthseg.data.tables import TABLES
from healthseg.demo import make_demo
from healthseg.metrics import panels
from healthseg.scoring.health import score_panel

SPOILED = "???"
ACTIVITY = (
    "weekly_active_users",
    "monthly_active_users",
    "person_events_28d",
    "active_days_28d",
    "arr",
)


@dataclass(frozen=True)
class Spoiled:
    """A value that became unknown."""

    client: str
    table: str
    column: str
    row: int
    value: str


def draw(
    tables: dict[str, pd.DataFrame], rng: np.random.Generator, only: str = ""
) -> list[Spoiled]:
    """For each customer a value of an optional column of one of its rows, of columns whose name has ``only``."""
    optional = [
        (name, column)
        for name, frame in tables.items()
        if "client_id" in frame
        for column in TABLES[name].columns
        if not column.required
        and column.name in frame
        and column.name not in ("name", "parent_id")
        and only in f"{name}.{column.name}"
    ]
    drawn = []
    for client in tables["customers"]["client_id"]:
        for _ in range(20):
            name, column = optional[rng.integers(len(optional))]
            frame = tables[name]
            rows = np.flatnonzero(
                (frame["client_id"] == client).to_numpy() & frame[column.name].notna().to_numpy()
            )
            if len(rows):
                row = int(rng.choice(rows))
                value = str(frame[column.name].iloc[row])
                drawn.append(Spoiled(str(client), name, column.name, row, value))
                break
    return drawn


def spoil(tables: dict[str, pd.DataFrame], drawn: list[Spoiled], folder: Path) -> None:
    """The tables with these values spoiled, as Parquet files."""
    for name, frame in tables.items():
        values = [each for each in drawn if each.table == name]
        changed = frame.copy()
        for column in sorted({each.column for each in values}):
            contract = TABLES[name].column(column)
            words = contract.kind in ("text", "id") and not contract.allowed
            texts = (
                changed[column]
                .astype(object)
                .map(lambda value: None if pd.isna(value) else str(value))
            )
            for each in values:
                if each.column == column:
                    texts.iloc[each.row] = None if words else SPOILED
            changed[column] = texts
        changed.to_parquet(folder / f"{name}.parquet", index=False)


@dataclass(frozen=True)
class Figures:
    """What is compared: points by customer and metric, the scores' rows, and the panel's."""

    points: pd.DataFrame
    scores: pd.DataFrame
    rows: pd.DataFrame


def figures(portfolio: hs.Portfolio) -> Figures:
    rows = panels.panel(portfolio, [portfolio.data_until])
    scored = score_panel(rows, portfolio.settings)
    points = scored.points().pivot(index="client_id", columns="metric", values="points")
    return Figures(points, scored.frame.set_index("client_id"), rows.set_index("client_id"))


def faults(
    before: Figures, after: Figures, portfolio: hs.Portfolio, drawn: list[Spoiled]
) -> Iterator[str]:
    """Where an unknown value made something better."""
    for each in drawn:
        client, where = each.client, f"{each.table}.{each.column} = {each.value!r} of {each.client}"
        if client not in after.rows.index:
            yield f"{where}: the customer is gone"
            continue
        for metric, points in (
            after.points.loc[client].items() if client in after.points.index else ()
        ):
            old = before.points[metric].get(client, np.nan)
            if not np.isnan(points) and points > (old if not np.isnan(old) else np.inf) + 1e-9:
                yield f"{where}: points of {metric} rise from {old:.2f} to {points:.2f}"
        for name in ACTIVITY:
            old, new = (side.rows[name].get(client, np.nan) for side in (before, after))
            if new > old + 1e-9:
                yield f"{where}: {name} rises from {old} to {new}"
        old_row, new_row = before.scores.loc[client], after.scores.loc[client]
        if new_row["coverage"] > old_row["coverage"] + 1e-9:
            yield f"{where}: coverage rises"
        if old_row["live"] and not np.isnan(old_row["score"]) and new_row["live"]:
            low, high = new_row["lowest"] - 0.5, new_row["highest"] + 0.5
            if not low <= old_row["score"] <= high:
                yield f"{where}: the range {low:.1f} to {high:.1f} does not hold {old_row['score']:.1f}"
        words = TABLES[each.table].column(each.column)
        if words.kind not in ("text", "id") or words.allowed:
            named = {table.table for table in portfolio.quality.of(client).customer}
            if each.table not in named:
                yield f"{where}: data_quality does not name it"


def study(
    clients: int, months: int, draws: int, seed: int, only: str = ""
) -> tuple[int, list[str]]:
    """How many values were spoiled, and what went wrong; ends early where ``only`` leaves nothing to draw."""
    rng, done, wrong = np.random.default_rng(seed), 0, []
    home = Path(tempfile.mkdtemp(prefix="unknown-"))
    try:
        make_demo(home / "clean", clients=clients, months=months, seed=seed, events="light")
        tables = {
            name: pd.read_parquet(path)
            for name in TABLES
            for path in (home / "clean" / name, home / "clean" / f"{name}.parquet")
            if path.exists()
        }
        before = figures(hs.Portfolio.open(home / "clean"))
        while done < draws:
            folder = home / f"round-{done}"
            folder.mkdir()
            drawn = draw(tables, rng, only)[: draws - done]
            if not drawn:
                break
            spoil(tables, drawn, folder)
            with hs.Portfolio.open(folder) as portfolio:
                wrong += faults(before, figures(portfolio), portfolio, drawn)
            shutil.rmtree(folder)
            done += len(drawn)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return done, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", default="", help="columns whose table.name has this")
    options = parser.parse_args()
    sizes = options.clients, options.months, options.draws
    done, wrong = study(*sizes, options.seed, options.only)
    for fault in wrong:
        print(fault)
    print(f"{done:,} values spoiled, {len(wrong):,} made something better or were not named")


if __name__ == "__main__":
    main()
