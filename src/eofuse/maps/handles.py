"""Files that one thread keeps open."""

from contextlib import suppress
from typing import Any

from eofuse.data.reading.formats import open_file
from eofuse.data.reading.rasters import Part, RasterFile


class Handles:
    """Opens each file once; use it in one thread, and close it there."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Part | None], Any] = {}

    def open(self, file: RasterFile, where: str) -> Any:
        """The open file; see `open_file`."""
        key = file.path, file.part
        if key not in self._open:
            self._open[key] = open_file(*key, where)
        return self._open[key]

    def close(self) -> None:
        """Closes them all."""
        while self._open:
            with suppress(Exception):
                self._open.popitem()[1].close()
