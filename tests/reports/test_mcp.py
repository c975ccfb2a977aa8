"""The MCP server, asked by the official client: tools, responses, errors, limits, reports, and who is let in."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from healthseg.cli import main as cli
from healthseg.integrations.mcp import calls as mcp_calls
from healthseg.integrations.mcp import server as mcp_server
from healthseg.integrations.mcp import tools as mcp_tools
from healthseg.integrations.mcp.server import SCHEME
from healthseg.reports import registry
from healthseg.reports.responses import WRITERS, Response, Responses
from healthseg.settings.operator import LimitSettings
from healthseg.testing import tiny_portfolio
from healthseg.tools import PORTFOLIO_TOOLS, TOOLS
from tests.reports.asked import asked_of
from tests.reports.made import Portfolio
from tests.tools.conftest import conform

__all__ = ["conform"]
TOKEN = "canary-token-0123456789"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Counters and responses of these tests, apart from the machine's."""
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HEALTHSEG_MCP__PROCESSES", "0")  # those that need processes say so


def body(result: Any) -> dict[str, Any]:
    """A result's only content."""
    assert result.structured_content is None and len(result.content) == 1
    return json.loads(result.content[0].text)


def desk_of(folder: Path | str, **more: Any) -> mcp_server.Desk:
    return mcp_server.Desk(str(folder), **more)


def talk(server: Any, conversation: Callable[[Client], Any], **more: Any) -> Any:
    """What a conversation with a server gives, or the protocol's error; in this process where the server is one."""

    async def run() -> tuple[Any, MCPError | None]:
        async with Client(server, **more) as client:
            try:
                return await conversation(client), None
            except MCPError as problem:  # raised outside: within it would come as a group
                return None, problem

    result, problem = anyio.run(run)
    if problem is not None:
        raise problem
    return result


def called(desk: mcp_server.Desk, tool: str, arguments: dict[str, Any]) -> Any:
    return talk(mcp_server.server(desk), lambda client: client.call_tool(tool, arguments))


@pytest.fixture(scope="module")
def answered(small_portfolio: Portfolio, tmp_path_factory) -> dict[str, Any]:
    """Every tool's result over MCP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEALTHSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HEALTHSEG_MCP__PROCESSES", "0")
        desk = desk_of(small_portfolio.folder)

        async def all_of(client: Client) -> dict[str, Any]:
            await client.list_tools()
            return {
                name: await client.call_tool(
                    name, asked_of(name, small_portfolio.client_id) | {"detail": "full"}
                )
                for name in TOOLS
            }

        return talk(mcp_server.server(desk), all_of)


def test_every_tool_of_the_registry_is_listed_with_typed_parameters_and_words():
    portfolio = tiny_portfolio([("a", "2025-03-03 09:00", "u1")])
    listed = talk(
        mcp_server.server(desk_of(portfolio.path)), lambda client: client.list_tools()
    ).tools
    assert [tool.name for tool in listed] == [*TOOLS, *PORTFOLIO_TOOLS]
    for tool in listed:
        parameters = set(registry.tool(tool.name).parameters.model_fields)
        assert set(tool.input_schema["properties"]) == parameters - {"actor"} | {"detail"}
        assert tool.input_schema["additionalProperties"] is False and tool.output_schema is None
        assert (
            tool.description.startswith(registry.tool(tool.name).summary)
            and ">>>" not in tool.description
        )
        writes = tool.name in {*WRITERS, *mcp_tools.APPENDS}
        assert tool.annotations.read_only_hint is not writes
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)


def test_the_list_of_tools_is_at_most_15_000_tokens():
    """A token is about four characters; every conversation begins with the list."""
    texts = [tool.model_dump_json(by_alias=True, exclude_none=True) for tool in mcp_tools.listed()]
    assert sum(map(len, texts)) / 4 <= 7_000


@pytest.mark.parametrize("tool", TOOLS)
def test_a_response_over_mcp_is_of_its_schema_and_the_reference_s_shape(answered, tool, conform):
    result = answered[tool]
    assert not result.is_error, result.content[0].text
    jsonschema.validate(body(result), mcp_tools.response_schema(tool))
    assert conform(tool, body(result)) == []


@pytest.mark.parametrize("tool", TOOLS)
def test_a_summary_is_short_has_the_response_s_figures_and_says_what_it_leaves_out(answered, tool):
    full = body(answered[tool])
    summary = mcp_tools.summarised(Response(full, "the verdict", {"Score": 82}))
    assert summary["verdict"] == "the verdict" and summary["summary"] == {"Score": 82}
    assert len(json.dumps(summary, ensure_ascii=False)) <= mcp_tools.SUMMARY_CHARACTERS + 200
    for key in full:
        assert key in summary or summary["left_out"][key] == "all of it"
    scalars = {key: value for key, value in full.items() if isinstance(value, int | float)}
    assert scalars.items() <= summary.items()


@pytest.mark.parametrize("tool", TOOLS)
def test_mcp_command_line_and_python_give_the_same_response(
    answered, tool, small_portfolio: Portfolio, capsys
):
    import healthseg as hs

    parameters = asked_of(tool, small_portfolio.client_id)
    over_mcp = {key: value for key, value in body(answered[tool]).items() if key != "cache"}
    assert (
        cli.main(
            [
                "run",
                tool,
                "--portfolio",
                str(small_portfolio.folder),
                "--params",
                json.dumps(parameters),
            ]
        )
        == 0
    )
    over_cli = json.loads(capsys.readouterr().out)
    del over_cli["cache"]
    in_python = (
        TOOLS[tool].function(hs.Portfolio.open(small_portfolio.folder), **parameters).to_dict()
    )
    assert over_mcp == over_cli == in_python


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("calculate_health_score", {"client_id": "cs_client@123"}, "INVALID_CLIENT_ID"),
        ("calculate_health_score", {"client_id": "nobody"}, "CLIENT_NOT_FOUND"),
        (
            "calculate_health_score",
            {"client_id": "a", "lookback_period_days": 1000},
            "INVALID_PARAMETERS",
        ),
        ("calculate_health_score", {"client_id": "a", "lookback": 30}, "INVALID_PARAMETERS"),
        ("calculate_health_score", {}, "INVALID_PARAMETERS"),
        (
            "calculate_health_score",
            {"client_id": "a", "scoring_model": "ml_predictive"},
            "CALCULATION_ERROR",
        ),
    ],
)
def test_an_error_is_the_reference_s_object(tool, arguments, code):
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    result = called(desk_of(portfolio.path), tool, arguments)
    assert result.is_error and body(result)["error_code"] == code
    assert set(body(result)) == {"status", "error_code", "error_message", "details"}
    assert set(body(result)["details"]) >= {
        "parameter",
        "value_provided",
        "validation_rule",
    }
    jsonschema.validate(body(result), mcp_tools.response_schema(tool))


def test_missing_data_and_a_silent_database_are_errors_of_their_own(tmp_path):
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    result = called(desk_of(tmp_path), "track_usage_engagement", {"client_id": "a"})
    assert body(result)["error_code"] == "DATA_RETRIEVAL_ERROR"
    silent = desk_of("postgresql://user:canary-password@127.0.0.1:1/none")
    result = called(silent, "track_usage_engagement", {"client_id": "a"})
    assert body(result)["error_code"] == "INTEGRATION_ERROR"
    assert "canary-password" not in result.model_dump_json()


def test_a_tool_that_is_none_is_an_error_of_the_protocol_with_the_nearest_name():
    portfolio = tiny_portfolio([("a", "2025-03-03 09:00", "u1")])
    with pytest.raises(MCPError, match=r"did you mean calculate_health_score\?"):
        called(desk_of(portfolio.path), "calculate_helth_score", {})


def test_new_data_are_seen_by_a_server_that_runs():
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    desk, parameters = (
        desk_of(portfolio.path),
        {"client_id": "a", "period_start": "2025-03-15", "period_end": "2025-03-29"},
    )

    def events() -> int:
        response = body(called(desk, "track_usage_engagement", parameters))
        return response["usage_analytics"]["total_events"]

    assert [events() for _ in range(3)] == [13, 13, 13]  # the 28th is not over
    with open(Path(portfolio.path) / "events.csv", "a") as handle:
        handle.write("a,2025-03-20 10:00,u3\n")
    assert events() == 14


def test_a_call_that_takes_long_says_so(monkeypatch):
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    desk, notes = desk_of(portfolio.path), []
    monkeypatch.setattr(mcp_server, "BEAT_SECONDS", 0.01)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        notes.append((progress, message))

    talk(
        mcp_server.server(desk),
        lambda client: client.call_tool(
            "calculate_health_score", {"client_id": "a"}, progress_callback=note
        ),
    )
    assert len(notes) >= 3 and notes == sorted(notes) and "calculate_health_score" in notes[0][1]


def test_eight_callers_at_once_each_get_their_own_answer():
    days = [f"2025-03-{day:02d} 09:00" for day in range(1, 29)]
    portfolio = tiny_portfolio(
        [(f"c{k}", day, f"u{user}") for k in range(8) for day in days for user in range(k + 1)]
    )
    desk, counts = desk_of(portfolio.path), {}

    async def conversation(client: Client) -> None:
        async def ask(k: int) -> None:
            result = await client.call_tool(
                "track_usage_engagement",
                {"client_id": f"c{k}", "period_start": "2025-03-15", "period_end": "2025-03-29"},
            )
            counts[k] = body(result)["usage_analytics"]["total_events"]

        async with anyio.create_task_group() as tasks:
            for k in range(8):
                tasks.start_soon(ask, k)

    talk(mcp_server.server(desk), conversation)
    assert counts == {k: 13 * (k + 1) for k in range(8)}


# -- limits ------------------------------------------------------------------------------------------------------


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


def refused(limits: mcp_calls.Limits, caller: str) -> int | None:
    """Seconds to wait, or None where the request is answered."""
    try:
        limits.take(caller)
    except mcp_calls.RateLimited as problem:
        return problem.to_dict()["details"]["retry_after_seconds"]
    return None


def test_a_caller_has_100_requests_a_minute_and_all_have_1000_an_hour(tmp_path):
    clock = Clock()
    limits = mcp_calls.Limits(tmp_path, LimitSettings(), clock)
    assert [refused(limits, "ann") for _ in range(100)] == [None] * 100
    clock.now += 20
    assert 40 <= refused(limits, "ann") <= 41 and refused(limits, "bob") is None
    clock.now += 41
    assert refused(limits, "ann") is None
    for caller in range(9):
        [limits.take(f"caller {caller}") for _ in range(99 + (caller < 7))]
    assert refused(limits, "late") >= 3500
    clock.now += 3600
    assert refused(limits, "late") is None


def test_one_of_several_callers_cannot_use_up_the_hour_of_the_others(tmp_path):
    clock = Clock()
    settings = LimitSettings(per_caller_a_minute=100, in_all_an_hour=20)
    limits = mcp_calls.Limits(tmp_path, settings, clock, callers=2)
    assert [refused(limits, "ann") is None for _ in range(12)] == [True] * 10 + [False] * 2
    assert [refused(limits, "ben") is None for _ in range(11)] == [True] * 10 + [False]


def test_processes_count_together(tmp_path):
    first, second = (
        mcp_calls.Limits(tmp_path, LimitSettings(per_caller_a_minute=3), Clock()) for _ in range(2)
    )
    assert [refused(each, "ann") is None for each in (first, second, first, second)] == [
        True,
        True,
        True,
        False,
    ]


def test_counters_that_are_forgotten_while_others_count_disturb_nobody(tmp_path):
    """A collection may come at any moment, also while another counter of the same thread holds the file's lock."""
    first, second = (mcp_calls.Limits(tmp_path, LimitSettings(), Clock()) for _ in range(2))
    first.take("ann"), second.take("ann")
    with second._buckets["everyone"].lock:
        del first  # what its finalizer raises is an error here
        gc.collect()
    assert refused(second, "ann") is None


def test_a_refused_request_is_an_error_object_with_seconds_to_wait(monkeypatch):
    monkeypatch.setenv("HEALTHSEG_LIMITS__PER_CALLER_A_MINUTE", "2")
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    desk = desk_of(portfolio.path)

    async def thrice(client: Client) -> list[Any]:
        return [
            await client.call_tool("track_usage_engagement", {"client_id": "a"}) for _ in range(3)
        ]

    *answered, refusal = talk(mcp_server.server(desk), thrice)
    assert [result.is_error for result in answered] == [False, False] and refusal.is_error
    error = body(refusal)
    assert (
        error["error_code"] == "RATE_LIMIT_EXCEEDED"
        and 1 <= error["details"]["retry_after_seconds"] <= 61
    )
    assert (
        Responses(portfolio.path).response("track_usage_engagement", {"client_id": "a"}).body
    )  # no other face is limited


# -- reports -----------------------------------------------------------------------------------------------------


def test_reports_are_resources_and_nothing_else_is(tmp_path, monkeypatch):
    reports = tmp_path / "reports"
    for name in (
        "index.html",
        "overview/health.html",
        "customers/acme/health.html",
        ".hidden/x.html",
        "customers/acme/data.csv",
    ):
        (reports / name).parent.mkdir(parents=True, exist_ok=True)
        (reports / name).write_text(f"<p>{name}</p>")
    (tmp_path / "secret.html").write_text("not a report")
    (reports / "link.html").symlink_to(tmp_path / "secret.html")
    (reports / "dangling.html").symlink_to(tmp_path / "gone.html")
    (reports / "shown.html").symlink_to(reports / ".hidden" / "x.html")
    monkeypatch.setenv("HEALTHSEG_MCP__REPORTS", str(reports))
    server = mcp_server.server(desk_of(tiny_portfolio([("a", "2025-03-03 09:00", "u1")]).path))
    listed = talk(server, lambda client: client.list_resources()).resources
    assert [resource.name for resource in listed] == [
        "index.html",
        "overview/health.html",
        "customers/acme/health.html",
    ]
    read = talk(server, lambda client: client.read_resource(f"{SCHEME}overview/health.html"))
    assert (
        read.contents[0].text == "<p>overview/health.html</p>"
        and read.contents[0].mime_type == "text/html"
    )
    for uri in (
        "../secret.html",
        "%2e%2e/secret.html",
        "link.html",
        "dangling.html",
        "shown.html",
        ".hidden/x.html",
        "customers/../.hidden/x.html",
        "customers/acme/data.csv",
        "none.html",
        "/etc/passwd",
    ):
        with pytest.raises(MCPError, match="no report"):
            talk(server, lambda client, uri=uri: client.read_resource(SCHEME + uri))


@pytest.mark.parametrize("cursor", ["²", "-1", "x", "1" * 5000])
def test_a_cursor_that_is_not_the_server_s_is_refused_in_words(cursor):
    server = mcp_server.server(desk_of(tiny_portfolio([("a", "2025-03-03 09:00", "u1")]).path))
    with pytest.raises(MCPError, match="is not a cursor of this server"):
        talk(server, lambda client: client.list_resources(cursor=cursor))


# -- over the wire -----------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[str]:
    """A server over HTTP on this machine; its address."""
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    app = mcp_server.http_app(desk_of(portfolio.path), {"ann": TOKEN})
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    server.should_exit = True
    thread.join()


def over_http(address: str, token: str | None, conversation: Callable[[Client], Any]) -> Any:
    async def run() -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            return await conversation(client)

    return anyio.run(run)


def test_over_http_only_the_token_is_let_in(served):
    def ask(client: Client) -> Any:
        return client.call_tool("track_usage_engagement", {"client_id": "a"})

    assert body(over_http(served, TOKEN, ask))["client_id"] == "a"
    for wrong in (None, "x", TOKEN[:-1], TOKEN + "x"):
        answer = httpx2.post(
            served,
            json={},
            headers={"Authorization": f"Bearer {wrong}"} if wrong is not None else {},
        )
        assert answer.status_code == 401 and "bearer" in answer.headers["WWW-Authenticate"].lower()
    strange = httpx2.post(
        served, json={}, headers={"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    )
    assert strange.status_code in (400, 403, 421)


def test_health_is_open_and_says_nothing_of_the_portfolio(served):
    response = httpx2.get(served.removesuffix("/mcp") + "/health")
    assert response.status_code == 200 and set(response.json()) == {"status", "version"}


def test_over_http_a_token_is_asked_for(small_portfolio: Portfolio, capsys, monkeypatch):
    twice = f"ann:{TOKEN},ben:{TOKEN}"
    for token in ("", "short", f"ann:{TOKEN},ann:{TOKEN}x", twice, f"an n:{TOKEN}", f"{TOKEN},"):
        monkeypatch.setenv("HEALTHSEG_MCP_TOKEN", token)
        assert cli.main(["mcp", "--http", "--portfolio", str(small_portfolio.folder)]) == 1
        printed = capsys.readouterr()
        assert "HEALTHSEG_MCP_TOKEN" in printed.err and printed.out == ""
        assert TOKEN not in printed.out + printed.err


def test_over_stdio_the_command_serves(tmp_path):
    portfolio = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 29)])
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "healthseg.cli.main", "mcp", "--portfolio", str(portfolio.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    async def conversation(client: Client) -> tuple[Any, Any]:
        return await client.list_tools(), await client.call_tool(
            "track_usage_engagement", {"client_id": "a"}
        )

    listed, result = talk(command, conversation)
    assert [tool.name for tool in listed.tools] == [*TOOLS, *PORTFOLIO_TOOLS]
    assert body(result)["client_id"] == "a"
