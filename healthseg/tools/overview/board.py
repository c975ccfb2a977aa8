"""The board's figures: revenue retention, who churned, what renews, what was predicted, which accounts to save."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg.charts import formats
from healthseg.metrics.money import PARTS, movements
from healthseg.metrics.spells import merged_into, spells_as_of
from healthseg.periods import year_before
from healthseg.tools.base import Figure
from healthseg.tools.context import PortfolioContext
from healthseg.tools.next_actions import NextActions
from healthseg.tools.overrides import overrides_of
from healthseg.tools.overview.result import (
    Board,
    ChurnedCustomer,
    MonthOfRevenue,
    PastPredictions,
    PredictedArr,
    RenewalWindow,
    RevenueMove,
    SavedAccount,
    WhatWouldChange,
)
from healthseg.tools.renewals import renewal_windows, renewals
from healthseg.tools.revenue import churned_in_year, revenue_by_month, scores_before_churn
from healthseg.tools.values import number, records, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

NO_YEAR = "the ARR of a year ago is not known"
NO_RATE = "no churn rate is known of that day"
# losses named on the chart of retention
EVENTS = 3
# past predictions, at most those of a year
QUARTERS = 4
MOVES = ("new", "expansion", "contraction", "churn")


def _outcome(happened: float | None, lower: Any, upper: Any) -> str | None:
    """Where what happened lies of an interval; None where either is not known."""
    if happened is None or isinstance(lower, Figure):
        return None
    return "below" if happened < lower else "above" if happened > upper else "within"


def past_predictions(
    predictions: Sequence[PredictedArr], off_ratio: float
) -> PastPredictions | None:
    """Predictions together, and how to read the next one; None where fewer than two can be compared.

    They are off where the sums are, and where more than one range was missed on that side: one in ten is by chance.
    """
    rows = [row for row in predictions if row.outcome is not None]
    if len(rows) < 2:
        return None
    expected = sum(row.expected_arr or 0.0 for row in rows)
    churned = sum(row.churned_arr or 0.0 for row in rows)
    sides = [row.outcome for row in rows]
    high = churned * off_ratio < expected and sides.count("below") > 1
    low = churned > expected * off_ratio and sides.count("above") > 1
    return PastPredictions(
        quarters=len(rows),
        within=sides.count("within"),
        expected_arr=round(expected, 2),
        churned_arr=round(churned, 2),
        reads="too high" if high else "too low" if low else "about right",
    )


class BoardOfPortfolio:
    """What the board's page shows at ``as_of``."""

    def __init__(self, portfolio: Portfolio, as_of: dt.date) -> None:
        self.portfolio, self.as_of, self.settings = portfolio, as_of, portfolio.settings
        self.context = PortfolioContext.of(portfolio, as_of)
        self.money = self.context.money
        self.months, self.churned, _ = revenue_by_month(
            portfolio, as_of, self.settings.revenue_months
        )
        if not self.money.addable:  # the months add up ARR
            self.months = self.months.assign(**dict.fromkeys(("nrr", "grr", *PARTS), float("nan")))
        self.renewing = renewals(self.context)
        self.windows = renewal_windows(self.context, self.renewing)

    def result(self) -> Board:
        context, settings, bridge = self.context, self.settings, self.bridge
        last = self.months.iloc[-1]
        accounts, churned = self.accounts(), self.churned_customers()
        total, addable = context.total_arr, self.money.addable
        no_arr = context.missing_arr
        why = NO_YEAR if total is not None else no_arr
        return Board(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            warnings=context.currency_warnings,
            customers=len(context.live),
            excluded=context.excluded(),
            horizon_days=settings.churn_horizon_days,
            currency=self.money.currency,
            total_arr=Figure(None if total is None else round(total, 2), context.missing_arr),
            nrr=Figure(rounded(last["nrr"]) if addable else None, why),
            grr=Figure(rounded(last["grr"]) if addable else None, why),
            nrr_target=settings.nrr_target,
            grr_target=settings.grr_target,
            months=[MonthOfRevenue.of_row(row) for row in records(self.months)],
            bridge=self.moves(bridge),
            churned=churned,
            churned_customers=len(churned),
            churned_arr=Figure(
                None
                if not addable or (churned and all(row.arr is None for row in churned))
                else round(sum(row.arr or 0.0 for row in churned), 2),
                no_arr if not addable else "no ARR of them is known",
            ),
            scores_before=scores_before_churn(self.portfolio, self.as_of, self.money.addable),
            renewals=self.renewal_rows(),
            predicted=self.predictions[0],
            predictions=self.predictions,
            past_predictions=past_predictions(self.predictions, settings.prediction_off_ratio),
            accounts=accounts,
            change=self.what_would_change(accounts),
        ).with_frames(
            months=self.months.assign(event=self._events()),
            bridge=bridge,
            churned=pd.DataFrame([row.model_dump() for row in churned]),
            renewals=self.windows,
            accounts=pd.DataFrame([row.model_dump() for row in accounts]),
            waterfall=self._waterfall(bridge),
        )

    # -- revenue -----------------------------------------------------------------------------

    @cached_property
    def bridge(self) -> pd.DataFrame:
        """Per customer how its ARR moved since a year ago, by ``PARTS``."""
        if not self.money.addable:
            return pd.DataFrame(columns=list(PARTS), dtype=float)
        before = self.context.money_on(year_before(self.as_of)).amounts
        return movements(before, self.money.amounts, merged_into(self.portfolio, self.as_of))

    def moves(self, bridge: pd.DataFrame) -> list[RevenueMove]:
        """The largest names of each bar."""
        names, parts = self._names, []
        for part in reversed(MOVES):
            own = bridge[bridge[part] != 0][part]
            largest = own.abs().sort_values(ascending=False, kind="stable").index
            for client in largest[: self.settings.bridge_names]:
                name = str(names.get(client, client))
                amount = round(float(own[client]), 2)
                parts.append(RevenueMove(part=part, client_id=str(client), name=name, arr=amount))
        return parts

    def _waterfall(self, bridge: pd.DataFrame) -> pd.DataFrame:
        rows = [("the portfolio", part, float(bridge[part].sum())) for part in PARTS]
        return pd.DataFrame(rows, columns=["scope", "part", "amount"])

    @cached_property
    def _names(self) -> pd.Series:
        table = self.portfolio.table("customers").set_index("client_id")
        ids = table.index.to_series()
        return table["name"].astype(object).fillna(ids) if "name" in table else ids

    def _events(self) -> list[str | None]:
        """By month the largest of the year's three largest losses, in words."""
        shown = self.churned[self.churned["month"].isin(self.months["month"])]
        largest = shown.dropna(subset="arr").nlargest(EVENTS, "arr")
        largest = largest.drop_duplicates("month").set_index("month")
        currency = self.money.currency
        return [
            f"{largest['name'][month]} churned, {formats.brief_money(largest['arr'][month], currency)}"
            if month in largest.index
            else None
            for month in self.months["month"]
        ]

    # -- who churned ---------------------------------------------------------------------------

    def churned_customers(self) -> list[ChurnedCustomer]:
        """Who churned within a year, the most ARR first."""
        rows = churned_in_year(self.portfolio, self.as_of)
        if not self.money.addable:  # amounts of several currencies have no order
            rows = rows.assign(arr=float("nan"))
        return [ChurnedCustomer.of_row(row) for row in records(rows)]

    # -- what comes ----------------------------------------------------------------------------

    def renewal_rows(self) -> list[RenewalWindow]:
        return [RenewalWindow.of_row(row) for row in records(self.windows)]

    @cached_property
    def predictions(self) -> list[PredictedArr]:
        """What was expected a horizon ago and before, within a year, against what happened; the last first."""
        horizon, year = self.settings.churn_horizon_days, year_before(self.as_of)
        days = [self.as_of - dt.timedelta(days=horizon * step) for step in range(1, QUARTERS + 1)]
        first = self.portfolio.first_event_day
        later = [day for day in days[1:] if day >= max(year, first)]
        return [self.predicted(day) for day in [days[0], *later]]

    def predicted(self, then: dt.date) -> PredictedArr:
        """What was expected with what was known on a day, against what happened within the horizon."""
        until = then + dt.timedelta(days=self.settings.churn_horizon_days)
        known = then >= self.portfolio.first_event_day
        before = PortfolioContext.of(self.portfolio, then) if known else None
        churned, arr = self._lost(then, until), None
        values: dict[str, Any] = dict.fromkeys(
            ("expected", "expected_arr", "lower", "upper"), Figure(None, NO_RATE)
        )
        if before is not None and before.churn["probability"].notna().any():
            values["expected"] = round(float(before.churn["probability"].sum()), 1)
            if before.money.addable:
                drawn = before.simulated_churned_arr(before.live.index)
                tail = (1 - self.settings.interval_level) / 2
                values["expected_arr"] = round(drawn.expected, 2)
                values["lower"] = round(drawn.quantile(tail), 2)
                values["upper"] = round(drawn.quantile(1 - tail), 2)
        if before is not None:
            churned = churned[churned.isin(before.live.index)]
            if before.total_arr is not None:
                arr = float(before.money.amounts.reindex(churned).sum())
        return PredictedArr(
            predicted_on=then,
            until=until,
            interval_level=self.settings.interval_level,
            churned=len(churned),
            churned_arr=Figure(None if arr is None else round(arr, 2), self.context.missing_arr),
            outcome=Figure(_outcome(arr, values["lower"], values["upper"]), NO_RATE),
            **values,
        )

    def _lost(self, then: dt.date, until: dt.date) -> pd.Series:
        """Customers of a day that churned or gave notice by another: what the probabilities are of."""
        spells = spells_as_of(self.portfolio, self.as_of)
        lost = spells[["notice_on", "churned_on"]].min(axis=1) <= pd.Timestamp(until)
        of_day = (spells["signup_date"] <= pd.Timestamp(then)) & ~(
            spells["churned_on"] <= pd.Timestamp(then)
        )
        return spells.loc[lost & of_day & spells["merged_into"].isna(), "client_id"]

    # -- what to do ----------------------------------------------------------------------------

    def accounts(self) -> list[SavedAccount]:
        """The accounts with the most expected churned ARR, each with its play."""
        actions, loss = (
            NextActions.of(self.portfolio, self.as_of),
            self.context.expected_churned_arr,
        )
        order = loss.dropna().sort_values(ascending=False, kind="stable")
        rows, live = [], self.context.live
        for client in order.index[: self.settings.accounts_to_save]:
            play = actions.customer(client, effects=True)[0]
            overriding = overrides_of(
                live.loc[client].to_dict(), client, play.name, self.as_of, self.settings
            )
            rows.append(
                SavedAccount(
                    client_id=client,
                    name=play.name,
                    owner=play.owner,
                    score=number(live["shown"].get(client)),
                    override=overriding[0].text if overriding else None,
                    churn_probability=rounded(self.context.churn["probability"][client]),
                    arr=play.arr,
                    currency=play.currency,
                    expected_churned_arr=round(float(order[client]), 2),
                    days_to_renewal=number(live["days_to_renewal"].get(client)),
                    play=play.text,
                    why=play.why,
                    due_on=play.due_on,
                    effect=play.effect,
                )
            )
        return rows

    def what_would_change(self, accounts: list[SavedAccount]) -> WhatWouldChange:
        expected, total = self.context.expected_churned_arr, None
        if self.money.addable and expected.notna().any():
            total = float(expected.sum())
        live, ready = self.context.live, self.context.expansion_readiness["ready"]
        lapsed = live["uncontracted_days"].astype(float) >= 1
        notice = live["days_since_notice"].notna()
        saved = sum(row.expected_churned_arr for row in accounts)
        return WhatWouldChange(
            expected_churned_arr=Figure(None if total is None else round(total, 2), NO_RATE),
            of_accounts=round(saved, 2),
            share_of_accounts=None if not total else round(saved / total, 4),
            uncontracted_customers=int(lapsed.sum()),
            uncontracted_arr=self._arr(lapsed),
            notices=int(notice.sum()),
            notice_arr=self._arr(notice),
            ready=int(ready.sum()),
            ready_arr=self._arr(ready.astype(bool)),
        )

    def _arr(self, chosen: pd.Series) -> float | None:
        amounts = self.money.amounts[chosen.reindex(self.money.amounts.index, fill_value=False)]
        known = self.money.addable and (amounts.notna().any() or not len(amounts))
        return round(float(amounts.sum()), 2) if known else None
