"""How leaky each way of splitting a dataset is, side by side."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.splits import Leakage, Split, SplitOptions, leakage, make_split
from eofuse.data.splits.footprints import footprints
from eofuse.errors import EofuseError

RECOMMENDED = ("scene", "blocks")
"""Protocols that may be advised."""


def protocol_leakage(
    index: pd.DataFrame,
    options: SplitOptions,
    usable: npt.NDArray[np.bool_] | None = None,
    *,
    refit: bool = False,
) -> dict[str, Leakage]:
    """Leakage of every protocol that the dataset allows, with the same fractions and seed.

    Args:
        index: a row a patch.
        options: fractions, seed and block size.
        usable: the patches that count, all by default.
        refit: whether validation patches are learned from like those for training.
    """
    found = {}
    ground = footprints(index)
    for protocol in ("scene", "blocks", "random", "published", "tutorial"):
        change = {"protocol": protocol, "folds": None, "fold": 0}
        try:
            split = make_split(index, options.model_copy(update=change))
        except EofuseError:  # the dataset lacks what this protocol needs
            continue
        if usable is not None:
            split = Split(*(rows[usable[rows]] for rows in split.parts().values()))
        if refit:
            split = replace(split, train=np.union1d(split.train, split.validation))
        if len(split.test) and len(split.train):
            found[protocol] = leakage(index, split, ground)
    return found


def less_leaky(protocols: Mapping[str, Leakage], than: Leakage, of: str) -> str | None:
    """The protocol with the least leakage of one sort, if it has less of it than a split, and not more of any other sort.

    Args:
        protocols: what was measured, by protocol.
        than: of the split that is to be bettered.
        of: `sharing_scene`, `same_ground` or `adjacent`.
    """
    better = {
        name: _shares(protocols[name])[of]
        for name in RECOMMENDED
        if name in protocols
        and _shares(protocols[name])[of] < _shares(than)[of]
        and all(share <= _shares(than)[sort] for sort, share in _shares(protocols[name]).items())
    }
    return min(better, key=better.__getitem__) if better else None


def _shares(found: Leakage) -> dict[str, float]:
    """Share of the test patches that leak, by sort; all of them where it is not known."""
    return {
        sort: 1.0 if count is None else count / max(found.test_patches, 1)
        for sort, count in (
            ("sharing_scene", found.sharing_scene),
            ("same_ground", found.same_ground),
            ("adjacent", found.adjacent),
        )
    }
