"""A model over a scene: windows give what the whole scene gives, whatever the threads, the batches and what was done before."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from eofuse.data.reading.grid import Grid
from eofuse.kinds import PIXEL_REGRESSION
from eofuse.maps import reading, streaming
from eofuse.maps.products import NumbersProduct
from eofuse.maps.rows import RawFile, RowStore
from eofuse.maps.scene import MapScene
from eofuse.maps.streaming import Pass
from eofuse.maps.windows import cover
from eofuse.modalities import Channel, Kind, Modality
from eofuse.models.heads import HeadSpec

RADIUS = 3
HEAD = HeadSpec(PIXEL_REGRESSION, ("height",), (0.0,), (1.0,))
INPUTS = tuple(Modality(name, Kind.RASTER, (Channel(name),)) for name in ("a", "b"))
KEY = ("height", "")


class Blur:
    """Sees `RADIUS` pixels around each, zeros beyond the edge and where a value is missing; what is absent counts as 7."""

    spec = SimpleNamespace(modalities=INPUTS, heads={"height": HEAD}, patch_size=(16, 16), context=())

    def predict(self, inputs, present):
        side = 2 * RADIUS + 1
        kernel = torch.linspace(-1, 1, side * side).view(1, 1, side, side)
        found = torch.zeros_like(inputs["a"])
        for name, values in inputs.items():
            seen = F.conv2d(values.nan_to_num(), kernel, padding=RADIUS)
            found += torch.where(present[name].view(-1, 1, 1, 1), seen, 7.0)
        return {"height": found}


class Plane:
    """A layer that lies in memory."""

    fill = float("nan")

    def __init__(self, modality, values):
        self.modality = modality
        self.values = values

    def read(self, scene, grid, window, handles):
        left, top, width, height = window
        part = self.values[:, top : top + height, left : left + width]
        return part, ~np.isnan(part).any(axis=0)


def scene_of(a, b=None):
    height, width = a.shape[1:]
    grid = Grid(CRS.from_epsg(32633), Affine(10, 0, 0, 0, -10, 0), width, height)
    planes = {"a": a} if b is None else {"a": a, "b": b}
    layers = {name: Plane(INPUTS["ab".index(name)], values) for name, values in planes.items()}
    return MapScene("scene", grid, layers)


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


def run(folder, scene, windows, *, may_lack=False, workers=1, readers=1, stop=None):
    product = NumbersProduct("height", HEAD, 1)
    ensemble = SimpleNamespace(models=[Blur()], spec=Blur.spec)
    each = Pass(scene, ensemble, windows, {"height": product}, may_lack=may_lack)
    store = RowStore(folder, "pixels", {}, {KEY: RawFile(product.files[0], *windows.shape)})

    def told(rows):
        if rows == stop:
            raise KeyboardInterrupt

    if stop is None:
        each.run(store, workers, readers)
    else:
        with pytest.raises(KeyboardInterrupt):
            each.run(store, workers, readers, told)
    return store.read(KEY)[:][:, 0]


def values(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(1, height, width)).astype(np.float32)


def in_one_pass(a, b):
    inputs = {"a": torch.from_numpy(a)[None], "b": torch.from_numpy(b)[None]}
    return Blur().predict(inputs, dict.fromkeys("ab", torch.tensor([True])))["height"][0, 0].numpy()


@settings(max_examples=25)
@given(st.integers(1, 75), st.integers(1, 75), st.integers(16, 32), st.booleans())
def test_windows_give_what_the_whole_scene_gives(tmp_path_factory, height, width, size, moves_back):
    a, b = values(height, width), values(height, width, 1)
    windows = cover(height, width, size, 2 * RADIUS, RADIUS, moves_back=moves_back)
    found = run(tmp_path_factory.mktemp("map") / "rows", scene_of(a, b), windows)
    np.testing.assert_allclose(found, in_one_pass(a, b), atol=1e-5)


@pytest.fixture
def scene():
    a, b = values(70, 90), values(70, 90, 1)
    a[:, 10:30, 20:50] = np.nan
    b[:, 25:60, 40:] = np.nan
    return scene_of(a, b)


@pytest.mark.parametrize("may_lack", [False, True])
def test_the_result_does_not_depend_on_threads_batches_bands_or_what_was_done(tmp_path, scene, may_lack, monkeypatch):
    windows = cover(70, 90, 20, 8, 3)
    expected = run(tmp_path / "one", scene, windows, may_lack=may_lack)
    many = run(tmp_path / "many", scene, windows, may_lack=may_lack, workers=3, readers=2)
    np.testing.assert_array_equal(many, expected)
    for rows in (1, 3, len(windows.rows) - 1):
        run(tmp_path / f"killed{rows}", scene, windows, may_lack=may_lack, workers=2, stop=rows)
        resumed = run(tmp_path / f"killed{rows}", scene, windows, may_lack=may_lack)
        np.testing.assert_array_equal(resumed, expected)
    monkeypatch.setattr(reading, "BAND_ROWS", 7)
    monkeypatch.setattr(reading, "CELL_COLUMNS", 11)
    monkeypatch.setattr(streaming, "PIXELS_A_BATCH", 1200)
    np.testing.assert_array_equal(run(tmp_path / "small", scene, windows, may_lack=may_lack), expected)


def test_a_disk_that_is_full_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = RowStore(tmp_path / "rows", "pixels", {}, {})
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="rows"):
        store.write(0, 0, {})


def test_pixels_that_lack_an_input_are_nodata(tmp_path, scene):
    found = run(tmp_path / "rows", scene, cover(70, 90, 20, 8, 3))
    missing = np.isnan(scene.layers["a"].values[0]) | np.isnan(scene.layers["b"].values[0])
    np.testing.assert_array_equal(np.isnan(found), missing)


def test_a_model_that_may_lack_inputs_predicts_each_pixel_by_what_it_has(tmp_path, scene):
    found = run(tmp_path / "rows", scene, cover(70, 90, 20, 8, 3), may_lack=True)
    a, b = (scene.layers[name].values for name in "ab")
    inputs = {"a": torch.from_numpy(a)[None], "b": torch.from_numpy(b)[None]}
    sides = {
        present: Blur().predict(inputs, {"a": torch.tensor([present[0]]), "b": torch.tensor([present[1]])})["height"]
        for present in ((True, True), (True, False), (False, True))
    }
    has = ~np.isnan(a[0]), ~np.isnan(b[0])
    for present, side in sides.items():
        pixels = (has[0] == present[0]) & (has[1] == present[1])
        np.testing.assert_allclose(found[pixels], side[0, 0].numpy()[pixels], atol=1e-4)
    assert np.isnan(found[~has[0] & ~has[1]]).all()


def test_windows_without_data_are_not_predicted(tmp_path, monkeypatch):
    a = values(64, 64)
    a[:, :, 20:] = np.nan
    seen = []
    predict = Blur.predict
    monkeypatch.setattr(
        Blur, "predict", lambda self, inputs, present: seen.append(len(inputs["a"])) or predict(self, inputs, present)
    )
    run(tmp_path / "rows", scene_of(a, values(64, 64, 1)), cover(64, 64, 16, 0))
    assert sum(seen) == 8  # two of four windows in each of four rows
