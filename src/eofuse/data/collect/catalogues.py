"""The items of a catalogue: `find_items` searches an API, walks a static catalogue, or takes a list of items, and filters here.

A static catalogue is read through `eofuse.data.web`, which bears slow and broken servers; an API through pystac-client. Nothing that
a catalogue says is trusted further than its words: addresses are opened by the one reader of rasters.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eofuse.data.collect.items import Found, Window, is_remote, no_collection, to_item
from eofuse.data.collect.presets import CATALOGUES
from eofuse.data.collect.search import search_api
from eofuse.data.collect.spec import NetworkOptions
from eofuse.data.web import read_json, retrying
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import parse_json
from eofuse.limits import JSON

MOST_ITEMS = 1_000_000


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
        found = search_api(href, collection, areas, network, where)
    elif values.get("type") == "FeatureCollection":
        found = _listed(values, href, collection, where)
    else:
        found = _walk(values, href, collection, reader, where)
    items = {item.id: item for item in found.items}
    return Found([items[name] for name in sorted(items)], found.licence, found.providers)


def _require_pystac(where: str) -> None:
    try:
        import pystac  # noqa: F401
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
            return JSON.read(path)
        except OSError as error:
            raise DataError(
                f"can't be read: {error.strerror}", where=f"{self._where}, {path}", fix="check the path"
            ) from None

    def _remote(self, href: str) -> str:
        if urlsplit(href).scheme not in ("http", "https"):
            raise DataError(
                "is no address of the web", where=f"{self._where}, {href}", fix="give one that begins with https://"
            )

        network = self._network
        pauses = [network.pause * 2**number for number in range(network.tries - 1)]
        given_up, fix = (
            f"can't be read after {network.tries} tries",
            "check the connection and run the same command again",
        )
        where = f"{self._where}, {href}"
        return retrying(lambda: read_json(href, "has"), where, pauses, given_up, fix).decode()


def _is_api(values: Mapping[str, Any]) -> bool:
    links = values.get("links")
    relations = [link.get("rel") for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return "conformsTo" in values or "search" in relations


def _listed(values: dict[str, Any], href: str, collection: str, where: str) -> Found:
    every = [to_item(feature, href, where) for feature in values.get("features", ())]
    names = {str(feature.get("collection")) for feature in values.get("features", ())}
    if collection not in names:
        raise no_collection(collection, names, f"{where}, {href}")
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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of extents, say, which are not used
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
            items.append(to_item(content, at, where))
    if collection not in names:
        raise no_collection(collection, names - {""}, f"{where}, {href}")
    return Found(items, licence, providers)
