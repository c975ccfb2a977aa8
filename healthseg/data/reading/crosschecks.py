"""What tables say about each other: listed by ``check`` as warnings, never corrected in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthseg.data.engine import sql_text

if TYPE_CHECKING:
    from healthseg.data.portfolio import Portfolio

_CHECKS = {
    "events_before_signup": "{n:,} customers have events before their signup_date, for example {example}",
    "events_after_churn": "{n:,} customers have events on or after churned_on, for example {example}",
    "arr_disagrees": "{n:,} customers whose ARR differs between arr_changes, contracts and customers, "
    "for example {example}",
    "churn_disagrees": "{n:,} customers whose leaving differs between churned_on, arr_changes and stage_changes, "
    "for example {example}",
    "many_contents": "messages.content is meant as a category: {n:,} values are too many or too long, "
    "for example {example}",
}


def warnings(portfolio: Portfolio) -> list[str]:
    """The sentences for what was found, in a fixed order."""
    connection = portfolio.connection()
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE portfolio_day AS SELECT CAST(? AS DATE) AS day",
        [portfolio.data_until],
    )
    found = []
    for name, words in _CHECKS.items():
        n, example = connection.execute(
            f"SELECT COUNT(*), MIN(client_id) FROM ({sql_text(f'checks/{name}')})"
        ).fetchall()[0]
        if n:
            found.append(words.format(n=n, example=example))
    return found
