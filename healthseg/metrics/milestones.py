"""Which milestones has each customer reached, when, and what is missing for the others?"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from healthseg.metrics.counting import (
    customers,
    epoch_day,
    epoch_days,
    epoch_days_or_nan,
)
from healthseg.metrics.milestone_plan import DayCount, MilestonePlan, date_of, plan_of
from healthseg.metrics.panels import build_pairs, panel
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.spells import spells_as_of
from healthseg.periods import DAY_SECONDS, end_of_day_utc
from healthseg.rules.expressions import Condition

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings


STATUSES = ("completed", "in_progress", "overdue", "not_started", "skipped")
HAND, DATA = "hand", "data"
ENTERED = ["started_day", "completed_day", "skipped_day", "blocked_day", "cleared_day"]


def states(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """One row per customer and milestone that applies to it, as known at the end of ``as_of``; none without milestones.

    A churned customer is shown as of its last day (``day``). Days are numbers since 1970, NaN where it did not
    happen. Columns: client_id, milestone_id, name, category, required, target_days; ``live``; ``began_day`` (signing
    up, or win-back), ``anchor_day`` (where the target's days begin), ``target_day``; ``started_day``;
    ``completed_day``, ``completed_by`` (hand, data), ``completed_at`` (UTC, where it has a time), ``days`` (from
    anchor_day to completion), ``since_began`` (from began_day to completion); ``skipped_day``; ``users`` needed and
    ``reached``, ``progress``; ``blocker``, ``blocked_day``, ``cleared_day`` (NaN of an open blocker), owner;
    ``waits_for`` (dependencies that are open); ``watched`` (its days can be known); ``status``; ``to_close`` (overdue for
    ``stale_record_days`` where nearly all else is completed: a record that was not maintained); ``completed`` and
    ``planned`` (of the customer's milestones, those skipped aside).

    >>> from healthseg.testing import tiny_portfolio
    >>> plan = pd.DataFrame({"milestone_id": ["kick", "use"], "name": ["Kick-off", "Use"], "category": "onboarding",
    ...                      "target_days": [10, 30]})
    >>> done = pd.DataFrame({"client_id": ["a"], "milestone_id": ["kick"], "completed_at": ["2025-03-05"]})
    >>> who = pd.DataFrame({"client_id": ["a"], "signup_date": ["2025-03-01"]})
    >>> portfolio = tiny_portfolio([("a", "2025-04-20 09:00", "u1")], who, milestones=plan, milestone_progress=done)
    >>> states(portfolio, portfolio.as_of())[["milestone_id", "status", "days"]].fillna(-1).values.tolist()
    [['kick', 'completed', 4.0], ['use', 'overdue', -1.0]]
    """
    return portfolio.cache.get(
        "milestone_states",
        as_of,
        lambda: _states(portfolio, as_of, plan_of(portfolio)),
        disk=False,
    )


def _states(portfolio: Portfolio, as_of: dt.date, plan: MilestonePlan | None) -> pd.DataFrame:
    rows = _applying(portfolio, as_of, plan, present_spells(portfolio, as_of))
    rows = _measurable(rows, portfolio, as_of) if len(rows) else rows
    if plan is None or not len(rows):
        return _nothing()
    count = DayCount.of(portfolio)
    rows = _with_users(_with_entries(rows, portfolio, as_of), portfolio, as_of, plan)
    rows = _with_status(_with_targets(_with_dependencies(rows), portfolio, count), count)
    return _with_records_to_close(rows, portfolio.settings)


def _nothing() -> pd.DataFrame:
    """A portfolio's states where no milestone applies to anybody."""
    types = dict.fromkeys(
        [
            "client_id",
            "milestone_id",
            "name",
            "category",
            "feature",
            "completed_by",
            "blocker",
            "owner",
            "waits_for",
            "status",
        ],
        object,
    )
    types |= dict.fromkeys(
        [
            "began_day",
            "anchor_day",
            "target_day",
            *ENTERED,
            "day",
            "days",
            "since_began",
            "reached",
            "users",
            "progress",
            "target_days",
            "elapsed",
            "completed",
            "planned",
        ],
        float,
    )
    types |= dict.fromkeys(["live", "required", "watched", "blocked", "to_close"], bool)
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


# -- who --------------------------------------------------------------------------------------


def present_spells(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """Customers that had signed up, by client_id: when their present spell began (signup or win-back), whether they
    are live, and its last day: ``as_of``, or the day before churn."""
    return portfolio.cache.get(
        "milestone_lives", as_of, lambda: _spells(portfolio, as_of), disk=False
    )


def _spells(portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    known = customers_as_of(portfolio, as_of)
    ids, today = known.index.tolist(), epoch_day(as_of)
    churned = epoch_days_or_nan(known["churned_on"])
    signup = epoch_days(known["signup_date"])
    spells = spells_as_of(portfolio, as_of)
    last = spells[spells["is_last"]].set_index("client_id")["signup_date"].reindex(ids)
    began = epoch_days(last).astype(float)
    frame = pd.DataFrame(
        {
            "client_id": ids,
            "signup_day": signup,
            "began_day": began,
            "live": np.isnan(churned),
            "day": np.where(np.isnan(churned), today, churned - 1),
        }
    )
    frame = frame[(frame["signup_day"] <= today) & (frame["day"] >= frame["signup_day"])]
    return frame.set_index("client_id", drop=False)


def _applying(
    portfolio: Portfolio, as_of: dt.date, plan: MilestonePlan | None, customers_then: pd.DataFrame
) -> pd.DataFrame:
    """Customers × milestones, without those of other plans, and those whose condition does not hold on the day shown."""
    milestones = pd.DataFrame(columns=["milestone_id"]) if plan is None else plan.frame
    rows = customers_then.reset_index(drop=True).merge(milestones, how="cross")
    if plan is None:
        return rows
    if plan.frame["plans"].map(len).any():
        on_day = panel(portfolio, [as_of]).set_index("client_id")["plan"].astype(object)
        own_plan = rows["client_id"].map(on_day)
        pairs = zip(rows["plans"], own_plan, strict=True)
        rows = rows[[not plans or own in plans for plans, own in pairs]]
    conditions = plan.frame["applies_when"].dropna().unique()
    if len(conditions):
        # of those that churned, what was known on their last day
        gone = customers_then[~customers_then["live"]]
        pairs = pd.DataFrame({"client_id": gone.index, "date": gone["day"].map(date_of)})
        parts = [panel(portfolio, [as_of]), *([build_pairs(portfolio, pairs)] if len(gone) else [])]
        known = pd.concat(parts).drop_duplicates("client_id", keep="last").set_index("client_id")
        for text in conditions:
            holds = pd.Series(Condition(text).column(known), index=known.index) == 1
            rows = rows[(rows["applies_when"] != text) | rows["client_id"].map(holds)]
    return rows.reset_index(drop=True)


# -- what was done ----------------------------------------------------------------------------


def entries(portfolio: Portfolio) -> pd.DataFrame:
    """All that was ever entered by hand, days since 1970; ``completed_part``: the share of its day that had passed."""
    return portfolio.cache.get("milestone_entries", portfolio.state(), lambda: _entries(portfolio))


def _entries(portfolio: Portfolio) -> pd.DataFrame:
    frame = portfolio.sql("metrics/milestone_entries")
    frame[ENTERED] = frame[ENTERED].astype(float)
    zone = customers(portfolio)["timezone"].fillna(portfolio.settings.default_timezone)
    return frame.assign(completed_part=_parts(frame, frame["client_id"].map(zone)))


def _parts(frame: pd.DataFrame, zone: pd.Series) -> np.ndarray:
    """How much of its account-local day had passed when each was completed; 0 without a time."""
    part, midnight = np.zeros(len(frame)), {}
    moments = pd.to_datetime(frame["completed_at"])
    for row in np.flatnonzero(moments.notna()):
        key = (int(frame["completed_day"].iat[row]), zone.iat[row])
        if key not in midnight:
            midnight[key] = end_of_day_utc(
                dt.date(1970, 1, 1) + dt.timedelta(days=key[0] - 1), key[1]
            )
        passed = (moments.iat[row].tz_localize("UTC") - midnight[key]).total_seconds()
        part[row] = min(max(passed / DAY_SECONDS, 0.0), 1.0)
    return part


def _with_entries(rows: pd.DataFrame, portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """What had been entered by each customer's last day, in its present spell."""
    rows = rows.merge(entries(portfolio), on=["client_id", "milestone_id"], how="left")
    first = np.where(rows["began_day"] > rows["signup_day"], rows["began_day"], -np.inf)
    for name in ENTERED:
        rows[name] = rows[name].where((rows[name] <= rows["day"]) & (rows[name] >= first))
    today = as_of >= portfolio.data_until
    undated = rows["blocker"].notna() & rows["blocked_day"].isna() & today
    rows["blocker"] = (
        rows["blocker"].astype(object).where(rows["blocked_day"].notna() | undated, None)
    )
    rows["owner"] = rows["owner"].astype(object).where(rows["owner"].notna() & today, None)
    return rows.assign(by_hand=rows["completed_day"])


def _with_users(
    rows: pd.DataFrame, portfolio: Portfolio, as_of: dt.date, plan: MilestonePlan
) -> pd.DataFrame:
    """How many of the needed users had used the feature, and when the first and the last of them did."""
    features = (
        plan.frame.dropna(subset=["feature"]).groupby("feature", as_index=False)["users"].max()
    )
    rows = rows.assign(reached=np.nan, first_use=np.nan, by_data=np.nan)
    if len(features):
        uses = portfolio.cache.get(
            "milestone_uses",
            [as_of, portfolio.state(None, ("milestones",))],
            lambda: _first_uses(rows, portfolio, features),
        )
        firsts = uses.set_index(["client_id", "feature", "nth"])["day"].astype(float).sort_index()
        of_data = rows["feature"].notna().to_numpy()
        keys = rows.loc[of_data, ["client_id", "feature", "users"]]
        nth = firsts.reindex(pd.MultiIndex.from_frame(keys)).to_numpy(dtype=float)
        first = firsts.reindex(pd.MultiIndex.from_frame(keys.assign(users=1))).to_numpy(dtype=float)
        users_so_far = (
            firsts.groupby(level=[0, 1])
            .size()
            .reindex(pd.MultiIndex.from_frame(keys.iloc[:, :2]))
            .fillna(0)
        )
        rows.loc[of_data, "by_data"], rows.loc[of_data, "first_use"] = nth, first
        rows.loc[of_data, "reached"] = np.minimum(
            users_so_far.to_numpy(dtype=float), keys["users"].to_numpy()
        )
    data = rows["by_data"].notna() & ~(rows["by_hand"] <= rows["by_data"])
    rows["completed_day"] = rows["by_data"].where(data, rows["by_hand"])
    hand = ~data & rows["by_hand"].notna()
    by = np.select([data, hand], [DATA, HAND], "").astype(object)
    by[by == ""] = None
    return rows.assign(
        completed_by=by,
        progress=rows["reached"] / rows["users"].where(rows["users"] > 0),
        completed_at=pd.to_datetime(rows["completed_at"]).where(hand),
        completed_part=rows["completed_part"].where(hand, 0.0),
        started_day=np.fmin(rows["started_day"], rows["first_use"]),
    )


def _first_uses(rows: pd.DataFrame, portfolio: Portfolio, features: pd.DataFrame) -> pd.DataFrame:
    """client_id, feature, nth, day: when each further user first used a feature, nth being its place in the row."""
    clients = rows.drop_duplicates("client_id")
    scope = pd.DataFrame(
        {
            "k": np.arange(len(clients), dtype=np.int32),
            "client_id": clients["client_id"].to_numpy(),
            "from_day": clients["began_day"].to_numpy(dtype=np.int64),
            "until_day": clients["day"].to_numpy(dtype=np.int64),
        }
    )
    back = (clients["began_day"] > clients["signup_day"]).to_numpy()
    parts = [
        portfolio.sql(f"metrics/{name}", scope=scope[chosen], asked=features)
        for name, chosen in (("milestone_users", ~back), ("milestone_users_again", back))
        if chosen.any()
    ]
    uses = pd.concat(parts, ignore_index=True)
    ids = scope["client_id"].to_numpy()[uses["k"].to_numpy(dtype=np.int64)]
    return uses.assign(client_id=ids)[["client_id", "feature", "nth", "day"]].astype(
        {"nth": np.int64}
    )


def _measurable(rows: pd.DataFrame, portfolio: Portfolio, as_of: dt.date) -> pd.DataFrame:
    """Without what nobody could know: milestones completed by hand where nothing was entered by hand.

    That is all of them without ``milestone_progress``; and those of a customer of which nothing was entered by
    ``as_of`` and that began before the first entry of the portfolio.
    """
    entered = entries(portfolio)
    earliest = entered[ENTERED].min(axis=1)
    known = entered[earliest <= epoch_day(as_of)]
    first = earliest.min() if len(known) else np.inf
    before = (rows["began_day"] < first) & ~rows["client_id"].isin(known["client_id"])
    return rows[rows["feature"].notna() | ~before].reset_index(drop=True)


# -- what follows -----------------------------------------------------------------------------


def _with_dependencies(rows: pd.DataFrame) -> pd.DataFrame:
    """The dependencies that are neither completed nor skipped, and the day on which the last of the others was."""
    over = np.fmin(rows["completed_day"], rows["skipped_day"])
    days = dict(zip(zip(rows["client_id"], rows["milestone_id"], strict=True), over, strict=True))
    waits, ready = [], []
    for client, needs in zip(rows["client_id"], rows["depends_on"], strict=True):
        ends = {needed: days[client, needed] for needed in needs if (client, needed) in days}
        waits.append(tuple(needed for needed, day in ends.items() if np.isnan(day)))
        ready.append(max(ends.values()) if ends and not waits[-1] else np.nan)
    return rows.assign(
        waits_for=waits, ready_day=ready, depends=[bool(needs) for needs in rows["depends_on"]]
    )


def _with_targets(rows: pd.DataFrame, portfolio: Portfolio, count: DayCount) -> pd.DataFrame:
    """When the days to the target begin, when they end, and how many the completion took."""
    began = rows["began_day"].astype(float)
    anchor = began
    if portfolio.settings.milestone_anchor == "dependency":
        anchor = rows["ready_day"].where(rows["depends"], began)
    target = count.after(anchor.to_numpy(), rows["target_days"].to_numpy())
    early = (
        (anchor < epoch_day(portfolio.first_event_day))
        & (rows["completed_by"] != HAND)
        & rows["feature"].notna()
    )
    since = [
        (count.between(start, rows["completed_day"]) + rows["completed_part"]).where(~early)
        for start in (anchor, began)
    ]
    return rows.assign(
        anchor_day=anchor, target_day=target, watched=~early, days=since[0], since_began=since[1]
    )


def _with_status(rows: pd.DataFrame, count: DayCount) -> pd.DataFrame:
    completed, skipped = rows["completed_day"].notna(), rows["skipped_day"].notna()
    status = np.select(
        [completed, skipped, rows["target_day"] < rows["day"], rows["started_day"].notna()],
        ["completed", "skipped", "overdue", "in_progress"],
        "not_started",
    )
    is_blocked = rows["blocker"].notna() & rows["cleared_day"].isna() & ~completed & ~skipped
    waits = [
        waiting if date else ()
        for waiting, date in zip(rows["waits_for"], ~completed & ~skipped, strict=True)
    ]
    return rows.assign(
        status=status,
        blocked=is_blocked,
        waits_for=waits,
        elapsed=count.between(rows["anchor_day"], rows["day"]),
    )


def _with_records_to_close(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    by_client, status = rows["client_id"], rows["status"]
    completed = (status == "completed").groupby(by_client).transform("sum")
    planned = (status != "skipped").groupby(by_client).transform("sum")
    old = (status == "overdue") & (rows["day"] - rows["target_day"] > settings.stale_record_days)
    nearly_all = completed >= settings.stale_record_completed_share * planned
    return rows.assign(to_close=old & nearly_all, completed=completed, planned=planned)
