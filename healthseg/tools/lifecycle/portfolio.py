"""The portfolio's stages on one page: who is where, how they move, who is stuck, fell back or is contradicted by others."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import customers
from healthseg.metrics.money import money
from healthseg.metrics.panels import panel
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.stages import (
    CHURNED,
    history,
    portfolio_stage_spells,
    portfolio_time_in_stage,
)
from healthseg.periods import weekly
from healthseg.settings.lifecycle import STAGES
from healthseg.tools.lifecycle import advance, figures, frames
from healthseg.tools.lifecycle.answer import TOOL
from healthseg.tools.lifecycle.disagree import disagreements
from healthseg.tools.lifecycle.result import Fired, PortfolioLifecycle
from healthseg.tools.lifecycle.standing import Standing, standing
from healthseg.tools.rounding import records

HISTORY_DAYS = 371
WINDOW_DAYS = 90  # what "lately" means for setbacks
STUCK = [
    "client_id",
    "name",
    "stage",
    "since",
    "days",
    "share_still_in",
    "typical_days",
    "arr",
    "currency",
    "csm_id",
    "reason",
]
DISAGREE = [
    "client_id",
    "name",
    "recorded",
    "suggests",
    "kind",
    "since",
    "arr",
    "currency",
    "csm_id",
    "reason",
]


def answer(portfolio: Any, as_of: dt.date, known_by: dt.datetime | None) -> PortfolioLifecycle:
    """The response for the portfolio at ``as_of``, as it was known at an instant (None: all that is recorded).

    ``as_of`` may lie after the data, where a stage changed since; what is counted is counted on the data's last day.
    """
    return _PortfolioStub(portfolio, as_of, known_by).response()


class _PortfolioStub:
    """What the parts of one response share."""

    def __init__(self, portfolio: Any, as_of: dt.date, known_by: dt.datetime | None) -> None:
        self.portfolio, self.as_of, self.known_by, self.settings = (
            portfolio,
            as_of,
            known_by,
            portfolio.settings,
        )
        self.day = min(as_of, portfolio.data_until)
        self.known = history(portfolio)
        self.stays = portfolio_stage_spells(portfolio, self.known, as_of, known_by)
        self.curves = portfolio_time_in_stage(portfolio, self.known, self.day, known_by)
        self.spells = advance.standing_spells(portfolio, as_of, known_by)
        self.rows = panel(portfolio, weekly(self.day, HISTORY_DAYS))
        today = self.rows[self.rows["date"] == pd.Timestamp(self.day)].set_index(
            "client_id", drop=False
        )
        stage = pd.Series(
            {client: spell.stage for client, spell in self.spells.items()}, dtype=object
        )
        self.everybody = today.assign(stage=stage.reindex(today.index))
        self.left = ~self.everybody["live"].astype(bool) | (self.everybody["stage"] == CHURNED)
        self.prospect = ~self.left & (self.everybody["stage"] == "prospect")
        self.live = self.everybody[~self.left & ~self.prospect]

    def response(self) -> PortfolioLifecycle:
        stuck, apart = self.stuck(), self.disagreements()
        table, matrix, moves = self.stages(stuck), self.matrix(), self.moves()
        returns, setbacks = frames.returns(self.stays), moves[moves["kind"] == "setback"]
        fired = self._fired(stuck, apart, setbacks)
        counts = self.live["stage"].value_counts()
        amounts = self.money.amounts.groupby(self.live["stage"]).sum()
        return PortfolioLifecycle(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of, ledger=self.known.head),
            warnings=self._warnings(),
            not_measured=self._not_measured(),
            total_customers=len(self.live),
            excluded=self._excluded(),
            without_stage=int(self.live["stage"].isna().sum()),
            currency=self.money.currency,
            total_arr=self.money.total(),
            stage_counts={stage: int(counts.get(stage, 0)) for stage in STAGES if stage != CHURNED},
            stage_arr={
                stage: round(float(amounts.get(stage, 0.0)), 2)
                for stage in STAGES
                if stage != CHURNED
            }
            if self.money.addable
            else None,
            stages=records(table),
            transition_matrix=records(matrix),
            stuck_customers=records(stuck),
            setbacks=records(setbacks),
            returns=records(returns),
            disagreements=records(apart),
            window_days=WINDOW_DAYS,
            interval_level=self.settings.interval_level,
            stuck_share=self.settings.lifecycle.stuck_share,
            recommended_actions=[one.text for one in fired],
            recommended_actions_detail=fired,
        ).with_frames(
            stages=table,
            over_time=self.over_time(),
            matrix=matrix,
            stuck=stuck,
            moves=moves,
            curves=frames.curves(self.curves, self.settings.lifecycle.min_spells),
            returns=returns,
            durations=frames.durations(self.curves, self.settings.lifecycle),
            disagreements=apart,
        )

    # -- the stages ----------------------------------------------------------------------

    @cached_property
    def money(self) -> Any:
        return money(self.portfolio, self.live, self.day)

    def stages(self, stuck: pd.DataFrame) -> pd.DataFrame:
        """A row for each stage that has customers or a curve."""
        return frames.stages(
            self.live["stage"],
            self.money.amounts if self.money.addable else None,
            self.curves,
            stuck["stage"],
            self.settings.lifecycle.min_spells,
        )

    def over_time(self) -> pd.DataFrame:
        """Live customers and their ARR by date and stage, weekly."""
        first = pd.Timestamp(self.portfolio.first_event_day)
        rows = self.rows[self.rows["live"].astype(bool) & (self.rows["date"] >= first)]
        return frames.over_time(rows[["client_id", "date", "arr"]], self.stays, self.money.addable)

    def matrix(self) -> pd.DataFrame:
        return frames.matrix(self.stays, self.settings.interval_level)

    # -- lists ---------------------------------------------------------------------------

    def _who(self, clients: pd.Series) -> pd.DataFrame:
        """Name, ARR, currency and manager of customers, in their order."""
        known = customers(self.portfolio).reindex(clients)
        ids = pd.Series(clients.to_numpy(dtype=object), index=known.index)
        today = self.day == self.portfolio.data_until
        return pd.DataFrame(
            {
                "name": (known["name"].fillna(ids) if "name" in known else ids).to_numpy(
                    dtype=object
                ),
                "arr": self.money.amounts.reindex(clients).to_numpy(dtype=float),
                "currency": self.money.currency
                or self.money.by_currency.reindex(clients).to_numpy(dtype=object),
                "csm_id": known["csm_id"].to_numpy(dtype=object)
                if "csm_id" in known and today
                else None,
            }
        )

    def _with_who(
        self, found: list[dict[str, Any]], columns: list[str], order: list[str]
    ) -> pd.DataFrame:
        frame = pd.DataFrame(found, columns=[name for name in columns if name not in self._WHO])
        frame = pd.concat([frame, self._who(frame["client_id"])], axis=1)[columns]
        return frame.sort_values(
            [*order, "client_id"],
            ascending=[False] * len(order) + [True],
            kind="stable",
            ignore_index=True,
        )

    _WHO = ("name", "arr", "currency", "csm_id")

    def stuck(self) -> pd.DataFrame:
        """Customers that are in a stage longer than nearly all, most ARR first."""
        found = []
        for client in self.live.index.intersection(list(self.spells)):
            spell = self.spells[client]
            leads_on = self.settings.lifecycle.forward(spell.stage) is not None
            place = standing(
                self.curves.get(spell.stage), spell.days(self.as_of), self.settings, leads_on
            )
            if place.stuck:
                found.append(self._stuck(client, place))
        return self._with_who(found, STUCK, ["arr"])

    def _stuck(self, client: str, place: Standing) -> dict[str, Any]:
        spell = self.spells[client]
        typical, left = (
            self.curves[spell.stage].median.time,
            100 * self.settings.lifecycle.stuck_share,
        )
        return {
            "client_id": client,
            "stage": spell.stage,
            "since": spell.start,
            "days": place.day,
            "share_still_in": place.still_in,
            "typical_days": typical,
            "reason": f"{place.day} days in {spell.stage.replace('_', ' ')}; half leave it by day {typical:.0f}, "
            f"and after {place.stuck_from:.0f} days {left:.0f} % are left",
        }

    def moves(self) -> pd.DataFrame:
        """What customers did lately that a reader asks about: fell back, came back to a stage, were won back."""
        found = frames.moves(self.stays, self.as_of - dt.timedelta(days=WINDOW_DAYS))
        return pd.concat([found, self._who(found["client_id"])], axis=1)

    def disagreements(self) -> pd.DataFrame:
        """Where a recorded stage and contracts, leaving or usage are two things, most ARR first."""
        left, known = (
            customers_as_of(self.portfolio, self.day)["churned_on"],
            figures.contracts(self.portfolio),
        )
        silent = self.everybody["days_since_last_person_event"]
        found = []
        for client, spell in self.spells.items():
            told = figures.contract_figures(known, client, self.day, spell.start)
            quiet = silent.get(client)
            told["days_since_last_person_event"] = (
                None if quiet is None or pd.isna(quiet) else float(quiet)
            )
            gone = None if pd.isna(left[client]) else pd.Timestamp(left[client]).date()
            found += [
                {
                    "client_id": client,
                    "recorded": one.recorded_stage,
                    "suggests": one.suggests,
                    "kind": one.kind,
                    "since": one.since,
                    "reason": one.text,
                }
                for one in disagreements(spell.stage, spell.start, gone, told, self.day)
            ]
        return self._with_who(found, DISAGREE, ["arr"])

    # -- about the response -----------------------------------------------------------------

    def _fired(
        self, stuck: pd.DataFrame, apart: pd.DataFrame, setbacks: pd.DataFrame
    ) -> list[Fired]:
        ready = None
        if self.known_by is None:
            steps = advance.plan(self.portfolio, self.day, present=self.as_of > self.day)
            ready = sum(step.automatic for step in steps)
        given = {
            "customers": len(self.live),
            "stuck": len(stuck),
            "disagreements": len(apart),
            "setbacks": setbacks["client_id"].nunique(),
            "window_days": WINDOW_DAYS,
            "ready": ready,
            "without_stage": int(self.live["stage"].isna().sum()),
        }
        return [Fired(**one) for one in rules.fired(TOOL, "portfolio_action", given)]

    def _excluded(self) -> dict[str, int]:
        signup = pd.to_datetime(customers(self.portfolio)["signup_date"])
        return {
            "churned": int(self.left.sum()),
            "prospect": int(self.prospect.sum()),
            "not_started": int((signup > pd.Timestamp(self.day)).sum()),
        }

    def _warnings(self) -> list[str]:
        found = []
        if self.as_of > self.day:
            found.append(f"the data end on {self.day}: what is counted from them is as of then")
        if not self.money.addable:
            found.append("several currencies and no rates: amounts are listed, and never added up")
        if not self.spells:
            found.append("no stage was imported or recorded")
        return found

    def _not_measured(self) -> dict[str, str]:
        found = {}
        if not self.money.addable:
            found |= dict.fromkeys(
                ("$.total_arr", "$.stage_arr"), "several currencies and no rates"
            )
        few = [
            stage
            for stage, stay in self.curves.items()
            if stay.n < self.settings.lifecycle.min_spells
        ]
        if few:
            found["$.stages[*].typical_days"] = (
                f"fewer than {self.settings.lifecycle.min_spells} stays were watched "
                f"in {', '.join(few)}"
            )
        return found
