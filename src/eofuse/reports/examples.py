"""Which test patches to show: those on which a variant does best and worst."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.evaluation.metrics.segmentation import patch_counts
from eofuse.evaluation.weighting import divide, mean_where
from eofuse.kinds import Place, Values
from eofuse.registry import Registry
from eofuse.reports.pictures import PanelPicture
from eofuse.reports.runs import first_seed, seed_means
from eofuse.reports.wording import class_title, decimals, number
from eofuse.studies.results import StudyResults
from eofuse.words import counted

THRESHOLD = 0.5
MOST_NUMBERS = 6

FloatArray = npt.NDArray[np.float64]
Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Example:
    """One test patch under one variant.

    Attributes:
        prediction: its row of the predictions (of the first seed, or of the first run that has it).
        facts: what is predicted and true, as (name, words).
        order: by what it was chosen: the larger, the better (best patches) or the worse (worst ones).
        panels: pictures, if there are any.
    """

    prediction: pd.Series
    facts: Facts
    order: float
    panels: tuple[PanelPicture, ...] = ()

    @property
    def patch_id(self) -> str:
        """Name of the patch."""
        return str(self.prediction["patch_id"])


@dataclass(frozen=True)
class Chosen:
    """The best and the worst test patches, the most extreme first.

    Attributes:
        best: those on which the variant does best.
        worst: those on which it does worst.
        rule: how they were chosen, in a sentence.
        best_title: heading of the best.
        worst_title: heading of the worst.
        note: why there are no pictures, if there are none.
    """

    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()
    rule: str = ""
    best_title: str = "Best"
    worst_title: str = "Worst"
    note: str = ""


CHOICES: Registry[Callable[[StudyResults, str, int], Chosen]] = Registry(
    "choice of test patches", "eofuse.tasks", "eofuse.reports.examples"
)
"""By the name of a kind of task; those that eofuse has, by what is predicted (see `standard`)."""


def standard(place: Place, values: Values) -> str:
    """Name of the choice for kinds that have none of their own."""
    return f"{values.value} a {place.value}"


def choose_examples(results: StudyResults, variant: str, most: int = 4) -> Chosen:
    """The best and the worst test patches of a variant.

    Labels: the most confident right and the most confident wrong ones, by probabilities averaged over seeds; single
    label: by the probability of the predicted class; several labels: by cross-entropy. Numbers: by the absolute error
    of the mean over seeds, in units of the root mean squared error of each number. Maps and boxes: those of the first
    seed, by the share of right pixels, by the root mean squared error, and by the F1 of boxes.
    """
    if not (results.predictions["variant"] == variant).any():
        return Chosen()
    kind = results.kind
    choose = CHOICES.get(kind.name) or CHOICES[standard(kind.place, kind.values)]
    return choose(results, variant, most)


@CHOICES.register(standard(Place.PATCH, Values.CLASS))
def _single_label(results: StudyResults, variant: str, most: int) -> Chosen:
    patches, evidence = seed_means(results, variant, "probabilities")
    probabilities, classes = evidence["probabilities"], results.summary["classes"]
    every = np.eye(len(classes), dtype=bool)
    truth, predicted = every[evidence["truth"].astype(int)], every[probabilities.argmax(axis=1)]
    certainty = probabilities.max(axis=1)
    rule = (
        "Probabilities are means over seeds. Ordered by the probability of the predicted class; one patch for each true "
        "class while there are classes left."
    )
    return _labels(patches, truth, predicted, probabilities, classes, most, (certainty, certainty), rule)


@CHOICES.register(standard(Place.PATCH, Values.CLASSES))
def _multi_label(results: StudyResults, variant: str, most: int) -> Chosen:
    patches, evidence = seed_means(results, variant, "probabilities")
    probabilities, truth = evidence["probabilities"], evidence["truth"].astype(bool)
    given = np.clip(np.where(truth, probabilities, 1 - probabilities), 1e-9, 1)
    entropy = -np.log(given).mean(axis=1)
    classes, predicted = results.summary["classes"], probabilities >= THRESHOLD
    rule = (
        "Probabilities are means over seeds. Ordered by cross-entropy; right means that every label is right at a threshold "
        "of 0.5; one patch for each set of labels while there are sets left."
    )
    return _labels(patches, truth, predicted, probabilities, classes, most, (-entropy, entropy), rule)


def _labels(
    patches: pd.DataFrame,
    truth: npt.NDArray[np.bool_],
    predicted: npt.NDArray[np.bool_],
    probabilities: FloatArray,
    classes: Sequence[str],
    most: int,
    orders: tuple[FloatArray, FloatArray],
    rule: str,
) -> Chosen:
    right = (truth == predicted).all(axis=1)
    keys = [row.tobytes() for row in truth]

    def facts(place: int) -> Facts:
        found = ("Predicted", _named(predicted[place], probabilities[place], classes))
        return (found,) if right[place] else (found, ("True", _named(truth[place], probabilities[place], classes)))

    best = _examples(patches, _take(orders[0], right, keys, most), facts, orders[0])
    worst = _examples(patches, _take(orders[1], ~right, keys, most), facts, orders[1])
    return Chosen(best, worst, rule, "Most confidently right", "Most confidently wrong")


def _named(chosen: npt.NDArray[np.bool_], probabilities: FloatArray, classes: Sequence[str]) -> str:
    """The chosen classes with their probabilities, the most probable first."""
    ranked = sorted(np.flatnonzero(chosen).tolist(), key=lambda position: -float(probabilities[position]))
    return "; ".join(f"{class_title(classes[at])} ({number(float(probabilities[at]), 2)})" for at in ranked) or "none"


@CHOICES.register(standard(Place.PATCH, Values.NUMBERS))
def _regression(results: StudyResults, variant: str, most: int) -> Chosen:
    patches, evidence = seed_means(results, variant, "prediction")
    truth, predicted = evidence["truth"], evidence["prediction"]
    classes, unit = results.summary["classes"], results.summary["unit"]
    absolute = np.abs(predicted - truth)
    typical = np.sqrt((absolute**2).mean(axis=0))
    error = divide(absolute, np.broadcast_to(typical, absolute.shape))
    error = mean_where(error, np.isfinite(error))

    def facts(place: int) -> Facts:
        largest = np.sort(np.argsort(-absolute[place], kind="stable")[:MOST_NUMBERS])
        rows = []
        for at in largest.tolist():
            digits = max(decimals(float(np.abs(truth[:, at]).max())) - 1, 0)
            true, given = number(float(truth[place, at]), digits), number(float(predicted[place, at]), digits)
            rows.append((class_title(classes[at]), f"{given} {unit}".rstrip() + f" (true {true})"))
        return tuple(rows)

    several = len(classes) > 1
    rule = "Predictions are means over seeds. Ordered by the absolute error" + (
        ", averaged over the numbers after division by the RMSE of each" if several else ""
    )
    if len(classes) > MOST_NUMBERS:
        rule += f"; of each patch the {MOST_NUMBERS} numbers with the largest errors are named"
    return _extremes(patches, -error, facts, most, f"{rule}.")


@CHOICES.register(standard(Place.PIXEL, Values.CLASS))
def _segmentation(results: StudyResults, variant: str, most: int) -> Chosen:
    patches = first_seed(results, variant)
    hits, support, found = patch_counts(results.evidence(patches)["confusion"])
    accuracy = divide(hits.sum(axis=1), support.sum(axis=1))
    overlap = mean_where(divide(hits, support + found - hits), support > 0)
    varied = (support > 0).sum(axis=1) > 1

    def facts(place: int) -> Facts:
        return (
            ("Right pixels", f"{number(100 * float(accuracy[place]), 0)} %"),
            ("Mean IoU of its classes", number(float(overlap[place]), 2)),
        )

    rule = (
        "The maps of the first seed, ordered by the share of right pixels; patches of a single class come last among the "
        "best, and one patch for each most common class is taken while there are classes left."
    )
    return _extremes(patches, accuracy, facts, most, rule, keys=support.argmax(axis=1), telling=varied)


@CHOICES.register(standard(Place.PIXEL, Values.NUMBERS))
def _pixel_regression(results: StudyResults, variant: str, most: int) -> Chosen:
    patches = first_seed(results, variant)
    sums = results.evidence(patches)["sums"]
    unit = results.summary["unit"]
    errors = np.sqrt(divide(sums[..., 3], sums[..., 0]))
    bias = divide(sums[..., 1], sums[..., 0])
    typical = np.sqrt(divide(sums[..., 3].sum(axis=0), sums[..., 0].sum(axis=0)))
    relative = divide(errors, np.broadcast_to(typical, errors.shape))
    relative = mean_where(relative, np.isfinite(relative))
    digits = max(decimals(float(np.nanmax(errors, initial=0.0))) - 1, 0)

    def facts(place: int) -> Facts:
        return tuple(
            (
                f"RMSE of {class_title(name)}" if len(results.summary["classes"]) > 1 else "RMSE",
                f"{number(float(errors[place, at]), digits)} {unit}".rstrip()
                + f" (bias {number(float(bias[place, at]), digits)})",
            )
            for at, name in enumerate(results.summary["classes"][:MOST_NUMBERS])
        )

    rule = "The maps of the first seed, ordered by their root mean squared error."
    return _extremes(patches, -relative, facts, most, rule)


@CHOICES.register(standard(Place.BOX, Values.CLASS))
def _detection(results: StudyResults, variant: str, most: int) -> Chosen:
    patches = first_seed(results, variant)
    evidence = results.evidence(patches)
    threshold = score_threshold(evidence)
    shown = (evidence["scores"] >= threshold) & (evidence["labels"] >= 0)
    found = (shown & (evidence["matched"][..., 0] > 0)).sum(axis=1)
    predicted, true = shown.sum(axis=1), evidence["counts"].sum(axis=1)
    f1 = divide((2 * found).astype(float), (predicted + true).astype(float))

    def facts(place: int) -> Facts:
        false = int(predicted[place] - found[place])
        return (
            ("Found", f"{found[place]} of {counted(int(true[place]), 'true box', 'true boxes')}"),
            ("False alarms", str(false)),
        )

    rule = (
        f"The boxes of the first seed with a score of at least {number(threshold, 2)}, ordered by their F1, where a box "
        "counts as found from an IoU of 0.5, and then by the number of boxes. Patches without any box are left out."
    )
    crowd = np.minimum(predicted + true, 99)
    ends = f1 + np.where(f1 > 0.5, crowd, -crowd) / 1000  # among equals, the patch with more boxes tells more
    return _extremes(patches, ends, facts, most, rule)


def score_threshold(evidence: dict[str, np.ndarray]) -> float:
    """The score from which boxes are shown: 0.5, or less if fewer boxes than there are true ones reach it."""
    scores = np.sort(evidence["scores"][evidence["labels"] >= 0])[::-1]
    if not len(scores):
        return THRESHOLD
    enough = min(max(int(evidence["counts"].sum()), 1), len(scores))
    return min(THRESHOLD, float(scores[enough - 1]))


def _extremes(
    patches: pd.DataFrame,
    score: FloatArray,
    facts: Callable[[int], Facts],
    most: int,
    rule: str,
    keys: npt.NDArray[np.int64] | None = None,
    telling: npt.NDArray[np.bool_] | None = None,
) -> Chosen:
    """The patches of highest and lowest score; those without one are left out.

    Each half of the patches gives one sort. Each of the `keys` is taken once while there are others, and `telling` patches are the
    best before the others.
    """
    known = np.isfinite(score)
    half = min(most, -(-int(known.sum()) // 2))
    names = list(range(len(score))) if keys is None else keys.tolist()
    preferred = known if telling is None else known & telling
    best = _take(score, preferred, names, half)
    best += _take(score, known & ~preferred, names, half - len(best))
    rest = known.copy()
    rest[best] = False
    worst = _take(-score, rest, names, half)
    return Chosen(_examples(patches, best, facts, score), _examples(patches, worst, facts, -score), rule)


def _take(order: FloatArray, allowed: npt.NDArray[np.bool_], keys: Sequence[object], most: int) -> list[int]:
    """Positions of the largest `order`: one for each key while there are keys left, then further ones."""
    fresh: list[int] = []
    repeated: list[int] = []
    seen: set[object] = set()
    for place in np.argsort(-order, kind="stable").tolist():
        if allowed[place]:
            (repeated if keys[place] in seen else fresh).append(place)
            seen.add(keys[place])
    return sorted((fresh + repeated)[:most], key=lambda place: -order[place])


def _examples(
    patches: pd.DataFrame, places: Sequence[int], facts: Callable[[int], Facts], order: FloatArray
) -> tuple[Example, ...]:
    return tuple(Example(patches.iloc[place], facts(place), float(order[place])) for place in places)
