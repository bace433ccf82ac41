"""What is done of a map, so that the same command goes on where it was killed (`RowStore`).

In a folder beside the map lie `plan.json` (what the map depends on), a file of raw values for each file of the map, written one row of
windows after the other, boxes, and a line for each row that is on the disk. The folder goes when the map is there.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.errors import UsageError
from eofuse.files import file_name, naming, read_json, synchronise, write_text
from eofuse.maps.products import MapFile

PLAN = "plan.json"
DONE = "done"
BOXES = "boxes.jsonl"

Key = tuple[str, str]
"""Target, and ending of the file."""


@dataclass(frozen=True)
class RawFile:
    """The values of one file of a map: (rows, bands, columns).

    Attributes:
        file: what it holds.
        height: rows of the map.
        width: columns of the map.
    """

    file: MapFile
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, bands and columns."""
        return self.height, len(self.file.bands), self.width

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.file.dtype).itemsize


@dataclass(frozen=True)
class RawRows:
    """The values of a file on the disk, of which `rows[start:end]` reads some; a memory map would stay in memory.

    Attributes:
        path: of the file.
        shape: rows, bands and columns.
        dtype: of the values.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start, end, _ = rows.indices(self.shape[0])
        a_row = self.shape[1] * self.shape[2]
        values = np.fromfile(self.path, self.dtype, (end - start) * a_row, offset=start * a_row * self.dtype.itemsize)
        return values.reshape(end - start, *self.shape[1:])


class RowStore:
    """Keeps the finished rows of one pass over a scene.

    Args:
        folder: made where it is missing.
        name: of the pass.
        plan: what the map depends on, ready for JSON.
        files: by target and ending.

    Attributes:
        done: rows of windows that are on the disk.

    Raises:
        UsageError: if the folder holds the rows of another map.
    """

    def __init__(self, folder: Path, name: str, plan: Mapping[str, Any], files: Mapping[Key, RawFile]) -> None:
        self.folder = folder
        self.name = name
        self.files = dict(files)
        check_plan(folder, plan)
        if not (folder / PLAN).exists():
            write_text(folder / PLAN, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
        self.done = self._count()
        if not self.done:
            for key, raw in self.files.items():
                with self._path(key).open("wb") as file:
                    file.truncate(raw.size)
            for path in (self._journal, self._boxes):
                path.write_bytes(b"")
        else:
            self._cut_boxes()

    @property
    def _journal(self) -> Path:
        return self.folder / f"{self.name}.{DONE}"

    @property
    def _boxes(self) -> Path:
        return self.folder / f"{self.name}.{BOXES}"

    def _path(self, key: Key) -> Path:
        return self.folder / f"{self.name}.{file_name('.'.join(part for part in key if part))}.raw"

    def _count(self) -> int:
        """Rows that are done; 0 where a file is not as it should be."""
        if not self._journal.is_file() or not self._boxes.is_file():
            return 0
        for key, raw in self.files.items():
            if not self._path(key).is_file() or self._path(key).stat().st_size != raw.size:
                return 0
        return len(self._lines())

    def _lines(self) -> list[list[int]]:
        """Number of a row, and bytes of boxes after it, of each whole line of the journal."""
        *lines, _ = self._journal.read_text(encoding="ascii", errors="replace").split("\n")
        found: list[list[int]] = []
        for line in lines:
            words = line.split()
            if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[0]) != len(found):
                break
            found.append([int(word) for word in words])
        return found

    def _cut_boxes(self) -> None:
        """Takes away what was written after the last row that is done, and lines of the journal that are not whole."""
        lines = self._lines()
        os.truncate(self._boxes, lines[-1][1])
        write_text(self._journal, "".join(f"{row} {size}\n" for row, size in lines))

    def write(
        self,
        row: int,
        first: int,
        values: Mapping[Key, npt.NDArray[Any]],
        boxes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Writes what a row of windows finished.

        Args:
            row: number of the row of windows, the next one that is not done.
            first: first row of the map.
            values: by file, (bands, rows, columns).
            boxes: that it found.
        """
        with naming(self.folder):
            self._write(row, first, values, boxes)
        self.done = row + 1

    def _write(
        self, row: int, first: int, values: Mapping[Key, npt.NDArray[Any]], boxes: Sequence[Mapping[str, Any]]
    ) -> None:
        for key, array in values.items():
            raw = self.files[key]
            rows = np.ascontiguousarray(np.moveaxis(array, 0, 1), dtype=raw.file.dtype)
            with self._path(key).open("r+b") as file:
                file.seek(first * len(raw.file.bands) * raw.width * rows.dtype.itemsize)
                file.write(rows.data)
                file.flush()
                os.fsync(file.fileno())
        with self._boxes.open("ab") as file:
            for box in boxes:
                file.write((json.dumps(box) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        with self._journal.open("ab") as file:
            file.write(f"{row} {size}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self, key: Key) -> "RawRows":
        """Values of a file."""
        return RawRows(self._path(key), self.files[key].shape, np.dtype(self.files[key].file.dtype))

    def read_boxes(self) -> list[dict[str, Any]]:
        """All boxes."""
        return [json.loads(line) for line in self._boxes.read_text(encoding="utf-8").splitlines()]


def check_plan(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a folder holds unfinished work on the very map of a plan; false where it holds none.

    Raises:
        UsageError: if it holds that of another map.
    """
    path = folder / PLAN
    if not path.exists():
        return False
    try:
        found = read_json(path)
    except ValueError:
        found = None
    wanted = json.loads(json.dumps(plan))
    if found != wanted:
        if isinstance(found, dict) and {**found, "files": wanted["files"]} == wanted:
            before = [tuple(each) for each in found.get("files", ())]
            changed = next((each[0] for each in wanted["files"] if tuple(each) not in before), "files of the scene")
            fix = "add --overwrite to begin again"
            raise UsageError(f"is unfinished work, and since then {changed} has changed", where=folder, fix=fix)
        fix = "finish that one with its own command, or add --overwrite"
        raise UsageError("is unfinished work on another map", where=folder, fix=fix)
    return True


def has_no_row(folder: Path) -> bool:
    """Whether a folder holds work of which no row is done: begun in vain, and nothing is lost with it."""
    return (folder / PLAN).exists() and not any(path.stat().st_size for path in folder.glob(f"*.{DONE}"))


def remove_rows(folder: Path) -> None:
    """Removes unfinished work, the plan last, so that a removal that is killed can be repeated."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name != PLAN:
            path.unlink()
    synchronise(folder)
    shutil.rmtree(folder)
