"""What responses, reports and the command say of a project's events."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from healthseg.cli import main as cli
from healthseg.errors import (
    DataRetrievalError,
    IntegrationError,
)
from healthseg.reports import freshness as integrations
from healthseg.reports.responses import Responses
from healthseg.settings.in_force import in_force
from tests.data.mixpanel_server import (
    FIRST,
    LAST,
    SECRET,
    Clock,
    serving,
    there,
    truth,
)


def replied(
    folder: Path, clock: Clock, monkeypatch, tool: str = "track_usage_engagement"
) -> dict[str, Any]:
    monkeypatch.setenv("HEALTHSEG_SETTINGS__DATA_UNTIL", "2025-03-13")
    return (
        Responses(str(folder), clock=lambda: clock().timestamp())
        .response(tool, {"client_id": "a"})
        .body
    )


def test_a_response_says_how_old_its_events_are_and_when_they_are_behind(
    tmp_path, project, sync, clock, monkeypatch
):
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    sync()
    reply = replied(tmp_path, clock, monkeypatch)
    assert reply["degraded"] is False and reply["usage_analytics"]["total_events"] == 24
    assert reply["integrations"]["mixpanel"] == {
        "used": True,
        "events_until": "2025-03-13",
        "reasons": [],
        "synced_at": clock.at.isoformat(),
        "age_hours": 0.0,
    }
    assert "degraded" not in replied(tmp_path, clock, monkeypatch, "calculate_health_score")
    clock.at += dt.timedelta(hours=37)
    aged = replied(tmp_path, clock, monkeypatch)
    assert aged["degraded"] is True and aged["integrations"]["mixpanel"]["reasons"] == [
        "the last good sync is 37 hours old"
    ]
    project.faults, project.forever = ["503"], True
    with pytest.raises(IntegrationError):
        sync(lookback_days=30)
    down = replied(tmp_path, clock, monkeypatch)
    assert "the last sync failed" in down["integrations"]["mixpanel"]["reasons"][0]
    assert (
        down["usage_analytics"] == reply["usage_analytics"]
    )  # the last synced events, nothing made up


def test_without_any_events_mixpanel_is_what_is_missing(tmp_path, clock, monkeypatch):
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    with pytest.raises(DataRetrievalError, match="no table events"):
        replied(tmp_path, clock, monkeypatch)
    monkeypatch.setenv("MCP_ENABLE_MIXPANEL", "true")
    with pytest.raises(IntegrationError, match="nothing has been synced yet"):
        replied(tmp_path, clock, monkeypatch)


def test_a_report_has_the_line_that_events_are_behind(tmp_path, project, sync, clock):
    sync()
    project.faults, project.forever = ["503"], True
    with pytest.raises(IntegrationError):
        sync(lookback_days=30)
    sentence = integrations.sentence(
        integrations.mixpanel(str(tmp_path), in_force(str(tmp_path), {}), clock())
    )
    assert sentence.startswith(
        "Mixpanel's events are behind, shown are the events until 2025-03-13: the last sync failed"
    )


def test_the_command_syncs_and_tells_what_it_did(tmp_path, project, capsys, monkeypatch):
    with serving(project) as address:
        (tmp_path / "healthseg.toml").write_text(
            f'[mixpanel]\naccount_key = "company"\nevent_timezone = "UTC"\napi_url = "{address}"\n'
        )
        words = [
            "sync",
            "mixpanel",
            "--portfolio",
            str(tmp_path),
            "--from",
            str(FIRST),
            "--to",
            str(LAST),
            "--json",
        ]
        assert cli.main(words) == 1
        assert "healthseg trust" in json.loads(capsys.readouterr().out)["error_message"]
        assert cli.main(["trust", str(tmp_path)]) == 0
        capsys.readouterr()
        assert cli.main(words) == 1
        assert "MIXPANEL_SERVICE_ACCOUNT" in json.loads(capsys.readouterr().out)["error_message"]
        monkeypatch.setenv("MIXPANEL_API_SECRET", SECRET)
        assert cli.main(words) == 0
    output = capsys.readouterr()
    assert (
        json.loads(output.out)["events"] == 24
        and "March 2027" in output.err
        and SECRET not in output.out + output.err
    )
    assert there(tmp_path) == truth(project.events)
