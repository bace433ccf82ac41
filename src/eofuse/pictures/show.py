"""Writes the pictures of a run, a pretraining, or an augmentation."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from eofuse.data.store import Store
from eofuse.files import replacing
from eofuse.learning.augment.examples import example_draws, read_augment
from eofuse.learning.pretraining.run import is_pretraining
from eofuse.learning.run import open_run
from eofuse.pictures.pretraining import figures_of_pretraining
from eofuse.pictures.runs import figures_of_run
from eofuse.reports.figures.patch import show_augmented as augmented_figure
from eofuse.reports.figures.style import write_png
from eofuse.words import counted


@dataclass(frozen=True)
class RunPictures:
    """Pictures that were written.

    Attributes:
        paths: where.
        notes: what could not be drawn, and why.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def show_run(folder: str | os.PathLike[str], to: str | os.PathLike[str] | None = None) -> RunPictures:
    """Writes every picture of a run, see the module; with several targets all but the curves are `<picture>_<target>.png`.

    Args:
        folder: of a trained run or a pretraining.
        to: the folder for the pictures, that of the run by default.

    Raises:
        UsageError: if it is no run folder.
        DataError: if the run is not finished, or its files are missing or damaged.
    """
    folder = Path(folder)
    paths: list[Path] = []
    notes: list[str] = []
    figures = (
        figures_of_pretraining(folder, notes) if is_pretraining(folder) else figures_of_run(open_run(folder), notes)
    )
    for name, figure in figures:
        paths.append((folder if to is None else Path(to)) / name)
        keep_figure(figure, paths[-1])
    return RunPictures(tuple(paths), tuple(notes))


def show_augmented(
    store: Store,
    patch_id: str,
    augment: str | Mapping[str, Any] = "light",
    *,
    draws: int = 5,
    seed: int = 0,
    modalities: Collection[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws the rasters of a patch as they are, and beside them what an augmentation makes of them.

    Args:
        store: the packed store.
        patch_id: the patch.
        augment: a preset, or single operations, as the section `augment` of a recipe.
        draws: how many times.
        seed: of everything random.
        modalities: the rasters that are wanted; all that the patch has by default.
        path: where to write it as PNG, if anywhere.

    Raises:
        UsageError: if the store has no such patch (it names the nearest), or the augmentation is wrong.
    """
    found = example_draws(store, patch_id, read_augment(augment), draws, seed, modalities)
    name = f"the augmentation '{augment}'" if isinstance(augment, str) else "an augmentation"
    title = f"as it is, and {counted(draws, 'draw')} of {name} with seed {seed}"
    return augmented_figure(store, patch_id, found, title, None if path is None else Path(path))


def keep_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    with replacing(path) as temporary:
        write_png(figure, temporary)
