"""`Encoder`: normalised modalities in, `Features` out. `ENCODERS` names those that recipes can choose, besides timm's for rasters."""

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.normalisation import ChannelStatistics
from eofuse.models.parts import Part, channels_of, columns_of, tensors_of
from eofuse.models.piecewise import PiecewiseModality
from eofuse.registry import Registry

if TYPE_CHECKING:
    from eofuse.models.encoders.options import EncoderOptions


class Encoder(nn.Module, ABC):
    """Encodes one modality, or several at once.

    An encoder of one modality has a `forward` of its values. One of several accepts them, and has `features` of its own.

    Args:
        modalities: what it encodes, with channels in the order in which they come.
        pixels: whether a head looks at its maps: the side of each is then that of the padded patch divided by its stride.

    Attributes:
        modalities: what it encodes.
        name: by which recipes choose it.
        sizes: of its features; each subclass sets them.
        pad_to: rasters are padded to a multiple of this many of their own pixels.
        columns: what the inputs of its first layer mean.
        kinds: of the modalities that it accepts.
        own_normalisation: whether it takes physical units, which it normalises by itself, in place of standardised values.
        takes_gaps: whether it takes physical units with NaN where a value is missing, and hides by itself what is missing.
    """

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.RASTER,)
    own_normalisation: ClassVar[bool] = False
    takes_gaps: ClassVar[bool] = False
    sizes: FeatureSizes
    name: str = ""
    pad_to: int = 1

    def __init__(self, modalities: Sequence[Modality] = (), pixels: bool = False) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.columns = tuple(column for modality in modalities for column in columns_of(modality))

    @classmethod
    def make(cls, modalities: Sequence[Modality], pixels: bool, options: "EncoderOptions") -> "Encoder":
        """One of these, untrained; override it for an encoder that has options."""
        return cls(modalities, pixels)

    @classmethod
    def takes(cls, options: "EncoderOptions") -> tuple[str, ...]:
        """What it takes beside modalities, some of `eofuse.modalities.CONTEXT`; nothing by default."""
        return ()

    @classmethod
    def of_size(cls, size: str) -> "type[Encoder]":
        """The encoder of a size, which stands behind a colon of its name.

        Raises:
            UsageError: if there is none; by default, there are no sizes.
        """
        raise UsageError(f"has no size '{size}'", where="fusion", fix="leave out the colon and what follows it")

    @classmethod
    def knows(cls) -> str:
        """What it takes, in words; empty where its kinds say it."""
        return ""

    @property
    def names(self) -> list[str]:
        """Names of the modalities."""
        return [modality.name for modality in self.modalities]

    @property
    def cell(self) -> int:
        """Side of a pixel of its rasters in pixels of the patch."""
        return max((modality.cell for modality in self.modalities), default=1)

    @classmethod
    def accepts(cls, modalities: Sequence[Modality]) -> bool:
        """Whether it can encode these modalities together; by default one, of a kind among `kinds`."""
        return len(modalities) == 1 and modalities[0].kind in cls.kinds

    def features(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Features:
        """Features of its modalities.

        Args:
            inputs: by modality name, (B, C, H, W) for rasters on their own grids, (B, C) for vectors and one-hot categories, (B, T, C)
                for series, (B, T, C, H, W) for image series with features of their times under `Modality.times_key`; standardised,
                with 0 where a value is missing (see `physical`; and `takes_gaps`). And what stands beside them
                (`eofuse.modalities.is_context`).
            present: by modality name, the patches that have it, (B,) bool, each patch one or more of them; None where all have all.
        """
        (modality,) = self.modalities
        values = inputs[modality.name]
        encoded: Features = self(self.physical(modality, values) if self.own_normalisation else values)
        return encoded

    def use_statistics(self, statistics: ChannelStatistics) -> None:
        """Takes the mean and deviation by which its inputs are standardised.

        Raises:
            UsageError: if it takes physical units of numbers that are in pieces.
        """
        for modality in self.modalities if self.own_normalisation else ():
            if isinstance(modality, PiecewiseModality):
                fix = "use numbers: linear"
                raise UsageError("has an encoder that takes physical units", where=modality.name, fix=fix)
            if not modality.is_categorical:
                for name in ("mean", "std"):
                    values = torch.tensor(getattr(statistics, name)[modality.name])
                    self.register_buffer(f"{modality.name}_{name}", values, persistent=False)

    def physical(self, modality: Modality, values: Tensor) -> Tensor:
        """Standardised values in physical units, a missing one as the mean of its channel; codes stay one-hot.

        Of a series only the channels are, not its times and flags (see `Normaliser`).
        """
        if modality.is_categorical:
            return values
        mean, std = (self.get_buffer(f"{modality.name}_{name}") for name in ("mean", "std"))
        if modality.kind is Kind.SERIES:
            time, count = modality.time_width, len(modality.channels)
            numbers = values[..., time : time + count] * std + mean
            return torch.cat([values[..., :time], numbers, values[..., time + count :]], -1)
        if modality.kind is Kind.IMAGE_SERIES:
            numbers = values[:, :, :-1] * std[:, None, None] + mean[:, None, None]
            return torch.cat([numbers, values[:, :, -1:]], 2)
        shape = (1, -1) + (1,) * (values.ndim - 2)
        return values * std.view(shape) + mean.view(shape)

    def tensors_from(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its tensors out of those of a file of weights, by their names in this module; none by default.

        Override it for an encoder whose weights are published: drop prefixes, rename, reshape. What is left out starts fresh.
        """
        return {}

    def published(self) -> list[str]:
        """Names of the tensors that published weights give; none by default."""
        return []

    def layer_numbers(self) -> dict[str, int]:
        """The layer of each tensor, from 0 at the inputs, for learning rates that differ by layer; empty if it is one layer."""
        return {}

    def parts(self, path: str) -> list[Part]:
        """Itself as a part of a model, from which the same encoder of the same modalities can start."""
        channels = tuple(column for modality in self.modalities for column in channels_of(modality))
        identity = (type(self), *self.modalities)
        return [Part(path, "encoder", tensors_of(self, path), channels, identity=identity, layers=self.layer_numbers())]


ENCODERS: Registry[type[Encoder]] = Registry("encoder", "eofuse.encoders", "eofuse.models.encoders")
"""Every encoder that has a name besides timm's, by that name in recipes: a class that is made of (modalities, pixels)."""
