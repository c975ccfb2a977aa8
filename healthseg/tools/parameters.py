"""Parameters of the tools: pydantic models with the reference's names, defaults and ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from healthseg.errors import InvalidParameters, hint

Model = TypeVar("Model", bound="Parameters")
SHOULD = "Input should be "


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
            raise InvalidParameters(
                f"unknown parameter {name!r}{hint(str(name), model.model_fields)}",
                parameter=str(name),
                value_provided=str(name)[:200],
                validation_rule="one of " + ", ".join(model.model_fields),
            )
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        name = str(first["loc"][0])
        rule = " or ".join(_rule(error) for error in problem.errors() if error["loc"][0] == name)
        rule = ("it must be " if first["msg"].startswith(SHOULD) else "") + rule
        given = values.get(name)
        near = hint(str(given), _words(first)) if isinstance(given, str) else ""
        raise InvalidParameters(
            f"Invalid {name}: {str(given)[:80]!r}; {rule}{near}",
            parameter=name,
            value_provided=str(given)[:200],
            validation_rule=rule,
        ) from None


def _words(error: Mapping[str, Any]) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [
        word.strip().strip("'")
        for word in expected.replace(" or ", ", ").split(",")
        if word.strip()
    ]


def _rule(error: Mapping[str, Any]) -> str:
    return error["msg"].removeprefix("Value error, ").removeprefix(SHOULD)
