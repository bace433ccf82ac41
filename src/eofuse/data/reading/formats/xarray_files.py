"""NetCDF and Zarr by xarray: arrays with named axes, coordinates, dates and a reference system by the CF conventions.

What `scale_factor`, `add_offset` and `_FillValue` say is not applied, but declared, as of any image.
"""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pyproj
from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from eofuse.data.reading.array_files import Array, ArrayFile, Variable, parse_attributes
from eofuse.data.reading.arrays import ArrayFormat
from eofuse.data.reading.axes import NAMES, X, Y
from eofuse.data.reading.formats.base import FILE_FORMATS, require
from eofuse.data.reading.grid import parse_crs


class XarrayFormat(ArrayFormat):
    """Files that xarray opens."""

    tells_dates = True

    def open_arrays(self, path: str, where: str) -> ArrayFile:
        """The dataset, of which nothing is read yet."""
        xarray = require("xarray", "xarray", where)
        engine = "zarr" if path.lower().rstrip("/").endswith(".zarr") else "scipy" if _is_classic(path) else "h5netcdf"
        require(engine, "xarray", where)
        options: dict[str, Any] = {"consolidated": None} if engine == "zarr" else {}
        return XarrayFile(
            xarray.open_dataset(path, engine=engine, mask_and_scale=False, decode_coords="all", cache=False, **options)
        )


@FILE_FORMATS.register("netcdf")
class NetCdf(XarrayFormat):
    """A file of variables on named axes."""

    title = "a NetCDF file"
    suffixes = (".nc", ".nc4", ".cdf")


@FILE_FORMATS.register("zarr")
class Zarr(XarrayFormat):
    """A folder of variables on named axes."""

    title = "a Zarr store"
    suffixes = (".zarr",)
    is_folder = True


class XarrayFile(ArrayFile):
    """Variables of an open dataset."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.variables = {
            str(name): _describe(str(name), variable, name in dataset.coords)
            for name, variable in dataset.variables.items()
        }

    def read(self, name: str, index: tuple[int | slice, ...]) -> Array:
        """Values of a variable."""
        values = np.asarray(self._dataset.variables[name][index].values)
        is_unsigned = str(self._dataset.variables[name].attrs.get("_Unsigned", "")).lower() == "true"
        return values.view(values.dtype.str.replace("i", "u")) if is_unsigned and values.dtype.kind == "i" else values

    def coordinates(self, variable: Variable, axis: int) -> Array | None:
        """Coordinates along an axis: those of its name, else what else goes along it alone."""
        name = variable.axes[axis]
        found = [self._dataset.coords[name]] if name in self._dataset.coords else []
        found += [each for each in self._dataset.coords.values() if each.dims == (name,)]
        return np.asarray(found[0].values) if found else None

    def crs(self, variable: Variable) -> CRS | None:
        """The reference system of the grid mapping; longitude and latitude where the coordinates are degrees and nothing is said."""
        attributes = {**self._dataset.variables[variable.name].attrs, **self._dataset.variables[variable.name].encoding}
        named = str(attributes.get("grid_mapping", "")).split(":")[0]
        mappings = [name for name in (named, "spatial_ref", "crs") if name in self._dataset.variables]
        for name in mappings:
            crs = _crs_of(self._dataset.variables[name].attrs)
            if crs is not None:
                return crs
        crs = _crs_of({key: value for key, value in self._dataset.attrs.items() if key in ("crs", "crs_wkt")})
        words = {name.lower() for name in variable.axes}
        is_degrees = words & (NAMES[X] & {"lon", "long", "longitude"}) and words & (NAMES[Y] & {"lat", "latitude"})
        return crs or (CRS.from_epsg(4326) if is_degrees else None)


def _describe(name: str, variable: Any, is_coordinate: bool) -> Variable:
    attributes = {**variable.encoding, **variable.attrs}
    kind = str(variable.dtype) if variable.dtype.kind in "fiubc" else "text"
    if str(attributes.get("_Unsigned", "")).lower() == "true" and kind.startswith("int"):
        kind = f"u{kind}"
    chunks = variable.encoding.get("chunksizes") or variable.encoding.get("chunks") or ()
    block = math.prod(chunks) * variable.dtype.itemsize if chunks else 0
    said = parse_attributes(attributes)
    if kind.startswith("uint") and said["nodata"] is not None and said["nodata"] < 0:
        said["nodata"] += 2.0 ** (8 * variable.dtype.itemsize)
    is_mapping = "grid_mapping_name" in attributes or "crs_wkt" in attributes
    return Variable(
        name,
        tuple(variable.shape),
        kind,
        tuple(map(str, variable.dims)),
        is_coordinate=is_coordinate or is_mapping,
        block=block,
        **said,
    )


def _crs_of(attributes: dict[str, Any]) -> CRS | None:
    """A reference system from the attributes of a grid mapping."""
    for key in ("crs_wkt", "spatial_ref", "crs"):
        with suppress(ValueError):
            return parse_crs(attributes.get(key))
    with suppress(CRSError, KeyError, ValueError):
        return CRS.from_wkt(pyproj.CRS.from_cf(attributes).to_wkt()) if "grid_mapping_name" in attributes else None
    return None


def _is_classic(path: str) -> bool:
    """Whether a NetCDF file is of version 3, which is no HDF5."""
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(3) == b"CDF"
