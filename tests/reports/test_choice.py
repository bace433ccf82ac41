"""Which runs of a study predict: chosen by validation, never by test scores."""

import json

import pandas as pd
import pytest
from fake_study import CONSTANT, write_study

from eofuse.errors import DataError, UsageError
from eofuse.studies.choice import choose_runs

CELLS = [  # cell, variant, role, seed, fold, validation score
    ("a0", "s2", "final", 0, 0, 0.70),
    ("a1", "s2", "final", 1, 0, 0.74),
    ("b0", "s1", "final", 0, 0, 0.90),
    ("b1", "s1", "final", 1, 0, 0.60),
    ("c0", "early: s2 + s1", "final", 0, 0, 0.75),
    ("c1", "early: s2 + s1", "final", 1, 0, 0.79),
    ("c9", "early: s2 + s1", "search", 0, 0, 0.99),
    ("k0", CONSTANT, "constant", 0, 0, float("nan")),
]


@pytest.fixture
def study(tmp_path):
    """Writes a study with these cells."""

    def write(rows=CELLS, kind="single_label", **options):
        folder = write_study(tmp_path / "study", kind, **options)
        table = pd.read_parquet(folder / "cells.parquet")
        columns = ["cell", "variant", "role", "seed", "fold", "validation_score"]
        values = pd.DataFrame(rows, columns=columns)
        rest = table[table["role"] == "final"].iloc[[0] * len(values)].reset_index(drop=True)
        rest.assign(**{name: values[name] for name in columns}).to_parquet(folder / "cells.parquet")
        return folder

    return write


def names(choice):
    return [folder.name for folder in choice.folders]


def test_the_variant_with_the_best_mean_validation_score_predicts_with_all_its_seeds(study):
    choice = choose_runs(study())
    assert choice.variant == "early: s2 + s1"
    assert names(choice) == ["c1", "c0"]  # the best by validation first
    assert "0.770; next: s1, 0.750)" in choice.words
    assert "mean of 2 seeds (0, 1)" in choice.words


def test_where_less_is_better_the_smallest_score_wins(study):
    assert choose_runs(study(kind="regression")).variant == "s2"


def test_test_scores_are_not_looked_at(study):
    folder = study()
    board = pd.read_parquet(folder / "leaderboard.parquet")
    board.assign(mean=(board["variant"] == "s2").astype(float)).to_parquet(folder / "leaderboard.parquet")
    assert choose_runs(folder).variant == "early: s2 + s1"


def test_a_variant_and_a_seed_can_be_chosen(study):
    choice = choose_runs(study(), "s1", 1)
    assert names(choice) == ["b1"]
    assert choice.words == "s1: chosen by name (macro_f1 0.750 on validation), seed 1"


def test_folds_are_averaged_and_counted(study):
    rows = [(f"f{fold}{seed}", "s2", "final", seed, fold, 0.7) for fold in (0, 1, 2) for seed in (0, 1)]
    choice = choose_runs(study(rows))
    assert len(choice.folders) == 6
    assert choice.words.endswith("mean of 2 seeds (0, 1) × 3 folds")


def test_runs_that_diverged_do_not_predict(study):
    rows = [*CELLS[:4], ("c0", "early: s2 + s1", "final", 0, 0, float("nan")), CELLS[5]]
    choice = choose_runs(study(rows))
    assert names(choice) == ["c1"]
    assert choice.words.endswith("seed 1; 1 run diverged and does not count")


def test_a_study_whose_runs_all_diverged_is_one_clear_error(study):
    with pytest.raises(DataError, match="every run of the study diverged"):
        choose_runs(study([(*row[:5], float("nan")) for row in CELLS]))


def test_variants_with_other_targets_than_the_baseline_do_not_compete(study):
    folder = study(kinds=("single_label", "regression"))
    summary = json.loads((folder / "summary.json").read_text())
    both = [entry["target"] for entry in summary["targets"]]
    for entry in summary["variants"]:
        entry["targets"] = both[:1] if entry["name"] == "early: s2 + s1" else both
    (folder / "summary.json").write_text(json.dumps(summary))
    choice = choose_runs(folder)
    assert choice.variant == "s1"
    assert "best of 2 variants by validation (skill 0.750; next: s2, 0.720)" in choice.words


@pytest.mark.parametrize(
    ("variant", "seed", "message"),
    [
        ("s3", None, "no variant 's3'; valid: early"),
        (CONSTANT, None, f"'{CONSTANT}' is a control; variants: s2, s1, early"),
        ("s1", 7, "no run with seed 7; it has 0, 1"),
    ],
)
def test_what_a_study_lacks_is_explained(study, variant, seed, message):
    with pytest.raises(UsageError, match=message):
        choose_runs(study(), variant, seed)
