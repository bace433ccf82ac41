"""Which files are maps of classes, and the codes that they hold, for `init`."""

import os
from collections.abc import Sequence

import numpy as np

from eofuse.data.reading.formats import open_file
from eofuse.data.reading.rasters import RasterFile
from eofuse.data.specs.columns import words_of
from eofuse.data.specs.folders import MASK_FOLDERS
from eofuse.errors import DataError
from eofuse.modalities import class_colour

MOST_CODES = 64
"""Different values above which numbers are no codes."""

MOST_PIXELS = 2**24
"""Pixels of a file that is looked at."""


def codes_of(pattern: str, files: Sequence[RasterFile]) -> dict[int, str] | None:
    """Codes that files hold → colours, if they are maps of classes: by the words of their paths, or by one palette of few colours.

    Call it within `reading_environment()`.

    Args:
        pattern: of their paths.
        files: some of them.

    Returns:
        None if they hold fractions, several bands or more different values than maps of classes have.
    """
    if any(len(file.bands) != 1 or np.dtype(file.dtype).kind not in "iu" for file in files):
        return None
    named = bool(words_of(os.path.splitext(pattern)[0]) & MASK_FOLDERS)  # noqa: PTH122 (no path)
    if not named and not all(file.has_palette for file in files):
        return None
    codes: set[int] = set()
    palettes: set[tuple[tuple[int, str], ...]] = set()
    for file in files:
        if file.grid.width * file.grid.height > MOST_PIXELS:
            continue
        try:
            with open_file(file.path, file.part, file.path) as dataset:
                found = np.unique(dataset.read(file.bands[0].number))
                colours = dataset.colormap(1) if file.has_palette else {}
        except (DataError, OSError):
            continue
        codes |= set(found.tolist())
        palettes.add(tuple((code, "#{:02x}{:02x}{:02x}".format(*colour)) for code, colour in sorted(colours.items())))
        if len(codes) > MOST_CODES or min(codes, default=0) < 0 or (not named and len(palettes) > 1):
            return None
    colour_of = dict(next(iter(palettes))) if len(palettes) == 1 else {}
    nodata = {file.nodata for file in files}
    kept = sorted(code for code in codes if code not in nodata)
    return {code: colour_of.get(code, class_colour(number)) for number, code in enumerate(kept)} or None
