"""Alerts of the portfolio: told once, again after the cooldown, and when they are over; delivered once, whatever happens."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pytest

from healthseg.cli import main as cli
from healthseg.data import outbox
from healthseg.data.portfolio import Portfolio
from healthseg.integrations.alerts import digest as alerts_page
from healthseg.integrations.alerts import run as alerts
from healthseg.integrations.alerts.run import ENDED, GOES_ON, NEW, QUIET
from healthseg.reports import registry
from healthseg.reports.html import index
from healthseg.settings.in_force import in_force
from healthseg.testing import tiny_portfolio

DAY = dt.timedelta(days=1)
LATE = dt.date(2025, 5, 1)  # when b's invoice was due; told from 30 days late, on the 31st


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two customers used every day; b owes an invoice from 1 May, and pays on 12 June."""
    days = pd.date_range("2025-04-01", "2025-06-20").strftime("%Y-%m-%d 09:00")
    events = [
        (client, day, f"{client}{k}") for day in days for client in ("a", "b") for k in (1, 2)
    ]
    invoices = pd.DataFrame(
        {
            "invoice_id": ["i1", "i2"],
            "client_id": ["a", "b"],
            "amount": [10, 10],
            "issued_on": "2025-04-01",
            "due_on": str(LATE),
            "paid_on": ["2025-04-20", "2025-06-12"],
        }
    )
    csms = pd.DataFrame({"csm_id": ["m1"], "contact": ["m1@example.com"]})
    customers = pd.DataFrame(
        {
            "client_id": ["a", "b"],
            "name": ["Ann", "<b>Bob</b>"],
            "signup_date": "2024-01-01",
            "csm_id": ["m1", "m1"],
        }
    )
    return Path(tiny_portfolio(events, customers, invoices=invoices, csms=csms).path)


def run_on(folder: Path, day: str, **environment: str) -> alerts.AlertRun:
    """A run on a day, with a file as the handler of every action."""
    settings = {
        "data_until": day,
        "outbox": {
            "handlers": {"file": {"kind": "file", "path": "told.jsonl"}},
            "routes": {"*": "file"},
        },
    }
    portfolio = Portfolio.open(folder, settings)
    only_health = {"anomaly": "false", "stuck_stage": "false"}
    variables = {
        f"HEALTHSEG_ALERTS__{key.upper()}": value
        for key, value in (only_health | environment).items()
    }
    return alerts.run(portfolio, in_force(str(folder), variables))


def statuses(run: alerts.AlertRun, rule: str = "overdue_invoice") -> list[tuple[str, str]]:
    return [(alert.client_id, alert.status) for alert in run.alerts if alert.rule == rule]


def delivered(folder: Path) -> list[tuple[str, str, str]]:
    """What the file got, in order: customer, rule and status of each alert of each message."""
    path = folder / "told.jsonl"
    return [
        (alert["client_id"], alert["rule"], alert["status"])
        for message in messages(path)
        for alert in message["alerts"]
    ]


def messages(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_an_alert_is_told_once_again_after_its_cooldown_and_when_it_is_over(folder):
    by_day = {
        day: statuses(run_on(folder, day))
        for day in (
            "2025-05-30",
            "2025-05-31",
            "2025-06-07",
            "2025-06-08",
            "2025-06-11",
            "2025-06-12",
            "2025-06-13",
        )
    }
    assert by_day == {
        "2025-05-30": [],
        "2025-05-31": [("b", NEW)],
        "2025-06-07": [("b", QUIET)],
        "2025-06-08": [("b", GOES_ON)],
        "2025-06-11": [("b", QUIET)],
        "2025-06-12": [("b", ENDED)],
        "2025-06-13": [],
    }
    assert [message for message in delivered(folder) if message[1] == "overdue_invoice"] == [
        ("b", "overdue_invoice", status) for status in (NEW, GOES_ON, ENDED)
    ]


def test_a_run_made_twice_tells_nothing_twice(folder):
    first = run_on(folder, "2025-05-31")
    assert statuses(first) == [("b", NEW)] and first.delivery["delivered"] >= 1
    before = delivered(folder)
    assert statuses(run_on(folder, "2025-05-31")) == [("b", QUIET)] and delivered(folder) == before


def test_a_day_before_the_last_run_is_shown_and_tells_nothing(folder):
    run_on(folder, "2025-06-02")
    before = delivered(folder)
    assert statuses(run_on(folder, "2025-05-31")) != [] and delivered(folder) == before


@pytest.mark.slow
def test_what_comes_back_within_the_cooldown_stays_quiet(folder):
    run_on(folder, "2025-06-11")
    assert statuses(run_on(folder, "2025-06-12")) == [("b", ENDED)]
    paid = (folder / "invoices.csv").read_text()
    (folder / "invoices.csv").write_text(paid.replace("2025-06-12", ""))  # the payment bounced
    assert statuses(run_on(folder, "2025-06-13")) == [("b", QUIET)]
    assert statuses(run_on(folder, "2025-06-19")) == [("b", NEW)]


def test_settings_move_thresholds_and_switch_rules_off(folder):
    assert statuses(run_on(folder, "2025-05-11", overdue_days="10")) == [("b", NEW)]
    assert statuses(run_on(folder, "2025-05-12", overdue_days="null")) == [("b", ENDED)]
    assert statuses(run_on(folder, "2025-06-01", minimum_severity="critical")) == []


def test_a_manager_gets_one_message_a_run_with_rules_figures_words_and_links(folder):
    run = run_on(folder, "2025-05-31", reports_url="https://reports.example/cs/")
    (message,) = messages(folder / "told.jsonl")
    assert message["recipients"] == ["m1@example.com"] and message["action"] == "alert"
    assert message["idempotency_key"] and message["manager"] == "m1" and message["first_run"]
    assert len(message["alerts"]) == sum(alert.is_announced for alert in run.alerts)
    overdue = next(alert for alert in message["alerts"] if alert["rule"] == "overdue_invoice")
    assert overdue["figures"]["worst_days_overdue"] == 30
    link = "https://reports.example/cs/index.html#customer=b"
    assert overdue["link"] == link and link in message["text"]
    assert "<b>Bob</b>: " in message["text"] and "An invoice is 30 days overdue" in message["text"]


def test_the_second_run_is_no_start(folder):
    run_on(folder, "2025-05-31")
    run_on(folder, "2025-06-12")
    first, second = messages(folder / "told.jsonl")
    assert first["first_run"] and not second["first_run"]


def test_without_a_handler_the_alert_is_noted_and_said_not_to_be_configured(folder):
    portfolio = Portfolio.open(folder, {"data_until": "2025-05-31"})
    run = alerts.run(portfolio, in_force(str(folder), {}))
    assert statuses(run) == [("b", NEW)]
    entries = outbox.everything(portfolio.ledger())
    assert entries and {entry.status for entry in entries} == {outbox.NOT_CONFIGURED}


def test_breaking_away_and_being_stuck_are_alerts(tmp_path):
    days = pd.date_range("2025-03-01", "2025-07-31")
    events = [
        (f"c{k}", day.strftime("%Y-%m-%d 09:00"), user)
        for k in range(12)
        for day in days
        for user in ("u1", "u2", "u3")
        # c0 goes on with one user on Mondays: it is not inactive
        if k or day < pd.Timestamp("2025-07-08") or (user == "u1" and day.day_of_week == 0)
    ]
    portfolio = tiny_portfolio(events)
    raised = alerts.run(portfolio, in_force(str(portfolio.path), {})).alerts
    assert {alert.client_id for alert in raised if alert.rule == alerts.ANOMALY} == {"c0"}
    switched = alerts.evaluate(
        portfolio, in_force("", {"HEALTHSEG_ALERTS__ANOMALY": "false"}).alerts
    )
    assert all(alert.rule != alerts.ANOMALY for alert in switched)


def test_the_command_writes_the_digest_with_names_as_text(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_SETTINGS__DATA_UNTIL", "2025-05-31")
    assert (
        cli.main(
            ["alerts", "run", "--portfolio", str(folder), "--out", str(tmp_path / "out"), "--json"]
        )
        == 0
    )
    reply = json.loads(capsys.readouterr().out)
    assert reply["counts"]["new"] >= 1 and reply["as_of"] == "2025-05-31"
    markup = (tmp_path / "out" / alerts_page.FILE).read_text()
    assert (
        "&lt;b&gt;Bob&lt;/b&gt;" in markup and "<b>Bob" not in markup and "What is new?" in markup
    )
    assert "30 days overdue" in markup and "http://" not in markup and "All reports" not in markup


def test_the_digest_and_the_index_lead_to_each_other(folder, tmp_path):
    portfolio, at = Portfolio.open(folder), dt.datetime(2025, 5, 31, tzinfo=dt.UTC)
    reports = index.ReportFolder(tmp_path, tmp_path, (), {})
    overview = registry.portfolio_response("calculate_health_score", portfolio, {})
    assert alerts_page.FILE not in index.page(overview, reports, (), {}, at, 1.0)
    (tmp_path / "index.html").write_text("the run before")
    written = alerts_page.write(alerts.AlertRun(dt.date(2025, 5, 31), (), {}), tmp_path, at)
    assert '<a href="index.html">All reports</a>' in written.read_text("utf-8")
    assert f'<a href="{alerts_page.FILE}">Alerts' in index.page(overview, reports, (), {}, at, 1.0)
