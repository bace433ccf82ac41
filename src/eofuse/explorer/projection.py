"""Where patches lie in the embedding of the page: features of a run, vectors of the store or statistics of bands, in two numbers."""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.store import Store, Window
from eofuse.devices import find_device
from eofuse.embedding.own import embedder_of_run
from eofuse.errors import UsageError, did_you_mean
from eofuse.explorer.subject import Subject
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress

METHODS = ("pca", "umap")

RUN, BANDS = "run", "bands"
"""Names of features that are no modality of the store."""

PORTION = 256
MOST_FITTED = 20_000
"""Patches by which axes are fitted; the others are put beside them."""

MOST_BYTES = 8_000_000_000
WINDOW = 32
"""Of a store with more bytes of pixels than that, statistics are of the middle pixels."""

PIXELS = 40
"""Of a patch with more pixels a side, statistics are of every n-th."""

FARTHEST = 5.0
"""Standard deviations beyond which a statistic counts no more, so that a few clouds don't make the axes."""

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Projection:
    """Where each patch lies: (patches, 2), NaN where that is not known, and how that was computed, in words."""

    places: npt.NDArray[np.float32]
    words: str
    title: str


def project(
    subject: Subject,
    *,
    features: str | None = None,
    method: str = "pca",
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
) -> Projection | None:
    """Two numbers a patch that keep like patches together; None where there is nothing to compare patches by.

    Args:
        subject: what is looked at.
        features: `run` for those of its encoders, the name of a vector of the store, or `bands` for means and deviations of all bands;
            by default the first of these that there is (of vectors, one that a foundation model made).
        method: `pca` or `umap`.
        device: on which the run computes.
        seed: of UMAP.
        progress: called with (patches done, patches in all).

    Raises:
        UsageError: if there are no such features or method, or umap-learn is not installed.
    """
    check_method(method)
    store = subject.store
    name = features or _default(subject)
    vectors = [modality.name for modality in store.modalities.values() if modality.kind is Kind.VECTOR]
    if name == RUN and subject.run is not None:
        embedder = embedder_of_run(store, subject.run, seed)
        values, words = _of_run(embedder, device, progress), f"features of the encoders of {subject.features}"
    elif name == BANDS:
        found = _bands(store, progress)
        if found is None:
            return None
        values, words = found
    elif name in vectors:
        values = store.read(name, np.arange(len(store))).astype(np.float32)
        values[~store.present(name)] = np.nan
        words = store.modalities[name].title or name
        if not store.modalities[name].embedding and not store.embeddings(name):
            values = _standardised(values)
    else:
        known = [*([RUN] if subject.run else []), *vectors, BANDS]
        raise UsageError(f"no features '{name}'", where="--features", fix=did_you_mean(name, known))
    return _projected(values, words, method, seed)


def check_method(method: str) -> None:
    """Raises a `UsageError` if there is no such projection, or it is not installed."""
    if method not in METHODS:
        raise UsageError(f"no projection '{method}'", where="--projection", fix=did_you_mean(method, METHODS))
    if method == "umap" and find_spec("umap") is None:
        fix = "pip install 'eofuse[explore]', or take pca"
        raise UsageError("umap-learn is not installed", where="--projection umap", fix=fix)


def _default(subject: Subject) -> str:
    if subject.run is not None:
        return RUN
    made = [
        name
        for name, modality in subject.store.modalities.items()
        if modality.kind is Kind.VECTOR and (modality.embedding or subject.store.embeddings(name))
    ]
    return next((name for name in made if not name.endswith("_random")), BANDS)


def _of_run(embedder: Any, device: str, progress: Progress | None) -> Numbers:
    count = len(embedder.loader.store)
    found = []
    for first, last in pairwise([*range(0, count, PORTION), count]):
        found.append(embedder.vectors(np.arange(first, last), False, find_device(device)))
        if progress:
            progress(last, count)
    return np.concatenate(found)


def _bands(store: Store, progress: Progress | None) -> tuple[Numbers, str] | None:
    """Mean and deviation of every band of the rasters, shares of categories, and numbers without pixels, standardised."""
    rasters = [each for each in store.modalities.values() if each.kind is Kind.RASTER and each.cell == 1]
    scalars = [modality for modality in store.modalities.values() if modality.kind is Kind.VECTOR]
    if not rasters and not scalars:
        return None
    height, width = store.patch_size
    patch_bytes = sum(
        len(modality.channels) * height * width * np.dtype(modality.dtype).itemsize for modality in rasters
    )
    middle = patch_bytes * len(store) > MOST_BYTES and min(height, width) > WINDOW
    window = Window.centred(WINDOW, store.patch_size) if middle else None
    found: dict[str, list[Numbers]] = {modality.name: [] for modality in rasters}
    side = WINDOW if middle else min(store.patch_size)
    step = max(1, side // PIXELS)
    for first, last in pairwise([*range(0, len(store), PORTION), len(store)]):
        rows = np.arange(first, last)
        for modality in rasters:
            values = _statistics(modality, store.read(modality.name, rows, window=window)[:, :, ::step, ::step])
            values[~store.present(modality.name)[rows]] = np.nan
            found[modality.name].append(values)
        if progress:
            progress(last, len(store))
    parts = [_standardised(np.concatenate(each)) for each in found.values()]
    if not rasters:
        parts = [_standardised(store.read(each.name, np.arange(len(store))).astype(np.float32)) for each in scalars]
    shown = [modality.title or modality.name for modality in rasters or scalars]
    what = "mean and spread of the bands of" if rasters else "numbers of"
    words = f"{what} {', '.join(shown)}" + (f", of the middle {WINDOW} × {WINDOW} pixels" if middle else "")
    words += f", of one pixel in {step**2}" if step > 1 else ""
    values = np.concatenate([np.nan_to_num(part) for part in parts], axis=1)  # what a patch lacks is as the mean
    values[np.isnan(np.concatenate(parts, axis=1)).all(axis=1)] = np.nan
    return values, words


def _statistics(modality: Modality, values: npt.NDArray[Any]) -> Numbers:
    """(patches, numbers): of codes the share of each category, of other values mean and deviation of each channel."""
    if modality.is_categorical:
        return np.stack([(values == each.code).mean(axis=(1, 2, 3)) for each in modality.categories], axis=1).astype(
            np.float32
        )
    numbers = values.astype(np.float32)
    if modality.nodata is not None:
        numbers[values == modality.nodata] = np.nan
    known = np.isfinite(numbers)
    counts = np.maximum(known.sum(axis=(2, 3)), 1)
    filled = np.where(known, numbers, 0)
    means = filled.sum(axis=(2, 3), dtype=np.float64) / counts
    squares = (np.where(known, numbers - means[:, :, None, None], 0) ** 2).sum(axis=(2, 3), dtype=np.float64) / counts
    found: Numbers = np.concatenate([means, np.sqrt(squares)], axis=1).astype(np.float32)
    found[~known.any(axis=(1, 2, 3))] = np.nan
    return found


def _standardised(values: Numbers) -> Numbers:
    """Each column with a mean of 0 and a deviation of 1, within `FARTHEST`; columns that don't vary are left out."""
    numbers = values.astype(np.float64)
    if not len(numbers) or np.isnan(numbers).all():
        return values[:, :0]
    known = ~np.isnan(numbers).all(axis=0)
    numbers = numbers[:, known]
    means, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
    varied = spread > 1e-12
    clipped: Numbers = np.clip((numbers - means)[:, varied] / spread[varied], -FARTHEST, FARTHEST).astype(np.float32)
    return clipped


def _projected(values: Numbers, words: str, method: str, seed: int) -> Projection | None:
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(known) < 3 or values.shape[1] < 1:
        return None
    places = np.full((len(values), 2), np.nan, dtype=np.float32)
    chosen = known
    if len(known) > MOST_FITTED:
        chosen = known[np.linspace(0, len(known) - 1, MOST_FITTED).astype(np.int64)]
    if method == "umap":
        import umap

        fitted = umap.UMAP(n_components=2, random_state=seed, n_jobs=1).fit(values[chosen])
        places[known] = fitted.transform(values[known]) if len(chosen) < len(known) else fitted.embedding_
        return Projection(places, f"UMAP of {values.shape[1]:,} numbers: {words}", "UMAP")
    from sklearn.decomposition import PCA

    axes = min(2, values.shape[1])
    fitted = PCA(n_components=axes, svd_solver="auto", random_state=0).fit(values[chosen].astype(np.float64))
    places[known, :axes] = fitted.transform(values[known].astype(np.float64))
    places[known, axes:] = 0
    kept = 100 * float(np.nan_to_num(fitted.explained_variance_ratio_).sum())
    more = f", fitted on {len(chosen):,} patches" if len(chosen) < len(known) else ""
    return Projection(
        places, f"PCA of {values.shape[1]:,} numbers ({kept:.0f} % of their variance{more}): {words}", "PCA"
    )
