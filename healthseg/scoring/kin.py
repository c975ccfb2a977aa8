"""Metrics that move together, as groups: alone, the sign of one of them is an artefact of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from healthseg.scoring.rolling import Fitted

KINDRED = 0.7  # of the absolute correlation, on average between two groups that are joined


@dataclass(frozen=True)
class Kin:
    """Places of predictors that belong together; ``lead`` is the one that moves the log odds most."""

    lead: int
    members: tuple[int, ...]


def kin_of(values: np.ndarray, fitted: Fitted) -> tuple[Kin, ...]:
    """The groups of a fitted model's predictors: forms of one metric, and metrics correlated beyond ``KINDRED``.

    Average linkage on 1 − |r| of the standardised values, missing ones at the mean.
    """
    standard = fitted.classifier.design_.standard(values)
    sd = standard.std(axis=0)
    centred = np.where(sd > 0, (standard - standard.mean(axis=0)) / np.where(sd > 0, sd, 1.0), 0.0)
    distance = 1 - np.abs(centred.T @ centred / max(len(centred), 1))
    names = np.array([one.metric for one in fitted.predictors])
    distance[names[:, None] == names] = 0.0
    np.fill_diagonal(distance, 0.0)
    if len(names) == 1:
        label = np.array([1])
    else:
        pairs = scipy.spatial.distance.squareform(np.clip(distance, 0, None), checks=False)
        tree = scipy.cluster.hierarchy.linkage(pairs, "average")
        label = scipy.cluster.hierarchy.fcluster(tree, 1 - KINDRED, "distance")
    moved = fitted.classifier.parts(values).std(axis=0)
    order = list(dict.fromkeys(label.tolist()))
    return tuple(_group(np.flatnonzero(label == one), moved) for one in order)


def _group(members: np.ndarray, moved: np.ndarray) -> Kin:
    return Kin(int(members[np.argmax(moved[members])]), tuple(int(one) for one in members))
