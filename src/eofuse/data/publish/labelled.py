"""A store as an xarray dataset: `to_xarray`; values are read when they are needed, in native dtype."""

from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.reading.formats.base import require
from eofuse.data.sources.stores import belongs_to
from eofuse.data.store import Store
from eofuse.modalities import Kind, Modality


def to_xarray(store: Store) -> Any:
    """All patches as an `xarray.Dataset`, a variable a modality, along `patch`.

    Axes are `patch`, `<modality>_channel`, `y` and `x` (of rasters with cells `<modality>_y` and `<modality>_x`); of series
    `<modality>_step`, of series of images `<modality>_date`, with their times in `<modality>_times`. Scale, offset and nodata are
    attributes by the CF conventions, so that `xarray.decode_cf` gives physical values with NaN. Columns of the index are coordinates
    along `patch`.

    Raises:
        DataError: if xarray is not installed.
    """
    xarray = require("xarray", "xarray", str(store.path))
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {"patch": store.index["patch_id"].to_numpy(dtype=str)}
    for name, modality in store.modalities.items():
        axes = _axes(modality)
        values = xarray.Variable(axes, _lazy(xarray, store, modality), _attributes(modality))
        variables[name] = values
        if modality.kind is not Kind.CATEGORY:
            coordinates[f"{name}_channel"] = list(modality.channel_names)
        if modality.kind is Kind.IMAGE_SERIES:
            times = np.full((len(store), modality.steps or 0), np.nan)
            for row, days in enumerate(store.index[f"times.{name}"]):
                times[row, : len(days)] = days
            variables[f"{name}_times"] = (("patch", f"{name}_date"), times, {"long_name": "days since 1970-01-01"})
        variables[f"{name}_present"] = (("patch",), store.present(name))
    for column in map(str, store.index.columns):
        cells = store.index[column]
        plain = cells.dtype.kind in "fiub" or cells.map(lambda cell: cell is None or isinstance(cell, str)).all()
        if column != "patch_id" and belongs_to(column, store.modalities) is None and plain and column not in variables:
            values = cells.to_numpy() if cells.dtype.kind in "fiub" else cells.fillna("").to_numpy(dtype=str)
            coordinates[column] = (("patch",), values)
    about = {"title": store.name, "simulated": str(store.simulated), "fingerprint": store.fingerprint}
    return xarray.Dataset(variables, coordinates, about)


def _axes(modality: Modality) -> tuple[str, ...]:
    channel, name = f"{modality.name}_channel", modality.name
    return {
        Kind.RASTER: ("patch", channel, *(("y", "x") if modality.cell == 1 else (f"{name}_y", f"{name}_x"))),
        Kind.VECTOR: ("patch", channel),
        Kind.SERIES: ("patch", f"{name}_step", f"{name}_time_and_channel"),
        Kind.IMAGE_SERIES: ("patch", f"{name}_date", channel, "y", "x"),
        Kind.CATEGORY: ("patch",),
    }[modality.kind]


def _attributes(modality: Modality) -> dict[str, Any]:
    units = {channel.unit for channel in modality.channels}
    found: dict[str, Any] = {"long_name": modality.title or modality.name}
    if len(units) == 1 and "" not in units:
        found["units"] = units.pop()
    if modality.categories:
        found["flag_values"] = [category.code for category in modality.categories]
        found["flag_meanings"] = " ".join(category.name.replace(" ", "_") for category in modality.categories)
    elif (modality.scale, modality.offset) != (1.0, 0.0):
        found |= {"scale_factor": modality.scale, "add_offset": modality.offset}
    if modality.nodata is not None and modality.has_pixels:
        found["_FillValue"] = np.dtype(modality.dtype).type(modality.nodata)
    return found | ({"attribution": modality.attribution} if modality.attribution else {})


def _lazy(xarray: Any, store: Store, modality: Modality) -> Any:
    """The values of a modality as an array that reads rows of the store when they are wanted."""
    indexing = xarray.core.indexing
    if not modality.is_array:
        return store.read(modality.name, np.arange(len(store)))

    def rows_of(key: tuple[Any, ...]) -> npt.NDArray[np.generic]:
        rows = np.arange(len(store))[key[0]]
        values = store.read(modality.name, np.atleast_1d(rows))
        if modality.kind is Kind.IMAGE_SERIES and values.shape[1] < (modality.steps or 0):
            room = np.zeros((len(values), modality.steps or 0, *values.shape[2:]), dtype=values.dtype)
            room[:, : values.shape[1]] = values
            values = room
        for axis, part in enumerate(key[1:], start=1):
            values = values[(slice(None),) * axis + (part if isinstance(part, slice) else np.atleast_1d(part),)]
        single = tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in key)
        found: npt.NDArray[np.generic] = values[single]
        return found

    class StoredArray(xarray.backends.BackendArray):  # type: ignore[misc]
        """Values of a modality, not read yet."""

        def __init__(self) -> None:
            self.shape = (len(store), *modality.shape(store.patch_size))
            self.dtype = np.dtype(modality.dtype)

        def __getitem__(self, key: Any) -> npt.NDArray[np.generic]:
            support = indexing.IndexingSupport.OUTER
            found: npt.NDArray[np.generic] = indexing.explicit_indexing_adapter(key, self.shape, support, rows_of)
            return found

    return indexing.LazilyIndexedArray(StoredArray())
