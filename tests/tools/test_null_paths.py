"""On the demo portfolio only what is listed in null_paths.txt may be null, and what is listed is null somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from healthseg.errors import HealthsegError
from healthseg.reports import registry
from tests.reports.asked import asked_of

LISTED = [
    line.split(maxsplit=2)
    for line in Path(__file__).with_name("null_paths.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
EACH = 20  # every so many customers, one


def nulls(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from nulls(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from nulls(inner, path)
    elif value is None:
        yield path


def responses(tool: str, portfolio: Any) -> Iterator[dict[str, Any]]:
    """The portfolio's response, and those of some customers; one that has left is refused by some tools."""
    clients = sorted(portfolio.table("customers")["client_id"])[::EACH]
    yield registry.portfolio_response(tool, portfolio, asked_of(tool, clients[0])).to_dict()
    refused = 0
    for client in clients:
        try:
            yield registry.response(tool, portfolio, asked_of(tool, client)).to_dict()
        except HealthsegError:
            refused += 1
    assert refused < 2


@pytest.mark.parametrize("tool", registry.names())
def test_only_listed_paths_are_null_on_the_demo_portfolio(demo, tool):
    paths = {path for response in responses(tool, demo) for path in nulls(response)}
    listed = [pattern for name, pattern, _ in LISTED if name == tool]
    assert not {path for path in paths if not any(fnmatchcase(path, pattern) for pattern in listed)}
    assert not {
        pattern for pattern in listed if not any(fnmatchcase(path, pattern) for path in paths)
    }
