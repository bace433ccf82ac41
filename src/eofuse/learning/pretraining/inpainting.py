"""`Inpainting`: the middle of the patch is hidden and reconstructed (context encoder, Pathak et al. 2016, without the adversary)."""

from collections.abc import Mapping
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

from eofuse.learning.pretraining.options import METHODS, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.reconstruction import Reconstructing, Reconstruction
from eofuse.learning.pretraining.views import make_view
from eofuse.models.model import Model


class InpaintingOptions(PretrainOptions):
    """Options of `Inpainting`.

    Attributes:
        hole: side of the hidden middle, as a share of the patch's side.
    """

    hole: float = Field(default=0.5, gt=0, lt=1)


@METHODS.register("inpainting")
class Inpainting(Reconstructing):
    """Reconstructs the middle of all rasters from what is around it, and from the inputs without pixels.

    Raises:
        UsageError: if no input is a raster.
    """

    Options = InpaintingOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        assert isinstance(options.pretrain, InpaintingOptions)
        self.module: nn.Module = Reconstruction(model, partial(hide_middle, options.pretrain.hole))
        self.view = make_view(options, model.spec.modalities)


def hide_middle(share: float, normalised: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is hidden: the middle of each raster, with that share of its sides, whatever is `valid`; nothing else."""
    hidden = {}
    for name, values in normalised.items():
        if values.ndim < 4:
            continue
        height, width = (max(1, round(share * side)) for side in values.shape[2:])
        top, left = (values.shape[2] - height) // 2, (values.shape[3] - width) // 2
        hidden[name] = torch.zeros_like(values[:, :1], dtype=torch.bool)
        hidden[name][..., top : top + height, left : left + width] = True
    return hidden
