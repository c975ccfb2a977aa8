"""Commands whose resources are limited, and commands that a signal stops: words, a status, and nothing cached wrongly."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("limits and /proc are those of Linux", allow_module_level=True)

from benchmarks import limits
from benchmarks.killed import plain
from benchmarks.power_cut import portfolio
from healthseg.data.portfolio import Portfolio
from healthseg.errors import machine_fault

pytestmark = pytest.mark.slow

LIMITED = {
    "memory": ("check", 600_000_000, "there is not enough memory"),
    "memory to draw": ("report", 6_000_000_000, "may reserve 6,000 MB, and needs 75,000"),
    "files": ("check", 5, "more files are open at once than may be"),
    # the first file that "run" writes is a new ledger
    "size": ("run", 100, "healthseg.sqlite could not be read or written"),
    "disk": ("check", 32_000, "there is no room left on the disk"),
}


def checked(folder: Path) -> dict:
    with Portfolio.open(folder) as opened:
        return plain(opened.check().to_dict(), str(folder))


@pytest.mark.parametrize("kind", LIMITED)
def test_a_limit_is_said_in_words_and_nothing_wrong_is_cached(kind, tmp_path):
    """A few of the steps of benchmarks/limits.py."""
    command, amount, words = LIMITED[kind]
    if kind == "disk" and os.geteuid():
        pytest.skip("a disk of its own needs the right to mount")
    base = portfolio(tmp_path / "base")
    with limits.cold(base, kind, amount) as folder:
        ended = limits.limited(limits.COMMANDS[command], folder, kind.split()[0], amount)
        said = ended.stdout or ended.stderr
        assert ended.returncode == 1 and (
            command == "report" or json.loads(said)["status"] == "error"
        )
        assert words in said, said
        if kind == "disk":
            subprocess.run(["mount", "-o", "remount,size=9m", str(folder)], check=True)
        assert checked(folder) == checked(base)


def test_only_errors_of_the_machine_are_taken_for_its_faults():
    class IOException(Exception):
        """As an engine's."""

    class PanicException(BaseException):
        """As a library's that is written in Rust."""

    assert "open at once" in machine_fault(PanicException("Err: Too many open files"))
    assert "no room" in machine_fault(IOException("Could not write: No space left on device"))
    assert "memory" in machine_fault(ImportError("x.so: failed to map segment from shared object"))
    assert "as large as" in machine_fault(OSError(27, "File too large"))
    assert "memory" in machine_fault(RuntimeError("can't start new thread"))
    assert machine_fault(IOException("No files found")) is None
    assert machine_fault(TypeError("out of memory")) is None
    with pytest.raises(ValueError) as wrapped:
        raise ValueError("wrapped") from OSError(28, "No space left on device")
    assert "no room" in machine_fault(wrapped.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_stops_a_command_with_its_status_and_leaves_nothing(number, tmp_path):
    endless = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) SELECT i AS client_id FROM t"
    folder, temporary = tmp_path / "portfolio", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    (folder / "portfolio.toml").write_text(f"[tables]\ncustomers = '''{endless}'''\n")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "healthseg.cli.main", "check", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(limits.ROOT), "TMPDIR": str(temporary)},
        # what runs in the background may ignore it
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 60
    while not children.read_text().split():  # until the query runs in its own process
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, ("", "stopped\n"))
    assert limits.left_behind(folder, temporary) == []


def test_a_signal_ends_a_server_that_waits_for_its_input(tmp_path):
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "healthseg.cli.main", "mcp", "--portfolio", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(limits.ROOT)},
    )
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
