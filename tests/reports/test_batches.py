"""Batches of reports: resumed, in shards, by day, when due, stopped and killed; the manifest is true."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from healthseg.errors import InvalidParameters
from healthseg.reports.batches import manifest, plan, run
from healthseg.reports.batches.job import ReportOutcome, key_of
from healthseg.reports.batches.run import BatchProgress, remove_days
from healthseg.reports.html import index
from healthseg.reports.writing import customer_folder
from tests.reports.made import Portfolio
from tests.reports.notebooks import job, outcomes

pytestmark = pytest.mark.slow

TOOL = "calculate_health_score"
ROOT = Path(__file__).resolve().parents[2]


def _lines(folder: Path) -> list[dict]:
    return [line for path in reversed(manifest.runs(folder)) for line in manifest.lines(path)]


@pytest.fixture(scope="module")
def twice(small_portfolio: Portfolio, tmp_path_factory):
    """The same reports asked for twice, in a folder a day; one of them is gone before the second time."""
    out = tmp_path_factory.mktemp("twice")
    moments = iter(dt.datetime(2026, 1, 2, 3, minute, tzinfo=dt.UTC) for minute in range(60))
    options = {
        "riskiest": 1,
        "overview": True,
        "out": out,
        "keep_days": 2,
        "clock": lambda: next(moments),
    }
    first = run.make_reports(str(small_portfolio.folder), (TOOL,), **options)
    day = next(path for path in out.iterdir() if path.name.startswith("20"))
    pages = {page: page.stat().st_mtime_ns for page in day.rglob(f"{TOOL}.html")}
    (day / "overview" / f"{TOOL}.html").unlink()
    for name in ("2024-01-01", "2024-01-02"):
        shutil.copytree(day, out / name)
    second = run.make_reports(str(small_portfolio.folder), (TOOL,), resume=True, **options)
    return out, day, first, second, pages


def test_a_resume_makes_what_is_missing_and_nothing_else(twice):
    _, day, first, second, pages = twice
    assert [outcome.status for outcome in first.outcomes] == ["ok", "ok"]
    assert [outcome.status for outcome in second.outcomes] == ["ok", "skipped"]
    untouched = next(page for page in pages if page.parent.name != "overview")
    assert (
        untouched.stat().st_mtime_ns == pages[untouched]
        and (day / "overview" / f"{TOOL}.html").is_file()
    )


def test_a_report_whose_run_died_before_it_told_of_it_is_told_by_the_resume_and_not_made_again(
    small_portfolio, tmp_path
):
    clock = iter(dt.datetime(2026, 1, 2, 3, minute, tzinfo=dt.UTC) for minute in range(60))
    options = {"riskiest": 1, "out": tmp_path, "clock": lambda: next(clock)}
    run.make_reports(str(small_portfolio.folder), (TOOL,), **options)
    (path,) = manifest.runs(tmp_path)
    reported = next(line for line in manifest.lines(path) if "report" in line)
    path.write_text(path.read_text("utf-8").split("\n")[0] + "\n", encoding="utf-8")
    page = next(tmp_path.rglob(f"{TOOL}.html"))
    written = page.stat().st_mtime_ns
    again = run.make_reports(str(small_portfolio.folder), (TOOL,), resume=True, **options)
    line = manifest.latest(tmp_path)[reported["report"]]
    assert [outcome.status for outcome in again.outcomes] == [
        "ok"
    ] and page.stat().st_mtime_ns == written
    assert {name: line[name] for name in ("status", "key", "fingerprint", "as_of", "verdict")} == {
        name: reported[name] for name in ("status", "key", "fingerprint", "as_of", "verdict")
    }
    assert f'href="customers/{line["client_id"]}/{TOOL}.html"' in (
        tmp_path / "index.html"
    ).read_text("utf-8")


def test_the_newest_days_are_kept_and_the_index_leads_into_the_day(twice):
    out, day, *_ = twice
    assert sorted(path.name for path in run.all_days(out)) == ["2024-01-02", day.name]
    text = (out / "index.html").read_text("utf-8")
    assert f'href="{day.name}/overview/{TOOL}.html"' in text
    assert f'href="overview/{TOOL}.html"' in (day / "index.html").read_text("utf-8")


def test_the_manifest_tells_what_happened(twice):
    lines = _lines(twice[0])
    reports = [line for line in lines if "report" in line]
    assert [line["status"] for line in reports] == ["ok", "ok", "skipped", "ok"] or [
        line["status"] for line in reports
    ] == ["ok", "ok", "ok", "skipped"]
    for line in reports[:2]:
        assert line["fingerprint"] and line["seconds"] > 0 and line["key"] and line["error"] is None
    assert [line["status"] for line in lines if "ended" in line] == [0, 0]


def test_what_is_due_follows_the_cadence(twice):
    out = twice[0]
    done = {
        line["tool"]: dt.date.fromisoformat(line["as_of"]) for line in manifest.latest(out).values()
    }
    assert plan.due([TOOL], done[TOOL], done) == ()
    assert plan.due([TOOL], done[TOOL] + dt.timedelta(days=1), done) == (TOOL,)
    week = dt.date(2025, 10, 6)
    cadence = {
        "segment_customers": 26,
        "analyze_engagement_patterns": 87,
        "track_feature_adoption": 7,
    }
    for tool, days_until in cadence.items():
        assert plan.due([tool], week + dt.timedelta(days=days_until - 1), {tool: week}) == ()
        assert plan.due([tool], week + dt.timedelta(days=days_until), {tool: week}) == (tool,)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(InvalidParameters, match="is not a shard"):
        plan.shard(text)


def test_shards_cover_every_report_once():
    requests = [
        plan.Request((TOOL, "track_usage_engagement"), overview=True, shard=(number, 3))
        for number in (1, 2, 3)
    ]
    parts = [
        plan.jobs(request, ["a", "b", "c"], "p", Path("/out"), "x", "") for request in requests
    ]
    whole = plan.jobs(
        plan.Request((TOOL, "track_usage_engagement"), overview=True),
        ["a", "b", "c"],
        "p",
        Path("/out"),
        "x",
        "",
    )
    assert sorted(job.name for part in parts for job in part) == sorted(job.name for job in whole)
    assert len(whole) == 8 and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_report_is_outdated_by_data_parameters_and_what_it_shows():
    def key(content: str = "x", **more) -> str:
        return plan.jobs(plan.Request((TOOL,), **more), ["a"], "p", Path("/out"), content, "")[
            0
        ].key

    changed = [
        key("y"),
        key(parameters={"risk_threshold": 50}),
        key(formats=("csv",)),
        key(charts="static"),
    ]
    assert len({key(), *changed}) == 5 and key() == key(parameters={"no_such": 1})


def test_fail_fast_begins_nothing_after_the_first_that_failed(tmp_path):
    jobs = [job(tmp_path, name, cell) for name, cell in (("a", "1/0"), ("b", "1"), ("c", "1"))]
    done = outcomes(jobs, count=1, fail_fast=True)
    assert [outcome and outcome.status for outcome in done] == ["failed", None, None]


def test_a_worker_that_is_killed_costs_its_own_report_alone(tmp_path):
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    jobs = [job(tmp_path, name, cell) for name, cell in (("a", kill), ("b", "1"), ("c", "1"))]
    done = outcomes(jobs, count=1)
    assert [outcome.status for outcome in done] == ["killed", "ok", "ok"]
    assert "its process ended (SIGKILL)" in done[0].error["error_message"]


def _command(portfolio: Portfolio, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "healthseg.cli.main",
        "report",
        TOOL,
        "--portfolio",
        str(portfolio.folder),
        "--riskiest",
        "3",
        "--overview",
        "--out",
        str(out),
        "--workers",
        "2",
        *more,
    ]


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> dict[str, str]:
    """The environment of a copy of the package: what its reports are made from does not change while tests run."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("healthseg", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {**os.environ, "PYTHONPATH": str(folder)}


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        cwd=environment["PYTHONPATH"],
    )


def test_a_signal_stops_a_run_cleanly(small_portfolio: Portfolio, package, tmp_path):
    number = signal.SIGTERM
    process = _started(_command(small_portfolio, tmp_path), package)
    while not any("report" in line for line in _lines(tmp_path)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, output = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "--resume continues" in output
    assert _lines(tmp_path)[-1]["stopped"] == number and not (tmp_path / "index.html").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_that_is_killed_loses_nothing_and_is_resumed(
    small_portfolio: Portfolio, package, tmp_path
):
    process = _started(_command(small_portfolio, tmp_path), package)
    while not any("report" in line for line in _lines(tmp_path)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    time.sleep(1)
    there = {
        page: page.stat().st_mtime_ns for page in tmp_path.rglob(f"{TOOL}.html") if key_of(page)
    }
    assert all(page.read_text("utf-8").rstrip().endswith("</html>") for page in there)
    again = subprocess.run(
        _command(small_portfolio, tmp_path, "--resume", "--quiet"),
        capture_output=True,
        text=True,
        env=package,
        timeout=300,
        cwd=package["PYTHONPATH"],
    )
    assert again.returncode == 0 and again.stdout == again.stderr == "", again.stderr
    last = {line["report"]: line["status"] for line in _lines(tmp_path) if "report" in line}
    assert len(last) == 4 and set(last.values()) <= {"ok", "skipped"}
    assert list(last.values()).count("skipped") <= len(
        there
    )  # one may have been made without being told
    assert all(page.stat().st_mtime_ns == written for page, written in there.items())


def test_a_line_that_was_cut_is_no_line_and_those_before_it_are(tmp_path):
    path = tmp_path / "runs" / "20260101T000000Z-1.jsonl"
    path.parent.mkdir()
    path.write_text(
        '{"run": "x"}\n{"report": "a/t", "status": "ok", "tool": "t"}\n{"report": "b/t", "sta'
    )
    assert [line.get("report") for line in manifest.lines(path)] == [None, "a/t"]
    assert set(manifest.latest(tmp_path)) == {"a/t"}


def test_a_log_has_a_line_a_report_and_a_terminal_a_bar():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    good = ReportOutcome("t", "a", "a/t.html", 1.25, {})
    bad = ReportOutcome("t", "b", "b/t.html", 1.0, {}, {"error_message": "no such thing"}, "failed")
    outputs = {}
    for stream, quiet in ((io.StringIO(), False), (Terminal(), False), (io.StringIO(), True)):
        progress = BatchProgress(quiet, stream)
        progress.begin(2)
        progress.add(good)
        progress.add(bad)
        progress.end()
        outputs[type(stream).__name__, quiet] = stream.getvalue()
    assert (
        outputs["StringIO", False]
        == "[1/2] a/t.html: ok, 1.2 s\n[2/2] b/t.html: failed, no such thing\n"
    )
    assert "2/2, " in outputs["Terminal", False] and "1 failed" in outputs["Terminal", False]
    assert outputs["StringIO", True] == ""


def test_what_changed_since_the_run_before_is_told():
    from tests.reports import samples

    portfolio = samples.portfolio()
    first, second, third = portfolio.customers[:3]
    before = {
        row["client_id"]: [row["score"], row["risk_level"], row["arr"]]
        for row in portfolio.customers
    }
    before[first["client_id"]] = [first["score"] + 7, first["risk_level"], None]
    before[second["client_id"]] = [second["score"], "low", None]
    del before[third["client_id"]]
    before["cs_gone"] = [50, "high", None]
    reports = index.ReportFolder(Path("/nowhere"), Path("/nowhere"), [TOOL], {})
    changes = index.changes(portfolio, {"customers": before, "as_of": "2025-10-03"}, reports)
    assert [line["name"] for line in changes["moved"]] == [first["name"], second["name"]]
    assert changes["moved"][0]["points"] == -7
    assert f"to {second['risk_level']}" in changes["moved"][1]["text"]
    assert changes["added"] == [third["name"]] and changes["removed"] == ["cs_gone"]
    assert index.changes(portfolio, {}, reports) == {}, "no earlier run, and no score of then"
    scores = [{**row, "score_before": row["score"] - 20} for row in portfolio.customers[:1]]
    rows = [*scores, *portfolio.customers[1:]]
    without = index.changes(portfolio.model_copy(update={"customers": rows}), {}, reports)
    assert [line["name"] for line in without["moved"]] == [first["name"]], "against the look-back"
    assert without["since"] != changes["since"] and without["added"] == without["removed"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stopping_is_noted_only_within_its_block(number):
    before = signal.getsignal(number)
    with run.stoppable() as check:
        check()
        os.kill(os.getpid(), number)
        with pytest.raises(run.Stopped, match=number.name):
            check()
    assert signal.getsignal(number) is before


def test_a_manifest_line_holds_no_path_of_this_machine(twice):
    assert not [line for line in _lines(twice[0]) if str(twice[0]) in json.dumps(line)]


def test_folders_of_customers_are_unique_without_regard_to_case_and_safe_on_every_system():
    ids = ["acme", "Acme", "ACME", "book", "runs", "overview", "2025-03-01", "CON", "con", "nul", "com1",
           "-", "_", "a" * 100, "A" * 100, "customers", "index"]  # fmt: skip
    folders = [customer_folder(client) for client in ids]
    assert len({folder.lower() for folder in folders}) == len(ids)
    assert not {folder.upper() for folder in folders} & {"CON", "NUL", "COM1", "AUX", "PRN"}


def test_the_day_that_was_just_made_is_never_removed(tmp_path):
    for day in ("2025-03-01", "2025-03-02", "2025-03-03", "2024-12-31"):
        (tmp_path / day).mkdir()
    assert remove_days(tmp_path, 2, "2024-12-31") == ["2025-03-01"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2024-12-31",
        "2025-03-02",
        "2025-03-03",
    ]
