"""Forked kernels: the same outputs as started ones, a fresh state each, and nothing left behind."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import papermill
import pytest

import healthseg as hs
from healthseg.data import memory
from healthseg.demo import make_demo
from healthseg.metrics.milestone_catalogue import BUSINESS, DayCount
from healthseg.reports.batches import execution
from healthseg.reports.batches.kernels import forking, keeping, linux, messages, sharing, supply
from healthseg.reports.batches.watching import Limits
from tests.reports.notebooks import job, kept_template, notebook, outcomes, template

pytestmark = pytest.mark.skipif(not supply.can_fork(), reason="kernels are forked on Linux only")
ROOT = Path(__file__).resolve().parents[2]
BAD = {
    "fine": ("print('x')", "ok", ""),
    "raises": (
        "raise ValueError('no such thing')",
        "failed",
        "cell 2 raised ValueError: no such thing",
    ),
    "ends": ("import sys; sys.exit(0)", "failed", "ended before its last cell"),
    "exits": ("import os; os._exit(3)", "killed", "its kernel died (exit status 3)"),
    "kills": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "killed",
        "its kernel died (SIGKILL)",
    ),
    "hangs": ("while True: pass", "timed out", "it took longer than 12 s"),
    "eats": (
        "x = []\nwhile True: x.append(bytearray(50_000_000))",
        "killed",
        "more than 900 MB of memory",
    ),
    "prints": ("for i in range(100): print('x' * 1_000_000)", "killed", "printed more than 20 MB"),
    "forks": ("import os, time\npid = os.fork()\nif pid == 0: time.sleep(1000)", "ok", ""),
    "escapes": (
        "import subprocess\nsubprocess.Popen(['sleep', '98765'], start_new_session=True).pid",
        "ok",
        "",
    ),
    "fine again": ("1 + 1", "ok", ""),
}


@pytest.fixture(scope="module")
def running():
    with template() as made:
        yield made


@pytest.fixture(scope="module")
def ended(running, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    limits = Limits(seconds=12, memory_mb=900)
    jobs = [
        job(folder, name, "1", cell, "'the end'", limits=limits)
        for name, (cell, _, _) in BAD.items()
    ]
    return dict(zip(BAD, outcomes(jobs), strict=True)), folder


@pytest.mark.parametrize("name", BAD)
def test_each_misbehaving_notebook_has_its_right_status_and_the_others_are_unharmed(ended, name):
    outcome = ended[0][name]
    _, status, said = BAD[name]
    assert outcome.status == status and outcome.ok == (status == "ok")
    assert said in (outcome.error or {}).get("error_message", "")
    assert (ended[1] / "out" / "a" / f"{name}.html").is_file() == outcome.ok


def test_an_error_names_its_cell_and_memory_is_told(ended):
    assert (
        ended[0]["raises"].error["details"]["cell"] == 2
        and ended[0]["exits"].error["details"]["cell"] == 2
    )
    assert ended[0]["eats"].memory_mb > 900 > ended[0]["fine"].memory_mb > 20


def test_nothing_that_a_notebook_started_outlives_it(ended, running):
    time.sleep(0.5)
    assert b"98765" not in b"".join(
        Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _processes()
    )
    assert linux.children(running.process.pid) == []


def _processes() -> list[str]:
    return [
        name
        for name in os.listdir("/proc")
        if name.isdigit() and os.access(f"/proc/{name}/cmdline", os.R_OK)
    ]


def test_the_template_has_one_thread(running):
    assert len(os.listdir(f"/proc/{running.process.pid}/task")) == 1


def _executed(path: Path, engine: str | None) -> nbformat.NotebookNode:
    from papermill.engines import papermill_engines

    from healthseg.reports.batches.engine import HealthsegEngine

    papermill_engines.register("healthseg", HealthsegEngine)
    return papermill.execute_notebook(str(path), None, engine_name=engine, progress_bar=False)


@pytest.mark.filterwarnings("default")
def test_a_notebook_has_the_same_outputs_in_a_forked_and_in_a_started_kernel(running, tmp_path):
    cells = (
        "import os, sys, random\nimport numpy as np\nimport pandas as pd\nprint(__name__, sorted(globals())[:3])",
        "pd.DataFrame({'a': np.arange(3) / 3}).describe()",
        "print('error', file=sys.stderr); display({'x': 1}); os.getcwd()",
        "import altair as alt\nalt.Chart(pd.DataFrame({'a': [1, 2]})).mark_bar().encode(x='a:Q').to_dict()",
        "from healthseg.charts import theme\nimport altair as alt\n"
        "theme.picture([alt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')], 'T', 's', 300, 80)",
    )
    path = notebook(tmp_path / "same.ipynb", *cells)
    forked, started = (_executed(path, engine) for engine in ("healthseg", None))
    assert [cell.outputs for cell in forked.cells] == [cell.outputs for cell in started.cells]
    assert forked.metadata["language_info"] == started.metadata["language_info"]


def test_kernels_share_no_state_and_no_random_numbers(running, tmp_path):
    cell = "import random, numpy, builtins\nprint(hasattr(builtins, 'left'), random.random(), numpy.random.rand())"
    cells = (
        cell,
        "import builtins, pandas\nbuiltins.left = 1\npandas.options.display.max_rows = 7",
    )
    path = notebook(tmp_path / "state.ipynb", *cells)
    first, second = (
        _executed(path, "healthseg").cells[0].outputs[0].text.split() for _ in range(2)
    )
    assert first[0] == second[0] == "False"
    assert first[1] != second[1] and first[2] != second[2]


def test_files_that_a_notebook_left_open_are_written(running, tmp_path):
    target = tmp_path / "left.txt"
    cell = f"f = open({str(target)!r}, 'w')\nn = f.write('all of it')"
    _executed(notebook(tmp_path / "open.ipynb", cell), "healthseg")
    assert target.read_text() == "all of it"


def test_a_kernel_of_another_name_runs_the_plain_way(tmp_path, monkeypatch):
    folder = tmp_path / "jupyter" / "kernels" / "other"
    folder.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "O",
    }
    (folder / "kernel.json").write_text(
        json.dumps({**spec, "language": "python", "env": {"OTHER": "yes"}})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert (
        not supply.is_plain("other")
        and not supply.is_plain("no-such")
        and supply.is_plain("python3")
    )
    path = notebook(tmp_path / "o.ipynb", "import os; os.environ['OTHER']", kernel="other")
    assert _executed(path, "healthseg").cells[0].outputs[0].data["text/plain"] == "'yes'"


def test_without_a_template_the_notebook_runs_in_a_plain_kernel(tmp_path, monkeypatch, caplog):
    def refuse() -> None:
        raise supply.NoTemplate("no template here")

    monkeypatch.setattr(forking, "kernels", refuse)
    made = execution.make(
        job(tmp_path, "plain", "6 * 7"), execution.dt.datetime(2026, 1, 1, tzinfo=execution.dt.UTC)
    )
    assert made.ok and "no template here" in caplog.text


def test_papermill_finds_the_engine_by_its_entry_point(tmp_path):
    path = notebook(tmp_path / "cli.ipynb", "print(x + 1)", parameters="x: int = 1  # a number")
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--engine",
        "healthseg",
        "-p",
        "x",
        "41",
        str(path),
        "-",
    ]
    found = subprocess.run(
        [*command, "--no-progress-bar"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if "No engine named" in found.stderr:
        pytest.skip("this checkout is not installed, so that papermill knows no entry points of it")
    assert found.returncode == 0, found.stderr
    assert nbformat.reads(found.stdout, as_version=4).cells[-1].outputs[0].text == "42\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_batch_goes_on_when_its_template_is_killed(tmp_path, number):
    jobs = [
        job(tmp_path, name, f"import time; time.sleep({seconds})")
        for name, seconds in (("a", 1), ("b", 3), ("c", 3), ("d", 0))
    ]
    with kept_template() as kept:
        first = kept.template.process.pid
        killer = threading.Timer(4, os.kill, (first, number))
        killer.start()
        found = outcomes(jobs, kept=kept)
        killer.join()
        assert [one.status for one in found] == ["ok"] * 4, [one.error for one in found]
        assert (
            kept.ended == 1
            and kept.template.process.pid != first
            and kept.template.path == kept.path
        )


def test_a_notebook_that_kills_its_template_is_tried_once_more_and_alone(tmp_path):
    kill = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(9)"
    jobs = [
        job(tmp_path, "kills", kill),
        *(job(tmp_path, name, "import time; time.sleep(1)") for name in "ab"),
    ]
    with kept_template() as kept:
        found = outcomes(jobs, kept=kept)
        assert [one.status for one in found] == ["killed", "ok", "ok"], [one.error for one in found]
        assert kept.ended == 2


def test_a_template_that_keeps_ending_is_given_up_and_kernels_are_plain(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "MOST", 0)
    with kept_template() as kept:
        kept.template.process.kill()
        kept.template.process.wait()
        found = outcomes([job(tmp_path, "a", "6 * 7")], count=1, kept=kept)
        assert (
            [one.status for one in found] == ["ok"] and kept.ended == 1 and not kept.template.runs()
        )


def test_a_template_of_ones_own_that_ended_is_started_anew(monkeypatch):
    monkeypatch.delenv(supply.TEMPLATE, raising=False)
    forking.stop()
    forking.kernels()
    own = forking._running["template"]
    own.process.kill()
    own.process.wait()
    assert forking.kernels() is forking.kernels() and forking._running["template"].runs()
    forking.stop()


def test_a_template_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(supply, "python_path", lambda: "")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(supply.NoTemplate, match="did not start"):
        supply.Template().ready()


def test_a_kernel_ends_with_the_process_that_asked_for_it(running):
    channel = messages.connection(running.path, 30)
    connection = Path(running.path).with_name("gone.json")
    connection.write_text(
        json.dumps(
            {
                "transport": "ipc",
                "ip": str(connection),
                "key": "",
                "signature_scheme": "hmac-sha256",
                **{
                    f"{name}_port": place
                    for place, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)
                },
            }
        )
    )
    request = {"arguments": ["-f", str(connection)], "environment": dict(os.environ), "folder": "/"}
    messages.send(channel, {**request, "drawing": ""})
    pid = messages.receive(channel)["pid"]
    assert Path(f"/proc/{pid}").exists()
    channel.close()
    last = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < last:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_message_arrives_whole_or_not_at_all():
    one, other = socket.socketpair()
    messages.send(one, {"text": "é" * 5_000})
    assert messages.receive(other) == {"text": "é" * 5_000}
    one.sendall(b"\0" * 4)
    one.close()
    with pytest.raises(EOFError):
        messages.receive(other)
    other.close()


def test_what_was_counted_of_a_portfolio_is_handed_over_whole(tmp_path, monkeypatch):
    make_demo(tmp_path / "portfolio", clients=12, months=4, seed=3, events="light")
    portfolio = hs.Portfolio.open(tmp_path / "portfolio")
    business = DayCount(BUSINESS, [dt.date(2025, 12, 25)])
    counted = {
        "of the portfolio": {"portfolio": portfolio, "by": lambda day: day + len(counted)},
        "calendar": business,
    }
    for key, value in {**counted, "left out": threading.Lock()}.items():
        memory.remember(portfolio, key, lambda value=value: value)
    monkeypatch.setattr(sharing, "_shared", {})
    with open(tmp_path / "shared", "w+b") as file:
        sharing.dump(portfolio, "here", file)
        file.seek(0)
        sharing.load(file)
    found = sharing.portfolio_at("here")
    there = found.cache.memory["remembered"]
    assert (
        there["of the portfolio"]["portfolio"] is found
        and there["of the portfolio"]["by"](40) == 42
        and "left out" not in there
    )
    christmas_eve = (dt.date(2025, 12, 24) - dt.date(1970, 1, 1)).days
    assert (
        there["calendar"].nth(christmas_eve, 1)
        == business.nth(christmas_eve, 1)
        == christmas_eve + 2
    )
    assert found.table("customers").equals(portfolio.table("customers"))
