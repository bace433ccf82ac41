"""A class map and what lies beside it: `open_map`.

::

    X.tif                 the map: one band of whole numbers, a code a class; names in the band's tags `class_<code>`
    X.confidence.tif      probability of the class in per cent, 255 where there is none
    X.probabilities.tif   a band a class, of which the tag `code` says which
    X.learned.gpkg        areas of the patches that the model learned from

`eofuse map` writes all four. Any other raster of one band with whole numbers is a class map too; its classes are called by their
codes, or as a file of names says.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eofuse.config import read_yaml
from eofuse.data.reading.rasters import RasterFile, inspect_raster, open_raster, reading_environment
from eofuse.errors import DataError, UsageError
from eofuse.files import file_name, read_json
from eofuse.words import listed

NO_CODE = 65535
"""Of pixels without a class, in arrays of codes."""

MOST_CLASSES = 250
NOT_KNOWN = "not known which areas the model learned from"

Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class ClassMap:
    """A map of classes.

    Attributes:
        path: its file.
        file: what the file says of itself.
        tags: of the file.
        declared: code → name, as the file or a file of names has them; codes beyond are called by their number.
        confidence: the file of confidence, if there is one.
        probabilities: the file of probabilities, if there is one.
        learned: the file of areas that the model learned from, if there is one.
    """

    path: Path
    file: RasterFile
    tags: Mapping[str, str]
    declared: Mapping[int, str]
    confidence: RasterFile | None
    probabilities: RasterFile | None
    learned: Path | None

    def name(self, code: int) -> str:
        """The name of a class; names differ, also where one without a name has the number that is the name of another."""
        number = str(code) if str(code) not in self.declared.values() else f"code {code}"
        return self.declared.get(code, number)

    @property
    def note(self) -> str:
        """What must be said with everything that is made from the map; "" if nothing."""
        return self.tags.get("note", "")

    @cached_property
    def probability_bands(self) -> dict[int, int]:
        """Code → number of its band in the file of probabilities.

        Raises:
            DataError: if a band has no tag `code`.
        """
        if self.probabilities is None:
            return {}
        where = self.probabilities.path
        with opened(self.probabilities) as dataset:
            tags = {band.number: dataset.tags(band.number).get("code") for band in self.probabilities.bands}
        try:
            found = {int(code): number for number, code in tags.items()}
        except (TypeError, ValueError):
            fix = "tag each band with the code of its class, or move the file away"
            raise DataError("a band does not say which class it is of", where=where, fix=fix) from None
        if len(found) < len(tags):
            raise DataError("two bands are of one class", where=where, fix="correct the tags `code`")
        return found

    @cached_property
    def _codes_of_bytes(self) -> Codes:
        codes = np.arange(256, dtype=np.uint16)
        nodata = self.file.nodata
        if nodata is not None:
            codes[codes == nodata] = NO_CODE
        return codes

    def read_codes(self, dataset: Any, window: Window) -> Codes:
        """Codes of a part of the map, `NO_CODE` where there is no class."""
        values = read_window(dataset, [1], window, self.path)[0]
        nodata = self.file.nodata
        if values.dtype == np.uint8 and not self.file.is_masked:
            return np.asarray(self._codes_of_bytes.take(values))
        valid = np.ones(values.shape, dtype=bool) if nodata is None else values != nodata
        if self.file.is_masked:
            valid &= dataset.read_masks(1, window=window) > 0
        if values.dtype != np.uint8 and valid.any():
            within = values[valid]
            if within.min() < 0 or within.max() >= NO_CODE:
                found = f"holds {within.min()} to {within.max()}, codes of classes are 0 to {NO_CODE - 1}"
                raise DataError(found, where=self.path, fix="give a map of classes, with its nodata value declared")
        return np.where(valid, values.astype(np.uint16), np.uint16(NO_CODE))


def open_map(path: str | Path, classes: str | Path | Mapping[int, str] | None = None) -> ClassMap:
    """Looks at a class map and the files beside it.

    Args:
        path: the map.
        classes: names of the classes by code, or a YAML or JSON file of them; they go before the names in the map.

    Raises:
        DataError: if it is missing, no map of classes, has no reference system, or a file beside it lies on another grid.
        UsageError: if the names are no names by code, or two are alike.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("there is no such map", where=path, fix="check the path")
    with reading_environment():
        file = inspect_raster(path, str(path))
        if len(file.bands) != 1:
            found = f"has {len(file.bands)} bands, a map of classes has one"
            raise DataError(
                found, where=path, fix="write the band of classes into a file of its own (gdal_translate -b 1)"
            )
        if np.dtype(file.dtype).kind not in "iu":
            raise DataError(f"holds {file.dtype}, a map of classes holds whole numbers", where=path)
        if not file.grid.crs:
            fix = "give it the one of its coordinates (gdal_edit -a_srs)"
            raise DataError("has no coordinate reference system, so pixels have no area", where=path, fix=fix)
        with open_raster(str(path), str(path)) as dataset:
            tags, band_tags = dataset.tags(), dataset.tags(1)
        if (kind := tags.get("eofuse_map", "class")) != "class":
            fix = f"name the map beside it, {path.name.replace(f'.{kind}', '')}"
            raise DataError(f"holds {kind}, no classes", where=path, fix=fix)
        names = _names(band_tags, path) | _given_names(classes)
        _check_names(names, path)
        confidence, probabilities = (_beside(path, kind, file, tags) for kind in ("confidence", "probabilities"))
    return ClassMap(path, file, tags, names, confidence, probabilities, _learned(path, tags))


def _learned(path: Path, tags: Mapping[str, str]) -> Path | None:
    """The file of areas that the model learned from; maps of several targets of one scene share it."""
    shared = path.stem.removesuffix(f".{file_name(tags['target'])}") if tags.get("target") else path.stem
    files = [path.with_name(f"{stem}.learned.gpkg") for stem in (path.stem, shared)]
    return next((each for each in files if each.is_file()), None)


def _names(tags: Mapping[str, str], path: Path) -> dict[int, str]:
    names = {}
    for key, name in tags.items():
        code = key.removeprefix("class_")
        if code != key and code.isdecimal() and code.isascii():
            names[int(code)] = name.strip()
    return names


def _given_names(classes: str | Path | Mapping[int, str] | None) -> dict[int, str]:
    if classes is None:
        return {}
    where: object = "classes"
    values: Mapping[Any, Any]
    if isinstance(classes, Mapping):
        values = classes
    else:
        where = classes
        try:
            values = read_json(classes) if Path(classes).suffix == ".json" else read_yaml(classes)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"can't be read ({error})", where=where, fix="write {code: name} as YAML or JSON"
            ) from None
    try:
        return {int(str(code)): str(name).strip() for code, name in values.items()}
    except (ValueError, AttributeError):
        raise UsageError(
            "holds something else than names by code", where=where, fix="write {1: water, 2: forest}"
        ) from None


def _check_names(names: Mapping[int, str], path: Path) -> None:
    doubled = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if doubled:
        found = f"two classes have one name: {listed(doubled)}"
        raise UsageError(found, where=path, fix="give names by code with --classes names.yaml")
    if len(names) > MOST_CLASSES:
        raise DataError(f"has {len(names)} classes, at most {MOST_CLASSES} are allowed", where=path)


def _beside(map_path: Path, kind: str, map_file: RasterFile, map_tags: Mapping[str, str]) -> RasterFile | None:
    """A raster that belongs to the map, None where there is none."""
    path = map_path.with_name(f"{map_path.stem}.{kind}.tif")
    if not path.is_file():
        return None
    file = inspect_raster(path, str(path))
    grid, wanted = file.grid, map_file.grid
    fix = "make it again with the map, or move it away"
    if (grid.width, grid.height) != (wanted.width, wanted.height) or grid.place_on(wanted) != (0, 0):
        raise DataError(f"has other pixels than {map_path.name}", where=path, fix=fix)
    with open_raster(str(path), str(path)) as dataset:
        models = {tags["model_sha256"] for tags in (map_tags, dataset.tags()) if "model_sha256" in tags}
    if len(models) > 1:
        raise DataError(f"is of another model than {map_path.name}", where=path, fix=fix)
    return file


@contextmanager
def opened(file: RasterFile) -> Iterator[Any]:
    """The open file, within GDAL settings for reading."""
    with reading_environment(), open_raster(file.path, file.path) as dataset:
        yield dataset


def read_window(dataset: Any, bands: list[int], window: Window, path: object) -> npt.NDArray[Any]:
    """Bands of a part of a file, (bands, rows, columns).

    Raises:
        DataError: if it is damaged.
    """
    try:
        values: npt.NDArray[Any] = dataset.read(bands, window=window)
    except RasterioError as error:
        raise DataError("can't be read (damaged?)", where=path, fix="fetch or make the file again") from error
    return values
