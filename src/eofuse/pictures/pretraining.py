"""Pictures of a pretraining: its curves, and what methods that hide parts reconstruct."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from eofuse.errors import DataError
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.pretraining.examples import Reconstructed, reconstructions
from eofuse.learning.pretraining.run import PretrainedRun, open_pretraining
from eofuse.pictures.curves import course_of
from eofuse.reports.figures.course import course_figure
from eofuse.reports.figures.rendering import NO_DATA, TRUE_COLOUR, has_channels, raster_panels
from eofuse.reports.figures.sheet import Group, Thumbnail, plain, quiet, sheet_figure
from eofuse.reports.wording import class_title

TITLES = {
    "spread": "Spread of the vectors (below 0.05: collapsed)",
    "effective_rank": "Effective rank of the vectors",
    "knn_accuracy": "Accuracy of nearest neighbours",
    "pretext_accuracy": "Accuracy of the pretext",
    "matching_top1": "Matching accuracy, top 1",
    "matching_top5": "Matching accuracy, top 5",
}
"""What is seen while a pretraining runs."""


MOST_RECONSTRUCTED, RECONSTRUCTED_SIDE = 4, 1.9


def figures_of_pretraining(folder: Path, notes: list[str]) -> Iterator[tuple[str, Figure]]:
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
    courses = [course_of(curves, f"Loss ({class_title(run.options.pretrain.method)})", "loss")]
    for metric in seen:
        if metric != "loss" and "." not in metric:
            own = curves[curves["split"] == "validation"]
            shares = ("pretext_accuracy", "matching_top1", "matching_top5", "knn_accuracy")
            courses.append(course_of(own, TITLES.get(metric, metric), metric, 1.0 if metric in shares else math.inf))
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
