"""Limits on what a file may unpack to, so that a small hostile or damaged one is an error before it fills the memory or the disk.

The environment variable of a limit changes it, for example `EOFUSE_MAX_JSON_MB=500`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from eofuse.errors import DataError, UsageError

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limit:
    """A limit in megabytes.

    Attributes:
        variable: environment variable that changes it.
        default: megabytes where the variable is not set.
        meaning: what it limits.
    """

    variable: str
    default: float
    meaning: str

    @property
    def size(self) -> int:
        """The limit in bytes.

        Raises:
            UsageError: if the variable is no positive number.
        """
        text = os.environ.get(self.variable)
        try:
            megabytes = self.default if text is None else float(text)
            return int(megabytes * MEGABYTE) if megabytes > 0 else int(float("nan"))
        except (ValueError, OverflowError):
            raise UsageError(f"'{text}' is no number of megabytes", where=self.variable, fix="write 500, say") from None

    def check(self, size: float, what: str, where: object) -> None:
        """Raises a `DataError` if something of so many bytes is larger; `what` begins the message: 'unpacks to'."""
        if size > self.size:
            found = f"{what} {size / MEGABYTE:,.0f} MB, more than the {self.size / MEGABYTE:,.0f} MB that are allowed"
            raise DataError(found, where=where, fix=f"if it can be trusted, raise {self.variable}")

    def check_file(self, path: Path) -> None:
        """Raises a `DataError` if a file is larger, an `OSError` if there is none."""
        self.check(path.stat().st_size, "has", path)

    def read(self, path: Path) -> str:
        """The text of a file in UTF-8; of a device or pipe, which tells no size, no more than is allowed.

        Raises:
            DataError: if it is larger.
            OSError: if it can't be read.
            UnicodeDecodeError: if it is something else than text.
        """
        self.check_file(path)
        if path.is_file():
            return path.read_text(encoding="utf-8-sig")
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(self.size + 1)
        self.check(len(text), "has", path)
        return text


TEXT = Limit("EOFUSE_MAX_TEXT_MB", 1, "a recipe, spec, projection file or metadata of a product")
JSON = Limit("EOFUSE_MAX_JSON_MB", 64, "a JSON or GeoJSON file, which takes up to 25 times as much memory")
RASTER = Limit("EOFUSE_MAX_RASTER_MB", 512, "what a patch, or a block of a raster file, takes in memory")
TABLE = Limit("EOFUSE_MAX_TABLE_MB", 2048, "a table, unpacked")
VECTOR = Limit("EOFUSE_MAX_VECTOR_MB", 512, "a file of shapes other than GeoJSON")
ARCHIVE = Limit("EOFUSE_MAX_ARCHIVE_MB", 100, "the content of a downloaded archive that packs more than 100 times")

LIMITS = (TEXT, JSON, RASTER, TABLE, VECTOR, ARCHIVE)
