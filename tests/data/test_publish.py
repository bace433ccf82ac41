"""A store leaves as xarray, torchgeo's samples, GeoTIFF, WebDataset and Parquet, with the values that it holds."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr

from arrays_folder import BANDS, real_patches
from eofuse.cli import main
from eofuse.data.download import download, transfer
from eofuse.data.publish.write import publish
from eofuse.data.store import open_store
from eofuse.data.store.pack import pack
from eofuse.data.store.write import write_store
from eofuse.errors import DataError, UsageError
from eofuse.modalities import Category, Channel, Kind, Modality
from range_server import RangeServer

MODALITIES = [
    Modality("s2", Kind.RASTER, tuple(map(Channel, BANDS)), "Sentinel-2", "uint16", 1e-4, nodata=0, attribution="ESA"),
    Modality("cover", Kind.RASTER, (Channel("map"),), dtype="uint8", nodata=0, categories=(Category(1, "a"), Category(9, "b"))),
    Modality("weather", Kind.VECTOR, (Channel("t", unit="K"), Channel("rain"))),
    Modality("ndvi", Kind.SERIES, (Channel("ndvi"),), steps=3),
    Modality("season", Kind.IMAGE_SERIES, (Channel("red"),), dtype="uint16", steps=3, dated=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    def samples():
        for number, (name, _, pixels, transform, crs) in enumerate(real_patches(shared)):
            pixels[:, 0, 0] = 0
            yield {
                "id": f"{name}/{number}", "s2": pixels, "transform": transform, "crs": crs, "scene": f"s{number}",
                "cover": np.where(pixels[:1] > 900, 9, 1).astype(np.uint8), "crop": "ab"[number % 2], "split": "train",
                "weather": None if number == 2 else [280.5, number],
                "ndvi": [[0, 0.1], [1, 0.2 + number]],
                "season": np.stack([pixels[:1]] * (1 + number % 3)), "season.times": list(range(1 + number % 3)),
            }  # fmt: skip

    return write_store(
        samples(), MODALITIES, tmp_path_factory.mktemp("x") / "a.store", name="mine", labels={"crop": "class"}
    )


def test_xarray_has_the_values_and_decodes_to_physical_units(store):
    dataset = store.to_xarray()
    assert (dataset["s2"].sel(s2_channel="B04")[2:4].values == store.read("s2", [2, 3])[:, 2]).all()
    assert dataset["season"].shape == (6, 3, 1, 16, 16)
    assert dataset["crop"].values.tolist() == store.index["crop"].tolist()
    physical = xr.decode_cf(dataset[["s2"]])["s2"].isel(patch=[1, 4]).values
    assert np.isnan(physical[:, :, 0, 0]).all()
    assert physical[:, :, 1:] == pytest.approx(store.read("s2", [1, 4])[:, :, 1:] * 1e-4)


def test_samples_can_be_those_of_torchgeo(store):
    sample = store.dataset(inputs=["s2"], target="cover", style="torchgeo")[0]
    assert (sample["image"].dtype, sample["image"].shape) == (torch.float32, (3, 16, 16))
    assert sample["image"].isnan()[:, 0, 0].all()
    assert (sample["mask"].dtype, sample["mask"].unique().tolist()) == (torch.int64, [0, 1])
    batch = next(iter(store.dataset(inputs=["s2"], target="crop", style="torchgeo").loader(4)))
    assert (batch["image"].shape, batch["label"].dtype) == ((4, 3, 16, 16), torch.int64)
    with pytest.raises(UsageError, match="weather: has no image"):
        store.dataset(inputs=["weather"], style="torchgeo")[0]


def test_geotiffs_are_packed_again_to_the_same_values(store, tmp_path, capsys):
    words = ["publish", str(store.path), str(tmp_path / "out"), "--as", "geotiff", "--licence", "CC-BY-4.0"]
    assert main(words) == 0, capsys.readouterr()
    again = pack(tmp_path / "out" / "spec.yaml", tmp_path / "again.store", workers=1)
    assert again.index["patch_id"].tolist() == store.index["patch_id"].tolist()
    for name in ("s2", "cover", "weather", "ndvi", "season"):
        assert (again.present(name) == store.present(name)).all()
        rows = np.flatnonzero(store.present(name))
        found, expected = again.read(name, rows), store.read(name, rows)
        if name == "ndvi":  # without dates, a step that a patch lacks is one without a value
            found[..., 0][np.isnan(expected[..., 0])] = np.nan
        assert np.array_equal(found, expected, equal_nan=True)
        assert [c.name for c in again.modality(name).channels] == [c.name for c in store.modality(name).channels]
    assert np.array_equal(again.times("season", [1, 2]), store.times("season", [1, 2]), equal_nan=True)
    assert again.index[["ulx", "uly", "crs"]].equals(store.index[["ulx", "uly", "crs"]])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "Credits: ESA." in card


def test_every_file_has_its_checksum(store, tmp_path):
    folder = publish(store, tmp_path / "out", "webdataset")
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {"000000.tar", "README.md"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for digest, name in lines)


def test_webdataset_has_arrays_and_facts(store, tmp_path):
    with tarfile.open(publish(store, tmp_path / "out", "webdataset") / "000000.tar") as shard:
        members = {member.name: shard.extractfile(member).read() for member in shard}
    assert (np.load(io.BytesIO(members["000000003.s2.npy"])) == store.read("s2", [3])[0]).all()
    assert np.load(io.BytesIO(members["000000001.season.npy"])).shape == (2, 1, 16, 16)
    facts = json.loads(members["000000002.json"])
    assert (facts["crop"], facts["weather.t"]) == (store.index["crop"][2], None)


def test_parquet_has_arrays_in_rows(store, tmp_path):
    folder = publish(store, tmp_path / "out", "parquet", modalities=["s2", "weather"])
    table = pq.read_table(folder / "data" / "data-00000-of-00001.parquet")
    assert (np.array(table["s2"].to_pylist()) == store.read("s2", range(6))).all()
    assert "season" not in table.column_names
    assert pd.Series(table["weather.rain"].to_pylist()).isna().tolist() == [row == 2 for row in range(6)]


def test_a_folder_that_exists_and_a_form_that_is_none_are_refused(store, tmp_path):
    with pytest.raises(UsageError, match="exists already"):
        publish(store, tmp_path, "parquet")
    with pytest.raises(UsageError, match="there is no form 'zip'"):
        publish(store, tmp_path / "out", "zip")


@pytest.fixture
def server(tmp_path):
    site = RangeServer(tmp_path / "served")
    yield site
    site.close()


def test_a_published_store_is_downloaded_resumed_and_opened(store, tmp_path, server, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", ())
    words = ["publish", str(store.path), str(server.folder), "--as", "store"]
    assert main(words) == 0, capsys.readouterr()
    wanted = ["download", f"{server.url}/", "--to", str(tmp_path)]
    with server.failing({"/index.parquet": ["cut"]}):
        assert main(wanted) == 1
    assert not (tmp_path / "mine.store").exists()
    assert main(wanted) == 0
    again = open_store(tmp_path / "mine.store")
    assert (again.fingerprint, again.index["patch_id"].tolist()) == (
        store.fingerprint,
        store.index["patch_id"].tolist(),
    )
    assert main(["check", str(again.path), "--workers", "1"]) == 0
    assert main(wanted) == 0
    assert "is there already" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"served", "mine.store"}


def test_a_list_of_files_can_not_lead_out_of_the_folder(store, tmp_path, server):
    publish(store, server.folder, "webdataset")
    path = server.folder / "published.json"
    sound = path.read_text()
    for name in ("../000000.tar", "/etc/passwd", "a/../../b", "C:x", "published.json", "download.json", "a.part", ""):
        path.write_text(sound.replace("000000.tar", name))
        with pytest.raises(DataError, match=r"published\.json: the list of files is not understood"):
            download(server.url, tmp_path / "to")
    path.write_text(sound.replace('"mine"', '"../mine"'))
    with pytest.raises(DataError, match="the name"):
        download(server.url, tmp_path / "to")
    path.write_text(sound)
    (server.folder / "000000.tar").write_bytes(b"x" * (server.folder / "000000.tar").stat().st_size)
    with pytest.raises(DataError, match="checksum does not agree"):
        download(server.url, tmp_path / "to")
    with pytest.raises(DataError, match="the server refuses: 404"):
        download(f"{server.url}/elsewhere", tmp_path / "to")
    assert not (tmp_path / "to" / "mine").exists()
