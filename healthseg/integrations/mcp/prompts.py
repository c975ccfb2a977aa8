"""Prompts that MCP clients offer: what to call, in which order, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping

import jinja2
from mcp.types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

from healthseg.errors import InvalidParameters, hint

READING = (
    "State every figure as it stands in the response, with its as_of. A null was not measured: give its reason from "
    "not_measured, and never fill it in. Keep warnings and data_quality in view. Call a tool with detail=full only "
    "where the summary leaves out what you need."
)
# names and ids are shorter; a text of several lines would read as one of the prompt's own
_LONGEST_VALUE = 200
CSM = PromptArgument(name="csm_id", description="Only this manager's customers", required=False)
CLIENT = PromptArgument(name="client_id", description="Customer identifier", required=True)
FIGURE = PromptArgument(
    name="figure", description="Path, as health_metrics.weekly_active_users", required=True
)
PROMPTS: dict[str, tuple[str, tuple[PromptArgument, ...], str]] = {
    "weekly_review": (
        "Which customers need attention this week, and what is to be done?",
        (CSM,),
        """Review the portfolio for this week{% if csm_id %}, the customers of manager {{ csm_id }}{% endif %}.
{%- set mine = " and csm_id == " ~ quoted_csm_id if csm_id else "" %}
1. next_actions{% if csm_id %} with csm_id={{ csm_id }}{% endif %}: what is due, by when, how much ARR depends on it.
2. find_customers with where="score < 60{{ mine }}", order_by="arr", descending=true.
3. find_customers with where="days_to_renewal <= 90{{ mine }}", order_by="days_to_renewal".
4. calculate_health_score of the three customers with the most ARR in 2: what moved their scores?
Write at most one page: the five actions that matter most (customer, what, who, by when, why), the renewals within
90 days with score and ARR, and what cannot be said for lack of data.""",
    ),
    "customer_review": (
        "What is to be known before a meeting with a customer?",
        (CLIENT,),
        """Prepare a meeting with customer {{ client_id }}.
1. calculate_health_score: the score, what moves it, what changed.
2. track_usage_engagement and track_feature_adoption: who uses what, and what is not used.
3. track_adoption_milestones, and manage_lifecycle_stages with action=get_stage: what is open or overdue.
4. trace_figure of the two figures on which your conclusion rests.
Write: the state in three sentences, what went well, which ARR depends on what, three questions for the meeting.""",
    ),
    "why_this_figure": (
        "Where does a figure of a customer's health score come from?",
        (CLIENT, FIGURE),
        """Explain {{ figure }} of customer {{ client_id }}.
1. trace_figure with tool=calculate_health_score, figure={{ figure }}, parameters={"client_id": "{{ client_id }}"}.
2. describe_metric of the metric behind it.
Say what is counted, over which days and from which rows, and check the value against the rows listed.""",
    ),
}


def listed() -> list[Prompt]:
    """The prompts with their arguments."""
    return [
        Prompt(name=name, description=question, arguments=list(arguments))
        for name, (question, arguments, _) in PROMPTS.items()
    ]


def prompt(name: str, values: Mapping[str, str]) -> GetPromptResult:
    """A prompt with its values. Raises InvalidParameters for an unknown name, and where a value is missing."""
    if name not in PROMPTS:
        raise _refused("name", f"there is no prompt {name!r}{hint(name, PROMPTS)}", list(PROMPTS))
    question, arguments, text = PROMPTS[name]
    names = [argument.name for argument in arguments]
    for value in values:
        if value not in names:
            raise _refused(
                value, f"the prompt {name} takes no {value!r}{hint(value, names)}", names
            )
        if len(values[value]) > _LONGEST_VALUE or not values[value].isprintable():
            rule = f"one line of at most {_LONGEST_VALUE} characters"
            raise InvalidParameters(
                f"{value} of the prompt {name} must be {rule}",
                parameter=value,
                validation_rule=rule,
            )
    for argument in arguments:
        if argument.required and not values.get(argument.name):
            raise _refused(argument.name, f"the prompt {name} needs {argument.name}", names)
    quoted = {f"quoted_{name}": repr(value) for name, value in values.items()}
    words = jinja2.Template(text).render(values, **quoted) + "\n\n" + READING
    message = PromptMessage(role="user", content=TextContent(type="text", text=words))
    return GetPromptResult(description=question, messages=[message])


def _refused(parameter: str, message: str, known: list[str]) -> InvalidParameters:
    rule = "one of " + ", ".join(known)
    return InvalidParameters(message, parameter=parameter, validation_rule=rule)
