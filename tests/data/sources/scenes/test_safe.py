"""Product folders of Sentinel-2 as scenes: bands, offsets, masks, and what is refused."""

import numpy as np
import pytest

from eofuse.data.check import check_samples
from eofuse.data.sources.scenes.safe import masked_codes, read_elements
from eofuse.data.sources.scenes.source import open_scenes
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.store.cut import cut
from eofuse.errors import DataError, UsageError
from fake_safe import write_product

TEN = np.arange(1000, 1000 + 24 * 24).reshape(24, 24)
TWENTY = np.full((12, 12), 3000)


def spec_of(folder, **keys):
    layer = {"safe": "S2/{scene}.SAFE", "bands": ["B02", "B8A"], **keys}
    return {"name": "made", "root": str(folder), "modalities": {"s2": layer}}


def product(folder, name="a", bands=None, **options):
    return write_product(folder / "S2" / f"{name}.SAFE", bands or {"B02": TEN, "B8A": TWENTY}, **options)


def patches(folder, **keys):
    store = cut(spec_of(folder, **keys), folder / "out.store", size=24, workers=1, overwrite=True).store
    return store.read("s2", np.arange(len(store)))


def test_bands_come_from_their_own_resolution_without_the_offset(tmp_path):
    product(tmp_path)
    (values,) = patches(tmp_path)
    np.testing.assert_array_equal(values[0], np.maximum(TEN - 1000, 1))
    assert (values[1] == 2000).all()


def test_products_of_old_and_new_baselines_hold_the_same(tmp_path):
    product(tmp_path, "a", {"B02": TEN, "B8A": TWENTY}, baseline="03.01", offset=None)
    product(tmp_path, "b", {"B02": TEN + 1000, "B8A": TWENTY + 1000})
    old, new = patches(tmp_path)
    np.testing.assert_array_equal(old, new)


def test_what_holds_no_data_stays_without(tmp_path):
    product(tmp_path, bands={"B02": np.where(TEN < 1100, 0, TEN), "B8A": TWENTY})
    (values,) = patches(tmp_path)
    np.testing.assert_array_equal(values[0] == 0, TEN < 1100)


@pytest.mark.parametrize(("add", "expected"), [(-500, 2500), ({"a": 0}, 3000), ({"b": 0}, 2000)])
def test_what_the_spec_adds_takes_the_place_of_the_offset(tmp_path, add, expected):
    product(tmp_path)
    product(tmp_path, "b")
    assert (patches(tmp_path, add=add)[0, 1] == expected).all()


@pytest.mark.parametrize("mask", [[8, 9], ["cloud_medium", "cloud_high"]])
def test_pixels_of_masked_classes_are_missing(tmp_path, mask):
    classes = np.full((12, 12), 4)
    classes[:2, :3], classes[5, 5], classes[6, 6] = 9, 8, 10
    product(tmp_path, bands={"B02": TEN + 1000, "B8A": TWENTY}, classes=classes)
    (values,) = patches(tmp_path, mask=mask)
    clouds = np.isin(classes, (8, 9)).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(values == 0, np.stack([clouds, clouds]))


def test_level_1c_has_its_own_names(tmp_path):
    product(tmp_path, level="L1C")
    (values,) = patches(tmp_path)
    assert (values[1] == 2000).all()


def test_a_name_of_its_own_and_all_bands_are_sentinel_2(tmp_path):
    sizes = dict.fromkeys(["B02", "B03", "B04", "B08"], 24) | dict.fromkeys(
        ["B05", "B06", "B07", "B8A", "B11", "B12"], 12
    )
    sizes |= {"B01": 4, "B09": 4}
    product(tmp_path, bands={name: np.full((side, side), 3000) for name, side in sizes.items()})
    spec = spec_of(tmp_path)
    spec["modalities"] = {"image": {"safe": "S2/{scene}.SAFE/"}}
    source = open_scenes(SceneSpec.model_validate(spec), tmp_path, 24)
    assert (len(source.modalities[0].channels), source.modalities[0].scale) == (12, 1e-4)
    assert (source.read(0)["image"] == 2000).all()
    assert check_samples(source) == []


def test_the_fingerprint_is_also_that_of_the_metadata(tmp_path):
    folder = product(tmp_path)
    spec = SceneSpec.model_validate(spec_of(tmp_path, mask=[9], add=-1000))
    with pytest.raises(DataError, match="has no scene classification"):
        open_scenes(spec, tmp_path, 24)
    product(tmp_path, classes=TWENTY * 0)
    before = open_scenes(spec, tmp_path, 24).fingerprint
    (folder / "MTD_MSIL2A.xml").write_text((folder / "MTD_MSIL2A.xml").read_text() + "\n")
    assert open_scenes(spec, tmp_path, 24).fingerprint != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "declares a document type"),
        ('band_id="1">-1000', 'band_id="1">&lt;', "BOA_ADD_OFFSET is '<', which is no number"),
        ('band_id="1">-1000', 'band_id="1">-0.1', "is no offset of whole numbers"),
        ('band_id="1">-1000', 'band_id="1">inf', "is no number"),
        ('band_id="1">', 'band_id="2">1', "is both"),
        ('<BOA_ADD_OFFSET band_id="8">-1000</BOA_ADD_OFFSET>', "", "has no BOA_ADD_OFFSET of B8A"),
        (">10000<", ">1000<", "does not fit the scale 0.0001"),
        ("</n1:General_Info>", "", "is no readable XML"),
    ],
)
def test_odd_metadata_are_refused(tmp_path, old, new, message):
    path = product(tmp_path) / "MTD_MSIL2A.xml"
    text = path.read_text()
    path.write_text(text.replace(old, new) if old else text.replace("<n1:Level", new + "<n1:Level", 1))
    with pytest.raises(DataError, match=message):
        open_scenes(SceneSpec.model_validate(spec_of(tmp_path)), tmp_path, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": None}, "though its baseline is 05.09"),
        ({"bands": {"B02": TEN}}, r"has no band B8A \(GRANULE/\*/IMG_DATA/R20m/\*_B8A_20m.jp2\)"),
    ],
)
def test_a_product_that_lacks_something_is_refused(tmp_path, options, message):
    product(tmp_path, **options)
    with pytest.raises(DataError, match=message):
        open_scenes(SceneSpec.model_validate(spec_of(tmp_path)), tmp_path, 24)


def test_large_metadata_are_refused(tmp_path, monkeypatch):
    path = product(tmp_path) / "MTD_MSIL2A.xml"
    monkeypatch.setenv("EOFUSE_MAX_TEXT_MB", "0.0001")
    with pytest.raises(DataError, match="EOFUSE_MAX_TEXT_MB"):
        read_elements(path, {"PROCESSING_BASELINE"})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"files": "{scene}.tif"}, "either files, safe or polygons"),
        ({"safe": "a.SAFE"}, "safe must have {scene}"),
        ({"safe": None, "files": "{scene}.tif", "mask": [9]}, "it needs safe"),
        ({"mask": ["cloud_hihg"]}, "cloud_high"),
        ({"mask": [12]}, "no class 12"),
        ({"categories": {1: "water"}}, "no map of classes"),
    ],
)
def test_contradictions_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        SceneSpec.model_validate(spec_of("x", **keys))


def test_an_unknown_band_is_refused(tmp_path):
    product(tmp_path)
    with pytest.raises(UsageError, match="B8"):
        open_scenes(SceneSpec.model_validate(spec_of(tmp_path, bands=["B88"])), tmp_path, 24)


def test_masks_are_sorted_codes():
    assert masked_codes([10, "saturated", 10]) == (1, 10)
