"""How a scene is cut into windows: where they begin, and how much each counts at each pixel.

Along each side, windows of one size lie on a fixed lattice that begins at the scene's corner. The last is cut off at the scene's end
or, so that it sees as much as the others, moved back from it.
Weights of neighbouring windows add up to 1 at every pixel, so nothing is ever divided by a sum of weights. Near an edge of a window
that lies inside the scene, the outermost `rim` pixels don't count; at the scene's own rim they count fully.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.errors import UsageError


@dataclass(frozen=True)
class Axis:
    """Windows along one side of a scene.

    Attributes:
        length: pixels of the side.
        size: pixels of a window; the last may be shorter.
        step: pixels from the beginning of a window to that of the next, at least half of its size.
        rim: pixels at an inner edge of a window that do not count.
        moves_back: whether the last window is moved back, not cut off.

    Raises:
        UsageError: if more than two windows would meet at a pixel, or the rims leave pixels uncovered.
    """

    length: int
    size: int
    step: int
    rim: int = 0
    moves_back: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step <= self.size <= 2 * self.step:
            fix = "choose an overlap of at most half of the window"
            raise UsageError(f"windows of {self.size} pixels can't overlap by {self.size - self.step}", fix=fix)
        if not 0 <= 2 * self.rim <= self.size - self.step:
            raise UsageError(f"an overlap of {self.size - self.step} pixels leaves no room for rims of {self.rim}")

    def __len__(self) -> int:
        return max(1, -(-(self.length - self.size) // self.step) + 1)

    def span(self, number: int) -> tuple[int, int]:
        """First pixel of a window, and the one after its last."""
        start, end = self.cells(number)
        return (max(end - self.size, 0) if self.moves_back else start), end

    def cells(self, number: int) -> tuple[int, int]:
        """First cell of the map to which a window contributes, and the one after the last: pixels from its place on the lattice."""
        start = number * self.step
        return start, min(start + self.size, self.length)

    def before(self, number: int) -> int:
        """Pixels of a window before the first cell to which it contributes."""
        return self.cells(number)[0] - self.span(number)[0]

    def core(self, number: int) -> tuple[float, float]:
        """Where a window counts more than its neighbours: cores fill the side without overlap."""
        start, end = self.cells(number)
        half = (self.size - self.step) / 2
        return (start + half if number else 0.0), (end - half if number < len(self) - 1 else float(self.length))

    def finished(self, number: int) -> int:
        """Cells from the side's beginning that no later window changes."""
        return self.length if number == len(self) - 1 else (number + 1) * self.step

    def weights(self, number: int) -> npt.NDArray[np.float32]:
        """How much a window counts at each of its cells, (cells,)."""
        start, end = self.cells(number)
        weights = np.ones(end - start, dtype=np.float32)
        overlap = self.size - self.step
        ramp = self._ramp()
        if number > 0:
            weights[:overlap] = ramp[: len(weights)]
        if number < len(self) - 1:
            weights[len(weights) - overlap :] = 1 - ramp
        return weights

    def _ramp(self) -> npt.NDArray[np.float32]:
        """Weight of the later of two windows over their overlap."""
        inner = self.size - self.step - 2 * self.rim
        rising = (np.arange(inner, dtype=np.float32) + 0.5) / max(inner, 1)
        return np.concatenate([np.zeros(self.rim), rising, np.ones(self.rim)]).astype(np.float32)


@dataclass(frozen=True)
class Stride:
    """Windows in the middle of cells of several pixels: one cell a window, for what is predicted of a patch as a whole.

    A window that would stick out of the scene is moved inside, as far as the scene is large enough.

    Attributes:
        length: pixels of the side.
        size: pixels of a window.
        step: pixels of a cell.
    """

    length: int
    size: int
    step: int

    def __len__(self) -> int:
        return -(-self.length // self.step)

    def span(self, number: int) -> tuple[int, int]:
        """First pixel of a window, and the one after its last."""
        start = number * self.step + (self.step - self.size) // 2
        start = max(0, min(start, self.length - self.size))
        return start, min(start + self.size, self.length)

    def cells(self, number: int) -> tuple[int, int]:
        """First cell of the map to which a window contributes, and the one after the last: its own."""
        return number, number + 1

    def before(self, number: int) -> int:
        """Cells that a window predicts before that to which it contributes: none."""
        return 0

    def finished(self, number: int) -> int:
        """Cells from the side's beginning that no later window changes."""
        return number + 1

    def weights(self, number: int) -> npt.NDArray[np.float32]:
        """How much a window counts at each of its cells, (cells,)."""
        return np.ones(1, dtype=np.float32)


@dataclass(frozen=True)
class Windows:
    """The windows of a scene, row by row.

    Attributes:
        rows: from top to bottom.
        columns: from left to right.
    """

    rows: Axis | Stride
    columns: Axis | Stride

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map's cells."""
        return self.rows.finished(len(self.rows) - 1), self.columns.finished(len(self.columns) - 1)


def cover(
    height: int, width: int, size: int, overlap: int, rim: int = 0, multiple: int = 1, *, moves_back: bool = False
) -> Windows:
    """The windows over a scene that give maps of its pixels.

    Args:
        height: pixels of the scene from top to bottom.
        width: pixels of the scene from left to right.
        size: side of a window in pixels.
        overlap: pixels that neighbours share at least.
        rim: pixels at the inner edges of a window that do not count.
        multiple: of which the steps between windows are, the largest stride of a network whose windows must agree exactly.
        moves_back: whether the last windows are moved back from the end, not cut off.

    Raises:
        UsageError: if size, overlap and rim don't fit each other.
    """
    step = (size - overlap) // multiple * multiple
    if step < 1:
        fix = f"choose a larger window, or an overlap of at most {size // 2} pixels"
        raise UsageError(f"windows of {size} pixels can't overlap by {overlap}", fix=fix)
    return Windows(*(Axis(length, size, step, rim, moves_back) for length in (height, width)))


def stride_over(height: int, width: int, size: int, stride: int) -> Windows:
    """The windows over a scene that give maps with a cell every `stride` pixels.

    Raises:
        UsageError: if the stride is no positive number.
    """
    if stride < 1:
        raise UsageError(f"a stride of {stride} pixels is none", fix="choose 1 or more")
    return Windows(Stride(height, size, stride), Stride(width, size, stride))
