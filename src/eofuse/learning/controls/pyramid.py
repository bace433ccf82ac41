"""Features of pixels where they are computed, and linear models on them: coarse features are not enlarged, but what follows from them.

A linear model adds up what each feature of a pixel gives, and many pixels share coarse ones. So each level of a
pyramid is multiplied by its weights first, which leaves as many numbers as there are classes, and these are enlarged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.learning.controls.linear import Linear, LinearHeads
from eofuse.tasks.base import Array


@dataclass(frozen=True)
class Pyramid:
    """Features of the pixels of some patches, by level.

    Attributes:
        levels: (patches, width, height, width) each.
        strides: pixels of the patch on a side of each pixel of a level.
        size: (height, width) of the patches.
        decides: on which patches a head that sees them decides, (patches,).
    """

    levels: Sequence[Array]
    strides: Sequence[int]
    size: tuple[int, int]
    decides: npt.NDArray[np.bool_]

    def at(self, patches: Array, pixels: Array) -> Array:
        """Features of single pixels, (n, width of all levels), NaN where no head decides.

        Args:
            patches: position of the patch of each.
            pixels: its number in the patch, row by row.
        """
        row, column = np.divmod(pixels, self.size[1])
        found = [
            level[patches, :, row // stride, column // stride]
            for level, stride in zip(self.levels, self.strides, strict=True)
        ]
        together = np.concatenate(found, axis=1)
        together[~self.decides[patches]] = np.nan
        return together

    def predict(self, model: Linear) -> Array:
        """What a linear model predicts for all pixels, (patches, classes, height, width), whether its head decides or not."""
        coefficients, intercept = model.affine()
        edges = np.cumsum([0, *(level.shape[1] for level in self.levels)])
        total, before = np.zeros(0), 1
        for number in np.argsort(self.strides, kind="stable")[::-1].tolist():  # from coarse to fine
            level, stride = self.levels[number], self.strides[number]
            own = np.einsum("kc,bchw->bkhw", coefficients[:, edges[number] : edges[number + 1]], level, optimize=True)
            if total.size:
                if before % stride:  # as no encoder has it: both become as large as the patches
                    total, own = _enlarged(total, before, self.size), _enlarged(own, stride, self.size)
                    stride = 1
                else:
                    total = _enlarged(total, before // stride, own.shape[-2:])
            total, before = total + own if total.size else own, stride
        decided = model.decided(np.moveaxis(total, 1, -1) + intercept)
        return _enlarged(np.moveaxis(decided, -1, 1), before, self.size)


def predict_maps(heads: LinearHeads, pyramids: Sequence[Pyramid]) -> Array:
    """What linear models predict for the pixels of patches, (patches, classes, height, width) in float32.

    Of those heads that decide on a patch and have learned, the mean is taken; where there is none, the constant prediction.
    """
    patches, size = len(pyramids[0].decides), pyramids[0].size
    constant = heads.task.constant.reshape(1, -1, 1, 1)
    total = np.zeros((patches, constant.shape[1], *size), dtype=np.float32)
    count = np.zeros((patches, 1, 1, 1))
    for model, pyramid in zip(heads.models, pyramids, strict=True):
        if model is not None and pyramid.decides.any():
            total[pyramid.decides] += pyramid.predict(model)[pyramid.decides]
            count[pyramid.decides] += 1
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), constant), dtype=np.float32)


def _enlarged(maps: Array, factor: int, size: tuple[int, int]) -> Array:
    """Maps (…, height, width) whose pixels are repeated, cut to a size."""
    if factor == 1:
        return maps[..., : size[0], : size[1]]
    return maps.repeat(factor, axis=-2).repeat(factor, axis=-1)[..., : size[0], : size[1]]
