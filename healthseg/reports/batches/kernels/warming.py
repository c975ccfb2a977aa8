"""One small fit and one small chart, so that what libraries compile and cache at first use is there for all kernels.

What was not imported is not warmed. Nothing is drawn: a renderer has threads, which don't survive a fork.
"""

from __future__ import annotations

import sys
import warnings


def fit() -> None:
    """A fit of the kind that notebooks make."""
    models = sys.modules.get("statsmodels.tsa.exponential_smoothing.ets")
    if models is None:
        return
    values = [10.0 + 3.0 * (place % 7) + 0.1 * place for place in range(42)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models.ETSModel(values, trend="add", seasonal="add", seasonal_periods=7).fit(
            disp=False, maxiter=3
        )


def chart() -> None:
    """A chart as JSON: altair reads and indexes its schema at the first one."""
    altair = sys.modules.get("altair")
    if altair is None:
        return
    from healthseg.charts import schemas, theme

    schemas.remember()
    data = altair.Data(values=[{"a": 1, "b": 2}])
    line = altair.Chart(data).mark_line().encode(x="a:Q", y="b:Q", color="c:N", tooltip=["a:Q"])
    theme.picture([line, line.mark_text(), line.mark_bar()], "Warm", "up", 200, 100).to_dict()
