"""The chapter on fewer labels: numbers as the tables have them, limits said as limits."""

import math
import re

import pytest
from fake_efficiency import PRETRAINED, with_amounts
from fake_study import VARIANTS, write_study

from eofuse.reports.html import write_report
from eofuse.reports.label_efficiency import (
    amount_words,
    efficiency,
    factor_interval_words,
    factor_words,
    interval_words,
    labels_words,
)
from eofuse.reports.tables import leaderboard_rows
from eofuse.studies.results import read_results
from undrawn import undraw

TRIED = [5, 24, 48, 240, 480]
PALETTE = [name for name, *_ in VARIANTS]


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    with pytest.MonkeyPatch.context() as monkeypatch:
        undraw(monkeypatch)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read_results(with_amounts(write_study(tmp_path_factory.mktemp("few") / "study", n_test=60)))


@pytest.fixture(scope="module")
def page(results):
    return write_report(results, None, results.folder / "report.html").read_text(encoding="utf-8")


def test_a_study_with_one_amount_has_no_such_chapter(tmp_path):
    results = read_results(write_study(tmp_path / "study", n_test=60))
    assert efficiency(results, PALETTE) is None
    assert "Label efficiency" not in write_report(results, None, tmp_path / "report.html").read_text()


def test_the_answer_tells_who_needs_how_many_labels(results):
    answer = str(efficiency(results, PALETTE).answer)
    assert f"<strong>{PRETRAINED}</strong> matches it with 48 labels (95 % interval: 34 to 80), 9.9× fewer" in answer
    assert "(interval: 6 to 14)" in answer
    assert "not reach it" in answer


def test_variants_come_before_controls_the_fewest_labels_first(results):
    rows = efficiency(results, PALETTE).needed
    assert rows[0].variant == PRETRAINED
    roles = [row.role for row in rows]
    assert roles == sorted(roles, key=lambda role: role != "variant")


def test_the_cost_of_pretraining_is_counted(results):
    row = next(row for row in efficiency(results, PALETTE).needed if row.variant == PRETRAINED)
    assert row.start == "pretraining:views (linear probe)"
    assert row.pretraining > 0
    assert row.together == row.pretraining + row.seconds
    others = [row for row in efficiency(results, PALETTE).needed if row.variant != PRETRAINED]
    assert {row.pretraining for row in others} == {None}


def test_every_amount_has_a_row_a_method_with_both_differences(results):
    rows = efficiency(results, PALETTE).rows
    assert {row.labels for row in rows} == set(TRIED)
    few = next(row for row in rows if row.variant == PRETRAINED and row.labels == 5)
    assert few.to_baseline is not None
    assert few.to_full.value == pytest.approx(few.mean - leaderboard_mean(results))
    assert all(row.to_full is None for row in rows if row.role != "variant")


def leaderboard_mean(results):
    return next(row.mean for row in leaderboard_rows(results) if row.is_baseline)


def test_the_leaderboard_is_that_of_all_labels(results, page):
    assert {row.n_seeds for row in leaderboard_rows(results) if row.role == "variant"} == {2}
    assert "All that follows is about the runs with 480 labels." in page


def test_validation_labels_are_counted_in_the_text(page):
    text = re.sub(r"\s+", " ", page)
    assert "labels of 140 validation patches" in text
    assert "the smallest amount takes 145 labelled patches" in text


def test_the_whole_cost_is_told(results, page):
    assert "2 pretrainings" in page
    assert "pretraining views" in page
    assert len(results.over_labels.cells) > 5 * 10


@pytest.mark.parametrize(
    ("needed", "low", "high", "words"),
    [
        (48.3, 34.2, 80.1, ("48", "34 to 80", "9.9×", "6 to 14")),
        (5, 5, 30, ("≤ 5", "≤ 5 to 30", "≥ 96×", "16 to ≥ 96")),
        (5, 5, 5, ("≤ 5", "≤ 5", "≥ 96×", "≥ 96")),
        (400, 100, math.inf, ("400", "100 to not reached", "1.2×", "up to 4.8")),
        (math.inf, 210, math.inf, ("not reached", "210 to not reached", "–", "up to 2.3")),
        (math.inf, math.inf, math.inf, ("not reached", "not reached", "–", "")),
        (60, math.nan, math.nan, ("60", "no interval can be given", "8×", "")),
    ],
)
def test_limits_are_said_as_limits(needed, low, high, words):
    found = (
        labels_words(needed, TRIED),
        interval_words(low, high, TRIED),
        factor_words(needed, TRIED),
        factor_interval_words(low, high, TRIED),
    )
    assert found == words


@pytest.mark.parametrize(("amount", "words"), [(0.05, "5 %"), (1.0, "all"), (20, "20 a class"), (1, "1 a class")])
def test_amounts_are_said_as_people_say_them(amount, words):
    assert amount_words(amount) == words
