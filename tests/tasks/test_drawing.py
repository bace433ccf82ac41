"""What a head is calibrated on: pixels drawn over the whole validation set, each of them equally likely."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.data.loading import Batch
from eofuse.data.targets import IGNORE
from eofuse.learning.validation import calibration
from eofuse.tasks.drawing import Draw
from eofuse.tasks.segmentation import Segmentation


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 1000))
def test_a_draw_does_not_depend_on_how_the_stream_is_cut(counts, most, seed):
    def drawn(sizes):
        draw, start, parts = Draw(most, seed), 0, []
        for size in sizes:
            parts.append(start + draw.candidates(size))
            start += size
        return np.concatenate(parts)[draw.kept()]

    total = sum(counts)
    found = drawn(counts)
    assert found.tolist() == drawn([total]).tolist()
    assert len(found) == min(most, total) == len(set(found.tolist()))


def test_every_unit_is_drawn_equally_often():
    times = np.zeros(40)
    for seed in range(1000):
        draw = Draw(10, seed)
        parts = [start + draw.candidates(20) for start in (0, 20)]
        times[np.concatenate(parts)[draw.kept()]] += 1
    assert abs(times - 250).max() < 5 * (1000 * 0.25 * 0.75) ** 0.5


class _Maps:
    """Validation patches of one shape, in batches, as `walk` reads them; class numbers are positions in the patch."""

    def __init__(self, truth):
        self.truth = truth

    def batches(self, parts):
        for rows in parts:
            known = {"map": torch.ones(len(rows), dtype=torch.bool)}
            yield Batch(rows, {}, {}, {"map": torch.from_numpy(self.truth[rows])}, known)


class _Positions(Segmentation):
    """Keeps the samples on which it would be calibrated."""

    def __init__(self):
        self.drawn = None

    name = "map"

    def calibrate(self, prediction, truth, scenes):
        self.drawn = prediction[:, 0].astype(int), prediction[:, 1].astype(int), truth
        assert scenes.tolist() == self.drawn[0].tolist()  # each patch is a scene here
        return {}, {}


def _drawn_pixels(truth, monkeypatch, most, seed=0):
    """Patches and positions of the pixels on which a head is calibrated."""
    monkeypatch.setattr("eofuse.learning.validation.MOST_SAMPLES", most)
    height, width = truth.shape[1:]

    def predict(batch):
        position = np.broadcast_to(np.arange(height * width).reshape(height, width), (len(batch), height, width))
        patch = np.broadcast_to(np.asarray(batch.rows)[:, None, None], position.shape)
        return {"map": np.stack([patch, position], axis=1)}

    task = _Positions()
    calibration(predict, [task], _Maps(truth), {"map": np.arange(len(truth))}, np.arange(len(truth)), seed)
    return task.drawn


def test_calibration_draws_other_pixels_in_every_batch(monkeypatch):
    patch, position, _ = _drawn_pixels(np.zeros((256, 8, 8), dtype=np.uint8), monkeypatch, most=1024)
    assert len(patch) == 1024
    batches = [patch // 64 == number for number in range(4)]
    drawn = [set(zip(patch[batch] % 64, position[batch], strict=True)) for batch in batches]
    assert len(set.intersection(*drawn)) < 50  # of 256
    assert len(np.unique(position)) == 64
    counts = np.bincount(position, minlength=64)
    assert abs(counts - 16).max() < 5 * 4


def test_calibration_draws_as_many_labelled_pixels_where_most_have_no_label(monkeypatch):
    truth = np.full((64, 8, 8), IGNORE, dtype=np.uint8)
    truth[:, 3, 3:5] = 1
    _, position, labels = _drawn_pixels(truth, monkeypatch, most=100)
    assert len(labels) == 100
    assert set(labels) == {1}
    assert set(position) == {27, 28}
