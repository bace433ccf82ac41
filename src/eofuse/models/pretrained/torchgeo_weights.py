"""Weights by a torchgeo name, such as `torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO`; torchgeo is imported when one is named."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from eofuse.errors import DataError, UsageError
from eofuse.modalities import Channel
from eofuse.models.pretrained.licences import OF_TORCHGEO, refuse_non_commercial
from eofuse.models.pretrained.network import network_source
from eofuse.models.pretrained.options import WeightOptions
from eofuse.models.pretrained.source import Source
from eofuse.models.pretrained.weight_file import read_weights

UNITS = {"SENTINEL2": 1e-4, "SENTINEL1": 1.0}
"""Physical units of the values with which weights were trained: reflectance × 10,000, and dB."""

IMAGES = ("SatlasPretrain",)
"""Datasets of images stretched for display, whose values have no physical unit."""


SEVERAL_SENSORS = {
    "CROMABase_Weights": "croma:base",
    "CROMALarge_Weights": "croma:large",
    "CopernicusFM_Base_Weights": "copernicus_fm:base",
    "DOFABase16_Weights": "dofa:base",
    "DOFALarge16_Weights": "dofa:large",
    "Panopticon_Weights": "panopticon:base",
}
"""Weights of models of several sensors → the names of these models (`eofuse.models.foundation`)."""


def torchgeo_source(name: str, options: WeightOptions) -> Source:
    """The weights that torchgeo has under a name, with their bands and, in physical units, their normalisation.

    Args:
        name: as torchgeo writes it.
        options: bands and normalisation in place of these, and a local file in place of the download.

    Raises:
        UsageError: if torchgeo is missing or has no such weights, they are of another sensor and their bands are not named, or of a
            model of several sensors, or their licence forbids commercial use.
        DataError: if they can't be fetched or read.
    """
    title, kind = f"torchgeo:{name}", name.partition(".")[0]
    refuse_non_commercial(OF_TORCHGEO.get(kind, ""), title, options.non_commercial)
    if kind in SEVERAL_SENSORS:
        fix = f"eofuse embed --with {SEVERAL_SENSORS[kind]} --weights FILE, or fusion.joint with start.from: FILE (docs/foundation.md)"
        raise UsageError("are of a model of several sensors", where=title, fix=fix)
    try:
        torchgeo = importlib.import_module("torchgeo.models")
    except ImportError as error:
        fix = "pip install 'eofuse[torchgeo]'"
        raise UsageError(f"torchgeo can't be imported ({error})", where="start.from", fix=fix) from None
    try:
        weight: Any = torchgeo.get_weight(name)
    except ValueError as error:
        raise UsageError(f"torchgeo has no weights '{name}'", where="start.from", fix=str(error)) from None
    sensor = next((sensor for sensor in UNITS if name.rpartition(".")[2].startswith(sensor)), None)
    if sensor is None and options.bands is None:
        found = "is of another sensor than Sentinel-1 and -2, and bands of other sensors have the same names"
        raise UsageError(found, where=title, fix="name the bands by your channels as start.bands")
    known = [Channel(band) for band in weight.meta["bands"]] if sensor is not None else None
    bands = options.channels(known, title)
    physical = sensor is not None and weight.meta.get("dataset") not in IMAGES
    stated = _normalisation(weight.transforms, len(known or ()), UNITS[sensor]) if sensor and physical else None
    pairs = options.normalisation(bands, stated)
    notes = () if pairs else ("their normalisation is not in physical units: normalised by the training patches",)
    if options.file is not None:
        weights = read_weights(Path(options.file))
    else:
        try:
            weights = weight.get_state_dict(progress=False, map_location="cpu", weights_only=True)
        except Exception as error:  # downloads and damaged files raise many kinds
            fix = "give a file of these weights as start.file, or to embed as --weights"
            raise DataError(f"can't be loaded: {error}", where=title, fix=fix) from error
    return network_source(title, str(weight.meta["model"]), weights, bands, pairs, options.prefix, notes)


def _normalisation(transforms: Any, bands: int, unit: float) -> Sequence[tuple[float, float]] | None:
    """Mean and deviation of each band in physical units; None if the transforms are not one normalisation by them."""
    modules: list[Any] = list(transforms.modules()) if isinstance(transforms, nn.Module) else []
    found = [module for module in modules if hasattr(module, "mean") and hasattr(module, "std")]
    if not found:
        return [(0.0, 1.0)] * bands if isinstance(transforms, nn.Identity) else None
    mean, std = ([float(value) for value in values] for values in (found[0].mean, found[0].std))
    mean, std = (values * bands if len(values) == 1 else values for values in (mean, std))
    if len(found) > 1 or not len(mean) == len(std) == bands:
        return None
    return [(centre * unit, deviation * unit) for centre, deviation in zip(mean, std, strict=True)]
