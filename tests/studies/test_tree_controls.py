"""Trees beside variants, and questions that compare two rows of the leaderboard."""

import numpy as np
import pytest

from eofuse import recipe as recipes
from eofuse.errors import UsageError
from eofuse.studies.grid import final_cells
from eofuse.studies.plan import plan_study

QUESTIONS = {
    "Does the network beat the forest?": ["both", "both (random forest)"],
    "Does the zone add anything?": ["both", "season"],
}


@pytest.fixture(scope="module")
def values(planted_store):
    return {
        "name": "columns",
        "data": {"store": str(planted_store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "train": {"steps": 4, "batch_size": 16, "evaluations": 1},
        "study": {
            "baseline": "both",
            "seeds": [0],
            "replicates": 100,
            "controls": False,
            "search": {"learning_rates": [0.003]},
            "trees": ["both"],
            "compare": QUESTIONS,
            "variants": {
                "season": {"inputs": ["season"], "fusion": {"strategy": "single"}},
                "both": {"inputs": ["season", "climate_zone"], "fusion": {"strategy": "late"}},
            },
        },
    }


@pytest.fixture(scope="module")
def done(values, tmp_path_factory):
    return recipes.study(values, to=tmp_path_factory.mktemp("studies") / "study", workers=1)


def test_trees_stand_in_the_leaderboard_with_seeds_and_intervals(done):
    board = done.results.leaderboard.set_index("variant")
    for name in ("both (random forest)", "both (gradient boosting)"):
        assert (board.loc[name, "n_seeds"] == 1).all()
        assert set(board.loc[name, "n_test"]) == set(board.loc["both", "n_test"])
        assert board.loc[name, "low"].notna().all()


def test_trees_are_compared_with_the_variants_of_the_same_inputs(done):
    table = done.results.comparisons
    assert set(table[table["baseline"] == "both (random forest)"]["variant"]) == {"both"}


def test_a_question_compares_its_two_rows_paired(done):
    table = done.results.questions.query("metric == 'macro_f1'").set_index("question")
    board = done.results.leaderboard.query("metric == 'macro_f1'").set_index("variant")["mean"]
    assert list(table.index) == list(QUESTIONS)
    for question, (first, other) in QUESTIONS.items():
        assert table.loc[question, "difference"] == pytest.approx(board[first] - board[other])
    assert (table["p_holm"] >= table["p"]).all()
    assert np.isfinite(table["low"]).all()


@pytest.mark.usefixtures("written_reports")
def test_the_report_asks_and_answers_the_questions_first(done):
    text = done.report().read_text()
    for question in QUESTIONS:
        assert question in text[: text.index("<nav")]


def test_trees_are_the_same_run_whatever_the_network_is(values):
    plans = [plan_study(values), plan_study({**values, "train": {"steps": 9}, "fusion": {"dropout": 0.1}})]
    cells = [final_cells(plan, dict.fromkeys(plan.keys, 0.003)) for plan in plans]
    first, other = ([cell.identity("f") for cell in each if "forest" in cell.variant] for each in cells)
    assert first == other
    assert len(set(first)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trees": ["bath"]}, "no variant 'bath'.*did you mean 'both'"),
        ({"compare": {"Better?": ["both", "both"]}}, "compares 'both' with itself"),
        ({"compare": {"Better?": ["both"]}}, "study.compare"),
    ],
)
def test_a_wrong_question_or_tree_is_explained(values, change, message):
    with pytest.raises(UsageError, match=message):
        plan_study({**values, "study": {**values["study"], **change}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compare": {"Better?": ["both", "both (random florest)"]}}, "did you mean 'both \\(random forest\\)'"),
        (
            {"variants": {"both": {"inputs": ["s1"], "fusion": {"strategy": "single"}}}, "compare": {}},
            "both has inputs with pixels: s1",
        ),
    ],
)
def test_what_can_not_be_asked_stops_before_anything_runs(values, change, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        recipes.study({**values, "study": {**values["study"], **change}}, to=tmp_path / "study", workers=1)
    assert not list(tmp_path.glob("study/cells/*"))
