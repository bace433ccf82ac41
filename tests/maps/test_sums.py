"""Rows of windows that are finished from left to right come to the same as when all is added up at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.maps import sums as sums_module
from eofuse.maps.sums import Sums
from eofuse.maps.windows import Axis


class AsTheyAre:
    """A product that finishes sums as they are."""

    sums = 2

    def finish(self, sums, valid):
        return {"": np.where(valid, sums, np.nan)}


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    patch = pytest.MonkeyPatch()
    patch.setattr(sums_module, "BLOCK_COLUMNS", 5)
    yield
    patch.undo()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.tuples(st.integers(1, 30), st.integers(2, 9)),
    columns=st.tuples(st.integers(1, 30), st.integers(2, 9)),
    seed=st.integers(0, 99),
    skipped=st.floats(0, 0.7),
)
def test_what_is_finished_early_lacks_nothing(rows, columns, seed, skipped):
    down, across = (Axis(length, size, step=-(-size // 2)) for length, size in (rows, columns))
    random = np.random.default_rng(seed)
    expected = np.zeros((2, down.length, across.length), dtype=np.float32)
    sums, found = Sums(AsTheyAre(), down.cells(0)[1], across.length), []
    for row in range(len(down)):
        windows = [number for number in range(len(across)) if random.random() >= skipped]
        first, last = down.cells(row)
        valid = np.ones((down.finished(row) - first, across.length), dtype=bool)
        for place, number in enumerate(windows):
            left, right = across.cells(number)
            values = random.integers(0, 99, (2, last - first, right - left)).astype(np.float32)
            expected[:, first:last, left:right] += values
            sums.add(left, values)
            later = [across.cells(each)[0] for each in windows[place + 1 :]]
            sums.finish(min(later, default=across.length), valid)
        sums.finish(across.length, valid)
        found.append(sums.take()[""])
    np.testing.assert_array_equal(np.concatenate(found, axis=1), expected)
