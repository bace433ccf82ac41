"""From the values of a raster modality to pixels that a person can read: colours, stretch, legend.

What a modality looks like follows from its channels' names and units: red, green and blue bands give true colour, VV
and VH a radar composite, one channel in metres a shaded relief, codes their legend's colours, anything else a robust
stretch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from scipy.ndimage import gaussian_filter

from eofuse.modalities import Modality

Pixels = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

TRUE_COLOUR = ("B04", "B03", "B02")
FALSE_COLOUR = ("B08", "B04", "B03")
REFLECTANCE_TOP = 0.3
MOST_REFLECTANCE = 2.0
"""Values beyond are no reflectance, whatever they are called."""

PICTURE_BANDS = (3, 4)
"""Numbers of bands of a picture: red, green, blue, and near infrared or transparency."""

GAMMA = 1 / 1.7
DARKEST_MEAN = 0.31
RADAR_LIMITS = ((-25.0, 0.0), (-30.0, -5.0), (0.0, 15.0))
RELIEF_COLOURS = "gist_earth"
RELIEF_PART = (0.25, 0.9)
"""The darkest and whitest ends of the colour map are left out."""

PIXEL_M = 10.0
NO_DATA = 225


@dataclass(frozen=True)
class Ramp:
    """A colour scale.

    `low` and `high` are physical values; `colours` names a Matplotlib colour map, of which `part` is used.
    """

    low: float
    high: float
    unit: str
    colours: str
    part: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Panel:
    """One picture of a modality.

    Attributes:
        title: what is shown.
        pixels: (H, W, 3) bytes; None where the patch lacks the modality.
        caption: how values became colours.
        legend: colour and name of each class that occurs, most frequent first.
        ramp: the colour scale of a continuous map.
        frames: dates that the picture shows, more than one of an image series (see `eofuse.reports.figures.film`).
    """

    title: str
    pixels: Pixels | None
    caption: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    ramp: Ramp | None = None
    frames: int = 1


def raster_panels(modality: Modality, values: np.ndarray | None) -> list[Panel]:
    """Pictures of one raster modality of one patch.

    `values` are (C, H, W) in the stored dtype; None where the patch lacks the modality.
    """
    title = modality.title or modality.name
    if modality.is_categorical:
        return [Panel(title, None) if values is None else _categories(modality, values[0], title)]
    if has_channels(modality, TRUE_COLOUR):
        composites = [(f"{title} true colour", TRUE_COLOUR)]
        if has_channels(modality, FALSE_COLOUR):
            composites.append((f"{title} near infrared", FALSE_COLOUR))
        return [
            Panel(name, None) if values is None else _reflectance(modality, values, name, bands)
            for name, bands in composites
        ]
    if values is None:
        return [Panel(title, None)]
    if has_channels(modality, ("VV", "VH")):
        return [_radar(modality, values, title)]
    if len(modality.channels) == 1 and modality.channels[0].unit == "m":
        return [_relief(modality, values[0], title)]
    return [_stretched(modality, values, title, range(3 if len(modality.channels) >= 3 else 1))]


def has_channels(modality: Modality, names: tuple[str, ...]) -> bool:
    """Whether a modality has channels of these names or aliases."""
    known = {spelling for channel in modality.channels for spelling in (channel.name, *channel.aliases)}
    return all(name in known for name in names)


def _physical(modality: Modality, values: np.ndarray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Values in physical units, and where all channels hold data."""
    physical = values.astype(np.float64) * modality.scale + modality.offset
    valid = np.asarray(np.isfinite(physical).all(axis=0))
    if modality.nodata is not None:
        valid &= ~np.asarray((values == modality.nodata).all(axis=0))
    return physical, valid


def _paint(unit_values: FloatArray, valid: npt.NDArray[np.bool_]) -> Pixels:
    """(3, H, W) between 0 and 1 as bytes, light grey where there are no data."""
    pixels = np.round(255 * np.clip(np.nan_to_num(unit_values), 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    pixels[~valid] = NO_DATA
    return pixels


def _reflectance(modality: Modality, values: np.ndarray, title: str, bands: tuple[str, ...]) -> Panel:
    """A composite of reflectances with gamma: 0 to 0.3 as a rule, more for bright patches, less for dark ones."""
    chosen = [modality.channel_index(band) for band in bands]
    physical, valid = _physical(modality, values[chosen])
    shown = physical[:, valid]
    if shown.size and np.percentile(shown, 98) > MOST_REFLECTANCE:
        return _stretched(modality, values, title, chosen)
    top = REFLECTANCE_TOP
    if shown.size:
        top = max(top, float(np.percentile(shown, 98)))
        mean = float(np.mean(np.clip(shown / top, 0, 1) ** GAMMA))
        if mean < DARKEST_MEAN:  # a smaller range lifts the mean, but must not clip what is bright in a dark patch
            top = max(top * (mean / DARKEST_MEAN) ** (1 / GAMMA), float(np.percentile(shown, 99)), 0.05)
            top = min(top, REFLECTANCE_TOP)
    caption = f"{', '.join(bands)}; reflectance 0 to {top:.2f}"
    return Panel(title, _paint(np.clip(physical / top, 0, None) ** GAMMA, valid), caption)


def _radar(modality: Modality, values: np.ndarray, title: str) -> Panel:
    """VV, VH and VV − VH in decibels as red, green and blue."""
    physical, valid = _physical(modality, values[[modality.channel_index("VV"), modality.channel_index("VH")]])
    layers = np.stack([physical[0], physical[1], physical[0] - physical[1]])
    scaled = np.stack([(layer - low) / (high - low) for layer, (low, high) in zip(layers, RADAR_LIMITS, strict=True)])
    ranges = [f"{low:g} to {high:g}".replace("-", "−") for low, high in RADAR_LIMITS]
    caption = f"dB: VV {ranges[0]} (red), VH {ranges[1]} (green), VV−VH {ranges[2]} (blue)"
    return Panel(title, _paint(scaled, valid), caption)


def _relief(modality: Modality, values: np.ndarray, title: str) -> Panel:
    """Height as colour, lit from the north-west; the range is at least 20 units, so that a flat patch looks flat."""
    physical, valid = _physical(modality, values[None])
    height = physical[0]
    if not valid.any():
        return Panel(title, _paint(np.zeros((3, *height.shape)), valid), "no data")
    low, high = float(height[valid].min()), float(height[valid].max())
    middle, half = (low + high) / 2, max((high - low) / 2, 10.0)
    filled = np.where(valid, height, middle)
    ramp = Ramp(middle - half, middle + half, modality.channels[0].unit, RELIEF_COLOURS, RELIEF_PART)
    lit = paint(filled, ramp) * _light(filled, half)[..., None]
    caption = f"{low:.0f} to {high:.0f} {modality.channels[0].unit}, lit from the north-west".replace("-", "−", 1)
    return Panel(title, _paint(lit.transpose(2, 0, 1), valid), caption, ramp=ramp)


def _light(height: FloatArray, half_range: float) -> FloatArray:
    """Factor of brightness (H, W) on slopes lit from the north-west, 1 on flat ground.

    Heights are whole metres, so they are smoothed first: else every metre would show as a step.
    """
    if min(height.shape) < 2:
        return np.ones(height.shape)
    smooth = gaussian_filter(height, sigma=2.5, mode="nearest")
    down, right = np.gradient(smooth * np.clip(80.0 / half_range, 0.5, 3.0))
    steepness = np.sqrt(1 + (down / PIXEL_M) ** 2 + (right / PIXEL_M) ** 2)
    towards_light = (0.5 * right / PIXEL_M + 0.5 * down / PIXEL_M + np.sqrt(0.5)) / steepness
    return np.asarray(np.clip(1 + 1.6 * (towards_light - np.sqrt(0.5)), 0.5, 1.2))


def ramp_colours(ramp: Ramp, steps: int = 9) -> list[tuple[float, float, float]]:
    """Colours of a scale from its low to its high end, as red, green and blue between 0 and 1."""
    colours = paint(np.linspace(ramp.low, ramp.high, steps), ramp)
    return [(float(red), float(green), float(blue)) for red, green, blue in colours]


def paint(values: FloatArray, ramp: Ramp) -> FloatArray:
    """Values of any shape as red, green and blue between 0 and 1 on a last axis; what is beyond an end has its colour."""
    start, stop = ramp.part
    position = np.clip((values - ramp.low) / (ramp.high - ramp.low), 0, 1)
    return np.asarray(mpl.colormaps[ramp.colours](start + (stop - start) * position)[..., :3], dtype=np.float64)


def _categories(modality: Modality, codes: np.ndarray, title: str) -> Panel:
    pixels = np.full((*codes.shape, 3), NO_DATA, dtype=np.uint8)
    occurring = []
    for category in modality.categories:
        where = codes == category.code
        if where.any():
            pixels[where] = np.round(255 * np.array(to_rgb(category.colour))).astype(np.uint8)
            percent = 100 * where.mean()
            occurring.append((percent, category.colour, category.name.replace("_", " ")))
    occurring.sort(key=lambda entry: -entry[0])
    legend = tuple(
        (colour, f"{name} {percent:.0f} %" if percent >= 1 else f"{name} < 1 %") for percent, colour, name in occurring
    )
    return Panel(title, pixels, "", legend)


def _stretched(modality: Modality, values: np.ndarray, title: str, chosen: Sequence[int]) -> Panel:
    """One or three channels, each between its own 2nd and 98th percentile; pictures of bytes as they are."""
    physical, valid = _physical(modality, values[list(chosen)])
    names = ", ".join(modality.channel_names[channel] for channel in chosen)
    if values.dtype == np.uint8 and len(chosen) == 3 and len(modality.channels) in PICTURE_BANDS:
        return Panel(title, _paint(values[list(chosen)] / 255, valid), f"{names}; bytes as they are")
    layers = []
    for layer in physical:
        low, high = np.percentile(layer[valid], (2, 98)) if valid.any() else (0.0, 1.0)
        layers.append((layer - low) / max(float(high - low), 1e-12))
    pixels = _paint(np.stack(layers if len(chosen) == 3 else layers * 3), valid)
    return Panel(title, pixels, f"{names}; 2nd to 98th percentile")
