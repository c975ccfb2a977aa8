"""The contract of the tables holds together."""

from __future__ import annotations

import pytest

from healthseg.data.cleaning import clean_columns
from healthseg.data.tables import SNAPSHOT, STATIC, TABLES


def test_the_tables_of_the_design_are_there():
    assert len(TABLES) == 21 and [name for name, table in TABLES.items() if table.required] == [
        "customers",
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_each_column_says_from_when_it_was_known(table):
    for column in table.columns:
        assert column.known_from
        for name in column.known_from:
            assert (name,) in (STATIC, SNAPSHOT) or table.column(name).kind in ("date", "timestamp")
    assert set(table.key) <= set(table.names)
    for order in table.orders:
        assert {order.earlier, order.later} <= set(table.names)
    assert len(set(clean_columns(table))) == len(clean_columns(table))


def test_todays_values_are_snapshots():
    snapshots = {
        f"{table.name}.{column.name}"
        for table in TABLES.values()
        for column in table.columns
        if column.known_from == SNAPSHOT
    }
    assert {
        "customers.arr",
        "customers.seats",
        "customers.plan",
        "customers.renewal_date",
        "customers.csm_id",
        "users.role",
    } <= snapshots
    assert not any(name.startswith("contracts.") for name in snapshots)
