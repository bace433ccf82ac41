"""The picture of test patches with truth and prediction: those that a run got right, and those that it got wrong."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eofuse.data.store import Store, Window, open_store
from eofuse.data.targets import make_target
from eofuse.errors import DataError
from eofuse.learning.run import Run
from eofuse.pictures.results import results_of
from eofuse.reports.cards import map_panels, missing_store, shown_boxes
from eofuse.reports.examples import Chosen, Example, choose_examples, score_threshold
from eofuse.reports.figures.boxes import box_colour, draw_boxes
from eofuse.reports.figures.maps import class_colours
from eofuse.reports.figures.rendering import Panel
from eofuse.reports.figures.sheet import Group, Thumbnail, best_raster, plain, quiet, sheet_figure, thumbnail_panel
from eofuse.reports.runs import first_seed, predicted_map
from eofuse.reports.wording import class_title, decimals, number
from eofuse.studies.results import StudyResults

MOST_EXAMPLES = 6
MOST_MAPS = 3
"""Patches on either side, and of targets with pixels."""

MAP_SIDE = 1.75


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
