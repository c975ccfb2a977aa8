"""Templates over the figures of a result: every figure that a page shows keeps the path that it was read from.

``{usage_trends.weekly_growth_rate:signed_percent.1}`` is a path and a format of ``healthseg.charts.formats``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from healthseg.charts import formats
from healthseg.reports import privacy

# A template, or a function of the result (or of the row) that chooses one; None shows nothing.
Text = str | Callable[[Any], str | None]

# What names the customer whose client_id lies beside it.
NAMES = frozenset({"name", "client_id"})
_FIGURE = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")
_STEP = re.compile(r'\.?([A-Za-z_]\w*|\*)|\[(\d+|\*|"(?:[^"\\]|\\.)*")\]')


@dataclass(frozen=True)
class Scope:
    """A value with the path that leads to it, and what encloses it."""

    value: Any
    path: str
    outer: Scope | None = None

    def find(self, path: str) -> Scope | None:
        """What a path leads to, seen from here or, where its first name is unknown here, from what encloses this."""
        steps = _steps(path)
        if steps and isinstance(steps[0], str) and not _has(self.value, steps[0]) and self.outer:
            return self.outer.find(path)
        if "*" in steps:
            return self._all(path, steps)
        scope: Scope | None = self
        for step in steps:
            scope = scope.child(step) if scope else None
        return scope

    def _all(self, path: str, steps: list[str | int]) -> Scope:
        """The values that a path with ``*`` leads to, as one list."""
        return Scope([scope.value for scope in self._walk(steps)], f"{self.path}.{path}", self)

    def _walk(self, steps: list[str | int]) -> Iterator[Scope]:
        if not steps:
            yield self
            return
        first, rest = steps[0], steps[1:]
        for scope in self.children() if first == "*" else [self.child(first)]:
            if scope is not None:
                yield from scope._walk(rest)

    def child(self, step: str | int) -> Scope | None:
        """The part of a name or a position; None where there is none."""
        if not _has(self.value, step):
            return None
        name = f"[{step}]" if isinstance(step, int) else _named(step)
        return Scope(self.value[step], self.path + name, self)

    def children(self) -> list[Scope]:
        """The parts of a list or a mapping."""
        listed = isinstance(self.value, list | _Rows)
        steps = range(len(self.value)) if listed else list(self.value or ())
        return [scope for step in steps if (scope := self.child(step)) is not None]

    def rows(self, path: str) -> list[Scope]:
        """Scopes of the rows that a path leads to: a list, a mapping's values, or a frame (``frames.weeks``)."""
        steps = _steps(path)
        if "*" in steps:
            return list(self._walk(steps))
        scope = self.find(path)
        if scope is None or scope.value is None:
            return []
        return scope.children()

    def sibling(self, name: str) -> Any:
        """The value of a name here or in what encloses this: an amount's currency."""
        scope = self.find(name)
        return None if scope is None else scope.value


def root(
    result: Any,
    managers: Mapping[str, str] | None = None,
    namesakes: frozenset[str] = frozenset(),
) -> Scope:
    """The scope of a whole result: the keys of its response, its frames, its verdict and its charts' captions.

    ``managers`` are the managers' names by csm_id; ``namesakes`` the customers whose name another one has too.
    """
    page = _Lazy({"verdict": result.verdict, "charts": lambda: _captions(result)})
    beside = {
        "frames": _Frames(result),
        "page": page,
        "managers": managers or {},
        "namesakes": namesakes,
    }
    return Scope({**result.to_dict(), **beside}, "$")


def _captions(result: Any) -> dict[str, dict[str, Any]]:
    return {name: chart.usermeta for name, chart in result.charts().items()}


class _Frames(Mapping[str, "_Rows"]):
    """A result's frames by name."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __getitem__(self, name: str) -> _Rows:
        return _Rows(self._result.frame(name))

    def __contains__(self, name: object) -> bool:
        return name in self._result.frames

    def __iter__(self) -> Iterator[str]:
        return iter(self._result.frames)

    def __len__(self) -> int:
        return len(self._result.frames)


class _Rows:
    """A frame, of which a template reads rows by their position, and a sparkline columns by their name."""

    def __init__(self, frame: Any) -> None:
        self._columns, self._records = list(frame.columns), frame.to_dict("records")

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, step: object) -> bool:
        return step in self._columns

    def __getitem__(self, step: str | int) -> Any:
        if isinstance(step, int):
            return self._records[step]
        return [record[step] for record in self._records]


class _Lazy(dict[str, Any]):
    """Values that are computed when a page asks for them."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)()


def _steps(path: str) -> list[str | int]:
    """The names and positions of a path.

    >>> _steps('customers[3].not_measured["$.a"]'), _steps("segments[*].mean")
    (['customers', 3, 'not_measured', '$.a'], ['segments', '*', 'mean'])
    """
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(path):
        if match.start() != end:
            break
        end = match.end()
        name, key = match.groups()
        steps.append(name or _position(key))
    if end != len(path):
        raise ValueError(f"{path!r} is not a path")
    return steps


def _position(key: str) -> str | int:
    return int(key) if key.isdecimal() else json.loads(key) if key[0] == '"' else key


def last_step(path: str) -> str | int:
    """The last name or position of a path.

    >>> last_step('$.not_measured["$.a[0].b"]')
    '$.a[0].b'
    """
    return _steps(path.removeprefix("$"))[-1]


def _named(name: str) -> str:
    return f".{name}" if re.fullmatch(r"[A-Za-z_]\w*", name) else f"[{json.dumps(name)}]"


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    if isinstance(step, int):
        return isinstance(value, list | _Rows) and step < len(value)
    return isinstance(value, _Rows) and step in value


@dataclass(frozen=True)
class Piece:
    """A part of a filled template: static text, or a figure with its path and format."""

    text: str
    path: str = ""
    form: str = ""
    missing: bool = False
    # The customer that it names, to whose page it leads where there is one.
    client: str = ""


@dataclass(frozen=True)
class Filled:
    """A template with its figures filled in."""

    pieces: tuple[Piece, ...] = ()

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def missing(self) -> bool:
        """Whether a figure that the template needs is unknown."""
        return any(piece.missing for piece in self.pieces)

    def __bool__(self) -> bool:
        return bool(self.text) and not self.missing

    def __add__(self, other: Filled) -> Filled:
        return Filled(self.pieces + other.pieces)


def filled(text: Text, scope: Scope, chooser: Any = None) -> Filled:
    """A template filled from a scope; ``chooser`` is what a function that chooses the template is called with."""
    template = text(scope.value if chooser is None else chooser) if callable(text) else text
    if not template:
        return Filled()
    pieces, end = [], 0
    for match in _FIGURE.finditer(template):
        pieces.append(Piece(template[end : match.start()]))
        piece = figure(scope, match[1], match[2] or "")
        pieces.append(piece)
        if piece.client and piece.client in (scope.sibling("namesakes") or ()):
            pieces.append(Piece(f" ({piece.client})"))
        end = match.end()
    return Filled(tuple(piece for piece in (*pieces, Piece(template[end:])) if piece.text))


def figure(scope: Scope, path: str, form: str = "") -> Piece:
    """One figure in its format; with ``?`` it may be unknown (``number?not reached`` says what is shown then)."""
    target = scope.find(path)
    value = None if target is None else target.value
    if path.rpartition(".")[2] in privacy.USER_KEYS:
        value = privacy.shown(value)
    sibling = (target.outer if target and target.outer else scope).sibling
    address = target.path if target else f"{scope.path}.{path}"
    empty = not isinstance(value, list | dict) and formats.is_missing(value)
    shown = formats.written(value, form, sibling)
    client = _customer(target) if target and path.rpartition(".")[2] in NAMES else ""
    return Piece(shown, address, form, empty and "?" not in form, client)


def _customer(name: Scope) -> str:
    """The client_id of the row that a name is in; empty where it names the page's own customer, or something else."""
    row = name.outer.value if name.outer and name.outer.path != "$" else None
    return str(row.get("client_id") or "") if isinstance(row, Mapping) else ""


def sentences(texts: tuple[Text, ...], scope: Scope, chooser: Any = None) -> Filled:
    """Templates as sentences of one text; one with an unknown figure is left out.

    >>> scope = Scope({"up": 2, "down": None}, "$")
    >>> sentences(("{up:number customer} rose.", "{down} fell"), scope).text
    '2\\xa0customers rose.'
    """
    known = [part for part in (filled(text, scope, chooser) for text in texts) if part]
    whole = Filled()
    for part in known:
        end = Filled((Piece("." if part.text[-1] not in ".!?" else ""),))
        whole += (Filled((Piece(" "),)) if whole else Filled()) + part + end
    return whole


def resolve(result: Any, path: str) -> Any:
    """The value behind a path of a page (``data-figure``), in the response or in a frame.

    Raises KeyError where the result has no such path.
    """
    address, _, of_key = path.partition("#")
    scope = root(result).find(address.removeprefix("$"))
    if scope is None:
        raise KeyError(path)
    return last_step(address) if of_key else scope.value
