"""The generated pages of the reference, from the code: the public names, the tools, the commands, the settings."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import healthseg
from healthseg.data.tables import TABLES, Column, TableContract
from healthseg.metrics import catalog

KINDS = (
    ("Portfolios", ("Portfolio", "make_demo", "Settings", "HealthsegError")),
    (
        "Tools for one customer",
        (
            "calculate_health_score",
            "track_usage_engagement",
            "track_feature_adoption",
            "manage_lifecycle_stages",
            "track_adoption_milestones",
            "segment_customers",
            "segment_by_value_tier",
            "analyze_engagement_patterns",
        ),
    ),
    ("Tools for the portfolio", ()),  # whatever begins with portfolio_
    ("Models and metrics", ()),  # the rest
)


def write(folder: Path) -> list[Path]:
    """Write the pages into the folder; a page whose text stays the same is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"api": api(), "tools": tools(), "commands": commands(), "settings": settings()}
    for name, text in texts.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    return [folder / f"{name}.md" for name in texts]


def api() -> str:
    """The public names of ``healthseg``, each once, with signature and docstring."""
    names = list(healthseg.__all__)
    lines = ["# Python", "", "Every public name of `import healthseg as hs`.", ""]
    for title, members in KINDS:
        if title == "Tools for the portfolio":
            members = tuple(name for name in names if name.startswith("portfolio_"))
        members = tuple(members) or tuple(names)
        lines += [f"## {title}", ""]
        for name in [each for each in members if each in names]:
            names.remove(name)
            lines += _autodoc(name)
    return "\n".join(lines)


def _autodoc(name: str) -> list[str]:
    value = getattr(healthseg, name)
    if inspect.ismodule(value):
        members = [(each, getattr(value, each)) for each in sorted(value.__all__)]
        directives = [
            f".. {_directive(member)}:: {value.__name__}.{each}"
            for each, member in members
            if inspect.isroutine(member) or issubclass(member, Exception)
        ]
        return _eval_rst(f".. automodule:: {value.__name__}", "", *directives)
    return _eval_rst(f".. {_directive(value)}:: healthseg.{name}")


def _directive(value: Any) -> str:
    return "autoclass" if inspect.isclass(value) else "autofunction"


def _eval_rst(*lines: str) -> list[str]:
    return ["```{eval-rst}", *lines, "```", ""]


def tools() -> str:
    """The tools: question, parameters, and the keys of the response with their meaning."""
    from healthseg.integrations.mcp.tools import response_schema
    from healthseg.reports import registry

    lines = [
        "# Tools",
        "",
        "The functions of Python, `healthseg run` and MCP, with the same parameters and the same responses.",
        "",
    ]
    for name in registry.served():
        question, *parameters = registry.described(name).splitlines()
        lines += [f"## {name}", "", question.partition(": ")[2], "", "### Parameters", ""]
        lines += [_parameter(line) for line in parameters]
        schema = response_schema(name)
        lines += ["", "### Response", "", "| key | meaning |", "|---|---|"]
        for key, field in schema["anyOf"][0]["properties"].items():
            lines.append(f"| `{key}` | {_cell(field.get('description', ''))} |")
        lines.append("")
    return "\n".join(lines)


def _parameter(line: str) -> str:
    name, _, rest = line.strip().partition(" ")
    return f"- `{name}` {_escaped(rest)}"


def commands() -> str:
    """Each command as ``--help`` shows it."""
    from healthseg.cli.main import command_parser

    parser = command_parser()
    lines = ["# Commands", "", "```text", parser.format_help().rstrip(), "```", ""]
    actions = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    for name, command in next(actions).choices.items():
        lines += [f"## healthseg {name}", "", "```text", command.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def settings() -> str:
    """Each setting with type, default and reason, by section of ``healthseg.toml``."""
    from healthseg.settings.in_force import SECTIONS

    lines = [
        "# Settings",
        "",
        "Every setting of `healthseg.toml` with its default and the reason of it. `[settings]` says how figures are computed, and is "
        "part of every fingerprint; the other sections never change a figure. See [how they are set](../settings.md).",
        "",
    ]
    for section, model in SECTIONS.items():
        lines += [f"## [{section}]", "", "| setting | default | why |", "|---|---|---|"]
        reasons = _reasons(model)
        for name, field in model.model_fields.items():
            default = _default(field)
            lines.append(f"| `{name}` | {default} | {_cell(reasons.get(name, ''))} |")
        lines.append("")
    return "\n".join(lines)


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    text = json.dumps(plain, default=str, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see the source"


def _reasons(model: type) -> dict[str, str]:
    """The comment above each field of a model and of those that it inherits from, or beside it."""
    reasons: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith("healthseg.settings"):
            reasons |= dict(_comments(inspect.getsource(base)))
    return reasons


def _comments(source: str) -> Iterator[tuple[str, str]]:
    lines = source.splitlines()
    for node in ast.parse(source.lstrip()).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above, row = [], node.lineno - 2
        while row >= 0 and lines[row].strip().startswith("#"):
            above.insert(0, lines[row].strip().lstrip("# "))
            row -= 1
        beside = re.findall(r"  # (.*)", lines[(node.end_lineno or node.lineno) - 1])
        yield node.target.id, " ".join([*above, *beside])


# -- docs/metrics.md --------------------------------------------------------------------------------


def _catalogue() -> str:
    """The metrics of the package as the tables of docs/metrics.md."""
    panel = [
        metric
        for metric in catalog.built_in().values()
        if metric.window_days or metric.count is None
    ]
    spans = [metric for metric in catalog.built_in().values() if metric not in panel]
    return "\n\n".join(
        [
            "In the panel:\n\n" + _metric_table(panel),
            "Over spans only, `[start, end)`:\n\n" + _metric_table(spans),
        ]
    )


def with_metrics(text: str) -> str:
    """The text of docs/metrics.md with the tables of the catalogue between its two comments."""
    before, _, rest = text.partition("<!-- Tables from the catalogue")
    comment, _, rest = rest.partition("-->")
    _, end, after = rest.partition("<!-- End of the tables")
    return f"{before}<!-- Tables from the catalogue{comment}-->\n\n{_catalogue()}\n\n{end}{after}"


def _metric_table(metrics: list[catalog.Metric]) -> str:
    head = "| metric | label | definition | unit | better | used by |\n|---|---|---|---|---|---|"
    return "\n".join([head, *map(_metric_row, metrics)])


def _metric_row(metric: catalog.Metric) -> str:
    over = f" (`{metric.over_spans}` over spans)" if metric.span_name else ""
    return (
        f"| `{metric.name}`{over} | {metric.label} | {metric.definition} | {metric.unit} "
        f"| {metric.better or ''} | {', '.join(sorted(metric.uses))} |"
    )


# -- unknown values ----------------------------------------------------------------------------------

START, END = "<!-- Unknown values, written by docs/reference_pages.py -->", "<!-- End -->"
# where more follows than that the value is unknown
EFFECTS = {
    "customers.arr": "ARR is not measured, unless contracts or arr_changes have it",
    "customers.seats": "seats are not measured, unless contracts have them",
    "customers.churned_on": "the customer has churned where arr_changes or stage_changes say so; where it can't be "
    "read, ARR is not measured",
    "customers.notice_on": "no date; where it can't be read, the lowest possible score allows for a notice",
    "customers.timezone": "days are those of `default_timezone`; where it can't be read, what depends on days is not measured",
    "customers.currency": "the amount is in `reporting_currency`, if one is set",
    "customer_changes.value": "the change says nothing; an amount that can't be read leaves ARR unmeasured",
    "contracts.ends_on": "the contract is open; where it can't be read, ARR, seats and renewal are not measured",
    "contracts.contract_id": "rows with the same start and end are versions of one; where most contracts have an id, ARR and seats are not "
    "measured beside another contract",
    "contracts.seats": "its seats are not measured",
    "events.user_id": "activity counts, users do not",
    "events.feature": "the event is of no feature",
    "events.session_id": "pauses separate sessions; on a day of a user whose other events have one, or the day after, none begins",
    "events.duration_seconds": "the event lasts no time",
    "events.event_id": "identical rows of one instant are one event",
    "events.source": "no person's: counted in `other_events`; a person's where no row of the file names one",
    "events.count": "the row is left out, and the own baseline is not measured; an empty one is one event, unless other rows have counts and it is of a whole day",
    "users.created_at": "the user is provisioned all the time",
    "users.deactivated_at": "the user is active",
    "tickets.severity": "an open ticket of unknown severity is open, and `open_high_tickets` is not measured",
    "tickets.resolved_at": "the ticket is open",
    "tickets.csat": "no answer; where it can't be read, the customer's CSAT is not measured",
    "surveys.score": "the row is not used; answers whose scale is unclear (`csat_scale`, `nps_scale`) are not measured",
    "surveys.user_id": "a respondent of its own; where most answers have a user, the best answer is left out",
    "invoices.paid_on": "the invoice is unpaid",
    "arr_changes.arr": "0 where the reason is churn; else the row is not used",
    "entitlements.ends_on": "the entitlement continues",
    "milestone_progress.completed_at": "the milestone is not completed",
}


def effect(table: TableContract, column: Column) -> str:
    """What an empty or unusable value of a column does."""
    if f"{table.name}.{column.name}" in EFFECTS:
        return EFFECTS[f"{table.name}.{column.name}"]
    if column.required:
        return "the row is not used"
    return "no date" if column.kind in ("date", "timestamp") else "unknown"


def _unknown_values() -> str:
    """The table in Markdown: a row a table and effect."""
    lines = ["| table | column | where its value is unknown |", "|---|---|---|"]
    for table in TABLES.values():
        effects: dict[str, list[str]] = {}
        for column in table.columns:
            effects.setdefault(effect(table, column), []).append(f"`{column.name}`")
        lines += [
            f"| {table.name} | {', '.join(names)} | {text} |" for text, names in effects.items()
        ]
    return "\n".join(lines)


def with_unknown_values(text: str) -> str:
    """The text of docs/data.md with the table between its two comments."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n\n{_unknown_values()}\n\n{END}{tail}"


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _escaped(text: str) -> str:
    return re.sub(r"([<>*_\[\]{}`$])", r"\\\1", text)


if __name__ == "__main__":
    for NAME, WITH in (("metrics.md", with_metrics), ("data.md", with_unknown_values)):
        PAGE = Path(__file__).with_name(NAME)
        PAGE.write_text(WITH(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
