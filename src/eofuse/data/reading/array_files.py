"""An open file of arrays and what it says of each: `ArrayFile`, `Variable`, and the choice among them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS

from eofuse.errors import DataError, did_you_mean
from eofuse.words import listed

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Variable:
    """An array in a file.

    Attributes:
        name: of the array, "" if it is the only one and has none.
        shape: its sizes.
        dtype: of its values as they are stored.
        axes: names of its axes, "" where they have none.
        nodata: value that is declared as nodata.
        scale: declared factor to physical values.
        offset: declared summand.
        unit: declared unit.
        is_coordinate: whether it only says where or when the values of others are.
        block: bytes that are unpacked at a time at least.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    is_coordinate: bool = False
    block: int = 0

    @property
    def is_numeric(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype not in ("object", "text") and np.dtype(self.dtype).kind in "fiub"

    def described(self) -> str:
        """Name, dtype and sizes, for messages."""
        what = f"{self.dtype} of the shape {self.shape}"
        return f"{self.name} ({what})" if self.name else what


class ArrayFile(ABC):
    """An open file of arrays.

    Attributes:
        variables: its arrays by name.
    """

    variables: Mapping[str, Variable]

    @abstractmethod
    def read(self, name: str, index: tuple[int | slice, ...]) -> Array:
        """Values of an array as they are stored, of whole numbers and slices along its axes."""

    def coordinates(self, variable: Variable, axis: int) -> Array | None:
        """What the file says of the places along an axis, (size,): coordinates, times as datetime64, names of bands."""
        return None

    def crs(self, variable: Variable) -> CRS | None:
        """The reference system of the coordinates of an array."""
        return None


def choose_variables(file: ArrayFile, wanted: Sequence[str], least: int, where: str) -> list[Variable]:
    """The arrays that are wanted, by name; without names the only one that has numbers on so many axes.

    Raises:
        DataError: if there is none of a name, none or several where one is wanted, or it holds no numbers.
    """
    every = file.variables
    data = [each for each in every.values() if not each.is_coordinate and len(each.shape) >= least]
    if not wanted:
        numeric = [each for each in data if each.is_numeric]
        if len(numeric) > 1:
            fix = f"name those wanted, in the order of the channels: variables: [{numeric[0].name}, …]"
            raise DataError(
                f"holds several arrays: {listed([each.described() for each in numeric], 8)}", where=where, fix=fix
            )
        if not numeric:
            refuse = next((each for each in every.values() if each.dtype == "object"), None)
            if refuse is not None:
                raise _refused(refuse, where)
            found = listed([each.described() for each in every.values()], 8) or "nothing"
            raise DataError(f"holds no array of numbers with {least} axes or more: {found}", where=where)
        return numeric
    for name in wanted:
        if name not in every:
            raise DataError(f"holds no array '{name}'", where=where, fix=did_you_mean(name, list(every)))
        if not every[name].is_numeric:
            raise _refused(every[name], where)
    return [every[name] for name in wanted]


def _refused(variable: Variable, where: str) -> DataError:
    if variable.dtype == "object":
        what = f"{variable.name or 'its array'} holds Python objects (a pickle), which are never loaded"
        return DataError(what.strip(), where=where, fix="write numbers: numpy.save(FILE, array, allow_pickle=False)")
    return DataError(f"{variable.described()} holds no real numbers", where=where, fix="name another array")


def parse_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """What attributes by the CF conventions say of a variable: nodata, scale, offset and unit, as `Variable` has them."""

    def number(*names: str) -> float | None:
        for name in names:
            value = np.asarray(values[name]).ravel() if name in values else np.array([])
            if value.size and value.dtype.kind in "fiu":
                return float(value[0])
        return None

    unit = values.get("units", "")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    scale, offset, nodata = (
        number("scale_factor"),
        number("add_offset"),
        number("_FillValue", "missing_value", "nodata"),
    )
    return {
        "nodata": nodata if nodata is None or math.isfinite(nodata) else None,
        "scale": 1.0 if scale is None else scale,
        "offset": 0.0 if offset is None else offset,
        "unit": "" if unit in ("1", "None", "-") else unit,
    }
