"""Predictions for patches that lie in memory: `predict_arrays`, `predict_table`.

Patches come as a mapping from modality names to arrays with a leading axis of patches, as `PatchDataset` batches them: values as the
sensor or the store has them, never scaled, channels in the model's order. An image series is (patches, dates, channels, height,
width), with the times of the dates (patches, dates) under `<modality>.times`, NaN where a patch has fewer. Optional are `present` (by
modality, which patches have it, (patches,) bool) and `patch_id`; `scene`, `lon`, `lat`, `row` and `target` may stand beside them, and
for a model that takes it, the `month` (1 to 12, 0 where it is not known).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eofuse.data.loading import Batch, Rows, in_order
from eofuse.data.store import SAMPLE_KEYS, Window
from eofuse.data.store.gaps import empty_channels, may_have_empty_bands
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.inference.ensemble import AnyPath, Ensemble, load_ensemble
from eofuse.inference.predict import (
    Columns,
    batch_size_of,
    may_lack_inputs,
    of_all_patches,
    predict_batches,
    torch_device,
)
from eofuse.modalities import MONTH, PLACE, Kind, Modality
from eofuse.models.model import ModelSpec
from eofuse.tasks.base import Array

SHOWN = 5
"""Names of classes in a `repr`."""


@dataclass(frozen=True, repr=False)
class Prediction:
    """What is predicted of one target.

    Attributes:
        kind: kind of the target, as `single_label` or `segmentation`.
        classes: names of the classes, or of the numbers, in the order of the values.
        unit: of numbers.
        values: float32, a row a patch, NaN for a patch that lacks an input: probabilities (patches, classes) or (patches, classes,
            height, width); numbers (patches, numbers) or (patches, numbers, height, width); boxes (patches, 100, 6) as x0, y0, x1, y1
            in pixels, score and class number, filled up with rows of class −1.
    """

    kind: str
    classes: tuple[str, ...]
    unit: str
    values: npt.NDArray[np.float32]

    def __repr__(self) -> str:
        shape, more = " × ".join(map(str, self.values.shape)), ", …" if len(self.classes) > SHOWN else ""
        return f"Prediction({self.kind}, {shape}: {', '.join(self.classes[:SHOWN])}{more})"


def predict_arrays(
    models: AnyPath | Sequence[AnyPath], arrays: Mapping[str, Any], *, device: str = "auto"
) -> dict[str, Prediction]:
    """Predictions by target, as arrays.

    Args:
        models: a saved model, or several that predict together.
        arrays: patches (see the module).
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UsageError: if an input is missing, unknown, of another shape, or scaled.
        DataError: if no patch has the inputs.
    """
    model = load_ensemble(models, torch_device(device))
    patches = _Patches(model, arrays)
    gathered: dict[str, list[Array]] = {name: [] for name in model.spec.heads}
    for _, predictions in patches.predicted(torch_device(device)):
        for name, prediction in predictions.items():
            gathered[name].append(prediction.float().cpu().numpy())
    found = {}
    for name, head in model.spec.heads.items():
        values = of_all_patches(np.concatenate(gathered[name]).astype(np.float32), patches.rows, patches.count)
        found[name] = Prediction(head.kind.name, head.classes, head.unit, np.asarray(values))
    return found


def predict_table(
    models: AnyPath | Sequence[AnyPath], arrays: Mapping[str, Any], *, threshold: float = 0.5, device: str = "auto"
) -> pd.DataFrame:
    """Predictions as a table with the columns of `predict_store`, of places only those that the arrays name.

    Args:
        models: as for `predict_arrays`.
        arrays: patches (see the module).
        threshold: as for `predict_store`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UsageError, DataError: as `predict_arrays`.
    """
    model = load_ensemble(models, torch_device(device))
    patches = _Patches(model, arrays)
    columns = Columns(model, threshold)
    for batch, predictions in patches.predicted(torch_device(device)):
        columns.add(batch, predictions)
    places = {name: list(arrays[name]) for name in ("patch_id", "scene", "lon", "lat") if name in arrays}
    table: dict[str, Any] = {**places, "predicted": patches.usable}
    for _, column, values in columns:
        name = f"{column}.predicted" if column in table else column
        table[name] = of_all_patches(values, patches.rows, patches.count)
    return pd.DataFrame(table)


class _Patches:
    """Patches in memory as a model takes them."""

    def __init__(self, model: Ensemble, arrays: Mapping[str, Any]) -> None:
        self.model = model
        self.modalities = {modality.name: modality for modality in model.spec.modalities}
        keys = [key for modality in self.modalities.values() for key in modality.keys]
        known = (*keys, *SAMPLE_KEYS, *(["month"] if MONTH in model.spec.context else []))
        unknown = [name for name in arrays if name not in known]
        if unknown:
            fix = did_you_mean(unknown[0], self.modalities)
            raise UsageError(f"the model has no input '{unknown[0]}'", where="arrays", fix=fix)
        given = [name for name in self.modalities if name in arrays]
        lacking = [name for name in self.modalities if name not in given]
        if not given or (lacking and not may_lack_inputs(model)):
            names = ", ".join(lacking)
            raise UsageError(f"the model needs the input '{names}'", where="arrays", fix="add it, by its name")
        values = {name: _native(self.modalities[name], arrays[name], model.spec) for name in given}
        self.count = len(values[given[0]])
        for name in given:
            if len(values[name]) != self.count:
                found = f"has {len(values[name])} patches where {given[0]} has {self.count}"
                raise UsageError(found, where=f"arrays, {name}", fix="give every input of the same patches")
        for modality in self.modalities.values():
            if modality.kind is Kind.IMAGE_SERIES and modality.name in given:
                values[modality.times_key] = _times(modality, arrays, values[modality.name].shape[:2])
        self.present = self._presence(values, arrays.get("present") or {})
        for name in lacking:
            shape = self.modalities[name].shape(model.spec.patch_size)
            if self.modalities[name].kind is Kind.IMAGE_SERIES:
                shape = (1, *shape[1:])
                values[self.modalities[name].times_key] = np.full((self.count, 1), np.nan, dtype=np.float32)
            values[name] = np.broadcast_to(np.zeros(1, self.modalities[name].dtype), (self.count, *shape))
        self.values = values
        self.context = self._context(arrays)
        join = np.logical_or if may_lack_inputs(model) else np.logical_and
        self.usable = np.asarray(join.reduce(list(self.present.values())))
        self.rows = np.flatnonzero(self.usable)
        if not len(self.rows):
            raise DataError("no patch has the model's inputs", where="arrays", fix="look at `present`")

    def _presence(self, values: Mapping[str, Array], given: Mapping[str, Any]) -> dict[str, npt.NDArray[np.bool_]]:
        found = {}
        for name, modality in self.modalities.items():
            there = np.full(self.count, name in values)
            if name in values and name in given:
                there &= np.asarray(given[name], dtype=bool)
            if name in values and self.model.spec.empty_bands == "absent" and may_have_empty_bands(modality):
                there &= ~_empty(modality, values).any(axis=1)
            found[name] = there
        return found

    def _context(self, arrays: Mapping[str, Any]) -> dict[str, Array]:
        """When and where, as far as the model takes it and the arrays say it."""
        found: dict[str, Array] = {}
        if MONTH in self.model.spec.context and "month" in arrays:
            found[MONTH] = np.asarray(arrays["month"], dtype=np.int64) - 1
            if found[MONTH].shape != (self.count,) or not ((found[MONTH] >= -1) & (found[MONTH] < 12)).all():
                raise UsageError("must be a number from 1 to 12 for each patch", where="arrays, month")
        if PLACE in self.model.spec.context and "lon" in arrays and "lat" in arrays:
            found[PLACE] = np.stack([np.asarray(arrays[name], dtype=np.float32) for name in ("lon", "lat")], axis=1)
        return found

    def predicted(self, device: str) -> Iterator[tuple[Batch, dict[str, torch.Tensor]]]:
        """Batches of the usable patches on the CPU, with what is predicted of them."""
        chosen = in_order(self.rows, batch_size_of(self.model.spec.heads, device))
        return predict_batches(self.model, map(self._batch, chosen), torch.device(device))

    def _batch(self, rows: Rows) -> Batch:
        inputs, present = (
            {name: torch.from_numpy(each[rows]) for name, each in values.items()}
            for values in (self.values, self.present)
        )
        inputs |= {name: torch.from_numpy(values[rows]) for name, values in self.context.items()}
        return Batch(rows, inputs, present, {}, {})


def _times(modality: Modality, arrays: Mapping[str, Any], expected: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The times of an image series, (patches, dates)."""
    where = f"arrays, {modality.times_key}"
    if modality.times_key not in arrays:
        fix = "add the time of each date: days since 1970-01-01" if modality.dated else "add the number of each date"
        raise UsageError(f"the model needs the times of '{modality.name}'", where=where, fix=fix)
    times = np.asarray(arrays[modality.times_key])
    if times.dtype.kind == "M":
        times = (times - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    if times.shape != expected or times.dtype.kind not in "fiu":
        what = f"has the shape {times.shape} of {times.dtype} where numbers of {expected} are expected"
        raise UsageError(what, where=where, fix="give each date its time, NaN where a patch has fewer dates")
    return times.astype(np.float32)


def _empty(modality: Modality, values: Mapping[str, Array]) -> npt.NDArray[np.bool_]:
    """Which channels hold no value, (patches, channels), of an image series in the dates that exist."""
    if modality.kind is not Kind.IMAGE_SERIES:
        return empty_channels(modality, values[modality.name])
    patches = zip(values[modality.name], np.isfinite(values[modality.times_key]), strict=True)
    return np.concatenate([empty_channels(modality, dates[exists][None]) for dates, exists in patches])


def _native(modality: Modality, given: Any, spec: ModelSpec) -> Array:
    """An input in the model's dtype, of a raster the pixels in the middle that the model sees."""
    where = f"arrays, {modality.name}"
    values = np.asarray(given)
    wanted = np.dtype(modality.dtype)
    if values.dtype != wanted:
        if wanted.kind in "iu" and values.dtype.kind == "f":
            found = f"has {values.dtype} values where the model takes {wanted} as the sensor gave them"
            fix = "give values that are not scaled"
            if modality.scale != 1 or modality.offset:
                fix += f"; physical values are those × {modality.scale:g} + {modality.offset:g}"
            raise UsageError(found, where=where, fix=fix)
        if values.dtype.kind not in "iuf":
            raise UsageError(f"holds {values.dtype}, no numbers", where=where, fix=f"give {wanted}")
        if wanted.kind in "iu" and values.size:
            limits = np.iinfo(wanted)
            if values.min() < limits.min or values.max() > limits.max:
                found = f"goes from {values.min()} to {values.max()}, which {wanted} can't hold"
                raise UsageError(found, where=where, fix="give values as the sensor gave them")
        values = values.astype(wanted)
    axes = {Kind.RASTER: 4, Kind.IMAGE_SERIES: 5}.get(modality.kind)
    if axes == values.ndim and values.shape[-2:] != modality.cells(spec.patch_size):
        size = min(modality.cells(spec.patch_size))
        if modality.cell > 1:
            what = f"has {values.shape[-2]} × {values.shape[-1]} cells where the model sees {size} × {size}"
            raise UsageError(what, where=where, fix=f"give a cell for each {modality.cell} × {modality.cell} pixels")
        try:
            window = Window.centred(size, (values.shape[-2], values.shape[-1]))
        except UsageError:
            height, width = values.shape[-2:]
            found = f"has {height} × {width} pixels where the model sees {size} × {size}"
            raise UsageError(found, where=where, fix="give patches of that size or larger") from None
        values = values[..., window.top : window.top + size, window.left : window.left + size]
    return values
