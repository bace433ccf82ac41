"""What a Python user holds of finished work: `TrainedRun` and `Study`, by `open_run` and `open_study`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.data.store import Store, open_store
from eofuse.errors import UsageError
from eofuse.evaluation.metrics import lower_is_better
from eofuse.inference.arrays import Prediction, predict_arrays, predict_table
from eofuse.inference.predict import predict_store
from eofuse.learning import run as runs
from eofuse.learning.run import MODEL_FOLDER, Run, open_last
from eofuse.learning.split_table import read_split
from eofuse.reports.html import write_report
from eofuse.studies.choice import Choice, choose_runs
from eofuse.studies.results import StudyResults, read_results
from eofuse.words import counted

REPORT_FILE = "report.html"

AnyPath = str | os.PathLike[str]
Data = Store | AnyPath | Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class TrainedRun(Run):
    """A trained run that predicts; see `eofuse.learning.run.Run`."""

    def __repr__(self) -> str:
        scores = []
        for entry in self.result["targets"]:
            name, metric, unit = entry["target"], entry["metric"], f" {entry['unit']}" if entry["unit"] else ""
            score = f"{name}: {metric} {entry['validation'][metric]:.3f}{unit} on validation"
            if self.test is not None and name in self.test:
                score += f", {self.test[name][metric]:.3f}{unit} on test"
            scores.append(score)
        return f"Run({str(self.folder)!r}; {'; '.join(scores)})"

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes, or of the numbers, of each target, in the order of the predictions."""
        return {entry["target"]: tuple(entry["classes"]) for entry in self.result["targets"]}

    def split(self) -> pd.DataFrame:
        """Which patch was for what: patch_id, row, scene, part, reason (see `eofuse.learning.split_table`).

        Raises:
            DataError: if the run was made by a version that did not record it.
        """
        return read_split(self.folder)

    def predict(
        self, data: Data, *, maps: AnyPath | None = None, threshold: float = 0.5, device: str = "auto"
    ) -> pd.DataFrame:
        """Predictions as a table, a row a patch, with the columns of `eofuse.predict_store`.

        Args:
            data: a store, or arrays by modality, with values as the sensor gave them (see `eofuse.inference.arrays`).
            maps: folder for GeoTIFFs of pixels and GeoJSON of boxes, of a store.
            threshold: probability from which one of several classes counts, score from which a box counts.
            device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

        Raises:
            UsageError: if maps are wanted of arrays, or the arrays don't fit the model.
            DataError: if the store does not fit the model, or no patch has the inputs.
        """
        model = open_last(self.folder).folder / MODEL_FOLDER
        return _predict([model], data, maps=maps, threshold=threshold, device=device, source=f"run {self.folder}")

    def predict_arrays(self, arrays: Mapping[str, Any], *, device: str = "auto") -> dict[str, Prediction]:
        """Predictions by target as arrays: probabilities, numbers, maps, boxes (see `eofuse.inference.arrays`).

        Raises:
            UsageError: if the arrays don't fit the model.
            DataError: if no patch has the inputs.
        """
        return predict_arrays(open_last(self.folder).folder / MODEL_FOLDER, arrays, device=device)


@dataclass(frozen=True, repr=False)
class Study:
    """A finished study.

    Attributes:
        results: its tables.
    """

    results: StudyResults

    def __repr__(self) -> str:
        variants = [entry["name"] for entry in self.results.summary["variants"] if entry["role"] == "variant"]
        targets, seeds = self.results.targets, self.results.summary["seeds"]
        size = f"{counted(len(variants), 'variant')} × {counted(len(seeds), 'seed')}"
        return f"Study({str(self.folder)!r}: {size} → {', '.join(targets)})"

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.results.folder

    def leaderboard(self, metric: str | None = None, target: str | None = None) -> pd.DataFrame:
        """Variants and controls from best to worst by one metric of one target; the ranking one of the first by default.

        Columns: target, variant, role, metric, mean over seeds, seed_sd, low and high (95 % interval over scenes), n_seeds,
        n_test, n_scenes, and difference, p_holm (to the baseline, paired; missing for controls).

        Raises:
            UsageError: if the study has no such metric or target.
        """
        results = self.results if target is None else self.results.of(target)
        metric = metric or results.summary["metric"]
        table = results.leaderboard
        table = table[table["metric"] == metric]
        if table.empty:
            names = ", ".join(results.summary["metrics"])
            raise UsageError(f"the study has no metric '{metric}'", fix=f"it has {names}")
        comparisons = results.comparisons
        to_baseline = (comparisons["metric"] == metric) & (comparisons["baseline"] == results.summary["baseline"])
        chosen = comparisons.loc[to_baseline, ["variant", "difference", "p_holm"]].assign(role="variant")
        merged = table.merge(chosen, on=["variant", "role"], how="left")
        return merged.sort_values("mean", ascending=lower_is_better(metric), ignore_index=True)

    def choose(self, variant: str | None = None, seed: int | None = None) -> Choice:
        """The runs that predict: those of the variant with the best validation score (see `eofuse.studies.choice`)."""
        return choose_runs(self.folder, variant, seed)

    def predict(
        self,
        data: Data,
        *,
        variant: str | None = None,
        seed: int | None = None,
        maps: AnyPath | None = None,
        threshold: float = 0.5,
        device: str = "auto",
    ) -> pd.DataFrame:
        """What the chosen runs predict together: their mean; arguments and result as of `TrainedRun.predict`.

        Args:
            data: a store, or arrays by modality.
            variant: its name, in place of the one with the best validation score.
            seed: only the runs with this seed.
            maps: folder for GeoTIFFs of pixels and GeoJSON of boxes, of a store.
            threshold: probability from which one of several classes counts, score from which a box counts.
            device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        """
        choice = self.choose(variant, seed)
        models = [folder / MODEL_FOLDER for folder in choice.folders]
        return _predict(models, data, maps=maps, threshold=threshold, device=device, source=choice.words)

    def report(self) -> Path:
        """Writes the report and returns its path."""
        path = Path(self.results.summary["store_path"])
        store = open_store(path) if path.exists() else None
        return write_report(self.results, store, self.folder / REPORT_FILE)


def _predict(
    models: Sequence[Path], data: Data, *, maps: AnyPath | None, threshold: float, device: str, source: str
) -> pd.DataFrame:
    if isinstance(data, Mapping):
        if maps is not None:
            fix = "predict a store, or use `predict_arrays`"
            raise UsageError("maps are files of a store's patches", where="maps", fix=fix)
        return predict_table(models, data, threshold=threshold, device=device)
    given: object = data  # as it comes from Python, where nothing holds anybody to the types
    if not isinstance(given, (Store, str, os.PathLike)):
        fix = 'give a store, its path, or arrays by modality, such as {"s2": array}'
        raise UsageError(f"is {type(given).__name__}, which names no modality", where="data", fix=fix)
    store = data if isinstance(data, Store) else open_store(data)
    return predict_store(models, store, maps=maps, threshold=threshold, device=device, source=source)


def open_run(folder: AnyPath) -> TrainedRun:
    """A trained run, read from its folder.

    Raises:
        UsageError: if it is no run folder.
        DataError: if its training is not finished or its files are damaged.
    """
    found = runs.open_run(Path(folder))
    return TrainedRun(found.folder, found.options, found.result, found.test)


def open_study(folder: AnyPath) -> Study:
    """A finished study, read from its folder."""
    return Study(read_results(Path(folder)))
