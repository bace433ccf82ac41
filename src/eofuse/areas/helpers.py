"""What a map says at points and over all its pixels, gathered while it streams by: classes, areas and probabilities."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eofuse.areas.classmap import NO_CODE
from eofuse.areas.frame import Frame, Strip
from eofuse.areas.ground import FloatArray
from eofuse.areas.placing import Placed

NO_PROBABILITY = 65535


@dataclass(eq=False)
class Helpers:
    """What is known of points and of the whole frame.

    Attributes:
        frame: the frame.
        place: the points.
        codes: (points,) classes of the map.
        inside: (points,) whether their pixels are in the frame.
        area: (points,) of their pixels, in square metres.
        probabilities: (points, bands) of the classes.
        right: (points,) probability of the map's own class.
        totals: (bands,) probability times area, summed over the frame, in square metres.
        right_total: the same of the map's own class.
    """

    frame: Frame
    place: Placed
    codes: npt.NDArray[np.int64] = field(init=False)
    inside: npt.NDArray[np.bool_] = field(init=False)
    area: FloatArray = field(init=False)
    probabilities: FloatArray = field(init=False)
    right: FloatArray = field(init=False)
    totals: FloatArray = field(init=False)
    right_total: float = 0.0

    def __post_init__(self) -> None:
        count, bands = len(self.place.rows), len(self.bands)
        self.codes = np.full(count, NO_CODE, dtype=np.int64)
        self.inside = np.zeros(count, dtype=bool)
        self.area, self.right = np.zeros(count), np.zeros(count)
        self.probabilities, self.totals = np.zeros((count, bands)), np.zeros(bands)

    @property
    def bands(self) -> list[int]:
        """The code of each band of probabilities; none where the map has no probabilities."""
        return list(self.frame.map.probability_bands)

    def add(self, strip: Strip) -> None:
        """Takes some rows."""
        own = np.flatnonzero((self.place.rows >= strip.top) & (self.place.rows < strip.top + len(strip.codes)))
        row, column = self.place.rows[own] - strip.top, self.place.columns[own]
        self.codes[own] = strip.codes[row, column]
        self.inside[own] = strip.inside[row, column]
        self.area[own] = self.frame.areas.at(self.place.rows[own], column)
        if strip.probability is None:
            return
        file = self.frame.map.probabilities
        assert file is not None
        weight = np.where(strip.inside, strip.area, 0.0)
        for at, (code, number) in enumerate(self.frame.map.probability_bands.items()):
            band = file.band(number)
            nodata = NO_PROBABILITY if band.nodata is None else band.nodata
            stored = strip.probability(number)
            chance = stored * np.float64(band.scale)
            chance += band.offset
            chance[stored == nodata] = 0
            is_class = strip.codes == code
            self.probabilities[own, at] = chance[row, column]
            mine = own[is_class[row, column]]
            self.right[mine] = self.probabilities[mine, at]
            self.totals[at] += float(np.vdot(weight, chance))
            self.right_total += float(np.vdot(weight[is_class], chance[is_class]))
