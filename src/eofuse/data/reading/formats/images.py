"""Images that GDAL reads: GeoTIFF, JPEG 2000, PNG and JPEG; see `eofuse.data.reading.rasters`."""

from typing import Any

from eofuse.data.reading.formats.base import FILE_FORMATS, FileFormat
from eofuse.data.reading.rasters import FORMATS, SUFFIXES, Part, RasterFile, inspect_raster, open_raster
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
        """The dataset of rasterio; see `open_raster`."""
        return open_raster(path, where)

    def _refuse(self, part: Part | None, where: str) -> None:
        if part is not None and (part.variables or part.axes or part.row is not None):
            fix = "take variables, rows and axes out of the spec; `bands` names its bands"
            raise DataError("is an image, which holds no arrays with names", where=where, fix=fix)
