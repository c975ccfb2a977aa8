"""What all tests share: properties are tried on the same cases each time, however busy the machine; and demo portfolios
whose scores and models are calculated once, of which each module takes a copy.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

import healthseg as hs
from healthseg.settings import metrics as metric_settings
from tests.reports.made import Portfolio, portfolio_in

settings.register_profile("healthseg", derandomize=True, deadline=None)
settings.load_profile("healthseg")

# which files beside portfolios are trusted is the operator's own matter: here nobody's
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="healthseg-tests-")


# tests leave much behind and little of it in circles: looking for these took a tenth of the time
gc.set_threshold(2_000, 20, 100)

# a program of a user: it registers a metric
collect_ignore = ["public_program.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks are slow: the first of them calculates the whole demo portfolio."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def disk_that_is_not_waited_for():
    """No power is cut while tests run: what a process writes may reach the disk later. The order of writing is a test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def metrics_of_this_module():
    """The metrics of portfolios are known to their process: here not beyond the module that opened them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metric_settings, "_declared", dict(metric_settings.declared()))
        yield


@pytest.fixture(scope="session")
def calculated_demo(tmp_path_factory) -> Callable[..., Path]:
    """A function: a folder of one's own with a demo portfolio, its health calculated by whichever process came first."""
    # the processes of one run have folders beside each other
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, **demo: Any) -> Path:
        whole = shared / f"calculated-{name}"
        with FileLock(f"{whole}.lock"):
            if not whole.is_dir():
                hs.make_demo(folder := tmp_path_factory.mktemp(name) / "demo", **demo)
                hs.portfolio_health(hs.Portfolio.open(folder))
                folder.rename(whole)
        return Path(shutil.copytree(whole, tmp_path_factory.mktemp(name) / "demo"))

    return folder_of


@pytest.fixture(scope="module")
def small_portfolio(calculated_demo) -> Portfolio:
    """Forty customers over nine months, with few events."""
    demo = {"clients": 40, "months": 9, "seed": 7, "events": "light", "scenario": "plain"}
    return portfolio_in(calculated_demo("small", **demo))
