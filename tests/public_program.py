"""A program of the public interface: ``mypy --strict`` accepts it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd

import healthseg as hs

DAY = dt.timedelta(days=1)


def open_portfolio(folder: str) -> hs.Portfolio:
    settings = {"scorecard": {"components": {"usage": {"weight": 0.5}}}}
    return hs.Portfolio.open(folder, settings=settings)


@hs.metric(label="Events per user", unit="events", better="higher")
def events_per_user(rows: pd.DataFrame) -> pd.Series:
    return rows["person_events_28d"] / rows["monthly_active_users"]


def riskiest(portfolio: hs.Portfolio, count: int) -> list[str]:
    table = hs.portfolio_health(portfolio).frame("customers")
    return [str(client) for client in table.sort_values("score")["client_id"].head(count)]


def review(portfolio: hs.Portfolio, client_id: str) -> str:
    health = hs.calculate_health_score(portfolio, client_id=client_id)
    score: int | None = health.current_health_score
    usage = hs.track_usage_engagement(portfolio, client_id=client_id)
    outcome = hs.what_if(portfolio, client_id, {"monthly_active_users": 40.0})
    return f"{score}: {health}; {usage}; {outcome.verdict()}"


def moved(portfolio: hs.Portfolio, days: int) -> pd.DataFrame:
    then = portfolio.data_until - days * DAY
    comparison = hs.compare_scorecards(portfolio, then, draws=20)
    return comparison.frame("customers")


def rows(portfolio: hs.Portfolio) -> pd.DataFrame:
    label: str = hs.metrics.get("seat_utilisation").label
    return hs.panel(portfolio, [portfolio.data_until]).rename(columns={"seat_utilisation": label})


def from_elsewhere(folder: Path, customers: pd.DataFrame, events: pd.DataFrame) -> str:
    """A path or frames in place of an open portfolio, and an instant as the day."""
    health = hs.portfolio_health(folder, as_of=pd.Timestamp("2025-03-28"))
    usage = hs.portfolio_usage(
        {"customers": customers, "events": events}, as_of=dt.date(2025, 3, 28)
    )
    return f"{health}; {usage}"


def accuracy(portfolio: hs.Portfolio) -> str:
    try:
        card: hs.ReportCard = hs.report_card(portfolio, draws=20)
    except hs.HealthsegError as problem:
        return str(problem)
    return card.verdict()


def main(folder: str) -> None:
    with open_portfolio(folder) as portfolio:
        for client_id in riskiest(portfolio, 3):
            print(review(portfolio, client_id))
        print(moved(portfolio, 30).head(), rows(portfolio).head(), accuracy(portfolio))
