"""The dirty portfolio: each listed fault stands where it is said to, and taking them out gives the clean portfolio."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from healthseg.demo import make_demo
from healthseg.demo.scenarios import CSV_TABLES, LATE


@pytest.fixture(scope="module")
def portfolios(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("dirty")
    for scenario in ("default", "dirty"):
        make_demo(folder / scenario, clients=30, months=9, scenario=scenario, events="light")
    return folder / "default", folder / "dirty"


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_fault_is_in_its_row(portfolios):
    dirt = pq.read_table(portfolios[1] / "truth" / "dirt.parquet").to_pandas()
    files = {name: lines(portfolios[1] / f"{name}.csv") for name in CSV_TABLES} | {
        "events": lines(portfolios[1] / LATE)
    }
    assert set(dirt["table"]) == set(files) and set(dirt["expected"]) == {
        "dropped",
        "kept",
        "corrected",
    }
    for fault in dirt.itertuples():
        row = files[fault.table][fault.row - 1]
        assert row["client_id"] == fault.client_id and row[fault.column] == fault.value


def test_every_kind_of_fault_occurs(portfolios):
    dirt = pq.read_table(portfolios[1] / "truth" / "dirt.parquet").to_pandas()
    assert {
        "duplicate",
        "unknown_customer",
        "impossible_date",
        "wrong_type",
        "mixed_zone",
        "bad_id",
        "bad_enum",
        "missing_required",
    } <= set(dirt["fault"])


@pytest.mark.parametrize("name", CSV_TABLES)
def test_without_the_dropped_rows_the_clean_table_remains(name, portfolios):
    clean = pq.read_table(portfolios[0] / f"{name}.parquet").to_pandas()
    dirt = (
        pq.read_table(portfolios[1] / "truth" / "dirt.parquet").to_pandas().query("table == @name")
    )
    rows = pd.DataFrame(lines(portfolios[1] / f"{name}.csv"))
    clean_rows = rows.drop(index=dirt.loc[dirt["expected"] == "dropped", "row"] - 1)
    assert (
        len(clean_rows) == len(clean)
        and (clean_rows["client_id"].to_numpy() == clean["client_id"].to_numpy()).all()
    )
    touched = set(dirt.loc[dirt["expected"] != "dropped", "row"] - 1)
    for column in clean.columns:
        if clean[column].dtype.kind not in "OU" and str(clean[column].dtype) != "str":
            continue
        actual, expected = (
            clean_rows[column],
            clean[column].astype(object).where(clean[column].notna(), "").astype(str),
        )
        same = (actual.to_numpy() == expected.to_numpy()) | actual.index.isin(touched)
        assert same.all(), column


def test_no_table_is_written_twice(portfolios):
    assert not [name for name in CSV_TABLES if (portfolios[1] / f"{name}.parquet").exists()]
