"""How far a network looks: the pixels that a prediction depends on, by which windows overlap."""

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from eofuse.inference.ensemble import Ensemble
from eofuse.models.model import Model, example_inputs

SHARE = 0.95
"""Of the influence on a pixel, what lies within the effective radius."""

SEED = 0


@dataclass(frozen=True)
class Reach:
    """How far a network looks around a pixel.

    Attributes:
        radius: pixels that any influence comes from, None if it comes from everywhere in a window.
        effective: pixels within which 95 % of the influence lies (Luo et al. 2016, https://arxiv.org/abs/1701.04128).
        stride: input pixels of a cell of the coarsest map: windows that begin at multiples of it agree exactly.
    """

    radius: int | None
    effective: int
    stride: int


def best_window(model: Ensemble) -> int:
    """Side of the windows for a model of pixels: twice the patches of training, in whole cells, where it is a pyramid of convolutions.

    A network that works at one stride throughout, such as a vision transformer, gets windows of the size of its patches.
    """
    size = min(model.spec.patch_size)
    strides = [set(sizes.strides) for each in model.models for sizes in each.fusion.sizes]
    if any(len(each) == 1 for each in strides):
        return size
    stride = max((max(each) for each in strides if each), default=1)
    return math.ceil(2 * size / stride) * stride


def reach_of(model: Ensemble, size: int) -> Reach:
    """The farthest reach of some models, measured in windows of a size by the gradient of the pixels in the middle.

    Args:
        model: with targets of pixels. It is measured on the CPU wherever it is, so that windows are the same on every device.
        size: side of a window.
    """
    found = [_reach(_on_cpu(each), size) for each in model.models]
    radii = [each.radius for each in found]
    radius = None if None in radii else max(each for each in radii if each is not None)
    return Reach(radius, max(each.effective for each in found), max(each.stride for each in found))


def _on_cpu(model: Model) -> Model:
    is_there = all(tensor.device.type == "cpu" for tensor in (*model.parameters(), *model.buffers()))
    return model if is_there else deepcopy(model).cpu()


def _reach(model: Model, size: int) -> Reach:
    strides = {1, *(stride for sizes in model.fusion.sizes for stride in sizes.strides)}
    stride = int(max(strides))
    middle = size // 2 // stride * stride
    influence = torch.zeros(size, size)
    for place in {middle, min(middle + stride // 2, size - 1), min(middle + stride - 1, size - 1)}:
        rolled = _influence(model, size, place)
        influence = torch.maximum(influence, rolled)
    rows = torch.arange(size)
    span = (middle, min(middle + stride - 1, size - 1))
    away = torch.maximum((span[0] - rows).clamp(min=0), (rows - span[1]).clamp(min=0))
    distance = torch.maximum(away[:, None], away[None])
    touched = influence > 0
    farthest = int(distance[touched].max()) if touched.any() else 0
    total = torch.stack([influence[distance <= radius].sum() for radius in range(size // 2 + 1)])
    effective = int((total < SHARE * total[-1]).sum())
    whole = farthest >= min(middle, size - 1 - span[1])
    radius = (
        farthest + stride - 1
    )  # the pixels of a cell look equally far: one at its left as far to the right as that at its right
    return Reach(None if whole else radius, effective, stride)


def _influence(model: Model, size: int, place: int) -> Tensor:
    """(size, size): how much each pixel of the inputs counts for the prediction at a place on the diagonal."""
    inputs = example_inputs(model.spec.modalities, (size, size))
    generator = torch.Generator().manual_seed(SEED)
    normalised = {
        name: torch.randn(values.shape, generator=generator).requires_grad_()
        for name, values in model.normaliser(inputs).items()
    }
    features = model.fusion(normalised, None)
    found = torch.zeros(size, size)
    outputs = []
    for head_spec, head in zip(model.spec.heads.values(), model.heads, strict=True):
        if head_spec.kind.is_map:
            outputs.append(head(features, (size, size))[..., place, place].square().sum())
    if outputs:
        for gradient in torch.autograd.grad(torch.stack(outputs).sum(), list(normalised.values()), allow_unused=True):
            if gradient is not None and gradient.ndim == 4:  # of an input with pixels
                found += gradient.abs().sum((0, 1))
    return found
