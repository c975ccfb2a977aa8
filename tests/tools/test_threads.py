"""One portfolio used by twelve threads at once: every tool answers, and as it does alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import healthseg as hs

pytestmark = pytest.mark.slow

THREADS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("threads") / "demo"
    hs.make_demo(folder, clients=6, months=3, events="light", scenario="plain", seed=3)
    return folder


def calls(portfolio: hs.Portfolio, client: str) -> list[Callable[[], Any]]:
    """The eight tools."""
    return [
        lambda: hs.calculate_health_score(portfolio, client),
        lambda: hs.track_usage_engagement(portfolio, client),
        lambda: hs.track_feature_adoption(portfolio, client),
        lambda: hs.manage_lifecycle_stages(portfolio, client, "get_stage"),
        lambda: hs.track_adoption_milestones(portfolio, client),
        lambda: hs.segment_by_value_tier(portfolio),
        lambda: hs.segment_customers(portfolio, {}, "value", min_segment_size=1),
        lambda: hs.analyze_engagement_patterns(portfolio, "single_customer", client_id=client),
    ]


def test_threads_of_one_portfolio_get_what_one_alone_gets(folder):
    shared, begun = hs.Portfolio.open(folder), threading.Barrier(THREADS, timeout=60)
    client = sorted(hs.Portfolio.open(folder).table("customers")["client_id"])[0]

    def ask(number: int) -> tuple[int, dict[str, Any]]:
        begun.wait()
        tool = number % 8
        return tool, calls(shared, client)[tool]().to_dict()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(ask, range(THREADS)))
    with hs.Portfolio.open(folder) as alone:
        expected = [call().to_dict() for call in calls(alone, client)]
    assert sorted({tool for tool, _ in answers}) == list(range(8))
    assert [answer for _, answer in answers] == [expected[tool] for tool, _ in answers]
