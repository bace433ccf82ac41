"""Readers of foreign layouts, a file each; all give the same stream of samples.

`Source` is what `eofuse.data.pack` takes.
"""

from typing import Protocol

import numpy as np
import pandas as pd

from eofuse.modalities import Modality


class Source(Protocol):
    """A foreign dataset, indexed: a row a patch, rasters read on demand.

    Attributes:
        name: name of the dataset.
        simulated: whether its pixels are simulated.
        modalities: the modalities that at least one patch has.
        patch_size: (height, width) of every raster in pixels.
        fingerprint: digest of what would be packed; the same for the same files.
        index: a row a patch, in the order of the dataset's own table (columns: see `eofuse.data.store`).
    """

    name: str
    simulated: bool
    modalities: tuple[Modality, ...]
    patch_size: tuple[int, int]
    fingerprint: str
    index: pd.DataFrame

    def read(self, row: int) -> dict[str, np.ndarray]:
        """The rasters that a patch has, by modality: (channels, height, width) in native dtype.

        Raises:
            DataError: naming patch, band and file, if a raster can't be read or is not what it should be.
        """
        ...
