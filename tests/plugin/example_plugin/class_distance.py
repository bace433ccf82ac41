"""By how many classes the predicted one differs from the true one."""

import math

from eofuse.evaluation.metrics import METRICS, Metric


def distance(totals):
    """The weighted mean over patches, (R,)."""
    return totals.weights @ totals.distances / totals.weights.sum(1)


METRICS.add(
    Metric(
        "class_distance",
        "class distance",
        "the mean number of classes between the predicted one and the true one",
        lambda kind: kind.name == "ordinal",
        distance,
        best="lower",
        perfect=0.0,
        bounds=(0.0, math.inf),
    )
)
