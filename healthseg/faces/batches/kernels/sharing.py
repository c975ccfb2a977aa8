"""What the reports of a batch have in common: the book with all that was counted of it, handed over as bytes.

The bytes go from a process to one that it started itself, through a file without a name: nobody else can write them.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

_REMEMBERED = "_remembered"
_shared: dict[str, Any] = {}


def dump(book: Any, address: str, file: BinaryIO) -> None:
    """Write an open book; what can't be handed over is left out, and computed again by whoever needs it."""
    try:
        pickle.dump((address, book), file, protocol=pickle.HIGHEST_PROTOCOL)
    except (TypeError, AttributeError, pickle.PicklingError):
        file.seek(0)
        file.truncate()
        kept = {key: value for key, value in book.__dict__[_REMEMBERED].items() if _portable(value)}
        light = object.__new__(type(book))
        light.__dict__.update(book.__getstate__() | {_REMEMBERED: kept})
        pickle.dump((address, light), file, protocol=pickle.HIGHEST_PROTOCOL)


def _portable(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


def load(file: BinaryIO) -> None:
    """Read a book that ``open_book`` of this process and of those forked from it then gives for its address."""
    address, book = pickle.load(file)
    _shared[address] = book


def book_at(address: str) -> Any | None:
    """The book that was handed to this process for an address, or None."""
    return _shared.get(address)
