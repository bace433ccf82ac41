"""`DetectionHead`: boxes with classes from one set of fused maps, by torchvision's detectors.

`fcos` (Tian et al. 2019, arXiv:1904.01355) and `retinanet` (Lin et al. 2017, arXiv:1708.02002) look once, `faster_rcnn`
(Ren et al. 2015, arXiv:1506.01497) proposes and looks again; all stand on a feature pyramid (Lin et al. 2017, arXiv:1612.03144).
Sizes fit objects of 5 to 80 pixels: levels of stride 4 to 32, the anchors of each 1.5 to 2.5 times its stride.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from eofuse.errors import UsageError, did_you_mean
from eofuse.kinds import MOST_BOXES
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec

UNKNOWN = -2
"""Class of the rows of a patch whose boxes are not known; rows that only fill up have -1."""

WIDTH = 64
CONVOLUTIONS = 2  # in each tower of the one-stage detectors; four, as published, take twice the time on a CPU
FINEST, COARSEST = 4, 32
RATIOS = (0.5, 1.0, 2.0)
LOWEST_SCORE = 0.05
ONE_STAGE = {"score_thresh": LOWEST_SCORE, "detections_per_img": MOST_BOXES, "topk_candidates": 300}

Truth = dict[str, Tensor]


@HEADS.register("detection")
class DetectionHead(Head):
    """A detector on a feature pyramid over the maps of stride 4 to 32.

    Of maps of one stride the deepest is taken. Where the finest is coarser than 4 pixels, as in vision transformers, it is
    enlarged to half its stride and again to half of that (Li et al. 2022, arXiv:2203.16527).

    Args:
        spec: names of the classes, and as `network` one of `DETECTORS`.
        sizes: of the features: one set, which has maps.
        dropout: share of the pyramid's channels set to zero in training.

    Raises:
        UsageError: if there is no such detector, if there are several sets of features, or none has maps that fit.
    """

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        if spec.network not in DETECTORS:
            raise UsageError(f"unknown detector '{spec.network}'", fix=did_you_mean(spec.network, DETECTORS))
        if len(sizes) != 1:
            what = "boxes of several heads can't be averaged, so decision fusion can't detect"
            fix = "choose another strategy: early, middle or late"
            raise UsageError(what, where="fusion.strategy", fix=fix)
        self.levels = _choose_levels(sizes[0].strides)
        self.pyramid = FeaturePyramidNetwork([sizes[0].maps[level.source] for level in self.levels], WIDTH)
        self.dropout = nn.Dropout2d(dropout)
        self.detector = DETECTORS[spec.network]([level.stride for level in self.levels], len(spec.classes))

    def forward(
        self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None
    ) -> Tensor | dict[str, Tensor]:
        """Boxes, or with `truth` losses; in training and evaluation mode alike.

        Args:
            features: one set, with maps.
            size: height and width of the patches in pixels.
            truth: (B, M, 5) rows of x0, y0, x1, y1 (pixels), class number, filled up with class -1. Boxes without area
                inside the patch are passed over; a patch with a row of class -2 (`UNKNOWN`) takes no part.

        Returns:
            (B, 100, 6) rows of x0, y0, x1, y1, score, class, best first, inside the patch, filled up with score 0 and class
            -1, float32, without gradients; with `truth` the losses by name, which are to be summed.
        """
        maps = self._maps(features[0].maps)
        if truth is None:
            with torch.no_grad():
                return _pack(self.detector.detect(maps, size))
        known = (truth[..., 4] != UNKNOWN).all(1)
        if not known.any():
            return {"unknown": torch.stack([level.float().sum() for level in maps]).sum() * 0.0}
        if not known.all():
            maps = [level[known] for level in maps]
        losses: dict[str, Tensor] = self.detector.losses(maps, size, _unpack(truth[known], size))
        return losses

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """The boxes (B, 100, 6) as they are."""
        return output

    def _maps(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The pyramid, the finest level first, `WIDTH` channels each."""
        chosen = {}
        for number, level in enumerate(self.levels):
            values = maps[level.source]
            if level.factor > 1:
                values = F.interpolate(values, scale_factor=level.factor, mode="bilinear", align_corners=False)
            chosen[str(number)] = values
        return [self.dropout(level) for level in self.pyramid(chosen).values()]


@dataclass(frozen=True)
class _Level:
    """A level of the pyramid: which map it takes, how often it is enlarged, and the stride that it has then."""

    source: int
    factor: int
    stride: int


def _choose_levels(strides: Sequence[int]) -> list[_Level]:
    """Levels of stride 4 to 32, the finest first."""
    if not strides:
        fix = "add a raster to the inputs"
        raise UsageError("there are no maps in which boxes could be found", where="inputs", fix=fix)
    deepest = {stride: number for number, stride in enumerate(strides) if FINEST <= stride <= COARSEST}
    if not deepest:
        raise UsageError(
            f"boxes need maps of stride {FINEST} to {COARSEST}, and the encoder's have {sorted(set(strides))}",
            where="fusion.encoder",
            fix="choose another encoder",
        )
    levels = [_Level(number, 1, stride) for stride, number in sorted(deepest.items())]
    while levels[0].stride % 2 == 0 and levels[0].stride // 2 >= FINEST:
        finest = levels[0]
        levels.insert(0, _Level(finest.source, finest.factor * 2, finest.stride // 2))
    return levels


class _Anchors(nn.Module):
    """Boxes around every cell, at the true stride of each level and in float32.

    torchvision's own generator takes the strides from the ratio of sizes, which is wrong where the padded image is no
    multiple of the coarsest stride.
    """

    def __init__(self, strides: Sequence[int], sizes: Sequence[tuple[float, ...]], ratios: tuple[float, ...]) -> None:
        super().__init__()
        self.strides = list(strides)
        self.generator = AnchorGenerator(tuple(sizes), (ratios,) * len(strides))

    def forward(self, images: ImageList, maps: Sequence[Tensor]) -> list[Tensor]:
        """(anchors, 4) for each image, level after level."""
        self.generator.set_cell_anchors(torch.float32, maps[0].device)
        grids = [level.shape[-2:] for level in maps]
        anchors = self.generator.grid_anchors(grids, [(stride, stride) for stride in self.strides])
        return [torch.cat(anchors)] * len(images.image_sizes)


class _Float32(nn.Module):
    """A module whose outputs are float32 even where autocast computed them in less: boxes need the digits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        return _to_float32(self.module(*inputs))


def _to_float32(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, Mapping):
        return {name: _to_float32(value) for name, value in outputs.items()}
    return type(outputs)(_to_float32(value) for value in outputs)


class _OneStage(nn.Module):
    """A detector of torchvision that classifies and regresses every anchor: its head, its losses, and what makes boxes of outputs."""

    def __init__(self, network: Any, anchors: _Anchors) -> None:
        super().__init__()
        self.network = network
        self.anchors = anchors

    def losses(self, maps: list[Tensor], size: tuple[int, int], truth: list[Truth]) -> dict[str, Tensor]:
        """Losses by name."""
        outputs, anchors = self._look(maps, size)
        counts = [level.shape[-2] * level.shape[-1] for level in maps]
        extra = (counts,) if isinstance(self.network, FCOS) else ()
        losses: dict[str, Tensor] = self.network.compute_loss(truth, outputs, anchors, *extra)
        return losses

    def detect(self, maps: list[Tensor], size: tuple[int, int]) -> list[Truth]:
        """Boxes, scores and labels of each patch, best first."""
        outputs, anchors = self._look(maps, size)
        each = self.anchors.generator.num_anchors_per_location()
        counts = [number * level.shape[-2] * level.shape[-1] for number, level in zip(each, maps, strict=True)]
        by_level = {name: list(torch.split(values, counts, 1)) for name, values in outputs.items()}
        anchors_by_level = [list(torch.split(values, counts)) for values in anchors]
        detections: list[Truth] = self.network.postprocess_detections(by_level, anchors_by_level, [size] * len(anchors))
        return detections

    def _look(self, maps: list[Tensor], size: tuple[int, int]) -> tuple[dict[str, Tensor], list[Tensor]]:
        images = _images(maps, size)
        return _to_float32(self.network.head(maps)), self.anchors(images, maps)


def _fcos(strides: Sequence[int], classes: int) -> _OneStage:
    """FCOS; its levels split at distances of 16, 32 and 64 pixels from a box's centre to its farthest side."""
    anchors = _Anchors(strides, [(stride / 2,) for stride in strides], (1.0,))
    head = FCOSHead(WIDTH, 1, classes, num_convs=CONVOLUTIONS)
    nn.init.constant_(head.regression_head.bbox_reg.bias, 4.0)  # at 0 half the sides would begin in a dead rectifier
    radius = 3.0  # in anchors of half a stride
    given = {"anchor_generator": anchors.generator, "head": head, "center_sampling_radius": radius, **ONE_STAGE}
    return _OneStage(FCOS(_backbone(), classes, **given), anchors)


def _retinanet(strides: Sequence[int], classes: int) -> _OneStage:
    """RetinaNet; nine anchors a cell, of three sizes and three shapes."""
    sizes = [tuple(1.5 * stride * 2 ** (third / 3) for third in range(3)) for stride in strides]
    anchors = _Anchors(strides, sizes, RATIOS)
    head = RetinaNetHead(WIDTH, len(sizes[0]) * len(RATIOS), classes, norm_layer=partial(nn.GroupNorm, 32))
    for tower in (head.classification_head, head.regression_head):
        tower.conv = tower.conv[:CONVOLUTIONS]
    given = {"anchor_generator": anchors.generator, "head": head, **ONE_STAGE}
    return _OneStage(RetinaNet(_backbone(), classes, **given), anchors)


def _backbone() -> nn.Module:
    """What torchvision's detectors want as a backbone, which they are not asked to run here."""
    backbone = nn.Identity()
    backbone.out_channels = WIDTH  # type: ignore[assignment]
    return backbone


class _FasterRCNN(nn.Module):
    """Proposes regions and looks at each again."""

    def __init__(self, strides: Sequence[int], classes: int) -> None:
        super().__init__()
        anchors = _Anchors(strides, [(2.0 * stride,) for stride in strides], RATIOS)
        self.proposer = RegionProposalNetwork(
            anchors,
            _Float32(RPNHead(WIDTH, len(RATIOS))),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=128,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 300, "testing": 300},
            post_nms_top_n={"training": 150, "testing": 150},
            nms_thresh=0.7,
        )
        pooling = MultiScaleRoIAlign([str(number) for number in range(len(strides))], 5, 2)
        pooling.scales = [1 / stride for stride in strides]
        pooling.map_levels = _LevelOfBox(strides)
        self.looker = RoIHeads(
            pooling,
            TwoMLPHead(WIDTH * 5 * 5, 2 * WIDTH),
            _Float32(FastRCNNPredictor(2 * WIDTH, classes + 1)),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=64,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=LOWEST_SCORE,
            nms_thresh=0.5,
            detections_per_img=MOST_BOXES,
        )

    def losses(self, maps: list[Tensor], size: tuple[int, int], truth: list[Truth]) -> dict[str, Tensor]:
        """Losses by name, on anchors and proposals that torch's random state draws."""
        with self._asked_for_losses(True):
            shifted = [{"boxes": boxes["boxes"], "labels": boxes["labels"] + 1} for boxes in truth]  # 0 is background
            images, named = _images(maps, size), _named(maps)
            proposals, losses = self.proposer(images, named, shifted)
            _, more = self.looker(named, proposals, images.image_sizes, shifted)
        return {**losses, **more}

    def detect(self, maps: list[Tensor], size: tuple[int, int]) -> list[Truth]:
        """Boxes, scores and labels of each patch, best first."""
        with self._asked_for_losses(False):
            images, named = _images(maps, size), _named(maps)
            proposals, _ = self.proposer(images, named)
            detections, _ = self.looker(named, proposals, images.image_sizes)
        return [{**boxes, "labels": boxes["labels"] - 1} for boxes in detections]

    @contextmanager
    def _asked_for_losses(self, asked: bool) -> Iterator[None]:
        """Sets the mode, from which torchvision takes whether losses or boxes are wanted; nothing else in here depends on it."""
        modes = self.proposer.training, self.looker.training
        self.proposer.training = self.looker.training = asked
        try:
            yield
        finally:
            self.proposer.training, self.looker.training = modes


class _LevelOfBox:
    """The level from which a box is pooled: below 8 cells of a level, measured by the root of its area, that level."""

    def __init__(self, strides: Sequence[int]) -> None:
        self.bounds = [8.0 * stride for stride in strides[:-1]]

    def __call__(self, boxes: list[Tensor]) -> Tensor:
        together = torch.cat(boxes)
        sides = ((together[:, 2] - together[:, 0]) * (together[:, 3] - together[:, 1])).clamp(min=0).sqrt()
        return torch.bucketize(sides, torch.tensor(self.bounds, device=sides.device, dtype=sides.dtype))


DETECTORS: dict[str, Any] = {"fcos": _fcos, "retinanet": _retinanet, "faster_rcnn": _FasterRCNN}
"""Detectors by name, each made from the strides of the maps and the number of classes."""


def _images(maps: Sequence[Tensor], size: tuple[int, int]) -> ImageList:
    """What torchvision wants to know of the images: the sizes to which boxes are cut."""
    return ImageList(maps[0].new_empty(0), [(int(size[0]), int(size[1]))] * len(maps[0]))


def _named(maps: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(number): level for number, level in enumerate(maps)}


def _unpack(truth: Tensor, size: tuple[int, int]) -> list[Truth]:
    """Boxes with area, cut to the patch, and labels of each patch from (B, M, 5)."""
    height, width = size
    corners = truth[..., :4].float()
    corners = torch.stack([corners[..., i].clamp(0, (width, height)[i % 2]) for i in range(4)], -1)
    real = (truth[..., 4] >= 0) & (corners[..., 2:] > corners[..., :2]).all(-1)
    return [
        {"boxes": boxes[chosen], "labels": labels[chosen].long()}
        for boxes, labels, chosen in zip(corners, truth[..., 4], real, strict=True)
    ]


def _pack(detections: Sequence[Truth]) -> Tensor:
    """(B, 100, 6) of the boxes, scores and labels of each patch."""
    packed = detections[0]["boxes"].new_zeros(len(detections), MOST_BOXES, 6)
    packed[..., 5] = -1
    for rows, found in zip(packed, detections, strict=True):
        boxes = found["boxes"]
        real = (boxes[:, 2:] > boxes[:, :2]).all(-1)
        together = torch.cat([boxes, found["scores"][:, None], found["labels"][:, None].to(boxes.dtype)], 1)[real]
        rows[: len(together)] = together[:MOST_BOXES]
    return packed
