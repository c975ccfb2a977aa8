"""Adoption: the charts of what is adopted, how fast, how far, how long, and whether it goes with retention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from healthseg.charts import bars, formats, lines, theme

if TYPE_CHECKING:
    import pandas as pd

    from healthseg.charts.theme import Picture

CATEGORIES = dict(zip(("core", "advanced", "premium"), theme.KINDS, strict=False))
STAGES = {
    "eligible": "Could use it",
    "awareness": "Learned of it, or used it",
    "trial": "Used it on a day",
    "first_use": "Used it on two days",
    "regular_use": "Use it weekly",
    "power_use": "Use it three days a week",
}
MOST = 20
HALF_A_YEAR = 180.0


def _by_category(frame: pd.DataFrame) -> pd.DataFrame:
    """The categories in their order, the most adopted feature of each first."""
    order = [*CATEGORIES, *sorted(set(frame["category"]) - set(CATEGORIES))]
    position = frame["category"].map(order.index)
    return frame.assign(place=position).sort_values(
        ["place", "rate", "feature"], ascending=[True, False, True], kind="stable"
    )


def _how_often(row: dict[str, Any]) -> str:
    known = not formats.is_missing(row["median_active_days"])
    return "{rate:percent} of users" + " · {median_active_days:number day} in four weeks" * known


def _most_and_least(frame: pd.DataFrame, whose: str) -> str:
    """The most and the least used feature."""
    known = frame.dropna(subset="rate")
    if len(known) < 2:
        return "Use of features"
    most, least = (known.loc[at] for at in (known["rate"].idxmax(), known["rate"].idxmin()))
    names = [formats.words(row["feature"]) for row in (most, least)]
    shares = [formats.percent(row["rate"]) for row in (most, least)]
    return f"{formats.sentence(names[0])} is used by {shares[0]} of the {whose}, {names[1]} by {shares[1]}"


def features(frame: pd.DataFrame) -> Picture:
    """Of all customers: who adopted each feature, of those that could use it."""
    return _features(
        frame,
        _most_and_least(frame, "customers"),
        "Share of the customers that could use it and adopted it, with its interval; n = {n} features",
        bars.row(
            "{feature:Words}",
            "{rate:percent} · {adopted:number} of {customers:number}",
            "rate",
            colour=lambda row: CATEGORIES.get(row["category"], theme.HIGHLIGHT),
            interval=("lower", "upper"),
        ),
    )


def own_features(frame: pd.DataFrame) -> Picture:
    """Of one customer: which of its active users used each feature."""
    return _features(
        frame,
        _most_and_least(frame, "users"),
        "Share of the active users who used it, and how often a typical one does; without it: not adopted; n = {n} features",
        bars.row(
            "{feature:Words}",
            _how_often,
            "rate",
            colour=lambda row: (
                CATEGORIES.get(row["category"], theme.HIGHLIGHT)
                if row["adopted"] == 1
                else theme.FAINT
            ),
        ),
    )


def _features(frame: pd.DataFrame, title: str, subtitle: str, row: Any) -> Picture:
    known = _by_category(frame.dropna(subset="rate"))
    return bars.bars(
        known,
        title,
        subtitle,
        "No adoption is measured: no feature could be used, or tracking had not begun.",
        row,
        bars.shares(),
        most=len(known),
        groups=lambda record: formats.sentence(formats.words(record["category"])),
    )


def own_times(times: pd.DataFrame) -> Picture:
    """Days to adoption, or so far, beside the portfolio's median."""
    ordered = times.sort_values(["days", "waited", "name"], na_position="last", kind="stable")
    ordered = ordered.assign(length=ordered["days"].fillna(ordered["waited"]))

    def figure(row: dict[str, Any]) -> str:
        own = (
            "not in {waited:number day}" if formats.is_missing(row["days"]) else "{days:number day}"
        )
        return own + (
            ", like most others"
            if formats.is_missing(row["median"]) and formats.is_missing(row["days"])
            else ", most others not yet"
            if formats.is_missing(row["median"])
            else ", others {median:number}"
        )

    return bars.bars(
        ordered,
        "Days to adopt",
        "From when it could be used; mark: half of the portfolio had; n = {n}",
        "All its features could be used before events were tracked.",
        bars.row(
            "{name:Words}",
            figure,
            "length",
            colour=lambda row: theme.FAINT if formats.is_missing(row["days"]) else theme.HIGHLIGHT,
            target="median",
        ),
        lambda shown: bars.days(shown[["length", "median"]].max().max()),
        most=len(ordered),
    )


def time_to_adopt(curves: pd.DataFrame) -> Picture:
    return lines.curves(
        curves,
        _half_adopted(curves),
        "Share of customer and feature pairs adopted by each day from when they could be",
        "No pair was watched from its beginning.",
        CATEGORIES,
    )


def _half_adopted(curves: pd.DataFrame) -> str:
    """By which day half of each category's pairs were adopted, and of which fewer than half ever were."""
    days = {
        formats.words(name): group.loc[group["share"] >= 0.5, "days"].min()
        for name, group in curves.groupby("name", sort=False)
    }
    texts = [
        f"{formats.number(day)} ({name})"
        for name, day in sorted(days.items(), key=lambda pair: pair[1])
        if not formats.is_missing(day)
    ]
    never = [name for name, day in days.items() if formats.is_missing(day)]
    reached = f"Half is adopted by day {', '.join(texts)}" if texts else ""
    unreached = (
        f"fewer than half of the {' and '.join(never)} features are adopted" if never else ""
    )
    return formats.sentence("; ".join(filter(None, (reached, unreached))) or "Time to adopt")


def durations(curves: pd.DataFrame) -> Picture:
    return lines.curves(
        curves,
        _still_used(curves),
        "Share of adoptions still in use by each day after them",
        "No adoption was followed long enough.",
        CATEGORIES,
    )


def _still_used(curves: pd.DataFrame) -> str:
    """Of which categories most and fewest adoptions are still in use at the end of half a year, as far as all were followed."""
    if not len(curves):
        return "Retention after adoption"
    day = min(HALF_A_YEAR, *curves.groupby("name")["days"].max())
    shares = curves[curves["days"] <= day].groupby("name")["share"].min()
    most, least = (formats.percent(share) for share in (shares.max(), shares.min()))
    after = f"After {formats.number(day)} days {most} of the {formats.words(shares.idxmax())} adoptions are still in use"
    return after if len(shares) < 2 else f"{after}, {least} of the {formats.words(shares.idxmin())}"


def funnel(stages: pd.DataFrame) -> Picture:
    known = stages[stages["scope"] == "all"].dropna(subset="share")
    units = known["units"].iloc[0] if len(known) else 0
    return bars.bars(
        known.assign(stage=known["stage"].map(STAGES)),
        _weekly(known),
        f"Pairs of a feature and who could use it; each stage includes the next; n = {formats.number(units)}",
        "Nothing could be used.",
        bars.row("{stage}", "{units:number} · {share:percent}", "share"),
        bars.shares(),
    )


def _weekly(stages: pd.DataFrame) -> str:
    row = stages[stages["stage"] == "regular_use"]
    share = formats.percent(row["share"].iloc[0]) if len(row) else ""
    return f"{share} of what could be used is used weekly" if share else "The funnel"


def effects(features: pd.DataFrame) -> Picture:
    """The adjusted correlation with retention and its interval; the mark is the raw one."""
    known = features.dropna(subset="adjusted").head(MOST)
    return bars.bars(
        known,
        "Adoption and retention",
        "Right of 0: adopters are retained more often (correlation over 90 days at equal size, tenure, tier and "
        "activity, with its interval); mark: not adjusted; *: significant; n = {n} features",
        "Too few customers churned, or were retained, for a correlation.",
        bars.row(
            "{name:Words}",
            lambda row: (
                "{adjusted:signed.2}" + " *" * bool(row["found"]) + " · unadjusted {raw:signed.2}"
            ),
            None,
            colour=lambda row: theme.HIGHLIGHT if row["found"] else theme.FAINT,
            dot="adjusted",
            target="raw",
            interval=("lower", "upper"),
        ),
        lambda shown: _both_ways(max(0.1, shown[["lower", "upper", "raw"]].abs().max().max())),
        most=MOST,
    )


def _both_ways(reach: float) -> bars.Axis:
    """An axis of correlations around zero."""
    step = 0.1 if reach <= 0.35 else 0.25
    most = int(reach // step)
    ticks = tuple(round(step * index, 2) for index in range(-most, most + 1))
    labels = tuple(formats.signed(tick, 2) if tick else "0" for tick in ticks)
    return bars.Axis(-reach * 1.03, reach * 1.03, 0, ticks, labels)
