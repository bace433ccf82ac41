"""Vectors of pretrained models of several sensors: standardised before the heads, and computed once where nothing changes them."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from eofuse.data.loading import Loader, Rows
from eofuse.learning.augment import AugmentOptions
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared
from eofuse.models.encoders.foundation import FoundationEncoder
from eofuse.models.model import Model

STANDARDISED = 256
"""Training patches by which vectors are standardised."""

KEPT = 4
"""Encoders whose vectors a process remembers: the runs of a study that share one."""

Vectors = npt.NDArray[np.float32]

_remembered: OrderedDict[str, Vectors] = OrderedDict()


def with_vectors(prepared: Prepared, model: Model, options: RunOptions, device: torch.device) -> Prepared:
    """Standardises the vectors of pretrained models of several sensors by training patches; the model is changed.

    Args:
        prepared: the data of the run.
        model: as it starts, with those parameters frozen that never learn.
        options: of the run.
        device: on which the vectors are computed.

    Returns:
        The same data; of an encoder that never learns, of patches that are not changed, with the vectors of all that training reads.
    """
    encoders = [each for each in model.fusion.encoders_inside().values() if isinstance(each, FoundationEncoder)]
    is_static = options.augment == AugmentOptions() and options.unlabelled is None
    loader, found = prepared.loader(options), {}
    some = prepared.training[np.unique(np.linspace(0, len(prepared.training) - 1, STANDARDISED).astype(np.int64))]
    for encoder in encoders:
        is_frozen = (
            is_static
            and not encoder.sizes.maps
            and not any(each.requires_grad for each in encoder.network.parameters())
        )
        rows = np.union1d(prepared.rows["train"], prepared.rows["validation"]) if is_frozen else some[:0]
        to_standardise = some if encoder.is_raw else some[:0]
        vectors = vectors_of(model, encoder, loader, np.union1d(rows, to_standardise), device)
        if encoder.is_raw:
            encoder.standardise_by(torch.from_numpy(vectors[some]).to(device))
        if is_frozen:
            found[encoder.key] = vectors
    return replace(prepared, vectors=found) if found else prepared


def vectors_of(model: Model, encoder: FoundationEncoder, loader: Loader, rows: Rows, device: torch.device) -> Vectors:
    """Vectors (patches, width) of an encoder before they are standardised; NaN of patches that are not among the rows.

    Patches pass one by one, so that the bits of each do not depend on the others.
    """
    digest = _digest(model, encoder, loader, device)
    known = _remembered.pop(digest, np.full((len(loader.store), encoder.sizes.vector), np.nan, dtype=np.float32))
    model.to(device)
    with model.evaluating():
        for row in rows[np.isnan(known[rows, 0])].tolist():
            batch = loader.read(np.array([row])).to(device)
            known[row] = encoder.vectors(model.normalised(batch.inputs, batch.present))[0].float().cpu().numpy()
    _remembered[digest] = known
    while len(_remembered) > KEPT:
        _remembered.popitem(last=False)
    return known


def _digest(model: Model, encoder: FoundationEncoder, loader: Loader, device: torch.device) -> str:
    """All that vectors depend on."""
    inputs = {name: loader.modalities[name].channel_names for name in encoder.names}
    options = encoder.options.model_dump(mode="json")
    known = [loader.store.fingerprint, encoder.name, options, inputs, encoder.pixel_m, str(loader.window), str(device)]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for tensor in encoder.network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for name in encoder.names:
        digest.update(loader.present(name).tobytes())
    return digest.hexdigest()
