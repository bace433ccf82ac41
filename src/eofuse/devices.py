"""Devices by name, and tensors on their way there.

`check_name` and `find_device` know the names: `auto`, `cpu`, `cuda`, `cuda:1` (the second of several) and `mps`. `send` moves a
tensor, and lets a mask keep the copy on the CPU that it came from, where `on_cpu` finds it. A program that asks a CUDA device what is
true waits until the device has computed all that was queued before; then the device waits for the program.
"""

import re
from typing import TYPE_CHECKING

from eofuse.errors import UsageError

if TYPE_CHECKING:  # names are checked without torch
    import torch
    from torch import Tensor

NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
WORDS = "auto, cpu, cuda, cuda:N or mps"


def check_name(name: str) -> str:
    """The name of a device, as it is.

    Raises:
        ValueError: if it is none.
    """
    if not NAMES.fullmatch(name):
        raise ValueError(f"'{name}' is no device: {WORDS}")
    return name


def find_device(name: str = "auto", where: str = "device") -> "torch.device":
    """The device of a name; `auto` is the first CUDA device, or the CPU where there is none.

    Args:
        name: of the device.
        where: what names it, for messages.

    Raises:
        UsageError: if it is no name of a device, or there is no such device.
    """
    import torch

    try:
        kind, _, number = check_name(name).partition(":")
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        kind = "cuda" if count else "cpu"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("there is no MPS device here", where=where, fix="use auto or cpu")
    if kind != "cuda":
        return torch.device(kind)
    if not count:
        raise UsageError("there is no CUDA device here", where=where, fix="use auto or cpu")
    if int(number or 0) >= count:
        last = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0 alone"
        raise UsageError(f"there is no CUDA device {number} here", where=where, fix=f"there is {last}")
    return torch.device("cuda", int(number or 0))


def send(values: "Tensor", device: "torch.device") -> "Tensor":
    """A tensor on a device; on its own device, itself.

    From page-locked memory to a CUDA device it may still be on its way when this returns.
    """
    import torch

    if values.device == device:
        return values
    moved = values.to(device, non_blocking=device.type == "cuda")
    if values.dtype == torch.bool and values.device.type == "cpu":
        moved.on_cpu = values  # type: ignore[attr-defined]  # goes wherever the mask goes
    return moved


def on_cpu(mask: "Tensor") -> "Tensor":
    """A mask to be looked at: its copy on the CPU where it was sent from there (see `send`), else itself."""
    known: Tensor = getattr(mask, "on_cpu", mask)
    return known
