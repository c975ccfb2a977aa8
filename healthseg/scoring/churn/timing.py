"""What is known ahead of each step: whether a renewal falls into it, of which contract, and how old the customer is then.

Renewals are steps' columns: in how many steps the next one is due, counted from the step's start. A renewal that
lies before the step has been signed, since the customer is retained: the next is a term later. Contracts of fewer
than ``ROLLING_TERM_DAYS`` renew in every step.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from healthseg.settings.data import ROLLING_TERM_DAYS

RENEWAL, TENURE = "renewal", "tenure"
SUBJECTS = {RENEWAL: "days_to_renewal", TENURE: "tenure_days"}
# metrics that only these columns read
KNOWN_AHEAD = frozenset(
    {"days_to_renewal", "contract_term_days", "contract_auto_renews", "tenure_days"}
)
ASSUMED_TERM_DAYS = 365
SHORT_DAYS, LONG_DAYS = 120, 300  # of a term, exclusive
TENURE_DAYS = (30, 60, 90, 120, 180, 270, 365, 730)
# steps until the renewal, from a step's start: the bins, and their parts near the edges
BINS = {"due": (0, 1), "1": (1, 2), "2": (2, 3), "3": (3, 4)}
EDGES = {"due early": (0, 0.25), "due late": (0.75, 1), "just after": (1, 1.25)}


def timing_names(rows: pd.DataFrame) -> list[str]:
    """The columns of what is known ahead that these rows can have."""
    names = []
    if "days_to_renewal" in rows:
        names += ["known", "overdue", *BINS, *EDGES]
        if "contract_term_days" in rows:
            names += ["due of short", "due of long", "monthly", "term"]
        if "contract_auto_renews" in rows:
            names += ["due by itself", "by itself"]
    if "tenure_days" in rows:
        names += [TENURE, *(f"{TENURE} {day}" for day in TENURE_DAYS)]
    return names


def subject(name: str) -> str:
    """Whether a column speaks of the renewal or of the tenure."""
    return TENURE if name.startswith(TENURE) else RENEWAL


def timing_values(
    rows: pd.DataFrame, names: list[str], step_days: int, ahead: int = 0, share: float = 1.0
) -> np.ndarray:
    """Rows × named columns at the start of the step that lies ``ahead`` steps ahead; none is missing.

    ``share``: of the step's days that count; a renewal in the rest is not due yet.
    """
    steps, term, renews = _renewal(rows, step_days, ahead, share)
    tenure = np.maximum(_column(rows, "tenure_days", 0.0) + ahead * step_days, 0.0)
    columns = {
        "known": ~np.isnan(steps),
        "overdue": steps <= 0,
        "due of short": _within(steps, 0, 1) & (term < SHORT_DAYS),
        "due of long": _within(steps, 0, 1) & (term > LONG_DAYS),
        "monthly": term < ROLLING_TERM_DAYS,
        "term": np.log1p(np.nan_to_num(term)) / 6,
        "due by itself": _within(steps, 0, 1) * (renews - 0.5),
        "by itself": renews - 0.5,
        "tenure": np.log1p(np.maximum(tenure, 0.0)) - 5,
    }
    columns |= {name: _within(steps, *ends) for name, ends in (BINS | EDGES).items()}
    columns |= {f"tenure {day}": tenure >= day for day in TENURE_DAYS}
    return np.column_stack([np.asarray(columns[name], dtype=float) for name in names])


def has_renewal(rows: pd.DataFrame, step_days: int, ahead: int, share: float) -> np.ndarray:
    """Whether each row's renewal falls into the first ``share`` of the step."""
    return _within(_renewal(rows, step_days, ahead, share)[0], 0, share)


def _renewal(
    rows: pd.DataFrame, step_days: int, ahead: int, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps until the renewal, the term in days (NaN: unknown), and whether it renews by itself (½: unknown)."""
    days = _column(rows, "days_to_renewal", np.nan)
    term = _column(rows, "contract_term_days", np.nan)
    days = np.where(term < ROLLING_TERM_DAYS, np.nan, days)
    later, passed = days - ahead * step_days, ahead * step_days >= days
    each = np.where(np.isnan(term), ASSUMED_TERM_DAYS, term)
    signed = passed & (days > 0)
    later = np.where(signed, later + each * (np.floor(-later / each) + 1), later)
    steps = later / step_days
    steps = np.where(_within(steps, share, 1), 1.0 + 1e-9, steps) if share < 1 else steps
    return steps, term, np.nan_to_num(_column(rows, "contract_auto_renews", np.nan), nan=0.5)


def _within(steps: np.ndarray, low: float, high: float) -> np.ndarray:
    return (steps > low) & (steps <= high)


def _column(rows: pd.DataFrame, name: str, default: float) -> np.ndarray:
    if name not in rows:
        return np.full(len(rows), default)
    return np.nan_to_num(rows[name].to_numpy(dtype=float, na_value=np.nan), nan=default)
