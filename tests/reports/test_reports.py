"""Reports made by papermill from a real portfolio: the files, the index, and what happens when something fails."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import healthseg as hs
from healthseg.errors import CalculationError, HealthsegError, InvalidParameters
from healthseg.reports import writing
from healthseg.reports.batches import job as jobs
from healthseg.reports.batches import plan
from healthseg.reports.batches.run import BatchProgress, BatchRun, make_reports
from tests.reports.made import Portfolio
from tests.reports.pages import Read

TOOL = "calculate_health_score"
AT = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def batch(small_portfolio: Portfolio, tmp_path_factory) -> tuple[BatchRun, Path]:
    out = tmp_path_factory.mktemp("reports")
    run = make_reports(
        str(small_portfolio.folder),
        (TOOL,),
        [small_portfolio.client_id],
        overview=True,
        out=out,
        clock=lambda: AT,
    )
    return run, out


def _page(out: Path, owner: str) -> Read:
    return Read((out / owner / f"{TOOL}.html").read_text("utf-8"))


def test_all_reports_are_there_and_nothing_else(batch, small_portfolio: Portfolio):
    run, out = batch
    assert run.status == 0 and not run.failed
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {
        "index.html",
        *(
            f"{owner}/{TOOL}.{kind}"
            for owner in ("overview", f"customers/{small_portfolio.client_id}")
            for kind in ("html", "ipynb", "json")
        ),
    } | {f"runs/{path.name}" for path in (out / "runs").iterdir()}
    assert len(list((out / "runs").iterdir())) == 1


def test_a_page_shows_the_figures_of_the_response(batch, small_portfolio: Portfolio):
    response = hs.calculate_health_score(
        hs.Portfolio.open(small_portfolio.folder), small_portfolio.client_id
    )
    text = _page(batch[1], f"customers/{small_portfolio.client_id}").text
    reply = response.to_dict()
    assert response.customer.name in text and response.fingerprint in text
    assert (
        f"{reply['current_health_score']} of 100" not in text
        and f"Health score {reply['current_health_score']}" in text
    )
    for component in reply["components"]:
        assert (
            f"{component['component'].capitalize()} {'–' if component['score'] is None else component['score']}"
            in text
        )
    for point in reply["historical_scores"]:
        date = dt.date.fromisoformat(point["date"])
        shown = "–" if point["score"] is None else point["score"]
        assert f"{date.day} {date:%b} {date.year} {shown}" in text
    for point in reply["predicted_scores"] or []:
        date = dt.date.fromisoformat(point["date"])
        shown = f"{point['predicted_score']} {point['lower']} to {point['upper']}"
        assert f"{date.day} {date:%b} {date.year} {shown}" in text
    # a review of the business is no subject of this page: the overview has it
    own = [action["text"] for action in reply["next_actions"] if action["topic"] != "review"]
    assert len(own) < len(reply["recommended_actions"]), "the other is on the overview alone"
    for action in own + reply["risk_indicators"]:
        assert " ".join(action.split()) in text
    assert "Hold the next business review" not in text


def test_the_portfolios_page_shows_the_figures_of_the_response(batch, small_portfolio: Portfolio):
    from healthseg.tools import portfolio_health

    response = portfolio_health(hs.Portfolio.open(small_portfolio.folder))
    text = _page(batch[1], "overview").text
    assert response.verdict().replace("\u00a0", " ") in text
    for row in response.customers:
        assert row["name"] in text


def test_the_footer_says_when_it_was_computed_by_the_clock_given(batch, small_portfolio: Portfolio):
    assert (
        "Computed on 2 Jan 2026 at 03:04 UTC in "
        in _page(batch[1], f"customers/{small_portfolio.client_id}").text
    )


def test_the_index_lists_every_live_customer_and_links_to_what_is_there(
    batch, small_portfolio: Portfolio
):
    run, out = batch
    read = Read(run.index.read_text("utf-8"))
    links = {attributes["href"] for tag, attributes in read.tags if tag == "a"}
    cards = {link for link in links if link.startswith("#customer=")}
    assert links - cards == {
        f"overview/{TOOL}.html",
        f"customers/{small_portfolio.client_id}/{TOOL}.html",
    }
    assert all((out / link).is_file() for link in links - cards)
    (data,) = re.findall(r'id="rows">(.*?)</script>', run.index.read_text("utf-8"), re.DOTALL)
    rows = json.loads(data)["rows"]
    known = {f"#customer={row['id']}" for row in rows}
    assert cards and cards <= known, "a card is of a customer that the page knows"
    live = {
        row["name"]
        for row in hs.Portfolio.open(small_portfolio.folder)
        .table("customers")
        .query("churned_on.isna()")
        .to_dict("records")
    }
    listed = {row["cells"][0]["text"] for row in rows}
    assert live <= listed and len(rows) == len(live), (live - listed, len(rows))


def test_each_page_links_to_the_index(batch, small_portfolio: Portfolio):
    out = batch[1]
    for owner in ("overview", f"customers/{small_portfolio.client_id}"):
        links = [values.get("href", "") for tag, values in _page(out, owner).tags if tag == "a"]
        (index,) = {link for link in links if link.endswith("index.html")}
        assert (out / owner / index).resolve() == out / "index.html"


def test_the_notebook_beside_it_holds_no_path_of_this_machine(batch, small_portfolio: Portfolio):
    for owner in ("overview", f"customers/{small_portfolio.client_id}"):
        text = (batch[1] / owner / f"{TOOL}.ipynb").read_text("utf-8")
        nbformat.validate(nbformat.reads(text, as_version=4))
        assert (
            not re.search(r'"[^"]*(/tmp|/home|/root|/work)/', text)
            and "papermill" not in json.loads(text)["metadata"]
        )


def test_no_part_of_the_notebook_beside_it_is_random(batch, small_portfolio: Portfolio):
    notebook = nbformat.read(
        batch[1] / "customers" / small_portfolio.client_id / f"{TOOL}.ipynb", as_version=4
    )
    source = nbformat.read(plan.notebooks() / "customer" / f"{TOOL}.ipynb", as_version=4)
    assert {cell.id for cell in notebook.cells} - {cell.id for cell in source.cells} == {
        "injected-parameters"
    }


@pytest.mark.slow
def test_a_report_that_fails_is_told_and_the_others_are_there(small_portfolio: Portfolio, tmp_path):
    output, customers = io.StringIO(), pd.read_parquet(small_portfolio.folder / "customers.parquet")
    last = customers.sort_values(["signup_date", "client_id"]).iloc[-1]
    before = (pd.Timestamp(last["signup_date"]) - pd.Timedelta(days=10)).date()
    run = make_reports(
        str(small_portfolio.folder),
        (TOOL,),
        [last["client_id"]],
        overview=True,
        out=tmp_path,
        clock=lambda: AT,
        as_of=str(before),
        progress=BatchProgress(stream=output),
    )
    assert run.status == 3 and [outcome.client_id for outcome in run.failed] == [last["client_id"]]
    assert not (tmp_path / "customers" / last["client_id"] / f"{TOOL}.html").exists()
    assert (tmp_path / "overview" / f"{TOOL}.html").is_file()
    read = Read(run.index.read_text("utf-8"))
    assert "1 report failed" in read.text and run.failed[0].error["error_code"] in read.text
    assert "failed" in output.getvalue()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "parameters", [{"lookback_period_days": 3}, {"no_such": 1}, {"scoring_model": "magic"}]
)
def test_parameters_are_checked_before_anything_runs(
    small_portfolio: Portfolio, tmp_path, parameters
):
    with pytest.raises(InvalidParameters):
        make_reports(
            str(small_portfolio.folder),
            (TOOL,),
            overview=True,
            out=tmp_path / "out",
            parameters=parameters,
        )
    assert not (tmp_path / "out").exists()


def test_a_link_in_the_way_is_not_followed(small_portfolio: Portfolio, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "out"
    (folder / "customers").mkdir(parents=True)
    (folder / "customers" / small_portfolio.client_id).symlink_to(elsewhere)
    job = jobs.Job(
        TOOL,
        small_portfolio.client_id,
        "unused.ipynb",
        {},
        str(small_portfolio.folder),
        str(folder),
    )
    outcome = jobs.make_report(job, AT)
    assert (
        outcome.error["error_code"] == "INVALID_PARAMETERS"
        and "symbolic link" in outcome.error["error_message"]
    )
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "nul\0l"])
def test_a_path_is_made_of_plain_names(tmp_path, name):
    with pytest.raises(HealthsegError, match="not a valid file name"):
        writing.inside(tmp_path, name, "page.html")


def test_a_folder_that_cannot_be_made_is_an_error_object(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidParameters, match="cannot write into"):
        writing.output_folder(tmp_path / "file" / "reports")


def test_a_file_that_could_not_be_written_leaves_the_old_one(tmp_path):
    page = tmp_path / "page.html"
    writing.write_whole(page, "old")
    with pytest.raises(UnicodeEncodeError):
        writing.write_whole(page, "new \ud800")
    assert page.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def _notebook(tmp_path: Path, *cells: str) -> jobs.Job:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, tmp_path / "n{b}.ipynb")
    return jobs.Job(
        TOOL, "a", str(tmp_path / "n{b}.ipynb"), {}, str(tmp_path), str(tmp_path / "{out}")
    )


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("raise ValueError('no such thing')", "1"), "raised ValueError: no such thing"),
        (("import sys; sys.exit(0)", "1"), "ended before its last cell"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_the_status_comes_from_what_happened(tmp_path, cells, words):
    outcome = jobs.make_report(_notebook(tmp_path, *cells), AT)
    assert (
        not outcome.ok and words in outcome.error["error_message"].lower()
    ) or words in outcome.error["error_message"]
    assert not list(tmp_path.rglob("*.html"))


def test_an_error_of_ours_keeps_its_code(tmp_path):
    cell = "from healthseg.errors import IntegrationError\nraise IntegrationError('the database does not answer')"
    outcome = jobs.make_report(_notebook(tmp_path, cell), AT)
    assert (
        outcome.error["error_code"] == "INTEGRATION_ERROR"
        and outcome.error["error_message"] == "the database does not answer"
    )


def test_nothing_asked_for_is_an_error(small_portfolio: Portfolio, tmp_path):
    with pytest.raises(InvalidParameters, match="no report is requested"):
        make_reports(str(small_portfolio.folder), (TOOL,), out=tmp_path)


def test_notebooks_that_are_not_there_are_no_traceback():
    assert issubclass(CalculationError, HealthsegError) and plan.notebooks().name == "notebooks"


@pytest.mark.slow
def test_a_managers_reports_are_of_their_customers_alone(small_portfolio: Portfolio, tmp_path):
    customers = pd.read_parquet(small_portfolio.folder / "customers.parquet")
    live = customers[customers["churned_on"].isna() & customers["csm_id"].notna()]
    sizes = live["csm_id"].value_counts()
    manager = str(sizes.index[-1])
    own = set(live.loc[live["csm_id"] == manager, "client_id"])
    run = make_reports(
        str(small_portfolio.folder), (TOOL,), out=tmp_path, manager=manager, clock=lambda: AT
    )
    clients = {outcome.client_id for outcome in run.outcomes}
    assert clients and clients <= own and not run.failed
    index = (tmp_path / "index.html").read_text("utf-8")
    assert all(f'"id":"{client}"' in index for client in clients)
    others = set(live["client_id"]) - own
    assert others and not any(f'"id":"{client}"' in index for client in others)
    name = Read(index).text.split(" As of")[0]
    assert f" {len(clients)} customer" in name


def test_the_overviews_are_made_where_they_are_named(tmp_path):
    request = plan.checked(plan.Request((), {"as_of": "2025-06-01"}, overviews=plan.OVERVIEWS))
    made = plan.jobs(request, ["c1", "c2"], "", tmp_path, "", "", {"c1": "Ash", "c2": "Elm"})
    assert [(job.client_id, job.tool) for job in made] == [
        *[(None, "board"), ("c1", "customer_360"), ("c2", "customer_360")]
    ]
    with pytest.raises(InvalidParameters, match="no notebook has a parameter 'as_off'"):
        plan.checked(plan.Request((), {"as_off": 1}, overviews=plan.OVERVIEWS))


def test_an_unknown_manager_is_refused_with_the_known_ones(small_portfolio: Portfolio, tmp_path):
    with pytest.raises(InvalidParameters, match="no live customer has the manager 'nobody'"):
        make_reports(str(small_portfolio.folder), (TOOL,), out=tmp_path, manager="nobody")
