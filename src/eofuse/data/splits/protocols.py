"""Splits into training, validation and test patches, and how leaky each is.

Protocols: `scene` (the default: whole acquisitions), `blocks` (spatial blocks), `random` (leaky: patches of one scene on both
sides), `published` (the dataset's own lists; where they name no validation patches, whole scenes are drawn from the training patches)
and `tutorial` (the seed-42 split of the ben-ge-800 tutorial). With `folds`, the first three give k folds instead: fold `fold` is the
test set. A split is made over all patches of a store, whatever the task.

Spatial blocks are cells of one grid over the Earth, or those of the index's column `block`, which are dealt out scene by scene, so
that every part gets its share of every scene. Patches that cover common ground are in one group, whatever their scene, date or
reference system: in that of one of their cells, or, as blocks of the index are never torn apart, their blocks become one. With
`buffer`, patches that lie near those of another part are in none.

Patches of one scene share date, weather, season and illumination, and neighbours share ground: a test patch that has such a
companion in training is partly known before it is seen. `leakage` counts them.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from eofuse.config import Options
from eofuse.data.scenes import units
from eofuse.data.splits.footprints import PATCH_KM, Footprints, components, footprints
from eofuse.data.store.index import PARTS
from eofuse.errors import DataError, UsageError

Protocol = Literal["scene", "blocks", "random", "published", "tutorial"]
BLOCK_KM = 50.0
TOUCHING = 0.1
"""Gap between neighbours, as a share of the side, up to which they count as touching."""
STRETCH = 1.001
"""Map projections stretch distances by up to this factor; a buffer is that much wider, so that it holds in any of them."""
KM_PER_DEGREE = 111.2

Rows = npt.NDArray[np.int64]


class SplitOptions(Options):
    """How patches are divided.

    Attributes:
        protocol: what may not be torn apart, or whose lists are used.
        fractions: shares of training, validation and test patches.
        split_seed: fixes the draw of groups.
        folds: number of grouped folds in place of the test share; the validation share is taken from the other folds.
        fold: which fold is the test set.
        block_km: side of a spatial block in kilometres; by default, the blocks are those of the index, or 50 km if it has none.
        buffer: metres that patches of different parts are apart at least; those that are nearer are left out: of training and
            validation near test patches, then of training near validation patches.
    """

    protocol: Protocol = "scene"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    split_seed: int = Field(default=0, ge=0)
    folds: int | None = Field(default=None, ge=2)
    fold: int = Field(default=0, ge=0)
    block_km: float | None = Field(default=None, gt=0)
    buffer: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "SplitOptions":
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError("fractions must be three positive numbers that sum to 1")
        if self.folds is not None and self.protocol in ("published", "tutorial"):
            raise ValueError(f"the {self.protocol} split has no folds; use scene, blocks or random")
        if self.fold >= (self.folds or 1):
            raise ValueError("fold must be smaller than folds")
        return self


@dataclass(frozen=True)
class Split:
    """Rows of the training, validation and test patches, and of those that the buffer leaves out, each in ascending order."""

    train: Rows
    validation: Rows
    test: Rows
    buffered: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def parts(self) -> dict[str, Rows]:
        """The three sets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class Leakage:
    """How many test patches have a companion among the training patches.

    Attributes:
        test_patches: size of the test set.
        sharing_scene: those whose scene has training patches; None where no scene is known.
        adjacent: those that touch a training patch, diagonally too; None where no place is known.
        same_ground: those that cover ground of a training patch, of whatever scene or date; None where no place is known.
        unknown_scene: those whose scene is not known.
    """

    test_patches: int
    sharing_scene: int | None
    adjacent: int | None
    same_ground: int | None = None
    unknown_scene: int = 0


def make_split(index: pd.DataFrame, options: SplitOptions) -> Split:
    """Divides the patches of an index.

    Raises:
        DataError: if the index lacks what the protocol needs, or a part would be empty.
        UsageError: if the tutorial's split is asked for on other than 800 patches.
    """
    if options.protocol == "published":
        split = _published(index, options)
    elif options.protocol == "tutorial":
        split = _tutorial(len(index))
    else:
        groups = _groups(index, options)
        generator = np.random.default_rng([options.split_seed, 7])
        if options.folds and options.folds > groups.max() + 1:
            found = (
                f"{options.folds} folds of {groups.max() + 1} {'scenes' if options.protocol == 'scene' else 'groups'}"
            )
            raise DataError(f"there can't be {found}", fix="use fewer folds")
        scenes = pd.factorize(units(index))[0] if _has_own_blocks(index, options) else None
        if options.folds:
            part = _fold_parts(groups, options, generator, scenes)
        else:
            part = _deal(groups, options.fractions, generator, scenes)
        split = Split(*(np.flatnonzero(part == number) for number in range(3)))
    if options.buffer is not None:
        split = _apart(index, split, options.buffer)
    for name, rows in split.parts().items():
        if not len(rows):
            fix = "use fewer folds, other fractions or another protocol"
            if options.buffer is not None:
                fix = f"use a smaller buffer, {fix.removeprefix('use ')}"
            raise DataError(f"the {options.protocol} split leaves no {name} patch ({len(index)} patches)", fix=fix)
    return split


def _apart(index: pd.DataFrame, split: Split, buffer: float) -> Split:
    """A split without the patches that lie within a buffer of a part that goes before theirs: test, validation, training."""
    ground = footprints(index)
    rows = np.concatenate(list(split.parts().values()))
    unplaced = rows[~ground.known[rows]]
    if len(unplaced):
        found = f"a buffer needs the place of every patch, and of {len(unplaced)} it is not known"
        raise DataError(found, where=str(index["patch_id"].iloc[unplaced[0]]), fix="leave out split.buffer")
    kept, dropped = [split.test], []
    for part in (split.validation, split.train):
        near = ground.companions(part, np.concatenate(kept), np.full(len(part), buffer * STRETCH))[1]
        kept.append(part[~near])
        dropped.append(part[near])
    return Split(kept[2], kept[1], kept[0], np.sort(np.concatenate(dropped)))


def _published(index: pd.DataFrame, options: SplitOptions) -> Split:
    part = index["split"]
    if part.isna().all():
        raise DataError("the dataset has no published split", fix="use split.protocol: scene")
    train, validation, test = (np.flatnonzero((part == name).to_numpy(dtype=bool)) for name in PARTS)
    if len(train) and not len(validation):
        groups = _groups(index.iloc[train], options.model_copy(update={"protocol": "scene"}))
        generator = np.random.default_rng([options.split_seed, 7])
        is_train = _deal(groups, _without_test(options), generator) == 0
        train, validation = train[is_train], train[~is_train]
    return Split(train, validation, test)


def _without_test(options: SplitOptions) -> tuple[float, float]:
    """Shares of training and validation among the patches that are not for testing."""
    train, validation = options.fractions[:2]
    return train / (train + validation), validation / (train + validation)


def _tutorial(patches: int) -> Split:
    """`torch.utils.data.random_split`, 800 → 600/200 → 100/100, with one generator seeded with 42."""
    if patches != 800:
        fix = "use split.protocol: scene"
        raise UsageError(f"the tutorial's split is defined for 800 patches, here are {patches}", fix=fix)
    import torch

    generator = torch.Generator().manual_seed(42)
    first = torch.randperm(800, generator=generator).numpy()
    second = torch.randperm(200, generator=generator).numpy()
    rest = first[600:]
    return Split(np.sort(first[:600]), np.sort(rest[second[:100]]), np.sort(rest[second[100:]]))


def _groups(index: pd.DataFrame, options: SplitOptions) -> npt.NDArray[np.int64]:
    """Number of the group of each patch, of which none is torn apart, in the order in which groups come in the index."""
    if options.protocol == "random":
        return np.arange(len(index))
    if options.protocol == "scene":
        return pd.factorize(units(index))[0].astype(np.int64)
    cells = spatial_blocks(index, options.block_km or BLOCK_KM)
    own = _has_own_blocks(index, options)
    labels = index["block"].where(index["block"].notna(), cells) if own else cells
    if labels.isna().any():
        missing = index.loc[labels.isna().to_numpy(), "patch_id"].iloc[0]
        raise DataError("its place is not known", where=missing)
    overlapping = footprints(index).groups()
    numbers = pd.factorize(labels, sort=True)[0].astype(np.int64)
    if own:
        count = int(numbers.max()) + 1
        links = np.stack([numbers, count + overlapping])
        numbers = components(links, count + int(overlapping.max()) + 1)[numbers]
    else:
        first = np.full(int(overlapping.max()) + 1, len(index))
        np.minimum.at(first, overlapping, numbers)
        numbers = first[overlapping]
    return pd.factorize(numbers)[0].astype(np.int64)


def _has_own_blocks(index: pd.DataFrame, options: SplitOptions) -> bool:
    own = options.protocol == "blocks" and options.block_km is None and "block" in index.columns
    return own and bool(index["block"].notna().any())


def spatial_blocks(index: pd.DataFrame, block_km: float) -> pd.Series:
    """Label of the square block in which each patch lies, by longitude and latitude, else by its place in its tile; NA if unknown."""
    band = np.floor(index["lat"] * KM_PER_DEGREE / block_km)
    middle = ((band + 0.5) * block_km / KM_PER_DEGREE).clip(-90, 90)
    width = KM_PER_DEGREE * np.cos(np.radians(middle))
    column = np.floor(index["lon"] * width / block_km)
    blocks = ("b" + band.astype("Int64").astype("string") + "_" + column.astype("Int64").astype("string")).astype(
        object
    )
    per_block = max(1, round(block_km / PATCH_KM))
    in_tile = index["tile"].notna() & (index["column"] >= 0) & (index["row"] >= 0)
    by_tile = (
        index["tile"].astype(object).astype("string")
        + "_"
        + (index["column"] // per_block).astype("string")
        + "_"
        + (index["row"] // per_block).astype("string")
    )
    placed = index["lat"].notna() & index["lon"].notna()
    labels: pd.Series = blocks.where(placed, by_tile.astype(object).where(in_tile, None))
    return labels


def _deal(
    groups: npt.NDArray[np.int64],
    fractions: tuple[float, ...],
    generator: np.random.Generator,
    scenes: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Part of each patch: groups in random order, each to the part that lacks most of its share and has room for it.

    With `scenes` (number of each patch's scene), the groups are dealt out scene by scene, and of those of a scene each part gets the
    whole number that is its share before any part gets more.
    """
    sizes = np.bincount(groups).tolist()
    part_of_group = np.empty(len(sizes), dtype=np.int64)
    wanted = [fraction * len(groups) for fraction in fractions]
    filled = [0] * len(wanted)
    parts = range(len(wanted))
    for hand in _hands(groups, scenes, generator):
        owed = [0 if scenes is None else math.floor(len(hand) * fraction + 1e-9) for fraction in fractions]
        for group in hand.tolist():
            size = sizes[group]
            room = [wanted[part] - filled[part] for part in parts]
            eligible = [part for part in parts if owed[part] > 0] or [part for part in parts if room[part] >= size]
            share = [room[part] / wanted[part] for part in parts]
            part = max(eligible, key=share.__getitem__) if eligible else max(parts, key=room.__getitem__)
            part_of_group[group] = part
            filled[part] += size
            owed[part] -= owed[part] > 0
    return part_of_group[groups]


def _hands(
    groups: npt.NDArray[np.int64], scenes: npt.NDArray[np.int64] | None, generator: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Groups in the order in which they are dealt out: all at once, or those of one scene after those of another."""
    if scenes is None:
        return [generator.permutation(groups.max() + 1)]
    scene_of_group = scenes[np.unique(groups, return_index=True)[1]]
    order = generator.permutation(np.unique(scene_of_group))
    return [generator.permutation(np.flatnonzero(scene_of_group == scene)) for scene in order]


def _fold_parts(
    groups: npt.NDArray[np.int64],
    options: SplitOptions,
    generator: np.random.Generator,
    scenes: npt.NDArray[np.int64] | None,
) -> npt.NDArray[np.int64]:
    """Part of each patch: one of k folds of about equal size is the test set, validation groups come from the others."""
    assert options.folds
    fold = _deal(groups, (1 / options.folds,) * options.folds, generator, scenes)
    part = np.full(len(groups), 2)
    rest = np.flatnonzero(fold != options.fold)
    groups_of_rest = np.unique(groups[rest], return_inverse=True)[1]
    part[rest] = _deal(groups_of_rest, _without_test(options), generator, None if scenes is None else scenes[rest])
    return part


def buffer_words(options: SplitOptions) -> str:
    """Why a patch is left out by the buffer."""
    return f"within {options.buffer or 0:g} m of another part"


def leakage(index: pd.DataFrame, split: Split, ground: Footprints | None = None) -> Leakage:
    """Counts the test patches that share a scene or ground with, or lie next to, a training patch.

    Args:
        index: a row a patch.
        split: of its rows.
        ground: footprints of the patches, if they are at hand.
    """
    scenes = pd.factorize(index["scene"])[0]
    known = scenes[split.test][scenes[split.test] >= 0]
    is_known = bool(len(known)) and bool((scenes[split.train] >= 0).any())
    sharing = int(np.isin(known, scenes[split.train]).sum()) if is_known else None
    ground = (ground or footprints(index)).for_counting()
    shares, near = ground.companions(split.test, split.train, TOUCHING * ground.side_m[split.test])
    placed = bool(ground.known[split.test].any() and ground.known[split.train].any())
    by_tile = _near_in_tile(index, split)
    if by_tile is not None:
        shares |= by_tile[0]
        near |= by_tile[1]
    if not placed and by_tile is None:
        return Leakage(len(split.test), sharing, None, None, len(split.test) - len(known))
    return Leakage(len(split.test), sharing, int(near.sum()), int(shares.sum()), len(split.test) - len(known))


def _near_in_tile(index: pd.DataFrame, split: Split) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    """Which test patches have the place of a training patch in their tile, and which lie a step from one at most.

    None where no places in tiles are known.
    """
    columns = index[[name for name in ("tile", "column", "row") if name in index.columns]]
    if columns.shape[1] < 3:
        return None
    known = (columns["tile"].notna() & (columns["column"] >= 0)).to_numpy(dtype=bool)
    train, at = split.train[known[split.train]], np.flatnonzero(known[split.test])
    if not len(train) or not len(at):
        return None
    cells, column_step = _cells(columns.iloc[np.concatenate([train, split.test[at]])])
    taken, of_test = np.unique(cells[: len(train)]), cells[len(train) :]
    steps = [across * column_step + down for across in (-1, 0, 1) for down in (-1, 0, 1)]
    same, near = np.zeros(len(split.test), dtype=bool), np.zeros(len(split.test), dtype=bool)
    same[at] = np.isin(of_test, taken)
    near[at] = np.isin(of_test + np.array(steps)[:, None], taken).any(axis=0)
    return same, near


def _cells(index: pd.DataFrame) -> tuple[npt.NDArray[np.int64], int]:
    """A number for each place in a tile, different from those of all others and of their neighbours, and its change with a column."""
    places = index[["column", "row"]].to_numpy(dtype=np.int64)
    places = places - places.min(axis=0) + 1
    columns, rows = (int(most) + 2 for most in places.max(axis=0))
    tiles = pd.factorize(index["tile"])[0].astype(np.int64)
    return np.asarray((tiles * columns + places[:, 0]) * rows + places[:, 1]), rows
