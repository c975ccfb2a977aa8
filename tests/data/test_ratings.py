"""CSAT answers: one scale for a table, said or shown by its values; words, faces and stars; else unmeasured."""

import pandas as pd
import pytest

from healthseg import Portfolio


def opened(answers, table="tickets", **settings):
    rows = {
        "tickets": [
            {
                "ticket_id": f"t{number}",
                "client_id": f"c{number % 3}",
                "opened_at": "2025-03-01 10:00:00",
                "resolved_at": "2025-03-02 10:00:00",
                "csat": answer,
            }
            for number, answer in enumerate(answers)
        ],
        "surveys": [
            {
                "client_id": f"c{number % 3}",
                "kind": kind,
                "score": answer,
                "responded_at": f"2025-03-01 10:00:{number:02d}",
            }
            for number, (kind, answer) in enumerate(answers)
        ]
        if table == "surveys"
        else [],
    }[table]
    customers = [{"client_id": f"c{n}", "signup_date": "2025-01-01"} for n in range(3)]
    tables = {"customers": pd.DataFrame(customers), table: pd.DataFrame(rows).astype("str")}
    return Portfolio.open(tables, settings=settings or None)


def mean(portfolio):
    return round(float(portfolio.table("tickets")["csat"].mean()), 3)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([2, 3, 4, 4], 3.25),
        ([0, 1, 1, 1], 4.0),
        ([7, 4, 1], 3.0),
        ([10, 1], 3.0),
        ([50, 75, 100], 4.0),
        (["75%", "100%", "50%"], 4.0),
        (["good", "Bad", "offered"], 3.0),
        (["very satisfied", "neutral", "Very dissatisfied"], 3.0),
        (["🤩", "😐", "😠"], 3.0),
        (["★★★★★", "★☆☆☆☆"], 3.0),
        (["4/5", "2 of 5", "3 stars"], 3.0),
    ],
    ids=str,
)
def test_a_column_of_one_scale_is_read_from_1_to_5(answers, expected):
    portfolio = opened(answers)
    assert mean(portfolio) == expected
    assert not portfolio.reports["tickets"].corrected


@pytest.mark.parametrize("answers", [[1, 1, 1], [2, 8, 6], [0, 4, 10], [3, 4, 50]], ids=str)
def test_a_column_that_fits_several_scales_is_unmeasured_and_asks_for_the_setting(answers):
    portfolio = opened(answers)
    assert portfolio.table("tickets")["csat"].isna().all()
    (issue,) = portfolio.reports["tickets"].issues
    assert (issue.kind, issue.count) == ("emptied", len(answers))
    assert "csat_scale" in issue.reason and issue.example == str(answers[0])
    stated = opened(answers, csat_scale="0-100")
    assert mean(stated) == round(1 + 4 * sum(answers) / len(answers) / 100, 3)


def test_slips_neither_move_the_scale_nor_count():
    answers = [4, 5] * 20 + [99, 0, 6]
    portfolio = opened(answers)
    assert mean(portfolio) == 4.5
    assert portfolio.reports["tickets"].corrected == {"csat": 3}


def test_an_unclear_scale_of_surveys_leaves_nps():
    nps = [("nps", 9), ("nps", 3), ("NPS", 10)]
    portfolio = opened([("csat", 2), ("csat", 8), ("csat", 7), *nps], "surveys")
    assert set(portfolio.table("surveys")["score"]) == {3.0, 9.0, 10.0}
    (issue,) = portfolio.reports["surveys"].issues
    assert (issue.count, issue.kind) == (3, "conflict")
    whole = opened([("csat", 20), ("csat", 80), ("csat", 100), *nps], "surveys").table("surveys")
    assert sorted(whole.loc[whole["kind"] == "csat", "score"]) == [1.8, 4.2, 5.0]
    assert set(whole.loc[whole["kind"] == "nps", "score"]) == {3.0, 9.0, 10.0}


def test_many_nps_answers_of_which_none_is_above_seven_are_of_another_scale():
    """Of 0 to 5 the best is 5: read as 0 to 10, all would be detractors."""
    answers = [("nps", 3 + number % 3) for number in range(20)]
    portfolio = opened([*answers, ("csat", 4)], "surveys")
    assert list(portfolio.table("surveys")["kind"]) == ["csat"]
    (issue,) = portfolio.reports["surveys"].issues
    assert (issue.count, issue.kind) == (20, "conflict") and "nps_scale" in issue.reason
    for others in (answers[1:], [*answers, ("nps", 8)]):
        assert len(opened(others, "surveys").table("surveys")) == len(others)
    stated = opened(answers, "surveys", nps_scale="0-10").table("surveys")
    assert sorted(stated["score"].unique()) == [3.0, 4.0, 5.0]
