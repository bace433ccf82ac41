"""The options of a collection: `CollectSpec` is the whole file, `CollectLayer` one modality of it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from eofuse.config import Options
from eofuse.data.specs.layers import ClassSpec, LayerSpec, Name, check_names

ANY = "any"
"""The time of what does not change, such as elevation."""

CHOICES = ("nearest", "least_cloudy", "median", "steps")
PLACES = ("centroid", "cells")
MARK = re.compile(r"\{(\w+)\}")
"""What stands for a column of the labels in the path of a file."""

BAND_MARKS = ("band", "channel")
_DAYS = {"day": 1, "week": 7, "month": 30.4375, "year": 365.25}


def days(value: object) -> float:
    """A duration such as `30 days`, `2 weeks` or a number of days, in days; a ValueError if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(day|week|month|year)?s?\s*", str(value))
    if not match:
        raise ValueError("must be a duration such as 30 days, 2 weeks or 6 months")
    return float(match[1]) * _DAYS[match[2] or "day"]


Days = Annotated[float, BeforeValidator(days), Field(ge=0)]


def moment(value: object) -> datetime:
    """A date or time in UTC; a ValueError if it is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be a date such as 2023-07-15") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class LabelOptions(Options):
    """What is known on the ground, or where patches shall lie.

    Attributes:
        file: points or polygons (GeoPackage, Shapefile, GeoJSON, GeoParquet, FlatGeobuf), or a table (CSV, Parquet) with a column
            of longitudes and one of latitudes.
        grid: in place of a file: a region that is covered by patches side by side, as west, south, east and north in degrees, or
            as a file of polygons.
        target: key `property`: the property or column with what is to be predicted.
        used_as: key `as`: `class` (or number) of the patch; `mask`: pixels with a class, unlabelled elsewhere; `boxes`: patches
            around shapes that a recipe names as boxes.
        at: where patches lie: each around the `centroid` of a label, or on `cells` of a grid that hold labels.
        background: of a mask: class of the pixels outside all polygons; they are unlabelled by default.
        categories: of a mask: code → name; by default the names in their order, from 1 on.
        id: property or column with a name of each place.
        lon: column of a table with longitudes, or with eastings of `crs`.
        lat: column of a table with latitudes, or with northings of `crs`.
        crs: coordinate reference system of `lon` and `lat`.
        group: property or column with what belongs together (site, farm); splits by scene keep it on one side.
        decimal: decimal separator of the numbers of a CSV.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    file: Name | None = None
    grid: tuple[float, float, float, float] | Name | None = None
    target: Name | None = Field(default=None, alias="property")
    used_as: Literal["class", "mask", "boxes"] = Field(default="class", alias="as")
    at: Literal["centroid", "cells"] | None = None
    background: Name | None = None
    categories: dict[Annotated[int, Field(ge=0, le=255)], Name | ClassSpec] | None = Field(default=None, min_length=1)
    id: Name | None = None
    lon: Name | None = None
    lat: Name | None = None
    crs: Name | None = None
    group: Name | None = None
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _check(self) -> "LabelOptions":
        if (self.file is None) == (self.grid is None):
            raise ValueError("give either file or grid")
        if self.grid is not None and (given := self.model_fields_set - {"grid"}):
            raise ValueError(f"{min(given)} has no meaning for a grid, which has no labels")
        if self.used_as == "mask" and self.target is None:
            raise ValueError("a mask needs the property with the class of each label")
        if self.used_as != "mask" and (self.background is not None or self.categories is not None):
            raise ValueError("background and categories have a meaning for masks only (as: mask)")
        if self.used_as == "class" and self.at == "cells" and self.target is not None:
            raise ValueError("a cell can hold several labels: use as: mask, or at: centroid")
        if (self.lon is None) != (self.lat is None):
            raise ValueError("give both lon and lat")
        if isinstance(self.grid, tuple):
            west, south, east, north = self.grid
            if not (-90 <= south < north <= 90 and -180 <= west <= 180 and -180 <= east <= 180 and west != east):
                raise ValueError("grid must be west, south, east and north in degrees, or a file of polygons")
        return self

    @property
    def on_cells(self) -> bool:
        """Whether patches lie on the cells of a grid."""
        return self.grid is not None or (self.at or ("centroid" if self.used_as == "class" else "cells")) == "cells"


class PatchOptions(Options):
    """The pixels of a patch, in the UTM zone of its place.

    Attributes:
        size: pixels along a side.
        resolution: side of a pixel in metres.
        origin: easting and northing of a corner of a pixel: 0, 0 fits the grids of Sentinel-2, 15, 15 those of Landsat.
    """

    size: int = Field(default=120, ge=1, le=10_000)
    resolution: float = Field(default=10.0, gt=0)
    origin: tuple[float, float] = (0.0, 0.0)


class TimeOptions(Options):
    """Which dates count.

    Attributes:
        column: property or column with the date of each place.
        within: of a column: days before and after it.
        before: of a column: days before it, in place of `within`.
        after: of a column: days after it, in place of `within`.
        first: key `from`: first day of a fixed range.
        last: key `to`: last day of a fixed range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    column: Name | None = None
    within: Days | None = None
    before: Days | None = None
    after: Days | None = None
    first: Annotated[datetime, BeforeValidator(moment)] | None = Field(default=None, alias="from")
    last: Annotated[datetime, BeforeValidator(moment)] | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _check(self) -> "TimeOptions":
        has_reach = {"within", "before", "after"} & self.model_fields_set
        if self.column is not None:
            if not has_reach or self.first or self.last:
                raise ValueError("a column needs the days around it: within: 30 days, or before and after")
            if self.within is not None and len(has_reach) > 1:
                raise ValueError("give either within, or before and after")
        elif has_reach or self.first is None or self.last is None:
            raise ValueError("give a column and the days around it (within: 30 days), or a range (from, to)")
        elif self.first > self.last:
            raise ValueError("`from` must not be after `to`")
        return self

    def window(self, date: datetime | None) -> tuple[datetime, datetime]:
        """First and last moment that count for a place of a date."""
        if self.column is None:
            assert self.first is not None
            assert self.last is not None
            is_day = (self.last.hour, self.last.minute, self.last.second) == (0, 0, 0)
            return self.first, self.last + (timedelta(days=1, seconds=-1) if is_day else timedelta())
        assert date is not None
        before = self.within if self.within is not None else self.before or 0.0
        after = self.within if self.within is not None else self.after or 0.0
        day = timedelta(days=1, seconds=-1) if (date.hour, date.minute, date.second) == (0, 0, 0) else timedelta()
        return date - timedelta(days=before), date + day + timedelta(days=after)


class MaskOptions(Options):
    """An asset that says which pixels are clouds, or otherwise of no use.

    Attributes:
        asset: key of the asset.
        classes: of a map of classes: codes that are missing.
        bits: of an asset whose bits are flags: numbers of those of which any makes a pixel missing, from 0.
    """

    asset: Name
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    bits: tuple[Annotated[int, Field(ge=0, le=31)], ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "MaskOptions":
        if (self.classes is None) == (self.bits is None):
            raise ValueError("give either classes or bits")
        return self


class CollectLayer(LayerSpec):
    """One modality of a collection; its other keys are those of `LayerSpec`.

    Attributes:
        stac: where its items are listed: name of a catalogue that eofuse knows, address of an API, or address or path of a
            static catalogue, collection or list of items.
        collection: id of the collection in it.
        assets: assets that are read: key → name of the band, or just the keys.
        files: in place of `stac`: path or address of a raster, with `*`, or with `{column}` for a column of the labels.
        cloud: percent of clouds that an item may have.
        where: properties of items → value that they must have.
        choose: `nearest` date, `least_cloudy` item, `median` of all dates, or `steps`: a series of images.
        most: of `median` and `steps`: dates that are taken at most.
        every: of `steps`: days of which the least cloudy date is taken, such as 10 days.
        mask: name of a rule (`scl`, `qa_pixel`, `fmask`) or asset with classes or bits, for pixels that are missing.
        time: in place of the collection's: which dates count, or `any` for what does not change.
        at: `point` for numbers at the place, of `kind: vector`.
        add: number that is added to the values before they are stored; `baseline` for that of Sentinel-2's processing baseline.
        decibels: whether values are powers, which are stored in decibels.
        sign: name of a hook that signs addresses; by default, that of the known catalogue.
    """

    stac: Name | None = None
    collection: Name | None = None
    assets: dict[Name, Name | tuple[Name, ...]] | tuple[Name, ...] | None = Field(default=None, min_length=1)
    cloud: float | None = Field(default=None, ge=0, le=100)
    where: dict[Name, str | int | float | bool] = Field(default_factory=dict)
    choose: Literal["nearest", "least_cloudy", "median", "steps"] = "nearest"
    most: int = Field(default=12, ge=1, le=1000)
    every: Days | None = None
    mask: Name | MaskOptions | None = None  # type: ignore[assignment]  # names classes elsewhere
    time: TimeOptions | Literal["any"] | None = None
    at: Literal["point"] | None = None
    add: float | Literal["baseline"] | None = None  # type: ignore[assignment]  # by scene elsewhere
    decibels: bool | None = None
    sign: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> "CollectLayer":
        if (self.stac is None) == (self.files is None):
            raise ValueError("give either stac or files")
        if self.stac is not None and self.collection is None:
            raise ValueError("stac needs the id of a collection")
        for key in ("safe", "polygons", "column", "columns", "dates", "date_files", "date_columns", "date", "bands"):
            if key in self.model_fields_set:
                raise ValueError(f"{key} has no meaning for what is collected")
        if (self.kind == "vector") != (self.at == "point"):
            raise ValueError("numbers at a point need both: kind: vector and at: point")
        if self.kind in ("series", "image_series"):
            raise ValueError("choose: steps makes a series of images; leave kind out")
        if self.every is not None and self.choose != "steps":
            raise ValueError("every has a meaning for choose: steps only")
        if self.categories and self.choose in ("median", "steps"):
            raise ValueError(f"a map of classes has no {self.choose}: choose nearest")
        if self.at == "point" and self.choose == "steps":
            raise ValueError("numbers at a point have no steps: choose nearest or median")
        if self.files is not None and (given := {"collection", "cloud", "where", "sign"} & self.model_fields_set):
            raise ValueError(f"{min(given)} has a meaning for catalogues only")
        return self

    @property
    def is_series(self) -> bool:
        """Whether it is a series of images."""
        return self.choose == "steps"


class NetworkOptions(Options):
    """How patient reading is; it changes nothing in the store.

    Attributes:
        tries: times that an asset is read at most.
        pause: seconds before the second try; twice as many before each other.
        timeout: seconds for an answer.
        connections: assets that are read at a time.
    """

    tries: int = Field(default=4, ge=1, le=100)
    pause: float = Field(default=1.0, ge=0, le=600)
    timeout: float = Field(default=60.0, gt=0, le=3600)
    connections: int = Field(default=8, ge=1, le=64)


class CollectSpec(Options):
    """A collection of patches around labels.

    Attributes:
        name: name of the dataset.
        root: folder to which paths are relative; it is itself relative to the folder of the spec.
        labels: what is known on the ground.
        patch: pixels of a patch.
        time: which dates count.
        modalities: by name.
        network: how patient reading is.
        simulated: whether the pixels are simulated.
    """

    name: str = Field(min_length=1)
    root: str = "."
    labels: LabelOptions
    patch: PatchOptions = PatchOptions()
    time: TimeOptions | Literal["any"] = "any"
    modalities: Annotated[dict[str, CollectLayer], AfterValidator(check_names)] = Field(min_length=1)
    network: NetworkOptions = NetworkOptions()
    simulated: bool = False

    @model_validator(mode="after")
    def _check(self) -> "CollectSpec":
        columns = {time.column for time in self.times.values() if isinstance(time, TimeOptions)} - {None}
        if len(columns) > 1:
            raise ValueError("a place has one date: name one column as time")
        if columns and self.labels.grid is not None:
            raise ValueError("a grid has no column with dates: give a range (from, to)")
        if self.labels.used_as == "mask" and self.labels.target in self.modalities:
            raise ValueError(f"'{self.labels.target}' is the mask of the labels; rename the modality")
        return self

    @property
    def times(self) -> dict[str, TimeOptions | str]:
        """By modality, which dates count."""
        return {name: layer.time or self.time for name, layer in self.modalities.items()}

    @property
    def date_column(self) -> str | None:
        """The column with the date of each place."""
        found = (time.column for time in self.times.values() if isinstance(time, TimeOptions) and time.column)
        return next(found, None)

    def recorded(self) -> dict[str, Any]:
        """What the store keeps of it: all that its content depends on."""
        return self.model_dump(mode="json", by_alias=True, exclude={"root", "network"}, exclude_defaults=True)
