"""A first spec of a table that nobody has described yet: what its columns and files seem to be, and what can't be told.

`init` looks at a table, or at a folder with a table and images, or with images only, and writes YAML for `eofuse pack`
(see `eofuse.data.sources.table.spec`). It guesses by names and values and says so; nothing is packed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from eofuse.config import write_yaml
from eofuse.data.collect.labels import LATITUDES, LONGITUDES, column_like
from eofuse.data.collect.proposal import propose
from eofuse.data.doors import OWN_FILES, TABLE_SUFFIXES, describe_path, wrong_door
from eofuse.data.reading.arrays import open_arrays
from eofuse.data.reading.formats import endings, format_of, is_there
from eofuse.data.reading.tables import GEOMETRY_PLACE, decimal_commas, read_table_file
from eofuse.data.reading.vectors import BINARY_SUFFIXES
from eofuse.data.specs.arrays import ArrayPattern, table_of_arrays
from eofuse.data.specs.columns import MOST_SHOWN, Guess, guess_columns
from eofuse.data.specs.files import Found, find_cell_images, find_patterns
from eofuse.data.specs.folders import holds_classes, list_arrays, list_images, table_of_files
from eofuse.data.specs.hub import table_of_parquet
from eofuse.errors import DataError, UsageError
from eofuse.files import write_text
from eofuse.words import counted, listed

GEOJSON = (".geojson",)
"""Endings of files that are labels, never tables."""

DESCRIBED = (*TABLE_SUFFIXES, *BINARY_SUFFIXES)
"""Endings of tables, and of files of shapes that are tables of places."""


@dataclass(frozen=True)
class Init:
    """What `init` wrote.

    Attributes:
        spec: the YAML file.
        found: what it recognised.
        unknown: what somebody has to decide.
        command: that takes the spec.
    """

    spec: Path
    found: tuple[str, ...]
    unknown: tuple[str, ...]
    command: str = "pack"


def init(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Init:
    """Writes a first spec of a folder or table; of labels alone, a spec of a collection.

    Args:
        path: a CSV or Parquet table, or a folder with one, or with images only, of which a table is then written beside the spec; or
            labels: a file of shapes, or a table of places that names no files.
        output: the spec; by default a file with the name of the folder or table, in the working folder.

    Raises:
        UsageError: if there is nothing at the path, or the spec exists already with other content.
        DataError: if there is neither a table nor an image.
    """
    origin = Path(path)
    if not origin.exists():
        raise UsageError("there is no such folder or table", where=origin, fix="check the path")
    if not _may_be_described(origin):
        raise wrong_door(origin, "a folder or table to be described", f"tables end in {', '.join(DESCRIBED)}")
    name = origin.resolve().name.split(".")[0] if origin.is_file() or _is_array(origin) else origin.resolve().name
    spec = Path(output) if output is not None else Path(f"{name}.yaml")
    folder = origin if origin.is_dir() and not _is_array(origin) else origin.parent
    notes: list[str] = []
    decimal: Literal[".", ","] = "."
    if origin.suffix.lower() in GEOJSON:
        return _labels(origin, name, spec)
    hub = table_of_parquet(origin)
    tables = _tables(origin) if hub is None else []
    arrays: Sequence[Found] = ()
    if tables:
        file = tables[0]
        frame = read_table_file(file)
        commas = decimal_commas(file, frame)
        decimal = "," if commas else "."
        frame = read_table_file(file, decimal=decimal) if commas else frame
        notes += [f"another table: {other.relative_to(folder)}" for other in tables[1:]]
        if commas:
            notes.append(f"decimal commas: {', '.join(commas)}")
    else:
        if hub is None:
            frame, arrays = _samples_of(origin, folder)
        else:
            frame, arrays = hub.table, find_cell_images(folder, hub.table, hub.images)
            notes += hub.notes
        file = spec.with_suffix(".csv")
        _write_once(file, frame.to_csv(index=False))
        notes.append(f"there is no table: {file} lists the {'samples' if arrays else 'images'}")
        if "path" not in frame and not arrays:
            notes.append("files of equal names in different folders are one sample")
    own = ["file", "position"] if hub is not None else ["position"] if arrays else ["name"]
    guess = guess_columns(frame.drop(columns=[] if tables else own, errors="ignore"))
    if "folder" in guess.unused and not tables and holds_classes(frame["folder"]):
        guess.labels["folder"] = "class"
        guess.unused.remove("folder")
    if tables:  # names such as 007 are read as numbers above, which no file has in its path
        words = [name for name in guess.columns() if name in frame.columns]
        frame = read_table_file(file, words, decimal)
    identity = "name" if not tables and "name" in frame else guess.id
    patterns = arrays or find_patterns(folder, frame, identity, [*guess.series, *guess.vectors])
    if not tables and not any(file.grid.crs for pattern in patterns for file in pattern.files):
        guess.unknown.append(
            "nothing tells where the images were taken, or which belong together: a random split may put neighbours on both "
            "sides; add a column to the table that says it, as `scene`"
        )
    if origin.is_file() and tables and not patterns and not guess.series and not guess.vectors and _has_places(frame):
        return _labels(origin, name, spec, decimal)
    used = [f"{each.pattern} {{{_rows_of(each)}}}" for each in patterns]
    unused = [column for column in guess.unused if not any(f"{{{column}}}" in each for each in used)]
    if unused:
        guess.unknown.append(f"in no modality, kept in the index (labels?): {listed(unused, MOST_SHOWN)}")
    text = _spec_text(name, spec, folder, file, decimal, guess, patterns, notes)
    _write_once(spec, text)
    return Init(spec, tuple(notes + _found(frame, guess, patterns)), tuple(_unknown(guess, patterns)))


def _rows_of(pattern: Found) -> str:
    """The column with the position of each row in the files of a pattern, "" if there is none."""
    return pattern.rows if isinstance(pattern, ArrayPattern) else pattern.within.get("rows", "")


def _samples_of(origin: Path, folder: Path) -> tuple[pd.DataFrame, list[ArrayPattern]]:
    """A table of what has none: the samples of arrays and the modalities that they make, else the files below a folder.

    Raises:
        DataError: if there are neither.
    """
    if origin != folder:
        found = table_of_arrays([origin], folder)
        if found is None:
            what, fix = describe_path(origin) or ("not known", "")
            raise DataError(f"is {what}, without an axis of samples", where=origin, fix=fix)
        return found.table, found.patterns
    if not list_images(folder):
        found = table_of_arrays([folder / path for path in list_arrays(folder)], folder)
        if found is not None:
            return found.table, found.patterns
    frame = table_of_files(folder)
    if not len(frame):
        fix = f"tables end in {', '.join(DESCRIBED)}, images and arrays in {', '.join(endings())}"
        what, known = "holds neither a table nor an image", describe_path(folder)
        if known is not None:
            what, fix = f"{what}, but is {known[0]}", known[1]
        raise DataError(what, where=folder, fix=fix)
    if format_of(str(frame["path"].iloc[0]) if "path" in frame else "").holds_arrays:
        open_arrays(
            str(folder / frame["path"].iloc[0]), str(folder / frame["path"].iloc[0])
        )  # is an error if it can't be read
    return frame, []


def _has_places(frame: pd.DataFrame) -> bool:
    """Whether a table says where its rows lie."""
    names = list(map(str, frame.columns))
    return {*GEOMETRY_PLACE} <= {*names} or None not in (column_like(names, LONGITUDES), column_like(names, LATITUDES))


def _labels(file: Path, name: str, spec: Path, decimal: Literal[".", ","] = ".") -> Init:
    """Writes a first spec of a collection around labels."""
    root = os.path.relpath(str(file.parent), str(spec.parent))
    proposal = propose(file, name, root, spec.name, decimal)
    _write_once(spec, proposal.text)
    return Init(spec, proposal.found, proposal.unknown, "collect")


def _write_once(path: Path, text: str) -> None:
    """Writes a new file; one that holds this text already is left as it is, so that what was interrupted can be repeated."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    if path.exists():
        raise UsageError("exists already", where=path, fix="remove it, or name another file with -o")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _may_be_described(origin: Path) -> bool:
    """Whether a path is a table, or a folder that is neither a store nor a run or study."""
    if origin.is_file() or _is_array(origin):
        return origin.name.lower().endswith((*DESCRIBED, *GEOJSON, *endings(arrays=True)))
    return not any((origin / name).is_file() for name in OWN_FILES)


def _is_array(origin: Path) -> bool:
    """Whether a path is a file of arrays, or a Zarr store."""
    return format_of(origin.name).holds_arrays and is_there(str(origin))


def _tables(origin: Path) -> list[Path]:
    """Tables at a path, the most likely one first."""
    if _is_array(origin):
        return []
    if origin.is_file():
        return [origin]
    found = [path for pattern in ("*", "*/*") for path in origin.glob(pattern) if path.name.endswith(DESCRIBED)]
    likely = ("index", "meta", "table", "labels", "samples")
    return sorted(
        found, key=lambda path: (len(path.parts), not any(word in path.name.lower() for word in likely), path.name)
    )


def _found(frame: pd.DataFrame, guess: Guess, patterns: Sequence[Found]) -> list[str]:
    lines = [f"{counted(len(frame), 'row')}, {counted(len(frame.columns), 'column')}"]
    lines += [f"{key}: column '{name}'" for key, name in guess.facts().items() if isinstance(name, str)]
    lines += [f"label: column '{name}' ({kind})" for name, kind in guess.labels.items()]
    for name, series in guess.series.items():
        lines.append(
            f"{name}: series of {series.steps} steps, {counted(len(series.channels), 'channel')} ({series.pattern})"
        )
    lines += [
        f"{name}: vector ({columns if isinstance(columns, str) else listed(columns, MOST_SHOWN)})"
        for name, columns in guess.vectors.items()
    ]
    lines += [f"{pattern.name}: {pattern.said()}" for pattern in patterns]
    return lines


def _unknown(guess: Guess, patterns: Sequence[Found]) -> list[str]:
    lines = list(guess.unknown)
    for pattern in patterns:
        lines += [f"{pattern.name}: {question}" for question in pattern.questions()]
    if not patterns and not guess.series and not guess.vectors:
        lines.append("no modality was found: say which columns or files make one")
    return lines


def _spec_text(
    name: str,
    spec: Path,
    folder: Path,
    file: Path,
    decimal: str,
    guess: Guess,
    patterns: Sequence[Found],
    notes: list[str],
) -> str:
    root = os.path.relpath(str(folder), str(spec.parent))
    lines = [
        "# Written by `eofuse init` from names and values: check every line, then",
        "#",
        f"#   eofuse check {spec.name}",
        f"#   eofuse pack {spec.name} {spec.with_suffix('.store').name}",
        *(f"# {note}" for note in notes),
        *_yaml({"name": name, "root": root, "table": os.path.relpath(str(file), str(folder))}),
        *(_yaml({"decimal": decimal}) if decimal != "." else []),
        *_yaml(guess.facts()),
    ]
    if guess.id is None:
        lines.append("# id: …  # no column names each row; rows are then named by their number")
    if guess.scene is None:
        lines.append(
            "# scene: …  # no column with what samples share (acquisition, site); spatial blocks or rows stand in"
        )
    if guess.split is None:
        lines.append("# split: …  # no column says train, validation or test")
    lines += [f"# {line}" for line in guess.unknown]
    if guess.labels:
        lines += _yaml({"labels": dict(guess.labels)})
    else:
        lines.append("# labels: {…: class}  # no column looks like a label")
    smallest = patterns[0].smallest_side if patterns else None
    if smallest is not None:
        lines.append(f"size: {smallest}  # the files differ in size: of larger ones the middle is taken")
    body = [line for pattern in patterns for line in pattern.lines()]
    for series_name, series in guess.series.items():
        body += [f"{series_name}:", "  kind: series", *_yaml({"columns": series.pattern}, 1)]
        body.append(f"  # channels: {', '.join(series.channels)}")
        body.append("  # dates: [2024-01-31, …]  # of the steps, if they are known; or date_columns")
        body += ["  optional: true  # some rows have no value"] if series.has_empty_rows else []
    for vector_name, columns in guess.vectors.items():
        body += [f"{vector_name}:", "  kind: vector", *_yaml({"columns": columns}, 1)]
        body += ["  optional: true  # some cells are empty"] if vector_name in guess.incomplete else []
    lines += ["modalities:" if body else "modalities: {}", *(f"  {line}" for line in body)]
    told = [line.replace("\n", " ") if line.lstrip().startswith("#") else line for line in lines]
    return "\n".join(told) + "\n"


def _yaml(values: Mapping[str, object], depth: int = 0) -> list[str]:
    """Lines of YAML, with lists and mappings within on one line."""
    lines = []
    for key, value in values.items():
        nested = isinstance(value, list | dict)
        text = f"{_flat(key)}: {_flat(value)}" if nested else write_yaml({key: value}).rstrip("\n")
        lines.append("  " * depth + text)
    return lines


def _flat(value: object) -> str:
    """A value as YAML that may stand in a list or mapping on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flat(key)}: {_flat(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, str) and any(mark in value for mark in ",[]{}"):
        return json.dumps(value, ensure_ascii=False)
    return write_yaml({"_": value}).strip().removeprefix("_: ")
