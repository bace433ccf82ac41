"""Pretraining within a study: a run without labels for every seed and fold, from which variants start."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eofuse.config import merge, parse_options
from eofuse.data.store import Store
from eofuse.errors import UsageError
from eofuse.learning.loop import WITHOUT_EFFECT
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, rehearse
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.learning.pretraining.preparation import model_without_heads, prepare_unlabelled
from eofuse.learning.pretraining.run import rehearse_pretraining
from eofuse.learning.run import MODEL_FOLDER
from eofuse.models.artifact import save_model
from eofuse.models.model import build_model
from eofuse.studies.axes import AxesOptions

PREFIX = "pretraining:"
"""How `start.from` names a pretraining of the study."""


@dataclass(frozen=True)
class Pretraining:
    """One pretraining run of a study."""

    name: str
    options: PretrainingOptions

    @property
    def role(self) -> str:
        """What it is for."""
        return "pretraining"

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"pretraining {self.name}, seed {self.options.seed}"

    def at(self, fold: int, seed: int) -> "Pretraining":
        """The same on a fold and with a seed."""
        split = self.options.split.model_copy(update={"fold": fold})
        return replace(self, options=self.options.model_copy(update={"split": split, "seed": seed}))

    def identity(self, data: str) -> str:
        """Hash of recipe, data and seed."""
        recipe = self.options.model_dump(
            mode="json", exclude={"name": True, "data": {"store"}, "train": {"device", *WITHOUT_EFFECT}}
        )
        return hashlib.sha256(json.dumps(["pretrained", recipe, data], sort_keys=True).encode()).hexdigest()[:16]


def plan_pretraining(base: Mapping[str, Any], axes: AxesOptions, where: object) -> dict[str, PretrainingOptions]:
    """The recipes of `study.pretraining`: the base recipe's sections that a pretraining has, with the keys of each.

    What augmentation is good for it depends on its method, so that of the base recipe does not count.

    Raises:
        UsageError: if a key or value is wrong.
    """
    shared = {key: value for key, value in base.items() if key in PretrainingOptions.model_fields and key != "augment"}
    found = {}
    for name, change in axes.pretraining.items():
        merged = merge(shared, {**change, "name": name, "seed": axes.seeds[0]})
        if "inputs" in change:
            merged["inputs"] = change["inputs"]
        place = f"{where}, study.pretraining.{name}" if where else f"study.pretraining.{name}"
        options = parse_options(PretrainingOptions, merged, place)
        given = change.get("split")
        if given is not None or options.data.store != (base.get("data") or {}).get("store"):
            raise UsageError("split and data.store are those of the study", where=place, fix="remove them")
        train = options.train.model_copy(update={"loggers": ()})  # as of variants
        found[name] = options.model_copy(update={"train": train})
    return found


def rehearse_start(store: Store, prepared: Prepared, options: RunOptions, pretraining: PretrainingOptions) -> None:
    """Raises an error if a variant can't start from a pretraining, or the pretraining can't be done."""
    rehearse_pretraining(store, pretraining)
    data = prepare_unlabelled(store, pretraining)
    untrained = build_model(model_without_heads(data, pretraining, neutral=True), seed=0)
    untrained.history = data.history(pretraining).to_text()
    with TemporaryDirectory() as folder:
        save_model(untrained, Path(folder) / MODEL_FOLDER)
        rehearse(prepared, started_from(options, Path(folder)))


def started_from(options: RunOptions, folder: Path) -> RunOptions:
    """A recipe that starts from a finished run's folder."""
    assert options.start is not None
    start = options.start.model_copy(update={"source": str(folder.resolve())})
    return options.model_copy(update={"start": start})


def pretraining_name(options: RunOptions) -> str | None:
    """The name of the study's pretraining from which a variant starts, if it starts from one."""
    if options.start is None or not options.start.source.startswith(PREFIX):
        return None
    return options.start.source.removeprefix(PREFIX)
