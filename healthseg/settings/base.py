"""What all settings are: frozen values whose fingerprint names them."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

# files of settings have some kilobytes
_LARGEST_TOML_MB = 5
# which would take the parser gigabytes; searched from the beginning of each word, since a long one has many ends
_LONG_KEY = re.compile(r"""(?<![\w-])(?>(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)[ \t]*\.[ \t]*){40}""")


# what a file of others may set is added to dates and drawn: spans of at most a century, a session of at most a year; each
# draw has an array of its own; beyond a million million nothing here is counted
_MOST = {"days": 36_525, "weeks": 5_218, "months": 1_200, "minutes": 527_040, "draws": 100_000}
_MOST_OF_ALL = 10**12


class Unchanging(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Frozen(Unchanging):
    """A section of settings: finite numbers, within what dates, memory and time hold."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _of_usual_size(cls, value: Any, info: ValidationInfo) -> Any:
        most = _MOST.get(str(info.field_name).rpartition("_")[2], _MOST_OF_ALL)
        if isinstance(value, int) and abs(value) > most:
            raise ValueError(f"a whole number of at most {most:,} is possible")
        return value


def toml_content(path: Path) -> dict[str, Any]:
    """The sections of a TOML file of others. Raises ValueError with words for all that is not one of usual size and depth."""
    if path.stat().st_size > _LARGEST_TOML_MB * 1_000_000:
        raise ValueError(f"it is larger than {_LARGEST_TOML_MB} MB")
    text = path.read_text(encoding="utf-8")
    if _LONG_KEY.search(text):
        raise ValueError("it has a key of more than 40 parts")
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    for name, value in content.items():
        if not isinstance(value, dict):
            raise ValueError(f"{name} is no section: write [{name}], and its values below")
    return content


def fingerprint(value: Any) -> str:
    """Sixteen hex digits of a JSON value's canonical text.

    >>> fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``over`` in place of those of ``under``; tables are merged, anything else is replaced.

    >>> merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": [2]})
    {'a': {'b': 1, 'c': 3}, 'd': [2]}
    """
    both = dict(under)
    for name, value in over.items():
        below = both.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = merged(below, value)
        both[name] = value
    return both
