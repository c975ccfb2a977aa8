"""Outputs of notebooks that are not ours, on a page that loads nothing: altair's charts become named pictures."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from healthseg.charts import formats, theme
from healthseg.reports.html.page import Column, fold, safe, table

_GRAMMAR = "application/vnd.vegalite."
_CALL = re.compile(r"\}\)\((?=\{)")
ROWS_AT_MOST = 500


def piece(output: Mapping[str, Any]) -> str:
    """An output as markup: what was shown, else its text; empty where there is nothing."""
    data = output.get("data", {})
    spec = chart_of(data)
    if spec is not None:
        return _figure(_showable(spec))
    for kind in ("text/html", "image/svg+xml"):
        if kind in data:
            return "".join(data[kind])
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f'<img alt="a picture of the notebook" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
    text = "".join(
        data.get("text/plain", output.get("text", "") if output.get("name") == "stdout" else "")
    )
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def chart_of(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The grammar of an altair chart: as such, or within the HTML that loads its renderer from elsewhere."""
    for kind, value in data.items():
        if kind.startswith(_GRAMMAR):
            return dict(value)
    markup = "".join(data.get("text/html", ""))
    if "vegaEmbed" not in markup:
        return None
    for found in _CALL.finditer(markup):
        try:
            spec, _ = json.JSONDecoder().raw_decode(markup, found.end())
        except ValueError:
            continue
        return spec
    return None


def _showable(value: Any) -> Any:
    """The grammar with texts that can be drawn: the renderer ends the whole process at a control character."""
    if isinstance(value, str):
        return formats.showable(value)
    if isinstance(value, Mapping):
        return {formats.showable(name): _showable(part) for name, part in value.items()}
    return [_showable(part) for part in value] if isinstance(value, list) else value


def _figure(spec: dict[str, Any]) -> str:
    name = _name(spec)
    try:
        drawn = theme.named(theme.draw(json.dumps(spec, sort_keys=True)), name)
    except ValueError as problem:
        return f"<pre>{html.escape(f'{name}: could not be drawn, {str(problem)[:300]}')}</pre>"
    figures = _figures(spec)
    data = fold("The figures as a table", figures) if figures else ""
    return f'<div class="hs"><figure class="hs-chart"><div>{drawn}</div>{data}</figure></div>'


def _name(spec: Mapping[str, Any]) -> str:
    title = spec.get("title") or spec.get("description") or "Chart"
    words = title.get("text", "Chart") if isinstance(title, Mapping) else title
    return formats.plain(" ".join(words) if isinstance(words, list) else words, 200)


def _figures(spec: Mapping[str, Any]) -> str:
    """The chart's data, where it carries them."""
    rows = (
        next(iter(spec.get("datasets", {}).values()), None)
        or (spec.get("data") or {}).get("values")
        or []
    )
    rows = [row for row in rows if isinstance(row, Mapping)][:ROWS_AT_MOST]
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = [Column(name, safe(name), formats.plain, _numeric(rows, name)) for name in names]
    return table(rows, columns, label="rows") if columns else ""


def _numeric(rows: list[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)
