"""`Patches`: a batch on its way through the operations, none of which may write into the tensors of the batch itself.

On the CPU an operation that touches some patches only loops over these; on another device, where a launch costs more than the
arithmetic, it is one kernel for all. Bytes and masks are the same either way. Presence stays on the CPU until the end.

Rasters stay in native dtype while pixels only move. An operation that changes values takes them as float32 in stored units with
NaN for what is missing (`Patches.numbers`); models take both. What is missing becomes the channel's mean, or zeros of a
one-hot encoding, when a model normalises it.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Batch
from eofuse.devices import on_cpu, send
from eofuse.kinds import TaskKind
from eofuse.modalities import Kind, Modality, code_places
from eofuse.tasks.mixed import MixedBatch, Partner

SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""Types with the same bytes, for those with which torch can do next to nothing."""


class Patches:
    """The inputs and targets of a batch, to be changed."""

    def __init__(self, batch: Batch, modalities: Mapping[str, Modality], kinds: Mapping[str, TaskKind]) -> None:
        self.batch = batch
        self.modalities = modalities
        self.kinds = kinds
        self.inputs = dict(batch.inputs)
        self.device = next(iter(batch.inputs.values())).device
        self.present = {name: on_cpu(mask) for name, mask in batch.present.items()}
        self.targets = dict(batch.targets)
        self.partners: dict[str, Partner] | None = None
        self._own: set[str] = set()
        self._numbers: set[str] = set()

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the patches in pixels; None where there are no rasters."""
        return next(
            ((values.shape[-2] * each.cell, values.shape[-1] * each.cell) for _, each, values in self.rasters()), None
        )

    @property
    def cell(self) -> int:
        """Smallest number of pixels that are whole cells of all rasters."""
        return math.lcm(*(modality.cell for _, modality, _ in self.rasters()))

    def rasters(self) -> Iterator[tuple[str, Modality, Tensor]]:
        """Name, modality and values (batch, …, channels, height, width) of each raster and, with an axis of dates, image series."""
        for name, modality in self.modalities.items():
            if modality.has_pixels:
                yield name, modality, self.inputs[name]

    def image_series(self) -> Iterator[Modality]:
        """The modalities that are image series."""
        return (modality for modality in self.modalities.values() if modality.kind is Kind.IMAGE_SERIES)

    @property
    def maps(self) -> list[tuple[str, TaskKind]]:
        """Name and kind of each target with a map."""
        return [(name, self.kinds[name]) for name in self.targets if name in self.kinds and self.kinds[name].is_map]

    @property
    def boxes(self) -> list[str]:
        """Names of the targets with boxes."""
        return [name for name in self.targets if name in self.kinds and self.kinds[name].is_boxes]

    def put(self, name: str, values: Tensor) -> None:
        """New values of a modality; no one else may hold the tensor."""
        self.inputs[name] = values
        self._own.add(name)

    def writable(self, name: str) -> Tensor:
        """The values of a modality, into which `blank` can be written; integers without a value for it become float32."""
        modality, values = self.modalities[name], self.inputs[name]
        if not values.is_floating_point() and not modality.is_categorical and modality.nodata is None:
            return self.numbers(name)
        if name not in self._own:
            self.put(name, values.clone())
        return self.inputs[name]

    def numbers(self, name: str) -> Tensor:
        """The values of a modality without categories as float32 in stored units, NaN where they are missing; writable."""
        modality, values = self.modalities[name], self.inputs[name]
        if name in self._numbers:
            return values
        numbers = values.to(torch.float32, copy=name not in self._own)
        if modality.nodata is not None and not is_looped(self.device):
            numbers.masked_fill_(numbers == modality.nodata, float("nan"))
        elif modality.nodata is not None and numbers.numel():
            flat = numbers.flatten(1)
            without = flat.amin(1) > modality.nodata
            if not bool(without.all()):
                without |= flat.amax(1) < modality.nodata
            for position in (~without).nonzero()[:, 0].tolist():  # a boolean map of all values takes far longer
                numbers[position].masked_fill_(numbers[position] == modality.nodata, float("nan"))
        self.put(name, numbers)
        self._numbers.add(name)
        return numbers

    def blank(self, name: str) -> float:
        """What stands for "missing" in the values of a modality as they are now."""
        modality = self.modalities[name]
        if self.inputs[name].is_floating_point():
            return float("nan")
        if modality.nodata is not None:
            return modality.nodata
        return max(set(range(code_places(modality.categories))) - {category.code for category in modality.categories})

    def need_both(self, name: str, places: int) -> None:
        """A modality is present from now on where the patch and its partner, some places further, both have it."""
        self.present[name] = self.present[name] & self.present[name].roll(-places, 0)

    def result(self) -> Batch:
        """The changed batch; patches to which mixing left no modality count as without targets."""
        batch = self.batch
        present = {name: send(mask, self.device) for name, mask in self.present.items()}
        if self.partners is None:
            return Batch(batch.rows, self.inputs, present, self.targets, batch.valid)
        there = send(torch.stack([self.present[name] for name in self.modalities]).any(0), self.device)
        known = {name: values & there for name, values in batch.valid.items()}
        partners = {name: each._replace(valid=each.valid & there) for name, each in self.partners.items()}
        return MixedBatch(batch.rows, self.inputs, present, self.targets, known, partners)


def is_looped(device: torch.device) -> bool:
    """Whether an operation loops over patches."""
    return device.type == "cpu"


def fill(values: Tensor, where: Tensor, blank: float) -> Tensor:
    """Writes one value into a tensor of any dtype, and gives it back.

    Args:
        values: (patches, …), changed.
        where: bool on its device, of a shape that broadcasts to theirs.
        blank: the value.
    """
    moved = movable(values)
    if moved is not values:
        kind = str(values.dtype).removeprefix("torch.")
        blank = int(np.array(blank).astype(kind).view(kind.removeprefix("u")))
    moved.masked_fill_(where, blank)
    return values


def movable(values: Tensor) -> Tensor:
    """The same bytes in a type in which torch can move them."""
    return values.view(SIGNED[values.dtype]) if values.dtype in SIGNED else values
