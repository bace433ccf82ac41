"""What the loop minimises, and how a model's predictions are gathered."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from eofuse.data.loading import Batch, Loader, Rows, in_order
from eofuse.models.model import Model
from eofuse.tasks.base import Array, Task


class Objective(Protocol):
    """Anything that the loop can train: it has a module and a loss for a batch."""

    module: nn.Module

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and values to be logged."""
        ...


class Supervised:
    """A model that learns one task.

    Args:
        model: the model; its module is what the loop optimises.
        task: what it learns.
    """

    def __init__(self, model: Model, task: Task) -> None:
        self.module: nn.Module = model
        self.task = task

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The task's loss."""
        outputs = self.module(batch.inputs)
        return self.task.loss(outputs[self.task.name], batch), {}


@torch.inference_mode()
def predict_probabilities(
    model: Model, loader: Loader, rows: Rows, device: torch.device, batch_size: int = 64
) -> dict[str, Array]:
    """Probabilities of every target for some patches, in their order: (patches, classes) float32 each.

    The model is put into evaluation mode and back into the mode in which it was.
    """
    training = model.training
    model.eval()
    gathered: dict[str, list[Array]] = {}
    for batch in loader.batches(in_order(rows, batch_size)):
        for name, probabilities in model.predict(batch.to(device).inputs).items():
            gathered.setdefault(name, []).append(probabilities.float().cpu().numpy())
    model.train(training)
    return {name: np.concatenate(parts) for name, parts in gathered.items()}
