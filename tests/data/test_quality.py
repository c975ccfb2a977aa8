"""What was lost is known: by table, by reason, by customer, with the ARR concerned."""

from __future__ import annotations

import healthseg as hs
from healthseg.scoring.health import score_panel

CUSTOMERS = (
    "client_id,signup_date,arr\nacme,2025-01-01,1000\nbeta,2025-01-01,200\ncora,2025-01-01,\n"
)
EVENTS = (
    "client_id,user_id,occurred_at\nacme,ann,2025-03-03 10:00:00\nbeta,bob,2025-03-04 23:10:00\n"
)


def _tickets(*rows: str) -> str:
    good = [f"g{n},beta,2025-03-01 10:00:00,low" for n in range(40)]
    return "\n".join(["ticket_id,client_id,opened_at,severity", *good, *rows]) + "\n"


def test_each_reason_has_count_share_example_customers_and_arr(make_portfolio):
    tickets = _tickets(
        "t1,acme,2025-03-02,catastrophic", "t2,acme,soon,low", "t3,beta,2025-03-02,low"
    )
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets)
    (table,) = portfolio.quality.of("acme").portfolio
    assert (table.rows_read, table.rows_dropped, table.values_emptied, table.arr) == (
        43,
        1,
        1,
        1000.0,
    )
    dropped, emptied = sorted(table.issues, key=lambda issue: issue.kind)
    assert (dropped.column, dropped.example, dropped.file, dropped.line) == (
        "opened_at", "soon", "tickets.csv", 43,
    )  # fmt: skip
    assert "low, medium, high, critical" in emptied.reason and emptied.example == "catastrophic"
    assert (emptied.customers, emptied.arr, emptied.share) == (1, 1000.0, round(1 / 43, 4))


def test_a_response_says_what_its_customer_lost_and_what_all_lost(make_portfolio):
    tickets = _tickets("t1,acme,2025-03-02,low", "t2,acme,soon,low")
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets)
    acme = hs.calculate_health_score(portfolio, "acme").data_quality
    beta = hs.calculate_health_score(portfolio, "beta").data_quality
    assert [(t.table, t.rows_read, t.rows_dropped) for t in acme.customer] == [("tickets", 2, 1)]
    assert beta.customer == [] and beta.summary == [] and beta.portfolio == acme.portfolio
    assert acme.summary == [
        "tickets: 1 of 2 rows (50.0%) is not used; metrics are withheld of 1 customer that lost too many rows"
    ]


def test_clean_tables_have_nothing_to_report(make_portfolio):
    quality = hs.portfolio_health(make_portfolio(customers=CUSTOMERS, events=EVENTS)).data_quality
    assert quality.model_dump() == {"summary": [], "customer": [], "portfolio": []}


def test_metrics_of_a_table_are_withheld_of_the_customer_that_lost_a_tenth_of_its_rows(
    make_portfolio,
):
    tickets = _tickets("t1,acme,2025-03-02,low", "t2,acme,soon,low")
    tables = {"customers": CUSTOMERS, "events": EVENTS, "tickets": tickets}
    portfolio = make_portfolio(**tables)
    rows = hs.panel(portfolio, [portfolio.data_until]).set_index("client_id")["open_tickets"]
    assert rows.isna().to_dict() == {"acme": True, "beta": False, "cora": False}
    lenient = make_portfolio({"max_customer_loss_share": 0.6}, **tables)
    rows = hs.panel(lenient, [lenient.data_until]).set_index("client_id")["open_tickets"]
    assert rows["acme"] == 1
    reasons = hs.calculate_health_score(portfolio, "acme").not_measured
    assert any("tickets: withheld" in reason for reason in reasons.values())


def test_a_refused_table_is_named_where_its_metrics_are_missing(make_portfolio):
    portfolio = make_portfolio(
        customers=CUSTOMERS, events=EVENTS, tickets="ticket_id,client_id\nt1,acme\n"
    )
    health = hs.calculate_health_score(portfolio, "acme")
    assert (
        "tickets: refused, tickets.csv has no column opened_at"
        in health.not_measured["$.component_scores.support_score"]
    )
    assert health.data_quality.customer[0].refused


def test_events_lost_by_a_customer_are_counted_with_its_rows(make_portfolio):
    events = (
        EVENTS + "".join(f"acme,ann,2025-03-03 1{n}:00:00\n" for n in range(9)) + "acme,ann,never\n"
    )
    portfolio = make_portfolio(customers=CUSTOMERS, events=events)
    (table,) = portfolio.quality.of("acme").customer
    assert (table.table, table.rows_read, table.rows_dropped) == ("events", 11, 1)
    assert portfolio.losses.withheld == {}


def test_contradictions_between_tables_name_their_customers(make_portfolio):
    events = EVENTS + "acme,ann,2024-12-30 10:00:00\n"
    (table,) = make_portfolio(customers=CUSTOMERS, events=events).quality.of().portfolio
    assert (table.conflicts, table.customers, table.arr) == (1, 1, 1000.0)


def test_strict_names_what_lost_more_than_its_share(make_portfolio):
    tickets = _tickets("t1,acme,2025-03-02,low", "t2,acme,soon,low")
    check = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets).check()
    assert check.losses_above(0.01) == ["tickets: 1 of 42 rows (2.4%)"]
    assert check.losses_above(0.03) == []


def test_one_customer_does_not_refuse_the_table_of_the_others(make_portfolio):
    rows = [f"b{n},acme,soon,low" for n in range(60)]
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=_tickets(*rows))
    assert portfolio.has("tickets") and portfolio.losses.withheld == {"tickets": {"acme"}}


def test_an_open_ticket_of_unknown_severity_leaves_serious_tickets_unmeasured(make_portfolio):
    tickets = _tickets("t1,acme,2025-03-02,odd", "t2,cora,2025-03-02,Urgent")
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets)
    rows = hs.panel(portfolio, [portfolio.data_until]).set_index("client_id")
    assert rows["open_tickets"].to_dict() == {"acme": 1, "beta": 40, "cora": 1}
    serious = rows["open_high_tickets"].astype(object)
    assert serious.isna().to_dict() == {"acme": True, "beta": False, "cora": False}
    assert (serious["beta"], serious["cora"]) == (0, 1)


def test_lost_rows_lower_the_coverage_and_widen_the_possible_range(make_portfolio):
    events = EVENTS + "".join(f"beta,bob,2025-03-04 {n:02d}:00:00\n" for n in range(12))
    tickets = _tickets("t1,beta,soon,low")
    figures = {}
    for name, table in {"clean": _tickets(), "dirty": tickets}.items():
        portfolio = make_portfolio(customers=CUSTOMERS, events=events, tickets=table)
        rows = hs.panel(portfolio, [portfolio.data_until])
        figures[name] = (
            score_panel(rows, portfolio.settings).frame.set_index("client_id").loc["beta"]
        )
    clean, dirty = figures["clean"], figures["dirty"]
    assert dirty["coverage"] < clean["coverage"]
    assert dirty["lowest"] < clean["lowest"] and dirty["highest"] >= clean["highest"]


def test_a_customer_whose_row_cannot_be_used_takes_no_table_from_the_others(make_portfolio):
    """Two of ten rows of customers are lost, and with them 40 % of the events: no figure of the others moves."""
    names = [f"c{number}" for number in range(10)]
    signups = {name: "soon" if name in ("c8", "c9") else "2025-01-01" for name in names}
    customers = "\n".join(["client_id,signup_date", *map(",".join, signups.items())])
    days = {name: 12 if name in ("c8", "c9") else 4 for name in names}
    rows = [f"{name},u,2025-03-{day + 1:02d} 23:10" for name in names for day in range(days[name])]
    portfolio = make_portfolio(
        customers=customers, events="\n".join(["client_id,user_id,occurred_at", *rows])
    )
    assert not portfolio.reports["events"].refused
    assert portfolio.reports["events"].dropped == 24
    usage = hs.track_usage_engagement(portfolio, "c1", "2025-03-01", "2025-03-05")
    assert usage.engagement_metrics.active_days_per_user == 4


def test_half_of_the_events_of_many_unlisted_customers_refuse_the_table(make_portfolio):
    rows = [f"other{day},u,2025-03-{day + 1:02d} 10:00" for day in range(9)]
    rows += [f"acme,u,2025-03-{day + 1:02d} 10:00" for day in range(9)]
    events = "\n".join(["client_id,user_id,occurred_at", *rows])
    assert make_portfolio(customers=CUSTOMERS, events=events).reports["events"].refused


def test_a_conflict_names_its_key(make_portfolio):
    portfolio = make_portfolio(customers=CUSTOMERS + "acme,2025-01-01,900\n", events=EVENTS)
    (issue,) = portfolio.reports["customers"].drops
    assert issue.reason.startswith("another row has the same client_id ")
    tickets = _tickets("g1,beta,2025-03-02 10:00:00,high")
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets)
    (issue,) = portfolio.reports["tickets"].drops
    assert issue.reason.startswith("another row has the same ticket_id ")


def test_figures_of_a_refused_table_say_so(make_portfolio):
    tickets = _tickets(*(f"t{n},{'acme' if n % 2 else 'cora'},soon,low" for n in range(30)))
    portfolio = make_portfolio(customers=CUSTOMERS, events=EVENTS, tickets=tickets)
    missing = hs.calculate_health_score(portfolio, "beta").not_measured
    for key in ("open_tickets", "support_ticket_count"):
        assert missing[f"$.health_metrics.{key}"].startswith("tickets: refused, 30 of 70 rows")


def test_the_footer_of_a_report_is_no_loss(make_portfolio):
    footer = '\n"Generated by: A. Person"\n"Confidential - do not distribute"\n'
    report = make_portfolio(customers=CUSTOMERS + footer, events=EVENTS).reports["customers"]
    assert (report.read, report.kept, report.refused) == (5, 3, False)
    (drop,) = report.drops
    assert drop.count == 2 and "below the last row" in drop.reason and "Generated" in drop.example
    within = CUSTOMERS.replace("beta,", '"Generated by: A. Person"\nbeta,', 1)
    report = make_portfolio(customers=within, events=EVENTS).reports["customers"]
    assert (report.read, report.kept) == (4, 3)
    assert "the line does not have the header's columns" in report.drops[0].reason
