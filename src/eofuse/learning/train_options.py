"""The section `train` of a recipe: `TrainOptions`."""

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from eofuse.config import Options
from eofuse.devices import check_name

WITHOUT_EFFECT = {"checkpoint_minutes", "devices", "nodes", "loggers"}
"""Options that tell no two runs apart: no number depends on them, or they are of the machine, which a run records."""

MOMENTUM, MOST_VALIDATED = 0.9, 4000
Schedule = Literal["cosine", "linear", "step", "constant"]


class TrainOptions(Options):
    """How a model is trained.

    Attributes:
        steps: budget in optimiser steps.
        epochs: the same as passes over the training patches; give one of the two.
        batch_size: patches a step, at least the two that batch normalisation needs.
        accumulate: parts of a batch that pass one after the other before the optimiser takes its step, for batches that don't fit
            into memory at once.
        optimizer: AdamW (Loshchilov & Hutter 2019) or SGD.
        momentum: of SGD; 0 is plain SGD.
        learning_rate: at its peak, after the warm-up.
        schedule: how the learning rate goes on from its peak, see `learning_rate_factor`.
        weight_decay: of weight matrices and kernels; biases and norms have none.
        warmup: share of the steps in which the learning rate rises.
        clip_norm: largest norm of the gradient, None for no limit.
        average: decay of a moving average of the weights, as 0.99, which is scored and kept in place of them; None for none.
        evaluations: how often the validation patches are looked at, evenly over the budget.
        validation_patches: most that are looked at while the model learns; the best weights are scored on all.
        patience: stop after so many evaluations without a better score; None for never.
        precision: `auto` is bfloat16 where the device has it and float32 elsewhere.
        device: `auto` takes the first CUDA device if there is one; `cpu`, `cuda`, `cuda:1` (the second of several), `mps`.
        devices: processes a machine that train together, each on a device of its own, with its part of each batch: a number, or
            `auto` for all CUDA devices (one process without any). What torchrun or srun begins replaces it.
        nodes: machines; several need torchrun or srun.
        threads: of the process; other numbers give other bits. `auto` is one in the runs of a study and in processes of a
            launcher; a single run takes as many as PyTorch does (`OMP_NUM_THREADS`, or one a core), and its recipe keeps the number.
        checkpoint_minutes: after so many minutes a checkpoint is written between two evaluations, too; changes no number.
        loggers: where the run can be followed beside its folder: `mlflow`, `wandb`, or what other packages add; changes no number.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(default=MOMENTUM, ge=0, lt=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    evaluations: int = Field(default=20, ge=1)
    validation_patches: int = Field(default=MOST_VALIDATED, ge=1)
    patience: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Annotated[str, AfterValidator(check_name)] = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    nodes: int = Field(default=1, ge=1)
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    loggers: tuple[str, ...] = ()

    @field_validator("loggers", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "TrainOptions":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both (steps=null takes it away)")
        if self.optimizer != "sgd" and self.momentum != MOMENTUM:
            raise ValueError("momentum is an option of sgd (optimizer: sgd)")
        if self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} makes no {self.accumulate} parts of two patches (accumulate)"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes that don't choose these options have the identity that they had before there were such, and one thread."""
        later = [("momentum", MOMENTUM), ("schedule", "cosine"), ("validation_patches", MOST_VALIDATED)]
        later += [("accumulate", 1), ("average", None), ("devices", 1), ("nodes", 1), ("loggers", ()), ("loggers", [])]
        kept = {name: value for name, value in handler(self).items() if (name, value) not in later}
        return kept | ({"threads": self.thread_count} if "threads" in kept else {})

    @property
    def thread_count(self) -> int:
        """Threads of the process, where nothing has taken more."""
        return 1 if self.threads == "auto" else self.threads

    def budget(self, patches: int) -> int:
        """Optimiser steps for so many training patches; 1,000 if nothing is said."""
        if self.epochs is not None:
            return max(1, math.ceil(self.epochs * patches / self.batch_size))
        return self.steps or 1000
