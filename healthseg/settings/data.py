"""How tables are read: the day of the data, time zones, currency, what is left out."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, field_validator

from healthseg.errors import hint
from healthseg.settings.base import Frozen

# characters of a text that are read: ids and names have tens, and the engine takes several times the length of the others
LONGEST_TEXT = 10_000
# the churn model's terms that renew in every step are these, too
ROLLING_TERM_DAYS = 60


def _synonyms(meanings: dict[str, str]) -> dict[str, str]:
    """By word its meaning, from the words of each meaning in one text."""
    return {
        word.strip(): meaning for meaning, words in meanings.items() for word in words.split(",")
    }


# Zendesk, Jira, Intercom, ServiceNow, Salesforce, HubSpot, Stripe, Chargebee, Segment; time zones also of Windows. Bare numbers are unknown: 1 is the
# most severe in one system and the least in another.
SYNONYMS: dict[str, dict[str, str]] = {
    "severity": _synonyms(
        {
            "critical": "urgent, blocker, highest, emergency, p0, p1, sev0, sev1, sev 0, sev 1, s0, s1, 1 critical, "
            "priority 1, severity 1",
            "high": "major, p2, sev2, sev 2, s2, 2 high, priority 2, severity 2, priority, important",
            "medium": "normal, moderate, p3, sev3, sev 3, s3, 3 moderate, 3 medium, priority 3, severity 3, "
            "not priority, standard",
            "low": "minor, trivial, lowest, planning, p4, p5, sev4, sev5, sev 4, sev 5, s4, s5, 4 low, 5 planning, "
            "priority 4, priority 5, severity 4, cosmetic",
        }
    ),
    "source": _synonyms(
        {
            "ui": "web, browser, app, mobile, ios, android, desktop, frontend, web app, webapp, mobile app, tablet, phone, "
            "ipad, iphone, pwa",
            "api": "rest, rest api, graphql, sdk, api call",
            "other": "bot, crawler, system, webhook, import, integration, automation, cron, job, sync, batch, "
            "migration, service, backend, server, internal, test, synthetic, monitoring",
        }
    ),
    "kind": _synonyms(
        {"nps": "net promoter score, net promoter", "csat": "customer satisfaction, satisfaction"}
    ),
    "reason": _synonyms(
        {
            "new": "new business, new logo, new customer, initial, win back, winback, won back, reactivation, reactivated",
            "expansion": "upsell, upgrade, cross sell, crosssell, growth, expand, price increase, uplift",
            "contraction": "downsell, downgrade, reduction, shrink, decrease",
            "churn": "churned, cancel, cancelled, canceled, cancellation, lost, closed lost, terminated, termination, "
            "non renewal, nonrenewal, not renewed",
        }
    ),
    "stage": _synonyms(
        {
            "prospect": "lead, opportunity, marketingqualifiedlead, salesqualifiedlead, marketing qualified lead, "
            "sales qualified lead",
            "trial": "trialing, in trial, free trial, evaluation, poc",
            "onboarding": "implementation, implementing, kickoff",
            "active": "customer, live, adopted, adoption",
            "at_risk": "risk, past due, unpaid",
            "renewing": "renewal, non renewing",
            "expanded": "expansion, evangelist, advocate",
            "churned": "churn, cancelled, canceled, lost, closed lost, former customer, terminated, incomplete expired",
        }
    ),
    "category": _synonyms(
        {
            "core": "basic, standard, base",
            "advanced": "pro, professional",
            "premium": "enterprise, add on, addon",
        }
    ),
    # Zendesk's good and bad, Likert scales, Intercom's faces; on the scale from 1 to 5
    "csat": _synonyms(
        {
            "5": "good, very satisfied, extremely satisfied, completely satisfied, happy, positive, 👍, "
            "🤩, 😍, goodwithcomment, good with comment, thumbs up",
            "4": "satisfied, somewhat satisfied, 😃, 😀, 🙂, 😊",
            "3": "neutral, ok, okay, neither satisfied nor dissatisfied, neither, 😐",
            "2": "dissatisfied, unsatisfied, somewhat dissatisfied, 🙁, ☹, 😕, 😞",
            "1": "bad, very dissatisfied, very unsatisfied, extremely dissatisfied, unhappy, negative, terrible, "
            "👎, 😠, 😡, badwithcomment, bad with comment, thumbs down",
        }
    ),
    # cities that one zone is named after need no entry
    "timezone": _synonyms(
        {
            "America/Los_Angeles": "pacific time us canada, pacific time, pacific standard time",
            "America/Denver": "mountain time us canada, mountain time, mountain standard time",
            "America/Phoenix": "arizona, us mountain standard time",
            "America/Chicago": "central time us canada, central time, central standard time",
            "America/New_York": "eastern time us canada, eastern time, eastern standard time",
            "America/Halifax": "atlantic time canada, atlantic time, atlantic standard time",
            "America/Sao_Paulo": "brasilia, e south america standard time",
            "Europe/London": "gmt standard time, edinburgh",
            "Europe/Berlin": "w europe standard time",
            "Europe/Paris": "romance standard time, central european time",
            "Europe/Warsaw": "central european standard time",
            "Europe/Budapest": "central europe standard time",
            "Europe/Bucharest": "gtb standard time",
            "Europe/Helsinki": "fle standard time",
            "Europe/Moscow": "russian standard time, st petersburg",
            "Asia/Jerusalem": "israel standard time",
            "Asia/Dubai": "arabian standard time, abu dhabi",
            "Asia/Kolkata": "india standard time, new delhi, mumbai, chennai",
            "Asia/Shanghai": "china standard time, beijing",
            "Asia/Tokyo": "tokyo standard time, osaka",
            "Asia/Singapore": "singapore standard time",
            "Australia/Sydney": "aus eastern standard time, canberra",
            "Pacific/Auckland": "new zealand standard time, wellington",
            "UTC": "coordinated universal time",
        }
    ),
    "currency": _synonyms(
        {
            "EUR": "€, euro, euros",
            "USD": "$, us$, dollar, us dollar",
            "GBP": "£, pound, pound sterling",
        }
    ),
}

# by name, the lowest and highest answer of the scales on which satisfaction is asked
CSAT_SCALES: dict[str, tuple[int, int]] = {
    "0-1": (0, 1), "1-5": (1, 5), "1-7": (1, 7), "1-10": (1, 10), "0-100": (0, 100),
}  # fmt: skip
# the scale of answers that fit several
UNCLEAR = "unclear"


class DataSettings(Frozen):
    """How tables are read: the day of the data, time zones, currency, what is left out."""

    # the portfolio's last day, where events do not show it; of the years whose dates are read
    data_until: Annotated[dt.date, Field(ge=dt.date(1990, 1, 1), lt=dt.date(2200, 1, 1))] | None = (
        None
    )
    default_timezone: str = "UTC"
    reporting_currency: Annotated[str, Field(pattern="^[A-Za-z]{3}$")] | None = None
    # contracts of one customer that run at once: base and add-ons ("add"), or the later one alone ("replace")
    overlap: Literal["add", "replace"] = "add"
    # whether ends_on is a contract's last day, or the day after it; "detect" reads it from consecutive contracts
    contract_ends: Literal["detect", "inclusive", "exclusive"] = "detect"
    # contracts of shorter terms roll on: their end is no renewal
    rolling_term_days: Annotated[int, Field(ge=0)] = ROLLING_TERM_DAYS
    # a version that ends so near to the end of one of its contract's terms changes that term: years of 365 days drift by days
    term_tolerance_days: Annotated[int, Field(ge=0)] = 3
    # a contract that begins so many days before or after the end of a term follows the one that would have renewed by
    # itself; with less of its ARR, and another plan, it is an add-on unless it begins on the very day
    successor_days: Annotated[int, Field(ge=0)] = 60
    successor_min_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    # an account whose parent's ARR rises by most of its own at about the time that it ends was merged into it
    merger_days: Annotated[int, Field(ge=0)] = 31
    merger_min_arr_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    # whether accounts are counted in their parent (customers.parent_id)
    roll_up_children: bool = False
    # a table that loses more of its rows is refused: its figures would be wrong rather than incomplete
    max_loss_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    # a customer that loses more of its rows of a table has that table's metrics withheld
    max_customer_loss_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # where at least this share of contracts has a contract_id (of NPS answers a user_id), one without it is a loss, not the way
    # the table is kept: it may be a version of another contract, or an earlier answer of another respondent
    identified_min_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    # respondents: of each respondent the latest NPS answer counts; where many answers have no user, one that loses its own may
    # raise NPS. answers: each counts, whoever gave it, so that a lost user changes nothing
    nps_of: Literal["respondents", "answers"] = "respondents"
    # `check --strict` fails where a table lost more of its rows, or of the values of a column
    strict_loss_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    # events after a gap of more days are impossible dates if they are no larger a share of all rows: a slip of the
    # year moves a row by 365 days, a quiet month does not look like that
    event_gap_days: Annotated[int, Field(ge=1)] = 30
    event_gap_max_share: Annotated[float, Field(ge=0, lt=1)] = 0.001
    # the last day is whole if it has an event at this hour of UTC or later
    whole_day_hour: Annotated[int, Field(ge=0, le=23)] = 23
    # the portfolio's first and last day have at least this share of the customers usual on their weekday: fewer are
    # devices with wrong clocks, or what was left of a deleted account
    active_day_min_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # days without any event are a tracking gap where silence by chance is less likely than ten to this power: nine
    # customers that use it on each such weekday, once; with independent customers, never by chance
    gap_min_evidence: Annotated[float, Field(gt=0)] = 10.0
    # midnights among other times are calendar days (daily aggregates beside single events) from so many on, where they
    # outnumber all other whole hours: of single events, one in 86,400 is at midnight
    midnight_days_min_rows: Annotated[int, Field(ge=1)] = 20
    midnight_days_min_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    # identical rows of one instant are one event unless this is set
    keep_identical_events: bool = False
    # internal and test users, left out everywhere
    exclude_email_domains: tuple[str, ...] = ()
    exclude_users: tuple[str, ...] = ()
    # words that databases and scripts write for no value, in any column of words
    missing_words: tuple[str, ...] = (
        "NULL", "Null", "null", "NONE", "None", "none", "NaN", "nan", "NAN", "NaT", "N/A", "n/a", "#N/A", "\\N",
        "(null)", "<null>", "<NA>", "undefined", "n.a.", "N.A.",
        "(blank)", "(Blank)", "(empty)", "(none)", "(None)", "(not set)",
        "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!",
        "nil", "NIL", "Nil", "-", "--", "\u2013", "\u2014",
    )  # fmt: skip
    # other systems' words for the allowed ones, by column; given ones are added to these
    synonyms: dict[str, dict[str, str]] = SYNONYMS
    # how numbers and dates in text are read where a column fits two ways: by "table.column", or "numbers" and "dates"
    # of all; "1,234.56", "1.234,56", "day first" or "month first"
    formats: dict[str, Literal["1,234.56", "1.234,56", "day first", "month first"]] = {}
    # on which scale CSAT is answered; "detect" reads it from the values of the whole table. Answers are made 1 to 5
    csat_scale: Literal["detect", "0-1", "1-5", "1-7", "1-10", "0-100"] = "detect"
    # NPS is answered from 0 to 10; "detect" leaves many answers of which none is above 7 unmeasured: they are of another scale
    nps_scale: Literal["detect", "0-10"] = "detect"

    @property
    def csat_range(self) -> tuple[float, float]:
        """The lowest and highest possible CSAT answer; nothing lies within it where the scale is unclear."""
        if self.csat_scale == "detect":
            return 0, 100
        return CSAT_SCALES.get(self.csat_scale, (1, 0))

    @property
    def nps_range(self) -> tuple[float, float]:
        """The lowest and highest NPS answer; nothing lies within it where the scale is unclear."""
        return (1, 0) if self.nps_scale == UNCLEAR else (0, 10)

    @field_validator("synonyms")
    @classmethod
    def _added(cls, synonyms: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        return {
            **SYNONYMS,
            **{name: SYNONYMS.get(name, {}) | words for name, words in synonyms.items()},
        }

    @field_validator("default_timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        from healthseg.periods import zone_names

        if name not in zone_names():
            raise ValueError(f"{name!r} is not an IANA time zone{hint(name, zone_names())}")
        return name
