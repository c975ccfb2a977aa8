"""The portfolio's health on one page: who needs attention, who moved, where score and money disagree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.data.memory import remember
from healthseg.metrics.counting import customers
from healthseg.scoring import Change, bands_of, explain_change, factors, risk_level, shown, training
from healthseg.settings import BANDS
from healthseg.tools import alerts
from healthseg.tools.health import predictive, stakes, what_if, words
from healthseg.tools.health.figures import (
    ARR_DAYS,
    HISTORY_DAYS,
    Asked,
    Judged,
    figures,
    judge,
    trends,
)
from healthseg.tools.health.result import Fired, PortfolioHealth
from healthseg.tools.rounding import rounded

TOOL = words.TOOL
MOVERS = 10
STEP = 5  # points a bar of the distribution is wide
LISTED = [
    "client_id",
    "name",
    "score",
    "band",
    "change",
    "trend",
    "risk_level",
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


def answer(portfolio: Any, as_of: dt.date, asked: Any) -> PortfolioHealth:
    """The response for the portfolio at ``as_of``; ``asked`` are the validated parameters."""
    return _PortfolioStub(portfolio, as_of, asked).response()


class _PortfolioStub:
    """What the parts of one response share: all rows and scores, those of today, then, and before."""

    def __init__(self, portfolio: Any, as_of: dt.date, asked: Any) -> None:
        self.portfolio, self.as_of, self.asked, self.settings = (
            portfolio,
            as_of,
            asked,
            portfolio.settings,
        )
        self.rules = Asked.of(asked.scoring_model, asked.component_weights)
        self.weights, days = self.rules.weights, asked.lookback_period_days
        self.judged: Judged = remember(
            portfolio,
            ("judged", as_of, days, self.rules.key),
            lambda: judge(portfolio, as_of, days, self.rules),
        )
        self.rows = self.judged.on(as_of)
        self.live = self.rows["live"].astype(bool)
        self.prospect = self.live & (self.rows["stage"] == "prospect")
        self.today = self.rows[self.live & ~self.prospect]
        self.then = self.judged.on(as_of - dt.timedelta(days=asked.lookback_period_days))
        self.before = self.judged.on(as_of - dt.timedelta(days=ARR_DAYS))
        self.trends = trends(self.judged, self.settings)
        self.known = customers(portfolio)
        self.stakes = stakes.of_rows(portfolio, as_of, self.today)

    def response(self) -> PortfolioHealth:
        self.figures = dict(self._figures())
        table = self._customers()
        movers, disagreements = self._movers(table), self._disagreements(table)
        spread, inputs = self._distribution(table), self._input_coverage()
        currencies = self._currencies(table)
        single = len(currencies) == 1  # none: no ARR is known
        below = table[table["score"] < self.asked.risk_threshold]
        return PortfolioHealth(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of),
            coverage=rounded(table["coverage"].mean()),
            warnings=self._warnings(len(currencies) > 1),
            not_measured=self._not_measured(table, single),
            total_customers=len(table),
            excluded=self._excluded(),
            scored_customers=int(table["score"].notna().sum()),
            currency=next(iter(currencies), None) if single else None,
            total_arr=round(sum(currencies.values()), 2) if single else None,
            total_arr_by_currency={
                key: round(value, 2) for key, value in sorted(currencies.items())
            },
            average_score=rounded(table["score"].mean(), 1),
            average_change=rounded(table["change"].mean(), 1),
            bands={band: int((table["band"] == band).sum()) for band in BANDS},
            band_edges=self.settings.band_edges,
            arr_by_band={band: _sum(table.loc[table["band"] == band, "arr"]) for band in BANDS}
            if single
            else {},
            at_risk_customers=len(below),
            at_risk_arr=_sum(below["arr"]) if single else None,
            at_stake=_sum(table["at_stake"]) if single else None,
            at_stake_basis=stakes.basis(self.portfolio, self.as_of),
            leaving_model=training.churn_model(self.portfolio, self.as_of).gate.reason,
            lookback_period_days=self.asked.lookback_period_days,
            risk_threshold=self.asked.risk_threshold,
            customers=_records(table),
            movers_up=_records(movers[movers["direction"] == "up"]),
            movers_down=_records(movers[movers["direction"] == "down"]),
            disagreements=_records(disagreements),
            input_coverage=_records(inputs),
            alerts=self._alerts(),
        ).with_frames(
            customers=table,
            movers=movers,
            disagreements=disagreements,
            bands=self._bands(),
            distribution=spread,
            coverage=inputs,
            what_if=self._what_if(table),
        )

    # -- the customers -------------------------------------------------------------------

    def _figures(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each live customer's figures for the rules."""
        now, then, before = (
            frame.to_dict("index") for frame in (self.today, self.then, self.before)
        )
        trend = self.trends.to_dict("index")
        for client, row in now.items():
            yield (
                client,
                figures(
                    row,
                    then.get(client),
                    before.get(client),
                    trend.get(client),
                    self.asked.lookback_period_days,
                    self.asked.risk_threshold,
                ),
            )

    def _customers(self) -> pd.DataFrame:
        rows, ids = self.today, self.today.index
        known = self.known.loc[ids]
        if self.as_of < self.portfolio.data_until:
            known = known.assign(csm_id=None)  # who managed them before is not known
        table = pd.DataFrame(
            {
                "client_id": ids,
                "name": _column(known, "name").fillna(ids.to_series()),
                "score": rows["shown"],
                "band": rows["band"],
                "change": [self.figures[client]["score_change"] for client in ids],
                "trend": self.trends["trend"].reindex(ids),
                "risk_level": [
                    risk_level(score, self.asked.risk_threshold) for score in rows["shown"]
                ],
                "reason": [self._reason(client) for client in ids],
                "arr": rows["arr"],
                "currency": self._currency(rows, known),
                "at_stake": self.stakes["at_stake"].reindex(ids),
                "at_stake_basis": self.stakes["basis"].reindex(ids),
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
        order = table.assign(
            unknown=table["score"].isna(), stake=-table["at_stake"].fillna(-1), low=table["score"]
        )
        order = order.sort_values(["unknown", "stake", "low", "client_id"], kind="stable")
        return table.loc[order.index].reset_index(drop=True)

    def _currency(self, rows: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
        given = rows["currency"].where(rows["currency"].notna(), _column(known, "currency"))
        return given.where(given.notna(), self.settings.reporting_currency)

    def _reason(self, client: str) -> str:
        """Why this customer is where it is: its most severe risk, else the metric that costs it most, else its best."""
        fired = rules.fired(TOOL, "risk", self.figures[client])
        if fired:
            return "; ".join(rule["text"] for rule in fired[:2])
        if self.figures[client]["score"] is None:
            return "too little is known for a score"
        points = self._points(client)
        costly = factors(points, self.settings)
        worst = costly[costly["side"] != "positive"].head(1)
        if len(worst):
            row = worst.iloc[0]
            return words.factor(row["metric"], row["label"], row["value"], "negative")
        return "nothing stands out against it"

    def _what_if(self, table: pd.DataFrame) -> pd.DataFrame:
        rows = what_if.frame(
            self.judged.scores.points(date=self.as_of),
            self.today,
            table.set_index("client_id")["name"],
        )
        return rows.assign(least_coverage=self.settings.min_coverage)

    @cached_property
    def points(self) -> Any:
        """The metrics of today's scores, by customer."""
        return self.judged.scores.points(date=self.as_of).groupby("client_id", sort=False)

    def _points(self, client: str) -> pd.DataFrame:
        return self.points.get_group(client)

    # -- lists ---------------------------------------------------------------------------

    def _movers(self, table: pd.DataFrame) -> pd.DataFrame:
        moved = table[table["change"].notna() & (table["change"] != 0)]
        up = (
            moved[moved["change"] > 0]
            .sort_values(["change", "client_id"], ascending=[False, True])
            .head(MOVERS)
        )
        down = moved[moved["change"] < 0].sort_values(["change", "client_id"]).head(MOVERS)
        found = pd.concat(
            [up.assign(direction="up"), down.assign(direction="down")], ignore_index=True
        )
        found["reason"] = [self._why_moved(client) for client in found["client_id"]]
        return found[
            ["client_id", "name", "change", "score", "arr", "currency", "direction", "reason"]
        ]

    def _why_moved(self, client: str) -> str:
        """The largest parts of the change, in words, those in its direction only."""
        change = self._change(client)
        if not change.parts:
            return change.reason or "no part changed"
        sign = 1 if change.exact > 0 else -1
        parts = [
            part for part in change.parts if part.kind != "rounding" and sign * part.points > 0
        ]
        parts.sort(key=lambda part: (-abs(part.points), part.label))
        return "; ".join(
            f"{words.of_change(part.kind, part.label, part.metric, part.value_then, part.value_now)} "
            f"({part.displayed:+.1f})"
            for part in parts[:2]
        )

    def _change(self, client: str) -> Change:
        then, now = self.then.loc[client], self.today.loc[client]
        if self.rules.predictive:
            start = self.as_of - dt.timedelta(days=self.asked.lookback_period_days)
            return predictive.change_of(self.portfolio, client, (start, then), (self.as_of, now))
        return explain_change(then, now, self.settings, self.settings, self.weights, self.weights)

    def _disagreements(self, table: pd.DataFrame) -> pd.DataFrame:
        found = []
        for client in table["client_id"]:
            for rule in rules.fired(TOOL, "disagreement", self.figures[client]):
                found.append(
                    {
                        "client_id": client,
                        "kind": rule["rule"],
                        "reason": rule["text"],
                        "arr_change": self.figures[client]["arr_change_90d"],
                    }
                )
        columns = ["client_id", "name", "score", "arr", "currency", "arr_change", "kind", "reason"]
        frame = pd.DataFrame(found, columns=["client_id", "kind", "reason", "arr_change"])
        frame = frame.merge(
            table[["client_id", "name", "score", "arr", "currency"]], on="client_id", how="left"
        )
        order = frame.assign(size=-frame["arr_change"].abs()).sort_values(
            ["kind", "size", "client_id"], kind="stable"
        )
        return frame.loc[order.index, columns].reset_index(drop=True)

    def _alerts(self) -> list[Fired]:
        wishes = alerts.preferences(self.asked.alert_preferences)
        found = [
            Fired(**{**rule, "figures": {**rule["figures"], "client_id": client}})
            for client in self.today.index
            for rule in alerts.holding(TOOL, wishes, self.figures[client]).values()
        ]
        order = {"critical": 0, "high": 1, "medium": 2, "low": 3}
        return sorted(
            found, key=lambda alert: (order[alert.severity], alert.figures["client_id"], alert.rule)
        )

    # -- the portfolio ------------------------------------------------------------------------

    def _bands(self) -> pd.DataFrame:
        """Customers and ARR by date and band, weekly over the history."""
        frame = self.judged.frame
        grid = [
            pd.Timestamp(self.as_of - dt.timedelta(days=7 * back))
            for back in range(HISTORY_DAYS // 7 + 1)
        ]
        first = pd.Timestamp(self.portfolio.first_event_day or self.as_of)
        here = (frame["live"] & frame["date"].isin(grid) & (frame["date"] >= first)).to_numpy()
        rows = pd.DataFrame(
            {
                "date": frame["date"],
                "band": frame["band"].fillna("unknown"),
                "arr": self.judged.rows["arr"],
            }
        )[here]
        found = (
            rows.groupby(["date", "band"])
            .agg(customers=("arr", "size"), arr=("arr", "sum"))
            .reset_index()
        )
        place = found["band"].map({band: at for at, band in enumerate([*BANDS, "unknown"])})
        order = found.assign(place=place).sort_values(["date", "place"], ignore_index=True)
        return order.drop(columns="place")

    def _distribution(self, table: pd.DataFrame) -> pd.DataFrame:
        """Customers and ARR by steps of the score."""
        scored = table[table["score"].notna()]
        low = (np.minimum(scored["score"], 99) // STEP * STEP).astype(int)
        found = (
            scored.assign(low=low)
            .groupby("low")
            .agg(customers=("client_id", "size"), arr=("arr", "sum"))
        )
        found = found.reindex(range(0, 100, STEP), fill_value=0).reset_index(names="low")
        return found.assign(
            high=found["low"] + STEP,
            band=bands_of(found["low"].to_numpy(dtype=float), self.settings),
        )[["low", "high", "band", "customers", "arr"]]

    def _input_coverage(self) -> pd.DataFrame:
        """Of how many live customers each input of the score is known."""
        points = self.points.obj
        points = points[points["client_id"].isin(self.today.index)]
        by = points.assign(measured=~points["missing"]).groupby(["component", "metric"], sort=False)
        found = by.agg(
            label=("label", "first"),
            weight=("weight", "first"),
            measured=("measured", "sum"),
            customers=("measured", "size"),
        ).reset_index()
        found["measured_share"] = found["measured"] / found["customers"]
        return found[
            ["component", "metric", "label", "weight", "measured_share", "measured", "customers"]
        ]

    def _currencies(self, table: pd.DataFrame) -> dict[str, float]:
        known = table[table["arr"].notna()]
        return known.groupby(known["currency"].fillna("unknown"))["arr"].sum().to_dict()

    def _excluded(self) -> dict[str, int]:
        signup = pd.to_datetime(self.known["signup_date"])
        return {
            "churned": int((~self.live).sum()),
            "prospect": int(self.prospect.sum()),
            "not_started": int((signup > pd.Timestamp(self.as_of)).sum()),
        }

    def _warnings(self, mixed: bool) -> list[str]:
        found = (
            ["several currencies and no rates: totals are given by currency and never added up"]
            if mixed
            else []
        )
        if self.judged.notes:
            found.append(
                f"of {len(self.judged.notes)} customers past scores use today's value of seats and plan"
            )
        return found

    def _not_measured(self, table: pd.DataFrame, single: bool) -> dict[str, str]:
        found = {}
        if table["arr"].isna().all():
            found |= dict.fromkeys(
                ("$.total_arr", "$.at_risk_arr", "$.at_stake"), "no table holds ARR as of this date"
            )
        elif not single:
            found |= dict.fromkeys(
                ("$.total_arr", "$.at_risk_arr", "$.at_stake"), "several currencies and no rates"
            )
        withheld = int(table["score"].isna().sum())
        if withheld:
            found["$.customers[*].score"] = (
                f"withheld for {withheld} customers: too little is known of them"
            )
        return found


def _column(known: pd.DataFrame, name: str) -> pd.Series:
    return known[name] if name in known else pd.Series(None, index=known.index, dtype=object)


def _dates(days: pd.Series) -> list[dt.date | None]:
    return [
        None if pd.isna(day) else dt.date(1970, 1, 1) + dt.timedelta(days=int(day)) for day in days
    ]


def _sum(money: pd.Series) -> float:
    return round(float(money.sum()), 2)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values: missing ones are null, whole figures are integers, others have two decimals."""
    return [
        {key: _plain(key, value) for key, value in row.items()} for row in frame.to_dict("records")
    ]


def _plain(key: str, value: Any) -> Any:
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NaT:
        return None
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, float | np.floating):
        whole = key in ("score", "change", "days_to_renewal", "measured", "customers")
        return int(shown(float(value))) if whole else round(float(value), 4)
    return value.item() if isinstance(value, np.generic) else value
