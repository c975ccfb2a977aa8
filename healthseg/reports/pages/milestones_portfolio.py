"""The page of the portfolio's milestones: a function for each question of who leads onboarding."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.reports.html import page
from healthseg.reports.html.page import (
    Card,
    Column,
    Html,
    figure,
    footer,
    isolated,
    joined,
    lines,
    missing,
    money_column,
    paragraph,
    prose,
    table,
)
from healthseg.reports.pages.milestones import log_ranks
from healthseg.reports.portfolios import open_portfolio

__all__ = [
    "actions",
    "blocks",
    "footer",
    "late",
    "likely",
    "method",
    "open_portfolio",
    "opening",
    "stuck",
    "value",
]


def opening(response: Any) -> Html:
    """The portfolio, as of when, the verdict, and five figures."""
    return page.portfolio_opening(
        response, "Adoption milestones", "The portfolio’s milestones", _cards(response)
    )


def _cards(response: Any) -> list[Card]:
    if not response.tracked_customers:
        return []
    late = (
        f"{formats.brief_money(response.customers_late_arr, response.currency)} ARR"
        if response.customers_late_arr
        else ""
    )
    first = next((one for one in response.values if one["mark"] == "first_value"), None)
    found = [
        Card(
            "Late customers",
            formats.number(response.customers_late),
            f"with a required milestone overdue; {late}".strip("; "),
        ),
        Card(
            "Blocked customers",
            formats.number(response.customers_blocked),
            "at which a recorded blocker stands",
        ),
        Card(
            "All required ones done",
            formats.percent(response.customers_done_share),
            f"{formats.number(response.customers_done)} of {formats.number(response.tracked_customers)} customers",
        ),
        Card(
            "Done by their date",
            formats.percent(response.milestones_on_time_share),
            f"of {formats.number(response.milestones_due)} milestones that were due",
        ),
    ]
    if first is not None and first["median_days"] is not None:
        between = page.between(first["lower"], first["upper"])
        found.append(
            Card(
                "First value",
                f"{formats.number(first['median_days'])} days",
                f"median, {between}; n = {formats.number(first['n'])}",
            )
        )
    return found


def stuck(response: Any) -> Html:
    """Where do customers get stuck?"""
    if not response.funnel:
        return Html(
            missing("The milestones", response.not_measured.get("$.funnel", "no customer has any"))
        )
    worst = max(response.funnel, key=lambda row: row["overdue"])
    lead = joined(
        f"Most are overdue at “{worst['name']}”: {formats.number(worst['overdue'])} customers, "
        f"{formats.number(worst['waiting'])} of them because an earlier one is open, "
        f"{formats.number(worst['blocked'])} blocked"
        if worst["overdue"]
        else "Nothing is overdue"
    )
    columns = [
        Column("name", "Milestone"),
        Column("target_days", "Target, days", formats.number, True),
        Column("customers", "Customers", formats.number, True),
        Column("completed", "Completed", formats.number, True),
        Column("in_progress", "In progress", formats.number, True),
        Column("not_started", "Not started", formats.number, True),
        Column("overdue", "Overdue", formats.number, True),
        Column("skipped", "Skipped", formats.number, True),
        Column("blocked", "Blocked", formats.number, True),
        Column("median_days", "Half are done by day", formats.number, True),
        Column("between", "Interval"),
        Column("n", "n", formats.number, True),
    ]
    rows = [{**row, "between": page.between(row["lower"], row["upper"])} for row in response.funnel]
    return Html(
        paragraph(lead, "lead")
        + figure(response, "funnel", table(rows, columns, label="milestones")),
        lead,
    )


def value(response: Any) -> Html:
    """How long does value take, and is it getting faster?"""
    if not response.values:
        return Html(
            missing(
                "Time to value", response.not_measured.get("$.values", "no milestone stands for it")
            )
        )
    said = [prose(_said(one, response)) for one in response.values]
    columns = [
        Column("quarter", "Began in"),
        Column("mark", "Value", formats.words),
        Column("n", "Customers", formats.number, True),
        Column("reached", "Got there", formats.number, True),
        Column("median_days", "Half by day", formats.number, True),
        Column("between", "Interval"),
        Column("share_by_target", "By target", formats.percent, True),
    ]
    rows = [
        {**row, "between": page.between(row["lower"], row["upper"])}
        for row in reversed(response.cohorts)
    ]
    quarters = figure(response, "quarters", table(rows, columns, label="quarters"))
    return Html(lines(said) + figure(response, "value") + quarters)


def _said(one: dict[str, Any], response: Any) -> str:
    p, differ = response.log_rank[one["mark"]], response.quarters_differ[one["mark"]]
    half = (
        "fewer than half got there"
        if one["median_days"] is None
        else (
            f"half by day {formats.number(one['median_days'])} ({page.between(one['lower'], one['upper'])})"
        )
    )
    test = "" if p is None else (f"; quarters {'differ' if differ else 'cannot be told apart'}")
    return (
        f"{formats.sentence(formats.words(one['mark']))}: {half}, {formats.percent(one['share_by_target'])} by target, "
        f"n = {formats.number(one['n'])}{test}"
    )


def blocks(response: Any) -> Html:
    """What blocks them, and how much longer does it make it?"""
    if not response.blockers:
        return Html(
            missing(
                "Blockers",
                response.not_measured.get("$.blockers", "none was ever recorded often enough"),
            )
        )
    columns = [
        Column("blocker", "Blocker", markup=_blocker),
        Column("customers", "Customers", formats.number, True),
        Column(
            "arr",
            f"ARR{', ' + response.currency if response.currency else ''}",
            formats.money,
            True,
        ),
        Column("oldest_days", "Oldest, days", formats.number, True),
        Column("usual_days", "Half gone by day", formats.number, True),
        Column("longer", "Longer by", numeric=True),
        Column("n", "n", formats.number, True),
    ]
    rows = [{**row, "longer": _longer(row)} for row in response.blockers]
    found = [row for row in response.blockers if row["found"]]
    lead = joined(
        f"{formats.number(response.customers_blocked)} customers are blocked"
        if response.customers_blocked
        else "None stands",
        f"{len(found)} of {len(rows)} make what remains longer beyond chance" if found else "",
    )
    return Html(
        paragraph(lead, "lead")
        + figure(response, "blockers", table(rows, columns, label="blockers"))
        + figure(response, "slower"),
        lead,
    )


def _blocker(row: dict[str, Any]) -> str:
    """What stands, and under it at how many milestones, and for how many others wait."""
    others = f"; others wait for {formats.number(row['severe'])}" if row["severe"] else ""
    at = f"at {formats.number(row['milestones'])} milestone{'' if row['milestones'] == 1 else 's'}{others}"
    return page.noted(formats.words(row["blocker"]), at)


def _longer(row: dict[str, Any]) -> str | None:
    if row["factor"] is None or row["lower"] is None:
        return None
    return f"× {formats.number(row['factor'], 1)} ({page.between(row['lower'], row['upper'], 1, 'more')})"


def late(response: Any) -> Html:
    """Who is late?"""
    if not response.late:
        return Html(paragraph("Nobody is." if response.tracked_customers else "Not known.", "lead"))
    columns = [
        Column("name", "Customer and what is late longest", markup=_late),
        money_column(response),
        Column("overdue_required", "Required overdue", formats.number, True),
        Column("overdue", "Overdue", formats.number, True),
        Column("worst_days", "Days late", formats.number, True),
        Column("csm_id", "Manager"),
    ]
    return Html(table(response.late, columns, label="customers"))


def _late(row: dict[str, Any]) -> str:
    stands = f"; blocked: {formats.words(row['blocker'])}" if row["blocker"] else ""
    return page.noted(row["name"], row["worst"] + stands)


def likely(response: Any) -> Html:
    """Who is likely to miss the date?"""
    if response.calibration is None:
        return Html(
            missing(
                "The likelihood of success",
                response.not_measured.get("$.success", "too few past customers"),
            )
        )
    one = response.calibration
    lead = joined(
        f"From {one.customers} past customers, of which {one.failures} failed; on customers left out the chance missed "
        f"by {formats.number(one.brier, 3)} (Brier), the plain share by {formats.number(one.brier_of_share, 3)}",
        ""
        if response.success
        else "The date has passed for all customers of today: nobody’s outcome is open",
    )
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        money_column(response),
        Column("likelihood", "Likely to succeed", formats.percent, True),
        Column("between", "Interval"),
        Column("open", "Required ones open", formats.number, True),
        Column("by_date", "By", formats.day, True),
    ]
    rows = [
        {**row, "between": f"{formats.percent(row['lower'])} to {formats.percent(row['upper'])}"}
        for row in response.success
    ]
    return Html(paragraph(lead, "lead") + table(rows, columns, label="customers"), lead)


def actions(response: Any) -> Html:
    """What to do?"""
    return Html(page.advice(rule["text"] for rule in response.actions))


def method(response: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        response,
        "Statuses are of live customers; times are Kaplan–Meier’s of all customers, those who left included, with "
        "those not there yet",
        f"Days are {response.day_kind} days from the day a customer began",
        "A blocker’s factor compares what remained of milestones once it was there with the same milestone elsewhere, "
        "by inverting a log-rank test",
        "An association of blockers with time is no proof that removing one saves it",
        pairs=[
            ("Category", response.milestone_category),
            ("Quarters compared", log_ranks(response.log_rank)),
        ],
    )
