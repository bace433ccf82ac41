"""Whatever is named to a command that takes something else, the answer names the command or format that works."""

import numpy as np
import pytest
from PIL import Image

from eofuse.cli import main
from eofuse.data.doors import describe_path

FILES = {
    "index.csv": "id,label\na,b\n",
    "scenes.yaml": 'name: s\nmodalities:\n  s2: {files: "{scene}.tif"}\n',
    "table.yaml": "name: s\ntable: nowhere.csv\nmodalities: {}\n",
    "recipe.yaml": "name: s\ndata: {store: x}\ntask: {target: label}\ninputs: [s2]\n",
    "a.npy": "",
    "a.nc": "",
    "a.h5": "",
    "a.grib": "",
    "a.pkl": "",
    "a.gpkg": "",
    "a.shp": "",
    "a.kml": "",
    "a.zip": "",
    "a.xlsx": "",
    "arrays/a.npy": "",
    "a_store/store.json": "{}",
    "a_run/recipe.yaml": "name: s\n",
    "a_study/study.yaml": "name: s\n",
    "a.zarr/zarr.json": "{}",
}
INIT, CUT, PACK, TRAIN = "eofuse init", "eofuse cut", "eofuse pack", "eofuse train"
GEOTIFF, GEOPACKAGE, UNPACK = "gdal_translate", "ogr2ogr OUT.gpkg", "unpack it"
ANSWERS = {
    "pack": {
        "index.csv": INIT,
        "chips": INIT,
        "chips/a.jpg": INIT,
        "scenes.yaml": CUT,
        "recipe.yaml": TRAIN,
        "a.npy": INIT,
        "arrays": INIT,
        "a.nc": INIT,
        "a.h5": INIT,
        "a.zarr": CUT,
        "a.grib": GEOTIFF,
        "a.pkl": "never loaded",
        "a.gpkg": INIT,
        "a.shp": INIT,
        "a.kml": GEOPACKAGE,
        "a.zip": UNPACK,
        "a.xlsx": INIT,
        "a_store": "eofuse describe",
        "a_run": "eofuse evaluate",
        "a_study": "eofuse report",
    },
    "check": {
        "index.csv": INIT,
        "chips": INIT,
        "recipe.yaml": TRAIN,
        "a.nc": INIT,
        "a.zip": UNPACK,
    },
    "cut": {
        "table.yaml": PACK,
        "recipe.yaml": TRAIN,
        "chips": INIT,
        "chips/a.jpg": CUT,
        "a.gpkg": CUT,
        "index.csv": INIT,
    },
    "describe": {"chips": INIT, "a_run": "eofuse evaluate", "index.csv": INIT, "chips/a.jpg": CUT, "table.yaml": PACK},
    "show": {"chips": INIT, "a_run": "this is a run; leave it out", "scenes.yaml": CUT},
    "init": {
        "a_store": "eofuse describe",
        "chips/a.jpg": CUT,
        "a.nc": CUT,
        "table.yaml": PACK,
        "arrays": "a NumPy array",
    },
    "train": {"a_store": "--store", "table.yaml": PACK, "scenes.yaml": CUT, "index.csv": INIT, "chips": INIT},
    "study": {"a_study": "eofuse report", "a_store": "--store"},
    "evaluate": {"a_study": "eofuse predict", "a_store": "eofuse describe", "table.yaml": PACK},
    "resume": {"a_study": "eofuse report", "a_store": "eofuse describe"},
    "report": {"a_run": "eofuse evaluate", "a_store": "eofuse describe"},
}
AFTER = {"pack": ["out.store"], "cut": ["out.store"], "show": ["an_id"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("doors")
    for name, text in FILES.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    (path / "chips").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path / "chips" / "a.jpg")
    return path


@pytest.mark.parametrize(
    ("command", "name", "answer"),
    [(command, name, answer) for command, each in ANSWERS.items() for name, answer in each.items()],
)
def test_the_wrong_door_says_where_the_right_one_is(folder, capsys, monkeypatch, command, name, answer):
    monkeypatch.chdir(folder)
    assert main([command, name, *AFTER.get(command, [])]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith(f"eofuse: {name}")
    assert answer in said
    assert len(said.splitlines()) == 1


def test_what_is_not_known_is_not_guessed(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert describe_path(tmp_path / "notes.txt") is None
    assert describe_path(tmp_path / "nowhere") is None
