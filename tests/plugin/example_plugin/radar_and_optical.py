"""`RadarAndOptical`: one encoder of several rasters at once, which normalises them by itself, as foundation models do."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import ENCODERS, Encoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes

SCALES = {"reflectance": (0.0, 0.3), "dB": (-15.0, 10.0)}
"""By unit, what is subtracted from physical values, and by what they are divided then."""


@ENCODERS.register("example_pair")
class RadarAndOptical(Encoder):
    """Adds up tokens of 4 × 4 pixels of each raster that a patch has."""

    own_normalisation = True

    def __init__(self, modalities: Sequence[Modality], pixels: bool = False, width: int = 24) -> None:
        super().__init__(modalities, pixels)
        self.pad_to = 4
        self.tokens = nn.ModuleDict({each.name: nn.Conv2d(each.width, width, 4, 4) for each in modalities})
        self.mix = nn.Conv2d(width, width, 1)
        self.sizes = FeatureSizes(width, [width], [4])

    @classmethod
    def accepts(cls, modalities: Sequence[Modality]) -> bool:
        """Any number of rasters in reflectance or dB."""
        return all(
            modality.kind is Kind.RASTER and {channel.unit for channel in modality.channels} <= SCALES.keys()
            for modality in modalities
        )

    def features(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Features:
        """The sum of the tokens of the rasters, and its mean over the patch."""
        total = torch.zeros(())
        for modality in self.modalities:
            shift, scale = SCALES[modality.channels[0].unit]
            values = (self.physical(modality, inputs[modality.name]) - shift) / scale
            tokens = self.tokens[modality.name](prepare_rasters(values, self.pad_to))
            total = total + (tokens if present is None else tokens * present[modality.name][:, None, None, None])
        level = self.mix(total.relu())
        return Features(level.mean((2, 3)), [level], [4])

    def tensors_from(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those that a file of weights has under `encoder.`."""
        return {name.removeprefix("encoder."): each for name, each in weights.items() if name.startswith("encoder.")}

    def layer_numbers(self) -> dict[str, int]:
        """Tokens first, then what mixes their channels."""
        return {name: int(name.startswith("mix")) for name in self.state_dict()}
