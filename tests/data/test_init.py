"""A first spec is written from what a folder or table shows, and says what it could not tell."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

from eofuse.cli import main
from eofuse.config import parse_options, read_yaml, write_yaml
from eofuse.data.init import init
from eofuse.data.init_columns import guess_columns
from eofuse.data.pack import pack
from eofuse.data.sources.table import open_table_spec
from eofuse.data.sources.table_spec import TableSpec
from eofuse.data.store import open_store
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from table_folder import TableFolder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    made = TableFolder(tmp_path / "data")
    made.table.to_csv(made.path / "samples.csv", index=False)
    return made


def test_eurosat_needs_three_edited_lines(shared, tmp_path, capsys):
    spec = tmp_path / "spec.yaml"
    assert main(["init", str(shared / "realdata" / "eurosat-100"), "-o", str(spec)]) == 0
    assert "which bands are the 13?" in capsys.readouterr().out
    before = spec.read_text().splitlines()
    bands = "bands: [B01, B02, B03, B04, B05, B06, B07, B08, B09, B10, B11, B12, B8A]"
    after = [f"    {bands}" if line.strip().startswith("bands:") else line for line in before]
    after = ["    like: s2" if "like: s2" in line else line.replace("  image:", "  s2:") for line in after]
    assert sum(old != new for old, new in zip(before, after, strict=True)) <= 5
    spec.write_text("\n".join(after))
    store = pack(spec, tmp_path / "out.store", workers=1)
    assert store.modality("s2").channel_names == tuple(bands[8:-1].split(", "))
    assert store.modality("s2").channels[9].unit == "reflectance"
    assert len(make_target(store, "label").classes) == 10


def test_the_spec_of_fuel_moisture_can_be_packed_as_it_is(shared, tmp_path):
    done = init(shared / "realdata" / "fuel-moisture", tmp_path / "spec.yaml")
    source = open_table_spec(done.spec)
    assert {modality.name: modality.kind.value for modality in source.modalities} == {
        "s1": "series",
        "s2": "series",
        "weather": "series",
        "terrain": "vector",
    }
    assert source.index["scene"].nunique() == 150
    assert source.provenance["labels"] == {"target": "number"}
    assert any("start_month" in line for line in done.unknown)


def test_what_it_writes_packs(folder, tmp_path):
    spec = init(folder.path, tmp_path / "spec.yaml").spec
    options = parse_options(TableSpec, read_yaml(spec))
    assert (options.id, options.scene, options.lon) == ("id", "site", "lon")
    assert options.modalities["optical"].files == "optical/{id}.tif"
    assert pack(spec, tmp_path / "out.store", workers=1).patch_size == (8, 8)


def test_a_folder_of_images_only_gets_a_table(folder, tmp_path):
    (folder.path / "samples.csv").unlink()
    for kind in ("wood", "field"):
        folder.write(f"{kind}/{kind}_1.tif", np.ones((3, 8, 8), np.uint16))
        folder.write(f"{kind}/{kind}_2.tif", np.ones((3, 8, 8), np.uint16))
    done = init(folder.path, tmp_path / "spec.yaml")
    store = pack(done.spec, tmp_path / "out.store", workers=1)
    assert set(make_target(store, "folder").classes) == {"field", "optical", "wood"}


def test_a_file_a_band_is_one_modality(folder, tmp_path):
    for name in folder.table["id"]:
        for band in ("B02", "B8A"):
            folder.write(f"s2/{name}_{band}.tif", np.ones((1, 8, 8), np.uint16))
    values = read_yaml(init(folder.path, tmp_path / "spec.yaml").spec)["modalities"]
    assert values["s2"]["files"] == "s2/{id}_{band}.tif"
    assert values["s2"]["bands"] == ["B02", "B8A"]


def test_numbers_and_files_of_one_name_and_odd_columns_still_make_a_spec_that_packs(folder, tmp_path):
    for name in ("optical_mean", "optical_std", "time_a", "time_b", "two\nlines"):
        folder.table[name] = 1.5
    folder.save()
    store = pack(init(folder.path, tmp_path / "spec.yaml").spec, tmp_path / "out.store", workers=1)
    assert {"optical": "vector", "optical_2": "raster", "m_time": "vector"}.items() <= {
        name: modality.kind.value for name, modality in store.modalities.items()
    }.items()


def test_nothing_is_overwritten(folder, tmp_path):
    init(folder.path, tmp_path / "spec.yaml")
    with pytest.raises(UsageError, match="exists already"):
        init(folder.path, tmp_path / "spec.yaml")


def test_an_empty_folder_is_one_clear_message(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a table nor an image"):
        init(tmp_path / "empty", tmp_path / "spec.yaml")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", "b", "a", "b", "a", "b"], "class"),
        ([0.5, 1.25, 2.0, 3.0, 4.0, 5.0], "number"),
        ([1, 2, 1, 2, 1, 2], "class"),
        (["a;b", "a", "b", "a;b", "b", "a"], {"kind": "list", "separator": ";"}),
        (["['a', 'b']", "['a']", "[]", "[b]", "[a, b]", "[a]"], {"kind": "list", "separator": ","}),
        ([["a"], ["a", "b"], [], ["b"], ["a"], ["b"]], "list"),
    ],
)
def test_what_a_label_column_holds_is_told_by_its_cells(cells, kind):
    guess = guess_columns(pd.DataFrame({"id": list("uvwxyz"), "label": cells}))
    assert guess.labels == {"label": kind}


def test_an_id_that_occurs_in_a_file_name_by_chance_makes_no_modality(tmp_path):
    rows = pd.DataFrame({"sample_id": range(20), "slope_t0": range(20), "slope_t1": range(20)})
    rows.to_csv(tmp_path / "samples.csv", index=False)
    profile = {
        "driver": "GTiff",
        "width": 4,
        "height": 4,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": Affine.scale(10),
    }
    with rasterio.open(tmp_path / "of_another_set_7_dem.tif", "w", **profile) as file:
        file.write(np.ones((1, 4, 4), dtype=np.uint8))
    spec = init(tmp_path / "samples.csv", tmp_path / "spec.yaml").spec
    assert list(parse_options(TableSpec, read_yaml(spec)).modalities) == ["series"]


@pytest.mark.parametrize("separator", [";", "|", ","])
def test_the_spec_of_a_list_with_a_separator_can_be_read(folder, tmp_path, separator):
    folder.table["tags"] = [f"wet{separator}dry", "wet", "dry"] * 2
    folder.save()
    source = open_table_spec(init(folder.path, tmp_path / "spec.yaml").spec)
    assert source.index["tags"].tolist() == [["wet", "dry"], ["wet"], ["dry"]] * 2


def test_a_column_with_commas_and_braces_in_its_name_makes_a_spec_that_packs(folder, tmp_path):
    folder.table["level_[m, net]"] = folder.table["level_{a}"] = 1.5
    folder.save()
    text = init(folder.path, tmp_path / "spec.yaml").spec
    assert "level_[m, net]" in open_table_spec(text).modalities[-1].channel_names[0]


def test_files_are_found_by_names_that_begin_with_zeros(folder, tmp_path):
    folder.table["id"] = [f"00{number}" for number in range(6)]
    for number in range(6):
        (folder.path / f"optical/p{number}.tif").rename(folder.path / f"optical/00{number}.tif")
    folder.save()
    done = init(folder.path, tmp_path / "spec.yaml")
    assert any("optical: optical/{id}.tif" in line for line in done.found)
    assert [problem for problem in open_table_spec(done.spec).problems if problem.severity == "error"] == []


def test_decimal_commas_are_found_and_said(folder, tmp_path):
    folder.table["temperature"] += 0.25
    folder.table.to_csv(folder.path / "samples.csv", index=False, sep=";", decimal=",", encoding="utf-8-sig")
    done = init(folder.path, tmp_path / "spec.yaml")
    assert any(line.startswith("decimal commas: lon, lat, temperature") for line in done.unknown)
    assert open_table_spec(done.spec).index["lon"].tolist() == folder.table["lon"].tolist()


def test_commas_that_may_separate_thousands_are_no_decimal_commas(folder, tmp_path):
    folder.table["rain"] = "1,500"
    folder.save()
    assert "decimal" not in init(folder.path, tmp_path / "spec.yaml").spec.read_text()


def test_a_table_with_several_rows_a_sample_is_said():
    guess = guess_columns(pd.DataFrame({"id": list("aabbcc"), "ndvi": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}))
    assert "column 'id' has 3 different values in 6 rows" in guess.unknown[0]


@pytest.fixture
def chips(tmp_path):
    """Class folders of pictures: RGB, RGBA, palette and grey, JPEG and PNG, of two sizes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for name, base in (("forest", 40), ("water", 150)):
        (tmp_path / "chips" / name).mkdir(parents=True)
        for number, (mode, suffix) in enumerate(
            [("RGB", "jpg"), ("RGB", "png"), ("RGBA", "png"), ("P", "png"), ("L", "png"), ("L", "jpg")] * 2
        ):
            values = (random.integers(0, 60, (18 if number == 7 else 16, 16, 3)) + base).astype(np.uint8)
            picture = Image.fromarray(values).convert(mode)
            picture.save(tmp_path / "chips" / name / f"{name}_{number}.{suffix}")
    return tmp_path / "chips"


def test_class_folders_of_pictures_are_packed_shown_and_trained_on(chips, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    recipe = {
        "name": "chips",
        "data": {"store": "chips.store"},
        "inputs": ["image"],
        "task": {"target": "folder"},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 2, "batch_size": 4},
    }
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe))
    for words in (
        "init chips",
        "check chips.yaml --workers 1",
        "pack chips.yaml chips.store --workers 1",
        "describe chips.store",
        "show chips.store forest_3",
        "train recipe.yaml --to run",
    ):
        assert main(words.split()) == 0, capfd.readouterr()
    assert "Warning" not in "".join(capfd.readouterr())
    store = open_store("chips.store")
    assert store.patch_size == (16, 16)
    assert store.modalities["image"].channel_names == ("red", "green", "blue")
    assert store.index["folder"].value_counts().to_dict() == {"forest": 12, "water": 12}
    values = store.read("image", np.arange(24)).mean(axis=(1, 2, 3))
    assert (values[store.index["folder"] == "forest"] < 110).all()
    assert (values[store.index["folder"] == "water"] > 140).all()


def test_pictures_of_sixteen_bits_keep_them(tmp_path):
    from PIL import Image

    (tmp_path / "deep" / "a").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((8, 8), 40_000 + number, np.uint16)).save(tmp_path / "deep" / "a" / f"{number}.png")
    init(tmp_path / "deep", tmp_path / "deep.yaml")
    store = pack(tmp_path / "deep.yaml", tmp_path / "deep.store", workers=1)
    assert sorted(store.read("image", [0, 1, 2])[:, 0, 0, 0].tolist()) == [40_000, 40_001, 40_002]


def test_scale_and_offset_that_files_declare_are_in_the_spec(tmp_path):
    (tmp_path / "all").mkdir()
    for number in range(3):
        path = tmp_path / "all" / f"{number}.tif"
        with rasterio.open(path, "w", "GTiff", 4, 4, 1, "EPSG:32632", Affine(10, 0, 0, 0, -10, 0), "int16") as file:
            file.write(np.ones((1, 4, 4), np.int16))
            file.scales, file.offsets = [0.0001], [-0.1]
    init(tmp_path / "all", tmp_path / "all.yaml")
    modality = pack(tmp_path / "all.yaml", tmp_path / "all.store", workers=1).modalities["image"]
    assert (modality.scale, modality.offset) == (0.0001, -0.1)
