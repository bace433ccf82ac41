"""From the options of a run to what it needs: store, task, rows of each part, and what was left out and why."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eofuse.data.loading import Loader, Rows
from eofuse.data.scenes import Scenes, scenes_of, units
from eofuse.data.splits import Leakage, buffer_words, leakage, make_split
from eofuse.data.splits.subsets import first_in_order, label_subset
from eofuse.data.store import Store, Window
from eofuse.data.store.gaps import has_required, lacking, presence, requirement
from eofuse.data.targets import canonical_name
from eofuse.data.targets.base import WHOLE_PATCH
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import sha256
from eofuse.learning.augment import Augmentation, make_augmentation
from eofuse.learning.cautions import missing_warnings
from eofuse.learning.fabric import open_device
from eofuse.learning.fine_tuning import FineTuning
from eofuse.learning.fitted import check_fitted_heads
from eofuse.learning.foundations import foundation_warnings, hiding_inputs, input_context, with_pixel_size
from eofuse.learning.input_statistics import neutral_statistics, training_statistics
from eofuse.learning.leaks import copied_patches, near_copies, refuse_leaking_inputs, refuse_one_target_twice
from eofuse.learning.lineage import History, Role, Training, history_of_vectors, used_patches
from eofuse.learning.options import RunOptions
from eofuse.learning.seen import refuse_seen, refuse_seen_vectors
from eofuse.learning.semi_supervised import make_views, refuse_other_tasks
from eofuse.learning.split_table import split_table
from eofuse.learning.transfer import StartOptions, history_of, start_from
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics
from eofuse.tasks import Task, make_task

REFITTED = (
    "The model was trained once more when validation had chosen, on training and validation patches together; "
    "the scores on validation, and what calibrates the predictions, are of the model before that."
)
FEW_PATCHES = 100


def describe_parts(store: Store, rows: Mapping[str, Rows]) -> dict[str, Any]:
    """JSON-ready facts about a store, and patches and scenes of each part of its split."""
    scenes = {name: scenes_of(store.index.iloc[found]) for name, found in rows.items()}
    return {
        "store": store.name,
        "store_path": os.fspath(store.path.resolve()),
        "fingerprint": store.fingerprint,
        "simulated": store.simulated,
        "stored": len(store),
        "patches": {name: len(found) for name, found in rows.items()},
        "scenes": {name: found.scenes + found.blocks for name, found in scenes.items()},
        "known_scenes": {name: asdict(found) for name, found in scenes.items()},
    }


@dataclass(frozen=True)
class Prepared:
    """A run's data, ready.

    Attributes:
        store: the store.
        tasks: what is learned, in the order of the recipe.
        rows: rows of the store for train, validation and test: those with every input (with `missing: token`, with one) and a target;
            of train, those that are labelled (see `LabelOptions`).
        unlabelled: rows of the other training patches with the inputs, whose labels are hidden or not known.
        usable: which patches have the inputs and a target, (patches,).
        present: which patches have which input, (patches,) by name.
        excluded: patches left out, by reason.
        reasons: why a patch was left out, None for the others, (patches,).
        lacking: what those lack that lack an input, with their number (see `eofuse.data.store.gaps.lacking`).
        leakage: of the rows used.
        window: pixels that are used, None for all.
        annotations: digests of the files with boxes or an order of labels.
        warnings: what a reader of the results must know.
        vectors: of frozen encoders, computed before, by the name under which a batch has them, (patches, width).
        measured: channel statistics of some patches that were measured before, by what was read of which.
    """

    store: Store
    tasks: list[Task]
    rows: dict[str, Rows]
    unlabelled: Rows
    usable: npt.NDArray[np.bool_]
    present: dict[str, npt.NDArray[np.bool_]]
    excluded: dict[str, int]
    reasons: npt.NDArray[np.object_]
    lacking: dict[str, int]
    leakage: Leakage
    window: Window | None
    annotations: list[str]
    warnings: list[str]
    vectors: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    measured: dict[str, ChannelStatistics] = field(default_factory=dict, repr=False, compare=False)

    def loader(self, options: RunOptions) -> Loader:
        """A loader of the run's inputs and targets."""
        targets = {task.name: task.target for task in self.tasks}
        more: dict[str, Any] = {"context": input_context(self.store, options), "beside": self.vectors}
        return Loader(self.store, options.inputs, targets, options.data.crop, present=self.present, **more)

    def augmentation(self, options: RunOptions) -> Augmentation:
        """What is done to a batch in training.

        Raises:
            UsageError: if it mixes what can't be mixed.
        """
        kinds = {task.name: task.kind for task in self.tasks}
        return make_augmentation(options.augment, self.loader(options).modalities, kinds)

    def only(self, task: Task) -> "Prepared":
        """The same data for one of the tasks, with the patches that have its target."""
        rows = {name: task.known(rows) for name, rows in self.rows.items()}
        return replace(self, tasks=[task], rows=rows)

    def with_validation(self) -> "Prepared":
        """The same data with the validation patches among those for training, for models of which validation has chosen all."""
        return replace(self, rows={**self.rows, "train": np.union1d(self.rows["train"], self.rows["validation"])})

    @property
    def training(self) -> Rows:
        """Rows of all training patches with every input, labelled or not."""
        return np.union1d(self.rows["train"], self.unlabelled)

    def split_table(self) -> pd.DataFrame:
        """Which patch is for what (see `eofuse.learning.split_table`)."""
        return split_table(self.store.index, {"unlabelled": self.unlabelled, **self.rows}, self.reasons)

    def known(self, part: str) -> dict[str, Rows]:
        """Rows of a part that have each target, by its name."""
        return {task.name: task.known(self.rows[part]) for task in self.tasks}

    def summary(self) -> dict[str, Any]:
        """JSON-ready facts about the data of the run."""
        return {
            **describe_parts(self.store, self.rows),
            "unlabelled": len(self.unlabelled),
            "excluded": self.excluded,
            "lacking": self.lacking,
            "leakage": asdict(self.leakage),
            "annotations": self.annotations,
            "warnings": self.warnings,
        }


def prepare(store: Store, options: RunOptions, *, blind: bool = False) -> Prepared:
    """Selects the patches of a run.

    Args:
        store: the store.
        options: the run's recipe.
        blind: whether nothing looks at the inputs, so that a target may derive from them.

    Raises:
        UsageError: if a modality, target or channel is unknown, a target is named twice, or an input gives it away.
        DataError: if no patch is left, or training patches show fewer than two classes.
    """
    for name in [*options.inputs, *options.fusion.named]:
        store.modality(name)
    tasks = [make_task(store, target) for target in options.targets]
    if options.unlabelled is not None:
        refuse_other_tasks(tasks)
    refuse_one_target_twice(store, [task.name for task in tasks])
    for task in tasks:
        if not blind:
            refuse_leaking_inputs(store, task.target, options.inputs, input_context(store, options))
    may_lack = options.fusion.missing == "token"
    there = presence(store, options.inputs, options.data.empty_bands)
    needed = [*requirement(options.inputs, one_is_enough=may_lack), *options.data.require]
    complete = has_required(store, needed, options.data.empty_bands)
    split = make_split(store.index, options.split)
    in_split = _mask(np.concatenate(list(split.parts().values())), len(store))
    wanted = ~flagged_patches(store, options.data.exclude)
    excluded, usable = {}, np.ones(len(store), dtype=bool)
    why = np.full(len(store), None, dtype=object)
    labelled = np.logical_or.reduce([task.target.valid for task in tasks])
    inputs_only = in_split & wanted & complete
    for reason, fits in {
        buffer_words(options.split): ~_mask(split.buffered, len(store)),
        "not in the split": in_split,
        f"flagged ({', '.join(options.data.exclude)})": wanted,
        f"lacks {'all inputs' if may_lack and not options.data.require else 'an input modality'}": complete,
        f"has no label ({', '.join(task.name for task in tasks)})": labelled,
    }.items():
        excluded[reason] = int((usable & ~fits).sum())  # counted once, for the first reason
        why[usable & ~fits] = reason
        usable &= fits
    parts = {name: rows[usable[rows]] for name, rows in split.parts().items()}
    for name, rows in parts.items():
        if not len(rows):
            reasons = ", ".join(f"{count} {reason}" for reason, count in excluded.items() if count)
            fix = "choose other inputs, target or split"
            if not may_lack and not complete.all():
                fix += ", or use patches that lack an input (fusion.missing: token)"
            raise DataError(f"no {name} patch is left ({reasons})", where=store.path, fix=fix)
    lacked = lacking(store, needed, options.data.empty_bands, in_split & wanted & ~complete)
    window = Window.centred(options.data.crop, store.patch_size) if options.data.crop else None
    used = type(split)(**parts)
    targets, scene = [task.target for task in tasks], units(store.index)
    if options.labels.order is None:
        train = label_subset(targets, scene, parts["train"], options.labels, window)
    else:
        train = first_in_order(store.index["patch_id"].to_numpy(), parts["train"], options.labels)
    parts = {**parts, "train": train}
    unlabelled = np.setdiff1d(split.train[inputs_only[split.train]], parts["train"])
    found = []
    if options.unlabelled is not None and not len(unlabelled):
        found.append("Every training patch is labelled: there is none for pseudo-labels, and training is supervised.")
    for task in tasks:
        if not blind:
            found += near_copies(store, task.target, options.inputs)
        for name, rows in parts.items():
            if not len(task.known(rows)):
                what = f"no {name} patch has the target '{task.name}'"
                raise DataError(what, where=store.path, fix="choose another target or split")
        task.fit(parts["train"], window)
        found += task.check(parts, store.path, refit=options.refit)
        if window and task.name.partition(".")[0] in WHOLE_PATCH:
            size = f"{window.height} × {window.width}"
            found.append(f"'{task.name}' describes whole patches, of which the inputs show the middle {size} pixels.")
    scenes = scenes_of(store.index.iloc[parts["test"]])
    found += _scene_warnings(store, np.concatenate(list(parts.values())), options.split.protocol)
    few = few_data_warning(sum(map(len, parts.values())), len(parts["test"]), scenes)
    if options.refit:
        used = replace(used, train=np.union1d(parts["train"], parts["validation"]))
        found.append(REFITTED)
    leaked = leakage(store.index, used)
    found += _leakage_warnings(leaked, options.split.protocol)
    learned = learned_rows(parts, unlabelled, options)
    if not blind:
        found += foundation_warnings(store, options, there, learned)
        found += copied_patches(store, options.inputs, learned, parts["test"])
        found += refuse_seen_vectors(store, options.inputs, parts, unlabelled, [task.target for task in tasks])
    if may_lack:
        with_tokens = {name: mask for name, mask in there.items() if name not in hiding_inputs(store, options)}
        found += missing_warnings(there, learned, parts["test"], with_tokens, dropped=options.drops_modalities)
    return Prepared(
        store,
        tasks,
        parts,
        unlabelled,
        usable,
        there,
        {reason: count for reason, count in excluded.items() if count},
        why,
        lacked,
        leaked,
        window,
        list(annotation_digests(options).values()),
        [*found, few] if few else found,
    )


def _mask(rows: Rows, count: int) -> npt.NDArray[np.bool_]:
    """Which of so many patches are among the rows, (patches,)."""
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    return mask


def learned_rows(rows: Mapping[str, Rows], unlabelled: Rows, options: RunOptions) -> Rows:
    """Rows of all patches from which a run learns: with pseudo-labels the unlabelled ones too, with `refit` those of validation."""
    learned = [rows["train"]]
    if options.unlabelled is not None:
        learned.append(unlabelled)
    if options.refit:
        learned.append(rows["validation"])
    return np.unique(np.concatenate(learned))


def annotation_digests(options: RunOptions) -> dict[str, str]:
    """Digests of the files with boxes, or an order of labels, that a recipe names, by path."""
    named = [*(task.file for task in options.targets), options.labels.order]
    return {name: sha256(Path(name)) for name in named if name and Path(name).is_file()}


def flagged_patches(store: Store, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
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


def _leakage_warnings(found: Leakage, protocol: str) -> list[str]:
    """What leaks from training into the test patches."""
    sorts = (
        (found.sharing_scene, "share a scene with"),
        (found.same_ground, "cover ground of"),
        (found.adjacent, "lie next to"),
    )
    return [
        f"{count} of {found.test_patches} test patches {words} training patches (split by '{protocol}'): "
        "scores of places or days that were not seen will be lower."
        for count, words in sorts
        if count
    ]


def _scene_warnings(store: Store, rows: Rows, protocol: str) -> list[str]:
    """What is not known of the scenes of the patches that are used."""
    found = scenes_of(store.index.iloc[rows])
    notes = [found.note[0].upper() + found.note[1:] + "."] if found.note else []
    if found.unknown and protocol == "scene":
        notes.append(
            f"For {found.unknown:,} of {found.patches:,} patches the split by scene is a random one, as far as anyone knows."
        )
    return notes


def few_data_warning(patches: int, test_patches: int, scenes: Scenes) -> str | None:
    """What to say of results on few test patches or scenes, None if there are enough."""
    if test_patches >= FEW_PATCHES and not scenes.is_few:
        return None
    return (
        f"{patches} patches, {test_patches} of them for testing, from {scenes.words}, prove nothing: "
        "the run shows that the data can be used, not which method is better."
    )


def inherited(prepared: Prepared, start: StartOptions, run: Path | None = None) -> tuple[History, list[str]]:
    """What the weights from which a run starts have learned from, and what a reader of its results must know of that.

    Raises:
        UsageError: if they have seen its test patches, or what its targets derive from.
    """
    history = history_of(start, run)
    targets = [task.target for task in prepared.tasks]
    return history, refuse_seen(history, prepared.store, prepared.rows, prepared.unlabelled, targets)


def with_training(history: History, prepared: Prepared, options: RunOptions) -> History:
    """A history with a run's own training, and those of runs whose vectors it takes."""
    for vectors in history_of_vectors(prepared.store, options.inputs).values():
        history = history.joined(vectors)
    store, loader = prepared.store, prepared.loader(options)
    labelled = prepared.with_validation() if options.refit else prepared
    rows = {
        Role.INPUTS: prepared.unlabelled,
        Role.VALIDATION: prepared.rows["validation"],
        Role.LABELS: labelled.rows["train"],
    }
    patches, roles = used_patches(store, list(loader.modalities), rows)
    inputs = {name: list(modality.channel_names) for name, modality in loader.modalities.items()}
    targets = {canonical_name(store, task.name): list(task.target.sources) for task in prepared.tasks}
    return history.then(Training(options.name, "run", store.fingerprint, inputs, targets, roles), patches)


def rehearse(prepared: Prepared, options: RunOptions) -> None:
    """Raises an error if the model of a run can't be built or started, its augmentation not be done, or its device is not there."""
    threads = torch.get_num_threads()
    open_device(options.train)
    torch.set_num_threads(threads)
    prepared.augmentation(options)
    if options.unlabelled is not None:
        make_views(options.unlabelled, prepared.loader(options).modalities)
    modalities = tuple(prepared.loader(options).modalities.values())
    model = build_model(_spec(prepared, options, neutral_statistics(modalities)), seed=0)
    if options.start is not None:
        inherited(prepared, options.start)
        FineTuning(model, options.start, start_from(model, options.start), seed=0)
    check_fitted_heads(model, options)


def model_spec(prepared: Prepared, options: RunOptions) -> ModelSpec:
    """The model of a run, with channel statistics of all its training patches, labelled or not."""
    loader = prepared.loader(options)
    rows = prepared.training  # inputs need no labels
    read = repr((options.inputs, options.data.crop, options.fusion.numbers, sha256_of(rows.tobytes()).hexdigest()))
    if read not in prepared.measured:
        prepared.measured[read] = training_statistics(loader, rows, options.fusion)
    return _spec(prepared, options, prepared.measured[read])


def _spec(prepared: Prepared, options: RunOptions, statistics: ChannelStatistics) -> ModelSpec:
    loader = prepared.loader(options)
    modalities = tuple(loader.modalities.values())
    return ModelSpec(
        modalities=modalities,
        fusion=with_pixel_size(options.fusion, prepared.store, modalities),
        heads={task.name: task.head() for task in prepared.tasks},
        statistics=statistics,
        patch_size=loader.patch_size,
        empty_bands=options.data.empty_bands,
    )
