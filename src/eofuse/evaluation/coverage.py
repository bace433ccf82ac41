"""Predictive intervals of numbers by split conformal prediction, and how often they hold.

`conformal_margin` gives half the width of predictive intervals by split conformal prediction (Lei,
G'Sell, Rinaldo, Tibshirani and Wasserman 2018, J. Am. Stat. Assoc. 113(523)); `coverage_metrics` and
`pixel_coverage_metrics` tell how often they hold. Its guarantee, that an interval covers a new truth with at least the
nominal probability, holds **for exchangeable units only**: calibration and test units must be drawn alike and be
independent of each other, or at least exchangeable. Patches of one scene, and still more pixels of one patch, are not,
as they share date, place and sensor state: it is whole scenes that would have to be exchangeable. So the nominal
coverage is a target here, and the measured one, with intervals over scenes, is what counts.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from eofuse.errors import UsageError
from eofuse.evaluation.regression import checked_numbers, checked_sums, output_values
from eofuse.evaluation.weighting import FloatArray, divide, weightings


def conformal_margin(residuals: ArrayLike, coverage: float = 0.9) -> FloatArray:
    """Half the width of predictive intervals: prediction ± margin.

    The ⌈(n+1)·coverage⌉-th smallest |residual| of n calibration units that the model has not been fitted to. An interval
    then covers a new truth of its output with at least the nominal probability, on average over calibration sets,
    **if the units are exchangeable**; patches of one scene and pixels of one patch are not (see above). Each output has
    its own interval; together they cover less often.

    Args:
        residuals: (n, D) prediction − truth of the calibration units, NaN where unknown.
        coverage: the nominal coverage, between 0 and 1.

    Returns:
        (D,), infinite where n is too small for the coverage: for 0.9, where it is below 9.

    Raises:
        UsageError: if the shape does not fit or the coverage is not between 0 and 1.
    """
    errors = np.abs(np.asarray(residuals, dtype=np.float64))
    if errors.ndim != 2:
        raise UsageError(f"residuals have the shape {errors.shape}", fix="give (n, D)")
    if not 0 < coverage < 1:
        raise UsageError(f"a coverage of {coverage} is not possible", fix="give a number between 0 and 1")
    known = (~np.isnan(errors)).sum(axis=0)
    # what exceeds a whole number by rounding only is that number
    rank = np.ceil((known + 1) * coverage - 1e-9).astype(np.int64)
    ordered = np.append(np.sort(errors, axis=0), np.full((1, errors.shape[1]), np.inf), axis=0)  # NaN come last
    place = np.where(rank > known, len(ordered) - 1, rank - 1)
    margin: FloatArray = np.take_along_axis(ordered, place[None], axis=0)[0]
    return margin


def coverage_metrics(
    truth: ArrayLike, prediction: ArrayLike, margin: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Any]:
    """How often intervals of numbers a patch hold, and how wide they are.

    Args:
        truth: (N, D).
        prediction: (N, D), in the unit of the truth.
        margin: (D,) of `conformal_margin`.
        weights: None, (N,) or (R, N) for R weightings at once; not negative.

    Returns:
        `coverage`, the share of all numbers within their intervals, and `interval_width`, the mean width in the unit of
        the truth: floats, or (R,) values for (R, N) weights; NaN without rows.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a number is not finite or a weight is negative.
    """
    target, predicted = checked_numbers(truth, prediction)
    limit = output_values("margin", margin, target.shape[1])
    within = (np.abs(predicted - target) <= limit).astype(np.float64)
    return _coverage(np.ones_like(target), within, limit, weights)


def pixel_coverage_metrics(sums: ArrayLike, margin: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Any]:
    """How often intervals of numbers a pixel hold, and how wide they are.

    Args:
        sums: (N, D, 7) of `pixel_sums` with the same margin.
        margin: (D,) of `conformal_margin`.
        weights: None, (N,) or (R, N) for R weightings of the patches at once; not negative.

    Returns:
        As `coverage_metrics`, over all known pixels.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a weight is negative or not a finite number.
    """
    table = checked_sums(sums)
    return _coverage(table[..., 0], table[..., 6], output_values("margin", margin, table.shape[1]), weights)


def _coverage(counts: FloatArray, within: FloatArray, margin: FloatArray, weights: ArrayLike | None) -> dict[str, Any]:
    """Coverage and width from numbers and covered numbers, (N, D) each."""
    rows, many = weightings(weights, len(counts))
    known = rows @ counts  # (R, D)
    widths = known * np.where(known > 0, 2 * margin, 0.0)  # 0 × ∞ is not wanted
    total = known.sum(axis=1)
    values = {
        "coverage": divide((rows @ within).sum(axis=1), total),
        "interval_width": divide(widths.sum(axis=1), total),
    }
    return {name: value if many else float(value[0]) for name, value in values.items()}
