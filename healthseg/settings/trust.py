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
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from healthseg.errors import InvalidParameters, without_credentials
from healthseg.settings.base import toml_content

FILES = ("healthseg.toml", "portfolio.toml")
# what acts outside the portfolio, by its place in the file
ACTING = (
    ("settings", "outbox", "handlers"),
    ("settings", "ledger", "address"),
    ("mixpanel", "api_url"),
    ("mcp",),
    ("cache", "version_query"),
)
_OWN_VARIABLE = re.compile(r"\$\{?HEALTHSEG_")
# what a portfolio may take is no choice of its own
_OPERATORS_ALONE = "input_limits"
_OPERATORS_FILE = "HEALTHSEG_CONFIG"


def acting(content: Mapping[str, Any], folder: Path | None = None) -> list[str]:
    """What in a file (of a folder) reaches beyond its portfolio, as lines that name it; variables by name, never by value.

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
    source = content.get("source")
    values = source if isinstance(source, Mapping) else {}
    folders = values.get("folder")
    tables = content.get("tables")
    of_tables = {
        f"tables.{name}.address": table.get("address")
        for name, table in (tables if isinstance(tables, Mapping) else {}).items()
        if isinstance(table, Mapping)
    }
    for key, address in {"source.address": values.get("address"), **of_tables}.items():
        if isinstance(address, str) and not _OWN_VARIABLE.match(address):
            lines += _lines(key, without_credentials(address))
    for name in folders if isinstance(folders, list) else [folders]:
        if folder is not None and isinstance(name, str) and _leaves(folder, name):
            lines += _lines("source.folder", name)
    return lines


def _leaves(folder: Path, name: str) -> bool:
    """Whether a folder of data lies outside of the portfolio's."""
    if "$" in name:
        return not _OWN_VARIABLE.match(name) or ".." in name
    target = (folder / Path(name).expanduser()).resolve()
    return not target.is_relative_to(folder.resolve())


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
    if len(reaching) == 1 and reaching[0].startswith("source.address"):
        _require_source(path, "source.address", content["source"]["address"])
    elif reaching:
        _require_trust(path, reaching[0].partition(" = ")[0])


def require_folder(path: Path, name: str) -> None:
    """Raises InvalidParameters where the folder of data of a file lies outside the portfolio's, and is not trusted."""
    if _leaves(path.parent, name):
        _require_source(path, "source.folder", name)


def _require_source(path: Path, key: str, value: str) -> None:
    """Where data are read from stays trusted while the queries of a file change."""
    if _source_key(path, key, value) not in _trusted():
        _require_trust(path, key)


def _source_key(path: Path, key: str, value: str) -> str:
    return f"{path.resolve()} {key} {hashlib.sha256(value.encode()).hexdigest()[:16]}"


def _source_keys(path: Path) -> list[str]:
    source = toml_content(path).get("source")
    values = source if isinstance(source, Mapping) else {}
    return [
        _source_key(path, f"source.{key}", text)
        for key in ("folder", "address")
        for text in (values[key] if isinstance(values.get(key), list) else [values.get(key)])
        if isinstance(text, str)
    ]


def _require_trust(path: Path, first: str) -> None:
    if _is_operators(path) or _trusted().get(str(path.resolve())) == digest(path):
        return
    raise InvalidParameters(
        f"{path} sets {first}, which acts outside the portfolio, and this file is not trusted: read it, then "
        f"run 'healthseg trust {path.parent}', or move these settings to the file that {_OPERATORS_FILE} names",
        parameter=first,
        value_provided=path.name,
        validation_rule="a trusted file, or the operator's own configuration",
    )


def require_links(folder: Path, links: Mapping[str, str]) -> None:
    """Raises InvalidParameters where tables are links to files outside of a portfolio, and not trusted as they are."""
    if not links or _trusted().get(_links_key(folder)) == _links_digest(links):
        return
    label, target = next(iter(sorted(links.items())))
    raise InvalidParameters(
        f"{label} is a link to {target}, outside of the portfolio: copy the file, or run "
        f"'healthseg trust {folder}' if you made the link",
        parameter="portfolio",
        value_provided=label,
        validation_rule="files of the portfolio's folder, or trusted links",
    )


def _links_key(folder: Path) -> str:
    return f"{folder.resolve()}{os.sep}"


def _links_digest(links: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(links.items())).encode()).hexdigest()


def require_operators(path: Path, content: Mapping[str, Any]) -> None:
    """Raises InvalidParameters where a file beside a portfolio sets what is the operator's alone."""
    if _OPERATORS_ALONE in content and not _is_operators(path):
        raise InvalidParameters(
            f"{path.name} sets [{_OPERATORS_ALONE}], which a portfolio cannot set for itself: use the environment, "
            f"or the file that {_OPERATORS_FILE} names",
            parameter=_OPERATORS_ALONE,
            value_provided=path.name,
            validation_rule="the operator's own configuration",
        )


def trust(paths: list[Path], folder: Path | None = None, links: Mapping[str, str] = {}) -> Path:
    """Records the files, and the links of a folder, as they are; where that is kept."""
    store = _store()
    entries = _trusted() | {str(path.resolve()): digest(path) for path in paths}
    entries |= {key: "read" for path in paths for key in _source_keys(path)}
    if folder is not None and links:
        entries[_links_key(folder)] = _links_digest(links)
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
