"""What blocks a customer's milestones, what to do about them, and what past customers saved by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from healthseg import rules
from healthseg.metrics.milestone_plan import date_of
from healthseg.statistics.effects import resamples
from healthseg.statistics.survival import median_times
from healthseg.tools.base import Figure
from healthseg.tools.milestones.milestone_day import OPEN, TOOL, MilestoneDay
from healthseg.tools.milestones.result import (
    Acceleration,
    BlockerEffect,
    MilestoneBlocker,
    MilestoneProgress,
    MilestoneRecommendation,
    SuccessProbability,
    TimeToValue,
)
from healthseg.tools.values import integer, number, rounded, word

SEVERITIES = ("high", "medium", "low")
NO_ACCELERATION = (
    "too few customers that were blocked by the same for as long got past it, or it saved them no "
    "significant time"
)
NOT_BLOCKED = "no blocker is recorded: nothing is known to delay it"
# figures of the rules of success that are metrics of the panel
METRICS = {
    "sessions": "sessions_per_user_per_week_28d",
    "stickiness": "stickiness_30d",
    "days_since_last_person_event": "days_since_last_person_event",
    "active_users": "monthly_active_users",
}
Milestone = Mapping[str, Any]


class OpenMilestones:
    """The open milestones of a customer: ``shown`` are those of the response, ``own`` all."""

    def __init__(
        self, day: MilestoneDay, shown: Sequence[Milestone], own: Sequence[Milestone]
    ) -> None:
        self.day, self.settings = day, day.settings
        self.shown = [row for row in shown if row["status"] in OPEN]
        self.open_ids = {row["milestone_id"] for row in own if row["status"] in OPEN}

    # -- blockers ------------------------------------------------------------------------

    def blockers(self) -> list[MilestoneBlocker]:
        """The recorded blockers that are not cleared, records to close aside, most severe and oldest first."""
        parts = [self._blocker(row) for row in self.shown if row["blocked"] and not row["to_close"]]
        return sorted(parts, key=_by_severity)

    def _blocker(self, row: Milestone) -> MilestoneBlocker:
        figures, (usual, usual_n) = self._figures(row), self.day.clearing(row["blocker"])
        triggered = [
            rule
            for rule in rules.triggered(TOOL, "action", figures, self.settings.rules)
            if "blocked" in rule.figures
        ]
        age = integer(figures["blocker_days"])
        return MilestoneBlocker(
            milestone_id=row["milestone_id"],
            milestone_name=row["name"],
            milestone_status=row["status"],
            blocker=row["blocker"],
            severity=severity(self.day, row),
            age_days=Figure(age, "the day on which it began was not entered"),
            since=date_of(row["blocked_day"]),
            owner=word(row["owner"]),
            holds_up=[self.day.names[name] for name in self._waiting_for(row)],
            usual_days_to_clear=usual.time,
            usual_lower=usual.lower,
            usual_upper=usual.upper,
            usual_n=usual_n,
            effect=blocker_effect(self.day, row["blocker"]),
            recommended_action=triggered[0].text if triggered else None,
            rules=triggered,
        )

    def _waiting_for(self, row: Milestone) -> list[str]:
        """The customer's open milestones that depend on this one."""
        dependents = self.day.dependents(row["milestone_id"])
        return [name for name in dependents if name in self.open_ids]

    def _figures(self, row: Milestone) -> dict[str, Any]:
        """The named figures of an open milestone that the rules read."""
        left, owner, to_close = self.day.days_left(row), word(row["owner"]), bool(row["to_close"])
        blocked = bool(row["blocked"]) and not to_close
        late = row["status"] == "overdue"
        required = 0 if row["feature"] is None else int(row["users"])
        reached = integer(row["reached"]) if required else None
        owners_known = self.day.as_of >= self.day.portfolio.data_until
        return {
            "overdue": int(late and not to_close),
            "days_overdue": -left if late else None,
            "days_remaining": left if not late and np.isfinite(left) else None,
            "started": int(np.isfinite(row["started_day"])),
            "required": int(row["required"]),
            "to_close": int(to_close),
            "blocked": int(blocked),
            "blocker": _words(row["blocker"]) if blocked else None,
            "blocker_days": number(row["day"] - row["blocked_day"]) if blocked else None,
            "usual_days": self.day.clearing(row["blocker"])[0].time if blocked else None,
            "owner": owner,
            "owner_known": int(owner is not None) if owners_known else None,
            "held_up": len(self._waiting_for(row)),
            "waits": len(row["waits_for"]),
            "waits_for": " and ".join(self.day.names[name] for name in row["waits_for"]) or None,
            "feature": None if row["feature"] is None else _words(row["feature"]),
            "users_asked": required,
            "users_reached": reached,
            "users_missing": None if reached is None else required - reached,
        }

    # -- recommendations -----------------------------------------------------------------

    def recommendations(self) -> list[MilestoneRecommendation]:
        """Milestones for which a rule says what to do, overdue and required ones first."""
        parts: list[MilestoneRecommendation] = []
        most = self.day.settings.recommendations_max_count
        for row in sorted(self.shown, key=_urgency):
            triggered = rules.triggered(TOOL, "action", self._figures(row), self.settings.rules)
            if triggered and len(parts) < most:
                parts.append(self._recommendation(row, triggered))
        return parts

    def _recommendation(
        self, row: Milestone, triggered: list[rules.TriggeredRule]
    ) -> MilestoneRecommendation:
        saved = acceleration(self.day, row)
        blocked = any(row["blocked"] for row in self.shown)
        return MilestoneRecommendation(
            milestone=row["name"],
            milestone_id=row["milestone_id"],
            current_status=row["status"],
            recommended_actions=[rule.text for rule in triggered],
            estimated_acceleration=Figure(
                saved and _acceleration_text(saved), NO_ACCELERATION if blocked else NOT_BLOCKED
            ),
            estimated_acceleration_detail=saved,
            rules=triggered,
        )


def _by_severity(part: MilestoneBlocker) -> tuple[int, int, str]:
    return SEVERITIES.index(part.severity), -(part.age_days or 0), part.milestone_id


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _urgency(row: Milestone) -> tuple[Any, ...]:
    return (
        row["to_close"],
        row["status"] != "overdue",
        not row["required"],
        row["target_day"],
        row["milestone_id"],
    )


def severity(day: MilestoneDay, row: Milestone) -> str:
    """high: required, and another milestone depends on it; medium: required; else low."""
    if not row["required"]:
        return "low"
    return "high" if day.dependents(row["milestone_id"]) else "medium"


def blocker_effect(day: MilestoneDay, blocker: str) -> BlockerEffect | None:
    row = day.effects.get(blocker)
    if row is None:
        return None
    return BlockerEffect(
        **{name: rounded(row[name], 2) for name in ("factor", "lower", "upper")},
        **{name: rounded(row[name]) for name in ("p", "q")},
        n=int(row["n"]),
        interval_level=day.settings.effects_interval_level,
        found=bool(row["q"] <= day.settings.effects_max_q),
    )


# -- what clearing a blocker saves -----------------------------------------------------


def acceleration(day: MilestoneDay, row: Milestone) -> Acceleration | None:
    """How many days sooner is a blocked milestone completed once its blocker is cleared?

    The median of what remained for those blocked by the same for at least as long, less the median
    from clearing it until completion, with an interval over resampled customers: of the same
    milestone where enough cleared it there, else of any. None with too few, or where the interval
    reaches 0.
    """
    if not row["blocked"] or not np.isfinite(row["blocked_day"]):
        return None
    age = float(day.count.between(row["blocked_day"], row["day"]))
    same = day.blocked_spells(row["blocker"])
    same = same[same["client_id"] != row["client_id"]]
    alike = same[same["milestone_id"] == row["milestone_id"]]
    for rows, scope in ((alike, "on this milestone"), (same, "on any milestone")):
        saved = _days_saved(day, rows, age)
        if saved is not None:
            median, lower, upper, n = saved
            if lower <= 0:
                return None
            return Acceleration(
                median_days=round(median, 1),
                lower_days=round(lower, 1),
                upper_days=round(upper, 1),
                interval_level=day.level,
                n=n,
                basis=f"what remained after {age:.0f} days with this blocker, less what remained "
                f"once it was cleared; customers with it {scope} that got past it",
            )
    return None


def _days_saved(
    day: MilestoneDay, rows: pd.DataFrame, age: float
) -> tuple[float, float, float, int] | None:
    """Median, lower and upper end of the days saved, and the number of cleared blockers."""
    settings = day.settings
    lasted, after, cleared = (
        (rows[end] - rows[start]).to_numpy(dtype=float)
        for end, start in (("time", "onset"), ("time", "cleared"), ("cleared", "onset"))
    )
    happened = rows["happened"].to_numpy(dtype=bool)
    still, past = lasted > age, (after >= 0) & (cleared >= 0)
    if min(still.sum(), past.sum()) < settings.peers_min:
        return None
    codes = pd.factorize(rows["client_id"], sort=True)[0]
    draws = resamples(codes.max() + 1, settings.seed, settings.acceleration_draws)[:, codes]
    weights = np.vstack([np.ones((1, len(rows)), dtype=np.int64), draws])
    blocked = median_times(lasted[still] - age, happened[still], weights[:, still])
    unblocked = median_times(after[past], happened[past], weights[:, past])
    valid = np.isfinite(blocked) & np.isfinite(unblocked)
    if not valid[0] or valid[1:].mean() < settings.acceleration_min_valid_share:
        return None
    saved = blocked[valid] - unblocked[valid]
    drawn, tail = np.sort(saved[1:]), (1 - day.level) / 2
    last = min(int(np.ceil((1 - tail) * len(drawn))), len(drawn)) - 1
    lower, upper = drawn[int(tail * len(drawn))], drawn[last]
    return float(saved[0]), float(lower), float(upper), int(past.sum())


def _acceleration_text(saved: Acceleration) -> str:
    interval = f"{saved.lower_days:.0f} to {saved.upper_days:.0f} days"
    return f"{interval} ({100 * saved.interval_level:.0f}%, n = {saved.n})"


# -- success ---------------------------------------------------------------------------


def success_probability(
    day: MilestoneDay,
    client_id: str,
    figures: Mapping[str, Any],
) -> SuccessProbability:
    """The probability, and the risk and positive factors that the rules find in the figures."""
    model = day.success_model
    chance = model.of(client_id)
    risks, strengths = (
        rules.triggered(TOOL, kind, figures, day.settings.rules) for kind in ("risk", "strength")
    )
    return SuccessProbability(
        overall_success_likelihood=Figure(rounded(chance.value), chance.reason),
        lower=rounded(chance.lower),
        upper=rounded(chance.upper),
        interval_level=day.level,
        succeeded=chance.succeeded,
        basis=chance.basis,
        by_date=date_of(model.by_day(client_id)),
        portfolio_share=rounded(model.share),
        past_customers=model.past,
        past_failures=model.failures,
        calibration=model.calibration if chance.basis == "model" else None,
        risk_factors=[rule.text for rule in risks],
        positive_factors=[rule.text for rule in strengths],
        rules=[*risks, *strengths],
    )


def unknown_success(day: MilestoneDay, reason: str) -> SuccessProbability:
    """The probability for a customer without milestones."""
    unknown = ("lower", "upper", "succeeded", "basis", "by_date", "portfolio_share", "calibration")
    return SuccessProbability(
        overall_success_likelihood=Figure(None, reason),
        **dict.fromkeys(unknown),
        interval_level=day.level,
        past_customers=0,
        past_failures=0,
        risk_factors=[],
        positive_factors=[],
        rules=[],
    )


def _late(progress: MilestoneProgress) -> int | None:
    if progress.overdue_milestones is None:
        return None
    return progress.overdue_milestones - (progress.records_to_close or 0)


def success_figures(
    day: MilestoneDay,
    rows: Sequence[Milestone],
    progress: MilestoneProgress,
    value: TimeToValue,
    panel_row: Mapping[str, Any],
) -> dict[str, Any]:
    """The named figures of a customer that the rules of success read."""
    blocked = [row for row in rows if row["blocked"] and not row["to_close"]]
    ages = [row["day"] - row["blocked_day"] for row in blocked]
    targets = {part.mark: part.target_days for part in value.detail}
    days, target = value.activation_days, targets.get("activation")
    return {
        **{f"{part.mark}_word": part.word for part in value.detail},
        "overdue_required": progress.overdue_required,
        "overdue": _late(progress),
        "to_close": progress.records_to_close,
        "completed": progress.completed_milestones,
        "total": progress.total_milestones,
        "blocked": len(ages),
        "oldest_blocker": max((age for age in ages if not np.isnan(age)), default=None),
        "activation_days": days,
        "activation_target": target,
        "activation_late": None if days is None or target is None else round(days - target, 1),
        "first_value_days": value.first_value_days,
        "first_value_target": targets.get("first_value"),
        "silent_days": day.settings.silent_days,
        **{name: number(panel_row.get(metric)) for name, metric in METRICS.items()},
    }
