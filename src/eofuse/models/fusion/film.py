"""`Film`: numbers and categories condition, layer by layer, the encoders of what has pixels or time."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import RasterEncoder, SeriesEncoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.absence import Present, Rows, presence
from eofuse.models.fusion.base import FusionOptions, JoinVectors
from eofuse.models.fusion.conditioning import ConditionMaps, modulate
from eofuse.models.fusion.per_modality import PerModality


class Film(PerModality):
    """Scales and shifts each channel after each stage of a raster's encoder by what vectors and categories tell.

    Feature-wise linear modulation (Perez et al. 2018, arXiv:1709.07871). Series are modulated at their vector, and condition nothing.
    Vectors and categories enter in this way only; what they condition is joined as in `Late`.

    Raises:
        UsageError: if there is no raster and no series, or nothing that conditions them, or an encoder can't be cut into stages.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        scalars = (Kind.VECTOR, Kind.CATEGORY)
        self.conditions = [modality.name for modality in modalities if modality.kind in scalars]
        self.conditioned = [modality.name for modality in modalities if modality.kind not in scalars]
        if not self.conditions or not self.conditioned:
            raise UsageError(
                "the strategy 'film' takes rasters or series, and vectors or categories that condition them",
                where="fusion.strategy",
                fix="name inputs of both sorts, or choose early, middle, late or decision",
            )
        widths = [self.widths[name] for name in self.conditions]
        self.films = nn.ModuleDict(
            {name: ConditionMaps(widths, _layers(self.encoders[name])) for name in self.conditioned}
        )
        told = len(self.order) if self.tokens is not None else 0
        self.joining = JoinVectors([self.widths[name] for name in self.conditioned], told)
        self.sizes = [FeatureSizes(self.joining.width, self.maps, self.strides)]

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together."""
        features = {name: self.encode_one(name, inputs, present) for name in self.conditions}
        told = [features[name].vector for name in self.conditions]
        for name in self.conditioned:
            encode = partial(self._encode, name, inputs[name], told)
            features[name] = self.encode_one(name, inputs, present, encode)
        vectors = [features[name].vector for name in self.conditioned]
        if self.tokens is not None:
            vectors.append(presence(present, self.order, vectors[0]))
        return [Features(self.joining(vectors), self.join_maps(features), self.strides)]

    def _encode(self, name: str, values: Tensor, told: Sequence[Tensor], rows: Rows) -> Features:
        """Features of some patches, conditioned by what the vectors (B, D) tell."""
        encoder, film = self.encoders[name], self.films[name]
        assert isinstance(film, ConditionMaps)
        modulation = film.modulation([vector[rows] for vector in told])
        if not isinstance(encoder, RasterEncoder):
            return Features(modulate(encoder(values[rows]).vector, *modulation[0]))
        x, maps = prepare_rasters(values[rows], encoder.pad_to), []
        for stage, change in zip(encoder.stages, modulation, strict=True):
            x = modulate(stage(x), *change)
            maps.append(x)
        return Features(x.mean((2, 3)), maps, list(encoder.sizes.strides))


def _layers(encoder: nn.Module) -> list[int]:
    """Widths of what is modulated in an encoder."""
    if isinstance(encoder, RasterEncoder):
        assert len(encoder.stages) == len(encoder.sizes.maps)
        return encoder.sizes.maps
    assert isinstance(encoder, SeriesEncoder)
    return [encoder.sizes.vector]
