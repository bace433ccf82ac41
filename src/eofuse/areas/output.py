"""What `estimate_area` writes: a page for people, a table and JSON for programs, into one folder."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.areas.estimate import AreaEstimates
from eofuse.areas.frame import Frame
from eofuse.areas.page import area_page
from eofuse.areas.placing import Placed
from eofuse.errors import UsageError
from eofuse.files import write_text
from eofuse.locks import writing

PAGE, TABLE, VALUES = "report.html", "areas.csv", "areas.json"


def check_output(folder: Path) -> None:
    """Refuses a file in the place of the folder.

    Raises:
        UsageError: if it is one.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("is no folder", where=folder, fix="name a folder for page and tables")


def write_output(estimates: AreaEstimates, frame: Frame, place: Placed, folder: Path, overwrite: bool) -> None:
    """Writes page, table and JSON.

    Raises:
        UsageError: if another process writes them, or the folder holds other estimates that are not to be replaced.
    """
    values = json.dumps(as_json(estimates), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {
        TABLE: estimates.classes.to_csv(index=False),
        VALUES: values,
        PAGE: area_page(estimates, frame, place),
    }
    with writing(folder):
        for name, text in texts.items():
            path = folder / name
            if not overwrite and path.exists() and path.read_bytes() != text.encode():
                fix = "name another folder, or replace it with --overwrite"
                raise UsageError(f"holds {name} of other estimates", where=folder, fix=fix)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)


def as_json(estimates: AreaEstimates) -> dict[str, Any]:
    """Estimates as JSON knows them: tables are lists of rows, matrices are rows by name, numbers that do not exist are null."""
    values: dict[str, Any] = {}
    for key, value in vars(estimates).items():
        if isinstance(value, pd.DataFrame):
            is_matrix = key in ("matrix", "matrix_error", "counts")
            values[key] = {name: dict(row) for name, row in value.iterrows()} if is_matrix else value.to_dict("records")
        else:
            values[key] = value.name if isinstance(value, Path) else value
    found: dict[str, Any] = _plain(values)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
