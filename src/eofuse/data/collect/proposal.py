"""A first spec of a collection: `propose` looks at labels, and says what they are and what somebody has to decide."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eofuse.config import write_yaml
from eofuse.data.collect.labels import Labels, is_table, read_labels
from eofuse.data.collect.places import around
from eofuse.data.collect.spec import LabelOptions, PatchOptions
from eofuse.words import counted, listed

LIKELY = (
    "class",
    "label",
    "crop",
    "type",
    "category",
    "species",
    "landcover",
    "land_cover",
    "lc",
    "lu",
    "landuse",
    "land_use",
)
MOST_CLASSES = 50
MOST_SHOWN = 6


@dataclass(frozen=True)
class Proposal:
    """A first spec.

    Attributes:
        text: of the YAML file.
        found: what was recognised.
        unknown: what somebody has to decide.
    """

    text: str
    found: tuple[str, ...]
    unknown: tuple[str, ...]


def propose(path: Path, name: str, root: str, spec: str, decimal: Literal[".", ","] = ".") -> Proposal:
    """A first spec for a file of labels.

    Args:
        path: points, polygons, or a table of places.
        name: of the dataset.
        root: folder of the labels as the spec names it.
        spec: name of the spec's file.
        decimal: decimal separator of the numbers of a CSV.

    Raises:
        DataError: if the labels can't be read.
    """
    labels = read_labels(LabelOptions(file=path.name, decimal=decimal), path.parent, None)
    patch = PatchOptions()
    facts = [label.facts for label in labels.labels]
    columns = list(dict.fromkeys(key for each in facts for key in each))
    values = {key: [each[key] for each in facts if str(each.get(key, "")).strip()] for key in columns}
    target = _target(values, len(facts))
    day = next((key for key in columns if len(values[key]) == len(facts) and all(map(_is_date, values[key]))), None)
    found = [_shapes(labels, path), _extent(labels)]
    unknown = ["which catalogue and collections: earth-search stands in; your own is named by address or path"]
    if target is not None:
        counts = Counter(map(str, values[target])).most_common()
        shown = listed((f"{word} ({count})" for word, count in counts), MOST_SHOWN)
        found.append(f"label: '{target}', {counted(len(counts), 'class', 'classes')}: {shown}")
    else:
        unknown.append(
            f"labels.property: no property looks like a class; there are {listed(columns, MOST_SHOWN) or 'none'}"
        )
    if day is not None:
        found.append(f"date: '{day}'")
    else:
        unknown.append("time: no property holds dates; the last full year stands in")
    overlapping = _overlapping(labels, patch)
    if overlapping:
        found.append(
            f"{counted(overlapping, 'patch', 'patches')} of {len(facts):,} overlap another: they stay on one side of a split"
        )
    if _has_polygons(labels) or overlapping:
        unknown.append("labels.as: a class a patch is proposed; `as: mask` takes the pixels of the labels, for maps")
    about = {
        "file": path.name,
        **({"property": target} if target else {}),
        **({"decimal": decimal} if decimal != "." else {}),
    }
    year = date.today().year - 1
    time: dict[str, Any] = (
        {"from": f"{year}-01-01", "to": f"{year}-12-31"} if day is None else {"column": day, "within": "30 days"}
    )
    lines = [
        "# Written by `eofuse init` from the labels: check every line (keys: docs/collect.md), then",
        "#",
        f"#   eofuse check {spec}",
        f"#   eofuse collect {spec} {Path(spec).with_suffix('.store').name}",
        "#",
        *(f"# {line}" for line in found),
        *_yaml({"name": name, "root": root}),
        "labels:",
        *_yaml(about, 1),
        "  # as: mask  # the pixels of the labels in place of a class a patch",
        "  # group: …  # what belongs together (farm, site), which splits keep on one side",
        "patch:  # in the UTM zone of each place; resolution in metres",
        *_yaml({"size": patch.size, "resolution": 10}, 1),
        f"time:{'  # no property holds dates' if day is None else ''}",
        *_yaml(time, 1),
        "modalities:",
        "  s2:",
        *_yaml(
            {
                "stac": "earth-search",
                "collection": "sentinel-2-l2a",
                "cloud": 20,
                "choose": "least_cloudy",
                "mask": "scl",
            },
            2,
        ),
        "  elevation:",
        *_yaml({"stac": "earth-search", "collection": "cop-dem-glo-30"}, 2),
    ]
    text = "\n".join(line.replace("\n", " ") if line.lstrip().startswith("#") else line for line in lines)
    return Proposal(f"{text}\n", (*labels.notes, *found), tuple(unknown))


def _yaml(values: dict[str, Any], depth: int = 0) -> list[str]:
    return ["  " * depth + write_yaml({key: value}).rstrip("\n") for key, value in values.items()]


def _target(values: dict[str, list[Any]], count: int) -> str | None:
    """The property that looks most like a class."""

    def is_class(key: str) -> bool:
        several = {str(value) for value in values[key]}
        whole = all(isinstance(value, str) or float(value).is_integer() for value in values[key])
        return whole and 1 < len(several) < min(MOST_CLASSES, count) and not all(map(_is_date, values[key]))

    fitting = [key for key in values if is_class(key)]
    by_name = [key for key in fitting if any(word in key.lower().split("_") or word == key.lower() for word in LIKELY)]
    words = [key for key in fitting if all(isinstance(value, str) for value in values[key])]
    return next(iter([*by_name, *words]), None)


def _is_date(value: object) -> bool:
    if not isinstance(value, str) or len(value) < 8:
        return False
    try:
        return datetime.fromisoformat(value).year >= 1900
    except ValueError:
        return False


def _has_polygons(labels: Labels) -> bool:
    return any(label.geometry.geom_type in ("Polygon", "MultiPolygon") for label in labels.labels)


def _shapes(labels: Labels, path: Path) -> str:
    if is_table(path):
        return counted(len(labels.labels), "place")
    kinds = Counter(label.geometry.geom_type.lower() for label in labels.labels)
    return ", ".join(counted(count, kind) for kind, count in kinds.most_common())


def _extent(labels: Labels) -> str:
    centres = np.array([label.centre for label in labels.labels])
    (west, south), (east, north) = centres.min(axis=0), centres.max(axis=0)
    return f"longitudes {west:.3f} to {east:.3f}, latitudes {south:.3f} to {north:.3f}"


def _overlapping(labels: Labels, patch: PatchOptions) -> int:
    """Patches around labels that share ground with another's."""
    places = [around(label, patch) for label in labels.labels]
    side = patch.size * patch.resolution
    cells: dict[tuple[str, int, int], list[int]] = {}
    for number, place in enumerate(places):
        cells.setdefault((place.crs, int(place.left // side), int(place.top // side)), []).append(number)
    found = 0
    for number, place in enumerate(places):
        column, row = int(place.left // side), int(place.top // side)
        near = (cells.get((place.crs, column + x, row + y), ()) for x in (-1, 0, 1) for y in (-1, 0, 1))
        found += any(
            other != number
            and abs(places[other].left - place.left) < side
            and abs(places[other].top - place.top) < side
            for each in near
            for other in each
        )
    return found
