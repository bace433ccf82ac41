"""Which patches of a store to annotate next: candidates that are fair, ranks by what a run says, a table and a picture."""

import json
from dataclasses import dataclass

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import eofuse
from eofuse.cli import main
from eofuse.data.store import Store, open_store
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.learning.annotation import rank
from eofuse.learning.preparation import prepare
from eofuse.learning.run import open_run
from eofuse.reports.figures.suggestions import contact_sheet
from fake_source import PlantedSource

LACKING = 7


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    """A function after which the picture is drawn; most tests read the table only."""
    monkeypatch.setattr("eofuse.suggestions.contact_sheet", lambda *arguments: None)
    return lambda: monkeypatch.setattr("eofuse.suggestions.contact_sheet", contact_sheet)


@dataclass
class PartlyLabelled(PlantedSource):
    """The first 30 patches have no label, and one of them no radar."""

    def plant(self) -> None:
        self.absent = {"s1": {LACKING}}
        self.index["has_s1"] = self.index.index != LACKING
        self.index["label"] = self.index["label"].astype("Int64").mask(self.index.index < 30)

    def signal(self, modality, row, raster):
        label = self.index["label"].iloc[row]
        return raster + 6 * (0 if pd.isna(label) else int(label)) if modality.name == "s1" else raster


@pytest.fixture(scope="module")
def run(planted_store, tmp_path_factory):
    """Trained on 12 of 60 training patches."""
    return eofuse.train(
        {
            "data": {"store": str(planted_store.path)},
            "inputs": ["s1"],
            "split": {"fractions": [0.5, 0.2, 0.3]},
            "labels": {"amount": 0.2},
            "task": {"target": "label"},
            "fusion": {"strategy": "single", "encoder": "test_resnet"},
            "train": {"steps": 20, "batch_size": 8, "evaluations": 2, "learning_rate": 0.003},
        },
        to=tmp_path_factory.mktemp("suggestions") / "run",
    ).folder


@pytest.fixture(scope="module")
def partly(tmp_path_factory):
    source = PartlyLabelled(patches=40, name="partly")
    source.index["patch_id"] = [f"new_{row}" for row in range(40)]
    return pack_source(source, tmp_path_factory.mktemp("suggestions") / "partly.store", workers=1)


def rows_of(run, store):
    return prepare(store, open_run(run).options)


def test_candidates_of_its_own_store_are_the_training_patches_whose_labels_are_hidden(run, planted_store, tmp_path):
    found = eofuse.suggest(run, planted_store, 100, output=tmp_path)
    prepared = rows_of(run, planted_store)
    assert set(found.table["patch_id"]) == set(planted_store.index["patch_id"].iloc[prepared.unlabelled])
    assert found.candidates == 48
    assert found.left_out == {"validation or test patches of the run": 60, "already labelled": 12}


def test_candidates_of_another_store_are_those_without_a_label(run, partly, tmp_path):
    found = eofuse.suggest(run, partly.path, 100, output=tmp_path)
    assert set(found.table["patch_id"]) == {f"new_{row}" for row in range(30) if row != LACKING}
    assert found.left_out == {"lack an input": 1, "have a label": 10}


def test_candidates_can_be_looked_for_among_ids_only(run, partly, tmp_path):
    (tmp_path / "ids.txt").write_text("new_3\nnew_5\nnew_35\n")
    command = ["suggest", str(run), str(partly.path), "--ids", str(tmp_path / "ids.txt"), "-o", str(tmp_path), "-q"]
    assert main(command) == 0
    assert set(pd.read_csv(tmp_path / "suggestions.csv")["patch_id"]) == {"new_3", "new_5"}


def test_test_patches_are_left_out_in_whichever_store_they_are(run, planted_store, partly, tmp_path):
    prepared = rows_of(run, planted_store)
    taken = planted_store.index["patch_id"].iloc[[prepared.rows["test"][0], prepared.rows["train"][0]]].tolist()
    index = partly.index.copy()
    index.loc[[0, 1], "patch_id"] = taken
    found = eofuse.suggest(
        run, Store(partly.path, json.loads((partly.path / "store.json").read_text()), index), 100, output=tmp_path
    )
    assert not set(taken) & set(found.table["patch_id"])
    assert found.left_out["validation or test patches of the run"] == found.left_out["already labelled"] == 1


def test_a_store_of_which_all_is_labelled_is_refused(run, planted_store, tmp_path):
    source = PlantedSource(patches=10, seed=5)
    source.index["patch_id"] = [f"other_{row}" for row in range(10)]
    store = pack_source(source, tmp_path / "labelled.store", workers=1)
    with pytest.raises(DataError, match=r"no patch is left to be annotated \(10 have a label\)"):
        eofuse.suggest(run, store, output=tmp_path)


def test_the_most_uncertain_come_first_with_what_is_predicted(run, partly, tmp_path):
    table = eofuse.suggest(run, partly, 10, by="uncertainty", output=tmp_path).table
    assert table["rank"].tolist() == list(range(1, 11))
    assert table["uncertainty"].is_monotonic_decreasing
    assert table["uncertainty"].between(0, 1).all()
    confidence = eofuse.predict_store(run / "model", partly).set_index("patch_id")["label.confidence"]
    np.testing.assert_allclose(table["label.confidence"], confidence[table["patch_id"]], rtol=1e-4)
    assert table["label.confidence"].is_monotonic_increasing  # of two classes, the less sure is the less certain


def test_diversity_gives_falling_distances_and_the_mix_is_neither(run, partly, tmp_path):
    chosen = {
        by: eofuse.suggest(run, partly, 12, by=by, output=tmp_path).table for by in ("diversity", "mix", "uncertainty")
    }
    assert chosen["diversity"]["distance"].is_monotonic_decreasing
    orders = {by: tuple(table["patch_id"]) for by, table in chosen.items()}
    assert len(set(orders.values())) == 3


def test_validation_patches_that_were_learned_from_are_not_resembled(planted_store, partly, tmp_path, monkeypatch):
    values = {key: value for key, value in open_run_values(planted_store).items() if key != "labels"}
    run = eofuse.train({**values, "task": {"target": "label"}, "refit": True}, to=tmp_path / "run").folder
    centres = []

    def watched(by, count, model, candidates, labelled, **options):
        centres.extend(labelled[1].tolist())
        return rank(by, count, model, candidates, labelled, **options)

    monkeypatch.setattr("eofuse.suggestions.rank", watched)
    eofuse.suggest(run, partly, 3, by="diversity", output=tmp_path / "out")
    rows = rows_of(run, planted_store).rows
    assert sorted(centres) == sorted([*rows["train"].tolist(), *rows["validation"].tolist()])


def test_the_same_question_has_the_same_answer_and_fewer_begin_more(run, partly, tmp_path):
    first, again, few = (eofuse.suggest(run, partly, n, output=tmp_path).table for n in (12, 12, 5))
    pd.testing.assert_frame_equal(first, again)
    assert few["patch_id"].tolist() == first["patch_id"].tolist()[:5]


def test_numbers_have_no_uncertainty_but_diversity(planted_store, partly, tmp_path):
    values = open_run_values(planted_store)
    run = eofuse.train({**values, "task": {"target": "season"}}, to=tmp_path / "run").folder
    with pytest.raises(UsageError, match="'mix' needs probabilities of classes, and regression has none"):
        eofuse.suggest(run, partly, output=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    table = eofuse.suggest(run, planted_store, 5, by="diversity", output=tmp_path / "b").table
    assert table["uncertainty"].isna().all()
    assert {"season.season_s2", "season.season_s1"} <= set(table.columns)


def open_run_values(store):
    return {
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "labels": {"amount": 0.2},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 1, "batch_size": 8, "evaluations": 1},
    }


def test_the_command_writes_table_and_picture_and_says_what_was_left_out(run, partly, tmp_path, capsys, drawing):
    drawing()
    words = ["suggest", str(run), str(partly.path), "-n", "4", "--by", "diversity", "-o", str(tmp_path / "next")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "29 candidates; left out: 1 lack an input, 10 have a label" in said
    assert pd.read_csv(tmp_path / "next" / "suggestions.csv")["rank"].tolist() == [1, 2, 3, 4]
    assert matplotlib.image.imread(tmp_path / "next" / "suggestions.png").std() > 0.05


def test_the_sheet_shows_what_is_predicted_of_every_kind(planted_store, tmp_path):
    table = pd.DataFrame(
        {
            "rank": [1, 2],
            "patch_id": planted_store.index["patch_id"].iloc[:2],
            "zone": ["tree_cover", "water"],
            "zone.confidence": [0.625, 0.5],
            "classes": [["dry", "wet"], []],
            "cover.share.built_up": [0.25, np.nan],
            "height": [512.25, 3.0],
            "height.low": [1.0, 1.0],
        }
    )
    figure = contact_sheet(planted_store, table, list(table.columns[2:]), "two patches", tmp_path / "sheet.png")
    words = " ".join(text.get_text() for text in figure.texts).replace("\xa0", " ")
    assert "tree cover (62 %); dry, wet; height 512; built up 25 %" in words
    assert "none of the classes; height 3" in words
    assert "two patches   [simulated]" in words


def test_a_store_that_the_run_was_not_trained_on_is_not_taken_for_it(run, partly, planted_store, tmp_path, monkeypatch):
    other = pack_source(PlantedSource(patches=40, seed=9), tmp_path / "other.store", workers=1)
    monkeypatch.setattr("eofuse.suggestions.open_store", lambda path: other)
    assert open_store(planted_store.path).fingerprint != other.fingerprint
    with pytest.raises(DataError, match="is not the store that the run was trained on any more"):
        eofuse.suggest(run, partly, output=tmp_path)
