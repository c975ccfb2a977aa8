"""The quick ones of the attacks in benchmarks/attacks.py: hostile portfolios get nothing, and are refused in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import (
    _attacks,
    _attacks_by_file,
    _attacks_by_meaning,
    _attacks_by_place,
    _attacks_by_query,
    _attacks_by_surface,
)
from healthseg.cli import main as cli

ATTACKS = {
    attack.name: attack
    for attack in (
        *_attacks_by_query.ATTACKS,
        *_attacks_by_file.ATTACKS,
        *_attacks_by_surface.ATTACKS,
        *_attacks_by_place.ATTACKS,
        *_attacks_by_meaning.ATTACKS,
    )
}
# what a command in a process of its own has to show
ALONE = {"modules of the libraries' names"}
# those that got something once, beside those below
FELL = {
    "a whole number of a million digits",
    "tables that are a number",
    "an outbox that is a number",
    "a last day without a day after",
    "a metric of 900 minus signs",
    "a metric that negates a word",
    "a key that turns its line around",
    "consent to what cannot be read",
    "the password of po stgresql://u:PASSWORD@host/x",
    "the password of a scheduler",
    "a ledger's journal that names a file outside",
    "a cache's journal that names a file outside",
    "an address' journal that names a file outside",
    "a ledger that leads to another one",
    "a ledger that leads to no file",
    "derived folders that lead outside",
    "two cells at the ends of a sheet elsewhere",
    "a workbook: an old workbook whose sectors go in a circle",
    "a workbook: parts in a secret writing",
    "a draft of a file named 4",
    "milestones that are complete when brackets end",
}
# of these only those that fell
LATER = [
    *_attacks_by_surface.ATTACKS,
    *_attacks_by_place.ATTACKS,
    *_attacks_by_meaning.ATTACKS,
]
OF_FILES = [attack.name for attack in _attacks_by_file.ATTACKS]
# the others take minutes of a machine, or are like these
QUICK = [
    name
    for name, attack in ATTACKS.items()
    if (attack.wants in ("files", "network", "code") or name in FELL)
    and name not in ALONE
    and (name not in OF_FILES or OF_FILES.index(name) % 3 == 0)
    and (attack not in LATER or name in FELL)
]


def test_there_are_at_least_sixty_attacks_of_every_kind():
    assert len(ATTACKS) >= 60
    assert {attack.wants for attack in ATTACKS.values()} == {
        "files",
        "network",
        "code",
        "memory",
        "time",
    }


@pytest.mark.parametrize("name", QUICK)
def test_an_attack_gets_nothing(name, tmp_path, monkeypatch, capsys):
    attack = ATTACKS[name]
    for variable, value in _attacks.environment(tmp_path).items():
        monkeypatch.setenv(variable, value)
    with _attacks.scene(tmp_path) as (places, requests):
        attack.build(places)
        before = _attacks.states(places.outside)
        monkeypatch.chdir(places.folder)
        status = cli.main([places.filled(word) for word in attack.command])
        text = "".join(capsys.readouterr())
        assert list(_attacks.gained(places, before, text)) == [] == requests
    assert status in (0, 1)


LIMITED = {
    "SECONDS": ("a view without an end", "SECONDS", "0.2"),
    "MEMORY_MB": ("a text of 3 GB", "MEMORY_MB", "700"),
    "DISK_MB": ("a million million rows", "DISK_MB", "1"),
    "UNPACKED_TIMES": ("gzip of JSON that unpacks to 50 GB", "UNPACKED_TIMES", "100"),
    "SHEET_CELLS": ("two cells at the ends of a sheet", "SHEET_CELLS", "1000"),
    "COLUMNS": ("100,000 JSON objects of other fields", "COLUMNS", "100"),
}


@pytest.mark.parametrize(("name", "limit", "value"), LIMITED.values(), ids=LIMITED)
def test_what_takes_too_much_is_refused_by_a_limit_that_is_named(
    name, limit, value, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(f"HEALTHSEG_INPUT_LIMITS__{limit}", value)
    attack = ATTACKS[name]
    with _attacks.scene(tmp_path) as (places, _):
        attack.build(places)
        cli.main([places.filled(word) for word in attack.command])
    assert f"HEALTHSEG_INPUT_LIMITS__{limit}" in "".join(capsys.readouterr())


def test_a_portfolio_cannot_set_its_own_limits(tmp_path, capsys):
    (tmp_path / "customers.csv").write_text(_attacks.CUSTOMERS)
    (tmp_path / "healthseg.toml").write_text("[input_limits]\nseconds = 1e9\n")
    words = ["run", "calculate_health_score", "--portfolio", str(tmp_path), "-p", "client_id=acme"]
    assert cli.main(words) == 1
    assert "a portfolio cannot set for itself" in "".join(capsys.readouterr())


def test_a_query_ends_with_the_process_that_started_it(tmp_path, monkeypatch):
    from healthseg.data.isolation import copy_query
    from healthseg.errors import DataRetrievalError

    monkeypatch.setenv("HEALTHSEG_INPUT_LIMITS__SECONDS", "0.2")
    endless = "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT 1 - i FROM t) SELECT * FROM t WHERE i = 7"
    with pytest.raises(DataRetrievalError, match="had not ended"):
        copy_query("q", endless, tmp_path / "q.parquet", folders=[], attach=None, files=[])
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    assert not children.exists() or "isolated" not in "".join(
        Path(f"/proc/{child}/cmdline").read_text() for child in children.read_text().split()
    )
    assert not list(tmp_path.glob("*-spill"))


@pytest.mark.parametrize(
    ("limit", "tool"),
    [
        ("FEATURES", "track_feature_adoption"),
        ("FEATURES", "analyze_engagement_patterns"),
        ("USES", "analyze_engagement_patterns"),
    ],
)
def test_features_that_are_names_of_pages_are_refused_by_a_limit_that_is_named(
    limit, tool, tmp_path, monkeypatch, capsys
):
    """Twelve features and three users: eleven features are too many, and so are 35 of their 36 pairs."""
    rows = [
        f"acme,u{n % 3},2025-01-{1 + day:02}T10:00:00,f{n}" for day in range(28) for n in range(12)
    ]
    for name, header, lines in (
        ("customers.csv", "client_id,signup_date", ["acme,2024-01-01"]),
        ("events.csv", "client_id,user_id,occurred_at,feature", rows),
    ):
        (tmp_path / name).write_text("\n".join([header, *lines]) + "\n")
    command = ["run", tool, "--portfolio", str(tmp_path), "-p", "client_id=acme"]
    if tool == "analyze_engagement_patterns":
        command += ["-p", "analysis_scope=single_customer"]
    for allowed, more in (({"FEATURES": 12, "USES": 36}, 0), ({"FEATURES": 11, "USES": 35}, 1)):
        monkeypatch.setenv(f"HEALTHSEG_INPUT_LIMITS__{limit}", str(allowed[limit]))
        status, said = cli.main(command), "".join(capsys.readouterr())
        assert (status, f"HEALTHSEG_INPUT_LIMITS__{limit}" in said) == (more, bool(more)), said[
            :500
        ]


@pytest.mark.parametrize("words", [["--params", "[" * 5_000], ["-p", "client_id=" + "[" * 5_000]])
def test_a_parameter_of_a_thousand_brackets_is_refused_in_words(words, tmp_path, capsys):
    (tmp_path / "customers.csv").write_text(_attacks.CUSTOMERS)
    command = ["run", "calculate_health_score", "--portfolio", str(tmp_path), *words]
    try:
        assert cli.main(command) == 1
    except SystemExit as ended:
        assert ended.code == 2
    said = "".join(capsys.readouterr())
    assert "nested too deeply" in said or "is not valid: 1 to 100 letters" in said
    assert "Traceback" not in said and "unexpected" not in said
