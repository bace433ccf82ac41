"""Series of numbers and of images as tables and files that a spec packs again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.store import Store
from eofuse.data.store.arrays import in_order
from eofuse.files import write_text
from eofuse.modalities import Kind, Modality

EPOCH = "1970-01-01"


def packs_again(modality: Modality) -> bool:
    """Whether a spec of a table can say what a series is: of images it needs dates, and its channels are no categories."""
    return not modality.categories and (modality.dated or modality.kind is Kind.SERIES)


def series_columns(store: Store, modality: Modality, at_once: int) -> pd.DataFrame:
    """The numbers of a series as columns, `<name>.<channel>.t<step>`, with `<name>.date.t<step>` where it has dates."""
    values = np.concatenate([store.read(modality.name, rows) for rows in in_order(np.arange(len(store)), at_once)])
    values = np.where(store.present(modality.name)[:, None, None], values, np.nan)
    found: dict[str, Any] = {}
    for step in range(values.shape[1]):
        if modality.dated:
            found[f"{modality.name}.date.t{step}"] = dates_of(values[:, step, 0])
        for number, channel in enumerate(modality.channel_names, start=1):
            found[f"{modality.name}.{channel}.t{step}"] = values[:, step, number]
    return pd.DataFrame(found)


def write_dates(path: Path, days: Sequence[float]) -> None:
    """The dates of one patch of a series of images, beside its file."""
    write_text(path, json.dumps(dates_of(np.asarray(days, dtype=np.float64))) + "\n")


def dates_of(days: npt.NDArray[Any]) -> list[str]:
    """Days since 1970-01-01 as ISO 8601, empty where there is none; to the second where they are no whole days."""
    moments = pd.Timestamp(EPOCH) + pd.to_timedelta(pd.Series(days, dtype=np.float64), unit="D").dt.round("s")
    return ["" if pd.isna(each) else each.isoformat().removesuffix("T00:00:00") for each in moments]


def series_layer(modality: Modality) -> dict[str, Any]:
    """What a spec says of a series, besides its title and units."""
    if modality.kind is Kind.IMAGE_SERIES:
        files = {
            kind: f"{modality.name}/{{file}}.{ending}" for kind, ending in (("files", "npy"), ("date_files", "json"))
        }
        facts: dict[str, Any] = {"kind": "image_series", **files, "bands": list(modality.channel_names)}
        facts["dtype"] = modality.dtype
        return facts if modality.nodata is None else facts | {"nodata": modality.nodata}
    steps = range(modality.steps or 0)
    names = {channel: [f"{modality.name}.{channel}.t{step}" for step in steps] for channel in modality.channel_names}
    dates = {"date_columns": f"{modality.name}.date.t{{step}}"} if modality.dated else {}
    return {"kind": "series", "columns": names, **dates}
