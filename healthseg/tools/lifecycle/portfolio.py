"""The portfolio's stages: who is where, how customers move, who is stuck or fell back, what contradicts a record."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from healthseg import rules
from healthseg.metrics.counting import customers
from healthseg.metrics.money import Money, at_constant_rates, money
from healthseg.metrics.panels import panel
from healthseg.metrics.profile import customers_as_of
from healthseg.metrics.stages import (
    CHURNED,
    history,
    portfolio_stage_spells,
    portfolio_time_in_stage,
    time_in_stage,
)
from healthseg.periods import weekly
from healthseg.tools.base import TriggeredRule
from healthseg.tools.context import PortfolioContext, chosen_customers, chosen_warnings
from healthseg.tools.lifecycle.criteria import contract_figures, contracts, disagreements
from healthseg.tools.lifecycle.customer import TOOL, PositionOnCurve, position_on_curve
from healthseg.tools.lifecycle.moves import current_spells, plan
from healthseg.tools.lifecycle.result import PortfolioLifecycle, StageAgainstScore
from healthseg.tools.lifecycle.stage_frames import (
    curves_frame,
    durations_frame,
    matrix_frame,
    moves_frame,
    over_time_frame,
    returns_frame,
    stages_frame,
)
from healthseg.tools.next_actions import NextAction, NextActions
from healthseg.tools.values import day_of, records

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

PROFILE = ("name", "arr", "currency", "csm_id")
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
READY = [
    "client_id",
    "name",
    "source",
    "target",
    "since",
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


class LifecycleOfPortfolio:
    """The portfolio's stages at ``as_of``, as known at an instant (None: all that is recorded).

    ``as_of`` may lie after the data, where a stage changed since; figures are those of ``day``, the
    last day with data.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        as_of: dt.date,
        known_by: dt.datetime | None,
        only: str | None = None,
    ) -> None:
        self.portfolio, self.as_of, self.known_by = portfolio, as_of, known_by
        self.only, self.chosen = only, chosen_customers(portfolio, only)
        self.settings, self.lifecycle = portfolio.settings, portfolio.settings.lifecycle
        self.day = min(as_of, portfolio.data_until)
        self.history = history(portfolio)
        self.times = self._chosen(portfolio_stage_spells(portfolio, self.history, as_of, known_by))
        self.curves = portfolio_time_in_stage(portfolio, self.history, self.day, known_by)
        if only is not None:
            past = portfolio_stage_spells(portfolio, self.history, self.day, known_by)
            self.curves = time_in_stage(self._chosen(past), self.settings.interval_level)
        spells = current_spells(portfolio, as_of, known_by)
        self.spells = {client: spells[client] for client in self.chosen if client in spells}
        rows = panel(portfolio, weekly(self.day, self.settings.score_history_days))
        self.rows = self._chosen(rows)
        today = self.rows[self.rows["date"] == pd.Timestamp(self.day)]
        today = today.set_index("client_id", drop=False)
        stages = {client: spell.stage for client, spell in self.spells.items()}
        stage = pd.Series(stages, dtype=object).reindex(today.index)
        self.everyone = today.assign(stage=stage)
        self.churned = ~today["live"].astype(bool) | (stage == CHURNED)
        self.prospect = ~self.churned & (stage == "prospect")
        self.live = self.everyone[~self.churned & ~self.prospect]

    def _chosen(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["client_id"].isin(self.chosen)]

    def result(self) -> PortfolioLifecycle:
        stuck, contradictions = self.stuck(), self.disagreements()
        table, matrix, moves = self.stages(stuck), self.matrix(), self.moves()
        returns = returns_frame(self.times, self.lifecycle.stages)
        setbacks, recovered, ready = self.setbacks(moves), moves["recovered"], self.ready
        actions = self._recommendations(stuck, contradictions, setbacks, ready)
        stages = [stage for stage in self.lifecycle.stages if stage != CHURNED]
        counts = self.live["stage"].value_counts()
        amounts = self.money.amounts.groupby(self.live["stage"]).sum()
        return PortfolioLifecycle(
            as_of=self.as_of,
            data_until=self.portfolio.data_until,
            fingerprint=self.portfolio.fingerprint(self.as_of, ledger=self.history.head),
            warnings=self._warnings(),
            not_measured=self._not_measured(),
            lifecycle=self.lifecycle.name,
            total_customers=len(self.live),
            excluded=self._excluded(),
            without_stage=int(self.live["stage"].isna().sum()),
            currency=self.money.currency,
            total_arr=self.money.total(),
            stage_counts={stage: int(counts.get(stage, 0)) for stage in stages},
            stage_arr={stage: round(float(amounts.get(stage, 0.0)), 2) for stage in stages}
            if self.money.addable
            else None,
            stages=records(table),
            transition_matrix=records(matrix),
            stuck_customers=records(stuck),
            setbacks=records(setbacks.drop(columns="recovered")),
            setbacks_recovered=int(recovered.sum()),
            ready_moves=records(ready),
            returns=records(returns),
            disagreements=records(contradictions),
            window_days=self.lifecycle.recent_moves_days,
            interval_level=self.settings.interval_level,
            stuck_share=self.lifecycle.stuck_share,
            recommended_actions=[rule.text for rule in actions],
            recommended_actions_detail=actions,
            stuck_arr=self._arr_of(stuck),
            setbacks_arr=self._arr_of(setbacks),
            disagreements_customers=contradictions["client_id"].nunique(),
            disagreements_arr=self._arr_of(contradictions),
            stage_against_score=self._against_score(),
            decide_by=self.settings.decide_by(self.as_of),
            next_actions=self._next_actions(stuck, setbacks, contradictions),
            portfolio_actions=NextActions.of(self.portfolio, self.day).across(self.live.index),
        ).with_frames(
            stages=table,
            over_time=self.over_time(),
            matrix=matrix,
            stuck=stuck,
            moves=moves.drop(columns="recovered"),
            ready=ready,
            curves=curves_frame(self.curves, self.lifecycle.min_spells, self.lifecycle.stages),
            returns=returns,
            durations=durations_frame(self.curves, self.lifecycle),
            disagreements=contradictions,
        )

    # -- the stages ----------------------------------------------------------------------

    @cached_property
    def money(self) -> Money:
        return money(self.portfolio, self.live, self.day)

    def stages(self, stuck: pd.DataFrame) -> pd.DataFrame:
        """A row for each stage that has customers or a curve."""
        return stages_frame(
            self.live["stage"],
            self.money.amounts if self.money.addable else None,
            self.curves,
            stuck["stage"],
            self.lifecycle,
        )

    def over_time(self) -> pd.DataFrame:
        """Live customers and their ARR (at today's rates) by date and stage, weekly."""
        first = pd.Timestamp(self.portfolio.first_event_day)
        rows = self.rows[self.rows["live"].astype(bool) & (self.rows["date"] >= first)]
        arr = at_constant_rates(self.portfolio, rows, self.day)
        names = self._profiles(rows["client_id"])["name"].to_numpy()
        rows = rows[["client_id", "date"]].assign(arr=arr, name=names)
        return over_time_frame(rows, self.times, self.money.addable, self.lifecycle.stages)

    def matrix(self) -> pd.DataFrame:
        arr = self.money.amounts if self.money.addable else None
        return matrix_frame(self.times, self.settings.interval_level, self.lifecycle.stages, arr)

    # -- lists ---------------------------------------------------------------------------

    def _profiles(self, clients: pd.Series) -> pd.DataFrame:
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

    def _listed(
        self, rows: list[dict[str, Any]], columns: list[str], order: list[str]
    ) -> pd.DataFrame:
        frame = pd.DataFrame(rows, columns=[name for name in columns if name not in PROFILE])
        frame = pd.concat([frame, self._profiles(frame["client_id"])], axis=1)[columns]
        return frame.sort_values(
            [*order, "client_id"],
            ascending=[False] * len(order) + [True],
            kind="stable",
            ignore_index=True,
        )

    def stuck(self) -> pd.DataFrame:
        """Customers that are in a stage longer than nearly all, most ARR first."""
        rows = []
        for client in self.live.index.intersection(list(self.spells)):
            spell = self.spells[client]
            if spell.stage not in self.lifecycle.stuck_stages:
                continue
            position = position_on_curve(
                self.curves.get(spell.stage), spell.days(self.as_of), self.settings, spell.stage
            )
            if position.stuck:
                rows.append(self._stuck(client, position))
        return self._listed(rows, STUCK, ["arr"])

    def _stuck(self, client: str, position: PositionOnCurve) -> dict[str, Any]:
        spell = self.spells[client]
        typical, share = (
            self.curves[spell.stage].median.time,
            100 * self.lifecycle.stuck_share,
        )
        return {
            "client_id": client,
            "stage": spell.stage,
            "since": spell.start,
            "days": position.day,
            "share_still_in": position.still_in,
            "typical_days": typical,
            "reason": f"{position.day} days in {spell.stage.replace('_', ' ')}; half exit by day {typical:.0f}, "
            f"and {share:.0f}% are still in it after {position.stuck_from:.0f} days",
        }

    def moves(self) -> pd.DataFrame:
        """What customers did lately that a reader asks about: fell back, came back to a stage, were won back.

        A setback has ``recovered`` where the customer moved on since.
        """
        since = self.as_of - dt.timedelta(days=self.lifecycle.recent_moves_days)
        frame = moves_frame(self.times, since, self.lifecycle)
        stage = frame["client_id"].map(self.live["stage"]).astype(object)
        left = stage.notna() & (stage != frame["target"]) & (frame["kind"] == "setback")
        frame = pd.concat([frame, self._profiles(frame["client_id"])], axis=1)
        return frame.assign(recovered=left)

    def setbacks(self, moves: pd.DataFrame) -> pd.DataFrame:
        """The live customers that fell back and are still there, each once, the latest move."""
        rows = moves[(moves["kind"] == "setback") & moves["client_id"].isin(self.live.index)]
        return rows[~rows["recovered"]].drop_duplicates("client_id")

    @cached_property
    def ready(self) -> pd.DataFrame:
        """The moves whose criteria are all met, most ARR first, without those out of a stage “at risk” that is not settled."""
        if self.known_by is not None:
            return pd.DataFrame(columns=READY)
        only = None if self.only is None else self.chosen
        settled = self.lifecycle.settled_days
        steps = plan(self.portfolio, self.day, only, self.as_of > self.day)
        rows = [
            {
                "client_id": step.client_id,
                "source": step.source,
                "target": step.target,
                "since": step.since,
                "reason": step.reason,
            }
            for step in steps
            if step.automatic
            and (step.source != "at_risk" or (self.day - step.since).days >= settled)
        ]
        return self._listed(rows, READY, ["arr"])

    def _arr_of(self, rows: pd.DataFrame) -> float | None:
        """The ARR of a list's customers, each once; None where it cannot be added up."""
        if not self.money.addable:
            return None
        return round(float(self.money.amounts.reindex(rows["client_id"].unique()).sum()), 2)

    @cached_property
    def _scored(self) -> pd.DataFrame:
        """Of the live customers the score as it is shown, and whether it is provisional."""
        everyone = PortfolioContext.of(self.portfolio, self.day).everyone(self.day)
        return everyone.reindex(self.live.index)[["shown", "provisional"]]

    def _against_score(self) -> StageAgainstScore | None:
        if self.lifecycle.name or not self.live["stage"].notna().any():
            return None
        threshold = self.settings.report_card_threshold
        known = self._scored["shown"].notna() & (self._scored["provisional"] != 1)
        below = known & (self._scored["shown"] < threshold)
        staged = self.live["stage"] == "at_risk"
        soon = self.live["days_to_renewal"].between(0, 30)
        clients = self.live["client_id"]
        return StageAgainstScore(
            risk_threshold=threshold,
            in_stage=int(staged.sum()),
            below_threshold=int(below.sum()),
            both=int((staged & below).sum()),
            only_below=int((below & ~staged).sum()),
            only_below_arr=self._arr_of(clients[below & ~staged].to_frame()),
            only_in_stage=int((staged & ~below).sum()),
            only_in_stage_arr=self._arr_of(clients[staged & ~below].to_frame()),
            renewing_soon=int(soon.sum()),
            renewing_soon_in_stage=int((soon & (self.live["stage"] == "renewing")).sum()),
        )

    def _next_actions(self, *lists: pd.DataFrame) -> list[NextAction]:
        """The first action of the shared list for customers that are stuck, fell back or are contradicted."""
        known = NextActions.of(self.portfolio, self.day)
        return known.ranked(dict.fromkeys(pd.concat([rows["client_id"] for rows in lists])))

    def disagreements(self) -> pd.DataFrame:
        """Where a recorded stage and contracts, leaving or usage are two things, most ARR first."""
        customers, known = customers_as_of(self.portfolio, self.day), contracts(self.portfolio)
        churned_on, notice_on = customers["churned_on"], customers.get("notice_on")
        silent = self.everyone["days_since_last_person_event"]
        rows = []
        for client, spell in self.spells.items():
            figures = contract_figures(known, client, self.day, spell.start)
            quiet = silent.get(client)
            figures["days_since_last_person_event"] = (
                None if quiet is None or pd.isna(quiet) else float(quiet)
            )
            if client in self._scored.index:
                score, provisional = self._scored.loc[client]
                figures["health_score"] = None if pd.isna(score) else float(score)
                figures["provisional"] = provisional == 1
                ahead = self.live.loc[client, "days_to_renewal"]
                figures["days_to_renewal"] = None if pd.isna(ahead) else float(ahead)
            figures["notice_on"] = None if notice_on is None else day_of(notice_on[client])
            churned = day_of(churned_on[client])
            rows += [
                {
                    "client_id": client,
                    "recorded": part.recorded_stage,
                    "suggests": part.suggests,
                    "kind": part.kind,
                    "since": part.since,
                    "reason": part.text,
                }
                for part in disagreements(
                    spell.stage, spell.start, churned, figures, self.day, self.settings
                )
            ]
        return self._listed(rows, DISAGREE, ["arr"])

    # -- about the response -----------------------------------------------------------------

    def _recommendations(
        self,
        stuck: pd.DataFrame,
        contradictions: pd.DataFrame,
        setbacks: pd.DataFrame,
        ready: pd.DataFrame,
    ) -> list[TriggeredRule]:
        delayed, fallen, wrong = (
            rows[~rows["client_id"].isin(ready["client_id"])]
            for rows in (stuck, setbacks, contradictions)
        )
        fallen = fallen[~fallen["client_id"].isin(contradictions["client_id"])]
        figures = {
            "customers": len(self.live),
            "stuck_names": _listed_names(delayed),
            "disagreement_names": _listed_names(wrong),
            "setback_names": _listed_names(fallen.sort_values("arr", ascending=False)),
            "stuck": len(delayed),
            "disagreements": len(wrong),
            "setbacks": len(fallen),
            "setbacks_recorded": len(setbacks),
            "window_days": self.lifecycle.recent_moves_days,
            "ready": None if self.known_by is not None else len(ready),
            "ready_names": _listed_names(ready),
            "without_stage": int(self.live["stage"].isna().sum()),
        }
        return rules.triggered(TOOL, "portfolio_action", figures, self.settings.rules)

    def _excluded(self) -> dict[str, int]:
        signup = pd.to_datetime(customers(self.portfolio).loc[self.chosen, "signup_date"])
        return {
            "churned": int(self.churned.sum()),
            "prospect": int(self.prospect.sum()),
            "not_started": int((signup > pd.Timestamp(self.day)).sum()),
        }

    def _warnings(self) -> list[str]:
        warnings = chosen_warnings(self.only)
        if self.as_of > self.day:
            warnings.append(f"the data end on {self.day}: what is counted from them is as of then")
        if not self.money.addable:
            warnings.append(
                "several currencies and no rates: amounts are listed, and never added up"
            )
        if not self.spells:
            warnings.append("no stage was imported or recorded")
        return warnings

    def _not_measured(self) -> dict[str, str]:
        reasons: dict[str, str] = {}
        if not self.money.addable:
            reasons |= dict.fromkeys(
                ("$.total_arr", "$.stage_arr"), "several currencies and no rates"
            )
        few = [stage for stage, curve in self.curves.items() if curve.n < self.lifecycle.min_spells]
        if few:
            reasons["$.stages[*].typical_days"] = (
                f"fewer than {self.lifecycle.min_spells} times were watched in {', '.join(few)}"
            )
        return reasons


def _listed_names(rows: pd.DataFrame) -> str | None:
    """The customers of a list, each once, by name."""
    return rules.listed(rows.drop_duplicates("client_id")["name"].astype(str)) or None
