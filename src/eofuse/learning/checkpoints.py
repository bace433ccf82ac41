"""The checkpoint of a training: weights, optimiser, and `State`, all else that the loop knows."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from eofuse.errors import DataError
from eofuse.files import replacing
from eofuse.learning.averaging import WeightAverage
from eofuse.models.torch_file import load_whole

CHECKPOINT_FILE = "checkpoint.pt"


@dataclass
class State:
    """What the loop knows besides weights and optimiser.

    Attributes:
        step: steps done.
        best_step: the evaluation with the best score so far; 0 before the first.
        best_score: its score, turned so that greater is better.
        waiting: evaluations since then.
        stopped: whether patience ran out.
        seconds: computing time so far, over all interruptions.
        losses: training loss of each step, and what else the objective logs, by name.
        evaluations: `{"step": …, metric: value, …}` for each evaluation.
        processes: `[step, processes]`, how many trained from which step on; nothing where it was always one.
    """

    step: int = 0
    best_step: int = 0
    best_score: float = -math.inf
    waiting: int = 0
    stopped: bool = False
    seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=lambda: {"loss": []})
    evaluations: list[dict[str, float]] = field(default_factory=list)
    processes: list[list[int]] = field(default_factory=list)


def save(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: State,
    average: WeightAverage | None = None,
) -> None:
    """Writes a checkpoint in place of the one before."""
    content = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "state": asdict(state)}
    if average is not None:
        content["average"] = average.averages
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)  # not by its name: then the system's errors get lost
        except RuntimeError as error:  # torch's own, when it can't end what the system did not let it begin
            cause = error.__context__
            raise OSError(cause.errno, cause.strerror, str(path)) if isinstance(cause, OSError) else error from None


def restore(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    average: WeightAverage | None = None,
) -> State:
    """Takes weights, optimiser and average from a checkpoint; gives the state, which is a new one where there is none.

    Raises:
        DataError: if it can't be read.
    """
    if not path.is_file():
        return State()
    try:
        content = load_whole(path, device)
        module.load_state_dict(content["module"])
        optimizer.load_state_dict(content["optimizer"])
        if average is not None:
            average.load(content["average"])
        return State(**content["state"])
    except Exception as error:  # damaged files make torch raise many kinds
        fix = "delete it to start this run anew"
        raise DataError(f"the checkpoint can't be read: {error}", where=path, fix=fix) from None
