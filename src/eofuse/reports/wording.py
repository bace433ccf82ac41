"""Words and numbers for people: names of metrics and controls, and how figures are written."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from eofuse.evaluation.metrics import LOSS, METRICS, lower_is_better
from eofuse.kinds import TaskKind

MISSING = "–"


@dataclass(frozen=True)
class MetricWords:
    """How a metric is called, what it means, and how its values are written.

    Attributes:
        name: its name in tables.
        title: its name for people.
        meaning: what it is, as half a sentence; empty where the title says it all.
        unit: of its values, empty where they have none.
        lower_is_better: whether less of it is better.
        digits: decimals with which its values are written.
    """

    name: str
    title: str
    meaning: str = ""
    unit: str = ""
    lower_is_better: bool = False
    digits: int = 3

    @property
    def with_unit(self) -> str:
        """The title with the unit: RMSE (m)."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def write(self, value: float | None) -> str:
        """A value without its unit."""
        return number(value, self.digits)

    def quantity(self, value: float | None) -> str:
        """A value with its unit."""
        return f"{number(value, self.digits)} {self.unit}".rstrip()

    def signed(self, value: float | None) -> str:
        """A value with its sign, without its unit."""
        return signed(value, self.digits)

    def interval(self, low: float, high: float) -> str:
        """The ends of an interval, without their unit; a dash where there is none."""
        return interval(low, high, self.write)

    def signed_interval(self, low: float, high: float) -> str:
        """The ends of the interval of a difference; a dash where there is none."""
        return interval(low, high, self.signed)


ROLES = {
    "constant": "control: always the same answer",
    "random_forest": "control: a random forest on the same inputs, no network",
    "gradient_boosting": "control: gradient boosting of trees on the same inputs, no network",
    "random_twin": "control: the same network, trained alike from random weights in place of the published ones",
    "frozen_random": "control: random encoder, never trained; only heads on its features learn",
    "per_pixel": "control: a linear model on each pixel's bands alone",
}
"""What the controls are, by role."""


def metric_words(name: str, kind: TaskKind | None = None, unit: str = "", largest: float = math.nan) -> MetricWords:
    """Words for a metric; an unknown one is called by its name.

    `largest` is the largest value that will be written: it fixes the decimals of metrics in a unit.
    """
    metric = METRICS.get(name)
    if metric is None:
        meaning = "the training objective" if name == LOSS else ""
        return MetricWords(name, name.replace("_", " "), meaning, lower_is_better=lower_is_better(name))
    return MetricWords(
        name,
        metric.title,
        metric.pixel_meaning or metric.meaning if kind is not None and kind.is_map else metric.meaning,
        unit=metric.unit_of(unit),
        lower_is_better=lower_is_better(name),
        digits=decimals(largest) if metric.in_unit else 3,
    )


def decimals(largest: float) -> int:
    """Decimals that show three to four digits of a value of this size; three where it is unknown or 0."""
    if not math.isfinite(largest) or largest == 0:
        return 3
    size = math.floor(math.log10(abs(largest)))
    return min(max((3 if size >= 0 else 2) - size, 0), 9)


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals and a true minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{_rounded(value, digits):.{digits}f}".replace("-", "−")


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # -0.0 becomes 0.0


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = _rounded(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{rounded:.{digits}f}"


def interval(low: float, high: float, write: Callable[[float], str]) -> str:
    """The ends of an interval, written by a function; a dash where there is none."""
    return MISSING if math.isnan(low) or math.isnan(high) else f"{write(low)} to {write(high)}"


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


def compact(value: float | None) -> str:
    """A count in little space: 812, 4,610, 46.1 k, 11.2 M."""
    return count(value) if value is None or not value >= 10_000 else millions(value)


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


def shorten(text: str, length: int) -> str:
    """The text, cut with an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,;-/") + "…"


def class_title(name: str) -> str:
    """A class name for people: underscores become spaces."""
    return name.replace("_", " ")


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval: 0.61–0.72; with `to` where an end is negative, one dash where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    joint = " to " if low < 0 or high < 0 else "–"
    return f"{number(low, digits)}{joint}{number(high, digits)}"
