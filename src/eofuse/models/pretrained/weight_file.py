"""Weights from a file: safetensors, or what torch saved of a state dictionary, which is read without executing anything.

What the channels of the first layer are stands in the recipe or beside the file, as `<name>.json`::

    {"bands": ["B01", "B02"], "mean": [0.11, 0.10], "std": [0.05, 0.06]}
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from eofuse.config import merge, parse_options
from eofuse.errors import DataError
from eofuse.files import read_json
from eofuse.models.pretrained.network import network_source
from eofuse.models.pretrained.options import WeightOptions
from eofuse.models.pretrained.source import Source
from eofuse.models.torch_file import load_whole

WITHIN = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which a checkpoint holds the weights, a moving average first."""


def file_source(path: Path, encoder: str, options: WeightOptions) -> Source:
    """The weights of a file.

    Args:
        path: a state dictionary by timm's names, as safetensors or as torch saves it.
        encoder: timm name of the network, which the file does not name.
        options: bands, normalisation and prefix, where the file beside it does not name them.

    Raises:
        DataError: if the file, or the one beside it, can't be read or does not fit the encoder.
        UsageError: if nothing says what the channels are.
    """
    beside = path.with_suffix(".json")
    if beside.is_file():
        named = {key: value for key, value in options.model_dump().items() if value is not None}
        options = parse_options(WeightOptions, merge(_read(beside), named), where=beside)
    bands = options.channels(None, str(path))
    normalisation = options.normalisation(bands)
    notes = (
        () if normalisation else ("nothing says how their inputs were normalised: normalised by the training patches",)
    )
    weights = read_weights(path)
    return network_source(str(path), encoder, weights, bands, normalisation, options.prefix, notes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or `.pth` file, by name; a moving average where the file holds one.

    Of several state dictionaries, each by a name, all are taken, with these names and a dot in front of their own.

    Raises:
        DataError: if the file is missing, damaged, or would execute code.
    """
    from timm.models import clean_state_dict  # see `eofuse.models.encoders.raster`

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):  # timm's checkpoints hold their options so
                content = load_whole(path)
    except Exception as error:  # damaged files make torch and safetensors raise many kinds
        code = re.search(r"Unsupported \w+: GLOBAL (\S+)", str(error))
        if code:
            what = f"can't be read as weights: it holds an object of {code[1]}, whose code would run"
            fix = f"save the tensors alone: torch.save(network.state_dict(), '{path.name}')"
            raise DataError(what, where=path, fix=fix) from error
        fix = "give safetensors, or a .pth or .pt of tensors"
        if "weights_only" in str(error):
            raise DataError("can't be read as weights: it holds more than tensors", where=path, fix=fix) from error
        raise DataError(f"can't be read as weights: {error}", where=path, fix=fix) from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in WITHIN if content.get(key) is not None), content)
    if isinstance(content, Mapping) and all(isinstance(part, Mapping) for part in content.values()):
        content = {f"{part}.{name}": tensor for part, tensors in content.items() for name, tensor in tensors.items()}
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise DataError("holds something else than tensors by name", where=path, fix="save the state dictionary alone")
    return clean_state_dict(dict(content))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", where=path) from None
    if not isinstance(values, dict):
        raise DataError("must be a mapping of bands, mean and std", where=path)
    return values
