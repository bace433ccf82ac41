"""What is in a store.

`describe_store` gives counts, presence, channel statistics, classes, scenes, and leakage of the ways to split it. `look_at` gives what
a data card tells besides, for one split: `eofuse.reports.data_card` draws it, `eofuse.data.card.findings` judges it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.card.balance import Balance, balance, natural_target
from eofuse.data.card.duplicates import Duplicates, find_duplicates
from eofuse.data.card.statistics import Scan, channel_moments, scan_store
from eofuse.data.loading import Loader, in_order
from eofuse.data.scenes import Scenes, scenes_of
from eofuse.data.splits import Leakage, Protocol, Split, SplitOptions, leakage, make_split
from eofuse.data.splits.comparison import protocol_leakage
from eofuse.data.store import Store
from eofuse.data.store.gaps import empty_bands
from eofuse.data.targets import Target, make_target
from eofuse.errors import DataError, EofuseError
from eofuse.modalities import WORLDCOVER, Kind
from eofuse.progress import Progress

MOST_PATCHES = 10_000
"""Patches of which a data card reads rasters and series."""

TARGETS = ("climate_zone", "dominant_land_cover", "land_cover_above", "clc19", "clc43")


@dataclass(frozen=True)
class Description:
    """Facts about a store.

    Attributes:
        modalities: modality, kind, channels, dtype, patches that have it, share.
        channels: modality, channel, unit, mean, std, minimum, maximum, patches, and in how many of them it is empty.
        classes: target, class, patches, scenes, share; for every target that the store knows (of
            class maps, the share of pixels).
        scenes: how many scenes, spatial blocks in place of scenes, and patches of unknown scene; patches a scene or block:
            smallest, median, largest.
        splits: published part → patches.
        leakage: protocol → leakage.
    """

    modalities: pd.DataFrame
    channels: pd.DataFrame
    classes: pd.DataFrame
    scenes: dict[str, float]
    splits: dict[str, int]
    leakage: dict[str, Leakage]


def describe_store(store: Store) -> Description:
    """Reads a store once and describes it."""
    sizes = store.index["scene"].value_counts()  # of scenes that are known
    found = scenes_of(store.index)
    parts = store.index["split"].value_counts()
    return Description(
        modalities=_modalities(store),
        channels=_channels(store),
        classes=_classes(store),
        scenes={
            "scenes": found.scenes,
            "blocks": found.blocks,
            "unknown": found.unknown,
            "smallest": int(sizes.min()) if len(sizes) else 0,
            "median": float(sizes.median()) if len(sizes) else 0.0,
            "largest": int(sizes.max()) if len(sizes) else 0,
        },
        splits={str(name): int(count) for name, count in parts.items()},
        leakage=protocol_leakage(store.index, SplitOptions()),
    )


def _modalities(store: Store) -> pd.DataFrame:
    rows = []
    for modality in store.modalities.values():
        present = int(store.present(modality.name).sum())
        rows.append(
            {
                "modality": modality.name,
                "title": modality.title,
                "kind": modality.kind.value,
                "channels": len(modality.channels),
                "dtype": modality.dtype,
                "patches": present,
                "share": present / len(store),
            }
        )
    return pd.DataFrame(rows)


def _channels(store: Store) -> pd.DataFrame:
    loader = Loader(store, dict.fromkeys(store.modalities))
    rows = []
    for name, moments in channel_moments(loader, np.arange(len(store))).items():
        empty = empty_bands(store, name).sum(axis=0)
        for position, channel in enumerate(store.modalities[name].channels):
            rows.append(
                {
                    "modality": name,
                    "channel": channel.name,
                    "unit": channel.unit,
                    "mean": moments.mean[position],
                    "std": moments.std[position],
                    "minimum": moments.minimum[position],
                    "maximum": moments.maximum[position],
                    "patches": moments.patches,
                    "empty": int(empty[position]),
                }
            )
    return pd.DataFrame(rows)


def _classes(store: Store) -> pd.DataFrame:
    rows = []
    labels = store.provenance.get("labels", {})
    own = [name for name, kind in labels.items() if kind != "number"]
    own += [modality.name for modality in store.modalities.values() if modality.kind is Kind.CATEGORY]
    for name in dict.fromkeys([*TARGETS, *own]):
        try:
            target = make_target(store, name)
        except EofuseError:  # this store does not know the target
            continue
        labelled = int(target.valid.sum())
        for number, label in enumerate(target.classes):
            column = target.values[:, number] > 0 if target.kind.has_several else target.values == number
            carries = column & target.valid
            if carries.any():
                scenes = store.index.loc[carries, "scene"].nunique()
                patches = int(carries.sum())
                rows.append(
                    {"target": name, "class": label, "patches": patches, "scenes": scenes, "share": patches / labelled}
                )
    for modality in store.modalities.values():
        if modality.is_categorical and modality.kind is Kind.RASTER and modality.name != WORLDCOVER.name:
            rows += _map_classes(store, make_target(store, modality.name))
    return pd.DataFrame(rows, columns=["target", "class", "patches", "scenes", "share"])


def _map_classes(store: Store, target: Target) -> list[dict[str, Any]]:
    """For each class of a class map, patches and scenes that show it, and its share of the labelled pixels."""
    pixels = np.zeros((len(store), len(target.classes)), dtype=np.int64)
    for part in in_order(np.flatnonzero(target.valid), 64):
        maps = target.read(part).reshape(len(part), -1)
        cells = maps + 256 * np.arange(len(part), dtype=np.int32)[:, None]
        counts = np.bincount(cells.ravel(), minlength=256 * len(part)).reshape(len(part), 256)
        pixels[part] = counts[:, : len(target.classes)]
    rows = []
    for number, label in enumerate(target.classes):
        shows = pixels[:, number] > 0
        if shows.any():
            share = pixels[:, number].sum() / pixels.sum()
            scenes = store.index.loc[shows, "scene"].nunique()
            names = {"target": target.name, "class": label}
            rows.append({**names, "patches": int(shows.sum()), "scenes": scenes, "share": share})
    return rows


@dataclass(frozen=True)
class DataCard:
    """Facts about a store and a way to split it.

    Attributes:
        split: the split that was looked at.
        protocol: how it was made.
        instead: why it is not by scene, empty if it is or was asked for.
        part: number of the part of each patch of the store, −1 for none, (patches,).
        scenes: part → its scenes, as far as they are known.
        leakage: how leaky the split is.
        protocols: how leaky each possible protocol is.
        presence: a row a modality, a column a part: patches that have it.
        scans: what was seen of each numeric modality.
        looked_at: patches of which rasters and series were read.
        bands: modality, channel, patches looked at, empty, constant (patches in which it is so), value (if it is the same
            everywhere, else NaN).
        duplicates: by modality.
        balance: of the target; None where the store has no labels.
        seed: of what was drawn.
    """

    split: Split
    protocol: str
    instead: str
    part: npt.NDArray[np.int64]
    scenes: dict[str, Scenes]
    leakage: Leakage
    protocols: dict[str, Leakage]
    presence: pd.DataFrame
    scans: dict[str, Scan]
    looked_at: int
    bands: pd.DataFrame
    duplicates: list[Duplicates]
    balance: Balance | None
    seed: int


def look_at(
    store: Store,
    *,
    protocol: Protocol | None = None,
    target: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> DataCard:
    """Gathers the facts of a data card. Of more than 10,000 patches, the rasters and series of as many are read.

    Args:
        store: the store.
        protocol: how it is split; by scene by default, where that is possible.
        target: whose balance is shown; what the store most likely is for by default.
        seed: of the split and of everything that is drawn.
        progress: called with (patches done, patches in all).

    Raises:
        DataError: if the store can't be split in the way asked for, or no patch has the target.
        UsageError: if there is no such target.
    """
    chosen = natural_target(store) if target is None else make_target(store, target)
    name, split, instead = _split(store.index, protocol, seed)
    part = np.full(len(store), -1)
    for number, rows in enumerate(split.parts().values()):
        part[rows] = number
    rows = np.arange(len(store))
    if len(rows) > MOST_PATCHES:
        rows = np.sort(np.random.default_rng([seed, 19]).choice(rows, size=MOST_PATCHES, replace=False))
    scans = scan_store(store, rows, seed, progress)
    return DataCard(
        split=split,
        protocol=name,
        instead=instead,
        part=part,
        scenes={key: scenes_of(store.index.iloc[chosen]) for key, chosen in split.parts().items()},
        leakage=leakage(store.index, split),
        protocols=protocol_leakage(store.index, SplitOptions(split_seed=seed)),
        presence=pd.DataFrame(
            {
                key: [int(store.present(m)[chosen].sum()) for m in store.modalities]
                for key, chosen in split.parts().items()
            },
            index=pd.Index(list(store.modalities), name="modality"),
        ),
        scans=scans,
        looked_at=len(rows),
        bands=_bands(scans),
        duplicates=find_duplicates(store, scans, part),
        balance=None if chosen is None else balance(chosen, split.parts(), seed),
        seed=seed,
    )


def _split(index: pd.DataFrame, protocol: Protocol | None, seed: int) -> tuple[str, Split, str]:
    """Name, split, and why it is not by scene."""
    if protocol is not None:
        return protocol, make_split(index, SplitOptions(protocol=protocol, split_seed=seed)), ""
    instead = ""
    others: tuple[Protocol, ...] = ("scene", "blocks", "random")
    for name in others:
        try:
            return name, make_split(index, SplitOptions(protocol=name, split_seed=seed)), instead
        except DataError as error:
            instead = instead or f"{error.where}: {error.what}" if error.where else instead or error.what
    raise DataError(instead, fix="a store needs at least three patches")


def _bands(scans: dict[str, Scan]) -> pd.DataFrame:
    lines = []
    for name, scan in scans.items():
        for position, channel in enumerate(scan.modality.channels):
            values = scan.values[:, position]
            known = values[np.isfinite(values)]
            lines.append(
                {
                    "modality": name,
                    "channel": channel.name,
                    "patches": len(scan.rows),
                    "empty": int(scan.empty[:, position].sum()),
                    "constant": int(scan.constant[:, position].sum()),
                    "value": float(known[0]) if len(known) and known.min() == known.max() else np.nan,
                }
            )
    return pd.DataFrame(lines, columns=["modality", "channel", "patches", "empty", "constant", "value"])
