"""Which patch a run used for what: `split.parquet` in the folder of a run or pretraining.

A row a patch of the store: `patch_id`, `row`, `scene`, `part` and `reason`. The part is `train`, `unlabelled` (a training patch whose
label the run does not use), `validation` or `test`, and missing for a patch that was left out; the reason says why.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.loading import Rows
from eofuse.errors import DataError
from eofuse.records import read_table, write_table

SPLIT_FILE = "split.parquet"
COLUMNS = ("patch_id", "row", "scene", "part", "reason")
FIX = "train again with this version"
LABEL_NOT_USED = "label not used"


def split_table(index: pd.DataFrame, parts: Mapping[str, Rows], reasons: npt.NDArray[np.object_]) -> pd.DataFrame:
    """The table of a run.

    `reasons` say why a patch was left out or has no label, None for others, (patches,).
    """
    part = np.full(len(index), None, dtype=object)
    for name, rows in parts.items():
        part[rows] = name
    reasons = reasons.copy()
    reasons[(part == "unlabelled") & pd.isna(reasons)] = LABEL_NOT_USED
    places = places_of(index, np.arange(len(index)))
    return pd.DataFrame({**places, "part": part, "reason": reasons}, columns=list(COLUMNS))


def places_of(index: pd.DataFrame, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """Columns of a table with some patches of a store: patch_id, row, scene."""
    chosen = index.iloc[rows]
    return {"patch_id": chosen["patch_id"].to_numpy(), "row": rows, "scene": chosen["scene"].to_numpy()}


def write_split(table: pd.DataFrame, folder: Path) -> None:
    """Writes the table into a run folder."""
    write_table(table, folder / SPLIT_FILE)


def read_split(folder: Path) -> pd.DataFrame:
    """The table of a run folder.

    Raises:
        DataError: if there is none: runs of older versions have none.
    """
    if not (folder / SPLIT_FILE).is_file():
        raise DataError("the run did not record the parts of its patches", where=folder, fix=FIX)
    return read_table(folder / SPLIT_FILE, FIX, COLUMNS)


def learned_from(folders: Iterable[Path]) -> set[str]:
    """Ids of the patches that any of these runs used in training or validation; runs that recorded no parts count for none."""
    found: set[str] = set()
    for folder in folders:
        if (folder / SPLIT_FILE).is_file():
            table = read_table(folder / SPLIT_FILE, FIX, only=["patch_id", "part"])
            found |= set(table.loc[table["part"].isin(("train", "validation")), "patch_id"])
    return found
