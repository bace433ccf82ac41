"""Linear models on pyramids of features: the same as on features that were enlarged to the pixels first."""

from types import SimpleNamespace

import numpy as np
import pytest

from eofuse.kinds import PIXEL_REGRESSION, SEGMENTATION
from eofuse.learning.controls.linear import LinearHeads
from eofuse.learning.controls.pyramid import Pyramid, predict_maps

SIZE = (10, 13)


def pyramid(seed, decides=(True, True, True)):
    """Three levels whose sizes are rounded up, in any order, the last one a vector a patch."""
    generator = np.random.default_rng(seed)
    shapes = ((3, 2), (2, 3), (5, 4), (2, 13))  # width and stride
    levels = [generator.normal(2, 3, (3, width, -(-10 // by), -(-13 // by))).astype(np.float32) for width, by in shapes]
    return Pyramid(levels, [by for _, by in shapes], SIZE, np.array(decides))


def enlarged(one):
    """Features of all pixels, (patches · pixels, width)."""
    patches, pixels = np.divmod(np.arange(3 * 130), 130)
    return one.at(patches, pixels)


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("kind", [SEGMENTATION, PIXEL_REGRESSION])
def test_prediction_before_enlarging_is_that_of_enlarged_features(kind, classes):
    generator = np.random.default_rng(classes)
    names, constant = tuple(map(str, range(4))), generator.random((4, 1, 1))
    task = SimpleNamespace(kind=kind, classes=names, constant=constant, target=SimpleNamespace(composition=False))
    truth = generator.normal(size=(390, 4)) if kind.is_numbers else generator.integers(0, classes, 390)
    first, other = pyramid(0), pyramid(1)
    heads = LinearHeads(task, [enlarged(first), enlarged(other)], truth, 0.1)
    seen = [pyramid(2, (True, False, False)), pyramid(3, (True, True, False))]
    expected = heads.predict([enlarged(each) for each in seen]).reshape(3, *SIZE, 4)
    np.testing.assert_allclose(predict_maps(heads, seen), np.moveaxis(expected, -1, 1), rtol=1e-4, atol=1e-6)
