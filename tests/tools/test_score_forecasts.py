"""The score's forecast: no change where nothing was closer to what came."""

from __future__ import annotations

import pandas as pd

from healthseg.tools.score_forecasts import beats_no_change, shown_errors


def errors(own: list[float], naive: list[float]) -> pd.DataFrame:
    both = {"forecast": own, "naive": naive}
    return pd.concat(
        [pd.DataFrame({"model": name, "error": values}) for name, values in both.items()],
        ignore_index=True,
    )


def test_a_forecast_that_was_closer_is_shown_with_its_errors():
    closer = errors([1.0, -2.0], [2.0, -3.0])
    assert beats_no_change(closer)
    assert shown_errors(closer) is closer


def test_no_change_is_shown_with_its_own_errors_where_nothing_was_closer():
    farther = errors([3.0, -4.0], [2.0, -3.0])
    assert not beats_no_change(farther)
    shown = shown_errors(farther)
    assert shown.loc[shown["model"] == "forecast", "error"].tolist() == [2.0, -3.0]
    assert shown["model"].tolist() == ["forecast", "forecast", "naive", "naive"]
    assert shown.loc[shown["model"] == "naive", "error"].tolist() == [2.0, -3.0]


def test_errors_of_both_signs_do_not_cancel():
    assert not beats_no_change(errors([5.0, -5.0], [1.0, 1.0]))


def test_without_past_dates_the_forecast_is_shown():
    assert beats_no_change(errors([], []))
