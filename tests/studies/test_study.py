"""A study: fair search, controls, paired comparisons, and nothing computed twice."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.errors import UsageError
from eofuse.studies import runner
from eofuse.studies.grid import final_cells, plan_study, search_cells

TABLES = ("results", "leaderboard", "comparisons", "predictions", "curves", "per_class")


def planted_study(store):
    return {
        "name": "planted",
        "data": {"store": str(store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"encoder": "test_resnet"},
        "train": {"steps": 40, "batch_size": 16, "evaluations": 5},
        "study": {
            "baseline": "optical",
            "seeds": [0, 1],
            "replicates": 200,
            "search": {"learning_rates": [0.0003, 0.003]},
            "variants": {
                "optical": {"inputs": ["s2"], "fusion": {"strategy": "single"}},
                "both": {"inputs": ["s2", "s1"], "fusion": {"strategy": "late"}},
            },
        },
    }


@pytest.fixture
def study_recipe(planted_store):
    return planted_study(planted_store)


@pytest.fixture(scope="module")
def done(planted_store, tmp_path_factory):
    return recipes.study(planted_study(planted_store), to=tmp_path_factory.mktemp("studies") / "study", workers=1)


@pytest.fixture
def copy(done, tmp_path):
    """The finished study in a folder of its own."""
    return shutil.copytree(done.folder, tmp_path / "copy")


def test_the_variant_that_sees_the_signal_wins_and_the_difference_is_told(done):
    board = done.leaderboard().set_index("variant")
    assert board.index[0].startswith("both")
    assert board.loc["both", "mean"] > 0.9
    assert board.loc["optical", "mean"] < 0.7
    assert board.loc["both", "difference"] == pytest.approx(board.loc["both", "mean"] - board.loc["optical", "mean"])
    assert board.loc["both", "p_holm"] < 0.1


def test_controls_come_by_themselves(done):
    roles = done.results.leaderboard.groupby("role")["variant"].unique()
    assert set(roles["frozen_random"]) == {"optical (frozen random)", "both (frozen random)"}
    assert set(roles["constant"]) == {"constant"}


def test_results_carry_seeds_patches_scenes_and_intervals(done):
    board = done.results.leaderboard
    assert (board["n_seeds"] == 2).all()
    assert (board["n_test"] == done.results.summary["patches"]["test"]).all()
    assert (board["n_scenes"] == done.results.summary["scenes"]["test"]).all()
    assert (board["low"] <= board["mean"]).all()
    assert (board["mean"] <= board["high"]).all()


def test_every_variant_gets_the_same_search_and_its_cost_is_counted(done):
    cells = done.results.cells
    trained = cells[cells["role"].isin(["search", "final"])]
    first_seed = trained[trained["seed"] == 0].groupby("variant")["learning_rate"].apply(sorted)
    assert first_seed["optical"] == first_seed["both"] == [0.0003, 0.003]
    assert done.results.summary["search"]["runs"] == 4
    assert (cells["seconds"] >= 0).all()


def test_a_search_run_never_sees_the_test_patches(done):
    for cell in done.results.cells.query("role == 'search'")["cell"]:
        assert not (done.folder / "cells" / cell / "test.json").exists()


def test_the_chosen_learning_rate_is_the_best_on_validation(done):
    cells = done.results.cells.query("seed == 0 and role in ['search', 'final']")
    for variant in done.results.summary["variants"]:
        if variant["role"] == "variant":
            own = cells[cells["variant"] == variant["name"]]
            assert variant["learning_rate"] == own.loc[own["validation_score"].idxmax(), "learning_rate"]


def test_all_variants_are_tested_on_the_same_patches(done):
    predictions = done.results.predictions
    sets = predictions.groupby(["variant", "seed"])["patch_id"].apply(frozenset)
    assert sets.nunique() == 1


def test_the_report_is_written_beside(done):
    assert (done.folder / "report.html").stat().st_size > 10_000


def tables(folder):
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}


def test_done_runs_are_not_computed_again(done, copy, study_recipe, monkeypatch):
    monkeypatch.setattr("eofuse.learning.run.fit", None)
    recipes.study(study_recipe, to=copy, workers=1)
    for name, table in tables(copy).items():
        pd.testing.assert_frame_equal(table, tables(done.folder)[name])


class Interrupted(BaseException):
    """Stands for a kill between or within runs."""


def test_an_interrupted_study_goes_on_to_the_same_tables(done, study_recipe, tmp_path, monkeypatch):
    original, count = runner._run_cell, [0]

    def run_cell(role, folder):
        count[0] += 1
        if count[0] > 3:
            raise Interrupted
        original(role, folder)

    monkeypatch.setattr(runner, "_run_cell", run_cell)
    with pytest.raises(Interrupted):
        recipes.study(study_recipe, to=tmp_path / "again", workers=1)
    monkeypatch.setattr(runner, "_run_cell", original)
    again = recipes.study(study_recipe, to=tmp_path / "again", workers=1)
    for name, table in tables(again.folder).items():
        pd.testing.assert_frame_equal(table, tables(done.folder)[name])


def test_several_processes_give_the_same_tables(done, study_recipe, tmp_path):
    again = recipes.study(study_recipe, to=tmp_path / "again", workers=2)
    for name, table in tables(again.folder).items():
        pd.testing.assert_frame_equal(table, tables(done.folder)[name])


def test_a_new_variant_costs_only_its_own_runs(copy, study_recipe, monkeypatch):
    study_recipe["study"]["variants"]["radar"] = {"inputs": ["s1"], "fusion": {"strategy": "single"}}
    trained = []
    original = runner._run_cell
    monkeypatch.setattr(
        runner,
        "_run_cell",
        lambda role, folder: (
            (trained.append(folder) if not (folder / "result.json").exists() else None) or original(role, folder)
        ),
    )
    recipes.study(study_recipe, to=copy, workers=1)
    assert len(trained) == 5  # two of the search, one for the other seed, two frozen ones


def test_folds_test_every_usable_patch_once_a_seed(study_recipe, tmp_path):
    study_recipe["study"] |= {
        "folds": 3,
        "seeds": [0],
        "search": {"learning_rates": [0.003], "steps": 5},
        "controls": False,
    }
    study_recipe["train"] = {**study_recipe["train"], "steps": 5}
    folded = recipes.study(study_recipe, to=tmp_path / "study", workers=1)
    assert sorted(folded.results.predictions.query("variant == 'both'")["row"]) == list(range(120))
    assert folded.leaderboard().set_index("variant").loc["both", "n_test"] == 120


def test_the_summary_names_data_split_and_leakage(done, planted_store):
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["fingerprint"] == planted_store.fingerprint
    assert summary["simulated"] is True
    assert {row["protocol"] for row in summary["leakage"]} == {"scene", "blocks", "random", "published"}
    assert {row["protocol"]: row["sharing_scene"] for row in summary["leakage"]}["scene"] == 0
    assert any("prove nothing" in warning for warning in summary["warnings"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "optcal"}, "did you mean 'optical'"),
        ({"seeds": [1, 1]}, "seeds must be different"),
        ({"variantss": {}}, "did you mean 'variants'"),
        ({"variants": {"optical": {"inputs": ["s2"], "fusoin": {}}}}, "did you mean 'fusion'"),
        (
            {"variants": {"optical": {"inputs": ["s2"]}, "b": {"inputs": ["s1"], "task": {"target": "x"}}}},
            "variants must share it",
        ),
    ],
)
def test_a_wrong_study_is_explained(study_recipe, change, message):
    study_recipe["study"] |= change
    with pytest.raises(UsageError, match=message):
        plan_study(study_recipe)


def test_a_recipe_without_axes_is_no_study(recipe):
    with pytest.raises(UsageError, match="has no section 'study'"):
        plan_study(recipe)


def test_the_identity_of_a_cell_does_not_depend_on_names_and_paths(study_recipe):
    plan = plan_study(study_recipe)
    moved = plan_study({**study_recipe, "name": "other", "data": {"store": "elsewhere.store"}})
    identities = [[cell.identity("f") for cell in search_cells(p)] for p in (plan, moved)]
    assert identities[0] == identities[1]
    assert len(set(identities[0])) == 4


def test_cells_differ_by_seed_data_and_role(study_recipe):
    plan = plan_study(study_recipe)
    cells = final_cells(plan, {"optical": 0.003, "both": 0.003})
    assert len({cell.identity("f") for cell in cells}) == len(cells) == 10
    assert cells[0].identity("f") != cells[0].identity("g")


def test_another_metric_can_rank(done):
    board = done.leaderboard("accuracy")
    assert (np.diff(board["mean"]) <= 0).all()


def test_an_unknown_metric_is_misuse(done):
    with pytest.raises(UsageError, match="no metric 'acc'"):
        done.leaderboard("acc")
