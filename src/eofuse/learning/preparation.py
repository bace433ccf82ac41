"""From the options of a run to what it needs: store, task, rows of each part, and what was left out and why."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import Field, field_validator

from eofuse.config import Options
from eofuse.data.loading import Loader, Rows
from eofuse.data.splits import Leakage, SplitOptions, leakage, make_split
from eofuse.data.statistics import channel_moments
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.learning.loop import TrainOptions, open_fabric
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics
from eofuse.tasks import Task, TaskOptions, make_task

FEW_PATCHES = 100
FEW_SCENES = 20


class DataOptions(Options):
    """Which data.

    Attributes:
        store: path of the packed store.
        crop: side in pixels of the square in the middle of each patch that is used; the whole patch by default.
        require: modalities that a patch must have, besides the inputs; a study needs it to use the same patches for all.
        exclude: columns of the index that are true for patches to be left out, as `cloud_or_shadow` and `seasonal_snow`.
    """

    store: str
    crop: int | None = Field(default=None, ge=8)
    require: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class RunOptions(Options):
    """Everything that a run depends on: its recipe.

    Attributes:
        name: a few words, for people.
        data: which data.
        inputs: modalities that the model sees; as a mapping, with the channels of each (null for all).
        split: how patches are divided.
        task: what is learned.
        fusion: how modalities are joined, and by which encoder.
        train: how it is trained.
        seed: fixes initial weights, order and randomness.
    """

    name: str = "run"
    data: DataOptions
    inputs: dict[str, list[str] | None]
    split: SplitOptions = SplitOptions()
    task: TaskOptions
    fusion: FusionOptions = FusionOptions()
    train: TrainOptions = TrainOptions()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("inputs", mode="before")
    @classmethod
    def _as_mapping(cls, value: Any) -> Any:
        if isinstance(value, list):
            if len(set(map(str, value))) < len(value):
                raise ValueError("a modality is named twice")
            return {str(name): None for name in value}
        return value

    @field_validator("inputs")
    @classmethod
    def _not_empty(cls, value: dict[str, list[str] | None]) -> dict[str, list[str] | None]:
        if not value:
            raise ValueError("name at least one modality")
        return value


@dataclass(frozen=True)
class Prepared:
    """A run's data, ready.

    Attributes:
        store: the store.
        task: the task.
        rows: rows of the store for train, validation and test: those with every input and the label.
        usable: which patches have every input and the label, (patches,).
        excluded: patches left out, by reason.
        leakage: of the rows used.
        warnings: what a reader of the results must know.
    """

    store: Store
    task: Task
    rows: dict[str, Rows]
    usable: npt.NDArray[np.bool_]
    excluded: dict[str, int]
    leakage: Leakage
    warnings: list[str]

    def loader(self, options: RunOptions) -> Loader:
        """A loader of the run's inputs and target."""
        return Loader(self.store, options.inputs, {self.task.name: self.task.target}, options.data.crop)

    def summary(self) -> dict[str, Any]:
        """JSON-ready facts about the data of the run."""
        scenes = self.store.index["scene"]
        return {
            "store": self.store.name,
            "store_path": os.fspath(self.store.path.resolve()),
            "fingerprint": self.store.fingerprint,
            "simulated": self.store.simulated,
            "patches": {name: len(rows) for name, rows in self.rows.items()},
            "scenes": {name: int(scenes.iloc[rows].nunique()) for name, rows in self.rows.items()},
            "excluded": self.excluded,
            "leakage": asdict(self.leakage),
            "warnings": self.warnings,
        }


def prepare(store: Store, options: RunOptions) -> Prepared:
    """Selects the patches of a run.

    Raises:
        UsageError: if a modality, target or channel is unknown, or the target derives from an input.
        DataError: if no patch is left, or training patches show fewer than two classes.
    """
    for name in [*options.inputs, *options.data.require]:
        store.modality(name)
    task = make_task(store, options.task)
    refuse_leaking_inputs(task, options.inputs)
    complete = np.logical_and.reduce(
        [store.present(name) for name in {**options.inputs, **dict.fromkeys(options.data.require)}]
    )
    split = make_split(store.index, options.split)
    in_split = np.zeros(len(store), dtype=bool)
    for rows in split.parts().values():
        in_split[rows] = True
    wanted = ~_flagged(store, options.data.exclude)
    excluded, usable = {}, np.ones(len(store), dtype=bool)
    for reason, fits in {
        "not in the split": in_split,
        f"flagged ({', '.join(options.data.exclude)})": wanted,
        "lacks an input modality": complete,
        f"has no label ({task.name})": task.target.known,
    }.items():
        excluded[reason] = int((usable & ~fits).sum())  # counted once, for the first reason
        usable &= fits
    parts = {name: rows[usable[rows]] for name, rows in split.parts().items()}
    for name, rows in parts.items():
        if not len(rows):
            reasons = ", ".join(f"{count} {reason}" for reason, count in excluded.items() if count)
            raise DataError(
                f"no {name} patch is left ({reasons})", where=store.path, fix="choose other inputs, target or split"
            )
    constant = np.tile(task.constant_prediction(parts["train"]), (len(parts["validation"]), 1))
    if math.isnan(task.score(task.target.values[parts["validation"]], constant)[task.metric]):
        found = f"{task.metric} is not defined on the validation patches: none carries a class of '{task.name}'"
        raise DataError(found, where=store.path, fix="choose another target, threshold or split")
    used = type(split)(**parts)
    task.weigh_classes(used.train)
    return Prepared(
        store,
        task,
        parts,
        usable,
        {reason: count for reason, count in excluded.items() if count},
        leakage(store.index, used),
        _warnings(store, task, parts),
    )


def _flagged(store: Store, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Patches for which one of these columns of the index is true, (patches,).

    Raises:
        UsageError: if there is no such column of true and false.
    """
    flags = [name for name, dtype in store.index.dtypes.items() if pd.api.types.is_bool_dtype(dtype)]
    flagged = np.zeros(len(store), dtype=bool)
    for column in columns:
        if column not in flags:
            raise UsageError(f"no flag '{column}'", where="data.exclude", fix=did_you_mean(column, map(str, flags)))
        flagged |= store.index[column].fillna(False).to_numpy(dtype=bool)
    return flagged


def refuse_leaking_inputs(task: Task, inputs: Mapping[str, Sequence[str] | None]) -> None:
    """Raises a `UsageError` if the target derives from one of the inputs."""
    for source in task.target.sources:
        if source in inputs:
            found = f"the target '{task.name}' derives from the input '{source}': the model would only copy it"
            raise UsageError(found, where="inputs", fix=f"leave out '{source}'")


def _warnings(store: Store, task: Task, rows: dict[str, Rows]) -> list[str]:
    """What limits the worth of results on these patches.

    Raises:
        DataError: if the training patches show fewer than two classes.
    """
    found = []
    train, test = task.target.counts(rows["train"]), task.target.counts(rows["test"])
    if (train > 0).sum() < 2:
        present = ", ".join(name for name, count in zip(task.classes, train, strict=True) if count) or "none"
        fix = "choose another target or split"
        raise DataError(
            f"training patches show fewer than two classes of '{task.name}' ({present})", where=store.path, fix=fix
        )
    unseen = [
        f"{name} ({after})"
        for name, before, after in zip(task.classes, train, test, strict=True)
        if after and not before
    ]
    if unseen:
        found.append(
            f"Classes in the test set that no training patch shows, and no model can learn: {', '.join(unseen)}."
        )
    scenes = store.index["scene"].iloc[rows["test"]].nunique()
    few = few_data_warning(sum(map(len, rows.values())), len(rows["test"]), scenes)
    return [*found, few] if few else found


def few_data_warning(patches: int, test_patches: int, test_scenes: int) -> str | None:
    """What to say of results on few test patches or scenes, None if there are enough."""
    if test_patches >= FEW_PATCHES and test_scenes >= FEW_SCENES:
        return None
    return (
        f"{patches} patches, {test_patches} of them for testing, from {test_scenes} scenes, prove nothing: "
        "the run shows that the data can be used, not which method is better."
    )


def rehearse(prepared: Prepared, options: RunOptions) -> None:
    """Raises a `UsageError` if the model of a run can't be built, or its device is not there."""
    threads = torch.get_num_threads()
    open_fabric(options.train)
    torch.set_num_threads(threads)
    modalities = tuple(prepared.loader(options).modalities.values())
    neutral = {modality.name: [1.0] * len(modality.channels) for modality in modalities}
    build_model(_spec(prepared, options, ChannelStatistics(mean=neutral, std=neutral)), seed=0)


def model_spec(prepared: Prepared, options: RunOptions) -> ModelSpec:
    """The model of a run, with channel statistics of its training patches."""
    loader = prepared.loader(options)
    moments = channel_moments(loader, prepared.rows["train"])
    mean = {name: found.mean.tolist() for name, found in moments.items()}
    std = {name: found.std.tolist() for name, found in moments.items()}
    return _spec(prepared, options, ChannelStatistics(mean, std))


def _spec(prepared: Prepared, options: RunOptions, statistics: ChannelStatistics) -> ModelSpec:
    loader = prepared.loader(options)
    return ModelSpec(
        modalities=tuple(loader.modalities.values()),
        fusion=options.fusion,
        heads={prepared.task.name: prepared.task.head()},
        statistics=statistics,
        patch_size=loader.patch_size,
    )
