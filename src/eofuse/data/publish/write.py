"""Writes a store in forms that others read: `publish`, for `eofuse publish`.

A folder holds the patches (`FORMS`) and `README.md` with what they are, their licence and how to read them; see `folder`.
"""

import io
import json
import shutil
import tarfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from affine import Affine

from eofuse.data.publish.card import card_of
from eofuse.data.publish.folder import published_folder
from eofuse.data.publish.series import packs_again, series_columns, series_layer, write_dates
from eofuse.data.sources.stores import belongs_to
from eofuse.data.store import Store, open_store
from eofuse.data.store.arrays import in_order
from eofuse.data.store.georeference import grid_of
from eofuse.errors import UsageError
from eofuse.files import file_name, write_text
from eofuse.locks import writes
from eofuse.modalities import Kind, Modality
from eofuse.progress import Progress

AT_ONCE = 64
"""Patches that are read at a time."""

PATCHES_PER_FILE = 1024
"""Patches of a shard of WebDataset, or of a Parquet file."""


@writes("to")
def publish(
    store: Store | Path | str,
    to: Path | str,
    form: str,
    *,
    modalities: Sequence[str] | None = None,
    licence: str = "",
    progress: Progress | None = None,
) -> Path:
    """Writes the patches of a store into a new folder.

    Args:
        store: an open one, or its folder.
        to: the folder.
        form: `store` (as it is), `geotiff` (a file a patch and modality, and a spec that packs them again), `webdataset` (tar
            shards of arrays), or `parquet` (rows with arrays, as Hugging Face `datasets` reads them).
        modalities: names of those wanted, all by default.
        licence: of the data, such as CC-BY-4.0, for the card.
        progress: receives how many patches are written.

    Returns:
        The folder.

    Raises:
        UsageError: if the folder exists, or a form or modality is unknown.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    folder = Path(to)
    if form not in FORMS:
        raise UsageError(f"there is no form '{form}'", where="--as", fix=f"choose {', '.join(FORMS)}")
    wanted = [opened.modality(name) for name in modalities or opened.modalities]
    with published_folder(folder, f"{opened.name}.store" if form == "store" else opened.name, form) as partial:
        usage = FORMS[form](opened, wanted, partial, progress)
        write_text(partial / "README.md", card_of(opened, wanted, form, licence, usage))
    return folder


def _patches(
    store: Store, modalities: Sequence[Modality], progress: Progress | None
) -> Iterator[tuple[int, dict[str, npt.NDArray[np.generic]]]]:
    """Row and arrays of each patch; what it lacks is left out, and so are dates that fill up a series."""
    present = {modality.name: store.present(modality.name) for modality in modalities}
    for rows in in_order(np.arange(len(store)), AT_ONCE):
        values = {modality.name: store.read(modality.name, rows) for modality in modalities if modality.is_array}
        for position, row in enumerate(rows.tolist()):
            arrays = {name: each[position] for name, each in values.items() if present[name][row]}
            for modality in modalities:
                if modality.kind is Kind.IMAGE_SERIES and modality.name in arrays:
                    arrays[modality.name] = arrays[modality.name][: len(store.index[f"times.{modality.name}"][row])]
            yield row, arrays
        if progress:
            progress(int(rows[-1]) + 1, len(store))


def _facts(store: Store, modalities: Sequence[Modality]) -> pd.DataFrame:
    """The index without what only arrays that are left out have."""
    names = {modality.name for modality in modalities}
    owners = {str(column): belongs_to(str(column), store.modalities) for column in store.index.columns}
    return store.index[[column for column, owner in owners.items() if owner is None or owner in names]]


def _plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)) else value


def _webdataset(store: Store, modalities: Sequence[Modality], folder: Path, progress: Progress | None) -> str:
    facts = _facts(store, modalities).to_dict("records")
    shard: tarfile.TarFile | None = None

    def add(name: str, content: bytes) -> None:
        assert shard is not None
        member = tarfile.TarInfo(name)
        member.size = len(content)
        shard.addfile(member, io.BytesIO(content))

    for row, arrays in _patches(store, modalities, progress):
        if row % PATCHES_PER_FILE == 0:
            if shard is not None:
                shard.close()
            shard = tarfile.open(folder / f"{row // PATCHES_PER_FILE:06d}.tar", "w")  # noqa: SIM115 (one after another)
        for name, values in arrays.items():
            file = io.BytesIO()
            np.save(file, values, allow_pickle=False)
            add(f"{row:09d}.{name}.npy", file.getvalue())
        facts_of_row = {str(key): _plain(value) for key, value in facts[row].items()}
        add(f"{row:09d}.json", json.dumps(facts_of_row, default=str).encode())
    if shard is not None:
        shard.close()
    last = (len(store) - 1) // PATCHES_PER_FILE
    return (
        "```python\nimport webdataset\n\n"
        f'dataset = webdataset.WebDataset("{{000000..{last:06d}}}.tar").decode()  # `<modality>.npy`, and `json`\n```'
    )


def _parquet(store: Store, modalities: Sequence[Modality], folder: Path, progress: Progress | None) -> str:
    import pyarrow
    import pyarrow.parquet

    facts = _facts(store, modalities)
    columns: dict[str, list[Any]] = {}
    (folder / "data").mkdir()
    count = -(-len(store) // PATCHES_PER_FILE)

    def flush(last: int) -> None:
        first = last + 1 - len(next(iter(columns.values()), [])) if columns else 0
        rows = facts.iloc[first : last + 1]
        fields = {name: pyarrow.array([_plain(cell) for cell in rows[name]]) for name in map(str, rows.columns)}
        for modality in modalities:
            if modality.is_array:
                depth = 4 if modality.kind is Kind.IMAGE_SERIES else 2 if modality.kind is Kind.SERIES else 3
                kind = pyarrow.from_numpy_dtype(np.dtype(modality.dtype))
                for _ in range(depth):
                    kind = pyarrow.list_(kind)
                fields[modality.name] = pyarrow.array(columns[modality.name], kind)
        number = last // PATCHES_PER_FILE
        path = folder / "data" / f"data-{number:05d}-of-{count:05d}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(fields), path, compression="zstd", row_group_size=AT_ONCE)
        columns.clear()

    for row, arrays in _patches(store, modalities, progress):
        for modality in modalities:
            if modality.is_array:
                values = arrays.get(modality.name)
                columns.setdefault(modality.name, []).append(None if values is None else values.tolist())
        columns.setdefault("", []).append(row)
        if (row + 1) % PATCHES_PER_FILE == 0 or row + 1 == len(store):
            flush(row)
    return (
        "```python\nimport datasets\n\n"
        'dataset = datasets.load_dataset("parquet", data_files="data/*.parquet").with_format("numpy")\n```'
    )


def _geotiff(store: Store, modalities: Sequence[Modality], folder: Path, progress: Progress | None) -> str:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import NotGeoreferencedWarning

    facts = _facts(store, modalities)
    files = [f"{row:09d}_{file_name(str(name))[:80]}" for row, name in enumerate(facts["patch_id"])]
    columns = [each for each in modalities if each.kind is Kind.SERIES and packs_again(each)]
    with_files = [modality for modality in modalities if modality.is_array and modality not in columns]
    for modality in with_files:
        (folder / modality.name).mkdir()
    for row, arrays in _patches(store, with_files, progress):
        grid = grid_of(store.index, row)
        for modality in with_files:
            values = arrays.get(modality.name)
            if values is None:
                continue
            path = folder / modality.name / f"{files[row]}.tif"
            if modality.kind is not Kind.RASTER:
                np.save(path.with_suffix(".npy"), values, allow_pickle=False)
                if modality.kind is Kind.IMAGE_SERIES and packs_again(modality):
                    write_dates(path.with_suffix(".json"), store.index[f"times.{modality.name}"][row])
                continue
            place = {}
            if grid is not None:
                place = {"crs": grid.crs or CRS(), "transform": grid.transform @ Affine.scale(modality.cell)}
            count, height, width = values.shape
            size = {
                "count": count,
                "height": height,
                "width": width,
                "dtype": modality.dtype,
                "nodata": modality.nodata,
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "w", driver="GTiff", compress="deflate", **size, **place) as file:
                    file.write(values)
                    file.descriptions = modality.channel_names
    kept = [name for name in facts.columns if belongs_to(str(name), store.modalities) is None]
    table = facts[[name for name in kept if not str(name).startswith("grid_")]].copy()
    scalars = [name for name in facts.columns if "." in str(name) and str(name).split(".")[0] in store.modalities]
    table = pd.concat(
        [table, facts[[name for name in scalars if not str(name).startswith(("nodata.", "has_"))]]], axis=1
    )
    table = table.loc[:, table.notna().any()]  # what no patch has is no column
    table = pd.concat([table, *(series_columns(store, modality, AT_ONCE) for modality in columns)], axis=1)
    table.insert(0, "file", files)
    table.to_csv(folder / "patches.csv", index=False)
    write_text(
        folder / "spec.yaml", yaml.safe_dump(_spec(store, modalities, table), sort_keys=False, allow_unicode=True)
    )
    return "```\neofuse pack spec.yaml patches.store\n```"


def _spec(store: Store, modalities: Sequence[Modality], table: pd.DataFrame) -> dict[str, Any]:
    """The spec that packs the files again."""
    layers: dict[str, Any] = {}
    for modality in modalities:
        about: dict[str, Any] = {"title": modality.title or modality.name, "optional": True}
        units = {channel.name: channel.unit for channel in modality.channels if channel.unit}
        if modality.categories:
            about["categories"] = {
                each.code: {"name": each.name, "colour": each.colour} for each in modality.categories
            }
        elif units:
            about["unit"] = units
        if not modality.categories and (modality.scale, modality.offset) != (1.0, 0.0):
            about |= {"scale": modality.scale, "offset": modality.offset}
        names = list(modality.channel_names)
        if modality.cell > 1:  # a spec brings all rasters to one grid
            continue
        if modality.kind is Kind.RASTER:
            about |= {"kind": "raster", "files": f"{modality.name}/{{file}}.tif", "bands": names}
            about |= {} if modality.categories else {"dtype": modality.dtype}
            about |= {} if modality.nodata is None else {"nodata": modality.nodata}
        elif modality.kind is Kind.VECTOR:
            about |= {"kind": "vector", "columns": f"{modality.name}.{{channel}}"}
        elif modality.kind is Kind.CATEGORY:
            about |= {"kind": "category", "column": f"{modality.name}.{names[0]}"}
        elif packs_again(modality):
            about |= series_layer(modality)
        else:
            continue
        layers[modality.name] = about
    spec: dict[str, Any] = {"name": store.name, "table": "patches.csv", "id": "patch_id"}
    spec |= {key: key for key in ("scene", "split", "lon", "lat") if key in table and table[key].notna().any()}
    labels = {
        name: kind for name, kind in store.provenance.get("labels", {}).items() if name in table and kind != "list"
    }
    return spec | ({"labels": labels} if labels else {}) | {"simulated": store.simulated, "modalities": layers}


def _store(store: Store, modalities: Sequence[Modality], folder: Path, progress: Progress | None) -> str:
    if len(modalities) < len(store.modalities):
        raise UsageError(
            "a store is published with all its modalities", where="--modalities", fix="choose another form"
        )
    shutil.copytree(store.path, folder, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    return '```python\nimport eofuse\n\nstore = eofuse.open_store(".")\n```'


FORMS: dict[str, Callable[[Store, Sequence[Modality], Path, Progress | None], str]] = {
    "geotiff": _geotiff,
    "parquet": _parquet,
    "store": _store,
    "webdataset": _webdataset,
}
"""What `eofuse publish --as` writes; each returns how to read it, for the README."""
