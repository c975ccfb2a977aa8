"""The pages of stages: what a manager has to find on them, and that they only read."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pandas as pd
import pytest
from mcp.types import Implementation

import healthseg as hs
from healthseg.cli import main as cli
from healthseg.integrations.mcp import server as mcp_server
from healthseg.reports.html.writer import safe
from healthseg.reports.pages import page_spec
from healthseg.reports.render import ReportPage
from healthseg.testing import tiny_portfolio
from healthseg.tools import manage_lifecycle_stages, portfolio_lifecycle
from tests.reports.test_mcp import own_cache, talk

__all__ = ["own_cache"]
TOOL = "manage_lifecycle_stages"


@pytest.fixture(scope="module")
def portfolio(small_portfolio):
    return hs.Portfolio.open(small_portfolio.folder)


def sections(response, portfolio, whole: bool = False) -> dict[str, str]:
    """The markup of the page's opening, sections and method by name."""
    shown = ReportPage(page_spec(TOOL, whole), response, portfolio)
    parts = {"opening": shown.opening(), **{name: shown.section(name) for name in shown.names}}
    parts["method"] = shown.method()
    return {name: part._repr_mimebundle_()["text/html"] for name, part in parts.items()}


def test_a_customers_page_answers_each_question(portfolio, small_portfolio):
    response = manage_lifecycle_stages(portfolio, small_portfolio.client_id, "get_stage")
    shown = sections(response, portfolio)
    assert response.current_stage.replace("_", " ").capitalize() in shown["opening"]
    assert "<svg" in shown["history"] and "Each change as it was entered" in shown["history"]
    assert all(
        text in shown["next_stage"] for text in map(safe, response.next_stage_criteria.criteria)
    )
    met = f"{response.next_stage_criteria.progress.criteria_met}</span> of"
    assert met in shown["next_stage"]
    assert "Kaplan" in shown["method"]


def test_the_portfolios_page_answers_each_question(portfolio):
    response = portfolio_lifecycle(portfolio)
    shown = sections(response, portfolio, whole=True)
    assert f"{response.total_customers} customers in" in shown["opening"]
    for name, words in (
        ("stages", "in a quarter, "),
        ("matrix", "Churn is most frequent after"),
        ("durations", "Half are out of"),
    ):
        assert words in shown[name] and "<svg" in shown[name]
    assert "$.returns[" in shown["back"]
    for row in response.disagreements:
        assert safe(row["name"]) in shown["apart"]


def test_a_customer_without_a_stage_and_a_portfolio_without_any_have_pages_that_say_so():
    empty = tiny_portfolio([("a", f"2025-03-{day:02d} 09:00", "u1") for day in range(1, 31)])
    shown = sections(manage_lifecycle_stages(empty, "a", "get_stage"), empty)
    assert "no stage is recorded" in shown["opening"].lower() and "not measured" in shown["usual"]
    whole = sections(portfolio_lifecycle(empty), empty, whole=True)
    assert "no stage was imported or recorded" in whole["opening"].lower()
    assert "No stage was imported or recorded" in whole["apart"]


def test_names_and_reasons_of_a_portfolio_are_text_on_the_page():
    hostile = "<script>alert(1)</script>"
    who = pd.DataFrame({"client_id": ["a"], "signup_date": ["2025-01-01"], "name": [hostile]})
    stages = pd.DataFrame(
        {
            "client_id": ["a"],
            "stage": ["active"],
            "effective_at": ["2025-02-01 10:00:00"],
            "reason": [hostile],
            "actor": [hostile],
        }
    )
    portfolio = tiny_portfolio([("a", "2025-03-01 09:00", "u1")], who, stage_changes=stages)
    customer = sections(manage_lifecycle_stages(portfolio, "a", "get_stage"), portfolio)
    whole = sections(portfolio_lifecycle(portfolio), portfolio, whole=True)
    markup = "".join((*customer.values(), *whole.values()))
    assert "<script>alert" not in markup and "&lt;script&gt;alert" in markup


def test_reports_only_read(small_portfolio, tmp_path, capsys):
    for parameters in (
        ["-p", "action=transition"],
        ["-p", "new_stage=churned"],
        ["-p", "transition_reason=x"],
    ):
        status = cli.main(
            [
                "report",
                "manage_lifecycle_stages",
                "--portfolio",
                str(small_portfolio.folder),
                "--client",
                small_portfolio.client_id,
                "--out",
                str(tmp_path / "out"),
                *parameters,
            ]
        )
        assert status == 1 and "only reads" in capsys.readouterr().err


# -- the commands ----------------------------------------------------------------------------------------------


@pytest.fixture
def copied(small_portfolio, tmp_path):
    folder = tmp_path / "portfolio"
    shutil.copytree(small_portfolio.folder, folder)
    return dataclasses.replace(small_portfolio, folder=folder)


def reply_of(capsys, *words: str) -> tuple[int, dict]:
    status = cli.main([*words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_advance_prints_a_plan_and_makes_it_only_when_it_is_told_to(copied, capsys):
    command = ("lifecycle", "advance", "--portfolio", str(copied.folder))
    status, plan = reply_of(capsys, *command)
    assert status == 0 and plan["applied"] is False and plan["moves"]
    portfolio = hs.Portfolio.open(copied.folder)
    assert not portfolio.has_ledger or portfolio.ledger().stage_events() == []
    status, done = reply_of(capsys, *command, "--apply")
    moved = [move for move in done["moves"] if move["outcome"] == "moved"]
    assert status == 0 and len(moved) == sum(move["automatic"] for move in plan["moves"])
    events = hs.Portfolio.open(copied.folder).ledger().stage_events()
    assert {(event.client_id, event.stage, event.automated, event.actor) for event in events} == {
        (move["client_id"], move["to_stage"], True, "rule") for move in moved
    }
    again = reply_of(capsys, *command, "--as-of", plan["as_of"], "--apply")[1]
    assert not [move for move in again["moves"] if move["outcome"] == "moved"]


def test_advance_can_be_asked_for_one_customer(copied, capsys):
    whole = reply_of(capsys, "lifecycle", "advance", "--portfolio", str(copied.folder))[1]["moves"]
    client = whole[0]["client_id"]
    chosen = reply_of(
        capsys, "lifecycle", "advance", "--portfolio", str(copied.folder), "--client", client
    )[1]["moves"]
    assert chosen == whole[:1]


def test_a_transition_over_the_command_line_is_delivered_by_an_delivery(copied, capsys):
    (copied.folder / "healthseg.toml").write_text(
        '[settings.outbox]\nroutes = { "*" = "log" }\n[settings.outbox.handlers.log]\nkind = "file"\n'
        'path = "log.jsonl"\n'
    )
    where = ("--portfolio", str(copied.folder))
    assert reply_of(capsys, "trust", str(copied.folder))[0] == 0
    status, response = reply_of(
        capsys,
        "run",
        "manage_lifecycle_stages",
        *where,
        "-p",
        f"client_id={copied.client_id}",
        "-p",
        "action=transition",
        "-p",
        "new_stage=churned",
        "-p",
        "transition_reason=left",
    )
    assert status == 0 and response["changed"] and response["current_stage"] == "churned"
    assert response["automated_actions_triggered"][0] == {
        "action": "update_crm_stage",
        "status": "scheduled",
        "reason": None,
        "attempts": 0,
        "scheduled_for": response["recorded_at"],
    }
    status, report = reply_of(capsys, "outbox", "run", *where)
    assert (
        status == 0
        and report["delivered"] == 2
        and report["outbox"] == {"completed": 2, "scheduled": 1}
    )
    lines = [json.loads(line) for line in (copied.folder / "log.jsonl").read_text().splitlines()]
    assert [line["action"] for line in lines] == ["update_crm_stage", "notify_csm"]
    assert reply_of(capsys, "outbox", "run", *where)[1]["delivered"] == 0


@pytest.mark.slow
def test_a_change_over_the_command_line_is_signed_by_the_user_unless_another_is_named(
    copied, capsys, monkeypatch
):
    monkeypatch.setenv("LOGNAME", "ann")

    def asks(stage: str, *more: str) -> dict:
        return reply_of(
            capsys,
            "run",
            "manage_lifecycle_stages",
            "--portfolio",
            str(copied.folder),
            "-p",
            f"client_id={copied.client_id}",
            "-p",
            "action=update_stage",
            "-p",
            f"new_stage={stage}",
            *more,
        )[1]

    assert asks("trial")["actor"] == "ann"
    assert asks("active", "--actor", "bob")["actor"] == "bob"
    assert asks("engaged", "-p", "actor=eve")["actor"] == "eve"
    read = reply_of(
        capsys,
        "run",
        "manage_lifecycle_stages",
        "--portfolio",
        str(copied.folder),
        "-p",
        f"client_id={copied.client_id}",
        "-p",
        "action=get_stage",
    )[1]
    assert read["actor"] == "eve", "who only reads signs nothing"
    assert [event.actor for event in hs.Portfolio.open(copied.folder).ledger().stage_events()] == [
        "ann",
        "bob",
        "eve",
    ]


def test_a_change_over_mcp_is_signed_by_the_caller(copied, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    desk = mcp_server.Desk(str(copied.folder))

    async def conversation(client) -> None:
        call = {"client_id": copied.client_id, "action": "update_stage", "new_stage": "trial"}
        assert not (await client.call_tool("manage_lifecycle_stages", call)).is_error
        as_bob = await client.call_tool("manage_lifecycle_stages", {**call, "actor": "bob"})
        assert as_bob.is_error and "actor is whoever calls" in as_bob.content[0].text

    talk(mcp_server.server(desk), conversation, client_info=Implementation(name="bob", version="1"))
    desk.responses.close()
    events = hs.Portfolio.open(copied.folder).ledger().stage_events()
    assert [event.actor for event in events] == ["ann"]
