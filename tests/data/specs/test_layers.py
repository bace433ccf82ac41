"""The keys of a modality mean the same in tables and scenes."""

import numpy as np
import pytest

import eofuse
from eofuse.config import parse_options
from eofuse.data.check import check_path
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.sources.table.spec import ModalitySpec
from eofuse.errors import UsageError
from table_folder import TableFolder

PIXELS = np.arange(2 * 8 * 8, dtype=np.int16).reshape(2, 8, 8)


@pytest.fixture
def folder(tmp_path):
    """Two samples of two scenes with a file a band, of which the second lacks `height`; a table and a spec of scenes fit them."""
    mine = TableFolder(tmp_path, rows=2)
    mine.table["site"] = ["p0", "p1"]
    for name in ("p0", "p1"):
        mine.write(f"base/{name}.tif", PIXELS[:1] + 1)
        for number, band in enumerate(("B02", "B03")):
            mine.write(f"pair/{name}_{band}.tif", PIXELS[number : number + 1])
    mine.write("height/p0.tif", PIXELS[:1] + 7)
    return mine


def from_table(folder, **layers):
    files = {key: {**layer, "files": layer["files"].replace("{scene}", "{id}")} for key, layer in layers.items()}
    folder.only(base={"files": "base/{id}.tif", "nodata": 0}, **files)
    return eofuse.pack(folder.save(), folder.path / "t.store", workers=1)


def from_scenes(folder, **layers):
    modalities = {"base": {"files": "base/{scene}.tif", "nodata": 0}, **layers}
    spec = {"name": "s", "root": str(folder.path), "modalities": modalities}
    return eofuse.cut(spec, folder.path / "s.store", size=8, workers=1).store


BOTH = pytest.mark.parametrize("made", [from_table, from_scenes])
PAIR = {"files": "pair/{scene}_{band}.tif", "bands": ["B02", "B03"], "nodata": -1}


@BOTH
def test_bands_units_and_scale(made, folder):
    store = made(folder, pair={**PAIR, "unit": {"B02": "K"}, "scale": 0.5, "offset": 3})
    pair = store.modality("pair")
    assert (pair.channel_names, [channel.unit for channel in pair.channels]) == (("B02", "B03"), ["K", ""])
    assert (pair.scale, pair.offset, pair.nodata, pair.dtype) == (0.5, 3, -1, "int16")
    assert (store.read("pair", [1])[0] == PIXELS).all()


@BOTH
def test_values_are_added_by_scene_and_clipped(made, folder):
    store = made(folder, pair={**PAIR, "add": {"p1": 100}, "clip": [10, 150]})
    assert (store.read("pair", [0])[0] == PIXELS.clip(10, 150)).all()
    assert (store.read("pair", [1])[0] == (PIXELS + 100).clip(10, 150)).all()
    with pytest.raises(UsageError, match="there is no scene 'p2'; valid: p0, p1"):
        made(folder, pair={**PAIR, "add": {"p2": 100}})


@BOTH
def test_a_modality_can_be_lacking_where_it_is_optional(made, folder):
    store = made(folder, height={"files": "height/{scene}.tif", "optional": True, "nodata": -1})
    assert store.present("height").tolist() == [True, False]
    assert (store.read("height", [0])[0] == PIXELS[:1] + 7).all()


@BOTH
def test_a_modality_can_be_like_a_known_one(made, folder):
    store = made(folder, ground={"files": "height/p0.tif", "like": "elevation"})
    ground = store.modality("ground")
    known = eofuse.modalities.ELEVATION
    assert (ground.title, ground.dtype, ground.nodata, ground.channels[0].unit) == (
        "ground",
        known.dtype,
        known.nodata,
        "m",
    )


@BOTH
def test_a_map_of_classes_has_a_kind_of_its_own(made, folder):
    folder.write("map.tif", np.full((1, 8, 8), 2, np.uint8))
    store = made(folder, cover={"kind": "category", "files": "map.tif", "categories": {1: "wood", 2: "lake"}})
    assert store.modality("cover").is_categorical
    assert (store.read("cover", [0]) == 2).all()


def test_the_kind_follows_from_what_holds_the_values():
    kinds = {
        "raster": {"files": "{id}.tif"},
        "category": {"column": "soil"},
        "vector": {"columns": ["a", "b"]},
        "series": {"columns": "t{step}"},
    }
    for kind, keys in kinds.items():
        assert parse_options(ModalitySpec, keys).kind == kind


def test_older_spellings_are_read_and_named(folder, caplog):
    older = {"files": "pair/{scene}_{channel}.tif", "channels": ["B02", "B03"], "nodata": -1}
    before = from_scenes(folder, pair=older)
    assert "`channels` of a modality is an old spelling of `bands`" in caplog.text
    assert before.modality("pair").channel_names == ("B02", "B03")
    assert before.provenance["cut"]["spec"]["modalities"]["pair"]["channels"] == [
        "B02",
        "B03",
    ]  # its job is what it was


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"files": "{scene}.tif", "columns": ["a"]}, "columns has a meaning for tables only"),
        ({"files": "{scene}.tif", "kind": "series"}, "kind can't be series"),
        ({"files": "{scene}.tif", "categories": ["a"]}, "listed by code"),
        ({"files": "{scene}.tif", "bands": ["a", "a"]}, "a band is named twice"),
    ],
)
def test_keys_that_scenes_have_no_use_for_are_named(layer, message):
    with pytest.raises(UsageError, match=message):
        parse_options(SceneSpec, {"name": "s", "modalities": {"a": layer}})


def test_scenes_are_checked_without_a_store(folder, tmp_path):
    folder.write("s1/p0.tif", np.ones((1, 8, 8), np.float32))
    folder.write("s1/p1.tif", np.ones((1, 8, 8), np.float32) - 2)
    spec = tmp_path / "scenes.yaml"
    spec.write_text(
        'name: s\nmodalities: {radar: {files: "s1/{scene}.tif", unit: dB}, gone: {files: "s1/{scene}.tif", nodata: 1}}\n'
    )
    found = [str(problem) for problem in check_path(spec, workers=1)]
    assert any("scene p0, radar: no value is below 0" in each for each in found)
    assert any("1 of 2 patches lack this modality" in each for each in found)
    assert sorted(path.name for path in tmp_path.glob("*.store*")) == []
