"""What BigEarthNet patch ids say: scene, tile, column, row and time; and the season of a date.

Ids come in the v1 form `S2A_MSIL2A_20170613T101031_39_24` and in the v2 (reBEN) form
`S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_38_90`; Sentinel-1 ids are `S1B_IW_GRDH_1SDV_20170612T165809_33UUP_37_89`.

Time fields of v1 are not all times: where several products of one pass shared a sensing time, 1, 2, ... was added to it
as a number, so that `094159` also occurs as `94160` and `94161`. `parse_patch_id` undoes this, because a scene that
goes by two names would end up on both sides of a split.
"""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta

_S2_PATCH = re.compile(
    r"(S2[A-Z])_MSIL\d[AC]_(\d{8})T(\d{1,6})(?:_N\d{4}_R\d{3}_T(\d{2}[A-Z]{3}))?_(\d{1,5})_(\d{1,5})"
)
_S2_SCENE = re.compile(r"S2[A-Z]_MSIL\d[AC]_\d{8}T\d{1,6}(?:_N\d{4}_R\d{3}_T\d{2}[A-Z]{3})?(?:_\d{8}T\d{6})?")
_S1_PATCH = re.compile(
    r"(S1[A-Z])_[A-Z0-9]{2}_[A-Z]{4}_[A-Z0-9]{4}_(\d{8})T(\d{1,6})_(\d{2}[A-Z]{3})_(\d{1,5})_(\d{1,5})"
)
_S1_SCENE = re.compile(r"S1[A-Z]_[A-Z0-9]{2}_[A-Z]{4}_[A-Z0-9]{4}_\d{8}T\d{1,6}")

_LAST_DIGIT = {"S2A": 1, "S2B": 9}
"""Last digit of the sensing time of all genuine products in BigEarthNet."""

_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class PatchName:
    """What the id of a patch says.

    Attributes:
        scene: mission and sensing time (`S2A_20170613T101031`), the same for the v1 and the v2 form.
        time: sensing time as ISO 8601 (`2017-06-13T10:10:31`), None if its digits are no date.
        tile: MGRS tile (`33UUP`), None if the id does not give it.
        column: position of the patch in its tile, counted eastwards.
        row: position of the patch in its tile, counted southwards.
    """

    scene: str
    time: str | None
    tile: str | None
    column: int
    row: int


def parse_patch_id(patch_id: str) -> PatchName | None:
    """What a Sentinel-2 patch id says, in either form; None if it has neither form."""
    match = _S2_PATCH.fullmatch(patch_id)
    return None if match is None else _patch_name(*match.groups())


def parse_patch_id_s1(patch_id: str) -> PatchName | None:
    """What a Sentinel-1 patch id says; None if it does not have the form of one."""
    match = _S1_PATCH.fullmatch(patch_id)
    return None if match is None else _patch_name(*match.groups())


def is_s2_scene(name: str) -> bool:
    """Whether a folder of that name holds the Sentinel-2 patches of one scene (reBEN)."""
    return _S2_SCENE.fullmatch(name) is not None


def is_s1_scene(name: str) -> bool:
    """Whether a folder of that name holds the Sentinel-1 patches of one scene (reBEN)."""
    return _S1_SCENE.fullmatch(name) is not None


def season_of(day: date) -> float:
    """Season of a date as ben-ge gives it: 1 at the summer solstice of the north, near 0 at its winter solstice."""
    month = day.month - 1
    return math.sin(math.pi * (month / 12 + day.day / (12 * _DAYS_IN_MONTH[month]) + 9 / 365))


def _patch_name(mission: str, day: str, clock: str, tile: str | None, column: str, row: str) -> PatchName:
    digits = _sensing_clock(mission, int(clock))
    return PatchName(f"{mission}_{day}T{digits}", _iso_time(day, digits), tile, int(column), int(row))


def _sensing_clock(mission: str, clock: int) -> str:
    """HHMMSS of the product from the number in the id, less what was added to tell products of one pass apart.

    At most 5 is taken off, so that only products of one satellite within 10 s, hence of one pass, share a scene.
    """
    added = (clock - _LAST_DIGIT.get(mission, clock)) % 10
    if added <= 5 and _is_clock(clock - added):
        clock -= added
    return f"{clock:06d}"


def _is_clock(clock: int) -> bool:
    return clock >= 0 and clock // 10000 < 24 and clock // 100 % 100 < 60 and clock % 100 < 60


def _iso_time(day: str, digits: str) -> str | None:
    try:
        midnight = datetime(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        return None
    clock = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return (midnight + clock).isoformat()
