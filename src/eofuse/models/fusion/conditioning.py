"""`ConditionMaps`: scalars reach the maps, on which heads that tell something of every pixel look."""

from collections.abc import Sequence

from torch import Tensor, nn

from eofuse.models.fusion.base import JoinVectors


class ConditionMaps(nn.Module):
    """Scales and shifts each channel of each map by what the vectors tell (FiLM, Perez et al. 2018).

    Untrained it leaves the maps as they are.

    Args:
        widths: lengths of the vectors.
        channels: of each map.
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
        scales, shifts = self.layer(self.join(vectors))[:, :, None, None].chunk(2, 1)
        levels = zip(maps, scales.split(self.channels, 1), shifts.split(self.channels, 1), strict=True)
        return [level * (1 + scale) + shift for level, scale, shift in levels]
