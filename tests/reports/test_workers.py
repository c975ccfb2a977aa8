"""Notebooks in workers: the outputs of a kernel, a fresh state each, and a bad one harms no other."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.reports import portfolios
from healthseg.reports.batches import cells, engine, local, plan, workers
from healthseg.reports.batches.job import make_report
from healthseg.settings.operator import ReportSettings
from tests.reports.notebooks import AT, job, no_portfolio, notebook, outcomes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BAD = {
    "fine": ("print('x')", "ok", ""),
    "raises": (
        "raise ValueError('no such thing')",
        "failed",
        "cell 2 raised ValueError: no such thing",
    ),
    "ends": ("import sys; sys.exit(0)", "failed", "ended before its last cell"),
    "quits": ("exit()", "failed", "ended before its last cell"),
    "exits": ("import os; os._exit(3)", "killed", "cell 2: its process ended (exit status 3)"),
    "kills": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "killed",
        "its process ended (SIGKILL)",
    ),
    "crashes": ("import ctypes; ctypes.string_at(0)", "killed", "its process ended (SIGSEGV)"),
    "hangs": ("while True: pass", "timed out", "it took longer than 12 s"),
    "ignores signals": (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass",
        "timed out",
        "it took longer than 12 s",
    ),
    "eats": (
        "x = []\nwhile True: x.append(bytearray(50_000_000))",
        "killed",
        "more than 900 MB of memory",
    ),
    "prints": ("for i in range(100): print('x' * 1_000_000)", "killed", "printed more than 20 MB"),
    "forks": ("import os, time\npid = os.fork()\nif pid == 0: time.sleep(1000)", "ok", ""),
    "forks and goes on": ("import os\nos.fork()", "ok", ""),
    "forks and exits": (
        "import os, time\nif os.fork() == 0: time.sleep(1000)\nos._exit(4)",
        "killed",
        "its process ended (exit status 4)",
    ),
    "escapes": (
        "import subprocess\nsubprocess.Popen(['sleep', '98765'], start_new_session=True).pid",
        "ok",
        "",
    ),
    "starts a thread": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "ok",
        "",
    ),
    "fine again": ("1 + 1", "ok", ""),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    late = [name for name, (_, status, _) in BAD.items() if status == "timed out"]
    done = {}
    # a short deadline for those alone that need one: on a busy machine a good one may take long
    for names, deadline in ((late, 12), ([name for name in BAD if name not in late], 300)):
        jobs = [job(folder, name, "1", BAD[name][0], "'the end'") for name in names]
        ends = outcomes(jobs, deadline_seconds=deadline, memory_mb=900)
        done |= dict(zip(names, ends, strict=True))
    return done, folder


@pytest.mark.parametrize("name", BAD)
def test_each_misbehaving_notebook_has_its_right_status_and_the_others_are_unharmed(ended, name):
    outcome = ended[0][name]
    _, status, message = BAD[name]
    assert outcome.status == status and outcome.ok == (status == "ok")
    assert message in (outcome.error or {}).get("error_message", "")
    assert (ended[1] / "out/customers/a" / f"{name}.html").is_file() == outcome.ok


def test_an_error_names_its_cell_and_memory_is_recorded(ended):
    assert ended[0]["raises"].error["details"]["cell"] == 2
    assert ended[0]["exits"].error["details"]["cell"] == 2
    assert ended[0]["eats"].memory_mb > 900 > ended[0]["fine"].memory_mb > 20


def test_nothing_that_a_notebook_started_outlives_it(ended):
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "98765"] not in commands
    ours = [command for command in commands if command[-1:] == [str(os.getpid())]]
    assert not [command for command in ours if workers.__name__ in command]


def _executed(path: Path, name: str | None) -> nbformat.NotebookNode:
    from papermill.engines import papermill_engines

    papermill_engines.register("healthseg", engine.HealthsegEngine)
    return papermill.execute_notebook(str(path), None, engine_name=name, progress_bar=False)


@pytest.mark.filterwarnings("default")
def test_a_notebook_has_the_same_outputs_in_a_worker_and_in_a_kernel(tmp_path):
    code = (
        "import os, sys, random\nimport numpy as np\nimport pandas as pd\nprint(__name__, sorted(globals())[:3])",
        "pd.DataFrame({'a': np.arange(3) / 3}).describe()",
        "print('error', file=sys.stderr); display({'x': 1}); os.getcwd()",
        "import altair as alt\nalt.Chart(pd.DataFrame({'a': [1, 2]})).mark_bar().encode(x='a:Q').to_dict()",
        "from healthseg.charts import theme\nimport altair as alt\n"
        "theme.picture([alt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')], 'T', 's', 80)",
        "shown = display('one', display_id='d')\nfrom IPython.display import update_display\nupdate_display('two', display_id='d')",
        "from IPython.display import clear_output\nprint('gone'); clear_output(); print('stays')",
        "!echo shell",
        "_ , In[1][:6], await __import__('asyncio').sleep(0, 'awaited')",
        "from IPython.display import Image\nImage(data=b'\\x89PNG\\r\\n\\x1a\\n', format='png')",
        "None",
    )
    path = notebook(tmp_path / "same.ipynb", *code)
    worker, kernel = (_executed(path, name) for name in ("healthseg", None))
    for ours, theirs in zip(worker.cells, kernel.cells, strict=True):
        assert ours.outputs == theirs.outputs and ours.execution_count == theirs.execution_count
    assert worker.metadata["language_info"] == kernel.metadata["language_info"]


def test_what_a_process_of_a_notebook_writes_is_among_its_outputs(tmp_path):
    code = "import subprocess\nsubprocess.run(['echo', 'from a process']).returncode"
    (outcome,) = outcomes([job(tmp_path, "process", code)])
    assert outcome.ok
    (cell,) = nbformat.read(tmp_path / "out/customers/a/process.ipynb", 4).cells
    assert [output.get("text", "") for output in cell.outputs] == ["", "from a process\n"]


LEAVES_TRACES = """
import builtins, decimal, locale, logging, os, random, signal, sys, warnings
import altair, numpy, pandas
builtins.left = 1
os.environ['LEFT'] = '1'
os.environ.pop('HOME', None)
os.chdir('/')
sys.path.insert(0, '/left')
sys.argv.append('left')
sys.setrecursionlimit(5000)
warnings.simplefilter('error')
logging.getLogger().setLevel(5)
logging.disable(50)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.alarm(1)
decimal.getcontext().prec = 3
numpy.seterr(all='raise')
numpy.set_printoptions(precision=2)
pandas.options.display.max_rows = 7
altair.theme.enable('dark')
altair.data_transformers.disable_max_rows()
random.seed(1)
numpy.random.seed(1)
sys.stdout = None
left = 1
"""
SHOWS_TRACES = """
import builtins, decimal, logging, os, random, signal, sys, warnings
import altair, numpy, pandas, time
state = [
    hasattr(builtins, 'left'), 'left' in globals(), 'LEFT' in os.environ, 'HOME' in os.environ, os.getcwd(),
    '/left' in sys.path, 'left' in sys.argv, sys.getrecursionlimit(), warnings.filters[:1], logging.root.level,
    logging.root.manager.disable, str(signal.getsignal(signal.SIGALRM)), signal.alarm(0), decimal.getcontext().prec,
    numpy.geterr()['all' if 'all' in numpy.geterr() else 'divide'], numpy.get_printoptions()['precision'],
    pandas.options.display.max_rows, altair.theme.active, altair.data_transformers.active,
    dict(altair.data_transformers.options), len(get_ipython().history_manager.input_hist_parsed),
]
state
"""
DRAWS = "import random, numpy\n(random.random(), float(numpy.random.rand()))"


def _text(notebook: nbformat.NotebookNode) -> str:
    return notebook.cells[-1].outputs[0].data["text/plain"]


def _run(*code: str) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in code])
    assert cells.run(notebook) is None
    return notebook


def test_no_state_of_a_notebook_reaches_the_next_one_in_its_process(tmp_path):
    _run(SHOWS_TRACES)  # what is loaded for the first time may add to the state
    before = _text(_run(SHOWS_TRACES))
    _run(LEAVES_TRACES)
    assert _text(_run(SHOWS_TRACES)) == before


HOLDS_A_SECRET = """
import functools, threading
import altair, pandas
secret = '-'.join(['of', 'customer', 'acme'])
frame = pandas.DataFrame({'name': [secret]})
class Holder:
    def __init__(self): self.me, self.words = self, secret + '!'
holder = Holder()
@functools.lru_cache
def remembered(words): return words + '?'
local = threading.local(); local.words = remembered(secret)
print(secret); display(frame)
chart = altair.Chart(altair.Data(values=[{'a': secret}])).mark_bar().encode(x='a:N').to_dict()
get_ipython().user_ns['kept'] = secret
secret
"""


@pytest.mark.parametrize("last", ["secret", "raise ValueError(secret)"])
def test_nothing_of_a_customer_s_notebook_is_left_in_the_process_for_the_next_one(last):
    secret = "-".join(["of", "customer", "acme"])  # which no source has as one word
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in (HOLDS_A_SECRET, last)]
    )
    cells.run(notebook)
    assert secret in str(notebook)
    del notebook
    gc.collect()
    texts = [
        text
        for each in gc.get_objects()
        if isinstance(each, dict | list | tuple | set)
        for text in (each.values() if isinstance(each, dict) else list(each))
        if isinstance(text, str) and secret in text
    ]
    assert texts == [] and not hasattr(sys, "last_value")


def test_each_notebook_draws_its_own_random_numbers():
    first, second = _text(_run(DRAWS)), _text(_run(DRAWS))
    assert not set(eval(first)) & set(eval(second))


def test_a_failing_notebook_leaves_no_state_either():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import os; os.environ['LEFT'] = '1'\n1 / 0")]
    )
    failure = cells.run(notebook)
    assert failure.cell == 1 and isinstance(failure.error, ZeroDivisionError)
    assert "LEFT" not in os.environ and sys.stdout is not None


def test_files_that_a_notebook_left_open_are_written(tmp_path):
    target = tmp_path / "left.txt"
    cell = f"f = open({str(target)!r}, 'w')\nn = f.write('all of it')"
    assert [outcome.status for outcome in outcomes([job(tmp_path, "open", cell)])] == ["ok"]
    assert target.read_text() == "all of it"


def _process(state: object, tell: object) -> int:
    return os.getpid()


def _process_with_a_thread(state: object, tell: object) -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def _done(tasks, setup=no_portfolio, **settings) -> list:
    """What tasks returned that one worker after another did."""
    ended = workers.run_tasks(tasks, 1, setup, ReportSettings(**settings))
    return [event.value for _, event, *_ in sorted(ended, key=lambda each: each[0])]


def test_a_worker_lives_on_and_is_replaced_after_so_many_reports():
    first, second, third, fourth = _done([_process] * 4, worker_reports=3)
    assert first == second == third != fourth


def test_a_worker_that_has_grown_or_has_threads_left_is_replaced():
    assert len(set(_done([_process] * 2, worker_memory_mb=10))) == 2
    assert len(set(_done([_process_with_a_thread, _process]))) == 2


def test_what_a_team_s_notebook_sets_in_a_library_is_not_there_for_the_next_one(tmp_path):
    leaves = job(
        tmp_path, "a", "import pandas, healthseg\npandas.left = healthseg.left = 'acme'\n1"
    )
    shows = job(
        tmp_path,
        "b",
        "import pandas, healthseg\nhasattr(pandas, 'left') or hasattr(healthseg, 'left')",
    )
    assert [outcome.status for outcome in outcomes([leaves, shows], count=1)] == ["ok"] * 2
    assert _text(nbformat.read(tmp_path / "out" / f"{shows.name}.ipynb", 4)) == "False"


def test_a_notebook_of_the_package_is_known_by_its_content(tmp_path):
    ours = plan.notebook("calculate_health_score", "a")
    same, other = tmp_path / "same.ipynb", tmp_path / "other.ipynb"
    same.write_bytes(ours.read_bytes())
    other.write_bytes(ours.read_bytes() + b" ")
    assert [plan.is_ours(str(path)) for path in (ours, same, other)] == [True, True, False]


def _report(job, portfolio, tell):
    return make_report(job, AT, portfolio)


def _opened(folder: str) -> Portfolio:
    return Portfolio.open(folder)


def test_the_notebooks_of_a_worker_share_its_open_portfolio(small_portfolio, tmp_path):
    import dataclasses

    cell = (
        "from healthseg.reports.portfolios import open_portfolio\n"
        "import os\nportfolio = open_portfolio('')\n"
        "same = portfolio is open_portfolio(" + repr(str(small_portfolio.folder)) + ")\n"
        "seen = portfolio.cache.get('seen', 1, lambda: [os.getpid()], disk=False)\n"
        "seen.append(len(seen))\n(same, len(seen), str(portfolio.path))"
    )
    jobs = [job(tmp_path, name, cell) for name in "ab"]
    jobs = [
        dataclasses.replace(each, portfolio=str(small_portfolio.folder), formats=())
        for each in jobs
    ]
    setup = partial(_opened, str(small_portfolio.folder))
    done = _done([partial(_report, each) for each in jobs], setup)
    assert [outcome.status for outcome in done] == ["ok", "ok"], done
    texts = [_text(nbformat.read(tmp_path / "out" / f"{each.name}.ipynb", 4)) for each in jobs]
    assert texts == [f"(True, {n}, '{small_portfolio.folder.name}')" for n in (2, 3)]


def test_outside_a_batch_every_call_opens_the_portfolio(small_portfolio):
    address = str(small_portfolio.folder)
    first = portfolios.open_portfolio(address)
    with portfolios.sharing(first, address):
        assert portfolios.open_portfolio() is portfolios.open_portfolio(address) is first
    assert portfolios.open_portfolio(address) is not first


def test_a_kernel_of_another_name_is_left_to_nbclient(tmp_path, monkeypatch):
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
    assert not engine.is_plain("other") and not engine.is_plain("no-such")
    assert engine.is_plain("python3")
    path = notebook(tmp_path / "o.ipynb", "import os; os.environ['OTHER']", kernel="other")
    assert _executed(path, "healthseg").cells[0].outputs[0].data["text/plain"] == "'yes'"


def test_a_notebook_that_fails_raises_papermill_s_error_and_keeps_its_outputs(tmp_path):
    from papermill.engines import papermill_engines

    papermill_engines.register("healthseg", engine.HealthsegEngine)
    path, out = notebook(tmp_path / "f.ipynb", "print(1)", "1 / 0", "2"), tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        papermill.execute_notebook(str(path), str(out), engine_name="healthseg", progress_bar=False)
    written = nbformat.read(out, as_version=4)
    counts = [cell.execution_count for cell in written.cells if cell.source in ("print(1)", "2")]
    assert counts == [1, None]


def test_a_notebook_that_kills_its_worker_fails_under_papermill(tmp_path):
    path = notebook(tmp_path / "k.ipynb", "import os; os._exit(3)")
    with pytest.raises(RuntimeError, match="exit status 3"):
        _executed(path, "healthseg")


def test_papermill_finds_the_engine_by_its_entry_point(tmp_path):
    path = notebook(tmp_path / "cli.ipynb", "print(x + 1)", parameters="x: int = 1  # a number")
    command = [sys.executable, "-m", "papermill", "--engine", "healthseg"]
    command += ["-p", "x", "41", str(path), "-", "--no-progress-bar"]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if "No engine named" in ended.stderr:
        pytest.skip("this checkout is not installed, so that papermill knows no entry points of it")
    assert ended.returncode == 0, ended.stderr
    assert nbformat.reads(ended.stdout, as_version=4).cells[-1].outputs[0].text == "42\n"


def _cannot_begin() -> None:
    raise OSError("the portfolio is gone")


def test_a_worker_that_cannot_begin_says_why(tmp_path):
    jobs = [job(tmp_path, name, "1") for name in "ab"]
    done = [outcome for _, outcome in local.run_jobs(jobs, 2, AT, _cannot_begin, ReportSettings())]
    assert [outcome.status for outcome in done] == ["killed", "killed"]
    assert "OSError: the portfolio is gone" in done[0].error["error_message"]


def _sleeping(state: object, tell) -> None:
    time.sleep(600)


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    script = (
        "import os, signal, sys, time\n"
        "from healthseg.reports.batches import workers\n"
        "from healthseg.settings.operator import ReportSettings\n"
        "worker = workers.Worker(dict, ReportSettings())\n"
        "print(worker.process.pid, flush=True)\n"
        "time.sleep(float(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for seconds in ("0", "3"):  # before it is up, and while it waits
        ended = subprocess.run(
            [sys.executable, "-c", script, seconds],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert ended.returncode == -signal.SIGKILL
        last = time.monotonic() + 30
        while psutil.pid_exists(int(ended.stdout)) and time.monotonic() < last:
            time.sleep(0.05)
        assert not psutil.pid_exists(int(ended.stdout))


def test_closing_a_worker_ends_what_it_runs():
    worker = workers.Worker(no_portfolio, ReportSettings())
    worker.give(_sleeping)
    time.sleep(0.5)
    worker.close()
    assert worker.process.returncode == -signal.SIGKILL
