"""Values without pixels of scenes: numbers, series and codes, a row a scene of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.problems import Problems
from eofuse.data.reading.tables import read_table_file, require_columns
from eofuse.data.sources.scenes.spec import SceneLayer
from eofuse.data.sources.table.columns import Rows
from eofuse.data.sources.table.values import read_values
from eofuse.errors import DataError
from eofuse.modalities import Kind, Modality

SCENE = "scene"
"""The column with the name of the scene."""


class SceneRows(Rows):
    """Rows of a table, a row a scene; messages name the scene."""

    def where(self, row: int) -> str:
        """A row, for messages."""
        return f"{self.path.name}, scene {self.ids[row]}"


@dataclass(frozen=True)
class SceneValues:
    """A modality without pixels, whose values all patches of a scene share.

    Attributes:
        modality: as the store holds it.
        rows: scene → row with its values; scenes that lack the modality are left out.
        columns: the columns of the index that hold it, `<modality>.<channel>`, a row a row of the table; none of a series.
        series: (rows, steps, 1 + channels) float32 of a series, else None.
        problems: what looks odd.
    """

    modality: Modality
    rows: dict[str, int]
    columns: pd.DataFrame
    series: npt.NDArray[np.float32] | None
    problems: Problems

    def of(self, scene: str) -> npt.NDArray[Any] | None:
        """Values of a scene in the modality's dtype: (channels,), (steps, 1 + channels), or () of a code; None if it lacks them."""
        row = self.rows.get(scene)
        if row is None:
            return None
        cells = self.columns.iloc[row].to_numpy() if self.series is None else self.series[row]
        values: npt.NDArray[Any] = cells.astype(self.modality.dtype)
        return values.reshape(self.modality.shape((0, 0)))

    def index(self, scenes: Sequence[str]) -> pd.DataFrame:
        """Columns of the index, a row for each of these scenes."""
        rows = np.array([self.rows.get(scene, -1) for scene in scenes])
        found: pd.DataFrame = self.columns.iloc[np.maximum(rows, 0)].reset_index(drop=True)
        nothing = -1 if self.modality.kind is Kind.CATEGORY else np.nan
        if len(found.columns):
            found.loc[rows < 0] = nothing
        return found


def read_scene_values(name: str, layer: SceneLayer, root: Path, scenes: Sequence[str]) -> SceneValues:
    """The values of some scenes.

    Args:
        name: of the modality.
        layer: what the spec says, with a table.
        root: folder to which the table's path is relative.
        scenes: their names.

    Raises:
        UsageError: if the spec contradicts itself.
        DataError: if the table can't be read or lacks a column; if a scene has two rows, a cell that is wrong, or no values though the
            modality is not optional.
    """
    path, key = root / str(layer.table), f"modalities.{name}"
    texts = (
        {SCENE} if layer.column is None else {SCENE, layer.column}
    )  # so that an empty cell elsewhere makes no 7.0 of 7
    table = read_table_file(path, texts, layer.decimal)
    require_columns(table, [SCENE], f"{key}.table", path)
    ids = table[SCENE].astype("string").str.strip().fillna("")
    doubled = next((scene for scene in scenes if (ids == scene).sum() > 1), None)
    if doubled is not None:
        raise DataError(f"scene {doubled} has several rows", where=path, fix="keep one of them")
    rows = SceneRows(table, path, [str(each) for each in ids])
    values = read_values(name, layer.as_columns(), rows)
    rows.warn_of_suspects()
    wanted = set(scenes)
    wrong = next((each for each in rows.problems if each.severity == "error" and each.patch_id in wanted), None)
    if wrong is not None:
        raise DataError(wrong.what, where=wrong.where, fix=wrong.fix)
    place = {scene: row for row, scene in enumerate(rows.ids) if scene in wanted}
    lacking = next((scene for scene in scenes if scene not in place), None)
    if lacking is not None and not layer.optional:
        fix = f"add one, set {key}.optional: true, or list the scenes that have one under `scenes`"
        raise DataError(f"has no row of scene {lacking}", where=path, fix=fix)
    present = {scene: row for scene, row in place.items() if values.present[row]}
    warnings = Problems(each for each in rows.problems if each.severity == "warning")
    return SceneValues(values.modality, present, values.index, values.series, warnings)
