"""``import healthseg`` offers everything and loads nothing."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

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


# -- what the public names say of themselves -------------------------------------------------

PUBLIC = [name for name in healthseg.__all__ if not inspect.ismodule(getattr(healthseg, name))]
FUNCTIONS = [name for name in PUBLIC if inspect.isfunction(getattr(healthseg, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_is_with_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(healthseg, name)) or ""
    assert text.splitlines()[0].endswith((".", "?", ":"))
    assert ">>>" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_says_its_parameters_result_and_errors(name: str) -> None:
    function = getattr(healthseg, name)
    text, signature = inspect.getdoc(function) or "", inspect.signature(function)
    hints = get_type_hints(function, include_extras=True, localns=_typing_names(function))
    assert "aises" in text or "errors, are those of" in text
    assert hints["return"] is not type(None)
    for parameter in set(signature.parameters) - {"portfolio", "client_id", "as_of"}:
        assert _described(hints[parameter]) or re.search(rf"\b{parameter}\b", text), parameter


def _described(hint: object) -> bool:
    return any(getattr(part, "description", None) for part in getattr(hint, "__metadata__", ()))


def _typing_names(function: Callable[..., object]) -> dict[str, object]:
    """Names that a module imports for its annotations alone."""
    return {"Client": object, "Portfolio": healthseg.Portfolio}
