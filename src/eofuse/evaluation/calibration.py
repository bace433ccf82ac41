"""Probabilities that can be taken at their word: temperature and reliability.

**Temperature** (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", ICML): `scale` divides
the logits behind probabilities by a temperature T, `unscale` undoes it, `fit_temperature` finds the T of a validation
set, and `choose_temperature` whether it helps in scenes to which it was not fitted. T above 1 makes confident predictions
modest; no T > 0 changes which class is the most probable.

**Reliability**: `label_reliability` and `pixel_reliability` reduce predictions to bins of confidence a patch, raw and
calibrated; the expected calibration error (ECE) of any weighting of the patches follows. The ECE
(Naeini, Cooper and Hauskrecht 2015, AAAI) is the mean over predictions of |confidence − share that is right| of the bin
of equal width in which they fall: [0, 1/15), …, [14/15, 1]. A prediction is the most probable class of a patch or pixel
with its probability; in multi-label tasks each class of each patch is one, its probability being the confidence and the
presence of the class being right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.weighting import FloatArray, divide
from eofuse.kinds import BINS, IGNORE, KINDS, SEGMENTATION, SINGLE_LABEL, TaskKind

_MOST_JUDGED = 50_000  # predictions, evenly spaced, by which a temperature is judged
_PARTS = 5  # of the validation scenes, between which temperatures are tried
_LOG_TEMPERATURES = (-3.0, 3.0)
_GAIN = 1e-9  # of the loss; less is rounding
_LEAST = float(np.finfo(np.float32).tiny)  # a probability of 0 in float32 need not have been 0
_ROUNDING = 1e-5  # by which a probability may exceed 1
_SATURATION = 2.0**-24  # 1 − p is at least half of float32's spacing below 1


def scale(probabilities: ArrayLike, temperature: float, kind: TaskKind, axis: int = 1) -> NDArray[Any]:
    """Probabilities after division of their logits by a temperature.

    Args:
        probabilities: of any shape; for single-label tasks and segmentation they sum to 1 along the class axis.
        temperature: above 0; 1 changes nothing but the rounding.
        kind: of task; where classes exclude each other p^(1/T) / Σ p^(1/T), else sigmoid(logit(p)/T).
        axis: the class axis, if the kind has one.

    Returns:
        Probabilities of the same shape and floating type; 0 and 1 stay what they are.

    Raises:
        UsageError: if the kind has no probabilities or the temperature is not above 0.
    """
    _check_kind(kind)
    _check_temperature(temperature)
    values = np.asarray(probabilities)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if kind.has_several:
        independent: NDArray[Any] = expit(logit(values) / values.dtype.type(temperature))
        return independent
    with np.errstate(divide="ignore"):
        logits = np.log(values)
    logits -= logits.max(axis=axis, keepdims=True)
    logits /= temperature
    powers: NDArray[Any] = np.exp(logits, out=logits)
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


def unscale(probabilities: ArrayLike, temperature: float, kind: TaskKind) -> NDArray[Any]:
    """The probabilities from which `scale` made these with the same arguments, as far as their floating type kept them.

    A temperature below 1 drives probabilities towards 0 and 1, where float32 may round them; what was rounded to 0 or 1
    comes back as 0 or 1.
    """
    _check_temperature(temperature)
    return scale(probabilities, 1 / temperature, kind)


def fit_temperature(probabilities: ArrayLike, truth: ArrayLike, kind: TaskKind) -> float:
    """The temperature with the least negative log likelihood of a validation set.

    Every patch, pixel or (multi-label) class of a patch counts alike. It is held between e⁻³ and e³, which it reaches if
    all predictions are right; if none is better than 1, it is 1. Works on a float64 copy: of many maps, give a sample of
    pixels.

    Args:
        probabilities: (N, K), raw; for segmentation (B, K, H, W), or (n, K) of a sample of pixels.
        truth: (N,) class numbers, or (N, K) of 0 and 1; for segmentation (B, H, W) or (n,), 255 where unknown.
        kind: of task.

    Raises:
        UsageError: if the kind has no probabilities or the shapes do not fit.
        DataError: if nothing is known, a class number is out of range, a label is not 0 or 1 or a probability is not
            within 0 and 1.
    """
    loss = _loss(probabilities, truth, kind)
    # the loss is convex in 1/T, so the bounded search finds the one minimum
    found = minimize_scalar(lambda log: loss(np.exp(-log)), bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x)) if found.fun < (1 - _GAIN) * loss(1.0) else 1.0


@dataclass(frozen=True)
class TemperatureChoice:
    """Whether a temperature is used, and why.

    Attributes:
        temperature: the one to be used: `fitted` if it helps, else 1.
        fitted: that with the least negative log likelihood on all validation patches.
        raw_loss: negative log likelihood without a temperature, of validation patches.
        held_out_loss: the same with a temperature that was fitted to other scenes; NaN with a single scene.
    """

    temperature: float
    fitted: float
    raw_loss: float
    held_out_loss: float


def choose_temperature(
    probabilities: ArrayLike, truth: ArrayLike, scenes: ArrayLike, kind: TaskKind
) -> TemperatureChoice:
    """The temperature of a validation set, if one helps on patches to which it was not fitted; else 1.

    The scenes are dealt to at most five parts of about equal size. The predictions of each part are judged with the temperature of the
    others; a temperature helps if the negative log likelihood of all is less than without.

    Args:
        probabilities: (n, K), raw, of patches or pixels.
        truth: (n,) class numbers, or (n, K) of 0 and 1.
        scenes: (n,) scene of each.
        kind: of task.

    Raises:
        UsageError, DataError: as `fit_temperature`.
    """
    scores, labels, of = np.asarray(probabilities), np.asarray(truth), np.asarray(scenes)
    fitted = fit_temperature(scores, labels, kind)
    some = slice(None, None, -(-len(scores) // _MOST_JUDGED))
    scores, labels, part = scores[some], labels[some], _parts(of[some])
    raw = _loss(scores, labels, kind)(1.0)
    if part.max() == 0:
        return TemperatureChoice(1.0, fitted, raw, float("nan"))
    held_out = 0.0
    for number in range(part.max() + 1):
        out = part == number
        inverse = 1 / fit_temperature(scores[~out], labels[~out], kind)
        held_out += out.mean() * _loss(scores[out], labels[out], kind)(inverse)
    return TemperatureChoice(fitted if held_out < (1 - _GAIN) * raw else 1.0, fitted, raw, float(held_out))


def _parts(scenes: ArrayLike) -> NDArray[np.intp]:
    """Part of each row, (n,): whole scenes, the largest first, each dealt to the smallest part."""
    _, codes, sizes = np.unique(np.asarray(scenes), return_inverse=True, return_counts=True)
    filled = np.zeros(min(_PARTS, len(sizes)), dtype=np.int64)
    part_of = np.zeros(len(sizes), dtype=np.intp)
    for scene in np.argsort(-sizes, kind="stable").tolist():
        part_of[scene] = int(filled.argmin())
        filled[part_of[scene]] += sizes[scene]
    return part_of[codes]


def _loss(probabilities: ArrayLike, truth: ArrayLike, kind: TaskKind) -> Callable[[float], float]:
    """Mean negative log likelihood as a function of 1/T."""
    scores, labels = _checked(probabilities, truth, kind)
    if kind.is_map:
        known = labels != IGNORE
        scores, labels = np.moveaxis(scores, 1, -1)[known], labels[known]
    scores = scores.astype(np.float64)
    if not len(scores):
        raise DataError("a temperature cannot be fitted: no truth is known", fix="give labelled validation patches")
    if kind.has_several:
        logits = logit(np.clip(scores, _SATURATION, 1 - _SATURATION))
        signed = np.where(labels == 1, logits, -logits)
        return lambda inverse: float(np.logaddexp(0.0, -signed * inverse).mean())
    logits = np.log(np.maximum(scores, _LEAST))
    of_truth = np.take_along_axis(logits, labels[:, None].astype(np.int64), axis=1)[:, 0]
    return lambda inverse: float((_log_sum_exp(logits * inverse) - of_truth * inverse).mean())


def _log_sum_exp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """As scipy's `logsumexp` over the last axis of (n, K) finite logits, to the bit; its checks take five times as long as the sum."""
    greatest = logits.max(axis=1, keepdims=True)
    is_greatest = logits == greatest
    count = is_greatest.sum(axis=1, dtype=np.float64)
    rest = np.exp(np.where(is_greatest, -np.inf, logits - greatest)).sum(axis=1)
    summed: NDArray[np.float64] = np.log1p(rest / count) + np.log(count) + greatest[:, 0]
    return summed


def label_reliability(
    probabilities: ArrayLike, truth: ArrayLike, temperature: float = 1.0, kind: TaskKind = SINGLE_LABEL
) -> FloatArray:
    """Predictions of each patch by confidence.

    Args:
        probabilities: (N, K), calibrated: the temperature has been applied.
        truth: (N,) class numbers, or (N, K) of 0 and 1 where classes do not exclude each other.
        temperature: with which they were calibrated; the raw ones are got back from it.
        kind: of task, with classes of patches.

    Returns:
        (N, 2, 15, 3): raw and calibrated × bins × predictions, sum of their confidence, right ones. A patch has one
        prediction, or K of them in multi-label tasks.

    Raises:
        UsageError: if the kind is another one, the shapes do not fit or the temperature is not above 0.
        DataError: as `fit_temperature`.
    """
    if kind.is_map:
        raise UsageError("maps have another reliability", where="kind", fix="use pixel_reliability")
    scores, labels = _checked(probabilities, truth, kind)
    raw_scores = scores if temperature == 1 else unscale(scores, temperature, kind)
    rows = np.arange(len(scores), dtype=np.int64)
    tables = []
    for values in (raw_scores, scores):
        if kind.has_several:
            patch = np.repeat(rows, scores.shape[1])
            tables.append(_binned(patch, values.ravel(), labels.ravel() == 1, len(rows)))
        else:
            tables.append(_binned(rows, values.max(axis=1), scores.argmax(axis=1) == labels, len(rows)))
    return np.stack(tables, axis=1)


def pixel_reliability(probabilities: ArrayLike, truth: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Pixels of each patch by confidence of their most probable class.

    Args:
        probabilities: (B, K, H, W), calibrated: the temperature has been applied.
        truth: (B, H, W) class numbers, 255 where unknown.
        temperature: with which they were calibrated; the raw ones are got back from it.

    Returns:
        (B, 2, 15, 3): raw and calibrated × bins × pixels, sum of their confidence, right ones; known pixels only.

    Raises:
        UsageError: if the shapes do not fit or the temperature is not above 0.
        DataError: as `fit_temperature`.
    """
    _check_temperature(temperature)
    scores, labels = _checked(probabilities, truth, SEGMENTATION)
    best = scores[:, 0].copy()
    number = np.zeros(labels.shape, dtype=np.int16)
    for other in range(1, scores.shape[1]):  # class by class: argmax along an inner axis is far slower
        number[scores[:, other] > best] = other
        np.maximum(best, scores[:, other], out=best)
    confidences = [best, best]
    if temperature != 1:
        # the most probable class is the same, and p_best^T / Σ p^T = 1 / Σ (p / p_best)^T
        total = np.zeros_like(best)
        with np.errstate(divide="ignore"):
            for scored in np.moveaxis(scores, 1, 0):
                ratio = np.log(scored / best)
                ratio *= temperature
                total += np.exp(ratio, out=ratio)
        confidences[0] = 1 / total
    known = labels != IGNORE
    patch, right = np.nonzero(known)[0], (number == labels)[known]
    return np.stack([_binned(patch, values[known], right, len(labels)) for values in confidences], axis=1)


def expected_calibration_error(bins: ArrayLike) -> FloatArray:
    """Expected calibration error of binned predictions.

    Args:
        bins: (…, 15, 3): predictions, sum of their confidence, right ones.

    Returns:
        (…): Σ over bins of |Σ confidence − right ones| / predictions; NaN without predictions.
    """
    table = np.asarray(bins, dtype=np.float64)
    gaps = np.abs(table[..., 1] - table[..., 2]).sum(axis=-1)
    return divide(gaps, table[..., 0].sum(axis=-1))


def _binned(group: NDArray[np.int64], confidence: NDArray[Any], correct: NDArray[Any], groups: int) -> FloatArray:
    """Predictions (n,) of groups as (groups, 15, 3)."""
    cell = group * BINS + np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sums = [np.bincount(cell, weights, minlength=groups * BINS) for weights in (None, confidence, correct)]
    return np.stack(sums, axis=-1).reshape(groups, BINS, 3).astype(np.float64)


def _checked(probabilities: ArrayLike, truth: ArrayLike, kind: TaskKind) -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities and truth of a kind, checked; the truth of maps may be 255."""
    _check_kind(kind)
    scores, labels = np.asarray(probabilities), np.asarray(truth)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    fits = scores.ndim >= 2 if kind.is_map else scores.ndim == 2
    expected = scores.shape if kind.has_several else (*scores.shape[:1], *scores.shape[2:])
    if not fits or scores.shape[1] == 0 or labels.shape != expected:
        of_one = "(B, K, H, W) and (B, H, W)" if kind.is_map else "(N, K) and (N,)"
        fix = f"give {'(N, K) both' if kind.has_several else of_one}"
        raise UsageError(f"probabilities have the shape {scores.shape}, truth {labels.shape}", fix=fix)
    if scores.size and not (scores.min() >= 0 and scores.max() <= 1 + _ROUNDING):  # false for NaN, too
        raise DataError("a probability is not within 0 and 1", where="probabilities")
    if kind.has_several:
        if ((labels != 0) & (labels != 1)).any():
            raise DataError("labels must be 0 or 1", where="truth")
    elif labels.size:
        if not np.issubdtype(labels.dtype, np.integer):
            raise UsageError(f"truth must be class numbers, not {labels.dtype}", where="truth")
        wrong = (labels < 0) | (labels >= scores.shape[1])
        if kind.is_map:
            wrong &= labels != IGNORE
        if wrong.any():
            raise DataError(f"class {labels[wrong][0]} does not exist (0 to {scores.shape[1] - 1})", where="truth")
    return scores, labels


def _check_kind(kind: TaskKind) -> None:
    if not kind.has_probabilities:
        valid = ", ".join(name for name, each in KINDS.items() if each.has_probabilities)
        raise UsageError(f"'{kind.name}' has no probabilities of classes", where="kind", fix=f"valid: {valid}")


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < np.inf:
        raise UsageError(f"a temperature of {temperature} is not possible", fix="give a number above 0")
