"""Usage recounted from the events themselves, slowly and plainly: pandas, loops and the words of the definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)


class PlainUsage:
    """One customer's events with the account's own day of each, as far as the end of ``until``."""

    def __init__(self, portfolio, client_id, events, gap_minutes=30):
        events = events[events["client_id"] == client_id].copy()
        customer = portfolio.table("customers").set_index("client_id").loc[client_id]
        zone = (
            customer["timezone"]
            if isinstance(customer.get("timezone"), str)
            else portfolio.settings.default_timezone
        )
        stamps = pd.to_datetime(events["occurred_at"])
        self.timed = not (stamps.dt.normalize() == stamps).all()
        local = (
            stamps.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
            if self.timed
            else stamps
        )
        events["local"], events["stamp"], events["day"] = local, stamps, local.dt.normalize()
        events["n"] = events["count"].fillna(1)
        self.api = events[events["source"] == "api"]
        self.person = events[events["source"] != "api"]
        self.signup, self.gap = (
            pd.Timestamp(customer["signup_date"]),
            pd.Timedelta(minutes=gap_minutes),
        )
        self.first_tracked = pd.Timestamp(portfolio.first_event_day)
        users = (
            portfolio.table("users")
            if portfolio.has("users")
            else pd.DataFrame({"client_id": [], "user_id": []})
        )
        users = users[users["client_id"] == client_id]
        made = pd.to_datetime(users["created_at"]) if len(users) else []
        self.created = dict(zip(users["user_id"], made, strict=True))

    def within(self, start, end, rows=None):
        rows = self.person if rows is None else rows
        return rows[(rows["day"] >= pd.Timestamp(start)) & (rows["day"] < pd.Timestamp(end))]

    def users(self, start, end):
        return set(self.within(start, end)["user_id"].dropna())

    def days(self, start, end):
        return pd.date_range(start, pd.Timestamp(end) - DAY)

    def daily_active_users(self, start, end):
        return float(np.mean([len(self.users(day, day + DAY)) for day in self.days(start, end)]))

    def stickiness(self, start, end):
        shares = []
        for day in self.days(start, end):
            month = len(self.users(day - 29 * DAY, day + DAY))
            if month:
                shares.append(len(self.users(day, day + DAY)) / month)
        return float(np.mean(shares)) if shares else None

    def sessions(self, start, end):
        """Sessions begun in the period and their seconds, as far as known by its end."""
        found = []
        rows = self.person[
            self.person["user_id"].notna() & (self.person["day"] < pd.Timestamp(end))
        ]
        keys = [rows["user_id"], rows["session_id"].fillna("none")]
        for (_, session), part in rows.sort_values("stamp").groupby(keys):
            longest = self.gap if session == "none" else DAY
            begins = part["stamp"].diff().isna() | (part["stamp"].diff() > longest)
            for _, one in part.groupby(begins.cumsum()):
                last = one[one["stamp"] == one["stamp"].max()]["duration_seconds"].fillna(0).max()
                first_day = one["day"].iloc[0]
                if first_day >= pd.Timestamp(start):
                    seconds = one["stamp"].max().floor("s") - one["stamp"].min().floor("s")
                    found.append(seconds.total_seconds() + np.floor(last))
        return found

    def is_new(self, user, first):
        """Whether the first day seen is the first there was."""
        if self.signup >= self.first_tracked:
            return True
        created = self.created.get(user, pd.NaT)
        return (
            first >= self.first_tracked + 28 * DAY
            if pd.isna(created)
            else created.normalize() >= self.first_tracked
        )

    def retention(self, end, weeks=12):
        """(cohort's first day, week) → users, and those who came back (None while it is not over)."""
        first = self.person.dropna(subset="user_id").groupby("user_id")["day"].min()
        first = {user: day for user, day in first.items() if self.is_new(user, day)}
        found, end = {}, pd.Timestamp(end)
        for back in range(weeks, 0, -1):
            start = end - 7 * back * DAY
            users = [user for user, day in first.items() if start <= day < start + 7 * DAY]
            if not users or start < self.first_tracked:
                continue
            for week in range(back):
                over = start + (6 + 7 * week + 6) * DAY < end
                kept = [
                    user
                    for user in users
                    if user
                    in self.users(first[user] + 7 * week * DAY, first[user] + 7 * (week + 1) * DAY)
                ]
                found[start.date(), week] = (len(users), len(kept) / len(users) if over else None)
        return found


def response_retention(response):
    return {
        (cohort.cohort_start, week): (cohort.users, share)
        for cohort in response.user_retention
        for week, share in enumerate(cohort.retained)
    }
