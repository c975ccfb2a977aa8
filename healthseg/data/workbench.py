"""The connection on which tables are cleaned and facts are built, opened when there is something to do.

A portfolio whose files did not change has nothing to do: it opens without a connection.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

import duckdb
import pandas as pd

from healthseg.data.reading.cleaning import prepare_accounts, prepare_zones


class Workbench:
    """A connection that holds what validation joins with: the zones there are, and the known customers with theirs.

    ``connect`` gives it for the length of a block.
    """

    def __init__(
        self, connect: Callable[[], contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]]
    ) -> None:
        self._connect = connect
        self._closing = contextlib.ExitStack()
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._accounts = pd.DataFrame(
            {"client_id": pd.Series(dtype="str"), "zone": pd.Series(dtype="str")}
        )

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None:
            self._opened = self._closing.enter_context(self._connect())
            prepare_zones(self._opened)
            prepare_accounts(self._opened, self._accounts)
        return self._opened

    def know(self, accounts: pd.DataFrame) -> None:
        """From now on these are the known customers."""
        self._accounts = accounts
        if self._opened is not None:
            prepare_accounts(self._opened, accounts)

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()
