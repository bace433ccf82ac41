"""Inputs without pixels in a map: values that every window of a scene has, from the spec of scenes or as they are given."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eofuse.data.sources.scenes.spec import SceneLayer
from eofuse.data.sources.scenes.values import SceneValues
from eofuse.data.store.index import category_code
from eofuse.errors import UsageError, did_you_mean
from eofuse.maps.channels import channel_positions
from eofuse.modalities import Kind, Modality

Value = str | float | Sequence[float] | Mapping[str, float]
"""A value as it is given: a class, a number, numbers in the order of the model's channels, or numbers by channel."""


def with_categories(layer: SceneLayer, modality: Modality) -> SceneLayer:
    """What a spec says of a category, with the model's classes where it lists none."""
    if layer.as_columns().kind != "category" or layer.categories is not None or not modality.categories:
        return layer
    names = {category.code: category.name for category in modality.categories}
    in_order = list(names) == list(range(len(names)))  # cells hold names then, as when the classes followed from them
    return layer.model_copy(update={"categories": tuple(names.values()) if in_order else names})


def constant_of(values: SceneValues, modality: Modality, scene: str) -> npt.NDArray[Any] | None:
    """The values of a scene with the model's channels, by name, None if it lacks them.

    Args:
        values: of the spec.
        modality: as the model takes it.
        scene: name of the scene.

    Raises:
        DataError: if a channel of the model is missing.
    """
    found = values.of(scene)
    if found is None or modality.is_categorical:
        return found
    positions = channel_positions(modality, values.modality, f"scene {scene}, {modality.name}")
    return found[list(positions)] if modality.kind is Kind.VECTOR else found[:, [0, *(each + 1 for each in positions)]]


def given_constant(given: Value, modality: Modality) -> npt.NDArray[Any]:
    """A value as it was given, as the model takes it.

    Args:
        given: a class by name or code, or numbers as the store held them; words are split at commas.
        modality: as the model takes it.

    Raises:
        UsageError: if it does not fit the modality.
    """
    where = f"value of {modality.name}"
    if modality.kind in (Kind.SERIES, Kind.IMAGE_SERIES):
        raise UsageError("a series can't be given so", where=where, fix="name its table in a spec of scenes")
    if modality.kind is Kind.CATEGORY:
        names = [category.name for category in modality.categories]
        is_code = isinstance(given, str) and given not in names and given.strip().isdigit()
        try:
            return np.array(category_code(modality, int(str(given)) if is_code else given), dtype=modality.dtype)
        except ValueError as error:
            raise UsageError(str(error), where=where, fix=did_you_mean(given, names)) from None
    channels = modality.channel_names
    if isinstance(given, Mapping):
        own = {modality.channel_names[modality.channel_index(name)]: number for name, number in given.items()}
        lacking = [name for name in channels if name not in own]
        if lacking:
            raise UsageError(f"there is no number for '{lacking[0]}'", where=where, fix="give each channel one")
        given = [own[name] for name in channels]
    words = given.split(",") if isinstance(given, str) else given
    parts: list[Any] = list(words) if isinstance(words, Iterable) else [words]
    try:
        with np.errstate(over="ignore"):
            numbers = np.array([float(part) for part in parts]).astype(modality.dtype)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise UsageError(f"{given!r} is no list of numbers", where=where, fix=f"give {', '.join(channels)}")
    if len(numbers) != len(channels):
        what = f"{len(numbers)} numbers for {len(channels)} channels"
        raise UsageError(what, where=where, fix=f"give, in this order, {', '.join(channels)}")
    return numbers


def given_month(given: Value) -> int:
    """A month as it was given, 1 to 12.

    Raises:
        UsageError: if it is none.
    """
    try:
        month = int(str(given))
    except ValueError:
        month = 0
    if not 1 <= month <= 12:
        raise UsageError(f"there is no month '{given}'", where="value of month", fix="give 1 to 12")
    return month
