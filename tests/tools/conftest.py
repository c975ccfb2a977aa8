"""A simulated portfolio and responses over it, made once; and tiny portfolios whose figures can be counted by hand."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.util
import os
from pathlib import Path

import pandas as pd
import pytest

import healthseg as hs
from healthseg.testing import tiny_portfolio
from healthseg.tools import portfolio_health

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo_folder(calculated_demo):
    """60 customers over 18 months: a third leave, a third lack a table."""
    return calculated_demo("tools", clients=60, events="light", scenario="plain")


@pytest.fixture(scope="session")
def demo(demo_folder):
    return hs.Portfolio.open(demo_folder)


@pytest.fixture(scope="session")
def truth(demo_folder):
    """A function: what was planted, by name."""
    return lambda name: pd.read_parquet(demo_folder / "truth" / f"{name}.parquet")


@pytest.fixture(scope="session")
def response(demo):
    """A function: the demo's response for a customer with the default parameters, on a date."""
    return functools.cache(
        lambda client_id, as_of=None: hs.calculate_health_score(demo, client_id, as_of=as_of)
    )


@pytest.fixture(scope="session")
def responses(demo, response):
    """The response of every customer of the demo, by client_id."""
    return {client: response(client) for client in demo.table("customers")["client_id"]}


@pytest.fixture(scope="session")
def health_portfolio(demo):
    return portfolio_health(demo)


def daily(client_id, start, end, *users, features=("plan",)):
    """Events of ``tiny_portfolio``: each user uses each feature at nine on every day of [start, end]."""
    days = pd.date_range(start, end).strftime("%Y-%m-%d 09:00:00")
    return [
        (client_id, day, user, feature) for day in days for user in users for feature in features
    ]


@pytest.fixture(scope="session")
def daily_events():
    return daily


@pytest.fixture(scope="session")
def kinds():
    """Portfolios of one customer, ``a``, in which a score is: healthy, withheld, ramping, capped, frozen."""
    events = daily("a", "2025-01-01", "2025-06-30", "u1", "u2")
    signup = pd.DataFrame({"client_id": ["a"], "signup_date": ["2024-06-01"]})
    contracts = pd.DataFrame(
        {
            "client_id": ["a"],
            "starts_on": ["2024-06-01"],
            "ends_on": ["2025-09-01"],
            "arr": [12000],
            "seats": [2],
        }
    )
    old = daily("b", "2025-01-01", "2025-06-30", "u9")
    unpaid = pd.DataFrame(
        {
            "invoice_id": ["i1"],
            "client_id": ["a"],
            "amount": [100],
            "issued_on": ["2025-03-01"],
            "due_on": ["2025-04-01"],
            "paid_on": [None],
        }
    )
    return {
        "healthy": tiny_portfolio(
            events, signup, contracts=contracts, invoices=unpaid.assign(paid_on="2025-03-20")
        ),
        "withheld": tiny_portfolio(
            daily("a", "2025-01-01", "2025-01-03", "u1"), signup, {"data_until": "2025-01-20"}
        ),
        "ramping": tiny_portfolio(
            [*daily("a", "2025-06-01", "2025-06-30", "u1"), *old],
            pd.DataFrame({"client_id": ["a", "b"], "signup_date": ["2025-06-01", "2024-06-01"]}),
            contracts=contracts.assign(starts_on="2025-06-01"),
        ),
        "capped": tiny_portfolio(events, signup, contracts=contracts, invoices=unpaid),
        "frozen": tiny_portfolio(
            events, signup.assign(churned_on="2025-06-10"), contracts=contracts
        ),
    }


@pytest.fixture(scope="session")
def conform():
    """The reference's own check of a response's shape, where it is at hand."""
    shared = Path(
        os.environ.get("HEALTHSEG_SHARED_DATA", REPOSITORY.parent / "shared" / "data")
    ).parent
    path = shared / "reference" / "conform.py"
    if not path.is_file():
        pytest.skip(f"the reference's conform.py is not at {path}")
    spec = importlib.util.spec_from_file_location("conform", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems


@pytest.fixture(scope="session")
def days_before():
    """A function: the date so many days before another."""
    return lambda date, days: date - dt.timedelta(days=days)
