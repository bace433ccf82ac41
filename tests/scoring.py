"""Scores of plain arrays, as tasks compute them from evidence: the metrics that training follows, or those of single classes."""

import numpy as np

from eofuse.evaluation.metrics import class_metrics_of, class_scores, metrics_of, scores
from eofuse.evaluation.metrics.calibration import ECE, ECE_RAW, ProbabilityTotals
from eofuse.evaluation.metrics.classification import LabelTotals
from eofuse.evaluation.metrics.detection import BoxTotals
from eofuse.evaluation.metrics.regression import COVERAGE, INTERVAL_WIDTH, NumberTotals, PixelNumberTotals
from eofuse.evaluation.metrics.segmentation import PixelTotals
from eofuse.kinds import DETECTION, MULTI_LABEL, PIXEL_REGRESSION, REGRESSION, SEGMENTATION, SINGLE_LABEL

TOTALS = {
    SINGLE_LABEL: LabelTotals,
    MULTI_LABEL: LabelTotals,
    REGRESSION: NumberTotals,
    SEGMENTATION: PixelTotals,
    PIXEL_REGRESSION: PixelNumberTotals,
    DETECTION: BoxTotals,
}


def main_metrics(kind):
    """Names of the metrics that training follows, the ranking one first."""
    return tuple(metric.name for metric in metrics_of(kind) if metric.is_main)


def scored(kind, evidence, weights=None):
    """Values of the metrics that training follows."""
    return scores((metric for metric in metrics_of(kind) if metric.is_main), TOTALS[kind](kind, evidence, weights))


def all_scores(kind, evidence, weights=None):
    """Values of all metrics of a kind."""
    return scores(metrics_of(kind), TOTALS[kind](kind, evidence, weights))


def one_by_one(kind, evidence, weights=None):
    """Values of the metrics of each class or number."""
    return class_scores(class_metrics_of(kind), TOTALS[kind](kind, evidence, weights))


def single_label_metrics(truth, probabilities, weights=None):
    return scored(SINGLE_LABEL, {"truth": truth, "probabilities": probabilities}, weights)


def multi_label_metrics(truth, probabilities, weights=None):
    return scored(MULTI_LABEL, {"truth": truth, "probabilities": probabilities}, weights)


def per_class(truth, probabilities, weights=None):
    kind = SINGLE_LABEL if np.ndim(truth) == 1 else MULTI_LABEL
    return one_by_one(kind, {"truth": truth, "probabilities": probabilities}, weights)


def regression_metrics(truth, prediction, weights=None):
    return scored(REGRESSION, {"truth": truth, "prediction": prediction}, weights)


def regression_per_class(truth, prediction):
    return one_by_one(REGRESSION, {"truth": truth, "prediction": prediction})


def pixel_regression_metrics(sums, weights=None):
    return scored(PIXEL_REGRESSION, {"sums": sums}, weights)


def pixel_regression_per_class(sums):
    return one_by_one(PIXEL_REGRESSION, {"sums": sums})


def segmentation_metrics(confusion, boundary, weights=None):
    return scored(SEGMENTATION, {"confusion": confusion, "boundary": boundary}, weights)


def segmentation_per_class(confusion, boundary):
    return one_by_one(SEGMENTATION, {"confusion": confusion, "boundary": boundary})


def coverage_metrics(truth, prediction, margin, weights=None):
    evidence = {"truth": truth, "prediction": prediction, "margin": np.tile(margin, (len(truth), 1))}
    return scores((COVERAGE, INTERVAL_WIDTH), NumberTotals(REGRESSION, evidence, weights))


def pixel_coverage_metrics(sums, margin, weights=None):
    evidence = {"sums": sums, "margin": np.tile(margin, (len(sums), 1))}
    return scores((COVERAGE, INTERVAL_WIDTH), PixelNumberTotals(PIXEL_REGRESSION, evidence, weights))


class _Reliability(ProbabilityTotals):
    support = np.zeros((1, 0))
    reliability = property(lambda self: self.evidence["reliability"])


def calibration_metrics(reliability, weights=None):
    return scores((ECE_RAW, ECE), _Reliability(SEGMENTATION, {"reliability": reliability}, weights))
