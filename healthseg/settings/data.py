"""How tables are read: the day of the data, time zones, currency, what is left out."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, field_validator

from healthseg.errors import hint
from healthseg.settings.base import Frozen


class DataSettings(Frozen):
    """How tables are read: the day of the data, time zones, currency, what is left out."""

    # the portfolio's last day, where events do not show it
    data_until: dt.date | None = None
    default_timezone: str = "UTC"
    reporting_currency: str | None = None
    # contracts of one customer that run at once: base and add-ons ("add"), or the later one alone ("replace")
    overlap: Literal["add", "replace"] = "add"
    # whether ends_on is a contract's last day, or the day after it; "detect" reads it from consecutive contracts
    contract_ends: Literal["detect", "inclusive", "exclusive"] = "detect"
    # a table that loses more of its rows is refused: its figures would be wrong rather than incomplete
    max_loss_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    # a customer that loses more of its rows of a table has that table's metrics withheld
    max_customer_loss_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # events after a gap of more days are impossible dates if they are no larger a share of all rows: a slip of the
    # year moves a row by 365 days, a quiet month does not look like that
    event_gap_days: Annotated[int, Field(ge=1)] = 30
    event_gap_max_share: Annotated[float, Field(ge=0, lt=1)] = 0.001
    # the last day is whole if it has an event at this hour of UTC or later
    whole_day_hour: Annotated[int, Field(ge=0, le=23)] = 23
    # identical rows of one instant are one event unless this is set
    keep_identical_events: bool = False
    # internal and test users, left out everywhere
    exclude_email_domains: tuple[str, ...] = ()
    exclude_users: tuple[str, ...] = ()
    csat_max: Annotated[int, Field(ge=2)] = 5

    @field_validator("default_timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        from healthseg.periods import zone_names

        if name not in zone_names():
            raise ValueError(f"{name!r} is not an IANA time zone{hint(name, zone_names())}")
        return name
