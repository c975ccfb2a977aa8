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
from healthseg.tools.expansion import expansion_potential
from healthseg.tools.next_actions import NextActions
from healthseg.tools.overrides import overrides_of
from healthseg.tools.overview.result import (
    Board,
    ChurnedCustomer,
    LargestAccount,
    LossReason,
    MonthOfRevenue,
    PastPredictions,
    PredictedArr,
    RenewalWindow,
    RevenueMove,
    SavedAccount,
    WhatWouldChange,
)
from healthseg.tools.renewals import ALL, renewal_risk, renewal_windows, renewals
from healthseg.tools.revenue import churned_in_year, revenue_by_month, scores_before_churn
from healthseg.tools.values import integer, number, records, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

NO_YEAR = "the ARR of a year ago is not known"
NO_RATE = "no churn rate is known of that day"
NO_ARR = "no ARR is known of that day, or it cannot be added up"
# losses named on the chart of retention
EVENTS = 3
# past predictions, at most those of a year
QUARTERS = 4
QUARTER_MONTHS = 3
NO_SEATS = "seats, users or ARR are not known"
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

    What is said follows from both sums alone: whether the ranges held is said beside it.
    """
    rows = [row for row in predictions if row.outcome is not None]
    if len(rows) < 2:
        return None
    expected = sum(row.expected_arr or 0.0 for row in rows)
    churned = sum(row.churned_arr or 0.0 for row in rows)
    high, low = churned * off_ratio < expected, churned > expected * off_ratio
    return PastPredictions(
        quarters=len(rows),
        within=sum(row.outcome == "within" for row in rows),
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
        accounts, churned, largest = self.accounts(), self.churned_customers, self.largest
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
            **self._against_target(last),
            **self._since_a_quarter(last, why),
            largest=largest,
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
            reasons=self._reasons(churned),
            scores_before=scores_before_churn(self.portfolio, self.as_of, self.money.addable),
            renewals=self.renewal_rows(),
            predicted=self.predictions[0],
            predictions=self.predictions,
            past_predictions=past_predictions(self.predictions, settings.prediction_off_ratio),
            portfolio_actions=NextActions.of(self.portfolio, self.as_of).across(context.live.index),
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

    def _against_target(self, last: pd.Series) -> dict[str, Figure]:
        """How far NRR and GRR are from their targets, in points."""
        targets = {"nrr": self.settings.nrr_target, "grr": self.settings.grr_target}
        return {
            f"{name}_gap": Figure(rounded(100 * (last[name] - target), 1), NO_YEAR)
            for name, target in targets.items()
        }

    def _since_a_quarter(self, last: pd.Series, why: str) -> dict[str, Any]:
        """What changed since the end of a quarter, the last one that is over for two months or more."""
        months = self.months["month"].iloc[:-1]
        settled = pd.Timestamp(self.as_of) - pd.DateOffset(months=QUARTER_MONTHS - 1)
        ends = months[months.dt.is_quarter_end & (months <= settled)]
        if not len(ends):
            return {
                "compared_on": None,
                **dict.fromkeys(("arr_change", "nrr_change", "grr_change"), Figure(None, why)),
            }
        then = self.months.loc[ends.index[-1]]
        return {
            "compared_on": then["month"].date(),
            "arr_change": Figure(rounded(last["end"] - then["end"], 2), why),
            "nrr_change": Figure(rounded(100 * (last["nrr"] - then["nrr"]), 1), why),
            "grr_change": Figure(rounded(100 * (last["grr"] - then["grr"]), 1), why),
        }

    @cached_property
    def largest(self) -> LargestAccount | None:
        """The account whose loss alone would miss the year, where there is one with a renewal ahead."""
        amounts, rows = self.money.amounts.reindex(self.context.live.index).dropna(), self.renewing
        total = float(amounts.sum()) if self.money.addable else 0.0
        if not total or len(amounts) < 2:
            return None
        client, arr = str(amounts.idxmax()), float(amounts.max())
        own = rows[(rows["client_id"] == client) & (rows["days_to_renewal"] >= 0)]
        if arr / total < self.settings.large_arr_share or not len(own):
            return None
        known, renewal = NextActions.of(self.portfolio, self.as_of), own.iloc[0]
        figures, lost = (
            known.figures(client),
            sum(row.arr or 0.0 for row in self.churned_customers),
        )
        plays = known.customer(client, effects=True)
        return LargestAccount(
            client_id=client,
            name=plays[0].name,
            owner=plays[0].owner,
            arr=round(arr, 2),
            share=round(arr / total, 4),
            times_churned=round(arr / lost, 2) if lost else None,
            renewal_on=renewal["renewal_on"].date(),
            days_to_renewal=int(renewal["days_to_renewal"]),
            score=number(renewal["score"]),
            churn_probability=rounded(renewal["churn_probability"]),
            renewal_risk=renewal_risk(self.context, client),
            seats=integer(figures.get("seats")),
            idle_seats=integer(figures.get("idle_seats")),
            idle_arr=rounded(figures.get("idle_arr"), 2),
            csat=rounded(figures.get("csat_180d"), 2),
            days_overdue=integer(figures.get("worst_days_overdue")),
            days_since_review=integer(figures.get("days_since_review")),
            plays=plays,
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
            f"{largest['name'][month]} {formats.signed_money(-largest['arr'][month], currency)}"
            if month in largest.index
            else None
            for month in self.months["month"]
        ]

    # -- who churned ---------------------------------------------------------------------------

    @cached_property
    def churned_customers(self) -> list[ChurnedCustomer]:
        """Who churned within a year, the most ARR first."""
        rows = churned_in_year(self.portfolio, self.as_of)
        if not self.money.addable:  # amounts of several currencies have no order
            rows = rows.assign(arr=float("nan"))
        return [ChurnedCustomer.of_row(row) for row in records(rows)]

    def _reasons(self, churned: list[ChurnedCustomer]) -> list[LossReason]:
        """The reasons of the year's losses, the most ARR first."""
        by_reason: dict[str, list[ChurnedCustomer]] = {}
        for row in churned:
            by_reason.setdefault(row.reason or "unknown", []).append(row)
        reasons = [
            LossReason(
                reason=reason,
                customers=len(rows),
                arr=round(sum(row.arr or 0.0 for row in rows), 2) if self.money.addable else None,
            )
            for reason, rows in by_reason.items()
        ]
        return sorted(reasons, key=lambda row: (-(row.arr or 0.0), -row.customers, row.reason))

    # -- what comes ----------------------------------------------------------------------------

    def renewal_rows(self) -> list[RenewalWindow]:
        return [
            RenewalWindow.of_row({**row, "of_largest": self._of_largest(row)})
            for row in records(self.windows)
        ]

    def _of_largest(self, window: dict[str, Any]) -> float | None:
        """The largest account's ARR, where it renews within a window of all bands."""
        largest = self.largest
        if largest is None or window["band"] != ALL:
            return None
        within = {
            "days": largest.days_to_renewal <= window["horizon_days"],
            "quarter": str(pd.Period(largest.renewal_on, freq="Q"))
            == window["window"].replace(" ", ""),
        }
        return largest.arr if within.get(window["kind"]) else None

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
            values |= dict.fromkeys(("expected_arr", "lower", "upper"), Figure(None, NO_ARR))
            if before.money.addable and before.money.amounts.notna().any():
                drawn = before.simulated_churned_arr(before.live.index)
                tail = (1 - self.settings.interval_level) / 2
                values["expected_arr"] = round(drawn.expected, 2)
                values["lower"] = round(drawn.quantile(tail), 2)
                values["upper"] = round(drawn.quantile(1 - tail), 2)
        if before is not None:
            churned = churned[churned.isin(before.live.index)]
            if before.total_arr is not None and before.money.amounts.notna().any():
                arr = float(before.money.amounts.reindex(churned).sum())
        return PredictedArr(
            predicted_on=then,
            until=until,
            interval_level=self.settings.interval_level,
            churned=len(churned),
            churned_arr=Figure(None if arr is None else round(arr, 2), NO_ARR),
            outcome=Figure(_outcome(arr, values["lower"], values["upper"]), NO_RATE),
            times_churned=self._times(values["expected_arr"], arr),
            **values,
        )

    def _times(self, expected: Any, happened: float | None) -> Figure:
        """How many times what churned was expected."""
        known = happened and not isinstance(expected, Figure)
        return Figure(
            round(expected / happened, 2) if known else None, "nothing churned, or no expectation"
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
        """The accounts with the most expected churned ARR, each with its play; new customers are not lost yet."""
        actions, loss = (
            NextActions.of(self.portfolio, self.as_of),
            self.context.expected_churned_arr,
        )
        rows, live = [], self.context.live
        scored = loss[~live["provisional"].astype(bool).reindex(loss.index, fill_value=False)]
        order = scored.dropna().sort_values(ascending=False, kind="stable")
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
                    severity=play.severity,
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
        drawn = self.context.simulated_churned_arr(live.index) if total is not None else None
        tail = (1 - self.settings.interval_level) / 2
        low, high = (
            None if drawn is None else round(drawn.quantile(share), 2) for share in (tail, 1 - tail)
        )
        potential = expansion_potential(self.context, self.as_of)
        within = (
            live["days_to_renewal"].astype(float).between(0, self.settings.idle_seats_renewal_days)
        )
        idle = potential["contraction_exposure"][within]
        more = potential["potential"][ready.eq(True).reindex(potential.index, fill_value=False)]
        return WhatWouldChange(
            expected_churned_arr=Figure(None if total is None else round(total, 2), NO_RATE),
            lower=Figure(low, NO_RATE),
            upper=Figure(high, NO_RATE),
            interval_level=self.settings.interval_level,
            nrr_gap_arr=Figure(self._nrr_gap(), NO_YEAR),
            expected_points=Figure(self._points(total), NO_YEAR),
            accounts_points=Figure(self._points(saved), NO_YEAR),
            ready_points=Figure(self._points(self._sum(more)), NO_YEAR),
            idle_arr=Figure(self._sum(idle), NO_SEATS),
            renewal_days=self.settings.idle_seats_renewal_days,
            of_accounts=round(saved, 2),
            share_of_accounts=None if not total else round(saved / total, 4),
            uncontracted_customers=int(lapsed.sum()),
            uncontracted_arr=self._arr(lapsed),
            notices=int(notice.sum()),
            notice_arr=self._arr(notice),
            ready=int(ready.sum()),
            ready_arr=self._arr(ready.astype(bool)),
            ready_potential=Figure(self._sum(more), NO_SEATS),
        )

    def _nrr_gap(self) -> float | None:
        """The ARR that is missing to the target of NRR."""
        last, start = self.months.iloc[-1], float(self.bridge["start"].sum())
        if not start or pd.isna(last["nrr"]):
            return None
        return round(max(0.0, self.settings.nrr_target - float(last["nrr"])) * start, 2)

    def _points(self, amount: float | None) -> float | None:
        """An amount in points of NRR: of the ARR of a year ago."""
        start = float(self.bridge["start"].sum()) if "start" in self.bridge else 0.0
        return None if amount is None or not start else round(100 * amount / start, 1)

    def _sum(self, amounts: pd.Series) -> float | None:
        known = amounts.astype(float).dropna()
        return round(float(known.sum()), 2) if self.money.addable and len(known) else None

    def _arr(self, chosen: pd.Series) -> float | None:
        amounts = self.money.amounts[chosen.reindex(self.money.amounts.index, fill_value=False)]
        known = self.money.addable and (amounts.notna().any() or not len(amounts))
        return round(float(amounts.sum()), 2) if known else None
