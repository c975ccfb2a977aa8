"""How far a run is: one bar in a terminal, lines in a log, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO


class Progress:
    """Told of each report that is done."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet, self._bar = quiet, self._stream.isatty()
        self._started, self._wide = time.monotonic(), 0

    def begin(self, count: int) -> None:
        """So many reports are to be made; the clock starts."""
        self._started = time.monotonic()
        self._count, self._done, self._bad = count, 0, 0

    def tell(self, outcome: Any) -> None:
        """One more is done."""
        self._done += 1
        self._bad += not outcome.ok
        if self._quiet:
            return
        if not outcome.ok:
            self._line(f"{outcome.page}: {outcome.status}, {outcome.error['error_message']}")
        elif not self._bar:
            self._line(f"{outcome.page}: {outcome.status}, {outcome.seconds:.1f} s")
        if self._bar:
            self._show(self.words())

    def words(self) -> str:
        """The state in a line: bar, count, rate and time left.

        >>> import io
        >>> told = Progress(stream=io.StringIO())
        >>> told.begin(8)
        >>> told.words()
        '[....................] 0/8'
        """
        full = int(20 * self._done / self._count) if self._count else 20
        text = f"[{'#' * full}{'.' * (20 - full)}] {self._done}/{self._count}"
        if self._done:
            pace = self._done / max(time.monotonic() - self._started, 1e-6)
            text += f", {60 * pace:.0f} a minute, {_clock((self._count - self._done) / pace)} left"
        return text + (f", {self._bad} failed" if self._bad else "")

    def end(self) -> None:
        """The bar's line is left for what comes after."""
        if self._bar and self._wide and not self._quiet:
            self._stream.write("\n")
            self._stream.flush()

    def _line(self, text: str) -> None:
        if self._bar:
            self._show("")
            self._stream.write("\r")
        self._stream.write(f"[{self._done}/{self._count}] {text}\n")
        self._stream.flush()

    def _show(self, text: str) -> None:
        self._stream.write("\r" + text.ljust(self._wide))
        self._wide = len(text)
        self._stream.flush()


def _clock(seconds: float) -> str:
    """
    >>> _clock(75)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
