"""Metrics of probabilities: the calibration error before and after temperature scaling (see `eofuse.evaluation.calibration`)."""

from abc import abstractmethod
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import numpy as np

from eofuse.evaluation.calibration import expected_calibration_error
from eofuse.evaluation.metrics import METRICS, Metric
from eofuse.evaluation.sparse import SparseRows
from eofuse.evaluation.weighting import FloatArray, Totals

_has_probabilities = attrgetter("has_probabilities")
_error = partial(Metric, is_for=_has_probabilities, best="lower", perfect=0.0, is_main=False, from_sums=True)


class ProbabilityTotals(Totals):
    """Totals of probabilities of classes, which have a reliability."""

    @property
    @abstractmethod
    def reliability(self) -> Any:
        """Predictions of each patch by confidence, raw and calibrated, (N, 2, 15, 3)."""

    def look_at_patches(self) -> None:
        """Computes the reliability."""
        _ = self.reliability

    @cached_property
    def reliability_sums(self) -> FloatArray:
        """The same over the weighted patches, (R, 2, 15, 3)."""
        table = self.reliability
        if isinstance(table, SparseRows):
            return table.weighted(self.weights)
        sums: FloatArray = np.tensordot(self.weights, table, axes=1)
        return sums

    @cached_property
    def calibration_errors(self) -> FloatArray:
        """Expected calibration error, raw and calibrated, (R, 2); NaN without predictions."""
        return expected_calibration_error(self.reliability_sums)


ECE_RAW = METRICS.add(
    _error(
        "ece_raw",
        "calibration error, raw",
        "the same before temperature scaling",
        function=lambda totals: totals.calibration_errors[:, 0],
        order=900,
    )
)
ECE = METRICS.add(
    _error(
        "ece",
        "calibration error",
        "the mean gap between stated confidence and share of right answers",
        function=lambda totals: totals.calibration_errors[:, 1],
        order=910,
    )
)
