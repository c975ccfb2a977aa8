"""The portfolio's health: who needs attention, who moved, where score and money disagree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import customers
from healthseg.metrics.families import rolled_up
from healthseg.metrics.money import at_constant_rates, money
from healthseg.rules import SEVERITIES, TriggeredRule, alerts
from healthseg.scoring import ScoreChange, bands_of, explain_change, row_risk_level, shown
from healthseg.scoring.churn import training
from healthseg.scoring.drivers import costliest
from healthseg.scoring.overrides import why_no_score
from healthseg.scoring.scored_panel import PortfolioScores, ScoreModel, portfolio_scores
from healthseg.scoring.trend import score_trend
from healthseg.settings import BANDS
from healthseg.tools.base import Figure
from healthseg.tools.context import chosen_customers, chosen_warnings
from healthseg.tools.health import words
from healthseg.tools.health.outlook import (
    expected_loss_basis,
    expected_losses,
    model_score_change,
)
from healthseg.tools.health.result import PortfolioHealth
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.overrides import overrides_of
from healthseg.tools.revenue import churned_between, scores_before_churn
from healthseg.tools.values import records, rounded

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

TOOL = words.TOOL
WHOLE = ("score", "score_before", "change", "days_to_renewal", "measured", "customers")
STEP = 5  # points a bar of the distribution is wide
LISTED = [
    "client_id",
    "name",
    "score",
    "band",
    "score_before",
    "change",
    "trend",
    "risk_level",
    "override",
    "reason",
    "arr",
    "currency",
    "at_stake",
    "at_stake_basis",
    "tier",
    "stage",
    "plan",
    "industry",
    "csm_id",
    "renewal_on",
    "days_to_renewal",
    "coverage",
    "lower",
    "upper",
    "status",
]


class HealthOfPortfolio:
    """The portfolio's scores at ``as_of``, at the look-back's start, and where ARR is compared."""

    def __init__(
        self,
        portfolio: Portfolio,
        as_of: dt.date,
        model: ScoreModel,
        lookback_days: int,
        risk_threshold: float,
        only: str | None = None,
    ) -> None:
        self.portfolio, self.as_of, self.model = portfolio, as_of, model
        self.only, self.chosen = only, chosen_customers(portfolio, only)
        self.lookback_days, self.risk_threshold = lookback_days, risk_threshold
        self.settings = portfolio.settings
        self.start = as_of - dt.timedelta(days=lookback_days)
        self.scored: PortfolioScores = portfolio.cache.get(
            "portfolio_scores",
            (as_of, lookback_days, model.key),
            lambda: portfolio_scores(portfolio, as_of, lookback_days, model),
            disk=False,
        )
        rows = self._on(as_of)
        self.live = rows["live"].astype(bool)
        self.prospect = self.live & (rows["stage"] == "prospect")
        self.today = rolled_up(portfolio, rows[self.live & ~self.prospect], as_of, as_of)
        before = as_of - dt.timedelta(days=self.settings.arr_comparison_days)
        self.then, self.before = (
            rolled_up(portfolio, self._on(date), date, as_of) for date in (self.start, before)
        )
        trends = score_trend(self.scored.history, as_of, lookback_days, self.settings)
        self.trends = trends.set_index("client_id", drop=False)
        self.customers = customers(portfolio).loc[self.chosen]
        self.losses = expected_losses(portfolio, as_of, self.today)
        # in the reporting currency where there are rates
        self.money = money(portfolio, self.today, as_of)
        self.figures = dict(self._figures())

    def _on(self, date: dt.date) -> pd.DataFrame:
        """The scored rows of the chosen customers on a date."""
        rows = self.scored.days[date].on(date)
        return rows[rows.index.isin(self.chosen)]

    def result(self, preferences: alerts.Preferences) -> PortfolioHealth:
        """The response."""
        table = self._customers()
        movers, disagreements = self._movers(table), self._disagreements(table)
        distribution, inputs = self._distribution(table), self._input_coverage()
        what_if = self._what_if(table)
        currencies = self._currencies(table)
        single = len(currencies) == 1  # none: no ARR is known
        by_currency = currencies
        if self.money.converted:
            by_currency = self.money.totals(self.today["arr"].astype(float))
        below = table[table["score"] < self.risk_threshold]
        no_arr = "several currencies and no rates"
        if table["arr"].isna().all():
            no_arr = "no table holds ARR as of this date"
        withheld, new = int(table["score"].isna().sum()), int(self.today["provisional"].sum())
        no_scores = words.no_scores(new, withheld - new)
        no_scores += words.brought(inputs[inputs["measured"] == 0], self.portfolio)
        return PortfolioHealth(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            coverage=rounded(table["coverage"].mean()),
            warnings=self._warnings(len(currencies) > 1),
            not_measured={"$.customers[*].score": no_scores} if withheld else {},
            total_customers=len(table),
            excluded=self._excluded(),
            scored_customers=int(table["score"].notna().sum()),
            provisional_customers=new,
            currency=next(iter(currencies), None) if single else None,
            total_arr=Figure(round(sum(currencies.values()), 2) if single else None, no_arr),
            total_arr_by_currency={
                key: round(value, 2) for key, value in sorted(by_currency.items())
            },
            average_score=rounded(table["score"].mean(), 1),
            average_change=rounded(table["change"].mean(), 1),
            bands={band: int((table["band"] == band).sum()) for band in BANDS},
            band_edges=self.settings.band_edges,
            arr_by_band={band: _sum(table.loc[table["band"] == band, "arr"]) for band in BANDS}
            if single
            else {},
            at_risk_customers=len(below),
            at_risk_arr=Figure(_sum(below["arr"]) if single else None, no_arr),
            at_stake=Figure(_sum(table["at_stake"]) if single else None, no_arr),
            at_stake_basis=expected_loss_basis(self.portfolio, self.as_of),
            leaving_model=training.churn_model(self.portfolio, self.as_of).gate.reason,
            lookback_period_days=self.lookback_days,
            risk_threshold=self.risk_threshold,
            customers=_records(table),
            churned_lately=churned_between(self.customers, self.start, self.as_of),
            movers_up=_records(movers[movers["direction"] == "up"]),
            movers_down=_records(movers[movers["direction"] == "down"]),
            disagreements=_records(disagreements),
            input_coverage=_records(inputs),
            next_actions=self._next_actions(table),
            portfolio_actions=NextActions.of(self.portfolio, self.as_of).across(table["client_id"]),
            scores_before_churn=scores_before_churn(self.portfolio, self.as_of, single),
            alerts=self._alerts(preferences),
        ).with_frames(
            customers=table,
            movers=movers,
            disagreements=disagreements,
            bands=self._bands(),
            distribution=distribution,
            coverage=inputs,
            what_if=what_if,
            weights=_usual_weights(what_if),
        )

    # -- the customers -------------------------------------------------------------------

    def _figures(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each live customer's figures for the rules."""
        # all columns of all customers on three dates would be gigabytes
        then, before = self.then[["shown"]].to_dict("index"), self.before[["arr"]].to_dict("index")
        trend = self.trends.to_dict("index")
        for client, row in self._rows.items():
            yield (
                client,
                words.rule_figures(
                    row,
                    then.get(client),
                    before.get(client),
                    trend.get(client),
                    self.lookback_days,
                    self.risk_threshold,
                    self.settings,
                ),
            )

    def _customers(self) -> pd.DataFrame:
        rows, ids = self.today, self.today.index
        known = self.customers.loc[ids]
        if self.as_of < self.portfolio.data_until:
            known = known.assign(csm_id=None)  # who managed them before is not known
        table = pd.DataFrame(
            {
                "client_id": ids,
                "name": _column(known, "name").fillna(ids.to_series()),
                "score": rows["shown"],
                "band": rows["band"],
                "score_before": self.then["shown"].reindex(ids),
                "change": [self.figures[client]["score_change"] for client in ids],
                "trend": self.trends["trend"].reindex(ids),
                "risk_level": [
                    row_risk_level(row, self.risk_threshold, self.settings)
                    for row in rows.to_dict("records")
                ],
                "override": pd.Series(map(self._override, ids), index=ids, dtype=object),
                "reason": [self._reason(client) for client in ids],
                "arr": self.money.amounts.reindex(ids),
                "currency": self._currency(rows, known),
                "at_stake": self.losses["at_stake"].reindex(ids) * self._rate(rows),
                "at_stake_basis": self.losses["basis"].reindex(ids),
                "renewal_on": _dates(rows["renewal_day"]),
                "days_to_renewal": rows["days_to_renewal"],
                "coverage": rows["coverage"],
                "lower": rows["lowest"],
                "upper": rows["highest"],
                "status": "live",
                "tier": rows["tier"],
                "stage": rows["stage"],
                "plan": rows["plan"],
                "industry": _column(known, "industry"),
                "csm_id": _column(known, "csm_id"),
            }
        )
        table = table[LISTED].astype({"change": float}).reset_index(drop=True)
        soon = table["days_to_renewal"].between(0, self.settings.churn_horizon_days)
        stake, money = -table["at_stake"].fillna(-1), -table["arr"].astype(float).fillna(0.0)
        order = table[["score", "client_id"]].assign(stake=stake, later=~soon, money=money)
        order.insert(0, "unknown", table["score"].isna())
        keys = ["unknown", "stake", "score", "later", "money", "client_id"]
        return table.loc[order.sort_values(keys, kind="stable").index].reset_index(drop=True)

    def _override(self, client: str) -> str | None:
        """What overrides the score, in words."""
        held = overrides_of(self._rows[client], client, client, self.as_of, self.settings)
        return "; ".join(item.text for item in held) or None

    def _rate(self, rows: pd.DataFrame) -> pd.Series | float:
        """What each customer's own currency is worth in the one that amounts are shown in."""
        if not self.money.converted:
            return 1.0
        arr = rows["arr"].astype(float)
        return self.money.amounts.reindex(rows.index) / arr.where(arr > 0)

    def _rate_of(self, client: str) -> float:
        rate = self._rate(self.today)
        return float(rate[client]) if isinstance(rate, pd.Series) else rate

    def _currency(self, rows: pd.DataFrame, known: pd.DataFrame) -> pd.Series | str | None:
        if self.money.converted:
            return self.money.currency
        own = rows["currency"].where(rows["currency"].notna(), _column(known, "currency"))
        return own.where(own.notna(), self.settings.reporting_currency)

    def _reason(self, client: str) -> str:
        """Why this customer is where it is: its most severe risk, else the metric that costs it most, else its best; of a
        parent first which of its accounts is worst."""
        own, row = self._own_reason(client), self._rows[client]
        if row["provisional"] and (why := why_no_score(row, self.settings)) != own:
            own = rules.joined([why, own])
        days, soon = self.figures[client]["renewal_days"], self.settings.churn_horizon_days
        own = words.with_renewal(own, days, soon, bool(pd.notna(row["days_since_notice"])))
        if not row.get("children", 0):
            return own
        name = self.customers["name"].get(row["worst_child"]) if "name" in self.customers else None
        worst = f"{name or row['worst_child']} at {row['worst_child_score']:.0f}"
        return f"with {row['children']:.0f} accounts, the worst {worst}; {own}"

    def _own_reason(self, client: str) -> str:
        risks = rules.triggered(TOOL, "risk", self.figures[client], self.settings.rules)
        if risks:
            return rules.joined(rule.text for rule in risks[:2])
        if self.figures[client]["score"] is None:
            return why_no_score(self._rows[client], self.settings)
        worst = self._costliest.get(client)
        if worst is None:
            return "No risk stands out"
        costs = words.factor(worst["metric"], worst["label"], worst["value"], "negative")
        return rules.joined(["No acute risk", costs])

    def _what_if(self, table: pd.DataFrame) -> pd.DataFrame:
        """What a page needs to show the scores under other weights.

        A row a live customer: client_id, name, shown, cap, least_coverage, and for each component
        its points (NaN where nothing of it is measured), the share of its inputs that is known,
        and its weight as configured.
        """
        # no weights make a score of a provisional customer
        today = self.today[~self.today["provisional"].astype(bool)]
        points, ids = self.points, today.index
        known = points.assign(known=points["share"].where(points["value"].notna(), 0.0))
        shares = known.pivot_table(
            index="client_id", columns="component", values="known", aggfunc="sum"
        )
        weights = points.pivot_table(
            index="client_id", columns="component", values="component_weight", aggfunc="first"
        )
        columns: dict[str, Any] = {
            "client_id": ids,
            "name": table.set_index("client_id")["name"].reindex(ids).to_numpy(),
            "shown": today["shown"],
            "cap": today["cap"],
        }
        for name in self.settings.component_names:
            columns[f"{name}_points"] = today[f"{name}_score"]
            for key, wide in (("known", shares), ("weight", weights)):
                values = wide[name] if name in wide else pd.Series(dtype=float)
                columns[f"{name}_{key}"] = values.reindex(ids).fillna(0.0)
        frame = pd.DataFrame(columns).reset_index(drop=True)
        return frame.assign(least_coverage=self.settings.min_coverage)

    @cached_property
    def points(self) -> pd.DataFrame:
        """The metrics of today's scores."""
        return self.scored.days[self.as_of].scores.points()

    @cached_property
    def _costliest(self) -> dict[Any, dict[Any, Any]]:
        return costliest(self.points, self.settings).to_dict("index")

    @cached_property
    def _rows(self) -> dict[Any, dict[Any, Any]]:
        """Today's rows by customer."""
        return self.today.to_dict("index")

    # -- lists ---------------------------------------------------------------------------

    def _movers(self, table: pd.DataFrame) -> pd.DataFrame:
        moved = table[table["change"].notna() & (table["change"] != 0)]
        up = (
            moved[moved["change"] > 0]
            .sort_values(["change", "client_id"], ascending=[False, True])
            .head(self.settings.score_max_movers)
        )
        down = (
            moved[moved["change"] < 0]
            .sort_values(["change", "client_id"])
            .head(self.settings.score_max_movers)
        )
        movers = pd.concat(
            [up.assign(direction="up"), down.assign(direction="down")], ignore_index=True
        )
        movers["reason"] = [self._why_moved(client) for client in movers["client_id"]]
        return movers[
            ["client_id", "name", "change", "score", "arr", "currency", "direction", "reason"]
        ]

    def _why_moved(self, client: str) -> str:
        """The largest parts of the change, in words, those in its direction only."""
        change = self._change(client)
        if not change.parts:
            return change.reason or "no part changed"
        sign = 1 if (change.exact or 0) > 0 else -1
        parts = [
            part for part in change.parts if part.kind != "rounding" and sign * part.points > 0
        ]
        parts.sort(key=lambda part: (-abs(part.points), part.label))
        return "; ".join(
            f"{words.of_change(part.kind, part.label, part.metric, part.value_then, part.value_now)} "
            f"({part.displayed:+.1f})"
            for part in parts[:2]
        )

    def _change(self, client: str) -> ScoreChange:
        then, now = self.then.loc[client], self.today.loc[client]
        if self.model.predictive:
            return model_score_change(self.portfolio, client, (self.start, then), (self.as_of, now))
        return explain_change(
            then, now, self.settings, self.settings, self.model.weights, self.model.weights
        )

    def _disagreements(self, table: pd.DataFrame) -> pd.DataFrame:
        disagreements = []
        for client in table["client_id"]:
            for rule in rules.triggered(
                TOOL, "disagreement", self.figures[client], self.settings.rules
            ):
                disagreements.append(
                    {
                        "client_id": client,
                        "kind": rule.rule,
                        "reason": rule.text,
                        "arr_change": self.figures[client]["arr_change_90d"]
                        * self._rate_of(client),
                    }
                )
        columns = ["client_id", "name", "score", "arr", "currency", "arr_change", "kind", "reason"]
        frame = pd.DataFrame(disagreements, columns=["client_id", "kind", "reason", "arr_change"])
        frame = frame.merge(
            table[["client_id", "name", "score", "arr", "currency"]], on="client_id", how="left"
        )
        order = frame.assign(size=-frame["arr_change"].abs()).sort_values(
            ["kind", "size", "client_id"], kind="stable"
        )
        return frame.loc[order.index, columns].reset_index(drop=True)

    def _next_actions(self, table: pd.DataFrame) -> list[NextAction]:
        """The first action of the customers of whom it is urgent: the most severe first, then in the table's order."""
        first = NextActions.of(self.portfolio, self.as_of).first_of(table["client_id"])
        urgent = [action for action in first if action.severity in ("high", "critical")]
        urgent.sort(key=lambda action: -SEVERITIES.index(action.severity))
        return urgent[: self.settings.next_actions_shown]

    def _alerts(self, preferences: alerts.Preferences) -> list[TriggeredRule]:
        """All alerts that hold, most severe first; their figures name the customer."""
        held = [
            rule.model_copy(update={"figures": {**rule.figures, "client_id": client}})
            for client in self.today.index
            for rule in alerts.holding(preferences, self.figures[client]).values()
        ]
        return sorted(
            held,
            key=lambda rule: (
                -SEVERITIES.index(rule.severity),
                rule.figures["client_id"],
                rule.rule,
            ),
        )

    # -- the portfolio ------------------------------------------------------------------------

    def _bands(self) -> pd.DataFrame:
        """Customers and ARR (at today's rates) by date and band, weekly over the history."""
        frame = self.scored.history
        grid = [
            pd.Timestamp(self.as_of - dt.timedelta(days=7 * back))
            for back in range(self.settings.score_history_days // 7 + 1)
        ]
        first = pd.Timestamp(self.portfolio.first_event_day or self.as_of)
        chosen = frame["live"] & frame["client_id"].isin(self.chosen)
        shown = (chosen & frame["date"].isin(grid) & (frame["date"] >= first)).to_numpy()
        rows = frame[shown]
        arr = at_constant_rates(self.portfolio, rows, self.as_of)
        rows = rows[["date", "client_id"]].assign(band=rows["band"].fillna("unknown"), arr=arr)
        rows["largest"] = rows["client_id"].map(_column(self.customers, "name"))
        by = rows.sort_values("arr", kind="stable", na_position="first").groupby(["date", "band"])
        counts = by.agg(
            customers=("arr", "size"),
            arr=("arr", "sum"),
            largest=("largest", "last"),
            largest_arr=("arr", "last"),
        ).reset_index()
        position = counts["band"].map({band: at for at, band in enumerate([*BANDS, "unknown"])})
        order = counts.assign(place=position).sort_values(["date", "place"], ignore_index=True)
        return order.drop(columns="place")

    def _distribution(self, table: pd.DataFrame) -> pd.DataFrame:
        """Customers and ARR by steps of the score."""
        scored = table[table["score"].notna()]
        low = (np.minimum(scored["score"], 99) // STEP * STEP).astype(int)
        counts = (
            scored.assign(low=low)
            .groupby("low")
            .agg(customers=("client_id", "size"), arr=("arr", "sum"))
        )
        counts = counts.reindex(range(0, 100, STEP), fill_value=0).reset_index(names="low")
        counts["arr"] *= 1.0 if table["arr"].notna().any() else np.nan  # unknown, not zero
        return counts.assign(
            high=counts["low"] + STEP,
            band=bands_of(counts["low"].to_numpy(dtype=float), self.settings),
        )[["low", "high", "band", "customers", "arr"]]

    def _input_coverage(self) -> pd.DataFrame:
        """Of how many live customers each input of the score is known."""
        points = self.points[self.points["client_id"].isin(self.today.index)]
        by = points.assign(measured=~points["missing"]).groupby(["component", "metric"], sort=False)
        coverage = by.agg(
            label=("label", "first"),
            weight=("weight", "first"),
            measured=("measured", "sum"),
            customers=("measured", "size"),
        ).reset_index()
        coverage["measured_share"] = coverage["measured"] / coverage["customers"]
        return coverage[
            ["component", "metric", "label", "weight", "measured_share", "measured", "customers"]
        ]

    def _currencies(self, table: pd.DataFrame) -> dict[str, float]:
        known = table[table["arr"].notna()]
        return known.groupby(known["currency"].fillna("unknown"))["arr"].sum().to_dict()

    def _excluded(self) -> dict[str, int]:
        signup = pd.to_datetime(self.customers["signup_date"])
        return {
            "churned": int((~self.live).sum()),
            "prospect": int(self.prospect.sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
        }

    def _warnings(self, mixed: bool) -> list[str]:
        warnings = chosen_warnings(self.only)
        warnings += (
            ["several currencies and no rates: totals are given by currency and never added up"]
            if mixed
            else []
        )
        count = sum(client in self.scored.notes for client in self.chosen)
        if count:
            plural = "" if count == 1 else "s"
            warnings.append(
                f"past scores of {count} customer{plural} use today's seats and plan: "
                "no earlier ones are known"
            )
        return warnings


def _column(known: pd.DataFrame, name: str) -> pd.Series:
    return known[name] if name in known else pd.Series(None, index=known.index, dtype=object)


def _dates(days: pd.Series) -> list[dt.date | None]:
    return [
        None if pd.isna(day) else dt.date(1970, 1, 1) + dt.timedelta(days=int(day)) for day in days
    ]


def _usual_weights(what_if: pd.DataFrame) -> pd.DataFrame:
    """component, weight (of most customers' scorecards), customers (of whom it is known)."""
    rows = [
        {
            "component": name,
            "weight": what_if[f"{name}_weight"].mode()[0],
            "customers": int((what_if[f"{name}_known"] > 0).sum()),
        }
        for name in (each.removesuffix("_weight") for each in what_if if each.endswith("_weight"))
        if len(what_if)
    ]
    return pd.DataFrame(rows, columns=["component", "weight", "customers"])


def _sum(money: pd.Series) -> float:
    return round(float(money.sum()), 2)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; scores, days and counts are whole."""
    whole = {name: frame[name].map(shown, na_action="ignore") for name in WHOLE if name in frame}
    if "renewal_on" in frame:
        whole["renewal_on"] = frame["renewal_on"].map(dt.date.isoformat, na_action="ignore")
    return records(frame.assign(**whole))
