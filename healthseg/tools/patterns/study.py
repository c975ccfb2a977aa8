"""What is tried in a call, and what is significant: all families of a scope, judged together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from healthseg.clustering.bundles import PLUS, Bundles, bundles
from healthseg.clustering.churn_patterns import (
    ORDER,
    OUTCOME_COLUMNS,
    USED,
    ChurnHypotheses,
    QuarterRetention,
    features_adopted,
    share_of_other_features,
)
from healthseg.clustering.churn_signs import BY_NAME, RISK, SIGNS, SUCCESS, SignHistory
from healthseg.clustering.communication import MessagePatterns, communication
from healthseg.clustering.feature_use import (
    features_used,
    features_used_by_users,
    last_days_of_churned,
    user_rows,
)
from healthseg.clustering.pattern_words import basis, pattern_name, pattern_type
from healthseg.clustering.patterns import (
    PatternFamily,
    PatternLimits,
    evaluate_patterns,
    why_rejected,
)
from healthseg.clustering.personas import Personas, personas
from healthseg.clustering.sequences import ARROW, AdoptionOrders, contains, sequences
from healthseg.clustering.support import SupportPatterns, support
from healthseg.clustering.temporal import TemporalPatterns, temporal
from healthseg.clustering.unusual_days import anomalies_of
from healthseg.data.portfolio import Portfolio
from healthseg.metrics import panels
from healthseg.metrics.feature_timelines import feature_timelines
from healthseg.metrics.profile import customers_as_of
from healthseg.settings import fingerprint
from healthseg.tools.context import require_modest
from healthseg.tools.patterns.result import (
    HypothesisCounts,
    HypothesisFigures,
    PatternInGroup,
    RejectedPattern,
)
from healthseg.tools.values import rounded

SINGLE, SEGMENT, ALL = "single_customer", "segment", "all_customers"
CATEGORIES = ("temporal", "feature_usage", "communication", "support")
CHURN_KINDS = (RISK, SUCCESS, "habit")
KINDS = ("temporal", "communication", "support", "sequence", "bundle", *CHURN_KINDS)
MEMBERS_MARKS = {"sequence": ARROW, "bundle": PLUS}
Resampled = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


# -- customers and days --------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyScope:
    """``clients`` were live on a day of ``[start, end)``; ``members(date)`` are those of a date, None: all."""

    kind: str
    clients: list[str]
    start: dt.date
    end: dt.date
    requested_days: int
    as_of: dt.date
    members: Callable[[dt.date], set[str] | None] = lambda date: None
    client_id: str | None = None
    customer_name: str | None = None
    churned: bool = False
    segment_id: str | None = None
    segment_name: str | None = None
    excluded: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        return (self.end - self.start).days

    @property
    def middle(self) -> dt.date:
        """The first day of the later half of the window, which is held out."""
        return self.start + dt.timedelta(days=self.days // 2)


def all_customers(portfolio: Portfolio, as_of: dt.date, days: int) -> StudyScope:
    start, end, warnings = window_of(portfolio, as_of, days)
    known = customers_as_of(portfolio, as_of)
    excluded = {
        "churned": int((known["churned_on"] <= pd.Timestamp(start)).sum()),
        "not_started": int((pd.to_datetime(known["signup_date"]) > pd.Timestamp(as_of)).sum()),
    }
    clients = customers_in(portfolio, as_of, start, end)
    return StudyScope(ALL, clients, start, end, days, as_of, excluded=excluded, warnings=warnings)


def window_of(
    portfolio: Portfolio, last: dt.date, days: int
) -> tuple[dt.date, dt.date, tuple[str, ...]]:
    """First day, day after the last, and the warning where the data begins later."""
    end = last + dt.timedelta(days=1)
    start, first = end - dt.timedelta(days=days), portfolio.first_event_day
    if start >= first:
        return start, end, ()
    warning = (
        f"the window of {days} days begins before the data: shortened to the {(end - first).days} "
        f"days from {first}"
    )
    return first, end, (warning,)


def customers_in(portfolio: Portfolio, as_of: dt.date, start: dt.date, end: dt.date) -> list[str]:
    """Customers that were live on a day of the window."""
    known = customers_as_of(portfolio, as_of)
    signup = pd.to_datetime(known["signup_date"])
    churned = known["churned_on"] <= pd.Timestamp(start)
    return sorted(known.index[(signup < pd.Timestamp(end)) & ~churned])


# -- what is tried -------------------------------------------------------------------------------


class Study:
    """The families of one scope and window. One customer's churn signs are learned from ``portfolio_study``."""

    def __init__(self, portfolio: Portfolio, scope: StudyScope, categories: frozenset[str]) -> None:
        self.portfolio, self.scope, self.categories = portfolio, scope, categories
        self.settings = portfolio.settings
        self.level = portfolio.settings.interval_level
        self._families: dict[str, PatternFamily | None] = {}

    @classmethod
    def of(cls, portfolio: Portfolio, scope: StudyScope, categories: frozenset[str]) -> Study:
        inputs = (
            scope.kind,
            scope.client_id,
            scope.segment_id,
            scope.as_of,
            scope.days,
            tuple(sorted(categories)),
        )
        return portfolio.cache.get(
            "pattern_studies", inputs, lambda: cls(portfolio, scope, categories), disk=False
        )

    @cached_property
    def portfolio_study(self) -> Study:
        """The same window of all customers, which one customer is compared with."""
        scope = self.scope
        if scope.kind != SINGLE:
            return self
        wide = all_customers(self.portfolio, scope.as_of, scope.requested_days)
        return Study.of(self.portfolio, wide, self.categories)

    def cached(self, name: str, build: Callable[[], Any]) -> Any:
        """What follows from the portfolio's data and settings; of other scopes it is computed."""
        if self.scope.kind == SEGMENT:
            return build()
        as_of = self.scope.as_of
        inputs = [as_of, self.portfolio.content(as_of), self.settings.fingerprint]
        return self.portfolio.cache.get(name, inputs, build)

    def stored(self, name: str, build: Callable[[], Any], *inputs: Any) -> Any:
        """What follows from the window of all customers, as it is on disk; of other scopes it is computed."""
        if self.scope.kind != ALL:
            return build()
        as_of, days = self.scope.as_of, self.scope.requested_days
        state = [as_of, days, self.portfolio.content(as_of), self.settings.fingerprint]
        return self.portfolio.cache.get(name, [*state, *inputs], build)

    # -- features ----------------------------------------------------------------------------

    @cached_property
    def lives(self) -> pd.DataFrame:
        """Feature timelines; of all customers also those of customers that churned before the window."""
        as_of, settings = self.scope.as_of, self.settings
        inputs = [as_of, self.portfolio.content(as_of), settings.fingerprint]
        lives = self.portfolio.cache.get(
            "pattern_lives",
            inputs,
            lambda: feature_timelines(
                self.portfolio, as_of, settings.sign_month_days, settings.abandoned_after_days
            ),
        )
        if self.scope.kind == ALL:
            return lives
        return lives[lives["client_id"].isin(self.scope.clients)].reset_index(drop=True)

    @cached_property
    def orders(self) -> AdoptionOrders | None:
        """Orders of adoption; one customer's are the portfolio's."""
        if self.scope.kind == SINGLE:
            return self.portfolio_study.orders
        limits = PatternLimits(support=self.settings.order_min_customers)
        return sequences(self.lives, limits, self.settings) if len(self.lives) else None

    @cached_property
    def used(self) -> pd.DataFrame:
        """Units × features of the window: 1 used, 0 not, NaN not entitled. Units are customers, or one's users.

        Of all customers also those that churned before: the as many days before their churn.
        """
        return self._used(self.scope.start)

    def _used(self, start: dt.date) -> pd.DataFrame:
        scope = self.scope
        if scope.kind == SINGLE:
            days = self.feature_days
            require_modest(days["feature"].nunique(), days["user_id"].nunique())
            return features_used_by_users(self.feature_days, start)
        windows = pd.DataFrame({"client_id": scope.clients, "start": start, "end": scope.end})
        before = pd.DataFrame(columns=["client_id", "start", "end"])
        if scope.kind == ALL:
            days = (scope.end - start).days
            before = last_days_of_churned(self.portfolio, scope.as_of, days, scope.clients)
        return features_used(self.portfolio, pd.concat([windows, before]))

    @property
    def churned_before(self) -> list[str]:
        """Customers that say which bundles there are, and are not within the window."""
        if self.scope.kind != ALL:
            return []
        return self.used.index.difference(self.scope.clients).tolist()

    @cached_property
    def bundles(self) -> Bundles:
        single = self.scope.kind == SINGLE
        limits = (
            PatternLimits(support=self.settings.bundle_min_users) if single else PatternLimits()
        )
        later = self._used(self.scope.middle).reindex(columns=self.used.columns, fill_value=0.0)
        return bundles(self.used, later, limits, self.settings)

    @cached_property
    def feature_days(self) -> pd.DataFrame:
        """client_id, user_id, feature, day: a row where a user used a feature on a day of the window."""
        return user_rows(*self._rows_of("feature_user_days"))

    def _rows_of(self, name: str) -> tuple[Portfolio, str, list[str], dt.date, dt.date]:
        return self.portfolio, name, self.scope.clients, self.scope.start, self.scope.end

    @cached_property
    def personas(self) -> tuple[Personas, int]:
        """The personas, and how many users had too few events to be placed."""
        days = user_rows(*self._rows_of("user_days"))
        events = days.groupby(["client_id", "user_id"], sort=True)["person_events"].sum()
        enough = events[events >= self.settings.persona_min_user_events]
        rows = self.feature_days
        placed = pd.MultiIndex.from_frame(rows[["client_id", "user_id"]]).isin(enough.index)
        by_feature = rows[placed].groupby(["client_id", "user_id", "feature"], sort=True)
        clusters = personas(by_feature["day"].nunique().rename("days").reset_index(), self.settings)
        return clusters, len(events) - clusters.users

    # -- churn and retention -----------------------------------------------------------------

    @cached_property
    def history(self) -> SignHistory:
        return SignHistory(self.portfolio, self.scope.as_of, self.scope.members)

    @property
    def months(self) -> pd.DataFrame:
        return self.history.months

    @cached_property
    def retention(self) -> QuarterRetention:
        return QuarterRetention(self.portfolio, self.months, self.scope.as_of)

    @cached_property
    def churn_hypotheses(self) -> ChurnHypotheses:
        return ChurnHypotheses(self.months, self.settings)

    @cached_property
    def uses(self) -> dict[str, np.ndarray]:
        """Of each feature, by month row: adopted then (1), not (0), not entitled (NaN)."""
        return features_adopted(self.portfolio, self.months, self.settings.sign_month_days)

    def shown(self, kind: str, key: str) -> np.ndarray | None:
        """1, 0 or NaN by month row of a pattern; None for what cannot be tested against churn."""
        if kind in (RISK, SUCCESS):
            return BY_NAME[key].shown(self.months, self.settings)
        if kind == "bundle":
            parts = [self.uses.get(USED + feature) for feature in key.split(PLUS)]
            known = [part for part in parts if part is not None]
            return np.prod(known, axis=0) if len(known) == len(parts) else None
        if key.startswith(ORDER) and self.orders is not None:
            return self.orders.completed(key.removeprefix(ORDER), self.months)
        return self.uses.get(key)

    # -- days, hours, messages, tickets --------------------------------------------------------

    @property
    def _window(self) -> tuple[Portfolio, list[str], dt.date, dt.date]:
        return self.portfolio, self.scope.clients, self.scope.start, self.scope.end

    @cached_property
    def time(self) -> TemporalPatterns:
        return temporal(*self._window, stored=self.stored)

    @cached_property
    def messages(self) -> MessagePatterns:
        return communication(*self._window)

    @cached_property
    def tickets(self) -> SupportPatterns:
        return support(*self._window)

    @cached_property
    def unusual_days(self) -> pd.DataFrame:
        """As from ``anomalies_of``."""
        return self.stored("pattern_anomalies", lambda: anomalies_of(*self._window))

    # -- all together --------------------------------------------------------------------------

    def family(self, kind: str) -> PatternFamily | None:
        """What is tried of a kind; None where it is not requested, or nothing can be tried."""
        if kind not in self._families:
            self._families[kind] = self._family(kind)
        return self._families[kind]

    def limits(self, kind: str) -> PatternLimits:
        family = self.family(kind)
        return PatternLimits() if family is None else family.limits

    def _family(self, kind: str) -> PatternFamily | None:
        single = self.scope.kind == SINGLE
        if kind in CHURN_KINDS:
            return None if single else self._churn_family(kind)
        category = "feature_usage" if kind in ("sequence", "bundle") else kind
        if category not in self.categories or not self.scope.clients:
            return None
        if kind == "bundle":
            return self.bundles.family if self.used.size else None
        if kind == "sequence":
            return None if single or self.orders is None else self.orders.family
        finder = {"temporal": "time", "communication": "messages", "support": "tickets"}[kind]
        family: PatternFamily | None = getattr(self, finder).family
        return family

    def _churn_family(self, kind: str) -> PatternFamily:
        if kind != "habit":
            signs = [sign for sign in SIGNS if sign.kind == kind]
            shown = {sign.name: sign.shown(self.months, self.settings) for sign in signs}
            return self.churn_hypotheses.family(kind, shown)
        shown = dict(self.uses)
        if self.orders is not None and len(self.months):
            max_p = self.settings.order_tested_on_churn_max_p
            for key in self.orders.frequent(max_p):
                shown[ORDER + key] = self.orders.completed(key, self.months)
        rows = len(self.months)
        beside = {key: share_of_other_features(key, self.uses, rows) for key in shown}
        return self.churn_hypotheses.family(kind, shown, beside)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Everything tried, with its verdict. The portfolio's is cached: its customers are compared with it."""

        def build() -> pd.DataFrame:
            families = [family for kind in KINDS if (family := self.family(kind)) is not None]
            return evaluate_patterns(families, self.settings)

        return self.stored("patterns", build, sorted(self.categories))

    def tried(self, kind: str) -> pd.DataFrame:
        """What was tried of a kind, with the figures of churn (NaN where those were not tested)."""
        rows = self.judged[self.judged["kind"] == kind]
        return rows.reindex(columns=list(dict.fromkeys([*rows, *OUTCOME_COLUMNS])))

    def significant(self, min_confidence: float) -> pd.DataFrame:
        """The rows that pass and are sure enough; only the longest orders and the largest bundles."""
        rows = self.judged[_reported(self.judged, min_confidence)]
        return rows[~_contained(rows)].reset_index(drop=True)

    @cached_property
    def groups(self) -> dict[str, set[str]]:
        """Customers by tier and by tenure, as last known in the months."""
        rows = panels.panel(self.portfolio, [self.scope.as_of])
        rows = pd.concat([self.months, rows[rows["live"].astype(bool)]])
        last = rows.drop_duplicates("client_id", keep="last")
        tier, client = last["tier"].astype(object), last["client_id"].astype(str)
        names = sorted(tier.dropna().unique())
        groups = {f"tier {name}": set(client[tier == name]) for name in names}
        year = last["tenure_days"].to_numpy(dtype=float) >= self.settings.pattern_group_year_days
        return groups | {
            "first year": set(client[~year]),
            "after the first year": set(client[year]),
        }

    def resampled(self, kind: str, key: str) -> tuple[Sequence[str], Resampled | None]:
        """The units of a kind, and a pattern's support and lift where they are weighted."""
        if kind in CHURN_KINDS:
            hypotheses, shown = self.churn_hypotheses, self.shown(kind, key)
            assert shown is not None
            return hypotheses.units.tolist(), lambda weights: hypotheses.resampled(weights, shown)
        family = self.family(kind)
        if family is None or family.resample is None:
            return [], None
        resample = family.resample
        at = np.flatnonzero((family.tried["key"] == key).to_numpy())[:1]

        def of_pattern(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            support, lift = resample(weights, at)
            return support[:, 0], lift[:, 0]

        return family.units, of_pattern


def _reported(rows: pd.DataFrame, min_confidence: float) -> pd.Series:
    return rows["passes"] & (rows["confidence"].fillna(0) >= min_confidence)


def _contained(rows: pd.DataFrame) -> np.ndarray:
    """Whether another order or bundle has all of the row's features, in its order."""
    contained = np.zeros(len(rows), dtype=bool)
    for kind, mark in MEMBERS_MARKS.items():
        at = np.flatnonzero((rows["kind"] == kind).to_numpy())
        keys = [rows["key"].iloc[row].split(mark) for row in at]
        contained[at] = [
            any(
                len(other) > len(own)
                and (contains(other, own) if kind == "sequence" else set(own) <= set(other))
                for other in keys
            )
            for own in keys
        ]
    return contained


# -- evidence ------------------------------------------------------------------------------------


def pattern_id(kind: str, key: str) -> str:
    """From the pattern's definition alone: the same pattern has it in every call."""
    return f"ptn_{fingerprint([kind, key])[:8]}"


def hypothesis_figures(row: dict[str, Any], level: float) -> HypothesisFigures:
    base_rate, lift = rounded(row["base_rate"]) or 0.0, rounded(row["lift"]) or 0.0
    return HypothesisFigures(
        support=int(row["support"]),
        n=int(row["n"]),
        prevalence=rounded(row["prevalence"]),
        base_rate=base_rate,
        rate_with=rounded(base_rate * lift),
        lift=lift,
        lift_lower=rounded(row["lower"]),
        lift_upper=rounded(row["upper"]),
        interval_level=level,
        p=float(f"{row['p']:.3g}"),
        q=float(f"{row['q']:.3g}"),
        held_out_lift=rounded(row["held_out_lift"]),
        held_out_p=rounded(row["held_out_p"], 6),
        found_again=bool(row["found_again"]),
        confidence=rounded(row["confidence"]),
        basis=basis(row["kind"]),
    )


def hypothesis_counts(study: Study, min_confidence: float) -> HypothesisCounts:
    """How much was tried; of one customer also what was tried on the portfolio."""
    rows = study.judged
    if study.portfolio_study is not study:
        rows = pd.concat([rows, study.portfolio_study.judged], ignore_index=True)
    below = rows["passes"] & ~(rows["confidence"] >= min_confidence)
    return HypothesisCounts(
        hypotheses=len(rows),
        by_type={kind: int(n) for kind, n in rows["kind"].value_counts().sort_index().items()},
        behaviours=int((rows["kind"] != "temporal").sum()),
        behaviours_held=int((study.significant(min_confidence)["kind"] != "temporal").sum()),
        passed=int(rows["passes"].sum()),
        below_confidence=int(below.sum()),
        max_q=study.settings.effects_max_q,
        held_out_max_p=study.settings.pattern_held_out_max_p,
        resamples=study.settings.pattern_resamples,
        min_pattern_confidence=min_confidence,
    )


def rejected_patterns(study: Study, min_confidence: float) -> list[RejectedPattern]:
    """The most promising of what is not reported, with where it failed."""
    rows, settings = study.judged, study.settings
    promising = rows["p"] <= settings.rejected_patterns_max_p
    rows = rows[~_reported(rows, min_confidence) & promising]
    rows = rows.sort_values(["q", "kind", "key"], kind="stable")
    return [
        RejectedPattern(
            pattern_name=pattern_name(row["kind"], row["key"]),
            pattern_type=pattern_type(row["kind"]),
            why=why_rejected(
                row, study.limits(row["kind"]), settings, len(study.judged), min_confidence
            ),
            evidence=hypothesis_figures(row, study.level),
        )
        for row in rows.head(settings.rejected_patterns_shown).to_dict("records")
    ]


def pattern_in_groups(study: Study, row: dict[str, Any]) -> list[PatternInGroup]:
    """The pattern among customers of each tier and tenure that shows it often enough."""
    if study.scope.kind == SINGLE:
        return []
    units, resampled = study.resampled(row["kind"], row["key"])
    groups = study.groups
    if resampled is None or not groups:
        return []
    weights = np.array([[unit in members for unit in units] for members in groups.values()], int)
    supports, lifts = resampled(weights)
    side = np.sign(np.log(max(row["lift"], 1e-9)))
    reversal = -np.log(study.settings.pattern_reversal_min_ratio)
    return [
        PatternInGroup(
            group=name,
            support=int(count),
            lift=rounded(lift),
            reversed=bool(np.log(max(lift, 1e-9)) * side <= reversal),
        )
        for name, count, lift in zip(groups, supports, lifts, strict=True)
        if count >= study.settings.pattern_group_min_units
    ]
