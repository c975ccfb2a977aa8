"""Every SQL text turns into four other dialects, and sums only what sums to the same digits on every run."""

from __future__ import annotations

import importlib.resources

import pytest
import sqlglot
from sqlglot import exp

FOLDER = importlib.resources.files("healthseg.data") / "sql"
DIALECTS = ("spark", "postgres", "snowflake", "bigquery")
WHOLE = (
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.DECIMAL,
    exp.DataType.Type.SMALLINT,
)
# In these an order of addition would show in the last digit.
FLOATING = (
    exp.Avg,
    exp.Stddev,
    exp.StddevPop,
    exp.StddevSamp,
    exp.Variance,
    exp.VariancePop,
    exp.Corr,
    exp.CovarPop,
    exp.CovarSamp,
)
# In these the result depends on the order of rows.
UNORDERED = (exp.AnyValue, exp.First, exp.Last)


def texts() -> list:
    return sorted((path for path in FOLDER.rglob("*.sql")), key=str)


def name(path) -> str:
    return path.relative_to(FOLDER).as_posix()


def whole_sum(node: exp.Sum) -> bool:
    """A sum over a cast to an integer or DECIMAL, or over whole literals and such casts chosen by CASE."""

    def whole(value: exp.Expression | None) -> bool:
        if value is None or isinstance(value, exp.Null):
            return True
        if isinstance(value, exp.Paren):
            return whole(value.this)
        if isinstance(value, exp.Literal):
            return not value.is_string and "." not in value.this
        if isinstance(value, exp.Case):
            branches = [branch.args["true"] for branch in value.args["ifs"]]
            return all(map(whole, [*branches, value.args.get("default")]))
        return isinstance(value, exp.Cast) and value.to.this in WHOLE

    return whole(node.this)


def faults(text: str) -> list[str]:
    """What a text does that two runs, or two engines, may answer differently."""
    problems = []
    for tree in sqlglot.parse(text, read="duckdb"):
        problems += [
            f"{type(node).__name__} in {node.sql()}"
            for node in tree.find_all(*FLOATING, *UNORDERED)
        ]
        problems += [
            f"a sum over no integer in {node.sql()}"
            for node in tree.find_all(exp.Sum)
            if not whole_sum(node)
        ]
    return problems


def test_there_are_texts():
    assert {"facts/user_day.sql", "facts/sessions.sql", "checks/churn_disagrees.sql"} <= set(
        map(name, texts())
    )


@pytest.mark.parametrize("path", texts(), ids=name)
def test_a_text_turns_into_every_dialect(path):
    text = path.read_text("utf-8")
    for dialect in DIALECTS:
        (other,) = sqlglot.transpile(
            text, read="duckdb", write=dialect, unsupported_level=sqlglot.ErrorLevel.RAISE
        )
        assert sqlglot.parse_one(other, read=dialect) is not None


@pytest.mark.parametrize("path", texts(), ids=name)
def test_a_text_sums_only_integers_and_decimals(path):
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", texts(), ids=name)
def test_a_text_is_one_commented_query(path):
    text = path.read_text("utf-8")
    assert text.startswith("-- ") and len(sqlglot.parse(text, read="duckdb")) == 1
    assert isinstance(sqlglot.parse_one(text, read="duckdb"), exp.Query)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT AVG(a) FROM t",
        "SELECT SUM(a) FROM t",
        "SELECT STDDEV(a) FROM t",
        "SELECT SUM(CAST(a AS DOUBLE)) FROM t",
        "SELECT SUM(CASE WHEN b THEN a ELSE 0 END) FROM t",
        "SELECT ANY_VALUE(a) FROM t",
        "SELECT SUM(0.5) FROM t",
    ],
)
def test_the_rule_catches_what_it_is_for(text):
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT SUM(CAST(a AS BIGINT)) FROM t",
        "SELECT SUM(CAST(a AS DECIMAL(18, 2))) FROM t",
        "SELECT SUM(CASE WHEN b THEN 1 ELSE 0 END), MEDIAN(a), MAX(a) FROM t",
    ],
)
def test_the_rule_lets_exact_sums_pass(text):
    assert faults(text) == []
