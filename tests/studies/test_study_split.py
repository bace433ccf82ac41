"""The parts of a study's runs in one table: with the axes on which they depend, and no others."""

import pandas as pd
import pytest

from eofuse.learning.split_table import split_table, write_split
from eofuse.studies.split_table import write_study_split

PARTS = {"a": {"train": [0, 1], "test": [2]}, "b": {"train": [1, 2], "test": [0]}}


@pytest.fixture
def write(tmp_path):
    """Writes the table of runs with these parts, `a` or `b`, by the name of their axes."""

    def write_all(runs):
        index = pd.DataFrame({"patch_id": ["x", "y", "z"], "scene": "s"})
        named = []
        for number, (key, parts) in enumerate(runs.items()):
            folder = tmp_path / str(number)
            write_split(split_table(index, PARTS[parts], index["scene"].map({}).astype(object).to_numpy()), folder)
            named.append((dict(zip(("variant", "fold", "seed", "n_labels"), key, strict=True)), folder))
        write_study_split(named, tmp_path)
        return pd.read_parquet(tmp_path / "split.parquet")

    return write_all


@pytest.mark.parametrize(
    ("runs", "axes"),
    [
        ({("v", 0, 0, 2): "a", ("w", 0, 1, 2): "a"}, []),
        ({("v", 0, 0, 2): "a", ("v", 1, 0, 2): "b", ("w", 0, 0, 2): "a", ("w", 1, 0, 2): "b"}, ["fold"]),
        ({("v", 0, 0, 2): "a", ("v", 0, 1, 2): "b", ("v", 0, 0, 1): "b", ("v", 0, 1, 1): "a"}, ["seed", "n_labels"]),
        ({("v", 0, 0, 2): "a", ("pretraining:p", 0, 0, 0): "b"}, ["variant"]),
    ],
)
def test_the_table_has_a_column_for_each_axis_on_which_parts_depend(write, runs, axes):
    table = write(runs)
    assert list(table.columns) == [*axes, "patch_id", "row", "scene", "part", "reason"]
    assert len(table) == (3 * len(runs) if len(axes) == 2 or axes == ["variant"] else 3 * (1 + len(axes)))


def test_each_block_holds_the_parts_of_its_runs(write):
    table = write({("v", 0, 0, 2): "a", ("v", 1, 0, 2): "b"})
    tested = table[table["part"] == "test"].set_index("fold")["patch_id"]
    assert tested.to_dict() == {0: "z", 1: "x"}
