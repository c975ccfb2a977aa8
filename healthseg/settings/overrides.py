"""What overrides a score: conditions on a metric, each with its cap or verdict and its words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from healthseg.settings.base import Frozen

RiskLevel = Literal["low", "medium", "high", "critical"]


class Override(Frozen):
    """A condition on a metric of the panel (``at_least`` or ``below``), and what it does where it holds.

    ``text`` is the verdict in words over ``{value}`` and ``{on}`` (the day that lies ``value`` days back).
    """

    metric: str
    at_least: float | None = None
    below: float | None = None
    # the score is at most this
    cap: Annotated[float, Field(ge=0, le=100)] | None = None
    # a customer below the limit is too new: it has no score, and its possible range narrows on the way to the limit
    provisional: bool = False
    # the risk level, whatever the score
    risk_level: RiskLevel | None = None
    text: str
    # what portfolio pages say of the customers, after their number; without it they say nothing
    of_many: str | None = None
    # a missing value may hide that it holds, so the lowest possible score allows for the cap
    unknown_may_hold: bool = False

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if (self.at_least is None) == (self.below is None):
            raise ValueError("an override has at_least or below, one of them")
        if self.provisional and not (self.below or 0) > 0:
            raise ValueError("a provisional override has a limit below, above 0")
        return self


# the first that holds is the verdict
DEFAULT_OVERRIDES: Mapping[str, Override] = MappingProxyType(
    {
        # notice is a decision: no usage makes up for it, so the score ends just below the band At Risk
        "notice_given": Override(
            metric="days_since_notice",
            at_least=0,
            cap=39,
            risk_level="critical",
            text="Notice given {on}",
            of_many="gave notice",
        ),
        # two months late is a decision, so the score ends just below the band Healthy
        "long_overdue": Override(
            metric="worst_days_overdue",
            at_least=60,
            cap=59,
            text="An invoice is {value:n day} overdue",
            unknown_may_hold=True,
        ),
        # since signup: the windows of 28 and 30 days fill twice, and the days of setting up leave them
        "provisional": Override(
            metric="tenure_days",
            below=60,
            provisional=True,
            text="Provisional: {value:n day} since signup",
            of_many="too new for a score",
        ),
    }
)


def merged_overrides(stated: Any) -> Any:
    """A team's overrides over the usual ones: fields by name, None removes one, a new name comes last."""
    if not isinstance(stated, Mapping):
        return stated
    usual = {name: override.model_dump() for name, override in DEFAULT_OVERRIDES.items()}
    for name, value in stated.items():
        fields = value.model_dump() if isinstance(value, Override) else value
        known = isinstance(fields, Mapping) and name in usual
        usual[name] = {**usual[name], **fields} if known else fields
    return {name: fields for name, fields in usual.items() if fields is not None}
