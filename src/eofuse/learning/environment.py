"""Versions and machine of a run, so that a reader can tell why numbers differ."""

import os
import platform
from importlib.metadata import version

from eofuse import __version__

PACKAGES = ("torch", "timm", "lightning-fabric", "numpy", "scikit-learn", "rasterio")


def describe_environment() -> dict[str, str]:
    """Versions of eofuse, Python and the packages that matter to numbers, and the machine's kind."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "eofuse": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": device,
    }
