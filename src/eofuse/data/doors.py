"""What lies at a path and which command takes it, for the error of a command that takes something else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse.config import read_yaml
from eofuse.data.reading.formats import endings, format_of
from eofuse.data.reading.rasters import FORMATS, SUFFIXES
from eofuse.data.sources.base import SOURCES, SPEC_SUFFIXES, Source, SpecSource
from eofuse.errors import DataError, UsageError

TABLE_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".tsv", ".parquet", ".geoparquet", ".pq")

OWN_FILES = ("store.json", "study.yaml", "recipe.yaml")
"""Files by which stores, studies and runs are recognised."""

_MOST_FILES = 2000
"""Files of a folder that are looked at."""

_CONVERSIONS = {
    (".grib", ".grb", ".grib2", ".mat", ".nc.gz"): (
        "a file of several variables",
        "bring it to NetCDF (`cdo -f nc4 copy`, or xarray), or each variable to GeoTIFF (`gdal_translate`); then `eofuse init "
        "FOLDER`, or `eofuse cut` for scenes",
    ),
    (".pkl", ".pickle"): (
        "a pickle, which is never loaded: it could run anything",
        "write its arrays with `numpy.savez`, its tables as Parquet; then `eofuse init FOLDER`",
    ),
    (".vrt", ".img", ".ecw", ".sid", ".bil", ".asc", ".hgt", ".dat", ".bmp", ".gif", ".webp"): (
        "an image of a format that is not read",
        f"bring it to GeoTIFF (`gdal_translate IN OUT.tif`): {FORMATS} are read",
    ),
    (".safe",): (
        "a product of Sentinel",
        "name folders of Sentinel-2 as `safe` in a spec of scenes (`eofuse cut`); bring others to GeoTIFF (`gdal_translate`)",
    ),
    (".kml", ".gml", ".gdb", ".tab", ".mif", ".dxf"): (
        "a file of shapes of a format that is not read",
        "bring it to GeoPackage (`ogr2ogr OUT.gpkg IN`): it is then a table, polygons of scenes, or boxes",
    ),
    (".gpkg", ".shp", ".fgb"): (
        "a file of shapes",
        "name it as `table` in a spec (`eofuse init` writes one), under `polygons` in a spec of scenes (`eofuse cut`), or as "
        "`task.file` of boxes in a recipe; see docs/data.md",
    ),
    (".geojson", ".json"): (
        "a JSON file",
        "name it under `polygons` in a spec of scenes (`eofuse cut`), or as `task.file` of boxes in a recipe; see docs/scenes.md",
    ),
    (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"): ("an archive", "unpack it and name the folder"),
    (".xlsx", ".xls", ".ods"): ("a spreadsheet", "save it as CSV; then `eofuse init TABLE.csv`"),
    (".pt", ".pth", ".ckpt", ".safetensors"): (
        "a file of weights",
        "name it under `start` in a recipe (see docs/recipes.md); for predictions, name the folder of the run",
    ),
}


def describe_path(path: Path) -> tuple[str, str] | None:
    """What lies at a path and what to do with it, in words, None if that is not known."""
    if not path.exists():
        return None
    for source in (each() for each in SOURCES.values()):
        if source.accepts(path):
            return source.title, source.advice(path)
    name = path.name.lower()
    if path.is_dir() and not name.endswith((*endings(arrays=True), ".safe")):
        return _folder(path)
    if name.endswith(SPEC_SUFFIXES):
        return _yaml(path)
    if name.endswith(TABLE_SUFFIXES):
        return "a table", f"write a spec of it with `eofuse init {path}`, then `eofuse pack SPEC.yaml STORE`"
    if name.endswith(endings(arrays=True)):
        fix = f"of samples with a table beside it, or in an axis of it: `eofuse init {path}`; a scene is a layer of `eofuse cut`: "
        return format_of(name).title, _or_added(
            f"{fix}{{files: {path.name}, variables: [NAME]}} (docs/tables.md#arrays)"
        )
    if name.endswith(SUFFIXES):
        fix = f"for a folder of patches `eofuse init {path.parent}`; for scenes `eofuse cut SPEC.yaml STORE` (docs/scenes.md)"
        return "one image", fix
    known = (found for suffixes, found in _CONVERSIONS.items() if name.endswith(suffixes))
    return next(((what, _or_added(fix)) for what, fix in known), None)


def wrong_door(path: Path, wanted: str, otherwise: str) -> DataError:
    """The error for a path at which something else lies than what is wanted, with the command that takes it.

    Args:
        path: what was named.
        wanted: what the command takes, such as "a store".
        otherwise: what to do if it is not known what lies there.
    """
    found = describe_path(path)
    if found is None:
        return DataError(f"is not {wanted}", where=path, fix=_or_added(otherwise))
    return DataError(f"is {found[0]}, not {wanted}", where=path, fix=found[1])


def readable(command: str) -> list[str]:
    """What a command reads, by the titles of the sources: all of them for `check`."""
    return [source.title for source in SOURCES.values() if command in (source.command, "check")]


def _or_added(fix: str) -> str:
    """What to do with a path that no source reads, and what the sources of other packages read."""
    added = [SOURCES[name].title for name in SOURCES if SOURCES.package_of(name) != "eofuse"]
    return f"{fix}; installed packages also read {', '.join(added)}" if added else fix


def find_source(path: Path, command: str, wanted: str, otherwise: str) -> Source:
    """The source that reads what lies at a path.

    Args:
        path: what was named.
        command: `pack`, `cut` or `check`.
        wanted: what it takes, such as "the spec of scenes".
        otherwise: what to do if it is not known what lies there.

    Raises:
        UsageError: if it is a recipe or a spec that can't be read, another command takes it, or several sources read it.
        DataError: if no source reads it (see `wrong_door`).
    """
    sources = {name: source() for name, source in SOURCES.items()}
    found = {name: source for name, source in sources.items() if source.accepts(path)}
    if len(found) > 1:
        what = f"is read by several sources: {', '.join(found)}"
        raise UsageError(what, where=path, fix="uninstall the package of one")
    form = "spec" if path.suffix in SPEC_SUFFIXES else "file" if path.is_file() else "folder"
    if form == "spec" and not found:
        require_kind(path, read_yaml(path), None)
    for source in found.values():
        if command not in (source.command, "check"):
            raise UsageError(f"is {source.title}", where=path, fix=source.advice(path))
        return source
    takes = command if command == "cut" else "pack"
    for source in sources.values():
        if source.is_fallback and (source.form, source.command) == (form, takes):
            return source
    raise wrong_door(path, wanted, otherwise)


def require_kind(path: Path, values: Mapping[str, Any], wanted: str | None) -> None:
    """Raises a `UsageError` if a YAML file is clearly of another kind than the one wanted: `"recipe"`, or the name of a source."""
    kind = kind_of_yaml(values)
    if kind is not None and kind != wanted:
        what, fix = _of_kind(kind, path)
        raise UsageError(f"is {what}", where=path, fix=fix)


def read_kind(path: Path, kind: str, wanted: str, otherwise: str) -> dict[str, Any]:
    """The values of a YAML file of a kind (see `require_kind`).

    Raises:
        UsageError: if it can't be read or is clearly of another kind.
        DataError: if something else than a YAML file lies there (see `wrong_door`).
    """
    if path.exists() and path.suffix not in SPEC_SUFFIXES:
        raise wrong_door(path, wanted, otherwise)
    values = read_yaml(path)
    require_kind(path, values, kind)
    return values


def kind_of_yaml(values: Mapping[str, Any]) -> str | None:
    """`"recipe"`, or the name of the source of which a YAML file is a spec; None if that is not clear."""
    if values.keys() & {"task", "inputs", "train", "study", "fusion", "pretrain"}:
        return "recipe"
    specs = ((name, source()) for name, source in SOURCES.items())
    return next((name for name, source in specs if isinstance(source, SpecSource) and source.describes(values)), None)


def _of_kind(kind: str, path: Path) -> tuple[str, str]:
    if kind == "recipe":
        return "a recipe", f"`eofuse train {path}`, or `eofuse study {path}` if it compares variants"
    source = SOURCES[kind]()
    return source.title, source.advice(path)


def _yaml(path: Path) -> tuple[str, str] | None:
    try:
        return _of_kind("recipe", path) if kind_of_yaml(read_yaml(path)) == "recipe" else None
    except UsageError:
        return None


def _folder(path: Path) -> tuple[str, str] | None:
    _, is_study, is_run = ((path / name).is_file() for name in OWN_FILES)
    if is_study:
        fix = (
            f"`eofuse report {path}` writes its report again, `eofuse predict {path} STORE` predicts; its runs are in "
            f"{path}/cells, its data in the store of its study.yaml"
        )
        return "a study", fix
    if is_run:
        return (
            "a run",
            f"`eofuse evaluate {path}` or `eofuse predict {path} STORE`; the data are in the store of its recipe.yaml",
        )
    names = _names(path)
    tables = [name for name in names if name.lower().endswith(TABLE_SUFFIXES)]
    images = any(name.lower().endswith(endings()) for name in names)
    if tables or images:
        what = "a folder of images" if images else "a folder with a table"
        what = "a folder of images with a table" if tables and images else what
        fix = f"write a spec of it with `eofuse init {path}`, then `eofuse pack SPEC.yaml STORE`; or cut scenes (`eofuse cut`)"
        return what, fix
    for suffixes, (_, fix) in _CONVERSIONS.items():
        first = next((name for name in names if name.lower().endswith(suffixes)), None)
        if first is not None:
            return f"a folder with files such as {first}", fix
    return None


def _names(path: Path) -> list[str]:
    """Names of files and folders below a folder, the first ones."""
    found: list[str] = []
    for _, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [*files, *folders]
        if len(found) > _MOST_FILES:
            break
    return found
