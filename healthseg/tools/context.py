"""What the tools know of a customer and of the portfolio on a day, built once and shared by all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg.errors import CalculationError, ClientNotFound, InvalidParameters
from healthseg.metrics import panels
from healthseg.metrics.counting import customers
from healthseg.metrics.families import rolled_up
from healthseg.metrics.money import Money, money
from healthseg.metrics.profile import customer_as_of, customers_as_of, is_live
from healthseg.periods import DAYS_A_MONTH, weekly
from healthseg.rules.expressions import Condition
from healthseg.scoring import score_trend
from healthseg.scoring.churn.expected import (
    ChurnedArr,
    SimulatedChurn,
    churn_probabilities,
    simulate_churn,
)
from healthseg.scoring.scored_panel import scorecard_rows
from healthseg.settings.in_force import input_limits
from healthseg.statistics.rates import percentages, student_errors
from healthseg.tools.values import day_of, number, plain_figures, word

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio
    from healthseg.settings import Settings

DAY = dt.timedelta(days=1)
EXPANSION_RULES = {
    "no_notice": "no notice given",
    "healthy": "score of 80 or more",
    "not_declining": "score not declining",
    "seats_in_use": "nine of ten seats in use",
    "nothing_overdue": "no invoice overdue",
    "no_critical_ticket": "no high or critical ticket open",
    "long_enough": "customer for 90 days",
}


class CustomerContext:
    """One customer as known at the end of ``as_of``; a churned one is shown on its last day.

    ``last_day`` is the day that is shown: ``as_of``, or the day before churn (at least the day of
    signup). ``CustomerContext.of`` raises InvalidClientId and ClientNotFound, also where the
    customer signs up after ``as_of``.
    """

    def __init__(self, portfolio: Portfolio, client_id: str, as_of: dt.date) -> None:
        self.portfolio, self.as_of = portfolio, as_of
        self.settings: Settings = portfolio.settings
        self.customer: dict[str, Any] = customer_as_of(portfolio, client_id, as_of)
        self.client_id = str(self.customer["client_id"])
        self.name = word(self.customer.get("name")) or self.client_id
        self.signup_date: dt.date = pd.Timestamp(self.customer["signup_date"]).date()
        self.churned_on = day_of(self.customer.get("churned_on"))
        self.notice_on = day_of(self.customer.get("notice_on"))

    @classmethod
    def of(
        cls, portfolio: Portfolio, client_id: str, as_of: dt.date, live: bool = False
    ) -> CustomerContext:
        """The customer, refused where it has not signed up by ``as_of`` or, with ``live``, has churned."""
        context = cls(portfolio, client_id, as_of)
        if context.signup_date > as_of:
            raise ClientNotFound(
                f"{client_id} signs up on {context.signup_date}, after {as_of}",
                parameter="client_id",
                value_provided=client_id,
                signup_date=str(context.signup_date),
                validation_rule="signed up by as_of",
            )
        if live and context.churned_on is not None:
            last = context.churned_on - DAY
            raise ClientNotFound(
                f"{client_id} churned on {context.churned_on}, and segments and tiers hold live "
                f"customers; for its last day use as_of {last}",
                parameter="client_id",
                value_provided=client_id,
                churned_on=str(context.churned_on),
                last_as_of=str(last),
                validation_rule="live at as_of",
            )
        return context

    @property
    def churned(self) -> bool:
        return self.churned_on is not None

    @property
    def status(self) -> str:
        return "churned" if self.churned else "live"

    @property
    def last_day(self) -> dt.date:
        if self.churned_on is None:
            return self.as_of
        return max(self.churned_on - DAY, self.signup_date)

    @property
    def has_zone(self) -> bool:
        return isinstance(self.customer.get("timezone"), str)

    @property
    def zone(self) -> str:
        """The account's time zone, the portfolio's default where none is known."""
        return self.customer["timezone"] if self.has_zone else self.settings.default_timezone

    @property
    def zone_warnings(self) -> list[str]:
        """That the days are those of another time zone, where the account's is not known."""
        text = f"the customer has no time zone: days are those of {self.zone}"
        return [] if self.has_zone else [text]

    @property
    def industry(self) -> str | None:
        return word(self.customer.get("industry"))

    def row(self, day: dt.date | None = None) -> dict[str, Any]:
        """The customer's row of the panel on a day, by default its last day."""
        return panel_rows(self.portfolio, day or self.last_day).loc[self.client_id].to_dict()

    @property
    def api_only_warning(self) -> str | None:
        """That the customer works through the API alone, with how often; None of others."""
        row = self.row()
        if row.get("api_only") != 1:
            return None
        calls = row["api_events_28d"] / 28
        return (
            f"the customer works through the API alone ({calls:,.0f} API events a day in 28 days): its activity is "
            "that of its API events, and users and features are not measured"
        )

    def tier(self, day: dt.date | None = None) -> str | None:
        return panels.tiers_at(self.portfolio, {self.client_id: day or self.last_day})[
            self.client_id
        ]

    @property
    def reported_arr(self) -> tuple[float | None, str | None]:
        """The ARR of the last day in the currency in which the portfolio adds amounts up, at the rates of ``as_of``."""
        rows = live_rows(self.portfolio, self.last_day)
        values = money(self.portfolio, rows, self.last_day, self.as_of)
        own = word(values.by_currency.get(self.client_id))
        return number(values.amounts.get(self.client_id)), values.currency or own

    @cached_property
    def portfolio_context(self) -> PortfolioContext:
        return PortfolioContext.of(self.portfolio, self.as_of)


def panel_rows(portfolio: Portfolio, day: dt.date) -> pd.DataFrame:
    """The panel of a day by client_id, read once."""
    return portfolio.cache.get(
        "panel_rows_by_client",
        day,
        lambda: panels.panel(portfolio, [day]).set_index("client_id", drop=False),
        disk=False,
    )


def live_rows(portfolio: Portfolio, day: dt.date) -> pd.DataFrame:
    """The panel's rows of the customers that are live on a day, by client_id."""
    rows = panel_rows(portfolio, day)
    return rows[rows["live"].astype(bool)]


def chosen_customers(portfolio: Portfolio, only: str | None) -> list[str]:
    """The customers, live or not, of whom a condition over the columns of their table holds; all without one.

    Figures of usage or scores are no part of it: customers that churned have none, so that a condition over them would
    choose those that stayed. Raises InvalidParameters where the condition cannot be read, or holds of nobody.

    >>> from healthseg.testing import tiny_portfolio
    >>> customers = pd.DataFrame({"client_id": ["a", "b"], "signup_date": "2025-01-01", "csm_id": ["eve", None]})
    >>> chosen_customers(tiny_portfolio([("a", "2025-03-01 09:00", "u1")], customers), "csm_id == 'eve'")
    ['a']
    """
    table = customers(portfolio)
    if only is None:
        return table.index.tolist()
    try:
        condition = Condition(only, table.columns)
    except InvalidParameters as problem:
        problem.details["parameter"] = "only"
        raise
    rows = table.to_dict("index")
    chosen = [str(client) for client in rows if condition.holds(plain_figures(rows[client]))]
    if not chosen:
        raise InvalidParameters(
            f"there is no customer with {only}",
            parameter="only",
            value_provided=only[:200],
            validation_rule="a condition that holds of a customer",
        )
    return chosen


def chosen_warnings(only: str | None) -> list[str]:
    """That the response is of some customers alone, where it is."""
    return [] if only is None else [f"only the customers with {only}"]


class PortfolioContext:
    """The portfolio on a day: its customers with metrics, scores and ARR, built once per open portfolio.

    With ``only`` its customers are those of whom this condition holds; their scores, and what they are compared with,
    are those of ``whole``.
    """

    def __init__(self, portfolio: Portfolio, as_of: dt.date, only: str | None = None) -> None:
        self.portfolio, self.as_of, self.only = portfolio, as_of, only
        self.chosen = None if only is None else set(chosen_customers(portfolio, only))
        self.settings: Settings = portfolio.settings
        self._days: dict[dt.date, pd.DataFrame] = {}

    @classmethod
    def of(cls, portfolio: Portfolio, as_of: dt.date, only: str | None = None) -> PortfolioContext:
        return portfolio.cache.get(
            "context", (as_of, only), lambda: cls(portfolio, as_of, only), disk=False
        )

    @property
    def whole(self) -> PortfolioContext:
        return self if self.only is None else PortfolioContext.of(self.portfolio, self.as_of)

    def stored(self, name: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A frame of all customers, made once for the same data and settings; of chosen ones they are made now."""
        if self.only is not None:
            return build()
        state = [self.as_of, self.portfolio.content(), self.settings.fingerprint]
        return self.portfolio.cache.get(name, state, build)

    # -- customers -----------------------------------------------------------------------

    @property
    def customers(self) -> pd.DataFrame:
        """All customers by client_id, with churn and notice as known at ``as_of``."""
        return customers_as_of(self.portfolio, self.as_of)

    def everyone(self, date: dt.date) -> pd.DataFrame:
        """All that had signed up by a date, by client_id: metrics of that date and their scores.

        Where a portfolio has no past of seats and plan, today's values stand in.
        """
        if self.chosen is not None:
            rows = self.whole.everyone(date)
            return rows[rows.index.isin(self.chosen)]
        if date not in self._days:
            rows = panels.panel(self.portfolio, sorted({date, self.as_of}))
            scored = scorecard_rows(
                rows, self.as_of, self.settings.score_lookback_days, self.settings
            )
            self._days[date] = _with_derived(scored.on(date))
        return self._days[date]

    def live_on(self, date: dt.date) -> pd.DataFrame:
        """Live customers of a date; prospects are not customers yet, and children are counted in their parents where
        the setting ``roll_up_children`` says so."""
        rows = self.everyone(date)
        return rolled_up(self.portfolio, rows[is_live(rows)], date, self.as_of)

    @cached_property
    def live(self) -> pd.DataFrame:
        return self.live_on(self.as_of)

    @property
    def client_ids(self) -> list[str]:
        return self.live.index.tolist()

    @cached_property
    def names(self) -> pd.Series:
        """The names of the live customers; the client_id where there is no name."""
        known, ids = customers(self.portfolio).reindex(self.live.index), self.live.index.to_series()
        return known["name"].astype(object).fillna(ids) if "name" in known else ids

    def static(self, column: str, snapshot: bool = False) -> pd.Series:
        """A column of the customers table by live customer; a snapshot's only on the last day of data."""
        known = customers(self.portfolio).reindex(self.live.index)
        if column not in known or (snapshot and self.as_of < self.portfolio.data_until):
            return pd.Series(None, index=self.live.index, dtype=object)
        return known[column].astype(object).where(known[column].notna(), None)

    def excluded(self) -> dict[str, int]:
        """How many customers are not counted, by reason."""
        rows = self.everyone(self.as_of)
        signup = pd.to_datetime(customers(self.portfolio)["signup_date"])
        signup = signup if self.chosen is None else signup[signup.index.isin(self.chosen)]
        alive = rows["live"].astype(bool)
        return {
            "churned": int((~alive).sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
            "prospect": int((alive & (rows["stage"].astype(object) == "prospect")).sum()),
        }

    # -- money -----------------------------------------------------------------------------

    def money_on(self, date: dt.date) -> Money:
        """ARR of the live customers of a date, in one currency where the portfolio allows it, at the rates of ``as_of``."""
        return self.portfolio.cache.get(
            "money",
            (self.as_of, date, self.only),
            lambda: money(self.portfolio, self.live_on(date), date, self.as_of),
            disk=False,
        )

    @property
    def money(self) -> Money:
        return self.money_on(self.as_of)

    @property
    def total_arr(self) -> float | None:
        """The ARR of the live customers, None where it is unknown or cannot be added up."""
        known = self.money.addable and self.money.amounts.notna().any()
        return self.money.total() if known else None

    @property
    def missing_arr(self) -> str:
        """Why a sum of ARR, or a share of it, is missing."""
        if not self.money.addable:
            return "several currencies and no rates"
        unknown = self.money.amounts.isna().all()
        return "no table holds ARR as of this date" if unknown else "the ARR is 0"

    @property
    def currency_warnings(self) -> list[str]:
        """What a reader of sums has to know: roll-up, rates, currencies."""
        notes = []
        if "children" in self.live:
            children = int(self.live["children"].sum())
            notes.append(
                f"{children} accounts are counted in their parents (setting roll_up_children)"
            )
        if self.money.addable:
            return notes
        return [
            *notes,
            "several currencies and no rates: each amount is compared with the thresholds in its own "
            "currency, and totals are shown by currency and never added up",
        ]

    def arr_of(self, clients: Sequence[str]) -> float | None:
        """The ARR of some customers; None where it is unknown or cannot be added up."""
        amounts = self.money.amounts.reindex(list(clients))
        return (
            round(float(amounts.sum()), 2) if self.money.addable and amounts.notna().any() else None
        )

    def arr_percentages(self, groups: Sequence[pd.Index]) -> list[float | None]:
        """Per cent of the ARR by group of client_ids, adding up to 100; None where it has no sum."""
        sums = [float(self.money.amounts.reindex(group).sum()) for group in groups]
        if not self.money.addable or not sum(sums) > 0:
            return [None] * len(sums)
        return list(percentages([round(100 * amount) for amount in sums]))

    # -- scores over time ------------------------------------------------------------------

    @cached_property
    def trends(self) -> pd.DataFrame:
        """Slope and verdict of each live customer's weekly scores, by client_id."""
        scored = self._weekly_scores()[1]
        trend = score_trend(scored, self.as_of, self.settings.score_lookback_days, self.settings)
        return trend.set_index("client_id").reindex(self.live.index)

    def weekly_values(self, metric: str) -> pd.DataFrame:
        """A metric of the live customers on the weekly dates of 12 weeks: customers × dates."""
        rows, scores = self._weekly_scores()
        both = scores.merge(rows.drop(columns=["live"]), on=["client_id", "date"], how="left")
        frame = _with_derived(both)
        frame = frame[frame["live"].astype(bool)]
        wide = frame.pivot(index="client_id", columns="date", values=metric)
        return wide.reindex(self.live.index).astype(float)

    def _weekly_scores(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = panels.panel(
            self.portfolio, sorted(weekly(self.as_of, self.settings.segment_trend_days))
        )
        return rows, scorecard_rows(
            rows, self.as_of, self.settings.score_lookback_days, self.settings
        ).frame

    # -- churn and expansion ---------------------------------------------------------------

    @cached_property
    def churn(self) -> pd.DataFrame:
        """Probability of churn by live customer (``scoring.churn.expected.churn_probabilities``)."""
        return churn_probabilities(self.portfolio, self.as_of, self.live)

    @cached_property
    def expected_churned_arr(self) -> pd.Series:
        """Probability × ARR of each live customer."""
        return self.churn["probability"] * self.money.amounts

    def ranked_by_loss(self, clients: Iterable[str]) -> list[str]:
        """The live ones among customers: the most expected churned ARR first, then the most ARR."""
        order = pd.DataFrame({"loss": self.expected_churned_arr, "arr": self.money.amounts})
        chosen = order[order.index.isin(list(clients))].astype(float)
        ranked = chosen.sort_values(["loss", "arr"], ascending=False, kind="stable")
        return ranked.index.tolist()

    @cached_property
    def _simulated_churn(self) -> SimulatedChurn:
        draws, seed = self.settings.at_risk_draws, self.settings.seed
        return simulate_churn(self.churn, self.live["tier"], draws, seed)

    def simulated_churned_arr(self, client_ids: pd.Index) -> ChurnedArr:
        """The distribution of the ARR of these customers that churns within the horizon."""
        return self._simulated_churn.arr(self.money.amounts.reindex(client_ids))

    @cached_property
    def expansion_readiness(self) -> pd.DataFrame:
        """By live customer: each of EXPANSION_RULES (True, False, None: unknown) and ``ready``.

        ``unknown`` counts the rules of which the figure is missing; ``undecided`` customers fail
        no rule and miss a figure. A missing figure is unknown, not ready.
        """
        rows, settings = self.live, self.settings
        trend = self.trends["trend"].astype(object)
        earlier = self.everyone(self.as_of - dt.timedelta(days=settings.score_lookback_days))
        change = rows["shown"].astype(float) - earlier["shown"].astype(float).reindex(rows.index)
        falling = (trend == "declining") | (change <= -settings.expansion_max_score_fall)
        figures = {
            name: rows[name].astype(float)
            for name in (
                "shown",
                "seat_utilisation",
                "worst_days_overdue",
                "open_high_tickets",
                "tenure_days",
            )
        }
        seats = figures["seat_utilisation"]
        rules = pd.DataFrame(
            {
                "no_notice": rows["days_since_notice"].isna().astype(object),
                "healthy": _known(figures["shown"], figures["shown"] >= settings.band_edges[2]),
                "not_declining": _known(trend, ~falling),
                "seats_in_use": _known(seats, seats >= settings.expansion_min_utilisation),
                "nothing_overdue": _known(
                    figures["worst_days_overdue"], figures["worst_days_overdue"] <= 0
                ),
                "no_critical_ticket": _known(
                    figures["open_high_tickets"], figures["open_high_tickets"] < 1
                ),
                "long_enough": _known(
                    figures["tenure_days"],
                    figures["tenure_days"] >= settings.expansion_min_tenure_days,
                ),
            },
            index=rows.index,
        )
        return rules.assign(
            ready=rules.eq(True).all(axis=1),
            unknown=rules.isna().sum(axis=1),
            undecided=rules.isna().any(axis=1) & ~rules.eq(False).any(axis=1),
        )


def _known(values: pd.Series, holds: pd.Series) -> pd.Series:
    return holds.astype(object).where(values.notna(), None)


def _with_derived(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the metrics that only segments name."""
    seats = rows["seats"].astype(float)
    return rows.assign(
        weekly_active_users_per_seat=rows["weekly_active_users"] / seats.where(seats > 0),
        tenure_months=rows["tenure_days"] / DAYS_A_MONTH,
    )


def mean_interval(
    values: np.ndarray, level: float
) -> tuple[float | None, float | None, float | None]:
    """A mean and Student's interval of it; no interval of fewer than two values.

    >>> mean_interval(np.array([1.0, 3.0]), 0.9)[0]
    2.0
    """
    if not len(values):
        return None, None, None
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    reach = student_errors(level, len(values) - 1) * error
    return mean, mean - reach, mean + reach


def share(part: Any, total: Any) -> float | None:
    """``part`` ÷ ``total``, None where either is missing or the total is zero."""
    above, below = number(part), number(total)
    return None if above is None or not below else above / below


def require_modest(features: int, users: int = 1) -> None:
    """Raises CalculationError for features that are none, but names of pages or of records, of which there is no end."""
    limits = input_limits()
    for count, most, words, name in (
        (features, limits.features, "features", "FEATURES"),
        (features * users, limits.uses, "pairs of a user and a feature", "USES"),
    ):
        if count > most:
            raise CalculationError(
                f"there are {count:,} {words}, and {most:,} are compared: name features rather than pages or records in "
                f"events, or allow more by HEALTHSEG_INPUT_LIMITS__{name}",
                parameter="events.feature",
                value_provided=count,
                validation_rule=f"at most {most:,} {words}",
            )
