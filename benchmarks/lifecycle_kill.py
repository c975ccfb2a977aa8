"""Eight processes move the same 20 customers, and one of them is killed every second: is anything lost, or there twice?

    python benchmarks/lifecycle_kill.py [--transitions 4000] [--processes 8] [--kill-every 1.0] [--only sqlite|postgres]

Each worker has its share of requests, each with an id. It writes down a request that was answered "done", and after
being killed goes on where it stopped, asking again for the one that was in hand. Afterwards: every request was recorded
once, every one that was answered is there, every customer's history is a legal path. Exit status 1 where not.
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from healthseg.data.ledger.ledger import Ledger  # noqa: E402
from healthseg.data.outbox import Message, everything  # noqa: E402
from healthseg.errors import InvalidParameters  # noqa: E402
from healthseg.settings.lifecycle import Lifecycle  # noqa: E402
from healthseg.tools.lifecycle.moves import TRANSITION, RequestedMove, move  # noqa: E402

SIGNUP = dt.date(2020, 1, 1)
RULES = Lifecycle()


@dataclass(frozen=True)
class Place:
    """Where the ledger is."""

    address: str
    schema_name: str = "healthseg"

    def ledger(self) -> Ledger:
        return Ledger(self.address, now, busy_seconds=60, schema_name=self.schema_name)


@dataclass(frozen=True)
class Found:
    """What was there afterwards."""

    recorded: int
    answered: int
    lost: int  # requests without a row, and answered ones without
    twice: int
    illegal: int  # steps that the graph does not allow, or out of order
    unannounced: int  # transitions without their message
    kills: int
    seconds: float

    @property
    def well(self) -> bool:
        return not (self.lost or self.twice or self.illegal or self.unannounced)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def announce(event: Any, previous: str | None, first: bool) -> list[Message]:
    return [
        Message(
            event.request_id,
            event.client_id,
            "notify_csm",
            "file",
            {"stage": event.stage},
            event.recorded_at,
        )
    ]


def worker(where: Place, number: int, requests: int, customers: int, diary: str) -> None:
    """Makes its requests in order, from the first that its diary does not have."""
    ledger, path = where.ledger(), Path(diary)
    done = path.read_text().splitlines() if path.exists() else []
    complete = [line for line in done if line.endswith(".")]
    with open(path, "a", encoding="utf-8") as handle:
        if len(complete) < len(done):
            handle.write("\n")
        for request in range(len(complete), requests):
            move_once(ledger, f"{number}-{request}", f"c{(number * 7 + request) % customers}")
            handle.write(f"{number}-{request}.\n")
            handle.flush()


def move_once(ledger: Ledger, request_id: str, client: str) -> None:
    """One transition to any stage that is allowed from where the customer is by then."""
    while True:
        events = ledger.stage_events(client)
        current = events[-1].stage if events else None
        target = random.choice([stage for stage in RULES.targets(current) if stage != "prospect"])
        try:
            request = RequestedMove(
                client, target, TRANSITION, actor="worker", request_id=request_id
            )
            moved = move(ledger, [], "UTC", SIGNUP, RULES, request, announce)
        except InvalidParameters as problem:
            known = ledger.stage_event_of(request_id)
            if known is not None:  # it was recorded before this process was killed
                return
            assert "can go to" in problem.message, problem.message
            continue
        if moved.event is not None:
            return  # else another had moved it to that stage: try another one


def run(
    where: Place,
    folder: Path,
    transitions: int,
    processes: int,
    customers: int,
    kill_every: float,
    method: str = "forkserver",
) -> Found:
    """Runs the workers, kills one every so many seconds, starts it again, and looks at what is there."""
    context, share, began = (
        multiprocessing.get_context(method),
        transitions // processes,
        time.monotonic(),
    )
    if method == "forkserver":
        context.set_forkserver_preload(["benchmarks.lifecycle_kill"])

    def start(number: int) -> Any:
        arguments = (where, number, share, customers, str(folder / f"diary-{number}"))
        process = context.Process(target=worker, args=arguments)
        process.start()
        return process

    where.ledger().record_settings("made", {})  # the tables
    running = {number: start(number) for number in range(processes)}
    kills, next_kill, chance = 0, time.monotonic() + kill_every, random.Random(7)
    while running:
        time.sleep(0.02)
        for number, process in list(running.items()):
            if process.exitcode is not None:
                process.join()
                assert process.exitcode in (0, -signal.SIGKILL), (
                    f"worker {number} ended with {process.exitcode}"
                )
                del running[number]
                if process.exitcode:
                    running[number] = start(number)
        if running and time.monotonic() >= next_kill:
            running[chance.choice(sorted(running))].kill()  # which may just have ended
            kills, next_kill = kills + 1, time.monotonic() + kill_every
    return _looked_at(where, folder, share, processes, kills, time.monotonic() - began)


def _looked_at(
    where: Place, folder: Path, share: int, processes: int, kills: int, seconds: float
) -> Found:
    ledger = where.ledger()
    events = ledger.stage_events()
    wanted = {f"{number}-{request}" for number in range(processes) for request in range(share)}
    answered = {
        line.rstrip(".")
        for number in range(processes)
        for line in (folder / f"diary-{number}").read_text().splitlines()
        if line.endswith(".")
    }
    counts = Counter(event.request_id for event in events)
    by_client: dict[str, list[Any]] = {}
    for event in events:
        by_client.setdefault(event.client_id, []).append(event)
    illegal = 0
    for path in by_client.values():
        for before, after in zip([None, *path[:-1]], path, strict=True):
            source = before.stage if before else None
            late = before is not None and (
                before.effective_at >= after.effective_at or before.seq >= after.seq
            )
            illegal += late or source == after.stage or not RULES.allows(source, after.stage)
    announced = Counter(row.message.request_id for row in everything(ledger))
    return Found(
        len(events),
        len(answered),
        len(wanted - set(counts)) + len(answered - set(counts)),
        sum(count - 1 for count in counts.values()),
        illegal,
        sum(announced[event.request_id] != 1 for event in events),
        kills,
        seconds,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--transitions", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--kill-every", type=float, default=1.0)
    parser.add_argument("--only", choices=("sqlite", "postgres"))
    options, well = parser.parse_args(), True
    for kind in ("sqlite", "postgres"):
        if options.only not in (None, kind):
            continue
        with tempfile.TemporaryDirectory() as folder:
            if kind == "postgres":
                from tests.data.postgres import server

                with server() as address:
                    outcome = run(
                        Place(address),
                        Path(folder),
                        options.transitions,
                        options.processes,
                        options.customers,
                        options.kill_every,
                    )
            else:
                outcome = run(
                    Place(str(Path(folder) / "healthseg.sqlite")),
                    Path(folder),
                    options.transitions,
                    options.processes,
                    options.customers,
                    options.kill_every,
                )
        print(
            f"{kind}: {options.processes} processes, {options.customers} customers: {outcome.recorded} transitions "
            f"recorded, {outcome.answered} answered, {outcome.kills} killed; lost {outcome.lost}, twice {outcome.twice}, "
            f"illegal steps {outcome.illegal}, without message {outcome.unannounced}; {outcome.seconds:.0f} s",
            flush=True,
        )
        well &= (
            outcome.well
            and outcome.recorded == options.transitions // options.processes * options.processes
        )
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
