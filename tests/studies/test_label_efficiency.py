"""A study over amounts of labels: fair, nested, counted, and with a chapter of its own."""

import pandas as pd
import pytest

from eofuse import recipe as recipes
from eofuse.data.store import open_store
from eofuse.errors import DataError, UsageError
from eofuse.learning.preparation import prepare
from eofuse.studies.grid import final_cells, search_cells
from eofuse.studies.labels import count_labels
from eofuse.studies.plan import plan_study


def few_labels(store):
    return {
        "name": "few",
        "data": {"store": str(store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "inputs": ["s1"],
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 6, "batch_size": 8, "evaluations": 2},
        "study": {
            "baseline": "radar",
            "seeds": [0, 1],
            "replicates": 200,
            "label_amounts": [1.0, 0.2],
            "search": {"learning_rates": [0.003]},
            "pretraining": {"similar": {"pretrain": {"method": "simclr", "width": 8}, "train": {"steps": 3}}},
            "variants": {"radar": {}, "pretrained": {"start": {"from": "pretraining:similar"}}},
        },
    }


@pytest.fixture
def values(planted_store):
    return few_labels(planted_store)


@pytest.fixture(scope="module")
def done(planted_store, tmp_path_factory):
    return recipes.study(few_labels(planted_store), to=tmp_path_factory.mktemp("studies") / "few", workers=1)


def test_every_variant_and_control_runs_with_every_amount(done):
    board = done.results.over_labels.leaderboard
    for _, rows in board.groupby("variant"):
        assert sorted(rows["n_labels"].unique()) == [12, 60]
    assert set(board["role"]) == {"variant", "frozen_random", "constant"}


def test_the_other_tables_are_those_of_the_largest_amount(done):
    assert done.results.labels == 60
    for name in ("results", "leaderboard", "comparisons", "predictions", "curves", "per_class"):
        assert set(getattr(done.results, name)["n_labels"]) == {60}
    assert set(done.results.at(12).leaderboard["n_labels"]) == {12}
    with pytest.raises(UsageError, match="it has 12, 60"):
        done.results.at(13)


def test_the_random_encoder_is_run_once_for_all_starts(done):
    assert set(done.results.leaderboard.query("role == 'frozen_random'")["variant"]) == {"radar (frozen random)"}


def test_a_pretraining_runs_once_a_seed_and_its_cost_is_counted(done):
    cells = done.results.over_labels.cells.query("role == 'pretraining'")
    assert cells["seed"].tolist() == [0, 1]
    assert (cells["seconds"] > 0).all()
    assert done.results.summary["pretraining"] == [{"name": "similar", "method": "simclr", "inputs": ["s1"]}]


def test_a_variant_starts_from_the_pretraining_of_its_seed(done):
    cells = done.results.over_labels.cells
    pretrained = cells.query("role == 'pretraining'").set_index("seed")["cell"]
    for _, row in cells.query("variant == 'pretrained'").iterrows():
        recipe = (done.folder / "cells" / row["cell"] / "recipe.yaml").read_text()
        assert f"cells/{pretrained[row['seed']]}" in recipe


def test_labels_needed_are_told_for_variants_and_random_encoders(done):
    table = done.results.over_labels.efficiency.set_index("variant")
    assert set(table.index) == {"radar", "pretrained", "radar (frozen random)"}
    assert (table["needed"] >= 12).all()
    assert (table["low"] <= table["high"]).all()
    assert table.loc["radar", "needed"] <= 60


def test_differences_are_told_at_each_amount_and_to_the_full_baseline(done):
    over = done.results.over_labels
    to_baseline = over.comparisons.query("baseline == 'radar' and variant == 'pretrained'")
    assert set(to_baseline["n_labels"]) == {12, 60}
    ranked = over.to_full.query("metric == 'macro_f1'")
    assert {(row.variant, row.n_labels) for row in ranked.itertuples()} == {
        ("radar", 12),
        ("pretrained", 12),
        ("pretrained", 60),
    }
    assert (ranked["p_holm"] >= ranked["p"]).all()


def test_the_budget_is_the_same_with_few_labels(done):
    finals = done.results.over_labels.cells.query("role == 'final'")
    assert set(finals["steps"]) == {6}


@pytest.mark.usefixtures("written_reports")
def test_the_report_has_a_chapter(done):
    page = done.report().read_text()
    assert "Label efficiency" in page
    assert "12" in page


def test_a_finished_study_is_not_run_again(done, values):
    before = {path: path.stat().st_mtime_ns for path in done.folder.glob("cells/*/result.json")}
    again = recipes.study(values, to=done.folder, workers=1)
    assert {path: path.stat().st_mtime_ns for path in done.folder.glob("cells/*/result.json")} == before
    pd.testing.assert_frame_equal(again.results.over_labels.efficiency, done.results.over_labels.efficiency)


def test_amounts_are_nested_shared_by_variants_and_drawn_anew_for_each_seed(values, planted_store):
    values["study"]["label_amounts"] = [0.1, 0.3, 1.0]
    values["study"]["variants"] = {"radar": {}, "both": {"inputs": ["s1", "s2"], "fusion": {"strategy": "late"}}}
    values["study"].pop("pretraining")
    plan = plan_study(values)
    rows = {}
    for name, options in plan.variants.items():
        for here in plan.labelled(options):
            rows[name, here.labels.amount, here.seed] = set(prepare(planted_store, here).rows["train"])
    for seed in (0, 1):
        assert rows["radar", 0.1, seed] < rows["radar", 0.3, seed] < rows["radar", 1.0, seed]
        for amount in (0.1, 0.3, 1.0):
            assert rows["radar", amount, seed] == rows["both", amount, seed]
    assert rows["radar", 0.1, 0] != rows["radar", 0.1, 1]


def test_every_amount_has_its_own_search(values):
    plan = plan_study(values)
    assert {cell.amount for cell in search_cells(plan)} == {"0.2", "1.0"}
    assert len(plan.keys) == len(set(plan.keys)) == 4
    rates = {key: 0.01 if key[2] == "0.2" else 0.001 for key in plan.keys}
    chosen = {
        (cell.amount, cell.options.train.learning_rate) for cell in final_cells(plan, rates) if cell.role == "variant"
    }
    assert chosen == {("0.2", 0.01), ("1.0", 0.001)}


def test_one_a_class_and_all_are_told_apart(values):
    values["study"]["label_amounts"] = [1, 1.0]
    plan = plan_study(values)
    cells = final_cells(plan, dict.fromkeys(plan.keys, 0.003))
    assert len({cell.identity("f") for cell in cells}) == len(cells)
    assert [count.labels for count in count_labels(open_store(values["data"]["store"]), plan).values()] == [2, 60]


def test_what_is_hidden_stays_of_use_as_input(values, planted_store):
    plan = plan_study(values)
    prepared = prepare(planted_store, next(iter(plan.labelled(plan.options))))
    assert len(prepared.rows["train"]) == 12
    assert len(prepared.unlabelled) == 48
    assert len(prepared.training) == 60
    assert not set(prepared.training) & {*prepared.rows["validation"], *prepared.rows["test"]}


def test_too_few_labels_are_one_clear_error(values, planted_store):
    values["labels"] = {"grouped": True}
    values["study"]["label_amounts"] = [0.02, 1.0]
    values["study"]["seeds"] = list(
        range(8)
    )  # for one of them at least, the first two patches of a scene are of one class
    with pytest.raises(DataError, match="more labels"):
        count_labels(planted_store, plan_study(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": {"label_amounts": [0.5, 0.5]}}, "named twice"),
        ({"study": {"label_amounts": [0.0]}}, "fraction"),
        ({"labels": {"amount": 0.5}}, "labels.amount is set by study.label_amounts"),
        ({"train": {"steps": None, "epochs": 3}}, "set train.steps"),
        ({"study": {"variants": {"radar": {}, "b": {"start": {"from": "pretraining:simlar"}}}}}, "'similar'"),
        ({"study": {"variants": {"radar": {}, "pretrained": {"start": None}}}}, "no variant starts"),
        ({"study": {"pretraining": {"similar": {"pretrain": {"method": "simcl"}}}}}, "simclr"),
        ({"study": {"variants": {"radar": {}, "pretrained": {"labels": {"seed": 4}}}}}, "differs in 'labels'"),
    ],
)
def test_a_wrong_study_of_labels_is_explained(values, change, message):
    from eofuse.config import merge

    with pytest.raises(UsageError, match=message):
        plan_study(merge(values, change))


def test_amounts_that_come_to_the_same_number_are_refused(values, planted_store):
    values["study"]["label_amounts"] = [0.02, 0.03, 1.0]
    with pytest.raises(UsageError, match="comes to 2 labels"):
        count_labels(planted_store, plan_study({**values, "study": {**values["study"]}}))
