"""Catalogues behind an API, as the public ones are: what is asked of them, and what eofuse knows of those by name."""

import json
from http.client import BadStatusLine
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote

import numpy as np
import pytest
import shapely

from eofuse.cli import main
from eofuse.data import web
from eofuse.data.collect.catalogues import find_items
from eofuse.data.collect.places import wrapped
from eofuse.data.collect.presets import CATALOGUES, KnownCatalogue, KnownCollection, known_collection
from eofuse.data.collect.run import collect
from eofuse.data.collect.spec import NetworkOptions
from eofuse.data.specs.init import init
from eofuse.errors import DataError, UsageError
from scene_archive import BANDS, CORNER, degrees, tiles

CONFORMS = [
    f"https://api.stacspec.org/v1.0.0/{each}" for each in ("core", "item-search", "ogcapi-features", "collections")
]
KEYS = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}


@pytest.fixture
def api(archive, monkeypatch):
    """The archive behind an API, with assets and properties as Earth Search has them; `asked` lists the searches."""
    server, asked = archive.server, []
    root = f"{server.url}/api"
    items = [json.loads(path.read_text()) for path in sorted((archive.folder / "s2-l2a").glob("S2_*.json"))]
    for item in items:
        item["collection"] = "sentinel-2-l2a"
        assets = {KEYS.get(key, "scl"): value for key, value in item["assets"].items()}
        item["assets"] = {key: value | {"href": f"{server.url}{value['href'][2:]}"} for key, value in assets.items()}
        bands = [{"scale": 1e-4, "offset": -0.1, "data_type": "uint16"}]
        item["assets"] |= {
            key: value | {"raster:bands": bands} for key, value in item["assets"].items() if key != "scl"
        }
        item["properties"]["earthsearch:boa_offset_applied"] = True
    about = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": "sentinel-2-l2a",
        "description": "x",
        "license": "proprietary",
    }
    about |= {
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }

    def search(query):
        wanted = {key: unquote(value[0]) for key, value in parse_qs(query).items()}
        asked.append(wanted)
        box = shapely.box(*map(float, wanted["bbox"].split(",")))
        start, end = wanted.get("datetime", "0000/9999").split("/")
        found = [
            item
            for item in items
            if wrapped(shapely.geometry.shape(item["geometry"]), box.centroid.x).intersects(box)
            and start <= item["properties"]["datetime"] <= end
        ]
        return json.dumps({"type": "FeatureCollection", "features": found, "links": []}).encode()

    links = [
        {"rel": "search", "href": f"{root}/search", "type": "application/geo+json", "method": "GET"},
        {"rel": "data", "href": f"{root}/collections", "type": "application/json"},
        {"rel": "self", "href": root},
        {"rel": "root", "href": root},
    ]
    page = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "api",
        "description": "x",
        "conformsTo": CONFORMS,
        "links": links,
    }
    server.answers = {
        "/api": lambda _: json.dumps(page).encode(),
        "/api/search": search,
        "/api/collections": lambda _: json.dumps({"collections": [about], "links": []}).encode(),
        "/api/collections/sentinel-2-l2a": lambda _: json.dumps(about).encode(),
    }
    known = CATALOGUES["earth-search"]
    monkeypatch.setitem(CATALOGUES._things, "earth-search", KnownCatalogue(known.name, root, known.collections))
    yield SimpleNamespace(asked=asked, items=items)
    server.answers = {}


def spec_of(tmp_path, rows, **layer):
    (tmp_path / "p.csv").write_text("id,lon,lat\n" + "\n".join(f"{name},{lon},{lat}" for name, lon, lat in rows))
    s2 = {"stac": "earth-search", "collection": "sentinel-2-l2a", "assets": list(KEYS.values()), **layer}
    network = {"tries": 3, "pause": 0.02, "timeout": 2}
    time = {"from": "2023-07-01", "to": "2023-07-15"}
    patch = {"size": 16}
    spec = {
        "name": "f",
        "labels": {"file": str(tmp_path / "p.csv")},
        "patch": patch,
        "time": time,
        "modalities": {"s2": s2},
    }
    return spec | {"network": network}


def places():
    return [(name, *degrees(crs, left + 1000, top - 1000)) for name, (crs, left, top, _) in tiles().items()]


def test_a_known_catalogue_is_searched_once_for_places_that_lie_together(api, tmp_path):
    store = collect(spec_of(tmp_path, places(), mask="scl"), tmp_path / "f.store").store
    assert store.modalities["s2"].channel_names == BANDS
    assert store.modalities["s2"].scale == 1e-4
    assert len(store) == 7
    assert len(api.asked) == 4  # zone 33, zone 18, and either side of ±180°
    assert {each["collections"] for each in api.asked} == {"sentinel-2-l2a"}
    assert {each["datetime"] for each in api.asked} == {"2023-07-01T00:00:00Z/2023-07-15T23:59:59Z"}
    assert "Copernicus" in store.modalities["s2"].attribution
    assert store.index["items.s2"].notna().all()


def test_a_search_that_fails_is_repeated(api, archive, tmp_path):
    lon, lat = degrees("EPSG:32633", *CORNER)
    with archive.server.failing({"/api/search": [503, 503]}):
        assert len(collect(spec_of(tmp_path, [("a", lon, lat)]), tmp_path / "f.store").store) == 1
    with (
        archive.server.failing({"/api/search": [503] * 9}),
        pytest.raises(DataError, match="the catalogue can't be searched"),
    ):
        collect(spec_of(tmp_path, [("a", lon, lat)]), tmp_path / "g.store")


def test_a_collection_that_was_renamed_is_a_message(api, tmp_path):
    with pytest.raises(UsageError, match="there is no collection 'sentinel-2-l2'; did you mean 'sentinel-2-l2a'"):
        collect(spec_of(tmp_path, places()[:1], collection="sentinel-2-l2"), tmp_path / "f.store")


def test_the_archive_may_say_that_offsets_are_taken_off_already(api, archive, tmp_path):
    lon, lat = degrees("EPSG:32633", CORNER[0] - 1240, CORNER[1] + 1240)
    spec = spec_of(tmp_path, [("a", lon, lat)]) | {"time": {"from": "2023-07-20", "to": "2023-07-24"}}
    plain = collect(spec, tmp_path / "f.store").store
    for item in api.items:
        item["properties"]["earthsearch:boa_offset_applied"] = False
    less = collect(spec, tmp_path / "g.store").store
    assert np.array_equal(less.read("s2", [0]), np.maximum(plain.read("s2", [0]).astype(int) - 1000, 1))


def test_what_is_known_of_public_collections():
    assert known_collection("planetary-computer", "sentinel-1-rtc").decibels
    assert not known_collection("earth-search", "cop-dem-glo-30").changes
    assert known_collection("https://elsewhere", "cop-dem-glo-30") is None
    assert all(isinstance(each, KnownCollection) for one in CATALOGUES.values() for each in one.collections.values())


def test_init_proposes_a_collection_for_labels_alone(api, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features = []
    for number, (name, lon, lat) in enumerate(places()[:4]):
        facts = {"plot": name, "crop": "wheat" if number % 2 else "maize", "surveyed": "2023-07-11"}
        features.append(
            {"type": "Feature", "properties": facts, "geometry": {"type": "Point", "coordinates": [lon, lat]}}
        )
    (tmp_path / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert main(["init", "fields.geojson"]) == 0
    said = capsys.readouterr().out
    assert "found: 4 points" in said
    assert "label: 'crop', 2 classes: maize (2), wheat (2)" in said
    assert "next: edit fields.yaml, then eofuse check fields.yaml, then eofuse collect fields.yaml fields.store" in said
    words = [
        "patch.size=16",
        "modalities.elevation={collection: sentinel-2-l2a, assets: [red]}",
    ]
    words += ["modalities.s2.assets=[blue, green, red, nir]"]
    assert main(["collect", "fields.yaml", "fields.store", "-q", *words]) == 0
    assert "fields.store: 4 patches, s2, elevation" in capsys.readouterr().out
    assert main(["pack", "fields.yaml", "other.store"]) == 2
    assert "is the spec of a collection; `eofuse collect fields.yaml STORE`" in capsys.readouterr().err
    assert main(["check", "fields.yaml"]) == 2
    assert "has no asset 'coastal'; valid: blue, green, nir, red, scl" in capsys.readouterr().err


def test_init_says_what_it_does_not_find(tmp_path):
    (tmp_path / "p.csv").write_text("lon,lat,note\n13.7,45.1,a b\n13.8,45.2,c d\n")
    done = init(tmp_path / "p.csv", tmp_path / "p.yaml")
    assert done.command == "collect"
    assert any("no property looks like a class; there are note" in line for line in done.unknown)
    assert any("no property holds dates" in line for line in done.unknown)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ValueError("the server leads to 'file:///etc/passwd'"), "the server's answer can't be used: the server leads"),
        (BadStatusLine("nonsense"), "can't be read after 2 tries"),
    ],
)
def test_a_catalogue_whose_server_answers_nonsense_is_one_error(problem, words, tmp_path, monkeypatch):
    def broken(url, headers):
        raise problem

    monkeypatch.setattr(web, "open_url", broken)
    network = NetworkOptions(tries=2, pause=0)
    with pytest.raises(DataError, match=words):
        find_items("http://127.0.0.1/catalog.json", "s2", tmp_path, [], network, "modalities.s2")
