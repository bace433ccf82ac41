"""What the columns of an unknown table seem to be, by their names and values."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from eofuse.data.reading.tables import GEOMETRY_PLACE
from eofuse.data.sources.table.spec import SPLIT_WORDS
from eofuse.data.store.index import RESERVED_NAMES
from eofuse.words import listed

NAMES = {
    "id": ("id", "patch_id", "sample_id", "image_id", "chip_id", "tile_id", "uid", "name", "sample", "patch", "key"),
    "scene": (
        "scene", "scene_id", "site", "site_id", "group", "acquisition", "product", "location", "plot", "field", "region",
    ),
    "split": ("split", "set", "subset", "partition", "fold", "part", "usage"),
    "time": ("time", "date", "datetime", "timestamp", "acquired"),
    "lon": ("lon", "longitude", "long", "lng"),
    "lat": ("lat", "latitude"),
    "label": (
        "label", "labels", "class", "classes", "target", "y", "category", "tags", "class_name", "land_cover", "land_use",
    ),
}  # fmt: skip
"""What a column may be → names that say so, in small letters, the most telling first."""

LABEL_WORDS = {"label", "labels", "class", "classes", "target", "category", "severity", "grade", "species", "tags"}
"""Words of which one in a column's name makes it a label."""

OUTPUT_WORDS = {
    "pred", "preds", "predicted", "prediction", "predictions", "score", "scores", "prob", "probability",
    "confidence",
}  # fmt: skip
"""Words of which one in a column's name says that a model wrote it: it is no input."""

TIME_WORDS = ("t", "ts", "time", "step", "date", "month", "week", "day", "year")
"""Words before the number of a step that stands in the middle of a column's name."""

MOST_CLASSES = 60
MOST_SHOWN = 8
"""Columns that a line names."""

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
    """What the columns of a table seem to be; names as in `eofuse.data.sources.table.spec.TableSpec`.

    Attributes:
        split: a column, or with a flag such as `is_test` the column and what its values mean.
        vectors: name → columns, or a pattern of them.
        incomplete: vectors with empty cells.
        unused: columns in none of them.
        unknown: what can't be told.
    """

    id: str | None = None
    scene: str | None = None
    split: object = None
    time: str | None = None
    lon: str | None = None
    lat: str | None = None
    labels: dict[str, object] = field(default_factory=dict)
    series: dict[str, SeriesGuess] = field(default_factory=dict)
    vectors: dict[str, list[str] | str] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    unused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """What says what a row is, by key of the spec: columns, and the split."""
        keys = ("id", "scene", "split", "time", "lon", "lat")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}

    def columns(self) -> list[str]:
        """The columns that are facts as they stand."""
        return [name for name in self.facts().values() if isinstance(name, str)]


def guess_columns(table: pd.DataFrame) -> Guess:
    """What the columns of a table seem to be."""
    guess = Guess()
    left = [str(name) for name in table.columns if name not in GEOMETRY_PLACE]

    for key in ("id", "split", "lon", "lat", "scene", "time"):
        by_name = {name.lower(): name for name in reversed(left)}
        candidates = [by_name[name] for name in NAMES[key] if name in by_name]
        found = next((name for name in candidates if _fits(table[name], key)), None)
        if found is not None:
            setattr(guess, key, found)
            left.remove(found)
    if guess.lon is None or guess.lat is None:
        left += [name for name in (guess.lon, guess.lat) if name is not None]
        guess.lon = guess.lat = None
    if guess.id is None:
        unique = [name for name in left if is_text(table[name]) and table[name].notna().all() and table[name].is_unique]
        if unique:
            guess.id = unique[0]
            left.remove(unique[0])
        if len(unique) > 1:
            guess.unknown.append(f"id could also be {listed(unique[1:], MOST_SHOWN)}")
        repeated = [name for name in left if name.lower() in NAMES["id"] and 1 < table[name].nunique() < len(table)]
        guess.unknown += [
            f"column '{name}' has {table[name].nunique()} different values in {len(table)} rows: if it names samples, "
            "make one row of each, with a column for each time step"
            for name in repeated[:1]
        ]
    _guess_flag(table, left, guess)
    outputs = [name for name in left if words_of(name) & OUTPUT_WORDS]
    left = [name for name in left if name not in outputs]
    if outputs:
        guess.unknown.append(f"written by a model, by their names, so no input: {listed(outputs, MOST_SHOWN)}")
    _guess_labels(table, left, guess)
    _guess_series(table, left, guess)
    _guess_vectors(table, left, guess)
    guess.unused = left
    return guess


def words_of(name: str) -> set[str]:
    """The words of a column's name, in small letters: of `damageClass_t0`, damage, class and t."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _guess_flag(table: pd.DataFrame, left: list[str], guess: Guess) -> None:
    """A column such as `is_test` as the split, where there is no other."""
    if guess.split is not None:
        return
    for name in list(left):
        found = re.fullmatch(r"(?:is|in|for)?_?(train|training|test|val|validation)(?:_?set)?", name.lower())
        if not found or name.lower() in ("train", "test") or not _is_flag(table[name]):
            continue
        part = next(part for part, words in SPLIT_WORDS.items() if found[1] in words)
        other = "test" if part == "train" else "train"
        yes, no = ("true", "false") if pd.api.types.is_bool_dtype(table[name]) else ("1", "0")
        guess.split = {"column": name, "values": {yes: part, no: other}}
        guess.unknown.append(f"split: '{name}' is read as {part}, all other rows as {other}")
        left.remove(name)
        return


def _is_flag(cells: pd.Series) -> bool:
    """Whether cells are true and false, or 1 and 0."""
    numbers = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    return bool(pd.api.types.is_bool_dtype(cells) or (numbers and cells.isin([0, 1]).all()))


def is_text(cells: pd.Series) -> bool:
    """Whether cells hold words."""
    return bool(pd.api.types.is_string_dtype(cells)) and not cells.map(np.ndim).any()


def _fits(cells: pd.Series, key: str) -> bool:
    """Whether the values of a column are such as its name tells."""
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
        named = name.lower() in NAMES["label"] or bool(words_of(name) & LABEL_WORDS)
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
    """Columns such as s1_VV_t0, s1_VV_t1 or s1-ts0-VV, s1-ts1-VV: a series for each word, if its channels have the same steps."""
    early: dict[tuple[str, str], dict[str, dict[int, str]]] = {}
    groups: dict[tuple[str, str], dict[str, dict[int, str]]] = {}
    for name in left:
        if not pd.api.types.is_numeric_dtype(table[name]):
            continue
        if match := re.fullmatch(
            rf"(?P<start>(?:.+?[_.-])?(?:{'|'.join(TIME_WORDS)}))(?P<step>[0-9]+)(?P<mark>[_.-])(?P<channel>.+)", name
        ):
            by_step = early.setdefault((match["start"], match["mark"]), {})
            by_step.setdefault(match["channel"], {})[int(match["step"])] = name
        elif match := re.fullmatch(r"(?P<channel>.+?)(?P<mark>[_.-][A-Za-z]{0,5})(?P<step>[0-9]+)", name):
            family, _, rest = match["channel"].partition("_")
            key = (family if rest else "", match["mark"])
            groups.setdefault(key, {}).setdefault(rest or family, {})[int(match["step"])] = name
    patterns = {f"{start}{{step}}{mark}{{channel}}": (start, found) for (start, mark), found in early.items()}
    for (family, mark), found in groups.items():
        patterns[f"{family}_{{channel}}{mark}{{step}}" if family else f"{{channel}}{mark}{{step}}"] = (family, found)
    for pattern, (start, channels) in patterns.items():
        steps = {frozenset(by_step) for by_step in channels.values()}
        if len(steps) != 1 or len(next(iter(steps))) < 2:
            continue
        columns = [column for by_step in channels.values() for column in by_step.values()]
        family = re.sub(rf"[_.-]?(?:{'|'.join(TIME_WORDS)})$", "", start) if pattern.endswith("{channel}") else start
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
