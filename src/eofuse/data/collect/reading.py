"""Assets of items, near or far: each opened once, its pixels read in few requests, and patiently.

A patch needs a window of an asset. Windows that share blocks, or lie so close that little else is between them, are read at once, by
one request where GDAL can merge them, and every patch takes its part of it (`eofuse.data.collect.windows`). Pixels come to the patch
by the one reader of rasters, so they are those of the file's full resolution, whatever overviews it has. Assets are read side by side
in threads; what comes does not depend on their number.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio.errors import RasterioError

from eofuse.data.collect.items import is_remote
from eofuse.data.collect.presets import SIGNERS
from eofuse.data.collect.spec import NetworkOptions
from eofuse.data.collect.windows import MOST_PREFETCHED, Prefetched, clusters_of, pixels_of
from eofuse.data.reading.grid import Grid, transform_places
from eofuse.data.reading.pixels import read_on
from eofuse.data.reading.rasters import PlacedRaster, RasterFile, inspect_raster, open_raster
from eofuse.data.reading.resampling import Values, file_window
from eofuse.data.store.georeference import named_crs
from eofuse.errors import DataError

MOST_OPEN = 128
CACHE_BYTES = 256 * 2**20
EDGE = 1e-6
"""Pixels by which the centre of another one may lie beside a file, by rounding."""

POINTS = 16
"""Points along a side of the outline of a file."""

Result = TypeVar("Result")

_REFUSALS = (400, 401, 403, 404, 405, 410, 416)


@dataclass(frozen=True)
class Wanted:
    """Pixels of an asset for a patch.

    Attributes:
        grid: of the patch.
        place: makes the bands of the file those of a modality, and places them on the grid.
    """

    grid: Grid
    place: Callable[[RasterFile, Grid], PlacedRaster]


@dataclass
class _Handle:
    """An open asset, which one thread uses at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    dataset: Any = None
    file: RasterFile | None = None


class Reader:
    """Reads assets; it is closed by `close`.

    Args:
        network: how patient it is.
    """

    def __init__(self, network: NetworkOptions) -> None:
        self.network = network
        self._handles: OrderedDict[str, _Handle] = OrderedDict()
        self._lock = threading.Lock()
        self.opened = 0

    def header(self, href: str, sign: str, where: str) -> RasterFile:
        """What an asset says of itself.

        Raises:
            DataError: if it can't be opened.
        """

        def look() -> RasterFile:
            with self._using(href, sign, where) as handle:
                assert handle.file is not None
                return handle.file

        return self._patiently(look, href, sign, where)

    def outline(self, href: str, where: str) -> Any:
        """The outline of an asset in longitude and latitude.

        Raises:
            DataError: if it can't be opened, or is not georeferenced.
        """
        grid = self.header(href, "", f"{where}, {href}").grid
        if not grid.crs:
            fix = "georeference the file, or put a .prj file with the reference system beside it"
            raise DataError("has no coordinate reference system", where=f"{where}, {href}", fix=fix)
        steps = np.linspace(0, 1, POINTS, endpoint=False)
        ones, zeros = np.ones(POINTS), np.zeros(POINTS)
        across = np.concatenate([steps, ones, 1 - steps, zeros]) * grid.width
        down = np.concatenate([zeros, steps, ones, 1 - steps]) * grid.height
        places = np.array([grid.place_of(x, y) for x, y in zip(across, down, strict=True)])
        lon, lat = transform_places(grid.crs, named_crs("EPSG:4326"), *places.T)
        if not np.isfinite(lon + lat).all():
            raise DataError("its georeference is no place", where=f"{where}, {href}", fix="georeference the file")
        if not grid.crs.is_geographic:
            lon = np.degrees(np.unwrap(np.radians(lon)))
        return shapely.Polygon(np.column_stack([lon, lat])).buffer(0)

    def read(self, href: str, sign: str, wanted: Sequence[Wanted], where: str) -> list[Values | None]:
        """Pixels of an asset for several patches: (bands, height, width) each, NaN without data; None where it has no pixel.

        Raises:
            DataError: if it can't be read, after so many tries.
        """

        def read() -> list[Values | None]:
            with self._using(href, sign, where) as handle:
                return _read_all(handle, wanted, where)

        return self._patiently(read, href, sign, where)

    def close(self) -> None:
        """Closes all assets."""
        with self._lock:
            for handle in self._handles.values():
                _close(handle)
            self._handles.clear()

    def _patiently(self, action: Callable[[], Result], href: str, sign: str, where: str) -> Result:
        for number in range(1, self.network.tries + 1):
            try:
                return action()
            except DataError as error:
                cause = error.__cause__ or error.__context__
                if not isinstance(cause, RasterioError | OSError):
                    raise
                self._drop(href)
                self._forget(href, sign)
                code = _http_code(cause)
                if not is_remote(href) or code in _REFUSALS or number == self.network.tries:
                    raise _in_words(error, cause, code, href, where, number) from None
            time.sleep(self.network.pause * 2 ** (number - 1))
        raise AssertionError("unreachable")

    @contextmanager
    def _using(self, href: str, sign: str, where: str) -> Iterator[_Handle]:
        """The open asset, for this thread alone."""
        with self._lock:
            handle = self._handles.pop(href, None) or _Handle()
            self._handles[href] = handle  # the last one used is the last one closed
            spare = list(self._handles.items())[: max(0, len(self._handles) - MOST_OPEN)]
        for name, old in spare:
            if old.lock.acquire(blocking=False):
                with self._lock:
                    self._handles.pop(name, None)
                _close(old)
                old.lock.release()
        with handle.lock, rasterio.Env(**self._settings(href)):
            if handle.dataset is None:
                path = gdal_path(_signed(href, sign))
                handle.file = inspect_raster(path, where)
                handle.dataset = open_raster(path, where)
                self.opened += 1
            yield handle

    def _drop(self, href: str) -> None:
        with self._lock:
            handle = self._handles.pop(href, None)
        if handle is not None:
            with handle.lock:
                _close(handle)

    def _forget(self, href: str, sign: str) -> None:
        """Takes what GDAL has of an address out of its cache, which may be half of an answer."""
        if not is_remote(href):
            return
        path = gdal_path(_signed(href, sign))
        settings = {**self._settings(href), "CPL_VSIL_CURL_NON_CACHED": path, "GDAL_HTTP_MAX_RETRY": "0"}
        with rasterio.Env(**settings), suppress(DataError), open_raster(path, href):
            pass  # a file that is not to be cached is forgotten when it is closed

    def _settings(self, href: str) -> dict[str, Any]:
        """Settings of GDAL: as those of `reading_environment`, but patient, and without guesses at files beside a far one."""
        return {
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR" if is_remote(href) else "TRUE",
            "GDAL_NUM_THREADS": "1",
            "GDAL_CACHEMAX": CACHE_BYTES,
            "GTIFF_SRS_SOURCE": "GEOKEYS",
            "GDAL_HTTP_MAX_RETRY": str(self.network.tries - 1),
            "GDAL_HTTP_RETRY_DELAY": str(self.network.pause),
            "GDAL_HTTP_TIMEOUT": str(max(1, round(self.network.timeout))),
            "GDAL_HTTP_CONNECTTIMEOUT": str(max(1, round(self.network.timeout))),
            "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
            "GDAL_HTTP_MULTIPLEX": "YES",
            "CPL_VSIL_CURL_CHUNK_SIZE": "32768",
        }


def gdal_path(href: str) -> str:
    """An address or path as GDAL's files."""
    if href.startswith("s3://"):
        return f"/vsis3/{href.removeprefix('s3://')}"
    if href.startswith(("gs://", "gcs://")):
        return f"/vsigs/{href.partition('://')[2]}"
    if href.startswith(("http://", "https://")):
        return f"/vsicurl/{href}"
    return href.removeprefix("file://")


def _signed(href: str, sign: str) -> str:
    return SIGNERS[sign](href) if sign else href


def _close(handle: _Handle) -> None:
    if handle.dataset is not None:
        with suppress(RasterioError):
            handle.dataset.close()
    handle.dataset = handle.file = None


def _http_code(error: BaseException | None) -> int | None:
    while error is not None:
        if match := re.search(r"HTTP (?:response code|error code)\s*:\s*(\d{3})", str(error)):
            return int(match[1])
        error = error.__cause__ or error.__context__
    return None


def _in_words(error: DataError, cause: BaseException, code: int | None, href: str, where: str, tries: int) -> DataError:
    place = where if href in where else f"{where}, {href}"
    if code in (401, 403):
        fix = "sign the addresses (`sign`), or set the variables of your account (AWS_…, GDAL_HTTP_HEADERS)"
        return DataError(f"the server refuses ({code})", where=place, fix=fix)
    if code == 404 or (not is_remote(href) and not Path(gdal_path(href)).is_file()):
        return DataError("file missing", where=place, fix="see whether the catalogue is up to date")
    if not is_remote(href):
        return DataError(error.what, where=place, fix=error.fix)
    said = f"the server answers {code}" if code else str(cause).partition("\n")[0][:200]
    return DataError(f"can't be read after {tries} tries: {said}", where=place, fix="collect again later (--overwrite)")


def _read_all(handle: _Handle, wanted: Sequence[Wanted], where: str) -> list[Values | None]:
    file, dataset = handle.file, handle.dataset
    assert file is not None
    placed: list[PlacedRaster] = [each.place(file, each.grid) for each in wanted]
    found: list[Values | None] = [None] * len(wanted)
    dtype = np.float32 if np.dtype(file.dtype).itemsize <= 2 or file.dtype == "float32" else np.float64
    block = dataset.block_shapes[0]
    for cluster in clusters_of(file, placed, [each.grid for each in wanted], block):
        bands = sorted({band for number in cluster.members for band in placed[number].bands})
        window = pixels_of(cluster, block, file)
        source = dataset
        if not file.has_palette and window.width * window.height * len(bands) <= MOST_PREFETCHED:
            try:
                masks = file.is_masked and (file.alpha is None or file.alpha.number not in bands)
                source = Prefetched(dataset, bands, window, masks)
            except RasterioError as error:
                raise DataError("can't be read (damaged?)", where=where, fix="fetch the file again") from error
        for number in cluster.members:
            grid = wanted[number].grid
            values = read_on(placed[number], grid, where, source, dtype)
            if values is not None and placed[number].place is None:
                values[:, _beside(file.grid, grid)] = np.nan
            found[number] = values
    return found


def _beside(file: Grid, grid: Grid) -> npt.NDArray[np.bool_]:
    """Pixels of a grid whose centre lies beside a file: what its edge gives them is another file's."""
    window = file_window(file, grid)
    beside = np.zeros((grid.height, grid.width), dtype=bool)
    if window is None or (
        min(window.left, window.top) > 0
        and window.left + window.width < file.width
        and window.top + window.height < file.height
    ):
        return beside
    rows, columns = np.mgrid[: grid.height, : grid.width] + 0.5
    a, b, c, d, e, f = grid.transform[:6]
    x, y = transform_places(
        grid.crs, file.crs, c + columns.ravel() * a + rows.ravel() * b, f + columns.ravel() * d + rows.ravel() * e
    )
    if file.crs.is_geographic:
        middle = file.place_of(file.width / 2, file.height / 2)[0]
        x = middle + (x - middle + 180) % 360 - 180
    a, b, c, d, e, f = (~file.transform)[:6]
    column, row = a * x + b * y + c, d * x + e * y + f
    inside = (column >= -EDGE) & (column <= file.width + EDGE) & (row >= -EDGE) & (row <= file.height + EDGE)
    return np.asarray(~inside).reshape(beside.shape)


def without_scale(file: RasterFile) -> RasterFile:
    """A header that declares no scale, where the item's says what values mean."""
    return replace(file, bands=tuple(replace(band, scale=1.0, offset=0.0) for band in file.bands))
