"""Test predictions of a pretended model for every kind of task: better ones the greater its strength."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from fake_store import FakeStore

from eofuse.data.targets import make_target
from eofuse.evaluation.calibration import scale
from eofuse.evaluation.metrics.detection import match_boxes
from eofuse.evaluation.metrics.regression import pixel_sums
from eofuse.evaluation.metrics.segmentation import boundary_counts, confusion_counts
from eofuse.kinds import KINDS
from eofuse.modalities import WORLDCOVER
from scoring import all_scores, one_by_one

SINGLE_CLASSES = ("tree_cover", "grassland", "cropland", "built-up", "permanent_water_bodies", "herbaceous_wetland")
MULTI_CLASSES = (
    "Arable land",
    "Broad-leaved forest",
    "Coniferous forest",
    "Complex cultivation patterns",
    "Inland waters",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Marine waters",
    "Mixed forest",
    "Pastures",
    "Transitional woodland, shrub",
    "Urban fabric",
)
TARGETS = {
    "single_label": "dominant_land_cover",
    "multi_label": "clc19",
    "regression": "mean_elevation",
    "segmentation": "worldcover",
    "pixel_regression": "elevation",
    "detection": "regions",
}
CLASSES = {
    "single_label": SINGLE_CLASSES,
    "multi_label": MULTI_CLASSES,
    "regression": ("mean_elevation",),
    "segmentation": tuple(category.name for category in WORLDCOVER.categories),
    "pixel_regression": ("elevation",),
    "detection": ("built-up", "permanent_water_bodies"),
}
UNITS = {"regression": "m", "pixel_regression": "m"}
TEMPERATURE = 1.4
SIDE = 40


@dataclass
class Outcome:
    """Evidence of a run, its maps and what else its predictions hold."""

    kind: str
    evidence: dict[str, np.ndarray]
    maps: np.ndarray | None = None
    extra: dict[str, list[Any]] = field(default_factory=dict)

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """Every metric."""
        return all_scores(KINDS[self.kind], self.evidence)

    @cached_property
    def per_class(self) -> Mapping[str, np.ndarray]:
        """Those of each class."""
        return one_by_one(KINDS[self.kind], self.evidence)


class FakeTarget:
    """A target of a kind with its truth for some patches, and pretended predictions of it."""

    def __init__(
        self, kind: str, patch_ids: list[str], classes: tuple[str, ...] | None, random: np.random.Generator
    ) -> None:
        self.kind = kind
        self.classes = classes or CLASSES[kind]
        self.random = random
        number, size = len(patch_ids), len(self.classes)
        self.number = number
        self.shared = random.normal(size=(number, size)) * 1.2
        self.truth: Any
        if kind == "single_label":
            self.truth = random.choice(size, number, p=np.arange(size, 0, -1) / np.arange(1, size + 1).sum())
            self.one_hot = np.eye(size)[self.truth]
        elif kind == "multi_label":
            self.truth = (random.random((number, size)) < np.linspace(0.45, 0.08, size)).astype(np.int64)
            self.one_hot = self.truth
        elif kind == "regression":
            self.truth = random.gamma(2.0, 160.0, (number, size))
        elif kind == "detection":
            self.truth = [self._boxes() for _ in range(number)]
        else:
            store: Any = FakeStore(patch_ids)
            self.truth = make_target(store, TARGETS[kind]).read(np.arange(number))

    def predict(self, strength: float, constant: bool) -> Outcome:
        """What a run of this strength predicts."""
        predict = {
            "single_label": self._labels,
            "multi_label": self._labels,
            "regression": self._numbers,
            "segmentation": self._class_maps,
            "pixel_regression": self._number_maps,
            "detection": self._detections,
        }[self.kind]
        return predict(strength, constant)

    def _labels(self, strength: float, constant: bool) -> Outcome:
        noise = self.random.normal(size=self.shared.shape) * 0.8
        logits = strength * (2 * self.one_hot - 1) * 0.6 + self.shared + noise
        if constant:
            logits = np.tile(self.one_hot.mean(axis=0), (self.number, 1))
        odds = np.exp(logits * 1.2)
        single = self.kind == "single_label"
        raw = odds / odds.sum(1, keepdims=True) if single else odds / (1 + odds)
        probabilities = scale(raw, TEMPERATURE, KINDS[self.kind]).astype(np.float32)
        temperature = np.full(self.number, TEMPERATURE)
        evidence = {"truth": self.truth, "probabilities": probabilities, "temperature": temperature}
        return Outcome(self.kind, evidence)

    def _numbers(self, strength: float, constant: bool) -> Outcome:
        spread = 220 / (1 + strength)
        predicted = 0.9 * self.truth + 30 + spread * (self.shared + self.random.normal(size=self.truth.shape)) / 2
        if constant:
            predicted = np.full(self.truth.shape, 300.0)
        margin = np.full(self.truth.shape, 1.3 * spread)
        evidence = {"truth": self.truth, "prediction": predicted, "margin": margin}
        return Outcome(self.kind, evidence)

    def _class_maps(self, strength: float, constant: bool) -> Outcome:
        coarse = self.random.random((self.number, 10, 10)) * self.random.uniform(0.4, 1.6, (self.number, 1, 1))
        wrong = np.kron(coarse, np.ones((SIDE // 10, SIDE // 10))) < 0.5 / (0.6 + strength)
        predicted = np.where(wrong, np.roll(self.truth, 7, axis=2), np.roll(self.truth, 1, axis=1)).astype(np.uint8)
        if constant:
            predicted[:] = 0
        size = len(self.classes)
        confusion, boundary = (
            confusion_counts(predicted, self.truth, size),
            boundary_counts(predicted, self.truth, size),
        )
        bins = np.arange(15)
        pixels = self.random.poisson(8.0 * bins, (self.number, 15))
        confidence = pixels * (bins + 0.5) / 15
        tables = [np.stack([pixels, confidence, confidence * worse], axis=-1) for worse in (0.8, 0.95)]
        evidence = {"confusion": confusion, "boundary": boundary, "reliability": np.stack(tables, axis=1)}
        return Outcome(self.kind, evidence, predicted)

    def _number_maps(self, strength: float, constant: bool) -> Outcome:
        coarse = self.random.normal(size=(self.number, 1, 5, 5)) * self.random.uniform(0.3, 1.7, (self.number, 1, 1, 1))
        noise = 90 / (1 + strength) * np.kron(coarse, np.ones((SIDE // 5, SIDE // 5)))
        predicted = (self.truth + noise).astype(np.float32)
        if constant:
            predicted[:] = 400
        margin = np.array([120 / (1 + strength)])
        sums = pixel_sums(predicted, self.truth, margin)
        evidence = {"sums": sums, "margin": np.tile(margin, (self.number, 1))}
        return Outcome(self.kind, evidence, predicted)

    def _boxes(self) -> np.ndarray:
        count = int(self.random.integers(0, 5))
        corners, sides = self.random.uniform(0, 28, (count, 2)), self.random.uniform(4, 12, (count, 2))
        labels = self.random.integers(0, len(self.classes), (count, 1))
        return np.concatenate([corners, corners + sides, labels], axis=1)

    def _detections(self, strength: float, constant: bool) -> Outcome:
        most = max(len(truth) for truth in self.truth)
        predicted = np.zeros((self.number, 100, 6))
        predicted[..., 5] = -1
        padded = np.zeros((self.number, most, 5))
        padded[..., 4] = -1
        for patch, truth in enumerate(self.truth):
            padded[patch, : len(truth)] = truth
            for place, box in enumerate([] if constant else truth):
                if self.random.random() < strength / 4 + 0.2:
                    moved = box[:4] + self.random.normal(size=4) * 0.8
                    predicted[patch, place] = (*moved, self.random.uniform(0.4, 0.99), box[4])
            if not constant and self.random.random() < 0.4:
                predicted[patch, len(truth)] = (20, 22, 31, 35, self.random.uniform(0.2, 0.7), 0)
        evidence = match_boxes(predicted, padded, len(self.classes))
        extra = {"truth_boxes": [truth.ravel() for truth in self.truth]}
        return Outcome(self.kind, evidence, extra=extra)
