"""`MixedBatch`: a batch in which every patch has a part of another one, and so two truths."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from eofuse.data.loading import Batch


class Partner(NamedTuple):
    """What the patches that were mixed in say of one target.

    Attributes:
        truth: theirs, as `Batch.targets` has it, in the order of the patches into which they were mixed.
        valid: (batch,), which of them have the target.
        weight: their share of the loss; the patches' own truth has the rest.
    """

    truth: Tensor
    valid: Tensor
    weight: float


@dataclass(frozen=True)
class MixedBatch(Batch):
    """Patches with a part of another patch of the batch in each.

    Attributes:
        partners: by target, the second truth. Targets without one are mixed already, as maps are where a rectangle is pasted.
    """

    partners: dict[str, Partner]
