"""CUDA devices of a study: `cards_for` says which its processes take in turn, `workers_on` how many run at a time."""

import os
from collections.abc import Iterable, Sequence

from eofuse.learning.loop import TrainOptions

RUNS_A_CARD = 4
"""Runs at a time on one device: a small network leaves most of it idle; see `benchmarks/gpu.py`."""

MEMORY_A_RUN = 8 * 2**30
"""Bytes of a device that are left to each of several runs; more runs than fit are not begun."""


def cards_for(options: Iterable[TrainOptions]) -> list[str]:
    """Devices as `CUDA_VISIBLE_DEVICES` names them; none where the runs of a study name their device, or there is no CUDA device.

    Args:
        options: of the runs.
    """
    import torch

    if any(each.device not in ("auto", "cuda") for each in options) or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


def workers_on(cards: Sequence[str], threads: int) -> int:
    """Runs at a time on some devices: `RUNS_A_CARD` each, fewer where memory or cores are short.

    Args:
        cards: as `cards_for` gives them.
        threads: of each run.
    """
    import torch

    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(len(cards))]
    fitting = sum(max(1, min(RUNS_A_CARD, size // MEMORY_A_RUN)) for size in sizes)
    return max(1, min(fitting, (os.cpu_count() or 1) // threads))
