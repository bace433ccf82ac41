"""A folder of images without a table: classes, parts of a split and masks are told from its folders."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from eofuse.cli import main
from eofuse.config import read_yaml, write_yaml
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.specs.init import init
from eofuse.data.store.pack import pack

PALETTE = (0, 0, 0, 0, 128, 0, 250, 200, 0)
"""Black, green, yellow."""


def pictures(shared, count=12):
    """Class and picture (64, 64, 3) of real patches."""
    files = sorted((shared / "realdata" / "eurosat-100").glob("*/*.tif"))
    for path in files[:: len(files) // count][:count]:
        with rasterio.open(path) as file:
            colours = np.clip(file.read([4, 3, 2]) / 12, 0, 255).astype(np.uint8)
        yield path.parent.name, path.stem, np.moveaxis(colours, 0, -1)


@pytest.fixture
def segmentation(shared, tmp_path):
    """`train/images/a.jpg`, `train/masks/a.png` and so on; the masks have a palette, and names recur in `val`."""
    for number, (_, _, colours) in enumerate(pictures(shared)):
        part = tmp_path / "data" / ("train" if number < 8 else "val")
        for folder in ("images", "masks"):
            (part / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(part / "images" / f"{number % 8}.jpg")
        mask = Image.fromarray((colours[..., 1] // 90).astype(np.uint8))
        mask.putpalette(PALETTE)
        mask.save(part / "masks" / f"{number % 8}.png")
    return tmp_path / "data"


def test_class_folders_of_jpegs_are_labels_and_parts(shared, tmp_path):
    for number, (name, stem, colours) in enumerate(pictures(shared, 20)):
        path = tmp_path / "data" / ("train", "val", "test")[number % 3] / name / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(path)
    done = init(tmp_path / "data", tmp_path / "spec.yaml")
    source = open_table_spec(done.spec)
    assert source.index["split"].value_counts().to_dict() == {"train": 7, "validation": 7, "test": 6}
    assert source.provenance.labels == {"folder": "class"}
    assert any("nothing tells where the images were taken" in line for line in done.unknown)


def test_masks_with_a_palette_give_codes_and_colours_and_train(segmentation, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "data"]) == 0
    assert read_yaml(Path("data.yaml"))["modalities"]["masks"]["categories"] == {
        0: {"name": "class_0", "colour": "#000000"},
        1: {"name": "class_1", "colour": "#008000"},
        2: {"name": "class_2", "colour": "#fac800"},
    }
    assert main(["pack", "data.yaml", "data.store", "--workers", "1"]) == 0
    recipe = {
        "name": "masks",
        "data": {"store": "data.store"},
        "inputs": ["images"],
        "task": {"target": "masks"},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 1, "batch_size": 4},
    }
    Path("recipe.yaml").write_text(write_yaml(recipe))
    assert main(["train", "recipe.yaml", "--to", "run"]) == 0, capsys.readouterr()


def test_names_that_recur_in_parts_are_different_samples(segmentation, tmp_path):
    store = pack(init(segmentation, tmp_path / "spec.yaml").spec, tmp_path / "out.store", workers=1)
    assert store.index["split"].value_counts().to_dict() == {"train": 8, "validation": 4}
    first, later = (
        store.read("images", [store.index["patch_id"].tolist().index(name)]) for name in ("train_1", "val_1")
    )
    assert (first != later).any()
    mask = np.asarray(Image.open(segmentation / "train" / "masks" / "1.png"))
    assert (store.read("masks", [store.index["patch_id"].tolist().index("train_1")])[0, 0] == mask).all()


def test_numbers_in_masks_are_no_codes_if_there_are_too_many(shared, tmp_path):
    for number, (_, _, colours) in enumerate(pictures(shared, 4)):
        for folder, values in (("images", colours), ("masks", colours[..., 0])):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "data" / folder / f"{number}.png")
    assert "categories" not in read_yaml(init(tmp_path / "data", tmp_path / "spec.yaml").spec)["modalities"]["masks"]
