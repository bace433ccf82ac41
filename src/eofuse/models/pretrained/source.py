"""`Source`: trained weights with the meaning of their inputs, from wherever they come."""

from dataclasses import dataclass, field

from torch import Tensor

from eofuse.models.parts import Column, Part

Statistics = dict[Column, tuple[float, float]]


@dataclass(frozen=True)
class Source:
    """Trained weights.

    Attributes:
        title: where they are from, for people.
        parts: what they consist of.
        tensors: by name, those of the parts and whatever else there is.
        statistics: mean and deviation of each channel, in physical units, by which the inputs were normalised; channels whose
            normalisation is unknown or has no physical unit are left out.
        notes: what else a reader of the table must know.
    """

    title: str
    parts: list[Part]
    tensors: dict[str, Tensor]
    statistics: Statistics = field(default_factory=dict)
    notes: tuple[str, ...] = ()
