"""Small random portfolios, and any portfolios written from frames."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import pandas as pd

from healthseg.data.portfolio import Portfolio

ZONES = ("America/New_York", "Asia/Kolkata", "Pacific/Auckland", None)
FIRST = dt.date(2024, 9, 20)  # a year's change of clocks in both hemispheres lies after it
DAYS = 230
SPARSE = {
    "features": 0.7,
    "entitlements": 0.6,
    "users": 0.7,
    "tickets": 0.8,
    "surveys": 0.8,
    "invoices": 0.8,
    "contracts": 0.7,
    "arr_changes": 0.5,
    "customer_changes": 0.6,
    "stage_changes": 0.7,
}


def open_portfolio(
    tables: dict[str, pd.DataFrame], settings: dict[str, Any] | None = None, kind: str = "csv"
) -> Portfolio:
    """The frames as files in a folder of their own, which goes when the portfolio does."""
    folder = Path(tempfile.mkdtemp(prefix="healthseg-test-"))
    write_tables(folder, tables, kind)
    portfolio = reopened(folder, settings)
    weakref.finalize(portfolio, shutil.rmtree, folder, ignore_errors=True)
    return portfolio


def reopened(folder: Path, settings: dict[str, Any] | None = None) -> Portfolio:
    """The portfolio of such a folder as ``open_portfolio`` opens it: few answers leave the scale open."""
    return Portfolio.open(folder, {"csat_scale": "1-5"} | (settings or {}))


def write_tables(folder: Path, tables: dict[str, pd.DataFrame], kind: str = "csv") -> None:
    for name, frame in tables.items():
        if kind == "csv":
            frame.to_csv(folder / f"{name}.csv", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet", index=False)


class Dice:
    """Random rows of each table, from one seed."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed)
        self.clients = [f"c{k}" for k in range(self.roll.randint(1, 3))]

    def day(self, low: int = 0, high: int = DAYS) -> dt.date:
        return FIRST + dt.timedelta(days=self.roll.randint(low, high - 1))

    def at(self, low: int = 0, high: int = DAYS) -> str:
        """Mostly an instant, often near a local midnight, now and then a day without a time."""
        day = self.day(low, high)
        if self.roll.random() < 0.1:
            return str(day)
        seconds = (
            self.roll.randint(0, 86399)
            // self.roll.choice((1, 3600))
            * self.roll.choice((1, 1800))
            % 86400
        ) or 1  # midnight would be a day without a time
        return f"{dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"

    def maybe(self, value: Any, chance: float = 0.5) -> Any:
        return value if self.roll.random() < chance else None

    def user(self) -> str | None:
        return self.maybe(self.roll.choice(("u1", "u1", "u2", "u3")), 0.9)

    def after(self, at: str, most: int) -> str:
        """An instant or day up to ``most`` days later, of the same kind."""
        moment = dt.datetime.fromisoformat(at) + dt.timedelta(
            days=self.roll.randint(0, most), hours=len(at) > 10 and 5
        )
        return f"{moment:%Y-%m-%d %H:%M:%S}"[: len(at)]

    def rows(self, most: int, make) -> pd.DataFrame:
        rows = [make(client) for client in self.clients for _ in range(self.roll.randint(1, most))]
        return pd.DataFrame(rows).astype(object)


def random_tables(seed: int) -> dict[str, pd.DataFrame]:
    """All tables of a small portfolio; each optional one may be absent."""
    dice = Dice(seed)
    roll = dice.roll
    tables = {"customers": _customers(dice), "events": _events(dice)}
    makers = {
        "features": _features,
        "entitlements": _entitlements,
        "users": _users,
        "tickets": _tickets,
        "surveys": _surveys,
        "invoices": _invoices,
        "contracts": _contracts,
        "arr_changes": _arr_changes,
        "customer_changes": _customer_changes,
        "stage_changes": _stage_changes,
    }
    for name, make in makers.items():
        frame = make(dice)
        if roll.random() < SPARSE[name] and (name != "entitlements" or "features" in tables):
            tables[name] = frame
    return tables


def _customers(dice: Dice) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "client_id": client,
                "name": client,
                "signup_date": dice.day(-30, 150),
                "timezone": dice.roll.choice(ZONES),
                "churned_on": dice.maybe(dice.day(180, 300), 0.2),
                "arr": dice.maybe(dice.roll.choice((10_000, 10_001, 75_000))),
                "seats": dice.maybe(dice.roll.randint(1, 9)),
                "plan": dice.maybe("pro"),
                "renewal_date": dice.maybe(dice.day(100, 400)),
            }
            for client in dice.clients
        ]
    ).astype(object)


def _events(dice: Dice) -> pd.DataFrame:
    """Some busy weeks, some silence; runs of events a few minutes apart; and a machine that calls now and then."""
    first = dice.roll.choice((0, 0, 60))
    rows = [
        {
            "client_id": "c0",
            "occurred_at": str(FIRST + dt.timedelta(days=day)),
            "source": "api",
            "count": 1,
        }
        for day in range(first, DAYS, 20)
    ]
    for client in dice.clients:
        for _ in range(dice.roll.randint(1, 25)):
            low = dice.roll.randint(first, DAYS - 30)
            at, user, session = (
                dice.at(low, low + 25),
                dice.user(),
                dice.maybe(f"s{dice.roll.randint(1, 3)}", 0.3),
            )
            for _ in range(dice.roll.randint(1, 6)):
                rows.append(
                    {
                        "client_id": client,
                        "occurred_at": at,
                        "user_id": user,
                        "feature": dice.maybe(
                            dice.roll.choice(("search", "export", "unlisted")), 0.8
                        ),
                        "source": dice.roll.choice(("ui", "ui", "ui", "api", "ui")),
                        "session_id": session,
                        # a day without its count is no event
                        "count": dice.maybe(dice.roll.randint(1, 5), 0.3 if len(at) > 10 else 1.0),
                        "duration_seconds": dice.maybe(dice.roll.choice((10.7, 600, 4000)), 0.3),
                    }
                )
                if len(at) > 10:
                    step = dt.timedelta(
                        seconds=dice.roll.choice((0, 600, 1799, 1800, 1801, 7200, 86400))
                    )
                    at = f"{dt.datetime.fromisoformat(at) + step:%Y-%m-%d %H:%M:%S}"
                    at = at.replace("00:00:00", "00:00:01")
    return (
        pd.DataFrame(rows)
        .drop_duplicates(["client_id", "occurred_at", "user_id", "feature", "source", "session_id"])
        .astype(object)
    )


def _features(dice: Dice) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"feature": name, "category": "core", "released_on": dice.maybe(dice.day())}
            for name in ("search", "export", "unused")
        ]
    ).astype(object)


def _entitlements(dice: Dice) -> pd.DataFrame:
    def make(client: str) -> dict:
        start = dice.day(-50, 200)
        return {
            "client_id": client,
            "feature": dice.roll.choice(("search", "export", "unused", "unlisted")),
            "starts_on": dice.maybe(start, 0.7),
            "ends_on": dice.maybe(start + dt.timedelta(days=dice.roll.randint(0, 90)), 0.4),
        }

    return dice.rows(5, make)


def _users(dice: Dice) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"user_id": user, "client_id": client, "deactivated_at": dice.maybe(dice.at(100), 0.4)}
            for client in dice.clients
            for user in ("u1", "u2")
        ]
    ).astype(object)


def _tickets(dice: Dice) -> pd.DataFrame:
    numbers = iter(range(1000))

    def make(client: str) -> dict:
        at = dice.at()
        solved = dice.maybe(dice.after(at, 40), 0.7)
        return {
            "ticket_id": f"t{next(numbers)}",
            "client_id": client,
            "opened_at": at,
            "resolved_at": solved,
            "severity": dice.roll.choice(("low", "medium", "high", "critical")),
            "severity_set_at": dice.maybe(dice.after(at, 20), 0.3),
            "csat": dice.maybe(dice.roll.randint(1, 5)) if solved else None,
        }

    return dice.rows(8, make)


def _surveys(dice: Dice) -> pd.DataFrame:
    def make(client: str) -> dict:
        kind = dice.roll.choice(("nps", "nps", "csat"))
        score = dice.roll.randint(0, 10) if kind == "nps" else dice.roll.choice((1, 2.5, 4, 5))
        return {
            "client_id": client,
            "kind": kind,
            "score": score,
            "responded_at": dice.at(-200),
            "user_id": dice.user(),
        }

    return dice.rows(9, make)


def _invoices(dice: Dice) -> pd.DataFrame:
    numbers = iter(range(1000))

    def make(client: str) -> dict:
        issued = dice.day(-150, 210)
        due = issued + dt.timedelta(days=dice.roll.choice((0, 14, 30)))
        return {
            "invoice_id": f"i{next(numbers)}",
            "client_id": client,
            "amount": dice.roll.choice((100, 100.5, 250, -100)),
            "issued_on": issued,
            "due_on": due,
            "paid_on": dice.maybe(
                due + dt.timedelta(days=dice.roll.choice((-10, 0, 5, 6, 60))), 0.6
            ),
        }

    frame = dice.rows(8, make)
    paid = frame["paid_on"].where(
        frame["paid_on"].isna() | (frame["paid_on"].astype(str) >= frame["issued_on"].astype(str))
    )
    return frame.assign(paid_on=paid)


def _contracts(dice: Dice) -> pd.DataFrame:
    def make(client: str) -> dict:
        start = dice.day(-100, 200)
        return {
            "client_id": client,
            "starts_on": start,
            "ends_on": dice.maybe(start + dt.timedelta(days=dice.roll.randint(1, 200))),
            "arr": dice.roll.choice((50_000, 50_001, 300_000)),
            "seats": dice.maybe(dice.roll.randint(0, 6), 0.8),
            "signed_on": dice.maybe(start + dt.timedelta(days=dice.roll.randint(-30, 60))),
            "plan": dice.maybe(dice.roll.choice(("pro", "basic")), 0.8),
            "renews_on": dice.maybe(start + dt.timedelta(days=90)),
        }

    return dice.rows(3, make).drop_duplicates(["client_id", "starts_on"])


def _arr_changes(dice: Dice) -> pd.DataFrame:
    def make(client: str) -> dict:
        arr = dice.roll.choice((0, *(dice.roll.randint(1, 400) * 1000 for _ in range(4))))
        reason = dice.maybe("churn" if arr == 0 else dice.roll.choice(("new", "expansion")), 0.5)
        return {"client_id": client, "effective_on": dice.day(), "arr": arr, "reason": reason}

    frame = dice.rows(3, make)
    return frame.drop_duplicates(["client_id", "effective_on"])


def _customer_changes(dice: Dice) -> pd.DataFrame:
    values = {"seats": "7", "plan": "team", "arr": "42000", "renewal_date": "2025-12-31"}

    def make(client: str) -> dict:
        name = dice.roll.choice(tuple(values))
        day = dice.day()
        return {
            "client_id": client,
            "field": name,
            "value": values[name],
            "effective_on": day,
            "recorded_at": dice.maybe(dice.after(f"{day} 20:00:00", 30)),
        }

    return dice.rows(5, make).drop_duplicates(["client_id", "field", "effective_on"])


def _stage_changes(dice: Dice) -> pd.DataFrame:
    def make(client: str) -> dict:
        at = dice.at()
        return {
            "client_id": client,
            "stage": dice.roll.choice(("onboarding", "active", "at_risk", "churned")),
            "effective_at": at,
            "recorded_at": dice.maybe(dice.after(at, 20)),
        }

    return dice.rows(4, make).drop_duplicates(["client_id", "effective_at"])
