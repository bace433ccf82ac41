"""A model over a scene, window by window: readers ahead of it, threads that predict, and rows that are written when they are complete.

What is held in memory is some bands of the scene, a part of a row of windows of the map, and the batches on their way.
What is computed does not
depend on the number of threads: a batch is one thread's work, batches are made of the windows of one row, and they are added in order.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.inference.ensemble import Ensemble
from eofuse.inference.places import lon_lat
from eofuse.maps.products import Product
from eofuse.maps.reading import BandReader, Strip
from eofuse.maps.rows import RowStore
from eofuse.maps.scene import MapScene
from eofuse.maps.sums import Sums
from eofuse.maps.windows import Axis, Windows
from eofuse.modalities import MONTH, PLACE, Kind
from eofuse.processes import free_memory
from eofuse.tasks.detection import boxes_that_count

PIXELS_A_BATCH = 2**16
"""Pixels of the windows that are predicted at once."""

PIXELS_ON_A_DEVICE = 2**19
"""The same on a device other than the CPU, which is idle between small batches."""

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Item:
    """A window that is predicted with some of the inputs.

    Attributes:
        column: number of the window in its row.
        present: a bit for each input, in the order of the model's.
        alone: whether no other set of inputs is predicted in the window.
    """

    column: int
    present: int
    alone: bool


@dataclass
class Row:
    """A row of windows on its way.

    Attributes:
        number: of the row.
        strip: the pixels.
        codes: at each pixel, a bit for each input that has a value, (rows, columns); 0 where no input with pixels has one.
        valid: at which cells something is predicted, of those that the row finishes, (rows, columns).
        batches: windows to be predicted, not yet added.
    """

    number: int
    strip: Strip
    codes: npt.NDArray[np.uint32]
    valid: Bools
    batches: list[list[Item]] = field(default_factory=list)


Job = tuple[Row, list[Item], int]
"""A batch of a row's windows, and the column before which later batches of the row add nothing: the map's end for the last."""


class Pass:
    """One way of cutting a scene into windows, and what is mapped by it.

    Args:
        scene: the scene.
        model: one model or several.
        windows: over the scene.
        products: what is mapped, by target.
        may_lack: whether the model has something in place of inputs that are missing.
        boxes: targets whose boxes are wanted.
        threshold: score from which a box counts.
        device: of the model.
        pad: side to which windows are filled up with missing pixels, for networks of one size; 0 for none.
    """

    def __init__(
        self,
        scene: MapScene,
        model: Ensemble,
        windows: Windows,
        products: Mapping[str, Product],
        *,
        may_lack: bool = False,
        boxes: Sequence[str] = (),
        threshold: float = 0.5,
        device: str = "cpu",
        pad: int = 0,
    ) -> None:
        self.scene = scene
        self.model = model
        self.windows = windows
        self.products = dict(products)
        self.may_lack = may_lack
        self.boxes = tuple(boxes)
        self.threshold = threshold
        self.device = torch.device(device)
        self.pad = pad
        self.names = [each.name for each in model.spec.modalities]
        self.constants = sum(1 << bit for bit, name in enumerate(self.names) if name in scene.constants)
        self.whole = (1 << len(self.names)) - 1

    def run(self, store: RowStore, workers: int, readers: int, told: Callable[[int], None] | None = None) -> None:
        """Predicts the rows of windows that are not done, and writes them.

        Args:
            store: takes them.
            workers: threads that predict.
            readers: threads that read.
            told: called with the number of rows that are done.

        Raises:
            DataError: if a file can't be read; what is done stays.
        """
        first = max(store.done - 1, 0)  # once more, for what it adds to the next
        height, width = self.windows.rows.cells(0)[1], self.windows.shape[1]
        sums = {name: Sums(product, height, width) for name, product in self.products.items()}
        found: list[dict[str, Any]] = []
        with BandReader(self.scene, readers, self.windows.rows.span(first)[0]) as reader:
            jobs = self._jobs(reader, first)
            for (row, items, until), result in in_threads(self._predict, jobs, workers):
                if items:
                    self._add(sums, row, items, result)
                    found += self._boxes(row, items, result)
                for each in sums.values():
                    each.finish(until, row.valid)
                if until == width:
                    values = {(name, end): array for name, each in sums.items() for end, array in each.take().items()}
                    if row.number >= store.done:
                        store.write(row.number, self.windows.rows.cells(row.number)[0], values, found)
                        free_memory()
                    found = []
                    if told:
                        told(row.number + 1)

    def _jobs(self, reader: BandReader, first: int) -> Iterator[Job]:
        for number in range(first, len(self.windows.rows)):
            row = self._row(reader, number)
            batches = row.batches or [[]]
            until, untils = self.windows.shape[1], []
            for batch in reversed(batches):
                untils.append(until)
                until = min([until, *(self.windows.columns.cells(item.column)[0] for item in batch)])
            for batch in batches:
                yield row, batch, untils.pop()

    def _row(self, reader: BandReader, number: int) -> Row:
        top, bottom = self.windows.rows.span(number)
        strip = reader.rows(top, bottom)
        codes = np.zeros((bottom - top, self.scene.grid.width), dtype=np.uint32)
        for bit, name in enumerate(self.names):
            if name in self.scene.layers:
                codes |= strip.valid(name).astype(np.uint32) << np.uint32(bit)
        codes[codes > 0] |= np.uint32(self.constants)
        usable = codes > 0 if self.may_lack else codes == self.whole
        row = Row(number, strip, codes, self._valid(number, usable))
        groups: dict[tuple[int, int], list[Item]] = {}
        for column in range(len(self.windows.columns)):
            left, right = self.windows.columns.span(column)
            items = self._items(column, codes[:, left:right], usable[:, left:right])
            groups.setdefault((bottom - top, right - left), []).extend(items)
            if not items:
                row.valid[:, slice(*self.windows.columns.cells(column))] &= isinstance(self.windows.columns, Axis)
        for (height, width), items in groups.items():
            pixels = PIXELS_A_BATCH if self.device.type == "cpu" else PIXELS_ON_A_DEVICE
            size = max(1, pixels // (max(height, self.pad) * max(width, self.pad)))
            row.batches += [items[start : start + size] for start in range(0, len(items), size)]
        return row

    def _items(self, column: int, codes: npt.NDArray[np.uint32], usable: Bools) -> list[Item]:
        """With which inputs a window is predicted: with every set that some of its pixels have."""
        if not usable.any():
            return []
        if not self.may_lack:
            return [Item(column, self.whole, True)]
        if not isinstance(self.windows.columns, Axis):  # of a window as a whole: all that it has anywhere
            return [Item(column, int(np.bitwise_or.reduce(codes, axis=None)), True)]
        sets = [int(each) for each in np.unique(codes[usable])]
        return [Item(column, each, len(sets) == 1) for each in sets]

    def _valid(self, number: int, usable: Bools) -> Bools:
        """At which of the cells that a row finishes something is predicted."""
        rows, columns = self.windows.rows, self.windows.columns
        top, first = rows.span(number)[0], rows.cells(number)[0]
        end = rows.finished(number)
        if isinstance(rows, Axis):
            return usable[rows.before(number) :][: end - first]
        begin = number * rows.step - top
        inside = usable[max(begin, 0) : begin + rows.step]
        starts = np.arange(0, self.scene.grid.width, columns.step)
        valid: Bools = np.logical_or.reduceat(inside.any(axis=0), starts)[None]
        return valid

    def _predict(self, job: Job) -> dict[str, list[Array]]:
        """Predictions of each member by target; the first member's alone of boxes."""
        row, items, _ = job
        if not items:
            return {}
        spans = [self.windows.columns.span(item.column) for item in items]
        height, width = row.codes.shape[0], spans[0][1] - spans[0][0]
        inputs: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for bit, modality in enumerate(self.model.spec.modalities):
            name = modality.name
            present[name] = torch.tensor([bool(item.present >> bit & 1) for item in items], device=self.device)
            fill = 0.0
            if name in self.scene.constants:
                values = self.scene.constants[name]
                windows = np.repeat(values[None], len(items), axis=0)
            elif name in self.scene.layers:
                windows = np.stack([row.strip.values(name, left, right) for left, right in spans])
                fill = self.scene.layers[name].fill
            else:
                windows = np.zeros((len(items), *modality.shape((height, width))), dtype=modality.dtype)
            if modality.kind is Kind.RASTER and self.pad > min(height, width):
                windows = _filled_up(windows, self.pad, fill)
            inputs[name] = torch.from_numpy(windows).to(self.device)
        inputs |= self._context(row, spans)
        members = [model.predict(inputs, present) for model in self.model.models]
        wanted = [*self.products, *self.boxes]
        return {
            name: [_cut(each[name].float().cpu().numpy(), height, width, name in self.boxes) for each in members]
            for name in wanted
        }

    def _context(self, row: Row, spans: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """When and where windows were seen, as far as the model takes it."""
        found: dict[str, Tensor] = {}
        if MONTH in self.model.spec.context:
            found[MONTH] = torch.full((len(spans),), (self.scene.month or 0) - 1, device=self.device)
        if PLACE in self.model.spec.context:
            top, bottom = self.windows.rows.span(row.number)
            middles = [((left + right) / 2, (top + bottom) / 2) for left, right in spans]
            found[PLACE] = torch.tensor(lon_lat(self.scene.grid, middles), dtype=torch.float32, device=self.device)
        return found

    def _add(
        self, sums: Mapping[str, Sums], row: Row, items: Sequence[Item], result: Mapping[str, list[Array]]
    ) -> None:
        high, down = self.windows.rows.weights(row.number), self.windows.rows.before(row.number)
        for name, product in self.products.items():
            added = product.add([each if each.ndim == 4 else each[:, :, None, None] for each in result[name]])
            for item, values in zip(items, added, strict=True):
                left, right = self.windows.columns.cells(item.column)
                values = values[:, down:, self.windows.columns.before(item.column) :]
                weights = high[:, None] * self.windows.columns.weights(item.column)
                if not item.alone:
                    weights = weights * (row.codes[down:, left:right] == item.present)
                sums[name].add(left, values * weights)

    def _boxes(self, row: Row, items: Sequence[Item], result: Mapping[str, list[Array]]) -> list[dict[str, Any]]:
        """Boxes whose middle lies where their window counts most."""
        found: list[dict[str, Any]] = []
        rows, columns = self.windows.rows, self.windows.columns
        if not self.boxes or not isinstance(rows, Axis) or not isinstance(columns, Axis):
            return found
        top, (upper, lower) = rows.span(row.number)[0], rows.core(row.number)
        for name in self.boxes:
            for item, boxes in zip(items, result[name][0], strict=True):
                left, (west, east) = columns.span(item.column)[0], columns.core(item.column)
                codes = row.codes[:, slice(*columns.span(item.column))]
                for x0, y0, x1, y1, score, number in boxes[boxes_that_count(boxes, self.threshold)].tolist():
                    place = [x0 + left, y0 + top, x1 + left, y1 + top]
                    middle = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
                    at = codes[
                        min(int(middle[1] - top), len(codes) - 1), min(int(middle[0] - left), codes.shape[1] - 1)
                    ]
                    if west <= middle[0] < east and upper <= middle[1] < lower and at == item.present:
                        found.append({"target": name, "pixels": place, "score": score, "class": int(number)})
        return found


def in_threads(
    function: Callable[[Given], Result], jobs: Iterator[Given], workers: int
) -> Iterator[tuple[Given, Result]]:
    """Yields each job with its result, in order; a few are done ahead."""
    waiting: deque[tuple[Given, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers, "predict", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for job in jobs:
                waiting.append((job, pool.submit(function, job)))
                if len(waiting) > workers + 1:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _filled_up(windows: Array, side: int, fill: float) -> Array:
    """Windows (batch, channels, height, width) with missing pixels below and at the right, up to a side."""
    below, right = (max(side - length, 0) for length in windows.shape[-2:])
    return np.pad(windows, ((0, 0), (0, 0), (0, below), (0, right)), constant_values=np.array(fill, windows.dtype))


def _cut(prediction: Array, height: int, width: int, is_boxes: bool) -> Array:
    """A prediction without what was filled up."""
    return prediction if is_boxes or prediction.ndim < 4 else prediction[..., :height, :width]
