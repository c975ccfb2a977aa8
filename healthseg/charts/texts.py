"""Charts are drawn with marks in the place of their texts, which are put in afterwards.

The renderer metrics each text it draws, a tenth of a millisecond for every letter: nine tenths of a drawing. Where the
layout does not depend on it (a chart of a fixed size without a title) that is for nothing: a text's own bounds are used
for no other thing. A mark is blank, and what is blank the renderer does not metric.
"""

from __future__ import annotations

import html
import re
from typing import Any

_EDGE = "\x85"  # blank to the renderer, yet not cut off by it at the ends of a text
_DIGITS = (
    " \u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)
_MARK = re.compile(f">{_EDGE}([{_DIGITS}]+){_EDGE}<")
_FIELD = re.compile(r"[A-Za-z_]\w*")
_OURS = "healthseg_text"


def marked(spec: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The chart with marks for its texts, and the texts; none where the layout may depend on them."""
    texts: list[str] = []
    if _fixed(spec):
        spec = {
            **spec,
            "layer": [_layer(layer, spec.get("data"), texts) for layer in spec["layer"]],
        }
    return spec, texts


def _fixed(spec: dict[str, Any]) -> bool:
    size = spec.get("autosize")
    kind = size.get("type") if isinstance(size, dict) else size
    return kind == "none" and "title" not in spec and isinstance(spec.get("layer"), list)


def _layer(layer: dict[str, Any], shared: Any, texts: list[str]) -> dict[str, Any]:
    """A layer of texts that come from rows, its own or shared, with marks for them; any other layer as it is."""
    mark, shown = layer.get("mark"), layer.get("encoding", {}).get("text")
    rows = (layer.get("data", shared) or {}).get("values")
    plain = isinstance(mark, dict) and mark.get("type") == "text" and "limit" not in mark
    known = (
        isinstance(shown, dict)
        and shown.keys() == {"field", "type"}
        and _FIELD.fullmatch(shown["field"])
    )
    if not (plain and known and isinstance(rows, list)) or "transform" in layer:
        return layer
    field = shown["field"]
    if not all(isinstance(row, dict) and isinstance(row.get(field), str) for row in rows):
        return layer
    values = [{**row, _OURS: _mark(row[field], texts)} for row in rows]
    encoding = {**layer["encoding"], "text": {**shown, "field": _OURS}}
    return {**layer, "data": {"values": values}, "encoding": encoding}


def _mark(text: str, texts: list[str]) -> str:
    """The mark for a text; an empty one stands for itself."""
    if not text.strip():
        return text
    texts.append(text.strip())
    place, digits = len(texts) - 1, ""
    while place or not digits:
        place, digit = divmod(place, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return _EDGE + digits + _EDGE


def restored(drawn: str, texts: list[str]) -> str:
    """The drawing with its texts in the place of their marks."""
    if not texts:
        return drawn

    def text(found: re.Match[str]) -> str:
        place = 0
        for digit in found.group(1):
            place = place * len(_DIGITS) + _DIGITS.index(digit)
        return f">{html.escape(texts[place], quote=False)}<"

    return _MARK.sub(text, drawn)
