"""Predictive intervals of numbers by split conformal prediction.

`conformal_margin` is half the width of predictive intervals by split conformal prediction (Lei, G'Sell, Rinaldo,
Tibshirani and Wasserman 2018, J. Am. Stat. Assoc. 113(523)). Its guarantee, that an interval covers a new truth with at least the
nominal probability, holds **for exchangeable units only**: calibration and test units must be drawn alike and be
independent of each other, or at least exchangeable. Patches of one scene, and still more pixels of one patch, are not,
as they share date, place and sensor state: it is whole scenes that would have to be exchangeable. So the nominal
coverage is a target here, and the measured one, with intervals over scenes, is what counts.
"""

import numpy as np
from numpy.typing import ArrayLike

from eofuse.errors import UsageError
from eofuse.evaluation.weighting import FloatArray


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
