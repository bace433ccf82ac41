"""Cards of test patches: what was predicted, what is true, and pictures of both beside those of the inputs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.store import Store, Window
from eofuse.data.targets import Target, make_target
from eofuse.reports.examples import Chosen, Example, choose_examples, score_threshold
from eofuse.reports.figures.boxes import box_colour, boxes_figure
from eofuse.reports.figures.maps import class_colours, class_panels, number_panels
from eofuse.reports.figures.patch import patch_panels
from eofuse.reports.figures.rendering import Panel
from eofuse.reports.figures.style import svg_data_uri
from eofuse.reports.pictures import PanelPicture, panel_picture
from eofuse.reports.runs import first_seed, predicted_map
from eofuse.reports.wording import class_title, number
from eofuse.studies.results import StudyResults

MOST_NUMBER_MAPS = 2


def example_cards(results: StudyResults, store: Store | None, variant: str, most: int) -> Chosen:
    """The best and the worst test patches of a variant, with pictures.

    There are none without the store, or if it has changed since the study ran.
    """
    chosen = choose_examples(results, variant, most)
    note = missing_store(results, store)
    if store is None or note:
        return replace(chosen, note=note)
    painter = Painter(results, store, variant)
    best, worst = (
        tuple(replace(example, panels=painter.panels(example)) for example in part)
        for part in (chosen.best, chosen.worst)
    )
    return replace(chosen, best=best, worst=worst)


def missing_store(results: StudyResults, store: Store | None) -> str:
    """Why patches of the store can't be shown; empty if they can."""
    if store is None:
        place = results.summary["store_path"]
        return f"The store ({place}) was not at hand when this report was written, so there are no pictures."
    if store.fingerprint != results.summary["fingerprint"]:
        return "The store has changed since the study ran (its fingerprint differs), so there are no pictures."
    return ""


def shown_boxes(
    results: StudyResults, prediction: pd.Series, threshold: float
) -> tuple[np.ndarray, np.ndarray, list[int], list[float]]:
    """True boxes (M, 5) of a patch, and the predicted ones (P, 4) from a score on, with their class numbers and scores."""
    evidence = {name: array[0] for name, array in results.evidence(prediction.to_frame().T).items()}
    truth = np.asarray(prediction["truth_boxes"], dtype=np.float64).reshape(-1, 5)
    shown = (evidence["scores"] >= threshold) & (evidence["labels"] >= 0)
    labels, scores = evidence["labels"][shown].astype(int), evidence["scores"][shown].astype(float)
    return truth[truth[:, 4] >= 0], evidence["boxes"][shown].astype(float), labels.tolist(), scores.tolist()


def map_panels(
    store: Store,
    target: Target,
    summary: Mapping[str, Any],
    truth: np.ndarray,
    predicted: np.ndarray | None,
    most: int = MOST_NUMBER_MAPS,
) -> list[Panel]:
    """The true and the predicted map of a patch, and what is wrong.

    Args:
        store: the store.
        target: what is predicted.
        summary: of the results.
        truth: as the target gives it for one patch.
        predicted: see `predicted_map`.
        most: of several numbers a pixel, how many are shown.
    """
    classes, unit = summary["classes"], summary["unit"]
    if predicted is None:
        return [Panel("Predicted", None)]
    if not target.kind.is_numbers:
        source = target.sources[0] if target.sources else ""
        return class_panels(truth, predicted, classes, class_colours(classes, store.modalities.get(source)))
    names = classes if len(classes) > 1 else [""]
    shown = range(min(len(classes), most))
    return [panel for at in shown for panel in number_panels(truth[at], predicted[at], names[at], unit)]


class Painter:
    """Draws the panels of one target's patches: the truth and the prediction first, then the inputs.

    Args:
        results: of the target.
        store: on which they were made.
        variant: whose predictions are drawn.
    """

    def __init__(self, results: StudyResults, store: Store, variant: str) -> None:
        self.results = results
        self.store = store
        self.variant = variant
        self.kind = results.kind
        crop = results.summary.get("crop")
        self.window = Window.centred(crop, store.patch_size) if crop else None
        self.target = make_target(store, results.summary["target"]) if self.kind.is_map else None
        self.threshold = 0.0
        if self.kind.is_boxes:
            self.threshold = score_threshold(results.evidence(first_seed(results, variant)))

    def panels(self, example: Example) -> tuple[PanelPicture, ...]:
        """Pictures of one patch."""
        inputs = self.inputs(self.store.row_of(example.patch_id))
        first: list[PanelPicture] = []
        if self.kind.is_boxes:
            first, inputs = self._boxes(example.prediction, inputs)
        else:
            first = [panel_picture(panel) for panel in self.maps(example.prediction)]
        return (*first, *(panel_picture(panel) for panel in inputs))

    def inputs(self, row: int) -> list[Panel]:
        """What the store holds of a patch, but for what the target derives from."""
        return patch_panels(self.store, row, self.window, without=self.target.sources if self.target else ())

    def maps(self, prediction: pd.Series) -> list[Panel]:
        """The true and the predicted map of a patch, and what is wrong; nothing of targets without maps.

        `prediction` is a row of `eofuse.reports.runs.first_seed`.
        """
        if self.target is None:
            return []
        truth = self.target.read(np.array([self.store.row_of(str(prediction["patch_id"]))]), self.window)[0]
        predicted = predicted_map(self.results, prediction)
        return map_panels(self.store, self.target, self.results.summary, truth, predicted)

    def _boxes(self, prediction: pd.Series, inputs: list[Panel]) -> tuple[list[PanelPicture], list[Panel]]:
        """The boxes on the first picture that the patch has, and the other pictures."""
        ground = next((panel for panel in inputs if panel.pixels is not None and panel.frames == 1), None)
        if ground is None or ground.pixels is None:
            return [], inputs
        truth, boxes, labels, scores = shown_boxes(self.results, prediction, self.threshold)
        figure = boxes_figure(ground.pixels, truth, boxes, labels, scores)
        classes = self.results.summary["classes"]
        present = sorted({*truth[:, 4].astype(int).tolist(), *labels})
        legend = tuple((box_colour(at), class_title(classes[at])) for at in present)
        caption = f"Solid: true. Dashed: predicted, with a score of at least {number(self.threshold, 2)}."
        shown = PanelPicture(f"Boxes on {ground.title}", svg_data_uri(figure), caption, legend, large=True)
        return [shown], [panel for panel in inputs if panel is not ground]
