"""The page of the book's milestones: a function for each question of who leads onboarding."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.faces.books import open_book
from healthseg.faces.html import page
from healthseg.faces.html.page import (
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
from healthseg.faces.pages.milestones import log_ranks

__all__ = [
    "actions",
    "blocks",
    "footer",
    "late",
    "likely",
    "method",
    "open_book",
    "opening",
    "stuck",
    "value",
]


def opening(reply: Any) -> Html:
    """The book, as of when, the verdict, and five figures."""
    return page.book_opening(reply, "Adoption milestones", "The book’s milestones", _cards(reply))


def _cards(reply: Any) -> list[Card]:
    if not reply.tracked_customers:
        return []
    late = (
        f"{formats.brief_money(reply.customers_late_arr, reply.currency)} ARR"
        if reply.customers_late_arr
        else ""
    )
    first = next((one for one in reply.values if one["mark"] == "first_value"), None)
    found = [
        Card(
            "Late customers",
            formats.number(reply.customers_late),
            f"with a required milestone overdue; {late}".strip("; "),
        ),
        Card(
            "Blocked customers",
            formats.number(reply.customers_blocked),
            "at which a recorded blocker stands",
        ),
        Card(
            "All required ones done",
            formats.percent(reply.customers_done_share),
            f"{formats.number(reply.customers_done)} of {formats.number(reply.tracked_customers)} customers",
        ),
        Card(
            "Done by their date",
            formats.percent(reply.milestones_on_time_share),
            f"of {formats.number(reply.milestones_due)} milestones that were due",
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


def stuck(reply: Any) -> Html:
    """Where do customers get stuck?"""
    if not reply.funnel:
        return Html(
            missing("The milestones", reply.not_measured.get("$.funnel", "no customer has any"))
        )
    worst = max(reply.funnel, key=lambda row: row["overdue"])
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
    rows = [{**row, "between": page.between(row["lower"], row["upper"])} for row in reply.funnel]
    return Html(
        paragraph(lead, "lead") + figure(reply, "funnel", table(rows, columns, label="milestones")),
        lead,
    )


def value(reply: Any) -> Html:
    """How long does value take, and is it getting faster?"""
    if not reply.values:
        return Html(
            missing(
                "Time to value", reply.not_measured.get("$.values", "no milestone stands for it")
            )
        )
    said = [prose(_said(one, reply)) for one in reply.values]
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
        for row in reversed(reply.cohorts)
    ]
    quarters = figure(reply, "quarters", table(rows, columns, label="quarters"))
    return Html(lines(said) + figure(reply, "value") + quarters)


def _said(one: dict[str, Any], reply: Any) -> str:
    p, differ = reply.log_rank[one["mark"]], reply.quarters_differ[one["mark"]]
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


def blocks(reply: Any) -> Html:
    """What blocks them, and how much longer does it make it?"""
    if not reply.blockers:
        return Html(
            missing(
                "Blockers",
                reply.not_measured.get("$.blockers", "none was ever recorded often enough"),
            )
        )
    columns = [
        Column("blocker", "Blocker", markup=_blocker),
        Column("customers", "Customers", formats.number, True),
        Column("arr", f"ARR{', ' + reply.currency if reply.currency else ''}", formats.money, True),
        Column("oldest_days", "Oldest, days", formats.number, True),
        Column("usual_days", "Half gone by day", formats.number, True),
        Column("longer", "Longer by", numeric=True),
        Column("n", "n", formats.number, True),
    ]
    rows = [{**row, "longer": _longer(row)} for row in reply.blockers]
    found = [row for row in reply.blockers if row["found"]]
    lead = joined(
        f"{formats.number(reply.customers_blocked)} customers are blocked"
        if reply.customers_blocked
        else "None stands",
        f"{len(found)} of {len(rows)} make what remains longer beyond chance" if found else "",
    )
    return Html(
        paragraph(lead, "lead")
        + figure(reply, "blockers", table(rows, columns, label="blockers"))
        + figure(reply, "slower"),
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


def late(reply: Any) -> Html:
    """Who is late?"""
    if not reply.late:
        return Html(paragraph("Nobody is." if reply.tracked_customers else "Not known.", "lead"))
    columns = [
        Column("name", "Customer and what is late longest", markup=_late),
        money_column(reply),
        Column("overdue_required", "Required overdue", formats.number, True),
        Column("overdue", "Overdue", formats.number, True),
        Column("worst_days", "Days late", formats.number, True),
        Column("csm_id", "Manager"),
    ]
    return Html(table(reply.late, columns, label="customers"))


def _late(row: dict[str, Any]) -> str:
    stands = f"; blocked: {formats.words(row['blocker'])}" if row["blocker"] else ""
    return page.noted(row["name"], row["worst"] + stands)


def likely(reply: Any) -> Html:
    """Who is likely to miss the date?"""
    if reply.calibration is None:
        return Html(
            missing(
                "The likelihood of success",
                reply.not_measured.get("$.success", "too few past customers"),
            )
        )
    one = reply.calibration
    lead = joined(
        f"From {one.customers} past customers, of which {one.failures} failed; on customers left out the chance missed "
        f"by {formats.number(one.brier, 3)} (Brier), the plain share by {formats.number(one.brier_of_share, 3)}",
        ""
        if reply.success
        else "The date has passed for all customers of today: nobody’s outcome is open",
    )
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        money_column(reply),
        Column("likelihood", "Likely to succeed", formats.percent, True),
        Column("between", "Interval"),
        Column("open", "Required ones open", formats.number, True),
        Column("by_date", "By", formats.day, True),
    ]
    rows = [
        {**row, "between": f"{formats.percent(row['lower'])} to {formats.percent(row['upper'])}"}
        for row in reply.success
    ]
    return Html(paragraph(lead, "lead") + table(rows, columns, label="customers"), lead)


def actions(reply: Any) -> Html:
    """What to do?"""
    return Html(page.advice(rule["text"] for rule in reply.actions))


def method(reply: Any) -> Html:
    """How was this computed? Behind a fold."""
    return page.method(
        reply,
        "Statuses are of live customers; times are Kaplan–Meier’s of all customers, those who left included, with "
        "those not there yet",
        f"Days are {reply.day_kind} days from the day a customer began",
        "A blocker’s factor compares what remained of milestones once it was there with the same milestone elsewhere, "
        "by inverting a log-rank test",
        "An association of blockers with time is no proof that removing one saves it",
        pairs=[
            ("Category", reply.milestone_category),
            ("Quarters compared", log_ranks(reply.log_rank)),
        ],
    )
