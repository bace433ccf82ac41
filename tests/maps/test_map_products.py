"""Maps of Sentinel-2 products: what the model sees is what a store would hold."""

import numpy as np
import pytest
import yaml
from maps_scenes import HEADS

from eofuse.data.store.cut import cut
from eofuse.maps.reading import BandReader
from eofuse.maps.scene import scenes_of_spec
from eofuse.modalities import SENTINEL2
from eofuse.models.fusion import FusionOptions
from eofuse.models.model import ModelSpec
from eofuse.models.normalisation import ChannelStatistics
from fake_safe import write_product


@pytest.fixture
def scenes(tmp_path):
    """A spec of a product with clouds, in which the offset of one band differs."""
    classes = np.full((12, 12), 4)
    classes[3:5, 7:] = 9
    bands = {"B02": np.arange(576).reshape(24, 24) + 1000, "B8A": np.full((12, 12), 3000), "B04": np.ones((24, 24))}
    product = write_product(tmp_path / "S2" / "a.SAFE", bands, classes=classes)
    text = (product / "MTD_MSIL2A.xml").read_text()
    (product / "MTD_MSIL2A.xml").write_text(text.replace('band_id="8">-1000', 'band_id="8">-900'))
    layer = {"safe": "S2/{scene}.SAFE", "bands": ["B02", "B04", "B8A"], "mask": ["cloud_high"]}
    (tmp_path / "scenes.yaml").write_text(yaml.safe_dump({"name": "made", "modalities": {"s2": layer}}))
    return tmp_path / "scenes.yaml"


def test_a_model_sees_a_product_as_a_store_holds_it(scenes):
    modality = SENTINEL2.select(["B8A", "B02"])
    statistics = ChannelStatistics({"s2": [0.1, 0.1]}, {"s2": [0.1, 0.1]})
    options = FusionOptions(strategy="single", encoder="test_resnet")
    spec = ModelSpec((modality,), options, {"cover": HEADS["cover"]}, statistics, (24, 24))
    _, (scene,) = scenes_of_spec(scenes, spec)
    with BandReader(scene) as reader:
        strip = reader.rows(0, 24)
    store = cut(scenes, scenes.parent / "out.store", size=24, workers=1).store
    stored = store.read("s2", np.arange(1))[0][[2, 0]]
    np.testing.assert_array_equal(strip.values("s2", 0, 24), stored)
    np.testing.assert_array_equal(strip.valid("s2"), stored[0] > 0)
    assert stored[0].max() == 2100
    assert {path.name for path in scene.paths} > {"MTD_MSIL2A.xml", "T33_SCL_20m.jp2"}
