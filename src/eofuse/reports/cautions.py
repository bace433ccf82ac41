"""What speaks against taking the runs of a study at their word, a sentence a caution with the variants that it concerns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eofuse.evaluation.cautions import (
    FEW_PASSES,
    FEWEST_PASSES,
    NO_WIDTH,
    OVERTRAINED,
    UNFINISHED,
    WORSE_CALIBRATED,
    calibration_got_worse,
    has_no_width,
    training_cautions,
)
from eofuse.evaluation.metrics import lower_is_better
from eofuse.evaluation.metrics.calibration import ECE, ECE_RAW
from eofuse.reports.wording import count, listing, metric_words, number
from eofuse.studies.results import StudyResults

MOST_NAMES = 4

_MORE_STEPS = "With more steps (train.steps) scores, and their order, can change."

SENTENCES = {
    UNFINISHED: "Still improving on validation when training ended: {}. " + _MORE_STEPS,
    OVERTRAINED: "Best on validation at the first evaluations already: {}. What came after was learned by heart, or the learning "
    "rate is too high.",
    FEW_PASSES: f"Labelled patches were seen fewer than {FEWEST_PASSES} times: {{}}. " + _MORE_STEPS,
    WORSE_CALIBRATED: "The temperature made probabilities worse on the test patches (calibration error before → after): {}. "
    "Do not take them at their word.",
    NO_WIDTH: "Every test scene gives the same score, so the interval has no width: {}. It does not mean certainty.",
}
"""Sentence of each caution, with a place for the variants."""

TRAINING = (UNFINISHED, OVERTRAINED, FEW_PASSES)


@dataclass(frozen=True)
class Finding:
    """A caution about the runs of one variant with one amount of labels."""

    kind: str
    variant: str
    labels: int
    detail: str = ""


def training_findings(results: StudyResults) -> list[Finding]:
    """Cautions about the training of each variant with each amount of labels, where at least half of its runs deserve them."""
    metric, batch_size = results.summary["metric"], results.summary["budget"]["batch_size"]
    cells = results.over_labels.cells[results.over_labels.cells["role"] == "final"]
    curves = results.over_labels.curves
    curves = curves[(curves["split"] == "validation") & (curves["metric"] == metric)]
    run = ["variant", "n_labels", "seed", "fold"]
    by_run = dict(tuple(curves.groupby(run)))
    counted: dict[tuple[str, int], Counter[str]] = {}
    runs: Counter[tuple[str, int]] = Counter()
    for line in cells.to_dict("records"):
        curve = by_run.get(tuple(line[name] for name in run))
        if curve is None:
            continue
        curve = curve.sort_values("step")
        found = training_cautions(
            curve["step"],
            curve["value"],
            best_step=line["best_step"],
            passes=line["steps"] * batch_size / max(line["n_labels"], 1),
            lower_is_better=lower_is_better(metric),
        )
        key = (str(line["variant"]), int(line["n_labels"]))
        counted.setdefault(key, Counter()).update(found)
        runs[key] += 1
    return [
        Finding(kind, *key, f"{kinds[kind]} of {runs[key]} runs")
        for key, kinds in counted.items()
        for kind in TRAINING
        if 2 * kinds[kind] >= runs[key]
    ]


def score_findings(results: StudyResults) -> list[Finding]:
    """Cautions about calibration and intervals of the variants, with the labels of these results."""
    board = results.leaderboard[results.leaderboard["role"] == "variant"]
    found = []
    for variant, lines in board.groupby("variant", sort=False):
        by_metric = {str(line["metric"]): line for line in lines.to_dict("records")}
        if {ECE.name, ECE_RAW.name} <= by_metric.keys():
            raw, calibrated = by_metric[ECE_RAW.name]["mean"], by_metric[ECE.name]["mean"]
            if calibration_got_worse(raw, calibrated):
                detail = f"{number(raw)} → {number(calibrated)}"
                found.append(Finding(WORSE_CALIBRATED, str(variant), results.labels, detail))
        ranking = by_metric.get(results.summary["metric"])
        if ranking is not None and has_no_width(ranking["low"], ranking["high"]):
            title = metric_words(results.summary["metric"], results.kind, "", np.nan).title
            found.append(Finding(NO_WIDTH, str(variant), results.labels, f"{title} {number(ranking['mean'])}"))
    return found


def caution_sentences(results: StudyResults) -> list[str]:
    """One sentence a caution, which names the variants."""
    findings = [*training_findings(results), *score_findings(results)]
    return [
        template.format(_who(results, [each for each in findings if each.kind == kind]))
        for kind, template in SENTENCES.items()
        if any(each.kind == kind for each in findings)
    ]


def efficiency_caution(results: StudyResults, variants: Sequence[str]) -> str:
    """What a sentence about the labels that some variants need must not be read without; empty if nothing speaks against it."""
    concerned = [each for each in training_findings(results) if each.variant in variants]
    names = list(dict.fromkeys(each.variant for each in concerned))
    if not concerned:
        return ""
    reasons = {
        UNFINISHED: "were still improving when training ended",
        OVERTRAINED: "were best at the first evaluations",
        FEW_PASSES: f"saw their labelled patches fewer than {FEWEST_PASSES} times",
    }
    why = listing([reasons[kind] for kind in TRAINING if any(each.kind == kind for each in concerned)])
    return f"But runs of {listing(names)} {why}: with more steps, more labels may be worth more than this says."


def _who(results: StudyResults, findings: Sequence[Finding]) -> str:
    """Variants with the labels and numbers of their findings; only how many, where there are many."""
    amounts: dict[str, list[Finding]] = {}
    for each in findings:
        amounts.setdefault(each.variant, []).append(each)
    if len(amounts) > MOST_NAMES:
        names = pd.unique(results.over_labels.cells.query("role == 'final'")["variant"])
        return f"{len(amounts)} of {len(names)} variants"
    several = len(results.amounts) > 1
    words = []
    for variant, own in amounts.items():
        details = [
            ", ".join(filter(None, [f"{count(each.labels)} labels" if several else "", each.detail])) for each in own
        ]
        words.append(f"{variant} ({'; '.join(details)})")
    return listing(words)
