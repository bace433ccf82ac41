"""Intervals and p values of metrics from few scenes, and the correction of many p values.

The standard error of a metric, or of a difference of two, is that of a jackknife that leaves out one scene after the other, where
scenes may be of unequal size (`jackknife`). Interval and p value follow from the same t statistic (`infer`), so p is below 0.05
just where the 95 % interval excludes 0, and no p value is limited by a number of replicates. `benchmarks/intervals.py` compares
this with other methods by simulation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from eofuse.evaluation.weighting import FloatArray

_ROUNDING = 1e-12  # of the scale; a smaller difference comes from the order of a sum


@dataclass(frozen=True, eq=False)
class Design:
    """How a test set is divided into scenes.

    Attributes:
        shares: (n,) share of the patches that each scene has; they sum to 1.
        leverage: (n,) share of the patches of its fold, where a metric is the mean over folds; otherwise its share.
        folds: number of folds with several scenes, which each take a degree of freedom.
    """

    shares: FloatArray
    leverage: FloatArray
    folds: int = 1


@dataclass(frozen=True)
class Inference:
    """Interval of an estimate, and the two-sided p value of its being 0; NaN where none can be given."""

    low: float
    high: float
    p: float


def jackknife(
    estimate: ArrayLike, without: ArrayLike, shares: ArrayLike, leverage: ArrayLike | None = None, folds: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Standard error and degrees of freedom of estimates from few scenes of unequal size.

    The variance is Σ (1 − h) (θ₍₋ᵢ₎ − θ)² over the scenes, h being the leverage of scene i: the delete-one jackknife, whose factor
    (n − 1)/n is the same for scenes of equal size, with the leverage correction CR2 (Bell and McCaffrey 2002, Survey Methodology
    28(2)). The degrees of freedom are 1/Σ shares² − folds, at least 1: the effective number of scenes (Kish 1965, Survey Sampling;
    Carter, Schnepel and Steigerwald 2017, Review of Economics and Statistics 99(4)) in place of n.

    Args:
        estimate: (...).
        without: (..., n), the estimate without each scene.
        shares: (..., n) of `Design`.
        leverage: (..., n) of `Design`, the shares by default.
        folds: of `Design`.

    Returns:
        (...) each; the standard error is NaN where the estimate is not defined without some scene.
    """
    parts = np.asarray(shares, dtype=np.float64)
    lever = parts if leverage is None else np.asarray(leverage, dtype=np.float64)
    moved = np.asarray(without, dtype=np.float64) - np.asarray(estimate, dtype=np.float64)[..., None]
    error: FloatArray = np.sqrt(((1 - lever) * moved**2).sum(axis=-1))
    freedom: FloatArray = np.maximum(1 / (parts**2).sum(axis=-1) - folds, 1.0)
    return error, freedom


def t_interval(estimate: ArrayLike, error: ArrayLike, freedom: ArrayLike, level: float = 0.95) -> tuple[Any, Any]:
    """Ends of the t intervals of estimates (...)."""
    half = student_t.ppf((1 + level) / 2, freedom) * np.asarray(error)
    return np.asarray(estimate) - half, np.asarray(estimate) + half


def infer(
    estimate: float,
    without: ArrayLike,
    design: Design,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    scale: float = 1.0,
) -> Inference:
    """Interval and p value of a metric, or of a difference, from what it is without each scene.

    Where every scene gives the same, there is no spread to go by. A difference of 0 then has the interval 0 to 0 and p = 1. Any other
    has the p value of the exact sign-flip test, 2^(1−n), as its scenes agree that often by chance, and an interval without width if
    that p is below 1 − level, else none.

    Args:
        estimate: on all test patches.
        without: (n,), without each scene.
        design: how large a part each scene is.
        level: of the interval.
        bounds: least and greatest value that is possible, at which the interval is cut.
        scale: of the numbers behind the estimate; differences below a 10⁻¹² of it are rounding.

    Returns:
        All NaN for fewer than two scenes, and where the estimate, or the estimate without some scene, is not defined.
    """
    left: NDArray[np.float64] = np.asarray(without, dtype=np.float64)
    if len(left) < 2 or not np.isfinite(estimate) or not np.isfinite(left).all():
        return Inference(float("nan"), float("nan"), float("nan"))
    rounding = _ROUNDING * max(1.0, abs(scale))
    if np.abs(left - estimate).max() <= rounding:
        if abs(estimate) <= rounding:
            return Inference(0.0, 0.0, 1.0)
        p = 2.0 ** (1 - len(left))
        end = estimate if p < 1 - level else float("nan")
        return Inference(end, end, p)
    error, freedom = jackknife(estimate, left, design.shares, design.leverage, design.folds)
    low, high = (float(np.clip(end, *bounds)) for end in t_interval(estimate, error, freedom, level))
    p = float(2 * student_t.sf(abs(estimate) / error, freedom))
    return Inference(low, high, max(p, np.finfo(np.float64).tiny))


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
