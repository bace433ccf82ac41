"""A network's weights by timm's own names as a `Source` whose only part is an encoder."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eofuse.errors import DataError, UsageError
from eofuse.modalities import Channel
from eofuse.models.encoders import RasterEncoder, first_convolution
from eofuse.models.encoders.raster import raster_part
from eofuse.models.parts import Column
from eofuse.models.pretrained.source import Source, Statistics

PHOTOGRAPH = 3
"""Channels for which timm builds a network by default."""

NUMBERED_FROM = 1000
"""Tensors are numbered from here on, which no initial weights have."""


def network_source(
    title: str,
    encoder: str,
    weights: Mapping[str, Tensor],
    bands: Sequence[Channel],
    normalisation: Sequence[tuple[float, float]] | None,
    prefix: str | None = None,
    notes: tuple[str, ...] = (),
) -> Source:
    """The source made of a network's weights.

    Args:
        title: where they are from, for people.
        encoder: timm name of the network.
        weights: by timm's names, which may all begin with a prefix.
        bands: what the channels of its first layer are, in their order.
        normalisation: mean and deviation of each band in physical units, None where they are unknown.
        prefix: of the names of the tensors that are wanted; found out without it.
        notes: what else a reader of the table must know.

    Raises:
        UsageError: if the bands are not as many as the first layer takes, one is named twice, or timm has no such network.
        DataError: if the weights don't fit the network, or hold several.
    """
    columns = [Column(None, band) for band in bands]
    for position, column in enumerate(columns):
        if any(column.fits(other) for other in columns[:position]):
            raise UsageError(f"the band '{column}' is named twice", where=title)
    wanted, start = _without_prefix(title, encoder, weights, len(bands), prefix)
    try:
        loaded = _build(encoder, len(bands), wanted)
        numbers = {
            name: torch.full_like(tensor, NUMBERED_FROM + number)
            for number, (name, tensor) in enumerate(wanted.items())
            if tensor.dtype != torch.bool
        }
        names = list(wanted)
        traced = _build(encoder, len(bands), numbers).state_dict()
    except UsageError as error:  # timm refused the weights
        raise DataError(f"does not fit the encoder '{encoder}': {error}", where=title) from error
    tensors, inner = {}, {}
    for name, tensor in loaded.state_dict().items():
        number = round(float(traced[name].float().mean())) - NUMBERED_FROM if traced[name].numel() else -1
        if 0 <= number < len(names):
            origin = start + names[number]
            origin = origin if origin not in tensors else f"{origin} ({name})"
            tensors[origin], inner[name] = tensor, origin
    tensors = tensors | {name: tensor for name, tensor in weights.items() if name not in tensors}
    part = raster_part("network", encoder, inner, tuple(columns), *first_convolution(loaded))
    statistics: Statistics = {} if normalisation is None else dict(zip(columns, normalisation, strict=True))
    return Source(title, [part], tensors, statistics, notes)


def _build(encoder: str, bands: int, weights: Mapping[str, Tensor]) -> RasterEncoder:
    """The encoder with these weights; timm's remarks on what it leaves out are in the table of the transfer."""
    remarks = logging.getLogger("timm.models._builder")
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        with torch.random.fork_rng(devices=[]):
            return RasterEncoder(encoder, bands, weights=weights)
    finally:
        remarks.setLevel(level)


def _without_prefix(
    title: str, encoder: str, weights: Mapping[str, Tensor], bands: int, prefix: str | None
) -> tuple[dict[str, Tensor], str]:
    """The tensors of the network by their names without the prefix, and the prefix."""
    import timm  # see `eofuse.models.encoders.raster`

    if not timm.is_model(encoder):
        raise UsageError(f"is for '{encoder}', which is no network of timm", where=title, fix="choose other weights")
    with torch.random.fork_rng(devices=[]):
        plain = timm.create_model(encoder, num_classes=0)
    names = list(plain.state_dict())
    path, first = first_convolution(plain)
    stem = f"{path}.weight"
    starts = {name.removesuffix(stem) for name in weights if name.endswith(stem)} if prefix is None else {prefix}
    counts = {start: sum(start + name in weights for name in names) for start in starts}
    best = [start for start, count in counts.items() if count == max(counts.values()) and count]
    if not best:
        fix = "set fusion.encoder to the network of the weights, or name the prefix of its tensors"
        raise DataError(f"has no tensors of the encoder '{encoder}'", where=title, fix=fix)
    if len(best) > 1:
        found = ", ".join(f"'{start}'" for start in sorted(best))
        raise DataError(f"holds several networks: {found}", where=title, fix="name one of them as start.prefix")
    wanted = {name.removeprefix(best[0]): weights[name] for name in weights if name.startswith(best[0])}
    plainly = first is not None and first.in_channels == PHOTOGRAPH and first.groups == 1 and stem in wanted
    if plainly and wanted[stem].shape[1] != bands:
        found = f"its first layer takes {wanted[stem].shape[1]} channels, and {bands} bands are named"
        raise UsageError(found, where=title, fix="name them all, in their order, as start.bands")
    return wanted, best[0]
