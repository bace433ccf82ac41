"""Which test patches to show: those on which a variant is most surely right and most surely wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eofuse.studies.results import StudyResults

THRESHOLD = 0.5


@dataclass(frozen=True)
class Example:
    """One test patch under one variant.

    Attributes:
        patch_id: the patch.
        row: its row of the store.
        scene: its scene.
        truth: names of its true classes.
        predicted: predicted classes with their probability, mean over seeds, most probable first.
        right: whether prediction and truth agree (entirely, for several labels).
        truth_probabilities: probability of each true class.
    """

    patch_id: str
    row: int
    scene: str
    truth: tuple[str, ...]
    predicted: tuple[tuple[str, float], ...]
    right: bool
    truth_probabilities: tuple[tuple[str, float], ...]


def choose_examples(results: StudyResults, variant: str, number: int = 4) -> tuple[list[Example], list[Example]]:
    """The most confident right and the most confident wrong test patches of a variant.

    Probabilities are means over seeds. Single label: by the probability of the predicted class. Several labels: right
    are the patches of least cross-entropy whose labels are all right, wrong those of most with a label that is not. At
    most one patch for each true class (or set of labels) is taken until there are no further ones, so that an easy
    class does not fill the page.

    Returns:
        (right, wrong), at most `number` each, the most extreme first.
    """
    patches = results.predictions[results.predictions["variant"] == variant]
    if patches.empty:
        return [], []
    first = patches.drop_duplicates("patch_id")
    grouped = patches.groupby("patch_id", sort=False)["probabilities"]
    means = {patch_id: np.mean(np.stack(list(values)), axis=0) for patch_id, values in grouped}
    probabilities = np.stack([means[patch_id] for patch_id in first["patch_id"]])
    classes = results.summary["classes"]
    if results.summary["task_kind"] == "single_label":
        truth = np.eye(len(classes), dtype=bool)[first["truth"].to_numpy(dtype=int)]
        predicted = np.eye(len(classes), dtype=bool)[probabilities.argmax(axis=1)]
        certainty = probabilities.max(axis=1)
        right = (truth == predicted).all(axis=1)
        order_right, order_wrong = -certainty, -certainty
    else:
        truth = np.stack([np.asarray(value, dtype=bool) for value in first["truth"]])
        predicted = probabilities >= THRESHOLD
        right = (truth == predicted).all(axis=1)
        given = np.clip(np.where(truth, probabilities, 1 - probabilities), 1e-9, 1)
        order_right = -np.log(given).mean(axis=1)
        order_wrong = -order_right
    return (
        _take(first, truth, predicted, probabilities, right, order_right, classes, number, wanted=True),
        _take(first, truth, predicted, probabilities, right, order_wrong, classes, number, wanted=False),
    )


def _take(
    patches: pd.DataFrame,
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    right: np.ndarray,
    order: np.ndarray,
    classes: Sequence[str],
    number: int,
    *,
    wanted: bool,
) -> list[Example]:
    candidates = [int(position) for position in np.argsort(order, kind="stable") if right[position] == wanted]
    seen: set[bytes] = set()
    fresh: list[int] = []
    repeated: list[int] = []
    for position in candidates:
        key = truth[position].tobytes()
        (repeated if key in seen else fresh).append(position)
        seen.add(key)
    chosen = (fresh + repeated)[:number]
    chosen.sort(key=lambda position: order[position])
    return [_example(patches.iloc[p], truth[p], predicted[p], probabilities[p], classes, right=wanted) for p in chosen]


def _example(
    patch: pd.Series,
    truth: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    right: bool,
) -> Example:
    ranked = sorted(np.flatnonzero(predicted).tolist(), key=lambda position: -float(probabilities[position]))
    true = np.flatnonzero(truth).tolist()
    return Example(
        patch_id=str(patch["patch_id"]),
        row=int(patch["row"]),
        scene=str(patch["scene"]),
        truth=tuple(classes[position] for position in true),
        predicted=tuple((classes[position], float(probabilities[position])) for position in ranked),
        right=right,
        truth_probabilities=tuple((classes[position], float(probabilities[position])) for position in true),
    )
