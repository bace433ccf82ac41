"""Readers of foreign layouts, a file each; all give the same stream of samples.

`Source` is what `eofuse.data.store.pack` takes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from eofuse.data.problems import Problem
from eofuse.modalities import Modality


class Source(Protocol):
    """A foreign dataset, indexed: a row a patch, rasters and series read on demand."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether its pixels are simulated."""
        ...

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that at least one patch has."""
        ...

    @property
    def patch_size(self) -> tuple[int, int]:
        """(height, width) of every raster in pixels; (0, 0) where there are none."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of what would be packed; the same for the same files."""
        ...

    @property
    def index(self) -> pd.DataFrame:
        """A row a patch, in the order of the dataset's own table (columns: see `eofuse.data.store`)."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What indexing found wrong."""
        ...

    def read(self, row: int) -> dict[str, np.ndarray]:
        """The rasters and series that a patch has, by modality, in native dtype.

        A raster is (channels, height, width), a series (steps, 1 + channels) as the store holds it.

        Raises:
            DataError: naming patch, band and file, if one can't be read or is not what it should be.
        """
        ...
