"""`map_weights`: a model takes what it can from a source, with a row for every tensor on either side.

Encoders start from encoders, whatever the fusion. The first layer of an encoder is put together by the names of its inputs, from
all encoders of the source that see them. Everything behind it, its trunk, comes from one of them and never from a mean, since
units of networks that were trained apart do not correspond. So an `early` encoder takes its first layer from those of all
modalities, side by side, and its trunk from one; and each encoder of `late` fusion takes its columns of an early first layer, and a
copy of the trunk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

from eofuse.errors import UsageError, did_you_mean
from eofuse.models.encoders import Encoder
from eofuse.models.model import Model
from eofuse.models.parts import Column, Part, channels_of, columns_of
from eofuse.models.pretrained.source import Source
from eofuse.models.pretrained.stems import MappedColumns, join_weights, map_columns, match_columns

Status = Literal["loaded", "mapped", "random", "fresh", "left over"]


@dataclass(frozen=True)
class Row:
    """Status of a tensor.

    Attributes:
        part: of the model; "" for a tensor of the source that is left over.
        tensor: name in the model.
        source: name in the source; of a first layer of which only some channels are left over, with these in brackets.
        shape: sides, with × between.
        status: `loaded` as it was; `mapped` by the names of channels; `random`: as it began, in place of a source; `fresh`: not in the
            source; `left over`: in the source only.
        note: why.
    """

    part: str
    tensor: str
    source: str
    shape: str
    status: Status
    note: str = ""


@dataclass
class _Taken:
    """What is taken so far."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    used_columns: set[tuple[str, int]] = field(default_factory=set)
    known: dict[Column, Column] = field(default_factory=dict)

    def take(self, part: Part, name: str, source: str, tensor: Tensor, status: Status, note: str = "") -> None:
        target = part.tensors[name]
        self.tensors[target] = tensor
        self.rows[target] = Row(part.title, target, source, _shape(tensor), status, note)


def map_weights(model: Model, source: Source, trunk: str | None = None) -> list[Row]:
    """Gives a model the weights of a source, and the normalisation with which they were trained.

    Args:
        model: untrained; its weights, normalisation and specification are changed.
        source: the weights.
        trunk: modality whose encoder in the source gives the trunk where several could: for encoders over several modalities,
            and for those of which the source knows no channel. By default, the first modality of the encoder that the source
            knows; encoders without any start fresh.

    Raises:
        UsageError: if nothing fits, the encoders are different networks, units differ, or the source has no such trunk.
    """
    targets = model.parts()
    _check_encoder(targets, source)
    if trunk is not None:
        _check_trunk(trunk, source, targets)
        targets.sort(key=lambda part: not part.sees(trunk))
    state, taken = model.state_dict(), _Taken()
    for part in targets:
        _take_part(part, targets, source, trunk, state, taken)
    if not any(name.startswith("fusion.") for name in taken.tensors):
        seen = _names(column for part in source.parts if part.kind in ("raster", "vector") for column in part.columns)
        wanted = _names(column for modality in model.spec.modalities for column in columns_of(modality))
        what = f"no tensor fits: the weights see {seen}; the model sees {wanted}"
        fix = "choose other inputs or weights, or name the channels as start.bands"
        raise UsageError(what, where=source.title, fix=fix)
    model.load_state_dict({**state, **taken.tensors})
    rows = _normalise(model, source, taken)
    for part in model.parts():
        for tensor in part.tensors.values():
            note = taken.notes.get(tensor, _why_fresh(part, source))
            fresh = Row(part.title, tensor, "", _shape(state[tensor]), "fresh", note)
            rows.append(taken.rows.pop(tensor) if tensor in taken.rows else fresh)
    unique = {row.tensor: row for row in reversed(rows)}  # a trunk is a part of each raster that shares it
    return [*reversed(unique.values()), *_left_over(source, taken)]


def random_rows(model: Model) -> list[Row]:
    """The table of a model that starts from no source: what published weights would give is random, or else all encoders."""
    encoders = [(path, each) for path, each in model.named_modules() if isinstance(each, Encoder)]
    published = {f"{path}.{name}" for path, encoder in encoders for name in encoder.published()}
    every = {f"{path}.{name}" for path, encoder in encoders for name in encoder.state_dict()}
    state, chosen = model.state_dict(), published or every
    return [
        Row(part.title, tensor, "", _shape(state[tensor]), "random" if tensor in chosen else "fresh")
        for part in model.parts()
        for tensor in part.tensors.values()
    ]


def _why_fresh(part: Part, source: Source) -> str:
    if part.kind.startswith("head") and any(other.kind == part.kind for other in source.parts):
        return "the weights have it for other inputs, another fusion or other values"
    return "not in the weights"


def _take_part(
    part: Part, targets: Sequence[Part], source: Source, trunk: str | None, state: dict[str, Tensor], taken: _Taken
) -> None:
    like = (part.kind, part.identity, part.network)
    alike = [other for other in source.parts if (other.kind, other.identity, other.network) == like]
    related = [other for other in alike if not part.columns or match_columns(part.columns, other.columns)]
    related.sort(key=lambda other: min(match_columns(part.columns, other.columns), default=0))
    named = [other for other in alike if trunk is not None and part.kind == "raster" and _gives(other, trunk, targets)]
    chosen = [other for other in named if other in related] or related or named
    if not chosen:
        return
    if (
        part.kind == "raster"
        and not _same(part, chosen[0])
        and not _has_one_first_layer(part, chosen[0], source, state)
    ):
        raise UsageError(
            f"the first layer of the encoder '{part.network}' is not one convolution over its channels, "
            "so it can't be mapped by their names",
            where=source.title,
            fix="choose another encoder, or exactly the channels of the weights in their order",
        )
    if related and part.first:
        _take_first(part, related, source, state, taken)
    for name, target in part.tensors.items():
        origin = chosen[0].tensors.get(name)
        if (name == part.first and part.columns) or origin is None or target in taken.tensors:
            continue
        tensor = source.tensors[origin]
        if tensor.shape != state[target].shape:
            taken.notes[target] = f"{origin} has the shape {_shape(tensor)}"
        elif name == chosen[0].first and not _same(part, chosen[0]):
            taken.notes[target] = f"{origin} has other channels"
        else:
            taken.take(part, name, origin, tensor, "loaded")
            taken.used.add(origin)
    if part.identity is not None and not part.first:
        taken.known |= {column: column for column in part.columns}


def _has_one_first_layer(part: Part, other: Part, source: Source, state: dict[str, Tensor]) -> bool:
    """Whether one convolution alone sees the channels, as far as shapes tell."""
    if not part.first or not other.first:
        return False
    here, there = len(part.columns), len(other.columns)
    for name in part.tensors.keys() & other.tensors.keys() - {part.first}:
        target, origin = state[part.tensors[name]], source.tensors[other.tensors[name]]
        beside = here != there or name.startswith("body.stages.0.0.")
        if beside and target.ndim == origin.ndim == 4 and (target.shape[1], origin.shape[1]) == (here, there):
            return False
    return True


def _take_first(part: Part, related: Sequence[Part], source: Source, state: dict[str, Tensor], taken: _Taken) -> None:
    """Takes a first layer by the names of its inputs."""
    target = part.tensors[part.first]
    fresh = state[target]
    fitting = []
    for other in related:
        tensor = source.tensors[other.tensors[other.first]] if other.first else None
        if tensor is None or (*tensor.shape[:1], *tensor.shape[2:]) != (*fresh.shape[:1], *fresh.shape[2:]):
            taken.notes[target] = "the first layers have other shapes"
        else:
            fitting.append((other, tensor))
    if not fitting:
        return
    weight, columns = join_weights((tensor, other.columns) for other, tensor in fitting)
    mapped = map_columns(fresh, part.columns, weight, columns)
    origins = [(other.tensors[other.first], index) for other, _ in fitting for index in range(len(other.columns))]
    for position, index in mapped.known.items():
        taken.used_columns.add(origins[index])
        taken.known[part.columns[position]] = columns[index]
    names = list(dict.fromkeys(origins[index][0] for index in mapped.known.values()))
    taken.used |= set(names)
    in_order = mapped.known == {index: index for index in range(len(columns))}
    same = len(fitting) == 1 and in_order and mapped.weight.shape == weight.shape
    note = "" if same else _describe(part, mapped)
    taken.take(part, part.first, " + ".join(names), mapped.weight, "loaded" if same else "mapped", note)


def _describe(part: Part, mapped: MappedColumns) -> str:
    """A few words on a mapped first layer, by modality."""
    lines = []
    for modality in dict.fromkeys(column.modality for column in part.columns):
        members = [position for position, column in enumerate(part.columns) if column.modality == modality]
        known = [position for position in members if position in mapped.known]
        filled = [part.columns[position].channel.name for position in members if position in mapped.filled]
        fresh = len(members) - len(known) - len(filled)
        words = [f"{len(known)} by name"] if known else []
        words += [f"mean of these for {', '.join(filled)}, all × {len(known)}/{len(members)}"] if filled else []
        words += [f"{fresh} fresh"] if fresh else []
        lines.append(f"{modality}: {'; '.join(words)}")
    return " | ".join(lines)


def _normalise(model: Model, source: Source, taken: _Taken) -> list[Row]:
    """Takes the normalisation of the channels that were matched over; a row for each modality."""
    mean = {name: list(values) for name, values in model.spec.statistics.mean.items()}
    std = {name: list(values) for name, values in model.spec.statistics.std.items()}
    rows, state = [], model.state_dict()
    for modality in model.spec.modalities:
        if modality.is_categorical:
            continue
        own, columns = [], channels_of(modality)
        for position, column in enumerate(columns):
            there = source.statistics.get(taken.known[column]) if column in taken.known else None
            if there is None:
                own.append(column.channel.name)
            else:
                mean[modality.name][position], std[modality.name][position] = there
        count = len(modality.channels)
        status: Status = "loaded" if not own else "fresh" if len(own) == count else "mapped"
        matched = any(column in taken.known for column in columns)
        words = list(source.notes) if matched and len(own) == count else []
        words += [f"by the training patches: {', '.join(own)}"] if status == "mapped" else []
        words += ["normalised by the training patches"] if status == "fresh" and not words else []
        origin = source.title if status != "fresh" else ""
        for moment in ("mean", "std"):
            tensor = f"normaliser.{modality.name}_{moment}"
            rows.append(Row("normalisation", tensor, origin, str(count), status, "; ".join(words)))
        tensor = f"normaliser.{modality.name}_edges"
        if tensor in state:
            note = "quantiles of the training patches"
            rows.append(Row("normalisation", tensor, "", _shape(state[tensor]), "fresh", note))
    model.normalise_by(replace(model.spec.statistics, mean=mean, std=std))
    return rows


def _left_over(source: Source, taken: _Taken) -> list[Row]:
    """What of the source no part of the model took."""
    rows = []
    for part in source.parts:
        name = part.tensors.get(part.first, "")
        if name in taken.used and any(origin == name for origin, _ in taken.used_columns):
            spare = [
                str(column) for index, column in enumerate(part.columns) if (name, index) not in taken.used_columns
            ]
            if spare:
                note = "channels that the model does not see"
                shown = spare if len(spare) <= 20 else [f"{len(spare)} of {len(part.columns)}"]
                rows.append(Row("", "", f"{name}[{', '.join(shown)}]", _shape(source.tensors[name]), "left over", note))
    spare = [name for name in source.tensors if name not in taken.used]
    rows += [Row("", "", name, _shape(source.tensors[name]), "left over", "not in the model") for name in spare]
    return rows


def _check_encoder(targets: Sequence[Part], source: Source) -> None:
    wanted, found = ({part.network for part in parts if part.network} for parts in (targets, source.parts))
    if wanted and found and not wanted & found:
        raise UsageError(
            f"has weights of the encoder '{', '.join(sorted(found))}', and the model has '{', '.join(sorted(wanted))}'",
            where=source.title,
            fix=f"set fusion.encoder to {min(found)}, or choose other weights",
        )


def _check_trunk(trunk: str, source: Source, targets: Sequence[Part]) -> None:
    rasters = [part for part in source.parts if part.kind == "raster"]
    if not any(_gives(part, trunk, targets) for part in rasters):
        names = {
            str(column.modality) for part in rasters for column in part.columns if column.modality and column.fills
        }
        fix = did_you_mean(trunk, names)
        raise UsageError(f"has no encoder of '{trunk}' whose trunk could be taken", where=source.title, fix=fix)


def _gives(part: Part, trunk: str, targets: Sequence[Part]) -> bool:
    """Whether a part of a source is the encoder of a modality, by its name or by those of its channels."""
    channels = [column for target in targets for column in target.columns if column.modality == trunk]
    return part.sees(trunk) or any(column.fits(other) for column in channels for other in part.columns)


def _same(part: Part, other: Part) -> bool:
    """Whether the inputs of two parts are the same in the same order."""
    pairs = zip(part.columns, other.columns, strict=False)
    return len(part.columns) == len(other.columns) and all(column.fits(there) for column, there in pairs)


def _names(columns: Iterable[Column]) -> str:
    names = list(dict.fromkeys(map(str, columns)))
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"
