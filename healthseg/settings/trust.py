"""What a file beside a portfolio may set in motion: nothing, until the operator trusts the file as it is.

A portfolio is data that others may have made. What reaches beyond it (who is sent messages, where the ledger
lies, which address secrets are sent to, which folder is served) comes from the operator's own file, which
``HEALTHSEG_CONFIG`` names, or from one beside the portfolio that ``healthseg trust`` has shown. A file that
changes afterwards has to be trusted again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from healthseg.errors import InvalidParameters

FILES = ("healthseg.toml", "portfolio.toml")
# what acts outside the portfolio, by its place in the file
ACTING = (
    ("settings", "outbox", "handlers"),
    ("settings", "ledger", "address"),
    ("mixpanel", "api_url"),
    ("mcp",),
    ("cache", "version_query"),
)
_OPERATORS_FILE = "HEALTHSEG_CONFIG"


def acting(content: Mapping[str, Any]) -> list[str]:
    """What in a file reaches beyond its portfolio, as lines that name it; variables by name, never by value.

    >>> acting({"settings": {"outbox": {"handlers": {"log": {"kind": "file", "path": "log.jsonl"}}}}})
    ['settings.outbox.handlers.log.kind = "file"', 'settings.outbox.handlers.log.path = "log.jsonl"']
    >>> acting({"settings": {"tiers": {"names": ["S", "L"]}}})
    []
    """
    lines: list[str] = []
    for keys in ACTING:
        value: Any = content
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value not in (None, {}):
            lines += _lines(".".join(keys), value)
    return lines


def _lines(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{name}.{key}", inner)
    else:
        secret = name.rpartition(".")[2] in ("token", "password") and not str(value).startswith("$")
        yield f"{name} = {'(a secret)' if secret else json.dumps(value, ensure_ascii=False)}"


def require(path: Path, content: Mapping[str, Any]) -> None:
    """Raises InvalidParameters where a file beside a portfolio acts outside it and is not trusted as it is."""
    reaching = acting(content)
    if not reaching or _is_operators(path) or _trusted().get(str(path.resolve())) == digest(path):
        return
    first = reaching[0].partition(" = ")[0]
    raise InvalidParameters(
        f"{path} sets {first}, which acts outside the portfolio, and this file is not trusted: read it, then "
        f"run 'healthseg trust {path.parent}', or move these settings to the file that {_OPERATORS_FILE} names",
        parameter=first,
        value_provided=path.name,
        validation_rule="a trusted file, or the operator's own configuration",
    )


def trust(paths: list[Path]) -> Path:
    """Records the files as they are; where that is kept."""
    store = _store()
    entries = _trusted() | {str(path.resolve()): digest(path) for path in paths}
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=store.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1, sort_keys=True)
    os.replace(temporary, store)
    return store


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_operators(path: Path) -> bool:
    named = os.environ.get(_OPERATORS_FILE)
    return bool(named) and Path(str(named)).expanduser().resolve() == path.resolve()


def _store() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "healthseg" / "trusted.json"


def _trusted() -> dict[str, str]:
    try:
        entries = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
