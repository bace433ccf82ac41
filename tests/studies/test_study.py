"""A study: fair search, controls, paired comparisons, and nothing computed twice."""

import json
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.errors import DataError, UsageError
from eofuse.evaluation.intervals import holm
from eofuse.locks import writing
from eofuse.records import sealed
from eofuse.studies.grid import final_cells, search_cells
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import COST_FILE, _Cost
from eofuse.studies.worker import run_cell
from fake_logger import registered
from forked import forked, kill_when

TABLES = ("results", "leaderboard", "comparisons", "predictions/label", "curves", "per_class")


def planted_study(store):
    return {
        "name": "planted",
        "data": {"store": str(store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"encoder": "test_resnet"},
        "train": {"steps": 40, "batch_size": 16, "evaluations": 5, "learning_rate": 0.01},
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


def test_all_comparisons_with_controls_are_corrected_together(done):
    """Every variant has a frozen random control of its own, so corrected by what it is compared with, its p would be raw."""
    table = done.results.comparisons.query("metric == 'macro_f1'")
    controls = table[table["baseline"] != done.results.summary["baseline"]]
    assert controls["baseline"].nunique() > 2
    assert controls["p_holm"].tolist() == pytest.approx(holm(controls["p"]).tolist())


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


def test_a_study_whose_runs_share_their_parts_records_them_once(done):
    split = pd.read_parquet(done.folder / "split.parquet")
    assert list(split.columns) == ["patch_id", "row", "scene", "part", "reason"]
    assert split["part"].value_counts().to_dict() == done.results.summary["patches"]


def test_a_study_predicts_with_the_seeds_of_its_best_variant_by_validation(done, planted_store, tmp_path, capsys):
    words = ["predict", str(done.folder), str(planted_store.path), "-o", str(tmp_path / "told.parquet")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "both: best of 2 variants by validation" in said
    assert "mean of 2 seeds (0, 1)" in said
    assert "120 patches were used in training or validation" in said
    table = pd.read_parquet(tmp_path / "told.parquet")
    assert table.attrs["predicted_by"].startswith(f"{done.folder}, both: ")
    alone = [done.predict(planted_store, variant="both", seed=seed) for seed in (0, 1)]
    mean = np.mean([each["label.p.1"] for each in alone], axis=0)
    np.testing.assert_allclose(table["label.p.1"], mean, rtol=1e-5)


def test_a_run_has_no_variants_to_choose_from(done, planted_store, capsys):
    cell = done.folder / "cells" / done.results.cells.query("role == 'final'")["cell"].iloc[0]
    assert main(["predict", str(cell), str(planted_store.path), "--seed", "1"]) == 2
    assert "--seed chooses among the runs of a study" in capsys.readouterr().err


def test_the_report_is_written_beside(done):
    assert (done.folder / "report.html").exists()


def tables(folder):
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}


def finished(folder):
    """Cell → when its result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cells/*/result.json")}


def test_done_runs_are_not_computed_again_and_a_new_logger_gets_them_all(done, copy, study_recipe, monkeypatch):
    logged, before = registered(monkeypatch), finished(copy)
    recipes.study(study_recipe, to=copy, overrides=["train.loggers=noted"], workers=1)
    assert finished(copy) == before
    for name, table in tables(copy).items():
        pd.testing.assert_frame_equal(table, tables(done.folder)[name])
    assert len(logged) == len(before)
    assert {each["run"].study for each in logged.values()} == {"planted"}
    tested = {each["run"].name for each in logged.values() if each["scores"]}
    assert {"both, seed 0", "both, seed 1", "optical (frozen random), seed 0"} <= tested


def small_study(store):
    """The study with one seed, one learning rate and a quarter of the steps."""
    values = planted_study(store)
    values["train"]["steps"] = 10
    values["study"] |= {"seeds": [0], "search": {"learning_rates": [0.003]}}
    return values


@pytest.fixture(scope="module")
def small(planted_store, tmp_path_factory):
    """The folder of the small study, which nothing interrupted."""
    folder = tmp_path_factory.mktemp("studies") / "small"
    return recipes.study(small_study(planted_store), to=folder, workers=1).folder


@pytest.fixture(scope="module")
def small_tables(small):
    return tables(small)


class Interrupted(BaseException):
    """Stands for Ctrl-C between or within runs."""


def test_an_interrupted_study_goes_on_to_the_same_tables(small_tables, planted_store, tmp_path):
    def stop(runs, total, words):
        if runs == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        recipes.study(small_study(planted_store), to=tmp_path / "again", workers=2, progress=stop)
    assert 2 <= len(finished(tmp_path / "again")) < 5  # the others were not waited for
    again = recipes.study(small_study(planted_store), to=tmp_path / "again", workers=2)
    for name, table in tables(again.folder).items():
        pd.testing.assert_frame_equal(table, small_tables[name])


def test_a_killed_study_leaves_no_process_and_goes_on_to_the_same_tables(
    small_tables, planted_store, cells_in_this_process, tmp_path
):
    """kill −9, while a process runs its cells, as for users."""
    recipe = small_study(planted_store)

    def study():
        cells_in_this_process.undo()
        recipes.study(recipe, to=tmp_path / "killed", workers=1)

    kill_when(forked(study), lambda: len(finished(tmp_path / "killed")) >= 2)
    again = recipes.study(recipe, to=tmp_path / "killed", workers=1)
    for name, table in tables(again.folder).items():
        pd.testing.assert_frame_equal(table, small_tables[name])
    assert not [line for line in os.popen("ps -eo ppid,args") if "studies.worker" in line and line.split()[0] == "1"]


def test_one_study_is_run_by_one_process(study_recipe, tmp_path):
    with writing(tmp_path), ThreadPoolExecutor(1) as other:
        again = other.submit(recipes.study, study_recipe, to=tmp_path, workers=1)
        with pytest.raises(UsageError, match="another process is at work on it: process"):
            again.result()


def test_a_new_variant_with_a_further_modality_costs_only_its_own_runs(small, planted_store, tmp_path):
    copy = shutil.copytree(small, tmp_path / "copy")
    before, values = finished(copy), small_study(planted_store)
    values["study"]["variants"]["season"] = {"inputs": ["s1", "season"], "fusion": {"strategy": "late"}}
    recipes.study(values, to=copy, workers=1)
    assert {name: finished(copy)[name] for name in before} == before
    assert len(finished(copy)) == len(before) + 2  # that of the search, and a frozen one


def test_a_moved_store_is_found_again_and_a_changed_one_refused(copy, study_recipe, planted_store, tmp_path):
    moved = shutil.copytree(planted_store.path, tmp_path / "moved.store")
    before = finished(copy)
    recipes.study({**study_recipe, "data": {"store": str(moved)}}, to=copy, workers=1)
    assert finished(copy) == before
    cell = next(copy.glob("cells/*"))
    with pytest.raises(DataError, match="the store has changed"):
        run_cell("variant", cell, "another fingerprint")


def test_searched_runs_that_are_trained_once_more_leave_nothing_of_what_they_began_with(study_recipe, tmp_path):
    shared = {"inputs": ["s1"], "fusion": {"strategy": "single"}}
    pretraining = {"similar": {"pretrain": {"method": "simclr", "width": 8}, "train": {"steps": 3}}}
    values = {**study_recipe, **shared, "refit": True, "train": {"steps": 4, "batch_size": 8, "evaluations": 2}}
    values["study"] |= {"baseline": "pretrained", "seeds": [0], "controls": False, "pretraining": pretraining}
    values["study"]["variants"] = {"pretrained": {"start": {"from": "pretraining:similar"}}}
    study = recipes.study(values, to=tmp_path / "study", workers=1)
    cells = study.results.cells
    assert sorted(cells["role"]) == ["final", "search"]
    split = pd.read_parquet(study.folder / "split.parquet")
    assert split["part"].value_counts().to_dict() == study.results.summary["patches"]  # the pretraining's are the same
    assert not [path for name in ("start", "refit", "checkpoint.pt") for path in study.folder.glob(f"cells/*/{name}")]


def test_a_learning_rate_that_diverges_is_the_worst(study_recipe, tmp_path):
    study_recipe["train"] |= {"steps": 6, "clip_norm": None}
    study_recipe["study"] |= {"seeds": [0], "controls": False, "search": {"learning_rates": [1e30, 0.001]}}
    study = recipes.study(study_recipe, to=tmp_path / "study", workers=1)
    assert {entry["learning_rate"] for entry in study.results.summary["variants"]} == {0.001}


def test_divergence_at_every_learning_rate_is_one_clear_error(study_recipe, tmp_path):
    study_recipe["train"] |= {"steps": 6, "clip_norm": None}
    study_recipe["study"] |= {"seeds": [0], "controls": False, "search": {"learning_rates": [1e30]}}
    with pytest.raises(DataError, match="diverged at every learning rate"):
        recipes.study(study_recipe, to=tmp_path / "study", workers=1)


def test_folds_test_every_usable_patch_once_a_seed(study_recipe, tmp_path):
    study_recipe["study"] |= {
        "folds": 3,
        "seeds": [0],
        "search": {"learning_rates": [0.003], "steps": 5},
        "controls": False,
        "baseline": "both",
        "variants": {"both": study_recipe["study"]["variants"]["both"]},
    }
    study_recipe["train"] = {**study_recipe["train"], "steps": 5}
    folded = recipes.study(study_recipe, to=tmp_path / "study", workers=1)
    assert sorted(folded.results.predictions.query("variant == 'both'")["row"]) == list(range(120))
    assert folded.leaderboard().set_index("variant").loc["both", "n_test"] == 120
    split = pd.read_parquet(folded.folder / "split.parquet")
    assert list(split.columns[:2]) == ["fold", "patch_id"]
    assert sorted(split.loc[split["part"] == "test", "row"]) == list(range(120))


def test_the_summary_names_data_split_and_leakage(done, planted_store):
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["fingerprint"] == planted_store.fingerprint
    assert summary["simulated"] is True
    assert {row["protocol"] for row in summary["leakage"]} == {"scene", "blocks", "random", "published"}
    assert {row["protocol"]: row["sharing_scene"] for row in summary["leakage"]}["scene"] == 0
    assert any("prove nothing" in warning for warning in summary["warnings"])
    assert any("train.learning_rate (0.01) is not used" in warning for warning in summary["warnings"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "optcal"}, "did you mean 'optical'"),
        ({"seeds": [1, 1]}, "seeds must be different"),
        ({"variantss": {}}, "did you mean 'variants'"),
        ({"variants": {"optical": {"inputs": ["s2"], "fusoin": {}}}}, "did you mean 'fusion'"),
        ({"variants": {"optical": {"inputs": ["s2"]}, "b": {"inputs": ["s1"], "data": {"store": "x"}}}}, "data.store"),
        ({"search": {"learning_rates": [-1]}}, "greater than 0"),
        (
            {"variants": {"optical": {"inputs": ["s2"]}, "b": {"inputs": ["s1"], "task": {"metric": "accuracy"}}}},
            "variants must share it",
        ),
        (
            {"variants": {"optical": {"inputs": ["s2"]}, "b": {"inputs": ["s2"], "train": {"learning_rate": 1.0}}}},
            r"variants\.b: train\.learning_rate is set by study\.search\.learning_rates",
        ),
    ],
)
def test_a_wrong_study_is_explained(study_recipe, change, message):
    study_recipe["study"] |= change
    with pytest.raises(UsageError, match=message):
        plan_study(study_recipe)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ({"seconds": math.inf, "energy_joules": None}, "finite number"),
        ({"seconds": 3.0}, "lacks energy_joules"),
        ({**sealed({"seconds": 3.0, "energy_joules": None}), "seconds": 2.0}, "has changed since it was written"),
    ],
)
def test_a_damaged_cost_so_far_is_an_error(tmp_path, cost, message):
    (tmp_path / COST_FILE).write_text(json.dumps(cost))
    with pytest.raises(DataError, match=rf"cost\.json: .*{message}"):
        _Cost(tmp_path)


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
    cells = final_cells(plan, dict.fromkeys(plan.keys, 0.003))
    assert len({cell.identity("f") for cell in cells}) == len(cells) == 10
    assert cells[0].identity("f") != cells[0].identity("g")


def test_each_fold_has_its_own_search(study_recipe):
    study_recipe["study"] |= {"folds": 3}
    cells = search_cells(plan_study(study_recipe))
    assert sorted({cell.options.split.fold for cell in cells}) == [0, 1, 2]
    assert len(cells) == 2 * 2 * 3


def test_a_single_fold_is_searched_and_tested_alike(study_recipe):
    plan = plan_study({**study_recipe, "split": {"folds": 5, "fold": 2}})
    cells = [*search_cells(plan), *final_cells(plan, dict.fromkeys(plan.keys, 0.003))]
    assert {cell.options.split.fold for cell in cells} == {2}


def test_folds_need_a_split_that_has_them(study_recipe):
    study_recipe["study"] |= {"folds": 3}
    with pytest.raises(UsageError, match="published split has no folds"):
        plan_study({**study_recipe, "split": {"protocol": "published"}})


def test_another_metric_can_rank(done):
    board = done.leaderboard("accuracy")
    assert (np.diff(board["mean"]) <= 0).all()


def test_an_unknown_metric_is_misuse(done):
    with pytest.raises(UsageError, match="no metric 'acc'"):
        done.leaderboard("acc")


@pytest.mark.parametrize(("others", "controls"), [((0.003, 0.003), 1), ((0.003, 0.0003), 2)])
def test_a_control_is_left_out_on_all_folds_or_on_none(study_recipe, others, controls):
    """Heads of frozen detectors are trained by the loop: controls differ where the learning rates do, maybe on one fold only."""
    recipe = {**study_recipe, "task": {"target": "regions", "classes": ["tree_cover"]}}
    twins = {name: {"inputs": ["s2"], "fusion": {"strategy": "single"}} for name in ("optical", "again")}
    recipe["study"] = {**study_recipe["study"], "variants": twins, "folds": 2}
    plan = plan_study(recipe)
    rates = dict.fromkeys(plan.keys, 0.003) | {
        ("again", fold, "1.0"): rate for fold, rate in zip(plan.folds, others, strict=True)
    }
    frozen = [cell for cell in final_cells(plan, rates) if cell.role == "frozen_random"]
    assert len({cell.variant for cell in frozen}) == controls
    assert len(frozen) == controls * 2 * 2
