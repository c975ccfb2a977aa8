"""A report as PDF and CSV, pages of notebooks that are not ours, files where they belong, users under other names."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from healthseg.errors import HealthsegError
from healthseg.reports import document, layout, privacy, writing
from healthseg.reports.figures import Scope
from healthseg.reports.html import export, foreign, printed, writer
from healthseg.reports.spec import Table
from tests.reports import samples
from tests.reports.hostile import HOSTILE
from tests.reports.pages import Read, shown

MADE = export.NotebookOrigin(dt.datetime(2026, 1, 2, tzinfo=dt.UTC), 1.0)


def _document(kind: str = "customer", result=None) -> export.Document:
    with document.printing(True):
        return export.read(
            shown(kind, result or (samples.health() if kind == "customer" else samples.portfolio()))
        )


def _pdf(report: export.Document) -> bytes:
    pytest.importorskip("typst", reason="PDF needs Typst")
    return printed.pdf_bytes(report.title, report.kicker, report.printed, report.footer.blocks)


def _grid(rows, columns) -> document.Grid:
    return layout.grid(Table("rows", columns), Scope({"rows": rows}, "$"))


@pytest.mark.parametrize("kind", ["customer", "portfolio"])
def test_a_report_becomes_a_pdf_of_several_pages_the_same_each_time(kind):
    content = _pdf(_document(kind))
    assert (
        content.startswith(b"%PDF") and len(content) > 50_000 and content == _pdf(_document(kind))
    )
    assert int(re.search(rb"/Type/Pages/Count (\d+)", content).group(1)) >= 3


def test_names_of_customers_lead_to_their_pages_on_paper_too():
    pytest.importorskip("typst", reason="PDF needs Typst")
    names = ["Acme Ltd", "Acme", "B.C. (Nord) [1] $x$"]
    texts = [{"kind": "p", "text": "Acme Ltd, not Acmeister; B.C. (Nord) [1] $x$ too"}]
    made = printed.pdf_bytes("t", "Portfolio", [("", texts)], [], dict.fromkeys(names, "c.html"))
    assert made.count(b"/URI(c.html)") == 2
    assert b"/URI" not in printed.pdf_bytes("t", "Portfolio", [("", texts)], [])
    assert b"/URI(../index.html)" in printed.pdf_bytes("t", "P", [], [], {}, "../index.html")


def test_hostile_texts_are_data_for_the_typesetter():
    hostile = samples.health(
        name="#panic() $x$ *a* _b_ ```c``` " + " ".join(HOSTILE),
        warnings=list(HOSTILE),
        risk_indicators=list(HOSTILE),
    )
    assert _pdf(_document(result=hostile)).startswith(b"%PDF")


def test_a_tables_figures_are_figures_in_csv():
    files = printed.csv_files(_document("portfolio").printed)
    rows = list(csv.DictReader(io.StringIO(next(iter(files.values())).removeprefix("\ufeff"))))
    customers = samples.portfolio().customers
    assert len(rows) == len(customers) and next(iter(files)) == "01-who-needs-attention-today.csv"
    for row, customer in zip(rows, customers, strict=True):
        assert row["Customer and why"].startswith(customer["name"])
        assert row["client_id"] == customer["client_id"]
        assert float(row["ARR, EUR"]) == customer["arr"] and row["Renewal"] == str(
            customer["renewal_on"] or ""
        )


@pytest.mark.parametrize(
    "text", [*HOSTILE, "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\u00a0=1+1"]
)
def test_no_text_is_a_formula_in_a_spreadsheet(text):
    (table,) = printed.blocks([_grid([{"a": text, "b": "x"}], {"A": "a", text: "b"})])
    rows = list(csv.reader(io.StringIO(printed.csv_text(table).removeprefix("\ufeff"))))
    for value in (value for row in rows for value in row):
        assert not value or value[0] not in "=+-@\t\r\n", value


def test_altairs_charts_of_any_notebook_become_named_pictures_with_their_figures():
    import altair as alt

    data = alt.Data(values=[{"a": 1, "b": 0.5}, {"a": 2, "b": 2.5}])
    chart = alt.Chart(data, title="Two </script> bars").mark_bar().encode(x="a:O", y="b:Q")
    bundles = [
        chart._repr_mimebundle_(None, None),
        {"application/vnd.vegalite.v6+json": chart.to_dict()},
    ]
    bundles = [bundle[0] if isinstance(bundle, tuple) else bundle for bundle in bundles]
    assert foreign.chart_of(bundles[0]) is not None
    for bundle in bundles:
        cells = [
            new_markdown_cell("# Mine"),
            new_code_cell("1", outputs=[new_output("display_data", data=bundle)]),
        ]
        text = export.to_html(new_notebook(cells=cells), MADE)
        read = Read(text)
        assert read.foreign == [] and "https://cdn" not in text and "2.5" in read.text
        assert [attributes["aria-label"] for tag, attributes in read.tags if tag == "svg"] == [
            "Two </script> bars"
        ]


@pytest.mark.slow
def test_control_characters_in_the_chart_of_any_notebook_do_not_end_the_process():
    texts = ["nul\x00", "bell\x07", "\x1b[0m", "\ud800", "ok"]
    values = [{"a\x01": text, "b": number} for number, text in enumerate(texts)]
    encoding = {
        "x": {"field": "a\x01", "type": "nominal"},
        "y": {"field": "b", "type": "quantitative"},
    }
    spec = {"data": {"values": values}, "title": "T\x01", "mark": "bar", "encoding": encoding}
    code = (
        "import json, sys; from healthseg.reports.html import foreign; spec = json.loads(sys.argv[1]);"
        "print(ascii(foreign.piece({'data': {'application/vnd.vegalite.v6+json': spec}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(spec)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (
        'aria-label="T\\ufffd"' in done.stdout
        and "<svg" in done.stdout
        and ">ok</text>" in done.stdout
    )


def test_outputs_of_other_kinds_are_shown_as_what_they_are():
    outputs = [
        new_output("stream", name="stdout", text="<b>said</b>"),
        new_output("execute_result", data={"text/plain": "<Thing>"}),
        new_output("display_data", data={"image/png": "iVBORw0KGgo="}),
        new_output("stream", name="stderr", text="a warning"),
    ]
    pieces = [foreign.piece(output) for output in outputs]
    assert (
        pieces[0] == "<pre>&lt;b&gt;said&lt;/b&gt;</pre>"
        and pieces[1] == "<pre>&lt;Thing&gt;</pre>"
    )
    assert pieces[2].startswith('<img alt="') and pieces[3] == ""


def test_users_have_one_pseudonym_everywhere_unless_their_names_are_requested():
    def table() -> str:
        rows = [{"user_id": "ann@acme.example", "n": 1}]
        return writer.written([_grid(rows, {"User": "user_id", "N": "n"})])

    response = {
        "users": [{"user_id": "ann@acme.example"}],
        "champion_user_id": "ann@acme.example",
        "name": "ann",
    }
    assert "ann@acme" in table() and privacy.hidden(response) == response
    with privacy.hiding_users("key"):
        name = privacy.shown("ann@acme.example")
        assert name in table() and "ann@acme" not in table()
        hidden = privacy.hidden(response)
    assert hidden == {"users": [{"user_id": name}], "champion_user_id": name, "name": "ann"}
    with privacy.hiding_users("another key"):
        assert privacy.shown("ann@acme.example") != name and privacy.shown(None) is None


def test_the_key_of_pseudonyms_is_the_portfolios_own_and_private(tmp_path):
    class Portfolio:
        root = tmp_path

    first = privacy.key(Portfolio)
    assert first == privacy.key(Portfolio) and len(first) == 32
    assert (tmp_path / ".healthseg" / "pseudonyms").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "name", ["{client_id}", "a{0}", "x" * 200, "%s", "~", "$HOME", "con", "-rf", "ä", "a b"]
)
def test_odd_names_stay_within_the_folder(tmp_path, name):
    path = writing.inside(tmp_path, name, "page.html")
    assert path.parent.parent == tmp_path and path.parent.is_dir()


@pytest.mark.parametrize("name", ["../up", "/etc", "a/../../b", "..", "x" * 300])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    folder = tmp_path / "a" / "b" / "c"
    with pytest.raises(HealthsegError):
        writing.write_whole(writing.inside(folder, name, "page.html"), "x")
    assert [path for path in tmp_path.rglob("page.html") if not path.is_relative_to(folder)] == []


def test_a_folder_of_files_holds_these_and_no_others(tmp_path):
    writing.write_folder(tmp_path / "t", {"a.csv": "1", "b.csv": "2"})
    writing.write_folder(tmp_path / "t", {"b.csv": "3"})
    assert {path.name: path.read_text() for path in (tmp_path / "t").iterdir()} == {"b.csv": "3"}


def test_the_response_lies_beside_the_page_and_not_in_the_notebook():
    from healthseg.reports.batches.job import Job, scrubbed

    notebook = shown("customer", samples.health())
    facts = export.facts(notebook)
    assert facts["response"]["current_health_score"] == 69 and json.dumps(facts["response"])
    written = scrubbed(notebook, Job("t", "a", "/n/x.ipynb", {}, "/p", "/o"))
    clean = nbformat.reads(written, as_version=4)
    assert (
        "response" not in export.facts(clean)
        and facts["response"]
        and nbformat.validate(clean) is None
    )


def test_a_table_on_paper_has_the_rows_of_a_screen_and_says_how_many_more():
    cut = printed._cut({"kind": "table", "rows": [["a"]] * 30, "values": []})
    assert (len(cut["rows"]), cut["more"]) == (12, 18)
