"""The patches of a plan as samples of a store, and their index, which grows as they are read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from eofuse.data.collect.plan import Plan
from eofuse.data.collect.spec import CollectSpec
from eofuse.data.problems import Problem
from eofuse.data.scenes import GIVEN, PLACE, SCENE_KIND, STAND_IN_KM
from eofuse.data.sources.base import Arrays, Provenance, Samples
from eofuse.data.splits.footprints import components, footprints
from eofuse.data.splits.protocols import spatial_blocks
from eofuse.data.store.georeference import set_grids
from eofuse.data.store.index import times_column
from eofuse.modalities import Kind, Modality


@dataclass
class PatchFacts:
    """What was seen of a patch.

    Attributes:
        values: columns of the index.
        failures: modality, item, asset, address and reason of each asset that could not be read.
        warped: modalities that were brought to another grid.
    """

    values: dict[str, Any] = field(default_factory=dict)
    failures: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    warped: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the patch holds no modality of the catalogues."""
        return not any(value for key, value in self.values.items() if key.startswith("has_"))


class CollectedSamples(Samples):
    """The patches of a plan; see `Samples`. They are written as they come, so that `read` gives nothing."""

    def __init__(self, spec: CollectSpec, plan: Plan, mask: Modality | None) -> None:
        self.plan, self._spec = plan, spec
        self.name, self.simulated = spec.name, spec.simulated
        described = [_stored(spec, plan, name) for name in plan.recipes]
        self.modalities = (*described, *([mask] if mask is not None else []))
        self.mask = mask
        size = spec.patch.size
        self.patch_size = (size, size) if any(modality.has_pixels for modality in self.modalities) else (0, 0)
        self.fingerprint = plan.digest
        self.facts: dict[int, PatchFacts] = {}
        self.index = self._empty_index()

    def read(self, row: int) -> Arrays:
        """Nothing: patches are written when they come."""
        return {}

    def add(self, rows: Sequence[int], facts: Sequence[PatchFacts]) -> None:
        """Takes what was seen of some patches."""
        for row, each in zip(rows, facts, strict=True):
            self.facts[row] = each
            for modality in self.modalities:
                column = times_column(modality.name)
                if modality.kind is Kind.IMAGE_SERIES:
                    self.index.at[row, column] = each.values.get(column, [])

    def finish(self) -> None:
        """Makes the index of all patches."""
        places = self.plan.places
        index = self._empty_index()
        rows = [self.facts.get(row, PatchFacts()).values for row in range(len(places))]
        seen = pd.DataFrame(rows, index=index.index)
        for column in seen.columns:
            if column.startswith("has_"):
                seen[column] = seen[column].fillna(False).astype(bool)
            elif column.startswith(("items.", "time_")):
                seen[column] = pd.Series([each.get(column) for each in rows], dtype=object, index=index.index)
            elif column.startswith("times."):
                seen[column] = [value if isinstance(value, list) else [] for value in seen[column]]
        index = index.drop(columns=[column for column in seen.columns if column in index.columns])
        given = pd.DataFrame([place.facts for place in places], index=index.index)
        scenes = given.pop("scene") if "scene" in given.columns else None
        self.index = pd.concat(
            [index, seen, given.drop(columns=[c for c in given.columns if c in index.columns])], axis=1
        )
        self._set_scenes(scenes)
        self.problems = [*self._warnings()]
        self.provenance = self._provenance()

    def _empty_index(self) -> pd.DataFrame:
        places = self.plan.places
        index = pd.DataFrame(
            {
                "patch_id": [place.id for place in places],
                "lon": [place.lon for place in places],
                "lat": [place.lat for place in places],
                "time": [None if place.date is None else place.date.strftime("%Y-%m-%dT%H:%M:%S") for place in places],
            }
        )
        index["time"] = index["time"].astype(object)
        set_grids(index, [place.grid(self._spec.patch) for place in places])
        for modality in self.modalities:
            index[f"has_{modality.name}"] = False
            if modality.kind is Kind.IMAGE_SERIES:
                index[times_column(modality.name)] = pd.Series([[] for _ in places], dtype=object, index=index.index)
        return index

    def _set_scenes(self, scenes: "pd.Series[Any] | None") -> None:
        """Groups of the labels, else blocks of 50 km; patches that overlap are in one."""
        index = self.index
        blocks = spatial_blocks(index.assign(tile=None, column=-1, row=-1), STAND_IN_KM)
        given = scenes.notna() if scenes is not None else pd.Series(False, index=index.index)
        labels = blocks if scenes is None else scenes.where(given, blocks)
        numbers, names = pd.factorize(labels)
        overlapping = footprints(index).groups()
        links = np.stack([numbers, len(names) + overlapping])
        joined = components(links, len(names) + int(overlapping.max(initial=0)) + 1)[numbers]
        first: dict[int, str] = {}
        for number, name in sorted(zip(joined.tolist(), labels.tolist(), strict=True), key=lambda pair: str(pair[1])):
            first.setdefault(number, str(name))
        index["scene"] = [first[number] for number in joined]
        index[SCENE_KIND] = [GIVEN if is_given else PLACE for is_given in given]

    def _warnings(self) -> list[Problem]:
        return [Problem("warning", note, self.name) for note in self.plan.notes]

    def _provenance(self) -> Provenance:
        warped = {
            name: sorted(self.plan.places[row].id for row, each in self.facts.items() if name in each.warped)
            for name in self.plan.recipes
        }
        counts = {name: len(ids) for name, ids in warped.items() if ids}
        label = self._spec.labels.target
        labels = (
            {label: self.plan.kind}
            if label is not None and self.plan.kind and self._spec.labels.used_as == "class"
            else {}
        )
        added = {
            name: dict(sorted(Counter(str(each.added) for each in found).items()))
            for name, found in self.plan.sources.items()
            if any(each.added for each in found)
        }
        facts = {
            **self.plan.facts,
            "request": self.plan.request,
            "items": {name: len(found) for name, found in self.plan.sources.items()},
            "warped": counts,
            "failed": len({failure[3] for each in self.facts.values() for failure in each.failures}),
            **({"added": added} if added else {}),
            **({"warnings": self.plan.notes} if self.plan.notes else {}),
        }
        return Provenance("collect", labels, facts)


def _stored(spec: CollectSpec, plan: Plan, name: str) -> Modality:
    """A modality as the store holds it, with the most dates that a patch has."""
    modality = plan.recipes[name].modality
    licence = plan.facts.get("collections", {}).get(name, {})
    said = ", ".join(text for text in (licence.get("providers"), licence.get("licence")) if text)
    if not modality.attribution and said:
        modality = replace(modality, attribution=said)
    if not spec.modalities[name].is_series:
        return modality
    changes: Mapping[str, Any] = {"kind": Kind.IMAGE_SERIES, "steps": max(map(len, plan.choices[name])), "dated": True}
    return replace(modality, **changes)
