"""The metrics of every kind of task: their names, the one that ranks first, and which are better when smaller."""

import math

from eofuse.evaluation.classification import MULTI_LABEL, SINGLE_LABEL

METRICS: dict[str, tuple[str, ...]] = {
    "single_label": SINGLE_LABEL,
    "multi_label": MULTI_LABEL,
    "regression": ("rmse", "mae", "r2", "bias"),
    "segmentation": ("miou", "macro_f1", "accuracy", "boundary_f1"),
    "pixel_regression": ("rmse", "mae", "r2", "bias"),
    "detection": ("box_map", "box_ap50"),
}
"""The metrics of each kind of task, the ranking one first."""

LOWER_IS_BETTER = frozenset({"rmse", "mae", "ece", "ece_raw", "interval_width"})
"""Metrics that are better when smaller; a bias is best at 0 and ranks nothing."""


_ANY = (-math.inf, math.inf)
_BOUNDS = {name: (0.0, 1.0) for names in METRICS.values() for name in names} | {
    **dict.fromkeys(("ece", "ece_raw", "coverage"), (0.0, 1.0)),
    **dict.fromkeys(("rmse", "mae", "interval_width"), (0.0, math.inf)),
    "r2": (-math.inf, 1.0),
    "bias": _ANY,
}


def bounds(metric: str) -> tuple[float, float]:
    """Least and greatest value that a metric can have."""
    return _BOUNDS.get(metric, _ANY)


def skill(metric: str, value: float, constant: float) -> float:
    """How much of the way from the constant prediction to perfection a value of a metric has come: 0 to 1, down to -1 if worse.

    What cannot be improved on the constant prediction, which is perfect already, has a skill of 0. Murphy 1988, Skill scores
    based on the mean square error and their relationships to the correlation coefficient, Monthly Weather Review 116(12).
    """
    perfect = 0.0 if metric in LOWER_IS_BETTER else 1.0
    if perfect == constant:
        return 0.0
    return max(-1.0, (value - constant) / (perfect - constant))
