"""The pictures of how good scores and models are: accuracy, calibration, capture, warning, robustness, weights."""

from __future__ import annotations

import pandas as pd

from healthseg.charts import formats, theme
from healthseg.charts.bars import Axis, Bar, BarRow, rows

MOST = 15


def _shares(top: float = 1.0) -> Axis:
    step = next(size for size in (0.05, 0.1, 0.2, 0.25) if top / size <= 5.5)
    ticks = tuple(round(step * index, 4) for index in range(int(top / step + 1e-9) + 1))
    names = tuple(formats.percent(tick) for tick in ticks)
    return Axis(0.0, top, baseline=0.0, ticks=ticks, labels=names)


def accuracy(frame: pd.DataFrame) -> theme.Picture:
    """Which score separates churned from retained customers? AUC with its interval.

    ``frame``: name, score, auc, auc_lower, auc_upper, churned, rows.
    """
    title = "What separates churned from retained customers"
    known = frame[frame["auc"].notna()]
    if not len(known):
        return theme.nothing(title, "Too few customers churned to evaluate any score.")
    rivals = {"last_activity", "usage_alone", "base_rate"}
    items = [
        BarRow(
            row["name"],
            f"{formats.number(row['auc'], 2)} ({formats.number(row['auc_lower'], 2)} to "
            f"{formats.number(row['auc_upper'], 2)})",
            bars=(
                Bar(
                    float(row["auc_lower"]),
                    float(row["auc_upper"]),
                    theme.FAINT if row["score"] in rivals else theme.UP,
                    thickness=7,
                ),
            ),
            dot=float(row["auc"]),
            soft=row["score"] in rivals,
        )
        for row in known.to_dict("records")
    ]
    low = min(0.4, float(known["auc_lower"].min()) - 0.02)
    ticks = tuple(tick for tick in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0) if tick >= low)
    axis = Axis(
        low, 1.0, baseline=0.5, ticks=ticks, labels=tuple(formats.number(tick, 1) for tick in ticks)
    )
    churned = formats.number(known["churned"].max())
    return rows(
        items, axis, title, f"AUC with its interval; 0.5 is chance; n = {churned} churned at most"
    )


def calibration(frame: pd.DataFrame) -> theme.Picture:
    """Do as many churn as expected? Tenths of a probability's rows, else of the score's.

    ``frame``: score, bin, rows, churned, mean_predicted, mean_score, rate, lower, upper.
    """
    title = "Expected and observed churn"
    chosen = frame[frame["score"] == "ml_predictive"]
    chosen = chosen if len(chosen) else frame[frame["score"] == "weighted_composite"]
    if not len(chosen):
        return theme.nothing(title, "There is no score to compare with what happened.")
    has_probability = bool(chosen["mean_predicted"].notna().any())
    items = [_tenth(row, has_probability) for row in chosen.to_dict("records")]
    what = (
        "mark: the expected probability"
        if has_probability
        else "tenths from the highest score to the lowest"
    )
    return rows(
        items,
        _shares(min(1.0, max(0.1, 1.1 * float(chosen["upper"].max())))),
        title,
        f"Share that churned, with its interval; {what}; n = {formats.number(chosen['rows'].sum())} customer-months",
    )


def _tenth(row: dict, has_probability: bool) -> BarRow:
    score = f"score {formats.number(row['mean_score'])}"
    expected = formats.percent(row["mean_predicted"], 1) if has_probability else score
    return BarRow(
        f"Tenth {row['bin']}: {expected}",
        f"{formats.percent(row['rate'], 1)} churned ({row['churned']} of {row['rows']})",
        bars=(Bar(float(row["lower"]), float(row["upper"]), theme.FAINT, thickness=7),),
        dot=float(row["rate"]),
        target=float(row["mean_predicted"]) if has_probability else None,
    )


def capture(frame: pd.DataFrame) -> theme.Picture:
    """How much of the churn was among the accounts that the team can look after?

    ``frame``: name, capacity, share, caught, churned, lift.
    """
    title = "Churn within the team's capacity"
    known = frame[frame["share"].notna()]
    if not len(known):
        return theme.nothing(title, "No customer churned within the horizon of any date.")
    items = []
    for capacity, group in known.groupby("capacity", sort=False):
        items.append(BarRow(formats.sentence(str(capacity)), header=True))
        items += [
            BarRow(
                row["name"],
                f"{formats.percent(row['share'])}, {formats.number(row['caught'])} of "
                f"{formats.number(row['churned'])} ({formats.number(row['lift'], 1)} ×)",
                bars=(Bar(0.0, float(row["share"]), theme.UP),),
            )
            for row in group.to_dict("records")
        ]
    subtitle = "Share of the churn among the riskiest customers of each date; ×: against customers drawn at random"
    return rows(items, _shares(), title, subtitle)


def lead_times(frame: pd.DataFrame) -> theme.Picture:
    """How early was the alarm raised? The share of churned customers below the threshold so many days before.

    ``frame``: score, name, lead_days, churned, warned, share.
    """
    title = "How early the score warned"
    known = frame[
        frame["share"].notna() & frame["score"].isin(["weighted_composite", "ml_predictive"])
    ]
    if not len(known):
        return theme.nothing(title, "No churned customer has scores for long enough before churn.")
    items = []
    for name, group in known.groupby("name", sort=False):
        items.append(BarRow(str(name), header=True))
        items += [
            BarRow(
                f"{row['lead_days']} days before",
                f"{formats.percent(row['share'])}, {row['warned']} of {row['churned']}",
                bars=(Bar(0.0, float(row["share"]), theme.UP),),
            )
            for row in group.to_dict("records")
        ]
    return rows(
        items,
        _shares(),
        title,
        "Share of churned customers below the threshold from then on until churn",
    )


def ranks(frame: pd.DataFrame) -> theme.Picture:
    """Who is among the riskiest whatever the weights? The share of perturbed scorecards that say so.

    ``frame``: name, score, share, rank, verdict.
    """
    title = "Among the riskiest, whatever the weights"
    known = frame[frame["share"] > 0].head(MOST) if len(frame) else frame
    if not len(known):
        return theme.nothing(title, "No customer has a score today.")
    items = [
        BarRow(
            formats.plain(row["name"]),
            f"{formats.percent(row['share'])} of scorecards; score {formats.number(row['score'])}",
            bars=(
                Bar(
                    0.0,
                    float(row["share"]),
                    theme.DOWN if row["verdict"] == "always" else theme.FAINT,
                ),
            ),
        )
        for row in known.to_dict("records")
    ]
    subtitle = "Share of scorecards with other weights and thresholds that place a customer among the riskiest"
    return rows(items, _shares(), title, f"{subtitle}; first {len(known)} of {len(frame)}")


def weights(frame: pd.DataFrame) -> theme.Picture:
    """Today's weights, and those that outcomes suggest.

    ``frame``: component, weight_now, weight_suggested.
    """
    title = "Weights, today's and from outcomes"
    if not len(frame) or frame["weight_suggested"].isna().all():
        return theme.nothing(
            title,
            "Too few churned on earlier or later dates to learn weights and to evaluate them.",
        )
    items = [
        BarRow(
            formats.sentence(row["component"]),
            f"{formats.percent(row['weight_now'])} → {formats.percent(row['weight_suggested'])}",
            bars=(Bar(0.0, float(row["weight_suggested"]), theme.UP),),
            target=float(row["weight_now"]),
        )
        for row in frame.to_dict("records")
    ]
    top = max(0.5, float(frame[["weight_now", "weight_suggested"]].max().max()) * 1.05)
    return rows(
        items, _shares(min(1.0, top)), title, "Bar: from outcomes of earlier dates; mark: today's"
    )


def effects(frame: pd.DataFrame) -> theme.Picture:
    """What is associated with churn and retention in the model? Odds ratios of the spread-out half of customers.

    ``frame``: label, log_odds, lower, upper (of going from the first to the third quartile).
    """
    title = "What is associated with churn and retention"
    known = frame.head(MOST)
    if not len(known):
        return theme.nothing(title, "There is no model of single customers.")
    items = [
        BarRow(
            formats.plain(row["label"]),
            f"{formats.signed(row['log_odds'], 2)} ({formats.signed(row['lower'], 2)} to "
            f"{formats.signed(row['upper'], 2)})",
            bars=(
                Bar(
                    float(row["lower"]),
                    float(row["upper"]),
                    theme.DOWN
                    if row["lower"] > 0
                    else theme.UP
                    if row["upper"] < 0
                    else theme.FAINT,
                    thickness=7,
                ),
            ),
            dot=float(row["log_odds"]),
        )
        for row in known.to_dict("records")
    ]
    reach = max(0.5, float(known[["lower", "upper"]].abs().max().max()) * 1.05)
    ticks = (-round(reach, 1), 0.0, round(reach, 1))
    axis = Axis(
        -reach, reach, baseline=0.0, ticks=ticks, labels=("retention", "no effect", "churn")
    )
    subtitle = "Change of the log odds from a low (first quartile) to a high value (third), with its interval"
    return rows(items, axis, title, f"{subtitle}; the {len(known)} largest")
