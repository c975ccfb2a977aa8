"""Customer 360: what everybody should know before a call, on one page; of a churned customer what is to be learnt of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from healthseg.reports import privacy
from healthseg.reports.pages.common import CUSTOMER_ABOUT, NEXT_ACTIONS_OF_CUSTOMER
from healthseg.reports.pages.customer_loss import LAST_DAY, loss_cards, loss_lead, loss_signs
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Fold,
    Page,
    Points,
    Section,
    Table,
    Text,
)

Lead = tuple[Text, ...]
Parts = tuple[Block, ...]
# a week without use is worth a sentence
QUIET_DAYS = 7


def _live(lead: Callable[[Any], Lead]) -> Callable[[Any], Lead]:
    """A lead for customers that have not churned: without lead and blocks a section is left out."""
    return lambda page: () if page.loss else lead(page)


def _blocks_while_live(*blocks: Any) -> Callable[[Any], Parts]:
    return lambda page: () if page.loss else blocks


def _blocks_after_churn(*blocks: Any) -> Callable[[Any], Parts]:
    return lambda page: blocks if page.loss else ()


# -- at a glance ----------------------------------------------------------------------------------


def _score_card(page: Any) -> Card:
    health = page.health
    return Card(
        "Health",
        "{health.current_health_score:number}",
        "{health.band:Words}",
        ""
        if health.score_change is None
        else "{health.score_change:signed} since {health.change_explanation.from_date:day}",
        "health.score_change",
        past="health.historical_scores[*].score",
        past_name="score by week",
    )


def _arr_card(page: Any) -> Card:
    who = page.health.customer
    own = "" if who.reported is None or who.reported.currency == who.currency else _CONTRACT
    return Card(
        "ARR", "{health.customer.reported.arr:brief_money}", f"{{health.customer.tier}}{own}"
    )


_CONTRACT = " · {health.customer.arr:brief_money} in the contract"


def _cards(page: Any) -> tuple[Card, ...]:
    if page.loss:
        return loss_cards(page)
    health, customer = page.health, page.health.customer
    churn = health.churn_prediction
    new = health.provisional
    likely = churn is not None and churn.churn_probability is not None and not new
    ranged = likely and churn.plausible_range is not None
    cards = (
        (
            new and page.milestones is not None,
            Card(
                "Milestones",
                "{milestones.completed:number} of {milestones.total:number}",
                "{milestones.overdue:number} overdue",
            ),
        ),
        (health.current_health_score is not None, _score_card(page)),
        (customer.reported is not None, _arr_card(page)),
        (
            customer.days_to_renewal is not None,
            Card(
                "Contract ends in" if page.health.gave_notice else "Renewal in",
                "{health.customer.days_to_renewal:number day}",
                "{health.customer.renewal_on:day}",
            ),
        ),
        (
            page.renewal_risk is not None and page.renewal_risk.arr is not None and not new,
            Card(
                "Churn through its renewal",
                "{renewal_risk.churn_probability:percent}",
                "{renewal_risk.lower:percent} to {renewal_risk.upper:percent} is plausible within "
                "{renewal_risk.horizon_days:number day}; {health.churn_prediction.churn_probability:percent} within "
                "{health.churn_prediction.horizon_days:number day}",
                "{renewal_risk.arr:brief_money} expected",
            ),
        ),
        (
            likely and (page.renewal_risk is None or page.renewal_risk.arr is None),
            Card(
                f"Churn in {churn.horizon_days} days" if likely else "",
                "{health.churn_prediction.churn_probability:percent}",
                "{health.churn_prediction.plausible_range.lower:percent} to "
                "{health.churn_prediction.plausible_range.upper:percent} is plausible"
                if ranged
                else "",
                "{expected_loss.arr:brief_money} expected" if page.expected_loss else "",
            ),
        ),
        (
            page.usage.get("seat_utilisation") is not None,
            Card(
                "Seats in use",
                "{usage.seat_utilisation:percent}",
                "of {health.customer.seats:number}",
            ),
        ),
    )
    return tuple(card for known, card in cards if known)


# -- the score ------------------------------------------------------------------------------------


def _score_lead(page: Any) -> Lead:
    health = page.health
    if health.current_health_score is None:
        return (
            "It is too new for a score: its milestones and users say more"
            if health.provisional
            else "",
        )
    ahead = health.predicted_scores
    return (
        "The score is {health.current_health_score:number}, {health.score_change:signed} since "
        "{health.change_explanation.from_date:day}"
        if health.score_change
        else "The score is {health.current_health_score:number}, as it was on {health.change_explanation.from_date:day}",
        f"In 90 days it is expected at {{health.predicted_scores[{len(ahead) - 1}].predicted_score:number}} "
        f"({{health.predicted_scores[{len(ahead) - 1}].lower:number}} to {{health.predicted_scores[{len(ahead) - 1}].upper:number}})"
        if ahead and not page.health.gave_notice
        else "",
    )


def _in_risks(page: Any) -> set[str]:
    """The metrics that the risks say: nothing is said twice."""
    return {name for rule in page.health.risk_indicators_detail for name in rule.figures}


RISKS = Points("health.risk_indicators", "{page_item:prose}", heading="Risks")


def _factors(page: Any) -> Parts:
    said = _in_risks(page)
    if page.health.provisional:
        return ()
    return (
        Chart("history", needs="health.current_health_score"),
        Points(
            "health.contributing_factors.negative_detail",
            "{text:prose}",
            heading="What also pulls it down" if said else "What pulls it down",
            limit=5,
            where=lambda row: row["metric"] not in said,
        ),
        Points(
            "health.contributing_factors.positive",
            "{page_item:prose}",
            heading="What holds it up",
            limit=5,
        ),
    )


# -- usage, service, people -----------------------------------------------------------------------


def _usage_lead(page: Any) -> Lead:
    usage, factors = page.usage, page.health.contributing_factors
    said = _in_risks(page) | {
        each.metric for each in (*factors.positive_detail, *factors.negative_detail)
    }
    users = (
        "One user was active in the last week"
        if usage.get("weekly_active_users") == 1
        else "{usage.weekly_active_users:number user} were active in the last week"
    )
    verb = "is" if usage.get("features_adopted_30d") == 1 else "are"
    return (
        f"{users}, {{usage.monthly_active_users:number}} in a month",
        "Usage is at {usage.usage_vs_own_baseline:percent} of the customer’s own baseline"
        if "usage_vs_own_baseline" not in said
        else "",
        f"{{usage.features_adopted_30d:number}} of the {{usage.features_entitled:number}} features they pay for {verb} adopted",
        "The last use was {usage.days_since_last_person_event:number day} ago"
        if (usage.get("days_since_last_person_event") or 0) > QUIET_DAYS
        else "",
    )


def _service_lead(page: Any) -> Lead:
    single = page.service.get("open_tickets") == 1
    return (
        f"{{service.open_tickets:number ticket}} {'is' if single else 'are'} open, "
        "{service.open_high_tickets:number} of high or critical severity"
        if page.service.get("open_tickets")
        else "No ticket is open"
        if page.service.get("open_tickets") == 0
        else "",
        "Half of the tickets are resolved within {service.median_resolution_hours_90d:number hour}",
        "CSAT averages {service.csat_180d:number.1} ({service.csat_responses_180d:number answer} in 180 days)",
        "NPS is {service.nps_365d:signed} ({service.nps_respondents_365d:number respondent} in a year)",
    )


def _people_lead(page: Any) -> Lead:
    return (_champion(page), *_unhappy(page))


def _champion(page: Any) -> str:
    people, share = page.people, page.usage.get("top_user_share_28d")
    if people.champion_share is not None:
        who = (
            "The champion ({people.champion_role:words})"
            if people.champion_role
            else "The champion"
        )
        silent = (
            ", and has not used it for {people.champion_silent_days:number day}"
            if (people.champion_silent_days or 0) > 14
            else ""
        )
        return (
            f"{who} accounts for {{people.champion_share:percent}} of the usage, active on "
            f"{{people.champion_active_days:number}} of {{people.champion_look_back_days:number}} days{silent}"
        )
    if share is None or page.usage.get("monthly_active_users") is None:
        return ""
    return (
        "There is no champion: of {usage.monthly_active_users:number user} the most active one has "
        "{usage.top_user_share_28d:percent} of the usage"
    )


def _unhappy(page: Any) -> Lead:
    people = page.people
    if not people.unhappy:
        answers = ("nps_respondents_365d", "csat_responses_180d")
        return ("Nobody rated us low",) if any(map(page.service.get, answers)) else ()
    who = "{people.unhappy:number person|people}"
    topic = (
        ", {people.of_topic:number} of them on tickets about {people.topic:words}"
        if people.of_topic > 1
        else ""
    )
    if not people.detractors:
        return (f"{who} gave a CSAT of 1 or 2 since {{people.since:day}}{topic}",)
    if not people.low_ratings:
        verb = "is a detractor" if people.unhappy == 1 else "are detractors"
        return (f"{who} {verb}, with an NPS of 6 or less since {{people.since:day}}",)
    return (
        f"{who} rated us low since {{people.since:day}}{topic}: {{people.low_ratings:number}} with a CSAT of 1 or 2, "
        "{people.detractors:number} with an NPS of 6 or less",
    )


def _name(row: Any) -> str:
    """The user's own name, where the reader asked for names: a pseudonym tells nobody anything."""
    return "" if privacy.shown("") else "{user_id}"


PEOPLE = Table(
    "contacts",
    {
        "Who": Cell("{role:Words?A user}", under=_name),
        "Rating": "text",
        "About": "topic:Words",
        "When": "date:day",
    },
    "The latest low ratings",
    "people",
    where=lambda row: row["kind"] != "champion",
)


# -- contract -------------------------------------------------------------------------------------

CONTRACTS = Table(
    "contracts",
    {
        "From": "starts_on:day",
        "To": "ends_on:day",
        "Plan": "plan:Words",
        "Seats": "seats:number",
        "ARR": "arr:money",
    },
    "Contracts, the newest first",
    "contracts",
    limit=6,
)
INVOICES = Table(
    "invoices",
    {
        "Issued": "issued_on:day",
        "Amount": "amount:money",
        "Due": "due_on:day",
        "Paid": lambda row: (
            "{paid_on:day}" if row["paid_on"] else "not paid" if row["days_late"] else "not due yet"
        ),
        "Days late": "days_late:number",
    },
    "Invoices of a year, the newest first",
    "invoices",
    limit=6,
)


def _renewed_by_itself(page: Any) -> bool:
    """Whether all contracts on record are over, and a term goes on all the same."""
    ends, renewal = [row.ends_on for row in page.contracts], page.health.customer.renewal_on
    over = bool(ends) and all(end is not None and end < page.as_of for end in ends)
    return over and renewal is not None and renewal >= page.as_of and not page.loss


def _contract_lead(page: Any) -> Lead:
    late = [at for at, row in enumerate(page.invoices) if row.paid_on is None and row.days_late]
    worst = max(late, key=lambda at: page.invoices[at].days_late, default=None)
    customer = page.health.customer
    other = customer.reported is not None and customer.reported.currency != customer.currency
    return (
        "{health.customer.arr:money} a year in the contract, {health.customer.reported.arr:money} at the rate of {as_of:day}"
        if other
        else "",
        "The contract of {contracts[0].starts_on:day} to {contracts[0].ends_on:day} renewed by itself since; its present term ends "
        "on {health.customer.renewal_on:day}"
        if _renewed_by_itself(page)
        else "",
        "The contract ended {payment.uncontracted_days:number day} ago, without a new one"
        if page.payment.get("uncontracted_days")
        else "",
        f"{{invoices[{worst}].amount:money}} is {{invoices[{worst}].days_late:number day}} overdue"
        if worst is not None
        else "",
        "{payment.paid_on_time_share_365d:percent} of a year’s invoices were paid within the grace period",
    )


def _growth_lead(page: Any) -> Lead:
    if page.loss or page.health.gave_notice or page.health.provisional or not page.readiness:
        return ()
    open_ = [at for at, row in enumerate(page.readiness) if row.holds is not True]
    if not open_:
        return ("Yes: everything that makes a customer ready to expand is met",)
    rules = ", ".join(f"{{readiness[{at}].rule}}" for at in open_)
    return (f"Not yet; still needed: {rules}",)


# -- milestones -----------------------------------------------------------------------------------


def _milestones_lead(page: Any) -> Lead:
    plan = page.milestones
    if plan is None:
        return ()
    verb = "is" if plan.completed == 1 else "are"
    done = (
        f"{{milestones.completed:number}} of {{milestones.total:number}} milestones {verb} reached"
    )
    late = ", {milestones.overdue:number} overdue" if plan.overdue else ", none is overdue"
    return (
        done + late,
        "To be closed in the records: {milestones.to_close:list}" if plan.to_close else "",
    )


MILESTONES = Table(
    "milestones.open",
    {
        "Milestone": "name",
        "Status": "status:Words",
        "Due": "due_on:day",
        "Blocked by": "blocker:Words",
    },
    label="milestones",
    limit=6,
)


EVENTS = Table(
    "timeline",
    {"Day": "date:day", "What": "kind:Words", "In words": "text:prose"},
    label="events",
)
CUSTOMER = Page(
    tool="customer_360",
    kind="Customer 360",
    summary="One customer on one page: verdict, next actions, score and why, usage, service, contract, milestones, what happened.",
    title="{health.customer.name}",
    about=(
        "{health.customer.tier} · {health.customer.industry:Words} · {health.customer.stage:Words} · {health.customer.csm_id:manager}",
        lambda page: (
            CUSTOMER_ABOUT
            if not page.loss
            else f"{CUSTOMER_ABOUT}; figures are those of its last day"
        ),
    ),
    cards=_cards,
    band="health.band",
    sections=(
        Section(
            "loss",
            "Why did it churn?",
            loss_lead,
            loss_signs,
            report="calculate_health_score",
        ),
        Section(
            "actions",
            "What to do next?",
            blocks=_blocks_while_live(
                replace(NEXT_ACTIONS_OF_CUSTOMER, rows="health.next_actions"), RISKS
            ),
        ),
        Section(
            "score",
            "How healthy, and why?",
            _live(_score_lead),
            lambda page: () if page.loss else _factors(page),
            report="calculate_health_score",
        ),
        Section(
            "last_day",
            "How did it look at the end?",
            (),
            _blocks_after_churn(LAST_DAY),
        ),
        Section(
            "usage",
            "Who uses it, and how much of it?",
            _live(_usage_lead),
            report="track_usage_engagement",
            absent=lambda page: (
                ""
                if page.loss or any(value is not None for value in page.usage.values())
                else "the portfolio has no events of this customer"
            ),
        ),
        Section(
            "service",
            "What do tickets and surveys say?",
            _live(_service_lead),
            absent=lambda page: (
                ""
                if page.loss or any(value is not None for value in page.service.values())
                else "the portfolio has no tickets and surveys of this customer"
            ),
        ),
        Section(
            "people",
            "Who is the champion, and who is unhappy?",
            _live(_people_lead),
            _blocks_while_live(PEOPLE),
            absent=lambda page: (
                ""
                if page.loss
                or page.contacts
                or any(value is not None for value in page.usage.values())
                else "neither usage nor surveys of this customer are known"
            ),
        ),
        Section(
            "timeline",
            "What happened?",
            (),
            (
                replace(
                    EVENTS,
                    where=lambda row: row["notable"],
                    empty="No change is recorded in the last year.",
                ),
                Fold(
                    "Other tickets, surveys and touches, month by month",
                    (
                        replace(
                            EVENTS,
                            where=lambda row: not row["notable"],
                            empty="None is recorded in the last year.",
                        ),
                    ),
                ),
            ),
            report="manage_lifecycle_stages",
        ),
        Section(
            "contract",
            "What was agreed and paid?",
            _live(_contract_lead),
            (CONTRACTS, INVOICES),
            report="segment_by_value_tier",
        ),
        Section("growth", "Can it grow?", _growth_lead, report="segment_by_value_tier"),
        Section(
            "milestones",
            "How far is it in its plan?",
            _live(_milestones_lead),
            _blocks_while_live(MILESTONES),
            report="track_adoption_milestones",
            absent=lambda page: (
                ""
                if page.milestones is not None or page.loss
                else page.not_measured["$.milestones"]
            ),
        ),
        Section(
            "never",
            "What was never reached?",
            lambda page: (
                (
                    "{milestones.completed:number} of {milestones.total:number} milestones were reached",
                )
                if page.loss and page.milestones is not None
                else ()
            ),
            _blocks_after_churn(MILESTONES),
        ),
    ),
    method=("The figures are those of the eight reports; nothing is computed for this page alone",),
)
