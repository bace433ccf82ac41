"""`Early`: all channels together before one encoder; numbers, series and categories become constant planes."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import Encoder, build_encoder, encoder_type
from eofuse.models.encoders.cells import CELLS
from eofuse.models.features import Features
from eofuse.models.fusion.base import FUSIONS, Fusion, FusionOptions, refuse_image_series, split_kinds
from eofuse.models.fusion.missing import Present, presence
from eofuse.models.parts import Column, columns_of, presence_columns


@FUSIONS.register("early")
class Early(Fusion):
    """Concatenates everything at the input.

    Vectors, one-hot categories and series, step after step, join the rasters as planes, each filled with its value ("blow-up").
    Where there is no raster, they are concatenated and encoded together. Rasters with cells are enlarged to the finest grid among
    them. With `missing: token`, absent modalities have a learned
    value a channel, and one more plane for each modality says where it is present.

    Raises:
        UsageError: if the encoder takes physical units, which planes have not; or for an image series, which has no planes.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        why = "patches have other numbers of dates at other times, and it has one plane for each channel"
        refuse_image_series(modalities, "early", why)
        rasters, scalars = split_kinds(modalities)
        self.rasters = [modality.name for modality in rasters]
        self.scalars = [modality.name for modality in scalars]
        widths = {modality.name: modality.width * (modality.steps or 1) for modality in rasters + scalars}
        self.cells = {modality.name: modality.cell for modality in rasters}
        self.cell = math.gcd(*self.cells.values()) or 1
        self.tokens: nn.ParameterDict | None = None
        columns = tuple(column for modality in rasters + scalars for column in columns_of(modality))
        if options.missing == "token":
            self.tokens = nn.ParameterDict({name: torch.zeros(channels) for name, channels in widths.items()})
            columns += presence_columns(list(widths))
        name = options.encoder if self.cell == 1 else CELLS
        self.encoder = _stack_encoder(name, [*rasters, *scalars], columns, self.cell if rasters else 0, pixels)
        self.sizes = [self.encoder.sizes]

    @classmethod
    def takes_pieces(cls, modalities: Sequence[Modality]) -> bool:
        """Whether numbers can come in pieces: not where there would be a plane of each."""
        return not any(modality.kind is Kind.RASTER for modality in modalities)

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of the stack of all modalities."""
        return [self.encoder(self.stack(inputs, present))]

    def stack(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> Tensor:
        """The encoder's input: (B, C, H, W) with rasters first, then planes, or (B, C) where there is no raster."""
        rasters = [
            enlarged(self._or_token(name, inputs[name], present), self.cells[name] // self.cell)
            for name in self.rasters
        ]
        scalars = [self._or_token(name, inputs[name].flatten(1), present) for name in self.scalars]
        if self.tokens is not None:
            scalars.append(presence(present, self.rasters + self.scalars, (rasters + scalars)[0]))
        if not rasters:
            return torch.cat(scalars, 1)
        height, width = rasters[0].shape[-2:]
        planes = [values[:, :, None, None].expand(-1, -1, height, width) for values in scalars]
        return torch.cat(rasters + planes, 1)

    def _or_token(self, name: str, values: Tensor, present: Present | None) -> Tensor:
        if present is None or self.tokens is None:
            return values
        shape = (-1,) + (1,) * (values.ndim - 1)
        return torch.where(present[name].view(shape), values, self.tokens[name].view(1, *shape[:1], *shape[2:]))


def enlarged(values: Tensor, factor: int) -> Tensor:
    """Rasters (B, C, H, W) whose pixels are repeated along both sides."""
    return values if factor == 1 else values.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def _stack_encoder(
    name: str, modalities: Sequence[Modality], columns: tuple[Column, ...], cell: int, pixels: bool
) -> Encoder:
    """The encoder of the stack of all channels, which it sees as one modality: planes with cells, or numbers where these are 0."""
    kind = Kind.RASTER if cell else Kind.VECTOR
    stack = Modality("stack", kind, tuple(column.channel for column in columns), cell=cell or 1)
    found = encoder_type(name) if cell else None
    if found is not None and (found.own_normalisation or found.takes_gaps):
        fix = "choose another encoder, or another strategy"
        raise UsageError(f"the encoder '{name}' takes physical units, not stacked channels", where="fusion", fix=fix)
    encoder = build_encoder(name if cell else "perceptron", [stack], pixels)
    encoder.modalities, encoder.columns = tuple(modalities), columns
    return encoder
