"""What altair does anew for every chart although it never changes, done once; charts are the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from altair.utils import schemapi

_hashes: dict[int, tuple[Any, int]] = {}


def remember() -> None:
    """From now on altair does once what it does for each channel of each chart."""
    _hash_once()
    _name_fields_at_once()


def _hash_once() -> None:
    """Hash each schema once: altair hashes all of its 570 for each channel of each chart, 16 ms a time."""
    found = getattr(schemapi, "_FromDict", None)
    hashed = getattr(found, "hash_schema", None)
    if hashed is None or getattr(hashed, "remembers", False):
        return

    def once(cls: type, schema: dict[str, Any], *given: Any, **more: Any) -> int:
        kept = _hashes.get(id(schema))
        if kept is None or kept[0] is not schema:
            kept = _hashes[id(schema)] = (schema, hashed(schema, *given, **more))
        return kept[1]

    once.remembers = True
    found.hash_schema = classmethod(once)


def _name_fields_at_once() -> None:
    """Make ``x="day:T"`` a channel without searching all classes of the grammar for that of a text: it is none."""
    found = schemapi.SchemaBase
    searched = found.__dict__["from_dict"].__func__
    if getattr(searched, "is_quick", False):
        return

    def quick(cls: type, dct: Any, validate: bool = True) -> Any:
        shorthand = (
            None if validate or not isinstance(dct, dict) or len(dct) != 1 else dct.get("shorthand")
        )
        return (
            cls(shorthand=shorthand) if isinstance(shorthand, str) else searched(cls, dct, validate)
        )

    quick.is_quick = True
    found.from_dict = classmethod(quick)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Within it charts are made without holding each part against the grammar: for charts that tests have checked."""
    switch = getattr(schemapi, "debug_mode", None)
    with switch(False) if switch else contextlib.nullcontext():
        yield
