"""The scripts of pages, and the policy that allows these and nothing else: each by its hash, nothing from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from healthseg.charts import theme
from healthseg.reports.html.writer import SPEC

_SPECS = re.compile(rf'<script type="{re.escape(SPEC)}" class="hs-spec">[^<]*</script>')
_PARTS = (
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
)


def templates() -> Path:
    """The folder of the reports' templates."""
    return Path(str(resources.files("healthseg.reports.html"))) / "templates"


def policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: no network, and of scripts these alone.

    Vega compiles its charts' expressions, so a page with its bundle allows that as well; what it compiles comes from
    charts of ours, whose texts are data.
    """
    hashes = [f"'sha256-{_hash(script)}'" for script in scripts]
    compiled = ["'unsafe-eval'"] if any(len(script) > _BUNDLE for script in scripts) else []
    allowed = f"script-src {' '.join([*hashes, *compiled])}" if scripts else "script-src 'none'"
    return "; ".join([_PARTS[0], allowed, *_PARTS[1:]])


_BUNDLE = 500_000


@functools.lru_cache(maxsize=16)
def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@functools.cache
def report() -> str:
    """Sorting and paging of tables, and the what-if of the weights."""
    return _file("report.js")


@functools.cache
def index() -> str:
    """Search, sorting and paging of the portfolio at a glance."""
    return _file("index.js")


@functools.cache
def charts() -> str:
    """Draws each chart of a page from its grammar, in the page's colours, with figures under the pointer."""
    return _file("charts.js").replace("/*names*/{}", json.dumps(theme.VARIABLES, sort_keys=True))


@functools.cache
def pieces() -> str:
    """The look of tables and charts, for pages whose notebook does not bring it along."""
    return _file("pieces.css")


def _file(name: str) -> str:
    return (templates() / name).read_text("utf-8").strip()


@functools.cache
def vega() -> str:
    """Vega with its embedder and what they need as one script."""
    import vl_convert

    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--").strip()


def has_specs(piece: str) -> bool:
    """Whether a piece of a page holds charts that can be drawn interactively."""
    return f'<script type="{SPEC}"' in piece


def without_specs(piece: str) -> str:
    """The same piece with its charts as pictures only."""
    return _SPECS.sub("", piece)
