"""Geometry: turns and flips, exact to the bit; crops, shifts and changes of size. One draw a patch for all that it has.

A turn is a number from 0 to 7: rows and columns are exchanged if it has the 4, then the columns are reversed if it has the 1, then
the rows if it has the 2. These are the eight symmetries of the square; those without the 4 are the four of a rectangle.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from eofuse.data.targets import IGNORE
from eofuse.data.targets.box_files import PADDING, SMALLEST_SHARE, SMALLEST_SIDE
from eofuse.devices import send
from eofuse.learning.augment.patches import Patches, is_looped, movable

FLIP_COLUMNS, FLIP_ROWS, EXCHANGE = 1, 2, 4

FloatArray = npt.NDArray[np.float64]


def turn_patches(patches: Patches, draw: np.random.Generator, to_numbers: Collection[str] = ()) -> None:
    """Turns each patch by one of the eight turns; by one of the four that keep its shape if it is no square.

    `to_numbers` are rasters that become float32 anyway, which is cheapest on the way.
    """
    if patches.size is None:
        return
    square = patches.size[0] == patches.size[1]
    turns = draw.integers(0, 8 if square else EXCHANGE, len(patches)).tolist()
    places: dict[int, Tensor | None] = {}

    def turned(values: Tensor, cell: int, dtype: torch.dtype) -> Tensor:
        if cell not in places:
            size = (values.shape[-2], values.shape[-1])
            places[cell] = None if is_looped(patches.device) else turned_places(turns, size, patches.device)
        return turn(values, turns, dtype, places[cell])

    for name, modality, values in patches.rasters():
        patches.put(name, turned(values, modality.cell, torch.float32 if name in to_numbers else values.dtype))
    for name, _ in patches.maps:
        patches.targets[name] = turned(patches.targets[name], 1, patches.targets[name].dtype)
    for name in patches.boxes:
        patches.targets[name] = turn_boxes(patches.targets[name], turns, patches.size)


def turned_places(turns: Sequence[int], size: tuple[int, int], device: torch.device) -> Tensor:
    """From which pixel of the patch each pixel of the turned one comes, (patches, height × width)."""
    height, width = size
    numbers = send(torch.tensor(turns), device)[:, None, None]
    rows, columns = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    rows = torch.where((numbers & FLIP_ROWS) > 0, height - 1 - rows, rows)
    columns = torch.where((numbers & FLIP_COLUMNS) > 0, width - 1 - columns, columns)
    return torch.where((numbers & EXCHANGE) > 0, columns * width + rows, rows * width + columns).flatten(1)


def turn(
    values: Tensor, turns: Sequence[int], dtype: torch.dtype | None = None, places: Tensor | None = None
) -> Tensor:
    """Turned maps; bytes only move.

    Args:
        values: (batch, ..., height, width) of any dtype; square if rows and columns are exchanged.
        turns: one a patch, from 0 to 7.
        dtype: of the result, if another is wanted.
        places: from where each pixel comes (see `turned_places`); with it, all patches are turned at once.
    """
    if places is not None:
        maps = movable(values).reshape(len(values), -1, places.shape[1])
        found = maps.gather(2, places[:, None].expand(-1, maps.shape[1], -1)).view(values.dtype)
        return found.view(values.shape).to(dtype or values.dtype)
    source, turned = movable(values), torch.empty(values.shape, dtype=dtype or values.dtype, device=values.device)
    same = turned.dtype == values.dtype
    target = movable(turned) if same else turned
    for position, number in enumerate(turns):
        one = source[position]
        if number & EXCHANGE:
            one = one.transpose(-1, -2)
        axes = [axis for bit, axis in ((FLIP_COLUMNS, -1), (FLIP_ROWS, -2)) if number & bit]
        one = one.flip(axes) if axes else one
        target[position] = one if same else one.view(values.dtype)
    return turned


def turn_boxes(boxes: Tensor, turns: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Boxes (batch, most, 5) turned along with maps of a (height, width); padding stays."""
    height, width = size
    numbers = send(torch.tensor(turns), boxes.device)[:, None, None]
    corners = torch.where((numbers & EXCHANGE) > 0, boxes[..., [1, 0, 3, 2]], boxes[..., :4])
    x0, y0, x1, y1 = corners.unbind(-1)
    across, down = (numbers[..., 0] & FLIP_COLUMNS) > 0, (numbers[..., 0] & FLIP_ROWS) > 0
    x0, x1 = torch.where(across, width - x1, x0), torch.where(across, width - x0, x1)
    y0, y1 = torch.where(down, height - y1, y0), torch.where(down, height - y0, y1)
    turned = torch.cat([torch.stack([x0, y0, x1, y1], -1), boxes[..., 4:]], -1)
    return torch.where(boxes[..., 4:] >= 0, turned, boxes)


@dataclass(frozen=True)
class Windows:
    """Parts of patches, each of which is stretched over the whole patch; what lies outside the patch is missing.

    All are (patches,), in pixels of the patch.
    """

    left: FloatArray
    top: FloatArray
    width: FloatArray
    height: FloatArray

    def places(self, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
        """From where in the patch each column and each row comes, (patches, width) and (patches, height)."""
        columns = self.left[:, None] + (np.arange(size[1]) + 0.5) * self.width[:, None] / size[1]
        rows = self.top[:, None] + (np.arange(size[0]) + 0.5) * self.height[:, None] / size[0]
        return columns, rows

    def in_cells(self, cell: int) -> "Windows":
        """The same parts in pixels of a raster whose pixels are so many times as large."""
        return Windows(self.left / cell, self.top / cell, self.width / cell, self.height / cell)


def crops(count: int, size: tuple[int, int], smallest: float, draw: np.random.Generator) -> Windows:
    """Parts within the patch with a share of its area from the smallest to all, all equally likely.

    Their sides, as shares of the patch's, are in a ratio between 3:4 and 4:3, nearer to 1 where a part would not fit into the patch.
    """
    area = draw.uniform(smallest, 1, count)
    narrowest, widest = np.maximum(np.log(0.75), np.log(area)), np.minimum(np.log(4 / 3), -np.log(area))
    ratio = np.exp(narrowest + (widest - narrowest) * draw.random(count))
    width = size[1] * np.minimum(np.sqrt(area * ratio), 1)  # rounding can lead beyond 1
    height = size[0] * np.minimum(np.sqrt(area / ratio), 1)
    left, top = draw.random((2, count))
    return Windows(left * (size[1] - width), top * (size[0] - height), width, height)


def moves(count: int, size: tuple[int, int], shift: float, scale: float, draw: np.random.Generator) -> Windows:
    """The patch moved by up to a share of its sides in each direction, and larger or smaller by up to a share."""
    factor = 1 / (1 + draw.uniform(-scale, scale, count))
    right, down = draw.uniform(-shift, shift, (2, count))
    width, height = size[1] * factor, size[0] * factor
    return Windows((size[1] - width) / 2 + right * size[1], (size[0] - height) / 2 + down * size[0], width, height)


def resample_patches(patches: Patches, share: float, windows: Windows, draw: np.random.Generator) -> None:
    """Stretches the part of some patches over the whole of them.

    `windows` has a part for each patch of the batch; `share` is the chance of each patch to be stretched.

    Codes and classes are taken from the nearest pixel, numbers are interpolated (see `resample_numbers`). What comes from outside is
    missing: no input, no label. Boxes follow, and are cut as everywhere (see `eofuse.data.targets.box_files`).
    """
    chosen = np.flatnonzero(draw.random(len(patches)) < share)
    if not len(chosen) or patches.size is None:
        return
    windows = Windows(*(side[chosen] for side in (windows.left, windows.top, windows.width, windows.height)))
    to = send(torch.from_numpy(chosen), patches.device)
    for name, modality, _ in patches.rasters():
        if modality.is_categorical:
            values = movable(patches.writable(name))
            values[to] = resample_codes(values[to], windows, int(patches.blank(name)))
        else:
            values = patches.numbers(name)
            values[to] = resample_numbers(values[to], windows.in_cells(modality.cell))
    for name, kind in patches.maps:
        truth = patches.targets[name] = patches.targets[name].clone()
        if kind.is_numbers:
            truth[to] = resample_numbers(truth[to], windows)
        else:
            truth[to] = resample_codes(truth[to], windows, IGNORE)
    for name in patches.boxes:
        truth = patches.targets[name] = patches.targets[name].clone()
        truth[to] = resample_boxes(truth[to], windows, patches.size)


def resample_codes(values: Tensor, windows: Windows, outside: int) -> Tensor:
    """Maps of codes, (patches, ..., height, width), each value from the nearest pixel."""
    height, width = values.shape[-2:]
    columns, rows = windows.places((height, width))
    across, down = (
        send(torch.from_numpy(np.floor(places).astype(np.int64).clip(0, side - 1)), values.device)
        for places, side in ((columns, width), (rows, height))
    )
    flat = (down[:, :, None] * width + across[:, None, :]).flatten(1)
    maps = values.reshape(len(values), -1, height * width)
    found = maps.gather(2, flat[:, None].expand(-1, maps.shape[1], -1)).reshape(values.shape)
    beyond = _beyond(columns, rows, (height, width), values.device).reshape(-1, *[1] * (values.ndim - 3), height, width)
    return found.masked_fill_(beyond, outside)


def resample_numbers(values: Tensor, windows: Windows) -> Tensor:
    """Maps of numbers, (patches, …, height, width) float32, interpolated between the nearest four pixels.

    Pixels that are missing (not finite) count for nothing: the others' weights are scaled to a sum of 1, and where they have less than
    half of it, the result is missing (NaN). What comes from outside is missing.
    """
    if values.ndim > 4:
        return resample_numbers(values.flatten(1, -3), windows).view(values.shape)
    height, width = values.shape[-2:]
    columns, rows = windows.places((height, width))
    across, down = (
        send(torch.from_numpy((2 * places / side - 1).astype(np.float32)), values.device)
        for places, side in ((columns, width), (rows, height))
    )
    grid = torch.stack([across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], 3)
    asked = is_looped(values.device)  # another device would make us wait for its answer
    if asked and torch.isfinite(values.sum()):  # a boolean map of all values takes far longer
        found = _interpolate(values, grid)
    else:
        weight = _interpolate(values.isfinite().float(), grid)
        found = _interpolate(values.nan_to_num(0.0, 0.0, 0.0), grid) / weight
        found.masked_fill_(weight < 0.5, float("nan"))
    beyond = _beyond(columns, rows, (height, width), values.device)
    return found.masked_fill_(beyond[:, None], float("nan")) if not asked or beyond.any() else found


def _interpolate(values: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _beyond(columns: FloatArray, rows: FloatArray, size: tuple[int, int], device: torch.device) -> Tensor:
    """Which pixels come from outside, (patches, height, width)."""
    beside, above = (
        send(torch.from_numpy((places < 0) | (places >= side)), device)
        for places, side in ((columns, size[1]), (rows, size[0]))
    )
    return beside[:, None, :] | above[:, :, None]


def resample_boxes(boxes: Tensor, windows: Windows, size: tuple[int, int]) -> Tensor:
    """Boxes (patches, most, 5) in the pixels of the stretched parts; those of which too little is left become padding."""
    height, width = size
    first = send(torch.from_numpy(np.stack([windows.left, windows.top] * 2, 1)), boxes.device)[:, None]
    factor = send(torch.from_numpy(np.stack([width / windows.width, height / windows.height] * 2, 1)), boxes.device)
    moved = (boxes[..., :4].double() - first) * factor[:, None]
    limits = send(torch.tensor([width, height] * 2, dtype=torch.float64), boxes.device)
    cut = moved.clamp(min=torch.zeros_like(limits), max=limits)
    left, before = cut[..., 2:] - cut[..., :2], moved[..., 2:] - moved[..., :2]
    real = boxes[..., 4] >= 0
    kept = (left >= SMALLEST_SIDE).all(-1) & (left.prod(-1) >= SMALLEST_SHARE * before.prod(-1))
    return drop_boxes(torch.cat([cut.to(boxes.dtype), boxes[..., 4:]], -1), real & kept, real)


def drop_boxes(boxes: Tensor, kept: Tensor, real: Tensor) -> Tensor:
    """Boxes (patches, most, 5) of which only some real ones are kept, (patches, most); the rest is padding."""
    result = boxes.masked_fill(~kept[..., None], 0.0)
    result[..., 4] = torch.where(kept | ~real, boxes[..., 4], PADDING)
    return result
