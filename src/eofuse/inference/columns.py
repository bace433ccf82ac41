"""What the table of predictions says of each kind of target: `decide`, then `columns`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.loading import Batch
from eofuse.modalities import Kind, Modality
from eofuse.models.heads import HeadSpec

NO_CLASS = 255
"""Class number, and confidence, of pixels without a prediction."""

PATCH_KINDS = ("single_label", "multi_label", "regression", "detection")

Array = npt.NDArray[Any]


def pixels_with_data(modalities: Mapping[str, Modality], batch: Batch) -> npt.NDArray[np.bool_] | None:
    """Pixels at which any raster among the inputs has a value, (batch, height, width); None where there is no raster.

    Args:
        modalities: of the inputs, by name.
        batch: in native dtype, on the CPU.
    """
    found: npt.NDArray[np.bool_] | None = None
    for name, modality in modalities.items():
        if modality.kind is not Kind.RASTER:
            continue
        values = batch.inputs[name].numpy()
        present = np.isfinite(values) & batch.present[name].numpy()[:, None, None, None]
        if modality.nodata is not None:
            present &= values != modality.nodata
        found = present.any(axis=1) if found is None else found | present.any(axis=1)
    return found


def decide(head: HeadSpec, prediction: Tensor, with_data: npt.NDArray[np.bool_] | None) -> Array:
    """Predictions for a batch of patches, on the CPU.

    Args:
        head: what the model tells.
        prediction: of `Model.predict`.
        with_data: pixels at which the inputs have a value, (batch, height, width).

    Returns:
        Segmentation: (batch, 2, height, width) uint8, class numbers and confidence in per cent, 255 where there are no data;
        numbers a pixel: (batch, numbers, height, width) float32, NaN where there are no data; others as they are.
    """
    if head.kind in PATCH_KINDS:
        return prediction.float().cpu().numpy()
    if head.kind == "segmentation":
        confidence, numbers = prediction.max(dim=1)
        per_cent = (100 * confidence).round()
        bands = torch.stack([numbers.to(torch.uint8), per_cent.to(torch.uint8)], dim=1).cpu().numpy()
        nothing: Any = np.uint8(NO_CLASS)
    else:
        bands, nothing = prediction.float().cpu().numpy(), np.float32(np.nan)
    return bands if with_data is None else np.where(with_data[:, None], bands, nothing)


def columns(name: str, head: HeadSpec, decided: Array, threshold: float) -> dict[str, Array]:
    """Columns of the table of predictions, with a value for each patch of a batch.

    Args:
        name: of the target.
        head: what the model tells of it.
        decided: what `decide` gives.
        threshold: probability from which a class of several counts as present, and score from which a box counts.
    """
    if head.kind == "regression":
        return _regression(name, head, decided)
    if head.kind == "segmentation":
        counts = np.stack([np.bincount(numbers.ravel(), minlength=256) for numbers in decided[:, 0].astype(np.int64)])
        counts = counts[:, : len(head.classes)].astype(np.float64)
        pixels = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, pixels, out=np.full_like(counts, np.nan), where=pixels > 0)
        return {f"{name}.share.{label}": shares[:, number] for number, label in enumerate(head.classes)}
    if head.kind == "pixel_regression":
        known = np.isfinite(decided)
        pixels = known.sum(axis=(2, 3))
        sums = np.where(known, decided, 0).sum(axis=(2, 3), dtype=np.float64)
        means = np.divide(sums, pixels, out=np.full_like(sums, np.nan), where=pixels > 0)
        return {f"{label}.mean": means[:, number] for number, label in enumerate(_number_names(name, head))}
    if head.kind == "detection":
        return {f"{name}.boxes": boxes_that_count(decided, threshold).sum(axis=1)}
    return _classes(name, head, decided, threshold)


def boxes_that_count(boxes: Array, threshold: float) -> npt.NDArray[np.bool_]:
    """Which rows (…, 100, 6) of boxes are boxes of at least this score, (…, 100)."""
    return np.asarray((boxes[..., 5] >= 0) & (boxes[..., 4] >= threshold))


def _number_names(name: str, head: HeadSpec) -> list[str]:
    return [name] if len(head.classes) == 1 else [f"{name}.{number}" for number in head.classes]


def _regression(name: str, head: HeadSpec, numbers: Array) -> dict[str, Array]:
    told: dict[str, Array] = {}
    for position, label in enumerate(_number_names(name, head)):
        values = numbers[:, position].astype(np.float64)
        told[label] = values
        if head.margin:
            low, high = values - head.margin[position], values + head.margin[position]
            told[f"{label}.low"] = low.clip(0, 1) if head.composition else low
            told[f"{label}.high"] = high.clip(0, 1) if head.composition else high
    return told


def _classes(name: str, head: HeadSpec, probabilities: Array, threshold: float) -> dict[str, Array]:
    classes = np.array(head.classes, dtype=object)
    decided = np.full(len(probabilities), None, dtype=object)
    if head.kind == "single_label":
        decided[:] = classes[probabilities.argmax(axis=1)]
    else:
        for position, values in enumerate(probabilities):
            decided[position] = classes[values >= threshold].tolist()
    told: dict[str, Array] = {name: decided, f"{name}.confidence": probabilities.max(axis=1)}
    return told | {f"{name}.p.{label}": probabilities[:, number] for number, label in enumerate(head.classes)}
