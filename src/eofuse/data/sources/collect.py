"""The spec of a collection as a source: `eofuse check` plans it, and other commands say which one takes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse.data.problems import Problem
from eofuse.data.sources.base import SOURCES, OpenOptions, Samples, SpecSource
from eofuse.errors import UsageError


@SOURCES.register("collect")
class CollectSource(SpecSource):
    """A YAML file with labels and what to fetch around them; see `eofuse.data.collect.spec`."""

    title = "the spec of a collection"
    command = "collect"

    def describes(self, values: Mapping[str, Any]) -> bool:
        """Whether it has labels with a file or a grid, and modalities, and no table."""
        labels = values.get("labels")
        return (
            isinstance(labels, Mapping)
            and bool({"file", "grid"} & set(labels))
            and "modalities" in values
            and "table" not in values
        )

    def open(self, path: Path, options: OpenOptions) -> Samples:
        """Refuses: patches are written as they come, by `eofuse collect`."""
        raise UsageError(f"is {self.title}", where=path, fix=self.advice(path))

    def check(self, path: Path, options: OpenOptions) -> list[Problem]:
        """Plans the collection, without reading pixels: what is wrong is an error, patches without an item are warnings."""
        from eofuse.data.collect.run import check_collection

        return check_collection(path, options.progress)
