"""The metrics of every kind of task: their names, which one ranks, and which are better when smaller."""

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

RANKING_METRIC: dict[str, str] = {kind: names[0] for kind, names in METRICS.items()}
"""The metric by which models of a kind of task are ranked."""

LOWER_IS_BETTER = frozenset({"rmse", "mae", "expected_calibration_error", "interval_width"})
"""Metrics that are better when smaller; a bias is best at 0 and ranks nothing."""
