"""Sixty-odd kinds of dirt: the tools and ``check`` answer, and nobody else's figures move.

    python benchmarks/kinds_of_dirt.py [--clients 100] [--months 6] [--only WORD] [--tools 8]

Each kind spoils values of one column: in one row, in a twentieth or in all of one customer's rows of a table of a demo
portfolio; or it writes a whole file otherwise, which must change nothing. Each customer has one kind. Then ``check``
and the eight tools answer for it or return the error object, and points, scores and the panel's figures of all
customers without dirt are the same to the digit.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import healthseg as hs
from benchmarks.unknown_values import Figures, figures
from healthseg.data.tables import TABLES
from healthseg.demo import make_demo
from healthseg.errors import HealthsegError

Tables = dict[str, pd.DataFrame]
# by table and column, values that no export should have
VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "events": {
        "occurred_at": (
            "yesterday",
            "1970-01-01 00:00:00",
            "2099-01-01 00:00:00",
            "0000-00-00 00:00:00",
        ),
        "count": ("-3", "0", "abc", "9000000000000000000"),
        "source": ("bot", "???"),
        "user_id": ("NULL", "  "),
        "client_id": ("nobody", "a b"),
    },
    "tickets": {
        "opened_at": ("soon", "1900-01-01"),
        "resolved_at": ("2001-01-01 00:00:00", "9999-12-31 00:00:00"),
        "severity": ("???", "urgent"),
        "csat": ("99", "-1", "fine"),
    },
    "surveys": {"score": ("11", "nan", "very"), "kind": ("ces",), "responded_at": ("",)},
    "invoices": {
        "amount": ("ten", "1e17", "inf"),
        "due_on": ("", "1900-01-01"),
        "paid_on": ("9999-12-31", "0000-00-00"),
    },
    "contracts": {
        "arr": ("lots", "-5", "1e300"),
        "ends_on": ("9999-12-31", "maybe", "1900-01-01"),
        "seats": ("1e300", "many"),
    },
    "customers": {
        "seats": ("-1", "1e300"),
        "churned_on": ("soon", "1900-01-01"),
        "timezone": ("Mars/One", "\\N"),
        "currency": ("??",),
    },
    "users": {"created_at": ("0000-00-00",), "deactivated_at": ("1900-01-01",)},
    "stage_changes": {"stage": ("happy",), "effective_at": ("once",)},
    "milestone_progress": {"completed_at": ("x",)},
    "messages": {"sent_at": ("x",), "opened_at": ("2001-01-01",)},
}
SHARES = {"one row": 0.0, "a twentieth": 0.05, "all rows": 1.0}


@dataclass(frozen=True)
class Kind:
    """A value in a column of some of a customer's rows."""

    table: str
    column: str
    value: str
    share: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column} = {self.value!r} in {self.share}"

    def spoil(self, tables: Tables, client: str, rng: np.random.Generator) -> bool:
        """Whether the customer has rows to spoil; they are spoiled."""
        frame = tables.get(self.table)
        if frame is None or self.column not in frame:
            return False
        rows = np.flatnonzero((frame["client_id"] == client).to_numpy())
        count = min(len(rows), max(1, round(SHARES[self.share] * len(rows))))
        chosen = rng.permutation(rows)[:count]
        frame.iloc[chosen, frame.columns.get_loc(self.column)] = self.value
        return count > 0


def kinds() -> list[Kind]:
    """Each value once, in one row, a twentieth or all of a customer's rows in turn."""
    listed = [
        (table, column, value)
        for table, columns in VALUES.items()
        for column, values in columns.items()
        for value in values
    ]
    shares = list(SHARES)
    return [Kind(*each, shares[index % len(shares)]) for index, each in enumerate(listed)]


# -- whole files written otherwise, which must change nothing -------------------------------


def _thousands(tables: Tables) -> None:
    for table, column in (("contracts", "arr"), ("invoices", "amount")):
        amounts = pd.to_numeric(tables[table][column])
        words = amounts.map(lambda amount: f"{amount:,.2f}" if pd.notna(amount) else "")
        tables[table][column] = words


def _padded(tables: Tables) -> None:
    for name, frame in tables.items():
        tables[name] = frame.rename(columns=str.upper).assign(**{"notes of others": "x"})


def _reordered(tables: Tables) -> None:
    for name, frame in tables.items():
        if TABLES[name].key or name in ("customers", "users"):
            tables[name] = frame.iloc[::-1, ::-1]


def _twice(tables: Tables) -> None:
    for name in ("customers", "tickets", "invoices", "contracts", "users"):
        tables[name] = pd.concat([tables[name], tables[name]])


def _offsets(tables: Tables) -> None:
    for name in ("tickets", "stage_changes"):
        for column in TABLES[name].timestamps:
            if column.name in tables[name]:
                texts = tables[name][column.name]
                timed = texts.str.contains(":")
                tables[name][column.name] = texts.where(~timed, texts.str.replace(" ", "T") + "Z")


FILES: dict[str, tuple[Callable[[Tables], None], dict[str, str]]] = {
    "thousands separators": (_thousands, {}),
    "columns in capitals, and others": (_padded, {}),
    "rows and columns in another order": (_reordered, {}),
    "every row of a keyed table twice": (_twice, {}),
    "timestamps with an offset": (_offsets, {}),
    "semicolons, and a mark of byte order": (
        lambda tables: None,
        {"sep": ";", "encoding": "utf-8-sig"},
    ),
    "tabs": (lambda tables: None, {"sep": "\t"}),
    "lines of Windows": (lambda tables: None, {"lineterminator": "\r\n"}),
}


# -- what must hold -------------------------------------------------------------------------


def write(tables: Mapping[str, pd.DataFrame], folder: Path, **dialect: str) -> hs.Portfolio:
    folder.mkdir()
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False, **dialect)
    return hs.Portfolio.open(folder)


def differences(before: Figures, after: Figures, clients: list[str]) -> Iterator[str]:
    """Figures of these customers that are not the same to the digit."""
    for name in ("points", "scores", "rows"):
        old, new = (getattr(side, name).reindex(clients) for side in (before, after))
        for column in old.columns:
            same = (old[column] == new[column]) | (old[column].isna() & new[column].isna())
            for client in same.index[~same.astype(bool)][:1]:
                values = f"{old[column][client]!r} became {new[column][client]!r}"
                yield f"{name}.{column} of {client}: {values} ({int((~same).sum())} customers)"


def failures(portfolio: hs.Portfolio, client: str, first: int = 0, count: int = 8) -> Iterator[str]:
    """Of so many tools from one on those that neither answer for a customer nor raise an error of the product."""
    calls: dict[str, Callable[[], object]] = {
        "health": lambda: hs.calculate_health_score(portfolio, client),
        "usage": lambda: hs.track_usage_engagement(portfolio, client),
        "adoption": lambda: hs.track_feature_adoption(portfolio, client),
        "lifecycle": lambda: hs.manage_lifecycle_stages(portfolio, client, "get_history"),
        "milestones": lambda: hs.track_adoption_milestones(portfolio, client),
        "patterns": lambda: hs.analyze_engagement_patterns(
            portfolio, "single_customer", client_id=client
        ),
        "tiers": lambda: hs.segment_by_value_tier(portfolio),
        "segments": lambda: hs.segment_customers(portfolio, {"name": "by usage"}),
    }
    for index in range(first, first + count):
        name, call = list(calls.items())[index % len(calls)]
        try:
            call()
        except HealthsegError:
            continue
        except Exception as problem:
            yield f"{name} of {client}: {type(problem).__name__}: {str(problem)[:200]}"


def demo_tables(folder: Path, clients: int, months: int, seed: int) -> Tables:
    """A demo portfolio's tables as text."""
    make_demo(folder, clients=clients, months=months, seed=seed, events="light")
    tables = {}
    for name in TABLES:
        for path in (folder / name, folder / f"{name}.parquet"):
            if path.exists():
                frame = pd.read_parquet(path).astype(object)
                tables[name] = frame.where(frame.notna(), "").astype(str).astype(object)
    if "severity" in tables.get("tickets", {}):
        for column in ("count", "source"):
            if column not in tables["events"]:
                tables["events"][column] = ""
    return tables


def study(
    clients: int, months: int, seed: int, only: str = "", tools: int = 8
) -> tuple[int, list[str]]:
    """How many kinds were tried, and what went wrong."""
    home = Path(tempfile.mkdtemp(prefix="dirt-"))
    rng, wrong, tried = np.random.default_rng(seed), [], 0
    try:
        tables = demo_tables(home / "demo", clients, months, seed)
        with write(tables, home / "clean") as portfolio:
            before = figures(portfolio)
        names = sorted(tables["customers"]["client_id"])
        chosen = [kind for kind in kinds() if only in str(kind)]
        size = max(1, len(names) // 3)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            dirty = {name: frame.copy() for name, frame in tables.items()}
            of = dict(zip(rng.permutation(names)[: len(part)].tolist(), part, strict=True))
            spoiled = {
                client: kind for client, kind in of.items() if kind.spoil(dirty, client, rng)
            }
            tried += len(spoiled)
            with write(dirty, home / f"round-{start}") as portfolio:
                portfolio.check().to_text()
                clean = [name for name in names if name not in spoiled]
                wrong += differences(before, figures(portfolio), clean)
                for index, (client, kind) in enumerate(spoiled.items()):
                    failed = failures(portfolio, client, index * tools, tools)
                    wrong += [f"{kind}: {failure}" for failure in failed]
            shutil.rmtree(home / f"round-{start}")
        for index, (name, (change, dialect)) in enumerate(FILES.items()):
            if only in name:
                changed = {table: frame.copy() for table, frame in tables.items()}
                change(changed)
                with write(changed, home / f"file-{index}", **dialect) as portfolio:
                    moved = differences(before, figures(portfolio), names)
                    wrong += [f"{name}: {difference}" for difference in moved]
                tried += 1
                shutil.rmtree(home / f"file-{index}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return tried, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="kinds whose description has this")
    parser.add_argument("--tools", type=int, default=8, help="how many are tried of each kind")
    options = parser.parse_args()
    tried, wrong = study(options.clients, options.months, options.seed, options.only, options.tools)
    for fault in wrong:
        print(fault)
    print(f"{tried:,} kinds of dirt, {len(wrong):,} faults")


if __name__ == "__main__":
    main()
