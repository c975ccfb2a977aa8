"""What healthseg.toml may hold beside ``[settings]``: how responses are kept, served and delivered.

``[settings]`` says how figures are computed and is part of every fingerprint; these sections never change a figure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from healthseg.errors import hint
from healthseg.settings.base import Frozen

Severity = Literal["low", "medium", "high", "critical"]
Minutes = Annotated[float, Field(ge=0)]
# MB of addresses (ulimit -v) that a command needs: it reserves 3,000 on two cores, of which it uses a tenth. With less,
# the libraries that it loads end without a word, or never
LEAST_ADDRESSES_MB = 4_000
# and one that draws charts: the engine that draws reserves 64 GiB, and ends with SIGTRAP where it may not
DRAWING_ADDRESSES_MB = 75_000


class CacheSettings(Frozen):
    """``[cache]``: for how long a response is answered again as it is, unless the data, settings or version change."""

    enabled: bool = True
    health_minutes: Minutes = 60.0  # calculate_health_score
    segments_minutes: Minutes = 240.0  # segment_customers, segment_by_value_tier
    usage_minutes: Minutes = 30.0  # every other tool that only reads
    # for a database address: one query whose value changes with every change of its tables; without it nothing is kept
    version_query: str | None = None


class LimitSettings(Frozen):
    """``[limits]``: requests that the MCP server answers; notebooks, commands and batches are not limited."""

    per_caller_a_minute: Annotated[int, Field(ge=1)] = 100
    in_all_an_hour: Annotated[int, Field(ge=1)] = 1000  # each of several tokens has an equal share


class InputLimits(Frozen):
    """``[input_limits]``: what a portfolio of others may take. Not read from a file beside one."""

    # of the processor, for a query or view, or to read a file: and one more for each MB that is read
    seconds: Annotated[float, Field(gt=0)] = 45.0
    # of a query's process; with the one that waits for it 2 GiB are not reached
    memory_mb: Annotated[int, Field(ge=256)] = 1700
    # what a query writes, and what reading spills to the disk
    disk_mb: Annotated[int, Field(ge=1)] = 20_000
    # packed text has 5 to 20 times its size; a bomb a thousand times
    unpacked_times: Annotated[float, Field(ge=1)] = 100.0
    # exports of every field of a system have some ten thousands
    columns: Annotated[int, Field(ge=1)] = 50_000
    # of a portfolio, on the pages of adoption: each takes 20 ms of the processor
    features: Annotated[int, Field(ge=1)] = 2_000
    # who could have used what, on the page of patterns: each of a customer's users with each feature takes 45 bytes
    uses: Annotated[int, Field(ge=1)] = 30_000_000
    # of one of a ledger's tables: 10,000 customers that change their stage thirty times. They take 18 s, all of one customer a minute
    ledger_rows: Annotated[int, Field(ge=1)] = 300_000
    # a ledger's file, with what is yet to be merged into it
    ledger_mb: Annotated[int, Field(ge=1)] = 2_000
    # a worksheet as it lies in memory, blank cells included: a million rows of twelve columns
    sheet_cells: Annotated[int, Field(ge=1)] = 12_000_000
    # a workbook's parts, unpacked
    workbook_mb: Annotated[int, Field(ge=1)] = 500


class McpSettings(Frozen):
    """``[mcp]``: where the server listens over HTTP, which folder's reports it offers, and what one call may take."""

    host: str = "127.0.0.1"  # this machine only; another address has to be set
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    reports: str = "reports"
    # processes that compute, each on one call at a time; 0: in the server itself, without the two limits below
    processes: Annotated[int, Field(ge=0, le=32)] = 2
    # a warm call takes seconds; the first one of a large portfolio counts its events
    deadline_seconds: Annotated[float, Field(gt=0)] = 120.0
    # resident memory of a call's process; an open portfolio of 250 customers takes 500 MB
    memory_mb: Annotated[float, Field(gt=0)] = 2048.0


class AlertSettings(Frozen):
    """``[alerts]``: what ``healthseg alerts run`` raises, and for how long a raised alert stays quiet."""

    score_below: float | None = 60.0
    score_drop: float | None = 10.0  # points within the look-back
    usage_decline_percent: float | None = 20.0  # below the customer's own baseline
    overdue_days: float | None = 30.0
    stuck_stage: bool = True
    anomaly: bool = True  # usage that breaks away while the portfolio holds
    lookback_days: Annotated[int, Field(ge=7, le=365)] = 30
    cooldown_days: Annotated[int, Field(ge=0, le=90)] = (
        7  # an alert that continues is repeated after this
    )
    minimum_severity: Severity = "low"
    recipients: tuple[str, ...] = ()  # addresses for customers whose manager has none
    reports_url: str = ""  # where readers find the folder of reports, for links in messages


class ReportSettings(Frozen):
    """``[reports]``: what one report may take, and when the process that makes reports is replaced."""

    # a report takes about a second; the largest portfolios' pages some minutes
    deadline_seconds: Annotated[float, Field(gt=0)] = 600.0
    # resident memory of the process that makes it, with all that it starts
    memory_mb: Annotated[float, Field(gt=0)] = 4096.0
    # a page with more output than this cannot be opened
    printed_mb: Annotated[float, Field(gt=0)] = 20.0
    # what little a notebook leaves behind in its process does not accumulate; a start costs two seconds
    worker_reports: Annotated[int, Field(ge=1)] = 200
    # larger than a process that holds an open portfolio of 250 customers (500 MB)
    worker_memory_mb: Annotated[float, Field(gt=0)] = 1500.0


class Secret(Frozen):
    """A value that comes from the environment or a file that only its owner can read, and is shown nowhere."""

    section: str
    key: str
    variable: str
    what: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"


SECRETS = (
    Secret(
        section="mixpanel",
        key="project_token",
        variable="MIXPANEL_PROJECT_TOKEN",
        what="for sending events only",
    ),
    Secret(
        section="mixpanel",
        key="api_secret",
        variable="MIXPANEL_API_SECRET",
        what="reads until March 2027",
    ),
    Secret(
        section="mixpanel",
        key="service_account_secret",
        variable="MIXPANEL_SERVICE_ACCOUNT_SECRET",
        what="reads, with project_id and service_account",
    ),
    Secret(
        section="mcp",
        key="token",
        variable="HEALTHSEG_MCP_TOKEN",
        what="what HTTP callers must present",
    ),
)
# Names that the reference gives, beside HEALTHSEG_<SECTION>__<KEY>.
NAMED = {
    "MCP_ENABLE_MIXPANEL": ("mixpanel", "enabled"),
    "MIXPANEL_PROJECT_ID": ("mixpanel", "project_id"),
    "MIXPANEL_SERVICE_ACCOUNT": ("mixpanel", "service_account"),
    "MIXPANEL_REGION": ("mixpanel", "region"),
}


def private(path: Path) -> bool:
    """Whether only the owner can read a file; where modes say nothing (Windows), true."""
    import os

    return os.name != "posix" or path.stat().st_mode & 0o077 == 0


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
