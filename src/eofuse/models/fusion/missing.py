"""Modalities that some patches lack: what stands for them (`Tokens`), and which are present (`presence`).

Only the patches that have a modality pass its encoder, so that no made-up input meets batch normalisation; the others get learned
features, one vector and one value a channel of each map. So it is with 0 patches, and with 1.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from eofuse.devices import on_cpu, send
from eofuse.modalities import is_context
from eofuse.models.encoders import Encoder
from eofuse.models.features import Features, FeatureSizes

Present = Mapping[str, Tensor]
"""By modality name, which patches of a batch have it: (B,) bool."""

Rows = Tensor | slice
"""Positions in a batch, or all of it."""


class Tokens(nn.Module):
    """Learned features in place of those of absent modalities.

    Args:
        sizes: of the features of each modality, by name.
    """

    def __init__(self, sizes: Mapping[str, FeatureSizes]) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.vectors = nn.ParameterDict({name: torch.zeros(size.vector) for name, size in sizes.items()})
        self.maps = nn.ParameterDict(
            {
                f"{name}_{level}": torch.zeros(width)
                for name, size in sizes.items()
                for level, width in enumerate(size.maps)
            }
        )

    def encode(
        self, name: str, encode: Callable[[Rows], Features], present: Tensor, size: tuple[int, int] | None
    ) -> Features:
        """Features of a modality, encoded where it is present.

        Args:
            name: the modality.
            encode: features of some rows of the batch.
            present: (B,) bool.
            size: height and width of the padded patches, None to leave out the maps.
        """
        rows = rows_of(present)
        encoded = None
        if len(rows):
            encoded = encode(slice(None) if len(rows) == len(present) else _pair(rows))
        return self.scatter(name, encoded, rows, len(present), size)

    def scatter(
        self, name: str, encoded: Features | None, rows: Tensor, count: int, size: tuple[int, int] | None
    ) -> Features:
        """Features of `count` patches: the encoded ones at their rows, tokens elsewhere.

        Args:
            name: the modality.
            encoded: features of the rows, or of more than these: the first are taken; None if there is no row.
            rows: positions in the batch.
            count: patches of the batch.
            size: height and width of the padded patches, None to leave out the maps.
        """
        vector = _fill(self.vectors[name], None if encoded is None else encoded.vector, rows, (count,))
        strides = self.sizes[name].strides
        if size is None:
            return Features(vector, [], list(strides))
        maps = []
        for level, stride in enumerate(strides):
            given = None if encoded is None else encoded.maps[level]
            sides = (-(-size[0] // stride), -(-size[1] // stride)) if given is None else given.shape[-2:]
            maps.append(_fill(self.maps[f"{name}_{level}"], given, rows, (count, *sides)))
        return Features(vector, maps, list(strides))


def encode_rows(encoder: Encoder, inputs: Mapping[str, Tensor], present: Present | None, rows: Rows) -> Features:
    """Features of some patches of a batch; `present` as in `Encoder.features`, for all of the batch."""
    chosen = {key: inputs[key][rows] for modality in encoder.modalities for key in modality.keys}
    chosen |= {name: values[rows] for name, values in inputs.items() if is_context(name)}
    if present is None or len(encoder.names) == 1:
        return encoder.features(chosen)
    return encoder.features(chosen, {name: present[name][rows] for name in encoder.names})


def encode_present(
    encoder: Encoder,
    inputs: Mapping[str, Tensor],
    present: Present | None,
    tokens: Tokens | None,
    pixels: bool,
    encode: Callable[[Rows], Features] | None = None,
) -> Features:
    """Features of the modalities of an encoder, with tokens for patches that have none of them.

    Args:
        encoder: the encoder.
        inputs: by modality name.
        present: by modality name, the patches that have it, (B,) bool; None where all have all.
        tokens: stand for what is absent; without them, everything is encoded.
        pixels: whether maps are looked at.
        encode: features of some rows of the batch, the encoder's by default.
    """
    encode = encode or partial(encode_rows, encoder, inputs, present if tokens is not None else None)
    if present is None or tokens is None:
        return encode(slice(None))
    raster = next((modality.name for modality in encoder.modalities if modality.has_pixels), None)
    size = None
    if pixels and encoder.sizes.maps and raster:
        height, width = padded_size(inputs[raster], encoder.pad_to)
        size = height * encoder.cell, width * encoder.cell
    any_present = send(torch.stack([on_cpu(present[name]) for name in encoder.names]).any(0), _device_of(present))
    return tokens.encode("+".join(encoder.names), encode, any_present, size)


def presence(present: Present | None, names: Sequence[str], like: Tensor) -> Tensor:
    """Which of B patches have which modalities, (B, modalities): 1 where they do; everywhere without `present`.

    Args:
        present: as in `Fusion.forward`.
        names: the modalities, in order.
        like: (B, …), whose kind of numbers the result has.
    """
    if present is None:
        return like.new_ones(len(like), len(names))
    return torch.stack([present[name] for name in names], 1).to(like)


def rows_of(mask: Tensor) -> Tensor:
    """Positions at which a mask (B,) is true, on its device."""
    return send(on_cpu(mask).nonzero()[:, 0], mask.device)


def _device_of(present: Present) -> torch.device:
    return next(iter(present.values())).device


def _pair(rows: Tensor) -> Tensor:
    """The rows, a single one twice: batch normalisation can't do with one in training, and two alike change nothing else."""
    return rows.repeat(2) if len(rows) == 1 else rows


def padded_size(values: Tensor, multiple: int) -> tuple[int, int]:
    """Height and width of rasters that are padded to a multiple."""
    height, width = values.shape[-2:]
    return height + -height % multiple, width + -width % multiple


def _fill(token: Tensor, encoded: Tensor | None, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B, width, …) with the token everywhere but at the rows."""
    count, *sides = shape
    spread = token.view(1, -1, *(1 for _ in sides)).expand(count, len(token), *sides)
    if encoded is None:
        return spread
    return spread.to(encoded.dtype).index_copy(0, rows, encoded[: len(rows)])
