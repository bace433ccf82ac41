"""Several targets at one look: the verdicts follow from the comparisons."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from fake_study import VARIANTS, write_study
from markupsafe import Markup

from eofuse.reports.overview import overview, overview_answer, twins
from eofuse.studies.results import StudyResults, read_results


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[StudyResults]:
    folder = write_study(
        tmp_path_factory.mktemp("study") / "study", kinds=("single_label", "regression"), twins=True, n_test=60,
        variants=VARIANTS[:2],
    )  # fmt: skip
    results = read_results(folder)
    return [results.of(target) for target in results.targets]


def changed(results: StudyResults, variant: str, baseline: str, **values: float) -> StudyResults:
    table = results.comparisons.copy()
    chosen = (table["variant"] == variant) & (table["baseline"] == baseline)
    for name, value in values.items():
        table.loc[chosen, name] = value
    return dataclasses.replace(results, comparisons=table)


def words(views: list[StudyResults]) -> str:
    return Markup(overview_answer(views)).striptags()


def test_each_target_has_its_best_variant_and_that_which_learns_all(views: list[StudyResults]) -> None:
    lines = overview(views)
    for results in views:
        own = [line for line in lines if line.target == results.summary["target"]]
        assert own[0].row.rank == 1
        assert "s2" in {line.row.variant for line in own}
        assert all(line.verdict == "yes" for line in own)
        assert all(line.constant is not None and line.gain is not None for line in own)


def test_a_lower_error_is_a_gain(views: list[StudyResults]) -> None:
    line = next(line for line in overview(views) if line.target == "mean_elevation")
    assert line.gain is not None
    assert line.gain.value < 0
    assert line.verdict == "yes"
    worse = changed(views[1], line.row.variant, "constant", difference=9.0, low=8.0, high=10.0)
    assert next(line for line in overview([views[0], worse]) if line.target == "mean_elevation").verdict == "no"


def test_the_answer_names_targets_on_which_the_constant_predictor_is_not_beaten(views: list[StudyResults]) -> None:
    assert "It beats the constant predictor distinguishably on all of them" in words(views)
    weak = changed(views[1], "s2", "constant", low=-10.0, high=10.0)
    assert "on 1 of 2 (dominant land cover), not on mean elevation" in words([views[0], weak])
    weaker = changed(views[0], "s2", "constant", p_holm=0.3)
    assert "distinguishably on none of them" in words([weaker, weak])


def test_a_study_without_a_common_variant_says_so(views: list[StudyResults]) -> None:
    only = dataclasses.replace(views[1], leaderboard=views[1].leaderboard.iloc[:0])
    assert "no variant learns all of them" in words([views[0], only])


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"difference": 0.1, "low": 0.05, "high": 0.2, "p_holm": 0.001}, "together"),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "p_holm": 0.001}, "apart"),
        ({"difference": 0.1, "low": -0.05, "high": 0.2, "p_holm": 0.001}, "undecided"),
    ],
)
def test_together_or_apart_follows_from_the_paired_difference(
    views: list[StudyResults], values: dict[str, float], verdict: str
) -> None:
    alone = "s2, dominant_land_cover alone"
    found = twins([changed(views[0], "s2", alone, **values), views[1]])
    assert len(found) == 1
    assert [line.alone.variant for line in found[0].lines] == [alone, "s2, mean_elevation alone"]
    assert found[0].lines[0].verdict == verdict


def test_parameters_and_time_of_twins_are_summed(views: list[StudyResults]) -> None:
    found = twins(views)[0]
    assert found.others == 2
    assert found.parameters[1] == pytest.approx(2 * found.parameters[0])
    assert found.seconds[1] == pytest.approx(2 * found.seconds[0], rel=0.2)


def test_without_twins_there_is_no_table(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_test": 10, "variants": VARIANTS[:1], "seeds": (0,)}
    results = read_results(write_study(tmp_path / "study", kinds=("single_label", "regression"), **options))
    assert twins([results.of(target) for target in results.targets]) == []
