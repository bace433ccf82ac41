"""`Monitor`: what a pretraining shows of itself, on validation patches.

A falling loss does not say that anything is learned: a contrastive method can collapse, so that all patches have the same vector. So
the vectors themselves are looked at: their spread, their effective rank and, where labels are known, their nearest neighbours.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.scenes import units
from eofuse.data.targets import Target, make_target
from eofuse.errors import DataError, UsageError
from eofuse.learning.pretraining.base import Method
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.learning.pretraining.preparation import FEWEST_PATCHES, Unlabelled
from eofuse.models.model import Model
from eofuse.tasks.base import Array
from eofuse.tasks.drawing import evenly_spaced
from eofuse.tasks.objective import Objective

MOST_PATCHES = 1000
"""Validation patches, evenly spaced, that are looked at."""

COLLAPSED = 0.05
"""Spread below which the vectors count as collapsed; those of untrained encoders have more."""

NEIGHBOURS = 10

NEAREST = (1, 5)
"""Of how many nearest counterparts one is to be the right one."""


class Monitor:
    """Looks at the validation patches.

    Raises:
        UsageError: if the target to be monitored is not known or has not one class a patch.
        DataError: if too few validation patches have it.
    """

    def __init__(
        self,
        data: Unlabelled,
        options: PretrainingOptions,
        model: Model,
        objective: Objective,
        device: torch.device,
    ) -> None:
        self.options = options
        self.model = model
        self.objective = objective
        self.device = device
        self.loader = data.loader(options)
        self.rows = evenly_spaced(data.rows["validation"], MOST_PATCHES)
        self.scenes = units(data.store.index)[self.rows]
        self.target = _single_label(data, options.pretrain.monitor, self.rows) if options.pretrain.monitor else None
        self.latest: dict[str, float] = {}
        self._accuracy: dict[str, float] = {}

    @property
    def is_collapsed(self) -> bool:
        """Whether the vectors that were seen last are all but the same for all patches."""
        return self.latest.get("spread", math.inf) < COLLAPSED

    def evaluate(self) -> dict[str, float]:
        """`loss`, `spread`, `effective_rank`, with a target `knn_accuracy`, and what the method lets see of itself.

        That are the accuracy of its pretext (`accuracy`, see `Clusters`), and of methods with `pairs` how often the counterpart of a
        patch is the nearest, or among the five nearest, of all validation patches (`matching_top1`, `matching_top5`).
        """
        vectors = embeddings(self.model, self.loader, self.rows, self.device)
        self.latest = {"loss": self._loss(), "spread": spread(vectors), "effective_rank": effective_rank(vectors)}
        self.latest |= {**self._accuracy, **self._matching()}
        if self.target is not None:
            known = self.target.valid[self.rows]
            truth = self.target.values[self.rows[known]]
            self.latest["knn_accuracy"] = neighbour_accuracy(vectors[known], truth, self.scenes[known])
        return dict(self.latest)

    def _loss(self) -> float:
        """Mean loss, with the same draws every time; batches are as large as in training, as contrastive losses depend on that."""
        torch.manual_seed(self.options.seed)
        module = self.objective.module
        was_training = module.training
        module.eval()
        batches = in_order(self.rows, self.options.train.batch_size)
        whole = [rows for rows in batches if len(rows) == self.options.train.batch_size] or batches[:1]
        with torch.no_grad():
            steps = [self.objective.step(self.loader.read(rows).to(self.device)) for rows in whole]
        module.train(was_training)
        accuracies = [float(logs["accuracy"]) for _, logs in steps if "accuracy" in logs]
        self._accuracy = {"pretext_accuracy": float(np.mean(accuracies))} if accuracies else {}
        return float(np.mean([float(loss) for loss, _ in steps]))

    def _matching(self) -> dict[str, float]:
        """How often the two sides of a pair find each other, the mean over pairs and directions; by pair too, if there are several."""
        if not isinstance(self.objective, Method):
            return {}
        module = self.objective.module
        was_training = module.training
        module.eval()
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
        with torch.no_grad():
            for rows in in_order(self.rows, 64):
                for name, pair in self.objective.pairs(self.loader.read(rows).to(self.device)).items():
                    parts.setdefault(name, []).append(pair)
        module.train(was_training)
        found: dict[str, float] = {}
        for nearest in NEAREST:
            shares = {
                name: matching_accuracy(
                    torch.cat([one for one, _ in pairs]), torch.cat([two for _, two in pairs]), nearest
                )
                for name, pairs in parts.items()
            }
            if shares:
                found[f"matching_top{nearest}"] = float(np.mean(list(shares.values())))
            if len(shares) > 1:
                found |= {f"matching_top{nearest}.{name}": share for name, share in shares.items()}
        return found


def _single_label(data: Unlabelled, name: str, rows: Rows) -> Target:
    target = make_target(data.store, name)
    if not target.kind.has_labels or target.kind.has_several:
        found = f"the target '{name}' has not one class a patch, so that neighbours can't be compared"
        raise UsageError(found, where="pretrain.monitor", fix="choose another, or leave it out")
    known = rows[target.valid[rows]]
    if len(known) < FEWEST_PATCHES:
        found = f"{len(known)} validation patches have the target '{name}'"
        raise DataError(found, where="pretrain.monitor", fix="choose another, or leave it out")
    return target


def embeddings(model: Model, loader: Loader, rows: Rows, device: torch.device) -> Array:
    """Vectors of patches in evaluation mode, (patches, width); those of several sets of features one beside the other."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    with torch.no_grad():
        parts = [
            torch.cat([each.vector for each in model.features(loader.read(part).to(device).inputs)], 1).float().cpu()
            for part in in_order(rows, 64)
        ]
    for module in training:
        module.training = True
    return torch.cat(parts).numpy()


def spread(vectors: Array) -> float:
    """Standard deviation of the numbers of vectors of length 1, times the root of their width.

    It is 1 if the vectors point in all directions alike, and 0 if all point in the same.
    """
    unit = _to_length_one(vectors)
    return float(unit.std(axis=0).mean() * math.sqrt(unit.shape[1]))


def effective_rank(vectors: Array) -> float:
    """Number of directions in which vectors vary: the exponential of the entropy of their singular values (Roy & Vetterli 2007)."""
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    if not values.sum() > 0:
        return 0.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def matching_accuracy(one: Tensor, other: Tensor, nearest: int) -> float:
    """Share of patches whose counterpart is among the nearest by angle, the mean of both directions; by chance nearest / patches.

    Args:
        one: vectors of the patches, (patches, width).
        other: their counterparts, in the same order.
        nearest: how many count as near.
    """
    likeness = torch.nn.functional.normalize(one.float(), dim=1) @ torch.nn.functional.normalize(other.float(), dim=1).T
    own = likeness.diagonal()
    ahead = [(likeness > own[:, None]).sum(1), (likeness > own[None, :]).sum(0)]
    return float(torch.stack([(count < nearest).float().mean() for count in ahead]).mean())


def neighbour_accuracy(vectors: Array, truth: Array, scenes: npt.NDArray[np.object_]) -> float:
    """Share of patches whose class is that of most of their ten nearest neighbours by angle.

    Neighbours of the same scene don't count where there are others: they would tell the scene, not the class.

    Args:
        vectors: (patches, width).
        truth: class numbers, (patches,).
        scenes: (patches,).
    """
    unit = _to_length_one(vectors)
    likeness = unit @ unit.T
    same = scenes[:, None] == scenes[None, :]
    likeness[same if not same.all() else np.eye(len(unit), dtype=bool)] = -np.inf
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :NEIGHBOURS]
    weight = np.nan_to_num(np.take_along_axis(likeness, nearest, axis=1) + 2, neginf=0.0)  # of 1 to 3; 0 does not count
    votes = np.zeros((len(unit), int(truth.max()) + 1))
    for position in range(nearest.shape[1]):
        np.add.at(votes, (np.arange(len(unit)), truth[nearest[:, position]]), weight[:, position])
    return float((votes.argmax(axis=1) == truth).mean())


def _to_length_one(vectors: Array) -> Array:
    unit: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
