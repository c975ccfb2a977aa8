"""The wheel works away from the checkout: it holds every file, and its commands need nothing else of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def healthseg_of(wheel: Path, tmp_path_factory):
    """Runs ``healthseg`` of the wheel in an empty folder; its standard output."""
    site, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    zipfile.ZipFile(wheel).extractall(site)
    others = {key: value for key, value in os.environ.items() if not key.startswith("HEALTHSEG_")}
    environment = {**others, "PYTHONPATH": str(site), "HOME": str(folder)}

    def run(*words: str, code: str = "") -> str:
        command = ["-c", code] if code else ["-m", "healthseg", *words]
        return subprocess.run(
            [sys.executable, "-P", *command],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert run(code="import healthseg; print(healthseg.__file__)").startswith(str(site))
    return run


def test_the_wheel_is_small_and_holds_every_file_of_the_package_and_the_notebooks(wheel: Path):
    files = zipfile.ZipFile(wheel).namelist()
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "healthseg").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    notebooks = {
        "healthseg/" + path.relative_to(ROOT).as_posix()
        for path in (ROOT / "notebooks").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    assert package | notebooks <= set(files)
    assert not [name for name in files if name.startswith(("tests/", "docs/", "benchmarks/"))]
    assert wheel.stat().st_size <= 3 * MEGABYTE


def test_from_an_empty_folder_to_a_page_and_notebooks_of_one_s_own(healthseg_of):
    healthseg_of("demo", "--clients", "12", "--months", "7", "--events", "light")
    outcome = json.loads(
        healthseg_of(
            "report",
            "track_usage_engagement",
            "--client",
            "cs_client_001",
            "--workers",
            "1",
            "--json",
        )
    )
    assert (outcome["reports"], outcome["failed"]) == (1, 0)
    copied = healthseg_of(
        code="from pathlib import Path; from healthseg.cli.report import copied_notebooks;"
        "print(len(list(copied_notebooks(Path('notebooks')).rglob('*.ipynb'))))"
    )
    assert int(copied) >= 20
