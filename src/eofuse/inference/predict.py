"""Predicts every patch of a store with a trained run, whether it has labels or not."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError
from eofuse.files import replacing
from eofuse.inference.columns import Array, columns, decide, pixels_with_data
from eofuse.inference.maps import MapFolder
from eofuse.modalities import Modality
from eofuse.models.artifact import load_model
from eofuse.models.heads import PIXEL_KINDS
from eofuse.models.model import Model

BATCH_SIZE = 64
BATCH_SIZE_WITH_PIXELS = 16


def predict_store(
    model_folder: str | os.PathLike[str],
    store: Store,
    *,
    maps: str | os.PathLike[str] | None = None,
    threshold: float = 0.5,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Predictions for every patch of a store.

    Args:
        model_folder: a saved model (the folder `model` of a run).
        store: a store with the model's modalities; channels are matched by name.
        maps: folder for what is told of pixels: GeoTIFFs, and boxes as GeoJSON (see `eofuse.inference.maps`).
        threshold: probability from which a class of a multi-label target counts as present; score from which a box counts.
        device: `auto`, `cpu` or `cuda`.
        progress: called with (patches done, patches in all).

    Returns:
        A row a patch, in the store's order: `patch_id`, `scene`, `lon`, `lat`, `predicted` (false for a patch that lacks
        an input modality: its other values are missing), and for each target

        - one or several classes: `<target>` (the class, or the list of classes), `<target>.confidence` (the largest
          probability) and `<target>.p.<class>`;
        - numbers: `<target>.<number>`, or `<target>` if it is only one, in its unit; with `.low` and `.high`, the ends of the
          90 % predictive interval, where the model knows it;
        - a class a pixel: `<target>.share.<class>`, shares of the pixels; numbers a pixel: `<target>.<number>.mean`, or
          `<target>.mean`, over the pixels. Pixels at which no raster among the inputs has a value don't count;
        - boxes: `<target>.boxes`, how many.

    Raises:
        UsageError: if `maps` is given and the model tells nothing of pixels.
        DataError: if the store lacks a modality or channel, or no patch has all inputs.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(model_folder, device)
    loader = _loader(model, store)
    heads = model.spec.heads
    writer = None if maps is None else MapFolder(Path(maps), store, heads, loader.window, threshold)
    complete = loader.complete()
    if not complete.any():
        names = ", ".join(loader.modalities)
        raise DataError(f"no patch has all of the model's inputs ({names})", where=store.path)
    rows = np.flatnonzero(complete)
    batch_size = BATCH_SIZE_WITH_PIXELS if any(head.kind in PIXEL_KINDS for head in heads.values()) else BATCH_SIZE
    gathered: dict[tuple[str, str], list[Array]] = {}
    done = 0
    with writer or nullcontext():
        for batch in loader.batches(in_order(rows, batch_size)):
            with_data = pixels_with_data(loader.modalities, batch.inputs)
            for name, prediction in model.predict(batch.to(torch.device(device)).inputs).items():
                decided = decide(heads[name], prediction, with_data)
                for column, values in columns(name, heads[name], decided, threshold).items():
                    gathered.setdefault((name, column), []).append(values)
                if writer:
                    writer.add(name, batch.rows, decided)
            done += len(batch)
            if progress:
                progress(done, len(rows))
    index = store.index[["patch_id", "scene", "lon", "lat"]]
    told: dict[str, Any] = {"predicted": complete}
    for (_, column), parts in gathered.items():
        taken = column in told or column in index
        told[f"{column}.predicted" if taken else column] = _of_all_patches(np.concatenate(parts), rows, len(store))
    return pd.concat([index, pd.DataFrame(told, index=index.index)], axis=1)


def _of_all_patches(values: Array, rows: Rows, count: int) -> Array | pd.api.extensions.ExtensionArray:
    """Values of some patches as a column for all, missing for the others."""
    if values.dtype.kind == "i":
        column = pd.array([pd.NA] * count, dtype="Int64")
        column[rows] = values
        return column
    spread = np.full(count, None if values.dtype == object else np.nan, dtype=values.dtype)
    spread[rows] = values
    return spread


def _loader(model: Model, store: Store) -> Loader:
    """Reads the model's channels, by name, in the window for which the model was trained."""
    inputs = {modality.name: list(modality.channel_names) for modality in model.spec.modalities}
    categorical = {modality.name for modality in model.spec.modalities if modality.is_categorical}
    for modality in model.spec.modalities:
        _check_same_values(modality, store)
    height, width = model.spec.patch_size
    crop = None if (height, width) == store.patch_size else min(height, width)
    try:
        return Loader(
            store, {name: None if name in categorical else names for name, names in inputs.items()}, crop=crop
        )
    except UsageError as error:
        raise DataError(
            f"does not fit the model: {error}", where=store.path, fix="pack the modalities it needs"
        ) from None


def _check_same_values(modality: Modality, store: Store) -> None:
    """Raises a `DataError` if the store's values of a modality mean something else than those of the model."""
    stored = store.modalities.get(modality.name, modality)
    for name in ("kind", "dtype", "scale", "offset", "nodata", "categories"):
        expected, found = getattr(modality, name), getattr(stored, name)
        if expected != found:
            what = f"{name} is {found} in the store and {expected} in the model"
            raise DataError(what, where=f"{store.path}, {modality.name}", fix="pack the data as the model's were")


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Writes predictions as Parquet, or CSV if the name ends so.

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
