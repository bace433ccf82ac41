"""Searches of a catalogue behind an API, through pystac-client: few, however many places there are."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from eofuse.data.collect.items import Found, Item, Window, no_collection, to_item
from eofuse.data.collect.spec import NetworkOptions
from eofuse.errors import DataError, UsageError

SEARCH_DEGREES = 1.0
"""Side of the squares of which each is one search."""

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may be others later."""


def search_api(
    href: str,
    collection: str,
    areas: Sequence[tuple[Any, Window | None]],
    network: NetworkOptions,
    where: str,
) -> Found:
    """The items that an API finds, a search for each square of the Earth with areas and each stretch of time."""
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
    except ImportError:
        raise UsageError(
            "catalogues are searched by pystac-client", where=where, fix="pip install 'eofuse[stac]'"
        ) from None
    from requests.exceptions import RequestException
    from urllib3 import Retry

    retry = Retry(
        total=network.tries - 1, backoff_factor=network.pause, status_forcelist=TRANSIENT, allowed_methods=None
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
            raise no_collection(collection, {each.id for each in client.get_collections()}, f"{where}, {href}")
        found: dict[str, Item] = {}
        for box, window in _searches(areas):
            dates = None if window is None else (window[0], window[1])
            search = client.search(method="GET", collections=[collection], bbox=box, datetime=dates, limit=250)
            for values in search.items_as_dicts():
                found.setdefault(str(values.get("id")), to_item(values, href, where))
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
