"""Attacks by files that others made: each writes a hostile portfolio, and says what it is after.

``run`` starts a command on one in a process of its own and says what the attack got: a file written or read outside
the portfolio's folder, a request on the network, code that ran, more than 60 s or 2 GiB, an error that is not in words.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECRET = "secret-of-the-operator"
SECONDS, PEAK_MB = 60.0, 2048.0
# what stops an attack that succeeds before the machine suffers
_KILL_SECONDS, _KILL_MB, _LARGEST_FILE = 75.0, 5000.0, 8 << 30
# a process that uses less of the processor than this waits: then the clock counts, else the processor's seconds, which
# other work on the machine does not stretch
_WAITING_SHARE = 0.05
_UNEXPECTED = re.compile(r"unexpected \w+(Error|Exception|Exit)\b")
# escapes, and characters that turn a line around
_TURNS = re.compile("[\x07\x1b\x80-\x9f\u202a-\u202e\u2066-\u2069]")
CUSTOMERS = "client_id,signup_date\nacme,2025-01-01\n"


@dataclass(frozen=True)
class Scene:
    """A hostile portfolio's folder, what lies outside of it, and the address of a server that counts requests."""

    folder: Path
    outside: Path
    url: str

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def customers(self) -> None:
        self.write("customers.csv", CUSTOMERS)

    def filled(self, text: str) -> str:
        """The text with the places of this scene in it."""
        for word, value in (
            ("OUTSIDE", self.outside),
            ("FOLDER", self.folder),
            ("URL", self.url),
        ):
            text = text.replace(word, str(value))
        return text


@dataclass(frozen=True)
class Attack:
    """One attack: what it is after, how its portfolio is written, and the command that the operator runs on it."""

    name: str
    wants: str
    build: Callable[[Scene], object]
    command: tuple[str, ...] = ("check", "FOLDER")


@dataclass(frozen=True)
class Outcome:
    """How a command on a hostile portfolio ended, and what the attack got."""

    status: int
    seconds: float
    peak_mb: float
    text: str
    got: tuple[str, ...] = field(default=())


@contextmanager
def counting(requests: list[str]) -> Iterator[str]:
    """A server on this machine that notes what it is asked for; its address."""

    class Counts(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        do_POST = do_HEAD = do_PUT = do_GET

        def log_message(self, *words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counts)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scene(folder: Path) -> Iterator[tuple[Scene, list[str]]]:
    """An empty portfolio beside secrets, and the requests that a server on this machine receives meanwhile."""
    requests: list[str] = []
    with counting(requests) as url:
        places = Scene(folder / "portfolio", folder / "outside", url)
        for path in (places.folder, places.outside, folder / "home" / ".ssh"):
            path.mkdir(parents=True)
        (places.outside / "secret.txt").write_text(SECRET)
        (places.outside / "secret.csv").write_text(f"client_id,signup_date\n{SECRET},2025-01-01\n")
        (places.outside / "changes.csv").write_text(
            f"client_id,effective_on,reason\nacme,2025-01-01,{SECRET}\n"
        )
        (folder / "home" / ".ssh" / "id_rsa").write_text(SECRET)
        yield places, requests


def environment(folder: Path) -> dict[str, str]:
    """The operator's environment, with secrets in it."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("HEALTHSEG_")}
    return {
        **keep,
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home" / ".config"),
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "PGPASSWORD": SECRET,
        "OPERATORS_DATA": str(folder / "outside"),
        "PYTHONPATH": str(ROOT),
    }


def run(attack: Attack, folder: Path) -> Outcome:
    """Runs the attack's command on its portfolio, and says what it got."""
    with scene(folder) as (places, requests):
        attack.build(places)
        before = states(places.outside)
        command = [sys.executable, "-P", "-m", "healthseg.cli.main"]
        command += [places.filled(word) for word in attack.command]
        out = folder / "output.txt"
        began = time.monotonic()
        with open(out, "wb") as file:
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=places.folder,
                env=environment(folder),
                start_new_session=True,
                preexec_fn=_limit_files,
            )
        status, peak_mb, seconds = _wait(process, began)
        text = out.read_text("utf-8", errors="replace")
        got = list(gained(places, before, text))
    got += [f"the network ({requests[0]})"] if requests else []
    got += [f"time ({seconds:.0f} s)"] if seconds > SECONDS else []
    got += [f"memory ({peak_mb:.0f} MB)"] if peak_mb > PEAK_MB else []
    # 2 is wrong usage, said by the parser of arguments
    if status not in (0, 1, 2, 3):
        got.append(f"an end without words (status {status})")
    return Outcome(status, seconds, peak_mb, text, tuple(got))


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(process: subprocess.Popen[bytes], began: float) -> tuple[int, float, float]:
    """The exit status, the peak of resident memory and the seconds; what takes far too much is killed."""
    peak_kb, used = 0, 0.0
    while True:
        status, elapsed = process.poll(), time.monotonic() - began
        seconds = used if used > _WAITING_SHARE * elapsed else elapsed
        if status is not None:
            return status, peak_kb / 1024, min(seconds, elapsed)
        now_kb, now_used = _taken(process.pid)
        peak_kb, used = max(peak_kb, now_kb), max(used, now_used)
        if seconds > _KILL_SECONDS or peak_kb / 1024 > _KILL_MB:
            os.killpg(process.pid, 9)
        time.sleep(0.05)


def _taken(pid: int) -> tuple[int, float]:
    """The high-water mark of memory in kB, and the processor's seconds, of a process and those that it started."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0, 0.0
    peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    used = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    for child in started:
        child_peak, child_used = _taken(int(child))
        peak, used = peak + child_peak, used + child_used
    return peak, used


def gained(places: Scene, before: dict[str, str], text: str) -> Iterator[str]:
    if SECRET in text:
        yield "a secret, on the screen"
    if any(SECRET in content for content in _derived_texts(places.folder)):
        yield "a secret, in derived data"
    if states(places.outside) != before:
        yield "a file outside the portfolio"
    if "Traceback (most recent call last)" in text or _UNEXPECTED.search(text):
        yield "an error that is not in words"
    if _TURNS.search(text):
        yield "control of the terminal"


def states(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _derived_texts(folder: Path) -> Iterator[str]:
    """What was kept of a portfolio, as text."""
    from pyarrow import parquet

    derived = folder / ".healthseg"
    for path in [] if derived.is_symlink() else derived.rglob("*"):
        if path.suffix == ".parquet":
            try:
                yield str(parquet.read_table(path).slice(0, 1000).to_pylist())
                continue
            except Exception:
                pass
        if path.is_file():
            yield path.read_bytes()[: 1 << 26].decode("latin-1")
