"""Folders of Hugging Face `datasets` as tables for `init`: Parquet files with images, and names of classes in their schema."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.data.reading.formats.parquet_images import image_columns
from eofuse.data.specs.columns import is_text
from eofuse.data.specs.folders import part_of
from eofuse.errors import DataError
from eofuse.limits import TABLE
from eofuse.words import counted


@dataclass(frozen=True)
class HubTable:
    """A row for each sample of a folder or file.

    Attributes:
        table: with `file` and `position`, where its images are, and the columns without images.
        images: columns with images.
        notes: what was found.
    """

    table: pd.DataFrame
    images: list[str]
    notes: list[str]


def table_of_parquet(origin: Path) -> HubTable | None:
    """The samples of a Parquet file with images, or of all below a folder; None if there are no images in cells.

    Raises:
        DataError: if two files have images in different columns.
    """
    paths = [origin] if origin.is_file() else sorted(origin.rglob("*.parquet"))
    paths = [path for path in paths if path.suffix == ".parquet" and not path.name.startswith(".")]
    folder = origin if origin.is_dir() else origin.parent
    images = image_columns(str(paths[0])) if paths else []
    if not images:
        return None
    parts = {path: part_of(path.relative_to(folder).as_posix()) for path in paths}
    frames = []
    for path in paths:
        if image_columns(str(path)) != images:
            fix = "name one of them, or a folder with the files of one configuration"
            raise DataError(
                f"its images are not in the columns of those before: {', '.join(images)}", where=path, fix=fix
            )
        frame = _without_images(path, images)
        if "split" not in frame and any(parts.values()):
            frame.insert(0, "split", parts[path] or None)
        frame.insert(0, "position", range(len(frame)))
        frame.insert(0, "file", path.relative_to(folder).as_posix())
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    if not any(is_text(table[name]) and table[name].is_unique for name in table):
        table.insert(0, "id", [f"sample_{row}" for row in range(len(table))])
    return HubTable(table, images, [f"{counted(len(paths), 'Parquet file')} with images in {', '.join(images)}"])


def _without_images(path: Path, images: list[str]) -> pd.DataFrame:
    """The other columns, with the names of classes in place of their numbers."""
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if name not in images]
    TABLE.check(file.metadata.num_rows * max(1, len(names)) * 8, "unpacks to", path)
    frame: pd.DataFrame = file.read(columns=names).to_pandas()
    for column, classes in _classes(file.schema_arrow.metadata or {}).items():
        if column in frame:
            frame[column] = frame[column].map(lambda cell, classes=classes: _named(cell, classes))
    for column in map(str, frame.columns):
        if frame[column].map(_is_list).any():
            frame[column] = frame[column].map(lambda cell: ";".join(map(str, cell)) if _is_list(cell) else cell)
    return frame


def _is_list(cell: Any) -> bool:
    return not isinstance(cell, str | bytes | dict) and hasattr(cell, "__len__")


def _named(cell: Any, classes: list[str]) -> Any:
    if _is_list(cell):
        return ";".join(str(_named(each, classes)) for each in cell)
    return classes[int(cell)] if cell is not None and cell == cell and 0 <= int(cell) < len(classes) else None


def _classes(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the classes of each column, as `datasets` keeps them in the schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found = {}
    for column, about in features.items() if isinstance(features, dict) else ():
        inner = about.get("feature", about) if isinstance(about, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            found[column] = [re.sub(r"[;\n]", ",", str(name)) for name in inner["names"]]
    return found
