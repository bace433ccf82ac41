"""Training by several processes, each with a device and a part of every batch: how many, what they can't do yet, and batch norm."""

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from eofuse import ranks
from eofuse.errors import UsageError
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.train_options import TrainOptions
from eofuse.models.heads import NETWORK

if TYPE_CHECKING:
    from eofuse.learning.preparation import Prepared

SYNCHRONISED = "synchronised: of the whole batch"
OWN = "each process has that of its own part of a batch; the running means are averaged"
NO_NORM = "none"


def processes_of(options: TrainOptions) -> int:
    """How many processes a recipe wants on this machine, where no launcher has begun them.

    Raises:
        UsageError: if it wants several machines, or more CUDA devices than there are.
    """
    if options.nodes > 1:
        fix = "start it on each with `torchrun --nnodes …`, or with `srun`: see docs/several_devices.md"
        raise UsageError(f"{options.nodes} machines need a launcher", where="train.nodes", fix=fix)
    kind, _, number = options.device.partition(":")
    there = torch.cuda.device_count() if torch.cuda.is_available() and kind in ("auto", "cuda") else 0
    if options.devices == "auto":
        return 1 if number else max(1, there)
    if options.devices > 1 and there and options.devices > there:
        fix = f"use {there} or auto, or train.device=cpu"
        raise UsageError(f"there are {there} CUDA devices here, not {options.devices}", where="train.devices", fix=fix)
    return options.devices


def check_several(options: LearningOptions, processes: int) -> None:
    """Raises a `UsageError` if so many processes can't train a recipe."""
    if processes == 1:
        return
    train, fix = options.train, "leave out train.devices"
    kind, _, number = train.device.partition(":")
    if number or kind == "mps":
        what = f"{processes} processes can't train on the one device {train.device}"
        raise UsageError(what, where="train.device", fix="use train.device=cuda, cpu or auto")
    fewest = 2 * processes * train.accumulate
    if train.batch_size < fewest:
        parts = f"{processes * train.accumulate} parts ({processes} processes × accumulate {train.accumulate})"
        what = f"a batch of {train.batch_size} makes no {parts} of two patches"
        raise UsageError(what, where="train.batch_size", fix=f"use {fewest} or more")
    if not isinstance(options, RunOptions):
        return
    if options.unlabelled is not None:
        what = "pseudo-labels can't be learned by several processes yet"
        raise UsageError(what, where="unlabelled", fix=f"{fix}, or unlabelled")
    if any(task.head != NETWORK for task in options.targets):
        raise UsageError("heads that are fitted in one go take no steps to be shared", where="task.head", fix=fix)


def share_batch_norm(module: nn.Module, prepared: "Prepared", options: RunOptions) -> nn.Module:
    """A module whose batch norms see the whole batch where several CUDA devices train; others as they are.

    Where patches lack inputs, a process may have none for an encoder, and the others would wait for it: these stay as they are.
    """
    everywhere = prepared.loader(options).complete()[prepared.rows["train"]].all() and not options.drops_modalities
    if ranks.place().size == 1 or not everywhere or not torch.cuda.is_available() or options.train.device == "cpu":
        return module
    from timm.layers.norm_act import convert_sync_batchnorm

    shared: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return shared


def describe_batch_norm(module: nn.Module) -> str:
    """Of what the batch norms of a module take mean and deviation while several processes train it."""
    norms = [each for each in module.modules() if isinstance(each, _BatchNorm)]
    if not norms:
        return NO_NORM
    return SYNCHRONISED if any(isinstance(each, nn.SyncBatchNorm) for each in norms) else OWN


def process_notes(processes: list[list[int]]) -> list[str]:
    """A sentence if it was not always the same number of processes that trained.

    Args:
        processes: of `State`.
    """
    if not processes or processes == [[0, processes[0][1]]]:
        return []
    stretches = processes if processes[0][0] == 0 else [[0, 1], *processes]
    words = ", ".join(f"{count} from step {step + 1}" for step, count in stretches)
    return [
        f"The number of processes that trained changed on the way ({words}): no run with one number of them has these very bits."
    ]
