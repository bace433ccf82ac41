"""Questions of a study are answered in words, and yes only where it is shown."""

import dataclasses

import pandas as pd
import pytest
from fake_study import write_study
from markupsafe import Markup

from eofuse.reports.answer import answer
from eofuse.reports.questions import answers
from eofuse.reports.tables import leaderboard_rows
from eofuse.reports.terminal import question_lines
from eofuse.studies.results import StudyResults, read_results

QUESTION = "Does the network beat the forest?"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return read_results(write_study(tmp_path_factory.mktemp("study") / "study", "regression", n_test=60))


def asked(results: StudyResults, **values: float) -> StudyResults:
    line = {"question": QUESTION, "variant": "s2", "other": "forest", "metric": "rmse", "p": 0.01, "p_holm": 0.02}
    return dataclasses.replace(results, questions=pd.DataFrame([line | values]))


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"difference": -2.0, "low": -3.0, "high": -1.0}, "Yes", "distinguishably better"),
        ({"difference": 2.0, "low": 1.0, "high": 3.0}, "No", "distinguishably worse"),
        ({"difference": -2.0, "low": -3.0, "high": 1.0}, "Not shown", "not distinguishable from zero"),
        ({"difference": -2.0, "low": -3.0, "high": -1.0, "p_holm": 0.2}, "Not shown", "not distinguishable from zero"),
    ],
)
def test_a_verdict_needs_both_interval_and_corrected_p(
    study: StudyResults, values: dict[str, float], verdict: str, reason: str
) -> None:
    (found,) = answers(asked(study, **values))
    assert (found.question, found.verdict) == (QUESTION, verdict)
    assert reason in found.reason
    assert f"to {'+' if values['high'] > 0 else '−'}" in found.reason
    assert "<strong>s2</strong> differs from <strong>forest</strong> by" in found.reason


def test_a_study_without_questions_answers_none(study: StudyResults) -> None:
    assert answers(study) == []


def test_the_terminal_tells_the_answer_in_a_line(study: StudyResults) -> None:
    (line,) = question_lines(asked(study, difference=-2.0, low=-3.0, high=-1.0))
    assert line.startswith(f"{QUESTION} Yes: in RMSE, s2 differs from forest by −2")
    assert "<" not in line.replace("p < 0", "")


def with_forest(results: StudyResults, mean: float, difference: float) -> StudyResults:
    """The study with a random forest on the inputs of its best variant."""
    name = "late, separate: s2 + s1 (random forest)"
    board = results.leaderboard
    row = board[board["role"] == "frozen_random"].assign(variant=name, role="random_forest", mean=mean)
    top = leaderboard_rows(results)[0].variant
    compared = results.comparisons[(results.comparisons["variant"] == top) & (results.comparisons["baseline"] == "s2")]
    compared = compared.assign(
        baseline=name, difference=difference, low=difference - 1, high=difference + 1, p_holm=0.01
    )
    return dataclasses.replace(
        results, leaderboard=pd.concat([board, row]), comparisons=pd.concat([results.comparisons, compared])
    )


def test_a_forest_that_the_best_variant_does_not_beat_is_named(study: StudyResults) -> None:
    text = Markup(answer(with_forest(study, 0.1, 5.0))).striptags()
    assert "a random forest reaches 0.1 m" in text
    assert "Against a random forest on the same inputs, late, separate: s2 + s1 differs by +5.0 m" in text
    assert "does not beat late, separate: s2 + s1 (random forest)." in text
    assert "training its encoder gained nothing" not in text


def test_a_forest_that_is_beaten_is_not_said_to_be_unbeaten(study: StudyResults) -> None:
    text = Markup(answer(with_forest(study, 1e6, -5.0))).striptags()
    assert "distinguishably better" in text
    assert "does not beat" not in text
