"""What is mapped for each kind of task: what windows add up to, and the files that come of it.

A product says how many *sums* it needs at a cell (a pixel, or a square of pixels for what is predicted of a patch), how a window's
prediction adds to them, and what is written of the sums once they are complete. `products_of` chooses by the kind's place and values.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.errors import UsageError
from eofuse.kinds import Values
from eofuse.modalities import class_colour
from eofuse.models.heads import HeadSpec
from eofuse.tasks.numbers import number_names

Array = npt.NDArray[Any]

MOST_CLASSES = 255
PER_CENT_NODATA = 255
PROBABILITY_SCALE = 0.0001
PROBABILITY_NODATA = 65535
SMALLEST = 1e-12
"""Added to probabilities before their logarithm."""


@dataclass(frozen=True)
class MapFile:
    """A file of a map, a layer for people.

    Attributes:
        ending: of its name, before `.tif`; "" for the map itself.
        dtype: of its values.
        nodata: value where nothing is predicted.
        bands: their names.
        unit: of the values.
        scale: factor from values to what they mean.
        overviews: how coarser pixels come of finer ones: `mode` of classes, `average` of numbers.
        band_tags: by band, from 0.
        colours: of class codes, (red, green, blue).
    """

    ending: str
    dtype: str
    nodata: float
    bands: tuple[str, ...]
    unit: str = ""
    scale: float = 1.0
    overviews: str = "average"
    band_tags: tuple[Mapping[str, Any], ...] = ()
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)


class Product(ABC):
    """What is mapped of one target.

    Args:
        name: of the target.
        head: what predicts it.
        members: models that predict together.

    Attributes:
        files: that are written.
        sums: numbers at a cell that windows add up to.
    """

    files: tuple[MapFile, ...]
    sums: int

    def __init__(self, name: str, head: HeadSpec, members: int) -> None:
        self.name = name
        self.head = head
        self.members = members

    @abstractmethod
    def add(self, predictions: Sequence[Array]) -> Array:
        """What a window adds: (batch, sums, …) float32, of each member's prediction (batch, outputs, …)."""

    @abstractmethod
    def finish(self, sums: Array, valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
        """Values of each file by its ending, (bands, height, width), of complete sums (sums, height, width), where cells are valid."""


class ClassProduct(Product):
    """One class a cell: its code, its probability, and on demand those of all classes and how sure they are.

    Args:
        name: of the target.
        head: what predicts it.
        members: models that predict together.
        probabilities: whether the probabilities of all classes are wanted.
        uncertainty: whether entropy, and with several members their disagreement, are wanted.
    """

    def __init__(
        self, name: str, head: HeadSpec, members: int, *, probabilities: bool = False, uncertainty: bool = False
    ) -> None:
        super().__init__(name, head, members)
        if len(head.classes) > MOST_CLASSES:
            fix = "predict a store: eofuse predict"
            raise UsageError(f"a map holds at most {MOST_CLASSES} classes, '{name}' has {len(head.classes)}", fix=fix)
        codes = head.codes or range(len(head.classes))
        largest = 255 if max(codes) <= 255 else 65535
        self.codes = np.array(codes, dtype=np.min_scalar_type(largest))
        self.disagrees = uncertainty and members > 1
        self.sums = len(head.classes) + self.disagrees
        nodata = next(code for code in (largest, 0, *range(largest - 1, 0, -1)) if code not in self.codes)
        legend = {f"class_{code}": label for code, label in zip(self.codes.tolist(), head.classes, strict=True)}
        files = [
            MapFile(
                "",
                str(self.codes.dtype),
                nodata,
                ("class",),
                overviews="mode",
                band_tags=(legend,),
                colours=self._colours(),
            ),
            MapFile("confidence", "uint8", PER_CENT_NODATA, ("confidence",), "%"),
        ]
        if probabilities:
            tags = tuple({"code": code} for code in self.codes.tolist())
            files.append(
                MapFile(
                    "probabilities",
                    "uint16",
                    PROBABILITY_NODATA,
                    head.classes,
                    scale=PROBABILITY_SCALE,
                    band_tags=tags,
                )
            )
        if uncertainty:
            bands = ("entropy", "disagreement") if self.disagrees else ("entropy",)
            files.append(MapFile("uncertainty", "uint8", PER_CENT_NODATA, bands, "% of the largest possible"))
        self.files = tuple(files)

    def add(self, predictions: Sequence[Array]) -> Array:
        """The mean probabilities and, last, the mean entropy of the members."""
        mean = _mean(predictions)
        if not self.disagrees:
            return mean
        return np.concatenate([mean, _mean([entropy(each, axis=1)[:, None] for each in predictions])], axis=1)

    def finish(self, sums: Array, valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
        """Codes, per cents and probabilities."""
        probabilities = sums[: len(self.codes)]
        chosen = probabilities.argmax(axis=0)
        found: dict[str, Array] = {
            "": self.codes[chosen][None],
            "confidence": _per_cent(np.take_along_axis(probabilities, chosen[None], axis=0)),
        }
        endings = {file.ending for file in self.files}
        if "probabilities" in endings:
            found["probabilities"] = np.rint(probabilities.clip(0, 1) / PROBABILITY_SCALE).astype(np.uint16)
        if "uncertainty" in endings:
            total = entropy(probabilities, axis=0)[None]
            parts = [total, (total - sums[-1:]).clip(0)] if self.disagrees else [total]
            found["uncertainty"] = _per_cent(np.concatenate(parts))
        return _hidden(found, self.files, valid)

    def _colours(self) -> dict[int, tuple[int, int, int]]:
        texts = self.head.colours or tuple(class_colour(number) for number in range(len(self.codes)))
        rgb = [bytes.fromhex(text.lstrip("#")) for text in texts]
        return {code: (r, g, b) for code, (r, g, b) in zip(self.codes.tolist(), rgb, strict=True)}


class ClassesProduct(Product):
    """Any number of classes a cell: the probability of each."""

    def __init__(self, name: str, head: HeadSpec, members: int) -> None:
        super().__init__(name, head, members)
        self.sums = len(head.classes)
        self.files = (MapFile("", "uint8", PER_CENT_NODATA, head.classes, "% probability"),)

    def add(self, predictions: Sequence[Array]) -> Array:
        """The mean probabilities."""
        return _mean(predictions)

    def finish(self, sums: Array, valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
        """Per cents."""
        return _hidden({"": _per_cent(sums)}, self.files, valid)


class NumbersProduct(Product):
    """Numbers a cell: each with the ends of its predictive interval, where the model knows it.

    Args:
        name: of the target.
        head: what predicts it.
        members: models that predict together.
        uncertainty: whether the standard deviation of several members is wanted.
    """

    def __init__(self, name: str, head: HeadSpec, members: int, *, uncertainty: bool = False) -> None:
        super().__init__(name, head, members)
        self.disagrees = uncertainty and members > 1
        self.sums = len(head.classes) * (1 + self.disagrees)
        names = number_names(name, head)
        ends = ("", ".low", ".high") if head.margin else ("",)
        bands = tuple(f"{label}{end}" for label in names for end in ends)
        tags = tuple({"coverage_of_interval": 0.9} if head.margin else {} for _ in bands)
        files = [MapFile("", "float32", np.nan, bands, head.unit, band_tags=tags)]
        if self.disagrees:
            files.append(MapFile("uncertainty", "float32", np.nan, tuple(f"{name}.sd" for name in names), head.unit))
        self.files = tuple(files)

    def add(self, predictions: Sequence[Array]) -> Array:
        """The mean numbers and, last, their standard deviation over the members."""
        mean = _mean(predictions)
        if not self.disagrees:
            return mean
        spread = np.sqrt(_mean([(each - mean) ** 2 for each in predictions]) * (self.members / (self.members - 1)))
        return np.concatenate([mean, spread], axis=1)

    def finish(self, sums: Array, valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
        """Numbers in their unit."""
        count = len(self.head.classes)
        values = sums[:count]
        if self.head.margin:
            margin = np.array(self.head.margin, dtype=np.float32).reshape(-1, 1, 1)
            values = np.stack([values, values - margin, values + margin], axis=1).reshape(-1, *sums.shape[1:])
        found = {"": values.astype(np.float32)}
        if self.disagrees:
            found["uncertainty"] = sums[count:].astype(np.float32)
        return _hidden(found, self.files, valid)


def products_of(
    heads: Mapping[str, HeadSpec], members: int, *, probabilities: bool = False, uncertainty: bool = False
) -> dict[str, Product]:
    """What is mapped of each target but boxes, by its name."""
    products: dict[str, Product] = {}
    for name, head in heads.items():
        if head.kind.is_boxes:
            continue
        if head.kind.is_numbers:
            products[name] = NumbersProduct(name, head, members, uncertainty=uncertainty)
        elif head.kind.values is Values.CLASSES:
            products[name] = ClassesProduct(name, head, members)
        else:
            products[name] = ClassProduct(name, head, members, probabilities=probabilities, uncertainty=uncertainty)
    return products


def entropy(probabilities: Array, axis: int) -> Array:
    """Entropy as a share of the largest possible one, which is that of equal probabilities."""
    if probabilities.shape[axis] == 1:
        return np.zeros_like(probabilities.take(0, axis))
    p = probabilities.clip(SMALLEST, 1)
    found: Array = -(p * np.log(p)).sum(axis=axis) / np.log(probabilities.shape[axis])
    return found


def _mean(parts: Sequence[Array]) -> Array:
    total: Array = parts[0]
    for part in parts[1:]:
        total = total + part
    if len(parts) > 1:
        total = np.divide(total, np.float32(len(parts)))
    return total


def _per_cent(shares: Array) -> Array:
    found: Array = np.rint(100 * shares.clip(0, 1)).astype(np.uint8)
    return found


def _hidden(found: dict[str, Array], files: Sequence[MapFile], valid: npt.NDArray[np.bool_]) -> dict[str, Array]:
    """Nodata where cells are not valid."""
    for file in files:
        found[file.ending] = np.where(valid, found[file.ending], np.array(file.nodata, dtype=file.dtype))
    return found
