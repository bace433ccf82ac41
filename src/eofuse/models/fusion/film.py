"""`Film`: numbers and categories condition, layer by layer, the encoders of what has pixels or time."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality
from eofuse.models.encoders import Encoder, RasterEncoder, prepare_rasters
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion.base import FUSIONS, ConditionMaps, FusionOptions, JoinVectors, modulate
from eofuse.models.fusion.missing import Present, Rows, encode_rows, presence
from eofuse.models.fusion.per_modality import PerModality


@FUSIONS.register("film")
class Film(PerModality):
    """Scales and shifts each channel after each stage of a raster's encoder by vectors and categories.

    Feature-wise linear modulation (Perez et al. 2018, arXiv:1709.07871). Series are modulated at their vector, and condition nothing.
    Vectors and categories enter in this way only; what they condition is joined as in `Late`.

    Raises:
        UsageError: if there is no raster and no series, or nothing that conditions them, or an encoder can't be cut into stages.
    """

    def __init__(self, modalities: Sequence[Modality], options: FusionOptions, pixels: bool = False) -> None:
        super().__init__(modalities, options, pixels)
        kinds = {modality.name: modality.kind for modality in modalities}
        scalars = {Kind.VECTOR, Kind.CATEGORY}
        self.conditions = [name for name in self.order if {kinds[each] for each in self.members[name]} <= scalars]
        self.conditioned = [name for name in self.order if name not in self.conditions]
        if not self.conditions or not self.conditioned:
            what = "the strategy 'film' takes rasters or series, and vectors or categories that condition them"
            fix = "name inputs of both sorts, or choose another strategy"
            raise UsageError(what, where="fusion.strategy", fix=fix)
        widths = [self.widths[name] for name in self.conditions]
        self.films = nn.ModuleDict(
            {name: ConditionMaps(widths, _layers(self.encoders[name])) for name in self.conditioned}
        )
        self.joining = JoinVectors([self.widths[name] for name in self.conditioned], len(self.flags))
        self.sizes = [FeatureSizes(self.joining.width, self.maps, self.strides)]

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of all modalities together."""
        features = {name: self.encode_one(name, inputs, present) for name in self.conditions}
        conditions = [features[name].vector for name in self.conditions]
        for name in self.conditioned:
            encode = partial(self._encode, name, inputs, present if self.flags else None, conditions)
            features[name] = self.encode_one(name, inputs, present, encode)
        vectors = [features[name].vector for name in self.conditioned]
        if self.flags:
            vectors.append(presence(present, self.flags, vectors[0]))
        return [Features(self.joining(vectors), self.join_maps(features), self.strides)]

    def _encode(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        present: Present | None,
        conditions: Sequence[Tensor],
        rows: Rows,
    ) -> Features:
        """Features of some patches, conditioned by the vectors (B, D)."""
        encoder, film = self.encoders[name], self.films[name]
        assert isinstance(film, ConditionMaps)
        assert isinstance(encoder, Encoder)
        modulation = film.modulation([vector[rows] for vector in conditions])
        if not isinstance(encoder, RasterEncoder):
            encoded = encode_rows(encoder, inputs, present, rows)
            vector, *maps = (
                modulate(values, *change)
                for values, change in zip([encoded.vector, *encoded.maps], modulation, strict=True)
            )
            return Features(vector, maps, encoded.strides)
        x, maps = prepare_rasters(inputs[name][rows], encoder.pad_to), []
        for stage, change in zip(encoder.stages, modulation, strict=True):
            x = modulate(stage(x), *change)
            maps.append(x)
        return Features(x.mean((2, 3)), maps, list(encoder.sizes.strides))


def _layers(encoder: nn.Module) -> list[int]:
    """Widths of what is modulated in an encoder: its stages, or where it can't be cut, its features."""
    assert isinstance(encoder, Encoder)
    if isinstance(encoder, RasterEncoder):
        assert len(encoder.stages) == len(encoder.sizes.maps)
        return encoder.sizes.maps
    return [encoder.sizes.vector, *encoder.sizes.maps]
