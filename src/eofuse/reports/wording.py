"""Words and numbers for people: names of metrics and controls, and how figures are written."""

import math
from dataclasses import dataclass

MISSING = "–"


@dataclass(frozen=True)
class MetricWords:
    """How a metric is called, what it means, and whether less of it is better."""

    title: str
    meaning: str
    lower_is_better: bool = False


METRICS = {
    "macro_f1": MetricWords(
        "macro F1", "the mean of the classes' F1 scores, so that a rare class counts as much as a common one"
    ),
    "micro_f1": MetricWords("micro F1", "F1 over all decisions, so that common classes weigh most"),
    "accuracy": MetricWords("accuracy", "the share of test patches whose class is right"),
    "balanced_accuracy": MetricWords("balanced accuracy", "the mean of the classes' recalls"),
    "subset_accuracy": MetricWords("subset accuracy", "the share of test patches whose whole set of labels is right"),
    "mAP": MetricWords("mean average precision", "the mean over classes of the area under the precision–recall curve"),
    "average_precision": MetricWords("average precision", "the area under the precision–recall curve"),
    "cohen_kappa": MetricWords("Cohen's kappa", "agreement beyond chance"),
    "f1": MetricWords("F1", "the harmonic mean of precision and recall"),
    "precision": MetricWords("precision", "the share of what was predicted as the class that is the class"),
    "recall": MetricWords("recall", "the share of the class that was found"),
    "expected_calibration_error": MetricWords(
        "calibration error", "the mean gap between stated confidence and share of right answers", lower_is_better=True
    ),
    "log_loss": MetricWords("log loss", "the mean negative log probability of the truth", lower_is_better=True),
    "brier": MetricWords("Brier score", "the mean squared error of the probabilities", lower_is_better=True),
    "loss": MetricWords("loss", "the training objective", lower_is_better=True),
}

ROLES = {
    "constant": "control: always the same answer",
    "frozen_random": "control: random encoder, never trained; only a linear head learns",
}
"""What the controls are, by role."""


def metric_words(name: str) -> MetricWords:
    """Words for a metric; an unknown one is called by its name."""
    return METRICS.get(name, MetricWords(name.replace("_", " "), ""))


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals and a true minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{_rounded(value, digits):.{digits}f}".replace("-", "−")


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # -0.0 becomes 0.0


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = _rounded(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{rounded:.{digits}f}"


def p_value(value: float | None) -> str:
    """A p value to three decimals, `< 0.001` below that."""
    if value is None or math.isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(part: float | None, whole: float) -> str:
    """A share in per cent; a dash where the part is unknown or the whole is empty."""
    if part is None or not whole:
        return MISSING
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent in (0, 100) or 1 <= percent <= 99 else f"{percent:.1f} %"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return MISSING if value is None or math.isnan(value) else f"{round(value):,}"


def millions(value: float | None) -> str:
    """A count of parameters: 812, 46.1 k, 11.2 M."""
    if value is None or math.isnan(value):
        return MISSING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """A time span: 0.4 s, 42 s, 3 min 20 s, 1 h 5 min."""
    if seconds is None or math.isnan(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def energy(joules: float | None) -> str:
    """Energy in J, kJ, Wh or kWh."""
    if joules is None or math.isnan(joules):
        return MISSING
    if joules < 3600:
        return f"{joules:.0f} J"
    watt_hours = joules / 3600
    return f"{watt_hours:.3g} Wh" if watt_hours < 1000 else f"{watt_hours / 1000:.3g} kWh"


def learning_rate(value: float | None) -> str:
    """A learning rate: 0.001, 3e-04."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:g}"


def plural(value: int, word: str, words: str | None = None) -> str:
    """A count with its noun: 1 seed, 2 seeds."""
    return f"{value:,} {word if value == 1 else words or word + 's'}"


def shorten(text: str, length: int) -> str:
    """The text, cut with an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;-/") + "…"


def class_title(name: str) -> str:
    """A class name for people: underscores become spaces."""
    return name.replace("_", " ")


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""
