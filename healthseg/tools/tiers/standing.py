"""Where a customer stands by value: its tier, what it would take to the next, its potential and from what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from healthseg.clustering.rules import UNPLACED, bounds
from healthseg.tools.rounding import integer, number, rounded, word
from healthseg.tools.tiers.at_risk import probabilities
from healthseg.tools.tiers.ready import RULES
from healthseg.tools.tiers.result import Range, TierPlace

if TYPE_CHECKING:
    from healthseg.tools.tiers.answer import Tiers


def places(run: Tiers, needs: pd.DataFrame) -> dict[str, TierPlace]:
    """Every live customer's place, by client_id."""
    hours = needs.set_index("tier")["hours_each"]
    ids = run.arr.index.to_series()
    order = (
        run.arr.to_frame("arr")
        .assign(id=ids)
        .sort_values(["arr", "id"], ascending=[False, True], kind="stable")
    )
    rank = {client: at for at, client in enumerate(order.index[order["arr"].notna()], start=1)}
    table, total = _table(run), run.money.total()
    return {
        str(row["client_id"]): _place(run, row, hours, rank, total)
        for row in table.to_dict("records")
    }


def _table(run: Tiers) -> pd.DataFrame:
    chance = probabilities(run.figures)
    frame = pd.DataFrame(
        {
            "client_id": run.rows.index,
            "name": run.figures.names,
            "number": run.number,
            "tier": run.tier,
            "arr": run.arr,
            "score": run.rows["shown"],
            "seats": run.rows["seats"],
            "users": run.rows["monthly_active_users"],
            "csm_id": run.figures.static("csm_id", snapshot=True),
            "strategic": run.ranked["strategic_value"],
            "no_rate": run.rows.index.isin(run.money.no_rate),
        },
        index=run.rows.index,
    )
    frame = frame.join(run.potential).join(run.ready)
    frame = frame.join(chance[["probability", "gave_notice"]]).join(
        chance[["lower", "upper"]].add_prefix("chance_")
    )
    if run.since is None:
        return frame.assign(tier_then=None, start=None)
    return frame.join(run.movements[["tier_then", "start"]])


def _place(
    run: Tiers, row: dict, hours: pd.Series, rank: dict[str, int], total: float | None
) -> TierPlace:
    at, client = int(row["number"]), str(row["client_id"])
    low, high = bounds(run.limits, at) if at != UNPLACED else (None, None)
    by = _classified_by(run, row)
    arr, loss = number(row["arr"]), number(row["probability"])
    ranked = run.asked.segmentation_model == "strategic_value"
    seen = high is not None and by is not None and not ranked
    return TierPlace(
        client_id=client,
        name=str(row["name"]),
        tier=row["tier"],
        reason=None
        if at != UNPLACED
        else "its ARR's currency has no rate"
        if row["no_rate"]
        else "no ARR is known",
        arr=rounded(arr, 2),
        classified_by=rounded(by, 4),
        rank=rank.get(client),
        of=len(rank),
        share_of_arr=rounded(arr / total) if arr is not None and total else None,
        above=None if ranked else low,
        up_to=None if ranked else high,
        next_tier=run.names[at + 1] if 0 <= at < len(run.names) - 1 else None,
        to_next=round(max(high - by, 0.0), 2) if seen else None,
        lower_tier=run.names[at - 1] if at > 0 else None,
        to_lower=round(by - low, 2) if low is not None and by is not None and not ranked else None,
        tier_a_year_ago=word(row["tier_then"]),
        arr_a_year_ago=rounded(number(row["start"]), 2),
        potential=rounded(number(row["potential"]), 2),
        potential_interval=Range(
            lower=rounded(number(row["lower"]), 2), upper=rounded(number(row["upper"]), 2)
        ),
        potential_source=word(row["source"]),
        from_seats=rounded(number(row["seats_potential"]), 2),
        from_premium_features=rounded(number(row["premium_potential"]), 2),
        users_in_a_year=rounded(number(row["users_in_a_year"]), 1),
        seats=number(row["seats"]),
        users=number(row["users"]),
        contraction_exposure=rounded(number(row["contraction_exposure"]), 2),
        ready=None if row["undecided"] else bool(row["ready"]),
        rules={
            name: None if row[name] is None or pd.isna(row[name]) else bool(row[name])
            for name in RULES
        },
        score=integer(row["score"]),
        leaving_probability=rounded(loss),
        leaving_interval=Range(
            lower=rounded(number(row["chance_lower"])), upper=rounded(number(row["chance_upper"]))
        ),
        gave_notice=bool(row["gave_notice"]),
        expected_loss=round(arr * loss, 2) if arr is not None and loss is not None else None,
        hours_per_month=number(hours.get(row["tier"])),
        csm_id=word(row["csm_id"]),
        strategic_value=rounded(number(row["strategic"]), 2),
    )


def _classified_by(run: Tiers, row: dict) -> float | None:
    """What decided its tier: ARR, ARR and potential, or the weighted rank."""
    if run.asked.segmentation_model == "strategic_value":
        return number(run.composite.get(row["client_id"]))
    arr, more = number(row["arr"]), number(row["potential"])
    if run.asked.segmentation_model == "potential_based" and arr is not None:
        return arr + (more or 0.0)
    return arr
