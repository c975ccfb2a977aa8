"""The template of a batch, started anew where it ends before the batch does: what ran from it is made again."""

from __future__ import annotations

import contextlib
from typing import BinaryIO

from healthseg.reports.batches.kernels import supply

MOST = 5  # times that a template is started anew; from then on kernels are plain


class Kept:
    """A template at one path for the whole of a batch, and how often it has ended."""

    def __init__(self, shared: BinaryIO | None = None) -> None:
        self._shared, self.ended = shared, 0
        self.template = self._started()
        self.path = self.template.path

    def _started(self, before: supply.Template | None = None) -> supply.Template:
        if self._shared is not None:
            self._shared.seek(0)
        return supply.Template(self._shared, before.folder if before else None).ready()

    def look(self) -> int:
        """How often the template has ended; one that has is started anew."""
        if self.ended <= MOST and not self.template.runs():
            self._renew()
        return self.ended

    def lost(self, ended: int) -> None:
        """A kernel went because its template did, which until then had ended so often."""
        if self.ended == ended and ended <= MOST:
            self._renew()

    def _renew(self) -> None:
        self.ended += 1
        self.template.end()
        if self.ended <= MOST:
            with contextlib.suppress(supply.NoTemplate):  # it is looked at again
                self.template = self._started(self.template)

    def close(self) -> None:
        """End the template and every kernel that still runs."""
        self.template.close()
