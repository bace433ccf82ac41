"""What lies at a path and which command takes it, for the error of a command that takes something else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eofuse.config import read_yaml
from eofuse.data.reading.rasters import FORMATS, SUFFIXES
from eofuse.errors import DataError, UsageError

SPEC_SUFFIXES = (".yaml", ".yml")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".tsv", ".parquet", ".geoparquet", ".pq")

OWN_FILES = ("store.json", "study.yaml", "recipe.yaml")
"""Files by which stores, studies and runs are recognised."""

_MOST_FILES = 2000
"""Files of a folder that are looked at."""

_CONVERSIONS = {
    (".npy", ".npz"): (
        "a NumPy array",
        "write its patches as GeoTIFF (rasterio) beside a table of them, or its rows as CSV or Parquet; then `eofuse init FOLDER`",
    ),
    (".nc", ".nc4", ".h5", ".he5", ".hdf", ".hdf5", ".zarr", ".grib", ".grb", ".grib2"): (
        "a file of several variables",
        "bring each variable to GeoTIFF (`gdal_translate`); then `eofuse init FOLDER`, or `eofuse cut` for scenes",
    ),
    (".vrt", ".img", ".ecw", ".sid", ".bil", ".asc", ".hgt", ".dat", ".safe", ".bmp", ".gif", ".webp"): (
        "an image of a format that is not read",
        f"bring it to GeoTIFF (`gdal_translate IN OUT.tif`): {FORMATS} are read",
    ),
    (".gpkg", ".shp", ".kml", ".gml", ".fgb"): (
        "a file of shapes",
        "bring it to GeoJSON (`ogr2ogr OUT.geojson IN`) for polygons of scenes or boxes, or to GeoParquet for a table",
    ),
    (".geojson", ".json"): (
        "a JSON file",
        "name it under `polygons` in a spec of scenes (`eofuse cut`), or as `task.file` of boxes in a recipe; see docs/data.md",
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
    name = path.name.lower()
    if path.is_dir() and not name.endswith((".zarr", ".safe")):
        return _folder(path)
    if name.endswith(SPEC_SUFFIXES):
        return _yaml(path)
    if name.endswith(TABLE_SUFFIXES):
        return "a table", f"write a spec of it with `eofuse init {path}`, then `eofuse pack SPEC.yaml STORE`"
    if name.endswith(SUFFIXES):
        fix = f"for a folder of patches `eofuse init {path.parent}`; for scenes `eofuse cut SPEC.yaml STORE` (docs/data.md, Scenes)"
        return "one image", fix
    return next((found for suffixes, found in _CONVERSIONS.items() if name.endswith(suffixes)), None)


def wrong_door(path: Path, wanted: str, otherwise: str) -> DataError:
    """The error for a path at which something else lies than what is wanted, with the command that takes it.

    Args:
        path: what was named.
        wanted: what the command takes, such as "a store".
        otherwise: what to do if it is not known what lies there.
    """
    found = describe_path(path)
    if found is None:
        return DataError(f"is not {wanted}", where=path, fix=otherwise)
    return DataError(f"is {found[0]}, not {wanted}", where=path, fix=found[1])


def require_spec(values: Mapping[str, Any], wanted: str, path: Path) -> None:
    """Raises a `UsageError` if the values of a YAML file are clearly of another kind (`"table"`, `"scenes"`, `"recipe"`)."""
    kind = kind_of_yaml(values)
    if kind is not None and kind != wanted:
        what, fix = _of_kind(kind, path)
        raise UsageError(f"is {what}", where=path, fix=fix)


def read_kind(path: Path, kind: str, wanted: str, otherwise: str) -> dict[str, Any]:
    """The values of a YAML file of a kind (see `require_spec`).

    Raises:
        UsageError: if it can't be read or is clearly of another kind.
        DataError: if something else than a YAML file lies there (see `wrong_door`).
    """
    if path.exists() and path.suffix not in SPEC_SUFFIXES:
        raise wrong_door(path, wanted, otherwise)
    values = read_yaml(path)
    require_spec(values, kind, path)
    return values


def kind_of_yaml(values: Mapping[str, Any]) -> str | None:
    """Whether a YAML file is the spec of a table or of scenes, or a recipe; None if that is not clear."""
    if values.keys() & {"task", "inputs", "train", "study", "fusion", "pretrain"}:
        return "recipe"
    if "table" in values:
        return "table"
    modalities = values.get("modalities")
    layers = list(modalities.values()) if isinstance(modalities, Mapping) else []
    return (
        "scenes" if any(isinstance(each, Mapping) and "{scene}" in str(each.get("files")) for each in layers) else None
    )


def _of_kind(kind: str, path: Path) -> tuple[str, str]:
    return {
        "recipe": ("a recipe", f"`eofuse train {path}`, or `eofuse study {path}` if it compares variants"),
        "table": ("the spec of a table", f"`eofuse pack {path} STORE`; `eofuse check {path}` lists its problems"),
        "scenes": (
            "a spec of scenes",
            f"`eofuse cut {path} STORE`, which looks at every patch and names what is wrong",
        ),
    }[kind]


def _yaml(path: Path) -> tuple[str, str] | None:
    try:
        kind = kind_of_yaml(read_yaml(path))
    except UsageError:
        return None
    return None if kind is None else _of_kind(kind, path)


def _folder(path: Path) -> tuple[str, str] | None:
    is_store, is_study, is_run = ((path / name).is_file() for name in OWN_FILES)
    if is_store:
        return "a store", f"`eofuse describe {path}`; to train on it, `eofuse train RECIPE.yaml --store {path}`"
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
    images = any(name.lower().endswith(SUFFIXES) for name in names)
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
