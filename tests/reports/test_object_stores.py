"""Portfolios and reports in object stores: read by what changed, published page by page, the index last."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import healthseg as hs
from healthseg.cli.main import main
from healthseg.data import object_store
from healthseg.errors import CalculationError, HealthsegError, IntegrationError, InvalidParameters
from healthseg.reports import publishing
from healthseg.reports.batches import manifest
from tests.data import s3_server
from tests.data.s3_server import BUCKET, SECRET, S3Server

pytestmark = pytest.mark.slow

TOOL = "calculate_health_score"
HOME = f"s3://{BUCKET}/portfolio"
OUT = f"s3://{BUCKET}/reports"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A portfolio of two customers and a month of events."""
    path = tmp_path_factory.mktemp("tiny")
    (path / "customers.csv").write_text("client_id,signup_date\nacme,2025-01-01\nbeta,2025-02-01\n")
    (path / "events").mkdir()
    for part, customer in (("a", "acme"), ("b", "beta")):
        rows = "".join(f"{customer},ann,2025-06-{day:02} 09:30:00\n" for day in range(1, 31))
        text = "client_id,user_id,occurred_at\n" + rows
        (path / "events" / f"{part}.csv").write_text(text)
    return path


@pytest.fixture(scope="module")
def s3(folder: Path, tmp_path_factory) -> Iterator[S3Server]:
    """A server with the portfolio in it, beside files that are no tables."""
    with s3_server.server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment(server.address, folder).items():
            patch.setenv(name, value)
        patch.setenv("HEALTHSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        import s3fs

        files = s3fs.S3FileSystem()
        files.mkdir(BUCKET)
        files.put(str(folder) + "/", f"{BUCKET}/portfolio/", recursive=True)
        for name in ("healthseg.secrets.toml", "notes.txt", "custmers.csv", "big/x.parquet"):
            files.pipe_file(f"{BUCKET}/portfolio/{name}", b"x")
        yield server


@pytest.fixture
def files(s3: S3Server) -> Iterator:
    """The bucket as s3fs has it; what was made to fail works again afterwards."""
    import s3fs

    s3.heal()
    s3.log()
    yield s3fs.S3FileSystem()
    s3.heal()


def _gets(s3: S3Server) -> list[str]:
    return sorted(
        line.rpartition("/")[2] for line in s3.log() if line.startswith("GET") and ".csv" in line
    )


def test_a_portfolio_in_a_store_is_that_of_the_folder_and_only_what_changed_is_copied(
    s3, files, folder, tmp_path
):
    mirrored, local = hs.Portfolio.open(HOME), hs.Portfolio.open(folder)
    assert mirrored.fingerprint(mirrored.as_of(None)) == local.fingerprint(local.as_of(None))
    assert mirrored.path == HOME and len(mirrored.table("events")) == 60
    assert _gets(s3) == ["a.csv", "b.csv", "customers.csv"]
    hs.Portfolio.open(HOME).table("customers")
    assert _gets(s3) == []
    more = (folder / "events" / "b.csv").read_text() + "beta,bob,2025-06-30 10:00:00\n"
    files.pipe_file(f"{BUCKET}/portfolio/events/b.csv", more.encode())
    assert len(hs.Portfolio.open(HOME).table("events")) == 61
    assert _gets(s3) == ["b.csv"]
    files.put_file(str(folder / "events" / "b.csv"), f"{BUCKET}/portfolio/events/b.csv")
    assert len(hs.Portfolio.open(HOME).table("events")) == 60


def test_only_tables_come_from_a_store_and_what_looks_like_one_is_named(s3, files):
    mirror = object_store.mirrored(HOME)
    assert set(mirror.tokens) == {"customers.csv", "events/a.csv", "events/b.csv"}
    assert {"healthseg.secrets.toml", "notes.txt", "big"} <= set(mirror.others)
    assert sorted(path.name for path in mirror.path.iterdir()) == ["customers.csv", "events"]
    (note,) = [note for note in hs.Portfolio.open(HOME)._sources.notes if "custmers" in note]
    assert "did you mean customers?" in note


def test_half_an_object_is_not_read_as_a_table(s3, files, folder):
    files.pipe_file(
        f"{BUCKET}/portfolio/customers.csv", (folder / "customers.csv").read_bytes() + b"\n"
    )
    s3.fail("GET", "customers.csv", "half")
    with pytest.raises(IntegrationError, match=r"cannot be read|changes while it is read"):
        hs.Portfolio.open(HOME)
    s3.heal()
    assert list(hs.Portfolio.open(HOME).table("customers")["client_id"]) == ["acme", "beta"]
    assert not [path for path in object_store.mirrored(HOME).path.rglob(".*")]


@pytest.mark.parametrize("status", ["403", "500"])
def test_what_the_store_refuses_is_said_without_credentials(s3, files, status):
    s3.fail("GET", BUCKET, status)
    s3.fail("HEAD", BUCKET, status)
    with pytest.raises(HealthsegError) as problem:
        hs.Portfolio.open(f"{HOME}/elsewhere")
    text = str(problem.value.to_dict())
    assert HOME in text and SECRET not in text and "AKIA" not in text


def test_an_address_with_nothing_is_no_portfolio(s3, files):
    with pytest.raises(HealthsegError, match=r"holds no tables|there is nothing at"):
        hs.Portfolio.open(f"s3://{BUCKET}/nothing")


def test_a_file_beside_a_portfolio_in_a_store_acts_only_with_consent(s3, files, folder, capsys):
    address = f"s3://{BUCKET}/shared"
    files.put_file(str(folder / "customers.csv"), f"{BUCKET}/shared/customers.csv")
    acting = b'[settings.outbox.handlers.log]\nkind = "file"\npath = "log.jsonl"\n'
    files.pipe_file(f"{BUCKET}/shared/healthseg.toml", acting)
    with pytest.raises(InvalidParameters, match="this file is not trusted"):
        hs.Portfolio.open(address)
    assert main(["trust", address]) == 0 and "outbox.handlers.log" in capsys.readouterr().out
    assert "log" in hs.Portfolio.open(address).settings.outbox.handlers
    files.pipe_file(f"{BUCKET}/shared/healthseg.toml", acting.replace(b"log.jsonl", b"other.jsonl"))
    with pytest.raises(InvalidParameters, match="this file is not trusted"):
        hs.Portfolio.open(address)


@pytest.fixture(scope="module")
def batches(s3: S3Server, folder: Path) -> SimpleNamespace:
    """Reports into the store: one page cannot be written; then a resume, when it can, and one more."""
    moments = iter(dt.datetime(2026, 1, 2, 3, minute, tzinfo=dt.UTC) for minute in range(60))
    options = {"out": OUT, "clock": lambda: next(moments), "workers": 1}
    s3.fail("PUT", f"beta/{TOOL}.html", "403")
    s3.fail("PUT", f"acme/{TOOL}.json", "503", times=1)
    s3.log()
    first = hs.make_reports(HOME, (TOOL,), ["acme", "beta"], **options)
    first_log = s3.log()
    import s3fs

    index = s3fs.S3FileSystem().cat_file(f"{BUCKET}/reports/index.html").decode()
    s3.heal()
    second = hs.make_reports(HOME, (TOOL,), ["acme", "beta"], resume=True, **options)
    second_log = s3.log()
    third = hs.make_reports(HOME, (TOOL,), ["acme", "beta"], resume=True, **options)
    return SimpleNamespace(
        first=first, second=second, third=third, logs=(first_log, second_log, s3.log()), index=index
    )


def _puts(log: list[str]) -> list[str]:
    return [line.partition("/reports/")[2] for line in log if line.startswith("PUT")]


def test_a_page_that_cannot_be_written_is_a_failed_report_and_no_link(batches):
    assert [outcome.status for outcome in batches.first.outcomes] == ["ok", "failed"]
    assert "the store refuses it" in batches.first.outcomes[1].error["error_message"]
    assert f'href="customers/acme/{TOOL}.html"' in batches.index
    assert f'href="customers/beta/{TOOL}.html"' not in batches.index


def test_a_page_comes_after_its_files_and_the_index_comes_last(batches):
    puts = _puts(batches.logs[0])
    acme = [name for name in puts if name.startswith("customers/acme/")]
    assert acme[0].endswith(".ipynb") and acme[-1].endswith(".html")
    assert puts[-1] == "index.html" and puts[-2].startswith("runs/")
    assert acme.count(f"customers/acme/{TOOL}.json") == 2, "a fault that passes is tried again"


def test_a_resume_makes_what_is_missing_in_the_store_and_nothing_else(batches, files):
    assert [outcome.status for outcome in batches.second.outcomes] == ["skipped", "ok"]
    assert not [name for name in _puts(batches.logs[1]) if "acme" in name]
    assert [outcome.status for outcome in batches.third.outcomes] == ["skipped", "skipped"]
    names = {path.partition("/reports/")[2] for path in files.find(f"{BUCKET}/reports")}
    assert {name for name in names if "runs/" not in name} == {
        "index.html",
        *(
            f"customers/{c}/{TOOL}.{kind}"
            for c in ("acme", "beta")
            for kind in ("html", "json", "ipynb")
        ),
    }
    assert batches.third.index == f"{OUT}/index.html"


def test_nothing_in_the_store_holds_a_secret_or_a_path_of_this_machine(batches, files):
    for path in files.find(f"{BUCKET}/reports"):
        text = files.cat_file(path).decode()
        assert SECRET not in text and os.environ["HEALTHSEG_CACHE"] not in text, path


def test_a_run_that_died_before_its_manifest_was_copied_is_recorded_by_the_resume(batches, files):
    for path in files.find(f"{BUCKET}/reports/runs"):
        files.rm_file(path)
    again = hs.make_reports(HOME, (TOOL,), ["acme"], out=OUT, resume=True)
    (outcome,) = again.outcomes
    assert outcome.status == "ok" and outcome.facts["fingerprint"]
    (run,) = files.find(f"{BUCKET}/reports/{manifest.FOLDER}")
    assert f'"report":"customers/acme/{TOOL}"' in files.cat_file(run).decode()


def test_the_index_links_to_what_other_machines_published_meanwhile(batches, files, tmp_path):
    published = publishing.Published(object_store.connect(OUT), tmp_path)
    published.begin()
    files.pipe_file(f"{BUCKET}/reports/customers/gamma/{TOOL}.html", b"page")
    line = b'{"report":"customers/gamma/calculate_health_score","status":"ok"}\n'
    files.pipe_file(f"{BUCKET}/reports/runs/29991231T000000Z-1.jsonl", line)
    own = tmp_path / "runs" / "own.jsonl"
    published.refresh(own)
    assert published.has(tmp_path / f"customers/gamma/{TOOL}.html")
    assert "customers/gamma/calculate_health_score" in manifest.latest(tmp_path)


def test_an_output_that_cannot_be_written_is_refused(s3, files):
    s3.fail("PUT", "/locked/", "403")
    with pytest.raises(InvalidParameters, match="name another folder with --out") as problem:
        hs.make_reports(HOME, (TOOL,), ["acme"], out=f"s3://{BUCKET}/locked")
    assert SECRET not in str(problem.value.to_dict())


def test_a_store_without_whole_objects_is_written_beside_and_renamed(tmp_path):
    pytest.importorskip("fsspec")
    store = object_store.connect(f"file://{tmp_path}/deep")
    (tmp_path / "page").write_text("whole")
    store.write("a/page.html", tmp_path / "page")
    assert store.listing().keys() == {"a/page.html"} and store.head("a/page.html", 3) == b"who"
    store.remove("a/page.html")
    assert store.listing() == {}


def test_a_portfolio_may_lie_in_the_memory_of_fsspec(folder, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path))
    memory = fsspec.filesystem("memory")
    memory.put(str(folder) + "/", "/box/portfolio/", recursive=True)
    memory.pipe_file("/box/portfolio/events/../c.csv", b"x")
    assert len(hs.Portfolio.open("memory://box/portfolio").table("events")) == 60


def test_without_the_library_its_installation_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for call in (
        lambda: hs.Portfolio.open("gs://box/portfolio"),
        lambda: hs.make_reports("no such portfolio", (TOOL,), ["a"], out="gs://box/reports"),
    ):
        with pytest.raises(CalculationError, match="pip install gcsfs"):
            call()
    assert "pip install 'healthseg[s3]'" in object_store.missing("s3").message
