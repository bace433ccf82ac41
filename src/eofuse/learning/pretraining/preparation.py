"""The patches of a pretraining: `Unlabelled`. Test patches are not among them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.loading import Loader, Rows
from eofuse.data.splits import buffer_words, make_split
from eofuse.data.store import Store
from eofuse.data.store.gaps import has_required, presence
from eofuse.errors import DataError
from eofuse.learning.foundations import input_context
from eofuse.learning.input_statistics import neutral_statistics, training_statistics
from eofuse.learning.lineage import History, Role, Training, used_patches
from eofuse.learning.preparation import describe_parts, flagged_patches
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions
from eofuse.learning.split_table import places_of, split_table
from eofuse.models.model import ModelSpec

FEWEST_PATCHES = 2
"""Patches of a part, with fewer of which nothing can be compared."""

FEWEST_INPUTS = 2
"""Modalities of a patch, with fewer of which it has no pair."""


@dataclass(frozen=True)
class Unlabelled:
    """A pretraining's data, ready.

    Attributes:
        store: the store.
        rows: rows of the store for train and validation with every input (of train, see `prepare_unlabelled`), labelled or not.
        present: which patches have which input, (patches,) by name.
        excluded: patches of these parts that were left out, by reason.
        reasons: why a patch is not among the rows, None for the others, (patches,).
        test: rows that the split keeps for testing, which are not read.
    """

    store: Store
    rows: dict[str, Rows]
    present: dict[str, npt.NDArray[np.bool_]]
    excluded: dict[str, int]
    reasons: npt.NDArray[np.object_]
    test: Rows

    def loader(self, options: PretrainingOptions) -> Loader:
        """A loader of the inputs."""
        context = input_context(self.store, options)
        return Loader(self.store, options.inputs, crop=options.data.crop, present=self.present, context=context)

    def history(self, options: PretrainingOptions) -> History:
        """What the weights have learned from."""
        modalities = self.loader(options).modalities
        rows = {Role.VALIDATION: self.rows["validation"], Role.INPUTS: self.rows["train"]}
        patches, roles = used_patches(self.store, list(modalities), rows)
        inputs = {name: list(modality.channel_names) for name, modality in modalities.items()}
        return History().then(Training(options.name, "pretraining", self.store.fingerprint, inputs, {}, roles), patches)

    def patches(self) -> pd.DataFrame:
        """The patches: patch_id, row, scene and part, a row each."""
        parts = [pd.DataFrame({**places_of(self.store.index, rows), "part": name}) for name, rows in self.rows.items()]
        return pd.concat(parts, ignore_index=True)

    def split_table(self) -> pd.DataFrame:
        """Which patch is for what (see `eofuse.learning.split_table`)."""
        return split_table(self.store.index, {"test": self.test, **self.rows}, self.reasons)

    def summary(self) -> dict[str, Any]:
        """JSON-ready facts about the data of the run."""
        return {
            **describe_parts(self.store, self.rows),
            "excluded": self.excluded,
            "test_patches_kept_away": len(self.test),
            "warnings": [],
        }


def prepare_unlabelled(store: Store, options: PretrainingOptions) -> Unlabelled:
    """Selects the patches of a pretraining: training and validation patches with every input.

    Where absent modalities have tokens, some methods learn from training patches with two inputs, too.

    Raises:
        UsageError: if a modality, channel or flag is unknown.
        DataError: if there are fewer than two patches for training or for validation.
    """
    for name in options.fusion.encoders or ():
        store.modality(name)
    there = presence(store, options.inputs, options.data.empty_bands)
    needed = has_required(store, options.data.require, options.data.empty_bands)
    complete = np.logical_and.reduce([*there.values(), needed])
    flagged = flagged_patches(store, options.data.exclude)
    split = make_split(store.index, options.split)
    parts = {"train": split.train, "validation": split.validation}
    usable = ~flagged & complete
    both = np.concatenate(list(parts.values()))
    excluded = {
        buffer_words(options.split): len(split.buffered),
        f"flagged ({', '.join(options.data.exclude)})": int(flagged[both].sum()),
        "lacks an input modality": int((~flagged & ~complete)[both].sum()),
    }
    rows = {name: part[usable[part]] for name, part in parts.items()}
    if METHODS[options.pretrain.method].learns_from_two_inputs and options.fusion.missing == "token":
        required = ~flagged & needed
        paired = np.sum(list(there.values()), axis=0) >= FEWEST_INPUTS
        excluded["lacks an input modality"] -= int((required & paired & ~complete)[split.train].sum())
        rows["train"] = split.train[(required & paired)[split.train]]
    for name, part in rows.items():
        if len(part) < FEWEST_PATCHES:
            found = f"{len(part)} {name} {'patch is' if len(part) == 1 else 'patches are'} left with every input"
            raise DataError(found, where=store.path, fix="choose other inputs or another split")
    left_out = {reason: count for reason, count in excluded.items() if count}
    reasons = np.full(len(store), "not in the split", dtype=object)
    near, flag, lack = excluded
    reasons[split.buffered] = near
    reasons[both] = np.where(flagged[both], flag, lack)
    reasons[np.concatenate([*rows.values(), split.test])] = None
    return Unlabelled(store, rows, there, left_out, reasons, split.test)


def model_without_heads(data: Unlabelled, options: PretrainingOptions, *, neutral: bool = False) -> ModelSpec:
    """The model of a pretraining.

    Args:
        data: its patches; the training ones give the channel statistics.
        options: its recipe.
        neutral: whether to take ones for statistics, without reading a pixel.
    """
    loader = data.loader(options)
    modalities = tuple(loader.modalities.values())
    rows = data.rows["train"]
    statistics = neutral_statistics(modalities) if neutral else training_statistics(loader, rows, options.fusion)
    return ModelSpec(modalities, options.fusion, {}, statistics, loader.patch_size, options.data.empty_bands)
