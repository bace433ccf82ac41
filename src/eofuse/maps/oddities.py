"""What looks odd in the values of a scene beside those from which a model learned (`odd_inputs`)."""

import numpy as np

from eofuse.data.reading.rasters import reading_environment
from eofuse.data.sources.scenes.cautions import odd_values
from eofuse.data.sources.scenes.polygons import Polygons
from eofuse.maps.handles import Handles
from eofuse.maps.scene import Layer, MapScene
from eofuse.models.normalisation import ChannelStatistics
from eofuse.words import listed

PLACES = 4
"""Squares along each side of a scene that are looked at."""

SQUARE = 64
"""Side of a square in pixels."""

FAR = 3.0
"""Standard deviations of training from which the mean of a scene is far from that of training."""


def odd_inputs(scene: MapScene, statistics: ChannelStatistics) -> list[str]:
    """Notes on layers that are empty, whose bands go by their order, or whose values are in other units than those of training.

    A few squares of the scene are read.

    Args:
        scene: that is mapped.
        statistics: of training, in physical units.

    Raises:
        DataError: if a file can't be read.
    """
    notes = []
    handles = Handles()
    with reading_environment():
        for name, layer in scene.layers.items():
            values = _some_values(scene, layer, handles)
            if not values.shape[1]:
                notes.append(
                    f"{name}: no pixel has a value in the squares that were looked at; see whether it covers the scene"
                )
                continue
            if layer.modality.is_categorical:
                continue
            if names := _names_that_do_not_count(layer):
                channels = listed(layer.modality.channel_names)
                notes.append(f"{name}: the file's bands {listed(names)} were taken, in this order, for {channels}")
            if layer.product is None:
                notes += [
                    f"{name}: {what}; {fix}" for what, fix in odd_values(layer.modality, values.min(), scene.name)
                ]
            physical = values.mean(axis=1) * layer.modality.scale + layer.modality.offset
            away = np.abs(physical - np.array(statistics.mean[name])) - FAR * np.array(statistics.std[name])
            far = [each for each, beyond in zip(layer.modality.channel_names, away > 1e-6, strict=True) if beyond]
            if far:
                what = f"the mean of {listed(far)} is more than {FAR:g} standard deviations from that of training"
                notes.append(
                    f"{name}: {what}: another unit or offset, or a place unlike those from which the model learned"
                )
    handles.close()
    return notes


def _names_that_do_not_count(layer: Layer) -> tuple[str, ...]:
    """Names of the bands of a file that are none of the model's; none where they count, the spec has them, or there are none."""
    if isinstance(layer.content, Polygons) or len(layer.content) > 1 or layer.spec.bands is not None:
        return ()
    file, known = layer.content[0].file, set()
    for channel in layer.modality.channels:
        known |= {channel.name, *channel.aliases}
    names = tuple(file.band(number).name for number in layer.content[0].bands if not layer.content[0].shows_colours)
    tells_bands_apart = len(set(names)) == len(names) > 1 and all(names)
    return names if tells_bands_apart and not known & set(names) else ()


def _some_values(scene: MapScene, layer: Layer, handles: Handles) -> np.ndarray:
    """(channels, pixels) stored values of squares spread over a scene, where every channel has one."""
    grid, parts = scene.grid, []
    for top in _starts(grid.height):
        for left in _starts(grid.width):
            window = (left, top, min(SQUARE, grid.width), min(SQUARE, grid.height))
            values, valid = layer.read(scene.name, grid, window, handles)
            parts.append(values[:, valid].astype(np.float64))
    return np.concatenate(parts, axis=1)


def _starts(length: int) -> list[int]:
    """First pixels of the squares along a side."""
    return sorted({int(start) for start in np.linspace(0, max(length - SQUARE, 0), PLACES)})
