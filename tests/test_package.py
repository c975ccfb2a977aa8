"""``import healthseg`` offers everything and loads nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import healthseg

STUB = Path(healthseg.__file__).with_name("__init__.pyi")


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_healthseg_loads_no_library() -> None:
    heavy = "duckdb pandas numpy pyarrow pydantic sqlalchemy scipy statsmodels sklearn altair papermill nbconvert"
    loaded = run(f"import sys, healthseg; print([m for m in {heavy.split()} if m in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("name", healthseg.__all__)
def test_every_name_that_is_offered_is_there(name: str) -> None:
    assert name in dir(healthseg)
    assert getattr(healthseg, name) is not None


def test_the_stub_lists_the_names_that_it_imports() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    imported = {
        name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert set(ast.literal_eval(assigned[0])) == imported == set(healthseg.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No healthseg attribute Portfolo"):
        healthseg.Portfolo  # noqa: B018
