"""Folders of ben-ge and BigEarthNet."""

from pathlib import Path

from eofuse.data.sources.base import SOURCES, OpenOptions, Samples, Source
from eofuse.errors import UsageError


@SOURCES.register("ben_ge")
class BenGe(Source):
    """A folder in one of the layouts of the ben-ge family."""

    title = "a folder of the ben-ge or BigEarthNet layouts"
    form = "folder"
    is_fallback = True

    def accepts(self, path: Path) -> bool:
        """Whether one of the tables or folders of these layouts lies in it."""
        from eofuse.data.sources.ben_ge.layout import looks_right

        return path.is_dir() and looks_right(path)

    def open(self, path: Path, options: OpenOptions) -> Samples:
        """Indexes the folder."""
        from eofuse.data.sources.ben_ge.source import open_ben_ge

        if options.overrides:
            raise UsageError("changes need a YAML file", where=path, fix=f"leave out {options.overrides[0]}")
        return open_ben_ge(path, options.modalities)
