"""Batches: which rows, in which order, read how.

The rows of a training step are a pure function of (seed, step), so that an interrupted run goes on with the very batches it would
have seen. A batch is one gather a modality into a preallocated buffer, in native dtype; the next one is read, and sent to the device,
while the current one is used.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from eofuse.data.context import context_of_patches
from eofuse.data.store import Store, Window
from eofuse.data.store.arrays import in_order as in_order
from eofuse.data.targets import Target
from eofuse.devices import send
from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality

if TYPE_CHECKING:  # what only counts and describes needs no torch
    import torch
    from torch import Tensor

Rows = npt.NDArray[np.int64]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Some patches.

    Attributes:
        rows: their rows in the store, (batch,).
        inputs: by modality, native dtype: (batch, channels, height, width), (batch, channels), (batch, steps, 1 + channels) with
            the time first, or (batch,) codes; of an image series (batch, dates, channels, height, width), as many dates as the
            longest has, with their times, (batch, dates), under `<modality>.times`: NaN where a patch has fewer. And what stands
            beside modalities (`eofuse.modalities.is_context`).
        present: by modality, which patches have it, (batch,).
        targets: by target, the truth: (batch,) class numbers; (batch, classes) indicators 0 and 1; (batch, numbers) in their
            unit; (batch, height, width) class numbers of pixels, 255 where there is no label; (batch, numbers, height,
            width) in their unit, NaN where unknown; (batch, most, 5) boxes as x0, y0, x1, y1 in pixels and class number,
            filled up with class -1. What stands for a patch that is not valid is without meaning.
        valid: by target, which patches have it, (batch,).
    """

    rows: Rows
    inputs: "dict[str, Tensor]"
    present: "dict[str, Tensor]"
    targets: "dict[str, Tensor]"
    valid: "dict[str, Tensor]"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def known(self) -> "dict[str, Tensor]":
        """The old name of `valid`."""
        return self.valid

    def to(self, device: "torch.device") -> "Batch":
        """The same batch on a device; on its own device, itself."""
        groups = (self.inputs, self.present, self.targets, self.valid)
        return Batch(self.rows, *({name: send(t, device) for name, t in group.items()} for group in groups))

    def parts(self, count: int) -> "list[Batch]":
        """The batch as so many batches of (nearly) equal size, one after the other, of the same memory."""
        if count == 1:
            return [self]
        groups = (self.inputs, self.present, self.targets, self.valid)
        stretches = [slice(rows[0], rows[-1] + 1) for rows in cut(np.arange(len(self)), count)]
        return [
            Batch(self.rows[each], *({name: _stretch(t, each) for name, t in group.items()} for group in groups))
            for each in stretches
        ]

    def tensors(self) -> "Iterator[Tensor]":
        """All its tensors."""
        for group in (self.inputs, self.present, self.targets, self.valid):
            yield from group.values()


def cut(rows: Rows, count: int) -> list[Rows]:
    """Rows in so many stretches of (nearly) equal length."""
    return np.array_split(rows, count)


def _stretch(values: "Tensor", stretch: slice) -> "Tensor":
    """Some rows of a tensor; of a mask that keeps its copy on the CPU (see `eofuse.devices.send`), with those of the copy."""
    part = values[stretch]
    if hasattr(values, "on_cpu"):
        part.on_cpu = values.on_cpu[stretch]  # type: ignore[attr-defined]
    return part


class Buffers:
    """Memory by name that is filled again and again.

    Args:
        empty: makes an array of a shape and dtype, whatever it holds.
    """

    def __init__(self, empty: Callable[[tuple[int, ...], npt.DTypeLike], np.ndarray] = np.empty) -> None:
        self._empty = empty
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """An array of a shape, of the same memory each time unless it was too short."""
        array = self._arrays.get(name)
        if array is None or len(array) < shape[0]:
            array = self._arrays[name] = self._empty(shape, dtype)
        return array[: shape[0]]


class Loader:
    """Reads batches of chosen modalities and targets from a store.

    The tensors of a batch are views of buffers that the next `read`, or the batch after the next of `batches`, fills again;
    use one loader for one loop. On a device they are copies.

    Args:
        store: the store.
        inputs: modalities wanted, with the names of their channels or None for all.
        targets: targets wanted.
        crop: side of the square in the middle of each patch that is read, the whole patch by default; of whole cells.
        present: by modality, which patches count as having it, (patches,); what the store says by default.
        absent: modalities wanted that the store lacks: no patch has them, and zeros stand for their values.
        context: what is wanted of `eofuse.modalities.CONTEXT`.
        beside: what else stands beside the modalities, by its name, (patches, …).
    """

    def __init__(
        self,
        store: Store,
        inputs: Mapping[str, Sequence[str] | None],
        targets: Mapping[str, Target] | None = None,
        crop: int | None = None,
        *,
        present: Mapping[str, npt.NDArray[np.bool_]] | None = None,
        absent: Mapping[str, Modality] | None = None,
        context: tuple[str, ...] = (),
        beside: Mapping[str, npt.NDArray[np.generic]] | None = None,
    ) -> None:
        self.store = store
        self.targets = dict(targets or {})
        self.absent = dict(absent or {})
        if crop and self.absent and store.patch_size == (0, 0):
            self.window: Window | None = Window(0, 0, crop, crop)
        else:
            self.window = Window.centred(crop, store.patch_size) if crop else None
        self.modalities: dict[str, Modality] = {}
        self._channels: dict[str, list[int] | None] = {}
        for name, channels in inputs.items():
            modality = self.absent[name] if name in self.absent else store.modality(name)
            positions = [modality.channel_index(channel) for channel in channels] if channels else None
            if positions and len(set(positions)) < len(positions):
                raise UsageError("a channel is named twice", where=f"inputs.{name}", fix="name each channel once")
            self._channels[name] = positions
            self.modalities[name] = modality.select(channels) if channels else modality
            if self.window is not None and modality.cell > 1:
                self.window.in_cells(modality)
        nowhere = dict.fromkeys(self.absent, np.zeros(len(store), dtype=bool))
        given = {**(present or {}), **nowhere}
        self._present = {name: given[name] if name in given else store.present(name) for name in self.modalities}
        self._beside = {**context_of_patches(store.index, context), **(beside or {})}
        self._buffers = (Buffers(), Buffers())

    @property
    def patch_size(self) -> tuple[int, int]:
        """(height, width) of the rasters in a batch; (0, 0) where the store has none."""
        return (self.window.height, self.window.width) if self.window else self.store.patch_size

    def present(self, name: str) -> npt.NDArray[np.bool_]:
        """Which patches of the store have an input modality, (patches,)."""
        return self._present[name]

    def complete(self) -> npt.NDArray[np.bool_]:
        """Which patches of the store have every input modality, (patches,)."""
        everywhere = np.ones(len(self.store), dtype=bool)
        return np.asarray(np.logical_and.reduce([everywhere, *self._present.values()]))

    def any_input(self) -> npt.NDArray[np.bool_]:
        """Which patches of the store have an input modality or more, (patches,)."""
        return np.asarray(np.logical_or.reduce(list(self._present.values())))

    def read(self, rows: Rows, buffer: int | Buffers = 0) -> Batch:
        """Reads one batch into the first or the second buffer, or into those given."""
        import torch

        inputs = {name: torch.from_numpy(self.read_array(name, rows, buffer)) for name in self.modalities}
        inputs |= {name: torch.from_numpy(values[rows]) for name, values in self._beside.items()}
        for name, modality in self.modalities.items():
            if modality.kind is Kind.IMAGE_SERIES:
                inputs[modality.times_key] = torch.from_numpy(self.read_times(name, rows))
        present = {name: torch.from_numpy(self._present[name][rows]) for name in self.modalities}
        targets = {name: torch.from_numpy(target.read(rows, self.window)) for name, target in self.targets.items()}
        valid = {name: torch.from_numpy(target.valid[rows]) for name, target in self.targets.items()}
        return Batch(rows, inputs, present, targets, valid)

    def read_array(self, name: str, rows: Rows, buffer: int | Buffers = 0) -> np.ndarray:
        """One input modality of a batch, in the first or the second buffer, or in those given: as in `Batch.inputs`."""
        modality = self.modalities[name]
        buffers = self._buffers[buffer] if isinstance(buffer, int) else buffer
        shape = modality.shape(self.patch_size)
        if modality.kind is Kind.IMAGE_SERIES:  # as many dates as these patches have
            longest = 1 if name in self.absent else self.store.dates(name).longest(rows)
            out = buffers.take(name, (len(rows) * longest, *shape[1:]), modality.dtype)
            out = out.reshape(len(rows), longest, *shape[1:])
        else:
            out = buffers.take(name, (len(rows), *shape), modality.dtype)
        if name in self.absent:
            out[...] = 0
            return out
        return self.store.read(name, rows, out, channels=self._channels[name], window=self.window)

    def batches(self, batches_of_rows: Iterable[Rows], device: "torch.device | None" = None) -> Iterator[Batch]:
        """Batches in order, each read while the one before it is used; with a device, each sent there as well."""
        turns = zip(batches_of_rows, itertools.cycle((0, 1)), strict=False)
        if device is not None and device.type == "cuda":
            from eofuse.data.uploading import Uploads

            return Uploads(device).batches(self, turns)
        read = read_ahead(lambda turn: self.read(*turn), turns)
        return read if device is None else (batch.to(device) for batch in read)

    def read_times(self, name: str, rows: Rows) -> npt.NDArray[np.float32]:
        """Times of an image series of a batch: as in `Batch.inputs`."""
        if name in self.absent:
            return np.full((len(rows), 1), np.nan, dtype=np.float32)
        times = self.store.times(name, rows)
        times[~self._present[name][rows]] = np.nan
        return times


def read_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of a function in order; the next is computed in a thread while the current one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = None
        for item in items:
            coming = pool.submit(function, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


def shuffled_rows(rows: Rows, batch_size: int, seed: int, step: int) -> Rows:
    """Rows of a training step: a stretch of an endless chain of permutations, one an epoch. Pure in (seed, step)."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // len(rows)
    order = {epoch: _permutation(len(rows), seed, epoch) for epoch in np.unique(epochs).tolist()}
    chosen = [order[epoch][place] for epoch, place in zip(epochs.tolist(), positions % len(rows), strict=True)]
    return np.asarray(rows[np.array(chosen)])


def distinct_rows(rows: Rows, batch_size: int, seed: int, step: int) -> Rows:
    """Rows of a training step, no patch twice: each epoch is a permutation whose remainder is left out. Pure in (seed, step).

    There must be at least `batch_size` rows.
    """
    epoch, place = divmod(step, len(rows) // batch_size)
    order = _permutation(len(rows), seed, epoch)
    return np.asarray(rows[order[place * batch_size : (place + 1) * batch_size]])


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> Rows:
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def sampled_rows(rows: Rows, weights: npt.NDArray[np.float64], batch_size: int, seed: int, step: int) -> Rows:
    """Rows of a training step drawn with replacement by weight. Pure in (seed, step)."""
    return drawn_rows(rows, cumulated(weights), batch_size, seed, step)


def cumulated(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulated shares of weights, as `drawn_rows` takes them: computed once for all steps."""
    shares = (weights / weights.sum()).cumsum()
    return np.asarray(shares / shares[-1])


def drawn_rows(rows: Rows, shares: npt.NDArray[np.float64], batch_size: int, seed: int, step: int) -> Rows:
    """What `sampled_rows` gives, from weights that were cumulated before: as NumPy's `Generator.choice` draws."""
    generator = np.random.default_rng([seed, step, 2])
    return np.asarray(rows[shares.searchsorted(generator.random(batch_size), side="right")])


def balancing_weights(target: Target, rows: Rows) -> npt.NDArray[np.float64]:
    """Weight of each row for balanced sampling of classes: one over the count of its class, or of its rarest class.

    Rows without the label weigh as much as the commonest class.
    """
    rarity = 1 / np.maximum(target.counts(rows), 1)
    values = target.values[rows]
    if target.kind.has_several:
        return np.asarray(np.maximum((values * rarity).max(axis=1), rarity.min()))
    return np.asarray(np.where(target.valid[rows], rarity[values], rarity.min()))
