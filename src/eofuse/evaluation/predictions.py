"""What one trained run predicts for its test patches, as it is resampled."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.sparse import SparseRows, summed
from eofuse.evaluation.weighting import Evidence


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one run predicts for its test patches.

    Attributes:
        evidence: by name, (N, …); where `sums` names some of it, a row a scene.
        scenes: (N,) scene of each patch.
        patch_ids: (N,) without repetition.
        seed: the training seed.
        fold: number of the fold of a cross-validation, 0 without one.
        sums: arrays of the evidence that are given a row a patch and summed over scenes; of the others one row a scene is kept.
        units: scene of each row of the evidence.
    """

    evidence: Evidence
    scenes: NDArray[Any]
    patch_ids: NDArray[Any]
    seed: int = 0
    fold: int = 0
    sums: tuple[str, ...] = ()
    units: NDArray[Any] = field(init=False, repr=False)
    test_set: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        evidence = {
            name: array if isinstance(array, SparseRows) else np.asarray(array) for name, array in self.evidence.items()
        }
        object.__setattr__(self, "evidence", evidence)
        for name in ("scenes", "patch_ids"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        for name, array in {**self.evidence, "scenes": self.scenes}.items():
            if len(array) != len(self.patch_ids):
                raise UsageError(f"{name} has {len(array)} rows, patch_ids {len(self.patch_ids)}")
        identifiers = sorted(str(identifier) for identifier in self.patch_ids.tolist())
        if len(set(identifiers)) != len(identifiers):
            twice = Counter(identifiers).most_common(1)[0][0]
            raise DataError(f"patch {twice} occurs more than once", where=f"seed {self.seed}, fold {self.fold}")
        object.__setattr__(self, "units", self.scenes)
        if self.sums:
            self._sum_over_scenes()
        object.__setattr__(self, "test_set", hashlib.sha256("\n".join(identifiers).encode()).hexdigest())

    def _sum_over_scenes(self) -> None:
        units, first, codes = np.unique(self.scenes, return_index=True, return_inverse=True)
        evidence = {
            name: summed(array, codes, len(units)) if name in self.sums else np.asarray(array[first])
            for name, array in self.evidence.items()
        }
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "evidence", evidence)
