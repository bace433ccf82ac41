"""Which items a patch takes, what masks take away, and what the Sentinel-2 of different baselines means."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from pystac import Item

from eofuse.data.collect.presets import MASKS, SIGNERS, baseline_offset
from eofuse.data.collect.run import collect
from eofuse.errors import DataError, UsageError
from eofuse.modalities import Kind
from scene_archive import BANDS, CORNER, degrees, tiles

SIZE = 16
WINDOW = {"from": "2023-07-01", "to": "2023-07-31"}


@pytest.fixture
def place(tmp_path):
    """A table of one place in the tile that has two dates, with pixels under clouds in its west."""
    lon, lat = degrees("EPSG:32633", CORNER[0] - 2240 + 200, CORNER[1] + 1000)
    (tmp_path / "p.csv").write_text(f"id,lon,lat,day\na,{lon},{lat},2023-07-12")
    return tmp_path / "p.csv"


def collect_one(archive, place, layer, name="s2", **more):
    s2 = {"stac": str(archive.path), "collection": "s2-l2a", "assets": list(BANDS), **layer}
    spec = {
        "name": "f",
        "labels": {"file": str(place)},
        "patch": {"size": SIZE},
        "time": WINDOW,
        "modalities": {name: s2},
    }
    number = len(list(place.parent.glob("*.store")))
    return collect({**spec, **more}, place.parent / f"{number}.store").store


def pixels(archive, store, item):
    patch = store.index.iloc[0]
    found = []
    for band in BANDS:
        with rasterio.open(archive.folder / f"s2/{item}/{band}.tif") as file:
            row, column = (round(each) for each in file.index(patch["ulx"], patch["uly"], op=lambda value: value))
            found.append(file.read(1, window=rasterio.windows.Window(column, row, SIZE, SIZE)).astype(float))
    return np.stack(found)


CLEAR, CLOUDY = "S2_33NW_20230710", "S2_33NW_20230722"


@pytest.mark.parametrize(
    ("layer", "time", "item"),
    [
        ({"choose": "nearest"}, {"column": "day", "within": 30}, CLEAR),
        ({"choose": "nearest"}, {"from": "2023-07-19", "to": "2023-07-25"}, CLOUDY),
        ({"choose": "least_cloudy"}, {"from": "2023-07-10", "to": "2023-07-31"}, CLEAR),
        ({"cloud": 80}, {"from": "2023-07-15", "to": "2023-07-22"}, CLOUDY),  # the last day counts
        ({"where": {"s2:processing_baseline": "05.09"}}, WINDOW, CLOUDY),
        ({}, {"column": "day", "before": 0, "after": 15}, CLOUDY),
    ],
)
def test_a_patch_takes_the_item_of_the_rule(layer, time, item, archive, place):
    assert collect_one(archive, place, layer, time=time).index.loc[0, "items.s2"] == item


def test_values_of_every_baseline_mean_the_same(archive, place):
    store = collect_one(archive, place, {"where": {"s2:processing_baseline": "05.09"}})
    expected = np.maximum(pixels(archive, store, CLOUDY) - 1000, 1)
    assert np.array_equal(store.read("s2", [0])[0], expected)
    assert store.provenance["collect"]["added"] == {"s2": {"-1000.0": 1}}


def test_clouds_are_missing_and_counted(archive, place):
    store = collect_one(archive, place, {"mask": "scl", "choose": "least_cloudy"})
    patch = store.index.iloc[0]
    clouds = np.zeros((SIZE, SIZE), dtype=bool)
    clouds[:, : round((CORNER[0] - 2240 + 160 - patch["ulx"]) / 10)] = True
    assert 0 < clouds.mean() < 1
    values = store.read("s2", [0])[0]
    assert np.array_equal((values == 0).all(axis=0), clouds)
    assert np.array_equal(values[:, ~clouds], pixels(archive, store, CLEAR)[:, ~clouds])
    assert patch["cloud.s2"] == patch["nodata.s2"] == pytest.approx(clouds.mean())


def test_masks_of_flags_and_of_listed_classes(archive, place):
    bits = collect_one(archive, place, {"mask": {"asset": "SCL", "bits": [3]}})  # 9 has it, 4 has not
    assert 0 < bits.index.loc[0, "cloud.s2"] < 1
    classes = collect_one(archive, place, {"mask": {"asset": "SCL", "classes": [4]}}, name="mine")
    assert classes.index.loc[0, "cloud.mine"] == pytest.approx(1 - bits.index.loc[0, "cloud.s2"])


def test_a_median_is_of_all_dates(archive, place):
    store = collect_one(archive, place, {"choose": "median"})
    both = pixels(archive, store, CLEAR), np.maximum(pixels(archive, store, CLOUDY) - 1000, 1)
    assert np.abs(store.read("s2", [0])[0] - np.median(both, axis=0)).max() <= 0.5
    assert set(store.index.loc[0, "items.s2"].split()) == {CLEAR, CLOUDY}


def test_steps_are_a_series_of_images(archive, place):
    store = collect_one(archive, place, {"choose": "steps"})
    assert store.modalities["s2"].kind is Kind.IMAGE_SERIES
    times = store.times("s2", [0])[0]
    assert times.astype("datetime64[D]").astype(str).tolist() == ["2023-07-10", "2023-07-22"]
    values = store.read("s2", [0])[0]
    assert np.array_equal(values[0], pixels(archive, store, CLEAR))
    one = collect_one(archive, place, {"choose": "steps", "every": "1 month"}, name="mine")
    assert one.index.loc[0, "items.mine"] == CLEAR


def test_numbers_at_the_place_are_a_vector(archive, place):
    layer = {"assets": {"B02": "blue", "B08": "nir"}, "kind": "vector", "at": "point", "choose": "least_cloudy"}
    store = collect_one(archive, place, layer, name="numbers")
    assert store.modalities["numbers"].kind is Kind.VECTOR
    patch = store.index.iloc[0]
    with rasterio.open(archive.folder / f"s2/{CLEAR}/B02.tif") as file:
        (value,) = next(file.sample([(CORNER[0] - 2240 + 200, CORNER[1] + 1000)]))
    assert patch["numbers.blue"] == value
    assert patch["numbers.nir"] > 0


def test_bands_are_renamed_and_keep_their_other_names(archive, place):
    store = collect_one(archive, place, {"assets": {"B02": "blue", "B08": "nir"}})
    assert store.modalities["s2"].channel_names == ("blue", "nir")
    assert "B02" in store.modalities["s2"].channels[0].aliases
    assert store.modalities["s2"].scale == 1e-4


def test_files_take_the_place_of_a_catalogue(archive, place):
    layers = {"height": {"files": str(archive.folder / "dem" / "*.tif"), "resampling": "nearest"}}
    store = collect_one(archive, place, {}, modalities=layers)
    assert store.index.loc[0, "items.height"] == "33NW.tif"
    place.write_text(place.read_text().replace("day", "tile").replace("2023-07-12", "33NW"))
    layers["height"]["files"] = str(archive.folder / "dem" / "{tile}.tif")
    named = collect(
        {"name": "g", "labels": {"file": str(place)}, "patch": {"size": SIZE}, "modalities": layers},
        place.parent / "g.store",
    ).store
    assert np.array_equal(named.read("height", [0]), store.read("height", [0]))
    layers["height"]["files"] = str(archive.folder / "dem" / "{til}.tif")
    with pytest.raises(UsageError, match="the labels have no column 'til'; did you mean 'tile'"):
        collect({"name": "h", "labels": {"file": str(place)}, "modalities": layers}, place.parent / "h.store")


def test_offsets_follow_what_items_say():
    assert baseline_offset({"s2:processing_baseline": "05.09"}) == -1000
    assert baseline_offset({"s2:processing_baseline": "02.14"}) == 0
    assert baseline_offset({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}) == 0
    assert baseline_offset({}) is None
    assert MASKS["qa_pixel"].bits == (0, 1, 2, 3, 4)


def test_addresses_are_signed_just_before_they_are_read(archive, place, monkeypatch):
    signed = []
    monkeypatch.setitem(SIGNERS._things, "ours", lambda href: signed.append(href) or href)
    collect_one(archive, place, {"sign": "ours"})
    assert {href.rpartition("/")[2] for href in signed} == {f"{band}.tif" for band in BANDS}


@pytest.fixture
def spoiled(archive, tmp_path):
    """A list of the items of Sentinel-2, which a test may change."""
    items = []
    for path in sorted((archive.folder / "s2-l2a").glob("S2_*.json")):
        item = json.loads(path.read_text())
        for asset in item["assets"].values():
            asset["href"] = str((path.parent / asset["href"]).resolve())
        items.append(item)

    def write():
        (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        return SimpleNamespace(path=tmp_path / "items.json", folder=archive.folder)

    return items, write


def test_an_item_across_180_degrees_is_found_however_its_outline_is_written(spoiled, place):
    items, write = spoiled
    place.write_text("id,lon,lat\na,179.999,-17.0")
    west = next(item for item in items if item["id"].startswith("S2_60S"))
    ring = [[179.97, -17.02], [-179.99, -17.02], [-179.99, -16.98], [179.97, -16.98], [179.97, -17.02]]
    halves = [[[179.97, -17.02], [180, -17.02], [180, -16.98], [179.97, -16.98], [179.97, -17.02]]]
    halves += [[[-180, -17.02], [-179.99, -17.02], [-179.99, -16.98], [-180, -16.98], [-180, -17.02]]]
    for number, geometry in enumerate(
        (
            {"type": "Polygon", "coordinates": [ring]},
            {"type": "MultiPolygon", "coordinates": [[each] for each in halves]},
        )
    ):
        items[:] = [west | {"geometry": geometry}]
        place.write_text(f"id,lon,lat\na{number},179.999,-17.0")
        assert collect_one(write(), place, {}).index.loc[0, "items.s2"] == west["id"]


SPOILT = [
    (lambda item: item["properties"].pop("s2:processing_baseline"), "names no processing baseline, as others do"),
    (lambda item: item["assets"].pop("B03"), "no asset 'B03'"),
    (lambda item: item["properties"].update(datetime="soon"), "is no STAC item that can be used"),
    (lambda item: item["assets"]["B02"].update({"raster:bands": [{"scale": 0.1}]}), "declares scale 0.1"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[message for _, message in SPOILT])
def test_an_item_that_is_wrong_is_named(spoil, message, spoiled, place):
    items, write = spoiled
    wrong = next(item for item in items if item["id"] == CLOUDY)
    spoil(wrong)
    with pytest.raises((DataError, UsageError), match=message) as error:
        collect_one(write(), place, {"choose": "median"})
    assert CLOUDY in str(error.value)


def test_units_that_differ_are_refused(spoiled, place, tmp_path):
    items, write = spoiled
    wrong = next(item for item in items if item["id"] == CLOUDY)
    for band in BANDS:
        with rasterio.open(wrong["assets"][band]["href"]) as file:
            profile, values = file.profile, file.read().astype("float32") / 10_000
        with rasterio.open(tmp_path / f"{band}.tif", "w", **{**profile, "dtype": "float32"}) as file:
            file.write(values)
        wrong["assets"][band]["href"] = str(tmp_path / f"{band}.tif")
    with pytest.raises(
        DataError, match=r"S2_33NW_20230722.*holds float32 where others hold uint16: their units seem to differ"
    ):
        collect_one(write(), place, {"choose": "median"})


MISSING = {
    "renamed": ({"collection": "s2-l2"}, {}, "there is no collection 's2-l2'; did you mean 's2-l2a'"),
    "time": (
        {},
        {"time": {"from": "2020-01-01", "to": "2020-02-01"}},
        "a wants 2020-01-01 to 2020-02-01, the nearest is of 2023-07-10",
    ),
    "cloud": ({"cloud": 1}, {}, "no item has at most 1 % clouds; the clearest has 4 %"),
    "where": ({"where": {"platform": "x"}}, {}, "has the properties in `where`.*there is no platform"),
    "asset": ({"assets": ["B2"]}, {}, "has no asset 'B2'; did you mean 'B02'"),
    "mask": ({"mask": "slc"}, {}, "'slc' is no mask; did you mean 'scl'"),
    "catalogue": ({"stac": "earthsearch"}, {}, "'earthsearch' is no catalogue; did you mean 'earth-search'"),
    "path": ({"stac": "nowhere/catalog.json"}, {}, "nowhere/catalog.json: can't be read: No such file"),
    "signer": ({"sign": "mine"}, {}, "no signing hook 'mine'"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_not_there_is_said_in_one_message(case, archive, place):
    layer, more, message = MISSING[case]
    with pytest.raises((DataError, UsageError), match=message):
        collect_one(archive, place, layer, **more)


def test_places_outside_the_imagery_and_swapped_ones_are_told_apart(archive, place):
    place.write_text("id,lon,lat\na,2.35,48.85")
    with pytest.raises(
        DataError, match=r"no item of .* shows a place: 8 items within longitudes .*; a lies at 2.3499, 48.8500; check"
    ):
        collect_one(archive, place, {})
    lon, lat = degrees("EPSG:32633", *CORNER)
    place.write_text(f"id,lon,lat\na,{lat},{lon}")
    with pytest.raises(DataError, match="with longitude and latitude swapped, they would"):
        collect_one(archive, place, {})


KEYS = {
    "labels.fil": "labels.fil: unknown key; did you mean 'file'",
    "modalities.s2.chose": "unknown key; did you mean 'choose'",
    "time.within": "time.within: must be a duration such as 30 days",
    "patch.size": "patch.size",
}


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_key_of_the_spec_is_named(key, archive, place):
    s2 = {"stac": str(archive.path), "collection": "s2-l2a"}
    spec = {"name": "f", "labels": {"file": str(place)}, "time": WINDOW, "modalities": {"s2": s2}}
    with pytest.raises(UsageError, match=KEYS[key]):
        collect(spec, place.parent / "f.store", overrides=[f"{key}=x"])


def test_items_are_those_that_pystac_reads(archive):
    for path in (archive.folder / "s2-l2a").glob("S2_*.json"):
        assert Item.from_file(str(path)).collection_id == "s2-l2a"
    assert len(tiles()) == 7
