"""Dropping: a rectangle of all rasters, single bands, dates, whole modalities become missing."""

import numpy as np
import torch
from torch import Tensor

from eofuse.data.targets.box_files import SMALLEST_SHARE
from eofuse.devices import send
from eofuse.learning.augment.geometry import drop_boxes
from eofuse.learning.augment.patches import Patches, fill, is_looped

Rectangle = tuple[int, int, int, int]


def cut_out(patches: Patches, largest: float, draw: np.random.Generator) -> None:
    """Hides a rectangle of each patch, of up to a share of its area, in all rasters; of coarse ones all cells that it touches.

    The pixels have no label there, and boxes of which less than a quarter remains visible are dropped. Labels of whole patches
    stay. After DeVries & Taylor 2017 (arXiv:1708.04552), with the area drawn.
    """
    if patches.size is None:
        return
    areas = draw.uniform(0, largest, len(patches)).tolist()
    rectangles = [rectangle(patches.size, area, draw, largest) for area in areas]
    inside = None if is_looped(patches.device) else pixels_inside(rectangles, patches.size, patches.device)
    for name, modality, _ in patches.rasters():
        if modality.cell == 1:
            _hide(patches.writable(name), rectangles, inside, patches.blank(name))
            continue
        touched = [cells_touched(each, modality.cell) for each in rectangles]
        size = modality.cells(patches.size)
        covered = None if inside is None else pixels_inside(touched, size, patches.device)
        _hide(patches.writable(name), touched, covered, patches.blank(name))
    for name, kind in patches.maps:
        patches.targets[name] = _hide(patches.targets[name].clone(), rectangles, inside, kind.unlabelled)
        if patches.partners and name in patches.partners:
            partner = patches.partners[name]
            truth = _hide(partner.truth.clone(), rectangles, inside, kind.unlabelled)
            patches.partners[name] = partner._replace(truth=truth)
    for name in patches.boxes:
        patches.targets[name] = _hide_boxes(patches.targets[name], rectangles)


def rectangle(size: tuple[int, int], area: float, draw: np.random.Generator, largest: float = 1.0) -> Rectangle:
    """Top, bottom, left, right of a rectangle of a share of a patch, in whole pixels, somewhere in it.

    Its sides, as shares of the patch's, are in a ratio between 1:2 and 2:1, and nearer to 1 where it would not fit into the patch.

    Args:
        size: (height, width) of the patch.
        area: share of the patch, but for rounding.
        draw: of ratio and place.
        largest: share that rounding does not lead beyond.
    """
    longest = np.log(min(2.0, 1 / area)) if area > 0 else 0.0
    ratio = np.exp(draw.uniform(-longest, longest))
    height = min(round(size[0] * (area * ratio) ** 0.5), size[0])
    width = min(round(size[1] * (area / ratio) ** 0.5), size[1])
    if height * width > largest * size[0] * size[1]:
        width = int(largest * size[0] * size[1] / height)
    top, left = int(draw.integers(0, size[0] - height + 1)), int(draw.integers(0, size[1] - width + 1))
    return top, top + height, left, left + width


def cells_touched(rectangle: Rectangle, cell: int) -> Rectangle:
    """The cells, of a side in pixels, that a rectangle touches; none if it is empty."""
    top, bottom, left, right = rectangle
    if top == bottom or left == right:
        return 0, 0, 0, 0
    return top // cell, -(-bottom // cell), left // cell, -(-right // cell)


def pixels_inside(rectangles: list[Rectangle], size: tuple[int, int], device: torch.device) -> Tensor:
    """Which pixels a rectangle covers, (patches, height, width) bool."""
    top, bottom, left, right = send(torch.tensor(rectangles), device)[:, :, None].unbind(1)
    rows, columns = (torch.arange(side, device=device) for side in size)
    down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return down[:, :, None] & across[:, None, :]


def _hide(values: Tensor, rectangles: list[Rectangle], inside: Tensor | None, blank: float) -> Tensor:
    """Maps (patches, …, height, width) with a value in the rectangles, or, if given, at the pixels inside them."""
    if inside is not None:
        return fill(values, inside.view(len(inside), *(1 for _ in values.shape[1:-2]), *inside.shape[1:]), blank)
    for position, (top, bottom, left, right) in enumerate(rectangles):
        values[position, ..., top:bottom, left:right] = blank
    return values


def _hide_boxes(boxes: Tensor, rectangles: list[Rectangle]) -> Tensor:
    top, bottom, left, right = send(torch.tensor(rectangles, dtype=boxes.dtype), boxes.device)[:, :, None].unbind(1)
    x0, y0, x1, y1, label = boxes.unbind(-1)
    across = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp(min=0)
    down = (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp(min=0)
    area = (x1 - x0) * (y1 - y0)
    return drop_boxes(boxes, (label >= 0) & (area - across * down >= SMALLEST_SHARE * area), label >= 0)


def drop_bands(patches: Patches, chance: float, draw: np.random.Generator) -> None:
    """Makes each channel of each raster without categories missing by a chance, but never all of a raster's.

    Of an image series, all dates lack the channel.
    """
    for name, modality, _ in patches.rasters():
        if modality.is_categorical or len(modality.channels) < 2:
            continue
        dropped = _not_all(draw.random((len(patches), len(modality.channels))) < chance, draw)
        if not is_looped(patches.device) and dropped.any():
            values = patches.writable(name)
            sides = (len(patches), *(1 for _ in values.shape[1:-3]), dropped.shape[1], 1, 1)
            fill(values, send(torch.from_numpy(dropped), patches.device).view(sides), patches.blank(name))
            continue
        for position, channel in np.argwhere(dropped).tolist():
            patches.writable(name)[position, ..., channel, :, :] = patches.blank(name)


def drop_dates(patches: Patches, chance: float, draw: np.random.Generator) -> None:
    """Takes each date of each image series away by a chance, but never all that a patch has."""
    for modality in patches.image_series():
        times = patches.inputs[modality.times_key]
        exists = times.isfinite().cpu().numpy()
        dropped = _not_all(draw.random(exists.shape) < chance, draw, exists)
        patches.inputs[modality.times_key] = times.masked_fill(torch.from_numpy(dropped).to(times.device), float("nan"))


def shift_dates(patches: Patches, days: float, draw: np.random.Generator) -> None:
    """Moves all dates of a patch by up to so many days, as if its season had begun earlier or later; all image series alike."""
    moved = torch.from_numpy(draw.uniform(-days, days, len(patches)).astype(np.float32))[:, None]
    for modality in patches.image_series():
        if modality.dated:
            times = patches.inputs[modality.times_key]
            patches.inputs[modality.times_key] = times + moved.to(times.device)


def drop_modalities(patches: Patches, chance: float, draw: np.random.Generator) -> None:
    """Makes each modality of a patch missing by a chance, but never all that it has.

    After Neverova et al., ModDrop, TPAMI 2016.
    """
    names = list(patches.modalities)
    present = torch.stack([patches.present[name] for name in names], 1).cpu().numpy()
    dropped = _not_all(draw.random(present.shape) < chance, draw, present)
    for column, name in enumerate(names):
        there = patches.present[name]
        gone = dropped[:, column]
        patches.present[name] = there & send(torch.from_numpy(~gone), there.device)
        if not is_looped(patches.device) and gone.any():
            values = patches.writable(name)
            where = send(torch.from_numpy(gone), patches.device).view(-1, *(1 for _ in values.shape[1:]))
            fill(values, where, patches.blank(name))
            continue
        for position in np.flatnonzero(gone).tolist():
            patches.writable(name)[position] = patches.blank(name)


def _not_all(dropped: np.ndarray, draw: np.random.Generator, among: np.ndarray | None = None) -> np.ndarray:
    """What is dropped, (patches, things), with one of each patch kept at random if all (among those) were to go."""
    among = np.ones_like(dropped) if among is None else among
    order = np.where(among, draw.random(dropped.shape), -1.0)
    spared = np.arange(dropped.shape[1]) == order.argmax(1)[:, None]
    everything = (dropped | ~among).all(1, keepdims=True)
    kept: np.ndarray = dropped & ~(everything & spared)
    return kept
