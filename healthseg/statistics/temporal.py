"""Splits in time: a model is tested on dates after those it was fitted on, and their outcomes apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def temporal_splits(
    dates: np.ndarray, folds: int, horizon_days: int, min_train_dates: int = 4
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) positions of rows, expanding in time: which rows may teach which?

    The distinct dates are cut so that the first ``min_train_dates`` only train and the rest falls into ``folds`` blocks
    of consecutive dates. A row trains for a block only if its outcome was complete before the block began:
    date + horizon_days < the block's first date (López de Prado's purging). Blocks without a training row are left out.

    >>> days = np.arange("2025-01-01", "2025-01-09", dtype="datetime64[D]")
    >>> [(train.tolist(), test.tolist()) for train, test in temporal_splits(days, 2, 1)]
    [([0, 1, 2], [4, 5]), ([0, 1, 2, 3, 4], [6, 7])]
    """
    if folds < 1 or min_train_dates < 1:
        raise ValueError("folds and min_train_dates are at least 1")
    days = np.asarray(dates, dtype="datetime64[D]")
    for block in np.array_split(np.unique(days)[min_train_dates:], folds):
        if len(block):
            train = np.flatnonzero(days + np.timedelta64(horizon_days, "D") < block[0])
            if len(train):
                yield train, np.flatnonzero((days >= block[0]) & (days <= block[-1]))
