"""Heads that few labels bear, fitted in one go on features that stay as they are: `FITTED_HEADS` by their names in recipes.

Logistic and ridge regression and the nearest class mean are linear in the features: fitted, they are ordinary heads. Nearest
neighbours keep the features that they saw, in a head of their own, `NeighboursHead`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eofuse.kinds import TaskKind
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.heads.base import HEADS, Head, HeadSpec
from eofuse.models.heads.vector import VectorHead, predict_classes, predict_numbers
from eofuse.registry import Registry

Array = npt.NDArray[Any]

NETWORK = "network"
"""The head that learns by gradient steps, as the encoders do."""

NEVER = -30.0
"""Logit of a class that no training sample shows."""

MOST_ITERATIONS = 5_000
"""Of a logistic regression."""

SHARPNESS = 20.0
"""By which the cosine similarity of a neighbour is multiplied before its weight is taken (softmax)."""

LEAST_SHARE = 1e-4
"""Share of the neighbours that a class has at least."""


@dataclass(frozen=True)
class FittedHead:
    """A way to fit a head.

    Attributes:
        name: in recipes.
        settings: among which validation chooses; of equal ones, the first.
        fit: (head, number of the set of features, features (n, width), truth, setting): the head is changed.
        is_for: whether it is for a kind of task.
        head: name of the head in `HEADS`, where it is not that of the kind.
    """

    name: str
    settings: tuple[float, ...]
    fit: Callable[[Any, int, Array, Array, float], None]
    is_for: Callable[[TaskKind], bool]
    head: str = ""


FITTED_HEADS: Registry[FittedHead] = Registry("fitted head", "eofuse.fitted_heads", "eofuse.models.heads")


def _of_patches(kind: TaskKind) -> bool:
    """Whether the head of a kind is a linear layer over vectors; other packages may bring others."""
    head = HEADS[kind.head]
    return isinstance(head, type) and issubclass(head, VectorHead)


def fit_linear(head: VectorHead, number: int, features: Array, truth: Array, strength: float) -> None:
    """Logistic regression of classes, ridge regression of numbers, on standardised features; `strength` is 1 / regularisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    mean, std = _moments(features)
    scaled, spec = (features - mean) / std, head.spec
    outputs = len(spec.classes)
    weight, bias = np.zeros((outputs, scaled.shape[1])), np.full(outputs, NEVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if spec.kind.is_numbers:
            fitted = Ridge(alpha=1 / strength).fit(scaled, _standardised(spec, truth))
            weight, bias = fitted.coef_.reshape(outputs, -1), np.reshape(fitted.intercept_, outputs)
        elif spec.kind.has_several:
            for place, labels in enumerate(truth.T > 0.5):
                if labels.all() or not labels.any():
                    bias[place] = -NEVER if labels.all() else NEVER
                else:
                    fitted = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(scaled, labels)
                    weight[place], bias[place] = fitted.coef_[0], fitted.intercept_[0]
        elif len(np.unique(truth)) < 2:
            bias[truth[:1]] = 0
        else:
            fitted = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(scaled, truth)
            coefficients, intercepts = fitted.coef_, fitted.intercept_
            if len(coefficients) == 1:  # of two classes, scikit-learn gives the second one's logit
                coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
                intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
            weight[fitted.classes_], bias[fitted.classes_] = coefficients, intercepts
    _put(head.layers[number], weight / std, bias - weight @ (mean / std))


def fit_nearest_mean(head: VectorHead, number: int, features: Array, truth: Array, shrinkage: float) -> None:
    """The nearest class mean in standardised features: each class as likely as its distance in deviations within classes says.

    `shrinkage` draws the means of the classes to that of all.
    """
    mean, std = _moments(features)
    scaled, spec = (features - mean) / std, head.spec
    outputs, several = len(spec.classes), spec.kind.has_several
    indicators = truth > 0.5 if several else truth[:, None] == np.arange(outputs)
    weight, bias = np.zeros((outputs, scaled.shape[1])), np.full(outputs, NEVER)
    spread = max(
        float(np.mean([scaled[rows].var(axis=0).mean() for rows in indicators.T if rows.sum() > 1] or [1.0])), 1e-3
    )
    for place, rows in enumerate(indicators.T):
        if not rows.any() or (several and rows.all()):
            bias[place] = -NEVER if rows.any() else NEVER
            continue
        own = (1 - shrinkage) * scaled[rows].mean(axis=0)
        other = (1 - shrinkage) * scaled[~rows].mean(axis=0) if several else np.zeros_like(own)
        scale = spread * scaled.shape[1] ** 0.5
        weight[place], bias[place] = (own - other) / scale, (other @ other - own @ own) / (2 * scale)
    _put(head.layers[number], weight / std, bias - weight @ (mean / std))


def fit_neighbours(head: "NeighboursHead", number: int, features: Array, truth: Array, count: float) -> None:
    """Keeps features and truth; `count` nearest ones decide, by their cosine similarity."""
    spec = head.spec
    if spec.kind.is_numbers:
        known = truth if spec.composition else _standardised(spec, truth)
    elif spec.kind.has_several:
        known = truth
    else:
        known = truth[:, None] == np.arange(len(spec.classes))
    head.keep(
        number, torch.from_numpy(features).float(), torch.from_numpy(np.asarray(known, dtype=np.float32)), int(count)
    )


@HEADS.register("neighbours")
class NeighboursHead(Head):
    """What the nearest of the training samples show, each weighed by its similarity (Caron et al. 2021, arXiv:2104.14294)."""

    def __init__(self, spec: HeadSpec, sizes: Sequence[FeatureSizes], dropout: float = 0.0) -> None:
        super().__init__(spec)
        self.count = len(sizes)
        for number, size in enumerate(sizes):
            self.register_buffer(f"vectors_{number}", torch.zeros(1, size.vector))
            self.register_buffer(f"truth_{number}", torch.zeros(1, len(spec.classes)))
            self.register_buffer(f"nearest_{number}", torch.ones((), dtype=torch.long))

    def keep(self, number: int, vectors: Tensor, truth: Tensor, nearest: int) -> None:
        """Keeps the features (n, width) of a set, and what is true of them (n, outputs)."""
        device = self.get_buffer(f"vectors_{number}").device
        for name, values in (("vectors", vectors), ("truth", truth), ("nearest", torch.tensor(nearest))):
            self.register_buffer(f"{name}_{number}", values.to(device))

    def forward(self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None) -> Tensor:
        """Logits (heads, B, K) or standardised numbers (heads, B, D), one head a set of features."""
        return torch.stack([self._of_set(number, each.vector) for number, each in enumerate(features)])

    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """Probabilities (B, K), or numbers in their unit (B, D)."""
        predict = predict_numbers if self.spec.kind.is_numbers else predict_classes
        return predict(self.spec, output, counted)

    def _of_set(self, number: int, vector: Tensor) -> Tensor:
        known, truth = self.get_buffer(f"vectors_{number}"), self.get_buffer(f"truth_{number}")
        likeness = F.normalize(vector.float(), dim=1) @ F.normalize(known, dim=1).T
        count = min(int(self.get_buffer(f"nearest_{number}")), len(known))
        highest, places = likeness.topk(count, dim=1)
        shares = ((SHARPNESS * highest).softmax(dim=1)[..., None] * truth[places]).sum(dim=1)
        if self.spec.kind.is_numbers and not self.spec.composition:
            return shares
        shares = shares.clamp(LEAST_SHARE, 1 - LEAST_SHARE)
        return shares.logit() if self.spec.kind.has_several else shares.log()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, own in list(self.named_buffers()):
            saved = state_dict.get(f"{prefix}{name}")
            if saved is not None and saved.shape != own.shape:
                self.register_buffer(name, torch.zeros_like(saved, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


STRENGTHS = (0.001, 0.01, 0.1, 1.0)

FITTED_HEADS.add(FittedHead("linear", STRENGTHS, fit_linear, _of_patches))
FITTED_HEADS.add(
    FittedHead("nearest_mean", (0.0, 0.25, 0.5), fit_nearest_mean, lambda kind: kind.head == "classification")
)
FITTED_HEADS.add(FittedHead("neighbours", (1, 3, 5, 10, 20), fit_neighbours, _of_patches, "neighbours"))


def _moments(features: Array) -> tuple[Array, Array]:
    """Mean and deviation of each feature; 1 for the deviation of a constant one."""
    mean, std = features.mean(axis=0), features.std(axis=0)
    return mean, np.where(std > 10 * np.finfo(features.dtype).eps * np.abs(mean), std, 1.0)


def _standardised(spec: HeadSpec, truth: Array) -> Array:
    """Numbers (n, outputs) as the head gives them: standardised; shares as centred logarithms."""
    numbers = truth.reshape(len(truth), -1)
    if spec.composition:
        logarithms = np.log(np.clip(numbers, 1e-3, None))
        return np.asarray(logarithms - logarithms.mean(axis=1, keepdims=True))
    return np.asarray((numbers - np.array(spec.mean)) / np.array(spec.std))


def _put(layer: Any, weight: Array, bias: Array) -> None:
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
