"""Which contracts are in force on a day, as known then, and what do they add up to?

Contracts in force at once add up: a base and its add-ons, several subscriptions. Rows with one ``contract_id`` are
versions of one contract, without it those with the same start and end; on each day the version that began last, and of
those the one recorded last, stands. ``replaces`` names contracts that a contract takes the place of. Whether ``ends_on``
is the last day or the day after it follows from the portfolio's own contracts, as far as they were known on the day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from healthseg.data.engine import run
from healthseg.data.losses import Issue, note_on_customers
from healthseg.data.rates import Rates, rates
from healthseg.data.terms import rolled, term_starts, whole_months
from healthseg.settings.data import DataSettings

# pairs of a day and a contract that are compared at once: bounds the memory
PAIRS_AT_ONCE = 2_000_000
NUMBERS = (
    "arr",
    "seats",
    "renews",
    "ends",
    "auto_renews",
    "list_price",
    "term",
    "stop",
    "months",
    "length",
)
WORDS = ("plan", "currency")
# contradictions of ARR that are listed with their figures
CONTRADICTIONS_SHOWN = 20


@dataclass(frozen=True)
class EndConvention:
    """Whether ``ends_on`` is a contract's last day (inclusive), as the portfolio's contracts show it day by day.

    Consecutive contracts decide: the next one starts on the day after the end, or on the end itself. Where they do not by
    more than one, which may be an accident, terms of whole months count too (1 January to 31 December, or to 1 January).
    """

    setting: str
    known: np.ndarray  # days on which evidence became known, sorted
    balance: (
        np.ndarray
    )  # inclusive less exclusive evidence by then, of pairs, or of these and terms
    counts: dict[str, int]

    def inclusive(self, day: np.ndarray) -> np.ndarray:
        if self.setting != "detect":
            return np.full(np.shape(day), self.setting == "inclusive")
        position = np.searchsorted(self.known, day, side="right")
        return np.r_[0.0, self.balance][position] > 0

    def turns(self) -> np.ndarray:
        """The days from which ends are read otherwise than before.

        >>> EndConvention("detect", np.array([5, 5, 9, 12]), np.array([1.0, 2.0, 1.0, 0.0]), {}).turns().tolist()
        [5, 12]
        """
        reading = self.inclusive(self.known)
        return self.known[reading != np.r_[False, reading[:-1]]] if len(self.known) else self.known

    @property
    def word(self) -> str:
        """inclusive or exclusive, by all that is known."""
        last = np.array([np.iinfo(np.int32).max])
        return "inclusive" if self.inclusive(last)[0] else "exclusive"


def end_convention(rows: pd.DataFrame, setting: str) -> EndConvention:
    """The convention of contracts (``contract_rows``).

    >>> rows = pd.DataFrame({"k": 0, "starts": [0, 365], "ends": [364.0, 729.0], "known": [0, 365]})
    >>> end_convention(rows, "detect").inclusive(np.array([364, 365])).tolist()
    [True, True]
    """
    ended = rows[rows["ends"].notna()]
    starts = rows[["k", "starts", "known"]].drop_duplicates(["k", "starts"])
    parts = []
    for gap in (1, 0):
        after = ended.assign(starts=ended["ends"].astype(np.int64) + gap).merge(
            starts, on=["k", "starts"], suffixes=("", "_next")
        )
        known = after[["known", "known_next"]].max(axis=1)
        parts.append(pd.DataFrame({"known": known, "pair": 1, "sign": 2 * gap - 1}))
    whole = _in_whole_months(ended)
    parts.append(pd.DataFrame({"known": ended["known"], "pair": 0, "sign": whole})[whole != 0])
    evidence = pd.concat(parts).sort_values("known", kind="stable")
    pairs = (evidence["sign"] * evidence["pair"]).cumsum().to_numpy()
    terms = (evidence["sign"] * (1 - evidence["pair"])).cumsum().to_numpy()
    counts = {
        f"{word}_{name}": int(((evidence["sign"] == sign) & (evidence["pair"] == pair)).sum())
        for word, sign in (("inclusive", 1), ("exclusive", -1))
        for name, pair in (("pairs", 1), ("terms", 0))
    }
    known = evidence["known"].to_numpy(dtype=np.int64)
    balance = np.where(np.abs(pairs) > 1, pairs, pairs + terms)
    return EndConvention(setting, known, balance.astype(float), counts)


def _in_whole_months(rows: pd.DataFrame) -> np.ndarray:
    """1 where a term with its last day is whole months, −1 where it is without it, else 0."""
    sign = np.zeros(len(rows), dtype=np.int64)
    for extra, value in ((1, 1), (0, -1)):
        sign[whole_months(rows["starts"], rows["ends"] + extra) > 0] = value
    return sign


def prepared(
    rows: pd.DataFrame, settings: DataSettings, losses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Contracts with ``version``, the number of the contract that a row is a version of, ``unnamed``, whether its id was lost,
    ``term_starts``, when its term began, and two days (NaN: never): ``replaced``, from which another has taken its place,
    and ``lost``, from which a loss of the customer (``losses``: k, day, known) ended its renewals."""
    named = rows["contract_id"].notna()
    parts = [
        rows["k"],
        rows["contract_id"].astype(object).where(named, ""),
        rows["starts"].where(~named, -1),
        rows["ends"].fillna(-1).where(~named, -1),
    ]
    version = pd.factorize(pd.MultiIndex.from_arrays(parts))[0]
    replaced = pd.Series(np.nan, index=rows.index)
    takers = rows[rows["replaces"].notna()]
    if len(takers):
        names = takers["replaces"].astype(str).str.split(r"[;,|]")
        listed = takers.assign(
            contract_id=names, replaced=takers[["starts", "known"]].max(axis=1)
        ).explode("contract_id")
        listed["contract_id"] = listed["contract_id"].str.strip()
        first = listed.groupby(["k", "contract_id"])["replaced"].min()
        keys = pd.MultiIndex.from_arrays([rows["k"], rows["contract_id"].astype(object)])
        replaced = pd.Series(first.reindex(keys).to_numpy(dtype=float), index=rows.index)
    began = term_starts(rows.assign(version=version)[named], settings.term_tolerance_days)
    began = began.reindex(rows.index).fillna(rows["starts"])
    return rows.assign(
        version=version,
        term_starts=began,
        unnamed=~named & (rows["named"] >= settings.identified_min_share * rows["stated"]),
        replaced=replaced,
        term=rows["ends"] - began,
        lost=_lost(rows, losses),
    )


def _lost(rows: pd.DataFrame, losses: pd.DataFrame | None) -> pd.Series:
    """The first day on which a loss after a contract's begin was known."""
    if losses is None or losses.empty:
        return pd.Series(np.nan, index=rows.index)
    pairs = rows[["k", "starts"]].reset_index(names="row").merge(losses, on="k")
    pairs = pairs[pairs["day"] > pairs["starts"]]
    known = pairs[["day", "known"]].max(axis=1)
    return known.groupby(pairs["row"]).min().reindex(rows.index).astype(float)


def boundaries(rows: pd.DataFrame, convention: EndConvention) -> pd.DataFrame:
    """The days (k, day) on which what is in force may change, and from which terms that repeat are read otherwise."""
    names = ("starts", "known", "ends", "replaced", "lost")
    days = [*(rows[name] for name in names), rows["ends"] + 1]
    repeated = rows[rows["auto_renews"].eq(1) & rows["ends"].notna()]
    for turn in convention.turns():
        days.append(pd.Series(float(turn), index=repeated.index[repeated["known"] < turn]))
    frame = pd.concat([pd.DataFrame({"k": rows["k"], "day": day}) for day in days]).dropna()
    return frame.astype(np.int64).drop_duplicates(ignore_index=True)


def known_versions(
    rows: pd.DataFrame, convention: EndConvention, moments: pd.DataFrame, settings: DataSettings
) -> pd.DataFrame:
    """Pairs of a moment (``at``: its row) and a contract's standing version that had begun by then, with ``stop`` (the
    first day without it, inf while it is open) and ``in_force``.

    A contract that renews by itself runs on by whole terms, until the customer is lost or another contract follows it: one
    that begins within ``successor_days`` of the end of a term.
    """
    pairs = moments.reset_index(names="at").merge(rows, on="k")
    pairs = pairs[(pairs["starts"] <= pairs["day"]) & (pairs["known"] <= pairs["day"])]
    pairs = pairs[~pairs.duplicated(["at", "version"], keep="last")]
    pairs = pairs[~(pairs["replaced"] <= pairs["day"])]
    stop = pairs["ends"] + convention.inclusive(pairs["day"].to_numpy())
    pairs = _renewed(pairs.assign(stop=stop.fillna(np.inf)), settings)
    return pairs.assign(in_force=pairs["stop"] > pairs["day"])


def _renewed(pairs: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """The pairs with the present terms of contracts that renewed by themselves; ``months`` and ``length`` are those of a
    term (0 of contracts that don't). One that another contract followed is left out."""
    # an open contract's term ends with the day of renewal, or on the day before it
    last_day = whole_months(pairs["term_starts"], pairs["renews"] + 1) > 0
    end = pairs["stop"].where(pairs["ends"].notna(), pairs["renews"] + last_day)
    length = (end - pairs["term_starts"]).clip(lower=1)
    renews = pairs["auto_renews"].eq(1) & ~(pairs["lost"] <= pairs["day"]) & length.notna()
    length = length.where(renews, 0).astype(np.int64)
    months = np.zeros(len(pairs), dtype=np.int64)
    months[renews] = whole_months(pairs.loc[renews, "term_starts"], end[renews])
    pairs = pairs.assign(months=months, length=length)
    over = pairs[renews & (pairs["stop"] <= pairs["day"])]
    columns = ["at", "version", "starts", "arr", "plan"]
    others = over.reset_index(names="row")[["row", *columns, "stop", "length"]]
    others = others.merge(pairs[columns], on="at", suffixes=("", "_other"))
    later = (others["version"] != others["version_other"]) & (
        others["starts_other"] > others["starts"]
    )
    gap = others["starts_other"] - others["stop"]
    phase = gap % others["length"]
    distance = np.minimum(phase, others["length"] - phase)
    near = distance <= settings.successor_days
    # a small contract of another plan that begins on another day is an add-on: it runs beside the renewed one
    small = others["arr_other"] < settings.successor_min_arr_share * others["arr"]
    beside = small & (distance > 1) & (others["plan"] != others["plan_other"])
    followed = later & near & ~beside & (gap >= -settings.successor_days)
    followed = others.loc[followed, "row"].unique()
    pairs, over = pairs.drop(index=followed), over.drop(index=followed)
    stop = rolled(over["stop"], 0, over)
    for name in ("ends", "renews"):
        moved = over[name] + (stop - over["stop"])
        pairs[name] = moved.reindex(pairs.index).where(pairs.index.isin(over.index), pairs[name])
    pairs.loc[over.index, "stop"] = stop
    return pairs


def contracts_at(
    rows: pd.DataFrame,
    convention: EndConvention,
    moments: pd.DataFrame,
    settings: DataSettings,
    fx: Rates | None = None,
) -> pd.DataFrame:
    """What the contracts add up to at each moment (k, day): a row a moment with anything known, in their order.

    ``arr`` and ``seats`` are sums, the rest is the largest contract's. ``since``: the day from which the sum holds,
    ``recorded``: when that was known. Where nothing is in force, they are those of the contracts that ended last, and
    ``lapsed`` is the first day without them (NaN while one is in force or a new one is signed). Terms of contracts that
    renew by themselves pass without a new row: ``renewal_days`` reads their day of renewal.
    Contracts in another currency than the largest one's are converted by ``fx``; without a rate the ARR is unknown.
    """
    parts = [
        _sums(rows, convention, part, settings, fx)
        for part in _chunks(moments, rows)
        if len(part) and len(rows)
    ]
    columns = ["k", "day", *NUMBERS, *WORDS, "since", "recorded", "lapsed", "ended", "contracts"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _chunks(moments: pd.DataFrame, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    each = rows.groupby("k").size().reindex(moments["k"]).fillna(0).to_numpy()
    part = (np.cumsum(each) // PAIRS_AT_ONCE).astype(np.int64)
    for _, chunk in moments.groupby(part, sort=True):
        yield chunk


def _sums(
    rows: pd.DataFrame,
    convention: EndConvention,
    moments: pd.DataFrame,
    settings: DataSettings,
    fx: Rates | None,
) -> pd.DataFrame:
    known = known_versions(rows, convention, moments, settings)
    if not len(known):
        return contracts_at(rows.iloc[:0], convention, moments, settings)
    any_in_force = known.groupby("at")["in_force"].transform("any")
    chosen = standing(known, settings)
    largest = chosen.sort_values(["at", "arr"], kind="stable").drop_duplicates("at", keep="last")
    largest = largest.set_index("at")
    summed = _in_one_currency(chosen, largest["currency"], fx).groupby("at")
    frame = largest[["k", "day", *(name for name in NUMBERS), *WORDS]].copy()
    # beside others a contract whose id was lost is an add-on, or a version of one of them
    sure = ~(summed["unnamed"].any() & (summed.size() > 1))
    frame["arr"] = summed["arr"].sum().where(sure & (summed["arr"].count() == summed.size()))
    # seats of a base that are unknown are not those of its add-ons
    frame["seats"] = summed["seats"].sum().where(sure & largest["seats"].notna())
    frame["list_price"] = summed["list_price"].sum().where(largest["list_price"].notna())
    frame["contracts"] = chosen.groupby("at").size()
    in_force = any_in_force.groupby(known["at"]).first()
    ended = known["stop"].where(known["stop"] <= known["day"]).groupby(known["at"]).max()
    begun = chosen.groupby("at")["starts"].max().astype(float)
    frame["since"] = np.where(in_force, np.fmax(begun, ended), begun)
    frame["recorded"] = np.fmax(frame["since"], chosen.groupby("at")["known"].max())
    frame["ended"] = ended.where(~in_force)
    frame["lapsed"] = frame["ended"].where(~_signed(rows, frame))
    own = frame["renews"].fillna(frame["ends"].where(frame["term"] >= settings.rolling_term_days))
    frame["renews"] = own.where(in_force, frame["ends"])
    return frame.reset_index(drop=True)


def standing(known: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    """Of ``known_versions`` those that add up at each moment: what is in force, else the contracts that ended last."""
    groups = known.groupby("at")
    any_in_force, last = groups["in_force"].transform("any"), groups["stop"].transform("max")
    chosen = known[known["in_force"] | (~any_in_force & (known["stop"] == last))]
    if settings.overlap == "replace":
        chosen = chosen[~chosen.duplicated("at", keep="last")]
    return chosen


def _in_one_currency(chosen: pd.DataFrame, currency: pd.Series, fx: Rates | None) -> pd.DataFrame:
    """The contracts with their ARR in the currency of the largest of their moment, NaN where it has no rate."""
    own = chosen["currency"].astype(object)
    target = chosen["at"].map(currency.astype(object))
    other = own.notna() & target.notna() & (own != target)
    if not other.any():
        return chosen
    rate = pd.Series(1.0, index=chosen.index)
    rate[other] = (
        np.nan if fx is None else fx.between(own[other], target[other], chosen.loc[other, "day"])
    )
    return chosen.assign(arr=chosen["arr"] * rate, list_price=chosen["list_price"] * rate)


def _signed(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    """Whether a contract that begins later had been signed by the moment."""
    pairs = frame[["k", "day"]].reset_index().merge(rows[["k", "starts", "known"]], on="k")
    ahead = pairs[(pairs["starts"] > pairs["day"]) & (pairs["known"] <= pairs["day"])]
    return pd.Series(frame.index.isin(ahead["at"]), index=frame.index)


def renewal_days(contract: pd.DataFrame) -> np.ndarray:
    """The day of renewal of rows of ``contracts_at``, read on their ``day``: the contract's own, else its end unless it rolls
    on; of one that renews by itself the end of its present term, of one that ended the end itself."""
    date = contract["renews"].astype(float)
    gap = (contract["stop"].astype(float) - date).clip(0, 1).fillna(1)
    return rolled(date, gap, contract).to_numpy(dtype=float)


# -- what ``check`` says -------------------------------------------------------------------


def contract_issues(
    connection: duckdb.DuckDBPyConnection, day: dt.date, settings: DataSettings
) -> dict[str, list[Issue]]:
    """How contracts are read on the portfolio's last day: ends, overlaps, and where they contradict other tables."""
    scope, rows, convention, moments = _contracts_of(connection, day, settings)
    names = scope["client_id"].tolist()
    known = known_versions(rows, convention, moments, settings)
    in_force = known[known["in_force"]]
    stated = run(connection, "checks/arr_stated", {"scope": scope}).set_index("k")
    fx = rates(run(connection, "checks/fx", {}), settings.reporting_currency)
    sums = contracts_at(rows, convention, moments, settings, fx).set_index("k")
    sums = sums["arr"].astype(float).where(sums["ended"].isna())
    issues = [
        _not_known_yet(rows, moments, names),
        _ends_note(rows, convention, settings),
        _overlaps(in_force, names, stated, settings),
        _unnamed(in_force, names),
    ]
    contradictions = {"contracts": [issue for issue in issues if issue]}
    if conflict := _contradictions(stated.assign(contracts=sums), names):
        contradictions["customers"] = [conflict]
    return {table: listed for table, listed in contradictions.items() if listed}


def contracted_arr(
    connection: duckdb.DuckDBPyConnection, day: dt.date, settings: DataSettings
) -> pd.Series:
    """By customer, what its contracts add up to on a day."""
    scope, rows, convention, moments = _contracts_of(connection, day, settings)
    arr = contracts_at(rows, convention, moments, settings).set_index("k")["arr"].astype(float)
    return arr.reindex(scope["k"]).set_axis(scope["client_id"])


def _contracts_of(
    connection: duckdb.DuckDBPyConnection, day: dt.date, settings: DataSettings
) -> tuple[pd.DataFrame, pd.DataFrame, EndConvention, pd.DataFrame]:
    """All customers with their numbers, their contracts, how those end, and the day as a moment of each customer."""
    query = "SELECT client_id FROM accounts ORDER BY 1"
    names = [name for (name,) in connection.execute(query).fetchall()]
    scope = pd.DataFrame({"k": np.arange(len(names), dtype=np.int32), "client_id": names})
    rows = prepared(run(connection, "metrics/contract_rows", {"scope": scope}), settings)
    at = (day - dt.date(1970, 1, 1)).days
    moments = pd.DataFrame({"k": np.arange(len(names)), "day": at})
    return scope, rows, end_convention(rows, settings.contract_ends), moments


def _ends_note(
    rows: pd.DataFrame, convention: EndConvention, settings: DataSettings
) -> Issue | None:
    counts, last = convention.counts, convention.word == "inclusive"
    usual = settings.contract_ends == "detect" and not last
    if not rows["ends"].notna().any() or (usual and not counts["inclusive_pairs"]):
        return None
    reading = "as the last day of the contract" if last else "as the day after the contract's last"
    why = (
        f"{counts['inclusive_pairs']:,} contracts start on the day after another's end, "
        f"{counts['exclusive_pairs']:,} on that day; without their last day "
        f"{counts['exclusive_terms']:,} terms are whole months, with it {counts['inclusive_terms']:,}"
    )
    if settings.contract_ends != "detect":
        why = f"setting contract_ends; {why}"
    text = f"contracts.ends_on is read {reading} ({why})"
    return Issue(text, int(rows["ends"].notna().sum()), kind="note", column="ends_on", rows=False)


def _rows_by_client(rows: pd.DataFrame, names: list[str]) -> dict[str, int]:
    return {names[k]: int(count) for k, count in rows.groupby("k").size().items()}


def _overlaps(
    in_force: pd.DataFrame, names: list[str], stated: pd.DataFrame, settings: DataSettings
) -> Issue | None:
    """Customers with several contracts in force: their ARR under both readings, beside ``customers.arr``."""
    several = in_force[in_force.duplicated("k", keep=False)]
    if not len(several):
        return None
    added = several["arr"].sum()
    later = several.drop_duplicates("k", keep="last")["arr"].sum()
    clients = _rows_by_client(several, names)
    own = stated["customers"].reindex(several["k"].unique())
    unit = (
        " ".join([*several["currency"].dropna().unique(), ""])
        if several["currency"].nunique() == 1
        else ""
    )
    beside = ""
    if own.notna().any():
        agrees = abs(own.sum() - (added if settings.overlap == "add" else later)) < 1
        verdict = "agrees" if agrees else "differs: check these contracts"
        beside = f"; the table customers has {unit}{own.sum():,.0f} and {verdict}"
    reading = "which add up" if settings.overlap == "add" else "of which the later one counts"
    who = "1 customer has" if len(clients) == 1 else f"{len(clients):,} customers have"
    text = (
        f"{who} several contracts at once, {reading}: ARR of {unit}{added:,.0f} in all, "
        f"{unit}{later:,.0f} by the later ones alone{beside}"
    )
    return note_on_customers(text, clients)


def _not_known_yet(rows: pd.DataFrame, moments: pd.DataFrame, names: list[str]) -> Issue | None:
    """Contracts that had begun, but say that they were recorded or signed after the portfolio's last day."""
    day = moments["day"].max()
    late = rows[(rows["known"] > day) & (rows["starts"] <= day)]
    if not len(late):
        return None
    clients = _rows_by_client(late, names)
    text = (
        f"{len(late):,} contracts that had begun were recorded or signed after the portfolio's last day, and are not "
        f"known on it, for example of {min(clients)}"
    )
    return note_on_customers(text, clients)


def _unnamed(in_force: pd.DataFrame, names: list[str]) -> Issue | None:
    """Customers of whose contracts in force one has lost its id: their ARR is unknown."""
    several = in_force[in_force.duplicated("k", keep=False)]
    lost = several[several["unnamed"]]
    if not len(lost):
        return None
    clients = _rows_by_client(lost, names)
    text = (
        f"{len(lost):,} contracts without a contract_id run beside others that have one: they may be versions of those, so that "
        f"ARR and seats are not measured by contracts, for example of {min(clients)}"
    )
    return note_on_customers(text, clients, "contract_id")


def _contradictions(stated: pd.DataFrame, names: list[str]) -> Issue | None:
    """Live customers whose ARR differs between tables, with all their figures; the largest difference is the example."""
    columns = [
        name
        for name in ("arr_changes", "contracts", "customer_changes", "customers")
        if name in stated
    ]
    table = stated[columns].astype(float)
    gap = (table.max(axis=1) - table.min(axis=1)).fillna(0)
    gap = gap[(gap >= 0.01) & stated["live"].astype(bool)].sort_values(
        ascending=False, kind="stable"
    )
    if not len(gap):
        return None
    figures = "; ".join(
        f"{names[k]}: "
        + ", ".join(f"{amount:,.2f} by {name}" for name, amount in table.loc[k].dropna().items())
        for k in gap.index[:CONTRADICTIONS_SHOWN]
    )
    text = (
        f"{len(gap):,} customers whose ARR differs between tables, together by {gap.sum():,.2f}; the statement that "
        f"holds from the latest day is used: {figures}"
    )
    clients = {names[k]: 1 for k in sorted(gap.index)}
    return Issue(text, len(gap), names[gap.index[0]], kind="conflict", rows=False, clients=clients)
