"""What the reports of a batch have in common: the portfolio with all that was counted of it, handed over as bytes.

The bytes go from a process to one that it started itself, through a file without a name: nobody else can write them.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, BinaryIO

import cloudpickle

_PORTFOLIO = "the portfolio"
_UNPORTABLE = (TypeError, AttributeError, pickle.PicklingError)
_shared: dict[str, Any] = {}


def dump(portfolio: Any, address: str, file: BinaryIO) -> None:
    """Write an open portfolio; what can't be handed over is left out, and computed again by whoever needs it."""
    pickle.dump((address, portfolio), file, protocol=pickle.HIGHEST_PROTOCOL)
    remembered, begun = portfolio.cache.memory, file.tell()
    try:
        _Writer(file, portfolio).dump(remembered)
    except _UNPORTABLE:
        file.seek(begun)
        file.truncate()
        _Writer(file, portfolio).dump(
            {
                name: {key: value for key, value in values.items() if _portable(value, portfolio)}
                for name, values in remembered.items()
            }
        )


class _Writer(cloudpickle.Pickler):
    """What was counted, with a mark where it speaks of the portfolio: that is there already.

    Functions that were made within others go by what they are made of.
    """

    def __init__(self, file: BinaryIO, portfolio: Any) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._portfolio = portfolio

    def persistent_id(self, given: Any) -> str | None:
        return _PORTFOLIO if given is self._portfolio else None


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, portfolio: Any) -> None:
        super().__init__(file)
        self._portfolio = portfolio

    def persistent_load(self, mark: str) -> Any:
        return self._portfolio


def _portable(value: Any, portfolio: Any) -> bool:
    try:
        _Writer(io.BytesIO(), portfolio).dump(value)
    except _UNPORTABLE:
        return False
    return True


def load(file: BinaryIO) -> None:
    """Read a portfolio that ``open_portfolio`` of this process and of those forked from it then gives for its address."""
    address, portfolio = pickle.load(file)
    portfolio.cache.memory = _Reader(file, portfolio).load()
    _shared[address] = portfolio


def portfolio_at(address: str) -> Any | None:
    """The portfolio that was handed to this process for an address, or None."""
    return _shared.get(address)
