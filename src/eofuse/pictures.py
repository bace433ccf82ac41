"""Pictures of one run: the course of its training, its confusions, and test patches that it got right and wrong; of a pretraining.

::

    curves.png      loss and metric of training and validation by step
    confusion.png   of targets with one class a patch or pixel
    scatter.png     of targets with numbers a patch: predicted against true
    examples.png    test patches with truth and prediction, the best and the worst

Of a pretraining, `curves.png` has what was seen on validation, and `reconstruction.png` shows what methods that hide make of it.
"""

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eofuse.data.store import Store, Window, open_store
from eofuse.data.targets import make_target
from eofuse.errors import DataError
from eofuse.evaluation.metrics import METRICS
from eofuse.files import file_name, replacing
from eofuse.kinds import KINDS, Values
from eofuse.learning.augment.examples import example_draws, read_augment
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.outputs import maps_file
from eofuse.learning.pretraining.examples import Reconstructed, reconstructions
from eofuse.learning.pretraining.run import PretrainedRun, is_pretraining, open_pretraining
from eofuse.learning.run import Run, open_run
from eofuse.learning.validation import SKILL
from eofuse.reports.cards import map_panels, missing_store, shown_boxes
from eofuse.reports.examples import Chosen, Example, choose_examples, score_threshold
from eofuse.reports.figures.boxes import box_colour, draw_boxes
from eofuse.reports.figures.confusion import confusion_figure
from eofuse.reports.figures.course import Course, course_figure
from eofuse.reports.figures.maps import class_colours
from eofuse.reports.figures.patch import show_augmented as augmented_figure
from eofuse.reports.figures.rendering import NO_DATA, TRUE_COLOUR, Panel, has_channels, raster_panels
from eofuse.reports.figures.scatter import scatter_figure
from eofuse.reports.figures.sheet import Group, Thumbnail, best_raster, plain, quiet, sheet_figure, thumbnail_panel
from eofuse.reports.figures.style import VARIANT_COLOURS, write_png
from eofuse.reports.runs import class_totals, first_seed, predicted_map, seed_means
from eofuse.reports.wording import class_title, decimals, metric_words, number
from eofuse.studies.results import OverLabels, StudyResults
from eofuse.words import counted

MOST_EXAMPLES = 6
MOST_MAPS = 3
"""Patches on either side of `examples.png`, and of targets with pixels."""

MOST_SCATTERS = 6
TITLES = {
    "spread": "Spread of the vectors (below 0.05: collapsed)",
    "effective_rank": "Effective rank of the vectors",
    "knn_accuracy": "Accuracy of nearest neighbours",
    "pretext_accuracy": "Accuracy of the pretext",
    "matching_top1": "Matching accuracy, top 1",
    "matching_top5": "Matching accuracy, top 5",
}
"""What is seen while a pretraining runs."""

MAP_SIDE = 1.75
MOST_RECONSTRUCTED, RECONSTRUCTED_SIDE = 4, 1.9


@dataclass(frozen=True)
class RunPictures:
    """Pictures that were written.

    Attributes:
        paths: where.
        notes: what could not be drawn, and why.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def show_run(folder: str | os.PathLike[str], to: str | os.PathLike[str] | None = None) -> RunPictures:
    """Writes every picture of a run, see the module; with several targets all but the curves are `<picture>_<target>.png`.

    Args:
        folder: of a trained run or a pretraining.
        to: the folder for the pictures, that of the run by default.

    Raises:
        UsageError: if it is no run folder.
        DataError: if the run is not finished, or its files are missing or damaged.
    """
    folder = Path(folder)
    paths: list[Path] = []
    notes: list[str] = []
    figures = _figures_of_pretraining(folder, notes) if is_pretraining(folder) else _figures(open_run(folder), notes)
    for name, figure in figures:
        paths.append((folder if to is None else Path(to)) / name)
        keep_figure(figure, paths[-1])
    return RunPictures(tuple(paths), tuple(notes))


def show_augmented(
    store: Store,
    patch_id: str,
    augment: str | Mapping[str, Any] = "light",
    *,
    draws: int = 5,
    seed: int = 0,
    modalities: Collection[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draws the rasters of a patch as they are, and beside them what an augmentation makes of them.

    Args:
        store: the packed store.
        patch_id: the patch.
        augment: a preset, or single operations, as the section `augment` of a recipe.
        draws: how many times.
        seed: of everything random.
        modalities: the rasters that are wanted; all that the patch has by default.
        path: where to write it as PNG, if anywhere.

    Raises:
        UsageError: if the store has no such patch (it names the nearest), or the augmentation is wrong.
    """
    found = example_draws(store, patch_id, read_augment(augment), draws, seed, modalities)
    name = f"the augmentation '{augment}'" if isinstance(augment, str) else "an augmentation"
    title = f"as it is, and {counted(draws, 'draw')} of {name} with seed {seed}"
    return augmented_figure(store, patch_id, found, title, None if path is None else Path(path))


def keep_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    with replacing(path) as temporary:
        write_png(figure, temporary)


def _figures(run: Run, notes: list[str]) -> Iterator[tuple[str, Figure]]:
    """The pictures with the names of their files; what can't be drawn is added to the notes."""
    yield "curves.png", curves_of_run(run)
    store = _store(run)
    for entry in run.result["targets"]:
        target = entry["target"]
        ending = f"_{file_name(target)}" if len(run.result["targets"]) > 1 else ""
        if run.test is None or target not in run.test:
            notes.append(f"{target}: there are no test predictions, so there is no picture of them.")
            continue
        if KINDS[entry["kind"]].values is Values.CLASS and not KINDS[entry["kind"]].is_boxes:
            yield f"confusion{ending}.png", confusion_of_run(run, target)
        yield from _scatters(run, target, ending)
        if store is None or missing_store(results_of(run, target), store):
            where = read_facts(run.folder, DATA_FILE)["store_path"]
            why = "is not there any more" if store is None else "has changed since the run"
            notes.append(f"{target}: the store ({where}) {why}, so there are no examples.")
            continue
        yield f"examples{ending}.png", examples_of_run(run, target, store=store)


def _figures_of_pretraining(folder: Path, notes: list[str]) -> Iterator[tuple[str, Figure]]:
    """The pictures of a pretraining; why there is none of what it reconstructs is added to the notes."""
    yield "curves.png", curves_of_pretraining(open_pretraining(folder))
    try:
        figure = reconstruction_of_pretraining(open_pretraining(folder))
    except DataError as error:
        notes.append(f"there is no picture of reconstructions: {error}")
        return
    if figure is not None:
        yield "reconstruction.png", figure


def reconstruction_of_pretraining(run: PretrainedRun, most: int = MOST_RECONSTRUCTED) -> Figure | None:
    """Validation patches as they are, as the model saw them, and as it reconstructed them; none of a method that hides nothing.

    Args:
        run: a finished pretraining.
        most: patches at most.

    Raises:
        DataError: if its checkpoint or store is gone, or the store has changed.
    """
    found = reconstructions(run.folder)
    simulated = bool(read_facts(run.folder, DATA_FILE)["simulated"])
    return reconstruction_figure(found, simulated=simulated, most=most) if found else None


def curves_of_pretraining(run: PretrainedRun) -> Figure:
    """Loss of training and validation, and what else was seen on validation."""
    curves = run.curves()
    seen = list(dict.fromkeys(curves.loc[curves["split"] == "validation", "metric"]))
    courses = [_course(curves, f"Loss ({class_title(run.options.pretrain.method)})", "loss")]
    for metric in seen:
        if metric != "loss" and "." not in metric:
            own = curves[curves["split"] == "validation"]
            shares = ("pretext_accuracy", "matching_top1", "matching_top5", "knn_accuracy")
            courses.append(_course(own, TITLES.get(metric, metric), metric, 1.0 if metric in shares else math.inf))
    return course_figure(courses)


def reconstruction_figure(
    found: Sequence[Reconstructed], *, simulated: bool = False, most: int = MOST_RECONSTRUCTED
) -> Figure:
    """Original, what the model saw of it, and what it made of the hidden parts, of validation patches that are hidden in part."""
    one = min(found, key=lambda each: not has_channels(each.modality, TRUE_COLOUR))
    thumbnails = []
    for at in np.argsort(one.hidden.all(axis=(1, 2)), kind="stable")[:most].tolist():
        original, hidden = one.original[at], one.hidden[at]
        filled = np.where(hidden, one.reconstructed[at], original)
        beside = np.concatenate([original, original, filled], axis=2)  # one picture, so that colours have one scale
        pixels = raster_panels(one.modality, beside)[0].pixels
        assert pixels is not None
        whole, seen, mended = (part.copy() for part in np.split(pixels, 3, axis=1))
        seen[hidden] = NO_DATA
        share = f"{100 * (1 - hidden.mean()):.0f} %"
        thumbnails += [
            Thumbnail(whole, (plain("Original"), quiet(one.patch_ids[at]))),
            Thumbnail(seen, (plain(f"Seen by the model: {share}"),)),
            Thumbnail(mended, (plain("What was hidden, reconstructed"),)),
        ]
    title = f"{one.modality.title or one.modality.name} of validation patches"
    others = ", and from its other modalities" if len(found) > 1 else ""
    note = f"What is hidden is reconstructed from the rest of the patch{others}."
    mark = "   [simulated]" if simulated else ""
    return sheet_figure([Group("", tuple(thumbnails))], f"{title}{mark}", note, per_line=3, side=RECONSTRUCTED_SIDE)


def curves_of_run(run: Run) -> Figure:
    """Loss and ranking metric of training and validation, of each target; the best step is marked."""
    curves, entries = run.curves(), run.result["targets"]
    several = len(entries) > 1
    courses = []
    if several:
        of_all = curves[curves["target"].isna()]
        courses.append(_course(of_all, "Weighted loss of all targets", "loss"))
        courses.append(_course(of_all, "Mean skill", SKILL, 1.0))
    for entry in entries:
        own = curves[curves["target"] == entry["target"]]
        largest = float(own.loc[own["metric"] == entry["metric"], "value"].abs().max())
        words = metric_words(entry["metric"], KINDS[entry["kind"]], entry["unit"], largest)
        title = class_title(entry["target"])
        highest = METRICS[entry["metric"]].bounds[1] if entry["metric"] in METRICS else math.inf
        courses.append(_course(own, f"{title}: loss", "loss"))
        courses.append(_course(own, f"{title}: {words.with_unit}", entry["metric"], highest))
    best = int(run.result["best_step"])
    return course_figure(courses, best or None, f"best on validation: step {best:,}")


def _course(curves: pd.DataFrame, title: str, metric: str, highest: float = math.inf) -> Course:
    return Course(title, curves.loc[curves["metric"] == metric, ["split", "step", "value"]], highest)


def confusion_of_run(run: Run, target: str | None = None) -> Figure:
    """The confusion matrix of the test patches, of a target with one class a patch or pixel."""
    results = results_of(run, target)
    counts = class_totals(results, results.predictions).confusion[0]
    total, hits = float(counts.sum()), float(np.trace(counts))
    things = "pixels" if results.kind.is_map else "patches"
    title = f"{number(100 * hits / max(total, 1), 0)} % of {total:,.0f} test {things} right"
    return confusion_figure(counts, results.summary["classes"], title, shares_only=results.kind.is_map)


def _scatters(run: Run, target: str, ending: str) -> Iterator[tuple[str, Figure]]:
    """Predicted against true numbers, of a target with numbers a patch."""
    results = results_of(run, target)
    if results.kind.needs_maps or not results.kind.is_numbers:
        return
    _, evidence = seed_means(results, results.summary["baseline"], "prediction")
    names = results.summary["classes"][:MOST_SCATTERS]
    for at, name in enumerate(names):
        own = f"{ending}_{file_name(name)}" if len(names) > 1 else ending
        truth, predicted = evidence["truth"][:, at], evidence["prediction"][:, at]
        yield (
            f"scatter{own}.png",
            scatter_figure(truth, predicted, name, results.summary["unit"], VARIANT_COLOURS[0]),
        )


def examples_of_run(
    run: Run, target: str | None = None, *, store: Store | None = None, most: int | None = None
) -> Figure:
    """Test patches with truth and prediction: the best and the worst, or the most confidently right and wrong ones.

    Args:
        run: a tested run.
        target: the first by default.
        store: that of its recipe by default.
        most: patches on either side.

    Raises:
        DataError: if the store is not there, or has changed since.
    """
    results = results_of(run, target)
    store = store or open_store(results.summary["store_path"])
    if missing_store(results, store):
        raise DataError("the store has changed since the run", where=store.path, fix="give the store of the run")
    chosen = choose_examples(
        results, results.summary["baseline"], most or (MOST_MAPS if results.kind.is_map else MOST_EXAMPLES)
    )
    return _Examples(run, results, store).figure(chosen)


class _Examples:
    """Draws the chosen test patches of a run."""

    def __init__(self, run: Run, results: StudyResults, store: Store) -> None:
        self.results = results
        self.store = store
        self.kind = results.kind
        crop = run.options.data.crop
        self.window = Window.centred(crop, store.patch_size) if crop else None
        self.target = make_target(store, results.summary["target"]) if self.kind.is_map else None
        self.raster = best_raster(store, list(run.options.inputs), self.target.sources if self.target else ())
        self.shown: set[int] = set()
        self.threshold = 0.0
        if self.kind.is_boxes:
            self.threshold = score_threshold(results.evidence(first_seed(results, results.summary["baseline"])))

    def figure(self, chosen: Chosen) -> Figure:
        """The sheet."""
        groups = [
            Group(chosen.best_title, tuple(each for example in chosen.best for each in self._thumbnails(example))),
            Group(chosen.worst_title, tuple(each for example in chosen.worst for each in self._thumbnails(example))),
        ]
        mark = "   [simulated]" if self.store.simulated else ""
        title = f"{class_title(self.results.summary['target'])} of test patches{mark}"
        picture = f" Pictures: {self.raster.title or self.raster.name}." if self.raster is not None else ""
        rule = chosen.rule.partition("are means over seeds. ")[2] or chosen.rule
        rule = rule.replace(" of the first seed", "")
        if self.kind.is_boxes:
            rule = f"Solid: true boxes. Dashed: predicted ones. {rule}"
        style: dict[str, Any] = {"per_line": 4, "side": MAP_SIDE} if self.kind.is_map else {}
        return sheet_figure(groups, title, f"{rule}{picture}", legend=self._legend(chosen), **style)

    def _thumbnails(self, example: Example) -> list[Thumbnail]:
        row = self.store.row_of(example.patch_id)
        ground = thumbnail_panel(self.store, self.raster, row, self.window)
        pixels = None if ground is None else ground.pixels
        words = (
            *(plain(f"{name}: {value}" if name else value) for name, value in example.facts),
            quiet(example.patch_id),
        )
        if self.kind.is_boxes and pixels is not None:
            boxes = shown_boxes(self.results, example.prediction, self.threshold)
            size = pixels.shape[:2]
            return [Thumbnail(pixels, words, lambda axes: draw_boxes(axes, size, *boxes, line_width=1.1))]
        if self.target is None:
            return [Thumbnail(pixels, words)]
        truth = self.target.read(np.array([row]), self.window)[0]
        predicted = predicted_map(self.results, example.prediction)
        if predicted is not None and not self.kind.is_numbers:
            self.shown.update(np.unique(truth).tolist(), np.unique(predicted).tolist())
        panels = map_panels(self.store, self.target, self.results.summary, truth, predicted, most=1)
        return [Thumbnail(pixels, words), *(Thumbnail(panel.pixels, _panel_words(panel)) for panel in panels)]

    def _legend(self, chosen: Chosen) -> list[tuple[str, str]]:
        """Colours of the classes, of maps and boxes."""
        classes = self.results.summary["classes"]
        if self.kind.is_boxes:
            return [(box_colour(at), class_title(name)) for at, name in enumerate(classes)]
        if self.target is None or self.kind.is_numbers or not (chosen.best or chosen.worst):
            return []
        source = self.target.sources[0] if self.target.sources else ""
        colours = class_colours(classes, self.store.modalities.get(source))
        named = enumerate(zip(colours, classes, strict=True))
        return [(colour, class_title(name)) for at, (colour, name) in named if at in self.shown]


def _panel_words(panel: Panel) -> tuple[tuple[str, str], ...]:
    if panel.ramp is not None:
        digits = decimals(max(abs(panel.ramp.low), abs(panel.ramp.high)) / 10)
        ends = f"{number(panel.ramp.low, digits)} to {number(panel.ramp.high, digits)} {panel.ramp.unit}".rstrip()
        return plain(panel.title), quiet(ends)
    return (plain(panel.title), quiet(panel.caption)) if panel.caption else (plain(panel.title),)


class RunResults(StudyResults):
    """What a single run says of its test patches, as the results of a study with one variant and one seed."""

    def maps_file(self, cell: str) -> Path:
        """Where the maps that the run predicted lie."""
        return maps_file(self.folder, self.summary["target"])


def results_of(run: Run, target: str | None = None) -> RunResults:
    """The results of a tested run for one of its targets, the first by default.

    Raises:
        DataError: if its predictions are missing or damaged.
    """
    target = target or run.targets[0]
    entry = next(entry for entry in run.result["targets"] if entry["target"] == target)
    data, name = read_facts(run.folder, DATA_FILE), run.options.name
    summary = {
        **{key: entry[key] for key in ("target", "classes", "unit", "metric")},
        "task_kind": entry["kind"],
        "baseline": name,
        "crop": run.options.data.crop,
        "store_path": data["store_path"],
        "fingerprint": data["fingerprint"],
    }
    labels = {"variant": name, "role": "variant", "seed": 0, "fold": 0, "n_labels": data["patches"]["train"]}
    nothing = pd.DataFrame()
    cells = pd.DataFrame([{"cell": "", **labels}])
    return RunResults(
        folder=run.folder,
        summary=summary,
        predictions=run.predictions(target).assign(**labels),
        cells=cells,
        labels=labels["n_labels"],
        over_labels=OverLabels(*[nothing] * 6),
        **dict.fromkeys(
            ("results", "leaderboard", "comparisons", "questions", "without", "attribution", "curves", "per_class"),
            nothing,
        ),
    )


def _store(run: Run) -> Store | None:
    """The store of the run, if it is where it was."""
    path = Path(read_facts(run.folder, DATA_FILE)["store_path"])
    return open_store(path) if path.exists() else None
