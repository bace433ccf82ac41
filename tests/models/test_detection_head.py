"""Detectors on fused maps: what they take, what they tell, and that they find planted boxes where they are."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from eofuse.errors import UsageError
from eofuse.evaluation.metrics.detection import intersection_over_union, match_boxes
from eofuse.kinds import DETECTION
from eofuse.models.encoders import RasterEncoder
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HeadSpec
from eofuse.models.heads.detection import DETECTORS, DetectionHead
from scoring import scored

CLASSES = ("darker", "brighter")
SIZES = FeatureSizes(8, [6, 8, 10, 12, 14], [2, 4, 8, 16, 32])
SIZE = (120, 120)
FILL = [0.0, 0.0, 0.0, 0.0, -1.0]
STEPS = 60
each_network = pytest.mark.parametrize("network", DETECTORS)


def make_head(network, sizes=SIZES, dropout=0.0):
    torch.manual_seed(0)
    return DetectionHead(HeadSpec(DETECTION, CLASSES, network=network), [sizes], dropout)


def make_features(sizes=SIZES, batch=3, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (batch, width, -(-size[0] // s), -(-size[1] // s)) for width, s in zip(sizes.maps, sizes.strides, strict=True)
    ]
    maps = [torch.randn(shape, generator=generator) for shape in shapes]
    return [Features(torch.zeros(batch, sizes.vector), maps, list(sizes.strides))]


def make_truth(*patches):
    most = max([1, *map(len, patches)])
    return torch.tensor([[*rows, *[FILL] * (most - len(rows))] for rows in patches]).float()


def losses(head, truth, features=None, size=SIZE):
    torch.manual_seed(1)
    return head(make_features(batch=len(truth)) if features is None else features, size, truth)


# What they tell


@each_network
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_boxes_are_inside_the_patch_best_first_and_filled_up(network, training):
    head = make_head(network).train(training)
    size = (100, 120)
    boxes = head(make_features(size=size), size)
    assert boxes.shape == (3, 100, 6)
    assert boxes.dtype == torch.float32
    real = boxes[..., 5] >= 0
    assert set(boxes[..., 5].unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert (boxes[~real] == torch.tensor([0.0, 0, 0, 0, 0, -1])).all()
    assert (boxes[..., 4].diff() <= 0).all()
    corners = boxes[real]
    assert ((corners[:, 0] >= 0) & (corners[:, 0] < corners[:, 2]) & (corners[:, 2] <= 120)).all()
    assert ((corners[:, 1] >= 0) & (corners[:, 1] < corners[:, 3]) & (corners[:, 3] <= 100)).all()


@each_network
def test_predictions_are_the_boxes_as_they_are(network):
    head = make_head(network)
    boxes = head(make_features(), SIZE)
    assert torch.equal(head.predict(boxes), boxes)


@each_network
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_truth_gives_losses_whose_gradient_reaches_the_maps(network, training):
    head, features = make_head(network).train(training), make_features()
    for level in features[0].maps:
        level.requires_grad_()
    values = losses(head, make_truth([[10, 10, 40, 30, 1]], [], [[0, 0, 120, 120, 0]]), features)
    torch.stack(list(values.values())).sum().backward()
    assert all(level.grad.abs().sum() > 0 for level in features[0].maps[1:])
    assert {module.training for module in head.modules()} == {training}


@each_network
def test_losses_are_the_same_for_the_same_random_state(network):
    head, truth = make_head(network), make_truth([[10, 10, 40, 30, 1]], [[5, 5, 9, 9, 0]])
    first, second = losses(head, truth), losses(head, truth)
    assert {name: value.item() for name, value in first.items()} == {name: v.item() for name, v in second.items()}


@each_network
def test_a_batch_of_empty_patches_has_finite_losses(network):
    values = losses(make_head(network), make_truth([], []))
    assert all(torch.isfinite(value) for value in values.values())


@each_network
@pytest.mark.parametrize("box", [[0, 0, 5, 5, 0], [115, 0, 120, 120, 1], [0, 0, 120, 120, 1], [119, 119, 120, 120, 0]])
def test_boxes_at_the_edge_have_finite_losses(network, box):
    values = losses(make_head(network), make_truth([box], []))
    assert all(torch.isfinite(value) for value in values.values())


@each_network
def test_boxes_without_area_in_the_patch_are_passed_over(network):
    head, box = make_head(network), [10, 10, 40, 30, 1]
    flat = [[20, 20, 20, 40, 0], [50, 50, 40, 60, 0], [130, 10, 140, 20, 1], [float("nan"), 0, 9, 9, 1]]
    expected, found = losses(head, make_truth([box], [])), losses(head, make_truth([flat[0], box, *flat[1:]], flat))
    assert {name: value.item() for name, value in found.items()} == {name: v.item() for name, v in expected.items()}


@each_network
def test_patches_whose_boxes_are_not_known_take_no_part(network):
    head, features = make_head(network), make_features(batch=2)
    alone = [Features(features[0].vector[:1], [level[:1] for level in features[0].maps], features[0].strides)]
    box, unknown = [10, 10, 40, 30, 1], [0, 0, 0, 0, -2]
    expected = losses(head, make_truth([box]), alone)
    found = losses(head, make_truth([box], [unknown]), features)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    values = losses(head, make_truth([unknown], [unknown]), features)
    assert torch.stack(list(values.values())).sum().item() == 0
    torch.stack(list(values.values())).sum().backward()


@each_network
def test_boxes_are_float32_under_autocast(network):
    head, features = make_head(network).eval(), make_features()
    with torch.autocast("cpu", torch.bfloat16):
        boxes = head(features, SIZE)
        values = losses(head, make_truth([[10, 10, 40, 30, 1]], [], [[3, 3, 9, 9, 0]]), features)
    assert boxes.dtype == torch.float32
    assert {value.dtype for value in values.values()} == {torch.float32}
    plain = losses(head, make_truth([[10, 10, 40, 30, 1]], [], [[3, 3, 9, 9, 0]]), features)
    for name, value in plain.items():
        torch.testing.assert_close(values[name], value, rtol=0.1, atol=0.05)


@each_network
def test_dropout_acts_in_training_only(network):
    head, truth = make_head(network, dropout=0.5), make_truth([[10, 10, 40, 30, 1]])
    without = make_head(network)
    without.load_state_dict(head.state_dict())
    assert losses(head.eval(), truth).keys() == losses(without.eval(), truth).keys()
    assert sum(losses(head.eval(), truth).values()) == sum(losses(without.eval(), truth).values())
    assert sum(losses(head.train(), truth).values()) != sum(losses(without.train(), truth).values())


# What they take


def test_the_anchors_keep_the_true_stride_where_the_patch_is_no_multiple_of_it():
    head, size = make_head("faster_rcnn"), (100, 100)
    maps = head._maps(make_features(size=size)[0].maps)
    images = type("Images", (), {"image_sizes": [size]})
    anchors = head.detector.proposer.anchor_generator(images, maps)[0]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    last = [(25 - 1) * 4, (13 - 1) * 8, (7 - 1) * 16, (4 - 1) * 32]
    counts = [3 * side * side for side in (25, 13, 7, 4)]
    assert [level.max().item() for level in centres.split(counts)] == last


@each_network
@pytest.mark.parametrize(
    ("strides", "expected"),
    [([16, 16, 16, 16], [4, 8, 16]), ([14, 14], [7, 14]), ([8, 16, 32], [4, 8, 16, 32]), ([4, 8, 64], [4, 8])],
    ids=["tokens of 16", "tokens of 14", "no stride 4", "too coarse a map"],
)
def test_levels_fit_the_maps_that_there_are(network, strides, expected):
    sizes = FeatureSizes(8, [6] * len(strides), strides)
    head = make_head(network, sizes)
    assert [level.stride for level in head.levels] == expected
    boxes = head(make_features(sizes, size=(112, 112)), (112, 112))
    assert boxes.shape == (3, 100, 6)


@pytest.mark.parametrize(
    ("network", "sizes", "message"),
    [
        ("fcos", [SIZES, SIZES], "can't be averaged.*another strategy"),
        ("fcos", [FeatureSizes(8)], "add a raster"),
        ("fcos", [FeatureSizes(8, [4, 4], [1, 2])], "stride 4 to 32"),
        ("retina", [SIZES], "did you mean 'retinanet'"),
    ],
    ids=["decision fusion", "no maps", "no stride that fits", "no such detector"],
)
def test_what_can_not_be_detected_with_is_refused(network, sizes, message):
    with pytest.raises(UsageError, match=message):
        DetectionHead(HeadSpec(DETECTION, CLASSES, network=network), sizes)


# What they learn


def draw(count, size, generator, most=2):
    """Patches of noise with rectangles, darker or brighter in the second channel only, and their boxes."""
    rasters = torch.randn(count, 2, size, size, generator=generator) * 0.5
    truth = torch.tensor(FILL).repeat(count, most, 1)
    for raster, boxes in zip(rasters, truth, strict=True):
        for box in boxes[: int(torch.randint(0, most + 1, (1,), generator=generator))]:
            width, height = torch.randint(8, 25, (2,), generator=generator).tolist()
            x0 = int(torch.randint(0, size - width + 1, (1,), generator=generator))
            y0 = int(torch.randint(0, size - height + 1, (1,), generator=generator))
            number = int(torch.randint(0, 2, (1,), generator=generator))
            raster[1, y0 : y0 + height, x0 : x0 + width] = 4.0 * number - 2.0
            box[:] = torch.tensor([x0, y0, x0 + width, y0 + height, number])
    return rasters, truth


@cache
def trained(network):
    """An encoder and a head that have seen a few batches of 64 pixels."""
    torch.manual_seed(0)
    encoder = RasterEncoder("test_resnet", 2, pixels=True)
    head = make_head(network, encoder.sizes)
    model = nn.ModuleList([encoder, head])
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=STEPS, pct_start=0.2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        rasters, truth = draw(8, 64, generator)
        values = head([encoder(rasters)], (64, 64), truth)
        optimiser.zero_grad()
        torch.stack(list(values.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return encoder.eval(), head.eval()


def evidence_of(network, size, seed):
    encoder, head = trained(network)
    rasters, truth = draw(32, size, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        boxes = torch.cat([head([encoder(part)], (size, size)) for part in rasters.split(16)])
    return match_boxes(boxes, truth, 2), truth.numpy()


@each_network
def test_planted_boxes_are_found_where_they_are(network, monkeypatch):
    """Also where the patch is no multiple of the stride; one test, so that each network is trained once."""
    evidence, _ = evidence_of(network, 64, seed=2)
    assert scored(DETECTION, evidence)["box_ap50"] > 0.4
    for pad_to in (32, 1):  # padded to 128 pixels, and not padded
        monkeypatch.setattr(trained(network)[0], "pad_to", pad_to)
        require_unshifted(*evidence_of(network, 120, seed=3))


def require_unshifted(evidence, truth):
    offsets = []
    for patch, rows in enumerate(truth):
        found = evidence["boxes"][patch][evidence["matched"][patch, :, 0] > 0].astype(float)
        real = rows[rows[:, 4] >= 0, :4].astype(float)
        if len(found):
            nearest = real[intersection_over_union(found, real).argmax(axis=1)]
            offsets += [*zip(nearest[:, :2].mean(1), (found - nearest).mean(1), strict=True)]
    places, shifts = np.array(offsets).T
    assert len(shifts) > 20
    assert abs(np.median(shifts)) < 1.0
    assert abs(np.median(shifts[places > 60])) < 1.5  # far from the corner, where a wrong stride adds up
