"""Several patches of a store side by side, drawn at random, or some of each class of a target."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eofuse.data.loading import Rows
from eofuse.data.splits.subsets import membership
from eofuse.data.store import Store
from eofuse.data.targets import Target, make_target
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import replacing
from eofuse.modalities import Kind
from eofuse.reports.figures.sheet import Group, Thumbnail, best_raster, plain, quiet, sheet_figure, thumbnail_panel
from eofuse.reports.figures.style import styled, write_png
from eofuse.reports.wording import class_title, decimals, number
from eofuse.words import counted

FEWEST_A_LINE, MOST_A_LINE = 4, 8


@styled
def show_grid(
    store: Store,
    count: int = 12,
    by: str | None = None,
    *,
    modality: str | None = None,
    seed: int = 0,
    path: str | Path | None = None,
) -> Figure:
    """Draws some patches of a store.

    Args:
        store: the packed store.
        count: how many patches; with `by` as evenly over the classes as there are patches, one of each at least.
        by: a target (see `docs/recipes.md`) or a column of the index: some patches of each class, the commonest class first. Of
            numbers some of each fifth of their range; of class maps by the class of most pixels; of boxes by the classes that occur.
        modality: the raster that is shown; by default one with the colours that an eye sees.
        seed: of the draw.
        path: where to write it as PNG, if anywhere.

    Raises:
        UsageError: if the store has no such target, or no such raster.
        DataError: if no patch has the raster, or the target.
    """
    raster = best_raster(store) if modality is None else store.modality(modality)
    if raster is None or raster.kind is not Kind.RASTER:
        rasters = [name for name, each in store.modalities.items() if each.kind is Kind.RASTER]
        fix = did_you_mean(modality or "", rasters) if rasters else "show one patch: it needs no pixels"
        raise UsageError(f"'{modality}' is no raster" if modality else "the store has no raster", fix=fix)
    rows = np.flatnonzero(store.present(raster.name))
    if not len(rows):
        raise DataError(f"no patch has {raster.name}", where=store.path, fix="choose another modality")
    generator = np.random.default_rng([seed, 37])
    chosen = [("", _draw(rows, count, generator))] if by is None else _by_class(store, by, rows, count, generator)

    def thumbnail(row: int, *words: str) -> Thumbnail:
        panel = thumbnail_panel(store, raster, row)
        names = (*map(plain, words), quiet(str(store.index["patch_id"].iloc[row])))
        return Thumbnail(None if panel is None else panel.pixels, names)

    most = max(len(picked) for _, picked in chosen)
    per_line = min(MOST_A_LINE, most)
    groups = [Group(title, tuple(map(thumbnail, picked.tolist()))) for title, picked in chosen]
    if by is None or most < FEWEST_A_LINE:  # short lines leave the sheet empty: classes stand below the pictures
        named = [(row, [title] if title else []) for title, picked in chosen for row in picked.tolist()]
        groups = [Group("", tuple(thumbnail(row, *words) for row, words in named))]
        per_line = min(MOST_A_LINE, max(FEWEST_A_LINE, round(np.sqrt(1.6 * len(named)))))
    shown = sum(len(picked) for _, picked in chosen)
    mark = "   [simulated]" if store.simulated else ""
    note = f"{counted(shown, 'patch', 'patches')} of {len(store):,}, drawn with seed {seed}. {raster.title or raster.name}."
    if by is not None:
        note = f"By {class_title(by)}, in brackets how many patches there are. {note}"
    figure = sheet_figure(groups, f"{store.name}{mark}", note, per_line=per_line)
    if path is not None:
        with replacing(Path(path)) as temporary:
            write_png(figure, temporary)
    return figure


def _draw(rows: Rows, count: int, generator: np.random.Generator) -> Rows:
    """Some of the rows, in the order of the store."""
    return np.sort(generator.permutation(rows)[:count])


def _by_class(store: Store, by: str, rows: Rows, count: int, generator: np.random.Generator) -> list[tuple[str, Rows]]:
    """Titles of the classes with their rows, the commonest first; a patch is shown once."""
    target = make_target(store, by)
    known = rows[target.valid[rows]]
    if not len(known):
        raise DataError(f"no patch has the target '{by}'", where=store.path, fix="choose another target")
    member = membership(target, known)
    totals = member.sum(axis=0)
    present = np.flatnonzero(totals)
    if not len(present):
        raise DataError(f"no patch has a class of '{by}'", where=store.path, fix="choose another target")
    queues = {at: generator.permutation(np.flatnonzero(member[:, at])).tolist() for at in present.tolist()}
    chosen: dict[int, list[int]] = {at: [] for at in queues}
    taken: set[int] = set()
    while any(queues.values()) and len(taken) < max(count, len(present)):
        for at in sorted(queues, key=lambda at: totals[at]):  # the rarest class takes first
            queues[at] = [place for place in queues[at] if place not in taken]
            if queues[at] and len(taken) < max(count, len(present)):
                chosen[at].append(queues[at][0])
                taken.add(queues[at][0])
    order = present.tolist() if target.kind.is_numbers else sorted(present.tolist(), key=lambda at: -totals[at])
    titles = {at: f"{_name(target, at, known[member[:, at]])} ({totals[at]:,})" for at in order}
    return [(titles[at], known[np.sort(chosen[at])]) for at in order if chosen[at]]


def _name(target: Target, stratum: int, rows: Rows) -> str:
    """What a stratum of a target is called: its class, or the range of its numbers."""
    if not target.kind.is_numbers:
        return class_title(target.classes[stratum])
    if len(target.classes) > 1:
        return f"group {stratum + 1}"
    values = target.values[rows]
    unit = f" {target.unit}" if target.unit else ""
    low, high = float(values.min()), float(values.max())
    digits = max(decimals(max(abs(low), abs(high))) - 1, 0)
    return f"{number(low, digits)} to {number(high, digits)}{unit}"
