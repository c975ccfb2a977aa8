"""What altair does anew for every chart although it never changes, done once; charts are the same."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from altair.utils import schemapi

_hashes: dict[int, tuple[Any, int]] = {}


def remember() -> None:
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


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Within it charts are made without holding each part against the grammar: for charts that tests have checked."""
    switch = getattr(schemapi, "debug_mode", None)
    with switch(False) if switch else contextlib.nullcontext():
        yield
