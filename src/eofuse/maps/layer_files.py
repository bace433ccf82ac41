"""The files of a layer that is given as a pattern, such as `--layer s2='S2/*.tif'`."""

import glob
import re
from pathlib import Path

from eofuse.errors import UsageError
from eofuse.modalities import Modality


def layer_files(pattern: str, modality: Modality) -> list[Path]:
    """The file of a pattern, or its files in the order of the channels.

    Raises:
        UsageError: if there is none, or it is not plain which is of which channel.
    """
    names = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))  # noqa: PTH207 (it may be absolute)
    found = [Path(name) for name in names]
    where = f"--layer {modality.name}={pattern}"
    if not found:
        raise UsageError("no file is like this", where=where, fix="correct the path")
    if len(found) == 1 or modality.is_categorical:
        if len(found) > 1:
            raise UsageError(f"{len(found)} files are like this", where=where, fix="name one file")
        return found
    paths = []
    for channel in modality.channels:
        words = "|".join(re.escape(name) for name in (channel.name, *channel.aliases))
        token = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])")
        own = [path for path in found if token.search(path.stem)]
        if len(own) != 1:
            fix = "name the files so that each holds the name of one band, or write a spec: see docs/maps.md"
            raise UsageError(
                f"{len(own)} of {len(found)} files are named after band {channel.name}", where=where, fix=fix
            )
        paths += own
    return paths
