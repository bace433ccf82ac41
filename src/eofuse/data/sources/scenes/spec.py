"""The options that say which files make up a set of scenes, and what the values in them are.

`SceneSpec` is the whole file, `LayerSpec` one modality of it; `known_modality` finds what `eofuse.modalities` says about a name and
`describe_layer` makes the `Modality` that the store will hold.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from eofuse.config import Options
from eofuse.data.reading.resampling import METHODS_FOR_CLASSES, Method
from eofuse.data.store.index import RESERVED_NAMES
from eofuse.errors import UsageError, did_you_mean
from eofuse.modalities import BEN_GE_MODALITIES, Category, Channel, Kind, Modality, class_colour

StoredType = Literal["uint8", "int16", "uint16", "int32", "float32"]
STORED_TYPE = {"uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32"} | dict.fromkeys(
    ("float32", "float64"), "float32"
)
"""Dtype of a file → dtype in which an unknown modality is stored by default."""


def check_names(modalities: Iterable[str]) -> None:
    """Raises a ValueError if a modality's name can't name files and columns, or already names one."""
    for name in modalities:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
            raise ValueError(f"'{name}' must begin with a letter and hold letters, digits, _ and - only")
        if name in RESERVED_NAMES:
            raise ValueError(f"'{name}' is a column of the index; choose another name")


class ClassSpec(Options):
    """One class of a class map: its name and its colour in pictures (#rrggbb, chosen if not given)."""

    name: str = Field(min_length=1)
    colour: str | None = Field(default=None, pattern="^#[0-9a-fA-F]{6}$")


class PolygonSpec(Options):
    """Polygons that are drawn on the reference grid; where they overlap, the later one in the file counts.

    Attributes:
        file: path of a GeoJSON file; `{scene}` in it stands for the scene.
        property: the property that holds a polygon's class, as code or as name.
        background: name of the class of the pixels outside all polygons; they are unlabelled by default.
    """

    file: str = Field(min_length=1)
    property: str = Field(min_length=1)
    background: str | None = None


class LayerSpec(Options):
    """One modality: where its values are and what they are.

    Attributes:
        files: path of a raster file; `{scene}` stands for the scene and `{channel}` for a channel, if each has its own file.
        polygons: polygons with a class, in place of a raster.
        kind: numbers or a map of classes; follows from the name or from `categories` by default.
        title: name for people.
        channels: names of the bands, in the order of the file unless the file names its bands.
        unit: unit of the physical values, for modalities that eofuse does not know.
        dtype: dtype in which the values are stored.
        scale: factor from stored to physical values.
        offset: added to them after scaling.
        add: added to the values of the files before they are stored; one number, or one for each scene that needs it.
        clip: smallest and largest value that is stored; what lies beyond is set to them. Without it, that is an error.
        nodata: value that means "nothing here" in the files, in place of what the files declare; masks of the files count besides.
        resampling: how files on another grid are brought to the reference's, in place of what suits the size of their pixels.
        categories: name of each code of a class map.
    """

    files: str | None = Field(default=None, min_length=1)
    polygons: PolygonSpec | None = None
    kind: Literal["raster", "category"] | None = None
    title: str = ""
    channels: tuple[str, ...] | None = Field(default=None, min_length=1)
    unit: str = ""
    dtype: StoredType | None = None
    scale: float | None = Field(default=None, gt=0)
    offset: float | None = None
    add: float | dict[str, float] = 0.0
    clip: tuple[float, float] | None = None
    nodata: float | None = Field(default=None, allow_inf_nan=False)
    resampling: Method | None = None
    categories: dict[Annotated[int, Field(ge=0, le=255)], str | ClassSpec] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "LayerSpec":
        if (self.files is None) == (self.polygons is None):
            raise ValueError("give either files or polygons")
        if self.files is not None and self.files.startswith("/"):
            raise ValueError("files must be relative to root; set root")
        if self.kind == "raster" and (self.polygons or self.categories):
            raise ValueError("polygons and categories make a map of classes, so kind must be category")
        if self.polygons is not None and self.resampling is not None:
            raise ValueError("resampling has no meaning for polygons: a pixel has the class in which its centre lies")
        if self.channels is not None and len(set(self.channels)) < len(self.channels):
            raise ValueError("a channel is named twice")
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError("clip must be the smallest and the largest value")
        return self

    def added(self, scene: str) -> float:
        """What is added to the values of a scene."""
        return self.add.get(scene, 0.0) if isinstance(self.add, Mapping) else self.add


class SceneSpec(Options):
    """A set of scenes that is cut into patches.

    Attributes:
        name: name of the dataset.
        root: folder to which the paths of files are relative; it is itself relative to the folder of the spec.
        reference: modality on whose grid all others are brought; the first with files by default.
        modalities: by name.
        scenes: those wanted; by default, all for which the reference has a file.
        block: side in patches of the blocks of the index, which splits by `blocks` keep together.
        simulated: whether the pixels are simulated.
    """

    name: str = Field(min_length=1)
    root: str = "."
    reference: str | None = None
    modalities: dict[str, LayerSpec] = Field(min_length=1)
    scenes: tuple[str, ...] | None = Field(default=None, min_length=1)
    block: int = Field(default=1, ge=1)
    simulated: bool = False

    @field_validator("modalities")
    @classmethod
    def _check_names(cls, modalities: dict[str, LayerSpec]) -> dict[str, LayerSpec]:
        check_names(modalities)
        return modalities

    @model_validator(mode="after")
    def _check(self) -> "SceneSpec":
        with_files = [name for name, layer in self.modalities.items() if layer.files is not None]
        if not with_files:
            raise ValueError("a modality with files is needed as reference")
        if self.reference is not None and self.reference not in with_files:
            raise ValueError(
                f"reference '{self.reference}' is no modality with files; {did_you_mean(self.reference, with_files)}"
            )
        if "{scene}" not in str(self.modalities[self.reference or with_files[0]].files):
            raise ValueError("the files of the reference must have {scene} in their path")
        if self.scenes is not None and len(set(self.scenes)) < len(self.scenes):
            raise ValueError("a scene is named twice")
        return self

    @property
    def reference_name(self) -> str:
        """Name of the reference modality."""
        return self.reference or next(name for name, layer in self.modalities.items() if layer.files is not None)


def known_modality(name: str, layer: LayerSpec) -> Modality | None:
    """What eofuse knows about a modality of that name, with the channels wanted; None if it knows none.

    Raises:
        UsageError: if it is known as something that a raster can't be, or a channel is unknown.
    """
    known = next((modality for modality in BEN_GE_MODALITIES if modality.name == name), None)
    where = f"modalities.{name}"
    if known is None:
        return None
    if known.kind is not Kind.RASTER:
        raise UsageError("this name stands for values without pixels", where=where, fix="choose another name")
    kind = "category" if known.is_categorical else "raster"
    if layer.kind not in (None, kind):
        fix = "leave kind out, or choose another name"
        raise UsageError(f"this name stands for a modality of kind {kind}", where=where, fix=fix)
    if layer.categories is not None:
        fix = "leave categories out, or choose another name"
        raise UsageError("the categories of this name are fixed", where=where, fix=fix)
    return known.select(layer.channels) if layer.channels and not known.is_categorical else known


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
        tuple(Channel(channel, unit=layer.unit) for channel in channels),
        title=name,
        dtype=layer.dtype or STORED_TYPE[dtype],
        nodata=_finite(declared_nodata) if layer.nodata is None else layer.nodata,
    )
    changes: dict[str, object] = {
        "title": layer.title or modality.title,
        "dtype": layer.dtype or modality.dtype,
        "scale": modality.scale if layer.scale is None else layer.scale,
        "offset": modality.offset if layer.offset is None else layer.offset,
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
        return replace(known, title=layer.title or known.title)
    if not layer.categories:
        fix = "add categories, like {1: water, 2: forest}"
        raise UsageError("a map of classes needs the names of its codes", where=where, fix=fix)
    categories = []
    for number, (code, entry) in enumerate(layer.categories.items()):
        given = ClassSpec(name=entry) if isinstance(entry, str) else entry
        categories.append(Category(code, given.name, given.colour or class_colour(number)))
    names = [category.name for category in categories]
    if len(set(names)) < len(names):
        raise UsageError("two codes have the same name", where=f"{where}.categories")
    codes = {category.code for category in categories}
    if layer.nodata in codes:
        raise UsageError("is the code of a category", where=f"{where}.nodata", fix="remove one of the two")
    wished = [value for value in (layer.nodata, declared_nodata, 0, 255) if value is not None]
    free = [int(value) for value in wished if value in range(256) and int(value) not in codes]
    title = layer.title or name
    return Modality(
        name,
        Kind.RASTER,
        (Channel(channels[0], unit="class"),),
        title,
        "uint8",
        nodata=free[0] if free else None,
        categories=tuple(categories),
    )
