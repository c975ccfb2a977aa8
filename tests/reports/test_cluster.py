"""Reports on a Dask cluster: the same as on one machine, each once, whatever becomes of a worker."""

from __future__ import annotations

import datetime as dt
import logging
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import healthseg as hs
from healthseg.data.portfolio import Portfolio
from healthseg.errors import CalculationError, IntegrationError, InvalidParameters
from healthseg.metrics import catalog
from healthseg.reports.batches import cluster, manifest, plan
from healthseg.reports.batches.job import Job
from healthseg.settings import Settings
from healthseg.settings.operator import ReportSettings
from tests.reports.notebooks import job

pytestmark = pytest.mark.slow

TOOL = "calculate_health_score"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """A portfolio of two customers and a month of events."""
    path = tmp_path_factory.mktemp("tiny")
    (path / "customers.csv").write_text("client_id,signup_date\nacme,2025-01-01\nbeta,2025-02-01\n")
    events = "".join(f"acme,ann,2025-06-{day:02} 09:30:00\n" for day in range(1, 31))
    (path / "events.csv").write_text("client_id,user_id,occurred_at\n" + events)
    return str(path)


@pytest.fixture(scope="module")
def client() -> Iterator:
    """A cluster of two worker processes on this machine; their nannies start a lost one again."""
    distributed = pytest.importorskip("distributed", reason="healthseg[dask] is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as workers,
        distributed.Client(workers, set_as_default=False, timeout=120) as client,
    ):
        yield client


def _kill_a_busy_worker(client, out: Path) -> None:
    """When a first report is there: SIGKILL for a worker of the cluster that runs a shard."""
    while not list(out.rglob("*.html")):
        time.sleep(0.05)
    pids = client.run(os.getpid)
    busy = next(address for address, tasks in client.processing().items() if tasks)
    os.kill(pids[busy], signal.SIGKILL)


def test_a_panel_that_a_cluster_counts_is_the_one_that_is_counted_here(
    client, small_portfolio, tmp_path
):
    dates = ["2025-06-30", "2025-09-30"]
    local = hs.panel(small_portfolio.folder, dates)
    shutil.copytree(
        small_portfolio.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("cache")
    )
    copied = hs.Portfolio.open(tmp_path / "copy")
    pd.testing.assert_frame_equal(hs.panel(copied, dates, on=client), local)
    # from the cache, without the cluster
    pd.testing.assert_frame_equal(hs.panel(tmp_path / "copy", dates), local)


def test_a_metric_that_the_workers_lack_and_what_is_no_cluster_are_refused(client, tiny):
    twice = catalog.Metric(
        name="two_seats", label="Two seats", unit="ratio", derive=lambda rows: 2 * rows["seats"]
    )
    with catalog.registered(twice), pytest.raises(CalculationError, match="lacks a metric"):
        hs.panel(tiny, ["2025-06-20"], on=client)
    with pytest.raises(InvalidParameters, match="is not a cluster"):
        hs.panel(tiny, ["2025-06-20"], on="dask://host:8786")


def test_a_lost_worker_costs_no_report_and_none_comes_back_twice(client, tiny: str, tmp_path):
    jobs = [job(tmp_path, f"report_{n}", "import time; time.sleep(1)") for n in range(10)]
    content = plan.content(Portfolio.open(tiny), None, [0, 0])
    batch = replace(_batch(tiny, tmp_path), content=content, proof=None)
    killer = threading.Thread(target=_kill_a_busy_worker, args=(client, tmp_path), daemon=True)
    killer.start()
    done = list(cluster.run_jobs(client, jobs, batch, None))
    assert not killer.is_alive(), "no worker was killed"
    assert sorted(index for index, _ in done) == list(range(10))
    assert {outcome.status for _, outcome in done} == {"ok"}, done
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == 10 and not list(tmp_path.rglob("*.part"))
    assert all(page.read_text("utf-8").rstrip().endswith("</html>") for page in pages)


def test_a_cluster_makes_the_reports_of_one_machine_with_one_manifest(client, tiny, tmp_path):
    run = hs.make_reports(tiny, (TOOL,), ["acme"], out=tmp_path, on=client)
    assert [outcome.status for outcome in run.outcomes] == ["ok"], run.outcomes
    lines = [line for path in manifest.runs(tmp_path) for line in manifest.lines(path)]
    assert [line["status"] for line in lines if "report" in line] == ["ok"]
    assert lines[-1]["status"] == 0 and run.index.is_file()
    again = hs.make_reports(tiny, (TOOL,), ["acme"], out=tmp_path, resume=True)
    assert again.skipped == 1, "this machine's own workers would have made another report"


def _jobs(folder: Path, count: int, tools: int = 1) -> list[Job]:
    customers = [
        Job(f"tool_{t}", f"c{n:03}", "x.ipynb", {}, "p", str(folder))
        for n in range(count)
        for t in range(tools)
    ]
    return [Job("tool_0", None, "x.ipynb", {}, "p", str(folder)), *customers]


@pytest.mark.parametrize("count, tools, threads", [(1, 1, 8), (100, 8, 4), (400, 1, 4), (7, 9, 1)])
def test_shards_hold_every_report_once_and_a_customer_together(tmp_path, count, tools, threads):
    jobs = _jobs(tmp_path, count, tools)
    parts = cluster.shards(jobs, threads)
    assert [index for part in parts for index, _ in part] == list(range(len(jobs)))
    homes = [{job.client_id for _, job in part if job.client_id} for part in parts]
    assert sum(map(len, homes)) == count and max(map(len, parts)) < 50 + tools
    assert len(parts) >= min(threads, len(jobs) // 50)


def _batch(folder: str, proof: Path, content: str = "other") -> cluster.ClusterBatch:
    at = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    settings = pickle.dumps(Settings())
    return cluster.ClusterBatch(
        folder, settings, None, content, at, ReportSettings(), False, proof=proof
    )


def test_a_worker_that_sees_another_folder_or_other_data_makes_nothing(tiny, tmp_path):
    jobs = list(enumerate(_jobs(tmp_path, 2)))
    batch = _batch(tiny, tmp_path / "runs" / "x.jsonl")
    unseen = cluster.run_shard(jobs, batch)
    assert "does not see the folder" in unseen[0].error["error_message"] and len(unseen) == 3
    (tmp_path / "proof").touch()
    other = cluster.run_shard(jobs, replace(batch, proof=tmp_path / "proof"))
    assert "another state of the portfolio" in other[0].error["error_message"]
    assert not list(tmp_path.rglob("*.html"))


def test_what_a_task_carries_shows_no_address(tiny, tmp_path):
    assert tiny not in repr(_batch(tiny, tmp_path))


@pytest.mark.parametrize(
    "on", ["host:8786", "http://host:8786", "dask://user:pw@host:8786", "cloud"]
)
def test_what_is_no_cluster_is_refused_before_anything_is_read(on):
    with pytest.raises(InvalidParameters, match="is not a cluster"):
        hs.make_reports("no such portfolio", (TOOL,), ["a"], on=on)


def test_without_dask_its_installation_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CalculationError, match=r"pip install 'healthseg\[dask\]'"):
        hs.make_reports("no such portfolio", (TOOL,), ["a"], on="local")


def test_a_scheduler_that_does_not_answer_is_named(tiny, tmp_path):
    pytest.importorskip("distributed", reason="healthseg[dask] is not installed")
    with pytest.raises(IntegrationError, match="no Dask scheduler answers"):
        list(cluster.run_jobs("dask://127.0.0.1:1", _jobs(tmp_path, 1), _batch(tiny, tmp_path), 1))
