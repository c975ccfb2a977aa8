"""Files that are broken, cut off, empty or of another kind than their names say: each error names what to do."""

from __future__ import annotations

import gzip
import io
import os

import pandas as pd
import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.data.sources import unreadable
from healthseg.errors import DataRetrievalError
from tests.data.workbook import write_workbook

HEADER = "ticket_id,client_id,opened_at,topic\n"
ROWS = "".join(f"{n},acme,2025-03-03 10:00,login\n" for n in range(40))
TEXT = HEADER + ROWS


def parquet(compression: str = "snappy") -> bytes:
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(TEXT)).to_parquet(buffer, compression=compression)
    return buffer.getvalue()


WHOLE = parquet()
REFUSED = {
    "a Parquet file without its end": (
        "parquet",
        WHOLE[:-40],
        "is cut off: a whole Parquet file ends with PAR1",
    ),
    "Parquet packed with Brotli": ("parquet", parquet("brotli"), "is packed with Brotli"),
    "four bytes of Parquet": ("parquet", b"PAR1", "is cut off"),
    "a damaged footer": (
        "parquet",
        WHOLE[:-300] + b"x" * 290 + WHOLE[-10:],
        "is damaged: .*write it again",
    ),
    "CSV named Parquet": (
        "parquet",
        TEXT.encode(),
        "is not a Parquet file, whatever its name says",
    ),
    "Parquet named CSV": ("csv", WHOLE, r"is a Parquet file, .*name it tickets\.parquet"),
    "gzip named CSV": (
        "csv",
        gzip.compress(TEXT.encode()),
        r"packed with gzip, .*name it tickets\.csv\.gz",
    ),
    "a zip file named CSV": ("csv", b"PK\x03\x04 and so on", r"is an Excel workbook or a zip file"),
    "a picture named CSV": ("csv", b"\x89PNG\r\n\x1a\n\0\0", "NUL bytes"),
    "a page of an expired login": (
        "csv",
        b"<!DOCTYPE html><html>Sign in</html>",
        "has no column ticket_id",
    ),
    "no header": ("csv", ROWS.encode(), "the first line must hold the names of the columns"),
    "blank lines": ("csv", b"\n\n\n", "is empty: not even a header"),
    "a mark of UTF-16 alone": ("csv", b"\xff\xfe", "is empty: not even a header"),
    "half a character of UTF-16": ("csv", TEXT.encode("utf-16")[:-1], "line 41 is not UTF-16"),
    "a column twice": (
        "csv",
        b"ticket_id,client_id,opened_at,Client_ID\n1,acme,2025-03-03,beta\n",
        "client_id more than once",
    ),
    "an empty sheet": ("xlsx", None, "is empty: not even a header"),
    "words named workbook": ("xlsx", b"no workbook", "is not an Excel workbook"),
    "an array that breaks off": (
        "json",
        b'[{"ticket_id": 1}, {"ti',
        r'is not JSON, .*"tickets\.json", at byte',
    ),
    "a number": ("json", b"3", "holds no JSON objects"),
    "a quotation without an end": (
        "csv",
        (TEXT + '41,"acme,2025-03-03 10:00,login\n' + ROWS).encode(),
        "line 42: a quotation begins that does not end",
    ),
    "a quotation that ends at another one": (
        "csv",
        (
            TEXT + '"41,acme,2025-03-03 10:00,login\n' + ROWS + '81,ac"me,2025-03-03,login\n'
        ).encode(),
        "line 42: a quotation begins that does not end",
    ),
    "a quotation longer than what is read at once": (
        "csv",
        (TEXT + '41,"acme,2025-03-03 10:00,login\n' + ROWS * 3000).encode(),
        "line 42: a quotation begins that does not end",
    ),
    "Parquet without rows of a column": ("parquet", b"PAR1" + b"\0" * 30 + b"PAR1", "is damaged"),
}
READ = {
    "lines of an old Macintosh": TEXT.replace("\n", "\r"),
    "line ends of two systems": TEXT.replace("\n", "\r\n", 5),
    "a separator in the first line": "sep=;\r\n" + TEXT.replace(",", ";").replace("\n", "\r\n"),
    "other capitals and blanks in the header": TEXT.replace(
        "ticket_id,client_id", " Ticket_ID ,CLIENT_ID"
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_broken_file_is_refused_in_words_and_the_rest_goes_on(make_portfolio, kind):
    ending, content, words = REFUSED[kind]
    folder = make_portfolio().folder
    if content is None:
        write_workbook(folder / f"tickets.{ending}", {"Sheet1": []})
    else:
        (folder / f"tickets.{ending}").write_bytes(content)
    portfolio = Portfolio.open(folder)
    with pytest.raises(
        DataRetrievalError, match=rf"tickets .*refused: tickets\.{ending}.*{words}"
    ) as caught:
        portfolio.table("tickets")
    assert (
        str(folder / "tickets") not in caught.value.message and "Error:" not in caught.value.message
    )
    assert len(portfolio.table("customers")) == 2


@pytest.mark.parametrize("kind", READ)
def test_what_other_programs_write_is_read(make_portfolio, kind):
    portfolio = make_portfolio(tickets=READ[kind].encode())
    report = portfolio.reports["tickets"]
    assert (report.read, report.kept) == (40, 40)


def test_a_line_below_a_named_separator_keeps_its_number(make_portfolio):
    text = "sep=,\n" + TEXT + "40,acme,soon,login\n"
    (issue,) = make_portfolio(tickets=text).reports["tickets"].issues
    assert (issue.example, issue.line) == ("soon", 43)


def test_a_link_that_leads_nowhere_and_a_folder_in_place_of_a_file_are_named(make_portfolio):
    folder = make_portfolio().folder
    (folder / "tickets.csv").mkdir()
    assert "tickets.csv is not one of the tables" in Portfolio.open(folder).check().to_text()
    (folder / "surveys.csv").symlink_to(folder / "gone.csv")
    with pytest.raises(DataRetrievalError, match=r"surveys\.csv could not be read: No such file"):
        Portfolio.open(folder)


@pytest.mark.parametrize(
    ("number", "words"), [(13, "allow this user to read it"), (28, "make room"), (5, "try again")]
)
def test_what_the_machine_refuses_is_no_fault_of_the_table(number, words):
    problem = unreadable("tickets.csv", OSError(number, os.strerror(number)))
    assert words in problem.message and problem.message.startswith("tickets.csv could not be read")
