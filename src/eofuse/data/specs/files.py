"""Images and files of arrays below a folder, and the pattern by which the rows of a table name them."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from eofuse.data.reading.formats import endings, format_of, inspect_file, is_there
from eofuse.data.reading.matching import band_names
from eofuse.data.reading.rasters import Part, RasterFile, inspect_raster, reading_environment
from eofuse.data.specs.arrays import MOST_FILES, ArrayPattern, guess_arrays
from eofuse.data.specs.class_maps import codes_of
from eofuse.data.specs.columns import is_text, modality_name
from eofuse.data.specs.folders import SAMPLE, list_arrays, list_images
from eofuse.errors import DataError
from eofuse.words import counted, listed


@dataclass(frozen=True)
class FilePattern:
    """Files that the rows of a table name.

    Attributes:
        name: for the modality.
        pattern: of their paths, relative to the folder.
        bands: names of the bands if the paths or the files tell them.
        files: what some of them say of themselves.
        missing: rows without a file.
        codes: of a map of classes, codes that some of the files hold → colours.
        within: keys of the spec that say where in its file an image is.
    """

    name: str
    pattern: str
    bands: tuple[str, ...]
    files: tuple[RasterFile, ...]
    missing: int
    codes: Mapping[int, str] | None = None
    within: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of bands."""
        return 1 if self.codes else len(self.bands) or len(self.files[0].names)

    @property
    def smallest_side(self) -> int | None:
        """The smallest side of the files if they differ in size, else None."""
        sizes = {(file.grid.width, file.grid.height) for file in self.files}
        return min(map(min, sizes)) if len(sizes) > 1 else None

    def said(self) -> str:
        """What was found, in one line."""
        sizes = Counter((file.grid.width, file.grid.height) for file in self.files)
        systems = {file.grid.crs.to_string() if file.grid.crs else "none" for file in self.files}
        shown = " or ".join(f"{width} × {height}" for width, height in sizes)
        bands, dtype, crs = counted(self.count, "band"), self.files[0].dtype, listed(sorted(systems), 3)
        return f"{self.pattern}, {bands} of {dtype}, {shown} pixels, CRS {crs}"

    def questions(self) -> list[str]:
        """What can't be told."""
        found = []
        if not self.bands and self.count > 1:
            found.append(f"which bands are the {self.count}? the files don't name them")
        if self.codes:
            codes = listed(map(str, self.codes), 12)
            found.append(f"which classes are the codes {codes}? others, which the first files lack, are to be added")
        elif self.files[0].dtype == "uint8" and self.count == 1:
            found.append("a class map? then give it categories")
        if any(file.alpha is not None for file in self.files):
            found.append(
                "a band is declared as alpha and taken as a mask: name as many bands as there are if it holds values"
            )
        if self.smallest_side is not None:
            found.append(f"files of several sizes: the middle of {self.smallest_side} pixels is taken (size)")
        if self.missing:
            rows = counted(self.missing, "row has", "rows have")
            found.append(f"{rows} no file: set optional: true if that is meant")
        return found

    def lines(self) -> list[str]:
        """The modality as lines of YAML."""
        names = self.bands or tuple(f"band_{number}" for number in range(1, self.count + 1))
        quoted = ", ".join(f'"{name}"' if not re.fullmatch("[A-Za-z][A-Za-z0-9_.-]*", name) else name for name in names)
        lines = [
            f"{self.name}:  # {self.said().removeprefix(self.pattern + ', ')}",
            "  kind: raster",
            f'  files: "{self.pattern}"',
            *(f"  {key}: {value}" for key, value in self.within.items()),
        ]
        if self.codes:
            named = (f'{code}: {{name: class_{code}, colour: "{colour}"}}' for code, colour in self.codes.items())
            return [*lines, f"  categories: {{{', '.join(named)}}}", *self._optional()]
        told = "" if self.bands else "  # names, in the order of the file, which does not tell them"
        lines.append(f"  bands: [{quoted}]{told if self.count > 1 else ''}")
        if self.files[0].dtype == "uint16":
            lines.append("  # like: s2  # if it is Sentinel-2 reflectance × 10,000; else scale, offset and unit")
        band = self.files[0].bands[0]
        if (band.scale, band.offset) != (1.0, 0.0):
            lines += [f"  scale: {band.scale!r}  # as the files declare", f"  offset: {band.offset!r}"]
        if self.files[0].dtype == "uint8" and self.count == 1:
            lines.append("  # categories: {1: …, 2: …}  # if it is a class map")
        return [*lines, *self._optional()]

    def _optional(self) -> list[str]:
        rows = counted(self.missing, "row has", "rows have")
        return [f"  # optional: true  # {rows} no file"] if self.missing else []


Found = FilePattern | ArrayPattern


def find_patterns(folder: Path, table: pd.DataFrame, identity: str | None, taken: Sequence[str] = ()) -> list[Found]:
    """The patterns by which rows name images: every column with paths, else the id in the names of files.

    Args:
        folder: below which the images are.
        table: whose rows name them.
        identity: the column with the id.
        taken: names of other modalities.
    """
    with reading_environment():
        columns = _path_columns(table)
        found: list[Found] = []
        for column in columns:
            word = column.lower() if len(columns) > 1 else "image"
            name = modality_name(word, [*taken, *(each.name for each in found)])
            if table[column].dropna().astype(str).str.lower().str.endswith(endings(arrays=True)).all():
                found += _arrays(folder, table, f"{{{column}}}", [*taken, *(each.name for each in found)], name)
                continue
            described = _described(folder, table, f"{{{column}}}", name, ())
            found += [described] if described is not None else []
        if found:
            return found
        if identity is not None:
            patterns = _patterns_of_ids([*list_images(folder), *list_arrays(folder)], table, identity)
            of_arrays = [pattern for pattern in patterns if format_of(pattern).holds_arrays]
            images = [pattern for pattern in patterns if pattern not in of_arrays]
            found += [each for each in _merge_bands(folder, table, images, taken) if each is not None]
            for pattern in sorted(of_arrays):
                names = [*taken, *(each.name for each in found)]
                found += _arrays(folder, table, pattern, names, _word(pattern, names))
        return found or _arrays_of_all_rows(folder, table, taken)


def find_cell_images(folder: Path, table: pd.DataFrame, columns: Sequence[str]) -> list[FilePattern]:
    """The images in the cells of Parquet files that `file` and `position` name, a pattern a column."""
    found: list[FilePattern] = []
    with reading_environment():
        for column in columns:
            files = []
            for file, position in zip(table["file"].head(SAMPLE).tolist(), table["position"].tolist(), strict=False):
                path = str(folder / file)
                with suppress(DataError):
                    files.append(inspect_file(path, path, Part((column,), position)))
            if not files:
                continue
            name = modality_name(column.lower(), [each.name for each in found])
            codes = codes_of(column, files)
            bands = () if codes else next((band_names(file) for file in files if band_names(file)[0] != "band_1"), ())
            within = {"variables": column, "rows": "position"}
            found.append(FilePattern(name, "{file}", bands, tuple(files), 0, codes, within))
    return found


def _arrays(folder: Path, table: pd.DataFrame, pattern: str, taken: Sequence[str], name: str) -> list[Found]:
    """What the arrays in the files of a pattern make."""
    paths = _paths(folder, table, pattern, ())
    there = [path for path in paths if is_there(path)]
    guesses = guess_arrays(Path(there[0]), pattern, "", taken, name=name) if there else []
    return [replace(each, missing=len(paths) - len(there)) for each in guesses]


def _arrays_of_all_rows(folder: Path, table: pd.DataFrame, taken: Sequence[str]) -> list[Found]:
    """What arrays make whose first axis is as long as the table."""
    found: list[Found] = []
    for path in list_arrays(folder)[:MOST_FILES]:
        names = [*taken, *(each.name for each in found)]
        found += guess_arrays(folder / path, path, "true", names, len(table), _word(path, names))
    return found


def _path_columns(table: pd.DataFrame) -> list[str]:
    """The columns whose cells are paths of images, without repetitions; those with one file for all rows come last."""
    found: dict[tuple[str, ...], str] = {}
    for name in table.columns:
        cells = table[name].dropna()
        if is_text(table[name]) and len(cells) and cells.str.lower().str.endswith(endings()).all():
            found.setdefault(tuple(table[name].astype("string").fillna("")), str(name))
    return [name for _, name in sorted(found.items(), key=lambda each: len(set(each[0])) == 1)]


def _patterns_of_ids(paths: list[str], table: pd.DataFrame, identity: str) -> list[str]:
    """Patterns of the paths that hold the ids of a quarter of the first rows or more, the commonest first."""
    found: Counter[str] = Counter()
    sample = table.head(SAMPLE)
    others = [str(name) for name in table.columns if name != identity and is_text(table[name])]
    for _, row in sample.iterrows():
        name = str(row[identity])
        expression = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")
        for path in paths:
            if name in path and expression.search(path):
                parts = expression.sub(f"{{{identity}}}", path).split("/")
                columns = {str(row[other]): other for other in reversed(others)}
                parts[:-1] = [f"{{{columns[part]}}}" if part in columns else part for part in parts[:-1]]
                found["/".join(parts)] += 1
    for pattern in list(found):  # files of another row, of whose folder a column tells the name
        for other in others:
            if f"{{{other}}}" in pattern:
                for word in table[other].dropna().unique():
                    found.pop(pattern.replace(f"{{{other}}}", str(word)), None)
    return [
        pattern for pattern, count in found.most_common() if count >= len(sample) / 4
    ]  # ids such as 7 occur by chance


def _merge_bands(
    folder: Path, table: pd.DataFrame, patterns: list[str], others: Sequence[str]
) -> list[FilePattern | None]:
    """Modalities: patterns of one folder that differ in a word are the bands of one, if each file has one band."""
    groups: dict[tuple[str, str], list[str]] = {}
    for pattern in sorted(patterns):
        groups.setdefault((pattern.rpartition("/")[0], Path(pattern).suffix), []).append(pattern)
    found: list[FilePattern | None] = []
    taken = list(others)
    for members in groups.values():
        if len(members) > 1:
            first = re.sub(r"[A-Za-z0-9]*$", "", _same_start(members))
            last = re.sub(r"^[A-Za-z0-9]*", "", _same_start([member[::-1] for member in members])[::-1])
            words = tuple(member[len(first) : len(member) - len(last)] for member in members)
            merged = _described(folder, table, f"{first}{{band}}{last}", _name(members[0], "image", taken), words)
            if merged is not None and all(len(file.names) == 1 for file in merged.files):
                found.append(merged)
                taken.append(merged.name)
                continue
        for member in members:
            described = _described(folder, table, member, _word(member, taken), ())
            found.append(described)
            taken += [described.name] if described else []
    return found


def _word(pattern: str, taken: Sequence[str]) -> str:
    """Name of a modality: the words of its files that all rows share, else their folder."""
    word = re.sub(r"\{[^}]*\}", "", Path(pattern).stem).strip("_-. ")
    return _name(pattern, word or "image", list(taken))


def _same_start(texts: list[str]) -> str:
    """The letters with which all texts begin."""
    equal = [len(set(letters)) == 1 for letters in zip(*texts, strict=False)]
    return texts[0][: [*equal, False].index(False)]


def _name(pattern: str, default: str, taken: list[str]) -> str:
    """Name of a modality: the last folder of its files that all rows share, else the default."""
    folders = [part for part in pattern.split("/")[:-1] if "{" not in part]
    return modality_name((folders[-1] if folders and default == "image" else default).lower(), taken)


def _described(
    folder: Path, table: pd.DataFrame, pattern: str, name: str, bands: tuple[str, ...]
) -> FilePattern | None:
    """What the files of a pattern say of themselves; None if none can be read."""
    paths = _paths(folder, table, pattern, bands)
    there = [path for path in paths if os.path.isfile(path)]  # noqa: PTH113 (a str, for speed)
    files = []
    for path in there[:SAMPLE]:
        try:
            files.append(inspect_raster(path, path))
        except DataError:
            continue
    if not files:
        return None
    codes = None if bands else codes_of(f"{name}/{pattern}", files)
    named = (file for file in files if band_names(file)[0] != "band_1")
    told = next(map(band_names, named), ())
    return FilePattern(name, pattern, () if codes else bands or told, tuple(files), len(paths) - len(there), codes)


def _paths(folder: Path, table: pd.DataFrame, pattern: str, bands: tuple[str, ...]) -> list[str]:
    """Path of the first file of each row."""
    columns = [str(column) for column in table.columns if f"{{{column}}}" in pattern]
    paths = []
    for cells in table[columns].astype("string").fillna("").itertuples(index=False, name=None):
        path = pattern.replace("{band}", bands[0]) if bands else pattern
        for column, cell in zip(columns, cells, strict=True):
            path = path.replace(f"{{{column}}}", str(cell))
        paths.append(str(folder / path))
    return paths
