"""Files beside a portfolio that others made set nothing in motion until the operator trusts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import healthseg as hs
from healthseg.cli import main as cli
from healthseg.errors import InvalidParameters
from healthseg.settings.in_force import in_force

HANDLER = """
[settings.outbox]
routes = { "*" = "out" }
[settings.outbox.handlers.out]
kind = "webhook"
url = "http://127.0.0.1:9/collect"
token = "$AWS_SECRET_ACCESS_KEY"
"""
LEDGER = "[settings.ledger]\naddress = '$DB'\n"
# the place of what acts, and the file that says so
ATTACKS = {
    "a webhook with a variable of the operator": ("healthseg.toml", HANDLER),
    "a webhook beside the tables": ("portfolio.toml", HANDLER),
    "a file outside the portfolio": (
        "healthseg.toml",
        "[settings.outbox.handlers.out]\nkind = 'file'\npath = '../../x'\n",
    ),
    "a ledger on a server": ("healthseg.toml", LEDGER),
    "a ledger on a server, beside the tables": ("portfolio.toml", LEDGER),
    "any folder's pages over MCP": ("healthseg.toml", "[mcp]\nreports = '/'\n"),
    "Mixpanel's secrets to another address": (
        "healthseg.toml",
        "[mixpanel]\napi_url = 'https://elsewhere.example'\n",
    ),
    "a query of the operator's database": (
        "healthseg.toml",
        "[cache]\nversion_query = 'delete from customers returning 1'\n",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "portfolio"
    path.mkdir()
    (path / "customers.csv").write_text("client_id,signup_date\na,2025-01-01\n")
    return path


@pytest.mark.parametrize(("name", "text"), ATTACKS.values(), ids=ATTACKS)
def test_a_file_of_others_sets_nothing_in_motion(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(InvalidParameters, match=r"acts outside the portfolio.*healthseg trust"):
        in_force(str(folder), {})
    (folder / name).unlink()
    assert in_force(str(folder), {}) is not None


@pytest.mark.parametrize("name", ["healthseg.toml", "portfolio.toml"])
def test_a_portfolio_with_such_a_file_opens_once_it_is_trusted_as_it_is(folder, name, capsys):
    (folder / name).write_text(HANDLER)
    with pytest.raises(InvalidParameters, match=f"{name} sets settings.outbox.handlers.out.kind"):
        hs.Portfolio.open(folder)
    assert cli.main(["trust", str(folder), "--list"]) == 0
    listed = capsys.readouterr().out
    assert "$AWS_SECRET_ACCESS_KEY" in listed and "127.0.0.1:9/collect" in listed
    with pytest.raises(InvalidParameters):
        hs.Portfolio.open(folder)
    assert cli.main(["trust", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True
    assert hs.Portfolio.open(folder).settings.outbox.handlers["out"].kind == "webhook"
    (folder / name).write_text(HANDLER + "timeout_seconds = 5\n")
    with pytest.raises(InvalidParameters, match="healthseg trust"):
        hs.Portfolio.open(folder)


def test_the_operators_own_file_and_settings_of_figures_need_no_trust(folder, monkeypatch):
    (folder / "healthseg.toml").write_text("[settings]\nseed = 3\n[cache]\nenabled = false\n")
    assert hs.Portfolio.open(folder).settings.seed == 3
    own = folder.parent / "own.toml"
    own.write_text(HANDLER)
    monkeypatch.setenv("HEALTHSEG_CONFIG", str(own))
    assert "out" in in_force(str(folder)).sections["settings"].outbox.handlers


def test_nothing_to_trust_is_said(folder, capsys):
    assert cli.main(["trust", str(folder)]) == 1
    assert "there is nothing to trust" in capsys.readouterr().err
