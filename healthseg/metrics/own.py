"""A team's own metrics in the panel: expressions over its columns, SQL over the tables, figures computed elsewhere,
metrics of the catalogue over other days.

Each is added to the panel's rows after the catalogue's, in the order of the settings; an expression may read those before it.
Percentiles among peers come last, since they read all customers' rows of a date.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.data import own_queries
from healthseg.errors import InvalidParameters, hint
from healthseg.metrics import spans as over_spans
from healthseg.metrics.catalog import described, require_free
from healthseg.metrics.counting import customers
from healthseg.settings.metrics import OwnMetric

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

DAY = dt.timedelta(days=1)
KEYS = ["client_id", "date"]


def add_own(portfolio: Portfolio, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the panel with the columns of the portfolio's own metrics. Raises InvalidParameters."""
    for name, own in portfolio.settings.metrics.items():
        metric = described(name, own)
        require_free(metric)
        if metric.derive is not None:
            rows[name] = metric.derive(rows).to_numpy(dtype=float)
        elif own.counted is not None:
            rows[name] = _counted(portfolio, own.counted, own, rows[KEYS])
        elif own.stated:
            rows[name] = _aligned(rows, _stated(own, rows[KEYS]), own.empty)
        elif own.percentile_of is None:
            days = sorted(pd.to_datetime(rows["date"]).dt.date.unique())
            values = (
                _daily(portfolio, name, own, days)
                if own.daily
                else _sql(portfolio, name, own, days)
            )
            rows[name] = _aligned(rows, values, own.empty)
        else:
            rows[name] = np.nan
    return rows


def ranked(portfolio: Portfolio) -> bool:
    """Whether a metric of the portfolio is relative to all customers."""
    return any(own.percentile_of for own in portfolio.settings.metrics.values())


def add_percentiles(portfolio: Portfolio, rows: pd.DataFrame) -> pd.DataFrame:
    """All customers' rows of some dates with their percentiles among live peers of the date, 0 to 100.

    100 × (share of the peers below + half of those equal); missing with fewer than ``peers_min`` other peers.
    """
    for name, own in portfolio.settings.metrics.items():
        if own.percentile_of is None:
            continue
        for column in (own.percentile_of, own.peers):
            if column is not None and column not in rows:
                raise InvalidParameters(
                    f"[metrics.{name}] names {column!r}, which is not a column of the panel{hint(column, rows)}",
                    parameter=f"metrics.{name}",
                    value_provided=column,
                    validation_rule="a metric of docs/metrics.md",
                )
        live = rows["live"].fillna(False).astype(bool) & rows[own.percentile_of].notna()
        groups = ["date", own.peers] if own.peers else ["date"]
        values = rows.loc[live].groupby(groups, dropna=True)[own.percentile_of]
        others = values.transform("size") - 1
        share = (values.rank(method="average") - 1) / others.where(
            others >= portfolio.settings.peers_min
        )
        rows[name] = (100 * share).reindex(rows.index).astype(float)
    return rows


def with_percentiles_of(
    portfolio: Portfolio, rows: pd.DataFrame, whole: pd.DataFrame
) -> pd.DataFrame:
    """Some rows of the panel with the percentiles that all customers' rows of the same dates have."""
    names = [name for name, own in portfolio.settings.metrics.items() if own.percentile_of]
    left = rows.drop(columns=names).assign(date=rows["date"].astype(whole["date"].dtype))
    return left.merge(whole[[*KEYS, *names]], on=KEYS, how="left")[list(rows)]


def _daily(portfolio: Portfolio, name: str, own: OwnMetric, days: list[dt.date]) -> pd.DataFrame:
    """The last value of metrics_daily by date and customer, while it is not too old."""
    first = [day - own.held_days * DAY for day in days]
    wanted = pd.DataFrame({"metric": name, "day": days, "first_day": first})
    wanted = wanted.astype({"metric": "str", "day": "datetime64[s]", "first_day": "datetime64[s]"})
    values = portfolio.sql("metrics/daily_values", wanted=wanted).rename(columns={"day": "date"})
    return values[[*KEYS, "value"]]


def _stated(own: OwnMetric, keys: pd.DataFrame) -> pd.DataFrame:
    """What is stated of the customers of the rows on their dates; of several the one stated last."""
    stated = pd.DataFrame([each.model_dump() for each in own.stated])
    both = keys.reset_index().merge(stated, on="client_id")
    date, since, until = (pd.to_datetime(both[name]) for name in ("date", "since", "until"))
    held = both[(since <= date) & (date < until)].drop_duplicates("index", keep="last")
    return held[[*KEYS, "value"]]


def _counted(portfolio: Portfolio, metric: str, own: OwnMetric, keys: pd.DataFrame) -> np.ndarray:
    """A metric over the days that end with each row's date; where it is not measured, that of a week before, and so on."""
    date, window = pd.to_datetime(keys["date"]), pd.Timedelta(days=own.window_days or 0)
    signup = keys["client_id"].map(pd.to_datetime(customers(portfolio)["signup_date"]))
    values = pd.Series(np.nan, index=keys.index)
    for back in range(0, own.held_days + 1, 7):
        end = date - pd.Timedelta(days=back - 1)
        chosen = values.isna() & (end > signup)
        spans = pd.DataFrame({"client_id": keys["client_id"], "span_id": keys.index})
        spans = spans.assign(start=end - window, end=end)[chosen]
        if len(spans):
            counted = over_spans.over(portfolio, spans, [metric]).set_index("span_id")[metric]
            values = values.fillna(counted)
    return values.to_numpy(dtype=float)


def _sql(portfolio: Portfolio, name: str, own: OwnMetric, days: list[dt.date]) -> pd.DataFrame:
    """The query's values by date and customer, cached by date."""
    text = own.sql or ""
    inputs = {day: [text, day, portfolio.state(day, ("metrics",))] for day in days}
    frames = portfolio.cache.get_each(
        "own_sql", inputs, lambda missing: own_queries.values_on(portfolio, name, text, missing)
    )
    dated = [frame.assign(date=pd.Timestamp(day)) for day, frame in frames.items()]
    return pd.concat(dated) if dated else pd.DataFrame(columns=[*KEYS, "value"])


def _aligned(rows: pd.DataFrame, values: pd.DataFrame, empty: float | None) -> np.ndarray:
    """The values in the order of the rows; ``empty`` where there is none."""
    dated = values.assign(date=pd.to_datetime(values["date"]).astype("datetime64[s]"))
    keys = rows[KEYS].assign(date=pd.to_datetime(rows["date"]).astype("datetime64[s]"))
    column = keys.merge(dated, on=KEYS, how="left")["value"].to_numpy(dtype=float, na_value=np.nan)
    return column if empty is None else np.where(np.isnan(column), empty, column)
