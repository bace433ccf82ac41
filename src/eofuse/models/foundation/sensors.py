"""The groups in which Galileo and Presto take the channels of Sentinel-1 and Sentinel-2, and those channels."""

from collections.abc import Mapping

from eofuse.modalities import Kind
from eofuse.models.foundation.base import InputChannel

SENSORS = {
    "S1": ("VV", "VH"),
    "S2_RGB": ("B2", "B3", "B4"),
    "S2_Red_Edge": ("B5", "B6", "B7"),
    "S2_NIR_10m": ("B8",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
}
"""Group → its channels."""


def sensor_channels(
    pretraining: Mapping[str, tuple[float | None, float]], kind: Kind | None = None
) -> tuple[InputChannel, ...]:
    """The channels of the sensors, in the order of their groups.

    Args:
        pretraining: mean and deviation of each channel; None for a mean that is not known.
        kind: as in `InputChannel`.
    """
    found = []
    for group, names in SENSORS.items():
        for name in names:
            is_radar = group == "S1"
            unit, aliases = ("dB", ()) if is_radar else ("reflectance × 10,000", (f"{name[0]}0{name[1:]}",))
            mean, deviation = pretraining[name]
            found.append(InputChannel(name, unit, group, aliases, deviation, kind, mean))
    return tuple(found)
