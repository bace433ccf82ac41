"""What computes vectors of samples, `Embedder`, and what a user may say of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Rows
from eofuse.data.store import Store

BATCH = 16
"""Samples that go through a network together."""

Pool = Literal["mean", "groups", "tokens"]
Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EmbedOptions:
    """What a user may say of an embedding; see `eofuse.embedding.make.embed`."""

    model: str
    weights: Path | None = None
    inputs: Sequence[str] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    month: int | None = None
    place: bool = False
    patch: int | None = None
    pool: Pool = "mean"
    seed: int = 0
    non_commercial: bool = False


class Embedder(ABC):
    """Gives vectors of a store's samples.

    Attributes:
        name: of the modality that it makes, where no other is wanted.
        titles: for people: of its vectors, and of those of its twin.
        cell: side in pixels of what one vector stands for, where it gives a raster of them; 0 where it gives one vector a sample.
        facts: how vectors are computed, for the store's provenance.
        history: what the network has learned from, as `history` (see `eofuse.learning.lineage`), where that is known.
    """

    name: str
    titles: tuple[str, str]
    cell: int = 0
    facts: dict[str, Any]
    history: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def vectors(self, rows: Rows, twin: bool, device: torch.device) -> Numbers:
        """(rows, numbers), or (rows, numbers, height, width) of a raster; NaN where there is nothing that the network takes."""

    @abstractmethod
    def channels(self, known: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Names of the numbers that are kept, and their places, given which of them some sample has, (numbers,).

        Raises:
            DataError: if there are none.
        """


def training_rows(store: Store) -> Rows:
    """Rows of the published training part; all where there is none."""
    rows = np.flatnonzero((store.index["split"] == "train").to_numpy())
    return rows if len(rows) > 1 else np.arange(len(store))
