"""Sources of data, each of which opens paths of its sort as samples: a file or folder a source; see `eofuse.data.sources.base`."""

from eofuse.data.sources.base import SOURCES, OpenOptions, Provenance, Samples, Source, SpecSource

__all__ = ["SOURCES", "OpenOptions", "Provenance", "Samples", "Source", "SpecSource"]
