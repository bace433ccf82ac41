"""What a modality is: a value, not a class to derive from.

A new sensor is a `Modality` with named channels. Names, never positions, match normalisation, pretrained first layers and
scene files. The store keeps the native values; `scale` and `offset` turn them into physical units.

Kinds: a *raster* has channels over a patch's pixels (a categorical one has `categories` and holds their codes), a *vector* has
numbers per patch, a *series* has numbers per step of time, an *image series* has a raster per date, a *category* has one code
per patch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from eofuse.errors import UsageError, did_you_mean

MONTH = "@month"
"""Among the inputs of a batch, no modality but when a patch was seen: (B,) months from 0, −1 where it is not known."""

PLACE = "@place"
"""Among the inputs of a batch, no modality but where a patch lies: (B, 2) longitude and latitude in degrees, NaN where not known."""

CONTEXT = (MONTH, PLACE)
"""What some models take beside modalities, whose names can't begin so."""
TIMES = ".times"
"""Ends the key of the times of an image series in samples and batches."""

VECTORS = "@vectors:"
"""Begins the name under which a batch has vectors that a frozen encoder gave before, (B, width); its modalities follow, with `+`."""


def is_context(name: str) -> bool:
    """Whether something among the inputs of a batch is no modality, but stands beside them."""
    return name.startswith("@")


class Kind(StrEnum):
    """How the values of a modality are laid out: (C, H, W), (C,), (T, 1 + C), (T, C, H, W) or one code.

    Of a series, the first column is the time of each step, and the others are its channels. A channel without a number (NaN) is a
    gap; a step without a time does not exist, and fills up series that are shorter than others.

    The times of an image series stand beside it (`Modality.times_key`). A date without a time (NaN) does not exist and fills up
    series that are shorter than others, whatever its pixels hold; a date with a time does, even if all of its pixels are 0.
    """

    RASTER = "raster"
    VECTOR = "vector"
    SERIES = "series"
    CATEGORY = "category"
    IMAGE_SERIES = "image_series"


@dataclass(frozen=True)
class Channel:
    """One named channel: a band, a polarisation, a weather variable.

    Attributes:
        name: the name by which it is matched.
        aliases: other spellings of the same channel.
        unit: unit of the physical value, "" where it has none.
        resolution_m: native ground sampling distance in metres, for rasters.
    """

    name: str
    aliases: tuple[str, ...] = ()
    unit: str = ""
    resolution_m: float | None = None


CLASS_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#8c2d04", "#202020", "#780069",
    "#00f087", "#69d2ff", "#b4873c", "#4b00b4", "#ff1e69", "#6969ff", "#1e5a3c", "#96d2a5",
    "#0000ff", "#873c69", "#96f069", "#7896ff", "#3c2d96", "#e11ec3", "#f01e00", "#0f4bff",
)  # fmt: skip
"""Colours of classes without a legend of their own: five of Okabe & Ito (2008), then those farthest from all before them in CIELAB, to
usual and to colour-blind eyes (protanopia and deuteranopia as simulated by Machado et al. 2009)."""


def class_colour(number: int) -> str:
    """The colour of a class without a legend, by its place in the list; those of the first 24 can be told apart."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


@dataclass(frozen=True)
class Category:
    """One class of a categorical modality: its code in the data, its name and its legend colour (#rrggbb), which has no meaning."""

    code: int
    name: str
    colour: str = field(default="#888888", compare=False)


LARGEST_CODE = 65_535
"""The largest code of a class map that a store holds."""


def code_places(categories: Sequence[Category]) -> int:
    """Length of a table with a place for each code, and for one above all of them: at least 256, of bytes every one."""
    return max(256, 2 + max((category.code for category in categories), default=0))


@dataclass(frozen=True)
class Modality:
    """A co-registered layer of a patch.

    Attributes:
        name: key of the modality in batches, stores and recipes.
        kind: layout of its values.
        channels: its channels in the order in which they are stored.
        title: name for people.
        dtype: NumPy dtype in which the values are stored.
        scale: factor from stored to physical values, applied before `offset`.
        offset: added after scaling.
        valid_range: smallest and largest physical value that makes sense.
        nodata: stored value that means "nothing here".
        categories: classes of a categorical modality, in the order of the one-hot encoding.
        steps: most steps that a patch has, for series; most dates, for image series.
        dated: whether the time of a step is a day since 1970-01-01, with fractions; else it is the step's number, from 0.
        embedding: name of the embedding whose coordinates the channels are, "" for none: they are normalised together, by one
            deviation, so that directions stay.
        attribution: what the licence of the values wants said of them.
        cell: side of one of its pixels in pixels of the store; above 1, a raster has a coarser grid of its own over the same patch.

    Raises:
        UsageError: if a series has no number of steps, or is not of float32; or an image series has none, or holds codes; or
            something else than a raster of numbers has cells.
    """

    name: str
    kind: Kind
    channels: tuple[Channel, ...]
    title: str = ""
    dtype: str = "float32"
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float] | None = None
    nodata: float | None = None
    categories: tuple[Category, ...] = ()
    steps: int | None = None
    dated: bool = False
    embedding: str = ""
    attribution: str = ""
    cell: int = 1

    def __post_init__(self) -> None:
        if self.kind is Kind.SERIES and not (self.steps and self.steps > 0 and self.dtype == "float32"):
            fix = "give both" if self.dtype == "float32" else f"store float32, not {self.dtype}"
            raise UsageError("a series needs a number of steps, and float32", where=self.name, fix=fix)
        if self.kind is Kind.IMAGE_SERIES and not (self.steps and self.steps > 0):
            fix = "give the most dates that a patch has as `steps`"
            raise UsageError("a series of images needs a number of dates", where=self.name, fix=fix)
        if self.kind is Kind.IMAGE_SERIES and self.categories:
            fix = "make it a raster of one date, or numbers"
            raise UsageError("a series of images can't hold codes of categories", where=self.name, fix=fix)
        if self.cell < 1 or (self.cell > 1 and (self.kind is not Kind.RASTER or self.categories)):
            what = f"cells of {self.cell} pixels are for rasters of numbers"
            raise UsageError(what, where=self.name, fix="give 1, or leave the cell out")

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in stored order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def is_categorical(self) -> bool:
        """Whether the values are codes of `categories`."""
        return bool(self.categories)

    @property
    def width(self) -> int:
        """Number of channels that a model sees: one per channel, or one per category (one-hot).

        Of each step of a series it sees what tells the time, the channels, and whether each is known; of each date of an image series
        the channels, and whether the pixel is known.
        """
        if self.kind is Kind.SERIES:
            return self.time_width + 2 * len(self.channels)
        if self.kind is Kind.IMAGE_SERIES:
            return len(self.channels) + 1
        return len(self.categories) if self.categories else len(self.channels)

    @property
    def time_width(self) -> int:
        """Numbers that tell a model the time of a step: sine and cosine of the season, and years, or the step's number."""
        return 3 if self.dated else 1

    @property
    def is_array(self) -> bool:
        """Whether each patch has an array of its own (raster, series, image series), where others are columns of a table."""
        return self.kind in (Kind.RASTER, Kind.SERIES, Kind.IMAGE_SERIES)

    @property
    def has_pixels(self) -> bool:
        """Whether it has a value at each pixel: a raster, or a raster per date."""
        return self.kind in (Kind.RASTER, Kind.IMAGE_SERIES)

    @property
    def times_key(self) -> str:
        """Key of the times of an image series beside it in samples and batches: (T,), NaN where a date does not exist."""
        return f"{self.name}{TIMES}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Under which its values stand in samples and batches: its name; of an image series, also that of the times."""
        return (self.name, self.times_key) if self.kind is Kind.IMAGE_SERIES else (self.name,)

    def shape(self, patch_size: tuple[int, int], channels: int | None = None) -> tuple[int, ...]:
        """Shape of one patch in native dtype: (C, H, W), (C,), (T, 1 + C), (T, C, H, W), or () of a category.

        A patch may have fewer dates than an image series has at most.

        Args:
            patch_size: height and width of the patch in pixels of the store.
            channels: number of channels, all by default.
        """
        count = len(self.channels) if channels is None else channels
        if self.kind is Kind.RASTER:
            return (count, *self.cells(patch_size))
        if self.kind is Kind.SERIES:
            return (self.steps or 0, 1 + count)
        if self.kind is Kind.IMAGE_SERIES:
            return (self.steps or 0, count, *patch_size)
        return (count,) if self.kind is Kind.VECTOR else ()

    def cells(self, patch_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of its own grid over a patch of so many pixels of the store."""
        height, width = patch_size
        return height // self.cell, width // self.cell

    def channel_index(self, name: str) -> int:
        """Position of a channel by its name or an alias of it.

        Raises:
            UsageError: if there is no such channel.
        """
        for position, channel in enumerate(self.channels):
            if name == channel.name or name in channel.aliases:
                return position
        names = {word.lower(): each.name for each in self.channels for word in (*each.aliases, each.name)}
        fix = did_you_mean(names.get(name.lower(), name), self.channel_names)
        raise UsageError(f"unknown channel '{name}'", where=self.name, fix=fix)

    def own_names(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """The names of channels, whichever of their aliases are given; of all channels for None.

        Raises:
            UsageError: if there is no such channel.
        """
        return self.channel_names if names is None else tuple(self.channel_names[self.channel_index(n)] for n in names)

    def select(self, names: Sequence[str]) -> "Modality":
        """The same modality with only these channels, in the order given.

        Raises:
            UsageError: if a channel is unknown or the modality is categorical.
        """
        if self.is_categorical:
            raise UsageError("the channels of a categorical modality can't be selected", where=self.name)
        return replace(self, channels=tuple(self.channels[self.channel_index(name)] for name in names))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, the inverse of `from_dict`; what only series, embeddings or cells have is left out of others."""
        values = asdict(self)
        has_steps = self.kind in (Kind.SERIES, Kind.IMAGE_SERIES)
        unsaid = {name for name in ("embedding", "attribution") if not values[name]}
        unsaid |= set() if has_steps else {"steps", "dated"}
        unsaid |= set() if self.cell > 1 else {"cell"}
        return {name: value for name, value in values.items() if name not in unsaid}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Modality":
        """Builds a modality from its JSON description."""
        fields = dict(values)
        fields["kind"] = Kind(fields["kind"])
        fields["channels"] = tuple(
            Channel(**{**channel, "aliases": tuple(channel.get("aliases", ()))}) for channel in fields["channels"]
        )
        fields["categories"] = tuple(Category(**category) for category in fields.get("categories", ()))
        if fields.get("valid_range") is not None:
            fields["valid_range"] = tuple(fields["valid_range"])
        return cls(**fields)


def find_modality(name: str, modalities: Iterable[Modality]) -> Modality:
    """The modality of that name.

    Raises:
        UsageError: with the nearest name, if there is none.
    """
    known = {modality.name: modality for modality in modalities}
    if name not in known:
        raise UsageError(f"unknown modality '{name}'", fix=did_you_mean(name, known))
    return known[name]
