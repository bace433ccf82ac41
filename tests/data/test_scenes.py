"""What is not known of scenes stays unknown: in indices, stores of stores, splits, counts and intervals."""

import json

import numpy as np
import pandas as pd
import pytest

from eofuse.config import parse_options
from eofuse.data.card.describe import describe_store, look_at
from eofuse.data.card.findings import findings
from eofuse.data.scenes import Scenes, scenes_of, units, with_kinds
from eofuse.data.splits import SplitOptions, leakage, make_split
from eofuse.data.store import STORE_FILE, open_store
from eofuse.data.store.combine import append, merge
from eofuse.data.store.pack import pack, pack_source
from eofuse.data.store.subset import subset
from eofuse.evaluation.evidence import to_columns
from eofuse.kinds import SINGLE_LABEL
from eofuse.learning.evaluate import to_predictions
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare
from eofuse.terminal import description_tables, scores_tables
from fake_source import FakeSource
from table_folder import TableFolder

WEATHER = {"kind": "vector", "columns": ["temperature", "rain"]}


class ScenelessSource(FakeSource):
    """Patches of which nothing says where or of which scene they are."""

    def plant(self) -> None:
        self.index = self.index.assign(scene=None, scene_kind=None, lon=np.nan, lat=np.nan, crs=None)


@pytest.fixture(scope="module")
def sceneless(tmp_path_factory):
    source = ScenelessSource(patches=120, size=8)
    return pack_source(source, tmp_path_factory.mktemp("sceneless") / "s.store", workers=1)


@pytest.fixture
def table(tmp_path) -> TableFolder:
    mine = TableFolder(tmp_path).only(weather=WEATHER)
    del mine.spec["scene"]
    return mine


def test_rows_without_scene_and_place_have_no_scene(table, tmp_path):
    del table.spec["lon"], table.spec["lat"]
    store = pack(table.save(), tmp_path / "out.store", workers=1)
    assert store.index[["scene", "scene_kind"]].isna().all(axis=None)
    assert scenes_of(store.index) == Scenes(6, 0, 0, 6)


def test_blocks_that_stand_in_for_scenes_are_said_as_such(table):
    table.table.loc[[1, 2], ["lon", "lat"]] = np.nan
    source = table.open()
    assert source.index["scene_kind"].tolist() == ["place", None, None, "place", "place", "place"]
    assert scenes_of(source.index).words == "1 block of 50 km in place of scenes and 2 patches of unknown scene"
    table.spec["scene"] = "site"
    assert set(table.open().index["scene_kind"]) == {"given"}


def test_stores_of_stores_keep_what_is_not_known(table, tmp_path):
    table.table.loc[[1, 2], ["lon", "lat"]] = np.nan
    whole = pack(table.save(), tmp_path / "whole.store", workers=1)
    parts = [subset(whole.path, tmp_path / name, ids=ids) for name, ids in (("a", ["p0", "p1"]), ("b", ["p2", "p3"]))]
    last = subset(whole.path, tmp_path / "c", ids=["p4", "p5"])
    both = append(merge([part.path for part in parts], tmp_path / "ab").path, [last.path])
    pd.testing.assert_frame_equal(both.index[["scene", "scene_kind"]], whole.index[["scene", "scene_kind"]])


def test_what_a_merged_store_never_knew_stays_unknown(sceneless, tmp_path):
    other = pack_source(FakeSource(patches=10, size=8, name="other"), tmp_path / "o.store", workers=1)
    renamed = pack_source(Renamed(patches=10, size=8, name="other"), tmp_path / "r.store", workers=1)
    both = merge([sceneless.path, renamed.path], tmp_path / "both.store")
    assert scenes_of(both.index) == Scenes(130, 2, 0, 120)
    assert scenes_of(other.index).words == "2 scenes"


class Renamed(FakeSource):
    """Patches with other ids."""

    def plant(self) -> None:
        self.index["patch_id"] = [f"other_{row}" for row in range(self.patches)]


def test_a_split_by_scene_takes_unknown_ones_one_by_one_and_its_leakage_is_not_known(sceneless):
    split = make_split(sceneless.index, SplitOptions())
    made_up = sceneless.index.assign(scene=sceneless.index["patch_id"])
    for name, rows in make_split(made_up, SplitOptions()).parts().items():
        np.testing.assert_array_equal(split.parts()[name], rows)
    found = leakage(sceneless.index, split)
    assert (found.sharing_scene, found.adjacent, found.same_ground) == (None, None, None)
    assert found.unknown_scene == found.test_patches


def test_a_run_says_that_the_split_is_a_random_one_as_far_as_anyone_knows(sceneless):
    recipe = {"data": {"store": str(sceneless.path)}, "inputs": ["s1"], "task": {"target": "label"}}
    prepared = prepare(sceneless, parse_options(RunOptions, recipe))
    said = " ".join(prepared.warnings)
    assert "taken as independent, which is not known either" in said
    assert "For 120 of 120 patches the split by scene is a random one, as far as anyone knows." in said
    assert prepared.summary()["scenes"] == {"train": 0, "validation": 0, "test": 0}
    test = prepared.summary()["known_scenes"]["test"]
    assert test["unknown"] == test["patches"] == len(prepared.rows["test"])


def test_intervals_take_patches_of_unknown_scene_one_by_one(sceneless):
    recipe = {"data": {"store": str(sceneless.path)}, "inputs": ["s1"], "task": {"target": "label"}}
    (task,) = prepare(sceneless, parse_options(RunOptions, recipe)).tasks
    table = pd.DataFrame({"patch_id": ["a", "b", "c"], "scene": [None, "s", "s"]})
    evidence = {name: np.zeros((3, *shape)) for name, shape in SINGLE_LABEL.evidence_shapes(2).items()}
    found = to_predictions(table.assign(**to_columns(evidence)), task, 0, 0)
    assert found.scenes.tolist() == units(table).tolist() == ["a", "s", "s"]


def test_description_card_and_scores_do_not_count_unknown_scenes(sceneless):
    described = describe_store(sceneless)
    assert (described.scenes["scenes"], described.scenes["unknown"]) == (0, 120)
    lines = " ".join(str(line) for line in description_tables(sceneless, described))
    assert "scenes that are not known" in lines
    assert "a split by scene is a random one for them, as far as anyone knows" in lines
    said = " ".join(finding.what for finding in findings(sceneless, look_at(sceneless)))
    assert "the scene of the patches is not known" in said
    scores = {"target": "label", "predictor": "run", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6}
    rows = pd.DataFrame([{**scores, "n_test": 30, "n_scenes": 30, "n_blocks": 0, "n_unknown": 30, "unit": ""}])
    (shown,) = scores_tables(rows)
    assert shown.title == "label: 30 test patches from scenes that are not known"
    assert "taken as independent" in shown.caption


OLD = pd.DataFrame({"patch_id": ["a", "b", "c"], "scene": ["a", "b20_7", "site"]})


@pytest.mark.parametrize(
    ("provenance", "scenes", "kinds"),
    [
        ({}, [None, "b20_7", "site"], [None, "given", "given"]),
        ({"table": {"scenes": "column 'id'"}}, ["a", "b20_7", "site"], ["given"] * 3),
        (
            {"parts": [{"provenance": {"table": {"scenes": "spatial blocks of 50 km, and 1 rows without a place by themselves"}}}]},
            [None, "b20_7", "site"],
            [None, "place", "given"],
        ),
    ],
)  # fmt: skip
def test_scenes_that_an_older_store_made_up_are_recognised(provenance, scenes, kinds):
    found = with_kinds(OLD, provenance)
    assert found["scene"].tolist() == scenes
    assert found["scene_kind"].tolist() == kinds


def test_an_older_store_is_read_with_what_is_known(tmp_path):
    class Alone(FakeSource):
        def plant(self) -> None:
            self.index["scene"] = self.index["patch_id"]

    store = pack_source(Alone(patches=5, size=8), tmp_path / "old.store", workers=1)
    description = json.loads((store.path / STORE_FILE).read_text()) | {"schema_version": 1}
    del description["digest"], description["files"]["patch_digests.npy"]
    (store.path / STORE_FILE).write_text(json.dumps(description))
    assert open_store(store.path).index["scene"].isna().all()
