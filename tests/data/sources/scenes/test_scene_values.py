"""Values without pixels of scenes: what of a table becomes that of the patches, and what is refused."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from eofuse.data.sources.scenes.source import open_scenes
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.store.cut import cut
from eofuse.errors import DataError

TABLE = """scene,temperature,rain,zone,ndvi_t1,ndvi_t2,winter
002,290,1.5,wet,0.2,0.4,0
001,280,0.5,7,0.6,,1
003,,9,7,0.1,0.2,0.5
"""
LAYERS = {
    "weather": {"kind": "vector", "columns": ["rain", "temperature"], "unit": {"rain": "mm"}, "table": "scenes.csv"},
    "zone": {"kind": "category", "column": "zone", "table": "scenes.csv"},
    "ndvi": {"columns": "ndvi_t{step}", "dates": ["2024-05-01", "2024-06-01"], "table": "scenes.csv"},
    "winter": {"columns": ["winter"], "like": "season", "table": "scenes.csv"},
}


@pytest.fixture
def folder(tmp_path):
    """Two scenes of two patches each, and a table that knows a third one."""
    for scene in ("001", "002"):
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
        with rasterio.open(tmp_path / f"{scene}.tif", "w", "GTiff", 20, 10, 1, dtype="int16", **place) as file:
            file.write(np.arange(200, dtype="int16").reshape(1, 10, 20))
    (tmp_path / "scenes.csv").write_text(TABLE)
    return tmp_path


def spec_of(folder, **layers):
    modalities = {"image": {"files": "{scene}.tif"}, **layers}
    return {"name": "made", "root": str(folder), "modalities": modalities}


def test_patches_have_the_values_of_their_scene(folder):
    store = cut(spec_of(folder, **LAYERS), folder / "out.store", size=10, workers=1).store
    rows = np.arange(4)
    assert store.index["scene"].tolist() == ["001", "001", "002", "002"]
    np.testing.assert_array_equal(store.read("weather", rows), np.float32([[0.5, 280]] * 2 + [[1.5, 290]] * 2))
    assert [category.name for category in store.modality("zone").categories] == ["7", "wet"]
    assert store.read("zone", rows).tolist() == [0, 0, 1, 1]
    series = store.read("ndvi", rows)
    assert series[:, :, 0].tolist() == [[19844, 19875]] * 4
    np.testing.assert_array_equal(series[:, :, 1], np.float32([[0.6, np.nan]] * 2 + [[0.2, 0.4]] * 2))
    assert store.modality("weather").channels[0].unit == "mm"
    assert store.modality("winter").valid_range == (0, 1)
    assert store.index[[f"has_{name}" for name in LAYERS]].all(axis=None)
    assert [name for name in store.index if name.startswith("nodata.")] == ["nodata.image"]


def test_a_scene_without_a_row_lacks_what_is_optional(folder):
    (folder / "scenes.csv").write_text("\n".join(line for line in TABLE.splitlines() if not line.startswith("001")))
    layers = {name: {**layer, "optional": True} for name, layer in LAYERS.items()}
    store = cut(spec_of(folder, **layers), folder / "out.store", size=10, workers=1).store
    for name in LAYERS:
        assert store.index[f"has_{name}"].tolist() == [False, False, True, True]


def test_codes_are_read_as_they_are_written(folder):
    (folder / "scenes.csv").write_text(TABLE.replace("wet", ""))
    layer = {**LAYERS["zone"], "optional": True}
    source = open_scenes(SceneSpec.model_validate(spec_of(folder, zone=layer)), folder, 10)
    assert [category.name for category in source.modalities[1].categories] == ["7"]
    assert source.index["has_zone"].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("001,", "004,", "has no row of scene 001"),
        ("003,", "001,", "scene 001 has several rows"),
        ("280", "", "scene 001: column 'temperature' is empty"),
        ("280", "warm", "scene 001: column 'temperature' holds 'warm', which is no number"),
        ("scene,", "site,", "no column 'scene'"),
        ("rain", "snow", "no column 'rain'"),
    ],
)
def test_what_is_wrong_names_the_scene(folder, old, new, message):
    (folder / "scenes.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(DataError) as raised:
        open_scenes(SceneSpec.model_validate(spec_of(folder, weather=LAYERS["weather"])), folder, 10)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"kind": "vector", "columns": ["a"]}, "columns has a meaning for tables only; name one as `table`"),
        ({"files": "a.tif", "date_files": "a.json"}, "date_files has a meaning for tables only; name one as `table`"),
        ({"table": "a.csv", "columns": ["a"], "add": 1}, "add has no meaning for kind vector"),
        ({"table": "a.csv", "files": "{scene}.tif"}, "table is of values without pixels"),
        ({"table": "a.csv"}, "give files, column or columns"),
        ({"table": "/a.csv", "columns": ["a"]}, "relative to root"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        SceneSpec.model_validate(spec_of("x", values=layer))
