"""Vectors of a foundation model: means of its tokens, or a raster of these."""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eofuse.data.context import months_of, pixel_m_of, places_of
from eofuse.data.loading import Rows
from eofuse.data.store import Store
from eofuse.embedding.base import BATCH, Embedder, EmbedOptions, Numbers, Pool, training_rows
from eofuse.errors import DataError, UsageError
from eofuse.files import sha256
from eofuse.modalities import MONTH, PLACE, Kind
from eofuse.models.foundation import PIXEL_M, FoundationModel, Sample, build_foundation
from eofuse.models.foundation.matching import Taken, match_channels, odd_units

COMPARED = 256
"""Samples whose spread is compared with the pretraining's."""

PATCH = 8
"""Side of a token in pixels, where nothing else is said."""


class FoundationEmbedder(Embedder):
    """Vectors of a foundation model: means of its tokens, over the whole sample or at each place."""

    def __init__(self, store: Store, options: EmbedOptions) -> None:
        if options.pool not in get_args(Pool):
            raise UsageError(
                f"there is no pool '{options.pool}'", where="pool", fix=f"choose {', '.join(get_args(Pool))}"
            )
        self.patch = PATCH if options.patch is None else options.patch
        if self.patch < 1:
            raise UsageError(f"tokens of {self.patch} pixels", where="--patch", fix="choose 1 or more")
        model = build_foundation(options.model, options.seed)
        if options.weights is None:
            fix = f"--weights FILE|DIR ({' or '.join(model.files())}); see docs/foundation.md"
            raise UsageError(f"the weights of {model.name} are missing", where="embed", fix=fix)
        self.store = store
        self.pool = options.pool
        self.taken = match_channels(
            model, [store.modality(each) for each in options.inputs or store.modalities], options.units
        )
        if self.pool == "tokens":
            self.cell = self.patch
            self._refuse_without_tokens(model)
        sees_month = MONTH in model.sees
        for name, given, context in (("month", options.month is not None, MONTH), ("place", options.place, PLACE)):
            if given and context not in model.sees:
                raise UsageError(f"{model.title} does not see the {name}", where=f"--{name}", fix="leave it out")
        self.months = _months(store, options.month) if sees_month else np.full(len(store), -1)
        self.places = _places(store) if options.place else None
        self.pixel_m = pixel_m_of(store.index) or min(
            (side for each in self.taken if (side := each.resolution_m)), default=PIXEL_M
        )
        self.present = {each.modality.name: store.present(each.modality.name) for each in self.taken}
        file = model.load(options.weights)
        self.model = model
        self.networks = (model, build_foundation(options.model, options.seed))
        self.name = options.model.partition(":")[0]
        self.titles = (f"{model.title} ({model.name})", f"{model.title}, random weights")
        self.facts = {
            "model": model.name,
            "weights": {"file": file.name, "sha256": sha256(file), "licence": model.licence, "paper": model.paper},
            "inputs": {each.where: {"as": each.channel.name, "unit": each.unit} for each in self.taken},
            "not_used": _not_used(self.taken),
            "pool": self.pool,
            "patch": self.patch,
            "pixel_m": self.pixel_m,
            "place": options.place,
            "month": (f"of the index, else {options.month}" if options.month else "of the index")
            if sees_month
            else None,
            "warnings": odd_units(self.taken, self._sample(self._compared()).values),
        }

    @torch.inference_mode()
    def vectors(self, rows: Rows, twin: bool, device: torch.device) -> Numbers:
        """Means of tokens: of all of them, (rows, groups × width) of each group, or (rows, width, height, width) of each place."""
        network = self.networks[twin].to(device)
        found = []
        for first, last in pairwise([*range(0, len(rows), BATCH), len(rows)]):
            sample = _on(self._sample(rows[first:last]), device)
            if self.pool == "tokens":
                cells = network.pyramid(sample, self.patch)[1][-1]
                there = (cells != 0).any(dim=1, keepdim=True)
                found.append(torch.where(there, cells, torch.nan).float().cpu().numpy())
                continue
            means = network.embed(sample, self.patch)
            if self.pool == "groups":
                values = torch.where(means.tokens[..., None] > 0, means.means, torch.nan).flatten(1)
            else:
                values = torch.where(means.tokens.sum(dim=1, keepdim=True) > 0, means.pooled, torch.nan)
            found.append(values.float().cpu().numpy())
        return np.concatenate(found)

    def channels(self, known: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Numbers of the groups that some sample has; those of the mean of all have but a number."""
        width = self.model.width
        some = np.flatnonzero(known.reshape(-1, width)[:, 0])
        if not len(some):
            fix = "look at the values: eofuse describe"
            raise DataError("no sample has a token without missing values", where=self.model.name, fix=fix)
        groups = {f"{self.model.groups[each]}_": each for each in some.tolist()} if self.pool == "groups" else {"": 0}
        return {
            f"{group}{number:03d}": place * width + number for group, place in groups.items() for number in range(width)
        }

    def _refuse_without_tokens(self, model: FoundationModel) -> None:
        """Raises a `UsageError` if there is no raster of tokens."""
        if not model.maps or all(each.modality.kind is not Kind.RASTER for each in self.taken):
            sees = "no raster" if model.maps else "one pixel a sample"
            raise UsageError(
                f"{model.title} sees {sees}: there are no tokens of places", where="--pool", fix="leave it out"
            )
        height, width = self.store.patch_size
        if height % self.patch or width % self.patch:
            whole = [side for side in range(2, 17) if not height % side and not width % side]
            fix = f"choose --patch {' or '.join(map(str, whole))}" if whole else "leave --pool out"
            raise UsageError(
                f"tokens of {self.patch} pixels do not fill patches of {height} × {width}", where="--patch", fix=fix
            )

    def _compared(self) -> Rows:
        """Samples whose spread is compared with the pretraining's."""
        rows = training_rows(self.store)
        chosen = np.linspace(0, len(rows) - 1, COMPARED).astype(np.int64)
        return np.asarray(rows[np.unique(chosen)], dtype=np.int64)

    def _sample(self, rows: Rows) -> Sample:
        """Some samples as the model takes them."""
        stored = {each.modality.name: self.store.read(each.modality.name, rows) for each in self.taken}
        values: dict[str, Tensor] = {}
        for each in self.taken:
            found = each.values(stored[each.modality.name])
            found[torch.from_numpy(~self.present[each.modality.name][rows])] = torch.nan
            values[each.channel.name] = found
        places = None if self.places is None else torch.from_numpy(self.places[rows])
        return Sample(values, torch.from_numpy(self.months[rows]), places, self.pixel_m)


def _not_used(taken: Sequence[Taken]) -> list[str]:
    """Channels of the modalities of the inputs that the model does not know."""
    used = {each.where for each in taken}
    names = {each.modality.name: each.modality for each in taken}
    return [f"{n}.{c}" for n, modality in names.items() for c in modality.channel_names if f"{n}.{c}" not in used]


def _months(store: Store, month: int | None) -> npt.NDArray[np.int64]:
    """(samples,) months from 0, of the first date that the index names for a sample."""
    if month is not None and not 1 <= month <= 12:
        raise UsageError(f"there is no month {month}", where="--month", fix="give 1 to 12")
    months = months_of(store.index)
    missing = int((months < 0).sum())
    if missing and month is None:
        what = f"{missing} of {len(store)} samples have no date, and the model asks for the month"
        raise UsageError(what, where=store.path, fix="give it: --month 7")
    return np.where(months < 0, (month or 1) - 1, months)


def _places(store: Store) -> Numbers:
    places = places_of(store.index)
    missing = int(np.isnan(places).any(axis=1).sum())
    if missing:
        what = f"{missing} of {len(store)} samples have no place"
        raise DataError(what, where=store.path, fix="leave --place out")
    return places


def _on(sample: Sample, device: torch.device) -> Sample:
    values = {name: each.to(device) for name, each in sample.values.items()}
    places = None if sample.places is None else sample.places.to(device)
    return Sample(values, sample.months.to(device), places, sample.pixel_m)
