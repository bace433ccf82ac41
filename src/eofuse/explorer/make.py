"""`explore`: a store, run or study → one page to look at."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.store import Store
from eofuse.errors import UsageError
from eofuse.explorer.columns import DOMINANT_LAND_COVER, Sort, index_columns
from eofuse.explorer.pictures import large_pictures, thumbnails
from eofuse.explorer.predictions import PredictionSet, prediction_sets
from eofuse.explorer.projection import Projection, check_method, project
from eofuse.explorer.subject import Subject, is_held_out, open_subject
from eofuse.explorer.write import column_data, packed, page, set_data, thumbnail_data
from eofuse.files import write_text
from eofuse.progress import Progress
from eofuse.reports.cards import Painter
from eofuse.reports.figures.maps import class_colours
from eofuse.words import counted

MEGABYTE = 1e6
MEGABYTES = 6.0
"""Size of the page, where nothing else is wanted; numbers and names come first, and pictures fill what is left."""

LEAST_FOR_PICTURES = 0.2
"""Share of the size that pictures may take, whatever the numbers take."""

OF_THUMBNAILS = 0.6
"""Share of the room for pictures."""

AnyPath = str | os.PathLike[str]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explorer:
    """A page that was written.

    Attributes:
        path: the file.
        size: its bytes.
        patches: patches on it.
        words: what it holds, in lines.
    """

    path: Path
    size: int
    patches: int
    words: tuple[str, ...]


def explore(
    path: AnyPath,
    output: AnyPath = "explore.html",
    *,
    store: AnyPath | Store | None = None,
    target: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    features: str | None = None,
    projection: str = "pca",
    megabytes: float = MEGABYTES,
    device: str = "auto",
    progress: Progress | None = None,
) -> Explorer:
    """Writes one page to look at a store, run or study: map, embedding, thumbnails and filters, which needs no network and no server.

    Args:
        path: a packed store, a tested run or a finished study.
        output: the file to write; an older one is replaced when the new one is complete.
        store: of a run or study, where it lies now.
        target: of a run or study with several, only this one.
        variant: of a study, only this one (by default all, the best by validation first).
        seed: of a study, only the runs with this seed.
        features: by which patches are compared: `run`, the name of a vector of the store, or `bands` (see
            `eofuse.explorer.projection.project`).
        projection: `pca` or `umap` (which needs `eofuse[explore]`).
        megabytes: the size that pictures fill the page up to.
        device: on which a run computes features.
        progress: called with (patches done, patches in all).

    Raises:
        UsageError: if something is chosen that is not there.
        DataError: if the path is none of the three or not finished, or its store is missing or has changed.
    """
    if not megabytes > 0:
        raise UsageError(f"a page of {megabytes:g} MB", where="--size", fix="give a positive number")
    check_method(projection)
    subject = open_subject(path, store=store, target=target, variant=variant, seed=seed)
    places = project(subject, features=features, method=projection, device=device, progress=progress)
    data, words = _data(subject, places, megabytes * MEGABYTE, progress)
    text = page(data)
    write_text(Path(output), text)
    return Explorer(Path(output), len(text.encode()), len(subject.store), tuple(words))


def _data(
    subject: Subject, places: Projection | None, size: float, progress: Progress | None
) -> tuple[dict[str, Any], list[str]]:
    """What the page shows, as JSON knows it, and what of it there was room for, in words."""
    store = subject.store
    part = subject.part()
    sets = _sets(subject)
    order = _order(store, sets)
    columns = [*([part] if part is not None else []), *index_columns(store)]
    data = {
        **_facts(subject),
        "ids": store.index["patch_id"].astype(str).tolist(),
        "heldOut": packed(is_held_out(part, store.index["split"]).astype(np.uint8)),
        "map": _map(store),
        "embedding": _embedding(places),
        "columns": [column_data(column) for column in columns],
        "colour": _colour(store, [column.name for column in columns if column.sort is not Sort.LIST]),
        **_predictions(sets),
    }
    used = sum(len(text) for text in _texts(data))
    room = max(size - used - 120_000, LEAST_FOR_PICTURES * size)
    small = thumbnails(store, order, OF_THUMBNAILS * room, progress)
    taken = sum(map(len, small.sheets))
    first = {each.target: each.variant for each in reversed(sets)}
    named = [(results, first.get(results.summary["target"])) for results in subject.results]
    painters = [Painter(results, store, variant) for results, variant in named if variant is not None]
    large = large_pictures(store, order, room - taken, painters, progress)
    data["thumbnails"] = thumbnail_data(small)
    data["large"] = {str(row): entry for row, entry in large.items()}
    words = _words(store, small.side, int((small.places >= 0).sum()), len(large), sets)
    notes = [*subject.notes, *words]
    data["notes"] = list(dict.fromkeys(notes))
    return data, words


def _facts(subject: Subject) -> dict[str, Any]:
    store = subject.store
    return {
        "title": subject.title,
        "kind": subject.kind,
        "path": str(subject.path),
        "store": str(store.path),
        "run": str(subject.path) if subject.run is not None else "",
        "canSuggest": subject.kind == "run",
        "simulated": store.simulated,
        "patches": len(store),
        "pixels": list(store.patch_size),
    }


def _colour(store: Store, names: Sequence[str]) -> str:
    """The column of the first colours, where there are no predictions: a label, else land cover, else the split."""
    wanted = [*store.provenance.get("labels", {}), DOMINANT_LAND_COVER, "split"]
    return next((name for name in wanted if name in names), "")


def _sets(subject: Subject) -> list[PredictionSet]:
    found: list[PredictionSet] = []
    for results in subject.results:
        sources = [
            modality
            for modality in subject.store.modalities.values()
            if {category.name for category in modality.categories} >= set(results.summary["classes"])
        ]
        colours = class_colours(results.summary["classes"], sources[0] if sources else None)
        found += prediction_sets(results, subject.variants, colours)
    return found


def _order(store: Store, sets: Sequence[PredictionSet]) -> Rows:
    """Rows by what is wanted first: half of the places for the largest errors, the others evenly."""
    count = len(store)
    even = np.argsort(_bit_reversed(count), kind="stable")
    if not sets:
        return even
    first = sets[0]
    known = np.isfinite(first.errors)
    worst = first.rows[known][np.argsort(-first.errors[known], kind="stable")]
    both = np.empty(len(worst) + count, dtype=np.int64)
    both[: 2 * min(len(worst), count) : 2], both[1 : 2 * min(len(worst), count) : 2] = worst, even[: len(worst)]
    both[2 * len(worst) :] = even[len(worst) :]
    _, places = np.unique(both, return_index=True)
    return both[np.sort(places)]


def _bit_reversed(count: int) -> Rows:
    """Numbers by which rows are sorted so that any first ones of them lie evenly among all."""
    bits = max(int(count - 1).bit_length(), 1)
    numbers, found = np.arange(count), np.zeros(count, dtype=np.int64)
    for bit in range(bits):
        found |= ((numbers >> bit) & 1) << (bits - 1 - bit)
    return found


def _map(store: Store) -> dict[str, Any] | None:
    """Longitude and latitude of the patches; None where no place is known."""
    lon, lat = (store.index[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return None
    return {
        "x": packed(np.where(known, lon, np.nan)),
        "y": packed(np.where(known, lat, np.nan)),
        "known": int(known.sum()),
    }


def _embedding(places: Projection | None) -> dict[str, Any] | None:
    if places is None:
        return None
    known = int(np.isfinite(places.places).all(axis=1).sum())
    across, up = places.places.T
    return {"x": packed(across), "y": packed(up), "known": known, "title": places.title, "words": places.words}


def _predictions(sets: Sequence[PredictionSet]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    different: list[Rows] = []
    told = []
    for found in sets:
        told.append(set_data(found, different, rows))
        if len(rows) > len(different):
            different.append(found.rows)
    return {"sets": told, "setRows": rows}


def _texts(value: Any) -> Sequence[str]:
    """All texts in nested lists and dictionaries: most of what they take in a file."""
    if isinstance(value, str):
        return [value + "   "]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def _words(store: Store, side: int, small: int, large: int, sets: Sequence[PredictionSet]) -> list[str]:
    first = ", the largest errors first" if sets else ""
    found = []
    if side:
        of = "all patches" if small == len(store) else f"{small:,} of {counted(len(store), 'patch', 'patches')}{first}"
        found.append(f"Thumbnails of {side} pixels of {of}.")
    if large:
        of = "all patches" if large == len(store) else f"{large:,} of {counted(len(store), 'patch', 'patches')}{first}"
        found.append(f"Pictures of all modalities of {of}.")
    return found
