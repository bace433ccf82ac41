"""What speaks against taking a trained run at its word: trained too short or too long, labels hardly seen, calibration made worse.

Functions of arrays, so that they serve runs and studies of any age: what they need lies in every run's folder.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

UNFINISHED = "unfinished"
OVERTRAINED = "overtrained"
FEW_PASSES = "few_passes"
WORSE_CALIBRATED = "worse_calibrated"
NO_WIDTH = "no_width"

FEWEST_PASSES = 10
"""Labelled patches that were seen less often than this were hardly learned from."""

_FEWEST_EVALUATIONS = 3  # fewer show no course
_EARLY = 0.2  # of the evaluations are the first ones
_WORSE = 0.02  # by which a calibration error must grow
_SURE = 0.05  # p of Kendall's test for a trend


def training_cautions(
    steps: ArrayLike,
    scores: ArrayLike,
    *,
    best_step: float,
    passes: float,
    lower_is_better: bool = False,
) -> tuple[str, ...]:
    """Which cautions a training deserves, of `UNFINISHED`, `OVERTRAINED` and `FEW_PASSES`.

    It is unfinished if the best evaluation is the last one, or if the scores of its second half still rise: by Kendall's rank
    correlation with the step (Mann 1945, Econometrica 13(3)), which noise and outliers hardly move. It is overtrained if the first
    evaluation beats all others, or among the first fifth with scores that fall from there on.

    Args:
        steps: (evaluations,), ascending.
        scores: (evaluations,) of the validation patches.
        best_step: the evaluation whose weights were kept.
        passes: how often each labelled patch was seen.
        lower_is_better: whether the score is better when smaller.
    """
    found = []
    at = np.asarray(steps, dtype=np.float64)
    values = np.asarray(scores, dtype=np.float64) * (-1 if lower_is_better else 1)
    if len(at) >= _FEWEST_EVALUATIONS:
        place = int(np.searchsorted(at, best_step))
        if place >= len(at) - 1 or _trend(values[len(at) // 2 :]) > 0:
            found.append(UNFINISHED)
        elif (place == 0 and values[0] > np.nanmax(values[1:])) or (
            place < _EARLY * len(at) and _trend(values[place:]) < 0
        ):
            found.append(OVERTRAINED)
    if passes < FEWEST_PASSES:
        found.append(FEW_PASSES)
    return tuple(found)


def calibration_got_worse(raw: float, calibrated: float) -> bool:
    """Whether the calibration error on test patches is clearly larger with the temperature than without."""
    return calibrated > raw + _WORSE


def has_no_width(low: float, high: float) -> bool:
    """Whether an interval has ends but no width: every scene gives the same."""
    return low == high


def _trend(values: Sequence[float] | np.ndarray) -> int:
    """1 if values rise, −1 if they fall, 0 if noise can explain both."""
    known = np.asarray(values)[np.isfinite(values)]
    if len(known) < 4 or np.ptp(known) == 0:
        return 0
    test = kendalltau(np.arange(len(known)), known)
    return int(np.sign(test.statistic)) if test.pvalue < _SURE else 0
