"""What controls have in common: they prepare the data of a run folder, choose on validation, and write the folder's files."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from eofuse.data.loading import Rows
from eofuse.data.scenes import units
from eofuse.data.store import shared_store
from eofuse.learning.environment import describe_environment
from eofuse.learning.facts import ENVIRONMENT_FILE, RESULT_FILE, TEST_FILE, UNTRAINED, write_facts
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import write_test
from eofuse.learning.preparation import Prepared
from eofuse.learning.run import read_options
from eofuse.learning.sharing import prepare_once
from eofuse.learning.split_table import write_split
from eofuse.learning.validation import spread
from eofuse.tasks import Evidence, Task
from eofuse.tasks.base import Array

Setting = TypeVar("Setting")


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, features: Sequence[Array]) -> Array:
        """Probabilities or numbers, (patches, classes)."""
        ...


class Control:
    """A run folder that a control fills.

    Args:
        folder: with the recipe of the run that is controlled.
        blind: whether it does not look at the inputs.
    """

    def __init__(self, folder: Path, *, blind: bool = False) -> None:
        self.folder = folder
        self.started = time.perf_counter()
        self.options: RunOptions = read_options(folder)
        self.warnings: list[str] = []
        self.prepared: Prepared = prepare_once(shared_store(self.options.data.store), self.options, blind=blind)

    def note(self, warning: str) -> None:
        """Keeps what a reader of the scores must know; once, however often it is said."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    def judged_on(self) -> Rows:
        """Validation patches by which it chooses: as many as the run that is controlled looks at while it learns."""
        prepared, most = self.prepared, self.options.train.validation_patches
        return spread(prepared.tasks, prepared.rows["validation"], units(prepared.store.index), most)

    def finish(self, test: Mapping[str, Evidence], parameters: int) -> None:
        """Writes result and test files."""
        seconds = time.perf_counter() - self.started
        result = {**UNTRAINED, "seconds": seconds, "parameters": parameters, "warnings": self.warnings}
        write_facts(self.folder, ENVIRONMENT_FILE, describe_environment(self.options.train.device))
        write_split(self.prepared.split_table(), self.folder)
        write_facts(self.folder, RESULT_FILE, result)
        write_test(self.folder, self.prepared, test)


def ranking(task: Task, evidence: Evidence) -> float:
    """The task's metric on the validation patches, turned so that greater is better: the key by which the best model is chosen."""
    score = float(task.score(evidence)[task.metric])
    return -score if task.lower_is_better else score


def best_on_patches(
    control: Control,
    task: Task,
    features: Mapping[str, Sequence[Array]],
    fit: Callable[[list[Array], Array, Setting], Predictor],
    settings: Iterable[Setting],
    rows: Mapping[str, Rows] | None = None,
) -> Evidence:
    """Evidence of the test patches of the setting that is best on the validation patches; with `refit`, fitted once more on both.

    `fit` makes a model of features, (patches, width), one array or several, and of the truth, (patches, …). The features are those of
    the rows, all of the run by default.
    """
    spec, given = task.head(), rows or control.prepared.rows
    known = {part: task.target.valid[own] for part, own in given.items()}
    truth = {part: task.target.values[own[known[part]]] for part, own in given.items()}
    own = {part: [each[known[part]] for each in found] for part, found in features.items()}

    def worth(fitted: tuple[Setting, Predictor]) -> float:
        return ranking(task, task.evidence(fitted[1].predict(own["validation"]), truth["validation"], spec))

    setting, model = max(((setting, fit(own["train"], truth["train"], setting)) for setting in settings), key=worth)
    if control.options.refit:
        both = [np.concatenate(each) for each in zip(own["train"], own["validation"], strict=True)]
        model = fit(both, np.concatenate([truth["train"], truth["validation"]]), setting)
    return task.evidence(model.predict(own["test"]), truth["test"], spec)


def is_done(folder: Path) -> bool:
    """Whether a control has filled its folder."""
    return (folder / TEST_FILE).is_file()
