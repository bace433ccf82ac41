"""What a run must not see of its targets: `refuse_leaking_inputs`, `refuse_one_target_twice`.

An input gives a target away if the target derives from it, or if one of its channels says the same: the same numbers, in whatever
unit, or one value for each class. Channels are compared by their own names, whatever aliases a recipe uses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.series import known_values
from eofuse.data.store import Rows, Store
from eofuse.data.targets import Target, canonical_name
from eofuse.errors import UsageError
from eofuse.modalities import Kind, Modality

Inputs = Mapping[str, Sequence[str] | None]

FEWEST, MOST = 10, 2000
"""Patches that are compared: with fewer, equal values may be chance; more tell nothing new."""

TOLERANCE = 1e-4
"""Largest difference of equal numbers, in standard deviations: what float32 and another unit can make of them."""


def refuse_leaking_inputs(store: Store, target: Target, inputs: Inputs) -> None:
    """Raises a `UsageError` if a target derives from one of the inputs, or one of them is a copy of it.

    Args:
        store: the store.
        target: what is to be predicted.
        inputs: modalities, with the names of their channels or None for all.
    """
    for source in target.sources:
        if source in inputs and gives_away(target, store.modality(source).own_names(inputs[source])):
            found = f"the target '{target.name}' derives from the input '{source}': the model would only copy it"
            raise UsageError(found, where="inputs", fix=f"leave out '{source}'")
    copy = copied_channel(store, target, inputs)
    if copy is not None:
        found = f"the input '{copy}' says the same as the target '{target.name}': the model would only copy it"
        raise UsageError(found, where="inputs", fix=f"leave out '{copy}'")


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
    """The first channel of the inputs that says the same as a target with one class or with numbers a patch; None if none does.

    Rasters are not looked at: a value of the patch is no pixel of it.
    """
    if target.kind not in ("single_label", "regression"):
        return None
    known = np.flatnonzero(target.known)
    for name, channels in inputs.items():
        modality = store.modality(name)
        if modality.kind is Kind.RASTER:
            continue
        rows = known[store.present(name)[known]][:MOST]
        truths = target.values[rows].reshape(len(rows), -1).T
        for channel, values in _columns(store, modality, channels, rows):
            given = np.isfinite(values)
            if given.sum() >= FEWEST and any(_same(truth[given], values[given], target.kind) for truth in truths):
                return f"{name}.{channel}"
    return None


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


def _same(truth: npt.NDArray[np.generic], values: npt.NDArray[np.float64], kind: str) -> bool:
    """Whether numbers differ by their unit only, or each class has one value of its own."""
    if kind == "single_label":
        pairs = pd.DataFrame({"truth": truth, "value": values}).drop_duplicates()
        few = 2 <= len(pairs) <= len(truth) / 2
        return few and not pairs["truth"].duplicated().any() and not pairs["value"].duplicated().any()
    if not (np.ptp(truth.astype(np.float64)) > 0 and np.ptp(values) > 0):
        return False
    first, other = ((each - each.mean()) / each.std() for each in (truth.astype(np.float64), values))
    return bool(min(np.abs(first - other).max(), np.abs(first + other).max()) < TOLERANCE)
