"""Notebooks of a team's own: into the same folder, manifest and index as the package's."""

from __future__ import annotations

import json

import nbformat
import pytest

import healthseg as hs
from healthseg.cli.main import main
from healthseg.errors import InvalidParameters
from healthseg.reports import registry
from healthseg.reports.batches import manifest
from healthseg.testing import tiny_portfolio

EVENTS = [(client, f"2025-03-{day:02d} 09:00", "u1") for client in "ab" for day in range(1, 29)]
OF_CUSTOMER = """import healthseg as hs

opened = hs.Portfolio.open(portfolio)
print(hs.track_usage_engagement(opened, client_id), "at least", least)"""


def _notebook(path, parameters: str, *code: str):
    cells = [nbformat.v4.new_markdown_cell(f"# {path.stem}")]
    cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(text) for text in code]
    path.parent.mkdir(exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return str(path)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """One notebook of a customer and one of the portfolio, for two customers, by the command."""
    folder = tmp_path_factory.mktemp("own")
    portfolio = str(tiny_portfolio(EVENTS).path)
    own = [
        _notebook(folder / "mine.ipynb", 'portfolio = ""\nclient_id = ""\nleast = 1', OF_CUSTOMER),
        _notebook(folder / "weekly.ipynb", 'portfolio = ""', "print('all of them')"),
    ]
    out = folder / "reports"
    command = ["report", *own, "--portfolio", portfolio, "--client", "a", "--client", "b"]
    status = main([*command, "-p", "least=3", "--out", str(out), "--workers", "1", "--quiet"])
    return portfolio, own, out, status


def test_a_notebook_with_a_client_id_is_made_for_each_customer_another_once(batch):
    _, _, out, status = batch
    assert status == 0
    pages = sorted(page.relative_to(out).as_posix() for page in out.rglob("*.html"))
    assert pages == [
        "customers/a/mine.html",
        "customers/b/mine.html",
        "index.html",
        "overview/weekly.html",
    ]
    assert "at least 3" in (out / "customers/a/mine.html").read_text("utf-8")


def test_they_are_in_the_manifest_and_the_index_leads_to_them(batch):
    _, _, out, _ = batch
    lines = manifest.latest(out)
    assert {line["status"] for line in lines.values()} == {"ok"}
    assert lines["customers/a/mine"]["parameters"]["least"] == 3
    index = (out / "index.html").read_text("utf-8")
    assert "overview/weekly.html" in index and "customers/a/mine.html" in index
    assert 'href="../../index.html"' in (out / "customers/a/mine.html").read_text("utf-8")


def test_a_resume_leaves_what_did_not_change(batch):
    portfolio, own, out, _ = batch
    again = hs.make_reports(
        portfolio, own, ["a", "b"], out=out, resume=True, workers=1, parameters={"least": 3}
    )
    assert [outcome.status for outcome in again.outcomes] == ["skipped"] * 3


def test_a_notebook_that_fails_is_listed_with_its_cell(batch, tmp_path):
    portfolio = batch[0]
    path = _notebook(tmp_path / "broken.ipynb", 'portfolio = ""', "1 / 0")
    (outcome,) = hs.make_reports(portfolio, [path], out=tmp_path / "out", workers=1).outcomes
    # after its parameters and those of the run
    assert outcome.error["details"]["cell"] == 3
    assert "ZeroDivisionError" in json.dumps(outcome.error)


def test_names_that_are_another_pages_and_parameters_of_none_are_refused(batch, tmp_path):
    portfolio, own, _, _ = batch
    clashing = _notebook(tmp_path / "board.ipynb", 'portfolio = ""', "1")
    with pytest.raises(InvalidParameters, match="name of another page"):
        hs.make_reports(portfolio, [clashing], out=tmp_path)
    (tmp_path / "text.ipynb").write_text("not a notebook")
    with pytest.raises(InvalidParameters, match="names no kernel"):
        hs.make_reports(portfolio, [str(tmp_path / "text.ipynb")], out=tmp_path)
    with pytest.raises(InvalidParameters, match="not a file"):
        hs.make_reports(portfolio, [str(tmp_path / "none.ipynb")], out=tmp_path)
    with pytest.raises(InvalidParameters, match=r"no notebook has a parameter 'leest'.*least"):
        hs.make_reports(portfolio, own, ["a"], out=tmp_path, parameters={"leest": 3})


def test_a_page_of_an_installed_package_is_made_by_its_name_and_with_all_others(
    tmp_path, monkeypatch
):
    """A distribution with an entry point, as pip would install it, whose notebook has another name than its page."""
    site = tmp_path / "site"
    info = site / "team_pages-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team-pages\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[healthseg.pages]\nrenewal_call = team_pages:CALL\n")
    (site / "team_pages.py").write_text(
        "from pathlib import Path\nCALL = Path(__file__).parent / 'call.ipynb'\n"
    )
    _notebook(site / "call.ipynb", 'portfolio = ""', "print('a call', 'of the team')")
    monkeypatch.syspath_prepend(str(site))
    portfolio, out = str(tiny_portfolio(EVENTS).path), tmp_path / "reports"
    command = ["report", "renewal_call", "--portfolio", portfolio, "--out", str(out)]
    assert main([*command, "--workers", "1", "--quiet"]) == 0
    assert "a call of the team" in (out / "overview/renewal_call.html").read_text("utf-8")
    assert registry.own_pages(["renewal_call", "calculate_health_score", "x.ipynb"]) == [
        "renewal_call",
        "x.ipynb",
    ]
