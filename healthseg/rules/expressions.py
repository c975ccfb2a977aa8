"""Conditions over named figures, parsed and evaluated without ``eval``.

Rules and rule segments are written as ``score < 60 and open_tickets >= 1``. A figure that is
missing makes its comparison unknown, and an unknown condition does not hold.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from healthseg.errors import InvalidParameters, hint

if TYPE_CHECKING:
    import pandas as pd

RULE = (
    "comparisons (< <= > >= == != in) of names, numbers and words, joined by and, or, not, + - * /"
)
_COMPARE = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ALLOWED = (
    ast.Expression,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.Compare,
    ast.BinOp,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Tuple,
    ast.List,
    *_COMPARE,
    *_ARITHMETIC,
)
_LONGEST = 1000
# levels of parts within parts: evaluating one deeper would take more of the stack than a caller may have left
_DEEPEST = 100


class Condition:
    """A parsed condition; ``names`` are the figures that it reads.

    >>> Condition("score < 60 and open_tickets >= 1").holds({"score": 50, "open_tickets": 2})
    True
    >>> Condition("score < 60").holds({"score": None})      # unknown does not hold
    False
    >>> Condition("not score < 60").holds({"score": None})  # and neither does its opposite
    False
    >>> Condition("industry == 'a' * 3000000000").holds({"industry": "a"})  # only numbers are computed with
    False
    """

    def __init__(self, text: str, known: Iterable[str] | None = None) -> None:
        self.text = text
        self._tree = _parse(text)
        self.names = sorted(
            {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        )
        if known is not None:
            known = set(known)
            for name in self.names:
                if name not in known:
                    raise _refused(text, f"{name!r} is not a known figure{hint(name, known)}")

    def number(self, figures: Mapping[str, Any]) -> float | None:
        """The value of arithmetic over figures, None where one is missing.

        >>> Condition("renewal_days - 30").number({"renewal_days": 45})
        15
        """
        value = _value(self._tree.body, figures)
        return None if isinstance(value, str | bool | list) else value

    def column(self, rows: pd.DataFrame) -> list[float]:
        """The value of each row of a frame: a number, 1 or 0 of a condition, NaN where it is unknown.

        Raises InvalidParameters for a name that is not a column.

        >>> import pandas as pd
        >>> rows = pd.DataFrame({"users": [4, 3, None], "seats": [8, 0, 2], "plan": ["pro", None, "pro"]})
        >>> Condition("users / seats").column(rows)
        [0.5, nan, nan]
        >>> Condition("plan == 'pro' and users > 1").column(rows)
        [1.0, nan, nan]
        """
        for name in self.names:
            if name not in rows:
                raise _refused(self.text, f"{name!r} is not a known figure{hint(name, rows)}")
        columns = [rows[name].tolist() for name in self.names]
        values = [
            _value(self._tree.body, dict(zip(self.names, row, strict=True)))
            for row in (zip(*columns, strict=True) if columns else [()] * len(rows))
        ]
        numbers = [None if isinstance(value, str | list) else value for value in values]
        return [math.nan if value is None else float(value) for value in numbers]

    def holds(self, figures: Mapping[str, Any]) -> bool:
        """Whether the condition is known to hold."""
        return _value(self._tree.body, figures) is True


def _refused(text: str, why: str) -> InvalidParameters:
    return InvalidParameters(
        f"{text[:80]!r} is not a condition: {why}",
        parameter="when",
        value_provided=text[:200],
        validation_rule=RULE,
    )


def _parse(text: str) -> ast.Expression:
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise _refused(str(text), f"it must be text of at most {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(text, "it cannot be parsed") from None
    if _depth(tree) > _DEEPEST:
        raise _refused(text, f"its parts are nested more than {_DEEPEST} levels deep")
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise _refused(text, f"{type(node).__name__} is not allowed in it")
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool | int | float | str):
            raise _refused(text, f"{node.value!r} is not a number, a word or true/false")
    return tree


def _depth(tree: ast.AST) -> int:
    levels, nodes = 0, [tree]
    while nodes:
        levels, nodes = levels + 1, [part for node in nodes for part in ast.iter_child_nodes(node)]
    return levels


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _value(node: ast.AST, figures: Mapping[str, Any]) -> Any:
    """The node's value, None where it is unknown."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            value = figures.get(node.id)
            return None if _missing(value) else value
        case ast.Tuple() | ast.List():
            return [_value(element, figures) for element in node.elts]
        case ast.BoolOp():
            return _joined(
                isinstance(node.op, ast.And), [_value(part, figures) for part in node.values]
            )
        case ast.UnaryOp():
            value = _value(node.operand, figures)
            if isinstance(node.op, ast.Not):
                return None if value is None else not value
            return -value if isinstance(value, int | float) else None
        case ast.BinOp():
            return _computed(
                _ARITHMETIC[type(node.op)], _value(node.left, figures), _value(node.right, figures)
            )
        case ast.Compare():
            values = [_value(part, figures) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return _joined(
                True, [_computed(_COMPARE[type(op)], left, right) for op, left, right in pairs]
            )


def _joined(every: bool, values: list[Any]) -> bool | None:
    """Kleene's and / or: decided by one known part, else unknown if any part is."""
    decisive = not every
    if any(value is not None and bool(value) is decisive for value in values):
        return decisive
    return None if any(value is None for value in values) else every


def _computed(operation: Any, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    numbers = all(isinstance(value, int | float) for value in (left, right))
    if operation in _ARITHMETIC.values() and not numbers:
        return None  # a word times a number would take the machine's memory
    try:
        return operation(left, right)
    except (TypeError, ZeroDivisionError, OverflowError):
        return None
