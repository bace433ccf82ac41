"""The frame of a sample: the pixels of a map that may be drawn, and what is counted over all of them.

`Frame.strips` reads the map from top to bottom, some rows at a time; `Census` adds up pixels and areas by class and confidence.
Pixels without a class are not in the frame, nor are those whose centre lies where the model learned: there the map is better than
elsewhere, and its accuracy would be flattered.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rasterio.windows import Window

from eofuse.areas.classmap import MOST_CLASSES, NO_CODE, NOT_KNOWN, ClassMap, Codes, opened, read_window
from eofuse.areas.ground import HECTARE, FloatArray, PixelAreas
from eofuse.data.reading.vectors import read_vectors
from eofuse.errors import DataError
from eofuse.progress import Progress
from eofuse.words import counted

ROWS = 64
"""Rows of the map that are read at a time."""

CONFIDENCES = 102
"""Per cent from 0 to 100, then "not known"."""

UNKNOWN = 101


@dataclass(frozen=True, eq=False)
class Strip:
    """Some rows of a map.

    Attributes:
        top: the first row.
        codes: (rows, width), `NO_CODE` where there is no class.
        inside: (rows, width) whether a pixel is in the frame.
        areas: of the map's pixels on the ground.
        confidence: (rows, width) per cent or `UNKNOWN`; None where it is not read.
        probability: reads (rows, width) of a band of the probabilities, as they are stored; None where they are not wanted.
    """

    top: int
    codes: Codes
    inside: npt.NDArray[np.bool_]
    areas: PixelAreas
    confidence: npt.NDArray[np.uint8] | None
    probability: Callable[[int], npt.NDArray[Any]] | None

    @cached_property
    def area(self) -> FloatArray:
        """(rows, width) areas of the pixels on the ground, in square metres."""
        return np.broadcast_to(self.areas.of_rows(self.top, len(self.codes)), self.codes.shape)


@dataclass(frozen=True)
class Frame:
    """The pixels of a map that may be drawn.

    Attributes:
        map: the map.
        with_training_areas: whether pixels where the model learned are among them.
    """

    map: ClassMap
    with_training_areas: bool = False

    @cached_property
    def areas(self) -> PixelAreas:
        """Areas of the pixels on the ground."""
        return PixelAreas(self.map.file.grid)

    @property
    def excludes_training(self) -> bool:
        """Whether there are areas that are left out."""
        return self.map.learned is not None and not self.with_training_areas

    @property
    def knows_training(self) -> bool:
        """Whether it is known of all areas whether the model learned from them."""
        said = self.map.tags.get("learned_from")
        return said == "known" or (said is None and self.map.learned is not None)

    @property
    def training(self) -> str:
        """What is done about areas that the model learned from: excluded, included, none (there are none on the map) or unknown."""
        if self.map.learned is None:
            return "none" if self.knows_training else "unknown"
        return "included" if self.with_training_areas else "excluded"

    def strips(
        self, progress: Progress | None = None, *, confidence: bool = False, probabilities: bool = False
    ) -> Iterator[Strip]:
        """The map from top to bottom.

        Args:
            progress: called with (rows done, rows in all).
            confidence: whether the confidence is read too.
            probabilities: whether the probabilities can be read too.
        """
        grid = self.map.file.grid
        with ExitStack() as stack:
            dataset = stack.enter_context(opened(self.map.file))
            sure = self.map.confidence if confidence else None
            likely = self.map.probabilities if probabilities else None
            sure_set = stack.enter_context(opened(sure)) if sure else None
            likely_set = stack.enter_context(opened(likely)) if likely else None
            for top in range(0, grid.height, ROWS):
                window = Window(0, top, grid.width, min(ROWS, grid.height - top))
                codes = self.map.read_codes(dataset, window)
                inside = codes != NO_CODE
                if self.excludes_training:
                    inside &= ~self._learned(window)
                yield Strip(
                    top,
                    codes,
                    inside,
                    self.areas,
                    _per_cent(read_window(sure_set, [1], window, sure.path)[0]) if sure else None,
                    partial(_band, likely_set, window, likely.path) if likely else None,
                )
                if progress is not None:
                    progress(top + window.height, grid.height)

    def _learned(self, window: Window) -> npt.NDArray[np.bool_]:
        """Whether the centre of a pixel lies where the model learned."""
        shape = (window.height, window.width)
        part = self.map.file.grid.window(window.col_off, window.row_off, window.width, window.height)
        near = self._polygons.query(shapely.box(*part.bounds))
        if not len(near):
            return np.zeros(shape, dtype=bool)
        shapes = self._polygons.geometries.take(np.sort(near))
        return np.asarray(
            rasterio.features.rasterize(list(shapes), shape, transform=part.transform, dtype=np.uint8) > 0
        )

    @cached_property
    def _polygons(self) -> Any:
        """A tree of the areas that the model learned from, in the map's reference system."""
        from pyproj import CRS, Transformer

        assert self.map.learned is not None
        vectors = read_vectors(self.map.learned)
        polygons = [polygon for _, polygon in vectors.polygons() if not polygon.is_empty]
        wanted = CRS.from_wkt(self.map.file.grid.crs.to_wkt())
        transformer = Transformer.from_crs(CRS.from_user_input(vectors.crs), wanted, always_xy=True)

        def moved(places: FloatArray) -> FloatArray:
            return np.column_stack(transformer.transform(places[:, 0], places[:, 1]))

        if not transformer.source_crs or transformer.source_crs != wanted:
            polygons = [shapely.transform(shapely.segmentize(each, _side(each) / 16), moved) for each in polygons]
        return shapely.STRtree([each for each in polygons if np.isfinite(shapely.get_coordinates(each)).all()])


def _band(dataset: Any, window: Window, path: str, number: int) -> npt.NDArray[Any]:
    return np.asarray(read_window(dataset, [number], window, path)[0])


def _side(polygon: Any) -> float:
    west, south, east, north = polygon.bounds
    return float(max(east - west, north - south, 1e-9))


def _per_cent(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.minimum(values, UNKNOWN), dtype=np.uint8)


def _no_cells() -> npt.NDArray[np.int64]:
    """Code → first cell of its class: none yet, 0 for pixels without a class."""
    cells = np.full(NO_CODE + 1, -2 * CONFIDENCES, dtype=np.int64)
    cells[NO_CODE] = 0
    return cells


@dataclass(eq=False)
class Census:
    """What is counted over a map; `add` takes it strip by strip.

    Attributes:
        codes: of the classes in the order in which they were met, inside the frame or not.
        pixels: (classes, CONFIDENCES) of the frame.
        areas: (classes, CONFIDENCES) of the frame, in square metres.
        left_out_pixels: with a class, where the model learned.
        left_out_area: their area in square metres.
    """

    codes: list[int] = field(default_factory=list)
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, CONFIDENCES), dtype=np.int64))
    areas: FloatArray = field(default_factory=lambda: np.zeros((0, CONFIDENCES)))
    left_out_pixels: int = 0
    left_out_area: float = 0.0
    _first_cell: npt.NDArray[np.int64] = field(default_factory=_no_cells)
    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, strip: Strip, frame: Frame) -> None:
        """Counts some rows.

        Raises:
            DataError: if the map has too many classes.
        """
        self._digest.update(np.ascontiguousarray(strip.codes))
        cells = self.cells(strip)
        if cells.min() < 0:
            self._meet(np.unique(strip.codes), frame)
            cells = self.cells(strip)
        counted_cells = cells if not frame.excludes_training else np.where(strip.inside, cells, 0)
        size = self.pixels.size + CONFIDENCES
        self.pixels += np.bincount(counted_cells.ravel(), minlength=size)[CONFIDENCES:].reshape(self.pixels.shape)
        areas = np.bincount(counted_cells.ravel(), strip.area.ravel(), size)
        self.areas += areas[CONFIDENCES:].reshape(self.areas.shape)
        if frame.excludes_training:
            left_out = (strip.codes != NO_CODE) & ~strip.inside
            self.left_out_pixels += int(left_out.sum())
            self.left_out_area += float(strip.area[left_out].sum())

    def _meet(self, codes: Codes, frame: Frame) -> None:
        """Numbers the classes that were not met before."""
        for code in codes.tolist():
            if self._first_cell[code] < 0:
                if len(self.codes) == MOST_CLASSES:
                    found = f"has more than {MOST_CLASSES} classes"
                    raise DataError(found, where=frame.map.path, fix="give a map of classes, not of measured values")
                self.codes.append(code)
                self._first_cell[code] = len(self.codes) * CONFIDENCES
                self.pixels = np.vstack([self.pixels, np.zeros((1, CONFIDENCES), dtype=np.int64)])
                self.areas = np.vstack([self.areas, np.zeros((1, CONFIDENCES))])

    def cells(self, strip: Strip) -> npt.NDArray[np.int64]:
        """Cell of each pixel: (1 + number of its class) · CONFIDENCES + confidence; less than CONFIDENCES without a class."""
        found = self._first_cell.take(strip.codes)
        if strip.confidence is not None:
            found += strip.confidence
        return found

    def digest(self, frame: Frame) -> str:
        """Digest of pixels and grid, in hexadecimal; compression, tags and colours do not change it."""
        grid = frame.map.file.grid
        whole = self._digest.copy()
        whole.update(repr((grid.width, grid.height, [round(float(each), 9) for each in grid.transform[:6]])).encode())
        return str(whole.hexdigest())

    def words(self, frame: Frame) -> str:
        """What is sampled, and so what the estimates speak of."""
        pixels, hectares = int(self.pixels.sum()), float(self.areas.sum()) / HECTARE
        text = f"{counted(pixels, 'pixel')} of {frame.map.path.name} with a class, {hectares:,.1f} ha"
        if frame.training == "excluded":
            left = counted(self.left_out_pixels, "pixel")
            text += f", without {left} ({self.left_out_area / HECTARE:,.1f} ha) where the model learned"
        elif frame.training == "included":
            text += ", with those where the model learned"
        return text if frame.knows_training else f"{text}; {NOT_KNOWN}"


def take_census(frame: Frame, progress: Progress | None = None, *, confidence: bool = False) -> Census:
    """Counts a whole map.

    Raises:
        DataError: if no pixel is in the frame.
    """
    census = Census()
    for strip in frame.strips(progress, confidence=confidence):
        census.add(strip, frame)
    check_census(census, frame)
    return census


def check_census(census: Census, frame: Frame) -> None:
    """Refuses a map without a pixel in the frame.

    Raises:
        DataError: if it is one.
    """
    if census.pixels.sum():
        return
    if census.left_out_pixels:
        fix = "predict a larger area, or take points anywhere with --with-training-areas"
        raise DataError("the model learned everywhere on the map", where=frame.map.path, fix=fix)
    raise DataError("no pixel has a class", where=frame.map.path, fix="check its nodata value")
