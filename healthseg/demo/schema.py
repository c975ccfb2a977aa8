"""Words, columns and Parquet files of the simulated portfolio's tables and of its truth."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def _words(text: str) -> list[str]:
    return text.split()


COMPANY_FIRST = _words(
    "Alder Birch Cobalt Dune Ember Fjord Granite Harbor Indigo Juniper Kestrel Lumen Meridian Nimbus "
    "Orchard Pinnacle Quarry Ridge Saffron Tundra Umbra Verdant Willow Yarrow Zephyr Basalt Cedar "
    "Delta Elm Falcon"
)
COMPANY_SECOND = _words(
    "Analytics Foods Freight Health Insurance Labs Logistics Manufacturing Media Partners Retail "
    "Robotics Schools Systems Textiles Travel Utilities Works"
)
COMPANY_LEGAL = _words("GmbH Ltd Inc AB SA BV Group Co")
INDUSTRIES = _words(
    "software manufacturing financial_services healthcare retail education logistics media"
)
# of the names of companies that belong to another
SUBSIDIARIES = _words("Nordics Iberia Canada")
# region, time zone, share of customers
PLACES = (
    ("Europe", "Europe/Berlin", 0.17),
    ("Europe", "Europe/London", 0.13),
    ("Europe", "Europe/Madrid", 0.07),
    ("Europe", "Europe/Stockholm", 0.06),
    ("North America", "America/New_York", 0.18),
    ("North America", "America/Chicago", 0.10),
    ("North America", "America/Los_Angeles", 0.10),
    ("Latin America", "America/Sao_Paulo", 0.05),
    ("Asia Pacific", "Asia/Singapore", 0.05),
    ("Asia Pacific", "Asia/Kolkata", 0.04),
    ("Asia Pacific", "Australia/Sydney", 0.05),
)
PLANS = _words("starter growth enterprise")
CSM_IDS = [f"csm_{number:02d}" for number in range(1, 9)]
CSM_NAMES = ["Ada Lindqvist", "Bruno Keller", "Chiara Conti", "Dmitri Novak"]
CSM_NAMES += ["Elena Ruiz", "Farid Haddad", "Greta Olsen", "Hugo Martin"]
CSM_TIERS = _words("Micro SMB SMB Mid-Market Mid-Market Corporate Enterprise Enterprise")
ROLES = _words("admin manager analyst member")
PERSONAS = _words("builder reviewer operator integrator")
# feature, category, day of release relative to the portfolio's start; in the recommended order
FEATURES = (
    ("dashboards", "core", -2000),
    ("task_lists", "core", -2000),
    ("search", "core", -2000),
    ("comments", "core", -1500),
    ("file_sharing", "core", -1500),
    ("reports", "advanced", -1200),
    ("workflow_builder", "advanced", -1000),
    ("scheduled_exports", "advanced", -900),
    ("custom_fields", "advanced", -900),
    ("calendar_sync", "advanced", 45),
    ("audit_trail", "premium", -700),
    ("api_console", "premium", -700),
    ("capacity_planner", "premium", 60),
    ("goal_tracking", "premium", 90),
    ("forecast_view", "premium", 120),
)
FEATURE_NAMES = [name for name, _, _ in FEATURES]
FEATURE_CODE = {name: code for code, name in enumerate(FEATURE_NAMES)}
RELEASED = np.array([day for _, _, day in FEATURES])
EVENT_NAMES = _words("view create edit share export")
TOPICS = _words("login data_import performance billing integration how_to")
SEVERITIES = _words("low medium high critical")
CHANNELS = _words("email in_app webinar direct_csm")
CONTENTS = _words("product_tips release_news training renewal event_invitation")
BLOCKERS = _words("security_review data_quality no_owner integration")
INTERVENTIONS = _words("training check_in_call executive_review")
# id, name, category, target days, required, depends on, (feature, users) that complete it, mark
MILESTONES: tuple[tuple[Any, ...], ...] = (
    ("ms_kickoff", "Kick-off held", "onboarding", 10, True, None, None, None),
    ("ms_data_import", "Data imported", "onboarding", 30, True, "ms_kickoff", None, None),
    ("ms_team_invited", "Team invited", "onboarding", 30, True, "ms_kickoff", None, "activation"),
    (
        "ms_first_dashboard",
        *("First dashboard shared", "onboarding", 40, True, None, ("dashboards", 2), "first_value"),
    ),
    ("ms_integration", "Integration live", "adoption", 75, False, "ms_data_import", None, None),
    (
        "ms_task_routine",
        *("Team works in task lists", "adoption", 60, True, None, ("task_lists", 3), None),
    ),
    (
        "ms_champion_trained",
        *("Champion trained", "adoption", 90, True, "ms_team_invited", None, "full_adoption"),
    ),
    (
        "ms_second_team",
        *("Second team on board", "expansion", 180, False, "ms_champion_trained", None, None),
    ),
)

# the words of coded columns
VOCABULARY: dict[str, list[str]] = {
    "industry": INDUSTRIES,
    "region": [region for region, _, _ in PLACES],
    "timezone": [zone for _, zone, _ in PLACES],
    "plan": PLANS,
    "csm_id": CSM_IDS,
    "owner": CSM_IDS,
    "role": ROLES,
    "persona": PERSONAS,
    "feature": FEATURE_NAMES,
    "topic": TOPICS,
    "next_topic": TOPICS,
    "severity": SEVERITIES,
    "channel": CHANNELS,
    "content": CONTENTS,
    "blocker": BLOCKERS,
    "kind": INTERVENTIONS,
    "milestone_id": [milestone_id for milestone_id, *_ in MILESTONES],
}

KINDS = {
    "w": pa.string(),
    "d": pa.date32(),
    "t": pa.timestamp("us"),
    "h": pa.timestamp("us"),
    "f": pa.float64(),
    "i": pa.int64(),
    "b": pa.bool_(),
}
# day number of what does not happen
NEVER = 10**6
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EPOCH = dt.date(1970, 1, 1)


def _tables(text: str) -> dict[str, dict[str, str]]:
    """Columns and their kinds by table; a paragraph is a table's name and its ``column:kind`` pairs."""
    paragraphs = (paragraph.split() for paragraph in text.strip().split("\n\n"))
    return {name: dict(pair.split(":") for pair in pairs) for name, *pairs in paragraphs}


# kinds: w word · d date · t moment in UTC · h moment entered by hand · f number · i whole number ·
# b yes or no
TABLES = _tables("""
customers client_id:w name:w signup_date:d industry:w region:w plan:w arr:f currency:w seats:i
renewal_date:d churned_on:d notice_on:d csm_id:w timezone:w parent_id:w strategic_value:f
potential_arr:f

customer_changes client_id:w field:w value:w effective_on:d recorded_at:h

contracts client_id:w starts_on:d ends_on:d arr:f signed_on:d seats:i plan:w currency:w renews_on:d
contract_id:w replaces:w auto_renews:b

fx currency:w on:d rate_to_book:f

users user_id:w client_id:w role:w created_at:h deactivated_at:h email_domain:w

features feature:w category:w released_on:d recommended_position:i

entitlements client_id:w feature:w starts_on:d ends_on:d

tickets ticket_id:w client_id:w opened_at:t user_id:w feature:w topic:w severity:w
first_response_at:t resolved_at:t csat:f

surveys client_id:w kind:w score:i responded_at:t user_id:w feature:w

invoices invoice_id:w client_id:w amount:f issued_on:d due_on:d paid_on:d

arr_changes client_id:w effective_on:d arr:f reason:w

milestones milestone_id:w name:w category:w target_days:i required:b depends_on:w completes_when:w
marks:w

milestone_progress client_id:w milestone_id:w started_at:h completed_at:h blocker:w blocked_since:h
blocker_cleared_at:h skipped_at:h owner:w

messages client_id:w channel:w content:w sent_at:t user_id:w feature:w opened_at:t clicked_at:t

stage_changes client_id:w stage:w effective_at:h recorded_at:h reason:w automated:b actor:w

interventions client_id:w kind:w happened_at:h

calendar starts_on:d ends_on:d label:w

csms csm_id:w name:w tier:w capacity_hours:f contact:w

benchmarks industry:w metric:w percentile:i value:f source:w
""")

TRUTH = _tables("""
hazard_terms driver:w metric:w form:w coefficient:f center:f scale:f knot:f direction:i
first_step:i last_step:i

exits client_id:w notice_on:d churned_on:d step:i would_have_churned_on:d

users user_id:w client_id:w persona:w rate:f created_on:d left_on:d champion:b

champion_exits client_id:w user_id:w left_on:d share_28d:f share_90d:f active_days_90d:i planted:b
detectable:b

rhythms scope:w id:w weekday:i hour:i rate_ratio:f kind:w sessions:i power:f detectable:b

adoptions client_id:w feature:w eligible_on:d intended_on:d adopted_on:d first_event_on:d
abandoned_on:d readopted_on:d path:w detectable:b

feature_effects feature:w role:w log_hr:f breadth_log_hr:f confounder:w n_exposed:i n_unexposed:i
events:f power:f detectable:b

sequences id:w features:w share:f gap_median:w outcome_log_hr:f n:i power:f detectable:b

bundles id:w features:w share:f lift_given_volume:f n:i power:f detectable:b

anomalies scope:w client_id:w series:w from:d to:d factor:f kind:w calendar_label:w z:f power:f
detectable:b

segments client_id:w segment:w

segment_centres segment:w metric:w mean:f sd_within:f min_separation:f

stage_spells client_id:w stage:w entered_at:d left_at:d exit_to:w recorded_at:d

stage_law stage:w exit_to:w law:w parameters:w quantiles:w

stage_disagreements client_id:w recorded:w by_contract:w since:d

milestone_status client_id:w milestone_id:w as_of:d status:w started_on:d completed_on:d progress:f

blocker_spells client_id:w milestone_id:w blocker:w from:d to:d

blocker_law blocker:w log_time_ratio:f n:i power:f detectable:b

interventions client_id:w kind:w on:d why_given:w effect_logit:f recovered_without:b

message_law channel:w content:w weekday:i per_week:f p_open:f p_click:f n:i power:f detectable:b

support_law topic:w next_topic:w p:f n:i resolution_median:f resolution_ratio_per_month:f

arr_moves client_id:w on:d from:f to:f reason:w contract_id:w

expansions client_id:w step_start:d p_expand90:f expanded_on:d

withheld client_id:w table:w column:w from:d to:d why:w

dirt table:w row:i client_id:w column:w fault:w value:w expected:w
""")
# each driver adds a column d_<metric> before eta_measured
HAZARD_FIRST, HAZARD_LAST = _tables("""
first client_id:w step_start:d at_risk:b

last eta_measured:f frailty:f h_true:f p30:f p90:f p90_mc_se:f decided:b
""").values()


def labels(options: Iterable[str], codes: Any) -> pa.Array:
    """The option of each code, null where the code is negative or missing."""
    codes = np.nan_to_num(np.asarray(codes, float), nan=-1).astype(np.int32)
    missing = codes < 0
    indices = pa.array(np.where(missing, 0, codes), mask=missing)
    words = pa.array(list(options), pa.string())
    return pa.DictionaryArray.from_arrays(indices, words).cast(pa.string())


def table(columns: dict[str, str], start: int, values: Mapping[str, Any]) -> pa.Table:
    """An Arrow table of these columns and kinds; an empty one without values.

    A scalar stands for all rows. Whole numbers stand for the word of VOCABULARY with this code (null
    where negative), for days since ``start`` (an epoch day; null from NEVER on) in columns of dates
    and moments entered by hand, for milliseconds in other moments (null where negative). A column
    named as a Python keyword comes with an underscore behind it. Values of other columns are ignored.
    """
    values = {name.rstrip("_"): column for name, column in values.items()}
    if not values:
        return pa.table([pa.array([], KINDS[kind]) for kind in columns.values()], list(columns))
    length = next(len(column) for column in values.values() if not _is_scalar(column))
    arrays = []
    for name, kind in columns.items():
        column = [values[name]] * length if _is_scalar(values[name]) else values[name]
        arrays.append(_array(name, column, kind, start))
    return pa.table(arrays, names=list(columns))


def _is_scalar(values: Any) -> bool:
    return values is None or np.isscalar(values)


def _array(name: str, values: Any, kind: str, start: int) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    numbers = np.asarray(values)
    if not len(numbers):
        return pa.array([], KINDS[kind])
    if kind == "w" and numbers.dtype.kind in "if":
        return labels(VOCABULARY[name], numbers)
    if kind == "d" and numbers.dtype.kind == "i":
        missing = numbers >= NEVER
        days = (np.where(missing, 0, numbers) + start).astype(np.int32)
        return pa.array(days, mask=missing).cast(pa.date32())
    if kind in "th":
        moments = entered_ms(numbers, start) if kind == "h" else numbers
        return pa.array(moments * 1_000, mask=moments < 0).cast(pa.timestamp("us"))
    if numbers.dtype.kind == "f":
        return pa.array(numbers, KINDS[kind], mask=np.isnan(numbers), safe=kind != "i")
    return pa.array(values, KINDS[kind])


def entered_ms(day: np.ndarray, start: int) -> np.ndarray:
    """UTC milliseconds of what somebody enters on a day; -1 for NEVER.

    Between 10:00 and 12:00 UTC it is the same calendar day in every zone of the portfolio.
    """
    entered = (day + start) * DAY_MS + 10 * HOUR_MS + (day % 120) * 60_000
    return np.where(day < NEVER, entered, -1)


def replace_file(path: Path, write: Any) -> None:
    """Write a file completely or not at all; ``write`` gets the path of a temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    write(partial)
    os.replace(partial, path)


def write_parquet(path: Path, content: pa.Table) -> None:
    options = {"compression": "zstd", "compression_level": 1, "version": "2.6"}
    replace_file(
        path, lambda partial: pq.write_table(content, partial, store_schema=False, **options)
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, default=_to_json) + "\n"
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _to_json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)


# events on their way to a file a month
SPOOL = ".spool"
UI, API = 0, 1
EVENT_ROW = np.dtype(
    [
        ("utc_ms", "<i8"),
        ("session", "<i8"),
        ("client", "<i4"),
        ("user", "<i4"),
        ("calls", "<i4"),
        ("seconds", "<i4"),
        ("feature", "i1"),
        ("name", "i1"),
        ("source", "i1"),
    ]
)


class EventWriter:
    """Collects the batches' events, in memory or on disk; writes ``events/YYYY-MM.parquet``."""

    def __init__(self, out: Path, first_day: dt.date, last_day: dt.date, on_disk: bool) -> None:
        self._out, self._on_disk = out, on_disk
        self._parts: dict[str, list[np.ndarray]] = defaultdict(list)
        later = pd.date_range(first_day + dt.timedelta(days=1), last_day, freq="MS").date
        starts = [first_day, *later]
        self._months = [f"{day:%Y-%m}" for day in starts]
        self._edges = np.array([(day - EPOCH).days * DAY_MS for day in starts])
        if on_disk:
            (out / SPOOL).mkdir(parents=True, exist_ok=True)

    def add(self, rows: np.ndarray) -> None:
        month = np.searchsorted(self._edges, rows["utc_ms"], side="right") - 1
        order = np.argsort(month, kind="stable")
        ends = np.searchsorted(month[order], np.arange(len(self._months) + 1))
        for name, (start, end) in zip(self._months, itertools.pairwise(ends), strict=True):
            self._store(name, rows[order[start:end]])

    def _store(self, month: str, rows: np.ndarray) -> None:
        if not self._on_disk:
            self._parts[month].append(rows)
            return
        with open(self._out / SPOOL / month, "ab") as file:
            file.write(rows.tobytes())

    def write(self, client_ids: list[str], user_ids: list[str]) -> int:
        """Write all months, sorted by moment; gives the number of rows."""
        total, clients, users = 0, pa.array(client_ids), pa.array(user_ids)
        for month in self._months:
            if self._on_disk:
                rows = np.fromfile(self._out / SPOOL / month, EVENT_ROW)
            else:
                rows = np.concatenate(self._parts.pop(month))
            rows = rows[np.lexsort((rows["session"], rows["client"], rows["utc_ms"]))]
            path = self._out / "events" / f"{month}.parquet"
            write_parquet(path, _event_table(rows, clients, users))
            total += len(rows)
        if self._on_disk:
            shutil.rmtree(self._out / SPOOL)
        return total


def _encoded(
    codes: np.ndarray, options: pa.Array, missing: np.ndarray | None = None
) -> pa.DictionaryArray:
    codes = codes if missing is None else np.where(missing, 0, codes)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=missing), options)


def _encoded_used(
    codes: np.ndarray, options: pa.Array, missing: np.ndarray | None = None
) -> pa.DictionaryArray:
    """With a dictionary of only those that occur: small files of big portfolios."""
    used, positions = np.unique(np.maximum(codes, 0), return_inverse=True)
    return _encoded(positions, options.take(pa.array(used)), missing)


def _event_table(rows: np.ndarray, clients: pa.Array, users: pa.Array) -> pa.Table:
    is_call = rows["source"] == API
    sessions, session = np.unique(rows["session"], return_inverse=True)
    return pa.table(
        {
            "client_id": _encoded_used(rows["client"], clients),
            "occurred_at": pa.array(rows["utc_ms"] * 1_000).cast(pa.timestamp("us")),
            "user_id": _encoded_used(rows["user"], users, is_call),
            "feature": _encoded(rows["feature"], pa.array(FEATURE_NAMES), is_call),
            "event": _encoded(rows["name"], pa.array(EVENT_NAMES), is_call),
            "session_id": _encoded(session, pa.array(sessions).cast(pa.string()), is_call),
            "source": _encoded(rows["source"], pa.array(["ui", "api"])),
            "count": pa.array(rows["calls"], pa.int32(), mask=rows["calls"] == 0),
            "duration_seconds": pa.array(rows["seconds"], pa.int32(), mask=rows["seconds"] == 0),
        }
    )
