"""Product folders of Sentinel-2 (`.SAFE`, levels 1C and 2A): which file holds which band, the offset of the values, the masked pixels.

Folders, elements and classes are those of the Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD). From processing
baseline 04.00 on, the values of a product hold an offset, which its metadata say; values as stored are those of baselines before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

import numpy as np

from eofuse.data.reading.grid import Grid
from eofuse.data.reading.rasters import PlacedRaster, RasterFile, inspect_raster
from eofuse.data.reading.resampling import Values
from eofuse.data.specs.layers import LayerSpec
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.limits import TEXT
from eofuse.modalities import Modality
from eofuse.words import listed

BANDS = {
    "B01": (0, 60), "B02": (1, 10), "B03": (2, 10), "B04": (3, 10), "B05": (4, 20), "B06": (5, 20), "B07": (6, 20),
    "B08": (7, 10), "B8A": (8, 20), "B09": (9, 60), "B10": (10, 60), "B11": (11, 20), "B12": (12, 20),
}  # fmt: skip
"""Band → its number in the metadata, and metres of its pixels."""

SCENE_CLASSES = {
    "no_data": 0, "saturated": 1, "dark": 2, "cloud_shadow": 3, "vegetation": 4, "not_vegetated": 5, "water": 6,
    "unclassified": 7, "cloud_medium": 8, "cloud_high": 9, "cirrus": 10, "snow": 11,
}  # fmt: skip
"""Class of the scene classification → its code."""

FIRST_BASELINE_WITH_OFFSET = 4.0
SMALLEST = 1
"""What values below it become when an offset is added: 0 stands for no data."""

LARGEST_OFFSET = 65535


@dataclass(frozen=True)
class _Level:
    """A processing level: the file with its metadata, the elements in it, and where the bands lie."""

    metadata: str
    offset: str
    quantification: tuple[str, ...]
    bands: str


LEVELS = (
    _Level(
        "MTD_MSIL2A.xml",
        "BOA_ADD_OFFSET",
        ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
        "R{metres}m/*_{band}_{metres}m.jp2",
    ),
    _Level("MTD_MSIL1C.xml", "RADIO_ADD_OFFSET", ("QUANTIFICATION_VALUE",), "*_{band}.jp2"),
)


@dataclass(frozen=True)
class Product:
    """What happens to the values of a product before they are stored.

    Attributes:
        added: to each channel.
        classes: the scene classification on the grid of the scene, None if nothing is masked.
        masked: its codes whose pixels are missing.
        paths: files besides those of the bands.
    """

    added: tuple[float, ...]
    classes: PlacedRaster | None
    masked: tuple[int, ...]
    paths: tuple[Path, ...]

    def apply(self, values: Values, channels: Sequence[int], classes: Values | None) -> Values:
        """Values of some channels with their offsets, NaN where they are masked.

        Args:
            values: (channels, height, width), NaN where there are no data.
            channels: their positions among those of the product.
            classes: the scene classification (1, height, width), None if nothing is masked.
        """
        added = np.array([self.added[channel] for channel in channels], dtype=values.dtype)[:, None, None]
        if added.any():
            values = np.where(added == 0, values, np.maximum(values + added, SMALLEST))
        if classes is not None:
            values = np.where(np.isin(classes, self.masked), np.nan, values)
        return values


def masked_codes(mask: Collection[int | str]) -> tuple[int, ...]:
    """Codes of classes of the scene classification, which are given as codes or names.

    Raises:
        ValueError: if there is no such class.
    """
    for each in mask:
        if each not in SCENE_CLASSES and each not in SCENE_CLASSES.values():
            raise ValueError(f"the scene classification has no class {each!r}; {did_you_mean(each, SCENE_CLASSES)}")
    return tuple(sorted({SCENE_CLASSES[each] if isinstance(each, str) else each for each in mask}))


def band_files(folder: Path, bands: Sequence[str], where: str) -> list[Path]:
    """The file of each band in its own resolution.

    Raises:
        UsageError: if Sentinel-2 has no such band.
        DataError: if the folder is no product, or lacks a band.
    """
    for band in bands:
        if band not in BANDS:
            raise UsageError(f"Sentinel-2 has no band '{band}'", where=where, fix=did_you_mean(band, BANDS))
    level = _level(folder, where)
    patterns = [level.bands.format(band=band, metres=BANDS[band][1]) for band in bands]
    return [_find(folder, pattern, f"band {band}", where) for band, pattern in zip(bands, patterns, strict=True)]


def read_product(folder: Path, layer: LayerSpec, modality: Modality, scene: str, grid: Grid, where: str) -> Product:
    """What happens to the values of a product.

    Args:
        folder: of the product.
        layer: what the spec says: what it adds to the scene takes the place of the offset in the metadata.
        modality: what is read of it.
        scene: its name.
        grid: of the scene.
        where: for messages.

    Raises:
        DataError: if metadata or scene classification are missing, or not what they should be.
    """
    level = _level(folder, where)
    metadata = folder / level.metadata
    added = (0.0,) * len(modality.channels)
    if not layer.adds_to(scene):
        added = _offsets(metadata, level, modality, layer)
    if layer.mask is None:
        return Product(added, None, (), (metadata,))
    path = _find(folder, "R20m/*_SCL_20m.jp2", "scene classification", where)
    file = inspect_raster(path, f"{where}, {path}")
    return Product(added, _placed(file, grid), masked_codes(layer.mask), (metadata, path))


def _placed(file: RasterFile, grid: Grid) -> PlacedRaster:
    place = file.grid.place_on(grid)
    return PlacedRaster(file, (1,), (None,), place, "nearest" if place is None else None)


def _level(folder: Path, where: str) -> _Level:
    if not folder.is_dir():
        fix = "add it (an archive must be unpacked), or set `optional: true` if scenes may lack it"
        raise DataError("there is no such product folder", where=f"{where}, {folder}", fix=fix)
    for level in LEVELS:
        if (folder / level.metadata).is_file():
            return level
    names = " nor ".join(level.metadata for level in LEVELS)
    fix = "fetch the product again; of products of before December 2016, name the files of the bands under `files`"
    raise DataError(f"holds neither {names}", where=f"{where}, {folder}", fix=fix)


def _find(folder: Path, pattern: str, what: str, where: str) -> Path:
    """The one file of a granule that is like a pattern."""
    found = sorted(folder.glob(f"GRANULE/*/IMG_DATA/{pattern}"))
    if not found:
        fix = "fetch the product again, or list the bands that it has under `bands`"
        raise DataError(f"has no {what} (GRANULE/*/IMG_DATA/{pattern})", where=f"{where}, {folder}", fix=fix)
    if len(found) > 1:
        fix = "keep one granule a product"
        raise DataError(f"has {len(found)} files of {what}", where=f"{where}, {folder}", fix=fix)
    return found[0]


def _offsets(path: Path, level: _Level, modality: Modality, layer: LayerSpec) -> tuple[float, ...]:
    """What is added to the values of each channel, as the metadata say."""
    found: dict[str, dict[str, str]] = {}
    for name, attributes, text in read_elements(path, {"PROCESSING_BASELINE", level.offset, *level.quantification}):
        values = found.setdefault(name, {})
        band = attributes.get("band_id", "")
        if values.setdefault(band, text) != text:
            what = f"{name} is both {values[band]} and {text}"
            raise DataError(what, where=path, fix="fetch the product again")
    for name in level.quantification:
        quantification = found.get(name, {}).get("")
        if quantification is not None and layer.scale is None:
            number = _number(quantification, name, path)
            if number <= 0 or not np.isclose(1 / number, modality.scale):
                what = f"{name} is {quantification}, which does not fit the scale {modality.scale:g} of {modality.name}"
                raise DataError(what, where=path, fix=f"set modalities.{modality.name}.scale")
    fix = f"fetch the product again, or set modalities.{modality.name}.add"
    offsets = found.get(level.offset, {})
    if not offsets:
        baseline = found.get("PROCESSING_BASELINE", {}).get("")
        if baseline is None:
            raise DataError("has no PROCESSING_BASELINE", where=path, fix=fix)
        if _number(baseline, "PROCESSING_BASELINE", path) >= FIRST_BASELINE_WITH_OFFSET:
            raise DataError(f"has no {level.offset}, though its baseline is {baseline}", where=path, fix=fix)
        return (0.0,) * len(modality.channels)
    lacking = [name for name in modality.channel_names if str(BANDS[name][0]) not in offsets]
    if lacking:
        raise DataError(f"has no {level.offset} of {listed(lacking)}", where=path, fix=fix)
    added = tuple(_number(offsets[str(BANDS[name][0])], level.offset, path) for name in modality.channel_names)
    strange = next((each for each in added if not each.is_integer() or abs(each) > LARGEST_OFFSET), None)
    if strange is not None:
        raise DataError(f"{level.offset} is {strange:g}, which is no offset of whole numbers", where=path, fix=fix)
    return added


def _number(text: str, name: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise DataError(f"{name} is '{text[:40]}', which is no number", where=path, fix="fetch the product again")
    return number


def read_elements(path: Path, names: Collection[str]) -> list[tuple[str, dict[str, str], str]]:
    """Elements of an XML file by their names without prefix: name, attributes and text, in order.

    Nothing is expanded or fetched: a file with a document type, which alone can declare entities, is refused.

    Raises:
        DataError: if the file is too large, no XML, or has a document type.
    """
    TEXT.check_file(path)
    found: list[tuple[str, dict[str, str], str]] = []
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        texts.clear()
        if name.rpartition(":")[2] in names:
            found.append((name.rpartition(":")[2], attributes, ""))

    def end(name: str) -> None:
        if found and name.rpartition(":")[2] == found[-1][0] and not found[-1][2]:
            found[-1] = (*found[-1][:2], "".join(texts).strip())
        texts.clear()

    def refuse(*_: object) -> None:
        raise DataError("declares a document type, which metadata have no need of", where=path, fix="do not trust it")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise DataError(f"is no readable XML ({error})", where=path, fix="fetch the product again") from None
    return found
