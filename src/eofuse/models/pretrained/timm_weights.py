"""Weights by a timm name, such as `timm:resnet18.a1_in1k`, loaded by timm: from its hub, its cache, or a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Channel
from eofuse.models.pretrained.licences import refuse_non_commercial
from eofuse.models.pretrained.network import network_source
from eofuse.models.pretrained.options import WeightOptions
from eofuse.models.pretrained.source import Source
from eofuse.models.pretrained.weight_file import read_weights

RGB = (Channel("B04", ("B4", "red", "R")), Channel("B03", ("B3", "green", "G")), Channel("B02", ("B2", "blue", "B")))
"""The channels of photographs, with the names of the bands that see the same colours."""


def timm_source(name: str, options: WeightOptions) -> Source:
    """The weights that timm has under a name.

    They were trained on photographs, whose brightness from 0 to 1 is no physical unit. So their mean and deviation do not come
    along: normalised by the patches' own, the channels have the mean 0 and the deviation 1 that the network knows.

    Args:
        name: as timm writes it, with or without a tag.
        options: bands and normalisation in place of these, and a local file in place of the download.

    Raises:
        UsageError: if timm has no weights of that name, or their licence forbids commercial use.
        DataError: if they can't be fetched or read.
    """
    import timm  # see `eofuse.models.encoders.raster`

    architecture = name.split(".")[0]
    if not timm.is_model(name) or (options.file is None and not timm.is_model_pretrained(name)):
        fix = did_you_mean(name, timm.list_pretrained())
        raise UsageError(f"timm has no weights '{name}'", where="start.from", fix=fix)
    config: Any = timm.get_pretrained_cfg(name, allow_unregistered=True)
    licence = str(config.license or "") if config is not None else ""
    refuse_non_commercial(licence, f"timm:{name}", options.non_commercial)
    overlay = {"state_dict": read_weights(Path(options.file))} if options.file is not None else None
    try:
        with torch.random.fork_rng(devices=[]):
            network: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # the hub's client and damaged files raise many kinds
        fix = "give a file of these weights as start.file, or to embed as --weights"
        raise DataError(f"can't be loaded: {error}", where=f"timm:{name}", fix=fix) from error
    channels = int(network.pretrained_cfg["input_size"][0])
    bands = options.channels(RGB if channels == len(RGB) else None, f"timm:{name}")
    notes = () if options.mean else ("photographs have no physical unit: normalised by the training patches",)
    return replace(
        network_source(
            f"timm:{name}", architecture, network.state_dict(), bands, options.normalisation(bands), notes=notes
        ),
        licence=licence,
    )
