"""A study that takes modalities away: what remains, what each is worth, and nothing trained again for it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from eofuse import recipe as recipes
from eofuse.config import merge
from eofuse.learning.run import open_run
from eofuse.studies.grid import final_cells
from eofuse.studies.missing import is_answered, is_asked, job, taken_away
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study

ASKED = {"study": {"without": True, "attribution": True}}
GAPS = {"fusion": {"strategy": "late", "missing": "token"}, "augment": {"drop_modalities": 0.3}}


def planted_study(store):
    return {
        "name": "absence",
        "data": {"store": str(store.path)},
        "inputs": ["s1", "elevation"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label", "metric": "balanced_accuracy"},
        "fusion": {"strategy": "late", "encoder": "test_resnet"},
        "train": {"steps": 30, "batch_size": 16, "evaluations": 2},
        "study": {
            "baseline": "whole",
            "seeds": [0],
            "replicates": 200,
            "controls": False,
            "search": {"learning_rates": [0.003]},
            "variants": {
                "whole": {},
                "saw gaps": GAPS,
            },
        },
    }


@pytest.fixture(scope="module")
def before(planted_store, tmp_path_factory):
    """The results before anything is taken away."""
    values = planted_study(planted_store)
    return run_study(plan_study(values), values, tmp_path_factory.mktemp("absence") / "study", workers=1)


@pytest.fixture(scope="module")
def done(before, planted_store):
    """The same study, asked."""
    weights = {path: path.stat().st_mtime_ns for path in before.folder.glob("cells/*/model/*.safetensors")}
    after = recipes.study(merge(planted_study(planted_store), ASKED), to=before.folder, workers=1)
    assert {path: path.stat().st_mtime_ns for path in after.folder.glob("cells/*/model/*.safetensors")} == weights
    return after


def test_a_study_that_does_not_ask_has_empty_tables(before):
    assert before.without.empty
    assert before.attribution.empty


def test_taking_away_what_holds_the_signal_loses_it(done):
    table = done.results.without
    table = table[table["metric"] == "balanced_accuracy"].set_index(["variant", "without"])
    assert set(table.index) == {(name, of) for name in ("whole", "saw gaps") for of in ("s1", "elevation")}
    for variant in ("whole", "saw gaps"):
        assert table.loc[(variant, "s1"), "difference_high"] < -0.2
        assert table.loc[(variant, "elevation"), "mean"] > table.loc[(variant, "s1"), "mean"] + 0.2
    assert (table["n_seeds"] == 1).all()
    assert (table["p_holm"] >= table["p"]).all()


def test_differences_are_to_the_same_runs_with_everything(done):
    whole = done.leaderboard().set_index("variant")["mean"]
    table = done.results.without
    table = table[table["metric"] == "balanced_accuracy"]
    assert np.allclose(table["mean"] - table["difference"], whole[table["variant"]])


def test_worth_sums_to_the_gain_over_the_constant_predictor(done):
    table = done.results.attribution
    for (_, metric), rows in table[table["kind"] == "shapley"].groupby(["variant", "metric"]):
        sign = -1 if metric in ("ece", "ece_raw") else 1
        assert rows["value"].sum() == pytest.approx(sign * (rows["whole"] - rows["constant"]).iloc[0], abs=1e-9)
    ranking = table[(table["metric"] == "balanced_accuracy") & (table["kind"] == "shapley")]
    worth = ranking.set_index(["variant", "name"])["value"]
    assert worth["saw gaps", "s1"] > 0.3
    assert abs(worth["saw gaps", "elevation"]) < 0.1


def test_only_variants_that_were_trained_with_gaps_are_taken_for_such(done):
    told = done.results.without.groupby("variant")["saw_gaps"].first()
    assert told.to_dict() == {"whole": False, "saw gaps": True}


@pytest.mark.usefixtures("written_reports")
def test_the_report_shows_both(done):
    page = done.report().read_text()
    assert "What remains when a sensor is away" in page
    assert "What each modality is worth" in page
    assert "never saw gaps" in page


def test_a_run_of_which_an_answer_is_missing_is_asked_again(done, planted_store, tmp_path):
    plan = plan_study(merge(planted_study(planted_store), ASKED))
    cell = next(done.folder.glob("cells/*/without")).parent
    run = open_run(shutil.copytree(cell, tmp_path / "run"))
    assert is_answered(plan, run)
    next(run.folder.glob("without/s1/label.parquet")).unlink()
    assert not is_answered(plan, run)


def test_identities_of_cells_do_not_change_when_modalities_are_taken_away(planted_store):
    radar = {"study": {"variants": {"radar": {"inputs": ["s1"], "fusion": {"strategy": "single"}}}}}
    rates = {(name, 0, "1.0"): 0.003 for name in ("whole", "saw gaps", "radar")}
    recipe = merge(planted_study(planted_store), radar)
    plans = [plan_study(merge(recipe, change)) for change in ({}, ASKED)]
    cells = [final_cells(plan, rates) for plan in plans]
    assert [cell.identity("") for cell in cells[0]] == [cell.identity("") for cell in cells[1]]
    assert not any(is_asked(plans[0], cell) for cell in cells[0])
    assert {cell.variant for cell in cells[1] if is_asked(plans[1], cell)} == {"whole", "saw gaps"}


def test_each_modality_or_every_set_of_them_is_taken_away(planted_store):
    names = ["s1", "s2", "season"]
    axes = [
        plan_study(merge(planted_study(planted_store), {"study": {key: True}})).axes
        for key in ("without", "attribution")
    ]
    assert taken_away(names, job(axes[0])) == [{"s1"}, {"s2"}, {"season"}]
    every = taken_away(names, job(axes[1]))
    assert len(every) == 7
    assert set(names) in every
    assert set() not in every


def test_a_modality_of_any_name_has_a_folder_of_its_own():
    from eofuse.learning.missing import without_file

    folder = Path("run")
    names = [frozenset({"a+b"}), frozenset({"a", "b"}), frozenset({"a/b"}), frozenset({"a b"})]
    assert len({without_file(folder, each, "label").parent for each in names}) == 4
    assert all(without_file(folder, each, "label").parent.parent == folder / "without" for each in names)
