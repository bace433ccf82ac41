"""Which patches are shown as best and worst."""

from pathlib import Path

import numpy as np
import pytest
from fake_study import write_study

from eofuse.reports.examples import choose_examples
from eofuse.reports.tables import leaderboard_rows
from eofuse.studies.results import read_results


@pytest.mark.parametrize("task_kind", ["single_label", "multi_label"])
def test_right_are_right_and_wrong_are_wrong(tmp_path: Path, task_kind: str) -> None:
    results = read_results(write_study(tmp_path / "study", task_kind, n_test=80))
    right, wrong = choose_examples(results, leaderboard_rows(results)[0].variant, number=3)
    assert len(right) == len(wrong) == 3
    for example in right + wrong:
        predicted = {name for name, _ in example.predicted}
        assert (predicted == set(example.truth)) is example.right
    assert all(example.right for example in right)
    assert not any(example.right for example in wrong)


def test_confidence_is_the_mean_over_seeds_and_falls(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=80))
    variant = leaderboard_rows(results)[0].variant
    right, wrong = choose_examples(results, variant)
    for examples in (right, wrong):
        confidence = [example.predicted[0][1] for example in examples]
        assert confidence == sorted(confidence, reverse=True)
        assert len({example.truth for example in examples}) == len(examples)
    rows = results.predictions[
        (results.predictions["variant"] == variant) & (results.predictions["patch_id"] == right[0].patch_id)
    ]
    assert right[0].predicted[0][1] == pytest.approx(np.mean(np.stack(list(rows["probabilities"])), axis=0).max())


def test_a_perfect_variant_has_no_wrong_patches(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=30, skill=60.0))
    assert choose_examples(results, leaderboard_rows(results)[0].variant)[1] == []
