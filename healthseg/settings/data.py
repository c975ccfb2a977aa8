"""How tables are read: the day of the data, time zones, currency, what is left out."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field, field_validator

from healthseg.errors import hint
from healthseg.settings.base import Frozen


class DataSettings(Frozen):
    """How tables are read: the day of the data, time zones, currency, what is left out."""

    data_until: dt.date | None = None  # the portfolio's last day, where events cannot tell it
    default_timezone: str = "UTC"
    reporting_currency: str | None = None
    max_loss_share: Annotated[float, Field(ge=0, le=1)] = (
        0.2  # a table that loses more rows is refused
    )
    keep_identical_events: bool = (
        False  # identical rows of one instant are one event unless this is set
    )
    exclude_email_domains: tuple[str, ...] = ()  # internal and test users, left out everywhere
    exclude_users: tuple[str, ...] = ()
    csat_max: Annotated[int, Field(ge=2)] = 5

    @field_validator("default_timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        from healthseg.periods import zone_names

        if name not in zone_names():
            raise ValueError(f"{name!r} is no IANA time zone{hint(name, zone_names())}")
        return name
