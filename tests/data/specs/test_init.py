"""A first spec is written from what a folder or table shows, and says what it could not tell."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine

from eofuse.cli import main
from eofuse.config import parse_options, read_yaml, write_yaml
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.sources.table.spec import TableSpec
from eofuse.data.specs.columns import MOST_SHOWN, guess_columns
from eofuse.data.specs.init import init
from eofuse.data.store import open_store
from eofuse.data.store.pack import pack
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.words import listed
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
    assert source.provenance.labels == {"target": "number"}
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


def test_what_was_edited_is_not_overwritten_and_what_was_interrupted_can_be_repeated(folder, tmp_path):
    spec = init(folder.path, tmp_path / "spec.yaml").spec
    assert init(folder.path, spec).spec == spec
    spec.write_text(f"{spec.read_text()}# mine\n")
    with pytest.raises(UsageError, match="exists already"):
        init(folder.path, spec)
    assert spec.read_text().endswith("# mine\n")


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
    assert any(line.startswith("decimal commas: lon, lat, temperature") for line in done.found)
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


def columns_of(**columns):
    generator = np.random.default_rng(0)
    rows = 40
    made = {"chip_id": [f"chip_{row}" for row in range(rows)], "b_x": generator.normal(size=rows), "b_y": range(rows)}
    return pd.DataFrame({**made, **{name: values(generator, rows) for name, values in columns.items()}})


def whole(generator, rows):
    return generator.integers(0, 3, rows)


def real(generator, rows):
    return generator.normal(size=rows)


@pytest.mark.parametrize("name", ["severity", "crop_label", "damageClass", "class_id", "label_2"])
def test_a_column_whose_name_has_a_word_for_labels_is_one(name):
    assert guess_columns(columns_of(**{name: whole})).labels == {name: "class"}


@pytest.mark.parametrize("names", [("model_prediction", "model_other"), ("rf_pred", "rf_x"), ("risk_score", "risk_p")])
def test_what_a_model_wrote_is_no_input(names):
    guess = guess_columns(columns_of(**dict.fromkeys(names, real)))
    inputs = {column for columns in guess.vectors.values() for column in columns}
    assert names[0] not in inputs
    assert not [name for name in guess.vectors if guess.vectors[name] == f"{names[0].partition('_')[0]}_*"]
    assert any("written by a model" in line and names[0] in line for line in guess.unknown)


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        ("is_test", lambda generator, rows: generator.integers(0, 2, rows) > 0, {"true": "test", "false": "train"}),
        ("is_train", lambda generator, rows: np.arange(rows) % 2, {"1": "train", "0": "test"}),
    ],
)
def test_a_flag_of_a_part_is_the_split_and_packs(tmp_path, name, cells, values):
    table = columns_of(**{name: cells})
    table.to_csv(tmp_path / "table.csv", index=False)
    spec = init(tmp_path / "table.csv", tmp_path / "spec.yaml").spec
    assert read_yaml(spec)["split"] == {"column": name, "values": values}
    parts = open_table_spec(spec).index["split"]
    true = next(iter(values.values()))
    assert (parts == true).tolist() == table[name].astype(bool).tolist()


@pytest.mark.parametrize("names", ["s2-ts{step}-{channel}", "s2_t{step}_{channel}", "s2.month{step}.{channel}"])
def test_a_series_whose_step_stands_in_the_middle_is_found_and_packs(tmp_path, names):
    columns = {names.format(step=step, channel=band): real for step in (0, 1, 2) for band in ("B02", "B8A")}
    columns_of(**columns).to_csv(tmp_path / "table.csv", index=False)
    spec = init(tmp_path / "table.csv", tmp_path / "spec.yaml").spec
    series = next(each for each in open_table_spec(spec).modalities if each.name == "s2")
    assert (series.kind.value, series.steps, series.channel_names) == ("series", 3, ("B02", "B8A"))


def test_statistics_of_bands_are_no_series():
    columns = {f"s2_B0{band}_{kind}": real for band in (2, 3) for kind in ("mean", "std")}
    assert not guess_columns(columns_of(**columns)).series


def test_a_column_of_paths_is_used_and_one_of_remarks_is_not(tmp_path):
    write_rasters(tmp_path / "chips", ["a.tif", "b.tif"])
    table = pd.DataFrame({"id": ["a", "b"], "chip": ["chips/a.tif", "chips/b.tif"], "remark": ["wet", "wet"]})
    table.to_csv(tmp_path / "samples.csv", index=False)
    (left,) = [
        line for line in init(tmp_path / "samples.csv", tmp_path / "spec.yaml").unknown if "in no modality" in line
    ]
    assert left.endswith("(labels?): remark")


def test_many_names_are_shortened():
    columns = {f"flag{letter}{other}": lambda generator, rows: [None] * rows for letter in "abcdefg" for other in "xyz"}
    assert listed(guess_columns(columns_of(**columns)).unused, MOST_SHOWN).endswith(" and 13 more")


def write_rasters(folder, names, dtype="uint16"):
    folder.mkdir(parents=True)
    for name in names:
        with rasterio.open(
            folder / name, "w", driver="GTiff", count=1, height=4, width=4, dtype=dtype, transform=Affine.scale(10, -10)
        ) as file:
            file.write(np.ones((1, 4, 4), dtype))


@pytest.mark.parametrize(("second", "ending"), [("masks", "_mask"), ("labels", ""), ("annotations", "_gt")])
def test_images_and_masks_side_by_side_are_two_modalities_of_one_sample(tmp_path, second, ending):
    write_rasters(tmp_path / "data" / "images", [f"tile_{number}.tif" for number in range(4)])
    write_rasters(tmp_path / "data" / second, [f"tile_{number}{ending}.tif" for number in range(4)], "uint8")
    source = open_table_spec(init(tmp_path / "data", tmp_path / "spec.yaml").spec)
    assert len(source.index) == 4
    assert len(source.modalities) == 2
    assert source.index[[f"has_{modality.name}" for modality in source.modalities]].all(axis=None)


def test_a_folder_a_sensor_makes_a_modality_each(shared, tmp_path):
    done = init(shared / "realdata" / "terramesh-4", tmp_path / "spec.yaml")
    assert list(read_yaml(done.spec)["modalities"]) == ["dem", "lulc", "s1rtc", "s2l2a"]
    assert "4 rows, 1 column" in done.found


def test_folders_with_the_same_numbers_in_each_are_classes(tmp_path):
    for folder in ("forest", "river"):
        write_rasters(tmp_path / "data" / folder, [f"{number}.tif" for number in range(4)])
    done = init(tmp_path / "data", tmp_path / "spec.yaml")
    assert "8 rows, 3 columns" in done.found
    assert read_yaml(done.spec)["labels"] == {"folder": "class"}


def test_a_spec_without_modalities_is_refused_and_nothing_is_written(tmp_path, capsys):
    pd.DataFrame({"id": ["a", "b"], "label": ["x", "y"]}).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "spec.yaml").write_text(
        "name: empty\ntable: table.csv\nid: id\nlabels: {label: class}\nmodalities: {}\n"
    )
    assert main(["pack", str(tmp_path / "spec.yaml"), str(tmp_path / "out.store")]) == 2
    assert "names no modality" in capsys.readouterr().err
    assert not (tmp_path / "out.store").exists()


def test_every_column_with_paths_is_a_modality_and_a_file_for_all_rows_is_the_last(folder, tmp_path):
    folder.write("dem.tif", np.zeros((1, 20, 20), np.float32), pixel=30.0)
    folder.table["Height"] = "dem.tif"
    folder.table["Chip"] = "optical/" + folder.table["id"] + ".tif"
    folder.table.to_csv(folder.path / "samples.csv", index=False)
    done = init(folder.path / "samples.csv", tmp_path / "spec.yaml")
    files = {name: modality.get("files") for name, modality in read_yaml(done.spec)["modalities"].items()}
    assert list(files.items())[:2] == [("chip", "{Chip}"), ("height", "{Height}")]
