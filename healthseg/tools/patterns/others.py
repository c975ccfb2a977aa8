"""The sections about days, hours, messages, tickets and unusual days, from what their finders give."""
from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg.clustering.anomalies_book import anomalies_of
from healthseg.data.memory import remember
from healthseg.tools.patterns.missing import NOT_ASKED
from healthseg.tools.patterns.result import Anomaly, Communication, Support, Temporal
from healthseg.tools.patterns.scope import SINGLE
from healthseg.tools.patterns.study import Study
from healthseg.tools.rounding import rounded, word

MOST_ANOMALIES = 50
ABOUT = {"people": ("users", "users came"), "doing": ("person_events", "events of those who came"),
         "calls": ("api_events", "calls of the API")}
WEEK = ["weekday", "hour", "ratio"]


def temporal(study: Study, reasons: dict[str, str]) -> tuple[Temporal | None, pd.DataFrame]:
    reasons["$.temporal_patterns"] = NOT_ASKED
    return None, pd.DataFrame(columns=WEEK)


def communication(study: Study, reasons: dict[str, str]) -> Communication | None:
    reasons["$.communication_patterns"] = NOT_ASKED
    return None


def support(study: Study, reasons: dict[str, str]) -> Support | None:
    reasons["$.support_patterns"] = NOT_ASKED
    return None


def described(kind: str, key: str, row: dict[str, Any]) -> str | None:
    return None


# -- unusual days ---------------------------------------------------------------------------


def anomalies(study: Study, reasons: dict[str, str]) -> list[Anomaly] | None:
    """Unusual days of the scope's sum, and of single customers; the largest first."""
    if "temporal" not in study.categories:
        reasons["$.anomalies"] = NOT_ASKED
        return None
    scope = study.scope
    key = ("pattern anomalies", scope.kind, scope.client_id, scope.segment_id, scope.start, scope.end)
    found = remember(study.book, key, lambda: anomalies_of(study.book, scope.clients, scope.start, scope.end))
    found = found.assign(of_all=found["client_id"].isna()).sort_values(
        ["of_all", "return_days", "first_day", "client_id"], ascending=[False, False, True, True], kind="stable")
    return [_anomaly(row, scope) for row in found.head(MOST_ANOMALIES).to_dict("records")]


def _anomaly(row: dict[str, Any], scope: Any) -> Anomaly:
    own = word(row["client_id"])
    series, told = ABOUT[row["about"]]
    day = pd.Timestamp(row["date"]).date()
    last = pd.Timestamp(1970, 1, 1) + pd.Timedelta(days=int(row["last_day"]))
    change = "as many" if row["value"] == row["expected"] else f"{row['ratio']:.1f} times as many"
    text = f"{told[:1].upper()}{told[1:]}: {row['value']:,.0f}, {row['expected']:,.0f} were to be expected ({change})"
    whose = "customer" if own or scope.kind == SINGLE else {"segment": "segment"}.get(scope.kind, "book")
    return Anomaly(anomaly_type=row["anomaly_type"], date=day, description=text, likely_cause=word(row["likely_cause"]),
                   action_required=bool(row["action_required"]), scope=whose, client_id=own or scope.client_id,
                   series=series, until=last.date(), return_days=rounded(min(row["return_days"], 1e12), 0),
                   factor=rounded(row["ratio"]))
