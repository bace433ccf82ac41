"""Scenes and saved models for the tests of maps."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from eofuse.kinds import DETECTION, MULTI_LABEL, PIXEL_REGRESSION, REGRESSION, SEGMENTATION, SINGLE_LABEL
from eofuse.modalities import Category, Channel, Kind, Modality
from eofuse.models.artifact import save_model
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics

torch.set_num_threads(1)

UTM = "EPSG:32633"
CORNER = (500_000.0, 5_000_000.0)
OPTICAL = Modality("optical", Kind.RASTER, (Channel("red"), Channel("nir")), dtype="uint16", nodata=0)
RADAR = Modality("radar", Kind.RASTER, (Channel("VV"),), dtype="float32")
WEATHER = Modality("weather", Kind.VECTOR, (Channel("temperature", unit="K"), Channel("rain")))
ZONE = Modality(
    "zone", Kind.CATEGORY, (Channel("zone"),), dtype="uint8", categories=(Category(0, "dry"), Category(1, "wet"))
)
NDVI = Modality("ndvi", Kind.SERIES, (Channel("ndvi"),), steps=3)
MODALITIES = (OPTICAL, RADAR, WEATHER, ZONE, NDVI)
STATISTICS = ChannelStatistics(
    {"optical": [1000.0, 2000.0], "radar": [-12.0], "weather": [280.0, 3.0], "ndvi": [0.5]},
    {"optical": [500.0, 800.0], "radar": [4.0], "weather": [10.0, 2.0], "ndvi": [0.2]},
)
CLASSES = ("water", "forest", "town")
CODES = {"codes": (10, 20, 50), "colours": ("#0000ff", "#00ff00", "#ff0000")}
HEADS = {
    "cover": HeadSpec(SEGMENTATION, CLASSES, network="fpn", **CODES),
    "corine": HeadSpec(SEGMENTATION, CLASSES, network="fpn", **{**CODES, "codes": (111, 312, 523)}),
    "height": HeadSpec(PIXEL_REGRESSION, ("height",), (30.0,), (9.0,), network="fpn", unit="m", margin=(7.5,)),
    "zone": HeadSpec(SINGLE_LABEL, ("north", "south")),
    "tags": HeadSpec(MULTI_LABEL, CLASSES),
    "biomass": HeadSpec(REGRESSION, ("biomass",), (100.0,), (20.0,), unit="t/ha"),
    "tank": HeadSpec(DETECTION, ("round", "square"), network="fcos"),
}


def make_model(folder: Path, *heads: str, inputs=("optical",), missing="exclude", size=32, seed=0) -> Path:
    """A saved model with random weights."""
    modalities = tuple(each for each in MODALITIES if each.name in inputs)
    options = FusionOptions(strategy="late" if len(inputs) > 1 else "single", encoder="test_resnet", missing=missing)
    spec = ModelSpec(modalities, options, {name: HEADS[name] for name in heads}, STATISTICS, (size, size))
    return save_model(build_model(spec, seed=seed), folder)


def write(path: Path, values, *, corner=CORNER, pixel=10.0, crs=UTM, nodata=None, names=(), **profile) -> Path:
    """Writes a GeoTIFF of (C, H, W) values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    place = {"crs": crs, "transform": Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=values.dtype, **place, **profile) as file:
        file.write(values)
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def optical(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(2, height, width) reflectances without a missing pixel."""
    return np.random.default_rng(seed).integers(1, 4000, (2, height, width)).astype(np.uint16)
