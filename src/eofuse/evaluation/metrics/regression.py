"""Metrics of predicted numbers, a patch or a pixel, under one weighting of the patches or many at once.

`NumberTotals` take the numbers themselves. For numbers a pixel, `pixel_sums` reduces a batch of maps to a few sums a patch, from
which `PixelNumberTotals` follow.

Definitions, with the error e = prediction − truth, in the unit of the outputs:

- `rmse`, `mae` and `bias` are √(mean of e²), mean of |e| and mean of e over all known numbers, all outputs alike; so the
  outputs should share a unit.
- `r2` is 1 − ΣΣe² / ΣΣ(y − ȳ)² over all outputs whose truth varies, ȳ being the weighted mean of the output's truth: outputs
  weigh by their variance (scikit-learn's `variance_weighted`), so that one that hardly varies decides nothing. NaN if none varies.
- `coverage` and `interval_width` are the share of all numbers within their predictive intervals, and the mean width of these; NaN
  without intervals.
- A weight of 2 counts a patch twice and a weight of 0 leaves it out. What is undefined is NaN, never 0.
"""

import math
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.metrics import ANY, METRICS, Metric
from eofuse.evaluation.weighting import Evidence, FloatArray, Totals, divide
from eofuse.kinds import TaskKind

_is_numbers = attrgetter("is_numbers")
_NO_SPREAD = 1e-12  # of the mean square about the reference; a smaller variance is rounding


class NumberTotals(Totals):
    """Errors of some patches under weightings: evidence `truth`, `prediction` and `margin`, (N, D) each.

    `margin` is half the width of the predictive intervals, the same for all patches, NaN without them; it may be left out.

    Attributes:
        sums: (N, D, 6) of each patch, as of `pixel_sums`.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a number is not finite.
    """

    def __init__(self, kind: TaskKind, evidence: Evidence, weights: ArrayLike | None = None) -> None:
        self.sums = self._sums(evidence)
        super().__init__(kind, evidence, weights)

    def _sums(self, evidence: Evidence) -> FloatArray:
        self.truth, self.prediction = _checked_numbers(evidence["truth"], evidence["prediction"])
        error = self.prediction - self.truth
        value = self.truth - self.truth.mean(axis=0) if len(self.truth) else self.truth
        return np.stack([np.ones_like(error), error, np.abs(error), error**2, value, value**2], axis=-1)

    def within(self, margin: FloatArray) -> FloatArray:
        """How many of each patch's numbers lie within their intervals, (N, D)."""
        return (np.abs(self.prediction - self.truth) <= margin).astype(np.float64)

    @cached_property
    def totals(self) -> FloatArray:
        """The weighted sums, (R, D, 6)."""
        return np.tensordot(self.weights, self.sums, axes=1)

    @cached_property
    def overall(self) -> FloatArray:
        """The same over all outputs, (R, 6)."""
        values: FloatArray = self.totals.sum(axis=1)
        return values

    @cached_property
    def outputs(self) -> FloatArray:
        """The sums of all patches, for each output: (1, D, 6)."""
        values: FloatArray = self.sums.sum(axis=0)[None]
        return values

    @property
    def support(self) -> FloatArray:
        """How many numbers each output has, (1, D)."""
        return self.outputs[..., 0]

    @property
    def margin(self) -> FloatArray | None:
        """Half the width of the intervals of each output, (D,); None without them."""
        margins = self.evidence.get("margin")
        if margins is None or not len(margins) or np.isnan(margins).any():
            return None
        return np.asarray(margins[0], dtype=np.float64)

    @cached_property
    def coverage(self) -> FloatArray:
        """Share of the numbers that lie within their intervals, and mean width of these, (2, R)."""
        margin = self.margin
        if margin is None:
            return np.full((2, len(self.weights)), np.nan)
        known = self.weights @ self.sums[..., 0]  # (R, D)
        widths = known * np.where(known > 0, 2 * margin, 0.0)  # 0 × ∞ is not wanted
        total = known.sum(axis=1)
        hits = (self.weights @ self.within(margin)).sum(axis=1)
        return np.stack([divide(hits, total), divide(widths.sum(axis=1), total)])


class PixelNumberTotals(NumberTotals):
    """Errors of pixels under weightings: evidence `sums` (N, D, 7) of `pixel_sums`, all about the same reference, and `margin`."""

    def _sums(self, evidence: Evidence) -> FloatArray:
        table = np.asarray(evidence["sums"], dtype=np.float64)
        if table.ndim != 3 or table.shape[-1] != 7:
            raise UsageError(f"sums have the shape {table.shape}", fix="give (N, D, 7)")
        self.covered = table[..., 6]
        return table[..., :6]

    def within(self, margin: FloatArray) -> FloatArray:
        """How many of each patch's numbers lie within the intervals with which they were summed, (N, D)."""
        return self.covered


def pixel_sums(
    prediction: ArrayLike, truth: ArrayLike, margin: ArrayLike | None = None, reference: ArrayLike | None = None
) -> FloatArray:
    """Sums over the known pixels of each patch, from which the metrics of any set of patches follow.

    The sums of the truth y are taken about a reference r, as Σ(y−r)² − (Σ(y−r))²/n does not depend on r but loses its
    digits where r is far from y for its spread: a spread of one millionth of the distance is the smallest that is resolved
    from none. About 0, elevations of 2000 m with a spread of 1 m keep nine digits; the mean of the training pixels is
    always a good reference. Sums that are scored together must have the same reference.

    Args:
        prediction: (B, D, H, W).
        truth: (B, D, H, W) in the same unit, NaN where unknown.
        margin: (D,) half the width of the predictive intervals, if there are any.
        reference: (D,) reference values of the outputs; 0 if not given.

    Returns:
        (B, D, 7): pixels, Σe, Σ|e|, Σe², Σ(y−r), Σ(y−r)² and pixels with |e| ≤ margin (NaN without a margin).

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a truth is infinite, a prediction not finite where the truth is known, or a margin NaN.
    """
    target, predicted = np.asarray(truth), np.asarray(prediction)
    if target.ndim != 4 or target.shape != predicted.shape:
        fix = "give (B, D, H, W) both"
        raise UsageError(f"truth has the shape {target.shape}, the prediction {predicted.shape}", fix=fix)
    outputs = target.shape[1]
    known = ~np.isnan(target)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is found below
        error = np.where(known, np.subtract(predicted, target, dtype=np.float64), 0.0)
    _check_finite("a prediction or a truth is not a finite number", error, "patch")
    origin = np.zeros(outputs) if reference is None else _output_values("reference", reference, outputs)
    value = np.where(known, np.subtract(target, origin[:, None, None], dtype=np.float64), 0.0)
    absolute = np.abs(error)
    if margin is None:
        within = np.full(target.shape[:2], np.nan)
    else:
        limit = _output_values("margin", margin, outputs)
        within = ((absolute <= limit[:, None, None]) & known).sum(axis=(2, 3)).astype(np.float64)
    sums = [field.sum(axis=(2, 3)) for field in (known, error, absolute, error**2, value, value**2)]
    return np.stack([*sums, within], axis=-1).astype(np.float64)


def _checked_numbers(truth: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Truth and prediction as float64, both (N, D)."""
    target, predicted = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if target.ndim != 2 or target.shape != predicted.shape:
        fix = "give (N, D) for both"
        raise UsageError(f"truth has the shape {target.shape}, the prediction {predicted.shape}", fix=fix)
    _check_finite("a truth is not a finite number", target, "row")
    _check_finite("a prediction is not a finite number", predicted, "row")
    return target, predicted


def _output_values(name: str, values: ArrayLike, outputs: int) -> FloatArray:
    """One value for each output, (D,)."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (outputs,):
        raise UsageError(f"{name} has the shape {numbers.shape} for {outputs} outputs", fix="give one for each")
    if np.isnan(numbers).any():
        raise DataError(f"a {name} is NaN", where=f"output {int(np.argmax(np.isnan(numbers)))}")
    return numbers


def _spread(totals: FloatArray) -> FloatArray:
    """Squared deviations of the truth from its mean, from totals (…, 6); NaN where they are but rounding."""
    squares = totals[..., 5]
    spread = squares - divide(totals[..., 4] ** 2, totals[..., 0])
    return np.where(spread > _NO_SPREAD * squares, spread, np.nan)


def _check_finite(what: str, values: NDArray[Any], unit: str) -> None:
    if not np.isfinite(values).all():
        number = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise DataError(what, where=f"{unit} {number}")


def _mean(totals: FloatArray, number: int) -> FloatArray:
    """The mean of one of the summed errors, from totals (…, 6)."""
    return divide(totals[..., number], totals[..., 0])


def _r2(totals: NumberTotals) -> FloatArray:
    spread = _spread(totals.totals)
    errors = np.where(np.isnan(spread), 0.0, totals.totals[..., 3]).sum(axis=-1)
    return 1 - divide(errors, np.nansum(spread, axis=-1))


_error = partial(
    Metric, is_for=_is_numbers, best="lower", perfect=0.0, bounds=(0.0, math.inf), unit="{}", from_sums=True
)

METRICS.add(
    _error(
        "rmse",
        "RMSE",
        "the root of the mean squared error, so that large errors weigh most",
        function=lambda totals: np.sqrt(_mean(totals.overall, 3)),
        per_class=lambda totals: np.sqrt(_mean(totals.outputs, 3)),
        order=100,
    )
)
METRICS.add(
    _error(
        "mae",
        "MAE",
        "the mean absolute error",
        function=lambda totals: _mean(totals.overall, 2),
        per_class=lambda totals: _mean(totals.outputs, 2),
        order=110,
    )
)
METRICS.add(
    Metric(
        "r2",
        "R²",
        "the share of the variance that is explained; 0 is as good as the mean of the test set, less is worse",
        _is_numbers,
        _r2,
        lambda totals: 1 - divide(totals.outputs[..., 3], np.nan_to_num(_spread(totals.outputs))),
        bounds=(-math.inf, 1.0),
        order=120,
        from_sums=True,
    )
)
METRICS.add(
    Metric(
        "bias",
        "bias",
        "the mean of predicted minus true; best at 0",
        _is_numbers,
        lambda totals: _mean(totals.overall, 1),
        lambda totals: _mean(totals.outputs, 1),
        best="zero",
        perfect=0.0,
        bounds=ANY,
        unit="{}",
        order=130,
        from_sums=True,
    )
)
COVERAGE = METRICS.add(
    Metric(
        "coverage",
        "coverage",
        "the share of true values inside the predictive interval",
        _is_numbers,
        lambda totals: totals.coverage[0],
        is_main=False,
        order=900,
        from_sums=True,
    )
)
INTERVAL_WIDTH = METRICS.add(
    _error(
        "interval_width",
        "interval width",
        "the mean width of the predictive intervals",
        function=lambda totals: totals.coverage[1],
        is_main=False,
        order=910,
    )
)
