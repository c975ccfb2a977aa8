"""What to do next with each live customer: one ranked list over all that the tools know.

The rules are ``healthseg/rules/actions.toml`` and the setting ``next_actions``. Their figures are the panel's metrics and what
milestones, stages, contracts and interventions say. An expected effect is the portfolio's own history, or absent.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from healthseg.charts import formats
from healthseg.metrics.milestones import states
from healthseg.metrics.money_rows import open_invoices
from healthseg.metrics.stages import history, portfolio_stage_spells, portfolio_time_in_stage
from healthseg.periods import weekly
from healthseg.rules import (
    NEXT_ACTIONS,
    SEVERITIES,
    ActionRule,
    TriggeredRule,
    action_rules,
    listed,
    triggered,
)
from healthseg.scoring.recoveries import Recoveries, recoveries
from healthseg.scoring.scored_panel import portfolio_scores
from healthseg.tools.context import PortfolioContext, panel_rows
from healthseg.tools.expansion import arr_per_seat, idle_seats
from healthseg.tools.values import in_percent, number, word

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

UNKNOWN_TIER = "These"
OF_ONE_KIND = 2


class NextAction(BaseModel):
    """What to do next with a customer, who, by when, why, and what depends on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    action: str = Field(description="The rule's name")
    topic: str = Field(description="What it is about: renewal, usage, milestones, …")
    text: str = Field(description="What to do")
    why: str = Field(description="The reason with its figures")
    severity: str = Field(description="low, medium, high or critical")
    owner: str | None = Field(description="The manager, csm_id")
    due_on: dt.date | None = Field(description="By when")
    arr: float | None = Field(description="ARR concerned: the customer's")
    currency: str | None = Field(description="Currency of the ARR")
    effect: str | None = Field(
        description="What the portfolio's history says of it; null where it says nothing"
    )
    figures: dict[str, Any] = Field(description="The figures that the rule reads")

    @property
    def triggered(self) -> TriggeredRule:
        return TriggeredRule(
            rule=self.action, text=self.text, severity=self.severity, figures=self.figures
        )


ACTION_COLUMNS = [name for name in NextAction.model_fields if name != "figures"]
RECORD_COLUMNS = [
    "client_id",
    "name",
    "owner",
    "milestone_id",
    "milestone",
    "days_overdue",
    "completed",
    "total",
]


class NextActions:
    """The next actions of a portfolio's live customers at ``as_of``, built once per open portfolio."""

    def __init__(self, portfolio: Portfolio, as_of: dt.date) -> None:
        self.portfolio, self.as_of = portfolio, as_of
        self.settings, self.context = portfolio.settings, PortfolioContext.of(portfolio, as_of)
        self.rules = action_rules(self.settings.next_actions)

    @classmethod
    def of(cls, portfolio: Portfolio, as_of: dt.date) -> NextActions:
        return portfolio.cache.get("next_actions", as_of, lambda: cls(portfolio, as_of), disk=False)

    def customer(
        self, client_id: str, own: Mapping[str, Any] | None = None, effects: bool = False
    ) -> list[NextAction]:
        """All next actions of a live customer, the first one first; ``own`` figures go before those known here."""
        if client_id not in self.context.live.index:
            return []
        figures = self.figures(client_id) | dict(own or {})
        triggered, topics = [], set()
        for item in self._rules_of(figures):
            if item.topic not in topics and item.rule.condition.holds(figures):
                topics.add(item.topic)
                triggered.append(self._action(item, client_id, figures, effects))
        return sorted(triggered, key=lambda action: -SEVERITIES.index(action.severity))

    def _rules_of(self, figures: Mapping[str, Any]) -> list[ActionRule]:
        """The rules that make sense for a customer: after notice nobody is asked to widen its use, and with an urgent
        ticket open nobody is shown features or asked to buy more."""
        settings, waits = self.settings, (figures.get("open_high_tickets") or 0) >= 1
        if figures["gave_notice"]:
            return [item for item in self.rules if item.topic in settings.topics_after_notice]
        later = settings.topics_after_tickets if waits else ()
        return [item for item in self.rules if item.topic not in later]

    def shown(self, client_id: str, own: Mapping[str, Any] | None = None) -> list[NextAction]:
        """The first actions of a customer, as many as a page shows."""
        return self.customer(client_id, own)[: self.settings.next_actions_shown]

    def first_of(
        self, clients: Iterable[str], topics: Collection[str] = (), effects: bool = False
    ) -> Iterator[NextAction]:
        """The first action of each customer, in the order of ``clients``; with ``topics`` the first about one of them."""
        for client in clients:
            actions = self.customer(client, effects=effects)
            about = (action for action in actions if not topics or action.topic in topics)
            yield from itertools.islice(about, 1)

    def _action(
        self, item: ActionRule, client_id: str, figures: Mapping[str, Any], effects: bool
    ) -> NextAction:
        outcome = item.rule.evaluate(figures)
        assert outcome is not None  # its condition holds
        due, renewal = item.due_in(figures), figures["renewal_days"]
        if due is not None and renewal is not None and renewal >= 0:
            due = min(due, int(renewal))  # nothing is due once the term is over
        return NextAction(
            client_id=client_id,
            name=str(self.context.names[client_id]),
            action=outcome.rule,
            topic=item.topic,
            text=outcome.text,
            why=item.reason(figures),
            severity=outcome.severity,
            owner=self._owner(client_id),
            due_on=None if due is None else self.as_of + dt.timedelta(days=due),
            arr=number(figures["arr"]),
            currency=figures["currency"],
            effect=self._effect(item, figures) if effects else None,
            figures=outcome.figures,
        )

    def frame(self) -> pd.DataFrame:
        """A row an action of each live customer (``ACTION_COLUMNS``) and ``expected_churned_arr``: the most severe and
        the most money first."""
        rows = [
            action.model_dump(exclude={"figures"}) | {"rank": rank}
            for client_id in self.context.client_ids
            for rank, action in enumerate(self.customer(client_id, effects=True), 1)
        ]
        frame = pd.DataFrame(rows, columns=[*ACTION_COLUMNS, "rank"])
        frame["expected_churned_arr"] = frame["client_id"].map(self.context.expected_churned_arr)
        order = frame.assign(
            severe=-frame["severity"].map(SEVERITIES.index).astype(int),
            money=-frame["expected_churned_arr"].astype(float).fillna(0.0),
        ).sort_values(["severe", "money", "client_id", "rank"], kind="stable")
        return frame.loc[order.index].reset_index(drop=True)

    def ranked(self, clients: Iterable[str], topics: Collection[str] = ()) -> list[NextAction]:
        """``first_of`` with effects: the most severe first, then the most ARR. As many as a page shows; a third of one
        kind only where there is no other."""
        seen: Counter[str] = Counter()
        named: list[NextAction] = []
        again: list[NextAction] = []
        for action in sorted(self.first_of(clients, topics, effects=True), key=_most_urgent):
            seen[action.action] += 1
            (again if seen[action.action] > OF_ONE_KIND else named).append(action)
        return sorted([*named, *again][: self.settings.next_actions_shown], key=_most_urgent)

    def across(self, clients: Iterable[str]) -> list[TriggeredRule]:
        """What is to be done with several customers at once: the renewals that are near and open, the most ARR first: not those
        that are signed already, nor those of short terms that renew by themselves.

        Their figures have the ``client_ids``, their ``owners``, and when the first and the last are due.
        """
        live, days = self.context.live, self.settings.closing_days
        near = live["days_to_renewal"].astype(float).between(0, days)
        near &= live["days_since_notice"].isna() & live.index.isin(list(clients))
        term = live["contract_term_days"].astype(float)
        near &= ~(live["contract_auto_renews"].eq(1) & (term < self.settings.rolling_term_days))
        near &= ~live.index.isin(self._signed)
        amounts = self.context.money.amounts.reindex(live.index[near]).astype(float)
        chosen = amounts.sort_values(ascending=False, kind="stable")
        ahead = live["days_to_renewal"].astype(float)[chosen.index]
        arr = float(chosen.sum()) if self.context.money.addable and chosen.notna().any() else None
        words = formats.brief_money(arr, self.context.money.currency) if arr else "ARR unknown"
        held = triggered(
            NEXT_ACTIONS,
            "portfolio_action",
            {
                "renewals": len(chosen),
                "closing_days": days,
                "renewing_names": listed(self.context.names[chosen.index].astype(str)) or None,
                "renewing_arr_words": words,
            },
            self.settings.rules,
        )
        about = {
            "client_ids": list(chosen.index),
            "owners": list(dict.fromkeys(filter(None, map(self._owner, chosen.index)))),
            "first_on": self._day(ahead.min()) if len(ahead) else None,
            "due_on": self._day(ahead.max()) if len(ahead) else None,
            "renewing_arr": arr,
        }
        return [item.model_copy(update={"figures": item.figures | about}) for item in held]

    @cached_property
    def _signed(self) -> set[str]:
        """Customers with a contract that was signed and begins later."""
        if not self.portfolio.has("contracts"):
            return set()
        rows, day = self.portfolio.table("contracts"), pd.Timestamp(self.as_of)
        if "signed_on" not in rows:
            return set()
        ahead = (pd.to_datetime(rows["starts_on"]) > day) & (
            pd.to_datetime(rows["signed_on"]) <= day
        )
        return set(rows.loc[ahead, "client_id"].astype(str))

    def _owner(self, client_id: str) -> str | None:
        return word(self._managers.get(client_id))

    # -- figures ---------------------------------------------------------------------------

    def figures(self, client_id: str) -> dict[str, Any]:
        """The named figures of a customer that the rules read."""
        row, settings = self.context.live.loc[client_id], self.settings
        panel = {
            name: number(value)
            for name, value in row.items()
            if isinstance(value, int | float | np.number | np.bool)
        }
        notice, renewal = panel.get("days_since_notice"), panel.get("days_to_renewal")
        amount, then = number(self.context.money.amounts.get(client_id)), self._then
        currency = self.context.money.currency or word(row["currency"])
        before = number(then["shown"].get(client_id))
        change = None if before is None or panel["shown"] is None else panel["shown"] - before
        return {
            **panel,
            **self._drops(panel, client_id),
            **self._review(client_id, word(row["tier"]), panel),
            **self._milestones.get(client_id, {}),
            **self._stages.get(client_id, {}),
            **settings.limits_in_rules,
            "doubtful_days": settings.doubtful_days,
            "gave_notice": int(notice is not None),
            "notice_on": None if notice is None else formats.day(self._day(-notice)),
            "arr": amount,
            "currency": currency,
            "arr_words": None if amount is None else formats.brief_money(amount, currency),
            "score": panel["shown"],
            "score_change": change,
            "score_drop": None if change is None else -change,
            "lookback_days": settings.score_lookback_days,
            "risk_threshold": settings.report_card_threshold,
            "renewal_days": renewal,
            "renewal_on": None if renewal is None else formats.day(self._day(renewal)),
            "signed": int(client_id in self._signed),
            "renews_itself": int(panel.get("contract_auto_renews") == 1),
            **self._share(amount),
            "tier_words": word(row["tier"]) or UNKNOWN_TIER,
            "champion_percent": in_percent(panel.get("champion_share")),
            "top_user_percent": in_percent(panel.get("top_user_share_28d")),
            "seat_percent": in_percent(panel.get("seat_utilisation")),
            **self._idle(client_id, currency),
            **self._billed(client_id, panel, word(row["currency"])),
        }

    @cached_property
    def _billed_clients(self) -> set[str]:
        rows = self.portfolio.table("invoices")
        issued = pd.to_datetime(rows["issued_on"]) <= pd.Timestamp(self.as_of)
        return set(rows.loc[issued, "client_id"])

    @cached_property
    def _overdue(self) -> pd.Series:
        """What is overdue of each customer's invoices, after payments and credit notes."""
        rows = open_invoices(self.portfolio, self.as_of, None)
        rows = rows[rows["until"] < pd.Timestamp(self.as_of)]
        return rows.groupby("client_id")["amount"].sum()

    def _billed(
        self, client_id: str, panel: Mapping[str, Any], currency: str | None
    ) -> dict[str, Any]:
        """How much is overdue, and whether a customer that is not new has had no invoice at all."""
        words, without = "An invoice is", 0
        if self.portfolio.has("invoices"):
            amount = number(self._overdue.get(client_id))
            words = f"{formats.brief_money(amount, currency)} is" if amount else words
            without = int(client_id not in self._billed_clients and panel.get("provisional") != 1)
        return {"overdue_words": words, "without_invoice": without}

    @cached_property
    def _idle_seats(self) -> pd.DataFrame:
        seats = idle_seats(self.context.live)
        return pd.DataFrame({"seats": seats, "arr": seats * arr_per_seat(self.context, self.as_of)})

    def _idle(self, client_id: str, currency: str | None) -> dict[str, Any]:
        """The seats that nobody uses, and their share of the ARR."""
        seats, arr = (number(value) for value in self._idle_seats.loc[client_id])
        if seats is None or arr is None:
            return {}
        words = formats.brief_money(arr, currency)
        return {"idle_seats": seats, "idle_arr": arr, "idle_arr_words": words}

    def _share(self, amount: float | None) -> dict[str, float | None]:
        """The customer's part of all ARR, where it can be added up."""
        total = self._total
        share = None if amount is None or not total else amount / total
        limit = self.settings.large_arr_share
        return {"arr_share": share, "arr_percent": in_percent(share), "large_arr_share": limit}

    @cached_property
    def _total(self) -> float | None:
        money = self.context.money
        amounts = money.amounts.reindex(self.context.live.index).astype(float)
        return float(amounts.sum()) if money.addable and len(amounts) > 1 else None

    def _day(self, days: float) -> dt.date:
        return self.as_of + dt.timedelta(days=int(days))

    @cached_property
    def _then(self) -> pd.DataFrame:
        days = dt.timedelta(days=self.settings.score_lookback_days)
        return self.context.everyone(self.as_of - days)

    @cached_property
    def _managers(self) -> pd.Series:
        return self.context.static("csm_id", snapshot=True)

    @cached_property
    def _users_before(self) -> pd.Series:
        day = self.as_of - dt.timedelta(days=self.settings.arr_comparison_days)
        return panel_rows(self.portfolio, day)["monthly_active_users"].astype(float)

    def _drops(self, panel: Mapping[str, Any], client_id: str) -> dict[str, Any]:
        baseline, now = panel.get("usage_vs_own_baseline"), panel.get("monthly_active_users")
        before = number(self._users_before.get(client_id))
        drop = None if now is None or not before else 100 * (1 - now / before)
        return {
            "users_before": before,
            "users_drop_percent": drop,
            "usage_drop_percent": None if baseline is None else 100 * (1 - baseline),
        }

    def _review(
        self, client_id: str, tier: str | None, panel: Mapping[str, Any]
    ) -> dict[str, int | None]:
        """How often the tier has a review, when the last one was and when the next is due."""
        cadence = self.settings.review_days.get(tier or "", self.settings.review_days_otherwise)
        last = self._last_reviews.get(client_id)
        if last is None:
            tenure = int(panel["tenure_days"] or 0)
            since, ahead = None, cadence - tenure % cadence
        else:
            since = (self.as_of - last).days
            ahead = max(0, cadence - since)
        return {"review_days": cadence, "days_since_review": since, "days_to_review": ahead}

    @cached_property
    def _last_reviews(self) -> dict[str, dt.date]:
        rows = self._interventions
        if rows is None:
            return {}
        rows = rows[rows["kind"].isin(self.settings.review_kinds)]
        last = pd.to_datetime(rows["happened_at"]).groupby(rows["client_id"]).max()
        return {str(client): day.date() for client, day in last.items()}

    @cached_property
    def _interventions(self) -> pd.DataFrame | None:
        if not self.portfolio.has("interventions"):
            return None
        rows = self.portfolio.table("interventions")
        end = pd.Timestamp(self.as_of + dt.timedelta(days=1))
        return rows[pd.to_datetime(rows["happened_at"]) < end]

    # -- milestones and stages ---------------------------------------------------------------

    @cached_property
    def _open(self) -> pd.DataFrame:
        """The live customers' milestones with days_overdue (NaN: not)."""
        rows = states(self.portfolio, self.as_of)
        rows = rows[rows["client_id"].isin(self.context.live.index)]
        late = rows["status"] == "overdue"
        days = (rows["day"] - rows["target_day"]).astype(float).where(late)
        return rows.assign(days_overdue=days, total=rows["planned"])

    @cached_property
    def _milestones(self) -> dict[str, dict[str, Any]]:
        """What is late and what is blocked, by customer; records that are only to be closed are neither."""
        rows = self._open[~self._open["to_close"]]
        late = rows[rows["days_overdue"].notna() & rows["required"]]
        late = late.sort_values(["target_day", "milestone_id"], kind="stable")
        blocked = rows[rows["blocked"].astype(bool)]
        counts = {"overdue_required": late, "blocked": blocked}
        known = {name: part["client_id"].value_counts().to_dict() for name, part in counts.items()}
        figures: dict[str, dict[str, Any]] = {
            str(client): {name: known[name].get(client, 0) for name in counts}
            for client in self._open["client_id"].unique()
        }
        for row in late.drop_duplicates("client_id").to_dict("records"):
            figures[str(row["client_id"])] |= {
                "overdue_milestone": str(row["name"]),
                "milestone_days_overdue": float(row["days_overdue"]),
            }
        for row in blocked.drop_duplicates("client_id").to_dict("records"):
            figures[str(row["client_id"])] |= {
                "blocked_milestone": str(row["name"]),
                "blocker": str(row["blocker"]).replace("_", " "),
                "blocker_days": number(row["day"] - row["blocked_day"]),
            }
        return figures

    def records(self) -> pd.DataFrame:
        """Milestones that stayed open in the records of customers that did nearly all: to close, not to act on."""
        rows = self._open[self._open["to_close"]].copy()
        rows["milestone"] = rows["name"]
        rows["name"] = rows["client_id"].map(self.context.names)
        rows["owner"] = rows["client_id"].map(self._managers).astype(object)
        rows = rows.sort_values(["days_overdue", "client_id"], ascending=[False, True])
        return rows[RECORD_COLUMNS].reset_index(drop=True)

    @cached_property
    def _stages(self) -> dict[str, dict[str, Any]]:
        known = history(self.portfolio)
        spells = portfolio_stage_spells(self.portfolio, known, self.as_of, None)
        curves = portfolio_time_in_stage(self.portfolio, known, self.as_of, None)
        lifecycle, figures = self.settings.lifecycle, {}
        for row in spells[spells["exit_to"].isna()].to_dict("records"):
            stage, days = str(row["stage"]), float(row["days"])
            curve, still = curves.get(stage), None
            if curve is not None and curve.n >= lifecycle.min_spells:
                still = curve.still_in(days)
            may_be_stuck = stage in lifecycle.stuck_stages and still is not None
            figures[str(row["client_id"])] = {
                "stage_words": stage.replace("_", " "),
                "days_in_stage": days,
                "still_percent": in_percent(still),
                "stuck": int(may_be_stuck and float(still or 0.0) <= lifecycle.stuck_share),
            }
        return figures

    # -- effects -----------------------------------------------------------------------------

    def _effect(self, item: ActionRule, figures: Mapping[str, Any]) -> str | None:
        """What customers with such a score did after an intervention, beside similar ones without."""
        score, past = figures["score"], None
        if item.effect == "recovery" and score is not None and score < self.settings.recovery_score:
            past = self._recoveries
        if past is None or past.reason is not None:
            return None
        shares = [formats.percent(past.success_rate), formats.percent(past.matched_success_rate)]
        return (
            f"{shares[0]} of such customers recovered within {self.settings.recovery_days} days after an "
            f"intervention, {shares[1]} of similar ones without (n = {past.treated})"
        )

    @cached_property
    def _recoveries(self) -> Recoveries:
        settings = self.settings
        weeks, days = weekly(self.as_of, settings.score_history_days), settings.score_lookback_days
        scored = portfolio_scores(self.portfolio, self.as_of, days, dates=weeks)
        return recoveries(
            scored.history, self._interventions, settings, settings.seed, settings.interval_level
        )


def _most_urgent(action: NextAction) -> tuple[int, float, str]:
    return -SEVERITIES.index(action.severity), -(action.arr or 0.0), action.name
