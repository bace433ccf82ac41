"""The items of a catalogue: `find_items` searches an API, walks a static catalogue, or takes a list of items, and filters here.

A static catalogue is read through `eofuse.data.web`, which bears slow and broken servers; an API through pystac-client. Nothing that
a catalogue says is trusted further than its words: addresses are opened by the one reader of rasters.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import shapely

from eofuse.data.collect.places import wrapped
from eofuse.data.collect.presets import CATALOGUES, baseline_offset
from eofuse.data.collect.spec import NetworkOptions
from eofuse.data.web import blocks, open_url
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import parse_json
from eofuse.limits import JSON

if TYPE_CHECKING:
    import pystac

_logger = logging.getLogger(__name__)

MOST_ITEMS = 1_000_000
SEARCH_DEGREES = 1.0
"""Side of the squares of which each is one search."""

Window = tuple[datetime, datetime]
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


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


def find_items(
    catalogue: str,
    collection: str,
    root: Path,
    areas: Sequence[tuple[Any, Window | None]],
    network: NetworkOptions,
    where: str,
) -> Found:
    """The items of a collection that may show some areas.

    Args:
        catalogue: name of a known one, address of an API, or address or path of a static one.
        collection: its id.
        root: folder to which a path is relative.
        areas: outlines in longitude and latitude, with the first and last moment that count.
        network: how patient reading is.
        where: for messages.

    Raises:
        UsageError: if pystac is not installed, or no collection has this id.
        DataError: if the catalogue can't be read.
    """
    _require_pystac(where)
    href = CATALOGUES[catalogue].url if catalogue in CATALOGUES else catalogue
    if "/" not in href and "." not in href and not (root / href).exists():
        fix = f"{did_you_mean(href, CATALOGUES)}; or give an address or a path"
        raise UsageError(f"'{href}' is no catalogue", where=where, fix=fix)
    href = href if is_remote(href) else str((root / href).resolve())
    reader = _Reader(network, where)
    values = reader.read(href)
    if _is_api(values):
        found = _search(href, collection, areas, network, where)
    elif values.get("type") == "FeatureCollection":
        found = _listed(values, href, collection, where)
    else:
        found = _walk(values, href, collection, reader, where)
    items = {item.id: item for item in found.items}
    return Found([items[name] for name in sorted(items)], found.licence, found.providers)


def is_remote(href: str) -> bool:
    """Whether something is an address rather than a path of this machine."""
    return "://" in href or href.startswith("/vsi")


def _require_pystac(where: str) -> None:
    try:
        import pystac  # noqa: F401
        import pystac_client  # noqa: F401
    except ImportError:
        raise UsageError("catalogues are read by pystac", where=where, fix="pip install 'eofuse[stac]'") from None


class _Reader:
    """Reads JSON of a path or address, with patience."""

    def __init__(self, network: NetworkOptions, where: str) -> None:
        self._network, self._where = network, where

    def read(self, href: str) -> dict[str, Any]:
        """An object.

        Raises:
            DataError: if it can't be read, or is none.
        """
        try:
            value = parse_json(self._remote(href) if is_remote(href) else self._local(href))
        except ValueError as error:
            raise DataError(
                f"is no catalogue in JSON ({error})", where=f"{self._where}, {href}", fix="check the address"
            ) from None
        if not isinstance(value, dict):
            raise DataError("is no catalogue", where=f"{self._where}, {href}", fix="name its catalog.json or its API")
        return value

    def read_all(self, hrefs: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Several, side by side, in their order."""
        with ThreadPoolExecutor(self._network.connections) as pool:
            yield from pool.map(self.read, hrefs)

    def _local(self, href: str) -> str:
        path = Path(href.removeprefix("file://"))
        path = path / "catalog.json" if path.is_dir() else path
        try:
            JSON.check_file(path)
            return path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise DataError(
                f"can't be read: {error.strerror}", where=f"{self._where}, {path}", fix="check the path"
            ) from None

    def _remote(self, href: str) -> str:
        if urlsplit(href).scheme not in ("http", "https"):
            raise DataError(
                "is no address of the web", where=f"{self._where}, {href}", fix="give one that begins with https://"
            )

        def fetch() -> str:
            content = b""
            with open_url(href, {"Accept": "application/json"}) as response:
                for block in blocks(response):
                    content += block
                    JSON.check(len(content), "has", href)
            return content.decode()

        return patiently(fetch, self._network, f"{self._where}, {href}")


def patiently(action: Callable[[], str], network: NetworkOptions, where: str) -> str:
    """Repeats what a server interrupts.

    Raises:
        DataError: if the server refuses, or after so many tries.
    """
    problem = ""
    for number in range(network.tries):
        if number:
            _logger.info("%s: %s; trying again", where, problem)
            time.sleep(network.pause * 2 ** (number - 1))
        try:
            return action()
        except HTTPError as error:
            error.close()
            problem = f"{error.code} {error.reason}"
            if error.code not in _TRANSIENT:
                raise DataError(f"the server refuses: {problem}", where=where, fix="check the address") from None
        except UnicodeDecodeError:
            raise DataError("is no text", where=where, fix="check the address") from None
        except OSError as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
    fix = "check the connection and run the same command again"
    raise DataError(f"can't be read after {network.tries} tries: {problem}", where=where, fix=fix)


def _is_api(values: Mapping[str, Any]) -> bool:
    links = values.get("links")
    relations = [link.get("rel") for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return "conformsTo" in values or "search" in relations


def _listed(values: dict[str, Any], href: str, collection: str, where: str) -> Found:
    every = [_to_item(feature, href, where) for feature in values.get("features", ())]
    names = {str(feature.get("collection")) for feature in values.get("features", ())}
    if collection not in names:
        raise _no_collection(collection, names, f"{where}, {href}")
    named = zip(every, values["features"], strict=True)
    return Found([item for item, feature in named if feature.get("collection") == collection])


def _walk(values: dict[str, Any], href: str, collection: str, reader: _Reader, where: str) -> Found:
    """The items of a collection of a static catalogue; only that collection is looked into."""
    import pystac

    names: set[str] = set()
    hrefs: dict[str, bool] = {}  # of items → whether they lie in the collection, whatever they say
    licence = providers = ""
    waiting: list[tuple[dict[str, Any], str, bool]] = [(values, href, False)]
    seen = {href}
    while waiting:
        content, at, within = waiting.pop()
        kind = content.get("type")
        if kind not in ("Catalog", "Collection"):
            found = f"is a {kind or 'JSON object'}, no STAC catalogue"
            raise DataError(found, where=f"{where}, {at}", fix="name its catalog.json, collection.json or API")
        if kind == "Collection":
            names.add(str(content.get("id")))
            if content.get("id") == collection:
                within, licence = True, str(content.get("license") or "")
                providers = ", ".join(str(each.get("name")) for each in content.get("providers") or ())
            elif not within:
                continue
        try:
            catalogue: pystac.Catalog = (pystac.Collection if kind == "Collection" else pystac.Catalog).from_dict(
                content, href=at
            )
        except Exception as error:  # whatever pystac does with what is none
            what = f"is no valid {kind} ({type(error).__name__}: {error})"
            raise DataError(what, where=f"{where}, {at}", fix="correct it (pystac validates)") from None
        catalogue.set_self_href(at)
        for link in catalogue.get_item_links():
            hrefs[str(link.get_absolute_href())] = within
        children = [str(link.get_absolute_href()) for link in catalogue.get_child_links()]
        children = [each for each in children if each not in seen]
        seen.update(children)
        waiting += [(each, child, within) for child, each in zip(children, reader.read_all(children), strict=True)]
        if len(hrefs) > MOST_ITEMS:
            raise DataError(f"lists more than {MOST_ITEMS:,} items", where=f"{where}, {href}", fix="name an API")
    items = []
    for at, content in zip(hrefs, reader.read_all(list(hrefs)), strict=True):
        names.add(str(content.get("collection") or ""))
        if hrefs[at] or content.get("collection") == collection:
            items.append(_to_item(content, at, where))
    if collection not in names:
        raise _no_collection(collection, names - {""}, f"{where}, {href}")
    return Found(items, licence, providers)


def _search(
    href: str,
    collection: str,
    areas: Sequence[tuple[Any, Window | None]],
    network: NetworkOptions,
    where: str,
) -> Found:
    """The items that an API finds, a search for each square of the Earth with areas and each stretch of time."""
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO
    from requests.exceptions import RequestException
    from urllib3 import Retry

    retry = Retry(
        total=network.tries - 1, backoff_factor=network.pause, status_forcelist=_TRANSIENT, allowed_methods=None
    )
    try:
        io = StacApiIO(max_retries=retry, timeout=network.timeout)
        client = Client.open(href, stac_io=io)
        try:
            about = client.get_collection(collection)
        except APIError as error:
            if getattr(error, "status_code", None) != 404:
                raise
            about = None
        if about is None:
            raise _no_collection(collection, {each.id for each in client.get_collections()}, f"{where}, {href}")
        found: dict[str, Item] = {}
        for box, window in _searches(areas):
            dates = None if window is None else (window[0], window[1])
            search = client.search(method="GET", collections=[collection], bbox=box, datetime=dates, limit=250)
            for values in search.items_as_dicts():
                found.setdefault(str(values.get("id")), _to_item(values, href, where))
    except (APIError, RequestException) as error:
        fix = "check the connection and run the same command again"
        raise DataError(f"the catalogue can't be searched: {error}", where=f"{where}, {href}", fix=fix) from None
    providers = ", ".join(each.name for each in about.providers or ())
    return Found(list(found.values()), str(about.license or ""), providers)


def _searches(areas: Sequence[tuple[Any, Window | None]]) -> Iterator[tuple[list[float], Window | None]]:
    """Boxes and stretches of time that hold all areas: boxes end at ±180°, and a square of the Earth with areas is one box."""
    squares: dict[tuple[int, int], list[tuple[tuple[float, ...], Window | None]]] = {}
    for area, window in areas:
        for part in _on_map(area):
            key = int(part[0] // SEARCH_DEGREES), int(part[1] // SEARCH_DEGREES)
            squares.setdefault(key, []).append((part, window))
    for found in squares.values():
        boxes = list(zip(*(box for box, _ in found), strict=True))
        box = [min(boxes[0]), min(boxes[1]), max(boxes[2]), max(boxes[3])]
        windows = sorted({window for _, window in found if window is not None})
        if not windows:
            yield box, None
            continue
        stretch = windows[0]
        for window in windows[1:]:
            if window[0] > stretch[1] + timedelta(days=1):
                yield box, stretch
                stretch = window
            else:
                stretch = stretch[0], max(stretch[1], window[1])
        yield box, stretch


def _on_map(area: Any) -> list[tuple[float, float, float, float]]:
    """The box of an outline, in two parts if it crosses ±180°."""
    west, south, east, north = area.bounds
    turns = -round((west + east) / 2 / 360) * 360
    west, east = west + turns, east + turns
    if east > 180:
        return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]
    if west < -180:
        return [(west + 360, south, 180.0, north), (-180.0, south, east, north)]
    return [(west, south, east, north)]


def _no_collection(name: str, names: Iterable[str], where: str) -> UsageError:
    return UsageError(f"there is no collection '{name}'", where=where, fix=did_you_mean(name, names))


def _to_item(values: dict[str, Any], href: str, where: str) -> Item:
    """An item of its JSON."""
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
