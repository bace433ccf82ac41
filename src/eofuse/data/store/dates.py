"""The dates of an image series in a store: `DateTable` knows which belong to a patch, and gathers them into batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.store.index import counts_of, flat_times

Rows = npt.NDArray[np.int64]


class DateTable:
    """Where the dates of each patch stand among those of all patches, and when they were.

    Args:
        index: of the store.
        name: of the image series.

    Attributes:
        offsets: dates in the patches before each, (patches + 1,).
    """

    def __init__(self, index: pd.DataFrame, name: str) -> None:
        self.offsets: Rows = np.cumsum([0, *counts_of(index, name)], dtype=np.int64)
        self._times = flat_times(index, name).astype(np.float32)

    def counts(self, rows: Rows) -> Rows:
        """Number of dates of some patches, (rows,)."""
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])

    def longest(self, rows: Rows) -> int:
        """Most dates that one of some patches has, 1 at least."""
        return int(self.counts(rows).max(initial=1))

    def times(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Times of some patches, (rows, longest), NaN where a patch has fewer dates."""
        counts = self.counts(rows)
        found = np.full((len(rows), counts.max(initial=1)), np.nan, dtype=np.float32)
        exists = np.arange(found.shape[1]) < counts[:, None]
        places = self.offsets[rows, None] + np.arange(found.shape[1])
        found[exists] = self._times[places[exists]]
        return found

    def gather(
        self,
        shards: Sequence[npt.NDArray[Any]],
        per_shard: int,
        rows: Rows,
        out: npt.NDArray[Any],
        channels: Sequence[int] | None,
        area: tuple[slice, slice] | None,
    ) -> npt.NDArray[Any]:
        """Copies the dates of some patches into a batch, each date once, and fills it up with zeros.

        Args:
            shards: (dates, channels, height, width), those of whole patches one after another.
            per_shard: patches in each shard but the last.
            rows: the patches.
            out: (rows, dates, channels, height, width), filled and returned.
            channels: positions of the channels wanted, all for None.
            area: rows and columns of the pixels wanted, all for None.
        """
        offsets = self.offsets
        for position, row in enumerate(rows.tolist()):
            before = offsets[row - row % per_shard]
            dates = shards[row // per_shard][offsets[row] - before : offsets[row + 1] - before]
            if area is not None:
                dates = dates[:, :, area[0], area[1]]
            if channels is None:
                out[position, : len(dates)] = dates
            else:
                for target, channel in enumerate(channels):
                    out[position, : len(dates), target] = dates[:, channel]
            out[position, len(dates) :] = 0
        return out
