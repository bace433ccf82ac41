"""`ArrayFile`: a source of data, a NumPy file with the height of the ground of each sample."""

from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.sources import SOURCES, OpenOptions, Samples, Source
from eofuse.errors import DataError
from eofuse.files import sha256
from eofuse.modalities import ELEVATION


@SOURCES.register("example_arrays")
class ArrayFile(Source):
    """A file `.npz` with the arrays `id` (samples,) and `elevation` (samples, 1, height, width)."""

    title = "a file of heights"

    def accepts(self, path: Path) -> bool:
        """Whether it ends in .npz and holds these arrays."""
        if path.suffix != ".npz" or not path.is_file():
            return False
        with np.load(path, allow_pickle=False) as content:
            return {"id", "elevation"} <= set(content)

    def open(self, path: Path, options: OpenOptions) -> Samples:
        """Reads the file."""
        return Heights(path)


class Heights(Samples):
    """The samples of a file."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as content:
            self._heights = content["elevation"]
            ids = content["id"].tolist()
        self.name = path.stem
        self.modalities = (ELEVATION,)
        self.patch_size = self._heights.shape[-2:]
        self.fingerprint = sha256(path)
        self.index = pd.DataFrame({"patch_id": ids})

    def read(self, row: int) -> dict[str, np.ndarray]:
        """The heights of a sample."""
        heights = self._heights[row]
        if heights.min() < -500:
            raise DataError("lies below all land", where=f"sample {self.index['patch_id'][row]}, elevation")
        return {"elevation": heights}
