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


def sensor_channels(deviations: Mapping[str, float], kind: Kind | None = None) -> tuple[InputChannel, ...]:
    """The channels of the sensors, in the order of their groups.

    Args:
        deviations: of the pretraining, by channel.
        kind: as in `InputChannel`.
    """
    return tuple(
        InputChannel(name, "dB", group, (), deviations[name], kind)
        if group == "S1"
        else InputChannel(name, "reflectance × 10,000", group, (f"{name[0]}0{name[1:]}",), deviations[name], kind)
        for group, names in SENSORS.items()
        for name in names
    )
