"""A source of another package is packed, checked and described like those of eofuse; all sources keep one contract."""

import json

import numpy as np
import pytest

from eofuse.cli import main
from eofuse.data.sources import SOURCES
from eofuse.data.sources.base import SpecSource
from eofuse.data.store import open_store
from shrink import RECIPES

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def heights(tmp_path):
    """A file of a plugin's sort; the last sample is bad."""
    values = np.full((5, 1, 8, 8), 300, dtype=np.int16)
    values[:, 0, 0] = np.arange(5)[:, None]
    values[4] = -600
    path = tmp_path / "alps.npz"
    np.savez(path, id=[f"tile {number}" for number in range(5)], elevation=values)
    return path


def test_a_source_from_outside_is_packed_checked_and_described(heights, tmp_path, capsys):
    assert SOURCES.package_of("example_arrays") == "example_plugin"
    assert main(["check", str(heights)]) == 1
    assert "sample tile 4, elevation: lies below all land" in capsys.readouterr().out.replace("\n", " ")
    packed = str(tmp_path / "alps.store")
    assert main(["pack", str(heights), packed]) != 0
    assert main(["pack", str(heights), packed, "--skip-bad", "--workers", "1"]) == 0
    store = open_store(packed)
    assert (len(store), store.provenance["set_aside"]) == (4, 1)
    assert (store["tile 3"]["elevation"][0, 0] == 3).all()
    assert store.index["scene"].isna().all()  # what a source leaves out has its default
    capsys.readouterr()
    assert main(["describe", packed, "--json"]) == 0
    assert "elevation" in json.dumps(json.loads(capsys.readouterr().out))
    before = (tmp_path / "alps.store" / "store.json").stat().st_mtime_ns
    assert main(["pack", str(heights), packed, "--skip-bad"]) == 0
    assert (tmp_path / "alps.store" / "store.json").stat().st_mtime_ns == before


def test_another_command_says_what_lies_there(heights, tmp_path, capsys):
    assert main(["cut", str(heights), str(tmp_path / "out")]) != 0
    assert f"is a file of heights, not a spec of scenes; `eofuse pack {heights} STORE`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ben_ge", "table", "scenes", "collect", "store", "example_arrays"])
def test_every_source_accepts_its_own_and_says_what_to_do(name, tmp_path):
    assert set(SOURCES) == {"ben_ge", "table", "scenes", "collect", "store", "example_arrays"}
    source = SOURCES[name]()
    assert source.title
    assert source.title in type(source).title
    assert str(tmp_path) in source.advice(tmp_path)
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "broken.yaml").write_text("[")
    (tmp_path / "a.npz").write_bytes(b"")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "empty.yaml", tmp_path / "broken.yaml"):
        assert not source.accepts(path)
    assert not isinstance(source, SpecSource) or not source.describes({"modalities": [1]})


def test_messages_and_help_name_what_the_sources_of_other_packages_read(plugin, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    assert main(["train", str(RECIPES / "land_cover.yaml"), "--store", str(tmp_path / "other.npz")]) == 1
    assert "installed packages also read a file of heights" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pack", "--help"])
    assert "a file of heights" in " ".join(capsys.readouterr().out.split())
