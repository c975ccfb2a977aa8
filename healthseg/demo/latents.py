"""The customers' hidden weekly paths: correlated first-order autoregressions, and what interventions add to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from healthseg.demo.customers import Customers
from healthseg.demo.frame import Frame, stream
from healthseg.demo.interventions import give
from healthseg.demo.scenarios import Scenario

PATHS = ("breadth", "frequency", "sessions", "features", "support", "payment", "satisfaction")
MEMORY_DAYS = 190.0  # after which a path's correlation has fallen to 1/e
STATIC_SHARE = 0.50  # of a path's variance that never changes
COMMON = np.array(
    [0.85, 0.85, 0.50, 0.85, 0.92, 0.92, 0.92]
)  # correlation of a path with the common factor, squared
LOW = -0.9  # below this common factor a customer may be given an intervention
RECOVERED = -0.25
EFFECT = np.array([0.8, 0.0, 0.3])  # on the usage paths, by kind of intervention
EFFECT_WEEKS = 12
# the planted groups' shifts of breadth, frequency, sessions and features, and how much of the paths' sd stays
SEGMENT_SHIFTS = np.array(
    [[1.5, 1.5, 1.6, 1.6], [-1.5, -1.4, -1.2, 1.8], [1.5, -1.5, -1.2, -1.9], [-1.5, 1.5, 1.6, -1.9]]
)
WITHIN = 0.18


@dataclass
class Latents:
    """``paths`` is customers × weeks × PATHS, each of mean 0 and sd 1, high = well."""

    paths: np.ndarray
    given: dict[str, np.ndarray]  # interventions: client, kind, day, factor then, recovered_without

    def of(self, name: str) -> np.ndarray:
        return self.paths[:, :, PATHS.index(name)]


def autoregression(
    rng: np.random.Generator, weeks: int, shape: tuple[int, ...], memory_days: float = MEMORY_DAYS
) -> np.ndarray:
    """Stationary paths of sd 1, the last axis weeks."""
    keep = np.exp(-7 / memory_days)
    out = rng.standard_normal((*shape, weeks)).astype(np.float32)
    fresh = np.float32(np.sqrt(1 - keep**2))
    for week in range(1, weeks):
        out[..., week] = keep * out[..., week - 1] + fresh * out[..., week]
    return out


def _one_path(rng: np.random.Generator, count: int, weeks: int, moving: bool) -> np.ndarray:
    static = rng.standard_normal((count, 1))
    changing = autoregression(rng, weeks, (count,))
    return np.sqrt(STATIC_SHARE) * static + (
        np.sqrt(1 - STATIC_SHARE) * changing if moving else 0 * changing
    )


def _add_effects(paths: np.ndarray, given: dict[str, np.ndarray]) -> None:
    for client, kind, day in zip(given["client"], given["kind"], given["day"], strict=True):
        first = day // 7 + 1
        paths[client, first : first + EFFECT_WEEKS, :3] += EFFECT[kind]


def draw_latents(seed: int, chunk: int, who: Customers, days: Frame, world: Scenario) -> Latents:
    rng = stream(seed, chunk, "latents")
    common = _one_path(rng, who.count, days.weeks, world.planted)
    paths = np.empty((who.count, days.weeks, len(PATHS)), np.float32)
    for place, share in enumerate(COMMON):
        own = _one_path(rng, who.count, days.weeks, world.planted)
        if not world.planted and PATHS[place] in ("support", "payment", "satisfaction"):
            share = 0.0
        paths[:, :, place] = np.sqrt(share) * common + np.sqrt(1 - share) * own
    if world.segments:
        paths[:, :, :4] = WITHIN * paths[:, :, :4] + SEGMENT_SHIFTS[who.segment][:, None, :]
    given = give(rng, common, LOW, RECOVERED, who)
    if world.planted and not world.segments:
        _add_effects(paths, given)
    return Latents(paths, given)
