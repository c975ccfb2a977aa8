"""The normal distribution and sums of its squares, by the standard library: scipy takes longer to import than many a
call to answer."""
from __future__ import annotations

import math
from statistics import NormalDist


def standard_errors(level: float) -> float:
    """How many standard errors on either side hold a normal estimate with probability ``level``?

    >>> round(standard_errors(0.90), 3), round(standard_errors(0.95), 3)
    (1.645, 1.96)
    """
    return NormalDist().inv_cdf((1 + level) / 2)


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
