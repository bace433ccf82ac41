"""What a run must know of its pretrained models of several sensors: `input_context`, `with_pixel_size`, `foundation_warnings`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eofuse.data.context import months_of, pixel_m_of
from eofuse.data.loading import Rows
from eofuse.data.store import Store
from eofuse.errors import UsageError, did_you_mean
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.modalities import MONTH, PLACE, Kind, Modality
from eofuse.models.encoders import context_of, encoder_name, encoder_type
from eofuse.models.encoders.foundation import FoundationEncoder, channels_taken
from eofuse.models.encoders.options import FoundationOptions
from eofuse.models.foundation import FoundationModel
from eofuse.models.foundation.matching import IN_RECIPES, odd_units
from eofuse.models.fusion import FusionOptions

COMPARED = 256
"""Training patches whose spread is compared with the pretraining's."""


def input_context(store: Store, options: LearningOptions) -> tuple[str, ...]:
    """What the encoders of a run take beside modalities, some of `eofuse.modalities.CONTEXT`."""
    return context_of([store.modality(name) for name in options.inputs], options.fusion)


def hiding_inputs(store: Store, options: LearningOptions) -> set[str]:
    """Inputs of which the encoder hides by itself what a patch lacks, so that no token stands for it."""
    modalities = [store.modality(name) for name in options.inputs]
    groups = joint_modalities(modalities, options.fusion).values()
    return {each.name for group in groups if len(group) > 1 for each in group}


def with_pixel_size(fusion: FusionOptions, store: Store, modalities: Sequence[Modality]) -> FusionOptions:
    """The options with the pixels of a store, where a pretrained model of several sensors needs to know them."""
    pixel_m = pixel_m_of(store.index)
    if fusion.foundation.pixel_m is not None or pixel_m is None or not joint_modalities(modalities, fusion):
        return fusion
    return fusion.model_copy(update={"foundation": fusion.foundation.model_copy(update={"pixel_m": pixel_m})})


def joint_modalities(modalities: Sequence[Modality], fusion: FusionOptions) -> dict[str, list[Modality]]:
    """By the name of each pretrained model of several sensors, the modalities that it takes."""
    found: dict[str, list[Modality]] = {}
    for modality in modalities:
        name = encoder_name(modality, fusion)
        encoder = encoder_type(name)
        if encoder is not None and issubclass(encoder, FoundationEncoder):
            found.setdefault(name, []).append(modality)
    return found


def published_models(options: LearningOptions) -> list[type[FoundationModel]]:
    """The pretrained models of several sensors among the encoders that a recipe names."""
    fusion = options.fusion
    named = [fusion.encoder, *(each for name in options.inputs if (each := fusion.encoder_of(name)))]
    found = (encoder_type(name) for name in dict.fromkeys(named))
    return [each.foundation for each in found if each is not None and issubclass(each, FoundationEncoder)]


def starts_published(options: RunOptions) -> bool:
    """Whether a run starts from trained weights of such a model, so that its random twin is its control."""
    return options.start is not None and not options.start.is_random and bool(published_models(options))


def provenance_of_weights(store: Store, options: RunOptions, digest: str | None) -> list[dict[str, str]]:
    """From where the pretrained models of several sensors are that a run uses, live or by their vectors in the store.

    Args:
        store: with the inputs.
        options: of the run.
        digest: SHA-256 of the file from which it starts.

    Returns:
        For each, `title`, `licence`, `paper`, `file` and `sha256`.
    """
    found = []
    if options.start is not None and starts_published(options):
        for model in published_models(options):
            files = ", ".join(Path(each).name for each in (options.start.source, *options.start.also))
            file = {"file": files, "sha256": digest or ""}
            found.append({"title": model.title, "licence": model.licence, "paper": model.paper, **file})
    for name in options.inputs:
        for facts in store.embeddings(name):
            weights = facts.get("weights") or {}
            if facts.get("random_weights_seed") is None and weights.get("licence"):
                words = {key: str(weights.get(key, "")) for key in ("licence", "paper", "file", "sha256")}
                found.append({"title": str(facts.get("model", name)), **words})
    return found


def foundation_warnings(
    store: Store,
    options: LearningOptions,
    present: Mapping[str, np.ndarray],
    rows: Rows,
) -> list[str]:
    """What a reader of results must know of the inputs of pretrained models of several sensors.

    Args:
        store: with the patches.
        options: of the run.
        present: which patches have which input, (patches,) by name.
        rows: of the patches that are learned from.

    Raises:
        UsageError: if a unit is given for what the store does not have, or is not known.
        DataError: if a spread is so different from that of the pretraining that the unit must be wrong.
    """
    modalities = [
        store.modality(name).select(channels) if channels else store.modality(name)
        for name, channels in options.inputs.items()
    ]
    fusion = options.fusion
    groups = joint_modalities(modalities, fusion)
    if not groups:
        return []
    places = {
        name
        for each in store.modalities.values()
        for name in (each.name, *(f"{each.name}.{c}" for c in each.channel_names))
    }
    for name in fusion.foundation.units:
        if name not in places:
            raise UsageError(
                f"no modality or channel '{name}'", where=IN_RECIPES.unit[:-1], fix=did_you_mean(name, places)
            )
    found = []
    for name, group in groups.items():
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED).astype(np.int64))]
        found += [
            f"{name}: {warning}."
            for warning in _odd_inputs(
                store,
                name,
                tuple(group),
                tuple(fusion.foundation.units.items()),
                tuple((each.name, tuple(chosen[present[each.name][chosen]].tolist())) for each in group),
            )
        ]
    context = context_of(modalities, fusion)
    kinds = (Kind.SERIES, Kind.IMAGE_SERIES)
    series = [each for group in groups.values() for each in group if each.kind in kinds]
    if any(not each.dated for each in series):
        found.append(f"The steps of {series[0].name} have no dates: their months are hidden from {', '.join(groups)}.")
    unknown = int((months_of(store.index)[rows] < 0).sum()) if MONTH in context and not series else 0
    if unknown:
        month = fusion.foundation.month
        what = f"their month is hidden from {', '.join(groups)}" if month is None else f"they count as of month {month}"
        found.append(f"{unknown:,} of {len(rows):,} training patches have no date: {what}.")
    if PLACE in context:
        found.append(
            f"{', '.join(groups)} sees longitude and latitude, which can tell it the site: test on other sites than those of training."
        )
    return found


@lru_cache(maxsize=64)
def _odd_inputs(
    store: Store,
    name: str,
    modalities: tuple[Modality, ...],
    units: tuple[tuple[str, str], ...],
    rows: tuple[tuple[str, tuple[int, ...]], ...],
) -> list[str]:
    """Warnings of channels unlike those of the pretraining; every run of a study asks it.

    `rows` are, by modality, the patches that are compared.
    """
    encoder = encoder_type(name)
    assert encoder is not None and issubclass(encoder, FoundationEncoder)
    taken = channels_taken(encoder.foundation, modalities, FoundationOptions(units=dict(units)))
    stored = {
        each.name: store.read(
            each.name,
            dict(rows)[each.name],
            channels=[store.modality(each.name).channel_index(channel) for channel in each.channel_names],
        )
        for each in modalities
    }
    values: dict[str, Tensor] = {each.channel.name: each.values(stored[each.modality.name]) for each in taken}
    for each in taken:
        if each.modality.kind is Kind.IMAGE_SERIES:  # what fills up shorter series is no value
            exists = np.isfinite(store.times(each.modality.name, dict(rows)[each.modality.name]))
            values[each.channel.name] = values[each.channel.name][torch.from_numpy(exists)]
    values = {channel: each if each.numel() else torch.full((1,), torch.nan) for channel, each in values.items()}
    return [*odd_units(taken, values, IN_RECIPES), *encoder.foundation.processing_notes(modalities)]
