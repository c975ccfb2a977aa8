"""What the reports of a batch have in common: the book with all that was counted of it, handed over as bytes.

The bytes go from a process to one that it started itself, through a file without a name: nobody else can write them.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, BinaryIO

import cloudpickle

_REMEMBERED, _BOOK = "_remembered", "the book"
_UNPORTABLE = (TypeError, AttributeError, pickle.PicklingError)
_shared: dict[str, Any] = {}


def dump(book: Any, address: str, file: BinaryIO) -> None:
    """Write an open book; what can't be handed over is left out, and computed again by whoever needs it."""
    light = object.__new__(type(book))
    light.__dict__.update(book.__getstate__() | {_REMEMBERED: {}})
    pickle.dump((address, light), file, protocol=pickle.HIGHEST_PROTOCOL)
    remembered, begun = book.__dict__.get(_REMEMBERED, {}), file.tell()
    try:
        _Writer(file, book).dump(remembered)
    except _UNPORTABLE:
        file.seek(begun)
        file.truncate()
        _Writer(file, book).dump(
            {key: value for key, value in remembered.items() if _portable(value, book)}
        )


class _Writer(cloudpickle.Pickler):
    """What was counted, with a mark where it speaks of the book: that is there already.

    Functions that were made within others go by what they are made of.
    """

    def __init__(self, file: BinaryIO, book: Any) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._book = book

    def persistent_id(self, given: Any) -> str | None:
        return _BOOK if given is self._book else None


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, book: Any) -> None:
        super().__init__(file)
        self._book = book

    def persistent_load(self, mark: str) -> Any:
        return self._book


def _portable(value: Any, book: Any) -> bool:
    try:
        _Writer(io.BytesIO(), book).dump(value)
    except _UNPORTABLE:
        return False
    return True


def load(file: BinaryIO) -> None:
    """Read a book that ``open_book`` of this process and of those forked from it then gives for its address."""
    address, book = pickle.load(file)
    book.__dict__[_REMEMBERED] = _Reader(file, book).load()
    _shared[address] = book


def book_at(address: str) -> Any | None:
    """The book that was handed to this process for an address, or None."""
    return _shared.get(address)
