"""A secret in every place that takes one, and then everything that is written or said is searched for it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from healthseg.cli import main as cli
from healthseg.errors import InvalidParameters
from healthseg.settings import trust
from healthseg.settings.in_force import in_force
from healthseg.settings.operator import SECRETS
from healthseg.testing import tiny_portfolio
from tests.data.mixpanel_server import Project, serving

pytestmark = pytest.mark.slow

CANARY = "canary5e3f"
TOML = """
[settings]
data_until = 2025-05-31
[settings.outbox.routes]
"*" = "{handler}"
[settings.outbox.handlers.hook]
kind = "webhook"
url = "$CANARY_URL"
token = "$CANARY_TOKEN"
timeout_seconds = 2
[settings.outbox.handlers.mail]
kind = "smtp"
host = "127.0.0.1"
port = 1
sender = "us@example.com"
username = "us"
password = "$CANARY_PASSWORD"
timeout_seconds = 2
[mixpanel]
account_key = "company"
event_timezone = "UTC"
api_url = "{address}"
attempts = 1
"""


def output_of(*words: str) -> str:
    """What a command prints, of both kinds."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        cli.main([str(word) for word in words])
    return out.getvalue() + err.getvalue()


@pytest.fixture
def secrets(monkeypatch) -> None:
    for secret in SECRETS:
        monkeypatch.setenv(secret.variable, f"{CANARY}-{secret.key}-0123456789")
    monkeypatch.setenv("MIXPANEL_SERVICE_ACCOUNT", "robot")
    monkeypatch.setenv("MIXPANEL_PROJECT_ID", "1")
    monkeypatch.setenv("CANARY_URL", f"http://user:{CANARY}@127.0.0.1:1/{CANARY}?key={CANARY}")
    monkeypatch.setenv("CANARY_TOKEN", CANARY)
    monkeypatch.setenv("CANARY_PASSWORD", CANARY)


def found_in(folder: Path) -> list[str]:
    """Files below a folder whose name or content has the canary."""
    return [
        str(path)
        for path in folder.rglob("*")
        if CANARY in path.name or (path.is_file() and CANARY.encode() in path.read_bytes())
    ]


def test_no_secret_is_in_anything_that_is_written_or_said(tmp_path, secrets, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    days = [f"2025-0{month}-{day:02d} 09:00" for month in (3, 4, 5) for day in range(1, 31)]
    portfolio = Path(
        tiny_portfolio([("a", day, user) for day in days for user in ("u1", "u2")]).path
    )
    (portfolio / "events").mkdir()
    (portfolio / "events.csv").rename(portfolio / "events" / "events.csv")
    (portfolio / "invoices.csv").write_text(
        "invoice_id,client_id,amount,issued_on,due_on\ni1,a,1,2025-03-01,2025-03-02\n"
    )
    output, out = "", tmp_path / "out"
    with serving(Project(faults=["401", "500"])) as address:
        for handler in ("hook", "mail"):
            (portfolio / "healthseg.toml").write_text(TOML.format(address=address, handler=handler))
            where = ("--portfolio", portfolio)
            output += output_of("trust", portfolio)
            output += output_of(
                "sync", "mixpanel", *where, "--from", "2025-05-01", "--to", "2025-05-02"
            )
            output += output_of("settings", *where) + output_of("settings", *where, "--json")
            output += output_of("run", "calculate_health_score", *where, "-p", "client_id=a")
            output += output_of("run", "track_usage_engagement", *where, "-p", "client_id=nobody")
            output += output_of("alerts", "run", *where, "--out", out)
        output += output_of("check", portfolio, "--json")
        output += output_of(
            "report",
            "track_usage_engagement",
            *where,
            "--client",
            "a",
            "--out",
            out,
            "--workers",
            "1",
        )
    output += output_of(
        "run",
        "calculate_health_score",
        "--portfolio",
        f"postgresql://u:{CANARY}@127.0.0.1:1/x",
        "-p",
        "client_id=a",
    )
    assert (
        "Mixpanel refuses" in output
        and "does not respond" in output
        and '"current_health_score"' in output
    )
    assert list(out.rglob("*.html")) and CANARY not in output
    assert found_in(portfolio) == found_in(out) == found_in(tmp_path / "cache") == []


def test_secrets_written_into_the_settings_file_ask_for_a_file_of_the_owner_alone(tmp_path):
    path = tmp_path / "healthseg.toml"
    path.write_text(
        TOML.format(address="https://x", handler="hook").replace("$CANARY_TOKEN", CANARY)
    )
    path.chmod(0o644)
    with pytest.raises(
        InvalidParameters, match=r"settings\.outbox\.handlers\.hook\.token"
    ) as refused:
        in_force(str(tmp_path), {})
    assert CANARY not in json.dumps(refused.value.to_dict())
    path.chmod(0o600)
    trust.trust([path])
    rows = json.dumps(list(in_force(str(tmp_path), {}).rows()))
    assert CANARY not in rows
