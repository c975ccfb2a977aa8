"""The files around the package agree with each other, and the house's habits are kept."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import healthseg

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA_NAMES = {
    "duckdb": "python-duckdb",
    "typst": "typst-py",
    "tzdata": "python-tzdata",
}  # others have one name
ONLY_CONDA = {"python", "pip"}
ENGINES = {"spark"}  # heavy: in a lock of their own, which continuous integration installs


def requirements(texts: list[str]) -> dict[str, str]:
    """Bounds by normalised name."""
    parsed = [Requirement(text) for text in texts]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier) for requirement in parsed
    }


def locked(file: str = "requirements.lock") -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_environment_yml_holds_the_dependencies_of_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = requirements(environment["dependencies"])
    required = requirements(
        [
            *PROJECT["dependencies"],
            *(text for name, extra in EXTRAS.items() if name not in ENGINES for text in extra),
        ]
    )
    assert {name: bound for name, bound in conda.items() if name not in ONLY_CONDA} == {
        CONDA_NAMES.get(name, name): bound for name, bound in required.items()
    }
    assert conda["python"] == PROJECT["requires-python"]


def test_the_extras_are_these() -> None:
    assert set(EXTRAS) == {
        "dask",
        "docs",
        "lab",
        "mcp",
        "mixpanel",
        "mysql",
        "pdf",
        "postgres",
        "s3",
        "spark",
        "test",
    }


def test_the_lock_satisfies_the_bounds_of_pyproject() -> None:
    versions = locked() | locked("requirements-engines.lock")
    for text in [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_the_lock_holds_exact_versions_and_no_addresses() -> None:
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.+!]+", line), line
        assert "://" not in line


def test_every_library_that_the_package_imports_is_a_dependency() -> None:
    called = {"sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
    names = set()
    for path in python_files("healthseg"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    foreign = names - set(sys.stdlib_module_names) - {"healthseg"}
    extras = [text for extra in EXTRAS if extra != "test" for text in EXTRAS[extra]]
    declared = requirements([*PROJECT["dependencies"], *extras])
    assert {canonicalize_name(called.get(name, name)) for name in foreign} <= set(declared)


def test_the_commands_that_readme_and_contributing_name_are_targets() -> None:
    targets = set(
        re.findall(
            r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert {
        "help",
        "reports",
        "test",
        "lint",
        "lab",
        "bench",
        "evidence",
        "lock",
        "clean",
    } <= targets
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "reports/README.md",
        "data/README.md",
        ".pre-commit-config.yaml",
    ):
        named = re.findall(
            r"(?:^|`|\(|  )make ([a-z]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
        )
        assert set(named) <= targets, name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make reports" in readme and "make test" in readme


def test_make_without_a_target_lists_the_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "make reports" in listed and "make test" in listed


def test_the_readme_is_one_screen_and_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 50
    for link in re.findall(r"\]\(([^)]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_the_ci_script_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_version_is_written_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", healthseg.__version__)
    assert healthseg.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    python_files("healthseg", "tests", "benchmarks"),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_module_is_finished_and_not_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    longest = 560
    assert len(text.splitlines()) <= longest
    # in two parts each, since this file is read as well
    words = [
        "TO" + "DO",
        "FIX" + "ME",
        "XX" + "X",
        "NotImplemented" + "Error",
        "assert " + "True",
        "no " + "cover",
    ]
    assert [word for word in words if re.search(rf"\b{word}\b", text)] == []


def test_no_two_classes_have_one_name() -> None:
    """A table of the data and a table of a page are both called by their everyday name."""
    places: dict[str, list[str]] = {}
    for path in python_files("healthseg"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{path.name}: {node.name}")
    assert {name: at for name, at in places.items() if len(at) > 1 and name != "Table"} == {}
