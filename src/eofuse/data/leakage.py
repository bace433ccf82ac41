"""How leaky each way of splitting a dataset is, side by side."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.splits import Leakage, Split, SplitOptions, leakage, make_split
from eofuse.errors import EofuseError


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
            found[protocol] = leakage(index, split)
    return found
