"""Reads and composes the patches of a plan, portion by portion, some ahead of what is written."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from threadpoolctl import threadpool_limits

from eofuse.data.collect.choosing import Acquisition
from eofuse.data.collect.composing import Composed, UnitError, assets_read, compose, part_of, wanted_of
from eofuse.data.collect.layers import completed
from eofuse.data.collect.masks import LabelMask
from eofuse.data.collect.plan import Plan
from eofuse.data.collect.presets import known_collection
from eofuse.data.collect.reading import Reader, Wanted
from eofuse.data.collect.samples import CollectedSamples, PatchFacts
from eofuse.data.collect.spec import CollectLayer, CollectSpec
from eofuse.data.reading.resampling import Values
from eofuse.data.sources.base import Arrays
from eofuse.data.store.arrays import Chunk, require_array
from eofuse.data.store.index import times_column
from eofuse.errors import DataError
from eofuse.modalities import Kind

AHEAD = 2
"""Portions that are read while one is composed."""

MOST_FAILURES = 40
"""Assets one after another that can't be reached, after which the network is taken to be down."""


@dataclass(frozen=True)
class _Job:
    """What is read of an asset for a portion."""

    name: str
    key: str
    source: int
    href: str
    sign: str
    rows: tuple[int, ...]


class Portions:
    """Reads and composes portions, some ahead of what is written."""

    def __init__(self, spec: CollectSpec, plan: Plan, reader: Reader, mask: LabelMask | None) -> None:
        self._spec, self._plan, self._reader, self._mask = spec, plan, reader, mask
        self._layers = {name: _completed(layer, name) for name, layer in spec.modalities.items()}
        self._grids = [place.grid(spec.patch) for place in plan.places]
        self._points = [place.grid(spec.patch.model_copy(update={"size": 1})) for place in plan.places]
        self._unreachable = 0
        self._lock = threading.Lock()

    def read(
        self, portions: Sequence[Sequence[int]], samples: CollectedSamples
    ) -> Iterator[tuple[Chunk, list[PatchFacts]]]:
        """The patches of each portion, and what was seen of them."""
        with threadpool_limits(1), ThreadPoolExecutor(self._spec.network.connections) as pool:
            waiting: deque[tuple[Sequence[int], list[tuple[_Job, Future[Any]]]]] = deque()
            try:
                for portion in portions:
                    waiting.append((portion, [(job, pool.submit(self._fetch, job)) for job in self._jobs(portion)]))
                    if len(waiting) > AHEAD:
                        yield self._compose(*waiting.popleft(), samples)
                while waiting:
                    yield self._compose(*waiting.popleft(), samples)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _jobs(self, portion: Sequence[int]) -> list[_Job]:
        """Each asset that any patch of a portion needs, once."""
        rows: dict[tuple[str, int], dict[int, None]] = {}
        for name in self._plan.recipes:
            for row in portion:
                for acquisition in self._plan.choices[name][row]:
                    for source in acquisition.items:
                        rows.setdefault((name, source), {})[row] = None
        jobs = []
        for (name, source), wanted in rows.items():
            sign = self._layers[name].sign or ""
            hrefs = self._plan.sources[name][source].hrefs
            jobs += [_Job(name, key, source, hrefs[key], sign, tuple(wanted)) for key in assets_read(self._plan, name)]
        return jobs

    def _grid(self, name: str, row: int) -> Any:
        return self._points[row] if self._layers[name].at == "point" else self._grids[row]

    def _fetch(self, job: _Job) -> tuple[list[Values | None], set[int]] | DataError:
        """Pixels of an asset for each row of a job, and the rows for which it was brought to another grid; or what went wrong."""
        plan = self._plan
        source = plan.sources[job.name][job.source]
        where = f"modalities.{job.name}, item {source.id}, asset {job.key}"
        layer, recipe = self._layers[job.name], plan.recipes[job.name]
        warped: set[int] = set()
        with self._lock:
            if self._unreachable >= MOST_FAILURES:
                return DataError("was not tried: the network is down", where=where)
        wanted = []
        for row in job.rows:
            each = wanted_of(layer, recipe, job.key, self._grid(job.name, row), source, where)
            wanted.append(Wanted(each.grid, _noting(each, row, warped)) if job.key in recipe.bands else each)
        try:
            found = self._reader.read(job.href, job.sign, wanted, where)
        except UnitError:
            raise
        except DataError as error:
            with self._lock:
                self._unreachable += " tries: " in error.what
            return error
        with self._lock:
            self._unreachable = 0
        return found, warped

    def _compose(
        self, portion: Sequence[int], jobs: Sequence[tuple[_Job, Future[Any]]], samples: CollectedSamples
    ) -> tuple[Chunk, list[PatchFacts]]:
        pixels: dict[tuple[str, int, int, str], Values | None] = {}
        warped: set[tuple[str, int, int]] = set()
        failures: dict[int, list[tuple[str, str, str, str, str]]] = {}
        for job, future in jobs:
            result = future.result()
            source = self._plan.sources[job.name][job.source]
            if isinstance(result, DataError):
                for row in job.rows:
                    reason = f"{result.what}; {result.fix}" if result.fix else result.what
                    failures.setdefault(row, []).append((job.name, source.id, job.key, job.href, reason))
                continue
            for row, values in zip(job.rows, result[0], strict=True):
                pixels[job.name, row, job.source, job.key] = values
            warped |= {(job.name, row, job.source) for row in result[1]}
        if self._unreachable >= MOST_FAILURES:
            first = next(iter(failures.values()))[0] if failures else ("", "", "", "", "")
            fix = "check the connection and run the same command again: it goes on where it stopped"
            raise DataError(
                f"{MOST_FAILURES} assets one after another can't be reached: {first[4]}", where=first[3], fix=fix
            )
        chunk = Chunk.empty(samples.modalities, samples.patch_size, len(portion))
        every = []
        for row in portion:
            arrays, facts = self._patch(row, pixels, warped)
            facts.failures = failures.get(row, [])
            every.append(facts)
            place = self._plan.places[row]
            if facts.is_empty:
                reason = facts.failures[0][4] if facts.failures else "no item, or nothing but nodata"
                chunk.bad.append((place.id, f"holds no modality: {reason}"))
                continue
            for modality in samples.modalities:
                if modality.is_array and modality.name in arrays:
                    require_array(modality, arrays[modality.name], samples.patch_size, f"patch {place.id}")
            chunk.add(
                row, {name: values for name, values in arrays.items() if name in chunk.arrays or name in chunk.dates}
            )
        return chunk.finish(), every

    def _patch(
        self, row: int, pixels: Mapping[tuple[str, int, int, str], Values | None], warped: set[tuple[str, int, int]]
    ) -> tuple[Arrays, PatchFacts]:
        arrays: Arrays = {}
        facts = PatchFacts()
        place = self._plan.places[row]
        for name, recipe in self._plan.recipes.items():
            layer, chosen = self._layers[name], self._plan.choices[name][row]
            dates = []
            for acquisition in chosen:
                parts = []
                for number in acquisition.items:
                    found = {
                        key: pixels[name, row, number, key]
                        for key in assets_read(self._plan, name)
                        if (name, row, number, key) in pixels
                    }
                    if any(found.get(key) is not None for key in recipe.bands):
                        source = self._plan.sources[name][number]
                        is_warped = (name, row, number) in warped
                        parts.append(part_of(layer, recipe, source, self._grid(name, row), found, is_warped))
                dates.append((_day(acquisition.time), parts))
            composed = compose(layer, recipe, dates, f"patch {place.id}, {name}")
            facts.values |= self._columns(name, composed, chosen)
            if composed.values is not None and recipe.modality.is_array:
                arrays[name] = composed.values
            if composed.warped:
                facts.warped.append(name)
        if self._mask is not None and not facts.is_empty:
            name = self._mask.modality.name
            drawn = self._mask.draw(place)
            labelled = bool((drawn != self._mask.modality.nodata).any())
            facts.values |= {
                f"nodata.{name}": float((drawn == self._mask.modality.nodata).mean()),
                f"has_{name}": labelled,
            }
            if labelled:
                arrays[name] = drawn
        return arrays, facts

    def _columns(self, name: str, composed: Composed, chosen: Sequence[Acquisition]) -> dict[str, Any]:
        """Columns of the index about a modality of a patch."""
        recipe, sources = self._plan.recipes[name], self._plan.sources[name]
        items = [sources[number] for acquisition in chosen for number in acquisition.items]
        clouds = [source.cloud for source in items if source.cloud is not None]
        cloud = composed.cloud if recipe.mask is not None else float(max(clouds)) / 100 if clouds else None
        values: dict[str, Any] = {f"has_{name}": composed.values is not None}
        if recipe.modality.kind is Kind.VECTOR:
            numbers = [None] * len(recipe.modality.channels) if composed.values is None else composed.values.tolist()
            values |= {
                f"{name}.{channel}": number
                for channel, number in zip(recipe.modality.channel_names, numbers, strict=True)
            }
        else:
            values[f"nodata.{name}"] = composed.nodata
        if self._layers[name].is_series:
            values[times_column(name)] = list(composed.days) if composed.values is not None else []
        elif items and items[0].time and len(chosen) == 1:
            values[f"time_{name}"] = datetime.fromisoformat(items[0].time).strftime("%Y-%m-%dT%H:%M:%S")
        if cloud is not None and cloud == cloud:
            values[f"cloud.{name}"] = cloud
        values[f"items.{name}"] = " ".join(source.id for source in items) or None
        return values


def _completed(layer: CollectLayer, name: str) -> CollectLayer:
    """A layer with what is known of its collection."""
    known = known_collection(layer.stac or "", layer.collection or "")
    return completed(name, layer, known)


def _noting(wanted: Wanted, row: int, warped: set[int]) -> Any:
    def place(file: Any, grid: Any) -> Any:
        placed = wanted.place(file, grid)
        if placed.method is not None:
            warped.add(row)
        return placed

    return place


def _day(time: datetime | None) -> float:
    return 0.0 if time is None else time.timestamp() / 86_400
