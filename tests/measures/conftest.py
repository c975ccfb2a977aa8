"""One small demo book for the tests that need a lively one."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthseg.data.demo import write_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book") / "demo"
    write_demo(folder, clients=12, events="light")
    return folder
