"""Where a model learned, drawn beside its map."""

from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

import eofuse
from eofuse.data.reading.grid import Grid
from eofuse.learning.split_table import split_table, write_split
from eofuse.maps.learned import learned_areas
from eofuse.modalities import Channel, Kind, Modality

HEIGHT = Modality("height", Kind.RASTER, (Channel("height"),))
SCENE = Grid(CRS.from_epsg(32633), Affine(10, 0, 500_000, 0, -10, 5_000_000), 100, 100)


@pytest.fixture
def run(tmp_path):
    """A run that trained on patch 0, validated on 1, tested on 2, and trained on 3, which lies elsewhere."""
    corners = [(500_000, 5_000_000), (500_160, 5_000_000), (500_320, 5_000_000), (700_000, 5_000_000)]
    samples = [
        {
            "id": f"p{number}",
            "crs": "EPSG:32633",
            "transform": [10, 0, x, 0, -10, y],
            "scene": f"s{number}",
            "height": np.full((1, 16, 16), number, dtype=np.float32),
        }
        for number, (x, y) in enumerate(corners)
    ]
    store = eofuse.write_store(samples, [HEIGHT], tmp_path / "a.store", name="a")
    table = split_table(
        store.index,
        {"train": np.array([0, 3]), "validation": np.array([1]), "test": np.array([2])},
        np.full(4, None, dtype=object),
    )
    write_split(table, tmp_path)
    options = SimpleNamespace(data=SimpleNamespace(store=str(tmp_path / "a.store")))
    return SimpleNamespace(folder=tmp_path, options=options, transfer=lambda: None)


def test_patches_of_training_and_validation_in_the_scene_are_drawn(run):
    found = learned_areas([run])
    assert found.known
    bounds = sorted(square.bounds for square in found.within(SCENE))
    assert bounds == [(500_000, 4_999_840, 500_160, 5_000_000), (500_160, 4_999_840, 500_320, 5_000_000)]


def test_without_the_store_or_the_parts_it_is_not_known(run, tmp_path):
    (tmp_path / "split.parquet").unlink()
    assert not learned_areas([run]).known
    run.options.data.store = str(tmp_path / "gone.store")
    assert not learned_areas([run]).known
    assert not learned_areas([]).known


def test_a_run_that_started_from_other_weights_may_have_learned_elsewhere(run):
    run.transfer = lambda: {"from": "another run"}
    assert not learned_areas([run]).known
