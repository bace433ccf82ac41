"""From a spec to a plan: places of the labels, items of the catalogues, and which patch takes which."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from eofuse.data.collect.catalogues import find_items
from eofuse.data.collect.choosing import Acquisition, Catalogue, Refused, choose, with_part
from eofuse.data.collect.items import Asset, Found, Item, Window, is_remote
from eofuse.data.collect.labels import Labels, read_labels
from eofuse.data.collect.layers import Recipe, assets_of, completed, recipe_of
from eofuse.data.collect.masks import labels_as_mask
from eofuse.data.collect.places import Place, around, in_reading_order, on_cells, over_region
from eofuse.data.collect.plan import VERSION, Plan, Source
from eofuse.data.collect.presets import known_collection
from eofuse.data.collect.reading import Reader
from eofuse.data.collect.spec import MARK, CollectLayer, CollectSpec, TimeOptions
from eofuse.data.store.index import COLUMNS, OPTIONAL
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.files import sha256
from eofuse.progress import Progress
from eofuse.words import counted

MOST_TRIED = 5
"""Items whose header is tried for the sort of a modality's values."""

FILE = "file"
"""Key of the one asset of a modality with files."""


def request_of(spec: CollectSpec, root: Path) -> str:
    """Digest of a spec and its labels: of what somebody asks for, whatever the catalogues hold.

    Raises:
        DataError: if the labels are missing.
    """
    files = [name for name in (spec.labels.file, spec.labels.grid) if isinstance(name, str)]
    for name in files:
        if not (root / name).is_file():
            raise DataError("file missing", where=root / name, fix="correct labels in the spec")
    digests = [sha256(root / name) for name in files]
    return hashlib.sha256(json.dumps([VERSION, spec.recorded(), digests], sort_keys=True).encode()).hexdigest()


def make_plan(spec: CollectSpec, root: Path, reader: Reader, progress: Progress | None = None) -> Plan:
    """Searches the catalogues and chooses what every patch takes.

    Args:
        spec: what is collected.
        root: folder to which paths are relative.
        reader: opens the first asset of each modality.
        progress: called with the modalities that are done.

    Raises:
        UsageError: if the spec contradicts itself or the catalogues.
        DataError: if labels or catalogues can't be read, or nothing is found for a modality.
    """
    places, labels = find_places(spec, root)
    recipes: dict[str, Recipe] = {}
    sources: dict[str, list[Source]] = {}
    choices: dict[str, list[list[Acquisition]]] = {}
    missing: list[tuple[str, str, str]] = []
    about: dict[str, Any] = {}
    footprints = [place.footprint(spec.patch) for place in places]
    for done, (name, given) in enumerate(spec.modalities.items()):
        if progress:
            progress(done, len(spec.modalities), f"looking for {name}")
        known = known_collection(given.stac or "", given.collection or "")
        layer = completed(name, given, known)
        time = layer.time or spec.time
        windows = [_window(time, place) for place in places]
        if layer.files is not None:
            found, chosen = _files(name, layer, places, labels, footprints, root, reader)
        else:
            areas = list(zip(footprints, windows, strict=True))
            where = f"modalities.{name}"
            found = find_items(str(layer.stac), str(layer.collection), root, areas, spec.network, where)
            chosen = _choose_all(found, layer, places, footprints, windows, spec)
        refused = [each for each in chosen if isinstance(each, Refused)]
        if len(refused) == len(places):
            raise _nothing(name, layer, found, places, refused, time)
        taken = sorted(
            {number for each in chosen if not isinstance(each, Refused) for one in each for number in one.items}
        )
        items = [found.items[number] for number in taken]
        recipe = _describe(name, layer, items, reader)
        if found.licence or found.providers:
            about[name] = {"licence": found.licence, "providers": found.providers}
        recipes[name] = recipe
        sources[name] = [_source(name, layer, item, recipe) for item in items]
        order = {number: position for position, number in enumerate(taken)}
        choices[name] = [
            []
            if isinstance(each, Refused)
            else [Acquisition(tuple(order[n] for n in one.items), one.time, one.share, one.cloud) for one in each]
            for each in chosen
        ]
        missing += [
            (place.id, name, _reason(each))
            for place, each in zip(places, chosen, strict=True)
            if isinstance(each, Refused)
        ]
    notes = list(labels.notes) if labels else []
    if labels is not None and spec.labels.used_as == "mask":
        about[str(spec.labels.target)] = {"modality": labels_as_mask(spec.labels, labels).to_dict()}
    facts = {"spec": spec.recorded(), "collections": about, "places": len(places), "absent": len(missing)}
    kind = labels.kind if labels and spec.labels.used_as == "class" else ""
    return Plan(request_of(spec, root), places, recipes, sources, choices, kind, facts, notes, missing)


def find_places(spec: CollectSpec, root: Path) -> tuple[list[Place], Labels | None]:
    """The patches to be, and the labels that they are made of; no labels of a grid.

    Raises:
        DataError: naming the record that is wrong.
    """
    options = spec.labels
    if options.grid is not None:
        return in_reading_order(over_region(options, spec.patch, root), spec.patch), None
    labels = read_labels(options, root, spec.date_column)
    if options.on_cells:
        return in_reading_order(on_cells(labels.labels, spec.patch), spec.patch), labels
    places = []
    for number, label in enumerate(labels.labels):
        facts = {key: value for key, value in label.facts.items() if _may_be_column(key, spec)}
        if options.target is not None:
            facts[_label_column(options.target, spec)] = label.value
        if label.group is not None:
            facts["scene"] = label.group
        place = around(label, spec.patch)
        places.append(Place(**{**vars(place), "labels": (number,), "facts": facts}))
    return in_reading_order(places, spec.patch), labels


def _may_be_column(name: str, spec: CollectSpec) -> bool:
    taken = {*COLUMNS, *OPTIONAL, *spec.modalities}
    begins = ("has_", "nodata.", "cloud.", "items.", "time_", "times.", "empty_bands.")
    return name not in taken and not name.startswith(begins) and name.partition(".")[0] not in spec.modalities


def _label_column(name: str, spec: CollectSpec) -> str:
    if not _may_be_column(name, spec):
        fix = "rename it in the file of labels"
        raise UsageError(f"'{name}' is the name of a column of the index", where="labels.property", fix=fix)
    return name


def _window(time: TimeOptions | str, place: Place) -> Window | None:
    return time.window(place.date) if isinstance(time, TimeOptions) else None


def _choose_all(
    found: Found,
    layer: CollectLayer,
    places: Sequence[Place],
    footprints: Sequence[Any],
    windows: Sequence[Window | None],
    spec: CollectSpec,
) -> list[list[Acquisition] | Refused]:
    catalogue = Catalogue(found.items)
    chosen = []
    for place, footprint, window in zip(places, footprints, windows, strict=True):
        day = place.date if window is None or place.date is not None else window[0] + (window[1] - window[0]) / 2
        chosen.append(choose(catalogue, layer, footprint, place.crs, day, window))
    return chosen


def _files(
    name: str,
    layer: CollectLayer,
    places: Sequence[Place],
    labels: Labels | None,
    footprints: Sequence[Any],
    root: Path,
    reader: Reader,
) -> tuple[Found, list[list[Acquisition] | Refused]]:
    """Files as items: a path with columns names the file of each place, others the files of all."""
    pattern, where = str(layer.files), f"modalities.{name}.files"
    marks = MARK.findall(pattern)
    if not marks:
        paths = [pattern] if is_remote(pattern) or "*" not in pattern else _like(pattern, root)
        if not paths:
            raise DataError(f"no file is like {pattern}", where=root, fix=f"correct {where} or root")
        paths = [path if is_remote(path) else str((root / path).resolve()) for path in paths]
        items = [
            Item(Path(path).name, None, None, reader.outline(path, where), assets={FILE: Asset(path)}) for path in paths
        ]
        catalogue = Catalogue(items)
        pairs = zip(places, footprints, strict=True)
        return Found(items), [choose(catalogue, layer, area, place.crs, None, None) for place, area in pairs]
    numbers: dict[str, int] = {}
    chosen: list[list[Acquisition] | Refused] = []
    for place in places:
        facts = labels.labels[place.labels[0]].facts if labels is not None and place.labels else {}
        values = {"id": place.id, **place.facts, **facts}
        lacking = next((mark for mark in marks if mark not in values), None)
        if lacking is not None:
            raise UsageError(f"the labels have no column '{lacking}'", where=where, fix=did_you_mean(lacking, values))
        path = re.sub(MARK, lambda match, values=values: str(values[match[1]]), pattern)  # type: ignore[misc]
        path = path if is_remote(path) else str((root / path).resolve())
        chosen.append([Acquisition((numbers.setdefault(path, len(numbers)),), None, 1.0, None)])
    return Found([Item(Path(path).name, None, None, None, assets={FILE: Asset(path)}) for path in numbers]), chosen


def _like(pattern: str, root: Path) -> list[str]:
    """Paths of files that are like a pattern, sorted."""
    path = root / pattern
    fixed = len([part for part in Path(path.anchor).parts if part])
    parts = path.parts[fixed:]
    return sorted(str(each) for each in Path(path.anchor).glob(str(Path(*parts))))


def _describe(name: str, layer: CollectLayer, items: Sequence[Item], reader: Reader) -> Recipe:
    """How a modality is made, by the header of the first asset that can be opened."""
    bands = {FILE: ()} if layer.files is not None and layer.assets is None else assets_of(name, layer, items[0])
    for item in items:
        for key in bands:
            if key not in item.assets:
                fix = f"leave such items out with modalities.{name}.where, or name assets that all have"
                raise DataError(f"has no asset '{key}'", where=f"modalities.{name}, item {item.id}", fix=fix)
    problem: DataError | None = None
    for item in items[:MOST_TRIED]:
        try:
            file = reader.header(
                item.assets[next(iter(bands))].href, layer.sign or "", f"modalities.{name}, item {item.id}"
            )
        except DataError as error:
            problem = problem or error
            continue
        return recipe_of(name, layer, items, bands, file)
    assert problem is not None
    raise problem


def _source(name: str, layer: CollectLayer, item: Item, recipe: Recipe) -> Source:
    keys = [*recipe.bands, *([recipe.mask.asset] if recipe.mask is not None else [])]
    lacking = next((key for key in keys if key not in item.assets), None)
    if lacking is not None:
        fix = f"leave such items out with modalities.{name}.where"
        raise DataError(f"has no asset '{lacking}'", where=f"modalities.{name}, item {item.id}", fix=fix)
    added = recipe.added if recipe.added is not None else item.added
    hrefs = {key: item.assets[key].href for key in keys}
    time = item.middle
    return Source(item.id, "" if time is None else time.isoformat(), item.cloud, float(added or 0.0), hrefs)


def _reason(refused: Refused) -> str:
    if not refused.near:
        return "no item shows the place"
    if not refused.in_time:
        return f"no item in its time; the nearest is of {_day(refused.nearest)}"
    if refused.clearest is not None:
        return f"no item that is wanted; the clearest in its time has {refused.clearest:g} % clouds"
    return "no item that is wanted"


def _nothing(
    name: str,
    layer: CollectLayer,
    found: Found,
    places: Sequence[Place],
    refused: Sequence[Refused],
    time: TimeOptions | str,
) -> DataError:
    """Why no patch has an item of a modality."""
    where = f"modalities.{name}"
    what = f"collection '{layer.collection}' of {layer.stac}" if layer.stac else f"{layer.files}"
    first = places[0]
    if not found.items:
        return DataError(
            f"{what} lists no item at the places and times", where=where, fix="check collection, places and time"
        )
    whole = refused[0]
    for each in refused[1:]:
        whole = with_part(whole, each)
    if not whole.near:
        bounds = [item.geometry.bounds for item in found.items]
        west, south = (min(each[side] for each in bounds) for side in (0, 1))
        east, north = (max(each[side] for each in bounds) for side in (2, 3))
        extent = f"longitudes {west:.2f} to {east:.2f} and latitudes {south:.2f} to {north:.2f}"
        fix = "check the coordinates of the labels"
        if any(_is_within(place.lat, place.lon, each) for place in places for each in bounds):
            fix = "with longitude and latitude swapped, they would: swap them (labels.lon and labels.lat of a table)"
        found_words = (
            f"no item of {what} shows a place: {counted(len(found.items), 'item')} within {extent}; "
            f"{first.id} lies at {first.lon:.4f}, {first.lat:.4f}"
        )
        return DataError(found_words, where=where, fix=fix)
    if not whole.in_time:
        window = _window(time, first)
        assert window is not None
        span = f"{_day(window[0])} to {_day(window[1])}"
        words = f"no item of {what} is in time: {first.id} wants {span}, the nearest is of {_day(refused[0].nearest or whole.nearest)}"
        return DataError(words, where=where, fix=f"widen time, or set {where}.time: any for what does not change")
    if layer.cloud is not None and whole.clearest is not None and whole.clearest > layer.cloud:
        words = f"no item has at most {layer.cloud:g} % clouds; the clearest has {whole.clearest:g} %"
        return DataError(words, where=where, fix="raise cloud, or widen time")
    return DataError(
        f"no item of {what} has the properties in `where`",
        where=where,
        fix=f"correct {where}.where: {_values(found, layer)}",
    )


def _is_within(lon: float, lat: float, bounds: Sequence[float]) -> bool:
    west, south, east, north = bounds
    return south <= lat <= north and (lon - west) % 360 <= east - west


def _values(found: Found, layer: CollectLayer) -> str:
    """What items have of the properties that are wanted."""
    words = []
    for key in layer.where:
        values = sorted({str(item.properties[key]) for item in found.items if key in item.properties})
        names = sorted({name for item in found.items for name in item.properties})
        words.append(
            f"{key} is {', '.join(values[:10])}" if values else f"there is no {key}, {did_you_mean(key, names)}"
        )
    return "; ".join(words)


def _day(time: datetime | None) -> str:
    return "no date" if time is None else f"{time:%Y-%m-%d}"
