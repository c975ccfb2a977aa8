"""The documentation: its code runs, its links lead somewhere, its reference holds what the code has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import healthseg
from healthseg import metrics
from healthseg.cli.main import COMMANDS
from healthseg.demo import make_demo
from healthseg.reports import registry
from healthseg.settings.in_force import SECTIONS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.parent.name.startswith("_"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_CODE = [path for path in TEXTS if BLOCK.search(path.read_text(encoding="utf-8"))]
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
GENERATED = {"api", "tools", "commands", "settings"}


def ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a small ``data/demo`` in which the customer of the examples is live."""
    folder = tmp_path_factory.mktemp("reader")
    demo = folder / "data" / "demo"
    make_demo(demo, clients=40, months=10, seed=7, events="light", scenario="plain")
    customers = pd.read_parquet(demo / "customers.parquet").sort_values("client_id")
    live = customers.loc[customers["churned_on"].isna(), "client_id"].iloc[0]
    for path in demo.glob("*.parquet"):
        table = pd.read_parquet(path)
        if "client_id" in table:
            table.assign(client_id=table["client_id"].replace(live, "cs_client_123")).to_parquet(
                path
            )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_CODE, ids=ids)
def test_every_block_of_python_runs_in_its_order(path: Path, folder: Path, monkeypatch) -> None:
    """The blocks of a page share their names, as the cells of a notebook do."""
    monkeypatch.chdir(folder)
    names = {"__name__": "a_page"}
    with metrics.registered():
        for reason, code in BLOCK.findall(path.read_text(encoding="utf-8")):
            if not reason:
                exec(compile(code, ids(path), "exec"), names)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, str]:
    """The generated pages by name."""
    spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.write(tmp_path_factory.mktemp("generated"))
    return {page.stem: page.read_text(encoding="utf-8") for page in pages}


def test_the_reference_holds_every_public_name_tool_command_and_setting(reference) -> None:
    assert set(reference) == GENERATED
    for name in healthseg.__all__:
        assert len(re.findall(rf"healthseg\.{name}$", reference["api"], re.MULTILINE)) == 1, name
    for name in registry.served():
        assert f"\n## {name}\n" in reference["tools"]
    for name in COMMANDS:
        assert f"\n## healthseg {name}\n" in reference["commands"]
    for section, model in SECTIONS.items():
        assert f"\n## [{section}]\n" in reference["settings"]
        assert all(f"| `{name}` |" in reference["settings"] for name in model.model_fields)
    assert "silence that calls for a call" in reference["settings"]


def test_every_page_is_in_a_table_of_contents() -> None:
    listed: set[str] = set()
    for page in (DOCS / "index.md", DOCS / "decisions.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    listed |= {ids(page) for page in DOCS.glob(f"{line}.md")}
    assert {ids(page) for page in PAGES} - listed == {"docs/index.md"}


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", TEXTS, ids=ids)
def test_every_link_within_the_repository_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]+`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if target.parent == DOCS / "_generated":
            assert target.stem in GENERATED, link
            continue
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_gallery_shows_pages_that_are_made() -> None:
    shown = re.findall(r'href="gallery/([^"]+)"', (DOCS / "gallery.md").read_text("utf-8"))
    notebooks = {path.stem for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert len(shown) >= 8
    assert {Path(page).stem for page in shown} - {"index"} <= notebooks
