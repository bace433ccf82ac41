"""Tokens of a foundation model as a raster of a store, and runs on it."""

import numpy as np
import pytest
import rasterio
import torch

import eofuse
from eofuse.data.loading import Loader
from eofuse.data.publish.write import publish
from eofuse.data.store.write import write_store
from eofuse.embedding import make as embedding
from eofuse.errors import UsageError
from eofuse.modalities import Category, Channel, Kind, Modality
from eofuse.models.foundation import Sample, build_foundation
from eofuse.reports.figures.patch import show_patch
from foundation_store import OPTICAL, SPECTRUM

FIELDS = Modality(
    "fields", Kind.RASTER, (Channel("class"),), dtype="uint8", categories=(Category(1, "a"), Category(2, "b"))
)


def samples(count=24):
    """Patches of 16 pixels, of which one half has another spectrum."""
    random = np.random.default_rng(0)
    for number in range(count):
        fields = np.ones((1, 16, 16), dtype=np.uint8)
        fields[:, :, 8:] = 2
        fields = fields.swapaxes(1, 2) if number % 2 else fields
        slope = 1 + (fields - 1.5) * np.linspace(-1, 1, 10)[:, None, None]
        yield {
            "id": f"p{number}",
            "scene": f"s{number // 2}",
            "time": "2020-07-10",
            "transform": (10, 0, 5e5 + 160 * number, 0, -10, 5e6),
            "crs": "EPSG:32632",
            "s2": (SPECTRUM * slope + random.normal(0, 300, (10, 16, 16))).clip(1).astype(np.uint16),
            "fields": fields,
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(samples(), (OPTICAL, FIELDS), tmp_path_factory.mktemp("cells") / "a.store", name="a")


@pytest.fixture(scope="module")
def options(shared):
    return {"model": "galileo:nano", "weights": shared / "weights", "patch": 4, "pool": "tokens", "inputs": ["s2"]}


@pytest.fixture(scope="module")
def embedded(store, options, tmp_path_factory):
    return eofuse.embed(store.path, tmp_path_factory.mktemp("cells") / "b.store", **options)


@pytest.fixture(scope="module")
def run(embedded, tmp_path_factory):
    recipe = {
        "data": {"store": str(embedded.path)},
        "inputs": ["galileo", "s2"],
        "fusion": {"strategy": "late", "encoder": "test_resnet", "missing": "token"},
        "task": {"target": "fields"},
        "augment": {"turns": True, "crop": 0.8, "cut_out": 0.1, "cutmix": 1.0},
        "train": {"steps": 24, "batch_size": 8, "evaluations": 1, "learning_rate": 0.01},
    }
    return eofuse.train(recipe, to=tmp_path_factory.mktemp("cells") / "run")


def test_a_cell_is_the_mean_of_the_tokens_there(store, embedded, shared):
    model = build_foundation("galileo:nano")
    model.load(shared / "weights")
    bands = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    raw = torch.from_numpy(store.read("s2", [3]).astype(np.float32))
    with torch.no_grad():
        expected = model.pyramid(Sample(dict(zip(bands, raw.unbind(1), strict=True)), torch.tensor([6])), 4)[1][-1]
    found = embedded.read("galileo", [3])
    assert found.shape == (1, 128, 4, 4)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert embedded.modality("galileo_random").cell == 4
    assert not np.allclose(embedded.read("galileo_random", [3]), found)


def test_interrupted_rasters_go_on_to_the_same_store(store, options, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PORTION", 8)

    def stop(done, count):
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        eofuse.embed(store.path, tmp_path / "cut.store", **options, progress=stop)
    again = eofuse.embed(store.path, tmp_path / "cut.store", **options)
    assert again.fingerprint == embedded.fingerprint
    assert np.array_equal(again.read("galileo", range(24)), embedded.read("galileo", range(24)))


def test_a_crop_goes_between_cells(embedded):
    rows = np.array([5])
    batch = Loader(embedded, {"s2": None, "galileo": None}, crop=8).read(rows)
    assert torch.equal(batch.inputs["galileo"], torch.from_numpy(embedded.read("galileo", rows)[..., 1:3, 1:3]))
    with pytest.raises(UsageError, match=r"galileo: a window of 10 × 10 pixels.* cuts cells of 4"):
        Loader(embedded, {"galileo": None}, crop=10)


def test_a_model_without_tokens_of_places_and_tokens_that_do_not_fill_patches_are_refused(store, options, tmp_path):
    with pytest.raises(UsageError, match="Presto sees one pixel a sample"):
        eofuse.embed(store.path, tmp_path / "c.store", **{**options, "model": "presto"})
    with pytest.raises(UsageError, match=r"tokens of 5 pixels do not fill patches of 16 × 16.*--patch 2 or 4 or 8"):
        eofuse.embed(store.path, tmp_path / "c.store", **{**options, "patch": 5})


def test_a_run_on_cells_and_pixels_is_evaluated_attributed_and_predicts(run, embedded, tmp_path):
    assert run.result["score"] > 0.8
    table = eofuse.attribute(run.folder, repeats=1).table
    assert set(table.loc[table["kind"] == "permutation", "name"]) == {"galileo"}
    assert run.predict(embedded, maps=tmp_path / "maps")["predicted"].all()


def test_cells_are_no_target(embedded, tmp_path):
    with pytest.raises(UsageError, match=r"galileo: has cells of 4 pixels and can't be predicted"):
        eofuse.train(
            {"data": {"store": str(embedded.path)}, "inputs": ["s2"], "task": {"target": "galileo"}}, to=tmp_path
        )


def test_cells_are_drawn_and_leave_on_their_own_grid(embedded, tmp_path):
    show_patch(embedded, "p3", tmp_path / "p3.png")
    folder = publish(embedded, tmp_path / "out", "geotiff")
    pixels, cells = (next((folder / name).glob("*3_p3.tif")) for name in ("s2", "galileo"))
    with rasterio.open(pixels) as fine, rasterio.open(cells) as coarse:
        assert coarse.bounds == fine.bounds
        assert coarse.shape == (4, 4)
    pytest.importorskip("xarray")
    assert dict(embedded.to_xarray()["galileo"].sizes)["galileo_y"] == 4
