"""The pictures of milestones: a customer's plan, the times to value, where the portfolio gets stuck, what blockers cost."""

from __future__ import annotations

import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows
from healthseg.charts.lines import curves as shares

STATUSES = {
    "completed": theme.KINDS[0],
    "in_progress": theme.KINDS[1],
    "overdue": theme.DOWN,
    "late": theme.DOWN,
    "to_close": theme.FAINT,
    "not_started": theme.GRID,
    "skipped": theme.FAINT,
}
MARKS = {"first_value": "First value", "activation": "Activation", "full_adoption": "Full adoption"}
MARK_COLOURS = dict(zip(MARKS.values(), theme.KINDS, strict=False))
PERCENT = Axis(
    0,
    1.0,
    baseline=0,
    ticks=(0, 0.25, 0.5, 0.75, 1),
    labels=("0%", "25%", "50%", "75%", "100%"),
)
STEPS = (5, 10, 15, 30, 60, 90, 180, 365, 730)
MOST_QUARTERS = 8


def _days(reach: float) -> Axis:
    """An axis of days from 0 with at most six ticks."""
    step = next((size for size in STEPS if reach / size <= 5), 1460)
    ticks = tuple(float(step * index) for index in range(int(reach // step) + 1))
    return Axis(
        0,
        max(reach, 1.0),
        baseline=0,
        ticks=ticks,
        labels=tuple(formats.number(tick) for tick in ticks),
    )


def plan(frame: pd.DataFrame) -> theme.Picture:
    """How far, what is late, when will it be done? A bar for each milestone, over the days since the customer began."""
    title = "The plan, and what became of it"
    if not len(frame):
        return theme.nothing(title, "No milestone of this customer is known.")
    began = float(frame["began_day"].iloc[0])
    ages = {
        name: frame[f"{name}_day"] - began
        for name in ("target", "started", "completed", "median", "lower", "upper")
    }
    frame = frame.assign(**ages, today=frame["day"] - began)
    items: list[BarRow] = []
    reach = _reach(frame)
    for category, group in frame.groupby("category", sort=False):
        items.append(BarRow(formats.sentence(formats.words(category)), header=True))
        items += [_milestone(row, reach) for row in group.to_dict("records")]
    subtitle = "Days since the customer began; mark: due; dot with its bar: when those whose was open as long completed it"
    return rows(items, _days(reach), title, subtitle)


def _reach(frame: pd.DataFrame) -> float:
    """The days shown: to the last target or completion, and to today unless years of waiting would hide both."""
    known = _largest(frame[["target", "completed"]]) or _largest(frame[["today"]])
    coming = _largest(frame[["today", "median"]]) if frame["completed"].isna().any() else 0.0
    return max(known, min(coming, 1.6 * known), 1.0) * 1.04


def _largest(frame: pd.DataFrame) -> float:
    """The largest figure of a frame, 0 where it has none."""
    return float(frame.max(axis=None)) if frame.notna().any(axis=None) else 0.0


def _milestone(row: dict, reach: float) -> BarRow:
    status = row["status"]
    start = 0.0 if formats.is_missing(row["started"]) else max(float(row["started"]), 0.0)
    end = row["completed"] if status == "completed" else row["today"]
    bars = []
    if status in ("completed", "overdue") or (status == "in_progress"):
        first = min(start, reach)
        bars.append(
            Bar(first, max(min(float(end), reach), first + 0.006 * reach), STATUSES[status])
        )
    if not formats.is_missing(row["lower"]) and row["lower"] < reach:
        last = reach if formats.is_missing(row["upper"]) else min(float(row["upper"]), reach)
        bars.append(
            Bar(
                float(row["lower"]),
                last,
                STATUSES[status] if status != "not_started" else theme.FAINT,
                0.3,
            )
        )
    median = row["median"]
    return BarRow(
        formats.plain(row["name"]),
        _end_text(row),
        bars=tuple(bars),
        dot=None if formats.is_missing(median) or median > reach else float(median),
        dot_colour=STATUSES[status] if status != "not_started" else theme.FAINT,
        target=None
        if formats.is_missing(row["target"]) or row["target"] > reach
        else float(row["target"]),
        soft=status in ("skipped", "not_started"),
    )


def _end_text(row: dict) -> str:
    """What the row says at its end."""
    due = "" if formats.is_missing(row["target"]) else f" · due {formats.number(row['target'])}"
    if row["status"] == "completed":
        return f"day {formats.number(row['completed'])}{due}"
    if row["status"] == "overdue":
        days = f"{formats.number(row['today'] - row['target'])} days"
        late = f"record to close · due {days} ago" if row["to_close"] else f"overdue {days}"
        return f"{late} · {formats.words(row['blocker'])}" if row["blocked"] else late
    progress = ""
    if row["users"] and not formats.is_missing(row["reached"]):
        progress = f" · {formats.number(row['reached'])} of {formats.number(row['users'])} users"
    blocked = f" · {formats.words(row['blocker'])}" if row["blocked"] else ""
    return f"{formats.words(row['status'])}{progress}{blocked}{due}"


def value(curves: pd.DataFrame, marks: pd.DataFrame) -> theme.Picture:
    """How long did value take, beside the others? A row for each mark: the customer's days over the others' spread."""
    title = "Time to value"
    if not len(marks):
        return theme.nothing(title, "No milestone stands for value.")
    spread = {
        (row["mark"], name): _spread(curves, row["mark"], name)
        for row in marks.to_dict("records")
        for name in ("portfolio", row["quarter"])
    }
    ends = [
        quartiles[1]
        for quartiles in spread.values()
        if quartiles is not None and quartiles[1] == quartiles[1]
    ]  # a tenth can take for years
    known = max(
        [
            *marks["target_days"].dropna(),
            *ends,
            *marks.loc[marks["happened"].astype(bool), "days"],
            1.0,
        ]
    )
    reach = 1.06 * max(known, min(float(marks["days"].max()), 1.5 * known))
    items = [_mark(row, spread, reach) for row in marks.to_dict("records")]
    subtitle = (
        "Days since the customer began; dot: this customer; mark: due; strong bar: the middle 80% of those who "
        "began in the same quarter, faint bar: of the portfolio, those not there yet included"
    )
    return rows(items, _days(reach), title, subtitle)


def _spread(curves: pd.DataFrame, mark: str, name: str) -> tuple[float, float, float] | None:
    """The days by which a tenth, half and nine tenths got there; NaN where the curve does not reach them."""
    rows_ = curves[(curves["mark"] == mark) & (curves["name"] == name)]
    if not len(rows_):
        return None

    def reached(share: float) -> float:
        days = rows_.loc[rows_["share"] >= share - 1e-12, "days"]
        return float(days.min()) if len(days) else float("nan")

    return reached(0.1), reached(0.5), reached(0.9)


def _mark(row: dict, spread: dict, reach: float) -> BarRow:
    bars, medians = [], []
    for name, words, opacity, thickness in (
        ("portfolio", "portfolio", 0.35, 17),
        (row["quarter"], "quarter", 0.8, 9),
    ):
        quartiles = spread[row["mark"], name]
        if quartiles is not None and quartiles[0] == quartiles[0]:
            last = reach if quartiles[2] != quartiles[2] else min(quartiles[2], reach)
            bars.append(Bar(min(quartiles[0], reach), last, theme.FAINT, opacity, thickness))
            medians.append(
                f"{words} {formats.number(quartiles[1])}"
                if quartiles[1] == quartiles[1]
                else f"half of {words} not yet"
            )
    own = (
        f"day {formats.number(row['days'])}"
        if row["happened"]
        else f"not after {formats.number(row['days'])} days"
    )
    return BarRow(
        MARKS[row["mark"]],
        " · ".join([own, *medians]),
        bars=tuple(bars),
        dot=min(float(row["days"]), reach),
        dot_colour=theme.HIGHLIGHT if row["happened"] else theme.FAINT,
        target=None if formats.is_missing(row["target_days"]) else float(row["target_days"]),
    )


def funnel(frame: pd.DataFrame) -> theme.Picture:
    """Where do customers get stuck? A bar of statuses for each milestone."""
    title = "Through the milestones"
    if not len(frame):
        return theme.nothing(title, "No milestones are known.")
    least = frame.loc[frame["completed_share"].astype(float).fillna(1.0).idxmin()]
    title = f"{formats.plain(least['name'])} is done by {formats.percent(least['completed_share'])}, the fewest"
    items: list[BarRow] = []
    for category, group in frame.groupby("category", sort=False):
        items.append(BarRow(formats.sentence(formats.words(category)), header=True))
        items += [_step(row) for row in group.to_dict("records")]
    subtitle = (
        "Share of the live customers it applies to and who did not skip it; from the left: completed, in "
        "progress, not started, records to close, overdue"
    )
    return rows(items, PERCENT, title, subtitle)


def _step(row: dict) -> BarRow:
    concerned = row["customers"] - row["skipped"]
    bars, at = [], 0.0
    for status in ("completed", "in_progress", "not_started", "to_close", "late"):
        share = row[status] / concerned if concerned else 0.0
        if share:
            bars.append(Bar(at, at + share, STATUSES[status], thickness=14))
        at += share
    late = f" · {formats.number(row['late'])} overdue" if row["late"] else ""
    blocked = f", {formats.number(row['blocked'])} blocked" if row["blocked"] else ""
    return BarRow(
        formats.plain(row["name"]),
        f"{formats.percent(row['completed_share'])}{late}{blocked}",
        bars=tuple(bars),
    )


def values(curves: pd.DataFrame) -> theme.Picture:
    """How long does value take? The share of customers that had got there by each day, with those not there yet."""
    known = curves[curves["name"] == "portfolio"] if len(curves) else curves
    known = known.assign(name=known["mark"].map(MARKS))
    subtitle = "Share of all customers, churned ones included, that had reached it by each day"
    return shares(
        _cut(known), _halves(known), subtitle, "No milestone stands for value.", MARK_COLOURS
    )


def _halves(curves: pd.DataFrame) -> str:
    """By which day half of the customers reached the first and the last mark."""
    if not len(curves):
        return "Time to value"
    half = curves[curves["share"] >= 0.5].groupby("name")["days"].min()
    if len(half) < 2:
        return "Time to value"
    first, last = half.idxmin(), half.idxmax()
    return (
        f"Half reach {first.lower()} by day {formats.number(half[first])}, "
        f"{last.lower()} by day {formats.number(half[last])}"
    )


def _cut(curves: pd.DataFrame) -> pd.DataFrame:
    """The days up to four times those by which half got there: a plateau of years would hide the beginning."""
    half = curves[curves["share"] >= 0.5].groupby("name")["days"].min()
    if not len(half):
        return curves
    reach = min(4 * float(half.max()), float(curves["days"].max())) or 1.0
    within = curves[curves["days"] <= reach]
    ends = within.groupby("name", sort=False).tail(1).assign(days=reach)
    return pd.concat([within, ends], ignore_index=True)


def quarters(frame: pd.DataFrame) -> theme.Picture:
    """Is it getting faster? The median with its interval of those who began in each quarter."""
    title = "Days to first value, by the quarter in which customers began"
    known = (
        frame[(frame["mark"] == "first_value") & frame["median_days"].notna()]
        if len(frame)
        else frame
    )
    if not len(known):
        return theme.nothing(
            title, "In no quarter did enough customers begin, or half of them get there."
        )
    known = known.tail(MOST_QUARTERS)
    before = compared_quarter(known["quarter"].tolist())
    rows_of = known.iloc[[before, -1]].to_dict("records")
    first, last = (formats.number(row["median_days"]) for row in rows_of)
    title = f"First value takes {last} days"
    title += f", it took {first} in {rows_of[0]['quarter']}" if first != last else ""
    reach = 1.06 * float(known[["median_days", "upper"]].max().max())
    items = [
        BarRow(
            row["quarter"],
            _quarter(row),
            bars=(Bar(*_bounds(row["lower"], row["upper"], reach), theme.HIGHLIGHT, 0.35),),
            dot=float(row["median_days"]),
            dot_colour=theme.HIGHLIGHT,
        )
        for row in known.to_dict("records")
    ]
    return rows(
        items,
        _days(reach),
        title,
        "By the quarter in which customers began; dot: half had it by then, bar: 90% interval; the last "
        f"{len(items)} quarters in which enough began",
    )


def compared_quarter(quarters: list[str]) -> int:
    """Where the quarter is that the last one is compared with: the same of the year before, or else the first.

    >>> compared_quarter(["2023 Q2", "2024 Q3", "2025 Q3"]), compared_quarter(["2024 Q4", "2025 Q3"])
    (1, 0)
    """
    year, _, quarter = quarters[-1].partition(" ")
    before = f"{int(year) - 1} {quarter}" if year.isdigit() else ""
    return quarters.index(before) if before in quarters else 0


def _bounds(lower: float | None, upper: float | None, reach: float) -> tuple[float, float]:
    """An interval's ends as far as they are shown; an end that is not known lies beyond."""
    return (
        0.0 if lower is None or lower != lower else float(lower),
        reach if upper is None or upper != upper else float(upper),
    )


def _quarter(row: dict) -> str:
    by_target = f" · {formats.percent(row['share_by_target'])} by target"
    return f"{formats.number(row['median_days'])} days{by_target} · n = {formats.number(row['n'])}"


def blockers(frame: pd.DataFrame, currency: str | None) -> theme.Picture:
    """What blocks, and how much ARR? That of the customers that each blocker holds up."""
    title = "Open blockers"
    known = frame[frame["customers"] > 0] if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "No live customer is blocked.")
    by = "arr" if known["arr"].notna().all() else "customers"
    reach = 1.04 * float(known[by].max())
    items = [
        BarRow(
            formats.sentence(formats.words(row["blocker"])),
            " · ".join(
                [
                    f"{formats.number(row['customers'])} customer{'' if row['customers'] == 1 else 's'}",
                    *([formats.brief_money(row["arr"], currency)] if by == "arr" else []),
                ]
            ),
            bars=(Bar(0, float(row[by]), theme.HIGHLIGHT),),
        )
        for row in known.to_dict("records")
    ]
    most = known.loc[known[by].idxmax()]
    size = (
        formats.brief_money(most["arr"], currency)
        if by == "arr"
        else formats.number(most["customers"])
    )
    title = (
        f"{formats.sentence(formats.words(most['blocker']))} blocks the most: {size}"
        + " ARR" * (by == "arr")
    )
    subtitle = "ARR of the customers that it blocks" if by == "arr" else "Customers that it blocks"
    subtitle += "; a customer with several kinds counts at each"
    return rows(items, Axis(0, max(reach, 1.0), baseline=0), title, subtitle)


def slower(frame: pd.DataFrame) -> theme.Picture:
    """How much longer does a blocker make it? The factor on what remains, with its interval."""
    title = "How much longer a blocker makes it"
    known = frame[frame["factor"].notna()] if len(frame) else frame
    if not len(known):
        return theme.nothing(
            title, "Too few milestones with the same blocker were followed to tell."
        )
    high = known["upper"].fillna(known["factor"] * 1.5)
    reach = 1.05 * float(max(high.max(), 2.0))
    ticks = tuple(float(tick) for tick in range(int(reach) + 1))
    axis = Axis(0, reach, 1, ticks, tuple(f"× {tick:.0f}" for tick in ticks))
    ordered = known.sort_values(["factor", "blocker"], ascending=[False, True], kind="stable")
    items = [
        BarRow(
            formats.sentence(formats.words(row["blocker"])),
            f"{formats.number(row['factor'], 1)} times as long"
            + ("" if row["found"] else ", not significant"),
            bars=(
                Bar(
                    *_bounds(row["lower"], row["upper"], reach),
                    theme.DOWN if row["found"] else theme.FAINT,
                    0.35,
                ),
            ),
            dot=float(row["factor"]),
            dot_colour=theme.DOWN if row["found"] else theme.FAINT,
        )
        for row in ordered.to_dict("records")
    ]
    worst = ordered.iloc[0]
    if worst["found"]:
        name = formats.sentence(formats.words(worst["blocker"]))
        title = f"{name} makes the rest take {formats.number(worst['factor'], 1)} times as long"
    subtitle = "The time that remains, against the same milestone without it; bar: 95% interval"
    return rows(items, axis, title, subtitle)
