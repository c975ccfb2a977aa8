"""What healthseg depends on: licences that bind nobody's own code, and no version with a known weakness."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
OF_DEVELOPMENT = ("test", "docs")
REQUIREMENTS = [
    Requirement(text)
    for group in (
        PROJECT["dependencies"],
        *(
            texts
            for name, texts in PROJECT["optional-dependencies"].items()
            if name not in OF_DEVELOPMENT
        ),
    )
    for text in group
    if not text.startswith("healthseg")
]
NAMES = sorted({requirement.name for requirement in REQUIREMENTS})


def rows(heading: str) -> list[list[str]]:
    """The rows of the page's table whose header begins so."""
    _, _, rest = PAGE.partition(f"| {heading} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


LICENCES = {
    name: licence for licence, names in rows("licence") for name in re.split(r",\s+", names)
}


@pytest.mark.parametrize("name", NAMES)
def test_a_dependency_has_the_licence_that_the_page_names(name):
    known = next((each for each in LICENCES if each.split()[0] == name), None)
    assert known is not None, f"docs/security.md does not name {name}"
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    texts = [metadata.get("License-Expression"), metadata.get("License")]
    texts += [text for text in metadata.get_all("Classifier") or [] if "License ::" in text]
    assert LICENCES[known] in " ".join(filter(None, texts))


def test_the_page_names_no_package_that_is_not_a_dependency():
    assert set(LICENCES) <= set(NAMES)


@pytest.mark.parametrize(("name", "least", "_"), rows("package"))
def test_versions_with_known_weaknesses_are_excluded(name, least, _):
    (minimum,) = {
        specifier.version
        for requirement in REQUIREMENTS
        if requirement.name == name
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }
    assert Version(minimum) >= Version(least)
    locked = re.search(
        rf"^{name}==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.M | re.I
    )
    assert locked is None or Version(locked[1]) >= Version(least)


@pytest.mark.parametrize(("name", "least", "_"), rows("brought along"))
def test_what_dependencies_bring_along_is_locked_at_versions_without_known_weaknesses(
    name, least, _
):
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    locked = re.search(rf"^{re.escape(name)}==(\S+)", lock, re.M | re.I)
    assert locked is not None and Version(locked[1]) >= Version(least)
