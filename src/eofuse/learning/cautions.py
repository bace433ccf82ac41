"""What a reader must know before taking a run at its word, in sentences.

`run_cautions` computes them from the files of a run, which runs of any age have; `missing_warnings` from the patches that lack inputs.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.loading import Rows
from eofuse.evaluation.cautions import (
    FEW_PASSES,
    FEWEST_PASSES,
    OVERTRAINED,
    UNFINISHED,
    calibration_got_worse,
    training_cautions,
)
from eofuse.evaluation.metrics import lower_is_better
from eofuse.evaluation.metrics.calibration import ECE, ECE_RAW
from eofuse.learning.curves import EVALUATIONS_FILE, read_curve


def run_cautions(
    folder: Path,
    result: Mapping[str, Any],
    patches: int,
    batch_size: int,
    test: Mapping[str, Mapping[str, float]] | None,
) -> list[str]:
    """Sentences about the training of a run and its calibration.

    `result` is its `result.json`, `test` its scores on the test patches by target, if they were looked at.
    """
    if result.get("diverged") or result.get("fitted") or not (folder / EVALUATIONS_FILE).is_file():
        return []
    metric, steps = result["metric"], result["steps"]
    curve = read_curve(folder / EVALUATIONS_FILE, metric)
    passes = steps * batch_size / max(patches, 1)
    kinds = training_cautions(
        curve["step"],
        curve[metric],
        best_step=result["best_step"],
        passes=passes,
        lower_is_better=lower_is_better(metric),
    )
    sentences = {
        UNFINISHED: f"Still improving when training ended (best score on validation at step {result['best_step']} of {steps}): "
        "train longer (train.steps) before comparing it with anything.",
        OVERTRAINED: f"Best on validation at step {result['best_step']} of {steps} already: it learned its training patches by heart "
        "afterwards, or the learning rate is too high.",
        FEW_PASSES: f"Each of the {patches:,} labelled patches was seen {passes:.1f} times only (fewer than {FEWEST_PASSES}): "
        "with more steps (train.steps) scores can change.",
    }
    found = [sentences[kind] for kind in kinds]
    for target, scores in (test or {}).items():
        raw, calibrated = scores.get(ECE_RAW.name, math.nan), scores.get(ECE.name, math.nan)
        if calibration_got_worse(raw, calibrated):
            found.append(
                f"{target}: the temperature made probabilities worse on the test patches (calibration error {raw:.3f} → "
                f"{calibrated:.3f}): do not take them at their word."
            )
    return found


def temperature_notes(calibration: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about temperatures that are not used, by what `calibration.json` of a run says of each target."""
    found = []
    for target, facts in calibration.items():
        if not facts or facts["temperature"] != 1 or facts["fitted"] == 1:
            continue
        why = "made held-out validation scenes no better"
        if facts["held_out_loss"] is None:
            why = "can't be judged on a single validation scene"
        found.append(f"{target}: probabilities are as predicted, without a temperature ({facts['fitted']:.2f} {why}).")
    return found


def width_notes(scores: pd.DataFrame) -> list[str]:
    """Sentences about intervals of a run that have no width, from scores as `evaluate` gives them."""
    rows = scores[(scores["predictor"] == "run") & (scores["low"] == scores["high"])]
    return [
        f"{target}: every test scene gives the same {', '.join(lines['metric'])}, so its interval has no width: no certainty."
        for target, lines in rows.groupby("target", sort=False)
    ]


def missing_warnings(
    present: Mapping[str, npt.NDArray[np.bool_]],
    train: Rows,
    test: Rows,
    with_tokens: Collection[str],
    *,
    dropped: bool,
) -> list[str]:
    """Which inputs training and test patches lack, and of which of them nothing can be learned.

    Args:
        present: by input, which patches have it, (patches,).
        train: rows of the patches that the model learns from.
        test: rows of those on which it is tested.
        with_tokens: inputs for which a token stands where they are missing; others are hidden by their encoder.
        dropped: whether training drops modalities, so that it sees gaps anyway.
    """
    counted, untrained, whole = [], [], []
    for name, mask in present.items():
        lacking = int((~mask[train]).sum()), int((~mask[test]).sum())
        if any(lacking):
            counted.append(f"{name} (training {lacking[0]} of {len(train)}, test {lacking[1]} of {len(test)})")
        if name not in with_tokens:
            continue
        if lacking[0] == len(train):
            untrained.append(f"No training patch has {name}: its encoder is untrained.")
        elif lacking[1] and not lacking[0] and not dropped:
            untrained.append(
                f"Every training patch has {name}, which test patches lack: its token is untrained "
                "(augment.drop_modalities lets training see gaps)."
            )
        elif not any(lacking) and not dropped and len(present) > 1:
            whole.append(name)
    if whole:
        untrained.append(
            f"Every training and test patch has {', '.join(whole)}: their tokens are untrained "
            "(augment.drop_modalities lets training see gaps)."
        )
    return ([f"Some patches lack an input: {', '.join(counted)}."] if counted else []) + untrained
