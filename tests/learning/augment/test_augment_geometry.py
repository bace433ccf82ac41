"""Geometry: turns exact to the bit and aligned over rasters, maps and boxes; crops that mix nothing in."""

import numpy as np
import pytest
import torch
from fake_batch import KINDS, MODALITIES, fake_batch, missing
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.loading import Batch
from eofuse.data.store import Window
from eofuse.data.targets.box_files import clip_boxes, pad_boxes
from eofuse.kinds import DETECTION
from eofuse.learning.augment import AugmentOptions, make_augmentation
from eofuse.learning.augment.geometry import (
    Windows,
    crops,
    resample_boxes,
    resample_codes,
    resample_numbers,
    turn,
    turn_boxes,
)

DTYPES = ["uint8", "uint16", "int16", "int32", "int64", "float32", "float64", "bool"]


def by_numpy(values: np.ndarray, number: int) -> np.ndarray:
    values = values.swapaxes(-1, -2) if number & 4 else values
    values = values[..., ::-1] if number & 1 else values
    return values[..., ::-1, :] if number & 2 else values


@settings(max_examples=60)
@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
def test_turns_move_bytes_and_nothing_else(data, dtype, channels, height, width):
    turns = data.draw(st.lists(st.integers(0, 7 if height == width else 3), min_size=1, max_size=5))
    seed = data.draw(st.integers(0, 99))
    shape = (len(turns), channels, height, width)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, size).astype(np.uint8)
    values = raw.view(dtype).reshape(shape)
    turned = turn(torch.from_numpy(values), turns)
    assert turned.dtype == getattr(torch, dtype)
    for one, before, number in zip(turned.numpy(), values, turns, strict=True):
        assert one.tobytes() == by_numpy(before, number).tobytes()


def test_the_eight_turns_are_all_different():
    corner = torch.arange(4).view(1, 1, 2, 2).repeat(8, 1, 1, 1)
    assert len({tuple(one.flatten().tolist()) for one in turn(corner, range(8))}) == 8


@st.composite
def boxes_in(draw, height, width):
    left, right = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    return [left, top, right, bottom, draw(st.integers(0, 3))]


@settings(max_examples=60)
@given(st.data(), st.integers(2, 12), st.integers(2, 12))
def test_turned_boxes_lie_around_what_they_lay_around(data, height, width):
    number = data.draw(st.integers(0, 7 if height == width else 3))
    box = data.draw(boxes_in(height, width))
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    mask[0, box[1] : box[3], box[0] : box[2]] = 1
    turned = turn_boxes(torch.from_numpy(pad_boxes([np.array([box])])), [number], (height, width))[0, 0].tolist()
    rows, columns = turn(mask, [number])[0].nonzero().unbind(1)
    assert turned == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, box[4]]


def test_padding_and_unknown_boxes_stay():
    boxes = torch.from_numpy(pad_boxes([np.array([[1, 2, 3, 4, 0]]), None, np.zeros((0, 5))]))
    turned = turn_boxes(boxes, [3, 3, 3], (8, 8))
    assert torch.equal(turned[1:], boxes[1:])
    everything = Windows(*np.array([[-20.0] * 3, [-20.0] * 3, [8.0] * 3, [8.0] * 3]))
    gone = resample_boxes(boxes, everything, (8, 8))
    assert gone[:, 0, 4].tolist() == [-1, -2, -1]


def aligned(size: int) -> Batch:
    """A batch whose rasters and maps all show the same pattern, and a box around its bright rectangle."""
    batch = fake_batch(8, size)
    generator = np.random.default_rng(3)
    boxes = []
    for position in range(8):
        left, top = generator.integers(0, size // 2, 2)
        right, bottom = generator.integers(size // 2 + 1, size + 1, 2)
        area = (position, ..., slice(top, bottom), slice(left, right))
        for name, low, high in (("s2", 1000, 3000), ("s1", -20, -5), ("elevation", 100, 200), ("worldcover", 10, 80)):
            batch.inputs[name][position] = low
            batch.inputs[name][area] = high
        batch.targets["cover"][position], batch.targets["height"][position] = 0, 0
        batch.targets["cover"][area], batch.targets["height"][area] = 1, 1
        boxes.append(np.array([[left, top, right, bottom, 2]]))
    batch.targets["boxes"] = torch.from_numpy(pad_boxes(boxes))
    batch.valid["boxes"] = torch.ones(8, dtype=torch.bool)
    return batch


def shown(batch: Batch) -> dict[str, torch.Tensor]:
    """Where each raster and map shows the rectangle."""
    limits = {"s2": 2000, "s1": -12.5, "elevation": 150, "worldcover": 50}
    found = {name: batch.inputs[name][:, 0].float() > limit for name, limit in limits.items()}
    return {**found, "cover": batch.targets["cover"] == 1, "height": batch.targets["height"][:, 0] > 0.5}


@pytest.mark.parametrize("seed", range(4))
def test_all_of_a_patch_turns_alike(seed):
    batch = aligned(12)
    kinds = {**KINDS, "boxes": DETECTION}
    after = make_augmentation(AugmentOptions(turns=True), MODALITIES, kinds)(batch, torch.manual_seed(seed))
    assert {name: values.dtype for name, values in after.inputs.items()} == {
        name: values.dtype for name, values in batch.inputs.items()
    }
    masks = list(shown(after).values())
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert not torch.equal(masks[0], shown(batch)["cover"])
    for mask, boxes in zip(masks[0], after.targets["boxes"], strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert boxes[0, :4].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("change", [{"crop": 0.4}, {"shift": 0.3, "scale": 0.3}])
def test_all_of_a_patch_is_resampled_alike(change):
    batch = aligned(24)
    options = AugmentOptions(resampled=1, **change)
    after = make_augmentation(options, MODALITIES, {**KINDS, "boxes": DETECTION})(batch, torch.manual_seed(1))
    masks = shown(after)
    for name, mask in masks.items():
        off = (mask != masks["cover"]).float().mean()
        assert off < 0.01, name  # a bilinear edge may lie half a pixel beside a nearest one
    for mask, boxes in zip(masks["cover"], after.targets["boxes"], strict=True):
        if boxes[0, 4] >= 0:
            rows, columns = mask.nonzero().unbind(1)
            around = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (boxes[0, :4] - around).abs().max() <= 1


def test_what_comes_from_outside_is_missing_everywhere_alike():
    batch = fake_batch(5, 20)
    options = AugmentOptions(resampled=1, shift=0.4)
    after = make_augmentation(options, MODALITIES, KINDS)(batch, torch.manual_seed(0))
    beyond = after.targets["cover"] == 255
    assert beyond.any()
    assert torch.equal(after.targets["height"][:, 0].isnan(), beyond)
    for name in ("s2", "s1", "elevation", "worldcover"):
        assert torch.equal(missing(MODALITIES[name], after.inputs[name])[:, 0], beyond), name


def whole(count: int, size: int) -> Windows:
    zeros, sides = np.zeros(count), np.full(count, float(size))
    return Windows(zeros, zeros, sides, sides)


def test_the_whole_patch_as_a_window_is_the_patch():
    batch = fake_batch(3, 17)
    numbers = batch.inputs["s1"]
    assert torch.allclose(resample_numbers(numbers, whole(3, 17)), numbers, atol=1e-3)
    assert torch.equal(resample_codes(batch.targets["cover"], whole(3, 17), 255), batch.targets["cover"])


def test_missing_numbers_are_never_mixed_in():
    values = torch.full((1, 1, 8, 8), 7.0)
    values[0, 0, :, 3] = float("nan")
    found = resample_numbers(values, Windows(*np.array([[0.3], [0.2], [6.6], [7.1]])))
    assert found.isnan().any()
    assert torch.allclose(found[found.isfinite()], torch.tensor(7.0))


def test_nodata_of_integers_is_never_mixed_in():
    batch = fake_batch(4, 16)
    batch.inputs["s2"].view(torch.int16)[:] = 2000
    batch.inputs["s2"][:, :, 5:9, 2:6] = 0
    after = make_augmentation(AugmentOptions(crop=0.5, resampled=1), MODALITIES, {})(batch, torch.manual_seed(0))
    values = after.inputs["s2"]
    assert values.isnan().any()
    assert torch.allclose(values[values.isfinite()], torch.tensor(2000.0))


@settings(max_examples=60)
@given(st.data(), st.integers(0, 6), st.integers(0, 6), st.integers(2, 8))
def test_boxes_are_cut_by_the_rule_of_all_boxes(data, left, top, side):
    boxes = np.array(data.draw(st.lists(boxes_in(14, 14), max_size=4)), dtype=np.float32).reshape(-1, 5)
    window = Windows(*np.array([[float(left)], [float(top)], [float(side)], [float(side)]]))
    found = resample_boxes(torch.from_numpy(pad_boxes([boxes])), window, (side, side))[0].numpy()
    np.testing.assert_array_equal(found[found[:, 4] >= 0], clip_boxes(boxes, Window(top, left, side, side)))


def test_a_rectangle_is_turned_into_itself():
    batch = fake_batch(6, 16, {"s1": MODALITIES["s1"]})
    batch.inputs["s1"] = batch.inputs["s1"][..., :9]
    after = make_augmentation(AugmentOptions(turns=True), {"s1": MODALITIES["s1"]}, {})(batch, torch.manual_seed(0))
    for one, before in zip(after.inputs["s1"], batch.inputs["s1"], strict=True):
        assert any(torch.equal(one, turn(before[None], [number])[0]) for number in range(4))


@settings(max_examples=60, deadline=None)
@given(smallest=st.floats(0.05, 1), seed=st.integers(0, 1000), size=st.tuples(st.integers(8, 200), st.integers(8, 200)))
def test_a_crop_leaves_at_least_its_share_of_the_area(smallest, seed, size):
    found = crops(200, size, smallest, np.random.default_rng(seed))
    area = found.width * found.height / (size[0] * size[1])
    assert (area >= smallest - 1e-9).all()
    assert abs(area.mean() - (1 + smallest) / 2) < 6 * (1 - smallest) / np.sqrt(12 * 200) + 1e-9
    ratio = found.width / size[1] / (found.height / size[0])
    assert (ratio > 0.75 - 1e-9).all()
    assert (ratio < 4 / 3 + 1e-9).all()
    assert (np.minimum(found.left, found.top) >= 0).all()
    assert (found.left + found.width <= size[1] + 1e-9).all()
    assert (found.top + found.height <= size[0] + 1e-9).all()
