"""The options that say which columns and files of a table make which modality, label and fact about a sample.

`TableSpec` is the whole file, `ModalitySpec` one modality of it, `LabelSpec` one column that is to be predicted.
"""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from eofuse.config import Options
from eofuse.data.reading.formats import endings
from eofuse.data.specs.dates import ALL, MARK
from eofuse.data.specs.layers import LayerSpec, Name, check_names
from eofuse.errors import did_you_mean

SPLIT_WORDS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "validate", "valid", "val", "dev", "va"),
    "test": ("test", "testing", "tst", "te", "holdout"),
}
"""Part of a split → words for it, in small letters."""

COMMON_KEYS = ("kind", "title", "attribution", "unit", "like", "optional", "scale", "offset", "nodata")
ARRAY_KEYS = ("variables", "rows", "axes")
KEYS_OF_KIND = {
    "raster": ("files", *ARRAY_KEYS, "bands", "dtype", "resampling", "categories", "add", "clip", "embedding"),
    "vector": ("columns", "values", "files", *ARRAY_KEYS, "bands", "embedding"),
    "series": ("columns", "values", "categories", "files", *ARRAY_KEYS, "bands", "dates", "date_columns"),
    "category": ("column", "categories"),
    "image_series": (
        "files",
        *ARRAY_KEYS,
        "date",
        "dates",
        "date_files",
        "bands",
        "dtype",
        "resampling",
        "add",
        "clip",
    ),
}
"""Keys of a modality that have a meaning for its kind, besides the common ones."""

INDEX_KEYS = ("scene", "tile", "column", "row", "block", "split", "time", "lon", "lat")
"""Facts about a sample: each is a key that names a column, and a group of that name in a pattern of `parse` gives it too."""

MOST_WORDS = 255
"""Different words of a column that become categories without being listed."""

MOST_CATEGORIES = 32_767
"""Categories of a column, and the number above their largest code, as the index holds them."""


class ParseSpec(Options):
    """Columns that are cut out of another one.

    Attributes:
        column: the column, a name for example.
        pattern: regular expression that the whole cell must match; each named group, `(?P<tile>…)`, becomes a column.
    """

    column: Name
    pattern: Name

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if not groups:
            raise ValueError("has no named group such as (?P<scene>…)")
        return pattern

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the columns that it makes."""
        return tuple(re.compile(self.pattern).groupindex)


class SplitSpec(Options):
    """The published split.

    Attributes:
        column: says of each row whether it is for training, validation or test.
        values: words of the column that are not understood by themselves → `train`, `validation`, `test`, or null to leave rows out
            of the split.
    """

    column: Name
    values: dict[str, Literal["train", "validation", "test"] | None] = Field(default_factory=dict)

    @field_validator("values", mode="before")
    @classmethod
    def _words(cls, values: Any) -> Any:
        """YAML reads 0 and true as a number and a truth value."""
        return {str(word): part for word, part in values.items()} if isinstance(values, dict) else values


class LabelSpec(Options):
    """One column that is to be predicted.

    Attributes:
        kind: one class, several classes (a list in each cell) or a number.
        separator: what stands between the classes of a cell with text, for `list`.
        values: number that each word stands for, for `number`.
    """

    kind: Literal["class", "list", "number"]
    separator: str | None = Field(default=None, min_length=1)
    values: dict[str, float] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "LabelSpec":
        if self.separator is not None and self.kind != "list":
            raise ValueError("a separator has a meaning for kind list only")
        if self.values is not None and self.kind != "number":
            raise ValueError("values of words have a meaning for kind number only")
        return self


class ModalitySpec(LayerSpec):
    """One modality of a table; see `LayerSpec`."""

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, values: Any) -> Any:
        """The kind that follows from what holds the values."""
        if not isinstance(values, Mapping):
            return values
        if values.get("kind") == "category" and "files" in values and "column" not in values:
            return {**values, "kind": "raster"}  # a map of classes
        if values.get("kind") is not None:
            return values
        is_series = "dates" in values or "date_columns" in values or "{step}" in str(values.get("columns"))
        files = "image_series" if {"date", "dates", "date_files"} & values.keys() else "raster"
        of_key = {"files": files, "column": "category", "columns": "series" if is_series else "vector"}
        kind = next((kind for key, kind in of_key.items() if key in values), None)
        return {**values, "kind": kind} if kind else values

    @model_validator(mode="after")
    def _check(self) -> "ModalitySpec":
        if self.kind is None:
            raise ValueError("give files, column or columns with its values")
        keys = KEYS_OF_KIND[self.kind]
        for key in sorted(self.model_fields_set):
            if key not in (*COMMON_KEYS, *keys):
                raise ValueError(f"{key} has no meaning for kind {self.kind}, which has {', '.join(keys)}")
        if getattr(self, keys[0]) is None and (self.files is None or "files" not in keys):
            raise ValueError(f"kind {self.kind} needs {keys[0]}")
        self._check_numbers()
        if self.kind == "category" and self.model_fields_set & {"unit", "scale", "offset", "like"}:
            raise ValueError("unit, scale, offset and like have no meaning for a category")
        if isinstance(self.columns, tuple) and len(set(self.columns)) < len(self.columns):
            raise ValueError("a name is given twice")
        if self.values is not None and (self.files is not None or self.categories is not None):
            raise ValueError("values say which numbers words in columns stand for; leave files and categories out")
        if self.kind == "series" and self.categories is not None and (self.files is not None or self.like is not None):
            raise ValueError("a series of categories stands in columns, and is like no other")
        if self.kind == "category" and isinstance(self.categories, dict) and max(self.categories) >= MOST_CATEGORIES:
            raise ValueError(f"codes of a category go up to {MOST_CATEGORIES - 1}")
        if isinstance(self.categories, tuple) and len(self.categories) > MOST_CATEGORIES:
            raise ValueError(f"there are {len(self.categories)} categories, {MOST_CATEGORIES} at most can be stored")
        self._check_dates()
        if self.kind == "series":
            self._check_series()
        return self

    def _check_numbers(self) -> None:
        """Numbers without pixels stand in columns or in files."""
        if self.has_pixels or self.kind == "category":
            return
        if self.files is not None and (self.columns is not None or self.date_columns is not None):
            raise ValueError("values are in columns or in files, not in both")
        if self.files is not None and self.files.lower().endswith(endings(arrays=False)):
            raise ValueError(f"files has no meaning for kind {self.kind}, unless they hold arrays (.npy, .nc, .h5, …)")
        if self.files is None and (self.variables or self.rows or self.axes or self.bands):
            raise ValueError("variables, rows, axes and bands have a meaning for files only")

    def _check_dates(self) -> None:
        has_dates = "date" in pattern_fields(self.files or "")
        pattern_fields(self.date_files or "")
        if self.kind != "image_series":
            return
        given = [key for key in ("date", "dates", "date_files") if getattr(self, key) is not None]
        if not given and not has_dates and not str(self.files).lower().endswith(endings(dated=False)):
            return
        if len(given) != 1 or has_dates != (self.date is not None) or self.date not in (None, ALL):
            what = (
                f"files with {MARK} in their path and date: {ALL}, or one file with all dates and dates or date_files"
            )
            raise ValueError(f"a series of images has {what}")
        if self.is_stack and "band" in pattern_fields(self.files or ""):
            raise ValueError("a file with all dates holds all bands, the bands of one date after those of another")

    def _check_series(self) -> None:
        if self.files is not None:
            return
        if self.dates is not None and self.date_columns is not None:
            raise ValueError("give either dates or date_columns")
        if isinstance(self.columns, tuple) or (isinstance(self.columns, str) and "{step}" not in self.columns):
            raise ValueError("columns of a series are a pattern with {step}, or channel: [column of each step]")
        if isinstance(self.date_columns, str) and "{step}" not in self.date_columns:
            raise ValueError("date_columns is a pattern with {step}, or a list of columns")
        if isinstance(self.columns, dict) and len(set(map(len, self.columns.values()))) > 1:
            raise ValueError("every channel needs a column for each step")

    @property
    def has_pixels(self) -> bool:
        """Whether it has files of pixels."""
        return self.kind in ("raster", "image_series")

    @property
    def is_stack(self) -> bool:
        """Whether it is a series of images of which a row has one file."""
        return self.kind == "image_series" and self.date is None

    @property
    def placeholders(self) -> tuple[str, ...]:
        """What stands in braces in `files`, besides `{band}` and, of a series of images, `{date}`."""
        others = ("band", "date") if self.kind == "image_series" else ("band",)
        named = [*pattern_fields(self.files or ""), *pattern_fields(self.date_files or "")]
        return tuple(name for name in dict.fromkeys(named) if name not in others)


class TableSpec(Options):
    """A table, a row a sample, and what its columns are.

    Attributes:
        name: name of the dataset.
        root: folder to which all paths are relative; it is itself relative to the folder of the spec.
        table: path of a CSV, Parquet or GeoParquet table.
        decimal: decimal separator of the numbers of a CSV.
        id: column with the name of each sample, unique; the number of the row by default.
        parse: columns that are cut out of others.
        scene: column with what samples of one acquisition, site or group share; splits don't tear it apart.
        tile: column with the tile that a sample lies in.
        column: column with its column in the tile.
        row: column with its row in the tile.
        block: column with what `split.protocol: blocks` keeps together.
        split: column with the published split.
        time: column with date or time.
        lon: column with the longitude, or x in `crs`.
        lat: column with the latitude, or y in `crs`.
        crs: coordinate reference system of `lon` and `lat`, or the column that names it.
        labels: columns to be predicted, and what they hold.
        modalities: by name.
        reference: raster modality on whose grid all others are brought; the first by default.
        size: side of a patch in pixels of the reference; that of the first row by default.
        outside: whether files may lie outside `root`.
        remote: whether files may be at addresses (`https://`, `s3://`, `/vsi…`).
        simulated: whether the data are simulated.
    """

    name: Name
    root: str = "."
    table: Name
    decimal: Literal[".", ","] = "."
    id: Name | None = None
    parse: tuple[ParseSpec, ...] = ()
    scene: Name | None = None
    tile: Name | None = None
    column: Name | None = None
    row: Name | None = None
    block: Name | None = None
    split: Name | SplitSpec | None = None
    time: Name | None = None
    lon: Name | None = None
    lat: Name | None = None
    crs: Name = "EPSG:4326"
    labels: dict[Name, Literal["class", "list", "number"] | LabelSpec] = Field(default_factory=dict)
    modalities: Annotated[dict[str, ModalitySpec], AfterValidator(check_names)] = Field(default_factory=dict)
    reference: str | None = None
    size: int | None = Field(default=None, ge=1)
    outside: bool = False
    remote: bool = False
    simulated: bool = False

    @model_validator(mode="after")
    def _check(self) -> "TableSpec":
        rasters = self.raster_names
        if self.reference is not None and self.reference not in rasters:
            raise ValueError(f"reference '{self.reference}' is no raster; {did_you_mean(self.reference, rasters)}")
        if (self.column_of("lon") is None) != (self.column_of("lat") is None):
            raise ValueError("lon and lat are given together or not at all")
        groups = [group for each in self.parse for group in each.groups]
        if len(set(groups)) < len(groups):
            raise ValueError("parse gives a column twice")
        return self

    @property
    def raster_names(self) -> list[str]:
        """Names of the modalities with files."""
        return [name for name, modality in self.modalities.items() if modality.has_pixels]

    @property
    def reference_name(self) -> str | None:
        """Name of the reference modality, None if there are no rasters."""
        return self.reference or next(iter(self.raster_names), None)

    def column_of(self, key: str) -> str | None:
        """The column that gives a fact about a sample (one of `INDEX_KEYS`): as the spec names it, else a group of `parse`."""
        given = getattr(self, key)
        if given is not None:
            return given.column if isinstance(given, SplitSpec) else str(given)
        return key if any(key in each.groups for each in self.parse) else None

    def label(self, name: str) -> LabelSpec:
        """What a label column holds."""
        given = self.labels[name]
        return LabelSpec(kind=given) if isinstance(given, str) else given

    def text_columns(self) -> set[str]:
        """Columns that are read as they are written, such as 007."""
        names: list[Any] = [self.id, *(self.column_of(key) for key in ("scene", "tile", "block", "split", "time"))]
        names += [each.column for each in self.parse]
        names += [name for modality in self.modalities.values() for name in modality.placeholders]
        return {name for name in names if name is not None}


def pattern_fields(pattern: str) -> list[str]:
    """What stands in braces in a pattern, each once.

    Raises:
        ValueError: if a brace is not closed, or holds no column's name.
    """
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"files is no pattern: {error}; write {{column}} for what a column holds") from None
    for _, field, form, conversion in parts:
        if field == "" or form or conversion:
            raise ValueError(f"files is no pattern: '{pattern}' has braces that hold more or less than a column's name")
    return list(dict.fromkeys(field for _, field, _, _ in parts if field))
