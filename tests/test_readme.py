"""Every command of the README and the documentation's Python runs, at a small size, in the order in which it stands there."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio

import eofuse
from eofuse.cli import main
from eofuse.config import merge, write_yaml
from eofuse.data import download as downloading
from shrink import RECIPES, shrunk
from undrawn import undraw

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks(README, "bash") for line in block.splitlines() if line.startswith("eofuse ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def write_scene(folder: Path) -> None:
    """A scene of Sentinel-1 and Sentinel-2, and its spec."""
    from affine import Affine

    from eofuse.modalities import SENTINEL1, SENTINEL2

    folder.mkdir()
    random = np.random.default_rng(0)
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_300_000), "height": 40, "width": 50}
    for modality in (SENTINEL1, SENTINEL2):
        values = (
            random.integers(-20, -5, (2, 40, 50)) if modality is SENTINEL1 else random.integers(1, 4000, (12, 40, 50))
        )
        count, dtype = len(values), modality.dtype
        with rasterio.open(folder / f"valley_{modality.name}.tif", "w", count=count, dtype=dtype, **place) as file:
            file.write(values.astype(dtype))
    layers = "".join(f"  {name}: {{files: 'scenes/{{scene}}_{name}.tif'}}\n" for name in ("s2", "s1"))
    (folder.parent / "scenes.yaml").write_text(f"name: scenes\nmodalities:\n{layers}")


def label_points(path: Path) -> None:
    """Fills in the empty column of a sample."""
    meta, _, geometry, (ids, labels) = pyogrio.raw.read(path)
    labels = np.where(np.arange(len(ids)) % 2, "tree_cover", "grassland").astype(object)
    path.unlink()
    pyogrio.raw.write(path, geometry, [ids, labels], meta["fields"], crs=meta["crs"], geometry_type="Point")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return eofuse.simulate(tmp_path_factory.mktemp("readme") / "ben-ge-800", patches=60, workers=1)


@pytest.fixture
def newcomer(simulated, tmp_path, monkeypatch):
    """A folder with the shipped recipes, shrunk to small encoders, and an archive that gives a simulated ben-ge-800."""
    undraw(monkeypatch)
    (tmp_path / "recipes").mkdir()
    for path in RECIPES.glob("*.yaml"):
        values = merge(shrunk(path.name), {"fusion": {"encoder": "test_resnet"}})
        (tmp_path / "recipes" / path.name).write_text(write_yaml(values))
    monkeypatch.chdir(tmp_path)
    rows = [f"{row},{row / 10},{row / 20},{row + 1},{'dry' if row % 2 else 'wet'}" for row in range(20)]
    (tmp_path / "samples.csv").write_text("\n".join(["sample_id,ndvi_t0,ndvi_t1,slope,class", *rows]))

    write_scene(tmp_path / "scenes")

    def give(name, to, base_url, progress):
        return shutil.copytree(simulated, Path(to) / name)

    monkeypatch.setattr(downloading, "download", give)
    return tmp_path


def test_the_commands_of_the_readme_run(newcomer):
    assert len(commands()) >= 9
    for words in commands():
        if (
            words[0] == "show" and words[2:3] and not words[2].startswith("-")
        ):  # the id stands for one of the user's own
            words[2] = eofuse.open_store(words[1]).index["patch_id"][0]
        if words[0] == "area":  # somebody has labelled the points
            label_points(newcomer / words[2])
        words = ["train.steps=5" if word.startswith("train.steps=") else word for word in words]
        assert main(words) == 0, words
    assert (newcomer / "studies" / "tutorial_fusion" / "report.html").exists()
    assert (newcomer / "preds.parquet").exists()


def test_the_python_of_the_readme_and_of_the_documentation_runs(newcomer, simulated, capsys):
    shutil.copytree(simulated, "ben-ge-800")
    data, python = ((PROJECT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("data", "python"))
    for code in [*blocks(README, "python"), *blocks(data, "python"), "\n".join(blocks(python, "python"))]:
        exec(compile(code, "documentation", "exec"), {})
    shown = capsys.readouterr().out
    assert "report.html" in shown
    assert "Store('ben-ge-800.store': 60 patches" in shown
    assert "Run('python-run'; " in shown
    assert "Study('studies/tutorial_fusion': 5 variants × 1 seed → climate_zone)" in shown


def test_the_recipe_of_the_readme_is_valid():
    from eofuse.config import parse_options, parse_yaml
    from eofuse.learning.options import RunOptions

    for block in blocks(README, "yaml"):
        parse_options(RunOptions, parse_yaml(block))


def test_the_make_targets_of_the_readme_exist():
    makefile = (PROJECT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_files_that_the_readme_links_to_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (PROJECT / target).exists(), target


def test_every_option_is_documented():
    from eofuse.learning.options import RunOptions
    from eofuse.studies.axes import AxesOptions
    from eofuse.tasks import TaskOptions

    text = (PROJECT / "docs" / "recipes.md").read_text(encoding="utf-8")
    groups = [
        field.annotation for field in RunOptions.model_fields.values() if hasattr(field.annotation, "model_fields")
    ]
    for group in [RunOptions, TaskOptions, *groups, AxesOptions]:
        for name in group.model_fields:
            assert f"`{name}`" in text or re.search(rf"^## .*\b{name}\b", text, re.MULTILINE), (
                f"{group.__name__}.{name}"
            )
