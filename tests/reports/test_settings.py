"""What is in force and from where: file, environment, defaults; secrets stay secret."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from healthseg.cli import main as cli
from healthseg.data.portfolio import Portfolio
from healthseg.errors import DataRetrievalError, InvalidParameters
from healthseg.reports import portfolios
from healthseg.settings import Settings
from healthseg.settings.base import Frozen
from healthseg.settings.in_force import SECTIONS, in_force, schema
from healthseg.settings.operator import SECRETS

CANARY = "canary-7f3a"


def folder_with(tmp_path: Path, text: str) -> str:
    (tmp_path / "healthseg.toml").write_text(text, encoding="utf-8")
    return str(tmp_path)


def origins(settings) -> dict[str, str]:
    return {name: origin for name, _, origin in settings.rows()}


def test_the_environment_stands_over_the_file_and_the_file_over_the_defaults(tmp_path):
    folder = folder_with(tmp_path, "[cache]\nhealth_minutes = 10\nusage_minutes = 5\n")
    settings = in_force(folder, {"HEALTHSEG_CACHE__HEALTH_MINUTES": "2"})
    cache = settings.cache
    assert (cache.health_minutes, cache.usage_minutes, cache.segments_minutes) == (2, 5, 240)
    sources = origins(settings)
    assert sources["cache.health_minutes"] == "environment HEALTHSEG_CACHE__HEALTH_MINUTES"
    assert sources["cache.usage_minutes"] == str(tmp_path / "healthseg.toml")
    assert sources["cache.segments_minutes"] == "default"


def test_the_reference_s_names_set_mixpanel():
    settings = in_force(
        "",
        {"MCP_ENABLE_MIXPANEL": "true", "MIXPANEL_PROJECT_ID": "1", "MIXPANEL_API_SECRET": CANARY},
    )
    assert settings.mixpanel.enabled is True and settings.mixpanel.project_id == 1
    assert settings.secret("mixpanel.api_secret") == CANARY


def test_a_portfolio_is_opened_with_the_settings_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    (tmp_path / "portfolio.toml").write_text(
        "[tables]\ncustomers = \"select * from 'customers.csv'\"\n[settings]\nseed = 1\nsession_gap_minutes = 7\n"
    )
    folder_with(tmp_path, "[settings]\nseed = 2\nramp_days = 30\n[cache]\nenabled = false\n")
    settings = Portfolio.open(tmp_path).settings
    assert (settings.seed, settings.session_gap_minutes, settings.ramp_days) == (2, 7, 30)
    monkeypatch.setenv("HEALTHSEG_SETTINGS__SEED", "3")
    opened = portfolios.open_portfolio(str(tmp_path)).settings
    assert (opened.seed, opened.session_gap_minutes, opened.ramp_days) == (3, 7, 30)
    assert in_force(str(tmp_path)).sections["settings"] == opened


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("[cash]\n", {}, "did you mean cache?"),
        ("[cache]\nhealth_minute = 1\n", {}, "did you mean health_minutes?"),
        ("[cache]\nhealth_minutes = -1\n", {}, "greater than or equal to 0"),
        ("[cache", {}, "not valid TOML"),
        ("", {"HEALTHSEG_CASH__ENABLED": "1"}, "did you mean HEALTHSEG_CACHE__ENABLED?"),
        ("[mixpanel]\nevent_timezone = 'Europe/Berlim'\n", {}, "did you mean Europe/Berlin?"),
        ("[mixpanel]\napi_url = 'http://data.mixpanel.com'\n", {}, "not sent in the clear"),
        ("[settings]\nsead = 1\n", {}, "did you mean seed?"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(tmp_path, text, environment, words):
    with pytest.raises(InvalidParameters, match="(?s).*" + words.replace("?", r"\?")):
        in_force(folder_with(tmp_path, text), environment)


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(DataRetrievalError, match="not a file"):
        in_force("", {"HEALTHSEG_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.name)
def test_a_secret_in_the_settings_file_is_refused_without_showing_it(tmp_path, secret):
    folder = folder_with(tmp_path, f"[{secret.section}]\n{secret.key} = '{CANARY}'\n")
    with pytest.raises(InvalidParameters, match=secret.variable) as refused:
        in_force(folder, {})
    assert CANARY not in json.dumps(refused.value.to_dict())


def test_secrets_come_from_a_file_that_only_its_owner_can_read(tmp_path):
    file = tmp_path / "healthseg.secrets.toml"
    file.write_text(f"[mixpanel]\napi_secret = '{CANARY}'\n")
    file.chmod(0o644)
    with pytest.raises(InvalidParameters, match="chmod 600"):
        in_force(str(tmp_path), {})
    file.chmod(0o600)
    assert in_force(str(tmp_path), {}).secret("mixpanel.api_secret") == CANARY
    over = in_force(str(tmp_path), {"MIXPANEL_API_SECRET": "of the environment"})
    assert over.secret("mixpanel.api_secret") == "of the environment"


def test_a_word_that_is_no_secret_s_name_is_refused_without_its_value(tmp_path):
    file = tmp_path / "healthseg.secrets.toml"
    file.write_text(f"[mixpanel]\napi_sekret = '{CANARY}'\n")
    file.chmod(0o600)
    with pytest.raises(InvalidParameters, match="did you mean mixpanel") as refused:
        in_force(str(tmp_path), {})
    assert CANARY not in json.dumps(refused.value.to_dict())


def test_secrets_are_in_no_row_no_text_and_no_repr():
    settings = in_force("", {secret.variable: CANARY for secret in SECRETS})
    assert CANARY not in json.dumps(list(settings.rows()), default=str) + repr(settings) + str(
        settings
    )
    assert [value for name, value, _ in settings.rows() if name == "mcp.token"] == ["set"]


def test_the_command_shows_what_is_in_force_and_from_where(tmp_path, capsys, monkeypatch):
    for variable in [name for name in os.environ if name.startswith(("HEALTHSEG_", "MIXPANEL_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HEALTHSEG_MCP_TOKEN", CANARY)
    folder = folder_with(tmp_path, "[limits]\nper_caller_a_minute = 7\n")
    assert cli.main(["settings", "--portfolio", folder, "--changed"]) == 0
    shown = capsys.readouterr().out
    assert f"limits.per_caller_a_minute = 7  ({tmp_path / 'healthseg.toml'})" in shown
    assert 'mcp.token = "set"  (environment HEALTHSEG_MCP_TOKEN)' in shown and CANARY not in shown
    assert cli.main(["settings", "--portfolio", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache.health_minutes"] == {
        "value": 60.0,
        "from": "default",
    }


def test_the_schema_knows_every_section_and_key():
    properties = schema()["properties"]
    assert {name: set(section["properties"]) for name, section in properties.items()} == {
        name: set(model.model_fields) for name, model in SECTIONS.items()
    }


def _numbers(section: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set]]:
    """The settings that are numbers, with their kinds."""
    for name, field in section.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Frozen)]
        if inner:
            yield from _numbers(inner[0], (*path, name))
        elif kinds & {int, float}:
            yield (*path, name), kinds & {int, float}


def test_no_setting_is_a_number_that_dates_memory_or_time_cannot_hold():
    """A file beside a portfolio of others sets them: spans would leave the calendar, draws fill the memory."""
    settings = list(_numbers(Settings))
    assert len(settings) > 150
    for path, kinds in settings:
        values = [math.nan, math.inf] if float in kinds else [10**30]
        if path[-1].endswith(("_days", "_weeks", "_draws")) and kinds == {int}:
            values.append(200_000)
        for value in values:
            nested: Any = value
            for name in reversed(path):
                nested = {name: nested}
            with pytest.raises(ValidationError):
                Settings.model_validate(nested)
