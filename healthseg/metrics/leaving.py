"""Who had left by a day, by whichever table says so."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd

from healthseg.data.memory import remember
from healthseg.metrics.counting import Counting, Spans, customers, epoch_day
from healthseg.metrics.keys import dated_key
from healthseg.metrics.profile import Said

LEVEL, UNUSED_DAYS = "left", 30


def customers_as_of(portfolio: Any, as_of: dt.date) -> pd.DataFrame:
    """The customers by id, with ``churned_on`` and ``notice_on`` as they were known at the end of ``as_of``.

    Who left, and when: ``churned_on``, else the change of ARR that ended it, else the stage ``churned``
    (``profile.Said.left_day``); a later day is not known yet, and a customer that was won back has not left.

    >>> from healthseg.testing import tiny_portfolio
    >>> changes = pd.DataFrame({"client_id": "a", "effective_on": ["2025-01-01", "2025-03-01"], "arr": [100, 0]})
    >>> portfolio = tiny_portfolio([("a", "2025-03-08 09:00", "u1")], arr_changes=changes)
    >>> [str(customers_as_of(portfolio, dt.date(2025, 3, day))["churned_on"]["a"])[:10] for day in (1, 8)]
    ['2025-03-01', '2025-03-01']
    >>> bool(customers_as_of(portfolio, dt.date(2025, 2, 28))["churned_on"].isna()["a"])
    True
    """
    return remember(portfolio, ("customers", as_of), lambda: _as_of(portfolio, as_of))


def _as_of(portfolio: Any, as_of: dt.date) -> pd.DataFrame:
    known = customers(portfolio)
    left = known.index.to_series().map(_left(portfolio, as_of)).astype("float64")
    found = known.assign(churned_on=pd.to_datetime(left, unit="D").astype("datetime64[us]"))
    if "notice_on" in known:
        notice = pd.to_datetime(known["notice_on"])
        found["notice_on"] = notice.where(notice <= pd.Timestamp(as_of))
    return found


def _left(portfolio: Any, as_of: dt.date) -> dict[str, int]:
    """The day on which each customer left that had left by ``as_of``; from the store where it was counted before."""
    key = dated_key(portfolio, as_of)
    left = portfolio.store.get_json(LEVEL, key)
    if left is None:
        everyone = customers(portfolio).index.tolist()
        days = left_days(portfolio, everyone, as_of)
        left = {
            client: int(day)
            for client, day in zip(everyone, days, strict=True)
            if not np.isnan(day)
        }
        portfolio.store.put_json(LEVEL, key, left)
        portfolio.store.evict(LEVEL, days=UNUSED_DAYS)
    return left


def left_days(portfolio: Any, clients: list[str], as_of: dt.date) -> np.ndarray:
    """The day (since 1970) on which each of the customers left that had left by ``as_of``, else NaN."""
    if not clients:
        return np.empty(0)
    every, day = np.arange(len(clients)), np.full(len(clients), epoch_day(as_of), dtype=np.int64)
    count = Counting(portfolio, clients, Spans(every, day, day + 1))
    moments = pd.DataFrame({"k": every.astype(np.int32), "day": day.astype(np.int32)})
    return Said.of(count, moments).left_day(count)


def customer_as_of(portfolio: Any, client_id: Any, as_of: dt.date) -> dict[str, Any]:
    """One customer as ``customers_as_of`` has it. Raises InvalidClientId and ClientNotFound."""
    return customers_as_of(portfolio, as_of).loc[portfolio.client(client_id)["client_id"]].to_dict()
