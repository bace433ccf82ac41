"""Numbers are written with as many digits as they carry."""

import math

import pytest

from eofuse.evaluation.metrics import class_metrics_of, metrics_of
from eofuse.kinds import KINDS, REGRESSION
from eofuse.reports.wording import between, compact, decimals, interval, metric_words, number


@pytest.mark.parametrize(
    ("value", "digits"), [(1234.5, 0), (123.4, 1), (12.3, 2), (1.23, 3), (0.5, 3), (0.05, 4), (0.0, 3), (math.nan, 3)]
)
def test_decimals_follow_the_size_of_a_number(value: float, digits: int) -> None:
    assert decimals(value) == digits


def test_every_metric_has_words_and_a_meaning() -> None:
    for kind in KINDS.values():
        for each in [*metrics_of(kind), *class_metrics_of(kind)]:
            metric = metric_words(each.name, kind, "m")
            assert (metric.title, metric.unit) == (each.title, each.unit_of("m"))
            assert metric.meaning


def test_only_errors_have_the_unit() -> None:
    assert metric_words("rmse", REGRESSION, "m").with_unit == "RMSE (m)"
    assert metric_words("r2", REGRESSION, "m").with_unit == "R²"
    assert metric_words("rmse", REGRESSION, "m", 61.2).quantity(59.61) == "59.61 m"


def test_intervals_with_negative_ends_are_no_chain_of_dashes() -> None:
    assert between(0.1, 0.2, 1) == "0.1–0.2"
    assert between(-0.2, 0.1, 1) == "−0.2 to 0.1"
    assert between(math.nan, 0.1) == "–"


def test_large_counts_and_endless_widths_are_short() -> None:
    assert compact(4610) == "4,610"
    assert compact(46_100) == "46.1 k"
    assert number(math.inf) == "∞"


def test_an_interval_that_is_not_known_is_one_dash() -> None:
    assert interval(math.nan, math.nan, "{:.1f}".format) == "–"
    assert interval(-0.5, 1.0, "{:+.1f}".format) == "-0.5 to +1.0"
    assert metric_words("rmse", REGRESSION, "m").signed_interval(-0.5, math.nan) == "–"
