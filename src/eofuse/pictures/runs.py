"""Pictures of one run: the course of its training, its confusions, and predicted against true numbers."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eofuse.data.store import open_store
from eofuse.evaluation.metrics import METRICS
from eofuse.files import file_name
from eofuse.kinds import KINDS, Values
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.run import Run
from eofuse.learning.validation import SKILL
from eofuse.pictures.curves import course_of
from eofuse.pictures.examples import examples_of_run
from eofuse.pictures.results import results_of
from eofuse.reports.cards import missing_store
from eofuse.reports.figures.confusion import confusion_figure
from eofuse.reports.figures.course import course_figure
from eofuse.reports.figures.scatter import scatter_figure
from eofuse.reports.figures.style import VARIANT_COLOURS
from eofuse.reports.runs import class_totals, seed_means
from eofuse.reports.wording import class_title, metric_words, number

MOST_SCATTERS = 6


def figures_of_run(run: Run, notes: list[str]) -> Iterator[tuple[str, Figure]]:
    """The pictures with the names of their files; what can't be drawn is added to the notes."""
    yield "curves.png", curves_of_run(run)
    where = Path(read_facts(run.folder, DATA_FILE)["store_path"])
    store = open_store(where) if where.exists() else None
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
            why = "is not there any more" if store is None else "has changed since the run"
            notes.append(f"{target}: the store ({where}) {why}, so there are no examples.")
            continue
        yield f"examples{ending}.png", examples_of_run(run, target, store=store)


def curves_of_run(run: Run) -> Figure:
    """Loss and ranking metric of training and validation, of each target; the best step is marked."""
    curves, entries = run.curves(), run.result["targets"]
    several = len(entries) > 1
    courses = []
    if several:
        of_all = curves[curves["target"].isna()]
        courses.append(course_of(of_all, "Weighted loss of all targets", "loss"))
        courses.append(course_of(of_all, "Mean skill", SKILL, 1.0))
    for entry in entries:
        own = curves[curves["target"] == entry["target"]]
        largest = float(own.loc[own["metric"] == entry["metric"], "value"].abs().max())
        words = metric_words(entry["metric"], KINDS[entry["kind"]], entry["unit"], largest)
        title = class_title(entry["target"])
        highest = METRICS[entry["metric"]].bounds[1] if entry["metric"] in METRICS else math.inf
        courses.append(course_of(own, f"{title}: loss", "loss"))
        courses.append(course_of(own, f"{title}: {words.with_unit}", entry["metric"], highest))
    best = int(run.result["best_step"])
    return course_figure(courses, best or None, f"best on validation: step {best:,}")


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
