"""Intervals of sums and ratios of stratified proportions that stay honest for small counts.

The sum Σ c p of independent proportions gets its interval from theirs (MOVER: Zou and Donner 2008, Statistics in Medicine 27(10)): the
distance from the estimate to either end is the root of the sum of squared distances of the parts. Each part has the Jeffreys interval
(Brown, Cai and DasGupta 2001, Statistical Science 16(2)), so that a stratum in which no error was found still counts with the errors
that may have been missed, which a standard error of zero denies. Its level is widened from the normal quantile to that of Student's t,
whose degrees of freedom say how well the variance itself is known (Satterthwaite 1946): 2 v² / Σ Var(v) over strata, where the
relative variance of a binomial variance is (1 - 2p)² / (n p (1 - p)). A third of Var(v) is taken, which simulation shows to be
right; with five errors found the degrees are about 30.

`benchmarks/area_coverage.py` has the coverage, and compares this with others: symmetric intervals with the same standard errors miss
the area of a class that is rare, or rarely confused, two to five times as often as they say.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv
from scipy.stats import norm
from scipy.stats import t as student_t

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
LEAST_FREEDOM, MOST_FREEDOM = 6.0, 1e6
DOUBT = 1 / 3
"""Part of the variance's own variance that counts: the Jeffreys interval leans to the side of the doubt already."""

_STEPS = 50


def freedom(variance: FloatArray, shares: FloatArray, sizes: FloatArray) -> FloatArray:
    """Degrees of freedom of the sum over strata of binomial variances, (quantities,).

    Args:
        variance: (strata, quantities) of what is summed.
        shares: (strata, quantities) proportions that they come from.
        sizes: (strata, 1) points of each stratum, those that count.
    """
    sizes = np.where(np.isfinite(sizes), sizes, 1.0)  # strata that are known have no variance
    spread = sizes * shares * (1 - shares)
    relative = np.divide((1 - 2 * shares) ** 2, spread, out=np.zeros_like(spread), where=spread > 0)
    doubt = DOUBT * (variance**2 * relative).sum(axis=0)
    total = variance.sum(axis=0)
    found = np.divide(2 * total**2, doubt, out=np.where(total > 0, MOST_FREEDOM, LEAST_FREEDOM), where=doubt > 0)
    return np.asarray(found.clip(LEAST_FREEDOM, MOST_FREEDOM), dtype=np.float64)


def quantile(degrees: FloatArray) -> FloatArray:
    """Student's t for two-sided intervals."""
    return np.asarray(student_t.ppf((1 + LEVEL) / 2, degrees), dtype=np.float64)


def distances(shares: FloatArray, sizes: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far the ends of the Jeffreys intervals of proportions lie below and above them, (strata, quantities) each.

    Args:
        shares: (strata, quantities).
        sizes: (strata, 1) points of each stratum; infinite where all of it is known.
        t: (quantities,) quantile that stands for the level.
    """
    tail = np.broadcast_to(norm.sf(t), shares.shape)
    count = np.where(np.isfinite(sizes), sizes, 1.0)
    hits, misses = count * shares + 0.5, count * (1 - shares) + 0.5
    low = np.where(shares <= 0, 0.0, betaincinv(hits, misses, tail))
    high = np.where(shares >= 1, 1.0, 1 - betaincinv(misses, hits, tail))
    is_sampled = np.isfinite(sizes)
    below, above = np.maximum(shares - low, 0), np.maximum(high - shares, 0)
    return np.where(is_sampled, below, 0.0), np.where(is_sampled, above, 0.0)


def joined(parts: FloatArray) -> FloatArray:
    """The root of the sum of squares over strata, (quantities,)."""
    return np.asarray(np.sqrt((parts**2).sum(axis=0)))


def ratio_ends(
    weights: FloatArray,
    hits: FloatArray,
    others: FloatArray,
    sizes: FloatArray,
    t: FloatArray,
    possible: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
) -> tuple[FloatArray, FloatArray]:
    """Ends of the intervals of T / (T + O), where T = Σ weights · hits and O = Σ weights · others.

    All r are kept for which the interval of (1 - r) T - r O holds 0; so a ratio of 1, with no other point found, has a lower end
    below 1. Within a stratum both proportions are of one multinomial, and correlate.

    Args:
        weights: (strata, 1).
        hits: (strata, quantities).
        others: (strata, quantities).
        sizes: as in `distances`.
        t: as in `distances`.
        possible: (strata, quantities) each: whether a stratum can hold any of `hits`, and of `others`.
    """
    hits_below, hits_above = (possible[0] * each for each in distances(hits, sizes, t))
    others_below, others_above = (possible[1] * each for each in distances(others, sizes, t))
    spare = (1 - hits) * (1 - others)
    alike = np.sqrt(np.divide(hits * others, spare, out=np.zeros_like(spare), where=spare > 0)).clip(0, 1)

    def end(first: FloatArray, second: FloatArray, sign: float) -> Callable[[FloatArray], FloatArray]:
        def bound(ratio: FloatArray) -> FloatArray:
            left, right = (1 - ratio) * first, ratio * second
            spread = weights**2 * (left**2 + right**2 + 2 * alike * left * right)
            middle = (weights * ((1 - ratio) * hits - ratio * others)).sum(axis=0)
            return np.asarray(middle + sign * np.sqrt(spread.sum(axis=0)))

        return bound

    count = hits.shape[1]
    return (
        _crossing(end(hits_below, others_above, -1.0), count),
        _crossing(end(hits_above, others_below, 1.0), count),
    )


def _crossing(function: Callable[[FloatArray], FloatArray], count: int) -> FloatArray:
    """Where functions that fall from 0 to 1 cross zero, (count,), by bisection."""
    low, high = np.zeros(count), np.ones(count)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2
