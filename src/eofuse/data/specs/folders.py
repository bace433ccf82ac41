"""A table of the images below a folder that has none: a row a sample, its class and its part of a split by the folders it is in."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eofuse.data.reading.formats import endings, inspect_file
from eofuse.data.reading.rasters import SUFFIXES, reading_environment
from eofuse.data.sources.table.spec import SPLIT_WORDS
from eofuse.errors import DataError
from eofuse.kinds import SEGMENTATION

KIND_OF_FILE = re.compile(
    r"[_.-](?:mask|masks|label|labels|seg|gt|annotation|annotations|target|image|img)$", re.IGNORECASE
)
"""What the name of a file has after that of its sample."""

MASK_FOLDERS = {
    "mask", "masks", "label", "labels", "seg", SEGMENTATION.name, "annotation", "annotations", "gt", "target", "targets",
    "landcover", "lulc",
}  # fmt: skip
"""Words in paths of files that hold the classes of pixels."""

SAMPLE_FOLDERS = {"image", "images", "img", "imgs", *MASK_FOLDERS}
"""Words in names of folders that hold a file of each sample."""

SAMPLE = 20
"""Files that are looked at."""

_PARTS = {word for words in SPLIT_WORDS.values() for word in words}


def list_images(folder: Path) -> list[str]:
    """Paths of the images below a folder, relative to it, sorted."""
    found = []
    start = len(str(folder)) + 1
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = f"{parent[start:]}/".replace(os.sep, "/").lstrip("/")
        found += [f"{within}{name}" for name in names if name.lower().endswith(SUFFIXES)]
    return sorted(found)


def list_arrays(folder: Path) -> list[str]:
    """Paths of the files of arrays below a folder, relative to it, sorted; a Zarr store is one."""
    suffixes = endings(arrays=True)
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        stores = [name for name in folders if name.lower().endswith(suffixes)]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in stores)
        within = Path(parent).relative_to(folder)
        found += [(within / name).as_posix() for name in [*names, *stores] if name.lower().endswith(suffixes)]
    return sorted(found)


def table_of_files(folder: Path) -> pd.DataFrame:
    """A row for each image, or else file of arrays, below a folder: its name, the folder it is in, its path.

    Folders on one level whose names are all parts of a split (`train`, `val`, `test`) are the column `split`. Where folders side by
    side hold the same samples, as `images` and `masks` do, a row is a sample and has no path; `name` is what its files are called,
    if samples of several parts have one name.
    """
    paths = list_images(folder) or list_arrays(folder)
    level = _split_level(paths)
    samples = _samples_of_folders(folder, paths, level)
    if samples:
        parts, names = [part for part, _ in samples], [name for _, name in samples]
        if level is None:
            return pd.DataFrame({"id": names})
        if len(set(names)) == len(names):
            return pd.DataFrame({"id": names, "split": parts})
        ids = [f"{part}_{name}" for part, name in samples]
        return pd.DataFrame({"id": ids, "split": parts, "name": names})
    stems = [Path(path).stem for path in paths]
    ids = stems if len(set(stems)) == len(stems) else [os.path.splitext(path)[0] for path in paths]  # noqa: PTH122 (speed)
    table = pd.DataFrame({"id": ids, "folder": [Path(path).parent.name for path in paths], "path": paths})
    if level is not None:
        table.insert(1, "split", [path.split("/")[level] for path in paths])
    return table


def part_of(path: str) -> str:
    """The word of a part of a split in a path, such as `train` in `data/train-00000-of-00002.parquet`; "" if there is none."""
    return next((word for word in re.split(r"[/_.-]", path) if word.lower() in _PARTS), "")


def holds_classes(folder: pd.Series) -> bool:
    """Whether folders of files look like classes: two or more, with two files each on average."""
    return 2 <= folder.nunique() <= len(folder) / 2


def _split_level(paths: Sequence[str]) -> int | None:
    """How deep the folders lie whose names are all parts of a split, two of them at least; None if there are none."""
    folders = [path.split("/")[:-1] for path in paths]
    for level in range(min(map(len, folders), default=0)):
        words = {each[level].lower() for each in folders}
        if words <= _PARTS and len(words) > 1:
            return level
    return None


def _samples_of_folders(folder: Path, paths: Sequence[str], level: int | None) -> list[tuple[str, str]]:
    """Part of the split and name of each sample of which two or more folders hold a file; none if the folders are classes.

    The names are those that most files of two or more folders share, but for an ending such as `_mask`. Folders whose files are all
    alike (bands, type) and whose names say nothing are classes, though files are numbered in each.
    """
    names: dict[str, dict[tuple[str, str], str]] = {}
    for path in paths:
        *folders, file = path.split("/")
        part = folders.pop(level) if level is not None else ""
        sample = part, KIND_OF_FILE.sub("", os.path.splitext(file)[0])  # noqa: PTH122 (speed)
        names.setdefault("/".join(folders), {})[sample] = path
    first, *others = sorted(names, key=lambda parent: -len(names[parent])) or [""]
    shared = [other for other in others if len(names[first].keys() & names[other].keys()) > len(names[first]) / 2]
    if not shared:
        return []
    folders = [first, *shared]
    told = any(word in SAMPLE_FOLDERS for each in folders for word in re.split(r"[/_.-]", each.lower()))
    sorts = [] if told else [_sorts_of_files(folder, list(names[each].values())[:SAMPLE]) for each in folders]
    if not told and (any(len(found) != 1 for found in sorts) or len(set.union(*sorts)) == 1):
        return []
    return sorted({sample for each in folders for sample in names[each]})


def _sorts_of_files(folder: Path, paths: Sequence[str]) -> set[tuple[int, str]]:
    """Numbers of bands and types of some files, of those that can be read."""
    found = set()
    with reading_environment():
        for path in paths:
            try:
                file = inspect_file(str(folder / path), path)
            except DataError:
                continue
            found.add((len(file.names), str(file.dtype)))
    return found
