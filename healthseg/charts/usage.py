"""The pictures of usage: how much, when in the week, how deep, who comes and goes, which features."""

from __future__ import annotations

import altair as alt
import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.rows import Axis, Bar, Row, rows

BLUE, GREEN, AMBER, RED = (
    theme.BAND_COLOURS[band] for band in ("champion", "healthy", "at_risk", "critical")
)
COHORT_COLOURS = {"power": BLUE, "regular": GREEN, "at_risk": AMBER, "inactive": theme.FAINT}
GROWTH = (
    ("returning_users", "Stayed", theme.FAINT),
    ("resurrected_users", "Came back", BLUE),
    ("new_users", "New", GREEN),
)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
PARTS = ((0, "00:00"), (6, "06:00"), (12, "12:00"), (18, "18:00"))
MOST = 14
CELL = 24


def chart(values: list[dict]) -> alt.Chart:
    return alt.Chart(alt.Data(values=values))


def time_axis(first: str, last: str, width: int) -> alt.X:
    """An axis of dates."""
    axis = alt.Axis(
        format="%-d %b",
        tickCount=4 if width < 500 else 8,
        title=None,
        grid=False,
        labelFlush=True,
        labelOverlap=True,
    )
    return alt.X("start:T", scale=theme.time_scale(first, last), axis=axis)


def count_axis(field: str, low: float, high: float) -> alt.Y:
    axis = alt.Axis(labelExpr=theme.BRIEF, tickCount=4, title=None)
    return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=axis)


def moment(value: object) -> str:
    """A date, or a local hour without its offset."""
    text = str(value)
    return text[:19] + "Z" if "T" in text else text[:10]


def series(frame: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """How much is it used? A column of person events for each part of the period; cut parts are lighter."""
    title = "Events of persons"
    if not len(frame) or not frame["person_events"].fillna(0).sum():
        return theme.nothing(title, "No person used it in this period.", width)
    values = [
        {
            "start": moment(row["start"]),
            "end": moment(row["end"]),
            "value": float(row["person_events"]),
            "zero": 0,
            "opacity": 1.0 if row["complete"] else 0.45,
        }
        for row in frame.dropna(subset="person_events").to_dict("records")
    ]
    top = max(value["value"] for value in values) * 1.06
    x = time_axis(values[0]["start"], values[-1]["end"], width)
    layer = (
        chart(values)
        .mark_rect(color=BLUE, x2Offset=-1, cornerRadiusTopLeft=2, cornerRadiusTopRight=2)
        .encode(
            x=x,
            x2="end:T",
            y=count_axis("value", 0, top),
            y2="zero:Q",
            opacity=alt.Opacity("opacity:Q", scale=None),
        )
    )
    cut = " Lighter: not a whole part." if any(value["opacity"] < 1 for value in values) else ""
    subtitle = f"Account-local time, without calls of the API; n = {formats.number(frame['person_events'].sum())}.{cut}"
    return theme.picture([layer], title, subtitle, width, 180, left=44, right=8, bottom=26)


def trend(weeks: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Is it growing? Events of persons in blocks of seven days, and the robust line through them."""
    title = "Events by week, and their trend"
    if not len(weeks) or not weeks["person_events"].fillna(0).sum():
        return theme.nothing(
            title, "No whole week with events lies before the end of the period.", width
        )
    known = weeks.dropna(subset="person_events")
    values = [
        {
            "start": moment(row["start"]),
            "end": moment(row["end"]),
            "value": float(row["person_events"]),
            "zero": 0,
        }
        for row in known.to_dict("records")
    ]
    line = [
        {
            "start": moment(pd.Timestamp(row["start"]) + pd.Timedelta(days=3)),
            "value": float(row["fitted"]),
        }
        for row in known.dropna(subset="fitted").to_dict("records")
    ]
    top = max([value["value"] for value in values + line]) * 1.06
    x, y = time_axis(values[0]["start"], values[-1]["end"], width), count_axis("value", 0, top)
    layers = [
        chart(values)
        .mark_rect(color=theme.FAINT, opacity=0.55, x2Offset=-2)
        .encode(x=x, x2="end:T", y=y, y2="zero:Q"),
        chart(line).mark_line(color=theme.INK).encode(x=x, y=y),
    ]
    said = "the line is their trend" if line else "too few weeks for a trend"
    return theme.picture(
        layers,
        title,
        f"Blocks of seven days; {said}; n = {len(values)} weeks",
        width,
        180,
        left=44,
        right=8,
        bottom=26,
    )


def growth(frame: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Do more users come than go? Active users by week, and below the axis those who did not come back."""
    title = "Users who come and go"
    known = frame.dropna(subset=["active_users", "dormant_users"]) if len(frame) else frame
    if not len(known) or not known["active_users"].sum():
        return theme.nothing(title, "No week has active users and a tracked week before it.", width)
    values = []
    for row in known.to_dict("records"):
        base, span = 0.0, {"start": moment(row["start"]), "end": moment(row["end"])}
        for field, _, colour in GROWTH:
            values.append({**span, "low": base, "high": base + row[field], "colour": colour})
            base += row[field]
        values.append({**span, "low": -row["dormant_users"], "high": 0.0, "colour": RED})
    low, high = min(value["low"] for value in values), max(value["high"] for value in values)
    x = time_axis(values[0]["start"], values[-1]["end"], width)
    low, high = low * 1.1, high * 1.06
    y = count_axis("low", low, high)
    labels, at = [], 0.0
    for name, colour in [*((name, colour) for _, name, colour in GROWTH), ("Stopped", RED)]:
        mark = {
            "align": "left",
            "baseline": "top",
            "fontSize": 12,
            "x": at,
            "y": -14,
            "color": colour,
        }
        labels.append(chart([{"text": f"■ {name}"}]).mark_text(**mark).encode(text="text:N"))
        at += 7 * formats.cells(f"■ {name}") + (18 if width >= 500 else 10)
    layers = [
        chart(values)
        .mark_rect(x2Offset=-2)
        .encode(x=x, x2="end:T", y=y, y2="high:Q", color=alt.Color("colour:N", scale=None)),
        chart([{"zero": 0}]).mark_rule(color=theme.SOFT).encode(y=count_axis("zero", low, high)),
        *labels,
    ]
    return theme.picture(
        layers,
        title,
        f"Users of a week; stayed: of the week before; stopped: not seen again; n = {len(known)} weeks",
        width,
        190,
        left=44,
        right=8,
        top=24,
        bottom=26,
    )


def heatmap(grid: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """When is it used? Active user-hours by weekday and hour of the account's own clock."""
    title = "Hours of the week"
    if not len(grid) or not grid["user_hours"].sum():
        return theme.nothing(title, "No event of a user has a time of day in this period.", width)
    most = float(grid["user_hours"].max())
    values = [
        {
            "hour": int(row["hour"]),
            "after": int(row["hour"]) + 1,
            "weekday": int(row["weekday"]),
            "below": int(row["weekday"]) + 1,
            "opacity": 0.06 + 0.94 * float(row["user_hours"]) / most,
        }
        for row in grid.to_dict("records")
    ]
    axis = alt.Axis(
        values=[hour for hour, _ in PARTS],
        labelExpr=" : ".join(f"datum.value == {hour} ? '{name}'" for hour, name in PARTS) + " : ''",
        title=None,
        grid=False,
        labelAlign="left",
    )
    x = alt.X("hour:Q", scale=alt.Scale(domain=[0, 24], nice=False), axis=axis)
    down = alt.Scale(domain=[7, 0], nice=False)
    y = alt.Y("weekday:Q", scale=down, axis=None)
    names = [{"weekday": place + 0.5, "text": name} for place, name in enumerate(WEEKDAYS)]
    layers = [
        chart(values)
        .mark_rect(color=BLUE, x2Offset=-1, yOffset=1, cornerRadius=2)
        .encode(x=x, x2="after:Q", y=y, y2="below:Q", opacity=alt.Opacity("opacity:Q", scale=None)),
        chart(names)
        .mark_text(align="right", baseline="middle", x=-8, color=theme.SOFT)
        .encode(y=alt.Y("weekday:Q", scale=down, axis=None), text="text:N"),
    ]
    counted = formats.number(grid["user_hours"].sum())
    subtitle = f"Hours in which a user was active, local time; the strongest has {formats.number(most)}; n = {counted}"
    return theme.picture(layers, title, subtitle, width, 7 * CELL, left=44, right=8, bottom=26)


def histogram(users: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """How deep and how often? Users by their active days of the last 28 (the activity histogram, L28)."""
    title = "Users by active days"
    if not len(users) or not users["users"].sum():
        reason = "No user could have been active in the last 28 days, or they were not tracked."
        return theme.nothing(title, reason, width)
    base: dict[int, int] = {}
    values = []
    for row in users.to_dict("records"):
        day, many = int(row["active_days"]), int(row["users"])
        low = base.get(day, 0)
        base[day] = low + many
        values.append(
            {
                "day": day - 0.42,
                "end": day + 0.42,
                "low": low,
                "high": low + many,
                "colour": COHORT_COLOURS[row["cohort"]],
            }
        )
    x = alt.X(
        "day:Q",
        scale=alt.Scale(domain=[-0.6, 28.6], nice=False),
        axis=alt.Axis(values=[0, 4, 8, 12, 16, 20, 24, 28], title=None, grid=False),
    )
    layer = (
        chart(values)
        .mark_rect(cornerRadius=1)
        .encode(
            x=x,
            x2="end:Q",
            y=count_axis("low", 0, max(base.values()) * 1.08),
            y2="high:Q",
            color=alt.Color("colour:N", scale=None),
        )
    )
    total = users.groupby("cohort")["users"].sum()
    parts = ", ".join(f"{formats.words(name)} {total.get(name, 0)}" for name in COHORT_COLOURS)
    return theme.picture(
        [layer],
        title,
        f"Active days of the last 28; {parts}; n = {total.sum()} users",
        width,
        150,
        left=36,
        right=8,
        bottom=26,
    )


def retention(frame: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Do new users stay? The share of each week's newcomers that came back; blank where the week is not over."""
    title = "Who came back"
    if not len(frame):
        return theme.nothing(title, "No user was first seen in the last twelve weeks.", width)
    frame = frame[frame["cohort"].isin(frame.loc[frame["share"].notna(), "cohort"])]
    if not len(frame):
        return theme.nothing(
            title, "No week of those who were first seen in the last twelve is over.", width
        )
    cohorts = sorted(frame["cohort"].unique())
    place = {cohort: at for at, cohort in enumerate(cohorts)}
    known = frame.dropna(subset="share").to_dict("records")
    weeks = max((row["week"] for row in known), default=0) + 1
    values = [
        {
            "week": row["week"],
            "after": row["week"] + 1,
            "cohort": place[row["cohort"]],
            "below": place[row["cohort"]] + 1,
            "opacity": 0.06 + 0.8 * row["share"],
            "text": formats.percent(row["share"]) if width >= 500 else "",
        }
        for row in known
    ]
    x = alt.X("week:Q", scale=alt.Scale(domain=[0, weeks], nice=False), axis=None)
    y = alt.Y("cohort:Q", scale=alt.Scale(domain=[len(cohorts), 0], nice=False), axis=None)
    sizes = frame.groupby("cohort")["users"].first()
    names = [
        {"cohort": place[cohort] + 0.5, "text": f"{formats.day(cohort)[:-5]} ({sizes[cohort]})"}
        for cohort in cohorts
    ]
    middle = [
        {"week": value["week"] + 0.5, "cohort": value["cohort"] + 0.5, "text": value["text"]}
        for value in values
    ]
    heads = [{"week": week + 0.5, "text": str(week)} for week in range(weeks)]
    layers = [
        chart(values)
        .mark_rect(color=BLUE, x2Offset=-1, yOffset=1, cornerRadius=2)
        .encode(x=x, x2="after:Q", y=y, y2="below:Q", opacity=alt.Opacity("opacity:Q", scale=None)),
        chart(middle).mark_text(baseline="middle", fontSize=11).encode(x=x, y=y, text="text:N"),
        chart(names)
        .mark_text(align="right", baseline="middle", x=-8, color=theme.SOFT, fontSize=12)
        .encode(y=y, text="text:N"),
        chart(heads)
        .mark_text(baseline="bottom", y=-4, color=theme.SOFT, fontSize=12)
        .encode(x=x, text="text:N"),
    ]
    subtitle = f"Share of the users first seen in a week, by weeks since; users in brackets; n = {sizes.sum()}"
    return theme.picture(
        layers, title, subtitle, width, CELL * len(cohorts), left=92, right=8, top=24, bottom=8
    )


def features(used: pd.DataFrame, width: int = theme.WIDE) -> theme.Picture:
    """Which features, by how many of the users?"""
    title = "Features in use"
    if not len(used) or not used["adoption_rate"].notna().any():
        return theme.nothing(title, "No feature was used by a person in this period.", width)
    chosen = used.head(MOST).to_dict("records")
    items = [
        Row(
            formats.words(row["feature"]),
            f"{formats.percent(row['adoption_rate'])} of users · {_often(row['weekly_usage'])}",
            bars=(Bar(0, float(row["adoption_rate"]), BLUE),),
        )
        for row in chosen
    ]
    more = f" of {len(used)}" if len(used) > MOST else ""
    return rows(
        items,
        Axis(0, 1, baseline=0, ticks=(0, 0.5, 1), labels=("0 %", "50 %", "100 %")),
        title,
        f"Share of the period's active users; n = {len(chosen)}{more} features",
        width,
    )


def _often(events: float) -> str:
    """How many events a week, also where they round to none."""
    return "< 1 a week" if 0 < events < 0.5 else f"{formats.number(events)} a week"


def peers(found: pd.DataFrame, client_id: str, width: int = theme.WIDE) -> theme.Picture:
    """Where does it stand among the others? A tick for each customer, this one in colour."""
    title = "Among all customers"
    known = found.dropna(subset="value") if len(found) else found
    if len(known) < 2:
        return theme.nothing(title, "No other customer can be compared.", width)
    top = max(1.0, float(known["value"].quantile(0.99))) * 1.05
    values = [
        {"value": min(float(row["value"]), top), "own": row["client_id"] == client_id}
        for row in known.to_dict("records")
    ]
    x = alt.X(
        "value:Q",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(format=".1f", tickCount=5, title=None, grid=False),
    )
    own = [{**value, "text": "this customer"} for value in values if value["own"]]
    layers = [
        chart([value for value in values if not value["own"]])
        .mark_tick(color=theme.FAINT, opacity=0.6, thickness=2, size=34, y=30)
        .encode(x=x),
        chart(own).mark_tick(color=RED, thickness=4, size=44, y=30).encode(x=x),
        chart(own)
        .mark_text(color=RED, y=0, baseline="top", fontWeight=600)
        .encode(x=x, text="text:N"),
    ]
    return theme.picture(
        layers,
        title,
        f"Weekly active users per seat or user; n = {len(known)} customers",
        width,
        52,
        left=14,
        right=60,
        bottom=26,
    )
