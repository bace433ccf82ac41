"""Windows over a scene: they cover it, and their weights add up to one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eofuse.errors import UsageError
from eofuse.maps.windows import Axis, Stride, cover


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size = draw(st.integers(1, 60))
    overlap = draw(st.integers(0, size // 2))
    length = draw(st.integers(1, 300))
    return Axis(length, size, size - overlap, draw(st.integers(0, overlap // 2)), draw(st.booleans()))


@given(axes())
def test_weights_add_up_to_one_at_every_pixel(axis: Axis) -> None:
    total = np.zeros(axis.length)
    for number in range(len(axis)):
        start, end = axis.cells(number)
        total[start:end] += axis.weights(number)
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(axes())
def test_windows_lie_within_the_scene_and_see_all_cells_to_which_they_contribute(axis: Axis) -> None:
    for number in range(len(axis)):
        (start, end), (first, last) = axis.span(number), axis.cells(number)
        assert 0 <= start <= first < last == end <= axis.length
        assert axis.before(number) == first - start
        if axis.moves_back:
            assert end - start == min(axis.size, axis.length)


@given(axes())
def test_what_is_finished_is_not_touched_by_later_windows(axis: Axis) -> None:
    for number in range(len(axis) - 1):
        assert axis.finished(number) == axis.cells(number + 1)[0]
    assert axis.finished(len(axis) - 1) == axis.length


@given(axes())
def test_rims_count_at_the_edge_of_the_scene_only(axis: Axis) -> None:
    for number in range(len(axis)):
        weights = axis.weights(number)
        assert (weights[: axis.rim] == (number == 0)).all() or not axis.rim
        assert weights[-1] == 1 or number < len(axis) - 1


@given(axes())
def test_cores_part_the_side(axis: Axis) -> None:
    cores = [axis.core(number) for number in range(len(axis))]
    assert cores[0][0] == 0
    assert cores[-1][1] == axis.length
    assert all(before[1] == after[0] for before, after in itertools.pairwise(cores))


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 80))
def test_cells_of_a_stride_have_a_window_each_as_near_as_the_scene_allows(length: int, size: int, step: int) -> None:
    axis = Stride(length, size, step)
    assert (len(axis) - 1) * step < length <= len(axis) * step
    for number in range(len(axis)):
        start, end = axis.span(number)
        assert 0 <= start < end <= length
        assert end - start == min(size, length)


def test_an_overlap_that_can_not_be_is_refused() -> None:
    with pytest.raises(UsageError, match="can't overlap by 40"):
        cover(100, 100, 64, 40)
    with pytest.raises(UsageError, match="can't overlap by 64"):
        cover(100, 100, 64, 64)
