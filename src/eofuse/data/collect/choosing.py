"""Which items a patch takes: those of one acquisition by a rule, or of several for composites and series.

Items of one day, platform and direction of orbit are one acquisition; they are put together until they cover the patch. An acquisition
that covers more of the patch comes before the rule: half a patch on the right day is worth less than a whole one the day after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import shapely

from eofuse.data.collect.items import Item, Window
from eofuse.data.collect.places import wrapped
from eofuse.data.collect.spec import CollectLayer

WHOLE = 0.999
"""Share of a patch that is as good as all of it."""

LEAST = 1e-4
"""Share of a patch that an item adds at least."""

_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Acquisition:
    """Items of one day.

    Attributes:
        items: numbers of the items, the first one first.
        time: of the first item.
        share: of the patch that they cover.
        cloud: percent, the most of any item; None if one does not say.
    """

    items: tuple[int, ...]
    time: datetime | None
    share: float
    cloud: float | None


@dataclass(frozen=True)
class Refused:
    """Why a patch has no item.

    Attributes:
        near: items that show the patch, whatever their date.
        in_time: those of them in the window.
        nearest: time of the one nearest to the window.
        clearest: least percent of clouds of those in the window.
    """

    near: int
    in_time: int
    nearest: datetime | None = None
    clearest: float | None = None


class Catalogue:
    """The items of a collection, found by place.

    Args:
        items: sorted by id.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        parts, self._owners = [], []
        for number, item in enumerate(self.items):
            for turn in (-360, 0, 360):  # longitudes of places and items may differ by a turn
                west, south, east, north = item.geometry.bounds
                if west + turn < 540 and east + turn > -540:
                    parts.append(shapely.box(west + turn, south, east + turn, north))
                    self._owners.append(number)
        self._tree = shapely.STRtree(parts)

    def near(self, footprint: Any) -> list[int]:
        """Numbers of the items whose bounds meet those of a footprint."""
        return sorted({self._owners[part] for part in self._tree.query(footprint)})


def choose(
    catalogue: Catalogue, layer: CollectLayer, footprint: Any, crs: str, day: datetime | None, window: Window | None
) -> list[Acquisition] | Refused:
    """The acquisitions that a patch takes, in the order of time; one for rules that take one.

    Args:
        catalogue: the items.
        layer: what the spec says.
        footprint: outline of the patch in longitude and latitude.
        crs: reference system of the patch.
        day: date of the patch, or the middle of the window; None if dates do not count.
        window: first and last moment that count; None if dates do not count.
    """
    shown, shares = [], {}
    middle = footprint.centroid.x
    for number in catalogue.near(footprint):
        part = wrapped(catalogue.items[number].geometry, middle).intersection(footprint)
        if part.area > LEAST * footprint.area:
            shown.append(number)
            shares[number] = part
    timely = [number for number in shown if window is None or _overlaps(catalogue.items[number], window)]
    kept = [number for number in timely if _is_wanted(catalogue.items[number], layer)]
    if not kept:
        return _refused(catalogue, shown, timely, window)
    by_day: dict[tuple[object, str], list[int]] = {}
    for number in kept:
        item = catalogue.items[number]
        by_day.setdefault((_solar_day(item, middle), item.orbit), []).append(number)
    found = [_put_together(catalogue, numbers, shares, footprint.area, crs) for numbers in by_day.values()]
    if layer.choose in ("nearest", "least_cloudy"):
        return [min(found, key=lambda each: _rank(each, layer.choose, day))]
    if layer.every is not None and layer.is_series:
        found = _of_each_step(found, layer.every, window)
    nearest = sorted(found, key=lambda each: _rank(each, "nearest" if layer.is_series else "least_cloudy", day))
    return sorted(nearest[: layer.most], key=lambda each: (each.time or _NEVER, each.items))


def _overlaps(item: Item, window: Window) -> bool:
    return item.first is None or item.last is None or (item.first <= window[1] and item.last >= window[0])


def _is_wanted(item: Item, layer: CollectLayer) -> bool:
    if layer.cloud is not None and item.cloud is not None and item.cloud > layer.cloud:
        return False
    return all(item.properties.get(key) == value for key, value in layer.where.items())


def _solar_day(item: Item, lon: float) -> date | None:
    """The day of an item by the sun of a place, so that a pass around midnight UTC is one acquisition."""
    time = item.middle
    return None if time is None else (time + timedelta(hours=((lon + 180) % 360 - 180) / 15)).date()


def _put_together(
    catalogue: Catalogue, numbers: Sequence[int], shares: dict[int, Any], area: float, crs: str
) -> Acquisition:
    """Items of one day until they cover the patch: those on its grid first, then those that show more of it, then newer ones."""
    items = {number: catalogue.items[number] for number in numbers}
    by_age = sorted(numbers, key=lambda number: (items[number].updated, number), reverse=True)
    order = sorted(
        by_age, key=lambda number: (items[number].crs not in ("", crs), -round(shares[number].area / area, 3))
    )
    taken, covered = [], shapely.Polygon()
    for number in order:
        union = covered.union(shares[number])
        if union.area > covered.area + LEAST * area:
            taken.append(number)
            covered = union
        if covered.area > WHOLE * area:
            break
    clouds = [items[number].cloud for number in taken]
    cloud = None if None in clouds else max(each for each in clouds if each is not None)
    return Acquisition(tuple(taken), items[taken[0]].middle, float(min(1.0, covered.area / area)), cloud)


def _rank(each: Acquisition, rule: str, day: datetime | None) -> tuple[object, ...]:
    share = -round(min(each.share / WHOLE, 1.0), 2)
    time = each.time or _NEVER
    away = (-time.timestamp() if time > _NEVER else np.inf) if day is None else abs((time - day).total_seconds())
    cloud = (101.0 if each.cloud is None else each.cloud) if rule == "least_cloudy" else 0.0
    return share, cloud, away, time, each.items


def _of_each_step(found: Sequence[Acquisition], every: float, window: Window | None) -> list[Acquisition]:
    """The least cloudy acquisition of each stretch of so many days."""
    times = [each.time for each in found if each.time is not None]
    start = window[0] if window is not None else min(times, default=_NEVER)
    steps: dict[int, list[Acquisition]] = {}
    for each in found:
        if each.time is not None:
            steps.setdefault(int((each.time - start) / timedelta(days=every)), []).append(each)
    return [min(each, key=lambda one: _rank(one, "least_cloudy", start)) for each in steps.values()]


def _refused(catalogue: Catalogue, shown: Sequence[int], timely: Sequence[int], window: Window | None) -> Refused:
    times = [time for number in shown if (time := catalogue.items[number].middle) is not None]
    clouds = [cloud for number in timely if (cloud := catalogue.items[number].cloud) is not None]
    nearest = None
    if times and window is not None:
        nearest = min(times, key=lambda time: max(window[0] - time, time - window[1]))
    return Refused(len(shown), len(timely), nearest, min(clouds, default=None))


def with_part(refused: Refused, other: Refused) -> Refused:
    """What is known of two patches without items together."""
    nearest = refused.nearest or other.nearest
    clouds = [cloud for cloud in (refused.clearest, other.clearest) if cloud is not None]
    return replace(
        refused,
        near=refused.near + other.near,
        in_time=refused.in_time + other.in_time,
        nearest=nearest,
        clearest=min(clouds, default=None),
    )
