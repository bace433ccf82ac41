"""Items of a catalogue: the files of a scene, where and when it was taken, and what its values mean."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import shapely

from eofuse.data.collect.places import wrapped
from eofuse.data.collect.presets import baseline_offset
from eofuse.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pystac

Window = tuple[datetime, datetime]
"""First and last moment that count."""


def is_remote(href: str) -> bool:
    """Whether something is an address rather than a path of this machine."""
    return "://" in href.removeprefix("file://") or href.startswith("/vsi")


@dataclass(frozen=True)
class Asset:
    """A file of an item.

    Attributes:
        href: its address or path.
        scale: factor to physical values that the item declares, None if it declares none.
        offset: summand that it declares.
        roles: what it is for.
    """

    href: str
    scale: float | None = None
    offset: float | None = None
    roles: tuple[str, ...] = ()
    media: str = ""


@dataclass(frozen=True)
class Item:
    """An item of a catalogue: the files of a scene.

    Attributes:
        id: its name.
        first: when it begins; None of what has no date.
        last: when it ends, the same of what was taken at once.
        geometry: its outline in longitude and latitude.
        cloud: percent of clouds, None if it does not say.
        crs: reference system of its pixels, "" if it does not say.
        added: see `baseline_offset`.
        updated: when it was made, as text.
        orbit: platform and direction of the orbit, which tell acquisitions of a day apart.
        assets: by key.
        properties: those that may be filtered.
    """

    id: str
    first: datetime | None
    last: datetime | None
    geometry: Any
    cloud: float | None = None
    crs: str = ""
    added: float | None = None
    updated: str = ""
    orbit: str = ""
    assets: Mapping[str, Asset] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def middle(self) -> datetime | None:
        """Its time, or the middle of it."""
        return None if self.first is None or self.last is None else self.first + (self.last - self.first) / 2


@dataclass(frozen=True)
class Found:
    """What a catalogue has of a collection.

    Attributes:
        items: sorted by id.
        licence: of the collection, "" if it does not say.
        providers: of the collection.
    """

    items: list[Item]
    licence: str = ""
    providers: str = ""


def no_collection(name: str, names: Iterable[str], where: str) -> UsageError:
    """The error for a collection that a catalogue does not list; `names` are those that it does."""
    return UsageError(f"there is no collection '{name}'", where=where, fix=did_you_mean(name, names))


def to_item(values: dict[str, Any], href: str, where: str) -> Item:
    """An item of its JSON.

    Args:
        values: the JSON.
        href: where it was read, to which addresses of assets are relative.
        where: for messages.

    Raises:
        DataError: if it is no item that can be used.
    """
    import pystac

    place = f"{where}, item {values.get('id')}"
    try:
        item = pystac.Item.from_dict(values, href=href, preserve_dict=True)
        item.make_asset_hrefs_absolute()
        if item.geometry is not None:
            geometry = shapely.geometry.shape(item.geometry)
        elif item.bbox is not None:
            geometry = shapely.box(item.bbox[0], item.bbox[1], *item.bbox[len(item.bbox) // 2 :][:2])
        else:
            raise ValueError("neither geometry nor bbox")
        if geometry.is_empty:
            raise ValueError("an empty geometry")
        geometry = wrapped(geometry, (geometry.bounds[0] + geometry.bounds[2]) / 2)
        geometry = geometry if geometry.is_valid else geometry.buffer(0)
        properties = item.properties
        first, last = _times(item)
        cloud = properties.get("eo:cloud_cover")
        return Item(
            str(item.id),
            first,
            last,
            geometry,
            float(cloud) if isinstance(cloud, int | float) else None,
            _system(properties, item),
            baseline_offset(properties),
            str(properties.get("updated") or properties.get("created") or ""),
            f"{properties.get('platform', '')} {properties.get('sat:orbit_state', '')}".strip(),
            {key: _asset(asset) for key, asset in item.assets.items()},
            {key: value for key, value in properties.items() if isinstance(value, str | int | float | bool)},
        )
    except Exception as error:  # whatever pystac and shapely do with what is none
        what = f"is no STAC item that can be used ({type(error).__name__}: {error})"
        raise DataError(what, where=place, fix="correct the item (pystac validates)") from None


def _times(item: "pystac.Item") -> tuple[datetime | None, datetime | None]:
    def known(value: object) -> datetime | None:
        with suppress(ValueError):
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        return None

    start, end = (known(item.properties.get(key)) for key in ("start_datetime", "end_datetime"))
    if item.datetime is not None:
        moment = known(item.datetime)
        return moment, moment
    return start, end


def _system(properties: Mapping[str, Any], item: "pystac.Item") -> str:
    places: list[Mapping[str, Any]] = [properties, *(asset.extra_fields for asset in item.assets.values())]
    for each in places:
        if each.get("proj:code"):
            return str(each["proj:code"])
        if each.get("proj:epsg"):
            return f"EPSG:{each['proj:epsg']}"
    return ""


def _asset(asset: "pystac.Asset") -> Asset:
    bands = asset.extra_fields.get("raster:bands") or asset.extra_fields.get("bands") or [{}]
    first = bands[0] if isinstance(bands, list) and isinstance(bands[0], Mapping) else {}
    scale, offset = (
        first.get(key, first.get(f"raster:{key}", asset.extra_fields.get(f"raster:{key}")))
        for key in ("scale", "offset")
    )
    is_number = [isinstance(value, int | float) for value in (scale, offset)]
    return Asset(
        str(asset.get_absolute_href() or asset.href),
        float(scale) if is_number[0] else None,
        float(offset) if is_number[1] else None,
        tuple(asset.roles or ()),
        str(asset.media_type or ""),
    )
