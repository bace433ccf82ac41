"""Images in the cells of Parquet tables, as Hugging Face `datasets` writes them: `{bytes, path}` in a column; see `docs/tables.md`.

An image is one of the formats that GDAL reads (PNG, JPEG, TIFF); of a table, the row is said by `rows` and the column by `variables`.
"""

import os
from functools import lru_cache
from typing import Any

from rasterio.io import MemoryFile

from eofuse.data.reading.formats.base import FILE_FORMATS, FileFormat
from eofuse.data.reading.formats.images import Images
from eofuse.data.reading.rasters import Part, RasterFile, inspect_raster
from eofuse.errors import DataError, did_you_mean
from eofuse.limits import TABLE

OPEN_GROUPS = 2
"""Groups of rows whose images stay in memory."""

FIX = "name files of images as `files`, or columns of numbers as `columns`"


@FILE_FORMATS.register("parquet_images")
class ParquetImages(FileFormat):
    """A table with images in a column."""

    title = "a table with images"
    suffixes = (".parquet",)
    is_table = True

    def inspect(self, path: str, part: Part | None, where: str) -> RasterFile:
        """The header of the image in a row."""
        with CellImage(path, part, where) as image:
            file = inspect_raster(image.name, where)
        return RasterFile(
            path,
            file.grid,
            file.dtype,
            file.bands,
            file.alpha,
            file.is_masked,
            file.is_picture,
            file.has_palette,
            (),
            part,
        )

    def open(self, path: str, part: Part | None, where: str) -> Any:
        """The image in a row."""
        return CellImage(path, part, where)


class CellImage:
    """The image in a cell, open; its attributes are those of the image."""

    def __init__(self, path: str, part: Part | None, where: str) -> None:
        self._memory = MemoryFile(_bytes(path, part or Part(), where))
        self.name = self._memory.name
        try:
            self._image = Images().open(self.name, None, where)
        except BaseException:
            self._memory.close()
            raise

    def __enter__(self) -> "CellImage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)

    def close(self) -> None:
        """Frees the memory."""
        self._image.close()
        self._memory.close()


def image_columns(path: str) -> list[str]:
    """Columns of a Parquet table that hold images; none if it can't be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except (OSError, pyarrow.ArrowException):
        return []
    return [field.name for field in schema if _is_image(field.type)]


def _is_image(kind: Any) -> bool:
    import pyarrow

    if not pyarrow.types.is_struct(kind) or {kind.field(number).name for number in range(kind.num_fields)} != {
        "bytes",
        "path",
    }:
        return False
    stored = kind.field("bytes").type
    return bool(pyarrow.types.is_binary(stored) or pyarrow.types.is_large_binary(stored))


def _bytes(path: str, part: Part, where: str) -> bytes:
    """The encoded image in a row."""
    try:
        state = os.stat(path)  # noqa: PTH116 (a str, for speed)
    except OSError:
        raise DataError("file missing", where=where, fix="add the file, or correct `files`") from None
    columns = _columns(path, state.st_mtime_ns)
    if not columns:
        raise DataError("holds no column of images ({bytes, path})", where=where, fix=FIX)
    if part.variables and part.variables[0] not in columns:
        what = f"holds no images in a column '{part.variables[0]}'"
        raise DataError(what, where=where, fix=did_you_mean(part.variables[0], columns))
    if len(part.variables) > 1 or (not part.variables and len(columns) > 1):
        raise DataError(f"holds images in {', '.join(columns)}", where=where, fix="name one column: variables: NAME")
    if part.row is None:
        raise DataError("holds a row for each sample", where=where, fix="say which is a sample's: rows: COLUMN")
    column = part.variables[0] if part.variables else columns[0]
    starts = _starts(path, state.st_mtime_ns)
    group = next((number for number, end in enumerate(starts[1:]) if part.row < end), None)
    if group is None:
        what = f"has {starts[-1]} rows, so none with the number {part.row} (from 0)"
        raise DataError(what, where=where, fix="correct `rows`, or the table beside it")
    cell = _group(path, state.st_mtime_ns, column, group, where)[part.row - starts[group]]
    if cell is None or cell.get("bytes") is None:
        named = f", only the path {cell['path']}" if cell and cell.get("path") else ""
        raise DataError(f"holds no image in row {part.row}{named}", where=where, fix="embed the images in the table")
    return bytes(cell["bytes"])


@lru_cache(maxsize=256)
def _columns(path: str, changed: int) -> list[str]:
    return image_columns(path)


@lru_cache(maxsize=256)
def _starts(path: str, changed: int) -> list[int]:
    """First row of each group, and the number of rows."""
    import pyarrow.parquet

    about = pyarrow.parquet.read_metadata(path)
    starts = [0]
    for number in range(about.num_row_groups):
        starts.append(starts[-1] + about.row_group(number).num_rows)
    return starts


@lru_cache(maxsize=OPEN_GROUPS)
def _group(path: str, changed: int, column: str, group: int, where: str) -> list[dict[str, Any] | None]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        about = file.metadata.row_group(group)
        columns = [about.column(number) for number in range(about.num_columns)]
        size = sum(each.total_uncompressed_size for each in columns if each.path_in_schema.startswith(f"{column}."))
        TABLE.check(size, "has groups of rows whose images take", where)
        found: list[dict[str, Any] | None] = file.read_row_group(group, columns=[column])[column].to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"can't be read (damaged?): {error}", where=where, fix="fetch the file again") from None
    return found
