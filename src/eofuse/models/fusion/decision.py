"""`Decision`: an encoder and a head for each modality; their predictions are averaged."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eofuse.devices import on_cpu, send
from eofuse.modalities import Modality
from eofuse.models.features import Features
from eofuse.models.fusion.base import FUSIONS, FusionOptions
from eofuse.models.fusion.missing import Present
from eofuse.models.fusion.per_modality import PerModality


@FUSIONS.register("decision")
class Decision(PerModality):
    """Encodes each modality and keeps the features apart, one set a modality.

    Each set has its own head, so what only two modalities together tell can't be learnt; at the pixels, a modality
    without any predicts the same everywhere. Of modalities that a patch lacks, no prediction is averaged.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        self.sizes = list(self.feature_sizes.values())

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of each modality, in the order of the modalities."""
        return list(self.encode(inputs, present).values())

    def counted(self, present: Present | None) -> Tensor | None:
        """Which modalities decide on which patches, (modalities, B) bool: those that are present; all where none is."""
        if present is None:
            return None
        device = next(iter(present.values())).device
        decide = torch.stack(list(self.by_encoder({name: on_cpu(mask) for name, mask in present.items()}).values()))
        counted = decide | ~decide.any(0)
        return None if bool(counted.all()) else send(counted, device)
