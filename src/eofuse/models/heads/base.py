"""What every head is (`Head`), of what it is built (`HeadSpec`), and their names (`HEADS`)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from eofuse.kinds import KINDS, TaskKind
from eofuse.models.features import Features, FeatureSizes
from eofuse.registry import Registry


@dataclass(frozen=True)
class HeadSpec:
    """What a head predicts.

    Attributes:
        kind: of task.
        classes: names of the classes, or of the predicted numbers, in the order of the outputs.
        mean: of each predicted number over the training patches, in its unit.
        std: standard deviation of each predicted number over the training patches, in its unit.
        composition: whether the predicted numbers are shares that sum to 1.
        network: name of the decoder or detector, for kinds that have one.
        unit: of the predicted numbers.
        temperature: by which log probabilities are divided.
        margin: half width of the predictive interval of each predicted number, empty without one.
        codes: of the classes in the class map from which they were learned, empty where they have none.
        colours: of the classes (#rrggbb), empty where they have none.
        fitted: how it was fitted in one go, a name of `eofuse.models.heads.fitted.FITTED_HEADS`; empty where it learned step by step.
    """

    kind: TaskKind
    classes: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    composition: bool = False
    network: str = ""
    unit: str = ""
    temperature: float = 1.0
    margin: tuple[float, ...] = ()
    codes: tuple[int, ...] = field(default=(), compare=False)
    colours: tuple[str, ...] = field(default=(), compare=False)
    fitted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, the inverse of `from_dict`."""
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"kind": self.kind.name}
        values = {name: value for name, value in values.items() if (name, value) != ("fitted", "")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HeadSpec":
        """Builds a specification from its JSON description.

        Raises:
            UsageError: if no package that is installed has its kind of task.
        """
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain | {"kind": KINDS[plain["kind"]]})


class Head(nn.Module, ABC):
    """Turns features into one target's output. Subclasses take (spec, sizes, dropout): see `eofuse.models.heads.build_head`."""

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec

    @abstractmethod
    def forward(
        self, features: Sequence[Features], size: tuple[int, int], truth: Tensor | None = None
    ) -> Tensor | dict[str, Tensor]:
        """The raw output, which the task's loss takes.

        Args:
            features: what fusion gives: one set, but with decision fusion one a modality.
            size: height and width of the patches in pixels.
            truth: (B, M, 5) boxes, which detection heads need in training; other heads don't look at it.

        Returns:
            Logits (heads, B, K), standardised numbers (heads, B, D), the same with (…, H, W) for kinds with pixels; for
            detection (B, 100, 6) boxes, or with `truth` losses by name.
        """

    @abstractmethod
    def predict(self, output: Tensor, counted: Tensor | None = None) -> Tensor:
        """What a raw output means.

        Args:
            output: as `forward` gives it.
            counted: (heads, B) bool, the heads that decide on each patch, one or more; None for all.

        Returns:
            Probabilities (B, K) or (B, K, H, W); numbers in their unit (B, D) or (B, D, H, W); boxes (B, 100, 6) as rows of
            x0, y0, x1, y1 (pixels), score, class, best first, filled up with rows of score 0 and class -1.
        """


HEADS: Registry[Callable[[HeadSpec, Sequence[FeatureSizes], float], Head]] = Registry(
    "head", "eofuse.heads", "eofuse.models.heads"
)


def mean_of_heads(values: Tensor, counted: Tensor | None) -> Tensor:
    """The mean over the leading axis of (heads, B, …) values, of those heads that are counted (heads, B)."""
    if counted is None:
        return values.mean(0)
    weights = counted.to(values).view(*counted.shape, *(1 for _ in values.shape[2:]))
    return (values * weights).sum(0) / weights.sum(0)


def at_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities (B, K, …) of classes that exclude each other at a temperature; 1 leaves them as they are."""
    return probabilities if temperature == 1 else (probabilities.clamp(min=1e-12).log() / temperature).softmax(1)
