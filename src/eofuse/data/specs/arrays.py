"""What the arrays in files may be, for `init`: modalities with pixels or without, and tables of samples without a table.

`guess_arrays` looks at a file of one sample, or of all samples of a table; `table_of_arrays` makes a table where arrays of one length
lie in one file, or in files that are named after the parts of a split (`x_train.npy`, `x_test.npy`).
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from eofuse.data.reading.array_files import ArrayFile, Variable
from eofuse.data.reading.arrays import open_arrays
from eofuse.data.reading.axes import NAMES, ROW, TIME, X, Y
from eofuse.data.reading.formats import inspect_file
from eofuse.data.reading.rasters import Part, RasterFile
from eofuse.data.sources.table.spec import SPLIT_WORDS
from eofuse.data.specs.class_maps import MOST_CODES
from eofuse.data.specs.columns import LABEL_WORDS, modality_name, words_of
from eofuse.data.specs.columns import NAMES as COLUMN_NAMES
from eofuse.data.specs.folders import MASK_FOLDERS, SAMPLE
from eofuse.errors import DataError
from eofuse.modalities import class_colour
from eofuse.words import counted

STORED = {"int8": "int16", "int64": "int32", "uint32": "int32", "uint64": "int32"}
"""Dtype that a store does not hold → one that may hold its values."""

MOST_FILES = 40
PIXELS = ("raster", "image_series")
_PARTS = {word: part for part, words in SPLIT_WORDS.items() for word in words}


@dataclass(frozen=True)
class ArrayPattern:
    """Arrays that make a modality; its members are those of `eofuse.data.specs.files.FilePattern`.

    Attributes:
        name: for the modality.
        pattern: of the paths of the files.
        kind: of the modality.
        variables: names of the arrays; empty if there is one without a name.
        rows: what the spec says of the rows: "", `true` or a column.
        dtype: of the values.
        bands: names of the channels, "" where there are none.
        shown: sizes, in words.
        header: of the first channel.
        dated: whether the file tells the dates of steps or images.
        files: the image of the first sample, if it has pixels.
        codes: of a map of classes, codes → colours.
        missing: rows without a file.
    """

    name: str
    pattern: str
    kind: str
    variables: tuple[str, ...]
    rows: str
    dtype: str
    bands: tuple[str, ...]
    shown: str
    header: Variable
    dated: bool = False
    files: tuple[RasterFile, ...] = ()
    codes: dict[int, str] = field(default_factory=dict)
    missing: int = 0
    smallest_side: int | None = None

    def said(self) -> str:
        """What was found, in one line."""
        names = f" {', '.join(self.variables)}" if self.variables else ""
        bands = f"{self.kind.replace('_', ' ')}, {counted(len(self.bands), 'band')} of {self.dtype}"
        return f"{self.pattern}{names}, {bands}, {self.shown}"

    def questions(self) -> list[str]:
        """What can't be told."""
        found = []
        if self.codes:
            found.append(
                f"which classes are the codes {', '.join(map(str, list(self.codes)[:12]))}? others are to be added"
            )
        elif not all(self.bands) and len(self.bands) > 1 and self.kind in PIXELS:
            found.append(f"which bands are the {len(self.bands)}? the file doesn't name them")
        if self.kind in ("series", "image_series") and not self.dated:
            needed = "must be given" if self.kind == "image_series" else "count as even"
            found.append(f"of which dates? the file doesn't tell them, so they {needed}: dates")
        return found

    def lines(self) -> list[str]:
        """The modality as lines of YAML."""
        lines = [f"{self.name}:  # {self.said().removeprefix(self.pattern).strip(', ')}", f"  kind: {self.kind}"]
        lines.append(f'  files: "{self.pattern}"')
        quoted = [f'"{name}"' if re.search(r"[^A-Za-z0-9_./-]", name) else name for name in self.variables]
        if quoted:
            lines.append(f"  variables: {quoted[0] if len(quoted) == 1 else '[' + ', '.join(quoted) + ']'}")
        lines += [f"  rows: {self.rows}"] if self.rows else []
        if self.kind in ("series", "image_series") and not self.dated:
            lines.append("  # dates: [2024-01-31, …]  # one for each step")
        if self.codes:
            named = (f'{code}: {{name: class_{code}, colour: "{colour}"}}' for code, colour in self.codes.items())
            return [*lines, f"  categories: {{{', '.join(named)}}}"]
        if self.kind in PIXELS:
            names = [name or f"band_{number}" for number, name in enumerate(self.bands, 1)]
            told = "" if all(self.bands) else "  # names, in the order of the file, which does not tell them"
            lines.append(f"  bands: [{', '.join(names)}]{told}")
            if self.dtype in STORED:
                lines.append(
                    f"  dtype: {STORED[self.dtype]}  # of the {self.dtype} of the files; a value beyond it is an error"
                )
        if (self.header.scale, self.header.offset) != (1.0, 0.0):
            lines += [f"  scale: {self.header.scale!r}  # as the files declare", f"  offset: {self.header.offset!r}"]
        lines += [f"  unit: {self.header.unit}"] if re.fullmatch("[A-Za-z]+", self.header.unit) else []
        return lines + (
            [f"  # optional: true  # {counted(self.missing, 'row has', 'rows have')} no file"] if self.missing else []
        )


def guess_arrays(
    path: Path, pattern: str, rows: str, taken: Collection[str], samples: int | None = None, name: str = ""
) -> list[ArrayPattern]:
    """The modalities that the arrays of a file make; none if it can't be read.

    Args:
        path: of a file.
        pattern: by which rows name their files.
        rows: what says which row of arrays with an axis of samples is that of a row of the table; "" if there is no such axis.
        taken: names of other modalities.
        samples: number of samples of such arrays.
        name: of the modality, if the arrays have none.
    """
    try:
        file = open_arrays(str(path), str(path))
    except DataError:
        return []
    of_kind: dict[tuple[object, ...], list[Variable]] = {}
    for variable in file.variables.values():
        if not variable.is_numeric or variable.is_coordinate or (rows and variable.shape[:1] != (samples,)):
            continue
        kind = kind_of(variable, bool(rows))
        if kind == "column" or _is_label(variable, name, bool(rows)):
            continue
        alike = kind in PIXELS and not _has_channels(variable, kind, bool(rows))
        key = (kind, variable.shape, variable.dtype, variable.scale, variable.offset) if alike else (variable.name,)
        of_kind.setdefault(key, []).append(variable)
    found: list[ArrayPattern] = []
    for variables in of_kind.values():
        names = [*taken, *(each.name for each in found)]
        own = variables[0].name.rpartition("/")[2]
        single = name if len(of_kind) == 1 and name and not rows else own or name or "image"
        word = modality_name((single if len(variables) == 1 else name or "image").lower(), names)
        described = _describe(file, path, variables, pattern, rows, word)
        found += [described] if described is not None else []
    return found


def _describe(
    file: ArrayFile, path: Path, variables: Sequence[Variable], pattern: str, rows: str, name: str
) -> ArrayPattern | None:
    first, by_row = variables[0], bool(rows)
    kind = kind_of(first, by_row)
    wanted = tuple(each.name for each in variables if each.name)
    axes = [axis.lower() for axis in first.axes]
    time = next((number for number, axis in enumerate(axes) if axis in NAMES[TIME]), None)
    times = None if time is None else file.coordinates(first, time)
    dated = times is not None and times.dtype.kind == "M"
    if kind not in PIXELS:
        sizes = first.shape[by_row:]
        bands = ("",) * (sizes[-1] if (sizes and kind == "vector") or len(sizes) > 1 else 1)
        shown = f"{counted(sizes[0], 'step')}" if kind == "series" else "without pixels"
        return ArrayPattern(name, pattern, kind, wanted, rows, first.dtype, bands, shown, first, dated)
    part = Part(wanted, 0 if by_row else None, (), kind == "image_series")
    try:
        image = inspect_file(str(path), str(path), part)
    except DataError:
        return None
    dates = first.shape[time] if kind == "image_series" and time is not None else 1
    if kind == "image_series" and time is None:
        dates = first.shape[by_row]
    crs = image.grid.crs.to_string() if image.grid.crs else "none"
    shown = f"{image.grid.width} × {image.grid.height} pixels, CRS {crs}"
    shown = f"{counted(dates, 'date')}, {shown}" if kind == "image_series" else shown
    bands = image.names[: len(image.names) // dates]
    codes: dict[int, str] = {}
    words = words_of(f"{name}_{first.name}") & MASK_FOLDERS
    if kind == "raster" and len(bands) == 1 and words and np.dtype(image.dtype).kind in "iu":
        index = (slice(0, SAMPLE),) if by_row else ()
        values = np.unique(file.read(first.name, (*index, *(slice(None),) * (len(first.shape) - len(index)))))
        values = values[values != first.nodata] if first.nodata is not None else values
        if len(values) <= MOST_CODES and values.min(initial=0) >= 0:
            codes = {int(code): class_colour(number) for number, code in enumerate(values)}
    return ArrayPattern(name, pattern, kind, wanted, rows, image.dtype, bands, shown, first, dated, (image,), codes)


def kind_of(variable: Variable, by_row: bool) -> str:
    """The kind of modality that an array may be, or `column` if it has one value a sample."""
    axes = [axis.lower() for axis in variable.axes][by_row:]
    sizes = variable.shape[by_row:]
    named = {role for role in (TIME, X, Y) for axis in axes if axis in NAMES[role]}
    unnamed = not any(axes) or not named
    if {X, Y} <= named:
        return "image_series" if TIME in named and sizes[[a in NAMES[TIME] for a in axes].index(True)] > 1 else "raster"
    if not sizes or (by_row and sizes == (1,)):
        return "column"
    if len(sizes) == 1:
        return "series" if TIME in named else "vector"
    if unnamed and len(sizes) >= 3:
        return "raster" if len(sizes) == 3 else "image_series"
    return "raster" if unnamed and sizes[0] == sizes[1] >= 8 else "series"


def _has_channels(variable: Variable, kind: str, by_row: bool) -> bool:
    return len(variable.shape) - by_row > (3 if kind == "image_series" else 2)


def _is_label(variable: Variable, name: str, by_row: bool) -> bool:
    """Whether an array is named like a label and holds a number, or zeros and ones, a sample."""
    words = words_of(variable.name.rpartition("/")[2] or name)
    named = bool(words & LABEL_WORDS) or (variable.name.lower() or name.lower()) in COLUMN_NAMES["label"]
    return named and by_row and len(variable.shape) == 2 and variable.axes[1] not in NAMES[TIME]


@dataclass(frozen=True)
class ArrayTable:
    """A table that arrays make, and the modalities beside it."""

    table: pd.DataFrame
    patterns: list[ArrayPattern]
    notes: list[str]


def table_of_arrays(paths: Sequence[Path], folder: Path) -> ArrayTable | None:
    """A row for each sample of arrays that have an axis of samples; None if there are none.

    Args:
        paths: of the files of arrays, all of one data set.
        folder: to which the paths of the spec are relative.
    """
    if not 0 < len(paths) <= MOST_FILES:
        return None
    parts = {path: _part(path.name.partition(".")[0]) for path in paths}
    split = len({part for part, _ in parts.values()}) > 1 and all(part for part, _ in parts.values())
    groups: dict[str, list[Path]] = {}
    for path, (part, _) in parts.items():
        groups.setdefault(part if split else "", []).append(path)
    counts = {part: _samples(group, alone=len(paths) == 1) for part, group in groups.items()}
    if any(count is None for count in counts.values()):
        return None
    frames: list[pd.DataFrame] = []
    patterns: dict[str, list[ArrayPattern]] = {}
    taken: list[str] = []
    for part, group in groups.items():
        count = int(counts[part] or 0)
        columns: dict[str, object] = {"split": [part] * count, "position": range(count)} if split else {}
        for path in group:
            stem = parts[path][1] if split else path.name.partition(".")[0]
            columns |= _columns(path, stem, count)
            pattern = path.relative_to(folder).as_posix()
            if split:
                pattern = re.sub(rf"(?<![A-Za-z]){part}(?![A-Za-z])", "{split}", pattern)
            if pattern not in patterns:
                patterns[pattern] = guess_arrays(path, pattern, "position" if split else "true", taken, count, stem)
                taken += [each.name for each in patterns[pattern]]
        frames.append(pd.DataFrame(columns, index=range(count)))
    table = pd.concat(frames, ignore_index=True)
    if not any(table[name].dtype == object and table[name].is_unique for name in table if name != "split"):
        table.insert(
            0, "id", [f"{part or 'sample'}_{row}" for part, count in counts.items() for row in range(int(count or 0))]
        )
    found = [each for group in patterns.values() for each in group]
    return ArrayTable(table, found, [f"{counted(len(table), 'sample')} along the first axis of the arrays"])


def _part(stem: str) -> tuple[str, str]:
    """The word of a part of a split in a name, "" if there is none, and the name without it."""
    tokens = re.split(r"([_.-])", stem)
    part = next((token for token in tokens if token.lower() in _PARTS), "")
    rest = [token for token in tokens if token != part] if part else tokens
    return part, "".join(rest).strip("_.-") or "data"


def _samples(paths: Sequence[Path], alone: bool) -> int | None:
    """The number of samples of the arrays in some files; None if they have no such axis."""
    lengths: Counter[int] = Counter()
    shapes = set()
    named: set[int] = set()
    for path in paths:
        try:
            variables = open_arrays(str(path), str(path)).variables.values()
        except DataError:
            continue
        for variable in variables:
            axes = [axis.lower() for axis in variable.axes]
            if variable.shape and not variable.is_coordinate and variable.dtype != "object":
                lengths[variable.shape[0]] += 1
                shapes.add(variable.shape)
                if axes[0] in NAMES[ROW] - NAMES[Y] and not axes[0].startswith("time"):
                    named.add(variable.shape[0])
                if axes[0] in NAMES[X] | NAMES[Y] | NAMES[TIME]:
                    return None
    if not lengths:
        return None
    if len(named) == 1:
        return named.pop()
    length, count = lengths.most_common(1)[0]
    dimensions = {len(shape) for shape in shapes if shape[0] == length}
    enough = len(dimensions) > 1 or max(dimensions) >= 4 or (alone and count == 1)
    return length if enough and length > 1 else None


def _columns(path: Path, stem: str, samples: int) -> dict[str, object]:
    """Columns of the arrays with one value a sample, and of labels that are zeros and ones."""
    try:
        file = open_arrays(str(path), str(path))
    except DataError:
        return {}
    found: dict[str, object] = {}
    for variable in file.variables.values():
        name = variable.name.rpartition("/")[2] or stem
        if variable.shape[:1] != (samples,) or variable.dtype == "object":
            continue
        if kind_of(variable, True) == "column":
            values = np.asarray(file.read(variable.name, (slice(None),) * len(variable.shape))).reshape(samples)
            words = [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]
            found[name] = values.astype("datetime64[s]").astype(str) if values.dtype.kind == "M" else words
        elif _is_label(variable, stem, True) and variable.is_numeric:
            ones = np.asarray(file.read(variable.name, (slice(None), slice(None))))
            if np.isin(ones, (0, 1)).all():
                single = (ones.sum(axis=1) == 1).all()
                several = [";".join(map(str, np.flatnonzero(row))) for row in ones]
                found[name] = ones.argmax(axis=1) if single else several
    return found
