"""Statistics: intervals, paired comparisons and corrections, against hand-worked examples and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.errors import DataError, UsageError
from eofuse.evaluation import statistics
from eofuse.evaluation.classification import single_label_metrics
from eofuse.evaluation.intervals import bootstrap_interval, expanded_level, expanded_p, holm, two_sided_p
from eofuse.evaluation.statistics import (
    Bootstrap,
    Predictions,
    cluster_weights,
    compare,
    few_scenes_warning,
    seed_averaged,
    summarise,
)


def said(truth, probabilities, scenes, patch_ids, seed=0, fold=0) -> Predictions:
    return Predictions({"truth": truth, "probabilities": probabilities}, scenes, patch_ids, seed, fold)


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


def test_cluster_weights_are_multiplicities_shared_within_a_scene() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = cluster_weights(groups, 500, seed=1)
    assert weights.shape == (500, 6)
    assert weights.dtype.kind == "i"
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many scenes drawn as there are
    assert weights[:, 3].mean() == pytest.approx(1, abs=0.15)


def test_cluster_weights_depend_on_the_seed_only() -> None:
    groups = np.arange(30)
    np.testing.assert_array_equal(cluster_weights(groups, 50, 7), cluster_weights(groups, 50, 7))
    assert (cluster_weights(groups, 50, 7) != cluster_weights(groups, 50, 8)).any()


def test_chunks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(0.7)
    whole = summarise([run], metrics, replicates=50)
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 8 * 6 * 200 * 7)  # seven replicates at a time
    chunked = summarise([run], metrics, replicates=50)
    for name, summary in chunked.items():
        assert (summary.low, summary.high) == pytest.approx((whole[name].low, whole[name].high))


def test_bootstrap_interval_is_the_percentile_interval_of_the_numbers() -> None:
    assert bootstrap_interval([*range(101), float("nan")]) == pytest.approx((2.5, 97.5))
    assert bootstrap_interval(range(101), level=0.8) == pytest.approx((10, 90))
    assert np.isnan(bootstrap_interval([float("nan")])).all()


def test_two_sided_p_of_worked_examples() -> None:
    assert two_sided_p(np.ones(99)) == pytest.approx(2 / 100)
    assert two_sided_p([-1] * 4 + [1] * 95) == pytest.approx(2 * 5 / 100)
    assert two_sided_p(np.zeros(10)) == 1.0
    assert two_sided_p([-1, 1]) == 1.0


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
    repetitions, scenes, patches, mean = 200, 30, 10, 0.7
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
            summary = summarise([run], accuracy, replicates=300)["accuracy"]
            covered[kind] += summary.low <= mean <= summary.high
    assert 0.88 <= covered["by scene"] / repetitions <= 0.99
    assert covered["by patch"] / repetitions < 0.8  # why scenes are drawn and not patches


def test_summary_averages_over_seeds_and_reports_their_spread() -> None:
    runs = [make_run(0.7, seed=seed) for seed in range(3)]
    values = [metrics(run.evidence, None)["accuracy"] for run in runs]
    summary = summarise(runs, metrics, replicates=200)["accuracy"]
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.seed_sd == pytest.approx(np.std(values, ddof=1))
    assert summary.low < summary.mean < summary.high
    assert (summary.n_seeds, summary.n_test, summary.n_scenes, summary.warning) == (3, 200, 20, None)


def test_a_single_seed_has_no_spread() -> None:
    assert np.isnan(summarise([make_run(0.7)], metrics, replicates=20)["accuracy"].seed_sd)


def test_the_metric_of_a_seed_is_the_mean_of_its_folds() -> None:
    runs = [make_run(0.9, seed=0, fold=0), make_run(0.5, seed=0, fold=1), make_run(0.6, seed=1, fold=0)]
    values = [metrics(run.evidence, None)["accuracy"] for run in runs]
    expected = (np.mean(values[:2]) + values[2]) / 2
    assert float(seed_averaged(runs, values)) == pytest.approx(expected)
    summary = summarise(runs, metrics, replicates=50)["accuracy"]
    assert summary.mean == pytest.approx(expected)
    assert (summary.n_seeds, summary.n_test, summary.n_scenes) == (2, 400, 40)


def test_a_fold_without_a_scene_in_a_replicate_is_left_out_of_the_mean() -> None:
    runs = [make_run(0.9, fold=0), make_run(0.5, fold=1)]
    averaged = seed_averaged(runs, [np.array([0.9, np.nan, np.nan]), np.array([0.5, 0.5, np.nan])])
    np.testing.assert_allclose(averaged, [0.7, 0.5, np.nan])
    tiny = [make_run(0.9, fold=fold, scenes=1) for fold in range(3)]
    summary = summarise(tiny, metrics, replicates=100)["accuracy"]
    assert np.isfinite([summary.low, summary.high]).all()


def test_each_run_is_resampled_by_the_weights_of_its_own_patches() -> None:
    first, second = make_run(0.9, fold=0, scenes=5), make_run(0.5, fold=1, scenes=7)
    bootstrap = Bootstrap(metrics, replicates=40, seed=3)
    weights = cluster_weights(np.concatenate([first.scenes, second.scenes]), 40, seed=3)
    expected = np.nanmean(
        [
            metrics(first.evidence, weights[:, :50])["macro_f1"],
            metrics(second.evidence, weights[:, 50:])["macro_f1"],
        ],
        axis=0,
    )
    summary = bootstrap.summarise([first, second])["macro_f1"]
    assert (summary.low, summary.high) == pytest.approx(
        bootstrap_interval(expected, expanded_level(0.95, summary.n_scenes))
    )


def test_a_run_compared_with_itself_differs_by_nothing_with_p_of_one() -> None:
    runs = [make_run(0.7, seed=seed) for seed in range(2)]
    for comparison in compare(runs, runs, metrics, replicates=100).values():
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
    comparison = compare([run], [other], mean_probability, replicates=100)["mean"]
    assert (comparison.low, comparison.high, comparison.p) == (0, 0, 1)


def test_a_strong_difference_has_a_small_p_and_an_interval_away_from_zero() -> None:
    better, worse = [make_run(0.9, seed=s) for s in range(3)], [make_run(0.6, seed=s) for s in range(3)]
    comparison = compare(better, worse, metrics, replicates=999)["macro_f1"]
    assert comparison.difference == pytest.approx(0.3, abs=0.08)
    assert comparison.low > 0.2
    assert comparison.p == pytest.approx(expanded_p(2 / 1000, comparison.n_scenes))
    assert comparison.p < 0.01
    reverse = compare(worse, better, metrics, replicates=999)["macro_f1"]
    assert (reverse.difference, reverse.high) == pytest.approx((-comparison.difference, -comparison.low))


def test_without_a_difference_p_is_seldom_small() -> None:
    small = 0
    for repetition in range(100):
        one, two = (make_run(0.7, seed=1000 * repetition + side, truth_seed=repetition) for side in (0, 1))
        small += compare([one], [two], metrics, replicates=199)["accuracy"].p <= 0.05
    assert small <= 13


def test_sharing_scenes_makes_a_paired_comparison_sharper_than_two_intervals() -> None:
    generator = np.random.default_rng(0)
    truth, scenes, rows = np.zeros(400, int), np.repeat(np.arange(40), 10), np.arange(400)
    hard = np.repeat(generator.random(40) < 0.4, 10)  # whole scenes that both get wrong
    wrong = hard & (rows % 10 > 0)
    one = said(truth, np.eye(2)[wrong.astype(int)], scenes, rows)
    two = said(truth, np.eye(2)[(wrong | (rows % 10 == 1)).astype(int)], scenes, rows)
    bootstrap = Bootstrap(metrics, 300)
    width = np.ptp([bootstrap.summarise([one])["accuracy"].low, bootstrap.summarise([one])["accuracy"].high])
    comparison = bootstrap.compare([one], [two])["accuracy"]
    assert comparison.high - comparison.low < width / 3
    assert comparison.p < 0.02


@pytest.mark.parametrize(("clusters", "level"), [(5, 0.9981), (10, 0.9829), (100, 0.9539)])
def test_fewer_clusters_take_a_wider_interval(clusters: int, level: float) -> None:
    assert expanded_level(0.95, clusters) == pytest.approx(level, abs=2e-4)


@given(p=st.floats(1e-6, 1), clusters=st.integers(2, 200))
def test_p_is_below_one_minus_level_just_where_the_expanded_interval_excludes_zero(p: float, clusters: int) -> None:
    # the percentile interval at a level excludes 0 just where the unexpanded p is below 1 - level
    inside = p >= 1 - expanded_level(0.95, clusters)
    assert (expanded_p(p, clusters) >= 0.05 - 1e-9) == inside or abs(expanded_p(p, clusters) - 0.05) < 1e-6


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
        summary = summarise([draw(generator, scenes)], metrics, replicates=400)["macro_f1"]
        covered += summary.low <= true <= summary.high
    assert covered >= 88


def test_sides_with_other_seeds_are_compared_if_they_share_the_test_patches() -> None:
    variants = [make_run(0.9, seed=seed) for seed in range(3)]
    comparison = compare(variants, [make_run(0.6, seed=9)], metrics, replicates=50)["accuracy"]
    assert comparison.n_seeds == 3
    assert comparison.difference > 0.2


def test_folds_and_seeds_with_other_test_sets_are_compared_if_both_sides_have_them() -> None:
    def side(accuracy: float) -> list[Predictions]:
        return [make_run(accuracy, seed=seed, fold=2 * seed + fold) for seed in range(2) for fold in range(2)]

    comparison = compare(side(0.9), side(0.6), metrics, replicates=50)["accuracy"]
    assert (comparison.n_seeds, comparison.n_test, comparison.n_scenes) == (2, 800, 80)
    with pytest.raises(UsageError, match="same patches"):
        compare(side(0.9), side(0.6)[:3], metrics, replicates=50)


def test_runs_on_other_patches_are_not_compared() -> None:
    with pytest.raises(UsageError, match="same patches"):
        compare([make_run(0.9)], [make_run(0.9, scenes=19)], metrics, replicates=10)


def test_few_scenes_are_warned_about_and_never_look_certain() -> None:
    assert few_scenes_warning(20) is None
    better, worse = make_run(1.0, scenes=4), make_run(0.1, scenes=4)
    comparison = compare([better], [worse], metrics, replicates=999)["accuracy"]
    assert comparison.p == pytest.approx(2 / 2**4)
    assert comparison.warning is not None
    assert "only 4 test scenes" in comparison.warning


def test_a_single_scene_has_neither_interval_nor_p() -> None:
    run, other = make_run(0.9, scenes=1), make_run(0.5, scenes=1)
    summary = summarise([run], metrics, replicates=10)["accuracy"]
    comparison = compare([run], [other], metrics, replicates=10)["accuracy"]
    assert np.isnan([summary.low, summary.high, comparison.low, comparison.high, comparison.p]).all()
    assert summary.warning is not None
    assert summary.warning.startswith("1 test scene:")


def test_a_bootstrap_computes_each_run_once() -> None:
    calls = []

    def counted(evidence: dict, weights: np.ndarray | None) -> dict[str, object]:
        calls.append(weights is None)
        return metrics(evidence, weights)

    runs, baseline = [make_run(0.9)], [make_run(0.6)]
    bootstrap = Bootstrap(counted, replicates=20)
    bootstrap.summarise(runs)
    bootstrap.summarise(baseline)
    bootstrap.compare(runs, baseline)
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
