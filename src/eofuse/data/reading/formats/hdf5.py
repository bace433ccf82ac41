"""HDF5 files by h5py: arrays by their path (`S2/bands`), with the names of their axes and the attributes of the CF conventions."""

import math
from typing import Any

import numpy as np

from eofuse.data.reading.array_files import Array, ArrayFile, Variable, parse_attributes
from eofuse.data.reading.arrays import ArrayFormat
from eofuse.data.reading.formats.base import FILE_FORMATS, require


@FILE_FORMATS.register("hdf5")
class Hdf5(ArrayFormat):
    """A file of arrays by path."""

    title = "an HDF5 file"
    suffixes = (".h5", ".hdf5", ".he5", ".hdf")

    def open_arrays(self, path: str, where: str) -> ArrayFile:
        """The file, open for reading."""
        return Hdf5File(require("h5py", "xarray", where).File(path, "r"))


class Hdf5File(ArrayFile):
    """Arrays of an open HDF5 file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.variables: dict[str, Variable] = {}

        def add(name: str, item: Any) -> None:
            if hasattr(item, "shape") and item.shape is not None:
                self.variables[name] = _describe(name, item)

        file.visititems(add)

    def read(self, name: str, index: tuple[int | slice, ...]) -> Array:
        """Values of an array."""
        return np.asarray(self._file[name][index])

    def coordinates(self, variable: Variable, axis: int) -> Array | None:
        """The scale of an axis, if one is attached."""
        scales = self._file[variable.name].dims[axis].values()
        return np.asarray(scales[0][()]) if scales and scales[0].shape == (variable.shape[axis],) else None


def _describe(name: str, dataset: Any) -> Variable:
    kind = str(dataset.dtype) if dataset.dtype.kind in "fiubc" else "text"
    axes = tuple(axis.label or next(iter(axis.keys()), "").rpartition("/")[2] for axis in dataset.dims)
    block = math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
    return Variable(
        name,
        dataset.shape,
        kind,
        axes,
        is_coordinate=bool(dataset.is_scale),
        block=block,
        **parse_attributes(dict(dataset.attrs)),
    )
