"""What the faces know of the tools: their names, parameters and responses, from the registry alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from healthseg.errors import InvalidParameters, hint


class UnknownTool(InvalidParameters):
    """A name that is no tool's: a usage error of the command line."""


def tool(name: str) -> Any:
    """The tool of a name."""
    from healthseg.tools import TOOLS

    if name not in TOOLS:
        raise UnknownTool(
            f"there is no tool {name!r}{hint(name, TOOLS)}",
            parameter="tool",
            value_provided=name,
            validation_rule="one of " + ", ".join(TOOLS),
        )
    return TOOLS[name]


def names() -> list[str]:
    """The tools' names, in order."""
    from healthseg.tools import TOOLS

    return list(TOOLS)


def validated(name: str, given: Mapping[str, Any]) -> None:
    """Raise InvalidParameters where a tool's parameters are not as they must be."""
    from healthseg.tools.parameters import validated as checked

    checked(tool(name).parameters, given)


def report_parameters(name: str) -> list[str]:
    """The parameters of a tool that its reports take: reports only read, and leave out those that record something."""
    fields = tool(name).parameters.model_fields
    return [
        key for key, field in fields.items() if not (field.json_schema_extra or {}).get("records")
    ]


def validated_for_report(name: str, given: Mapping[str, Any]) -> None:
    """``validated``, of what a report takes: to read, and with what its notebook fills in."""
    for key in given:
        if key in tool(name).parameters.model_fields and key not in report_parameters(name):
            raise InvalidParameters(
                f"a report only reads, and does not take {key!r}",
                parameter=key,
                value_provided=str(given[key])[:200],
                validation_rule="one of " + ", ".join(report_parameters(name)),
            )
    validated(name, {**tool(name).report_defaults, **given, **tool(name).reading})


def response(name: str, portfolio: Any, given: Mapping[str, Any]) -> Any:
    """A tool's response; parameters that it does not know are refused with the nearest that it does."""
    validated(name, given)
    return tool(name).function(portfolio, **given)


def report_response(name: str, portfolio: Any, given: Mapping[str, Any]) -> Any:
    """The response that a customer's report shows: it only reads, and its notebook fills in what the tool requires."""
    return response(name, portfolio, {**tool(name).report_defaults, **given, **tool(name).reading})


def portfolio_response(name: str, portfolio: Any, given: Mapping[str, Any]) -> Any:
    """A tool's response for the whole portfolio, with those of the parameters that it takes."""
    found = tool(name)
    return found.portfolio(
        portfolio,
        **{
            key: value
            for key, value in given.items()
            if key in found.portfolio_parameters.model_fields
        },
    )


def from_text(name: str, parameter: str, text: str) -> Any:
    """A parameter as it was typed: JSON where that is of the parameter's type, else the text itself."""
    field = tool(name).parameters.model_fields.get(parameter)
    if field is None:
        return text
    try:
        value = json.loads(text)
        TypeAdapter(field.annotation).validate_python(value, strict=True)
    except (ValueError, ValidationError):
        return text
    return value


def described(name: str) -> str:
    """A tool in words: what it answers, and its parameters with type, default, range and meaning."""
    found = tool(name)
    schema = found.parameters.model_json_schema()
    required = set(schema.get("required", ()))
    lines = [f"{name}: {found.summary}"]
    for parameter, told in schema["properties"].items():
        default = (
            "required" if parameter in required else f"default {json.dumps(told.get('default'))}"
        )
        words = [_kind(told), default, *_ranges(told)]
        meaning = f": {told['description']}" if "description" in told else ""
        lines.append(f"  {parameter} ({', '.join(word for word in words if word)}){meaning}")
    return "\n".join(lines)


def _kind(told: Mapping[str, Any]) -> str:
    options = [option for option in told.get("anyOf", [told]) if option.get("type") != "null"]
    return " or ".join(
        " | ".join(map(str, option["enum"])) if "enum" in option else option.get("type", "value")
        for option in options
    )


def _ranges(told: Mapping[str, Any]) -> list[str]:
    limits = {
        **told,
        **{key: value for option in told.get("anyOf", ()) for key, value in option.items()},
    }
    low = limits.get("minimum", limits.get("exclusiveMinimum"))
    high = limits.get("maximum", limits.get("exclusiveMaximum"))
    if low is None and high is None:
        return []
    return [
        f"from {low:g}"
        if high is None
        else f"up to {high:g}"
        if low is None
        else f"{low:g} to {high:g}"
    ]
