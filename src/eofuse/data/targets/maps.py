"""Targets with a class or numbers for each pixel: the raster modalities of the store themselves."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eofuse.data.store import Store, Window
from eofuse.data.store.arrays import is_value
from eofuse.data.targets.base import IGNORE, MIXED, Array, Target
from eofuse.errors import UsageError
from eofuse.kinds import PIXEL_REGRESSION, SEGMENTATION
from eofuse.modalities import Modality, code_places


def raster_target(store: Store, modality: Modality, channel: str = "") -> Target:
    """A raster modality, or one channel of it, as what is to be predicted.

    Raises:
        UsageError: if it has no such channel, more classes than fit, or cells larger than pixels.
    """
    if modality.cell > 1:
        fix = "name a raster of pixels, or numbers of whole patches"
        raise UsageError(f"has cells of {modality.cell} pixels and can't be predicted", where=modality.name, fix=fix)
    known = store.present(modality.name)
    if modality.is_categorical:
        if len(modality.categories) >= IGNORE:
            raise UsageError(f"has {len(modality.categories)} classes; {IGNORE - 1} are possible", where=modality.name)
        if channel:
            where = f"task.target: {modality.name}.{channel}"
            raise UsageError("a class map has no channels", where=where, fix="name the map only")
        classes = tuple(category.name for category in modality.categories)
        return ClassMap(
            modality.name,
            SEGMENTATION,
            classes,
            known,
            (modality.name,),
            legend=modality.categories,
            store=store,
        )
    channels = [modality.channel_index(channel)] if channel else list(range(len(modality.channels)))
    names = tuple(modality.channel_names[position] for position in channels)
    units = {modality.channels[position].unit for position in channels}
    return NumberMap(
        f"{modality.name}.{channel}" if channel else modality.name,
        PIXEL_REGRESSION,
        names,
        known,
        (modality.name,),
        unit=units.pop() if len(units) == 1 else MIXED,
        source_channels=names if channel else (),
        store=store,
        channels=tuple(channels),
    )


@dataclass(frozen=True)
class ClassMap(Target):
    """A class for each pixel; codes outside the list, and patches without the map, are ignored.

    Attributes:
        store: that holds the map.
    """

    store: Store = field(kw_only=True)

    def read(self, rows: npt.NDArray[np.int64], window: Window | None = None) -> Array:
        """Class numbers (batch, height, width) uint8, 255 where there is no label."""
        modality = self.store.modalities[self.sources[0]]
        table = np.full(code_places(modality.categories), IGNORE, dtype=np.uint8)
        for number, category in enumerate(modality.categories):
            table[category.code] = number
        codes = self.store.read(modality.name, rows, window=window)[:, 0]
        numbers: Array = table[np.minimum(codes, len(table) - 1)]
        numbers[~self.valid[rows]] = IGNORE
        return numbers


@dataclass(frozen=True)
class NumberMap(Target):
    """Numbers for each pixel in their unit.

    Attributes:
        store: that holds the map.
        channels: positions of the channels.
    """

    store: Store = field(kw_only=True)
    channels: tuple[int, ...] = field(kw_only=True)

    def read(self, rows: npt.NDArray[np.int64], window: Window | None = None) -> Array:
        """Numbers (batch, channels, height, width) float32 in their unit, NaN where there is none."""
        modality = self.store.modalities[self.sources[0]]
        native = self.store.read(modality.name, rows, channels=self.channels, window=window)
        numbers: Array = native.astype(np.float32) * np.float32(modality.scale) + np.float32(modality.offset)
        numbers[~(is_value(modality, native) & np.isfinite(numbers))] = np.nan
        numbers[~self.valid[rows]] = np.nan
        return numbers
