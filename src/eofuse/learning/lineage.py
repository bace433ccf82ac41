"""What weights have learned from: `History`, which a model's file carries, so that it travels with every copy of it.

A history has an entry for each training, of the model itself and of all from whose weights it started: inputs, targets and patches,
by digest (see `eofuse.data.splits.identity`), with what each was used for. Where weights say nothing of that, it has an entry without
patches: what they learned from is not known.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.config import read_yaml
from eofuse.data.loading import Rows
from eofuse.data.splits.identity import Digests, Identities, digests_of, identities
from eofuse.data.store import Store
from eofuse.errors import EofuseError
from eofuse.files import read_json

FORMAT, VERSION = "eofuse-history", 1

MOST_CHARACTERS = 90_000_000
"""Length of a history that is kept: the head of a safetensors file holds 100 MB, which is some 2 million patches."""

SPLIT_FILES = ("split.parquet", "patches.parquet")
"""Tables of the parts of the patches in the folders of runs and pretrainings, from before models carried their history."""

Roles = npt.NDArray[np.uint8]


class Role(IntEnum):
    """What a patch was used for; the larger ones tell more of it."""

    NONE = 0
    INPUTS = 1
    VALIDATION = 2
    LABELS = 3


@dataclass(frozen=True)
class Training:
    """One training of a model or of one from which it started.

    Attributes:
        name: of the run, or of weights from elsewhere.
        kind: `run` or `pretraining`; `unknown` where it is not known from which patches was learned.
        store: fingerprint of the store, which names the patches of the history.
        inputs: channels by modality.
        targets: what each target derives from, by its name: modalities, or channels of them as `s2.B08`.
        roles: what each of the patches of the store was used for, in the order of the history's patches.
    """

    name: str
    kind: str
    store: str = ""
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    roles: Roles = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))

    @property
    def is_known(self) -> bool:
        """Whether its patches are known."""
        return self.kind != "unknown"


@dataclass(frozen=True)
class History:
    """What weights have learned from.

    Attributes:
        trainings: the oldest first.
        patches: by fingerprint of a store, its patches that were used, in ascending order of the digests of their ids.
    """

    trainings: tuple[Training, ...] = ()
    patches: Mapping[str, Identities] = field(default_factory=dict)

    def then(self, training: Training, patches: Identities) -> "History":
        """The history with one more training."""
        before = self.patches.get(training.store)
        merged = patches if before is None else _joined(before, patches)

        def among_all(each: Training, ids: Digests) -> Training:
            roles = np.zeros(len(merged), dtype=np.uint8)
            roles[np.searchsorted(merged.ids, ids)] = each.roles
            return replace(each, roles=roles)

        older = [
            among_all(each, before.ids) if before is not None and each.store == training.store else each
            for each in self.trainings
        ]
        return History((*older, among_all(training, patches.ids)), {**self.patches, training.store: merged})

    def joined(self, other: "History") -> "History":
        """The history with the trainings of another one after its own."""
        whole = self
        for each in other.trainings:
            known = each.is_known
            whole = (
                whole.then(each, other.patches[each.store])
                if known
                else replace(whole, trainings=(*whole.trainings, each))
            )
        return whole

    def to_text(self) -> str:
        """JSON, the inverse of `from_text`; of more patches than fit, it says no more than that they are not known."""
        values = {
            "format": FORMAT,
            "version": VERSION,
            "trainings": [{**vars(each), "roles": _pack(each.roles)} for each in self.trainings],
            "patches": {
                store: {
                    "ids": _pack(seen.ids),
                    "pixels": {name: _pack(digests) for name, digests in seen.values.items()},
                    "hints": {name: _pack(digests) for name, digests in seen.hints.items()},
                    "centre": _pack(seen.centre),
                    "side": _pack(seen.side),
                }
                for store, seen in self.patches.items()
            },
        }
        text = json.dumps(values)
        if len(text) <= MOST_CHARACTERS:
            return text
        none = np.zeros(0, dtype=np.uint8)
        return History(tuple(replace(each, kind="unknown", store="", roles=none) for each in self.trainings)).to_text()

    @classmethod
    def from_text(cls, text: str, name: str) -> "History":
        """The history that a text tells; an unknown one where it can't be understood."""
        try:
            values = json.loads(text)
            if (values["format"], values["version"]) != (FORMAT, VERSION):
                return unknown(name)
            trainings = [
                Training(**{**each, "roles": _unpack(each["roles"], np.uint8)}) for each in values["trainings"]
            ]
            patches = {
                store: Identities(
                    _unpack(seen["ids"], np.uint64),
                    {key: _unpack(digests, np.uint64) for key, digests in seen["pixels"].items()},
                    {key: _unpack(digests, np.uint64) for key, digests in seen.get("hints", {}).items()},
                    _unpack(seen["centre"], np.int32).reshape(-1, 3),
                    _unpack(seen["side"], np.float32),
                )
                for store, seen in values["patches"].items()
            }
            for each in trainings:
                if each.is_known and len(each.roles) != len(patches[each.store]):
                    return unknown(name)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return unknown(name)
        return cls(tuple(trainings), patches)


def unknown(name: str) -> History:
    """The history of weights of which nobody knows from what they learned."""
    return History((Training(name, "unknown"),))


def used_patches(store: Store, inputs: Sequence[str], rows: Mapping[Role, Rows]) -> tuple[Identities, Roles]:
    """The patches of a training and their roles, in ascending order of the digests of their ids.

    Args:
        store: the store.
        inputs: names of the modalities that are seen.
        rows: of the store, by role; a row with several has the largest.
    """
    roles = np.zeros(len(store), dtype=np.uint8)
    for role in sorted(rows):
        roles[rows[role]] = role
    used = np.flatnonzero(roles)
    found = identities(store, inputs, used)
    order = np.unique(found.ids, return_index=True)[1]
    return found.take(order), roles[used][order]


def recorded_history(folder: Path) -> History | None:
    """What the folder of a run tells whose model has no history of its own; None if it tells nothing."""
    try:
        recipe = read_yaml(folder / "recipe.yaml")
        table = next(pd.read_parquet(folder / name) for name in SPLIT_FILES if (folder / name).is_file())
        facts = read_json(folder / "data.json") if (folder / "data.json").is_file() else {}
        role = {"train": Role.LABELS, "unlabelled": Role.INPUTS, "validation": Role.VALIDATION}
        pretrained = "task" not in recipe and "tasks" not in recipe
        if pretrained:
            role["train"] = Role.INPUTS
        elif recipe.get("refit"):
            role["validation"] = Role.LABELS
        parts = table["part"] if "part" in table else pd.Series("train", table.index)
        used = table[parts.isin(role)]
        ids, order = np.unique(digests_of(used["patch_id"]), return_index=True)
        roles: Roles = np.array([role[part] for part in parts[used.index]], dtype=np.uint8)[order]
        inputs = {name: list(channels or ()) for name, channels in dict(recipe["inputs"]).items()}
    except (EofuseError, OSError, StopIteration, KeyError, ValueError, TypeError):
        return None
    nowhere = np.zeros((len(ids), 3), dtype=np.int32), np.zeros(len(ids), dtype=np.float32)
    name = str(recipe.get("name", folder.name))
    kind = "pretraining" if pretrained else "run"
    training = Training(name, kind, str(facts.get("fingerprint", folder.name)), inputs, {}, roles)
    start = recipe.get("start")
    before = unknown(str(start.get("from"))) if isinstance(start, Mapping) else History()
    return before.then(training, Identities(ids, {}, {}, *nowhere))


def _joined(first: Identities, other: Identities) -> Identities:
    """The patches of both, which are of one store."""
    ids = np.union1d(first.ids, other.ids)
    places = [np.searchsorted(ids, each.ids) for each in (first, other)]
    centre, side = np.zeros((len(ids), 3), dtype=np.int32), np.zeros(len(ids), dtype=np.float32)
    for each, place in zip((first, other), places, strict=True):
        centre[place], side[place] = each.centre, each.side

    def together(one: Mapping[str, Digests], two: Mapping[str, Digests]) -> dict[str, Digests]:
        merged = {name: np.zeros(len(ids), dtype=np.uint64) for name in {**one, **two}}
        for digests, place in zip((one, two), places, strict=True):
            for name in digests:
                merged[name][place] = digests[name]
        return merged

    return Identities(ids, together(first.values, other.values), together(first.hints, other.hints), centre, side)


def _pack(array: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 1)).decode("ascii")


def _unpack(text: str, kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=kind)


def history_of_vectors(store: Store, inputs: Iterable[str]) -> dict[str, History]:
    """By input, what the network has learned from whose vectors it holds; of inputs whose vectors a run of eofuse gave."""
    found: dict[str, History] = {}
    for name in inputs:
        texts = [facts["history"] for facts in store.embeddings(name) if "history" in facts]
        histories = [History.from_text(text, name) for text in dict.fromkeys(texts)]
        if histories:
            found[name] = reduce(History.joined, histories)
    return found


def matches(of: Digests, among: Digests, roles: Roles) -> tuple[Rows, Roles]:
    """Position of each digest among others, −1 where it is not there or 0, and its role.

    `among` may be in any order.
    """
    order = np.lexsort((roles, among))
    place = np.searchsorted(among[order], of, side="right") - 1  # the last of equal ones has the largest role
    hit = (place >= 0) & (of != 0)
    hit[hit] = among[order][place[hit]] == of[hit]
    position = np.where(hit, order[np.maximum(place, 0)] if len(order) else -1, -1)
    return position, np.where(hit, roles[np.maximum(position, 0)] if len(roles) else 0, 0).astype(np.uint8)
