"""Parameters of the tools: pydantic models with the reference's names, defaults and ranges."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from healthseg.errors import InvalidParameters, hint

Model = TypeVar("Model", bound="Parameters")


class Parameters(BaseModel):
    """The base: unknown names are refused, numbers are not made of text, text is not made of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The parameters, or InvalidParameters that names parameter, value, rule and the nearest name.

    >>> class Days(Parameters):
    ...     days: int = 30
    >>> validated(Days, {"days": 7}).days
    7
    """
    for name in values:
        if name not in model.model_fields:
            raise InvalidParameters(f"unknown parameter {name!r}{hint(str(name), model.model_fields)}",
                                    parameter=str(name), value_provided=str(name)[:200],
                                    validation_rule="one of " + ", ".join(model.model_fields))
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        name, rule = ".".join(str(part) for part in first["loc"]), _rule(first)
        given = values.get(str(first["loc"][0])) if first["loc"] else None
        near = hint(str(given), _words(first)) if isinstance(given, str) else ""
        raise InvalidParameters(f"Invalid {name}: {str(given)[:80]!r}; {rule}{near}", parameter=name,
                                value_provided=_plain(given), validation_rule=rule) from None


def _words(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",") if word.strip()]


def _rule(error: Mapping[str, Any]) -> str:
    rule = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return ("it must be " if error["msg"].startswith("Input should be ") else "") + rule


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)[:200]
