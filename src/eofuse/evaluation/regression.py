"""Metrics of predicted numbers, a patch or a pixel, under one weighting of the patches or many at once.

`regression_metrics` and `regression_per_class` take the numbers themselves. For numbers a pixel, `pixel_sums` reduces a
batch of maps to a few sums a patch, from which `pixel_regression_metrics` and `pixel_regression_per_class` follow.

Definitions, with the error e = prediction − truth, in the unit of the outputs:

- `rmse`, `mae` and `bias` are √(mean of e²), mean of |e| and mean of e over all known numbers, all outputs alike; so the
  outputs should share a unit.
- `r2` is 1 − ΣΣe² / ΣΣ(y − ȳ)² over all outputs whose truth varies, ȳ being the weighted mean of the output's truth: outputs
  weigh by their variance (scikit-learn's `variance_weighted`), so that one that hardly varies decides nothing. NaN if none varies.
- A weight of 2 counts a patch twice and a weight of 0 leaves it out. What is undefined is NaN, never 0.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.weighting import FloatArray, divide, weightings

REGRESSION = ("rmse", "mae", "r2", "bias")
"""Metrics of tasks with numbers a patch or a pixel, the ranking one first."""

_NO_SPREAD = 1e-12  # of the mean square about the reference; a smaller variance is rounding


def regression_metrics(truth: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Any]:
    """Metrics of numbers a patch.

    Args:
        truth: (N, D).
        prediction: (N, D), in the unit of the truth.
        weights: None, (N,) or (R, N) for R weightings at once; not negative.

    Returns:
        Name → value for each name of `REGRESSION`: a float, or (R,) values for (R, N) weights.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a number is not finite or a weight is negative.
    """
    return _metrics(_row_sums(truth, prediction), weights)


def regression_per_class(truth: ArrayLike, prediction: ArrayLike) -> dict[str, FloatArray]:
    """Scores of each output.

    Args:
        truth: (N, D).
        prediction: (N, D), in the unit of the truth.

    Returns:
        `rmse`, `mae`, `r2`, `bias` and `support` (N), each (D,).

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a number is not finite.
    """
    return _per_output(_row_sums(truth, prediction))


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
        raise UsageError(
            f"truth has the shape {target.shape}, the prediction {predicted.shape}", fix="give (B, D, H, W) both"
        )
    outputs = target.shape[1]
    known = ~np.isnan(target)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is found below
        error = np.where(known, np.subtract(predicted, target, dtype=np.float64), 0.0)
    _check_finite("a prediction or a truth is not a finite number", error, "patch")
    origin = np.zeros(outputs) if reference is None else output_values("reference", reference, outputs)
    value = np.where(known, np.subtract(target, origin[:, None, None], dtype=np.float64), 0.0)
    absolute = np.abs(error)
    if margin is None:
        within = np.full(target.shape[:2], np.nan)
    else:
        limit = output_values("margin", margin, outputs)
        within = ((absolute <= limit[:, None, None]) & known).sum(axis=(2, 3)).astype(np.float64)
    sums = [field.sum(axis=(2, 3)) for field in (known, error, absolute, error**2, value, value**2)]
    return np.stack([*sums, within], axis=-1).astype(np.float64)


def pixel_regression_metrics(sums: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Any]:
    """Metrics of numbers a pixel, over all known pixels of a set of patches.

    Args:
        sums: (N, D, 7) of `pixel_sums`, all about the same reference.
        weights: None, (N,) or (R, N) for R weightings of the patches at once; not negative.

    Returns:
        Name → value for each name of `REGRESSION`: a float, or (R,) values for (R, N) weights.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a weight is negative or not a finite number.
    """
    return _metrics(checked_sums(sums)[..., :6], weights)


def pixel_regression_per_class(sums: ArrayLike) -> dict[str, FloatArray]:
    """Scores of each output, over all known pixels of a set of patches.

    Args:
        sums: (N, D, 7) of `pixel_sums`, all about the same reference.

    Returns:
        `rmse`, `mae`, `r2`, `bias` and `support` (known pixels), each (D,).

    Raises:
        UsageError: if the shape does not fit.
    """
    return _per_output(checked_sums(sums)[..., :6])


def checked_numbers(truth: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Truth and prediction as float64, both (N, D).

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a number is not finite.
    """
    target, predicted = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if target.ndim != 2 or target.shape != predicted.shape:
        raise UsageError(
            f"truth has the shape {target.shape}, the prediction {predicted.shape}", fix="give (N, D) for both"
        )
    _check_finite("a truth is not a finite number", target, "row")
    _check_finite("a prediction is not a finite number", predicted, "row")
    return target, predicted


def checked_sums(sums: ArrayLike) -> FloatArray:
    """The sums of `pixel_sums` as (N, D, 7).

    Raises:
        UsageError: if the shape does not fit.
    """
    table = np.asarray(sums, dtype=np.float64)
    if table.ndim != 3 or table.shape[-1] != 7:
        raise UsageError(f"sums have the shape {table.shape}", fix="give (N, D, 7)")
    return table


def output_values(name: str, values: ArrayLike, outputs: int) -> FloatArray:
    """One value for each output, (D,).

    Raises:
        UsageError: if there are not as many as outputs.
        DataError: if one is NaN.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (outputs,):
        raise UsageError(f"{name} has the shape {numbers.shape} for {outputs} outputs", fix="give one for each")
    if np.isnan(numbers).any():
        raise DataError(f"a {name} is NaN", where=f"output {int(np.argmax(np.isnan(numbers)))}")
    return numbers


def _row_sums(truth: ArrayLike, prediction: ArrayLike) -> FloatArray:
    """The first six sums of `pixel_sums` for one number a patch and output, about the mean of the truth: (N, D, 6)."""
    target, predicted = checked_numbers(truth, prediction)
    error = predicted - target
    value = target - target.mean(axis=0) if len(target) else target
    return np.stack([np.ones_like(error), error, np.abs(error), error**2, value, value**2], axis=-1)


def _metrics(sums: FloatArray, weights: ArrayLike | None) -> dict[str, Any]:
    """Metrics from (N, D, 6) sums."""
    rows, many = weightings(weights, len(sums))
    totals = np.tensordot(rows, sums, axes=1)  # (R, D, 6)
    spread = _spread(totals)
    errors = np.where(np.isnan(spread), 0.0, totals[..., 3]).sum(axis=-1)
    values = {**_errors(totals.sum(axis=1)), "r2": 1 - divide(errors, np.nansum(spread, axis=-1))}
    return {name: values[name] if many else float(values[name][0]) for name in REGRESSION}


def _per_output(sums: FloatArray) -> dict[str, FloatArray]:
    totals = sums.sum(axis=0)
    scores = {**_errors(totals), "r2": _r2(totals)}
    return {**{name: scores[name] for name in REGRESSION}, "support": totals[:, 0]}


def _errors(totals: FloatArray) -> dict[str, FloatArray]:
    """Errors from totals (…, 6)."""
    count = totals[..., 0]
    return {
        "rmse": np.sqrt(divide(totals[..., 3], count)),
        "mae": divide(totals[..., 2], count),
        "bias": divide(totals[..., 1], count),
    }


def _r2(totals: FloatArray) -> FloatArray:
    """Coefficient of determination from totals (…, 6); NaN where the truth does not vary."""
    return 1 - divide(totals[..., 3], np.nan_to_num(_spread(totals)))


def _spread(totals: FloatArray) -> FloatArray:
    """Squared deviations of the truth from its mean, from totals (…, 6); NaN where they are but rounding."""
    squares = totals[..., 5]
    spread = squares - divide(totals[..., 4] ** 2, totals[..., 0])
    told: FloatArray = np.where(spread > _NO_SPREAD * squares, spread, np.nan)
    return told


def _check_finite(what: str, values: NDArray[Any], unit: str) -> None:
    if not np.isfinite(values).all():
        number = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise DataError(what, where=f"{unit} {number}")
