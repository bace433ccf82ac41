"""`ImageSeriesEncoder`: one network for the image of each date, and a temporal encoder over what it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from eofuse.modalities import Kind, Modality
from eofuse.models.encoders.base import Encoder
from eofuse.models.encoders.raster import prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.normalisation import ChannelStatistics
from eofuse.models.parts import Part, tensors_of
from eofuse.models.temporal import TEMPORAL, Dates

AT_ONCE = 256
"""Images that are encoded at once in evaluation."""


class ImageSeriesEncoder(Encoder):
    """Encodes the image of each date with shared weights, then the series of their features.

    Only dates that exist and show a pixel are encoded: what fills up a batch costs nothing and meets no batch norm.

    Args:
        modalities: one image series, as the normaliser gives it.
        temporal: name of the temporal encoder.
        image: encoder of the images, of the raster that `image_of` gives.
        pixels: whether a head looks at its maps; without, it has none.
    """

    kinds = (Kind.IMAGE_SERIES,)

    def __init__(self, modalities: Sequence[Modality], temporal: str, image: Encoder, pixels: bool = False) -> None:
        super().__init__(modalities, pixels)
        (self.modality,) = self.modalities
        self.image = image
        self.name = f"{temporal}:{image.name}"
        self.sizes = image.sizes if pixels else FeatureSizes(image.sizes.vector)
        self.temporal = TEMPORAL[temporal](self.sizes, self.modality.time_width)
        self.temporal_name = temporal
        self.pad_to = image.pad_to

    def features(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Features:
        """Features of (B, T, C + 1, H, W) images, whose last plane says what is known, with features of their times beside them."""
        features: Features = self.temporal(self.dates(inputs[self.modality.name], inputs[self.modality.times_key]))
        return features

    def dates(self, values: Tensor, times: Tensor) -> Dates:
        """What the network for images gives for each date.

        Args:
            values: (B, T, C + 1, H, W), as in `features`.
            times: (B, T, K).
        """
        count = values.shape[:2]
        known = values[:, :, -1:]
        valid = known.flatten(2).amax(2) > 0
        places = valid.flatten().nonzero()[:, 0]
        chosen = places.repeat(2) if len(places) == 1 else places  # batch normalisation can't do with one in training
        if not len(places):  # two dates without values: only their shapes are used
            chosen = places.new_zeros(2)
        images = prepare_rasters(values.flatten(0, 1)[chosen, :-1], self.pad_to)
        encoded = self._encode(images)
        vectors = _spread(encoded.vector, places, count)
        maps = [_spread(level, places, count) for level in encoded.maps] if self.sizes.maps else []
        shown = known if maps and not bool((known.flatten(2).amin(2) > 0).eq(valid).all()) else None
        if shown is not None:
            below, right = (images.shape[-2] - shown.shape[-2], images.shape[-1] - shown.shape[-1])
            shown = F.pad(shown, (0, right, 0, below))
        return Dates(vectors, maps, list(self.sizes.strides), times, valid, shown)

    def _encode(self, images: Tensor) -> Features:
        """Features of images (N, C, H, W), in evaluation some at a time: a batch of patches has many dates."""
        at_once = len(images) if self.training else AT_ONCE
        portions = [images[start : start + at_once] for start in range(0, len(images), at_once)]
        found = [self.image.features({self.modality.name: portion}) for portion in portions]
        maps = [torch.cat(level) for level in zip(*(each.maps for each in found), strict=True)]
        return Features(torch.cat([each.vector for each in found]), maps, found[0].strides)

    def use_statistics(self, statistics: ChannelStatistics) -> None:
        """Gives the network for images the mean and deviation by which its inputs are standardised."""
        self.image.use_statistics(statistics)

    def parts(self, path: str) -> list[Part]:
        """The network for images, which can start from any other of its kind, and the temporal encoder."""
        tensors = tensors_of(self.temporal, f"{path}.temporal")
        identity = (self.name, self.modality.time_width)
        temporal = [Part(f"{path}.temporal", "temporal", tensors, identity=identity)] if tensors else []
        return [*self.image.parts(f"{path}.image"), *temporal]


def image_of(modality: Modality) -> Modality:
    """One date of an image series, as a raster."""
    return replace(modality, kind=Kind.RASTER, steps=None, dated=False)


def _spread(encoded: Tensor, places: Tensor, count: torch.Size) -> Tensor:
    """Features of some dates (N, …) at their places in a batch, (B, T, …); zeros elsewhere."""
    spread = encoded.new_zeros(count.numel(), *encoded.shape[1:])
    return spread.index_copy(0, places, encoded[: len(places)]).view(*count, *encoded.shape[1:])
