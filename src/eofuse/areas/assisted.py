"""Model-assisted estimates: the map's probabilities, known for every pixel, narrow the intervals of labels known for few.

The difference estimator (Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, chapter 6) adds to the design-based
estimate λ times what the sample lacks of the probabilities' total over all pixels. Labels are never replaced: whatever the
probabilities are worth, their errors are measured on the labelled points and taken off. λ is the one that makes the variance
smallest, between 0 and 1: Montanari (1987, International Statistical Review 55(2)) for samples from finite populations, and the
tuned λ of prediction-powered inference (PPI++: Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453). Probabilities that say nothing
get a λ near 0.

Intervals keep the design-based form. Where a stratum's labels vary, its part shrinks as its standard error does; where they do not
(no error was found there), nothing shows that the probabilities know of errors that were not drawn, and the part stays whole.
"""

from dataclasses import dataclass

import numpy as np

from eofuse.areas.estimators import Estimate, Sample, halves
from eofuse.areas.intervals import FloatArray, joined


@dataclass(frozen=True, eq=False)
class Assisted:
    """A model-assisted estimate of shares.

    Attributes:
        estimate: the shares.
        tuning: (quantities,) λ, from 0 (the probabilities were of no use) to 1.
        worth: (quantities,) labels more that a design-based estimate would need for the same standard error.
    """

    estimate: Estimate
    tuning: FloatArray
    worth: FloatArray


def assisted_shares(sample: Sample, indicators: FloatArray, helpers: FloatArray, known: FloatArray) -> Assisted:
    """Shares of the area with a property, with the help of a number that is known for every pixel.

    Args:
        sample: the points.
        indicators: (points, quantities) of 0 and 1.
        helpers: (points, quantities) what the map says at the points: the probability of the class.
        known: (quantities,) mean of the helpers over the area of all strata.
    """
    weights = sample.weights
    tuning = _tuned(sample, indicators, helpers)
    residuals = indicators - tuning * helpers
    value = (weights * sample.means(residuals)).sum(axis=0) + tuning * known
    points, strata = len(sample.stratum), int((sample.counts > 0).sum())
    spent = np.where(tuning > 0, (points - strata) / max(points - strata - 1, 1), 1.0)  # one parameter was fitted
    plain, with_help = sample.variances(indicators), spent * sample.variances(residuals)
    error, plain_error = (np.sqrt((weights**2 * each).sum(axis=0)) for each in (with_help, plain))
    parts = halves(sample, indicators)
    shrunk = np.sqrt(np.divide(with_help, plain, out=np.ones_like(plain), where=plain > 0))
    added = np.where(plain > 0, 0.0, weights * parts.t * np.sqrt(with_help))
    ends = [np.hypot(shrunk * side, added) for side in (parts.below, parts.above)]
    low, high = value - joined(ends[0]), value + joined(ends[1])
    gain = np.divide(plain_error**2, error**2, out=np.ones_like(error), where=error > 0)
    estimate = Estimate(value.clip(0, 1), error, low.clip(0, 1), high.clip(0, 1))
    return Assisted(estimate, tuning, np.maximum(points * (gain - 1), 0.0))


def _tuned(sample: Sample, indicators: FloatArray, helpers: FloatArray) -> FloatArray:
    """λ of the smallest variance, (quantities,), within 0 and 1."""
    together = sample.variances(indicators + helpers) - sample.variances(indicators) - sample.variances(helpers)
    covariance = (sample.weights**2 * together).sum(axis=0) / 2
    variance = (sample.weights**2 * sample.variances(helpers)).sum(axis=0)
    found = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 1e-18)
    return np.asarray(found.clip(0, 1))
