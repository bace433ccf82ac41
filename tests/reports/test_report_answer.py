"""The answer in words follows from the numbers, also when it is that nothing can be told."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from fake_study import RANDOM, VARIANTS, write_study
from markupsafe import Markup

from eofuse.reports.answer import answer, cautions
from eofuse.reports.chapter import control_gains
from eofuse.reports.tables import leaderboard_rows
from eofuse.reports.wording import metric_words
from eofuse.studies.results import StudyResults, read_results


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return read_results(write_study(tmp_path_factory.mktemp("study") / "study", n_test=120))


def words(results: StudyResults) -> str:
    return Markup(answer(results)).striptags()


def with_comparison(results: StudyResults, variant: str, baseline: str = "s2", **values: float) -> StudyResults:
    table = results.comparisons.copy()
    chosen = (table["variant"] == variant) & (table["metric"] == "macro_f1") & (table["baseline"] == baseline)
    for name, value in values.items():
        table.loc[chosen, name] = value
    return dataclasses.replace(results, comparisons=table)


def with_mean(results: StudyResults, variant: str, mean: float) -> StudyResults:
    table = results.leaderboard.copy()
    table.loc[(table["variant"] == variant) & (table["metric"] == "macro_f1"), "mean"] = mean
    return dataclasses.replace(results, leaderboard=table)


def test_names_the_winner_with_n_seeds_and_interval(study: StudyResults) -> None:
    top = leaderboard_rows(study)[0]
    assert top.variant == "late, separate: s2 + s1"
    assert f"{top.variant} ranks first with the highest macro F1: {top.mean:.3f} (95 % interval" in words(study)
    assert "the mean of 2 seeds on 120 test patches from 24 scenes" in words(study)


def test_a_clear_difference_is_called_distinguishable(study: StudyResults) -> None:
    results = with_comparison(study, "late, separate: s2 + s1", difference=0.1, low=0.05, high=0.15, p_holm=0.004)
    assert "+0.100 (95 % interval +0.050 to +0.150, Holm-corrected p = 0.004), is distinguishable" in words(results)


@pytest.mark.parametrize("values", [{"low": -0.01, "p_holm": 0.001}, {"low": 0.01, "p_holm": 0.2}])
def test_a_difference_needs_both_interval_and_corrected_p(study: StudyResults, values: dict[str, float]) -> None:
    results = with_comparison(study, "late, separate: s2 + s1", difference=0.1, high=0.2, **values)
    assert "is not distinguishable from zero: these data do not show that it is better" in words(results)


def test_says_when_the_baseline_itself_is_first(study: StudyResults) -> None:
    text = words(with_mean(study, "s2", 0.99))
    assert "s2 ranks first" in text
    assert "It is the baseline itself. Of the others," in text


def test_many_others_are_counted_not_named(study: StudyResults) -> None:
    table = study.leaderboard
    copies = [table.assign(variant=table["variant"] + f" {i}") for i in range(3)]
    others = [study.comparisons.assign(variant=study.comparisons["variant"] + f" {i}") for i in range(3)]
    many = dataclasses.replace(
        study, leaderboard=pd.concat([table, *copies]), comparisons=pd.concat([study.comparisons, *others])
    )
    assert "4 variants are distinguishably worse than the baseline" in words(many)


def test_says_when_a_control_is_not_beaten(study: StudyResults) -> None:
    assert "does not beat" not in words(study)
    assert "does not beat random encoder: s2" in words(with_mean(study, "random encoder: s2", 0.999))


def test_only_its_own_frozen_twin_tells_what_training_an_encoder_gained(study: StudyResults) -> None:
    def text(twin: str) -> str:
        words_of = {"variant": twin, "role": "frozen_random", "mean": 0.999}
        row = study.leaderboard[study.leaderboard["role"] == "frozen_random"].head(1).assign(**words_of)
        first = study.leaderboard.loc[study.leaderboard["role"] == "variant"].sort_values("mean")["variant"].iloc[-1]
        pair = study.comparisons.head(1).assign(variant=first, baseline="own twin")
        return words(
            dataclasses.replace(
                study,
                leaderboard=pd.concat([study.leaderboard, row]),
                comparisons=pd.concat([study.comparisons, pair]),
            )
        )

    assert "does not beat own twin: training its encoder gained nothing here." in text("own twin")
    assert "does not beat another's twin." in text("another's twin")


def test_many_unbeaten_controls_are_told_by_their_kind(study: StudyResults) -> None:
    table = study.leaderboard
    random = table[table["role"] == "frozen_random"].assign(mean=0.999)
    others = [random.assign(variant=f"random encoder {number}") for number in range(3)]
    text = words(dataclasses.replace(study, leaderboard=pd.concat([table, random.assign(variant="r"), *others])))
    assert "does not beat 4 random encoders that are never trained" in text


def test_less_is_better_for_errors_and_numbers_have_their_unit(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", "regression", n_test=40))
    rows = leaderboard_rows(results)
    top = rows[0]
    assert [row.mean for row in rows[:5]] == sorted(row.mean for row in rows[:5])
    assert f"{top.variant} ranks first with the lowest RMSE: {top.mean:.1f} m (95 % interval {top.low:.1f} to" in words(
        results
    )
    assert "s1 is distinguishably worse than the baseline" in words(results)


def test_says_by_how_much_the_constant_predictor_is_beaten(study: StudyResults) -> None:
    top = leaderboard_rows(study)[0]
    against = with_comparison(study, top.variant, "constant", difference=0.5, low=0.4, high=0.6, p_holm=0.002)
    assert (
        f"Against always giving the same answer, {top.variant} differs by +0.500 (95 % interval +0.400 to +0.600, "
        "Holm-corrected p = 0.002): distinguishably better."
    ) in words(against)
    weak = with_comparison(study, top.variant, "constant", low=-0.1, high=0.6)
    assert "Holm-corrected p < 0.001): not distinguishable." in words(weak)
    worse = with_comparison(study, top.variant, "constant", difference=-0.5, low=-0.6, high=-0.4)
    assert "distinguishably worse" in words(worse)


def test_a_linear_model_on_pixels_is_named_as_what_it_is(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", "segmentation", n_test=20, variants=VARIANTS[:2]))
    assert "a linear model on each pixel's bands alone reaches" in words(results)
    assert "Against a linear model on each pixel's bands alone, s2 differs by" in words(results)


def test_one_scene_gives_no_interval(study: StudyResults) -> None:
    nan = float("nan")
    results = with_comparison(study, "late, separate: s2 + s1", low=nan, high=nan, p=nan, p_holm=nan)
    results = with_comparison(results, "late, separate: s2 + s1", "constant", low=nan, high=nan, p=nan, p_holm=nan)
    results = dataclasses.replace(results, leaderboard=results.leaderboard.assign(low=nan, high=nan))
    assert words(results).count("(no interval can be given)") == 3
    assert "nan" not in words(results).lower()


def test_no_comparison_is_said(study: StudyResults) -> None:
    results = dataclasses.replace(study, comparisons=study.comparisons.iloc[:0])
    assert "It was not compared with the baseline s2" in words(results)


def test_the_leaderboard_ranks_variants_and_puts_controls_last(study: StudyResults) -> None:
    rows = leaderboard_rows(with_mean(study, "constant", 0.999))
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, None, None]
    assert [row.role for row in rows[-2:]] == ["constant", "frozen_random"]
    assert rows[0].mean == max(row.mean for row in rows[:5])


def test_of_several_random_encoders_the_best_is_named(study: StudyResults) -> None:
    table = study.leaderboard
    other = table[table["role"] == "frozen_random"].assign(variant="random encoder: s1", mean=0.01)
    text = words(dataclasses.replace(study, leaderboard=pd.concat([table, other])))
    best = table[(table["role"] == "frozen_random") & (table["metric"] == "macro_f1")]["mean"].iloc[0]
    assert f"the best of 2 random encoders that are never trained reaches {best:.3f}" in text


def test_too_few_patches_are_warned_of_once(study: StudyResults) -> None:
    warning = "40 patches from 2 scenes prove nothing: the run shows that the data can be used."
    summary = study.summary | {"patches": {"test": 40}, "scenes": {"test": 2}}
    silent = dataclasses.replace(study, summary=summary)
    warned = dataclasses.replace(study, summary=summary | {"warnings": [warning]})
    for results in (silent, warned):
        assert len([text for text in cautions(results) if "prove nothing" in text]) == 1


def test_warnings_are_sentences(study: StudyResults) -> None:
    results = dataclasses.replace(study, summary=study.summary | {"warnings": ["only 2 test scenes"]})
    assert cautions(results)[0] == "Only 2 test scenes."


def test_few_seeds_are_warned_of_once(study: StudyResults) -> None:
    found = cautions(study)
    assert len([text for text in found if text.startswith("Only 2 seeds")]) == 1
    repeated = dataclasses.replace(study, summary=study.summary | {"warnings": found})
    assert cautions(repeated) == found


def test_empty_tables_do_not_fail(study: StudyResults) -> None:
    empty = {name: getattr(study, name).iloc[:0] for name in ("leaderboard", "results", "comparisons")}
    assert isinstance(study.leaderboard, pd.DataFrame)
    assert words(dataclasses.replace(study, **empty)) == "The study holds no scores of variants."


def test_every_variant_is_set_beside_its_own_frozen_twin(study: StudyResults) -> None:
    table = study.comparisons
    own = table[(table["variant"] == "s1") & (table["baseline"] == "s2")].assign(variant="s2", baseline=RANDOM)
    compared = dataclasses.replace(study, comparisons=pd.concat([table, own], ignore_index=True))
    gains = control_gains(compared, leaderboard_rows(compared), metric_words("macro_f1"))
    assert [gain.variant for gain in gains if gain.control.variant == RANDOM] == ["s2"]
    assert len([gain for gain in gains if gain.control.role == "constant"]) == len(VARIANTS)
