"""`Uploads`: batches on their way to a CUDA device, read and copied while the device computes."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Batch, Buffers, Loader, Rows, read_ahead


class Uploads:
    """Copies batches to a CUDA device on a stream of their own.

    Two page-locked buffers take turns: while a step works on the copy out of one, the other is filled and copied. Three things keep
    this from being a race. A buffer is filled when the last copy out of it has ended. A step waits, on the device, for its copy. And
    the device gives the memory of a copy to nothing else before the step that reads it has ended.

    Args:
        device: where they go.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.buffers = (Buffers(page_locked), Buffers(page_locked))
        self._copied: list[torch.cuda.Event | None] = [None, None]

    def batches(self, loader: Loader, turns: Iterator[tuple[Rows, int]]) -> Iterator[Batch]:
        """Batches on the device in order.

        Args:
            loader: reads them.
            turns: rows of each, and which of the two buffers it takes.
        """
        try:
            for batch, copied in read_ahead(lambda turn: self._send(loader, *turn), turns):
                computing = torch.cuda.current_stream(self.device)
                computing.wait_event(copied)
                for tensor in batch.tensors():
                    tensor.record_stream(computing)
                yield batch
        finally:
            for number in (0, 1):  # page-locked memory is given to others as soon as it is let go
                self._wait(number)

    def _send(self, loader: Loader, rows: Rows, number: int) -> tuple[Batch, torch.cuda.Event]:
        self._wait(number)
        batch = loader.read(rows, self.buffers[number])
        with torch.cuda.stream(self.stream):
            moved = batch.to(self.device)
            copied = self.stream.record_event()
        self._copied[number] = copied
        return moved, copied

    def _wait(self, number: int) -> None:
        """Waits for the last copy out of a buffer."""
        copied = self._copied[number]
        if copied is not None:
            copied.synchronize()


def page_locked(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """An array in memory from which a CUDA device copies by itself."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: np.ndarray = torch.empty(count, dtype=torch.uint8, pin_memory=True).numpy()
    return memory.view(dtype).reshape(shape)
