"""Intervals and p values from replicate values, for few clusters and for many tests at once."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student_t

from eofuse.evaluation.weighting import FloatArray


def bootstrap_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of replicate values (R,); NaN values are left out; (NaN, NaN) if none is left."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if kept.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def expanded_level(level: float, clusters: int) -> float:
    """Level at which a percentile interval of few clusters must be taken to cover at `level`.

    The quantiles move out as those of a t distribution with clusters − 1 degrees of freedom lie outside the normal ones, and
    by the factor √(n / (n − 1)) by which the bootstrap's spread is too small (expanded percentile interval: Hesterberg 2015,
    What Teachers Should Know About the Bootstrap, The American Statistician 69(4)).
    """
    quantile = student_t.ppf((1 + level) / 2, clusters - 1) * np.sqrt(clusters / (clusters - 1))
    return float(2 * norm.cdf(quantile) - 1)


def expanded_p(p: float, clusters: int) -> float:
    """The p-value that goes with `expanded_level`: below 1 − level just where that interval excludes 0."""
    quantile = norm.isf(p / 2) * np.sqrt((clusters - 1) / clusters)
    return float(2 * student_t.sf(quantile, clusters - 1))


def two_sided_p(differences: ArrayLike) -> float:
    """Twice the smaller tail of replicate differences (R,) beyond 0, one replicate added to each tail, at most 1.

    The added replicate keeps p above 0 (Davison and Hinkley 1997, Bootstrap Methods and their Application).
    NaN if no replicate is a number.
    """
    kept = np.asarray(differences, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if kept.size == 0:
        return float("nan")
    tail = min(int((kept <= 0).sum()), int((kept >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (kept.size + 1))


def holm(p_values: ArrayLike) -> FloatArray:
    """P-values corrected for their number by Holm's step-down method (Holm 1979, Scand. J. Stat. 6(2)).

    Args:
        p_values: (M,); NaN entries stay NaN and are not counted.

    Returns:
        (M,) in the same order, at most 1.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(raw.shape, np.nan)
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * steps))
    return corrected
