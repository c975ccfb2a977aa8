"""The lifecycle's settings: the nine stages, allowed moves, the criteria of the next stage, what a move triggers.

Milestones beside them.

They are ``[settings.lifecycle]``, ``[settings.outbox]`` and ``[settings.ledger]``. Secrets (addresses with passwords,
tokens) may be written as ``$NAME`` of an environment variable; they are in no fingerprint, page or message.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from healthseg.errors import InvalidParameters, hint
from healthseg.rules.expressions import Condition
from healthseg.settings.base import Frozen

Value = TypeVar("Value")
Default = TypeVar("Default")
SETBACKS = ("at_risk", "churned")
Stage = Literal[
    "prospect",
    "trial",
    "onboarding",
    "active",
    "engaged",
    "at_risk",
    "renewing",
    "expanded",
    "churned",
]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Criterion(Frozen):
    """A criterion of a stage: ``when`` is true of the figures of a day, on each of the last ``days`` days.

    ``figure`` is shown beside it, and its trend says when the criterion may be met.
    """

    text: str
    when: str
    figure: str
    days: Annotated[int, Field(ge=1, le=60)] = 1
    unit: str = ""
    # the value from which it is met, if there is one
    target: float | None = None

    @field_validator("when")
    @classmethod
    def _parsed(cls, when: str) -> str:
        try:
            Condition(when)
        except InvalidParameters as problem:
            raise ValueError(problem.message) from None
        return when


class Edge(Frozen):
    """A move that follows from figures; the first edge of a stage is its way forward."""

    source: str
    target: str
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    # whether ``healthseg lifecycle advance`` applies it
    automatic: bool = True


class Action(Frozen):
    """What a move into a stage triggers."""

    action: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
    to: Literal["manager", "customer", "system"] = "system"
    subject: str = "{name} is now {stage}"
    text: str = "{name} ({client_id}) moved from {previous_stage} to {stage}. {reason}"
    business_days: Annotated[int, Field(ge=0, le=60)] = (
        0  # 0: at once; else at ``hour`` of the n-th business day
    )
    first_time: bool = False  # only when the customer enters the stage for the first time


def _criterion(
    text: str, when: str, figure: str, days: int = 1, unit: str = "", target: float | None = None
) -> Criterion:
    return Criterion(text=text, when=when, figure=figure, days=days, unit=unit, target=target)


TRANSITIONS: dict[str, tuple[str, ...]] = {
    "prospect": ("trial", "onboarding"),
    "trial": ("onboarding", "active"),
    "onboarding": ("active", "at_risk"),
    "active": ("engaged", "at_risk", "renewing", "expanded"),
    "engaged": ("active", "at_risk", "renewing", "expanded"),
    "at_risk": ("active", "engaged", "renewing"),
    "renewing": ("active", "engaged", "expanded", "at_risk"),
    "expanded": ("active", "engaged", "at_risk", "renewing"),
    "churned": ("trial", "onboarding", "active"),
}
_SCORE = "points"
EDGES = (
    Edge(
        source="prospect",
        target="trial",
        criteria=(
            _criterion(
                "Somebody uses it",
                "person_events_28d >= 1",
                "person_events_28d",
                unit="events",
                target=1,
            ),
        ),
    ),
    Edge(
        source="trial",
        target="onboarding",
        criteria=(
            _criterion("A contract is in force", "contract_in_force == 1", "contract_in_force"),
        ),
    ),
    Edge(
        source="onboarding",
        target="active",
        criteria=(
            _criterion(
                "All required onboarding milestones completed",
                "required_onboarding_open == 0",
                "required_onboarding_open",
                unit="milestones",
                target=0,
            ),
        ),
    ),
    Edge(
        source="active",
        target="engaged",
        criteria=(
            _criterion(
                "Health score > 80 for 30+ days",
                "health_score > 80",
                "health_score",
                30,
                _SCORE,
                80,
            ),
            _criterion(
                "Feature adoption rate > 70%",
                "feature_adoption_rate_30d > 0.7",
                "feature_adoption_rate_30d",
                unit="share of entitled features",
                target=0.7,
            ),
            _criterion(
                "Regular usage (3+ sessions/week)",
                "sessions_per_user_per_week_28d >= 3",
                "sessions_per_user_per_week_28d",
                unit="sessions",
                target=3,
            ),
            _criterion(
                "No open high or critical support tickets",
                "open_high_tickets == 0",
                "open_high_tickets",
                unit="tickets",
                target=0,
            ),
        ),
    ),
    Edge(
        source="at_risk",
        target="active",
        criteria=(
            _criterion(
                "Health score of 60 or more for 28 days",
                "health_score >= 60",
                "health_score",
                28,
                _SCORE,
                60,
            ),
        ),
    ),
    Edge(
        source="renewing",
        target="active",
        criteria=(
            _criterion(
                "A new contract has begun",
                "contract_began_in_stage == 1",
                "contract_began_in_stage",
            ),
        ),
    ),
    Edge(
        source="expanded",
        target="engaged",
        criteria=(
            _criterion(
                "Health score of 80 or more for 28 days",
                "health_score >= 80",
                "health_score",
                28,
                _SCORE,
                80,
            ),
        ),
    ),
    *(
        Edge(
            source=source,
            target="at_risk",
            criteria=(
                _criterion(
                    "Health score below 40 for 28 days",
                    "health_score < 40",
                    "health_score",
                    28,
                    _SCORE,
                    40,
                ),
            ),
        )
        for source in ("active", "engaged", "expanded")
    ),
    *(
        Edge(
            source=source,
            target="churned",
            automatic=False,
            criteria=(
                _criterion(
                    "The contract has ended, and no other is in force",
                    "contract_ended == 1",
                    "contract_ended",
                ),
            ),
        )
        for source in ("onboarding", "active", "engaged", "at_risk", "renewing", "expanded")
    ),
)
_ALWAYS = (Action(action="update_crm_stage"), Action(action="notify_csm", to="manager"))
_WELCOME = Action(
    action="send_welcome_email",
    to="customer",
    subject="Welcome",
    business_days=1,
    first_time=True,
    text="Welcome, {name}.",
)


def _task(action: str, subject: str) -> Action:
    return Action(action=action, to="manager", subject=subject, business_days=1)


ACTIONS: dict[str, tuple[Action, ...]] = {
    "trial": _ALWAYS,
    "onboarding": (
        _WELCOME,
        *_ALWAYS,
        _task("create_onboarding_task", "Plan the onboarding of {name}"),
    ),
    "active": (_WELCOME, *_ALWAYS),
    "engaged": _ALWAYS,
    "at_risk": (*_ALWAYS, _task("create_rescue_task", "Call {name}: {reason}")),
    "renewing": (*_ALWAYS, _task("create_renewal_task", "Prepare the renewal of {name}")),
    "expanded": _ALWAYS,
    "churned": (*_ALWAYS, _task("create_exit_task", "Ask {name} why it churned")),
    "prospect": _ALWAYS[:1],
}


class Lifecycle(Frozen):
    """Stages, moves, criteria and what a move triggers.

    One that states ``stages`` has no other defaults: without ``transitions`` any stage may follow any other.
    """

    name: str = ""  # of one beside the customer's own, as its changes are recorded
    stages: Annotated[tuple[str, ...], Field(min_length=2)] = STAGES
    transitions: dict[str, tuple[str, ...]] = TRANSITIONS  # any stage may also go to churned
    edges: tuple[Edge, ...] = EDGES
    actions: dict[str, tuple[Action, ...]] = ACTIONS
    hour: Annotated[int, Field(ge=0, le=23)] = 9  # of the customer's own clock, for delayed actions
    # below it the score does not fit the stage; at risk, trial, prospect and churned have none
    minimum_health: dict[str, Annotated[float, Field(ge=0, le=100)]] = {
        "onboarding": 50,
        "active": 60,
        "engaged": 80,
        "renewing": 70,
        "expanded": 70,
    }
    # stuck: of all customers that entered the stage, so small a share is still in it after so many days
    stuck_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.10
    # where staying is bad; who stays active, engaged or expanded is where it should be
    stuck_stages: tuple[str, ...] = ("prospect", "trial", "onboarding", "at_risk", "renewing")
    # a transition forward with a criterion that is known not to be met is refused unless it is forced, with a reason
    guarded: bool = True
    # the longest that a criterion may have to hold, and how far back "since when" looks
    criteria_days: Annotated[int, Field(ge=60)] = 60
    # below it no typical duration is given
    min_spells: Annotated[int, Field(ge=2)] = 10
    # four weeks without an active user contradict a stage of a customer in use
    silent_days: Annotated[int, Field(ge=1)] = 28
    # a stage “at risk” that a person set within four weeks is newer than a score that was healthy for as long
    settled_days: Annotated[int, Field(ge=0)] = 28
    # the data suggest onboarding in the first quarter
    new_customer_days: Annotated[int, Field(ge=1)] = 90
    # a renewal under way is no more days ahead: enterprise renewals begin a quarter or so before
    renewing_days: Annotated[int, Field(ge=1)] = 150
    # setbacks, returns and win-backs that a portfolio report lists: a quarter's
    recent_moves_days: Annotated[int, Field(ge=7)] = 90

    @model_validator(mode="before")
    @classmethod
    def _own_stages(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "stages" not in values:
            return values
        stages = tuple(values["stages"])
        free = {stage: tuple(other for other in stages if other != stage) for stage in stages}
        nothing: dict[str, Any] = {
            "edges": (),
            "actions": {},
            "minimum_health": {},
            "stuck_stages": (),
        }
        return {"transitions": free, **nothing, **values}

    @model_validator(mode="after")
    def _edges_are_moves(self) -> Lifecycle:
        ends = [stage for edge in self.edges for stage in (edge.source, edge.target)]
        named = [*self.transitions, *itertools.chain(*self.transitions.values()), *ends]
        for stage in (*named, *self.actions, *self.minimum_health, *self.stuck_stages):
            if stage not in self.stages:
                raise ValueError(f"{stage!r} is not a stage{hint(stage, self.stages)}")
        for edge in self.edges:
            if not self.allows(edge.source, edge.target):
                raise ValueError(
                    f"{edge.source} to {edge.target} has criteria, but is not an allowed transition"
                )
        return self

    def targets(self, stage: str | None) -> tuple[str, ...]:
        """The stages that a customer may enter from a stage; from None any."""
        if stage is None:
            return self.stages
        churned = ("churned",) if "churned" in self.stages and stage != "churned" else ()
        return tuple(dict.fromkeys((*_of_stage(self.transitions, stage, ()), *churned)))

    def actions_on_entry(self, stage: str) -> tuple[Action, ...]:
        return _of_stage(self.actions, stage, ())

    def lowest_health(self, stage: str | None) -> float | None:
        """The lowest score that fits a stage, where it has one."""
        return _of_stage(self.minimum_health, stage, None)

    def allows(self, source: str | None, target: str) -> bool:
        return target in self.targets(source)

    def guard(self, source: str | None, target: str) -> Edge | None:
        """What a move has to meet; None of a setback, which anybody may declare, and where nothing is guarded."""
        if not self.guarded or target in SETBACKS:
            return None
        moves = (edge for edge in self.edges if (edge.source, edge.target) == (source, target))
        return next(moves, None)

    def forward(self, stage: str | None) -> Edge | None:
        """The way forward from a stage: the first of its edges that leads neither to at_risk nor to churned."""
        return next(
            (edge for edge in self.edges if edge.source == stage and edge.target not in SETBACKS),
            None,
        )


def _of_stage(values: Mapping[str, Value], stage: str | None, default: Default) -> Value | Default:
    return next((value for name, value in values.items() if name == stage), default)


class Handler(Frozen):
    """How messages of the outbox are delivered."""

    kind: Literal["file", "webhook", "smtp"]
    path: str | None = None  # file: JSON lines; relative to the portfolio's folder
    url: SecretStr | None = None  # webhook: http or https
    token: SecretStr | None = None  # webhook: sent as a bearer token
    body: Literal["json", "slack", "teams"] = "json"  # webhook: the form that the receiver reads
    host: str | None = None  # smtp
    port: Annotated[int, Field(ge=1, le=65535)] = 25
    starttls: bool = False
    username: str | None = None
    password: SecretStr | None = None
    sender: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0  # for one message, all in all

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Handler:
        needed = {"file": ("path",), "webhook": ("url",), "smtp": ("host", "sender")}[self.kind]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"a {self.kind} handler needs {' and '.join(needed)}")
        return self


class Outbox(Frozen):
    """Who is notified, how, and how often delivery is tried."""

    handlers: dict[str, Handler] = {}
    routes: dict[str, str] = {}  # action → handler; "*" stands for all other actions
    managers: dict[
        str, tuple[str, ...]
    ] = {}  # csm_id → addresses; else the contact of the table csms
    tiers: dict[str, tuple[str, ...]] = {}  # value tier → addresses, where the manager has none
    customers: dict[str, tuple[str, ...]] = {}  # client_id → addresses
    max_attempts: Annotated[int, Field(ge=1, le=50)] = 8
    retry_seconds: Annotated[float, Field(gt=0)] = (
        60.0  # after the first failure; doubled after each other
    )
    retry_most_seconds: Annotated[float, Field(gt=0)] = 6 * 3600.0

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Outbox:
        for action, handler in self.routes.items():
            if handler not in self.handlers:
                raise ValueError(
                    f"the route of {action!r} names {handler!r}, which is not a handler"
                )
        return self

    def handler_of(self, action: str) -> str | None:
        return self.routes.get(action, self.routes.get("*"))


class LedgerPlace(Frozen):
    """Where the ledger is: a file beside the portfolio, or a PostgreSQL database."""

    address: SecretStr | None = None  # postgresql://…
    schema_name: str = "healthseg"  # one a portfolio
    busy_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0


def revealed(secret: SecretStr, parameter: str) -> str:
    """A secret's text, or the value of the environment variable that it names as ``$NAME``."""
    text = secret.get_secret_value()
    if not text.startswith("$"):
        return text
    value = os.environ.get(text[1:])
    if value is None:
        raise InvalidParameters(
            f"{parameter} names the environment variable {text}, which is not set",
            parameter=parameter,
            value_provided=text,
            validation_rule="a variable that is set",
        )
    return value


class MilestoneSettings(Frozen):
    """Milestones: when they are due and on time, and what a forecast of success needs."""

    # when a milestone is due: so many days after signing up, or after the last milestone that it
    # depends on
    milestone_anchor: Literal["signup", "dependency"] = "signup"
    # business: Monday to Friday, without holidays
    milestone_days: Literal["calendar", "business"] = "calendar"
    # after the last due date: who has all required milestones by then has succeeded
    milestone_grace_days: Annotated[int, Field(ge=0)] = 30
    # nearer to the target than half a day is neither ahead nor behind
    milestone_on_time_days: Annotated[float, Field(ge=0)] = 0.5
    # with fewer past customers, or failures among them, a success probability has no basis
    success_min_past_customers: Annotated[int, Field(ge=1)] = 30
    success_min_failures: Annotated[int, Field(ge=1)] = 10
    # standard errors by which the model must be nearer to past outcomes than their plain share: one-sided 1%
    success_min_gain_z: Annotated[float, Field(gt=0)] = 2.33
    # past customers are observed once a week of their time
    success_step_days: Annotated[int, Field(ge=1)] = 7
    # resamples of customers behind the interval of the days that a cleared blocker saves …
    acceleration_draws: Annotated[int, Field(ge=100)] = 400
    # … and the share of them that must have a median: with less there is no interval
    acceleration_min_valid_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    # retention after a milestone's due day: so long, the churn model's second horizon …
    milestone_retention_days: Annotated[int, Field(ge=30)] = 180
    # … compared where so many customers churned within it, and so many had it done by the day, and so many not
    milestone_retention_min_churned: Annotated[int, Field(ge=2)] = 10
    # open milestones with a blocker under which nothing is said of what it delays
    blocker_min_spells: Annotated[int, Field(ge=2)] = 10
