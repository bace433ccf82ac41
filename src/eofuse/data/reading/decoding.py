"""How products that are no numbers on a line are stored in files, by the name of the embedding: `DECODERS`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Decoder:
    """What stands in the files of a product.

    Attributes:
        dtype: of files that hold codes; those of other dtypes hold the values themselves.
        decode: gives the values of codes, NaN where there is none.
    """

    dtype: str
    decode: Callable[[Values], Values]


def alphaearth(codes: Values) -> Values:
    """Coordinates from −1 to 1 of AlphaEarth's codes from −127 to 127; −128 stands for none (Brown et al. 2025, product guide)."""
    values: Values = np.sign(codes) * np.square(codes / 127.5)
    values[codes == -128] = np.nan
    return values


DECODERS = {"alphaearth": Decoder("int8", alphaearth)}
"""By the name of an embedding (`Modality.embedding`)."""
