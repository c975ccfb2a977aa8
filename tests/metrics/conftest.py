"""One small demo portfolio for the tests that need a lively one."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthseg.demo import make_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portfolio") / "demo"
    make_demo(folder, clients=12, events="light", scenario="plain")
    return folder
