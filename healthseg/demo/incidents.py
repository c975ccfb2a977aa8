"""Days that are not like others: holidays, launches, incidents, gaps, and customers' own spikes and dips."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, epoch_day, stream
from healthseg.demo.rhythms import weekdays
from healthseg.demo.scenarios import Scenario

HOLIDAYS = (
    ((12, 25), "holiday: Christmas Day"),
    ((12, 26), "holiday: Boxing Day"),
    ((1, 1), "holiday: New Year"),
    ((5, 1), "holiday: Labour Day"),
)
# what, place in the portfolio, first weekday, days, factor on people coming, label in the calendar
PORTFOLIO_EVENTS = (
    ("launch", 0.25, 1, 3, 1.30, "launch: planning suite"),
    ("incident", 0.55, 2, 2, 0.30, "incident: login outage"),
    ("launch", 0.70, 0, 3, 1.30, "launch: autumn release"),
    ("gap", 0.40, 3, 1, 0.0, None),  # a day of UTC that was never loaded
    ("dip", 0.85, 1, 1, 0.45, None),
)
CLIENT_SHARE = 0.16
DIP_SEATS = 18  # a small customer's days are often empty: only larger ones can show a dip


@dataclass
class Incidents:
    """``chance`` and ``volume`` multiply the chance to come and the events of a session, customers × days."""

    chance: np.ndarray
    volume: np.ndarray
    calendar: list[tuple[int, int, str]]  # first day, last day, label
    portfolio: list[
        tuple[int, int, float, str, str | None]
    ]  # first day, last day, factor, kind, label
    clients: list[tuple[int, int, int, float, str]]  # customer, first day, last day, factor, kind

    def loaded(self, utc_day: np.ndarray) -> np.ndarray:
        """Whether the day of UTC is in the portfolio: not one of its gaps."""
        gaps = [first for first, _, _, kind, _ in self.portfolio if kind == "gap"]
        return ~np.isin(utc_day, gaps)


def _holidays(days: Frame) -> list[tuple[int, int, str]]:
    years = range(1970 + days.start // 366, 1972 + days.end // 365)
    found = [
        (epoch_day(dt.date(year, *when)) - days.start, label)
        for year in years
        for when, label in HOLIDAYS
    ]
    return [(day, day, label) for day, label in sorted(set(found)) if 0 <= day < days.days]


def _portfolio_events(days: Frame) -> list[tuple[int, int, float, str, str | None]]:
    rows, weekday = [], weekdays(days)
    for kind, place, first, length, factor, label in PORTFOLIO_EVENTS:
        day = int(days.days * place)
        day += (first - weekday[day]) % 7
        rows.append((day, min(day + length, days.days) - 1, factor, kind, label))
    return rows


def _client_events(
    rng: np.random.Generator, who: Customers, days: Frame
) -> list[tuple[int, int, int, float, str]]:
    chosen = np.flatnonzero(rng.random(who.count) < CLIENT_SHARE)
    low, weekday, rows = np.maximum(who.signup, 0) + 60, weekdays(days), []
    for client in chosen:
        if low[client] >= days.days - 20:
            continue
        day = int(rng.integers(low[client], days.days - 12))
        day += (1 - weekday[day]) % 7
        kind = "dip" if who.seats[client] >= DIP_SEATS else "spike"
        factor, length = (float(rng.choice([5.0, 8.0])), 1) if kind == "spike" else (0.03, 3)
        rows.append((int(client), day, day + length - 1, factor, kind))
    return rows


def draw_incidents(
    seed: int, chunk: int, who: Customers, days: Frame, world: Scenario
) -> Incidents:
    chance = np.ones((who.count, days.days), np.float32)
    volume = np.ones((who.count, days.days), np.float32)
    holidays, portfolio = _holidays(days), _portfolio_events(days)
    calendar = sorted(
        holidays + [(first, last, label) for first, last, _, _, label in portfolio if label]
    )
    if not world.planted:
        return Incidents(chance, volume, calendar, [], [])
    portfolio = sorted(
        portfolio + [(first, last, 0.15, "dip", label) for first, last, label in holidays]
    )
    for first, last, factor, kind, _ in portfolio:
        if kind == "gap":
            continue
        chance[:, first : last + 1] *= factor
    clients = _client_events(stream(seed, chunk, "incidents"), who, days)
    for client, first, last, factor, kind in clients:
        (volume if kind == "spike" else chance)[client, first : last + 1] *= factor
    return Incidents(chance, volume, calendar, portfolio, clients)
