"""Rasters, masks and boxes of a patch stay aligned under everything that touches geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.loading import Loader
from eofuse.data.store import Window
from eofuse.data.store.pack import pack_source
from eofuse.data.targets import TargetOptions, make_target
from eofuse.data.targets.box_files import clip_boxes
from fake_source import MappedSource

SIZE = 40
ROWS = np.arange(6)


class Bright(MappedSource):
    """The rectangle of water is 1,000 m higher, exactly."""

    def signal(self, modality, row, raster):
        if modality.name == "elevation":
            return 1000 * self.mask(row)[None]
        return super().signal(modality, row, raster)


@pytest.fixture(scope="module")
def source():
    return Bright(patches=6, size=SIZE)


@pytest.fixture(scope="module")
def store(source, tmp_path_factory):
    return pack_source(source, tmp_path_factory.mktemp("alignment") / "bright.store", workers=1)


@pytest.fixture(scope="module")
def targets(store):
    regions = TargetOptions(target="regions", classes=("permanent_water_bodies",), smallest=1)
    named = {"worldcover": make_target(store, "worldcover"), "elevation": make_target(store, "elevation")}
    return {**named, "regions": make_target(store, regions)}


@given(crop=st.integers(8, SIZE))
@settings(max_examples=25)
def test_a_crop_cuts_the_same_pixels_from_rasters_maps_and_boxes(store, targets, crop):
    batch = Loader(store, {"elevation": None, "s1": None}, targets, crop=crop).read(ROWS)
    high = batch.inputs["elevation"][:, 0].numpy() == 1000
    water = batch.targets["worldcover"].numpy() == targets["worldcover"].classes.index("permanent_water_bodies")
    assert (high == water).all()
    assert (high == (batch.targets["elevation"][:, 0].numpy() == 1000)).all()
    for mask, boxes in zip(high, batch.targets["regions"].numpy(), strict=True):
        assert drawn(boxes, crop).tolist() == mask.tolist()


@given(
    top=st.integers(0, SIZE - 8), left=st.integers(0, SIZE - 8), height=st.integers(8, SIZE), width=st.integers(8, SIZE)
)
@settings(max_examples=40)
def test_boxes_are_clipped_to_the_pixels_of_any_window(source, top, left, height, width):
    window = Window(top, left, min(height, SIZE - top), min(width, SIZE - left))
    for row in ROWS.tolist():
        box = np.array([[*source.rectangle(row), 0]], dtype=np.float32)
        inside = source.mask(row)[top : top + window.height, left : left + window.width].astype(bool)
        clipped = clip_boxes(box, window)
        if len(clipped):  # the dropping rule may leave out a small rest
            assert drawn(clipped, window.width, window.height).tolist() == inside.tolist()
        else:
            assert inside.sum() < source.mask(row).sum() / 4


def test_a_whole_patch_and_its_windows_are_the_same_pixels(store, targets):
    whole, window = targets["worldcover"].read(ROWS), Window(3, 7, 20, 11)
    assert (targets["worldcover"].read(ROWS, window) == whole[:, 3:23, 7:18]).all()
    assert (targets["elevation"].read(ROWS, window) == targets["elevation"].read(ROWS)[:, :, 3:23, 7:18]).all()


def drawn(boxes: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """The pixels within boxes."""
    pixels = np.zeros((height or width, width), dtype=bool)
    for x0, y0, x1, y1, number in boxes:
        if number >= 0:
            pixels[int(y0) : int(y1), int(x0) : int(x1)] = True
    return pixels
