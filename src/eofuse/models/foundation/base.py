"""Pretrained models of several sensors at once, used as they are: `FoundationModel`, its inputs, and their names (`FOUNDATIONS`)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import CONTEXT, Kind, Modality
from eofuse.models.pretrained.weight_file import read_weights
from eofuse.registry import Registry

CONVERSIONS: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {
    ("reflectance", "reflectance × 10,000"): lambda values: values * 10_000,
    ("DN", "reflectance × 10,000"): lambda values: values,
    ("digital number", "reflectance × 10,000"): lambda values: values,
    ("linear", "dB"): lambda values: 10 * values.clamp(min=1e-6).log10(),
    ("°C", "K"): lambda values: values + 273.15,
    ("mm/month", "m/month"): lambda values: values / 1000,
    ("mm/day", "m/day"): lambda values: values / 1000,
}
"""From a unit of data to one of a model."""

PIXEL_M = 10.0
"""Side of a pixel in metres where nothing says it."""

REFUSED_SPREAD = (0.05, 20.0)
"""Deviation of the data, in that of the pretraining: outside, a unit must be wrong."""

ODD_MEAN = 3.0
"""Distance of the data's mean from that of the pretraining, in its deviations: beyond, it is worth a look."""

ODD_SPREAD = (0.2, 3.0)
"""Deviation of the data, in that of the pretraining: outside, it is worth a look."""


@dataclass(frozen=True)
class InputChannel:
    """A channel that a model knows.

    Attributes:
        name: as the model calls it.
        aliases: other names of it in data.
        unit: in which the model takes it.
        group: of channels that come together: without one of them, the model sees none.
        deviation: standard deviation in the pretraining, where it is known.
        kind: `raster` or `vector`, where the model takes it of these only.
        mean: of the pretraining, where it is known.
        derived_from: the channel of whose pixels the model computes it where it is not given.
    """

    name: str
    unit: str
    group: str
    aliases: tuple[str, ...] = ()
    deviation: float | None = None
    kind: Kind | None = None
    mean: float | None = None
    derived_from: str = ""


@dataclass(frozen=True)
class Sample:
    """A batch of samples as a model takes them.

    Attributes:
        values: by the model's names of channels, in its units, NaN where a value is missing: (B, H, W), (B,) of numbers a sample, or
            where the model takes them (B, T) of series and (B, T, H, W) of series of images.
        months: (B,), 0 for January, −1 where it is not known; of series (B, T).
        places: (B, 2) longitude and latitude in degrees, NaN where it is not known; None where the place is hidden.
        pixel_m: side of a pixel in metres.
    """

    values: Mapping[str, Tensor]
    months: Tensor
    places: Tensor | None = None
    pixel_m: float = PIXEL_M


@dataclass(frozen=True)
class GroupMeans:
    """What a model makes of a batch.

    Attributes:
        means: (B, groups, width), the mean of each group's tokens; 0 where there are none.
        tokens: (B, groups), how many there are.
        pooled: (B, width), the mean of all tokens.
    """

    means: Tensor
    tokens: Tensor
    pooled: Tensor


class FoundationModel(nn.Module, ABC):
    """A pretrained network of known channels.

    Args:
        size: one of `sizes`.

    Attributes:
        title: name for people.
        licence: of the weights.
        paper: that describes it.
        sizes: in which it exists, the smallest first.
        channels: that it knows.
        groups: of channels, each of which gets a mean.
        series: whether it takes series of numbers.
        dates: of series of images that it takes at most; 0 where it takes none.
        undated: groups of channels that have no date, and stand beside series of images.
        sees: what it can take beside channels, some of `eofuse.modalities.CONTEXT`.
        maps: that `pyramid` gives, each with a cell a token; 0 where it gives none.
        width: numbers of a mean.
        name: by which it was chosen, with the size.
    """

    title: ClassVar[str]
    licence: ClassVar[str]
    paper: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]]
    channels: ClassVar[tuple[InputChannel, ...]]
    groups: ClassVar[tuple[str, ...]]
    maps: ClassVar[int] = 0
    series: ClassVar[bool] = False
    dates: ClassVar[int] = 0
    undated: ClassVar[tuple[str, ...]] = ()
    sees: ClassVar[tuple[str, ...]] = CONTEXT
    width: int
    name: str

    @abstractmethod
    def __init__(self, size: str) -> None:
        super().__init__()

    @classmethod
    def processing_notes(cls, modalities: Sequence[Modality]) -> list[str]:
        """What differs between the data and those of the pretraining beside units, as far as the data name it."""
        return []

    @abstractmethod
    def files(self) -> Sequence[str]:
        """Patterns of the names of its weights in a folder, the likeliest first."""

    @abstractmethod
    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of a file under the names of this network."""

    @abstractmethod
    def embed(self, batch: Sample, patch: int) -> GroupMeans:
        """What it makes of a batch, with tokens of `patch` × `patch` pixels."""

    def pyramid(self, batch: Sample, patch: int) -> tuple[GroupMeans, list[Tensor]]:
        """What it makes of a batch whose sides are multiples of `patch`, and maps (B, width, h, w) from as many depths as `maps` says.

        A cell of a map is the mean of the tokens there, over dates and groups; 0 where there are none.
        """
        return self.embed(batch, patch), []

    def layer_of(self, tensor: str) -> int:
        """The layer of a tensor by its name, for learning rates that differ by layer: 0 for what makes tokens, then the blocks."""
        _, _, block = tensor.partition(".blocks.")
        return int(block.partition(".")[0]) + 1 if block else 0

    def load(self, path: Path) -> Path:
        """Takes the weights of a file, or of a folder that holds one, and gives the file.

        Raises:
            DataError: if there is none, it is damaged, or is of another network.
        """
        file = self._file(path)
        weights = self.own_tensors(read_weights(file), file)
        if not weights:
            raise DataError(f"holds the weights of another network than {self.name}", where=file)
        self.load_state_dict(weights)
        return file

    def own_tensors(self, content: Mapping[str, Tensor], file: Path | None = None) -> dict[str, Tensor]:
        """Its tensors out of those of a file of weights; none if the file is of something else.

        Raises:
            DataError: if the file is of this network in another size, or damaged.
        """
        try:
            weights = self.renamed(content)
        except KeyError as error:
            raise DataError(f"is no file of {self.name}: it has no tensor {error}", where=file) from None
        own = self.state_dict()
        if own.keys().isdisjoint(weights):
            return {}
        other = sorted(own.keys() ^ weights.keys()) + [
            n for n in own if n in weights and weights[n].shape != own[n].shape
        ]
        if other:
            what = f"does not hold the tensors of {self.name}: {other[0]} and {len(other) - 1} more differ"
            raise DataError(what, where=file, fix=f"give the weights of one of these sizes: {', '.join(self.sizes)}")
        for name, tensor in weights.items():
            if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
                raise DataError(
                    f"{name} holds something else than finite numbers", where=file, fix="fetch the file again"
                )
        return weights

    def _file(self, path: Path) -> Path:
        if path.is_file():
            return path
        if not path.is_dir():
            raise DataError("there are no weights", where=path, fix="name the file, or the folder in which it lies")
        for pattern in self.files():
            if found := sorted(path.glob(pattern)):
                return found[0]
        raise DataError(f"no weights of {self.name}", where=path, fix=f"name the file ({' or '.join(self.files())})")


FOUNDATIONS: Registry[type[FoundationModel]] = Registry(
    "foundation model", "eofuse.foundations", "eofuse.models.foundation"
)
"""Every pretrained model of several sensors, by its name."""


def build_foundation(name: str, seed: int = 0) -> FoundationModel:
    """An untrained model, by `name` or `name:size`; its random weights depend on the seed alone.

    Raises:
        UsageError: if there is no such model or size.
    """
    kind, _, size = name.partition(":")
    if kind not in FOUNDATIONS:
        raise UsageError(f"no foundation model '{kind}'", where="--with", fix=did_you_mean(kind, FOUNDATIONS))
    model = FOUNDATIONS[kind]
    size = size or model.sizes[0]
    if not 0 <= seed < 2**63:
        raise UsageError(f"the seed {seed} is out of range", where="--seed", fix="give 0 or more, below 2^63")
    if size not in model.sizes:
        raise UsageError(f"{kind} has no size '{size}'", where="--with", fix=did_you_mean(size, model.sizes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = model(size)
    built.name = f"{kind}:{size}"
    return built.eval()


def convert(values: Tensor, unit: str, wanted: str) -> Tensor | None:
    """Values in another unit; None if it is not known how."""
    if unit == wanted:
        return values
    change = CONVERSIONS.get((unit, wanted))
    return change(values) if change else None
