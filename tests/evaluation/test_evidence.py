"""Evidence survives a table: the arrays that come back are those that went in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eofuse.errors import DataError
from eofuse.evaluation.evidence import from_columns, to_columns
from eofuse.kinds import KINDS, PIXEL_REGRESSION, REGRESSION, TaskKind

DTYPES = {"truth": np.int64, "labels": np.int64, "counts": np.int64, "matched": np.int8, "boxes": np.float32}


def evidence_of(kind: TaskKind, number: int, classes: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: (100 * random.random((number, *shape))).astype(DTYPES.get(name, np.float64))
        for name, shape in kind.evidence_shapes(classes).items()
    }


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("classes", [1, 3])
def test_arrays_come_back_from_a_parquet_table(kind: TaskKind, classes: int, tmp_path: Path) -> None:
    evidence = evidence_of(kind, 4, classes)
    pd.DataFrame(to_columns(evidence)).to_parquet(tmp_path / "table.parquet")
    back = from_columns(pd.read_parquet(tmp_path / "table.parquet"), kind, classes)
    assert back.keys() == evidence.keys()
    for name, array in evidence.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_no_rows_give_empty_arrays_of_the_right_shape(kind: TaskKind) -> None:
    table = pd.DataFrame(columns=list(kind.evidence))
    assert {name: array.shape for name, array in from_columns(table, kind, 3).items()} == {
        name: (0, *shape) for name, shape in kind.evidence_shapes(3).items()
    }


def test_a_row_of_another_length_is_refused() -> None:
    table = pd.DataFrame(to_columns(evidence_of(REGRESSION, 3, 2)))
    with pytest.raises(DataError, match=r"holds 2 numbers instead of 5.*truth|truth.*holds 2 numbers instead of 5"):
        from_columns(table, REGRESSION, 5)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="lacks column sums"):
        from_columns(pd.DataFrame({"row": [1]}), PIXEL_REGRESSION, 1)
