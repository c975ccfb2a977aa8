"""The MCP server over HTTP, asked by the official client: every tool, every error, and 1,000 calls by 8 clients.

    python benchmarks/mcp_server.py [--calls 1000] [--callers 8]

Every answer is compared with what Python gives for the same parameters. Exit status 1 where one is wrong or lost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import anyio  # noqa: E402
import httpx2  # noqa: E402
from mcp import Client  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.errors import HealthsegError  # noqa: E402
from healthseg.tools import TOOLS  # noqa: E402
from tests.reports.asked import asked_of  # noqa: E402

TOKEN = "benchmark-token-0123456789"
AROUND = ("cache", "degraded", "integrations")


def expected(portfolio: hs.Portfolio, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return TOOLS[tool].function(portfolio, **arguments).to_dict()
    except HealthsegError as problem:
        return problem.to_dict()


def questions(portfolio: hs.Portfolio) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Tool, parameters and the right answer: every tool for some customers, and errors."""
    rows = portfolio.table("customers")
    clients = [str(client) for client in rows.loc[rows["churned_on"].isna(), "client_id"]][:6]
    request = [(tool, asked_of(tool, client)) for tool in TOOLS for client in clients]
    request += [
        (tool, asked_of(tool, wrong))
        for tool in TOOLS
        for wrong in ("nobody", "no@body")
        if "client_id" in asked_of(tool, wrong)
    ]
    request += [("calculate_health_score", {"client_id": clients[0], "lookback_period_days": 1000})]
    return [(tool, arguments, expected(portfolio, tool, arguments)) for tool, arguments in request]


async def caller(
    address: str,
    number: int,
    calls: int,
    request: list[Any],
    wrong: list[str],
    durations: list[float],
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=600) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        await client.list_tools()
        for k in range(calls):
            tool, arguments, right = request[(number + 7 * k) % len(request)]
            before = time.perf_counter()
            result = await client.call_tool(tool, arguments | {"detail": "full"})
            durations.append(time.perf_counter() - before)
            body = json.loads(result.content[0].text)
            got = {key: value for key, value in body.items() if key not in AROUND}
            if got != right or result.is_error != ("error_code" in right):
                keys = [key for key in {*got, *right} if got.get(key) != right.get(key)]
                wrong.append(f"{tool} {arguments}: {', '.join(sorted(keys))}")


async def all_callers(
    address: str, callers: int, calls: int, request: list[Any]
) -> tuple[list[str], list[float]]:
    wrong: list[str] = []
    durations: list[float] = []
    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, address, number, calls // callers, request, wrong, durations)
    return wrong, durations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        portfolio_folder = Path(folder) / "portfolio"
        make_demo(portfolio_folder, clients=60, months=12, events="light")
        environment = {
            **os.environ,
            "HEALTHSEG_MCP_TOKEN": TOKEN,
            "HEALTHSEG_CACHE": f"{folder}/cache",
            "HEALTHSEG_LIMITS__PER_CALLER_A_MINUTE": "1000000",
            "PYTHONPATH": str(ROOT),
            "HEALTHSEG_LIMITS__IN_ALL_AN_HOUR": "1000000",
        }
        request = questions(hs.Portfolio.open(portfolio_folder))
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "healthseg.cli.main",
                "mcp",
                "--http",
                "--port",
                "8799",
                "--portfolio",
                str(portfolio_folder),
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            address = server.stderr.readline().strip()
            time.sleep(2)
            started = time.monotonic()
            wrong, durations = anyio.run(
                all_callers, address, options.callers, options.calls, request
            )
            seconds = time.monotonic() - started
        finally:
            server.terminate()
            server.wait()
    most = statistics.quantiles(durations, n=20)[-1]
    print(
        f"{len(TOOLS)} tools, {len(request)} different questions, {len(durations)} of {options.calls} calls answered by "
        f"{options.callers} clients in {seconds:.0f} s: {len(wrong)} wrong; "
        f"median {1000 * statistics.median(durations):.0f} ms, p95 {1000 * most:.0f} ms"
    )
    print("\n".join(wrong[:5]))
    return int(bool(wrong) or len(durations) != options.calls // options.callers * options.callers)


if __name__ == "__main__":
    sys.exit(main())
