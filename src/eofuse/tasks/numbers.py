"""What numbers a patch and numbers a pixel have in common: they are standardised by the training patches inside the model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eofuse.data.loading import Rows
from eofuse.errors import DataError
from eofuse.models.heads.base import HeadSpec
from eofuse.tasks.base import Array, Task


class Numbers(Task):
    """Prediction of numbers.

    Attributes:
        mean: of each number over the training patches.
        std: deviation of each number over the training patches, 1 where it is constant.
        varies: which numbers are not constant.
    """

    losses: tuple[str, ...] = ("mse", "l1", "huber")

    def standardise_by(self, mean: Array, std: Array) -> None:
        """Takes mean and deviation of each number over the training patches, (numbers,)."""
        self.mean = mean
        self._moments: Tensor | None = None  # mean and deviation on the device of the last truth
        self.varies = std > 1e-6 * np.maximum(np.abs(mean), 1e-6)
        self.std = np.where(self.varies, std, 1.0)

    def check(self, rows: Mapping[str, Rows], where: Path, *, refit: bool) -> list[str]:
        """Numbers must vary over the training patches."""
        if not self.varies.any():
            found = f"'{self.name}' is the same in every training patch"
            raise DataError(found, where=where, fix="choose another target or split, or more labels")
        still = [name for name, varies in zip(self.classes, self.varies, strict=True) if not varies]
        return [f"Numbers that do not vary over the training patches: {', '.join(still)}."] if still else []

    def head(self) -> HeadSpec:
        """Numbers with mean and deviation."""
        return HeadSpec(
            self.kind,
            self.classes,
            tuple(self.mean.tolist()),
            tuple(self.std.tolist()),
            composition=self.target.composition,
            network=self.network,
            unit=self.target.unit,
            fitted=self.fitted,
        )

    def standardised(self, truth: Tensor) -> Tensor:
        """The truth of a batch, (batch, numbers, …), standardised."""
        shape = (-1, *(1 for _ in truth.shape[2:]))
        if self._moments is None or self._moments.device != truth.device:
            self._moments = torch.tensor(np.stack([self.mean, self.std]), dtype=torch.float32, device=truth.device)
        mean, std = (values.view(shape) for values in self._moments)
        standard: Tensor = (truth.float() - mean) / std
        return standard

    def margins(self, spec: HeadSpec, count: int) -> Array:
        """Half widths of the predictive intervals for so many patches, (count, numbers); NaN without them."""
        return np.tile(np.array(spec.margin or [np.nan] * len(self.classes)), (count, 1))


def number_names(name: str, head: HeadSpec) -> list[str]:
    """Names of the columns of a target's numbers: its own if there is one only."""
    return [name] if len(head.classes) == 1 else [f"{name}.{number}" for number in head.classes]
