"""Scenes of rasters and polygons, cut into patches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse.data.sources.base import SOURCES, OpenOptions, Samples, SpecSource


@SOURCES.register("scenes")
class Scenes(SpecSource):
    """A YAML file that says which files make up scenes; see `eofuse.data.sources.scenes.spec`."""

    title = "a spec of scenes"
    command = "cut"
    is_fallback = True

    def describes(self, values: Mapping[str, Any]) -> bool:
        """Whether the files or products of a modality have {scene} in their path."""
        modalities = values.get("modalities")
        layers = list(modalities.values()) if isinstance(modalities, Mapping) else []
        return any(
            isinstance(each, Mapping) and "{scene}" in f"{each.get('files')} {each.get('safe')}" for each in layers
        )

    def open(self, path: Path, options: OpenOptions) -> Samples:
        """Finds the files, and looks at every patch."""
        from eofuse.data.sources.scenes.source import open_scenes, read_spec

        spec = read_spec(path, options.overrides)
        return open_scenes(spec, path.parent, options.size, options.overlap, options.workers, options.progress)
