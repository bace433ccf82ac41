"""The patches of a pretraining: `Unlabelled`. Test patches are not among them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.loading import Loader, Rows
from eofuse.data.splits import make_split
from eofuse.data.statistics import channel_moments
from eofuse.data.store import Store
from eofuse.errors import DataError
from eofuse.learning.preparation import describe_parts, flagged_patches
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.models.model import ModelSpec
from eofuse.models.normalisation import ChannelStatistics

FEWEST_PATCHES = 2
"""Patches of a part, with fewer of which nothing can be compared."""


@dataclass(frozen=True)
class Unlabelled:
    """A pretraining's data, ready.

    Attributes:
        store: the store.
        rows: rows of the store for train and validation with every input, labelled or not.
        excluded: patches of these parts that were left out, by reason.
        test_patches: number of patches that the split keeps for testing, which are not read.
    """

    store: Store
    rows: dict[str, Rows]
    excluded: dict[str, int]
    test_patches: int

    def loader(self, options: PretrainingOptions) -> Loader:
        """A loader of the inputs."""
        return Loader(self.store, options.inputs, crop=options.data.crop)

    def patches(self) -> pd.DataFrame:
        """The patches: patch_id, row, scene and part, a row each."""
        parts = [
            pd.DataFrame(
                {
                    "patch_id": self.store.index["patch_id"].iloc[rows].to_numpy(),
                    "row": rows,
                    "scene": self.store.index["scene"].iloc[rows].to_numpy(),
                    "part": name,
                }
            )
            for name, rows in self.rows.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> dict[str, Any]:
        """JSON-ready facts about the data of the run."""
        return {
            **describe_parts(self.store, self.rows),
            "excluded": self.excluded,
            "test_patches_kept_away": self.test_patches,
            "warnings": [],
        }


def prepare_unlabelled(store: Store, options: PretrainingOptions) -> Unlabelled:
    """Selects the patches of a pretraining: training and validation patches with every input.

    Raises:
        UsageError: if a modality, channel or flag is unknown.
        DataError: if there are fewer than two patches for training or for validation.
    """
    wanted = [*options.inputs, *options.data.require]
    complete = np.logical_and.reduce([store.present(name) for name in wanted])
    flagged = flagged_patches(store, options.data.exclude)
    split = make_split(store.index, options.split)
    parts = {"train": split.train, "validation": split.validation}
    usable = ~flagged & complete
    both = np.concatenate(list(parts.values()))
    excluded = {
        f"flagged ({', '.join(options.data.exclude)})": int(flagged[both].sum()),
        "lacks an input modality": int((~flagged & ~complete)[both].sum()),
    }
    rows = {name: part[usable[part]] for name, part in parts.items()}
    for name, part in rows.items():
        if len(part) < FEWEST_PATCHES:
            found = f"{len(part)} {name} {'patch is' if len(part) == 1 else 'patches are'} left with every input"
            raise DataError(found, where=store.path, fix="choose other inputs or another split")
    return Unlabelled(
        store, rows, {reason: count for reason, count in excluded.items() if count}, test_patches=len(split.test)
    )


def model_without_heads(data: Unlabelled, options: PretrainingOptions, *, neutral: bool = False) -> ModelSpec:
    """The model of a pretraining.

    Args:
        data: its patches; the training ones give the channel statistics.
        options: its recipe.
        neutral: whether to take ones for statistics, without reading a pixel.
    """
    loader = data.loader(options)
    modalities = tuple(loader.modalities.values())
    if neutral:
        ones = {modality.name: [1.0] * len(modality.channels) for modality in modalities}
        statistics = ChannelStatistics(mean=ones, std=ones)
    else:
        moments = channel_moments(loader, data.rows["train"])
        mean = {name: found.mean.tolist() for name, found in moments.items()}
        statistics = ChannelStatistics(mean, {name: found.std.tolist() for name, found in moments.items()})
    return ModelSpec(modalities, options.fusion, {}, statistics, loader.patch_size)
