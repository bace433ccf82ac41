"""Finds the files of a dataset of the BigEarthNet family in a folder, without opening a raster.

Known layouts: ben-ge-800, ben-ge-8k and full ben-ge (tables, `sentinel-1/`, `sentinel-2/`, `dem/` or `glo-30_dem/`,
`esaworldcover/`, `splits/`); plain BigEarthNet v1 (`BigEarthNet-v1.0/`, `BigEarthNet-S1-v1.0/`, or one folder of patch
folders) and v2 (`BigEarthNet-S2/<scene>/<patch>/`, `BigEarthNet-S1/<scene>/<patch>/`, `metadata.parquet`).
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eofuse.data.doors import describe_path, wrong_door
from eofuse.data.sources.ben_ge.identifiers import is_s1_scene, is_s2_scene, parse_patch_id, parse_patch_id_s1
from eofuse.errors import DataError
from eofuse.files import read_object

_S2_FOLDERS = ("sentinel-2", "BigEarthNet-v1.0", "BigEarthNet-S2")
_S1_FOLDERS = ("sentinel-1", "BigEarthNet-S1-v1.0", "BigEarthNet-S1")
_ELEVATION_FOLDERS = ("dem", "glo-30_dem")
_WORLDCOVER_FOLDERS = ("esaworldcover",)
_TABLES = {
    "meta": "*_meta.csv",
    "weather": "*era-5.csv",
    "worldcover": "*esaworldcover.csv",
    "climate_zone": "*climatezones.csv",
    "cloud_or_shadow": "patches_with_cloud_and_shadow.csv",
    "seasonal_snow": "patches_with_seasonal_snow.csv",
    "reben": "metadata.parquet",
    "reben_unclear": "metadata_for_patches_with_snow_cloud_or_shadow.parquet",
}
_SPLIT_OF_SUFFIX = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


@dataclass
class Layout:
    """Where everything lies.

    Attributes:
        root: the dataset's folder.
        name: name of the dataset: that of its tables, else of its folder.
        simulated: whether `simulation.json` says so.
        tables: path of each table that is there, by its purpose (the keys of `_TABLES`).
        splits: path of each published list, by split.
        s2: folder of each Sentinel-2 patch, by its id.
        s1: folder of each Sentinel-1 patch, by its own id.
        elevation: elevation file of each patch, by its id.
        worldcover: land cover file of each patch, by its id.
    """

    root: Path
    name: str
    simulated: bool
    tables: dict[str, Path] = field(default_factory=dict)
    splits: dict[str, Path] = field(default_factory=dict)
    s2: dict[str, str] = field(default_factory=dict)
    s1: dict[str, str] = field(default_factory=dict)
    elevation: dict[str, str] = field(default_factory=dict)
    worldcover: dict[str, str] = field(default_factory=dict)


def find_layout(root: Path) -> Layout:
    """Finds what there is.

    Raises:
        DataError: if the folder does not exist, holds nothing known, or several tables claim to be the same.
    """
    if not root.is_dir():
        raise DataError("no such folder", where=root, fix="give the folder that holds the dataset")
    tables = _find_tables(root)
    stem = tables["meta"].name.removesuffix("_meta.csv").removesuffix("_sentinel12") if "meta" in tables else ""
    layout = Layout(root, stem or root.resolve().name, _is_simulated(root), tables)
    layout.splits = _find_splits(root / "splits", layout.name)
    layout.s2 = _patch_folders(root, _S2_FOLDERS, is_s2_scene, parse_patch_id)
    layout.s1 = _patch_folders(root, _S1_FOLDERS, is_s1_scene, parse_patch_id_s1)
    layout.elevation = _patch_files(root, _ELEVATION_FOLDERS, "_dem.tif")
    layout.worldcover = _patch_files(root, _WORLDCOVER_FOLDERS, "_esaworldcover.tif")
    if not (layout.s2 or layout.s1 or layout.elevation or layout.worldcover or "meta" in tables):
        raise _nothing_found(root)
    return layout


def _nothing_found(root: Path) -> DataError:
    """What to say of a folder of another layout: the command that takes it, else what was looked for."""
    names = ", ".join((*_S2_FOLDERS, *_S1_FOLDERS, *_ELEVATION_FOLDERS, *_WORLDCOVER_FOLDERS))
    fix = f"looked for a table *_meta.csv, the folders {names}, and patch folders S2?_MSIL2A_*"
    below = [entry.name for entry in _entries(root) if entry.is_dir() and looks_right(Path(entry.path))]
    if below:
        fix += f"; did you mean the folder '{below[0]}' in it?"
    elif describe_path(root) is not None:
        return wrong_door(root, "a folder of the ben-ge or BigEarthNet layouts", fix)
    return DataError("nothing of the ben-ge or BigEarthNet layouts found", where=root, fix=fix)


def looks_right(folder: Path) -> bool:
    """Whether a folder has one of the tables or folders of the layouts."""
    return any(folder.glob("*_meta.csv")) or any((folder / name).is_dir() for name in (*_S2_FOLDERS, *_S1_FOLDERS))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _is_simulated(root: Path) -> bool:
    path = root / "simulation.json"
    if not path.is_file():
        return False
    return bool(read_object(path, "restore it: it says whether the data are simulated").get("simulated"))


def _find_tables(root: Path) -> dict[str, Path]:
    tables = {}
    for purpose, pattern in _TABLES.items():
        found = sorted(path for path in root.glob(pattern) if path.is_file() and not path.name.startswith("."))
        if len(found) > 1:
            found = [path for path in found if path.name.startswith(f"{root.resolve().name}_")] or found
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            what = f"several tables match {pattern}: {names}"
            raise DataError(what, where=root, fix="keep only that of this dataset")
        if found:
            tables[purpose] = found[0]
    return tables


def _find_splits(folder: Path, name: str) -> dict[str, Path]:
    """The published lists of the dataset: `<name>_<split>.csv`, or those of the only name that there is."""
    by_name: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.csv")):
        dataset, _, suffix = path.stem.rpartition("_")
        if suffix in _SPLIT_OF_SUFFIX and not path.name.startswith("."):
            split = _SPLIT_OF_SUFFIX[suffix]
            if split in by_name.setdefault(dataset, {}):
                what = f"both {by_name[dataset][split].name} and {path.name}"
                raise DataError(what, where=folder, fix="keep one of them")
            by_name[dataset][split] = path
    if name in by_name:
        return by_name[name]
    if len(by_name) > 1:
        found = ", ".join(sorted(by_name))
        what = f"split lists of several datasets ({found}), none of {name}"
        raise DataError(what, where=folder, fix="keep one dataset's")
    return next(iter(by_name.values()), {})


def _patch_folders(
    root: Path, names: tuple[str, ...], is_scene: Callable[[str], bool], parse: Callable[[str], object | None]
) -> dict[str, str]:
    """Folder of each patch: all in the folders of these names and in their scenes; else, in the root, by its name."""
    parents = [root / name for name in names if (root / name).is_dir()]
    found: dict[str, str] = {}
    for parent in parents:
        for entry in _entries(parent):
            if not entry.is_dir():
                continue
            if is_scene(entry.name):
                found.update((patch.name, patch.path) for patch in _entries(Path(entry.path)) if patch.is_dir())
            else:
                found[entry.name] = entry.path
    if not parents:
        for entry in _entries(root):
            if parse(entry.name) is not None and entry.is_dir():
                found[entry.name] = entry.path
            elif is_scene(entry.name) and entry.is_dir():
                found.update((patch.name, patch.path) for patch in _entries(Path(entry.path)) if patch.is_dir())
    return found


def _patch_files(root: Path, names: tuple[str, ...], suffix: str) -> dict[str, str]:
    return {
        entry.name.removesuffix(suffix): entry.path
        for name in names
        if (root / name).is_dir()
        for entry in _entries(root / name)
        if entry.name.endswith(suffix)
    }
