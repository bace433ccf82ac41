"""Reads a CSV or Parquet table, or the features of a file of shapes as one, and finds its columns by name."""

import bz2
import gzip
import io
import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.limits import TABLE

PARQUET = (".parquet", ".geoparquet", ".pq")
VECTORS = (".gpkg", ".shp", ".fgb", ".geojson")
UNREADABLE = (
    OSError, ValueError, EOFError, MemoryError, OverflowError, NotImplementedError, LookupError, TypeError,
    AttributeError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, pd.errors.ParserError,
    pd.errors.ParserWarning,
)  # fmt: skip
"""What libraries raise for files that are no tables."""

TEXT_PART = 4
"""Times that a table takes in memory what its text has, at least."""

CELL = 8
"""Bytes that a cell takes in memory, at least."""

DELIMITERS = ",;\t|"
GEOMETRY_PLACE = ("geometry.lon", "geometry.lat")
"""Columns with the centroid of each geometry of a file of shapes, in degrees."""


def read_table_file(path: Path, texts: Collection[str] = (), decimal: str = ".") -> pd.DataFrame:
    """A table with a row a sample.

    Args:
        path: CSV (also compressed), Parquet, or a file of shapes, whose geometries become `GEOMETRY_PLACE`.
        texts: columns of a CSV that are read as they are written.
        decimal: decimal separator of the numbers of a CSV.

    Raises:
        DataError: if it can't be read, has no row, or two columns have one name.
    """
    if not path.is_file():
        raise DataError("there is no such table", where=path, fix="correct `table` or `root` in the spec")
    try:
        table = _read_columns(path) if path.suffix in (*PARQUET, *VECTORS) else _read_csv(path, texts, decimal)
    except UNREADABLE as error:
        fix = "write it as CSV (UTF-8, with a header) or Parquet"
        raise DataError(f"not a readable table ({error})", where=path, fix=fix) from None
    if not len(table):
        raise DataError("the table has no row", where=path)
    table.columns = [str(name).strip() for name in table.columns]
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise DataError(f"two columns have the name '{doubled[0]}'", where=path, fix="rename one of them")
    return table


def _read_csv(path: Path, texts: Collection[str], decimal: str) -> pd.DataFrame:
    content = _text(path)
    header = ",".join(_cells_of_header(content, ","))
    delimiter = max(DELIMITERS, key=header.count)
    names = pd.Series([name.strip() for name in _cells_of_header(content, delimiter) if name.strip()])
    if names.duplicated().any():  # pandas would give the second one another name
        doubled = names[names.duplicated()].iloc[0]
        raise DataError(f"two columns have the name '{doubled}'", where=path, fix="rename one of them")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            _anew(content),
            sep=delimiter,
            decimal=decimal,
            dtype=dict.fromkeys(texts, "string"),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
        )


def decimal_commas(path: Path, table: pd.DataFrame) -> list[str]:
    """Columns of a CSV, read with decimal points, that are numbers with decimal commas; none if the commas may separate thousands."""
    words = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
    cells = [table[name].dropna().map(str).str.strip() for name in words]
    decimal = [each[each.str.fullmatch(r"[+-]?[0-9]+,[0-9]+")] for each in cells]
    thousands = r"[+-]?[1-9][0-9]{0,2},[0-9]{3}"
    if path.suffix in PARQUET or all(each.str.fullmatch(thousands).all() for each in decimal):
        return []
    other = read_table_file(path, decimal=",")
    return [name for name in words if pd.api.types.is_numeric_dtype(other[name])]


def _text(path: Path) -> Path | io.BytesIO:
    """A CSV file, or the content of a compressed one, of a size that is allowed."""
    most, what = TABLE.size // TEXT_PART, f"counts {TEXT_PART} times and takes"
    TABLE.check(path.stat().st_size * TEXT_PART, what, path)
    opener = COMPRESSED.get(path.suffix)
    if opener is None:
        return path
    with opener(path, "rb") as file:
        content = io.BytesIO(file.read(most + 1))
    TABLE.check(content.getbuffer().nbytes * TEXT_PART, what, path)
    return content


def _open_zip(path: Path, mode: str) -> IO[bytes]:
    """The only file in a ZIP archive."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f"the archive holds {len(names)} files, not one")
        return archive.open(names[0])


COMPRESSED: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
}


def _anew(content: Path | io.BytesIO) -> Path | io.BytesIO:
    return content if isinstance(content, Path) else io.BytesIO(content.getbuffer())


def _cells_of_header(content: Path | io.BytesIO, delimiter: str) -> list[str]:
    first = pd.read_csv(
        _anew(content), sep=delimiter, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig"
    )
    return [str(name) for name in first.iloc[0]]


def check_parquet(path: Path) -> None:
    """Raises a `DataError` if a Parquet file says that it unpacks to more than is allowed."""
    import pyarrow.parquet

    about = pyarrow.parquet.read_metadata(path)
    unpacked = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    TABLE.check(max(unpacked, about.num_rows * about.num_columns * CELL), "unpacks to", path)


def read_parquet(path: Path) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    """A Parquet table of a size that is allowed, and what its file says besides."""
    import pyarrow.parquet

    check_parquet(path)
    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    table: pd.DataFrame = pd.read_parquet(path)
    if any(name is not None for name in table.index.names):  # pandas stores a named index as a column
        table = table.reset_index()
    return table, metadata


def _read_columns(path: Path) -> pd.DataFrame:
    """A Parquet table, or the features of a file of shapes with the places of their centroids."""
    from eofuse.data.reading.vectors import centroids, read_geoparquet, read_vectors

    if path.suffix in PARQUET:
        table, metadata = read_parquet(path)
        if b"geo" not in metadata:
            return table
        table, geometries, crs = read_geoparquet(path)
    else:
        vectors = read_vectors(path)
        table, geometries, crs = pd.DataFrame(vectors.properties), vectors.geometries, str(vectors.crs)
    table[list(GEOMETRY_PLACE)] = centroids(geometries, crs, path)
    return table


def require_columns(table: pd.DataFrame, names: Sequence[str], key: str, path: Path) -> None:
    """Raises DataError naming the nearest column if one of the names is no column of the table."""
    for name in names:
        if name not in table.columns:
            raise DataError(f"no column '{name}' ({key})", where=path, fix=did_you_mean(name, map(str, table.columns)))


def matching_columns(table: pd.DataFrame, pattern: str, key: str, path: Path) -> dict[str, dict[str, str]]:
    """Columns that are like a pattern, in their order → what `{channel}` and `{step}` stand for in each.

    Args:
        table: the table.
        pattern: `*` stands for anything, `{channel}` for a word and `{step}` for a whole number.
        key: of the spec, for messages.
        path: of the table, for messages.

    Raises:
        DataError: if no column is like it.
        UsageError: if `{channel}` or `{step}` stands in it twice.
    """
    for mark in ("{channel}", "{step}"):
        if pattern.count(mark) > 1:
            raise UsageError(f"'{pattern}' holds {mark} twice", where=key, fix="write * for what may differ")
    parts = re.split(r"(\*|\{channel\}|\{step\})", pattern)
    meaning = {"*": ".*", "{channel}": "(?P<channel>.+)", "{step}": "(?P<step>[0-9]+)"}
    expression = re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))
    found = {str(name): match.groupdict() for name in table.columns if (match := expression.fullmatch(str(name)))}
    if not found:
        fix = did_you_mean(pattern, map(str, table.columns))
        raise DataError(f"no column is like '{pattern}' ({key})", where=path, fix=fix)
    return found


def to_numbers(cells: pd.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Cells as numbers, NaN where there is none, and the rows of those that hold something else (dates are no numbers)."""
    if pd.api.types.is_datetime64_any_dtype(cells) or pd.api.types.is_timedelta64_dtype(cells):
        return np.full(len(cells), np.nan), np.flatnonzero(cells.notna())
    numbers = numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & cells.notna().to_numpy(dtype=bool))
    return np.where(np.isfinite(numbers), numbers, np.nan), wrong


def numeric(cells: pd.Series) -> pd.Series:
    """Cells as numbers, NaN where there is none; numbers beyond float64 are infinite."""
    try:
        numbers: pd.Series = pd.to_numeric(cells, errors="coerce")
        return numbers.astype(np.float64) if numbers.dtype == object else numbers
    except OverflowError:  # pandas gives up on whole numbers of more than 308 digits
        return cells.map(_as_float).astype(np.float64)


def _as_float(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return np.nan


def to_times(texts: pd.Series) -> pd.Series:
    """Texts by ISO 8601 as times in UTC, NaT where there is none; a year has four digits, so that -1 and 12 are no dates."""
    times: pd.Series = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
    return times.where(times.dt.year >= 1000)
