"""Images that GDAL reads: GeoTIFF, JPEG 2000, PNG and JPEG; see `eofuse.data.reading.rasters`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from eofuse.data.reading.formats.base import FILE_FORMATS, FileFormat
from eofuse.data.reading.rasters import (
    FORMATS,
    SIDEWAYS,
    SUFFIXES,
    Part,
    RasterFile,
    inspect_raster,
    open_raster,
    turn_of,
)
from eofuse.errors import DataError


@FILE_FORMATS.register("images")
class Images(FileFormat):
    """One image with its bands."""

    title = f"an image ({FORMATS})"
    suffixes = SUFFIXES

    def inspect(self, path: str, part: Part | None, where: str) -> RasterFile:
        """Its header; see `inspect_raster`."""
        self._refuse(part, where)
        return inspect_raster(path, where)

    def open(self, path: str, part: Part | None, where: str) -> Any:
        """The dataset of rasterio (see `open_raster`), turned if it is a picture of a camera that was held otherwise."""
        dataset = open_raster(path, where)
        turn = turn_of(dataset)
        return dataset if turn == 1 else TurnedPicture(dataset, turn)

    def _refuse(self, part: Part | None, where: str) -> None:
        if part is not None and (part.variables or part.axes or part.row is not None):
            fix = "take variables, rows and axes out of the spec; `bands` names its bands"
            raise DataError("is an image, which holds no arrays with names", where=where, fix=fix)


class TurnedPicture:
    """A picture as its EXIF orientation wants it to be seen; all of it is read for each window.

    Args:
        dataset: of rasterio.
        turn: the orientation, from 2 to 8.
    """

    def __init__(self, dataset: Any, turn: int) -> None:
        self._dataset, self._turn = dataset, turn
        sides = (dataset.width, dataset.height)
        self.width, self.height = sides if turn < SIDEWAYS else sides[::-1]
        self.mask_flag_enums = dataset.mask_flag_enums

    def __enter__(self) -> "TurnedPicture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._dataset.close()

    def colormap(self, number: int) -> Any:
        """The palette of a band."""
        return self._dataset.colormap(number)

    def read(self, bands: Sequence[int] | int, window: Window | None = None) -> npt.NDArray[np.generic]:
        """Pixels of a window of the turned picture, (bands, height, width); of one number (height, width)."""
        return self._turned(self._dataset.read(bands), window)

    def read_masks(self, number: int, window: Window | None = None) -> npt.NDArray[np.generic]:
        """The mask of a band in a window of the turned picture, (height, width)."""
        return self._turned(self._dataset.read_masks(number), window)

    def _turned(self, values: npt.NDArray[np.generic], window: Window | None) -> npt.NDArray[np.generic]:
        if self._turn >= SIDEWAYS:
            values = values.swapaxes(-1, -2)
        down = -1 if self._turn in (3, 4, 7, 8) else 1
        right = -1 if self._turn in (2, 3, 6, 7) else 1
        values = values[..., ::down, ::right]
        if window is None:
            return values
        left, top, width, height = (int(each) for each in window.flatten())
        return values[..., top : top + height, left : left + width]
