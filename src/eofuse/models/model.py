"""`Model`: normalise, fuse, decide; `ModelSpec`: all that is needed to build one; `build_model`: builds it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from eofuse.config import parse_options
from eofuse.devices import on_cpu
from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality, is_context
from eofuse.models.encoders import context_of
from eofuse.models.features import Features
from eofuse.models.fusion import FUSIONS, Fusion, FusionOptions, Present, build_fusion
from eofuse.models.heads import Head, HeadSpec, build_head
from eofuse.models.normalisation import ChannelStatistics, Normaliser, hide_absent
from eofuse.models.parts import Part, tensors_of


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model, without its weights.

    Attributes:
        modalities: the inputs, with only the channels that are used.
        fusion: how they are fused.
        heads: by target name.
        statistics: by which the inputs are normalised, in physical units.
        patch_size: height and width of the rasters for which it is meant.
        empty_bands: whether a band without any value makes its modality `absent` in that patch; else it counts as its mean (`keep`).
    """

    modalities: tuple[Modality, ...]
    fusion: FusionOptions
    heads: dict[str, HeadSpec]
    statistics: ChannelStatistics
    patch_size: tuple[int, int]
    empty_bands: Literal["keep", "absent"] = "keep"

    @property
    def piecewise(self) -> bool:
        """Whether numbers are encoded in pieces."""
        return self.fusion.numbers == "piecewise" and FUSIONS[self.fusion.strategy].takes_pieces(self.modalities)

    @property
    def context(self) -> tuple[str, ...]:
        """What its encoders take beside modalities, some of `eofuse.modalities.CONTEXT`."""
        return context_of(self.modalities, self.fusion)

    def calibrated(self, changes: Mapping[str, Mapping[str, Any]]) -> "ModelSpec":
        """The same with temperatures or margins of heads, by target name; what is not named goes back to none."""
        heads = {
            name: replace(head, **{"temperature": 1.0, "margin": (), **changes.get(name, {})})
            for name, head in self.heads.items()
        }
        return replace(self, heads=heads)

    @property
    def calibration(self) -> dict[str, dict[str, Any]]:
        """Temperatures and margins of the heads by target name, as `calibrated` takes them."""
        return {name: {"temperature": head.temperature, "margin": head.margin} for name, head in self.heads.items()}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, the inverse of `from_dict`."""
        return {
            "modalities": [modality.to_dict() for modality in self.modalities],
            "fusion": self.fusion.model_dump(),
            "heads": {name: head.to_dict() for name, head in self.heads.items()},
            "statistics": self.statistics.to_dict(),
            "patch_size": list(self.patch_size),
            "empty_bands": self.empty_bands,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelSpec":
        """Builds a specification from its JSON description.

        Raises:
            UsageError: if the fusion options are not valid.
        """
        height, width = values["patch_size"]
        return cls(
            modalities=tuple(Modality.from_dict(modality) for modality in values["modalities"]),
            fusion=parse_options(FusionOptions, values["fusion"], "fusion"),
            heads={name: HeadSpec.from_dict(head) for name, head in values["heads"].items()},
            statistics=ChannelStatistics.from_dict(values["statistics"]),
            patch_size=(int(height), int(width)),
            empty_bands=values.get("empty_bands", "keep"),
        )


class Model(nn.Module):
    """Takes batches as the sensors gave them and predicts each target; build it with `build_model`.

    Args:
        spec: what it takes and what it predicts.

    Attributes:
        history: what it has learned from, as text (see `eofuse.learning.lineage`); empty where that is not recorded.
        autocast_on: type of the device, such as `cuda`, on which it is evaluated in bfloat16; empty for float32. Not saved.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.history = ""
        self.autocast_on = ""
        self.normaliser = Normaliser(spec.modalities, spec.statistics, spec.piecewise)
        pixels = any(head.kind.needs_maps for head in spec.heads.values())
        self.fusion: Fusion = build_fusion(self.normaliser.gives, spec.fusion, pixels)
        self._inform_encoders()
        self.heads = nn.ModuleList(
            build_head(head, self.fusion.sizes, spec.fusion.dropout) for head in spec.heads.values()
        )

    def forward(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> dict[str, Any]:
        """Raw output by target name, of a batch in native dtype as `Normaliser.forward` takes it; see `Head.forward`.

        Args:
            inputs: by modality name, and what encoders take of `eofuse.modalities.CONTEXT`.
            present: by modality name, the patches that have it, (B,) bool; None where all have all.
        """
        features, size = self.features(inputs, present), self.size(inputs)
        return {name: head(features, size) for name, head in zip(self.spec.heads, self.heads, strict=True)}

    def features(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> list[Features]:
        """Features of a batch in native dtype: one set, but with decision fusion one a modality.

        A modality that a patch lacks counts as its mean (zeros, normalised), or with `missing: token` as a learned value; encoders
        that hide by themselves what is missing (`Encoder.takes_gaps`) hide it.
        """
        if present is not None and all(bool(on_cpu(present[each.name]).all()) for each in self.spec.modalities):
            present = None
        features: list[Features] = self.fusion(self.normalised(inputs, present), present)
        return features

    def normalised(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> dict[str, Tensor]:
        """What the fusion takes of a batch in native dtype; see `Fusion.forward`."""
        normalised: dict[str, Tensor] = self.normaliser(inputs)
        if present is not None:
            normalised = hide_absent(normalised, present, self.normaliser.physical)
        return normalised | {name: values for name, values in inputs.items() if is_context(name)}

    def size(self, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        """Height and width of the patches of a batch in pixels; of those for which the model is meant where it sees no raster."""
        for modality in self.spec.modalities:
            if modality.has_pixels:
                height, width = inputs[modality.name].shape[-2:]
                return int(height) * modality.cell, int(width) * modality.cell
        return self.spec.patch_size

    def head(self, name: str) -> Head:
        """The head of a target."""
        head = self.heads[list(self.spec.heads).index(name)]
        assert isinstance(head, Head)
        return head

    def predict(self, inputs: Mapping[str, Tensor], present: Present | None = None) -> dict[str, Tensor]:
        """Predictions by target name, computed in evaluation mode and without gradients; see `Head.predict`."""
        with self.evaluating():
            outputs = self(inputs, present)
        return self.predictions(outputs, present)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, without gradients, in the precision of `autocast_on`; the modes of the modules are then as they were."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad(), self.precision():
                yield
        finally:
            for module in training:
                module.training = True

    def precision(self) -> AbstractContextManager[Any]:
        """The precision of evaluations, see `autocast_on`."""
        return torch.autocast(self.autocast_on, torch.bfloat16) if self.autocast_on else nullcontext()

    def predictions(self, outputs: Mapping[str, Any], present: Present | None = None) -> dict[str, Tensor]:
        """Predictions by target name of what `forward` gave; see `Head.predict`."""
        counted = self.fusion.counted(present)
        return {name: self.head(name).predict(output, counted) for name, output in outputs.items()}

    def normalise_by(self, statistics: ChannelStatistics) -> None:
        """Takes other statistics, such as those with which weights were trained."""
        self.spec = replace(self.spec, statistics=statistics)
        self.normaliser = Normaliser(self.spec.modalities, statistics, self.spec.piecewise)
        self._inform_encoders()

    def _inform_encoders(self) -> None:
        encoders = self.fusion.encoders_inside().values()
        for encoder in encoders:
            encoder.use_statistics(self.spec.statistics)
        self.normaliser.physical = frozenset(name for each in encoders if each.takes_gaps for name in each.names)

    def parts(self) -> list[Part]:
        """Its parts, in the order in which values pass them; the normalisation is none."""
        parts = [
            replace(part, tensors={name: f"fusion.{tensor}" for name, tensor in part.tensors.items()})
            for part in self.fusion.parts()
        ]
        for index, (name, spec) in enumerate(self.spec.heads.items()):
            identity = (replace(spec, temperature=1.0, margin=()), self.fusion.identity)
            tensors = tensors_of(self.heads[index], f"heads.{index}")
            parts.append(Part(f"head of {name}", f"head of {name}", tensors, identity=identity))
        return parts

    def distances(self) -> dict[str, int]:
        """How many layers lie between each tensor of the fusion and the heads, counting its own: 1 for the last.

        A layer is a stage of a convolutional network, or a block of a transformer; what joins modalities counts as a last one.
        """
        found: dict[str, int] = {}
        for part in self.parts():
            depth = max(part.layers.values(), default=0) + 1
            for name, tensor in part.tensors.items():
                if tensor.startswith("fusion."):
                    found[tensor] = depth - part.layers.get(name, 0)
        return found

    def calibrate(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes temperature or margin of heads, by target name; see `ModelSpec.calibrated`."""
        self.spec = self.spec.calibrated(changes)
        for name, head in self.spec.heads.items():
            self.head(name).spec = head


def build_model(spec: ModelSpec, seed: int | None = None) -> Model:
    """Builds an untrained model.

    Args:
        spec: what it takes and what it predicts.
        seed: fixes the initial weights and leaves the caller's random state as it was; without it they are drawn from
            that state.

    Raises:
        UsageError: if the inputs, fusion, encoder or statistics don't fit each other.
    """
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        model = Model(spec)
    _check_patch_size(model)
    return model


def count_parameters(model: nn.Module) -> int:
    """Number of values that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _check_patch_size(model: Model) -> None:
    """Raises a `UsageError` if the encoder can't take patches of the size in the specification."""
    try:
        model.predict(example_inputs(model.spec.modalities, model.spec.patch_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        height, width = model.spec.patch_size
        raise UsageError(
            f"the encoder '{model.spec.fusion.encoder}' can't take patches of {height}×{width} pixels ({error})",
            where="fusion.encoder",
            fix="choose another encoder",
        ) from error


def example_inputs(
    modalities: Sequence[Modality], patch_size: tuple[int, int], batch_size: int = 1
) -> dict[str, Tensor]:
    """A batch of zeros in native dtype; image series have two dates, the days 0 and 1, or one."""
    inputs = {}
    for modality in modalities:
        shape = modality.shape(patch_size)
        if modality.kind is Kind.IMAGE_SERIES:
            shape = (min(shape[0], 2), *shape[1:])
            inputs[modality.times_key] = torch.arange(shape[0], dtype=torch.float32).expand(batch_size, -1)
        inputs[modality.name] = torch.zeros((batch_size, *shape), dtype=getattr(torch, modality.dtype))
    return inputs
