"""Codes beyond a byte, categories by step, and words that stand for numbers."""

import numpy as np
import pytest
import torch

from eofuse.data.store.pack import pack
from eofuse.data.targets import make_target
from eofuse.errors import DataError, UsageError
from eofuse.models.normalisation import ChannelStatistics, Normaliser
from table_folder import TableFolder

CORINE = {111: "urban", 231: "pasture", 311: "wood", 523: "sea"}
"""Codes of CORINE land cover, level 3."""


@pytest.fixture
def corine(tmp_path):
    folder = TableFolder(tmp_path)
    codes = np.resize(np.array([*CORINE, 999], np.uint16), (1, 8, 8))  # 999 is nodata
    for name in folder.table["id"]:
        folder.write(f"clc/{name}.tif", codes, nodata=999)
    folder.table["clc"] = [111, 231, 311, 523, 523, None]
    folder.spec["modalities"] = {
        "clc": {"files": "clc/{id}.tif", "categories": CORINE},
        "main": {"kind": "category", "column": "clc", "categories": CORINE, "optional": True},
    }
    return folder, codes[0]


def test_codes_above_255_are_packed_targets_and_seen_by_models(corine, tmp_path):
    folder, codes = corine
    store = pack(folder.save(), tmp_path / "out.store", workers=1)
    modality = store.modality("clc")
    assert (modality.dtype, modality.nodata) == ("uint16", 999)
    assert (store.read("clc", [0])[0, 0] == codes).all()
    truth = make_target(store, "clc").read(np.array([0]))[0]
    assert (truth == np.where(codes == 999, 255, np.searchsorted(list(CORINE), codes))).all()
    normaliser = Normaliser([modality, store.modality("main")], ChannelStatistics({}, {}))
    inputs = {name: torch.from_numpy(store.read(name, [0, 4, 5])) for name in ("clc", "main")}
    seen = normaliser(inputs)
    assert (seen["clc"].sum(1)[0].numpy() == (codes != 999)).all()
    assert seen["main"].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    target = make_target(store, "main")
    assert target.values[target.valid].tolist() == [0, 1, 2, 3, 3]


def test_categories_by_step_are_a_series_with_a_channel_each(tmp_path):
    folder = TableFolder(tmp_path)
    for step, words in enumerate((["grass", "crop"] * 3, ["crop", None] * 3)):
        folder.table[f"cover_t{step}"] = words
    folder.only(cover={"kind": "series", "columns": "cover_t{step}", "categories": ["grass", "crop"]})
    source = folder.open()
    assert source.modalities[0].channel_names == ("grass", "crop")
    assert source.read(0)["cover"].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert np.isnan(source.read(1)["cover"][1, 1:]).all()
    folder.table["cover_t1"] = "tundra"
    assert "holds 'tundra', which stands for no number" in folder.open().problems[0].what


def test_words_stand_for_numbers(tmp_path):
    folder = TableFolder(tmp_path)
    folder.table["slope"] = ["flat", "steep", "flat", None, "flat", "steep"]
    folder.spec["labels"] = {"slope": {"kind": "number", "values": {"flat": 0, "steep": 30}}}
    folder.only(how={"kind": "vector", "columns": ["label"], "values": {"a": 1.5, "b": -2}})
    source = folder.open()
    assert source.index["how.label"].tolist() == [1.5, -2] * 3
    assert source.index["slope"].tolist()[:3] == [0, 30, 0]
    folder.only(how={"kind": "vector", "columns": ["label"], "values": {"a": 1.5}})
    with pytest.raises((DataError, UsageError), match="stands for no number"):
        pack(folder.save(), tmp_path / "out.store", workers=1)
