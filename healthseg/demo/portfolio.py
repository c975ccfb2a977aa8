"""The whole portfolio: chunk after chunk, added up, written."""

from __future__ import annotations

import itertools
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from healthseg.demo import overall, people, planted, shared, tables, truth
from healthseg.demo.chunk import Chunk, all_events, draw_chunk
from healthseg.demo.dirt import CSV_TABLES, write_dirt
from healthseg.demo.frame import LAST_DAY, Frame, frame
from healthseg.demo.scenarios import VERSION, Scenario, named
from healthseg.demo.schema import TABLES, TRUTH
from healthseg.demo.spool import SPOOL, Spool
from healthseg.demo.writing import table, write_json, write_parquet
from healthseg.errors import InvalidParameters

CHUNK_CLIENTS = 250  # more at once would only take more memory
SESSIONS_PER_CLIENT = 10**7  # numbers kept free for each customer's sessions
TRUTH_PER_CHUNK = {
    "hazard": truth.hazard,
    "exits": truth.exits,
    "users": truth.users,
    "expansions": truth.expansions,
    **people.PER_CHUNK,
    **planted.PER_CHUNK,
}


class _PortfolioStub:
    """What the chunks have given so far."""

    def __init__(self, out: Path, days: Frame, clients: int) -> None:
        self.days = days
        self.tables: dict[str, list[pa.Table]] = defaultdict(list)
        self.truth: dict[str, list[pa.Table]] = defaultdict(list)
        self.total: dict[str, np.ndarray] = {}
        self.user_ids: list[str] = []
        self.client_ids = np.full(clients, "", object)
        self.spool = Spool(out, days, clients > CHUNK_CLIENTS)

    def take(self, chunk: Chunk) -> None:
        for name, build in tables.PER_CHUNK.items():
            self.tables[name].append(build(chunk))
        for name, build in TRUTH_PER_CHUNK.items():
            self.truth[name].append(build(chunk))
        for name, values in overall.tally(chunk).items():
            self.total[name] = self.total.get(name, 0) + values
        self._take_events(chunk)

    def _take_events(self, chunk: Chunk) -> None:
        events, number = all_events(chunk), chunk.who.number - 1
        client = number[events.client]
        first_session = np.full(chunk.who.count, np.iinfo(np.int64).max)
        np.minimum.at(first_session, chunk.persons.client, chunk.persons.session)
        session = np.where(
            events.session < 0,
            -1,
            (client + 1) * SESSIONS_PER_CLIENT + events.session - first_session[events.client],
        )
        self.spool.add(
            events, client, np.where(events.user < 0, -1, events.user + len(self.user_ids)), session
        )
        self.user_ids += tables.user_ids(chunk)
        self.client_ids[number] = chunk.who.ids


def write_demo(
    out: str | Path,
    clients: int | None = None,
    months: int = 18,
    seed: int = 7,
    scenario: str = "default",
    events: str = "full",
) -> dict[str, Any]:
    """Write a simulated portfolio to the folder ``out``; gives what ``truth/portfolio.json`` says.

    One ``<table>.parquet`` per table, ``events/YYYY-MM.parquet``, and ``truth/``. The same arguments give
    the same bytes. ``clients`` is the scenario's own number where it is not given (250; 2,000 for
    ``effects``). ``events="light"`` writes a fifth of the event rows, each with a ``count``: all days of
    use, sessions, counts and the whole truth stay equal.

    Raises InvalidParameters for an unknown scenario, or sizes out of range.
    """
    world, days, clients = _checked(clients, months, scenario, events)
    out = Path(out)
    _clear(out)
    portfolio = _PortfolioStub(out, days, clients)
    chunk = None
    chunks = -(-clients // CHUNK_CLIENTS)
    edges = [
        clients * place // chunks for place in range(chunks + 1)
    ]  # alike in size: none of a few customers
    for place, (first, after) in enumerate(itertools.pairwise(edges)):
        chunk = draw_chunk(seed, place, first, after - first, days, world, events == "light")
        portfolio.take(chunk)
    return _write(
        out,
        portfolio,
        chunk,
        {
            "scenario": world.name,
            "seed": seed,
            "clients": clients,
            "months": months,
            "events": events,
        },
        world,
    )


def _checked(
    clients: int | None, months: int, name: str, events: str
) -> tuple[Scenario, Frame, int]:
    world = named(name)
    clients = world.clients if clients is None else clients
    for parameter, value, low, high in (
        ("clients", clients, 1, 100_000),
        ("months", months, 3, 60),
    ):
        if not low <= value <= high:
            raise InvalidParameters(
                f"{parameter} {value} is out of range: give {low} to {high}",
                parameter=parameter,
                value_provided=value,
                validation_rule=f"{low} <= {parameter} <= {high}",
            )
    if events not in ("full", "light"):
        raise InvalidParameters(
            f"events {events!r} is neither full nor light",
            parameter="events",
            value_provided=events,
            validation_rule="full or light",
        )
    return world, frame(months), clients


def _clear(out: Path) -> None:
    """Take away an earlier demo portfolio; refuse a folder that holds anything else."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "truth" / "portfolio.json").exists():
        raise InvalidParameters(
            f"folder {out} is not empty and holds no demo portfolio: give a new or an empty folder",
            parameter="out",
            value_provided=str(out),
            validation_rule="a new folder, an empty one, or an earlier demo portfolio",
        )
    for folder in ("events", "truth", SPOOL):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in TABLES:
        for suffix in (".parquet", ".csv"):
            (out / f"{name}{suffix}").unlink(missing_ok=True)


def _write(
    out: Path, portfolio: _PortfolioStub, last: Chunk, arguments: dict[str, Any], world: Scenario
) -> dict[str, Any]:
    days = portfolio.days
    once = shared.of_portfolio(days, last.incidents.calendar)
    whole = {**{name: pa.concat_tables(parts) for name, parts in portfolio.tables.items()}, **once}
    known = {name: pa.concat_tables(parts) for name, parts in portfolio.truth.items()}
    known["anomalies"] = pa.concat_tables(
        [
            overall.portfolio_anomalies(portfolio.total, last.incidents.portfolio, days),
            known["anomalies"],
        ]
    )
    known["rhythms"] = pa.concat_tables(
        [overall.portfolio_rhythms(portfolio.total, world), known["rhythms"]]
    )
    known["withheld"] = pa.concat_tables([known["withheld"], planted.survey_gap(days)])
    known |= {
        "hazard_terms": truth.hazard_terms(world),
        **overall.tables(portfolio.total, days, world),
    }
    known |= {name: table(columns) for name, columns in TRUTH.items() if name not in known}
    rows = portfolio.spool.write(
        out, portfolio.client_ids, pa.array(portfolio.user_ids, pa.string())
    )
    spoiled = CSV_TABLES if world.dirty else ()
    for name, content in whole.items():
        if name not in spoiled:
            write_parquet(out / f"{name}.parquet", content)
    if world.dirty:
        known["dirt"] = write_dirt(out, whole, arguments["seed"])
    for name, content in known.items():
        write_parquet(out / "truth" / f"{name}.parquet", content)
    checks = truth.checks(
        known["hazard"], known["exits"], np.datetime64("1970-01-01") + days.start, world
    )
    summary = {
        "version": VERSION,
        **arguments,
        "last_day": LAST_DAY.isoformat(),
        "first_day": str(np.datetime64("1970-01-01") + days.start),
        "parameters": world.parameters(),
        "checks": checks,
        "rows": {"events": rows, **{name: each.num_rows for name, each in whole.items()}},
        "oracle_auc_30": checks["oracle_auc_30"]["value"],
        "oracle_auc_90": checks["oracle_auc_90"]["value"],
        "churns": checks["churns"]["value"],
    }
    write_json(out / "truth" / "portfolio.json", summary)
    return summary
