"""Versions and machine of a run, so that a reader can tell why numbers differ."""

import os
import platform
import sys
from functools import cache
from importlib.metadata import distributions, version

from eofuse import __version__

PACKAGES = ("torch", "timm", "lightning-fabric", "numpy", "scikit-learn", "rasterio")


def describe_environment(device: str = "auto") -> dict[str, str]:
    """Versions of eofuse, Python, the packages that matter to numbers and those that add to eofuse, and the machine's kind.

    Args:
        device: of the run, as its recipe names it.
    """
    return {
        "eofuse": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        **_plugins(tuple(sys.path)),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": _describe_device(device),
    }


def _describe_device(name: str) -> str:
    import torch

    kind, _, number = name.partition(":")
    if kind in ("auto", "cuda") and torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count():
        return torch.cuda.get_device_name(int(number or 0))
    return "MPS" if kind == "mps" else "CPU"


@cache
def _plugins(path: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages on this path that add something by an entry point."""
    packages = distributions(path=list(path))
    added = [each for each in packages if any(entry.group.startswith("eofuse.") for entry in each.entry_points)]
    return {package.name: package.version for package in added}
