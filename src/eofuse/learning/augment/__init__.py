"""Augmentation of batches, on their device: `AugmentOptions`, and `make_augmentation`, which gives a function from batch to batch.

In this order: turns; crop, shift and size; radiometry; mixing; cut-out, dropped bands, dropped and moved dates, dropped modalities.
Every number that is drawn is drawn on the CPU, from one seed that comes from torch's generator, so an augmentation is the same on
every device.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from eofuse.config import Options
from eofuse.data.loading import Batch
from eofuse.errors import UsageError
from eofuse.kinds import TaskKind
from eofuse.learning.augment.dropping import cut_out, drop_bands, drop_dates, drop_modalities, shift_dates
from eofuse.learning.augment.geometry import Windows, crops, moves, resample_patches, turn_patches
from eofuse.learning.augment.mixing import cut_mix, mix_up
from eofuse.learning.augment.patches import Patches
from eofuse.learning.augment.radiometry import add_height_noise, add_speckle, change_reflectance
from eofuse.modalities import Kind, Modality

Preset = Literal["none", "light", "strong"]

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {"turns": True, "gain": 0.05, "speckle": 20.0},
    "strong": {
        "turns": True,
        "crop": 0.6,
        "shift": 0.1,
        "scale": 0.1,
        "gain": 0.2,
        "haze": 0.05,
        "speckle": 4.0,
        "height_noise": 2.0,
        "cut_out": 0.2,
        "drop_bands": 0.05,
        "drop_modalities": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
    },
}
"""What each preset sets; the rest is as by default."""


class AugmentOptions(Options):
    """What is done to training patches: the name of a preset, or single operations, which change the preset that is named among them.

    Attributes:
        preset: `none`; `light`: turns, mild gain and speckle; `strong`: everything, but mixing only where the targets permit it.
        turns: by right angles, and flips.
        crop: smallest share of the area that a crop leaves, before it is stretched to the whole; 1 for no crops.
        shift: largest shift, as a share of the sides.
        scale: largest change of size, as a share.
        resampled: share of the patches that are cropped, or shifted and changed in size (half of them each, if both are on).
        gain: largest change of reflectance, as a share.
        haze: largest share of haze in blue light.
        speckle: looks of the speckle that backscatter in decibels is multiplied by; null for none.
        height_noise: standard deviation in metres of the noise added to heights.
        cut_out: largest share of the area that is hidden.
        drop_bands: chance of each band to be missing.
        drop_modalities: chance of each modality to be missing.
        drop_dates: chance of each date of an image series to be missing; one stays.
        shift_dates: days by which all dates of the image series of a patch are moved at most, earlier or later.
        mixup: alpha of MixUp, 0 for none.
        cutmix: alpha of CutMix, 0 for none; with both, each batch gets one of them.
    """

    preset: Preset = "none"
    turns: bool = False
    crop: float = Field(default=1.0, gt=0, le=1)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    scale: float = Field(default=0.0, ge=0, le=0.5)
    resampled: float = Field(default=0.5, ge=0, le=1)
    gain: float = Field(default=0.0, ge=0, le=0.9)
    haze: float = Field(default=0.0, ge=0, le=0.5)
    speckle: float | None = Field(default=None, ge=1)
    height_noise: float = Field(default=0.0, ge=0)
    cut_out: float = Field(default=0.0, ge=0, lt=1)
    drop_bands: float = Field(default=0.0, ge=0, lt=1)
    drop_modalities: float = Field(default=0.0, ge=0, lt=1)
    drop_dates: float = Field(default=0.0, ge=0, lt=1)
    shift_dates: float = Field(default=0.0, ge=0, le=183)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"preset": value}
        if not isinstance(value, dict):
            return value
        return {**PRESETS.get(str(value.get("preset", "none")), {}), **value}

    @model_serializer(mode="wrap")
    def _without_what_is_not_chosen(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Recipes that leave dates as they are have the identity that they had before there were these options."""
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if value or key not in ("drop_dates", "shift_dates")}

    @property
    def mixes(self) -> bool:
        """Whether patches are mixed."""
        return self.mixup > 0 or self.cutmix > 0


def make_augmentation(
    options: AugmentOptions, modalities: Mapping[str, Modality], targets: Mapping[str, TaskKind]
) -> "Augmentation":
    """The augmentation of a run.

    Args:
        options: what is done.
        modalities: of the inputs, with only those channels that are read (as `Loader.modalities`).
        targets: the kind of each target. None at all, as without labels, leave nothing to be mixed.

    Raises:
        UsageError: if patches are to be mixed, and a target does not permit it.
    """
    preset = PRESETS[options.preset]
    if options.mixes and (not targets or any(kind.is_boxes for kind in targets.values())):
        if (options.mixup, options.cutmix) != (preset.get("mixup", 0.0), preset.get("cutmix", 0.0)):
            found = "boxes of two patches can't be mixed" if targets else "without targets there is nothing to be mixed"
            raise UsageError(found, where="augment", fix="leave out mixup and cutmix")
        options = options.model_copy(update={"mixup": 0.0, "cutmix": 0.0})
    if options.cutmix and any(modality.kind is Kind.IMAGE_SERIES for modality in modalities.values()):
        if options.cutmix != preset.get("cutmix", 0.0):
            found = "a part of a series of images can't be pasted into another, whose dates are other days"
            raise UsageError(found, where="augment.cutmix", fix="leave it out, or use mixup")
        options = options.model_copy(update={"cutmix": 0.0})
    return Augmentation(options, modalities, targets)


class Augmentation:
    """A function from batch to batch; see `make_augmentation`."""

    def __init__(
        self, options: AugmentOptions, modalities: Mapping[str, Modality], targets: Mapping[str, TaskKind]
    ) -> None:
        self.options = options
        self.modalities = dict(modalities)
        self.targets = dict(targets)

    def __call__(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Augments a batch, whose own tensors stay as they are.

        Args:
            batch: the batch, in native dtype.
            generator: of the randomness, torch's global one by default.

        Returns:
            Rasters whose values changed as float32 in stored units with NaN for what is missing, everything else in native dtype;
            a `MixedBatch` if patches were mixed. On the batch's device.
        """
        o = self.options
        draw = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        patches = Patches(batch, self.modalities, self.targets)
        if o.turns:
            turn_patches(patches, draw, self._changing())
        if (o.crop < 1 or o.shift or o.scale) and patches.size:
            resample_patches(patches, o.resampled, self._windows(len(batch), patches.size, draw), draw)
        if o.gain or o.haze:
            change_reflectance(patches, o.gain, o.haze, draw)
        if o.speckle is not None:
            add_speckle(patches, o.speckle, draw)
        if o.height_noise:
            add_height_noise(patches, o.height_noise, draw)
        if o.mixes:
            mixes_up = draw.random() < (0.5 if o.mixup and o.cutmix else float(o.mixup > 0))
            mix, alpha = (mix_up, o.mixup) if mixes_up else (cut_mix, o.cutmix)
            mix(patches, alpha, draw)
        if o.cut_out:
            cut_out(patches, o.cut_out, draw)
        if o.drop_bands:
            drop_bands(patches, o.drop_bands, draw)
        if o.drop_dates:
            drop_dates(patches, o.drop_dates, draw)
        if o.shift_dates:
            shift_dates(patches, o.shift_dates, draw)
        if o.drop_modalities:
            drop_modalities(patches, o.drop_modalities, draw)
        return patches.result()

    def _changing(self) -> list[str]:
        """Rasters whose values, and not only places, change."""
        o = self.options
        everything = o.crop < 1 or o.shift or o.scale or o.mixup
        units = {unit for unit, change in (("reflectance", o.gain or o.haze), ("m", o.height_noise)) if change}
        return [
            name
            for name, modality in self.modalities.items()
            if not modality.is_categorical and (everything or units & {channel.unit for channel in modality.channels})
        ]

    def _windows(self, count: int, size: tuple[int, int], draw: np.random.Generator) -> Windows:
        """A crop, or a shift and change of size, for each patch."""
        o = self.options
        cropped = crops(count, size, o.crop, draw)
        if not (o.shift or o.scale):
            return cropped
        moved = moves(count, size, o.shift, o.scale, draw)
        if o.crop == 1:
            return moved
        crop = draw.random(count) < 0.5
        sides = ("left", "top", "width", "height")
        return Windows(*(np.where(crop, getattr(cropped, side), getattr(moved, side)) for side in sides))
