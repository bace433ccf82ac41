"""Which axis of an array is which: samples, dates, channels, rows and columns of pixels."""

from collections.abc import Sequence

from eofuse.errors import DataError

ROW, TIME, CHANNEL, Y, X = AXES = ("row", "time", "channel", "y", "x")
"""What an axis may be: of samples, dates, channels, or rows and columns of pixels."""

NAMES = {
    ROW: {"row", "rows", "patch", "patch_id", "sample", "samples", "chip", "id", "index", "batch", "n", "event"},
    TIME: {"time", "times", "t", "date", "dates", "step", "timestep", "month"},
    CHANNEL: {
        "channel",
        "channels",
        "band",
        "bands",
        "c",
        "variable",
        "wavelength",
        "wavelengths",
        "feature",
        "features",
    },
    Y: {"y", "lat", "latitude", "northing", "height", "yc", "nj"},
    X: {"x", "lon", "long", "longitude", "easting", "width", "xc", "ni"},
}
"""What an axis is → names that say so, in small letters."""


def pixel_axes(
    shape: Sequence[int], names: Sequence[str], *, by_row: bool, dated: bool, given: Sequence[str], where: str
) -> tuple[str, ...]:
    """What each axis of an array with pixels is: as given, else by its name, else by the number and the sizes of the axes.

    Without names, rows and columns come last, channels before them, or after them where that axis is shorter than the two; dates
    come before all of these and samples first.

    Args:
        shape: of the array.
        names: of its axes, "" where they have none.
        by_row: whether an axis is that of samples.
        dated: whether an axis is that of dates.
        given: what the spec says.
        where: for messages.

    Raises:
        DataError: if that does not make an array of pixels.
    """
    found = _start(shape, names, by_row, given, where)
    left = [number for number, axis in enumerate(found) if not axis]
    if dated and TIME not in found and len(left) in (3, 4):
        found[left.pop(0)] = TIME
    if {X, Y} & set(found):
        wanted = [axis for axis in (Y, X) if axis not in found]
        if len(left) == len(wanted) + 1 and CHANNEL not in found:
            wanted.insert(0, TIME if dated and TIME not in found else CHANNEL)
    elif len(left) == 3:
        sizes = [shape[number] for number in left]
        wanted = [Y, X, CHANNEL] if sizes[2] < min(sizes[:2]) else [CHANNEL, Y, X]
    else:
        wanted = [Y, X]
    if len(wanted) == len(left):
        for number, axis in zip(left, wanted, strict=True):
            found[number] = axis
    if not {X, Y} <= set(found) or "" in found:
        raise _unclear(shape, names, where)
    if TIME in found and not dated and shape[found.index(TIME)] != 1:
        what = f"holds images of {shape[found.index(TIME)]} dates"
        raise DataError(
            what,
            where=where,
            fix="make it a series of images (kind: image_series, of scenes date: all), or choose one date",
        )
    return tuple(found)


def number_axes(
    shape: Sequence[int], names: Sequence[str], *, by_row: bool, stepped: bool, given: Sequence[str], where: str
) -> tuple[str, ...]:
    """What each axis of an array without pixels is: as given, else by its name, else steps before channels.

    Args:
        shape: of the array.
        names: of its axes, "" where they have none.
        by_row: whether an axis is that of samples.
        stepped: whether an axis is that of the steps of a series.
        given: what the spec says.
        where: for messages.

    Raises:
        DataError: if that does not make numbers of channels, by step or not.
    """
    found = _start(shape, names, by_row, given, where)
    left = [number for number, axis in enumerate(found) if not axis]
    wanted = [axis for axis in ([TIME, CHANNEL] if stepped else [CHANNEL]) if axis not in found]
    for number, axis in zip(left, wanted, strict=False):
        found[number] = axis
    single = [axis for number, axis in enumerate(found) if shape[number] == 1]
    allowed = {ROW, CHANNEL, *single, *([TIME] if stepped else [])}
    if "" in found or not set(found) <= allowed or (stepped and TIME not in found):
        raise _unclear(shape, names, where)
    return tuple(found)


def _start(shape: Sequence[int], names: Sequence[str], by_row: bool, given: Sequence[str], where: str) -> list[str]:
    """What is given, or what the names say; the first axis that has none is that of samples, if there is one."""
    if given:
        if len(given) != len(shape):
            what = f"has {len(shape)} axes ({_described(shape, names)}), not {len(given)}"
            raise DataError(what, where=where, fix="correct `axes`")
        found = list(given)
    else:
        found = [next((axis for axis in AXES if name.lower() in NAMES[axis]), "") for name in names]
        found = [axis if found.index(axis) == number else "" for number, axis in enumerate(found)]
        if by_row and ROW not in found and "" in found:
            found[found.index("")] = ROW
    if by_row and ROW not in found:
        raise DataError(f"has no axis of samples ({_described(shape, names)})", where=where, fix="give `axes`")
    if not by_row and ROW in found:
        number = found.index(ROW)
        if given or shape[number] == 1 or not names[number]:
            return found
        what = f"holds {shape[number]} samples along {names[number]}"
        raise DataError(what, where=where, fix="say which is that of a row: rows: true, or the column with its number")
    return found


def _described(shape: Sequence[int], names: Sequence[str]) -> str:
    return " × ".join(f"{name} {size}".strip() for name, size in zip(names, shape, strict=True)) or "none"


def _unclear(shape: Sequence[int], names: Sequence[str], where: str) -> DataError:
    fix = (
        f"say in their order what they are, {', '.join(AXES)}: axes: [time, y, x]; of several dates, kind: image_series"
    )
    return DataError(f"its axes can't be told: {_described(shape, names)}", where=where, fix=fix)
