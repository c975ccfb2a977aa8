"""What every tool answers with: a frozen model that is JSON, frames and charts at once."""

from __future__ import annotations

import datetime as dt
import html
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

if TYPE_CHECKING:
    import altair as alt


class Part(BaseModel):
    """A piece of a result: frozen, and more keys than the reference's are its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(BaseModel):
    """The base of the eight tools' responses.

    ``to_dict()`` is the reference's JSON (with more keys), ``frame(name)`` a DataFrame with
    unrounded figures, ``charts()`` altair charts by name. Figures are rounded at this edge only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    tool: ClassVar[str] = ""

    as_of: dt.date
    data_until: dt.date
    fingerprint: str
    coverage: float | None = None
    warnings: list[str] = Field(default_factory=list)
    not_measured: dict[str, str] = Field(default_factory=dict)

    _frames: dict[str, pd.DataFrame] = PrivateAttr(default_factory=dict)

    def with_frames(self, **frames: pd.DataFrame) -> Result:
        """The same result, carrying its unrounded frames (used by the tools when they build it)."""
        self._frames.update(frames)
        return self

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    @property
    def frames(self) -> tuple[str, ...]:
        """The names that ``frame`` knows."""
        return tuple(self._frames)

    def frame(self, name: str | None = None) -> pd.DataFrame:
        """One of the result's frames, unrounded; without a name the first, which is the main one."""
        from healthseg.errors import InvalidParameters, hint

        name = name or next(iter(self._frames))
        if name not in self._frames:
            raise InvalidParameters(
                f"this result has no frame {name!r}{hint(name, self._frames)}",
                parameter="name",
                value_provided=name,
                validation_rule="one of " + ", ".join(self._frames),
            )
        return self._frames[name].copy()

    def charts(self, width: int = 740) -> dict[str, alt.TopLevelMixin]:
        """The result's charts by name, ``width`` pixels wide; each draws its own frames."""
        return {}

    def verdict(self) -> str:
        """The result in one line of words."""
        return f"{type(self).__name__} as of {self.as_of}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        rows = "".join(
            f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.summary().items()
        )
        page = (
            f"<div class='healthseg'><p><strong>{html.escape(self.verdict())}</strong></p><table>{rows}</table>"
            f"<p><small>as of {self.as_of} · data until {self.data_until} · {self.fingerprint}</small></p></div>"
        )
        return {"text/plain": f"{self.verdict()}\n{self.to_json()}", "text/html": page}

    def summary(self) -> dict[str, Any]:
        """The few figures that a reader sees first, in order."""
        return {}
