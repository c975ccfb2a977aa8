"""The tools as MCP describes them: made from the registry, so that a new tool is served without a line here."""

from __future__ import annotations

import functools
import json
import typing
from typing import Any

from mcp.types import Tool, ToolAnnotations
from pydantic import BaseModel

from healthseg.reports import registry
from healthseg.reports.responses import AROUND, WRITERS, Response

# They record the run of a segmentation, so that other tools know its segments.
APPENDS = ("segment_customers", "trace_figure")
DETAIL = {
    "enum": ["summary", "full"],
    "default": "summary",
    "description": "summary: verdict, main figures, first rows; full: everything",
}
SIGNED = "actor"  # whoever calls, never what the call says
SUMMARY_CHARACTERS = 6_000  # about 1,500 tokens
SUMMARY_ROWS = 3
SUMMARY_TEXT = 400
NEVER_LEFT_OUT = {"client_id", "as_of", "data_until", "fingerprint", "warnings", "cache"}

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
    """Every tool with its parameters' schema, and whether it writes."""
    return tuple(described(name) for name in registry.served())


def described(name: str) -> Tool:
    """A tool's entry in the list: short, since every conversation begins with the whole list."""
    tool = registry.tool(name)
    schema = _compact(tool.parameters.model_json_schema())
    properties = {key: value for key, value in schema["properties"].items() if key != SIGNED}
    return Tool(
        name=name,
        description=_words(tool.function.__doc__),
        input_schema={
            "type": "object",
            "properties": properties | {"detail": DETAIL},
            "required": schema.get("required", []),
            "additionalProperties": False,
        },
        annotations=_annotations(name),
    )


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without titles and marks of ours; a choice between a text, a date and null is a text."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "records")}
    if schema.get("default", 0) is None:
        del schema["default"]
    options = [each for each in schema.pop("anyOf", []) if each.get("type") != "null"]
    if options and {each.get("type") for each in options} == {"string"}:
        options = options[:1]
    if len(options) == 1:
        schema = {**options[0], **schema}
    elif options:
        schema["anyOf"] = options
    if "properties" in schema:
        named = {key: _compact(value) for key, value in schema["properties"].items()}
        return {**schema, "properties": named}
    return schema


def response_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a tool's full response over MCP: its result with the keys around it, or the error object."""
    result = typing.get_type_hints(registry.tool(name).function)["return"]
    schema: dict[str, Any] = (
        result.model_json_schema(mode="serialization") if _is_model(result) else {"type": "object"}
    )
    definitions = schema.pop("$defs", {})
    response = {**schema, "properties": {**schema.get("properties", {}), **AROUND}}
    return {"type": "object", "anyOf": [response, ERROR], "$defs": definitions}


def body(response: Response, detail: str) -> dict[str, Any]:
    """What a call returns: the response, or its summary."""
    if detail == "full" or is_error(response.body):
        return response.body
    return summarised(response)


def is_error(body: dict[str, Any]) -> bool:
    return body.get("status") == "error" and "error_code" in body


def summarised(response: Response) -> dict[str, Any]:
    """The verdict, the main figures, and what fits of the rest; ``left_out`` says what does not.

    >>> rows = [{"day": day} for day in range(5)]
    >>> summarised(Response({"as_of": "2025-10-10", "series": rows}, "stable"))["left_out"]
    {'series': '2 of 5 rows'}
    """
    left_out: dict[str, str] = {}
    keys = {key: _shortened(value, key, left_out) for key, value in response.body.items()}
    head = {"verdict": response.verdict, "summary": response.summary}
    sizes = {key: len(_text(value)) for key, value in keys.items() if key not in NEVER_LEFT_OUT}
    while sizes and len(_text([head, keys, left_out])) > SUMMARY_CHARACTERS:
        largest = max(sizes, key=sizes.__getitem__)
        del sizes[largest], keys[largest]
        left_out = {path: words for path, words in left_out.items() if not _within(path, largest)}
        left_out[largest] = "all of it"
    return {**head, **keys, "detail": "summary", "left_out": left_out}


def _shortened(value: Any, path: str, left_out: dict[str, str]) -> Any:
    """The first rows of lists, and the beginning of long texts; what is left out is noted by its path."""
    if isinstance(value, dict):
        return {key: _shortened(each, f"{path}.{key}", left_out) for key, each in value.items()}
    if isinstance(value, list):
        if len(value) > SUMMARY_ROWS and any(isinstance(each, dict | list) for each in value):
            left_out[path] = f"{len(value) - SUMMARY_ROWS} of {len(value)} rows"
            value = value[:SUMMARY_ROWS]
        return [_shortened(each, f"{path}[*]", left_out) for each in value]
    if isinstance(value, str) and len(value) > SUMMARY_TEXT:
        return value[:SUMMARY_TEXT] + "…"
    return value


def _within(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}["))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _is_model(result: Any) -> bool:
    return isinstance(result, type) and issubclass(result, BaseModel)


def _words(docstring: str | None) -> str:
    """The docstring up to its example, without what it raises."""
    text = (docstring or "").split(">>>")[0]
    paragraphs = (" ".join(each.split()) for each in text.split("\n\n"))
    without = (each.split("Raises ")[0].split("Formulas: ")[0].strip() for each in paragraphs)
    return "\n".join(filter(None, without))


def _annotations(name: str) -> ToolAnnotations:
    writes = name in WRITERS or name in APPENDS
    return ToolAnnotations(
        read_only_hint=not writes,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=False,
    )
