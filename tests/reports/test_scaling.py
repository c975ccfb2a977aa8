"""The examples of docs/scaling.md are what schedulers parse and what healthseg understands."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

from healthseg.cli import main as cli
from healthseg.reports.batches import cluster, plan

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "scaling.md").read_text("utf-8")


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_every_command_is_understood():
    pytest.importorskip("distributed", reason="healthseg[dask] is not installed")
    plain = TEXT.replace("$((JOB_COMPLETION_INDEX + 1))", "3").replace("{part}", "3")
    base = re.search(r'REPORT = "(.*)"', plain)
    assert base is not None
    commands = re.findall(r"healthseg report --[^\n\"`]*", plain.replace("{REPORT}", base[1]))
    assert len(commands) >= 5
    for command in commands:
        options = cli.command_parser().parse_args(shlex.split(command)[1:])
        assert options.all_clients and plan.shard(options.shard)
        if options.on:
            cluster.check(options.on)


def test_the_job_of_kubernetes_has_an_index_for_each_shard():
    (job,) = (yaml.safe_load(block) for block in _blocks("yaml"))
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert f"/{spec['completions']} " in container["args"][0]


def test_the_examples_in_python_are_python():
    blocks = [re.sub(r"^%pip.*$", "", block, flags=re.MULTILINE) for block in _blocks("python")]
    assert len(blocks) == 2 and all(ast.parse(block) for block in blocks)
