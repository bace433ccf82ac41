"""Simulated annotation: labels that a run picks for the next, from the training patches alone, beside random picks."""

import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.config import merge
from eofuse.data.store import open_store
from eofuse.errors import UsageError
from eofuse.learning.annotation import write_order
from eofuse.learning.preparation import prepare
from eofuse.learning.run import open_run
from eofuse.studies.grid import final_cells, search_cells
from eofuse.studies.labels import count_labels
from eofuse.studies.plan import plan_study
from eofuse.studies.runner import run_study

METHODS = ("random", "uncertainty", "mix")


def annotation(store):
    return {
        "name": "annotation",
        "data": {"store": str(store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "inputs": ["s1"],
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 4, "batch_size": 8, "evaluations": 1},
        "study": {
            "baseline": "random",
            "seeds": [0],
            "controls": False,
            "replicates": 100,
            "label_amounts": [0.1, 0.2, 0.4],
            "search": {"learning_rates": [0.003]},
            "variants": {name: {"labels": {"picked_by": name}} for name in METHODS},
        },
    }


@pytest.fixture
def values(planted_store):
    return annotation(planted_store)


@pytest.fixture(scope="module")
def done(planted_store, tmp_path_factory):
    values = annotation(planted_store)
    folder = tmp_path_factory.mktemp("studies") / "annotation"
    return recipes.Study(run_study(plan_study(values), values, folder, workers=1))


@pytest.fixture(scope="module")
def labelled(done):
    """Patch ids of each part, by variant and number of labels."""
    cells = done.results.over_labels.cells.query("role == 'final'")
    found = {}
    for cell in cells.itertuples():
        options = open_run(done.folder / "cells" / cell.cell).options
        store = open_store(options.data.store)
        rows = prepare(store, options).rows
        ids = {part: set(store.index["patch_id"].iloc[taken]) for part, taken in rows.items()}
        found[cell.variant, cell.n_labels] = ids
    return found


def test_every_method_has_every_amount_with_as_many_labels(labelled):
    assert set(labelled) == {(name, count) for name in METHODS for count in (6, 12, 24)}
    assert all(len(ids["train"]) == count for (_, count), ids in labelled.items())


def test_all_start_from_the_same_labels_and_keep_what_they_have(labelled):
    for name in METHODS:
        first, second, third = (labelled[name, count]["train"] for count in (6, 12, 24))
        assert first == labelled["random", 6]["train"]
        assert first < second < third
    assert len({frozenset(labelled[name, 12]["train"]) for name in METHODS}) > 1


def test_validation_and_test_patches_are_never_picked(labelled):
    held_out = {part: labelled["random", 6][part] for part in ("validation", "test")}
    for ids in labelled.values():
        assert {part: ids[part] for part in held_out} == held_out
        assert not ids["train"] & (held_out["validation"] | held_out["test"])


def test_the_shared_start_is_run_once(done):
    cells = done.results.over_labels.cells.query("role == 'final' and n_labels == 6")
    assert cells["variant"].tolist() == list(METHODS)
    assert cells["cell"].nunique() == 1


def test_picks_are_the_most_uncertain_of_the_run_before(done):
    cells = done.results.over_labels.cells.query("role == 'final' and n_labels == 6")
    folder = done.folder / "cells" / cells["cell"].iloc[0]
    order = pd.read_csv(folder / "order-uncertainty.csv")
    assert (order["picked"] == 0).sum() == 6
    assert order["uncertainty"].iloc[6:].is_monotonic_decreasing
    assert len(order) == 60
    assert set(order["patch_id"]) == set(pd.read_csv(folder / "order-random.csv")["patch_id"])


def test_labels_saved_are_told_against_random_picks(done):
    table = done.results.over_labels.efficiency.set_index("variant")
    assert set(METHODS) <= set(table.index)
    assert (table["low"] <= table["high"]).all()
    compared = done.results.over_labels.comparisons.query("baseline == 'random'")
    assert set(compared["variant"]) == set(METHODS) - {"random"}
    assert set(compared["n_labels"]) == {6, 12, 24}


@pytest.mark.usefixtures("written_reports")
def test_the_report_tells_how_labels_were_picked(done):
    page = done.report().read_text()
    assert "Simulated annotation" in page
    assert "picks at random" in page
    assert "picks by mix" in page


def test_controls_have_a_draw_of_labels_and_one_frozen_encoder_serves_all(values):
    values["study"]["controls"] = True
    plan = plan_study(values)
    controls = [cell for cell in final_cells(plan, dict.fromkeys(plan.keys, 0.003)) if cell.role != "variant"]
    assert all(cell.options.labels.picked_by is None for cell in controls)
    assert {cell.variant for cell in controls if cell.role == "frozen_random"} == {"random (frozen random)"}


def test_lost_picks_are_picked_again_to_the_same_and_kept_ones_are_left(done):
    cells = done.results.over_labels.cells
    folder = done.folder / "cells" / cells.query("variant == 'mix' and n_labels == 12")["cell"].iloc[0]
    file, before = folder / "order-mix.csv", (folder / "order-mix.csv").read_text()
    file.unlink()
    write_order(folder, "mix")
    assert file.read_text() == before
    written = file.stat().st_mtime_ns
    write_order(folder, "mix")
    assert file.stat().st_mtime_ns == written


def test_a_finished_study_is_not_run_again(done, values):
    before = {path: path.stat().st_mtime_ns for path in done.folder.glob("cells/*/*.*")}
    again = run_study(plan_study(values), values, done.folder, workers=1)
    written = {path for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert {path.name for path in written} <= {"recipe.yaml"}
    pd.testing.assert_frame_equal(again.over_labels.efficiency, done.results.over_labels.efficiency)


def test_identities_follow_from_the_whole_chain(values):
    plan = plan_study(values)
    rates = dict.fromkeys(plan.keys, 0.003)
    chosen = {cell.key: cell.identity("f") for cell in final_cells(plan, rates)}
    other = {**rates, ("mix", 0, "0.1"): 0.01}
    changed = {cell.key: cell.identity("f") for cell in final_cells(plan, other)}
    differing = {key for key in chosen if chosen[key] != changed[key]}
    assert {key for key in differing if key[0] == "mix"} == {("mix", 0, str(amount)) for amount in (0.1, 0.2, 0.4)}
    assert {key[0] for key in differing} == {"mix"}


def test_a_study_without_picks_runs_all_amounts_at_once(values):
    values["study"]["variants"] = {"random": {}}
    plan = plan_study(values)
    assert plan.stages == [[0.1, 0.2, 0.4]]
    assert all(cell.before is None for cell in search_cells(plan))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": {"label_amounts": None}}, "two fractions or more"),
        ({"study": {"label_amounts": [5, 0.5]}}, "two fractions or more"),
        ({"study": {"variants": {"mix": {"labels": {"picked_by": "mixed"}}}}}, "did you mean 'mix'"),
        ({"study": {"variants": {"mix": {"labels": {"grouped": True}}}}}, "differs in 'labels'"),
    ],
)
def test_a_wrong_study_of_picks_is_explained(values, change, message):
    with pytest.raises(UsageError, match=message):
        plan_study(merge(values, change))


def test_more_picks_than_an_order_has_are_refused_before_anything_runs(values, planted_store, monkeypatch):
    monkeypatch.setattr("eofuse.studies.labels.MOST_PICKS", 11)
    with pytest.raises(UsageError, match=r"from 0\.2 to 0\.4, 12 labels would be picked at once"):
        count_labels(planted_store, plan_study(values))
    values["study"]["variants"] = {"random": {}}
    assert [count.labels for count in count_labels(planted_store, plan_study(values)).values()] == [6, 12, 24]


def test_uncertain_numbers_are_refused_before_anything_runs(values, tmp_path):
    values["task"] = {"target": "season"}
    with pytest.raises(UsageError, match="regression has none; choose by diversity"):
        recipes.study(values, to=tmp_path / "study", workers=1)
    assert not (tmp_path / "study" / "cells").exists()


def test_a_single_run_can_not_pick(recipe, tmp_path):
    with pytest.raises(UsageError, match="eofuse suggest"):
        recipes.train(recipe, overrides=["labels.picked_by=mix"], to=tmp_path / "run")
