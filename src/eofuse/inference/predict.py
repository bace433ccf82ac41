"""Predicts every patch of a store with one trained model or several, whether it has labels or not."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from eofuse import __version__
from eofuse.data.loading import Batch, Loader, Rows, in_order
from eofuse.data.store import Store
from eofuse.data.store.gaps import presence
from eofuse.devices import find_device
from eofuse.errors import DataError, UsageError
from eofuse.files import replacing, sha256, write_text
from eofuse.inference.ensemble import AnyPath, Ensemble, load_ensemble
from eofuse.inference.maps import MapFolder
from eofuse.modalities import Kind, Modality
from eofuse.models.artifact import WEIGHTS, load_model
from eofuse.models.heads import HeadSpec
from eofuse.models.model import Model
from eofuse.progress import Progress
from eofuse.tasks import TASKS
from eofuse.tasks.base import Array

Predictor = Model | Ensemble

BATCH_SIZE = 64
BATCH_SIZE_WITH_PIXELS = 16
LARGER = 4
"""How many times as many patches are predicted at once on a device other than the CPU, which is idle between small batches."""


def predict_store(
    models: AnyPath | Sequence[AnyPath],
    store: Store,
    *,
    maps: AnyPath | None = None,
    threshold: float = 0.5,
    device: str = "auto",
    source: str = "",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Predictions for every patch of a store.

    Args:
        models: a saved model (the folder `model` of a run), or several that predict together (see `eofuse.inference.ensemble`).
        store: a store with the model's modalities, or one of them for a model with `missing: token`; channels are matched by name.
        maps: folder for predictions of pixels: GeoTIFFs, and boxes as GeoJSON (see `eofuse.inference.maps`).
        threshold: probability from which a class of a multi-label target counts as present; score from which a box counts.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        source: what predicts, in words, for the table and the maps; the folders of the models by default.
        progress: called with (patches done, patches in all).

    Returns:
        A row a patch, in the store's order: `patch_id`, `scene`, `lon`, `lat`, `predicted` (false for a patch that lacks
        an input modality, or with `missing: token` every one: its other values are missing), and for each target as below. Its
        `attrs` say which models predicted which store.

        - one or several classes: `<target>` (the class, or the list of classes), `<target>.confidence` (the largest
          probability) and `<target>.p.<class>`;
        - numbers: `<target>.<number>`, or `<target>` if it is only one, in its unit; with `.low` and `.high`, the ends of the
          90 % predictive interval, where the model knows it;
        - a class a pixel: `<target>.share.<class>`, shares of the pixels; numbers a pixel: `<target>.<number>.mean`, or
          `<target>.mean`, over the pixels. Pixels at which no raster among the inputs has a value don't count;
        - boxes: `<target>.boxes`, how many.

    Raises:
        UsageError: if `maps` is given and the model predicts no pixels.
        DataError: if the store lacks a modality or channel, or no patch has the inputs.
    """
    device = torch_device(device)
    folders = [Path(models)] if isinstance(models, str | os.PathLike) else [Path(folder) for folder in models]
    source = source or ", ".join(map(str, folders))
    model = load_ensemble(folders, device)
    loader = loader_for(model, store)
    heads = model.spec.heads
    writer = None if maps is None else MapFolder(Path(maps), store, heads, loader.window, threshold, source)
    usable = usable_patches(model, loader)
    if not usable.any():
        number, names = "any" if may_lack_inputs(model) else "all", ", ".join(loader.modalities)
        raise DataError(f"no patch has {number} of the model's inputs ({names})", where=store.path)
    rows = np.flatnonzero(usable)
    columns, done = Columns(model, threshold), 0
    batches = loader.batches(in_order(rows, batch_size_of(heads, device)))
    with writer or nullcontext():
        for batch, predictions in predict_batches(model, batches, torch.device(device)):
            for name, decided in columns.add(batch, predictions).items():
                if writer:
                    writer.add(name, batch.rows, decided)
            done += len(batch)
            if progress:
                progress(done, len(rows))
    index = store.index[["patch_id", "scene", "lon", "lat"]]
    filled: dict[str, Any] = {"predicted": usable}
    for _, column, values in columns:
        taken = column in filled or column in index
        filled[f"{column}.predicted" if taken else column] = of_all_patches(values, rows, len(store))
    table = pd.concat([index, pd.DataFrame(filled, index=index.index)], axis=1)
    table.attrs = {
        "eofuse": __version__,
        "predicted_by": source,
        "models": [str(folder) for folder in folders],
        "weights_sha256": [sha256(folder / WEIGHTS) for folder in folders],
        "store": str(store.path),
        "store_fingerprint": store.fingerprint,
    }
    return table


def pixels_with_data(modalities: Mapping[str, Modality], batch: Batch) -> npt.NDArray[np.bool_] | None:
    """Pixels at which any raster among the inputs has a value, (batch, height, width); None where there is no raster.

    Of an image series, one of the dates must show the pixel.
    """
    found: npt.NDArray[np.bool_] | None = None
    for name, modality in modalities.items():
        if not modality.has_pixels:
            continue
        values = batch.inputs[name].numpy()
        present = np.isfinite(values) & batch.present[name].numpy().reshape(-1, *(1,) * (values.ndim - 1))
        if modality.nodata is not None:
            present &= values != modality.nodata
        if modality.kind is Kind.IMAGE_SERIES:
            exists = np.isfinite(batch.inputs[modality.times_key].numpy())
            present = (present & exists[:, :, None, None, None]).any(axis=1)
        shown = present.any(axis=1).repeat(modality.cell, axis=1).repeat(modality.cell, axis=2)
        found = shown if found is None else found | shown
    return found


def predict_batches(
    model: Predictor, batches: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
    """Batches as they come, on the CPU, with what is predicted of them on a device."""
    for batch in batches:
        moved = batch.to(device)
        yield batch, model.predict(moved.inputs, moved.present)


class Columns:
    """Gathers the columns of a table of predictions, batch by batch (see `eofuse.tasks.Task`)."""

    def __init__(self, model: Predictor, threshold: float) -> None:
        self.heads, self.threshold = model.spec.heads, threshold
        self.modalities = {modality.name: modality for modality in model.spec.modalities}
        self._parts: dict[tuple[str, str], list[Array]] = {}

    def add(self, batch: Batch, predictions: Mapping[str, Tensor]) -> dict[str, Array]:
        """Takes the predictions of a batch; gives what is kept of them, by target."""
        with_data = pixels_with_data(self.modalities, batch)
        kept = {}
        for name, prediction in predictions.items():
            task = TASKS[self.heads[name].kind.name]
            kept[name] = task.decide(prediction, with_data)
            columns = task.prediction_columns(name, self.heads[name], kept[name], self.threshold)
            for column, values in columns.items():
                self._parts.setdefault((name, column), []).append(values)
        return kept

    def __iter__(self) -> Iterator[tuple[str, str, Array]]:
        """Target, name and values of each column."""
        for (name, column), parts in self._parts.items():
            yield name, column, np.concatenate(parts)


def torch_device(name: str) -> str:
    """A device by name, where `auto` is a GPU if there is one.

    Raises:
        UsageError: if there is no such device.
    """
    return str(find_device(name))


def batch_size_of(heads: Mapping[str, HeadSpec], device: str = "cpu") -> int:
    """Patches that are predicted at once."""
    size = BATCH_SIZE_WITH_PIXELS if any(head.kind.needs_maps for head in heads.values()) else BATCH_SIZE
    return size if device == "cpu" else LARGER * size


def of_all_patches(values: Array, rows: Rows, count: int) -> Array | pd.api.extensions.ExtensionArray:
    """Values of some patches as a column for all, missing for the others."""
    if values.dtype.kind == "i":
        column = pd.array([pd.NA] * count, dtype="Int64")
        column[rows] = values
        return column
    shape = (count, *values.shape[1:])
    spread = np.full(shape, None if values.dtype == object else np.nan, dtype=values.dtype)
    spread[rows] = values
    return spread


def columns_of(model: Model, loader: Loader, rows: Rows, threshold: float = 0.5) -> dict[str, Array]:
    """What a model predicts of some patches, by column as `predict_store` names it, without the probabilities of all classes.

    Args:
        model: a trained one, on its device.
        loader: reads its inputs (see `loader_for`).
        rows: the patches, which have the inputs (see `usable_patches`).
        threshold: as that of `predict_store`.
    """
    columns = Columns(model, threshold)
    batches = loader.batches(in_order(rows, BATCH_SIZE_WITH_PIXELS))
    for batch, predictions in predict_batches(model, batches, next(model.parameters()).device):
        columns.add(batch, predictions)
    return {column: values for name, column, values in columns if not column.startswith(f"{name}.p.")}


def loader_for(model: Predictor, store: Store) -> Loader:
    """Reads the model's channels of a store, by name, in the window for which the model was trained.

    A model that may lack inputs gets them as absent where the store has no such modality, as long as it has one of them.

    Raises:
        DataError: if the store does not fit the model.
    """
    modalities = {modality.name: modality for modality in model.spec.modalities}
    inputs = {name: None if each.is_categorical else list(each.channel_names) for name, each in modalities.items()}
    for modality in modalities.values():
        _check_same_values(modality, store)
    height, width = model.spec.patch_size
    crop = None if (height, width) == store.patch_size else min(height, width)
    absent = {name: modality for name, modality in modalities.items() if name not in store.modalities}
    if not may_lack_inputs(model) or len(absent) == len(modalities):
        absent = {}
    there = {name: channels for name, channels in inputs.items() if name not in absent}
    try:
        present = presence(store, there, model.spec.empty_bands)
        return Loader(store, inputs, crop=crop, present=present, absent=absent, context=model.spec.context)
    except UsageError as error:
        fix = "pack the modalities it needs"
        raise DataError(f"does not fit the model: {error}", where=store.path, fix=fix) from None


def lacked_inputs(model_folder: str | os.PathLike[str], store: Store) -> dict[str, int]:
    """By input of a model, how many of the patches that it can predict lack it; inputs that none lacks are not named."""
    model = load_model(model_folder)
    loader = loader_for(model, store)
    usable = usable_patches(model, loader)
    lacking = {name: int((usable & ~loader.present(name)).sum()) for name in loader.modalities}
    return {name: count for name, count in lacking.items() if count}


def may_lack_inputs(model: Predictor) -> bool:
    """Whether a model has something in place of inputs that a patch lacks."""
    return model.spec.fusion.missing == "token"


def usable_patches(model: Predictor, loader: Loader) -> npt.NDArray[np.bool_]:
    """Which patches of a store a model can predict: those with every input, or with one if it may lack them, (patches,)."""
    return loader.any_input() if may_lack_inputs(model) else loader.complete()


def _check_same_values(modality: Modality, store: Store) -> None:
    """Raises a `DataError` if the store's values of a modality mean something else than those of the model."""
    stored = store.modalities.get(modality.name, modality)
    for name in ("kind", "dtype", "scale", "offset", "nodata", "categories", "steps", "dated", "cell"):
        expected, found = getattr(modality, name), getattr(stored, name)
        if expected != found:
            what = f"{name} is {found} in the store and {expected} in the model"
            raise DataError(what, where=f"{store.path}, {modality.name}", fix="pack the data as the model's were")


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Writes predictions as Parquet, or CSV if the name ends so.

    What the table's `attrs` say goes with it: pandas reads them back from Parquet; beside a CSV lies `<name>.csv.json`.

    Raises:
        UsageError: if the name ends otherwise.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise UsageError(f"unknown kind of table '{path.suffix}'", where=path, fix="end the name in .parquet or .csv")
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)
    if path.suffix == ".csv":
        write_text(path.with_name(f"{path.name}.json"), json.dumps(table.attrs, indent=1) + "\n")
