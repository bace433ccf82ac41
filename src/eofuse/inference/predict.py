"""Predicts every patch of a store with a trained run, whether it has labels or not."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from eofuse.data.loading import Loader, in_order
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError
from eofuse.files import replacing
from eofuse.modalities import Modality
from eofuse.models.artifact import load_model
from eofuse.models.model import Model

BATCH_SIZE = 64


def predict_store(
    model_folder: str | os.PathLike[str],
    store: Store,
    *,
    threshold: float = 0.5,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Predictions for every patch of a store.

    Args:
        model_folder: a saved model (the folder `model` of a run).
        store: a store with the model's modalities; channels are matched by name.
        threshold: probability from which a class of a multi-label target counts as present.
        device: `auto`, `cpu` or `cuda`.
        progress: called with (patches done, patches in all).

    Returns:
        A row a patch, in the store's order: `patch_id`, `scene`, `lon`, `lat`, `predicted` (false for a patch that lacks
        an input modality: its other values are missing), and for each target `<target>` (the class, or the list of
        classes), `<target>.confidence` (the largest probability) and `<target>.p.<class>`.

    Raises:
        DataError: if the store lacks a modality or channel, or no patch has all inputs.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(model_folder, device)
    loader = _loader(model, store)
    complete = loader.complete()
    if not complete.any():
        names = ", ".join(loader.modalities)
        raise DataError(f"no patch has all of the model's inputs ({names})", where=store.path)
    rows = np.flatnonzero(complete)
    gathered: dict[str, list[np.ndarray]] = {}
    done = 0
    for batch in loader.batches(in_order(rows, BATCH_SIZE)):
        for name, probabilities in model.predict(batch.to(torch.device(device)).inputs).items():
            gathered.setdefault(name, []).append(probabilities.cpu().numpy())
        done += len(batch)
        if progress:
            progress(done, len(rows))
    table = store.index[["patch_id", "scene", "lon", "lat"]].copy()
    table["predicted"] = complete
    for name, parts in gathered.items():
        _add_target(table, model, name, rows, np.concatenate(parts), threshold)
    return table


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


def _add_target(
    table: pd.DataFrame, model: Model, name: str, rows: np.ndarray, probabilities: np.ndarray, threshold: float
) -> None:
    head = model.spec.heads[name]
    classes = np.array(head.classes, dtype=object)
    decided = np.full(len(table), None, dtype=object)
    if head.kind == "single_label":
        decided[rows] = classes[probabilities.argmax(axis=1)]
    else:
        for row, values in zip(rows, probabilities, strict=True):
            decided[row] = classes[values >= threshold].tolist()
    table[name] = decided
    spread = np.full((len(table), len(classes)), np.nan, dtype=np.float32)
    spread[rows] = probabilities
    table[f"{name}.confidence"] = spread.max(axis=1)
    for number, label in enumerate(head.classes):
        table[f"{name}.p.{label}"] = spread[:, number]


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
