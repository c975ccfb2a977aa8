"""The same rows give the same facts, whatever the file format, the order of rows and columns, or the machine's zone."""

from __future__ import annotations

import os
import time

import numpy as np
import pandas as pd

FACTS = ("user_day", "feature_day", "user_hour", "sessions", "feature_life", "events", "tickets")


def tables(seed: int = 3) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    n = 400
    at = pd.Timestamp("2025-02-20") + pd.to_timedelta(rng.integers(0, 40 * 86400, n), unit="s")
    events = pd.DataFrame(
        {
            "client_id": rng.choice(["acme", "beta"], n),
            "occurred_at": at,
            "user_id": rng.choice(["ann", "bob", None], n),
            "feature": rng.choice(["f1", "f2", None], n),
            "source": rng.choice(["ui", "api", None], n),
            "count": rng.choice([1, 2, 3], n),
        }
    )
    tickets = pd.DataFrame(
        {
            "ticket_id": [str(k) for k in range(20)],
            "client_id": ["acme", "beta"] * 10,
            "opened_at": at[:20],
            "csat": [1.0, 2.0, None, 4.5] * 5,
        }
    )
    customers = pd.DataFrame(
        {
            "client_id": ["acme", "beta"],
            "signup_date": pd.to_datetime(["2025-01-01"] * 2),
            "timezone": ["America/New_York", "Asia/Tokyo"],
        }
    )
    return {"events": events, "tickets": tickets, "customers": customers}


def contents(portfolio) -> dict[str, list[tuple]]:
    connection = portfolio.connection()
    return {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in FACTS
    }


def test_csv_and_parquet_give_the_same_facts_and_fingerprints(make_portfolio, tmp_path):
    portfolios = []
    for folder, suffix in (("a", ".csv"), ("b", ".parquet")):
        files = {f"{name}{suffix}": frame for name, frame in tables().items()}
        portfolios.append(
            make_portfolio(folder=tmp_path / folder, customers=None, events=None, **files)
        )
    first, other = portfolios
    assert contents(first) == contents(other)
    assert first.fingerprint() == other.fingerprint() and first.content(
        first.data_until
    ) == other.content(other.data_until)


def test_the_order_of_rows_and_columns_changes_nothing(make_portfolio, tmp_path):
    plain = {f"{name}.parquet": frame for name, frame in tables().items()}
    mixed = {
        name: frame.sample(frac=1, random_state=5)[list(frame.columns[::-1])]
        for name, frame in plain.items()
    }
    first = make_portfolio(folder=tmp_path / "a", customers=None, events=None, **plain)
    other = make_portfolio(folder=tmp_path / "b", customers=None, events=None, **mixed)
    assert contents(first) == contents(other) and first.fingerprint() == other.fingerprint()
    pd.testing.assert_frame_equal(first.table("tickets"), other.table("tickets"))
    pd.testing.assert_frame_equal(first.table("events"), other.table("events"))


def test_one_file_or_many_give_the_same_facts(make_portfolio, tmp_path):
    plain = {f"{name}.parquet": frame for name, frame in tables().items()}
    single = make_portfolio(folder=tmp_path / "a", customers=None, events=None, **plain)
    folder = tmp_path / "b" / "events" / "2025"
    folder.mkdir(parents=True)
    frame = plain.pop("events.parquet")
    frame[:150].to_parquet(folder / "x.parquet")
    frame[150:300].iloc[:, ::-1].to_csv(folder / "y.csv", index=False)
    frame[300:].to_csv(folder.parent / "z.csv.gz", index=False)
    other = make_portfolio(folder=tmp_path / "b", customers=None, events=None, **plain)
    assert contents(single) == contents(other)


def test_a_file_by_customer_is_staged_and_one_by_time_is_not_with_the_same_facts(
    make_portfolio, tmp_path
):
    plain = {f"{name}.parquet": frame for name, frame in tables().items()}
    later = plain["events.parquet"].assign(
        occurred_at=lambda frame: frame["occurred_at"] + pd.Timedelta(days=100)
    )
    frame = pd.concat([plain.pop("events.parquet"), later])
    staged = make_portfolio(
        folder=tmp_path / "a",
        customers=None,
        events=None,
        **plain,
        **{"events.parquet": frame.sort_values("client_id")},
    )
    folder = tmp_path / "b" / "events"
    folder.mkdir(parents=True)
    for month, rows in frame.groupby(frame["occurred_at"].dt.month):
        rows.to_parquet(folder / f"{month}.parquet")
    other = make_portfolio(folder=tmp_path / "b", customers=None, events=None, **plain)
    assert contents(staged) == contents(other)
    assert len(list((tmp_path / "a" / ".healthseg" / "tables" / "events").glob("*/month=*"))) > 1
    assert not list((tmp_path / "b" / ".healthseg" / "tables" / "events").glob("*/month=*"))


def test_the_machines_time_zone_changes_nothing(make_portfolio, tmp_path, monkeypatch):
    files = {f"{name}.csv": frame for name, frame in tables().items()}
    results = []
    try:
        for zone in ("UTC", "Pacific/Auckland"):
            monkeypatch.setitem(os.environ, "TZ", zone)
            time.tzset()
            results.append(
                contents(
                    make_portfolio(folder=tmp_path / zone[:3], customers=None, events=None, **files)
                )
            )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert results[0] == results[1]


def test_semicolons_a_byte_order_mark_and_quotes_are_read(make_portfolio):
    text = '\ufeffclient_id;name;signup_date\r\nacme;"Acme; ""the"" one";2025-01-01\r\n'
    assert make_portfolio(customers=text).client("acme")["name"] == 'Acme; "the" one'


def test_a_naive_column_without_any_time_of_day_holds_calendar_days(make_portfolio):
    frame = pd.DataFrame(
        {"client_id": ["acme"] * 2, "occurred_at": pd.to_datetime(["2025-03-01", "2025-03-02"])}
    )
    portfolio = make_portfolio(events=None, **{"events.parquet": frame})
    assert portfolio.table("events")["occurred_at"].dt.day.tolist() == [1, 2]
    assert portfolio.connection().execute(
        "SELECT BOOL_OR(occurred_has_time) FROM events"
    ).fetchall() == [(False,)]
    assert any(
        "read as calendar days" in warning for warning in portfolio.reports["events"].warnings
    )
