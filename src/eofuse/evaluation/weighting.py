"""Weightings of rows, and the arithmetic that every metric under many weightings shares."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.sparse import SparseRows
from eofuse.kinds import TaskKind

_CHUNK_BYTES = 64e6

FloatArray = NDArray[np.float64]

Evidence = Mapping[str, Any]
"""Arrays, or `SparseRows`, with a row a patch, from which metrics follow (see `eofuse.evaluation.evidence`)."""


class Totals(ABC):
    """The evidence of a set of patches under one weighting or many: what metrics are computed from.

    Subclasses have what the metrics of a kind of task share, computed when it is first needed.

    Attributes:
        kind: of task.
        evidence: of the patches.
        weights: (R, N).
        many: whether several weightings were given.

    Raises:
        UsageError: if the shapes do not fit.
        DataError: if a weight is negative or not a finite number.
    """

    def __init__(self, kind: TaskKind, evidence: Evidence, weights: ArrayLike | None = None) -> None:
        self.kind = kind
        self.evidence = evidence
        self.weights, self.many = weightings(weights, len(next(iter(evidence.values()))))

    def under(self, weights: ArrayLike | None) -> "Totals":
        """The same patches under other weights; what was computed of single patches stays, if this one was never asked for totals."""
        other = copy(self)
        other.weights, other.many = weightings(weights, len(next(iter(self.evidence.values()))))
        return other

    def look_at_patches(self) -> None:  # noqa: B027  # most have nothing to compute
        """Computes what depends on no weights, so that `under` need not do it again."""

    @property
    @abstractmethod
    def support(self) -> FloatArray:
        """Weighted count of each class or number, (R, K)."""


def weighted_sums(weights: FloatArray, rows: Any) -> FloatArray:
    """Sums (R, …) of rows (N, …) under weights (R, N), some rows at a time, as the product needs floats."""
    if isinstance(rows, SparseRows):
        return rows.weighted(weights)
    table = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    step = max(1, int(_CHUNK_BYTES / (8 * max(1, table.shape[1]))))
    sums = np.zeros((len(weights), table.shape[1]))
    for start in range(0, len(table), step):
        sums += weights[:, start : start + step] @ table[start : start + step].astype(np.float64)
    return sums.reshape(len(weights), *rows.shape[1:])


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: FloatArray = np.where(denominator > 0, numerator / denominator, np.nan)
    return quotient


def mean_where(values: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    """Means over the last axis of the chosen entries, NaN where none is chosen."""
    sums: FloatArray = np.where(chosen, values, 0.0).sum(axis=-1)
    return divide(sums, chosen.sum(axis=-1).astype(np.float64))


def weightings(weights: ArrayLike | None, count: int) -> tuple[FloatArray, bool]:
    """Weights as (R, N), and whether several were given."""
    if weights is None:
        return np.ones((1, count)), False
    rows = np.asarray(weights, dtype=np.float64)
    if rows.ndim not in (1, 2) or rows.shape[-1] != count:
        raise UsageError(f"weights have the shape {rows.shape} for {count} rows", fix="give (N,) or (R, N)")
    if not np.isfinite(rows).all() or (rows < 0).any():
        raise DataError("weights must be finite and not negative", where="weights")
    return np.atleast_2d(rows), rows.ndim == 2
