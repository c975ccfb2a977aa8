"""How a Mixpanel project is read: region, account key, time zone and limits. Secrets are no settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from healthseg.errors import hint
from healthseg.settings import Frozen

HOSTS = {
    "us": "https://data.mixpanel.com",
    "eu": "https://data-eu.mixpanel.com",
    "in": "https://data-in.mixpanel.com",
}
IDENTITY_EVENTS = (
    "$identify",
    "$create_alias",
    "$merge",
)  # bookkeeping of who is who: nobody's usage
LOOPBACK = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


class MixpanelSettings(Frozen):
    """The section ``[mixpanel]`` of healthseg.toml.

    >>> MixpanelSettings(account_key="company_id", event_timezone="UTC").account_key
    ('company_id',)
    """

    enabled: bool = False  # whether responses expect Mixpanel's events to be fresh
    project_id: int | None = None  # must be given with a service account
    service_account: str | None = None  # its user name; its secret is a secret
    region: Literal["us", "eu", "in"] = "us"  # where the project's data reside
    api_url: str | None = None  # another address of the export, https
    # "UTC" for projects made since 2023; older ones store their own wall clock: then their IANA zone
    event_timezone: str | None = None
    account_key: tuple[str, ...] = ()  # properties that name the customer; the first there is
    feature_key: str | None = None  # the property that names the feature, else the event
    session_key: str | None = None
    exclude_events: tuple[str, ...] = ()  # left out beside identity events
    api_events: tuple[str, ...] = ()  # events that programs make, not people
    count_anonymous: bool = False  # whether devices that nobody has signed in on are users
    lookback_days: Annotated[int, Field(ge=0, le=90)] = (
        5  # events arrive up to 5 days late: read again until then
    )
    window_days: Annotated[int, Field(ge=1, le=100)] = (
        30  # days requested at once; halved where that is too much
    )
    queries_per_hour: Annotated[int, Field(ge=1)] = 60  # Mixpanel's limit for a project
    attempts: Annotated[int, Field(ge=1, le=20)] = 7
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0  # without a byte
    check_timezone: bool = True  # refuse a zone that the times of arrival contradict
    max_age_hours: Annotated[float, Field(gt=0)] = (
        36.0  # older than a night and a half: responses say so
    )

    @field_validator("account_key", mode="before")
    @classmethod
    def _one_or_more(cls, keys: object) -> object:
        return (keys,) if isinstance(keys, str) else keys

    @field_validator("event_timezone")
    @classmethod
    def _zone(cls, name: str | None) -> str | None:
        from healthseg.periods import zone_names

        if name is not None and name not in zone_names():
            raise ValueError(f"{name!r} is not an IANA time zone{hint(name, zone_names())}")
        return name

    @field_validator("api_url")
    @classmethod
    def _encrypted(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", *LOOPBACK)):
            raise ValueError("api_url must begin with https://: secrets are not sent in the clear")
        if url is not None and "@" in url:
            raise ValueError("api_url must not contain user and password: those are secrets")
        return url

    @property
    def url(self) -> str:
        return f"{(self.api_url or HOSTS[self.region]).rstrip('/')}/api/2.0/export"
