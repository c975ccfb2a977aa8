"""The tools as commands, reports and MCP use them: by name, with parameters as they come from outside."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter, ValidationError

from healthseg.errors import InvalidParameters, hint, json_of_others
from healthseg.tools import PORTFOLIO_TOOLS, TOOLS, Tool, ToolFunction

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.tools.base import Result

LIFECYCLE = "manage_lifecycle_stages"
PAGES = "healthseg.pages"
LONGEST_ACTOR = 100


class UnknownTool(InvalidParameters):
    """A name that is not a tool's: wrong usage of the command line."""


def tool(name: str) -> Tool:
    """The tool of a name."""
    known = TOOLS | PORTFOLIO_TOOLS
    if name not in known:
        raise UnknownTool(
            f"there is no tool {name!r}{hint(name, known)}",
            parameter="tool",
            value_provided=name,
            validation_rule="one of " + ", ".join(known),
        )
    return known[name]


def overview(name: str) -> ToolFunction:
    """The function behind an overview's page."""
    from healthseg.tools.overview import tool as overviews

    functions = {"board": overviews.portfolio_board, "customer_360": overviews.customer_360}
    return cast("ToolFunction", functions[name])


def names() -> list[str]:
    """The names of the tools that have reports, in order."""
    return list(TOOLS)


def answerable(portfolio: Portfolio) -> list[str]:
    """The names of the tools with reports that have the tables they need."""
    return [name for name, each in TOOLS.items() if all(map(portfolio.has, each.needs))]


def installed_pages() -> dict[str, str]:
    """The notebooks of pages that installed packages bring (entry points of the group ``healthseg.pages``), by page."""
    return {entry.name: str(entry.load()) for entry in metadata.entry_points(group=PAGES)}


def own_pages(tools: Iterable[str]) -> list[str]:
    """Those among the names that are notebooks, or pages that installed packages bring."""
    installed = installed_pages()
    return [name for name in tools if name.endswith(".ipynb") or name in installed]


def served() -> list[str]:
    """The names of all tools that answer requests, in order."""
    return [*TOOLS, *PORTFOLIO_TOOLS]


def response(name: str, portfolio: Portfolio, values: Mapping[str, Any]) -> Result:
    """A tool's response; unknown parameters are refused with the nearest known one."""
    return tool(name).run(portfolio, values)


def report_response(name: str, portfolio: Portfolio, values: Mapping[str, Any]) -> Result:
    """The response that a customer's report shows: it only reads, and its notebook adds what the tool requires."""
    return response(name, portfolio, _of_report(tool(name), values))


def portfolio_response(name: str, portfolio: Portfolio, values: Mapping[str, Any]) -> Any:
    """A tool's response for the whole portfolio, to those of the parameters that it takes."""
    known = tool(name).portfolio_parameters.model_fields
    wanted = {key: value for key, value in values.items() if key in known}
    return tool(name).run(portfolio, wanted, "portfolio")


def report_parameters(name: str) -> list[str]:
    """The parameters of a tool that its reports take: all but those that record something."""
    fields = tool(name).parameters.model_fields
    extras = {key: field.json_schema_extra for key, field in fields.items()}
    return [
        key
        for key, extra in extras.items()
        if not (isinstance(extra, dict) and extra.get("records"))
    ]


def check_report_parameters(name: str, values: Mapping[str, Any], overview: bool = False) -> None:
    """Raise InvalidParameters unless a report of the tool takes these values; with ``overview`` the portfolio's too."""
    from healthseg.tools.base import validated

    if overview:
        values = _without_those_of_portfolios(name, values)
    model, readable = tool(name).parameters, report_parameters(name)
    for key in values:
        if key in model.model_fields and key not in readable:
            raise InvalidParameters(
                f"a report only reads, and does not take {key!r}",
                parameter=key,
                value_provided=str(values[key])[:200],
                validation_rule="one of " + ", ".join(readable),
            )
    validated(model, _of_report(tool(name), values))


def _without_those_of_portfolios(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a customer's report takes too; those that only the portfolio's takes are checked here."""
    from healthseg.tools.base import validated

    chosen = tool(name)
    wide, own = chosen.portfolio_parameters, chosen.parameters.model_fields
    alone = {key: values[key] for key in values if key in wide.model_fields and key not in own}
    if alone:
        defaults = {k: v for k, v in chosen.report_defaults.items() if k in wide.model_fields}
        validated(wide, {**defaults, **alone})
    return {key: value for key, value in values.items() if key not in alone}


def _of_report(chosen: Tool, values: Mapping[str, Any]) -> dict[str, Any]:
    return {**chosen.report_defaults, **values, **chosen.reading}


def from_text(name: str, parameter: str, text: str) -> Any:
    """A parameter as it was typed: JSON where that is of the parameter's type, else the text itself."""
    field = tool(name).parameters.model_fields.get(parameter)
    if field is None:
        return text
    kind: Any = field.annotation
    try:
        value = json_of_others(text)
        TypeAdapter(kind).validate_python(value, strict=True)
    except (ValueError, ValidationError):
        return text
    return value


def user() -> str:
    """This machine's user; the number of one that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def signed(name: str, values: Mapping[str, Any], caller: str) -> dict[str, Any]:
    """A tool's parameters, with the caller as actor where they change a customer's stage and name nobody.

    >>> signed("manage_lifecycle_stages", {"action": "transition"}, "ann")
    {'action': 'transition', 'actor': 'ann'}
    >>> signed("manage_lifecycle_stages", {"action": "get_stage"}, "ann")
    {'action': 'get_stage'}
    """
    if values.get("actor") is not None or not _changes_stage(name, values.get("action")):
        return dict(values)
    shown = "".join(letter if letter.isprintable() else " " for letter in caller)
    return {**values, "actor": shown[:LONGEST_ACTOR].strip() or "unknown"}


def _changes_stage(name: str, action: object) -> bool:
    if name != LIFECYCLE:
        return False
    from healthseg.tools.lifecycle.tool import WRITES

    return isinstance(action, str) and action in WRITES


def schema(name: str) -> dict[str, Any]:
    """A tool's question, and the JSON Schema of its parameters."""
    return {"summary": tool(name).summary, "parameters": tool(name).parameters.model_json_schema()}


def described(name: str) -> str:
    """A tool in words: its question, and its parameters with type, default, range and meaning."""
    schema = tool(name).parameters.model_json_schema()
    required = set(schema.get("required", ()))
    lines = [f"{name}: {tool(name).summary}"]
    for parameter, field in schema["properties"].items():
        default = f"default {json.dumps(field.get('default'))}"
        words = [_kind(field), "required" if parameter in required else default, *_ranges(field)]
        meaning = f": {field['description']}" if "description" in field else ""
        lines.append(f"  {parameter} ({', '.join(filter(None, words))}){meaning}")
    return "\n".join(lines)


def _options(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]


def _kind(field: Mapping[str, Any]) -> str:
    kinds = [
        " | ".join(map(str, option["enum"]))
        if "enum" in option
        else option.get("format") or option.get("type", "value")
        for option in _options(field)
    ]
    # a date may be given as text, which is no second kind
    shown = [kind for kind in kinds if kind != "string" or "date" not in kinds]
    return " or ".join(dict.fromkeys(shown))


def _ranges(field: Mapping[str, Any]) -> list[str]:
    bounds = {key: value for option in [field, *_options(field)] for key, value in option.items()}
    low = bounds.get("minimum", bounds.get("exclusiveMinimum"))
    high = bounds.get("maximum", bounds.get("exclusiveMaximum"))
    if low is None:
        return [] if high is None else [f"up to {high:g}"]
    return [f"from {low:g}" if high is None else f"{low:g} to {high:g}"]
