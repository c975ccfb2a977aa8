"""Results of the overviews: the next actions of all customers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from healthseg.charts import formats
from healthseg.metrics.money import PARTS
from healthseg.rules import counted
from healthseg.tools.base import Figure, Part, Result, TriggeredRule
from healthseg.tools.next_actions import NextAction
from healthseg.tools.renewals import RenewalRisk
from healthseg.tools.revenue import PredictedAndHappened, ScoresBeforeChurn

if TYPE_CHECKING:
    from healthseg.charts.theme import Picture

NO_YEAR = "no ARR of a year before is known"
NO_ARR = "no ARR is known, or several currencies and no rates"
NO_SCORE = "no score was known on that day"
NO_CHURN = "no churn rate is known"


class RecordToClose(Part):
    """A milestone left open in the records of a customer that did nearly all of them."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    owner: str | None = Field(description="The manager, csm_id")
    milestone_id: str = Field(description="Milestone")
    milestone: str = Field(description="Its name")
    days_overdue: int = Field(description="Days since it was due")
    completed: int = Field(description="Milestones that the customer completed")
    total: int = Field(description="Milestones of its plan")


class NextActionList(Result):
    """What to do next, of each live customer at least one action.

    Frames: actions (a row an action, the most severe and the most money first), records (milestones to close).
    """

    customers: int = Field(description="Live customers, each with at least one action")
    currency: str | None = Field(
        description="Currency of the amounts; null where there are several"
    )
    actions: list[NextAction] = Field(description="The first of each customer, ranked")
    records: list[RecordToClose] = Field(description="Records to close; no actions")

    def verdict(self) -> str:
        urgent = sum(action.severity in ("high", "critical") for action in self.actions)
        return f"Next actions of {counted(self.customers, 'customer')}: {urgent} urgent"

    def summary(self) -> dict[str, Any]:
        return {
            "Customers": self.customers,
            "First": "; ".join(f"{action.name}: {action.text}" for action in self.actions[:5]),
            "Records to close": len(self.records),
        }


# -- the board ------------------------------------------------------------------------------------


class Row(Part):
    """A row of a frame; ``missing`` says why a column may be null."""

    missing: ClassVar[dict[str, str]] = {}

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        known = {name: row.get(name) for name in cls.model_fields}
        for name, reason in cls.reasons(row).items():
            known[name] = Figure(None, reason) if known[name] is None else known[name]
        return cls(**known)

    @classmethod
    def reasons(cls, row: dict[str, Any]) -> dict[str, str]:
        return cls.missing


class MonthOfRevenue(Row):
    """A month's movements of ARR, and retention over the 12 months before its end."""

    missing: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("nrr", "grr"), NO_YEAR),
        **dict.fromkeys(PARTS, NO_ARR),
    }
    month: dt.datetime = Field(description="The month's end")
    nrr: float | None = Field(description="Net revenue retention over 12 months")
    grr: float | None = Field(description="Gross revenue retention over 12 months")
    start: float | None = Field(description="ARR of the month end before")
    new: float | None = Field(description="ARR of new customers")
    expansion: float | None = Field(description="Rises")
    contraction: float | None = Field(description="Falls, negative")
    churn: float | None = Field(description="ARR of churned customers, negative")
    end: float | None = Field(description="ARR of the month end")
    churned: int = Field(description="Churned customers")


class RevenueMove(Part):
    """One of the largest movements of a bar of the bridge."""

    part: str = Field(description="new, expansion, contraction or churn")
    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    arr: float = Field(description="Change of its ARR in a year")


class ChurnedCustomer(Row):
    """A customer that churned within a year."""

    missing: ClassVar[dict[str, str]] = {
        "arr": NO_ARR,
        "score": NO_SCORE,
        "notice_on": "no notice is recorded",
        "reason": "no reason is recorded with the stage",
        "won_back_on": "it was not won back",
    }
    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    churned_on: dt.datetime = Field(description="When it churned")
    notice_on: dt.datetime | None = Field(description="When notice was given")
    arr: float | None = Field(description="Its last known ARR")
    score: float | None = Field(description="Its score 90 days before (churned_score_days)")
    lost_by: str = Field(description="Which statement says that it churned")
    reason: str | None = Field(description="The reason recorded with its stage")
    won_back_on: dt.datetime | None = Field(description="When it was won back")


class RenewalWindow(Row):
    """What renews in a window, of a health band or of all."""

    missing: ClassVar[dict[str, str]] = {
        "arr": NO_ARR,
        "expected_customers": NO_CHURN,
        **dict.fromkeys(("expected", "lower", "upper"), f"{NO_CHURN}, or {NO_ARR}"),
    }
    window: str = Field(description="next 30 days, a quarter, overdue or uncontracted")
    kind: str = Field(description="days, quarter, overdue or uncontracted")
    band: str = Field(description="Health band, not scored, or all")
    customers: int = Field(description="Customers")
    arr: float | None = Field(description="Their ARR")
    expected_customers: float | None = Field(
        description="Customers expected to churn or give notice by the window's end"
    )
    expected: float | None = Field(description="ARR expected to churn by the window's end")
    lower: float | None = Field(description="Lower end of its interval")
    upper: float | None = Field(description="Upper end of its interval")
    of_largest: float | None = Field(
        description="The part of the ARR that is the largest account's; null where it does not renew then"
    )
    horizon_days: int = Field(description="Days until the window's end; churn_horizon_days without")
    note: str = Field(
        description="Where the end lies beyond what was tested, or is known; else empty"
    )

    @classmethod
    def reasons(cls, row: dict[str, Any]) -> dict[str, str]:
        if not row["note"].startswith("not measured"):
            return cls.missing
        return {**dict.fromkeys(cls.missing, row["note"]), "arr": NO_ARR}


class LargestAccount(Part):
    """The customer with so much of the ARR (``large_arr_share``) that its renewal alone decides the year."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    owner: str | None = Field(description="The manager, csm_id")
    arr: float = Field(description="ARR")
    share: float = Field(description="Its share of all ARR")
    times_churned: float | None = Field(description="Its ARR ÷ that of all that churned in a year")
    renewal_on: dt.date = Field(description="When it renews")
    days_to_renewal: int = Field(description="Days until then")
    score: float | None = Field(description="Health score")
    churn_probability: float | None = Field(description="Probability of churn in the horizon")
    renewal_risk: RenewalRisk | None = Field(
        description="What may churn through its renewal; null where that is no longer than the horizon, or untested"
    )
    seats: int | None = Field(description="Seats")
    idle_seats: int | None = Field(description="Seats that nobody used in a month")
    idle_arr: float | None = Field(description="Their ARR")
    csat: float | None = Field(description="CSAT of 180 days, 1 to 5")
    days_overdue: int | None = Field(description="Days that its oldest invoice is overdue")
    days_since_review: int | None = Field(description="Days since the last business review")
    plays: list[NextAction] = Field(description="What to do with it, the first first")


class LossReason(Part):
    """Why customers churned within a year, by the reason recorded with their stage."""

    reason: str = Field(description="The reason; unknown where none is recorded")
    customers: int = Field(description="Customers")
    arr: float | None = Field(description="Their last known ARR")


class PredictedArr(PredictedAndHappened):
    """The ARR that was expected to churn, by what was known then, against what churned or gave notice."""

    interval_level: float = Field(description="Level of the interval")
    expected_arr: float | None = Field(description="Expected churned ARR")
    lower: float | None = Field(description="Lower end of its interval")
    upper: float | None = Field(description="Upper end of its interval")
    churned_arr: float | None = Field(
        description="ARR on the day of the prediction of those that churned or gave notice"
    )
    outcome: Literal["below", "within", "above"] | None = Field(
        description="Where the churned ARR lies of the interval"
    )
    times_churned: float | None = Field(
        default=None, description="Expected ARR over what churned or gave notice"
    )


class PastPredictions(Part):
    """How the predictions of a year compare with what happened, together."""

    quarters: int = Field(description="Horizons that are over, one after the other")
    within: int = Field(description="Those in which the churned ARR lay in the interval")
    expected_arr: float = Field(description="ARR expected to churn, added up")
    churned_arr: float = Field(description="ARR that churned, added up")
    reads: Literal["too high", "too low", "about right"] = Field(
        description="What that says of the expected ARR of today"
    )


class SavedAccount(Row):
    """An account to save: what to do, who, by when."""

    client_id: str = Field(description="Customer identifier")
    name: str = Field(description="The customer's name")
    owner: str | None = Field(description="The manager, csm_id")
    score: float | None = Field(description="Health score")
    override: str | None = Field(description="What overrides the score, in words")
    churn_probability: float | None = Field(description="Probability of churn in the horizon")
    arr: float | None = Field(description="ARR")
    currency: str | None = Field(description="Currency of its amounts")
    expected_churned_arr: float = Field(description="Probability × ARR")
    days_to_renewal: float | None = Field(description="Days to the renewal")
    severity: str = Field(description="How urgent the play is: low, medium, high or critical")
    play: str = Field(description="What to do first")
    why: str = Field(description="Why")
    due_on: dt.date | None = Field(description="By when")
    effect: str | None = Field(description="What the portfolio's history says of it")


class WhatWouldChange(Part):
    """What the expected churn rests on."""

    expected_churned_arr: float | None = Field(description="Of all live customers, in the horizon")
    lower: float | None = Field(description="Lower end of its interval")
    upper: float | None = Field(description="Upper end of its interval")
    interval_level: float = Field(description="Level of the interval")
    nrr_gap_arr: float | None = Field(
        description="ARR of the customers of a year ago that is missing to the NRR target; 0 where it is reached"
    )
    expected_points: float | None = Field(
        description="The expected churned ARR in points of NRR (of the ARR of a year ago)"
    )
    accounts_points: float | None = Field(description="Of the accounts to save, in points of NRR")
    ready_points: float | None = Field(description="Of ready_potential, in points of NRR")
    idle_arr: float | None = Field(
        description="ARR of seats that nobody uses, of customers that renew within renewal_days"
    )
    renewal_days: int = Field(description="Days of that (idle_seats_renewal_days)")
    of_accounts: float = Field(description="Of the accounts to save")
    share_of_accounts: float | None = Field(description="Their share of all")
    uncontracted_customers: int = Field(description="Customers past their contract's end")
    uncontracted_arr: float | None = Field(description="Their ARR")
    notices: int = Field(description="Customers that gave notice")
    notice_arr: float | None = Field(description="Their ARR")
    ready: int = Field(description="Customers ready to expand")
    ready_arr: float | None = Field(description="Their ARR")
    ready_potential: float | None = Field(description="ARR that they may come to pay more")


class Board(Result):
    """What goes to the board. Frames: months, bridge (a row a customer), churned, renewals, accounts, waterfall."""

    tool: ClassVar[str] = "board"

    customers: int = Field(description="Live customers")
    excluded: dict[str, int] = Field(description="Customers not counted, by reason")
    horizon_days: int = Field(description="Horizon of the expected churn")
    currency: str | None = Field(description="Currency of the amounts")
    total_arr: float | None = Field(description="ARR of the live customers")
    nrr: float | None = Field(description="Net revenue retention over 12 months")
    grr: float | None = Field(description="Gross revenue retention over 12 months")
    nrr_target: float = Field(description="Target (setting)")
    grr_target: float = Field(description="Target (setting)")
    nrr_gap: float | None = Field(description="NRR − target, percentage points")
    grr_gap: float | None = Field(description="GRR − target, percentage points")
    compared_on: dt.date | None = Field(description="The month's end a quarter before")
    arr_change: float | None = Field(description="ARR since then, at today's rates")
    nrr_change: float | None = Field(description="NRR since then, percentage points")
    grr_change: float | None = Field(description="GRR since then, percentage points")
    largest: LargestAccount | None = Field(
        description="The largest account; null where none has large_arr_share of the ARR and a renewal"
    )
    months: list[MonthOfRevenue] = Field(description="By month, the last first day incomplete")
    bridge: list[RevenueMove] = Field(description="The largest movements of the year")
    churned: list[ChurnedCustomer] = Field(description="Who churned within a year, by ARR")
    churned_customers: int = Field(description="How many")
    churned_arr: float | None = Field(description="Their last known ARR")
    reasons: list[LossReason] = Field(description="Why, the most ARR first")
    scores_before: ScoresBeforeChurn | None = Field(
        description="How they scored a quarter before; null where none had a score"
    )
    renewals: list[RenewalWindow] = Field(description="What renews, by window and band")
    predicted: PredictedArr = Field(description="The last prediction against what happened")
    predictions: list[PredictedArr] = Field(
        description="Those of a year, the last first, a horizon apart"
    )
    past_predictions: PastPredictions | None = Field(
        description="What they say together; null where no two were possible"
    )
    portfolio_actions: list[TriggeredRule] = Field(
        default_factory=list, description="What to do with several customers at once"
    )
    accounts: list[SavedAccount] = Field(
        description="Accounts to save, the most expected loss first"
    )
    change: WhatWouldChange = Field(description="What would change the number")

    def verdict(self) -> str:
        if not self.customers:
            return "The portfolio has no live customers"
        if self.nrr is None or self.grr is None:
            return (
                f"{counted(self.customers, 'live customer')}; "
                f"{counted(self.churned_customers, 'customer') if self.churned_customers else 'nobody'} churned in a year; "
                f"revenue retention is unknown: {self.not_measured['$.nrr']}"
            )
        churned = counted(self.churned_customers, "customer")
        lost = formats.brief_money(self.churned_arr, self.currency)
        amount = (
            "" if self.churned_arr is None or not self.churned_customers else f" with {lost} ARR"
        )
        parts = [
            f"NRR is {formats.percent(self.nrr)} against a target of {formats.percent(self.nrr_target)}, GRR "
            f"{formats.percent(self.grr)} against {formats.percent(self.grr_target)}",
            f"{churned}{amount} churned in a year",
        ]
        if self.largest is not None:
            parts.append(
                f"one customer, {self.largest.name}, is {formats.percent(self.largest.share)} of ARR and renews on "
                f"{formats.day(self.largest.renewal_on)}"
            )
        return "; ".join(parts)

    def charts(self) -> dict[str, Picture]:
        from healthseg.charts import board, tiers

        return {
            "retention": board.retention(self.frame("months"), self.nrr_target, self.grr_target),
            "waterfall": tiers.waterfall(self.frame("waterfall"), self.currency, finding=True),
            "predicted": board.predicted(
                [row.model_dump() for row in self.predictions], self.currency
            ),
        }

    def summary(self) -> dict[str, Any]:
        return {"ARR": self.total_arr, "NRR": self.nrr, "GRR": self.grr}
