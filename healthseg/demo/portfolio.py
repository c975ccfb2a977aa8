"""The whole portfolio: drawn batch by batch, counted, cut at churn, added up and written."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from healthseg.demo import (
    activity,
    adoption,
    churn,
    contact,
    customers,
    lifecycle,
    oracle,
    users,
)
from healthseg.demo.customers import (
    Customers,
    Latents,
    draw_customers,
    draw_latents,
)
from healthseg.demo.scenarios import (
    CSV_TABLES,
    DAY_MS,
    EPOCH,
    LAST_DAY,
    VERSION,
    Scenario,
    World,
    scenario_named,
    timeline,
    write_dirt,
)
from healthseg.demo.schema import (
    CSM_IDS,
    CSM_NAMES,
    CSM_TIERS,
    EVENT_ROW,
    FEATURE_NAMES,
    FEATURES,
    INDUSTRIES,
    NEVER,
    RELEASED,
    SPOOL,
    TABLES,
    TRUTH,
    VOCABULARY,
    EventWriter,
    labels,
    write_json,
    write_parquet,
)
from healthseg.errors import InvalidParameters

# more customers at once would only take more memory
BATCH_CLIENTS = 250
# numbers reserved for each customer's sessions
SESSIONS_PER_CLIENT = 10**7
# a live customer with all inputs has this number wherever the portfolio is that large
KNOWN_CLIENT, KNOWN_TENURE_DAYS = 123, 200
# quartiles by industry, of nothing but these numbers
BENCHMARKS = (
    ("seat_utilisation", (0.42, 0.58, 0.74)),
    ("stickiness_30d", (0.14, 0.21, 0.30)),
    ("wau_per_seat", (0.30, 0.45, 0.62)),
    ("nps_365d", (5.0, 28.0, 52.0)),
)
# beside the tables; the product's search finds its help pages
SETTINGS = """\
[settings]
# users with a question who search find the help pages
self_service_features = ["search"]
"""
# what a dollar is worth in euros, at equal distances of time
DOLLAR_RATES = (0.92, 0.93, 0.91, 0.92, 0.93, 0.91, 0.90, 0.92)
SUBJECTS = (customers, users, activity, adoption, lifecycle, contact, churn)


@dataclass
class Batch:
    """All of some customers, filled step by step. Events and counts end at churn; the frames don't."""

    world: World
    customers: Customers
    latents: Latents = field(init=False)
    interventions: pd.DataFrame = field(init=False)
    users: users.Users = field(init=False)
    rhythms: activity.Rhythms = field(init=False)
    anomalies: activity.Anomalies = field(init=False)
    adoption: adoption.Adoption = field(init=False)
    persons: activity.SimulatedEvents = field(init=False)
    calls: activity.SimulatedEvents = field(init=False)
    terms: lifecycle.Terms = field(init=False)
    contracts: lifecycle.Contracts = field(init=False)
    invoices: pd.DataFrame = field(init=False)
    tickets: pd.DataFrame = field(init=False)
    surveys: pd.DataFrame = field(init=False)
    inputs: oracle.Inputs = field(init=False)
    drivers: dict[str, np.ndarray] = field(init=False)
    churn: churn.Churn = field(init=False)
    # the contracts of customers that come back, and the day of each customer's return
    won_back: pd.DataFrame = field(init=False)
    back: np.ndarray = field(init=False)
    stages: pd.DataFrame = field(init=False)
    milestones: pd.DataFrame = field(init=False)
    first_uses: dict[int, np.ndarray] = field(init=False)
    messages: pd.DataFrame = field(init=False)
    csm_changed: np.ndarray = field(init=False)

    @property
    def until(self) -> np.ndarray:
        """The first day without rows of the customer, who may come back later."""
        return np.minimum(self.churn.churned, self.world.days)

    def present(self, day: Any, client: Any) -> np.ndarray:
        """Whether the day lies before churn, or after the customer's return, and in the portfolio."""
        is_back = (day >= self.back[client]) & (day < self.world.days)
        return np.asarray((day < self.until[client]) | is_back)

    @cached_property
    def user_ids(self) -> list[str]:
        numbers = self.customers.number[self.users.client].tolist()
        pairs = zip(numbers, self.users.serial.tolist(), strict=True)
        return [f"u{number:04d}_{serial:03d}" for number, serial in pairs]

    @property
    def live_before_steps(self) -> np.ndarray:
        """Customers × steps: whether the customer is live on the day before the step."""
        at = self.world.steps - 1
        return (self.customers.signup[:, None] <= at) & (self.until[:, None] > at)

    def table(self, name: str, /, **values: Any) -> pa.Table:
        """A table; codes in ``client``, ``user``, ``milestone`` and ``parent`` stand for ids."""
        return self.world.table(name, **self._with_ids(values))

    def truth(self, name: str, /, **values: Any) -> pa.Table:
        return self.world.truth(name, **self._with_ids(values))

    def _with_ids(self, values: dict[str, Any]) -> dict[str, Any]:
        ids: dict[str, Iterable[str]] = {
            "client": self.customers.ids,
            "parent": self.customers.ids,
            "user": self.user_ids,
            "milestone": VOCABULARY["milestone_id"],
        }
        return values | {
            f"{name}_id": labels(ids[name], values[name]) for name in ids if name in values
        }

    def serial_ids(self, pattern: str, client: pd.Series) -> list[str]:
        """Ids of the customers' numbers and a serial number within each; rows sorted by customer."""
        code = client.to_numpy()
        serial = np.arange(len(code)) - np.searchsorted(code, code) + 1
        numbers = self.customers.number[code].tolist()
        return [pattern.format(*pair) for pair in zip(numbers, serial.tolist(), strict=True)]

    def before(self, day: Any, client: Any) -> np.ndarray:
        """The day where the customer is present, else NEVER."""
        return np.where(self.present(day, client), day, NEVER)

    def recorded(self, rows: pd.DataFrame, first: str, *others: str) -> pd.DataFrame:
        """The rows in whose ``first`` moment the customer is present; the others cut likewise."""
        client, world, within = rows["client"].to_numpy(), self.world, {}
        for name in (first, *others):
            moment = rows[name].to_numpy()
            day = world.local_day(moment, self.customers.zone[client])
            end = (world.start + world.days) * DAY_MS
            within[name] = (moment >= 0) & self.present(day, client) & (moment < end)
        cut = {name: np.where(within[name], rows[name], -1) for name in others}
        return rows.assign(**cut)[within[first]]

    def begun(self, rows: pd.DataFrame, day: str) -> pd.DataFrame:
        """The rows on whose day the customer is present."""
        return rows[self.present(rows[day].to_numpy(), rows["client"].to_numpy())]


def draw_batch(world: World, first: int, count: int, light: bool) -> Batch:
    """Draw all activity, count the drivers, draw churn from them, remove what comes after it."""
    batch = Batch(world, draw_customers(world, first, count))
    batch.latents, batch.interventions = draw_latents(batch)
    batch.users = users.draw_users(batch)
    batch.rhythms = activity.draw_rhythms(batch)
    batch.anomalies = activity.draw_anomalies(batch)
    batch.adoption = adoption.draw_adoption(batch)
    batch.persons = activity.draw_events(batch)
    counts = _counts(batch)
    batch.stages = lifecycle.draw_stages(batch)
    batch.terms = lifecycle.draw_terms(batch)
    batch.contracts = lifecycle.draw_contracts(batch, counts.monthly_users)
    batch.invoices = lifecycle.draw_invoices(batch)
    batch.tickets = contact.draw_tickets(batch)
    batch.surveys = contact.draw_surveys(batch)
    batch.inputs = _inputs(batch, counts)
    batch.drivers = churn.drivers(batch)
    batch.churn = churn.draw_churn(batch)
    batch.won_back = lifecycle.draw_returns(batch)
    batch.back = np.full(batch.customers.count, NEVER)
    batch.back[batch.won_back["client"]] = batch.won_back["starts_on"]
    if not world.planted:
        standing = customers.weekly_standing(counts.events, batch.customers)
        rng = world.random("interventions")
        batch.interventions = customers.draw_interventions(rng, standing, batch.customers)
    _number_known_client(batch)
    _end_at_churn(batch, light)
    return batch


def _counts(batch: Batch) -> oracle.Counts:
    who, days = batch.users, batch.world.days
    return oracle.count(batch.persons, who.first_of, who.count, len(FEATURE_NAMES), days)


def _inputs(batch: Batch, counts: oracle.Counts) -> oracle.Inputs:
    who = batch.customers
    tickets, surveys = batch.tickets, batch.surveys

    def local_days(rows: pd.DataFrame, moment: str) -> np.ndarray:
        return batch.world.local_day(rows[moment].to_numpy(), who.zone[rows["client"]])

    high, nps = tickets[tickets["severity"] >= 2], surveys[surveys["kind"] == "nps"]
    resolved = {name: local_days(high, name) for name in ("opened_at", "resolved_at")}
    return oracle.Inputs(
        who.signup,
        counts,
        seats=batch.contracts.seats_by_day(who, batch.world),
        eligible=batch.adoption.eligible,
        high_tickets=high.assign(**resolved),
        nps_answers=nps.assign(day=local_days(nps, "responded_at")),
        # a credit note is never overdue
        invoices=batch.invoices[batch.invoices["amount"] > 0],
    )


def _number_known_client(batch: Batch) -> None:
    """Swap numbers so that KNOWN_CLIENT is the live customer with all inputs and most of them."""
    who, days = batch.customers, batch.world.days
    position = np.flatnonzero(who.number == KNOWN_CLIENT)
    if not len(position):
        return
    frames = (batch.tickets, batch.surveys)
    rows = sum(np.bincount(each["client"], minlength=who.count) for each in frames)
    fits = (batch.churn.step < 0) & (who.signup <= days - 1 - KNOWN_TENURE_DAYS)
    fits &= (who.seats >= 12) & (who.plan > 0) & ~who.api_only
    for withheld in who.withheld.values():
        fits &= ~withheld
    best = int(np.argmax(np.where(fits, rows, -1)))
    who.number[[position[0], best]] = who.number[[best, position[0]]]


def _end_at_churn(batch: Batch, light: bool) -> None:
    """Remove what comes after churn, and draw what does not depend on it."""
    world, exits, until = batch.world, batch.churn, batch.until
    # who would have joined while the customer was away joins afterwards
    who, back = batch.users, batch.back[batch.users.client]
    away = (who.created >= until[who.client]) & (back < NEVER)
    who.created = np.where(away, np.maximum(who.created, back), who.created)
    batch.persons = batch.persons.where(batch.present(batch.persons.day, batch.persons.client))
    if world.scenario.leak:
        batch.persons = _without_usage_after_notice(batch)
    batch.inputs.counts = _counts(batch)
    if world.scenario.leak:
        # after notice the portfolio shows what is left; nobody is at risk any more then
        batch.drivers = churn.drivers(batch)
        exits.log_odds = churn.measured_log_odds(batch.drivers, world)
    if light:
        batch.persons = activity.light_events(batch.persons)
    calls = activity.draw_calls(batch, light)
    batch.calls = calls.where(batch.present(calls.day, calls.client))
    batch.stages = lifecycle.end_stages_at_churn(batch)
    batch.milestones = adoption.end_milestones_at_churn(adoption.draw_milestones(batch), until)
    batch.first_uses = adoption.first_uses(batch.persons, batch.users)
    batch.messages = contact.draw_messages(batch)
    batch.csm_changed = customers.draw_csm_changes(batch)


def _without_usage_after_notice(batch: Batch) -> activity.SimulatedEvents:
    """The `leak` scenario: most sessions after notice do not take place."""
    events, rng = batch.persons, batch.world.random("leak")
    takes_place = rng.random(int(events.session.max()) + 1) < 0.15
    is_before = events.day < batch.churn.notice[events.client]
    return events.where(is_before | takes_place[events.session])


def _event_rows(batch: Batch, first_user: int) -> np.ndarray:
    """A batch's events as EVENT_ROW, with numbers of the whole portfolio."""
    events, who = batch.persons.joined(batch.calls), batch.customers
    rows = np.empty(len(events.client), EVENT_ROW)
    for name in ("utc_ms", "calls", "seconds", "feature", "name", "source"):
        rows[name] = getattr(events, name)
    rows["client"] = who.number[events.client] - 1
    rows["user"] = np.where(events.user < 0, -1, events.user + first_user)
    first_session = np.full(who.count, np.iinfo(np.int64).max)
    np.minimum.at(first_session, batch.persons.client, batch.persons.session)
    serial = events.session - first_session[events.client]
    session = who.number[events.client] * SESSIONS_PER_CLIENT + serial
    rows["session"] = np.where(events.session < 0, -1, session)
    return rows


def make_demo(
    out: str | Path,
    clients: int | None = None,
    months: int = 18,
    seed: int = 7,
    scenario: str = "default",
    events: str = "full",
) -> dict[str, Any]:
    """Write a simulated portfolio to the folder ``out``; returns what ``truth/portfolio.json`` says.

    The folder gets one ``<table>.parquet`` per table, ``events/YYYY-MM.parquet``, and ``truth/``, what
    was planted. The same arguments give the same bytes.

    clients: number of customers; the scenario's own where absent (250; 2,000 for ``effects``).
    months: number of whole months that end with 2025-10-10, 3 to 60.
    seed: of the random numbers.
    scenario: a name in ``SCENARIOS``.
    events: ``full``, or ``light``: a fifth of the event rows, each with a ``count``; all days of use,
    sessions, counts and the whole truth stay equal.

    Raises InvalidParameters for an unknown scenario, values out of range, or a folder that holds
    anything but an earlier demo portfolio.

    >>> import tempfile
    >>> summary = make_demo(tempfile.mkdtemp(), clients=5, months=4)
    >>> summary["scenario"], summary["first_day"], summary["rows"]["customers"]
    ('default', '2025-06-11', 5)
    """
    parameters, clients = _validated(clients, months, scenario, events)
    out = Path(out)
    _clear(out)
    world = World(parameters, seed, 0, *timeline(months))
    sums = _Sums(out, world, clients)
    edges = np.linspace(0, clients, -(-clients // BATCH_CLIENTS) + 1).astype(int)
    for number, (first, end) in enumerate(itertools.pairwise(edges.tolist())):
        batch_world = World(parameters, seed, number, world.start, world.days)
        batch = draw_batch(batch_world, first, end - first, events == "light")
        sums.add(batch)
    arguments = {
        "scenario": scenario,
        "seed": seed,
        "clients": clients,
        "months": months,
        "events": events,
    }
    return _write(out, sums, batch.anomalies, arguments)


def _validated(clients: int | None, months: int, name: str, events: str) -> tuple[Scenario, int]:
    scenario = scenario_named(name)
    clients = scenario.clients if clients is None else clients
    for parameter, value, low, high in (
        ("clients", clients, 1, 100_000),
        ("months", months, 3, 60),
    ):
        if not low <= value <= high:
            raise InvalidParameters(
                f"{parameter} {value} is out of range: expected {low} to {high}",
                parameter=parameter,
                value_provided=value,
                validation_rule=f"{low} <= {parameter} <= {high}",
            )
    if events not in ("full", "light"):
        raise InvalidParameters(
            f"events {events!r} must be full or light",
            parameter="events",
            value_provided=events,
            validation_rule="full or light",
        )
    return scenario, clients


def _clear(out: Path) -> None:
    """Remove an earlier demo portfolio; refuse a folder that holds anything else."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / "truth" / "portfolio.json").exists():
        raise InvalidParameters(
            f"folder {out} is not empty and holds no demo portfolio: use a new or an empty folder",
            parameter="out",
            value_provided=str(out),
            validation_rule="a new folder, an empty one, or an earlier demo portfolio",
        )
    for folder in ("events", "truth", SPOOL):
        shutil.rmtree(out / folder, ignore_errors=True)
    if not _has_own_settings(out):
        (out / "portfolio.toml").unlink(missing_ok=True)
    for name in TABLES:
        for suffix in (".parquet", ".csv"):
            (out / f"{name}{suffix}").unlink(missing_ok=True)


def _has_own_settings(out: Path) -> bool:
    """Whether somebody else's settings lie beside the tables: they stay."""
    path = out / "portfolio.toml"
    return path.exists() and path.read_text(encoding="utf-8") != SETTINGS


class _Sums:
    """The tables, truth and tallies of the batches so far."""

    def __init__(self, out: Path, world: World, clients: int) -> None:
        self.world = world
        self.tables: dict[str, list[pa.Table]] = defaultdict(list)
        self.truth: dict[str, list[pa.Table]] = defaultdict(list)
        self.total: dict[str, np.ndarray] = {}
        self.client_ids, self.user_ids = [""] * clients, list[str]()
        first_day = EPOCH + dt.timedelta(days=world.start)
        self.events = EventWriter(out, first_day, LAST_DAY, clients > BATCH_CLIENTS)

    def add(self, batch: Batch) -> None:
        for subject in SUBJECTS:
            for name, build in getattr(subject, "TABLES", {}).items():
                self.tables[name].append(build(batch))
            for name, build in getattr(subject, "TRUTH", {}).items():
                self.truth[name].append(build(batch))
            tally = subject.tally(batch) if hasattr(subject, "tally") else {}
            for name, values in tally.items():
                self.total[name] = self.total.get(name, 0.0) + np.asarray(values, float)
        self.events.add(_event_rows(batch, len(self.user_ids)))
        self.user_ids += batch.user_ids
        for number, client_id in zip(batch.customers.number, batch.customers.ids, strict=True):
            self.client_ids[number - 1] = client_id


def _portfolio_tables(world: World, anomalies: activity.Anomalies) -> dict[str, pa.Table]:
    """The tables that do not depend on the customers."""
    rows = [
        (industry, metric, percentile, round(value * (1 + 0.02 * position), 4))
        for position, industry in enumerate(INDUSTRIES)
        for metric, values in BENCHMARKS
        for percentile, value in zip((25, 50, 75), values, strict=True)
    ]
    industry, metric, percentile, value = (list(column) for column in zip(*rows, strict=True))
    return {
        "features": world.table(
            "features",
            feature=FEATURE_NAMES,
            category=[category for _, category, _ in FEATURES],
            released_on=RELEASED,
            recommended_position=list(range(1, len(FEATURES) + 1)),
        ),
        "milestones": adoption.milestones_table(world),
        "calendar": activity.calendar_table(world, anomalies),
        "csms": world.table(
            "csms",
            csm_id=CSM_IDS,
            name=CSM_NAMES,
            tier=CSM_TIERS,
            capacity_hours=120.0,
            contact=[f"{name.split()[0].lower()}@vendor.example" for name in CSM_NAMES],
        ),
        "fx": world.table(
            "fx",
            currency=["EUR", *["USD"] * len(DOLLAR_RATES)],
            on=[-720, *np.linspace(-720, world.days - 30, len(DOLLAR_RATES)).astype(int)],
            rate_to_book=[1.0, *DOLLAR_RATES],
        ),
        "benchmarks": world.table(
            "benchmarks",
            industry=industry,
            metric=metric,
            percentile=percentile,
            value=value,
            source="simulated",
        ),
    }


def _truth(sums: _Sums, anomalies: activity.Anomalies) -> dict[str, pa.Table]:
    world, total = sums.world, sums.total
    parts = {
        **sums.truth,
        "anomalies": [
            activity.portfolio_anomalies(total, world, anomalies),
            *sums.truth["anomalies"],
        ],
        "rhythms": [activity.portfolio_rhythms(total, world), *sums.truth["rhythms"]],
        "withheld": [*sums.truth["withheld"], contact.survey_gap(world)],
    }
    truth = {name: world.truth(name) for name in TRUTH}
    truth |= {name: pa.concat_tables(each) for name, each in parts.items()}
    for subject in SUBJECTS:
        truth |= {name: law(total, world) for name, law in getattr(subject, "LAWS", {}).items()}
    return truth


def _write(
    out: Path, sums: _Sums, anomalies: activity.Anomalies, arguments: dict[str, Any]
) -> dict[str, Any]:
    world, truth = sums.world, _truth(sums, anomalies)
    tables = {name: pa.concat_tables(parts) for name, parts in sums.tables.items()}
    tables |= _portfolio_tables(world, anomalies)
    rows = sums.events.write(sums.client_ids, sums.user_ids)
    if world.scenario.dirty:
        truth["dirt"] = write_dirt(out, tables, world)
    if not world.lively:
        del tables["fx"]
        tables["csms"] = tables["csms"].drop_columns("name")
        tables["contracts"] = tables["contracts"].drop_columns(["replaces", "auto_renews"])
    elif not _has_own_settings(out):
        (out / "portfolio.toml").write_text(SETTINGS, encoding="utf-8")
    for name, content in tables.items():
        if not (world.scenario.dirty and name in CSV_TABLES):
            write_parquet(out / f"{name}.parquet", content)
    for name, content in truth.items():
        write_parquet(out / "truth" / f"{name}.parquet", content)
    checks = churn.checks(truth["hazard"], truth["exits"], world)
    summary = {
        "version": VERSION,
        **arguments,
        "last_day": LAST_DAY.isoformat(),
        "first_day": (EPOCH + dt.timedelta(days=world.start)).isoformat(),
        "parameters": vars(world.scenario),
        "checks": checks,
        "rows": {"events": rows, **{name: each.num_rows for name, each in tables.items()}},
        **{name: checks[name]["value"] for name in ("oracle_auc_30", "oracle_auc_90", "churns")},
    }
    write_json(out / "truth" / "portfolio.json", summary)
    return summary
