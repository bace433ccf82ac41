"""A real series of images: 68 dates of NDVI, heights and land use over one square kilometre. It shows that the way runs, no more."""

import json

import numpy as np
import pytest
from affine import Affine

import eofuse
from eofuse.config import read_yaml
from eofuse.data.check import check_path
from eofuse.inference.predict import predict_store
from eofuse.learning.attribution import attribute
from eofuse.modalities import Category, Channel, Kind, Modality

SIDE = 20
NDVI = Modality("ndvi", Kind.IMAGE_SERIES, (Channel("ndvi"),), "NDVI", valid_range=(-1, 1), steps=68, dated=True)
HEIGHT = Modality("height", Kind.RASTER, (Channel("height", unit="m"),), "Height")
LAND_USE = Modality(
    "land_use",
    Kind.RASTER,
    (Channel("land_use"),),
    dtype="uint8",
    nodata=0,
    categories=(Category(1, "cultivated"), Category(2, "forest"), Category(3, "grassland"), Category(8, "artificial")),
)


def patches(folder):
    """Squares of 20 pixels; clouded pixels are NaN, and dates of which a patch sees nothing are left out."""
    ndvi, cloud, height, land_use = (np.load(folder / f"{name}.npy") for name in ("NDVI", "CLM", "DEM", "LULC"))
    times = np.array(json.loads((folder / "timestamps.json").read_text()), dtype="datetime64[s]")
    ring = json.loads((folder / "bbox.geojson").read_text())["coordinates"][0]
    (left, right), (bottom, top) = ((min(side), max(side)) for side in zip(*ring, strict=True))
    pixel = (right - left) / ndvi.shape[2], (top - bottom) / ndvi.shape[1]
    visible = np.where(cloud == 0, ndvi, np.nan)[..., 0]
    for row, column in np.ndindex(ndvi.shape[1] // SIDE, ndvi.shape[2] // SIDE):
        area = np.s_[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        images = visible[:, *area]
        seen = np.isfinite(images).any((1, 2))
        corner = left + column * SIDE * pixel[0], top - row * SIDE * pixel[1]
        yield {
            "id": f"slovenia_{column}_{row}",
            "ndvi": images[seen][:, None],
            "ndvi.times": times[seen],
            "height": height[area][..., 0][None],
            "land_use": np.where(np.isin(land_use[area], (1, 2, 3, 8)), land_use[area], 0)[..., 0][None],
            "scene": f"column {column}",
            "transform": Affine(pixel[0], 0, corner[0], 0, -pixel[1], corner[1]),
            "crs": "EPSG:32633",
        }


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    folder = shared / "realdata" / "eopatch"
    to = tmp_path_factory.mktemp("eopatch") / "eopatch.store"
    return eofuse.write_store(patches(folder), [NDVI, HEIGHT, LAND_USE], to, name="eopatch")


def test_clouded_dates_take_no_room(store):
    counts = store.index["times.ndvi"].map(len)
    assert len(store) == 25
    assert counts.max() <= 68
    assert counts.min() < counts.max()
    assert len(np.load(store.path / "ndvi" / "00000.npy", mmap_mode="r")) == counts.sum()
    assert [str(each) for each in check_path(store.path, workers=1) if each.severity == "error"] == []


@pytest.mark.usefixtures("written_reports")
def test_the_whole_way_runs_and_says_that_it_proves_nothing(store, tmp_path):
    recipe = {
        "name": "eopatch",
        "split": {"protocol": "scene", "fractions": [0.4, 0.2, 0.4]},
        "task": {"target": "land_use"},
        "train": {"steps": 2, "batch_size": 2, "evaluations": 1},
        "study": {
            "baseline": "height",
            "seeds": [0],
            "replicates": 100,
            "search": {"learning_rates": [0.001]},
            "controls": False,
            "variants": {
                "height": {"inputs": ["height"], "fusion": {"strategy": "single"}},
                "both": {"inputs": ["ndvi", "height"], "fusion": {"strategy": "late"}},
            },
        },
    }
    study = eofuse.study(recipe, store=store, to=tmp_path / "study", workers=1)
    assert set(study.leaderboard()["variant"]) == {"height", "both"}
    assert "prove nothing" in (study.folder / "report.html").read_text(encoding="utf-8")
    cell = next(
        each for each in (study.folder / "cells").iterdir() if "ndvi" in read_yaml(each / "recipe.yaml")["inputs"]
    )
    predicted = predict_store(cell / "model", store, maps=tmp_path / "maps")
    assert predicted["predicted"].all()
    assert len(list((tmp_path / "maps").rglob("*.tif"))) >= 25
    assert "ndvi" in set(attribute(cell, repeats=1).table["name"])
