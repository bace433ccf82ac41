"""Files that one thread keeps open."""

from contextlib import suppress
from typing import Any

from eofuse.data.reading.rasters import open_raster


class Handles:
    """Opens each file once; use it in one thread, and close it there."""

    def __init__(self) -> None:
        self._open: dict[str, Any] = {}

    def open(self, path: str, where: str) -> Any:
        """The open file; see `open_raster`."""
        if path not in self._open:
            self._open[path] = open_raster(path, where)
        return self._open[path]

    def close(self) -> None:
        """Closes them all."""
        while self._open:
            with suppress(Exception):
                self._open.popitem()[1].close()
