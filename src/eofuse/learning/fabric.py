"""Device, precision and engine of a training: `open_device`, and `open_fabric` of Lightning."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import torch

from eofuse import ranks
from eofuse.devices import find_device
from eofuse.learning.train_options import TrainOptions
from eofuse.models.model import Model

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def open_device(options: TrainOptions) -> torch.device:
    """The device of the options, made ready: its threads, and numbers that are the same each time.

    Raises:
        UsageError: if there is no such device.
    """
    device, place = find_device(options.device, "train.device"), ranks.place()
    if place.size > 1 and device.type == "cuda":
        device = find_device(f"cuda:{place.local}", "train.devices")
    torch.set_num_threads(options.thread_count)
    if device.type != "cuda":
        return device
    torch.cuda.set_device(device)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing reads memory that was not written, and to fill it takes a kernel a tensor
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    for enable in (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.enable_mem_efficient_sdp):
        enable(False)  # with warnings only, faster attention is not deterministic
    torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def open_fabric(options: TrainOptions) -> "Fabric":
    """Device and precision of the options.

    Raises:
        UsageError: as `open_device`.
    """
    device = open_device(options)
    with _version_alone("torchmetrics"):  # Fabric would import all of it, for seconds, to compare its version
        from lightning_fabric import Fabric  # 40 MB that only training needs
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # precision and device stand in the run's folder

    names: dict[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed"}
    devices: Any = [device.index] if device.type == "cuda" else 1
    own: Any = LightningEnvironment() if ranks.place().size > 1 else None  # what a launcher began is known to `ranks`
    return Fabric(accelerator=device.type, devices=devices, precision=names[precision_on(device, options)], plugins=own)


@contextmanager
def _version_alone(library: str) -> Iterator[None]:
    """Has an empty module with its version stand in for a library, unless that is imported already."""
    if library in sys.modules:
        yield
        return
    stand_in: Any = ModuleType(library)
    with suppress(PackageNotFoundError):
        stand_in.__version__ = version(library)
        sys.modules[library] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(library) is stand_in:
            del sys.modules[library]


def precision_on(device: torch.device, options: TrainOptions) -> Literal["float32", "bfloat16"]:
    """The precision of the options on a device."""
    if options.precision != "auto":
        return options.precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def evaluate_as_trained(model: Model, device: torch.device, options: TrainOptions) -> None:
    """Lets a model be evaluated in the precision in which it is trained, where the device is no CPU."""
    if device.type != "cpu" and precision_on(device, options) == "bfloat16":
        model.autocast_on = device.type
