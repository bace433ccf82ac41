"""What the columns of an unknown table seem to be, by their names and values."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eofuse.data.sources.scene_spec import RESERVED_NAMES
from eofuse.data.sources.table_file import GEOMETRY_PLACE
from eofuse.data.sources.table_spec import SPLIT_WORDS

NAMES = {
    "id": ("id", "patch_id", "sample_id", "image_id", "chip_id", "tile_id", "uid", "name", "sample", "patch", "key"),
    "scene": (
        "scene",
        "scene_id",
        "site",
        "site_id",
        "group",
        "acquisition",
        "product",
        "location",
        "plot",
        "field",
        "region",
    ),
    "split": ("split", "set", "subset", "partition", "fold", "part", "usage"),
    "time": ("time", "date", "datetime", "timestamp", "acquired"),
    "lon": ("lon", "longitude", "long", "lng"),
    "lat": ("lat", "latitude"),
    "label": (
        "label",
        "labels",
        "class",
        "classes",
        "target",
        "y",
        "category",
        "tags",
        "class_name",
        "land_cover",
        "land_use",
    ),
}
"""What a column may be → names that say so, in small letters, the most telling first."""

MOST_CLASSES = 60
SEPARATORS = (";", "|", ",")


@dataclass(frozen=True)
class SeriesGuess:
    """Columns that are steps of a series: their pattern, channels, number of steps, and whether a row has no value at all."""

    pattern: str
    channels: tuple[str, ...]
    steps: int
    has_empty_rows: bool


@dataclass
class Guess:
    """What the columns of a table seem to be; names as in `eofuse.data.sources.table_spec.TableSpec`.

    Attributes:
        vectors: name → columns, or a pattern of them.
        incomplete: vectors with empty cells.
        unknown: what can't be told.
    """

    id: str | None = None
    scene: str | None = None
    split: str | None = None
    time: str | None = None
    lon: str | None = None
    lat: str | None = None
    labels: dict[str, object] = field(default_factory=dict)
    series: dict[str, SeriesGuess] = field(default_factory=dict)
    vectors: dict[str, list[str] | str] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, str]:
        """The columns that say what a row is."""
        keys = ("id", "scene", "split", "time", "lon", "lat")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}


def guess_columns(table: pd.DataFrame) -> Guess:
    """What the columns of a table seem to be."""
    guess = Guess()
    left = [str(name) for name in table.columns if name not in GEOMETRY_PLACE]

    def take(key: str) -> None:
        found = _named(table, left, key)
        if found is not None:
            setattr(guess, key, found)
            left.remove(found)

    for key in ("id", "split", "lon", "lat", "scene", "time"):
        take(key)
    if guess.lon is None or guess.lat is None:
        left += [name for name in (guess.lon, guess.lat) if name is not None]
        guess.lon = guess.lat = None
    if guess.id is None:
        unique = [name for name in left if is_text(table[name]) and table[name].notna().all() and table[name].is_unique]
        if unique:
            guess.id = unique[0]
            left.remove(unique[0])
        if len(unique) > 1:
            guess.unknown.append(f"id could also be {', '.join(unique[1:])}")
        repeated = [name for name in left if name.lower() in NAMES["id"] and 1 < table[name].nunique() < len(table)]
        guess.unknown += [
            f"column '{name}' has {table[name].nunique()} different values in {len(table)} rows: if it names samples, "
            "make one row of each, with a column for each time step"
            for name in repeated[:1]
        ]
    _guess_labels(table, left, guess)
    _guess_series(table, left, guess)
    _guess_vectors(table, left, guess)
    if left:
        guess.unknown.append(f"in no modality, kept in the index (labels?): {', '.join(left)}")
    return guess


def is_text(cells: pd.Series) -> bool:
    """Whether cells hold words."""
    return bool(pd.api.types.is_string_dtype(cells)) and not cells.map(np.ndim).any()


def _named(table: pd.DataFrame, names: list[str], key: str) -> str | None:
    """The column with a telling name, if its values are such."""
    by_name = {name.lower(): name for name in reversed(names)}
    candidates = [by_name[name] for name in NAMES[key] if name in by_name]
    return next((name for name in candidates if _fits(table[name], key)), None)


def _fits(cells: pd.Series, key: str) -> bool:
    if key == "id":
        return bool(cells.notna().all() and cells.is_unique)
    if key == "split":
        words = {word for part in SPLIT_WORDS.values() for word in part}
        return bool(cells.dropna().astype(str).str.strip().str.lower().isin(list(words)).all())
    if key in ("lon", "lat"):
        return bool(pd.api.types.is_numeric_dtype(cells) and cells.abs().max() <= (180 if key == "lon" else 90))
    if key == "time":
        return bool(
            pd.to_datetime(cells.dropna().astype(str).head(20), errors="coerce", format="ISO8601").notna().all()
        )
    return not pd.api.types.is_float_dtype(cells) and cells.nunique() > 1


def _guess_labels(table: pd.DataFrame, left: list[str], guess: Guess) -> None:
    for name in list(left):
        cells = table[name]
        named = name.lower() in NAMES["label"]
        kind = _label_kind(cells, named)
        if kind is not None:
            guess.labels[name] = kind
            left.remove(name)


def _label_kind(cells: pd.Series, named: bool) -> object:
    """What sort of label a column may be, None if it is none; numbers only if their column has a telling name."""
    present = cells.dropna()
    if cells.dtype == object and present.map(np.ndim).any():
        return "list"
    if not is_text(cells) and not pd.api.types.is_bool_dtype(cells):
        if not named or not pd.api.types.is_numeric_dtype(cells):
            return None
        few = present.nunique() <= min(MOST_CLASSES, len(present) / 2)
        return "class" if few and (present % 1 == 0).all() else "number"
    words = present.astype(str)
    if len(words) and words.str.fullmatch(r"\s*\[.*\]\s*").all():
        return {"kind": "list", "separator": ","}
    separator = next(
        (each for each in SEPARATORS if named and words.str.contains(each, regex=False).mean() > 0.1), None
    )
    if separator is not None:
        return {"kind": "list", "separator": separator}
    return "class" if 2 <= words.nunique() <= min(MOST_CLASSES, max(2, len(words) / 2)) else None


def _guess_series(table: pd.DataFrame, left: list[str], guess: Guess) -> None:
    """Columns such as s1_VV_t0, s1_VV_t1, …: a series for each first word, if all its channels have the same steps."""
    groups: dict[tuple[str, str], dict[str, dict[int, str]]] = {}
    for name in left:
        match = re.fullmatch(r"(?P<channel>.+?)(?P<mark>[_.-][A-Za-z]{0,5})(?P<step>[0-9]+)", name)
        if match and pd.api.types.is_numeric_dtype(table[name]):
            family, _, rest = match["channel"].partition("_")
            key = (family if rest else "", match["mark"])
            groups.setdefault(key, {}).setdefault(rest or family, {})[int(match["step"])] = name
    for (family, mark), channels in groups.items():
        steps = {frozenset(by_step) for by_step in channels.values()}
        if len(steps) != 1 or len(next(iter(steps))) < 2:
            continue
        columns = [column for by_step in channels.values() for column in by_step.values()]
        pattern = f"{family}_{{channel}}{mark}{{step}}" if family else f"{{channel}}{mark}{{step}}"
        name = modality_name(family or "series", guess.series)
        empty = bool(table[columns].isna().all(axis=1).any())
        guess.series[name] = SeriesGuess(pattern, tuple(channels), len(next(iter(steps))), empty)
        for column in columns:
            left.remove(column)


def _guess_vectors(table: pd.DataFrame, left: list[str], guess: Guess) -> None:
    """Numbers whose names begin with the same word."""
    families: dict[str, list[str]] = {}
    for name in left:
        family, _, rest = name.partition("_")
        if rest and pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name]):
            families.setdefault(family, []).append(name)
    for family, columns in families.items():
        if len(columns) < 2:
            continue
        name = modality_name(family, [*guess.series, *guess.vectors])
        alike = [str(column) for column in table.columns if str(column).startswith(f"{family}_")]
        guess.vectors[name] = f"{family}_*" if alike == columns else columns
        if table[columns].isna().any(axis=None):
            guess.incomplete.add(name)
        for column in columns:
            left.remove(column)


def modality_name(word: str, taken: Collection[str]) -> str:
    """A word as the name of a modality, other than those taken."""
    name = re.sub("[^A-Za-z0-9_-]", "_", word)
    name = name if name[:1].isalpha() and name not in RESERVED_NAMES else f"m_{name}"
    others = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
    return next(other for other in others if other not in taken)
