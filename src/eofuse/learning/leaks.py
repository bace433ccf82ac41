"""What a run must not see of its targets: `refuse_leaking_inputs`, `refuse_one_target_twice`; what looks like it: `near_copies`.

Test patches that it learns from under another id: `copied_patches`.

An input gives a target away if the target derives from it, or if one of its channels says the same: the same numbers, in whatever
unit, or one value for each class, patch by patch or pixel by pixel. Channels are compared by their own names, whatever aliases a
recipe uses. A channel from which the target follows all but exactly may be a copy or a very good measurement: that is said, not
refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from eofuse.data.context import context_of_patches
from eofuse.data.scenes import units
from eofuse.data.splits.identity import identities
from eofuse.data.store import Rows, Store
from eofuse.data.store.arrays import known_values
from eofuse.data.targets import Target, canonical_name
from eofuse.errors import UsageError
from eofuse.modalities import MONTH, PLACE, SEASON, Kind, Modality

Inputs = Mapping[str, Sequence[str] | None]

FEWEST, MOST = 10, 2000
"""Patches that are compared: with fewer, equal values may be chance; more tell nothing new."""

MAPS = 32
"""Patches whose pixels are compared."""

SAMPLE = 4096
"""Pixels that mostly show that two rasters differ."""

TOLERANCE = 1e-4
"""Largest difference of equal numbers, in standard deviations: what float32 and another unit can make of them."""

NEAR = 0.99
"""Rank correlation from which a number may be a copy of another with noise, rounding or another scale."""


def refuse_leaking_inputs(store: Store, target: Target, inputs: Inputs, context: tuple[str, ...] = ()) -> None:
    """Raises a `UsageError` if a target derives from one of the inputs, or one of them is a copy of it.

    `context` is what the model takes beside them (see `eofuse.modalities.CONTEXT`).
    """
    for source in target.sources:
        if source in inputs and gives_away(target, store.modality(source).own_names(inputs[source])):
            found = f"the target '{target.name}' derives from the input '{source}': the model would only copy it"
            raise UsageError(found, where="inputs", fix=f"leave out '{source}'")
    for name in inputs:
        if seen := _seen_in_vectors(store, name, target):
            found = f"the target '{target.name}' derives from {seen}, of which the vectors of '{name}' were computed"
            raise UsageError(found, where="inputs", fix=f"leave out '{name}', or embed without: --inputs, --place")
    taken = _taken(store, target, context)
    if taken is not None:
        found = f"the target '{target.name}' derives from {taken}, which the model takes as an input"
        fix = "leave out fusion.foundation.place" if taken == "the place" else "choose an encoder that does not take it"
        raise UsageError(found, where="fusion", fix=fix)
    copy = copied_channel(store, target, inputs)
    if copy is not None:
        found = f"the input '{copy}' says the same as the target '{target.name}': the model would only copy it"
        raise UsageError(found, where="inputs", fix=f"leave out '{copy}'")


def _seen_in_vectors(store: Store, name: str, target: Target, above: tuple[str, ...] = ()) -> str | None:
    """What the models that computed the vectors of an input, or the vectors of which these were computed, were given of a target."""
    for facts in store.embeddings(name):
        if seen := _seen_by(facts, target):
            return seen
        for source in {str(place).partition(".")[0] for place in facts.get("inputs", ())} - {name, *above}:
            if seen := _seen_in_vectors(store, source, target, (*above, name)):
                return seen
    return None


def _seen_by(embedding: Mapping[str, Any], target: Target) -> str | None:
    """What the model that computed vectors was given of a target, in words; None if nothing."""
    for place in embedding.get("inputs", ()):
        source, _, channel = str(place).partition(".")
        if source in target.sources and gives_away(target, (channel,)):
            return f"'{source}'"
    if embedding.get("place") and target.name in ("lon", "lat"):
        return "the place"
    if embedding.get("month", "told") is not None and SEASON.name in (target.name, *target.sources):
        return "the month"
    return None


def _taken(store: Store, target: Target, context: tuple[str, ...]) -> str | None:
    """What a target derives from of the time and place that a model takes, in words; None if nothing."""
    if PLACE in context and target.name in ("lon", "lat"):
        return "the place"
    if MONTH in context and SEASON.name in (target.name, *target.sources):
        return "the month"
    if target.kind.needs_maps or target.kind.has_several:
        return None
    rows = np.flatnonzero(target.valid)[:MOST]
    for name, values in context_of_patches(store.index.iloc[rows], context).items():
        for column in values.reshape(len(rows), -1).T.astype(np.float64):
            given = np.isfinite(column) & (column >= 0 if name == MONTH else True)
            truths = (truth[given] for truth in _truths(target, rows)) if given.sum() >= FEWEST else ()
            if any(_same(truth, column[given], numbers=target.kind.is_numbers) for truth in truths):
                return "the month" if name == MONTH else "the place"
    return None


def gives_away(target: Target, channels: Iterable[str]) -> bool:
    """Whether a target derives from one of these channels of its source."""
    return not target.source_channels or not set(target.source_channels).isdisjoint(channels)


def refuse_one_target_twice(store: Store, names: Iterable[str]) -> None:
    """Raises a `UsageError` if two of these names of targets mean the same one."""
    by_canonical: dict[str, str] = {}
    for name in names:
        first = by_canonical.setdefault(canonical_name(store, name), name)
        if first != name:
            raise UsageError(f"'{first}' and '{name}' are one target", where="task.target", fix="use one of the names")


def copied_channel(store: Store, target: Target, inputs: Inputs) -> str | None:
    """The first channel of the inputs that says the same as a target, or as the raster from which it derives; None if none does."""
    for name, channel, truths, values in _comparisons(store, target, inputs):
        if any(_same(truth, values, numbers=target.kind.is_numbers) for truth in truths):
            return f"{name}.{channel}"
    for name in inputs:
        copied = _copied_raster(store, target, name, inputs[name])
        if copied is not None:
            return f"{name}.{copied}"
    return None


def near_copies(store: Store, target: Target, inputs: Inputs) -> list[str]:
    """Warnings of channels from which alone a target with one class or with numbers a patch follows all but exactly."""
    scene = units(store.index)
    found = {}
    for name, channel, truths, values in _comparisons(store, target, inputs, scene):
        if target.kind.is_numbers:
            likeness = max(_rank_correlation(truth, values) for truth in truths)
            if likeness >= NEAR:
                found[f"{name}.{channel}"] = f"rank correlation {likeness:.3f}"
        elif not target.kind.has_several and _tells_classes(truths[0], values):
            found[f"{name}.{channel}"] = "it separates the classes without an error"
    return [
        f"The target '{target.name}' follows from the input '{channel}' alone ({why}): make sure that it is no copy of the target, "
        "nor derived from it."
        for channel, why in found.items()
    ]


def copied_patches(store: Store, inputs: Inputs, learned: Rows, test: Rows) -> list[str]:
    """A warning of test patches that are training patches under another id, input by input."""
    trained, tested = (identities(store, inputs, rows) for rows in (learned, test))
    counts = {
        name: int(((digests != 0) & np.isin(digests, trained.values[name])).sum())
        for name, digests in tested.values.items()
    }
    found = ", ".join(f"'{name}' of {count}" for name, count in counts.items() if count)
    if not found:
        return []
    return [
        f"Test patches hold the same values as training patches under other ids: {found} of {len(test)}. `eofuse describe` lists "
        "them; scores of other patches will be lower."
    ]


def _comparisons(
    store: Store, target: Target, inputs: Inputs, scene: npt.NDArray[Any] | None = None
) -> Iterator[tuple[str, str, list[npt.NDArray[np.generic]], npt.NDArray[np.float64]]]:
    """Modality, channel, the values of the target and those of the channel, of all inputs without pixels.

    With `scene`, values that the patches of a scene share count once, so that a code of the scene is not taken for a copy.
    """
    if target.kind.needs_maps:
        return
    known = np.flatnonzero(target.valid)
    for name, channels in inputs.items():
        modality = store.modality(name)
        if modality.has_pixels:
            continue
        rows = known[store.present(name)[known]][:MOST]
        truths = _truths(target, rows)
        groups = None if scene is None else _codes(scene[rows], *truths)
        for channel, values in _columns(store, modality, channels, rows):
            given = np.isfinite(values)
            if groups is not None:
                given &= _first_ones(groups, values)
            if given.sum() >= FEWEST:
                yield name, channel, [truth[given] for truth in truths], values[given]


def _codes(*columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """One code a row, the same where all columns are the same."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        distinct, own = np.unique(column, return_inverse=True)
        codes = np.unique(codes * len(distinct) + own, return_inverse=True)[1]
    return codes


def _first_ones(codes: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which rows are the first of their code and value."""
    order = np.lexsort((values, codes))  # stable: the first stays the first
    ordered_codes, ordered_values = codes[order], values[order]
    first = np.ones(len(codes), dtype=bool)
    first[order[1:]] = (ordered_codes[1:] != ordered_codes[:-1]) | (ordered_values[1:] != ordered_values[:-1])
    return first


def _truths(target: Target, rows: Rows) -> list[npt.NDArray[np.generic]]:
    """What a channel could copy: the class, the number, or whether a class is there that some patches show, and some do not."""
    values = target.values[rows]
    if target.kind.is_numbers:
        return list(values.reshape(len(rows), -1).T)
    if target.kind.has_several:
        return _common(values > 0)
    indicators = values[:, None] == np.arange(len(target.classes))
    return [values, *_common(indicators)]


def _common(indicators: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.generic]]:
    """Those that are true, and false, of enough patches that equal ones are no chance."""
    count = indicators.sum(axis=0)
    return list(indicators[:, np.minimum(count, len(indicators) - count) >= FEWEST // 2].T)


def _copied_raster(store: Store, target: Target, name: str, channels: Sequence[str] | None) -> str | None:
    """The first channel of a raster that says, pixel by pixel, the same as a raster from which a target derives."""
    if store.modality(name).kind is not Kind.RASTER or store.modality(name).cell > 1:
        return None
    wanted = None if channels is None else tuple(channels)
    for source in (store.modalities[each] for each in target.sources if each in store.modalities):
        if source.kind is Kind.RASTER:
            rows = np.flatnonzero(target.valid & store.present(source.name) & store.present(name))
            rows = rows[np.linspace(0, len(rows) - 1, min(MAPS, len(rows))).astype(int)]
            of = tuple(target.source_channels) or None
            copied = _copy_of(store, source.name, of, name, wanted, tuple(rows.tolist()))
            if copied is not None:
                return copied
    return None


@lru_cache(maxsize=1024)
def _copy_of(
    store: Store,
    source: str,
    of: tuple[str, ...] | None,
    name: str,
    channels: tuple[str, ...] | None,
    rows: Sequence[int],
) -> str | None:
    """The first channel of a raster that says the same as another raster in some patches; every run of a study asks it."""
    first, other = store.modality(source), store.modality(name)
    truths = _pixels(store, first, of, np.array(rows, dtype=np.int64))
    for channel, values in _pixels(store, other, channels, np.array(rows, dtype=np.int64)).items():
        for truth in truths.values():
            given = np.isfinite(truth) & np.isfinite(values)
            if given.sum() >= FEWEST * max(1, len(rows)) and _same(
                truth[given], values[given], numbers=not first.is_categorical
            ):
                return channel
    return None


def _pixels(
    store: Store, modality: Modality, channels: Sequence[str] | None, rows: Rows
) -> dict[str, npt.NDArray[np.float64]]:
    """Values of all pixels of some patches by channel, NaN where there is none."""
    if not len(rows):
        return {}
    values = store.read(modality.name, rows).astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    if modality.nodata is not None:
        values[values == modality.nodata] = np.nan
    if modality.is_categorical:
        values[~np.isin(values, [category.code for category in modality.categories])] = np.nan
    wanted = modality.own_names(channels)
    return {name: values[:, modality.channel_index(name)].ravel() for name in wanted}


def _rank_correlation(truth: npt.NDArray[np.generic], values: npt.NDArray[np.float64]) -> float:
    """Spearman's, without its sign; 0 where either does not vary."""
    if not (np.ptp(truth.astype(np.float64)) > 0 and np.ptp(values) > 0):
        return 0.0
    return abs(float(np.corrcoef(rankdata(truth), rankdata(values))[0, 1]))


def _tells_classes(truth: npt.NDArray[np.generic], values: npt.NDArray[np.float64]) -> bool:
    """Whether each class has values of its own, in one range each, or as few of them as codes have."""
    sizes = np.sort(np.unique(truth, return_counts=True)[1])
    if len(sizes) < 2 or sizes[-2] < FEWEST // 2:
        return False
    classes, own = _pairs(truth, values)
    if (own[1:] == own[:-1]).any():
        return False
    in_ranges = (classes[1:] != classes[:-1]).sum() == len(sizes) - 1
    return bool(in_ranges or len(own) <= len(truth) / 4)


def _pairs(
    truth: npt.NDArray[np.generic], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float64]]:
    """The different pairs of class and value, by value."""
    order = np.lexsort((truth, values))
    truth, values = truth[order], values[order]
    first = np.ones(len(truth), dtype=bool)
    first[1:] = (truth[1:] != truth[:-1]) | (values[1:] != values[:-1])
    return truth[first], values[first]


def _columns(
    store: Store, modality: Modality, channels: Sequence[str] | None, rows: Rows
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Channel and values, NaN where unknown, of every column of a vector or category, and of every step of a series."""
    values = store.read(modality.name, rows)
    if modality.kind is Kind.SERIES:
        values = known_values(values)
    flat = values.astype(np.float64).reshape(len(rows), -1)
    chosen = modality.own_names(channels)
    for column in range(flat.shape[1]):
        channel = modality.channel_names[column % len(modality.channels)]
        if channel in chosen:
            yield channel, flat[:, column]


def _same(truth: npt.NDArray[np.generic], values: npt.NDArray[np.float64], *, numbers: bool) -> bool:
    """Whether numbers differ by their unit only, or each class has one value of its own."""
    if not numbers:
        if len(truth) > SAMPLE and not _one_to_one(*_pairs(truth[:SAMPLE], values[:SAMPLE])):
            return False
        classes, own = _pairs(truth, values)  # nearly as many as there are values, where these are measured numbers
        return 2 <= len(own) <= len(truth) / 2 and _one_to_one(classes, own)
    if not (np.ptp(truth.astype(np.float64)) > 0 and np.ptp(values) > 0):
        return False
    first, other = ((each - each.mean()) / each.std() for each in (truth.astype(np.float64), values))
    return bool(min(np.abs(first - other).max(), np.abs(first + other).max()) < TOLERANCE)


def _one_to_one(classes: npt.NDArray[np.generic], values: npt.NDArray[np.float64]) -> bool:
    """Whether, of different pairs by value, each class has one value, and each value one class."""
    return bool((values[1:] != values[:-1]).all()) and len(np.unique(classes)) == len(classes)
