"""The normal distribution, Student's t and sums of squares, by the standard library: scipy takes longer to import than
many a call to answer."""

from __future__ import annotations

import math
from statistics import NormalDist

EXACT_DEGREES = 1_000


def standard_errors(level: float) -> float:
    """How many standard errors on either side hold a normal estimate with probability ``level``?

    >>> round(standard_errors(0.90), 3), round(standard_errors(0.95), 3)
    (1.645, 1.96)
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def student_errors(level: float, degrees: int) -> float:
    """How many standard errors on either side hold an estimate, where they were estimated with so many degrees of
    freedom?

    The t at which P(|T| < t) is ``level``, by Newton's method from the normal one below it; beyond 1,000 degrees by the
    expansion in 1 / degrees (Abramowitz & Stegun 1964, 26.7.3–5).

    >>> [round(student_errors(0.95, degrees), 3) for degrees in (1, 2, 10, 30, 5_000)]
    [12.706, 4.303, 2.228, 2.042, 1.96]
    """
    z = t = standard_errors(level)
    if degrees > EXACT_DEGREES:
        return (
            z
            + (z**3 + z) / (4 * degrees)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
        )
    height = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(
        degrees * math.pi
    )
    for _ in range(100):
        step = (level - _student_within(t, degrees)) / (
            2 * height * (1 + t**2 / degrees) ** (-(degrees + 1) / 2)
        )
        t += step
        if abs(step) < 1e-14 * t:
            break
    return t


def _student_within(t: float, degrees: int) -> float:
    """P(|T| < t), a finite sum for a whole number of degrees of freedom."""
    angle = math.atan(t / math.sqrt(degrees))
    odd, cosine = degrees % 2, math.cos(angle)
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (k - 1) / k * cosine**2
    within = math.sin(angle) * total
    return 2 / math.pi * (angle + within) if odd else within


def two_sided_p(z: float) -> float:
    """How likely is a standard normal to lie as far from 0 as ``z``, on either side?

    >>> round(two_sided_p(-1.96), 4)
    0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))


def chi_square_p(statistic: float, degrees: int) -> float:
    """How likely is a chi-square of a whole number of degrees of freedom to reach ``statistic``?

    Q(x; k + 2) = Q(x; k) + (x/2)^(k/2) e^(−x/2) / Γ(k/2 + 1), from Q(x; 1) = erfc(√(x/2)) and Q(x; 2) = e^(−x/2)
    (Abramowitz & Stegun 1964, 26.4.4–8).

    >>> [round(chi_square_p(x, k), 3) for x, k in ((3.841, 1), (5.991, 2), (7.815, 3), (18.307, 10))]
    [0.05, 0.05, 0.05, 0.05]
    """
    half = max(statistic, 0.0) / 2
    p = math.erfc(math.sqrt(half)) if degrees % 2 else math.exp(-half)
    for k in range(2 - degrees % 2, degrees, 2):
        p += math.exp(k / 2 * math.log(half) - half - math.lgamma(k / 2 + 1)) if half else 0.0
    return p
