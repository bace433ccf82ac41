"""What looks odd in the values of scenes, once their patches have been looked at: `scene_warnings`."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from eofuse.data.problems import Problems
from eofuse.data.reading.matching import describe_values, mixed_values
from eofuse.data.sources.scenes.files import Scene
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.modalities import SENTINEL2, Modality

OFFSET_SUSPECTED = 900
"""Smallest value of a Sentinel-2 scene from which it looks as if the 1000 of baseline 04.00 were still in it."""


def scene_warnings(
    scenes: Sequence[Scene],
    modalities: Sequence[Modality],
    scene_of_tile: npt.NDArray[np.int64],
    lowest: npt.NDArray[np.float64],
) -> Problems:
    """What looks odd: files that differ, an offset that is still in Sentinel-2, backscatter that is not in decibels.

    Args:
        scenes: all of them.
        modalities: those with pixels.
        scene_of_tile: number of the scene of each patch, (patches,).
        lowest: smallest stored value of each patch and modality, (patches, modalities), NaN without data.
    """
    problems = Problems()
    for modality in modalities:
        content = [scene.content[modality.name] for scene in scenes]
        rasters = (raster for part in content if not isinstance(part, Polygons) for raster in part)
        mixed = None if modality.is_categorical else mixed_values(modality.name, Counter(map(describe_values, rasters)))
        problems += [] if mixed is None else [mixed]
    for number, scene in enumerate(scenes):
        for position, modality in enumerate(modalities):
            found = lowest[scene_of_tile == number, position]
            smallest = np.min(found[~np.isnan(found)], initial=np.inf)
            where = f"scene {scene.name}, {modality.name}"
            if modality.name in scene.products:
                continue
            for what, fix in odd_values(modality, smallest, scene.name):
                problems.warn(what, where, fix=fix)
    return problems


def odd_values(modality: Modality, smallest: float, scene: str) -> list[tuple[str, str]]:
    """What the smallest value of a scene tells of an offset that is still in Sentinel-2, or of backscatter that is not in decibels.

    Args:
        modality: as its values are stored.
        smallest: stored value of the scene, infinite if it has none.
        scene: its name.

    Returns:
        What is odd, and what to do.
    """
    found = []
    is_sentinel2 = modality.name == SENTINEL2.name and modality.scale == SENTINEL2.scale and not modality.offset
    if is_sentinel2 and OFFSET_SUSPECTED <= smallest < np.inf:
        what = f"no value is below {smallest:g}: the offset of 1000 (processing baseline 04.00 and later) seems to be in it"
        found.append((what, f"if so, set modalities.{modality.name}.add: {{{scene}: -1000}}"))
    if modality.channels[0].unit == "dB" and 0 <= smallest < np.inf:
        found.append(("no value is below 0: this is not backscatter in decibels", "convert the files to 10 · log10"))
    return found
