"""What a collection fetches: `Plan` says for each patch which assets of which items, and lasts as a file until the store is made."""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from eofuse.data.collect.choosing import Acquisition
from eofuse.data.collect.layers import Recipe
from eofuse.data.collect.places import Place
from eofuse.files import replacing

VERSION = 1
PLAN_FILE = "plan.json.z"


@dataclass(frozen=True)
class Source:
    """An item as far as a plan needs it.

    Attributes:
        id: its name.
        time: of it, ISO 8601, "" if it has none.
        cloud: percent of clouds, None if it does not say.
        added: number that is added to its values.
        hrefs: key of an asset → its address or path.
    """

    id: str
    time: str
    cloud: float | None
    added: float
    hrefs: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """What is fetched.

    Attributes:
        request: digest of the spec and the labels.
        places: the patches to be, in the order in which they are read.
        recipes: by modality.
        sources: by modality, the items that patches take.
        choices: by modality, for each place its acquisitions; none if it has no item.
        kind: of the labels: `class`, `number` or "".
        facts: for the description of the store.
        notes: what looks odd, in words.
        missing: what is known to be missing: patch, modality and reason.
    """

    request: str
    places: list[Place]
    recipes: dict[str, Recipe]
    sources: dict[str, list[Source]]
    choices: dict[str, list[list[Acquisition]]]
    kind: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """SHA-256 of what the content of the store depends on."""
        return hashlib.sha256(json.dumps(self._values(), sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Keeps it in a folder."""
        with replacing(folder / PLAN_FILE) as temporary:
            temporary.write_bytes(zlib.compress(json.dumps(self._values()).encode(), 1))

    def _values(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "request": self.request,
            "places": [_place_values(place) for place in self.places],
            "recipes": {name: recipe.to_dict() for name, recipe in self.recipes.items()},
            "sources": {
                name: [{**vars(each), "hrefs": dict(each.hrefs)} for each in found]
                for name, found in self.sources.items()
            },
            "choices": {
                name: [[[list(one.items), _text(one.time), one.share, one.cloud] for one in place] for place in every]
                for name, every in self.choices.items()
            },
            "kind": self.kind,
            "facts": self.facts,
            "notes": self.notes,
            "missing": [list(each) for each in self.missing],
        }


def read_plan(folder: Path) -> Plan | None:
    """The plan in a folder; None if there is none, or it is damaged or another version's."""
    try:
        values = json.loads(zlib.decompress((folder / PLAN_FILE).read_bytes()))
        if values["version"] != VERSION:
            return None
        return Plan(
            values["request"],
            [_place(each) for each in values["places"]],
            {name: Recipe.from_dict(each) for name, each in values["recipes"].items()},
            {name: [Source(**each) for each in found] for name, found in values["sources"].items()},
            {name: [_acquisitions(place) for place in every] for name, every in values["choices"].items()},
            values["kind"],
            values["facts"],
            values["notes"],
            [(patch, modality, reason) for patch, modality, reason in values["missing"]],
        )
    except (OSError, ValueError, zlib.error, LookupError, TypeError):
        return None


def _acquisitions(values: Sequence[Sequence[Any]]) -> list[Acquisition]:
    return [Acquisition(tuple(items), _time(time), share, cloud) for items, time, share, cloud in values]


def _place_values(place: Place) -> dict[str, Any]:
    return {**vars(place), "date": _text(place.date), "labels": list(place.labels)}


def _place(values: Mapping[str, Any]) -> Place:
    return Place(**{**values, "date": _time(values["date"]), "labels": tuple(values["labels"])})


def _text(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
