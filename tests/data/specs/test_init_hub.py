"""Folders of Hugging Face `datasets` (Parquet with images in cells) become specs that pack as they are."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from arrays_folder import real_patches
from eofuse.config import read_yaml
from eofuse.data.sources.table.source import open_table_spec
from eofuse.data.specs.init import init
from eofuse.data.store.pack import pack
from eofuse.errors import DataError

CLASSES = ["annual crop", "forest", "sea"]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def hub(shared, tmp_path):
    """`data/train-00000-of-00002.parquet` and so on with images, masks and classes; gives the folder and the images."""
    images = [np.moveaxis((values // 16).astype(np.uint8), 0, -1) for _, _, values, _, _ in real_patches(shared, 8)]
    features = {"image": {"_type": "Image"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "hub" / "data").mkdir(parents=True)
    files = {"train-00000-of-00002": range(3), "train-00001-of-00002": range(3, 5), "test-00000-of-00001": range(5, 8)}
    for name, rows in files.items():
        table = pa.table(
            {
                "image": pa.array([{"bytes": encoded(images[row]), "path": f"{row}.png"} for row in rows], IMAGE),
                "mask": pa.array([{"bytes": encoded(images[row][..., 0] // 64), "path": None} for row in rows], IMAGE),
                "label": pa.array([row % 3 for row in rows]),
                "tags": pa.array([["a", "b"][: row % 2 + 1] for row in rows]),
            }
        ).replace_schema_metadata(metadata)
        pq.write_table(table, tmp_path / "hub" / "data" / f"{name}.parquet", row_group_size=2)
    return tmp_path / "hub", images


def test_images_masks_classes_and_parts_are_found(hub, tmp_path):
    folder, images = hub
    spec = init(folder, tmp_path / "spec.yaml").spec
    source = open_table_spec(spec)
    assert read_yaml(spec)["modalities"]["image"] == {
        "kind": "raster", "files": "{file}", "variables": "image", "rows": "position", "bands": ["red", "green", "blue"],
    }  # fmt: skip
    assert source.index["label"].tolist()[:4] == ["sea", "annual crop", "forest", "annual crop"]
    assert source.index["split"].tolist() == ["test"] * 3 + ["train"] * 5
    order = [5, 6, 7, 0, 1, 2, 3, 4]
    store = pack(spec, tmp_path / "out.store", workers=1)
    assert (store.read("image", range(8)) == np.moveaxis(np.stack(images)[order], -1, 1)).all()
    assert (store.read("mask", range(8))[:, 0] == np.stack(images)[order][..., 0] // 64).all()
    assert store.modality("mask").is_categorical


def test_a_row_without_an_image_and_one_that_is_not_there_are_named(hub, tmp_path):
    path = hub[0] / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    cells = [{"bytes": None, "path": "elsewhere.png"}, *table["image"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, "image", pa.array(cells, IMAGE)), path)
    spec = init(hub[0], tmp_path / "spec.yaml").spec
    problems = open_table_spec(spec).problems
    assert "holds no image in row 0, only the path elsewhere.png" in problems[0].what
    with pytest.raises(DataError, match="holds no images in a column 'photo'"):
        open_table_spec(spec, ["modalities.image.variables=photo"])
