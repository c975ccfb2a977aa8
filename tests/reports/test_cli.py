"""The command line: what it prints, and the status it ends with."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from healthseg.cli import main as cli
from healthseg.cli import report
from tests.reports.made import Portfolio

ROOT = Path(__file__).resolve().parents[2]


def _run(capsys, *words: str) -> tuple[int, str, str]:
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def _refusal(capsys, *words: str) -> dict:
    """The error object; without ``--json`` commands say its message in a sentence, and nothing else."""
    status, out, _ = _run(capsys, *words, "--json")
    assert status == 1
    reply = json.loads(out)
    assert reply["status"] == "error" and set(reply) == {
        "status",
        "error_code",
        "error_message",
        "details",
    }
    return reply


def test_help_names_every_command():
    command = [sys.executable, "-m", "healthseg.cli.main", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert all(name in out for name in cli.COMMANDS)


def test_nothing_heavy_is_imported_for_a_usage_error():
    script = (
        "import sys\nfrom healthseg.cli import main as cli\n"
        "try: cli.main(['chek'])\nexcept SystemExit as end: print(end.code)\n"
        "print(sorted({'pandas', 'duckdb', 'altair', 'papermill', 'pydantic'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert out.stdout.split("\n")[:2] == ["2", "[]"] and "did you mean check?" in out.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run", "calculate_helth_score"], "did you mean calculate_health_score?"),
        (["report", "no_such_tool", "--overview"], "there is no tool 'no_such_tool'"),
        (["run", "calculate_health_score", "-p", "client_id"], "NAME=VALUE"),
        (["run", "calculate_health_score", "--params", "{"], "not JSON"),
        (["run", "calculate_health_score", "--params", "[1]"], "JSON object"),
        (["report", "calculate_health_score"], "which reports?"),
        (["report", "--riskiest", "-2"], "a whole number from 1"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_way_out(capsys, small_portfolio: Portfolio, words, reason):
    status, out, err = _run(
        capsys, *words, *(["--portfolio", small_portfolio.folder] if words else [])
    )
    assert (status, out) == (2, "") and reason in err and "Traceback" not in err


def test_run_prints_the_response_as_json(capsys, small_portfolio: Portfolio):
    status, out, _ = _run(
        capsys,
        "run",
        "calculate_health_score",
        "--portfolio",
        small_portfolio.folder,
        "-p",
        f"client_id={small_portfolio.client_id}",
        "-p",
        "lookback_period_days=28",
    )
    reply = json.loads(out)
    assert status == 0 and reply["client_id"] == small_portfolio.client_id
    assert 0 <= reply["current_health_score"] <= 100


def test_given_parameters_stand_over_those_in_params(capsys, small_portfolio: Portfolio):
    params = json.dumps({"client_id": "nobody", "risk_threshold": 50})
    status, out, _ = _run(
        capsys,
        "run",
        "calculate_health_score",
        "--portfolio",
        small_portfolio.folder,
        "--params",
        params,
        "-p",
        f"client_id={small_portfolio.client_id}",
        "-p",
        "risk_threshold=61.5",
    )
    assert status == 0 and json.loads(out)["risk_threshold"] == 61.5


@pytest.mark.parametrize("client", ["00123", "1e5", "true", "null"])
def test_an_id_that_looks_like_a_number_stays_text(capsys, small_portfolio: Portfolio, client):
    error = _refusal(
        capsys,
        "run",
        "calculate_health_score",
        "--portfolio",
        small_portfolio.folder,
        "-p",
        f"client_id={client}",
    )
    assert (
        error["error_code"] == "CLIENT_NOT_FOUND" and error["details"]["value_provided"] == client
    )


@pytest.mark.parametrize(
    ("client", "code"),
    [
        ("../x", "INVALID_CLIENT_ID"),
        ("a/b", "INVALID_CLIENT_ID"),
        ("", "INVALID_CLIENT_ID"),
        ("x" * 101, "INVALID_CLIENT_ID"),
        ("{client}", "INVALID_CLIENT_ID"),
        ("nobody_here", "CLIENT_NOT_FOUND"),
    ],
)
def test_a_bad_id_is_refused_by_run_and_by_report(
    capsys, small_portfolio: Portfolio, tmp_path, client, code
):
    out = tmp_path / "reports"
    assert (
        _refusal(
            capsys,
            "run",
            "calculate_health_score",
            "--portfolio",
            small_portfolio.folder,
            "-p",
            f"client_id={client}",
        )["error_code"]
        == code
    )
    assert (
        _refusal(
            capsys,
            "report",
            "--portfolio",
            small_portfolio.folder,
            "--client",
            client,
            "--out",
            out,
        )["error_code"]
        == code
    )
    assert not out.exists() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pair", "parameter"),
    [
        ("lookback_period_days=3", "lookback_period_days"),
        ("lookback_period_days=soon", "lookback_period_days"),
        ("scoring_modl=custom", "scoring_modl"),
        ("as_of=2031-01-01", "as_of"),
    ],
)
def test_a_bad_parameter_names_itself(capsys, small_portfolio: Portfolio, pair, parameter):
    error = _refusal(
        capsys,
        "run",
        "calculate_health_score",
        "--portfolio",
        small_portfolio.folder,
        "-p",
        f"client_id={small_portfolio.client_id}",
        "-p",
        pair,
    )
    assert (
        error["error_code"] == "INVALID_PARAMETERS" and error["details"]["parameter"] == parameter
    )


def test_check_accounts_for_a_good_portfolio_and_refuses_a_bad_one(
    capsys, small_portfolio: Portfolio, tmp_path
):
    status, out, _ = _run(capsys, "check", small_portfolio.folder, "--json")
    reply = json.loads(out)
    assert status == 0 and reply["tables"]["customers"]["kept"] == 40
    (tmp_path / "customers.csv").write_text("client_id,signup_date\n../x,2025-01-01\n")
    (tmp_path / "events.csv").write_text("client_id,occurred_at\nacme,2025-01-02\n")
    status, out, err = _run(capsys, "check", tmp_path)
    assert (
        status == 1
        and "NOT USABLE" in out
        and "../x" in out
        and "customers.csv" in out
        and err == ""
    )


def test_a_missing_portfolio_is_an_error_object(capsys, tmp_path):
    assert _refusal(capsys, "check", tmp_path / "nowhere")["error_code"] == "DATA_RETRIEVAL_ERROR"


@pytest.mark.parametrize(
    "words",
    ["check", "settings --portfolio", "lab --no-browser --portfolio", "ledger verify --portfolio"],
)
def test_an_error_is_a_sentence_for_people(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = _run(capsys, *words.split(), "nowhere")
    assert (status, out) == (1, "") and len(err.splitlines()) == 1
    assert err.startswith(f"healthseg {words.split()[0]}: ") and "nowhere" in err
    assert list(tmp_path.iterdir()) == []  # before any work


def test_a_folder_that_cannot_be_made_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = _run(
        capsys, "demo", "--clients", 2, "--months", 6, "--out", tmp_path / "file" / "x"
    )
    assert (status, out) == (1, "") and str(tmp_path / "file") in err and "Errno" not in err


def test_tools_lists_parameters_with_defaults_and_ranges(capsys):
    status, out, _ = _run(capsys, "tools")
    assert status == 0 and "calculate_health_score:" in out
    assert (
        "lookback_period_days (integer, default 30, 7 to 365)" in out
        and "client_id (string, required)" in out
    )


def test_demo_writes_the_same_bytes_for_the_same_seed(capsys, tmp_path):
    for name in ("a", "b"):
        assert (
            _run(
                capsys,
                "demo",
                "--out",
                tmp_path / name,
                "--clients",
                20,
                "--months",
                9,
                "--events",
                "light",
            )[0]
            == 0
        )
    assert (tmp_path / "a" / "customers.parquet").read_bytes() == (
        tmp_path / "b" / "customers.parquet"
    ).read_bytes()


def test_the_environment_names_the_portfolio(capsys, small_portfolio: Portfolio, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_PORTFOLIO", str(small_portfolio.folder))
    assert (
        _run(
            capsys, "run", "calculate_health_score", "-p", f"client_id={small_portfolio.client_id}"
        )[0]
        == 0
    )


def test_the_settings_in_force_are_recorded_once(capsys, small_portfolio: Portfolio):
    from healthseg.data.ledger.ledger import FILE_NAME, Ledger

    for _ in range(2):
        _run(
            capsys,
            "run",
            "calculate_health_score",
            "--portfolio",
            small_portfolio.folder,
            "-p",
            f"client_id={small_portfolio.client_id}",
        )
    assert len(Ledger(small_portfolio.folder / FILE_NAME).settings_history()) == 1


# help, completion, pipes


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser's commands, and theirs."""
    commands = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                commands += [command, *parsers(command)]
    return commands


@pytest.mark.parametrize("parser", parsers(cli.command_parser()), ids=lambda parser: parser.prog)
def test_each_command_has_examples_that_it_understands(parser: argparse.ArgumentParser):
    examples = [
        line for line in parser.format_help().splitlines() if line.startswith("  healthseg ")
    ]
    assert examples
    for example in examples:
        words = shlex.split(example.partition("  #")[0])[1:]
        if "--help" not in words:
            assert cli.command_parser().parse_args(words).parser.prog.startswith("healthseg")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("report --overview --format xml", "there is no format 'xml'"),
        ("report --overview --charts moving", "there is no charts 'moving'"),
        ("report --overview --shard 9/8", "--shard"),
        ("report --overview --workers 0", "a whole number from 1"),
        ("report --overview --deadline -3", "a number above 0"),
        ("report --overview --as-of soon", "expected YYYY-MM-DD"),
        ("demo --clients 0", "a whole number from 1 to 100,000"),
        ("demo --scenario nowhere", "unknown scenario 'nowhere'; one of default, "),
        ("alerts run --portfolo x", "there is no option '--portfolo'; did you mean --portfolio?"),
        ("settings --colour", "there is no option '--colour'; see 'healthseg settings --help'"),
        ("settings nosuch", "'nosuch' is one word too many; see 'healthseg settings --help'"),
        ("check --strict=abc .", "--strict takes no value: leave out 'abc'"),
        ("sync mixpanel --from 2025-02-30", "expected YYYY-MM-DD"),
        ("sync mixpanel --portfolio x --from 2025-02-02 --to 2025-02-01", "is after"),
        ("lifecycle advance --as-of 1.2.2025", "expected YYYY-MM-DD"),
        ("mcp --http --port 99999", "a whole number from 1 to 65,535"),
        ("mcp --port 80", "healthseg mcp: error: --host and --port go with --http"),
        ("init", "SOURCE"),
        ("completion tcsh", "there is no shell 'tcsh'"),
    ],
)
def test_options_out_of_range_are_wrong_usage(capsys, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    status, out, err = _run(capsys, *words.split())
    assert (status, out) == (2, "") and reason in err
    assert list(tmp_path.iterdir()) == []


def test_help_after_a_tools_name_has_its_parameters(capsys):
    status, out, _ = _run(capsys, "run", "calculate_health_score", "--help")
    assert status == 0 and "examples:" in out and "client_id (string, required)" in out
    assert _run(capsys, "run", "no_such_tool", "--help")[0] == 2


def test_tools_as_json_are_schemas(capsys):
    _, out, _ = _run(capsys, "tools", "calculate_health_score", "--json")
    schema = json.loads(out)["calculate_health_score"]["parameters"]
    assert "client_id" in schema["required"] and "lookback_period_days" in schema["properties"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ch"], ["check"]),
        (["run", "calc"], ["calculate_health_score"]),
        (["run", "calculate_health_score", "-p", "look"], ["lookback_period_days="]),
        (["run", "calculate_health_score", "--portfolio", "x", "--no"], ["--no-cache"]),
        (["report", "--format", ""], ["csv", "pdf"]),
        (["alerts", ""], ["run"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["check", "da"], []),
        (["report", "--out", "re"], []),
    ],
)
def test_completion_offers_what_may_come_next(capsys, words, offered):
    status, out, _ = _run(capsys, "completion", "words", *words)
    assert status == 0 and sorted(out.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_of_its_shell(capsys, shell):
    _, script, _ = _run(capsys, "completion", shell)
    assert "healthseg completion words" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_a_closed_pipe_ends_without_a_word():
    command = f"{sys.executable} -m healthseg tools | head -c 10"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert len(ended.stdout) == 10 and ended.stderr == ""


def test_a_missing_extra_is_named_before_any_work(
    capsys, small_portfolio: Portfolio, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "typst", None)
    words = ("report", "--overview", "--portfolio", small_portfolio.folder, "--format", "pdf")
    error = _refusal(capsys, *words, "--out", tmp_path / "reports")
    assert "pip install 'healthseg[pdf]'" in error["error_message"]
    assert not (tmp_path / "reports").exists()


def test_notebooks_are_copied_once_and_changes_stay(tmp_path):
    folder = report.copied_notebooks(tmp_path / "notebooks")
    changed = folder / "customer" / "calculate_health_score.ipynb"
    assert (folder / "tour.ipynb").is_file() and changed.is_file()
    changed.write_text("mine")
    (folder / "tour.ipynb").unlink()
    report.copied_notebooks(folder)
    assert changed.read_text() == "mine" and (folder / "tour.ipynb").is_file()
