"""A store as PyTorch sees it: `PatchDataset`, samples and batches for a training loop of one's own.

A sample is a flat mapping: an array for each modality in its native dtype, `present` (by modality, whether the patch has it: of one
that it lacks, the array holds zeros, of a series NaN), `<modality>.times` of an image series (NaN where a patch has fewer dates than
the longest of its batch), `patch_id`, `scene`, `lon` and `lat` (NaN where not known), `row`, and with a
target `target`. Physical values are `array * modality.scale + modality.offset`, and `modality.nodata` marks pixels without a value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eofuse.config import parse_options
from eofuse.data.splits import PARTS, SplitOptions, make_split
from eofuse.data.store import Rows, Store
from eofuse.data.targets import make_target
from eofuse.data.targets.base import TargetOptions
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Kind

Inputs = Sequence[str] | Mapping[str, Sequence[str] | None]
Sample = dict[str, Any]


class PatchDataset(Dataset[Sample]):
    """Patches of a store; make one with `Store.dataset`.

    Args:
        store: the store.
        inputs: modalities, or a mapping from modalities to the channels wanted (None: all); all modalities by default.
        target: what is to be predicted: a name, or the options of a recipe's `task`; patches without it are left out.
        part: `train`, `validation` or `test`; all patches by default.
        split: the options of a recipe's `split`, by which the part is found; whole scenes by default, as in a recipe.
        rows: of the store, in place of a part.
        incomplete: whether patches that lack an input stay; `present` says what they lack.
        style: `eofuse`, or `torchgeo`: samples with `image` (float32: the channels of all rasters in physical units, NaN where
            there are no data) and `label` or `mask`, as torchgeo's data sets have them.

    Attributes:
        rows: of the store, in the order of the samples.
        classes: names of the target's classes or numbers, in the order of its values; empty without a target.

    Raises:
        UsageError: if a modality, channel, target, part or option is unknown.
        DataError: if no patch is left.
    """

    def __init__(
        self,
        store: Store,
        *,
        inputs: Inputs | None = None,
        target: str | Mapping[str, Any] | None = None,
        part: str | None = None,
        split: Mapping[str, Any] | None = None,
        rows: Sequence[int] | Rows | pd.Series | None = None,
        incomplete: bool = False,
        style: Literal["eofuse", "torchgeo"] = "eofuse",
    ) -> None:
        if style not in ("eofuse", "torchgeo"):
            raise UsageError(f"there is no style '{style}'", where="style", fix="choose eofuse or torchgeo")
        self.store, self.style = store, style
        named = dict.fromkeys(store.modalities) if inputs is None else inputs
        chosen = named if isinstance(named, Mapping) else dict.fromkeys(named)
        self._channels: dict[str, list[int] | None] = {}
        for name, channels in chosen.items():
            modality = store.modality(name)
            self._channels[name] = [modality.channel_index(each) for each in channels] if channels else None
        self._target = None
        if target is not None:
            options = {"target": target} if isinstance(target, str) else target
            self._target = make_target(store, parse_options(TargetOptions, options, "target"))
        self.classes: tuple[str, ...] = self._target.classes if self._target is not None else ()
        if rows is not None and (part is not None or split is not None):
            raise UsageError("rows and a part are both given", where="rows", fix="leave one of them out")
        wanted = np.asarray(rows, dtype=np.int64) if rows is not None else _rows_of(store, part, split)
        if not incomplete:
            wanted = wanted[np.logical_and.reduce([store.present(name)[wanted] for name in self._channels])]
        if self._target is not None:
            wanted = wanted[self._target.valid[wanted]]
        if not len(wanted):
            raise DataError("no patch is left", where=store.path, fix="choose other inputs, target or part")
        self.rows: Rows = wanted

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        target = f" → {self._target.name}" if self._target is not None else ""
        return f"PatchDataset({len(self)} patches of {str(self.store.path)!r}: {', '.join(self._channels)}{target})"

    def __getitem__(self, position: int) -> Sample:
        """The sample at a position."""
        sample: Sample = _Gathered(self._gather([position]))[0]
        return sample

    def __getitems__(self, positions: Sequence[int]) -> "_Gathered":
        """Samples that are read together, in one pass a modality: what a `DataLoader` asks for."""
        return _Gathered(self._gather(positions))

    def loader(self, batch_size: int = 32, *, shuffle: bool = False, **options: Any) -> DataLoader[Sample]:
        """A `DataLoader` whose batches are read in one pass and not copied again.

        Args:
            batch_size: patches of a batch.
            shuffle: whether the order is drawn anew for each epoch.
            options: further ones of `torch.utils.data.DataLoader`.
        """
        return DataLoader(self, batch_size, shuffle=shuffle, **{"collate_fn": as_batch, **options})

    def _gather(self, positions: Sequence[int]) -> Sample:
        rows = self.rows[np.asarray(positions, dtype=np.int64)]
        batch: Sample = {
            name: torch.from_numpy(self.store.read(name, rows, channels=channels))
            for name, channels in self._channels.items()
        }
        for name in self._channels:
            modality = self.store.modality(name)
            if modality.kind is Kind.IMAGE_SERIES:
                batch[modality.times_key] = torch.from_numpy(self.store.times(name, rows))
        batch["present"] = {name: torch.from_numpy(self.store.present(name)[rows]) for name in self._channels}
        index = self.store.index
        batch |= {name: index[name].to_numpy()[rows].tolist() for name in ("patch_id", "scene")}
        batch |= {name: torch.from_numpy(index[name].to_numpy(dtype=np.float64)[rows]) for name in ("lon", "lat")}
        batch["row"] = torch.from_numpy(rows)
        if self._target is not None:
            batch["target"] = torch.from_numpy(self._target.read(rows))
        return self._as_torchgeo(batch) if self.style == "torchgeo" else batch

    def _as_torchgeo(self, batch: Sample) -> Sample:
        """A batch with the keys of torchgeo's samples."""
        images = []
        for name in self._channels:
            modality = self.store.modality(name)
            if modality.kind is not Kind.RASTER:
                fix = "name rasters as inputs, or leave style out"
                raise UsageError(f"has no image: it is a {modality.kind.value}", where=name, fix=fix)
            if modality.cell > 1:
                what = f"has cells of {modality.cell} pixels, and the channels of an image have one grid"
                raise UsageError(what, where=name, fix="leave it out, or leave style out")
            values = batch[name].to(torch.float32)
            missing = (
                values == modality.nodata if modality.nodata is not None else torch.zeros_like(values, dtype=torch.bool)
            )
            if not modality.is_categorical:
                values = values * modality.scale + modality.offset
            images.append(values.masked_fill(missing, torch.nan))
        sample: Sample = {"image": torch.cat(images, 1)}
        if self._target is not None:
            truth = batch["target"]
            is_number = truth.dtype.is_floating_point
            sample["mask" if self._target.kind.is_map else "label"] = truth if is_number else truth.to(torch.int64)
        return sample | {name: batch[name] for name in ("patch_id", "lon", "lat", "row")}


class _Gathered(Sequence[Sample]):
    """Samples that are views of one batch."""

    def __init__(self, batch: Sample) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["row"])

    def __getitem__(self, position: Any) -> Any:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        if "present" not in self.batch:
            return {name: values[position] for name, values in self.batch.items()}
        present = {name: values[position] for name, values in self.batch["present"].items()}
        return {name: values[position] for name, values in self.batch.items() if name != "present"} | {
            "present": present
        }


def as_batch(samples: _Gathered) -> dict[str, Tensor]:
    """The batch of samples that were read together: the `collate_fn` of `PatchDataset.loader`."""
    return samples.batch


def _rows_of(store: Store, part: str | None, split: Mapping[str, Any] | None) -> Rows:
    """Rows of a part, or all."""
    if part is None:
        if split is not None:
            raise UsageError("a split without a part", where="split", fix="say which part: train, validation or test")
        return np.arange(len(store))
    if part not in PARTS:
        raise UsageError(f"there is no part '{part}'", where="part", fix=did_you_mean(part, PARTS))
    return make_split(store.index, parse_options(SplitOptions, split or {}, "split")).parts()[part]
