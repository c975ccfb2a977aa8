"""Every block of Python in the how-to guides runs, in the order of its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from healthseg import metrics
from healthseg.demo.portfolio import make_demo

GUIDES = sorted((Path(__file__).parents[1] / "docs" / "howto").glob("*.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small demo portfolio at data/demo, as the guides have it."""
    path = tmp_path_factory.mktemp("howto")
    make_demo(path / "data" / "demo", clients=40, months=9, events="light")
    return path


@pytest.mark.parametrize("guide", GUIDES, ids=[path.stem for path in GUIDES])
def test_the_blocks_of_a_guide_run(guide, folder, monkeypatch):
    monkeypatch.chdir(folder)
    text = guide.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": guide.stem}
    with metrics.registered():
        for block in blocks:
            exec(compile(block, str(guide), "exec"), names)
