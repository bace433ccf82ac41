"""Trained weights to start from: a run of eofuse, a timm name, a torchgeo name or a file; read by `load_source`."""

from pathlib import Path

from eofuse.errors import UsageError
from eofuse.models.pretrained.mapping import Row, map_weights, random_rows
from eofuse.models.pretrained.options import WeightOptions
from eofuse.models.pretrained.source import Source, encoders_source, run_source
from eofuse.models.pretrained.timm_weights import timm_source
from eofuse.models.pretrained.torchgeo_weights import torchgeo_source
from eofuse.models.pretrained.weight_file import file_source, read_weights

__all__ = [
    "Row",
    "Source",
    "WeightOptions",
    "encoders_source",
    "is_path",
    "load_source",
    "map_weights",
    "random_rows",
    "read_weights",
]

NAMED = {"timm": timm_source, "torchgeo": torchgeo_source}
"""Where weights have names; in recipes the name follows a colon."""


def is_path(name: str) -> bool:
    """Whether a source is a file or folder, and no name of weights."""
    return name.partition(":")[0] not in NAMED


def load_source(name: str, encoder: str, options: WeightOptions) -> Source:
    """The weights of a source.

    Args:
        name: `timm:NAME`, `torchgeo:NAME`, a run folder, the folder of a saved model, or a safetensors or `.pth` file.
        encoder: timm name of the network for which they are wanted, which a file does not name.
        options: what the source does not say of them.

    Raises:
        UsageError: if there is no such source.
        DataError: if it can't be read.
    """
    if not is_path(name):
        place, _, rest = name.partition(":")
        return NAMED[place](rest, options)
    path = Path(name)
    if path.is_dir():
        return run_source(path)
    if path.is_file():
        return file_source(path, encoder, options)
    fix = "give a run folder, a weights file, timm:NAME or torchgeo:NAME"
    raise UsageError(f"there is no '{name}'", where="start.from", fix=fix)
