"""One look at the header of every raster of a table: where its rows lie, and what is wrong with a file.

Hundreds of thousands of files take long to open. They are opened in several processes, and what was found is remembered in the user's
cache (`$XDG_CACHE_HOME/eofuse/surveys`, or `~/.cache`) for as long as names, sizes and times of all files, of those beside them and
of their folders are what they were.
"""

import hashlib
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affine import Affine

from eofuse import __version__
from eofuse.data.problems import Problem
from eofuse.data.reading.formats import file_states
from eofuse.data.reading.grid import Grid
from eofuse.data.reading.matching import describe_values
from eofuse.data.reading.rasters import reading_environment
from eofuse.data.sources.table.rasters import RowRasters
from eofuse.data.store.arrays import in_order
from eofuse.data.store.georeference import crs_name, named_crs
from eofuse.errors import DataError
from eofuse.files import replacing
from eofuse.processes import in_processes
from eofuse.progress import Progress

AT_ONCE = 256
"""Rows of a job."""

FEWEST_REMEMBERED = 200
"""Rows from which on a survey is remembered."""


@dataclass
class Survey:
    """What the headers of the files say.

    Attributes:
        grids: of each row, its name of the reference system, transform, width and height; None where it has no place.
        problems: what is wrong with files.
        resampled: by modality and method, number of rows in which it is brought to another grid.
        values: by modality, number of files for each sort of values (see `eofuse.data.reading.matching.describe_values`).
        sidecars: paths of the files that belong to others.
        other_pixels: rows whose pixels are of another size than those of the first.
    """

    grids: list[list[Any] | None] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    resampled: dict[str, Counter[str]] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    sidecars: set[str] = field(default_factory=set)
    other_pixels: int = 0

    def add(self, other: "Survey") -> None:
        """Adds that of the rows after these."""
        self.grids += other.grids
        self.problems += other.problems
        for mine, theirs in ((self.resampled, other.resampled), (self.values, other.values)):
            for name, counts in theirs.items():
                mine.setdefault(name, Counter()).update(counts)
        self.sidecars |= other.sidecars
        self.other_pixels += other.other_pixels

    def places(self) -> list[Grid | None]:
        """The grid of each row."""
        return [
            None if each is None else Grid(named_crs(each[0]), Affine(*each[1:7]), *each[7:]) for each in self.grids
        ]


def survey(
    rasters: RowRasters, ids: Sequence[str], bad: set[str | None], workers: int = 1, progress: Progress | None = None
) -> Survey:
    """Looks at the headers of the files of every row but the bad ones.

    Args:
        rasters: of the table.
        ids: of its rows.
        bad: ids of rows that are not looked at.
        workers: processes that look; the result does not depend on it.
        progress: receives how many rows have been looked at.
    """
    remembered = _file(rasters, bad) if len(ids) >= FEWEST_REMEMBERED else None
    found = None if remembered is None else _recall(remembered)
    if found is not None:
        return found
    found = Survey()
    jobs = in_order(range(len(ids)), AT_ONCE)
    for job, part in zip(jobs, in_processes(_look, (rasters, ids, bad), jobs, workers, where="the files"), strict=True):
        found.add(part)
        if progress:
            progress(job.stop, len(ids))
    if remembered is not None and not found.problems:
        _remember(remembered, found)
    return found


def _look(shared: tuple[RowRasters, Sequence[str], set[str | None]], rows: range) -> Survey:
    rasters, ids, bad = shared
    found = Survey()
    with reading_environment():
        for row in rows:
            found.grids.append(None)
            if ids[row] in bad:
                continue
            try:
                resolved = rasters.resolve(row)
            except DataError as error:
                found.problems.append(Problem.from_error(error, ids[row]))
                continue
            for modality, files in resolved.files.items():
                found.values.setdefault(modality, Counter()).update(map(describe_values, files))
                found.sidecars.update(path for raster in files for path in raster.file.sidecars)
            for modality, method in resolved.resampled().items():
                found.resampled.setdefault(modality, Counter())[method] += 1
            found.other_pixels += resolved.has_pixels_unlike(rasters.reference)
            if resolved.files and resolved.grid.crs:
                grid = resolved.grid
                found.grids[-1] = [crs_name(grid.crs), *grid.transform[:6], grid.width, grid.height]
    return found


def _states(paths: Iterable[str]) -> Iterable[str]:
    """Name, size and time of the last change of files and folders."""
    for path in paths:
        state = os.stat(path)  # noqa: PTH116 (a str, for speed)
        yield f"{path} {state.st_size} {state.st_mtime_ns}\0"


def _file(rasters: RowRasters, bad: set[str | None]) -> Path | None:
    """Where the survey of these files in this state is remembered; None if one of them can't be looked at."""
    digest = hashlib.sha256(f"{__version__} {rasters.describe()} {sorted(map(str, bad))}".encode())
    digest.update(f"{[[part.row for part in found] for found in rasters.parts.values()]}".encode())
    paths = [path for found in rasters.paths.values() for each in found for path in each or ("",)]
    digest.update("\n".join(paths).encode())
    folders = sorted({os.path.dirname(path) for path in paths if path})  # noqa: PTH120 (a str, for speed)
    try:
        for path, state in file_states(paths).items():
            digest.update(f"{path} {state}\0".encode())
        for state in _states(folders):  # a file beside another may have come
            digest.update(state.encode())
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except (OSError, RuntimeError):
        return None
    return Path(cache, "eofuse", "surveys", f"{digest.hexdigest()[:32]}.json.z")


def _remember(file: Path, found: Survey) -> None:
    with suppress(OSError):
        states = list(_states(sorted(found.sidecars)))
        values = {**vars(found), "sidecars": states}
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(zlib.compress(json.dumps(values).encode(), 1))


def _recall(file: Path) -> Survey | None:
    with suppress(OSError, ValueError, TypeError, LookupError, zlib.error):
        values = json.loads(zlib.decompress(file.read_bytes()))
        states = values.pop("sidecars")
        sidecars = [state.rsplit(" ", 2)[0] for state in states]
        if list(_states(sidecars)) == states:
            counted = {
                key: {name: Counter(each) for name, each in values[key].items()} for key in ("resampled", "values")
            }
            return Survey(**{**values, **counted, "sidecars": set(sidecars)})
    return None
