"""Design-based estimates from a stratified random sample of pixels: arrays in, arrays out.

Pixels of one grid differ in area on the ground, by latitude or by the scale of a projection, and what is estimated is area. Within
a stratum every pixel has the same chance to be drawn, and its area is known; so the share of a stratum's area that has some property
is Σ a y / Σ a over its points (a ratio estimator: Cochran 1977, Sampling Techniques, chapter 6), and the stratum's area, known from
the map, turns it into hectares. Where all pixels are alike this is the share of the points, and all formulas are those of Olofsson
et al. (2014), with the finite population correction 1 - n/N. Strata need not be classes of the map: accuracies are ratios of two such
sums, and their variance is that of the residuals (Stehman 2014; Cochran 1977, section 6.11).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eofuse.areas.intervals import FloatArray, distances, freedom, joined, quantile, ratio_ends

IntArray = npt.NDArray[np.int64]

FEWEST_EVENTS = 6.0
"""Effective number of points that decide an area, below which its interval is wider or narrower than it says."""

MOST_UNSEEN = 0.5
"""Share of an interval's upper half that may come from strata in which nothing was found."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """Estimates of one or more quantities, (quantities,) each.

    Attributes:
        value: the estimates.
        error: their standard errors.
        low: lower ends of their 95 % intervals.
        high: upper ends.
    """

    value: FloatArray
    error: FloatArray
    low: FloatArray
    high: FloatArray

    def times(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(*(factor * each for each in (self.value, self.error, self.low, self.high)))


@dataclass(frozen=True, eq=False)
class Sample:
    """Labelled points of a stratified random sample.

    Attributes:
        stratum: (points,) number of its stratum.
        area: (points,) of its pixel on the ground, in any unit.
        sizes: (strata,) pixels of each stratum.
        areas: (strata,) area of each stratum.
    """

    stratum: IntArray
    area: FloatArray
    sizes: IntArray
    areas: FloatArray

    @property
    def weights(self) -> FloatArray:
        """(strata, 1) share of each stratum in the area of all."""
        return np.asarray((self.areas / self.areas.sum())[:, None])

    @cached_property
    def counts(self) -> FloatArray:
        """(strata,) points of each stratum."""
        return np.bincount(self.stratum, minlength=len(self.sizes)).astype(np.float64)

    @cached_property
    def relative(self) -> FloatArray:
        """(points,) area of its pixel as a multiple of the mean in its stratum's sample."""
        mean = np.bincount(self.stratum, self.area, len(self.sizes)) / np.maximum(self.counts, 1)
        return np.asarray(self.area / mean[self.stratum])

    @cached_property
    def effective(self) -> FloatArray:
        """(strata, 1) points of equal area and unlimited strata that would tell as much; infinite where all pixels are known."""
        squares = np.bincount(self.stratum, self.relative**2, len(self.sizes))
        alike = np.divide(self.counts**2, squares, out=np.zeros_like(squares), where=squares > 0)
        left = 1 - self.counts / self.sizes
        return np.asarray(np.divide(alike, left, out=np.full_like(left, np.inf), where=left > 0)[:, None])

    def means(self, values: FloatArray) -> FloatArray:
        """Means by stratum, weighted by area, (strata, quantities), of values (points, quantities)."""
        weighted = self.sums(self.relative[:, None] * values)
        return np.asarray(weighted / np.maximum(self.counts, 1)[:, None])

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums by stratum, (strata, quantities)."""
        total = np.zeros((len(self.sizes), values.shape[1]))
        np.add.at(total, self.stratum, values)
        return total

    def variances(self, values: FloatArray) -> FloatArray:
        """Variances of the means by stratum, (strata, quantities)."""
        residuals = self.relative[:, None] * (values - self.means(values)[self.stratum])
        squares = self.sums(residuals**2)
        count = self.counts[:, None]
        left = np.maximum(1 - count / self.sizes[:, None], 0)
        return np.asarray(left * squares / np.maximum(count * (count - 1), 1))

    def standard_errors(self, values: FloatArray) -> FloatArray:
        """Standard errors of the means over all strata, (quantities,)."""
        return np.asarray(np.sqrt((self.weights**2 * self.variances(values)).sum(axis=0)))


@dataclass(frozen=True, eq=False)
class Halves:
    """The parts of the intervals of shares, stratum by stratum.

    Attributes:
        shares: (strata, quantities) shares of the stratum.
        below: (strata, quantities) how far the interval reaches below, as a share of all area.
        above: (strata, quantities) how far above.
        t: (quantities,) quantile that was used.
    """

    shares: FloatArray
    below: FloatArray
    above: FloatArray
    t: FloatArray


def halves(sample: Sample, indicators: FloatArray) -> Halves:
    """What each stratum contributes to the intervals of shares of the area.

    Args:
        sample: the points.
        indicators: (points, quantities) of 0 and 1.
    """
    shares = sample.means(indicators)
    variance = sample.weights**2 * sample.variances(indicators)
    t = quantile(freedom(variance, shares, sample.effective))
    below, above = distances(shares, sample.effective, t)
    return Halves(shares, sample.weights * below, sample.weights * above, t)


def area_shares(sample: Sample, indicators: FloatArray) -> Estimate:
    """Shares of the area with a property.

    Args:
        sample: the points.
        indicators: (points, quantities) of 0 and 1.
    """
    parts = halves(sample, indicators)
    value = (sample.weights * parts.shares).sum(axis=0)
    low, high = value - joined(parts.below), value + joined(parts.above)
    return Estimate(value.clip(0, 1), sample.standard_errors(indicators), low.clip(0, 1), high.clip(0, 1))


def ratios(
    sample: Sample,
    hits: FloatArray,
    others: FloatArray,
    possible: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]],
) -> Estimate:
    """Areas with one property as shares of those with it or another: user's and producer's accuracies; NaN where there is neither.

    Args:
        sample: the points.
        hits: (points, quantities) of 0 and 1.
        others: (points, quantities) of 0 and 1, never 1 where `hits` is.
        possible: (strata, quantities) each: whether a stratum can hold any of `hits`, and of `others`; the map says so.
    """
    first, second = sample.means(hits), sample.means(others)
    top = (sample.weights * first).sum(axis=0)
    whole = top + (sample.weights * second).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = top / whole
        error = sample.standard_errors((1 - value) * hits - value * others) / whole
    parts = [
        sample.weights**2 * factor**2 * sample.variances(values)
        for factor, values in ((1 - np.nan_to_num(value), hits), (np.nan_to_num(value), others))
    ]
    sizes = np.concatenate([sample.effective, sample.effective])
    t = quantile(freedom(np.concatenate(parts), np.concatenate([first, second]), sizes))
    low, high = ratio_ends(sample.weights, first, second, sample.effective, t, possible)
    missing = whole <= 0
    low, high = np.where(missing, np.nan, np.minimum(low, value)), np.where(missing, np.nan, np.maximum(high, value))
    return Estimate(value, error, low, high)


def rests_on_little(sample: Sample, indicators: FloatArray, mapped: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether intervals of areas can't be trusted to 95 %, (quantities,): few points decide, or strata in which none was found.

    The points that decide are those where map and label disagree about the class; their effective number is (Σ w)² / Σ w² (Kish 1965),
    w being the area for which a point stands.

    Args:
        sample: the points.
        indicators: (points, quantities) whether the label is the class.
        mapped: (points, quantities) whether the map has the class.
    """
    weight = (sample.areas / np.maximum(sample.counts, 1))[sample.stratum, None] * (indicators != mapped)
    squares = (weight**2).sum(axis=0)
    events = np.divide(weight.sum(axis=0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
    parts = halves(sample, indicators)
    unseen = np.where(parts.shares <= 0, parts.above**2, 0.0).sum(axis=0)
    total = np.maximum((parts.above**2).sum(axis=0), np.finfo(float).tiny)
    is_sample = bool(np.isfinite(sample.effective).any())
    return np.asarray(((events < FEWEST_EVENTS) | (unseen / total > MOST_UNSEEN)) & is_sample)
