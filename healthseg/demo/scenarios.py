"""Which worlds there are: one frozen set of parameters for each named scenario."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from healthseg.errors import InvalidParameters, hint

VERSION = "1"


@dataclass(frozen=True)
class Scenario:
    """What is planted. Off everywhere in ``null``; the others change a thing or two of ``default``."""

    name: str
    clients: int = 250
    planted: bool = (
        True  # rhythms, changing users and rates, order, bundles, anomalies, message laws
    )
    intercept: float = -4.0  # of the monthly log-odds of leaving
    driver_scale: float = 1.0  # times the drivers' coefficients
    frailty_sd: float = 0.6
    size_log_odds: float = 0.0  # per standard deviation of log seats, the planted confounder
    size_on_adoption: float = 0.0  # the same confounder on adopting `file_sharing`
    feature_log_odds: tuple[tuple[str, float], ...] = ()  # adopted features that cause staying
    sequence_log_odds: float = 0.0  # of having adopted the planted sequence in its order
    leak: bool = False  # usage falls after notice, and only then
    segments: bool = False  # four groups of customers far apart
    dirty: bool = False  # faults in CSV tables
    drift_from_step: int | None = None  # from here on, other coefficients and a higher base

    def parameters(self) -> dict[str, Any]:
        return asdict(self)


_DEFAULT = Scenario("default")

SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        _DEFAULT,
        replace(
            _DEFAULT, name="null", planted=False, intercept=-3.3, driver_scale=0.0, frailty_sd=0.0
        ),
        replace(_DEFAULT, name="leak", leak=True),
        replace(
            _DEFAULT,
            name="confounded",
            driver_scale=0.0,
            intercept=-3.45,
            size_log_odds=-1.1,
            size_on_adoption=1.8,
        ),
        replace(
            _DEFAULT,
            name="effects",
            clients=2_000,
            feature_log_odds=(("scheduled_exports", -1.1), ("audit_trail", -1.0)),
            sequence_log_odds=-1.0,
            driver_scale=0.85,
            intercept=-3.6,
        ),
        replace(_DEFAULT, name="segments", segments=True, driver_scale=0.0, intercept=-3.5),
        replace(_DEFAULT, name="dirty", dirty=True),
        replace(_DEFAULT, name="drift", drift_from_step=10),
    )
}


def named(name: str) -> Scenario:
    """The scenario of that name.

    >>> named("null").planted
    False
    """
    if name not in SCENARIOS:
        raise InvalidParameters(
            f"unknown scenario {name!r}{hint(name, SCENARIOS)}",
            parameter="scenario",
            value_provided=str(name),
            validation_rule="one of " + ", ".join(SCENARIOS),
        )
    return SCENARIOS[name]
