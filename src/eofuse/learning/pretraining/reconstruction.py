"""`Reconstruction`: a model that predicts what was hidden from it, for `masked` and `inpainting`.

What is hidden is set to zero after normalisation, which is each channel's mean and what the model takes for a missing value. Values
that are no data (nodata, NaN, absent modalities) are never targets: what the model takes for them is no truth.

The decoder is as light as in SimMIM (Xie et al. 2022), a linear layer from each cell to its pixels, but from every map of the
pyramid, as hierarchical encoders learn better (SparK, Tian et al. 2023). So encoders of any kind fit, and what is learned is in the
encoder.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.learning.augment import Augmentation
from eofuse.learning.pretraining.base import Method
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import refuse_cells
from eofuse.models.model import Model

Hide = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
"""From normalised modalities, and which of their values are data where not all are (as `Normaliser.valid`), to what of them is hidden:
(B, 1, H, W) of rasters and (B, 1) of others, true or false; nothing of those that are not among them."""


class Reconstruction(nn.Module):
    """Hides parts of its inputs and reconstructs them; series stay as they are.

    Raises:
        UsageError: if no input is a raster.
    """

    def __init__(self, model: Model, hide: Hide) -> None:
        super().__init__()
        self.model = model
        self.hide = hide
        series = (Kind.SERIES, Kind.IMAGE_SERIES)
        self.modalities = [each for each in model.normaliser.gives if each.kind not in series]
        self.rasters = [modality for modality in self.modalities if modality.kind is Kind.RASTER]
        if not self.rasters:
            raise UsageError("there are no pixels to reconstruct", where="inputs", fix="name a raster modality")
        refuse_cells(self.rasters, "pixels of all rasters are reconstructed at one resolution")
        if model.normaliser.physical:
            names = ", ".join(sorted(model.normaliser.physical))
            what = f"the encoder of {names} takes physical units, of which nothing can be hidden and reconstructed"
            raise UsageError(what, where="fusion", fix="choose another encoder, or another method")
        sizes = model.fusion.sizes
        self.pad_to = max(stride for size in sizes for stride in size.strides)
        channels = sum(modality.width for modality in self.rasters)
        self.pixels = nn.ModuleList(PixelDecoder(size, channels) for size in sizes)
        self.scalars = nn.ModuleDict(
            {
                modality.name: nn.ModuleList(nn.Linear(size.vector, modality.width) for size in sizes)
                for modality in self.modalities
                if modality.kind is not Kind.RASTER
            }
        )

    def forward(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over the modalities of the error where data were hidden, and by modality name, of a batch in native dtype.

        Modalities of which no hidden value is data do not count; without any, the loss is 0.

        Args:
            inputs: by modality name.
            present: by modality name, the patches that have it, (B,) bool; None where all have all.
        """
        valid = self.model.normaliser.valid(inputs, present)
        normalised, hidden, predicted = self.reconstruct(inputs, valid)
        targets = {name: where & valid[name] if name in valid else where for name, where in hidden.items()}
        errors = {
            modality.name: torch.stack(
                [
                    error_where_hidden(modality, values, normalised[modality.name], targets[modality.name])
                    for values in predicted[modality.name]
                ]
            ).mean()
            for modality in self.modalities
            if modality.name in hidden
        }
        counts = [torch.tensor(True) if name not in valid else targets[name].any() for name in errors]
        found = ranks.summed(
            torch.stack([each.to(errors[name].device) for name, each in zip(errors, counts, strict=True)]).float()
        )
        counted = [error for error, any_data in zip(errors.values(), found.tolist(), strict=True) if any_data]
        loss = torch.stack(counted or list(errors.values())).mean()
        return loss, {name: value.detach() for name, value in errors.items()}

    def reconstruct(
        self, inputs: Mapping[str, Tensor], valid: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, list[Tensor]]]:
        """Hides, and predicts what was hidden: normalised modalities, where they are hidden, and predictions of each set of features.

        Args:
            inputs: by modality name, in native dtype.
            valid: which values are data, see `Hide`.
        """
        normalised = self.model.normaliser(inputs)
        hidden = self.hide(normalised, valid)
        visible = {name: values * ~hidden[name] if name in hidden else values for name, values in normalised.items()}
        padded = {
            name: prepare_rasters(values, self.pad_to) if values.ndim == 4 else values
            for name, values in visible.items()
        }
        features = self.encode(padded, hidden)
        return normalised, hidden, self._decode(features, self.model.size(inputs))

    def encode(self, padded: Mapping[str, Tensor], hidden: Mapping[str, Tensor]) -> list[Features]:
        """Features of what is visible.

        Args:
            padded: normalised modalities with zeros where they are hidden, rasters padded to whole cells.
            hidden: as `Hide` gives it, for rasters without padding.
        """
        features: list[Features] = self.model.fusion(padded)
        return features

    def _decode(self, features: list[Features], size: tuple[int, int]) -> dict[str, list[Tensor]]:
        """Predictions of each modality from each set of features."""
        pixels = [decoder(each, size) for decoder, each in zip(self.pixels, features, strict=True)]
        widths = [modality.width for modality in self.rasters]
        split = [values.split(widths, 1) for values in pixels]
        predicted = {modality.name: [values[place] for values in split] for place, modality in enumerate(self.rasters)}
        for name, layers in self.scalars.items():
            assert isinstance(layers, nn.ModuleList)
            predicted[name] = [layer(each.vector) for layer, each in zip(layers, features, strict=True)]
        return predicted


class Reconstructing(Method):
    """A method whose module is a `Reconstruction`."""

    view: Augmentation

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean error over what is reconstructed, and that of each modality."""
        seen = self.view(batch)
        loss, parts = self.module(seen.inputs, seen.present)
        return loss, parts


class PixelDecoder(nn.Module):
    """Pixels from the maps: a linear layer turns each cell of each map into its pixels, and the maps' pixels are added.

    Of several maps of one stride the deepest is taken.

    The vector is added to the coarsest map, so that it learns, too; where there is no map, all pixels are the same.
    """

    def __init__(self, sizes: FeatureSizes, channels: int) -> None:
        super().__init__()
        self.levels = sorted({stride: level for level, stride in enumerate(sizes.strides)}.values())
        widths = [sizes.maps[level] for level in self.levels]
        strides = [sizes.strides[level] for level in self.levels]
        self.from_vector = nn.Linear(sizes.vector, widths[-1] if widths else channels)
        self.from_maps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels * stride**2, 1), nn.PixelShuffle(stride))
            for width, stride in zip(widths, strides, strict=True)
        )

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """Pixels (B, channels, H, W) of patches of `size`."""
        vector = self.from_vector(features.vector)[:, :, None, None]
        if not self.levels:
            everywhere: Tensor = vector.expand(-1, -1, *size)
            return everywhere
        maps = [features.maps[level] for level in self.levels]
        maps[-1] = maps[-1] + vector
        levels = [layer(level)[..., : size[0], : size[1]] for layer, level in zip(self.from_maps, maps, strict=True)]
        return torch.stack(levels).sum(0)


def error_where_hidden(modality: Modality, predicted: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """Mean error over what was hidden, 0 if nothing was: smooth L1 of normalised values, cross-entropy of categories.

    Args:
        modality: what is predicted.
        predicted: (B, C, …), normalised values or logits.
        truth: normalised, of the same shape; one-hot, with zeros only where there is no category.
        hidden: (B, 1, …), true or false, or (B, C, …) where that differs between the channels.
    """
    if modality.is_categorical:
        error = F.cross_entropy(predicted, truth.argmax(1), reduction="none")[:, None]
        weight = (hidden & truth.any(1, keepdim=True)).float()
    else:
        error = F.smooth_l1_loss(predicted, truth, reduction="none")
        if ranks.are_together():  # of other processes, it may differ between the channels
            hidden = hidden.expand_as(error)
        if hidden.shape[1] == 1:
            error = error.mean(1, keepdim=True)
        weight = hidden.float()
    total, count = ranks.summed(torch.stack([(error * weight).sum(), weight.sum()]))
    mean: Tensor = total / count.clamp(min=1)
    return mean
