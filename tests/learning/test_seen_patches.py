"""A run does not start from weights that have seen its test patches or its target, whichever way it names them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options, write_yaml
from eofuse.data.splits.identity import digests_of
from eofuse.data.store import Store
from eofuse.data.targets import make_target
from eofuse.errors import UsageError
from eofuse.learning.lineage import History, Role, Training, unknown, used_patches
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import inherited, prepare
from eofuse.learning.seen import refuse_seen
from eofuse.learning.transfer import StartOptions, history_of
from eofuse.models.artifact import HISTORY_KEY, load_model, save_model

NONE = np.zeros(0, dtype=np.int64)
NO_HISTORY = History()


def weights(path: Path, history: History | None) -> Path:
    """A file of weights with a history in it, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = None if history is None else {HISTORY_KEY: history.to_text()}
    save_file({"weight": torch.zeros(1)}, path, metadata)
    return path


def run_folder(folder: Path, history: History | None) -> str:
    return str(weights(folder / "model" / "model.safetensors", history).parents[1])


def started(source: str | Path, **options) -> StartOptions:
    return StartOptions.model_validate({"from": str(source), **options})


WAYS = {
    "run": lambda folder, history: started(run_folder(folder / "run", history)),
    "subfolder": lambda folder, history: started(Path(run_folder(folder / "run", history)) / "model"),
    "study cell": lambda folder, history: started(run_folder(folder / "study" / "cells" / "0a1b", history)),
    "file": lambda folder, history: started(weights(folder / "run" / "model" / "model.safetensors", history)),
    "copied folder": lambda folder, history: started(
        shutil.copytree(run_folder(folder / "run", history), folder / "copy", dirs_exist_ok=True)
    ),
    "copied file": lambda folder, history: started(
        shutil.copy(weights(folder / "run" / "model" / "model.safetensors", history), folder / "mine.safetensors")
    ),
    "file under another name": lambda folder, history: started(
        "timm:resnet18", file=str(weights(folder / "any.safetensors", history))
    ),
}
"""Ways of starting from the same weights: each writes them, and names them as a recipe does."""


def trained(store: Store, rows: dict[Role, np.ndarray], before=NO_HISTORY, *, inputs=("s1",), kind="run") -> History:
    patches, roles = used_patches(store, inputs, rows)
    seen = {name: list(store.modality(name).channel_names) for name in inputs}
    targets = {"label": []} if kind == "run" else {}
    return before.then(Training("earlier", kind, store.fingerprint, seen, targets, roles), patches)


def with_index(store: Store, fingerprint: str, **columns) -> Store:
    """A store of the same values with another index."""
    other = Store.__new__(Store)
    index = store.index.assign(**columns)
    other.__dict__.update({**store.__dict__, "index": index, "fingerprint": fingerprint, "_scalars": {}})
    return other


def renamed(store: Store) -> Store:
    return with_index(store, "renamed", patch_id=[f"other_{row}" for row in range(len(store))])


ROLES = st.lists(st.sampled_from(list(Role)), min_size=12, max_size=12)
PARTS = st.lists(st.sampled_from(["train", "unlabelled", "validation", "test", ""]), min_size=12, max_size=12)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chain=st.lists(st.tuples(ROLES, st.sampled_from(["run", "pretraining"])), min_size=1, max_size=3),
    parts=PARTS,
    ids_are_new=st.booleans(),
)
def test_no_way_and_no_overlap_lets_a_run_be_tested_on_what_was_learned(
    planted_store, tmp_path, way, chain, parts, ids_are_new
):
    history, used = History(), set()
    for roles, kind in chain:
        rows = {role: np.flatnonzero(np.array(roles) == role) for role in list(Role)[1:]}
        history = trained(planted_store, rows, history, kind=kind)
        used |= set(np.flatnonzero(np.array(roles)).tolist())
    store = renamed(planted_store) if ids_are_new else planted_store
    by_part = {name: np.flatnonzero(np.array(parts) == name) for name in ("train", "unlabelled", "validation", "test")}
    found = history_of(WAYS[way](tmp_path, history))
    rows = {name: by_part[name] for name in ("train", "validation", "test")}
    target = make_target(store, "label")

    def check() -> list[str]:
        return refuse_seen(found, store, rows, by_part["unlabelled"], [target])

    if used & set(rows["test"].tolist()):
        with pytest.raises(UsageError, match="test patches were seen"):
            check()
        return
    learned = {row for roles, _ in chain for row in np.flatnonzero(np.isin(roles, (Role.INPUTS, Role.LABELS))).tolist()}
    said = any("validation patches were learned from" in note for note in check())
    assert said == bool(learned & set(rows["validation"].tolist()))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_known_is_said(planted_store, tmp_path, way):
    rows = {"train": np.arange(4), "validation": np.arange(4, 6), "test": np.arange(6, 9)}
    target = make_target(planted_store, "label")
    for history in (None, trained(planted_store, {Role.LABELS: np.arange(4)}, unknown("timm:resnet18.a1_in1k"))):
        notes = refuse_seen(history_of(WAYS[way](tmp_path, history)), planted_store, rows, NONE, [target])
        assert "has learned is not known: test patches may be among them" in notes[0]


@pytest.mark.parametrize("source", ["timm:resnet18.a1_in1k", "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"])
def test_weights_from_elsewhere_are_not_known(source):
    assert [(each.name, each.is_known) for each in history_of(started(source)).trainings] == [(source, False)]


def test_a_list_that_is_too_long_for_a_file_is_not_known(planted_store, monkeypatch):
    history = trained(planted_store, {Role.LABELS: np.arange(40)}, trained(planted_store, {Role.INPUTS: np.arange(9)}))
    monkeypatch.setattr("eofuse.learning.lineage.MOST_CHARACTERS", 1000)
    again = History.from_text(history.to_text(), "x")
    assert [(each.name, each.is_known) for each in again.trainings] == [("earlier", False)] * 2
    assert not again.patches


def test_a_damaged_or_newer_history_counts_as_unknown(planted_store):
    text = trained(planted_store, {Role.LABELS: np.arange(4)}).to_text()
    newer = json.dumps({**json.loads(text), "version": 99})
    for broken in ("", "{}", text[:-9], newer, text.replace("ids", "sdi")):
        assert not any(each.is_known for each in History.from_text(broken, "x").trainings)


@given(st.lists(st.tuples(ROLES, st.booleans()), max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_history_keeps_every_role_through_chains_and_files(planted_store_of_module, chain):
    store, other = planted_store_of_module
    history = History()
    for roles, elsewhere in chain:
        rows = {role: np.flatnonzero(np.array(roles) == role) for role in list(Role)[1:]}
        history = trained(other if elsewhere else store, rows, history, inputs=("s1", "elevation"))
    again = History.from_text(history.to_text(), "x")
    assert len(again.trainings) == len(chain)
    for training, (roles, elsewhere) in zip(again.trainings, chain, strict=True):
        seen, used = again.patches[training.store], other if elsewhere else store
        expected = dict(zip(digests_of(used.index["patch_id"].iloc[:12]).tolist(), roles, strict=True))
        kept = dict(zip(seen.ids.tolist(), training.roles.tolist(), strict=True))
        assert {name: role for name, role in kept.items() if role} == {n: r for n, r in expected.items() if r}


@pytest.fixture(scope="module")
def planted_store_of_module(planted_store):
    return planted_store, renamed(planted_store)


@pytest.fixture
def prepared(recipe, planted_store):
    return prepare(planted_store, parse_options(RunOptions, recipe))


class TestSameIds:
    """Two datasets can number their patches alike."""

    def notes(self, history, store):
        rows = {"train": np.arange(10, 14), "validation": np.arange(14, 16), "test": np.arange(6)}
        return refuse_seen(history, store, rows, NONE, [make_target(store, "label")])

    def test_patches_far_away_are_others(self, planted_store):
        history = trained(planted_store, {Role.LABELS: np.arange(6)}, inputs=("season",))
        moved = with_index(planted_store, "moved", lat=planted_store.index["lat"] + 5)
        assert self.notes(history, moved) == []

    def test_other_values_without_a_place_are_not_decided(self, planted_store, tmp_path):
        nowhere = with_index(planted_store, "nowhere", lat=np.nan, lon=np.nan)
        history = trained(nowhere, {Role.LABELS: np.arange(6)})
        shifted = with_index(nowhere, "shifted", patch_id=np.roll(nowhere.index["patch_id"], 3))
        learned = trained(shifted, {Role.LABELS: np.arange(20, 26)})
        assert "6 of 6 test patches have the id" not in " ".join(self.notes(learned, nowhere))
        with pytest.raises(UsageError, match="6 of 6 test patches were seen"):
            self.notes(history, nowhere)
        same_ids = trained(shifted, {Role.LABELS: np.arange(100, 106)})
        assert self.notes(same_ids, nowhere) == []
        ids = dict(zip(nowhere.index["patch_id"], range(len(nowhere)), strict=True))
        rows = np.array([np.flatnonzero(shifted.index["patch_id"] == name)[0] for name in list(ids)[:6]])
        doubt = self.notes(trained(shifted, {Role.LABELS: rows[3:]}), nowhere)
        assert "3 of 6 test patches have the id of a patch" in doubt[0]

    def test_vectors_tell_rows_of_two_tables_apart(self, planted_store):
        """Their rows are often numbered alike."""
        nowhere = with_index(planted_store, "nowhere", lat=np.nan, lon=np.nan, crs=None)
        other = with_index(
            nowhere,
            "other",
            **{name: nowhere.index[name] + 0.5 for name in nowhere.index if name.startswith("season.")},
        )
        notes = self.notes(trained(other, {Role.LABELS: np.arange(4)}, inputs=("season",)), nowhere)
        assert "4 of 6 test patches have the id of a patch" in notes[0]
        with pytest.raises(UsageError, match="4 of 6 test patches were seen"):
            self.notes(trained(nowhere, {Role.LABELS: np.arange(4)}, inputs=("season",)), nowhere)

    def test_the_same_id_at_the_same_place_is_the_same_patch_whatever_its_values(self, planted_store):
        history = trained(planted_store, {Role.LABELS: np.arange(6)}, inputs=("climate_zone",))
        with pytest.raises(
            UsageError, match=r"6 of 6 test patches were seen in the run 'earlier' \(6 with their labels\)"
        ):
            self.notes(history, planted_store)


def test_ground_that_was_learned_from_under_another_id_is_said(planted_store):
    """Every other cut patch overlaps the one before it by half."""
    row = np.arange(len(planted_store))
    lon = 8 + 0.1 * (row // 2) + 0.008 * (row % 2)
    placed = with_index(planted_store, "cut", lat=47.0, lon=lon, ulx=np.nan)
    odd, even = np.arange(1, 20, 2), np.arange(0, 20, 2)
    rows = {"train": np.arange(40, 50), "validation": np.arange(50, 52), "test": odd}
    notes = refuse_seen(trained(placed, {Role.LABELS: even}), placed, rows, NONE, [make_target(placed, "label")])
    assert notes[0].startswith(
        "10 of 10 test patches cover ground on which the run 'earlier', where this run starts, learned"
    )
    assert "own training patches cover that of 0 of them" in notes[0]
    rows["train"] = even
    notes = refuse_seen(trained(placed, {Role.LABELS: even}), placed, rows, NONE, [make_target(placed, "label")])
    assert "own training patches cover that of 10 of them" in notes[0]


def test_labels_that_the_run_hides_but_the_weights_have_learned_are_said(planted_store):
    rows = {"train": np.arange(4), "validation": NONE, "test": np.arange(20, 26)}
    learned = trained(planted_store, {Role.LABELS: np.arange(12)})
    note = refuse_seen(learned, planted_store, rows, np.arange(4, 12), [make_target(planted_store, "label")])[0]
    assert note.startswith("8 training patches whose labels this run does not use were learned from with their labels")
    other = refuse_seen(learned, planted_store, rows, np.arange(4, 12), [make_target(planted_store, "mean_elevation")])
    assert other == []


class TestInputsOfTheWeights:
    def check(self, prepared, inputs):
        training = Training("earlier", "pretraining", prepared.store.fingerprint, inputs)
        targets = [task.target for task in prepared.tasks]
        patches, roles = used_patches(prepared.store, [], {})
        history = History((training,), {prepared.store.fingerprint: patches})
        assert not len(roles)
        refuse_seen(history, prepared.store, prepared.rows, NONE, targets)

    @pytest.mark.parametrize("channels", [[], ["climatezone"]])
    def test_what_the_target_derives_from_may_not_have_been_seen(self, recipe, planted_store, channels):
        prepared = prepare(planted_store, parse_options(RunOptions, {**recipe, "task": {"target": "climate_zone"}}))
        with pytest.raises(UsageError, match="the pretraining 'earlier' saw 'climate_zone'"):
            self.check(prepared, {"s1": ["VV"], "climate_zone": channels})
        self.check(prepared, {"s1": ["VV"]})

    def test_other_channels_may(self, recipe, planted_store):
        prepared = prepare(planted_store, parse_options(RunOptions, {**recipe, "task": {"target": "s2.B8"}}))
        self.check(prepared, {"s2": ["B02", "B03"]})
        with pytest.raises(UsageError, match="saw 's2'"):
            self.check(prepared, {"s2": ["B02", "B08"]})


class TestFoldersOfOlderVersions:
    """Their models have no history, but the folder may list the patches."""

    def older(self, folder, table, recipe) -> StartOptions:
        run_folder(folder, None)
        pd.DataFrame(table).to_parquet(folder / "patches.parquet")
        (folder / "recipe.yaml").write_text(write_yaml(recipe))
        return started(folder)

    @pytest.mark.parametrize("named", ["", "model", "model/model.safetensors"])
    def test_their_patches_count(self, prepared, tmp_path, named):
        ids, parts = prepared.store.index["patch_id"], prepared.rows
        recipe = {"name": "old", "inputs": {"s1": None}, "pretrain": {"method": "simclr"}}
        table = {"patch_id": ids.iloc[parts["train"]], "part": "train"}
        clean = self.older(tmp_path / "clean", table, recipe)
        notes = inherited(prepared, started(Path(clean.source) / named))[1]
        assert ["by their ids only" in note for note in notes] == [
            True
        ]  # such a folder lists neither values nor places
        seen = self.older(tmp_path / "seen", {"patch_id": ids}, recipe)
        with pytest.raises(UsageError, match=r"test patches were seen in the pretraining 'old' \(\d+ without labels\)"):
            inherited(prepared, started(Path(seen.source) / named))

    def test_where_they_started_is_not_known(self, prepared, tmp_path):
        ids = prepared.store.index["patch_id"].iloc[prepared.rows["train"]]
        recipe = {"inputs": {"s1": None}, "task": {"target": "label"}, "start": {"from": "gone"}}
        found = history_of(self.older(tmp_path / "run", {"patch_id": ids, "part": "train"}, recipe))
        assert [each.is_known for each in found.trainings] == [False, True]


@pytest.fixture(scope="module")
def chain(planted_store, tmp_path_factory):
    """A run that started from a pretraining, and a recipe that starts from its model."""
    folder = tmp_path_factory.mktemp("chain")
    shared = {
        "data": {"store": str(planted_store.path)},
        "inputs": ["s1"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 1, "batch_size": 8, "evaluations": 1},
    }
    recipes.pretrain({**shared, "name": "first", "pretrain": {"method": "simclr"}}, to=folder / "first")
    second = {**shared, "name": "second", "task": {"target": "label"}, "start": {"from": str(folder / "first")}}
    run = recipes.train(second, to=folder / "second", overrides=["labels.amount=0.5"])
    return run, {**second, "name": "third", "start": {"from": str(folder / "second" / "model")}}


class TestRealRuns:
    """Small runs, pretrainings and what starts from them."""

    def test_a_model_carries_the_history_of_all_before_it(self, chain, planted_store):
        run, _ = chain
        found = history_of(started(run.folder))
        assert [(each.name, each.kind) for each in found.trainings] == [("first", "pretraining"), ("second", "run")]
        prepared = prepare(planted_store, run.options)
        ids = planted_store.index["patch_id"]
        seen, last = found.patches[planted_store.fingerprint], found.trainings[-1]
        for rows, role in (
            (prepared.rows["train"], Role.LABELS),
            (prepared.unlabelled, Role.INPUTS),
            (prepared.rows["validation"], Role.VALIDATION),
        ):
            assert set(digests_of(ids.iloc[rows])) == set(seen.ids[last.roles == role])
        assert (last.inputs, last.targets) == ({"s1": ["VV", "VH"]}, {"label": []})
        assert run.start_notes() == []
        assert run.model().history == found.to_text()

    def test_the_same_split_is_gone_on_with_and_another_is_refused_before_anything_is_written(self, chain, tmp_path):
        _, values = chain
        with pytest.raises(UsageError, match=r"test patches were seen in the (run|pretraining)"):
            recipes.train(merge(values, {"split": {"split_seed": 1}}), to=tmp_path / "leaky")
        assert not (tmp_path / "leaky").exists()
        third = recipes.train(merge(values, {"refit": True}), to=tmp_path / "third")
        assert [each.name for each in history_of(started(third.folder)).trainings] == ["first", "second", "third"]
        last = history_of(started(third.folder)).trainings[-1]
        assert not (last.roles == Role.VALIDATION).any()  # with refit their labels are learned from
        assert third.start_notes() == []

    def test_what_is_not_known_stands_in_the_notes_of_a_run(self, chain, tmp_path):
        run, values = chain
        copy = shutil.copytree(run.folder / "model", tmp_path / "foreign")
        model = load_model(copy)
        model.history = ""
        save_model(model, copy)
        found = recipes.train(merge(values, {"start": {"from": str(copy)}}), to=tmp_path / "run")
        assert any("has learned is not known" in note for note in found.notes())
        assert json.loads((found.folder / "data.json").read_text())["start"] == found.start_notes()

    def test_a_study_finds_it_in_every_fold_before_anything_runs(self, chain, planted_store, tmp_path):
        values = chain[1]
        base = {key: value for key, value in values.items() if key not in ("split", "start")}
        seen = {"folds": 4, "fold": 0}
        alone = recipes.train({**base, "split": seen}, to=tmp_path / "alone")
        variants = {"scratch": {}, "started": {"start": {"from": str(alone.folder)}}}
        study = {"baseline": "scratch", "seeds": [0], "folds": 4, "variants": variants}
        with pytest.raises(UsageError, match="test patches were seen in the run 'third'"):
            recipes.study({**base, "study": study}, to=tmp_path / "study")
        assert not (tmp_path / "study" / "cells").exists()


def test_patches_of_which_only_ids_can_be_compared_are_said(planted_store):
    """Without places and without values of an input of that name, the same patch under another id can't be recognised."""
    nowhere = with_index(planted_store, "no places", lon=np.nan, lat=np.nan, crs=None)
    rows = {"train": np.arange(4), "validation": np.arange(4, 6), "test": np.arange(6, 9)}
    history = trained(nowhere, {Role.LABELS: np.arange(6, 9)}, inputs=("season",))
    notes = refuse_seen(history, renamed(nowhere), rows, NONE, [make_target(nowhere, "label")])
    assert ["by their ids only" in note for note in notes] == [True]
    assert notes[0].startswith("3 of 3 test patches")
    other = trained(nowhere, {Role.LABELS: np.arange(20, 30)}, inputs=("season",))
    assert refuse_seen(other, nowhere, rows, NONE, [make_target(nowhere, "label")]) == []  # ids of one store decide


def test_a_band_that_was_seen_under_an_alias_gives_a_target_away(planted_store):
    patches, roles = used_patches(planted_store, ["s2"], {Role.INPUTS: np.arange(4)})
    seen = Training("earlier", "pretraining", planted_store.fingerprint, {"s2": ["B8", "B4"]}, {}, roles)
    rows = {"train": np.arange(4), "validation": np.arange(4, 6), "test": np.arange(6, 9)}
    history = NO_HISTORY.then(seen, patches)
    with pytest.raises(UsageError, match="saw 's2', from which the target derives"):
        refuse_seen(history, planted_store, rows, NONE, [make_target(planted_store, "s2.B08")])
    assert refuse_seen(history, planted_store, rows, NONE, [make_target(planted_store, "s2.B11")]) == []
