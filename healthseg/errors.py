"""The errors that users see: one base, and the six codes of the reference.

Every error is a sentence that names the value, the rule and the way out, and
becomes the reference's error object with ``to_dict()``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "CalculationError",
    "ClientNotFound",
    "DataRetrievalError",
    "HealthsegError",
    "IntegrationError",
    "InvalidClientId",
    "InvalidParameters",
]

# keys that the reference's error object always has
ALWAYS = ("parameter", "value_provided", "validation_rule")
# what systems and libraries say of faults that are not the input's: in our words, with the way out
_MACHINE_FAULTS = {
    "no space left|disk is full|disk quota": "there is no room left on the disk: make room where the portfolio's folder, "
    "HEALTHSEG_CACHE or TMPDIR lies",
    "no usable temporary": "no temporary file can be written: make room, or name a folder by TMPDIR",
    "file too large": "a file may not become as large as it has to: raise this process' limit (ulimit -f)",
    "too many open files": "more files are open at once than may be: raise this process' limit (ulimit -n)",
    "allocate|out ?of ?memory|memoryerror|failed to map|bad_alloc|malloc|new thread|temporarily unavailable": (
        "there is not enough memory: free some, or raise this process' limit (ulimit -v)"
    ),
}
# errors of these kinds may be the machine's; in the others such words are a value's
_OF_LIBRARIES = (
    "Error",
    "FatalException",
    "InternalException",
    "IOException",
    "OutOfMemoryException",
    "OperationalError",
    "PanicException",
)


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
    """A client_id that cannot be one: empty, too long, or of another type."""

    code, http_status = "INVALID_CLIENT_ID", 400


class InvalidParameters(HealthsegError):
    """A parameter, a setting or a file whose value is not allowed."""

    code, http_status = "INVALID_PARAMETERS", 400


class ClientNotFound(HealthsegError):
    """No customer has this client_id; ``did_you_mean`` names the nearest."""

    code, http_status = "CLIENT_NOT_FOUND", 404


class CalculationError(HealthsegError):
    """A figure that cannot be computed from the data there are."""

    code, http_status = "CALCULATION_ERROR", 500


class DataRetrievalError(HealthsegError):
    """A table that is missing, was refused, or cannot be read."""

    code, http_status = "DATA_RETRIEVAL_ERROR", 500


class IntegrationError(HealthsegError):
    """Another system that does not answer, or an extra that is not installed."""

    code, http_status = "INTEGRATION_ERROR", 503


def machine_fault(problem: BaseException | None) -> str | None:
    """What the machine lacked where an error comes from that, and the way out; None where it does not.

    Nothing may be concluded from such an error for the files that were read.

    >>> machine_fault(OSError(28, "No space left on device")).partition(":")[0]
    'there is no room left on the disk'
    >>> machine_fault(MemoryError()).partition(":")[0], machine_fault(ValueError("No space left"))
    ('there is not enough memory', None)
    """
    while problem is not None:
        own = isinstance(problem, (OSError, MemoryError, ImportError, RuntimeError, SystemError))
        kind = type(problem).__name__
        for pattern, words in _MACHINE_FAULTS.items() if own or kind in _OF_LIBRARIES else ():
            memory = "MemoryError " if isinstance(problem, MemoryError) else ""
            if re.search(pattern, f"{memory}{kind} {problem}", re.IGNORECASE):
                return words
        hidden = problem.__suppress_context__
        problem = problem.__cause__ or (None if hidden else problem.__context__)
    return None


def without_credentials(address: str) -> str:
    """An address, whatever else is wrong with it, without user and password and without what follows its path.

    >>> without_credentials("dask://ann:a/b@c@host:8786"), without_credentials("host:8786")
    ('dask://host:8786', 'host:8786')
    >>> without_credentials("postgresql://host/crm?password=x")
    'postgresql://host/crm'
    """
    scheme, mark, rest = address.partition("://")
    return scheme + mark + rest.partition("?")[0].rpartition("@")[2] if mark else address


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


def json_of_others(text: str) -> Any:
    """The value of a JSON text that others wrote; raises ValueError for whatever is none, also for a thousand brackets.

    >>> json_of_others("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
