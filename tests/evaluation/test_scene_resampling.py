"""Statistics: intervals, paired comparisons and corrections, against hand-worked examples and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student_t

from eofuse.errors import DataError, UsageError
from eofuse.evaluation import resampling
from eofuse.evaluation.intervals import holm
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import (
    Resampling,
    few_scenes_warning,
    seed_averaged,
)
from scoring import single_label_metrics


def said(truth, probabilities, scenes, patch_ids, seed=0, fold=0) -> Predictions:
    return Predictions({"truth": truth, "probabilities": probabilities}, scenes, patch_ids, seed, fold)


def summarise(runs, metric_function):
    return Resampling(metric_function).summarise(runs)


def compare(runs, baseline_runs, metric_function):
    return Resampling(metric_function).compare(runs, baseline_runs)


def metrics(evidence, weights):
    return single_label_metrics(evidence["truth"], evidence["probabilities"], weights)


def make_run(
    accuracy: float, *, seed: int = 0, fold: int = 0, scenes: int = 20, patches: int = 10, truth_seed: int = 0
) -> Predictions:
    """A single-label run over three classes that is right with the given probability; a fold has scenes of its own."""
    truth = np.random.default_rng(truth_seed).integers(0, 3, scenes * patches)
    generator = np.random.default_rng([seed, fold, round(accuracy * 1000)])
    wrong = generator.random(len(truth)) >= accuracy
    predicted = np.where(wrong, (truth + 1) % 3, truth)
    names = np.repeat([f"scene-{fold}-{number:03d}" for number in range(scenes)], patches)
    identifiers = [f"{scene}-{number}" for number, scene in enumerate(names)]
    return said(truth, np.eye(3)[predicted], names, np.array(identifiers), seed, fold)


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(0.7)
    whole = summarise([run], metrics)
    monkeypatch.setattr(resampling, "_CHUNK_BYTES", 8 * 6 * 200 * 7)  # seven scenes at a time
    chunked = summarise([run], metrics)
    for name, summary in chunked.items():
        assert (summary.low, summary.high) == pytest.approx((whole[name].low, whole[name].high))


def test_holm_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.02]), [0.02, np.nan, 0.02])
    assert holm([]).shape == (0,)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_and_the_bonferroni_values_and_keeps_their_order(p_values: list[float]) -> None:
    raw, corrected = np.array(p_values), holm(p_values)
    assert (corrected >= raw).all()
    assert (corrected <= np.minimum(1, raw * len(raw)) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(raw, kind="stable")]) >= 0).all()


def test_the_interval_covers_the_truth_where_patches_of_a_scene_resemble_each_other() -> None:
    generator = np.random.default_rng(0)
    repetitions, scenes, patches, mean = 100, 30, 10, 0.7
    covered = {"by scene": 0, "by patch": 0}

    def accuracy(evidence: dict, weights: np.ndarray | None) -> dict[str, np.ndarray]:
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        right = (probabilities.argmax(1) == truth).astype(float)
        return {"accuracy": right.mean() if weights is None else weights @ right / weights.sum(axis=1)}

    names = np.repeat(np.arange(scenes), patches)
    for _ in range(repetitions):
        of_scene = generator.beta(mean * 2, (1 - mean) * 2, scenes)
        right = generator.random(scenes * patches) < np.repeat(of_scene, patches)
        rows = np.arange(len(right))
        for kind, groups in (("by scene", names), ("by patch", rows)):
            run = said(np.ones(len(right), int), np.eye(2)[right.astype(int)], groups, rows)
            summary = summarise([run], accuracy)["accuracy"]
            covered[kind] += summary.low <= mean <= summary.high
    assert 0.88 <= covered["by scene"] / repetitions <= 0.99
    assert covered["by patch"] / repetitions < 0.8  # why scenes are drawn and not patches


def test_summary_averages_over_seeds_and_reports_their_spread() -> None:
    runs = [make_run(0.7, seed=seed) for seed in range(3)]
    values = [metrics(run.evidence, None)["accuracy"] for run in runs]
    summary = summarise(runs, metrics)["accuracy"]
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.seed_sd == pytest.approx(np.std(values, ddof=1))
    assert summary.low < summary.mean < summary.high
    assert (summary.n_seeds, summary.n_test, summary.n_scenes, summary.warning) == (3, 200, 20, None)


def test_a_single_seed_has_no_spread() -> None:
    assert np.isnan(summarise([make_run(0.7)], metrics)["accuracy"].seed_sd)


def test_the_metric_of_a_seed_is_the_mean_of_its_folds() -> None:
    runs = [make_run(0.9, seed=0, fold=0), make_run(0.5, seed=0, fold=1), make_run(0.6, seed=1, fold=0)]
    values = [metrics(run.evidence, None)["accuracy"] for run in runs]
    expected = (np.mean(values[:2]) + values[2]) / 2
    assert float(seed_averaged(runs, values)) == pytest.approx(expected)
    summary = summarise(runs, metrics)["accuracy"]
    assert summary.mean == pytest.approx(expected)
    assert (summary.n_seeds, summary.n_test, summary.n_scenes) == (2, 400, 40)


def test_a_run_compared_with_itself_differs_by_nothing_with_p_of_one() -> None:
    runs = [make_run(0.7, seed=seed) for seed in range(2)]
    for comparison in compare(runs, runs, metrics).values():
        assert (comparison.difference, comparison.low, comparison.high, comparison.p) == (0, 0, 0, 1)


def test_rounding_in_sums_over_rows_in_another_order_is_no_difference() -> None:
    def mean_probability(evidence: dict, weights: np.ndarray | None) -> dict[str, object]:
        truth, probabilities = evidence["truth"], evidence["probabilities"]
        weights = np.ones(len(truth)) if weights is None else weights
        return {"mean": weights @ probabilities[:, 0] / weights.sum(axis=-1)}

    generator = np.random.default_rng(0)
    probabilities, scenes, rows = generator.random((200, 2)), np.repeat(np.arange(20), 10), np.arange(200)
    shuffled = generator.permutation(200)
    run = said(rows, probabilities, scenes, rows)
    other = said(rows, probabilities[shuffled], scenes[shuffled], rows[shuffled])
    comparison = compare([run], [other], mean_probability)["mean"]
    assert (comparison.low, comparison.high, comparison.p) == (0, 0, 1)


def test_sharing_scenes_makes_a_paired_comparison_sharper_than_two_intervals() -> None:
    generator = np.random.default_rng(0)
    truth, scenes, rows = np.zeros(400, int), np.repeat(np.arange(40), 10), np.arange(400)
    hard = np.repeat(generator.random(40) < 0.4, 10)  # whole scenes that both get wrong
    wrong = hard & (rows % 10 > 0)
    one = said(truth, np.eye(2)[wrong.astype(int)], scenes, rows)
    two = said(truth, np.eye(2)[(wrong | (rows % 10 == 1)).astype(int)], scenes, rows)
    resampling = Resampling(metrics)
    width = np.ptp([resampling.summarise([one])["accuracy"].low, resampling.summarise([one])["accuracy"].high])
    comparison = resampling.compare([one], [two])["accuracy"]
    assert comparison.high - comparison.low < width / 3
    assert comparison.p < 0.02


@pytest.mark.parametrize("scenes", [5, 12])
def test_the_interval_of_a_macro_average_covers_with_few_scenes(scenes: int) -> None:
    """Eight classes of uneven frequency, mixed differently in each scene; the plain percentile interval covers .81 of 5."""
    shares = np.array([0.35, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.02])

    def draw(generator: np.random.Generator, count: int, size: int = 15) -> Predictions:
        mixes = generator.dirichlet(shares * 3, count)
        truth = np.concatenate([generator.choice(8, size, p=mix) for mix in mixes])
        right = generator.random(count * size) < np.repeat(generator.beta(6, 4, count), size)
        predicted = np.where(right, truth, generator.choice(8, count * size, p=shares))
        rows = np.arange(count * size)
        return said(truth, np.eye(8)[predicted], np.repeat(np.arange(count), size), rows)

    generator = np.random.default_rng(0)
    population = draw(generator, 4000)
    true = metrics(population.evidence, None)["macro_f1"]
    covered = 0
    for _ in range(100):
        summary = summarise([draw(generator, scenes)], metrics)["macro_f1"]
        covered += summary.low <= true <= summary.high
    assert covered >= 88


def test_sides_with_other_seeds_are_compared_if_they_share_the_test_patches() -> None:
    variants = [make_run(0.9, seed=seed) for seed in range(3)]
    comparison = compare(variants, [make_run(0.6, seed=9)], metrics)["accuracy"]
    assert comparison.n_seeds == 3
    assert comparison.difference > 0.2


def test_folds_and_seeds_with_other_test_sets_are_compared_if_both_sides_have_them() -> None:
    def side(accuracy: float) -> list[Predictions]:
        return [make_run(accuracy, seed=seed, fold=2 * seed + fold) for seed in range(2) for fold in range(2)]

    comparison = compare(side(0.9), side(0.6), metrics)["accuracy"]
    assert (comparison.n_seeds, comparison.n_test, comparison.n_scenes) == (2, 800, 80)
    with pytest.raises(UsageError, match="same patches"):
        compare(side(0.9), side(0.6)[:3], metrics)


def test_runs_on_other_patches_are_not_compared() -> None:
    with pytest.raises(UsageError, match="same patches"):
        compare([make_run(0.9)], [make_run(0.9, scenes=19)], metrics)


def test_a_single_scene_has_neither_interval_nor_p() -> None:
    run, other = make_run(0.9, scenes=1), make_run(0.5, scenes=1)
    summary = summarise([run], metrics)["accuracy"]
    comparison = compare([run], [other], metrics)["accuracy"]
    assert np.isnan([summary.low, summary.high, comparison.low, comparison.high, comparison.p]).all()
    assert summary.warning is not None
    assert summary.warning.startswith("1 test scene:")


def test_a_resampling_computes_each_run_once() -> None:
    calls = []

    def counted(evidence: dict, weights: np.ndarray | None) -> dict[str, object]:
        calls.append(weights is None)
        return metrics(evidence, weights)

    runs, baseline = [make_run(0.9)], [make_run(0.6)]
    resampling = Resampling(counted)
    resampling.summarise(runs)
    resampling.summarise(baseline)
    resampling.compare(runs, baseline)
    assert sorted(calls) == [False, False, True, True]


def test_predictions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="truth has 2 rows, patch_ids 3"):
        said(np.zeros(2), np.zeros((3, 2)), np.zeros(3), np.arange(3))
    with pytest.raises(DataError, match=r"seed 4, fold 0.*patch a occurs more than once"):
        said(np.zeros(2), np.zeros((2, 2)), np.zeros(2), np.array(["a", "a"]), seed=4)
    with pytest.raises(UsageError, match="no runs"):
        summarise([], metrics)
    with pytest.raises(UsageError, match="2 runs have seed 0 and fold 0"):
        summarise([make_run(0.9), make_run(0.8)], metrics)


def test_draws_are_multiplicities_of_scenes_that_depend_on_the_seed_only() -> None:
    runs = [make_run(0.7, scenes=5)]

    def totals(evidence: dict, weights: np.ndarray | None) -> dict[str, object]:
        if weights is None:
            return {"patches": 50.0, "first": 1.0}
        shared = np.ptp(weights.reshape(len(weights), 5, 10), axis=2) == 0
        assert shared.all()
        return {"patches": weights.sum(1), "first": weights[:, 0]}

    found = Resampling(totals, replicates=400, seed=1).replicate(runs)
    assert (found["patches"].replicates == 50).all()  # as many scenes are drawn as there are
    assert found["first"].replicates.mean() == pytest.approx(1, abs=0.15)
    again = Resampling(totals, replicates=400, seed=1).replicate(runs)
    np.testing.assert_array_equal(found["first"].replicates, again["first"].replicates)
    other = Resampling(totals, replicates=400, seed=2).replicate(runs)
    assert (found["first"].replicates != other["first"].replicates).any()


def test_the_interval_of_a_mean_over_scenes_of_one_size_is_the_t_interval_of_their_means() -> None:
    run = make_run(0.7, scenes=9)
    right = (run.evidence["probabilities"].argmax(1) == run.evidence["truth"]).reshape(9, 10).mean(1)
    expected = student_t.interval(0.95, 8, right.mean(), right.std(ddof=1) / 3)
    summary = summarise([run], metrics)["accuracy"]
    assert (summary.low, summary.high) == pytest.approx(expected)


def test_the_jackknife_leaves_out_whole_scenes_of_every_fold() -> None:
    first, second = make_run(0.9, fold=0, scenes=5), make_run(0.5, fold=1, scenes=7)
    found = Resampling(metrics).leave_out([first, second])["macro_f1"]
    keep = np.arange(50) >= 10
    without_first = metrics(first.evidence, keep.astype(float))["macro_f1"]
    assert found.without[0] == pytest.approx((without_first + metrics(second.evidence, None)["macro_f1"]) / 2)
    assert found.design.shares == pytest.approx([0.5 / 5] * 5 + [0.5 / 7] * 7)
    assert found.design.leverage == pytest.approx([1 / 5] * 5 + [1 / 7] * 7)
    assert found.design.folds == 2


def test_folds_of_one_scene_are_left_out_as_a_whole() -> None:
    runs = [make_run(accuracy, fold=fold, scenes=1) for fold, accuracy in enumerate((0.9, 0.5, 0.7))]
    values = np.array([metrics(run.evidence, None)["accuracy"] for run in runs])
    summary = summarise(runs, metrics)["accuracy"]
    expected = student_t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    assert (summary.low, summary.high) == pytest.approx(np.clip(expected, 0, 1))


def test_more_scenes_than_groups_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(0.7, scenes=60)
    each = summarise([run], metrics)["accuracy"]
    monkeypatch.setattr(resampling, "MOST_GROUPS", 20)
    grouped = Resampling(metrics).leave_out([run])["accuracy"]
    assert grouped.design.shares == pytest.approx(np.full(20, 1 / 20))
    assert grouped.n_scenes == 60
    summary = summarise([run], metrics)["accuracy"]
    assert summary.high - summary.low == pytest.approx(each.high - each.low, rel=0.5)


def test_a_difference_of_many_standard_errors_is_sure_with_eleven_scenes() -> None:
    """As on the first page of the demonstration: 2,000 draws of 11 scenes could not say less than .0105."""
    better, worse = make_run(0.9, scenes=11), make_run(0.4, scenes=11)
    comparison = compare([better], [worse], metrics)["macro_f1"]
    assert comparison.low > 0.2
    assert comparison.p < 0.001
    reverse = compare([worse], [better], metrics)["macro_f1"]
    assert (reverse.difference, reverse.high) == pytest.approx((-comparison.difference, -comparison.low))


def test_few_scenes_are_warned_about() -> None:
    assert few_scenes_warning(20) is None
    comparison = compare([make_run(1.0, scenes=4)], [make_run(0.1, scenes=4)], metrics)["accuracy"]
    assert comparison.warning is not None
    assert "only 4 test scenes" in comparison.warning


def test_intervals_end_where_the_metric_does() -> None:
    summary = summarise([make_run(0.97, scenes=3)], metrics)["accuracy"]
    assert 0 <= summary.low <= summary.high <= 1
    comparison = compare([make_run(0.97, scenes=2)], [make_run(0.2, scenes=2)], metrics)["accuracy"]
    assert -1 <= comparison.low <= comparison.high <= 1


def test_a_metric_that_rests_on_one_scene_has_no_interval() -> None:
    rows = np.arange(6)
    run = said(rows, np.full((6, 1), 0.5), np.repeat(["a", "b", "c"], 2), rows)

    def of_first_scene(evidence: dict, weights: np.ndarray | None) -> dict[str, object]:
        kept = np.ones((1, 6)) if weights is None else weights
        return {"recall": np.where(kept[:, 0] > 0, 0.5, np.nan) if weights is not None else 0.5}

    summary = summarise([run], of_first_scene)["recall"]
    assert np.isnan([summary.low, summary.high]).all()
