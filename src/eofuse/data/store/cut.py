"""Cuts scenes (optical, radar, elevation, class maps, polygons) into the patches of a store; see `eofuse.data.sources.scenes.spec`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eofuse.config import apply_overrides, parse_options
from eofuse.data.problems import Problem
from eofuse.data.reading.pixels import close_files
from eofuse.data.sources.scenes.source import SIZE, open_scenes, read_spec
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.store import Store
from eofuse.data.store.pack import pack_source
from eofuse.locks import writes
from eofuse.processes import usable_cores
from eofuse.progress import Progress


@dataclass(frozen=True)
class Cut:
    """What a cut gave.

    Attributes:
        store: the store, opened.
        beyond_edge: patches left out because they would stick out of their scene.
        no_data: patches left out because the reference holds nothing there.
        warped: by modality, the scenes in which it was brought to another grid.
        resampling: by modality and method of bringing it there, the number of scenes.
        warnings: what looks odd.
    """

    store: Store
    beyond_edge: int
    no_data: int
    warped: dict[str, list[str]]
    resampling: dict[str, dict[str, int]]
    warnings: tuple[Problem, ...]


@writes("store")
def cut(
    spec: str | os.PathLike[str] | Mapping[str, Any],
    store: str | os.PathLike[str],
    *,
    size: int = SIZE,
    overlap: int = 0,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Cut:
    """Cuts scenes into patches and packs them into a store; an interrupted cut goes on where it stopped.

    Every patch is read twice: first to see what it holds, then to pack it. Memory holds a few patches at a time.

    Args:
        spec: a YAML file with the keys of `SceneSpec`, or its values (paths are then relative to the working folder).
        store: folder of the store to be made.
        size: side of a patch in pixels of the reference.
        overlap: pixels that neighbouring patches share. Overlapping patches on two sides of a split leak; `leakage` counts them.
        overrides: `key.path=value` words, such as `root=../scenes`.
        overwrite: replace a store of other content.
        workers: processes that read, one a core by default; the store does not depend on it.
        progress: receives how many patches are done, and what is done with them.

    Raises:
        UsageError: if the spec is wrong, or `store` exists and holds something else.
        DataError: if a file is missing or not what it should be, or the disk is full.
    """
    if isinstance(spec, Mapping):
        options, folder = parse_options(SceneSpec, apply_overrides(spec, overrides), None), Path()
    else:
        options, folder = read_spec(Path(spec), overrides), Path(spec).parent
    processes = workers or usable_cores()
    try:
        source = open_scenes(options, folder, size, overlap, processes, _phase(progress, "looked at"))
        packing = _phase(progress, "packed")
        done = pack_source(source, Path(store).resolve(), overwrite=overwrite, workers=processes, progress=packing)
    finally:
        close_files()
    facts = source.provenance.facts
    left_out = facts["left_out"]
    counts = left_out["beyond_edge"], left_out["no_data"]
    return Cut(done, *counts, facts["warped"], facts["resampling"], tuple(source.problems))


def _phase(progress: Progress | None, words: str) -> Progress | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total, _="": report(done, total, words)
