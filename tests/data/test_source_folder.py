"""A portfolio.toml can lie apart from the data that it maps."""

from __future__ import annotations

import pytest

from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, InvalidParameters

QUERIES = """
[tables]
customers = "SELECT id AS client_id, since AS signup_date FROM 'accounts.csv'"
events = "SELECT id AS client_id, seen AS occurred_at FROM 'log.csv'"
"""


@pytest.fixture
def mapping(tmp_path):
    """A function: the toml of a mapping whose ``[source]`` is given; the data lie in ``raw`` and ``other``."""
    for name, day in (("raw", "2025-01-02"), ("other", "2025-01-05")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "accounts.csv").write_text("id,since\na,2025-01-01\n")
        (folder / "log.csv").write_text(f"id,seen\na,{day}\n")

    def write(source):
        place = tmp_path / "mapping" / "portfolio.toml"
        place.parent.mkdir(exist_ok=True)
        place.write_text(source + QUERIES)
        return place

    return write


def last_day(place):
    return Portfolio.open(place).data_until.isoformat()


def test_queries_read_files_relative_to_the_named_folder(mapping):
    place = mapping('[source]\nfolder = "../raw"\n')
    assert last_day(place) == last_day(place.parent) == "2025-01-02"
    assert (
        place.parent / ".healthseg"
    ).is_dir()  # what is derived lies beside the mapping, not in the data


def test_the_first_folder_that_is_there_is_read_and_a_variable_can_name_it(
    mapping, monkeypatch, tmp_path
):
    place = mapping('[source]\nfolder = ["$PORTFOLIOS_FOR_TESTS/other", "../gone", "../raw"]\n')
    assert last_day(place) == "2025-01-02"
    monkeypatch.setenv("PORTFOLIOS_FOR_TESTS", str(tmp_path))
    assert last_day(place) == "2025-01-05"


def test_data_that_are_not_there_are_named_with_where_they_were_looked_for(mapping):
    with pytest.raises(
        DataRetrievalError, match=r"not there; looked for \$PORTFOLIOS_FOR_TESTS, \.\./gone"
    ) as caught:
        Portfolio.open(mapping('[source]\nfolder = ["$PORTFOLIOS_FOR_TESTS", "../gone"]\n'))
    assert caught.value.details["parameter"] == "source.folder"


@pytest.mark.parametrize(
    "source",
    [
        'source = "raw"\n',
        "[source]\nfolder = 3\n",
        '[source]\nfolders = "../raw"\n',
        '[source]\nfolder = ["../raw", 3]\n',
    ],
)
def test_a_source_that_is_not_understood_is_refused_with_the_rule(mapping, source):
    with pytest.raises(InvalidParameters, match="has one key, folder"):
        Portfolio.open(mapping(source))
