"""The errors that users see: one base, and the six codes of the reference.

Every error is a sentence that names the value, the rule and the way out, and
becomes the reference's error object with ``to_dict()``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

# keys that the reference's error object always has
ALWAYS = ("parameter", "value_provided", "validation_rule")


class HealthsegError(Exception):
    """The base of all errors that healthseg raises on purpose.

    ``details`` are JSON values: by convention ``parameter``, ``value_provided``,
    ``validation_rule`` and, where one is near, ``did_you_mean``.

    >>> HealthsegError("no such date", parameter="as_of").details["parameter"]
    'as_of'
    """

    code = "CALCULATION_ERROR"
    http_status = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = {key: value for key, value in details.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """The error object of the reference."""
        return {
            "status": "error",
            "error_code": self.code,
            "error_message": self.message,
            "details": {**dict.fromkeys(ALWAYS), **self.details, "http_status": self.http_status},
        }


class InvalidClientId(HealthsegError):
    code, http_status = "INVALID_CLIENT_ID", 400


class InvalidParameters(HealthsegError):
    code, http_status = "INVALID_PARAMETERS", 400


class ClientNotFound(HealthsegError):
    code, http_status = "CLIENT_NOT_FOUND", 404


class CalculationError(HealthsegError):
    code, http_status = "CALCULATION_ERROR", 500


class DataRetrievalError(HealthsegError):
    code, http_status = "DATA_RETRIEVAL_ERROR", 500


class IntegrationError(HealthsegError):
    code, http_status = "INTEGRATION_ERROR", 503


def near(value: str, known: Iterable[str]) -> str | None:
    """The known word nearest to a typed one, or None.

    >>> near("custmers", ["customers", "events"])
    'customers'
    """
    lowered = {word.lower(): word for word in known}
    typed = str(value).lower()
    for match in difflib.get_close_matches(typed, lowered, n=1, cutoff=0.6):
        return lowered[match]
    # "lookbak" begins like a longer name
    beginnings = {word[: len(typed)]: word for word in lowered}
    for match in difflib.get_close_matches(typed, beginnings, n=1, cutoff=0.8):
        return lowered[beginnings[match]]
    return None


def hint(value: str, known: Iterable[str]) -> str:
    """``'; did you mean customers?'`` or an empty string: the end of a message."""
    word = near(value, known)
    return f"; did you mean {word}?" if word else ""


def require_known(value: str, known: Iterable[str], message: str, *, parameter: str) -> None:
    """Nothing where a word is known; otherwise InvalidParameters with the known words and the nearest of them.

    >>> require_known("hour", ["day", "week"], "unknown spacing 'hour'", parameter="spacing")
    Traceback (most recent call last):
    ...
    healthseg.errors.InvalidParameters: unknown spacing 'hour'
    """
    words = list(known)
    if value not in words:
        raise InvalidParameters(
            f"{message}{hint(value, words)}",
            parameter=parameter,
            value_provided=str(value)[:200],
            validation_rule="one of " + ", ".join(words),
        )
