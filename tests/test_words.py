"""What users read is in the glossary's words: messages, rules, pages, help and documents."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "healthseg"

# pattern: what is said in its place
BANNED = {
    r"\bbooks?\b": "portfolio",
    r"\bplaybooks?\b": "rules, triggered rule",
    r"\b(?:all|by|its|more|named|of|other|some|the|their|these|those|which) measures\b": "metrics",
    r"\bhangs? (?:on|together)\b": "depends on",
    r"\bat stake\b": "expected churned ARR",
    r"\bARR at risk\b": "ARR below the threshold",
    r"\bspeaks? (?:for|against)\b": "risk factor, protective factor",
    r"\bcame back\b": "resurrected, returned",
    r"\bnobody there\b": "inactive",
    r"\bbeyond chance\b": "significant",
    r"\bnone of\b(?= (?:its|the|those) (?:values|names|words))": "must be one of",
    r"\b(?:is|are) none of\b": "must be one of",
    r"\b(?:that|which|who|it|they) (?:is|are) none\b": "is not one",
    r"\blet go of\b": "evicted",
    r"\b(?:what|who|whom|whoever) (?:is|was|were|are) asked\b": "the request, the parameters",
    r"\basked (?:about|at|for|of|with)\b": "requested, tested",
    r"\bwhat would it bring\b": "impact",
    r"\b(?:the|a) shelf\b": "cache",
    r"\b(?:a|other|several|the|these|this) faces?\b": "reports, cli, integrations",
    r"\bat-risk users\b": "declining users",
    r"\b(?:are|be|been|being|is|was|were) told\b|\btold (?:apart|by|from|of)\b": "says, reports",
    r"\b(?:leavers?|stayers?)\b": "churned customers, retained customers",
    r"\b(?:customers?|those|who) (?:that |who )?(?:has |have |had )?"
    r"(?:leaves?|left|stays?|stayed|went)\b(?! (?:in|out|to)\b)": "churned, retained",
    r"\b(?:goes|gone) with (?:leaving|staying)\b": "is associated with churn, retention",
    r"\b(?:leaving|staying) (?:customers?|within|in \d)": "churn, retention",
    r"\b(?:reply|replies)\b": "response",
    r"\b(?:the|a|an|each|every|this) answer (?:has|is|says|was)\b": "response",
    r"\bis no (?:allowed|column|date|file|folder|handler|key|known|layer|milestone|name|number|portfolio|secret|"
    r"setting|table|text|valid)\b": "is not a, must be one of",
    r"\bnobody has used\b": "no active user",
    r"\b(?:champions?|users?|contacts?) (?:has|have) left\b": "departed",
    r"\b(?:does|did|do) not answer\b": "does not respond",
    r"\bgoes on\b(?=.)": "continues",
    r"\bjudged?\b": "evaluated, compared",
    r"\bkept (?:in memory|models?|on disk|replies|responses?|rows?|values?)\b": "cached",
}
# A sentence begins with its subject.
INVERSIONS = (
    r"(?:^|[.!?:] )(?:Counted|Left out|Shown|Kept|Asked|Given|Named|Judged|Needed|Made|Read|Written|Compared|Tested)"
    r" (?:is|are|was|were) ",
    r"(?:^|[.!?] )(?:Of|Among) (?:those|these|them), ",
    r"\bthere is none\b",
)
PATTERNS = {re.compile(text, re.IGNORECASE): say for text, say in BANNED.items()} | {
    re.compile(text): "the subject first" for text in INVERSIONS
}
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
SQL = re.compile(r"\b(?:SELECT|FROM|MIN)\b")
# Markup, and the paths of templates.
TAGS = re.compile(r"<[^<>]+>|\{[^{}]*\}")
# Documents that name the old words, with what they became.
OLD_WORDS = {"CHANGELOG.md", "docs/decisions/0039-one-house-one-language.md"}


def faults(text: str) -> list[str]:
    text = TAGS.sub("…", text)
    return [
        f"…{text[max(0, hit.start() - 30) : hit.end() + 30]}… → {say}"
        for pattern, say in PATTERNS.items()
        for hit in pattern.finditer(text)
    ]


# -- what is read ---------------------------------------------------------------------------


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module that hold words; docstrings, keys and SQL aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        is_text = is_text and id(node) not in docstrings and " " in node.value.strip()
        if is_text and not SQL.search(node.value):
            yield node.lineno, node.value


def texts_of_rules(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_of_rules(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of_rules(item)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


DOCUMENTS = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/[!_]*/*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("data/*.md"),
    )
    if relative(path) not in OLD_WORDS
)
MODULES = sorted(PACKAGE.rglob("*.py"))
RULES = sorted(PACKAGE.glob("rules/*.toml"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_a_document_is_in_the_words_of_the_glossary(path: Path) -> None:
    assert faults(CODE.sub("…", path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_messages_and_pages_are_in_the_words_of_the_glossary(path: Path) -> None:
    assert [(line, fault) for line, text in sentences(path) for fault in faults(text)] == []


# Riddles as names of values. A key of a response stays what users know it by.
RIDDLES = {
    "asked",
    "book",
    "faces",
    "found",
    "given",
    "here",
    "kept",
    "made",
    "one",
    "place",
    "told",
}
KEYS = {"found", "given", "kept"}


def riddles(path: Path) -> Iterator[tuple[int, str]]:
    """The variables and arguments of a module that have one of these names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    keys = {
        statement.target
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) in KEYS
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in keys:
            name = node.id
        else:
            name = node.arg if isinstance(node, ast.arg) else ""
        if name in RIDDLES:
            yield node.lineno, name


def test_no_variable_has_a_name_that_says_nothing() -> None:
    assert {relative(path): names for path in MODULES if (names := list(riddles(path)))} == {}


@pytest.mark.parametrize("path", RULES, ids=relative)
def test_rules_are_in_the_words_of_the_glossary(path: Path) -> None:
    texts = texts_of_rules(tomllib.loads(path.read_text(encoding="utf-8")))
    assert [fault for text in texts for fault in faults(text)] == []


@pytest.mark.parametrize(
    "command", ["", "demo", "check", "run", "report", "tools", "alerts", "lifecycle", "outbox"]
)
def test_help_is_in_the_words_of_the_glossary(command: str) -> None:
    arguments = [sys.executable, "-m", "healthseg", *command.split(), "--help"]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert len(printed) > 100
    assert faults(re.sub(r"\s+", " ", printed)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Open the book.",
        "It hangs on one user.",
        "Counted are the users.",
        "There are 3. Of those, two churned.",
        "ARR at stake",
        "5 customers came back",
        "Probability of leaving within 90 days",
        "Customers who left",
        "The dates are none of the allowed; it is none of these",
        "Tested are the pairs.",
        "<b>leavers</b> warned",
    ],
)
def test_the_check_finds_words_that_are_not_ours(text: str) -> None:
    assert faults(text)


def test_the_check_passes_plain_sentences() -> None:
    text = "Usage depends on one user; 3 of 5 customers churned in 90 days. What is missing is left out."
    assert faults(text) == []
