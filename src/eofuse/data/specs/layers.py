"""The keys that say where the values of a modality are and what they are: one `LayerSpec` for tables and scenes.

`known_modality` finds what `eofuse.modalities` says about a layer, and `describe_layer` makes the `Modality` that the store will hold.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from eofuse.config import Options
from eofuse.data.reading.matching import fit_values
from eofuse.data.reading.rasters import Part
from eofuse.data.reading.resampling import METHODS_FOR_CLASSES, Method, Values
from eofuse.data.store.index import RESERVED_NAMES
from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import (
    KNOWN_MODALITIES,
    LARGEST_CODE,
    SENTINEL2,
    Category,
    Channel,
    Kind,
    Modality,
    class_colour,
    find_modality,
)

StoredType = Literal["uint8", "int16", "uint16", "int32", "float32"]
STORED_TYPE = {"uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32"} | dict.fromkeys(
    ("float32", "float64"), "float32"
)
"""Dtype of a file → dtype in which an unknown modality is stored by default."""

OLD_KEYS = {"channels": "bands"}
"""Spellings of versions before → those of today."""

Name = Annotated[str, Field(min_length=1)]
Date = Annotated[str, BeforeValidator(str)]
"""A date as text; YAML reads 2024-06-30 as a date of its own."""

Layer = TypeVar("Layer", bound="LayerSpec")

_logger = logging.getLogger(__name__)


def check_names(modalities: dict[str, Layer]) -> dict[str, Layer]:
    """The modalities themselves; a ValueError if a name can't name files and columns, or already names one."""
    for name in modalities:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
            raise ValueError(f"'{name}' must begin with a letter and hold letters, digits, _ and - only")
        if name in RESERVED_NAMES:
            raise ValueError(f"'{name}' is a column of the index; choose another name")
    return modalities


class ClassSpec(Options):
    """One class of a class map.

    Attributes:
        name: of the class.
        colour: in pictures, as `#rrggbb`; chosen if not given.
    """

    name: str = Field(min_length=1)
    colour: str | None = Field(default=None, pattern="^#[0-9a-fA-F]{6}$")


class PolygonSpec(Options):
    """Polygons that are drawn on the reference grid; where they overlap, the later one in the file counts.

    Attributes:
        file: path of a file of shapes; `{scene}` in it stands for the scene.
        property: the property that holds a polygon's class, as code or as name.
        background: name of the class of the pixels outside all polygons; they are unlabelled by default.
    """

    file: str = Field(min_length=1)
    property: str = Field(min_length=1)
    background: str | None = None


class LayerSpec(Options):
    """One modality: where its values are and what they are.

    Attributes:
        kind: files with pixels (`raster`), numbers, numbers by time step, codes, or files with pixels by date (`image_series`);
            follows from the other keys by default.
        title: name for people.
        unit: of the physical values; one for all, or one for each band or channel.
        embedding: name of the embedding whose coordinates the bands or channels are: they are normalised together, by one deviation.
        attribution: what the licence of the values wants said of them.
        like: a modality that eofuse knows; its scale, offset, nodata and dtype, and units by band name, hold where nothing else
            is said. Of scenes, the one of the same name by default.
        optional: whether rows or scenes may lack it; otherwise a missing file or cell is an error.
        scale: factor from stored to physical values.
        offset: added to them after scaling.
        add: added to the values of files before they are stored; one number, or one for each scene that needs it. It takes the
            place of the offset that a Sentinel-2 product names.
        clip: smallest and largest value that is stored; what lies beyond is set to them. Without it, that is an error.
        nodata: value that means "nothing here", in files or cells, in place of what files declare; masks of files count besides.
        files: path of a raster file, with `{band}` if each band has its own; of a table with `{column}` for what a column holds, of
            scenes with `{scene}`; with `{date}` where there are files of several dates.
        date: of files with `{date}` in their path: `all` dates as a series of images; of scenes also one of them: `first`, `last`,
            `nearest` to that of the reference, or nearest to a day, such as 2023-07-15.
        safe: of scenes: path of a Sentinel-2 product folder with `{scene}`, in place of files.
        mask: of a product: classes of its scene classification, by code or name, whose pixels are missing.
        polygons: of scenes: polygons with a class, in place of files.
        variables: of files that hold several arrays: the name of one, or names in the order of the channels.
        rows: of a table, whether the first axis of an array goes with the rows; or the column with the position of each row, from 0.
        axes: of arrays: what each axis is (`row`, `time`, `channel`, `y`, `x`), where names and sizes don't tell.
        bands: of files: names of the bands, in the order of the file unless the file names its bands.
        dtype: of files: how they are stored.
        resampling: how files on another grid are brought to the reference's, in place of what suits the size of their pixels.
        categories: name of each code of a class map or category; for words in a column also just their list.
        column: of a category of a table: the column with codes or names.
        values: of columns of words: the number that each word stands for.
        columns: of a vector: names, or a pattern with `*` or `{channel}`; of a series: a pattern with `{step}` and, if there are
            several channels, `{channel}`, or the columns of each channel by step.
        dates: of a series, or a stack of images in one file: the date of each step, the same in all rows.
        date_files: of a stack of images in one file: path of the file with its dates, a JSON list or one a line, as `files`.
        date_columns: of a series: the columns with the date of each step, or a pattern with `{step}`.
    """

    kind: Literal["raster", "vector", "series", "category", "image_series"] | None = None
    title: str = ""
    unit: str | dict[str, str] = ""
    embedding: str = ""
    attribution: str = ""
    like: str | None = None
    optional: bool = False
    scale: float | None = Field(default=None, gt=0)
    offset: float | None = None
    add: float | dict[str, float] = 0.0
    clip: tuple[float, float] | None = None
    nodata: float | None = Field(default=None, allow_inf_nan=False)
    files: Name | None = None
    date: Date | None = None
    safe: Name | None = None
    mask: tuple[int | Name, ...] | None = Field(default=None, min_length=1)
    polygons: PolygonSpec | None = None
    variables: Name | tuple[Name, ...] | None = Field(default=None, min_length=1)
    rows: bool | Name = False
    axes: tuple[Literal["row", "time", "channel", "y", "x"], ...] | None = Field(default=None, min_length=1)
    bands: tuple[Name, ...] | None = Field(default=None, min_length=1)
    dtype: StoredType | None = None
    resampling: Method | None = None
    categories: dict[Annotated[int, Field(ge=0, le=LARGEST_CODE)], Name | ClassSpec] | tuple[Name, ...] | None = Field(
        default=None, min_length=1
    )
    values: dict[str, float] | None = Field(default=None, min_length=1)
    column: Name | None = None
    columns: Name | tuple[Name, ...] | dict[Name, tuple[Name, ...]] | None = Field(default=None, min_length=1)
    dates: tuple[Date, ...] | None = Field(default=None, min_length=1)
    date_files: Name | None = None
    date_columns: Name | tuple[Name, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _today(cls, values: Any) -> Any:
        """The keys of versions before by their names of today."""
        if not isinstance(values, Mapping):
            return values
        for old, today in OLD_KEYS.items():
            if old in values and today not in values:
                _logger.warning("note: `%s` of a modality is an old spelling of `%s`", old, today)
                values = {today if key == old else key: value for key, value in values.items()}
        return values

    @model_validator(mode="after")
    def _check_values(self) -> "LayerSpec":
        if self.bands is not None and len(set(self.bands)) < len(self.bands):
            raise ValueError("a band is named twice")
        if self.axes is not None and len(set(self.axes)) < len(self.axes):
            raise ValueError("an axis is named twice")
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError("clip must be the smallest and the largest value")
        return self

    def part(self, row: int | None = None) -> Part:
        """What is wanted of a file of arrays; `row` is the position of a sample in it."""
        names = (self.variables,) if isinstance(self.variables, str) else self.variables or ()
        return Part(names, row, self.axes or (), self.kind == "image_series")

    def added(self, scene: object) -> float:
        """What is added to the values of a scene."""
        return self.add.get(str(scene), 0.0) if isinstance(self.add, Mapping) else self.add

    def adds_to(self, scene: object) -> bool:
        """Whether the spec says what is added to the values of a scene."""
        return str(scene) in self.add if isinstance(self.add, Mapping) else "add" in self.model_fields_set

    def require_scenes(self, name: str, scenes: Collection[str]) -> None:
        """Raises a `UsageError` if something is added to a scene that is not among these; `name` is that of the modality."""
        for scene in self.add if isinstance(self.add, Mapping) else ():
            if scene not in scenes:
                fix = did_you_mean(scene, scenes)
                raise UsageError(f"there is no scene '{scene}'", where=f"modalities.{name}.add", fix=fix)

    def unit_of(self, band: str) -> str:
        """Unit of a band or channel, "" where none is given."""
        return self.unit.get(band, "") if isinstance(self.unit, Mapping) else self.unit

    def stored(self, values: Values, modality: Modality, scene: object, warped: bool, where: str) -> np.ndarray:
        """Values of files as they are stored.

        Args:
            values: (bands, height, width), NaN where there are no data.
            modality: how they are stored.
            scene: that they are of.
            warped: whether they were interpolated.
            where: for messages.

        Raises:
            DataError: if a value does not fit.
        """
        if added := self.added(scene):
            values = values + added
        if self.clip is not None:
            values = np.clip(values, *self.clip)
        return fit_values(values, modality, warped, where)


def known_modality(name: str, layer: LayerSpec) -> Modality | None:
    """What eofuse knows about the modality that a layer is like, or about its name, with the bands wanted; None if it knows none.

    Raises:
        UsageError: if it is known as something that a raster can't be, or a channel is unknown.
    """
    known = next((modality for modality in KNOWN_MODALITIES if modality.name == name), None)
    where = f"modalities.{name}"
    if layer.like is not None:
        known = replace(find_modality(layer.like, KNOWN_MODALITIES), name=name, title=name)
    elif known is None and layer.safe is not None:
        known = replace(SENTINEL2, name=name, title=name)
    if known is None:
        return None
    if known.kind is not Kind.RASTER:
        raise UsageError("this name stands for values without pixels", where=where, fix="choose another name")
    kind = "category" if known.is_categorical else "raster"
    if layer.kind not in (None, kind, *(["image_series"] if kind == "raster" else [])):
        fix = "leave kind out, or choose another name"
        raise UsageError(f"this name stands for a modality of kind {kind}", where=where, fix=fix)
    if layer.categories is not None:
        fix = "leave categories out, or choose another name"
        raise UsageError("the categories of this name are fixed", where=where, fix=fix)
    return known.select(layer.bands) if layer.bands and not known.is_categorical else known


def describe_layer(
    name: str, layer: LayerSpec, channels: tuple[str, ...], dtype: str, declared_nodata: float | None
) -> Modality:
    """The modality as the store will hold it.

    Args:
        name: its name.
        layer: what the spec says.
        channels: names of its channels.
        dtype: dtype of the files.
        declared_nodata: what the files declare as nodata.

    Raises:
        UsageError: if the spec contradicts itself or what is known about the name.
    """
    where = f"modalities.{name}"
    known = known_modality(name, layer)
    if layer.kind == "category" or layer.polygons or layer.categories or (known and known.is_categorical):
        return _describe_classes(name, layer, known, channels, declared_nodata)
    if known is None and layer.dtype is None and dtype not in STORED_TYPE:
        fix = f"choose a dtype: {', '.join(sorted(set(STORED_TYPE.values())))}"
        raise UsageError(f"the files hold {dtype}, which can't be stored", where=where, fix=fix)
    modality = known or Modality(
        name,
        Kind.RASTER,
        tuple(Channel(channel, unit=layer.unit_of(channel)) for channel in channels),
        title=name,
        dtype=layer.dtype or STORED_TYPE[dtype],
        nodata=_finite(declared_nodata) if layer.nodata is None else layer.nodata,
    )
    changes: dict[str, object] = {
        "title": layer.title or modality.title,
        "dtype": layer.dtype or modality.dtype,
        "scale": modality.scale if layer.scale is None else layer.scale,
        "offset": modality.offset if layer.offset is None else layer.offset,
        "embedding": layer.embedding or modality.embedding,
        "attribution": layer.attribution or modality.attribution,
    }
    if modality.nodata is None:
        changes["nodata"] = _finite(declared_nodata) if layer.nodata is None else layer.nodata
    modality = replace(modality, **changes)  # type: ignore[arg-type]
    return replace(modality, nodata=_storable(modality, where))


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _storable(modality: Modality, where: str) -> float | None:
    """The nodata value as the stored dtype holds it."""
    if modality.nodata is None:
        return None
    dtype = np.dtype(modality.dtype)
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    fits = limits.min <= modality.nodata <= limits.max
    if not fits or (dtype.kind != "f" and not float(modality.nodata).is_integer()):
        fix = "choose another dtype or nodata"
        raise UsageError(f"nodata {modality.nodata:g} does not fit the stored {dtype}", where=where, fix=fix)
    return float(np.float32(modality.nodata)) if dtype.kind == "f" else int(modality.nodata)


def list_categories(name: str, layer: LayerSpec) -> tuple[Category, ...]:
    """The categories that a spec lists for a modality of this name.

    Raises:
        UsageError: if two have the same name.
    """
    given = layer.categories or ()
    found = []
    for number, (code, entry) in enumerate(given.items() if isinstance(given, dict) else enumerate(given)):
        about = ClassSpec(name=entry) if isinstance(entry, str) else entry
        found.append(Category(code, about.name, about.colour or class_colour(number)))
    if len({category.name for category in found}) < len(found):
        raise UsageError("two codes have the same name", where=f"modalities.{name}.categories")
    return tuple(found)


def _describe_classes(
    name: str, layer: LayerSpec, known: Modality | None, channels: tuple[str, ...], declared_nodata: float | None
) -> Modality:
    where = f"modalities.{name}"
    for key in ("scale", "offset", "add", "clip", "dtype", "unit"):
        if getattr(layer, key) != LayerSpec.model_fields[key].default:
            raise UsageError("has no meaning for a map of classes", where=f"{where}.{key}", fix="remove it")
    if layer.resampling not in (None, *METHODS_FOR_CLASSES):
        fix = f"choose {' or '.join(METHODS_FOR_CLASSES)}, or leave it out"
        raise UsageError(f"'{layer.resampling}' makes no sense of codes", where=f"{where}.resampling", fix=fix)
    if len(channels) != 1:
        raise UsageError(f"a map of classes has one band, not {len(channels)}", where=where)
    if known is not None:
        return replace(known, title=layer.title or known.title, attribution=layer.attribution or known.attribution)
    if not layer.categories:
        fix = "add categories, like {1: water, 2: forest}"
        raise UsageError("a map of classes needs the names of its codes", where=where, fix=fix)
    categories = list_categories(name, layer)
    codes = {category.code for category in categories}
    if layer.nodata in codes:
        raise UsageError("is the code of a category", where=f"{where}.nodata", fix="remove one of the two")
    dtype, most = ("uint8", 255) if max(codes) < 256 else ("uint16", LARGEST_CODE)
    wished = [value for value in (layer.nodata, declared_nodata, 0, most) if value is not None]
    free = [int(value) for value in wished if value in range(most + 1) and int(value) not in codes]
    title = layer.title or name
    return Modality(
        name,
        Kind.RASTER,
        (Channel(channels[0], unit="class"),),
        title,
        dtype,
        nodata=free[0] if free else None,
        categories=categories,
        attribution=layer.attribution,
    )
