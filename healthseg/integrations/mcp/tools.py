"""The tools as MCP describes them: made from the registry, so that a new tool is served without a line here."""

from __future__ import annotations

import functools
import typing
from typing import Any

from mcp.types import Tool, ToolAnnotations
from pydantic import BaseModel

from healthseg.reports import registry
from healthseg.reports.responses import AROUND, WRITERS

APPENDS = ("segment_customers",)  # records its run, so that other tools know its segments

# The reference's error object.
ERROR: dict[str, Any] = {
    "type": "object",
    "title": "Error",
    "properties": {
        "status": {"const": "error"},
        "error_code": {"type": "string"},
        "error_message": {"type": "string"},
        "details": {"type": "object"},
    },
    "required": ["status", "error_code", "error_message", "details"],
}


@functools.cache
def listed() -> tuple[Tool, ...]:
    """Every tool with its parameters' schema, its response's schema, and whether it writes."""
    return tuple(described(name) for name in registry.served())


def described(name: str) -> Tool:
    tool = registry.tool(name)
    return Tool(
        name=name,
        title=name.replace("_", " ").capitalize(),
        description=_words(tool.function.__doc__),
        input_schema=tool.parameters.model_json_schema(),
        output_schema=response_schema(tool.function),
        annotations=_annotations(name),
    )


def response_schema(function: Any) -> dict[str, Any]:
    """The JSON Schema of a tool's response over MCP: its result with the keys around it, or the error object.

    Some clients validate errors as well.
    """
    result = typing.get_type_hints(function)["return"]
    schema: dict[str, Any] = (
        result.model_json_schema(mode="serialization") if _is_model(result) else {"type": "object"}
    )
    definitions = schema.pop("$defs", {})
    response = {**schema, "properties": {**schema.get("properties", {}), **AROUND}}
    return {"type": "object", "anyOf": [response, ERROR], "$defs": definitions}


def _is_model(result: Any) -> bool:
    return isinstance(result, type) and issubclass(result, BaseModel)


def _words(docstring: str | None) -> str:
    """The docstring up to its example."""
    lines = (docstring or "").split(">>>")[0].strip().splitlines()
    return "\n".join(line.strip() for line in lines).strip()


def _annotations(name: str) -> ToolAnnotations:
    writes = name in WRITERS or name in APPENDS
    return ToolAnnotations(
        read_only_hint=not writes,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=False,
    )
