"""A table of samples, with files and columns that hold their values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse.data.sources.base import SOURCES, OpenOptions, Samples, SpecSource


@SOURCES.register("table")
class Table(SpecSource):
    """A YAML file that says what the columns and files of a table are; see `eofuse.data.sources.table.spec`."""

    title = "the spec of a table"
    is_fallback = True

    def describes(self, values: Mapping[str, Any]) -> bool:
        """Whether a table is named."""
        return "table" in values

    def open(self, path: Path, options: OpenOptions) -> Samples:
        """Reads the table, and looks at the header of every file."""
        from eofuse.data.sources.table.source import open_table_spec

        return open_table_spec(path, options.overrides, options.modalities, options.progress, options.workers)
