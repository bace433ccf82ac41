"""Mixing: MixUp (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019), with one share a batch.

The partner of a patch is the one some places further in the batch, which is in random order as it is. A second truth is not mixed
into the first: the losses of both are, which serves every kind of target alike.
"""

from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from eofuse.devices import send
from eofuse.learning.augment.dropping import Rectangle, rectangle
from eofuse.learning.augment.patches import Patches, fill, movable
from eofuse.modalities import Kind
from eofuse.tasks.mixed import Partner


def mix_up(patches: Patches, alpha: float, draw: np.random.Generator) -> None:
    """Makes each patch a weighted mean of itself and its partner; the share of the partner is drawn from Beta(alpha, alpha).

    Numbers are averaged in stored units and are missing where one of the two is. Codes, and series (also of images) with days of their
    own, have no mean: those of the whole patch come from the partner, by a chance of its share. The loss is the mean of the losses
    with both truths.
    """
    if len(patches) < 2:
        return
    share, places = float(draw.beta(alpha, alpha)), int(draw.integers(1, len(patches)))
    taken = np.flatnonzero(draw.random(len(patches)) < share)
    for name, modality in patches.modalities.items():
        patches.need_both(name, places)
        if modality.is_categorical or modality.kind in (Kind.CATEGORY, Kind.SERIES, Kind.IMAGE_SERIES):
            for key in modality.keys:
                whole = movable(patches.inputs[key])
                mixed = whole.clone()
                to, of = (
                    send(torch.from_numpy(rows), mixed.device) for rows in (taken, (taken + places) % len(patches))
                )
                mixed[to] = whole[of]
                patches.put(key, mixed.view(patches.inputs[key].dtype))
        else:
            patches.put(name, _mean(patches.numbers(name), places, share))
    patches.partners = {
        name: _partner(patches, name, places, share) for name in patches.targets if name in patches.kinds
    }


def _mean(values: Tensor, places: int, share: float) -> Tensor:
    """Each value averaged with that of the patch some places further, without a copy of these."""
    mixed = torch.empty_like(values)
    torch.lerp(values[:-places], values[places:], share, out=mixed[:-places])
    torch.lerp(values[-places:], values[:places], share, out=mixed[-places:])
    return mixed


def cut_mix(patches: Patches, alpha: float, draw: np.random.Generator) -> None:
    """Pastes a rectangle of the partner into each patch; the share of its area is drawn from Beta(alpha, alpha).

    All rasters and maps of targets get the same rectangle, of whole cells of all of them, at the same place, of the same bytes.
    Vectors and categories stay. The loss of targets of whole patches is the mean of the losses with both truths, by area.
    """
    if len(patches) < 2 or patches.size is None:
        return
    height, width = patches.size
    cell = patches.cell
    cells = (height // cell, width // cell)
    top, bottom, left, right = (cell * side for side in rectangle(cells, float(draw.beta(alpha, alpha)), draw))
    places = int(draw.integers(1, len(patches)))
    share = (bottom - top) * (right - left) / (height * width)
    area = in_cells((top, bottom, left, right), 1)
    for name, modality, _ in patches.rasters():
        values = movable(patches.writable(name))
        own = in_cells((top, bottom, left, right), modality.cell)
        values[own] = values[own].roll(-places, 0)
        patches.need_both(name, places)
    patches.partners = {}
    for name in patches.targets:
        kind = patches.kinds.get(name)
        if kind is not None and kind.is_map:
            truth = patches.targets[name] = patches.targets[name].clone()
            pasted = truth[area].roll(-places, 0)
            unknown = ~patches.batch.valid[name].roll(-places, 0)
            truth[area] = fill(pasted, unknown.view(-1, *(1 for _ in pasted.shape[1:])), kind.unlabelled)
        elif kind is not None:
            patches.partners[name] = _partner(patches, name, places, share)


def in_cells(rectangle: Rectangle, cell: int) -> tuple[EllipsisType, slice, slice]:
    """The part of rasters (…, height, width) with cells of so many pixels that lies in a rectangle of whole cells."""
    top, bottom, left, right = (side // cell for side in rectangle)
    return ..., slice(top, bottom), slice(left, right)


def _partner(patches: Patches, name: str, places: int, share: float) -> Partner:
    truth, known = patches.targets[name], patches.batch.valid[name]
    return Partner(truth.roll(-places, 0), known.roll(-places, 0), share)
