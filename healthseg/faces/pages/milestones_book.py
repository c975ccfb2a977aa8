"""The page of the book's milestones: a function for each question of who leads onboarding."""

from __future__ import annotations

from typing import Any

from healthseg.charts import formats
from healthseg.faces import page
from healthseg.faces.books import open_book
from healthseg.faces.page import (
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
    safe,
    table,
)

__all__ = ["actions", "blocks", "footer", "late", "likely", "method", "open_book", "opening", "stuck", "value"]


def opening(reply: Any) -> Html:
    """The book, as of when, the verdict, and five figures."""
    return page.book_opening(reply, "Adoption milestones", "The book’s milestones", _cards(reply))


def _cards(reply: Any) -> list[Card]:
    if not reply.tracked_customers:
        return []
    late = f"{formats.brief_money(reply.customers_late_arr, reply.currency)} ARR" if reply.customers_late_arr else ""
    first = next((one for one in reply.values if one["mark"] == "first_value"), None)
    found = [
        Card(
            "Late customers",
            formats.number(reply.customers_late),
            f"with a required milestone overdue; {late}".strip("; "),
        ),
        Card("Blocked customers", formats.number(reply.customers_blocked), "at which a recorded blocker stands"),
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
        between = f"{formats.number(first['lower'])} to {formats.number(first['upper'])}"
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
        return Html(missing("The milestones", reply.not_measured.get("$.funnel", "no customer has any")))
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
    rows = [{**row, "between": _between(row)} for row in reply.funnel]
    return Html(paragraph(lead, "lead") + figure(reply, "funnel", table(rows, columns, label="milestones")), lead)


def _between(row: dict[str, Any]) -> str | None:
    if row["lower"] is None:
        return None
    return (
        f"{formats.number(row['lower'])} to {'not reached' if row['upper'] is None else formats.number(row['upper'])}"
    )


def value(reply: Any) -> Html:
    """How long does value take, and is it getting faster?"""
    if not reply.values:
        return Html(missing("Time to value", reply.not_measured.get("$.values", "no milestone stands for it")))
    said = [safe(_said(one, reply)) for one in reply.values]
    columns = [
        Column("quarter", "Began in"),
        Column("mark", "Value", formats.words),
        Column("n", "Customers", formats.number, True),
        Column("reached", "Got there", formats.number, True),
        Column("median_days", "Half by day", formats.number, True),
        Column("between", "Interval"),
        Column("share_by_target", "By target", formats.percent, True),
    ]
    rows = [{**row, "between": _between(row)} for row in reversed(reply.cohorts)]
    quarters = figure(reply, "quarters", table(rows, columns, label="quarters"))
    return Html(lines(said) + figure(reply, "value") + quarters)


def _said(one: dict[str, Any], reply: Any) -> str:
    p, differ = reply.log_rank[one["mark"]], reply.quarters_differ[one["mark"]]
    half = (
        "fewer than half got there"
        if one["median_days"] is None
        else (f"half by day {formats.number(one['median_days'])} ({_between(one)})")
    )
    test = (
        ""
        if p is None
        else (
            f"; quarters {'differ' if differ else 'cannot be told apart'} "
            f"(log-rank p = {formats.number(p, 3)}, {len(reply.log_rank)} tests)"
        )
    )
    return (
        f"{formats.sentence(formats.words(one['mark']))}: {half}, {formats.percent(one['share_by_target'])} by target, "
        f"n = {formats.number(one['n'])}{test}"
    )


def blocks(reply: Any) -> Html:
    """What blocks them, and how much longer does it make it?"""
    if not reply.blockers:
        return Html(missing("Blockers", reply.not_measured.get("$.blockers", "none was ever recorded often enough")))
    columns = [
        Column("blocker", "Blocker", formats.words),
        Column("customers", "Customers", formats.number, True),
        Column("milestones", "Milestones", formats.number, True),
        Column("severe", "Others wait", formats.number, True),
        Column("arr", f"ARR{', ' + reply.currency if reply.currency else ''}", formats.money, True),
        Column("oldest_days", "Oldest, days", formats.number, True),
        Column("usual_days", "Half are gone by day", formats.number, True),
        Column("factor", "Longer ×", lambda one: formats.number(one, 2), True),
        Column("between", "Interval"),
        Column("n", "n", formats.number, True),
    ]
    rows = [
        {
            **row,
            "between": None
            if row["lower"] is None
            else f"{formats.number(row['lower'], 2)} to "
            f"{'more' if row['upper'] is None else formats.number(row['upper'], 2)}",
        }
        for row in reply.blockers
    ]
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


def late(reply: Any) -> Html:
    """Who is late?"""
    if not reply.late:
        return Html(paragraph("Nobody is." if reply.tracked_customers else "Not known.", "lead"))
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        money_column(reply),
        Column("overdue_required", "Required overdue", formats.number, True),
        Column("overdue", "Overdue", formats.number, True),
        Column("worst", "The oldest"),
        Column("worst_days", "Overdue, days", formats.number, True),
        Column("blocker", "Blocker", lambda name: formats.words(name) or formats.DASH),
        Column("csm_id", "Manager"),
    ]
    return Html(table(reply.late, columns, label="customers"))


def likely(reply: Any) -> Html:
    """Who is likely to miss the date?"""
    if reply.calibration is None:
        return Html(missing("The likelihood of success", reply.not_measured.get("$.success", "too few past customers")))
    one = reply.calibration
    lead = joined(
        f"From {one.customers} past customers, of which {one.failures} failed; on customers left out the chance missed "
        f"by {formats.number(one.brier, 3)} (Brier), the plain share by {formats.number(one.brier_of_share, 3)}",
        "" if reply.success else "The date has passed for all customers of today: nobody’s outcome is open",
    )
    columns = [
        Column("name", "Customer", markup=lambda row: isolated(row["name"])),
        money_column(reply),
        Column("likelihood", "Likely to succeed", formats.percent, True),
        Column("between", "Interval"),
        Column("open", "Required ones open", formats.number, True),
        Column("by_date", "By", formats.day),
    ]
    rows = [
        {**row, "between": f"{formats.percent(row['lower'])} to {formats.percent(row['upper'])}"}
        for row in reply.success
    ]
    return Html(paragraph(lead, "lead") + table(rows, columns, label="customers"), lead)


def actions(reply: Any) -> Html:
    """What to do?"""
    rows = [safe(rule["text"]) for rule in reply.actions]
    return Html(lines(rows, ordered=True) or paragraph("No rule fired.", "lead"))


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
        pairs=[("Category", reply.milestone_category)],
    )
