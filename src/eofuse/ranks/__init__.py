"""The processes that train one model together, each with its part of every batch: where this one stands, and what they exchange.

torch.distributed is used as it is, without Fabric's strategies or DDP around the model: the gradient of a step is one sum over the
processes, so that layers that freeze and thaw, encoders that a part of a batch does not need, accumulated gradients and gradients of
single losses need no exceptions. `joined` makes this process one of several; everywhere else there is one process, and every function
here gives back what it gets.

A loss that is computed from what `summed` and `gathered` give is the same number in every process, that of the whole batch. Its
gradient is then the mean over the processes (`average`), as that of every sum passes back through the sum.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from eofuse.errors import DataError, UsageError, explain

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE_TO_MEET = timedelta(minutes=10)
"""How long a process waits until all have begun."""

PATIENCE = timedelta(days=7)
"""How long it waits for the others then. The end of one is noticed at once, by its closed connection."""

PATIENCE_OF_CUDA = timedelta(hours=1)
"""The same for sums on CUDA devices, where a dead process leaves no trace."""

MOMENT_S = 3
"""Time in which the first process hears of an error in another one."""


class LostError(DataError):
    """Another process of this training has ended."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together.

    Attributes:
        rank: its number, from 0; the first one writes files and speaks.
        size: how many there are.
        local: its number on its machine, which is that of its CUDA device.
        nodes: on how many machines they are.
    """

    rank: int
    size: int
    local: int
    nodes: int = 1


ALONE = Place(0, 1, 0)

_place = ALONE
_control: Any = None  # a group of gloo, for objects and for waiting
_together = False


def place() -> Place:
    """Where this process stands; alone, unless it has `joined` others."""
    return _place


def is_first() -> bool:
    """Whether this process writes files and speaks."""
    return _place.rank == 0


def launched() -> Place | None:
    """The place of this process among several that torchrun, or srun of Slurm, has begun; None if it is alone.

    Raises:
        UsageError: if a launcher has begun several, but does not say which one this is.
    """
    known = os.environ
    tasks = known.get("SLURM_STEP_NUM_TASKS", "1")
    if known.get("WORLD_SIZE", "1") in ("", "1") and tasks != "1":
        known |= {"WORLD_SIZE": tasks, "RANK": known["SLURM_PROCID"], "LOCAL_RANK": known["SLURM_LOCALID"]}
        known.setdefault("MASTER_ADDR", _first_host(known.get("SLURM_STEP_NODELIST", "127.0.0.1")))
        known.setdefault("MASTER_PORT", str(15000 + int(known.get("SLURM_JOB_ID", "0")) % 10000))
        known.setdefault("GROUP_WORLD_SIZE", known.get("SLURM_STEP_NUM_NODES", "1"))
    size = known.get("WORLD_SIZE", "1")
    if size in ("", "1"):
        return None
    needed = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in needed if name not in known]
    if missing:
        what = f"a launcher began {size} processes and does not say which one this is ({', '.join(missing)} not set)"
        raise UsageError(what, where="WORLD_SIZE", fix="use torchrun or srun, or start it without WORLD_SIZE")
    return Place(int(known["RANK"]), int(size), int(known["LOCAL_RANK"]), int(known.get("GROUP_WORLD_SIZE", "1")))


def speaks() -> bool:
    """Whether this process prints results: the first one of a launcher, or one that is alone."""
    try:
        found = launched()
    except UsageError:
        return True
    return found is None or found.rank == 0


def _first_host(hosts: str) -> str:
    """The first of the hosts that Slurm names, such as `node[03-07,12],other1`."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return SLURMEnvironment.resolve_root_node_address(hosts)


@contextmanager
def joined(where: Place | None) -> Iterator[None]:
    """Makes this process one of several until the block ends; they end together.

    An error in one ends them all. The first process raises it, whichever had it; the others end without a word, but for an error
    that the first one does not hear of.

    Args:
        where: its place, of `launched`; None for a process that is alone.

    Raises:
        LostError: in the first process, if another one has ended without giving a reason.
    """
    global _place, _control
    if where is None or where.size == 1 or _place.size > 1:
        yield
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=PATIENCE_TO_MEET)))
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        backend, patience = ("cpu:gloo,cuda:nccl", PATIENCE_OF_CUDA) if cuda else ("gloo", PATIENCE)
        dist.init_process_group(backend, store=store, rank=where.rank, world_size=where.size, timeout=patience)
        _control = dist.new_group(backend="gloo", timeout=PATIENCE) if cuda else dist.group.WORLD
    except (RuntimeError, ValueError) as error:
        fix = "check that every machine reaches MASTER_ADDR, and GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        raise DataError(f"the processes can't be connected: {_first_line(error)}", where="ranks", fix=fix) from None
    _place = where
    try:
        wait()  # until all are connected: none ends before
        yield
        with suppress(LostError):  # all is done
            wait()
    except BaseException as error:
        found = _heard(store, error) if where.rank == 0 else _told(store, error, where)
        if found is not error:
            raise found from None
        raise
    finally:
        _leave()


def _leave() -> None:
    global _place, _control
    import torch.distributed as dist

    _place, _control = ALONE, None
    if dist.is_initialized():
        with suppress(RuntimeError, ValueError):
            dist.destroy_process_group()


def _heard(store: Any, error: BaseException) -> BaseException:
    """What the first process raises: its own error, or that of the process that has ended."""
    with suppress(RuntimeError):
        if isinstance(error, LostError):
            _await(store, "failed", MOMENT_S)
            told = json.loads(store.get("failed"))
            error = (UsageError if told["usage"] else DataError)(told["what"], where=told["where"], fix=told["fix"])
        store.set("heard", "1")
    return error


def _told(store: Any, error: BaseException, where: Place) -> BaseException:
    """What another process raises: nothing that is seen, where the first one has heard of its error, or has its own."""
    found = explain(error)
    if isinstance(error, LostError) or not isinstance(error, Exception):
        return SystemExit(found.exit_code)
    told = {"what": f"{found.what} (process {where.rank + 1} of {where.size})", "where": found.where, "fix": found.fix}
    with suppress(RuntimeError):
        store.set("failed", json.dumps({**told, "usage": isinstance(found, UsageError)}))
        _leave()  # whoever waits for this process notices
        _await(store, "heard", 2 * MOMENT_S)
        return SystemExit(found.exit_code)
    return error


def _await(store: Any, key: str, seconds: float) -> None:
    """Waits until a key is set; a `RuntimeError` if it is not. The store's own waiting warns of it on the error stream."""
    until = time.monotonic() + seconds
    while not store.check([key]):
        if time.monotonic() > until:
            raise RuntimeError(f"{key} was not set")
        time.sleep(0.05)


@contextmanager
def _talking() -> Iterator[None]:
    """Around every exchange: what fails in there is another process."""
    try:
        yield
    except RuntimeError as error:
        cause = _first_line(error)
        why = "" if "peer" in cause or "losed" in cause else f" ({cause})"
        what = f"another process of this training has ended{why}"
        raise LostError(what, fix="what is done is kept: run the same command again to go on") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def together() -> Iterator[None]:
    """Inside, sums and gatherings of losses are over all processes, each of which has a part of one batch."""
    global _together
    before, _together = _together, _place.size > 1
    try:
        yield
    finally:
        _together = before


def are_together() -> bool:
    """Whether sums and gatherings of losses are over several processes."""
    return _together


def summed(values: "Tensor") -> "Tensor":
    """The sum over the processes, within `together`; its gradient is the sum of theirs."""
    if not _together:
        return values
    from eofuse.ranks.gradients import Summed

    result: Tensor = Summed.apply(values)
    return result


def gathered(values: "Tensor") -> "Tensor":
    """The rows that the processes have, which may be of different number, one after the other, within `together`."""
    if not _together:
        return values
    from eofuse.ranks.gradients import Gathered

    result: Tensor = Gathered.apply(values)
    return result


def mean_loss(loss: "Tensor", count: int) -> "Tensor":
    """The mean loss of the patches of all processes, within `together`, from that of the patches, so many, of this one."""
    if not _together:
        return loss
    import torch

    total, patches = summed(torch.stack([loss * count, torch.full_like(loss, count)]))
    result: Tensor = total / patches
    return result


def sum_in_place(values: "Tensor") -> "Tensor":
    """The sum over the processes, in the memory of the values."""
    import torch.distributed as dist

    with _talking():
        dist.all_reduce(values)
    return values


def mean(tensors: "Sequence[Tensor | None]", like: "Sequence[Tensor]") -> "list[Tensor | None]":
    """The mean over the processes of what each has, within `together`; zeros stand for what one has not.

    Args:
        tensors: gradients, say.
        like: tensors of their shapes.
    """
    if not _together:
        return list(tensors)
    import torch

    filled = [torch.zeros_like(other) if each is None else each for each, other in zip(tensors, like, strict=True)]
    flat = sum_in_place(torch.cat([each.flatten().float() for each in filled])).div_(_place.size)
    parts = torch.split(flat, [each.numel() for each in filled])
    return [part.view_as(each) for part, each in zip(parts, filled, strict=True)]


def average(parameters: "Sequence[Tensor]", buffers: "Sequence[Tensor]" = ()) -> None:
    """Makes every gradient and buffer its mean over the processes; one exchange for all of them.

    A gradient that no process has stays none.
    """
    if _place.size == 1 or not len(parameters):
        return
    import torch

    like = parameters[0]
    has = torch.tensor([float(each.grad is not None) for each in parameters], device=like.device)
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    changed = [*gradients, *buffers]
    flat = torch.cat([has, *(each.detach().flatten().float() for each in changed)])
    sum_in_place(flat)
    found = torch.split(flat[len(has) :].div_(_place.size), [each.numel() for each in changed])
    for each, mean in zip(changed, found, strict=True):
        each.copy_(mean.view_as(each))
    for parameter, gradient, anywhere in zip(parameters, gradients, flat[: len(has)].tolist(), strict=True):
        parameter.grad = gradient if anywhere else None


def copy_from_first(tensors: "Sequence[Tensor]") -> None:
    """Gives every process the values of the first one."""
    if _place.size == 1:
        return
    import torch.distributed as dist

    with _talking():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def wait() -> None:
    """Waits until every process is here."""
    if _place.size == 1:
        return
    import torch
    import torch.distributed as dist

    with _talking():
        dist.all_reduce(torch.zeros(1), group=_control)


def first_of_all(function: Callable[[], Result]) -> Result:
    """What a function gives, which the first process calls before the others do: it writes what they read."""
    if is_first():
        found = function()
        wait()
        return found
    wait()
    return function()


def by_first(function: Callable[[], Result]) -> Result:
    """What a function gives in the first process, which alone calls it."""
    if _place.size == 1:
        return function()
    import torch.distributed as dist

    found: list[Any] = [function() if is_first() else None]
    with _talking():
        dist.broadcast_object_list(found, 0, group=_control)
    result: Result = found[0]
    return result


def own_part(items: Sequence[Item]) -> Sequence[Item]:
    """This process's stretch of a sequence, of which every process has one, in their order."""
    begin, end = (len(items) * (_place.rank + more) // _place.size for more in (0, 1))
    return items[begin:end]


def joined_parts(items: list[Item]) -> list[Item]:
    """The lists of all processes as one, in their order."""
    if _place.size == 1:
        return items
    import torch.distributed as dist

    found: list[Any] = [None] * _place.size
    with _talking():
        dist.all_gather_object(found, items, group=_control)
    return [each for part in found for each in part]


def describe(device: "torch.device", batch_norm: str) -> dict[str, str]:
    """What the number of processes changes of a training, for people; nothing of one that is alone."""
    if _place.size == 1:
        return {}
    import torch.distributed as dist

    machines = f"on {_place.nodes} machines" if _place.nodes > 1 else "on one machine"
    exchanged = "nccl" if device.type == "cuda" and "nccl" in dist.get_backend_config() else "gloo"
    return {"processes": f"{_place.size} {machines}, {exchanged}", "batch_norm": batch_norm}
