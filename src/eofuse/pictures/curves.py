"""One metric over the steps of a training, as the pictures of curves take it."""

import math

import pandas as pd

from eofuse.reports.figures.course import Course


def course_of(curves: pd.DataFrame, title: str, metric: str, highest: float = math.inf) -> Course:
    """One line of a picture of curves: what a metric did over the steps."""
    return Course(title, curves.loc[curves["metric"] == metric, ["split", "step", "value"]], highest)
