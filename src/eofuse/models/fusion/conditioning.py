"""`ConditionMaps`: scalars reach the maps, from which heads predict pixels."""

from collections.abc import Sequence

from torch import Tensor, nn

from eofuse.models.fusion.base import JoinVectors


class ConditionMaps(nn.Module):
    """Scales and shifts each channel of each map by the vectors (FiLM, Perez et al. 2018).

    Untrained it leaves the maps as they are.
    """

    def __init__(self, widths: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.join = JoinVectors(widths)
        self.layer = nn.Linear(self.join.width, 2 * sum(channels))
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, vectors: Sequence[Tensor], maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps (B, C, h, w), conditioned by the vectors (B, D) of the same patches."""
        return [modulate(level, *change) for level, change in zip(maps, self.modulation(vectors), strict=True)]

    def modulation(self, vectors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift (B, C) of each map, by the vectors (B, D) of the patches."""
        scales, shifts = self.layer(self.join(vectors)).chunk(2, 1)
        return list(zip(scales.split(self.channels, 1), shifts.split(self.channels, 1), strict=True))


def modulate(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Values (B, C, …), each channel of a patch multiplied by 1 + scale (B, C) and shifted (B, C)."""
    shape = (*scale.shape, *(1 for _ in values.shape[2:]))
    return values * (1 + scale.view(shape)) + shift.view(shape)
