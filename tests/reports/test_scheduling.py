"""What docs/scheduling.md tells schedulers to run is what healthseg understands."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from healthseg.cli import main as cli
from healthseg.reports import registry
from healthseg.reports.batches import plan

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "scheduling.md").read_text("utf-8")


def _blocks(kind: str = "") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def _commands() -> list[str]:
    plain = re.sub(r"\$\{\{ matrix\.part \}\}", "3", TEXT)
    return re.findall(r"healthseg report --[^\n>\"]*", plain)


def test_every_command_is_understood():
    commands = _commands()
    assert len(commands) == 5
    for command in commands:
        options = cli.command_parser().parse_args(shlex.split(command)[1:])
        assert options.overview or options.all_clients or options.riskiest or options.client
        assert plan.shard(options.shard)


def test_the_cadence_of_the_page_is_that_of_the_code():
    cadence = {
        tool: row.split("|")[1].split()[0]
        for row in TEXT.splitlines()
        if row.startswith("| ")
        for tool in re.findall(r"[a-z]+_[a-z_]+", row.split("|")[2])
    }
    assert cadence == plan.CADENCE and set(registry.names()) <= set(plan.CADENCE)


def test_the_workflow_is_yaml_and_the_dag_is_python():
    workflow = yaml.safe_load(_blocks("yaml")[0])
    assert [
        step["run"]
        for step in workflow["jobs"]["reports"]["steps"]
        if "healthseg report" in step.get("run", "")
    ]
    names = {
        node.func.id
        for node in ast.walk(ast.parse(_blocks("python")[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert {"DAG", "BashOperator", "PapermillOperator"} <= names


def test_crons_line_is_one_that_a_shell_reads():
    line = next(
        line for block in _blocks() for line in block.splitlines() if line.startswith("15 4 * * *")
    )
    assert "%" not in line, "cron turns it into a line break"
    subprocess.run(["sh", "-n", "-c", line.split(maxsplit=5)[5]], check=True)


def test_the_units_are_ones_that_systemd_takes(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    service, timer = (block for block in _blocks() if block.startswith("[Unit]"))
    (tmp_path / "healthseg.service").write_text(
        service.replace("/opt/healthseg/bin/healthseg", "/bin/true")
    )
    (tmp_path / "healthseg.timer").write_text(timer)
    checked = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
    )
    assert "Unknown" not in checked.stderr and "Failed to parse" not in checked.stderr, (
        checked.stderr
    )
