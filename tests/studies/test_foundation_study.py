"""A study with published weights: beside each variant its random twin, paired; what the weights are worth; whose they are."""

import pytest

import eofuse
from foundation_store import small_store


@pytest.fixture(scope="module")
def done(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foundation-study")
    joint = {"joint": {"galileo:nano": ["s2"]}}
    recipe = {
        "data": {"store": str(small_store(folder / "a.store").path)},
        "inputs": ["s2"],
        "split": {"fractions": [0.5, 0.25, 0.25]},
        "task": {"target": "label"},
        "fusion": {"strategy": "single"},
        "train": {"steps": 2, "batch_size": 8, "evaluations": 1},
        "start": {"from": str(shared / "weights" / "galileo_nano_encoder.safetensors")},
        "study": {
            "baseline": "bands",
            "seeds": [0],
            "replicates": 100,
            "label_amounts": [2, 1.0],
            "search": {"learning_rates": [0.001, 0.01]},
            "variants": {
                "bands": {"start": None, "fusion": {"encoder": "statistics"}, "task": {"head": "linear"}},
                "Galileo": {"fusion": joint, "task": {"head": "nearest_mean"}},
            },
        },
    }
    return eofuse.study(recipe, to=folder / "study", workers=1)


def test_the_random_twin_is_a_control_paired_with_its_variant(done):
    board = done.results.leaderboard
    assert set(board["role"]) == {"variant", "random_twin", "constant"}
    pairs = done.results.comparisons.query("variant == 'Galileo' and baseline == 'Galileo (random weights)'")
    assert pairs[["difference", "low", "high"]].notna().all(axis=None)


def test_a_fitted_head_needs_no_search_of_the_learning_rate(done):
    cells = done.results.over_labels.cells
    assert set(cells.query("role == 'search'")["learning_rate"]) <= {0.001}


def test_the_report_tells_what_the_weights_are_worth_and_whose_they_are(done, written_reports):
    (worth,) = done.results.summary["worth"]
    assert (worth["variant"], worth["twin"]) == ("Galileo", "Galileo (random weights)")
    text = done.report().read_text(encoding="utf-8")
    assert "What the published weights are worth" in text
    assert "licence MIT" in text
    assert "control: the same network, trained alike from random weights" in text
