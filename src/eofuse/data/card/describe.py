"""What is in a store: counts, presence, channel statistics, class balance, scenes, leakage of the ways to split it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.card.statistics import channel_moments
from eofuse.data.loading import Loader, in_order
from eofuse.data.scenes import scenes_of
from eofuse.data.splits import Leakage, SplitOptions
from eofuse.data.splits.comparison import protocol_leakage
from eofuse.data.store import Store
from eofuse.data.store.gaps import empty_bands
from eofuse.data.targets import Target, make_target
from eofuse.errors import EofuseError
from eofuse.modalities import WORLDCOVER, Kind

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
        labelled = int(target.known.sum())
        for number, label in enumerate(target.classes):
            column = target.values[:, number] > 0 if target.kind.has_several else target.values == number
            carries = column & target.known
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
    pixels = np.zeros((len(store), 256), dtype=np.int64)
    for part in in_order(np.flatnonzero(target.known), 64):
        for row, numbers in zip(part, target.read(part), strict=True):
            pixels[row] = np.bincount(numbers.ravel(), minlength=256)
    pixels = pixels[:, : len(target.classes)]
    rows = []
    for number, label in enumerate(target.classes):
        shows = pixels[:, number] > 0
        if shows.any():
            share = pixels[:, number].sum() / pixels.sum()
            scenes = store.index.loc[shows, "scene"].nunique()
            names = {"target": target.name, "class": label}
            rows.append({**names, "patches": int(shows.sum()), "scenes": scenes, "share": share})
    return rows
