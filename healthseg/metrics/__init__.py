"""COUNTED: metrics over spans, the panel made of them, and the catalogue that describes them.

>>> from healthseg import metrics
>>> metrics.get("seat_utilisation").unit
'share of seats'
"""

from __future__ import annotations

from healthseg.metrics.catalog import (
    Metric,
    entries,
    get,
    metric,
    register,
    registered,
    unregister,
    used_by,
)
from healthseg.metrics.panels import panel
from healthseg.metrics.spans import over

__all__ = [
    "Metric",
    "entries",
    "get",
    "metric",
    "over",
    "panel",
    "register",
    "registered",
    "unregister",
    "used_by",
]
