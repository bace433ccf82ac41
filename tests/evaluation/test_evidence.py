"""Evidence survives a table: the arrays that come back are those that went in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.evidence import EVIDENCE, from_columns, to_columns
from eofuse.evaluation.metrics import METRICS

DTYPES = {"truth": np.int64, "labels": np.int64, "counts": np.int64, "matched": np.int8, "boxes": np.float32}


def evidence_of(kind: str, number: int, classes: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: (100 * random.random((number, *shape(classes)))).astype(DTYPES.get(name, np.float64))
        for name, shape in EVIDENCE[kind].items()
    }


def test_every_kind_of_task_has_evidence() -> None:
    assert set(EVIDENCE) == set(METRICS)


@pytest.mark.parametrize("kind", EVIDENCE)
@pytest.mark.parametrize("classes", [1, 3])
def test_arrays_come_back_from_a_parquet_table(kind: str, classes: int, tmp_path: Path) -> None:
    evidence = evidence_of(kind, 4, classes)
    pd.DataFrame(to_columns(evidence)).to_parquet(tmp_path / "table.parquet")
    back = from_columns(pd.read_parquet(tmp_path / "table.parquet"), kind, classes)
    assert back.keys() == evidence.keys()
    for name, array in evidence.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("kind", EVIDENCE)
def test_no_rows_give_empty_arrays_of_the_right_shape(kind: str) -> None:
    table = pd.DataFrame(columns=list(EVIDENCE[kind]))
    assert {name: array.shape for name, array in from_columns(table, kind, 3).items()} == {
        name: (0, *shape(3)) for name, shape in EVIDENCE[kind].items()
    }


def test_a_row_of_another_length_is_refused() -> None:
    table = pd.DataFrame(to_columns(evidence_of("regression", 3, 2)))
    with pytest.raises(DataError, match=r"holds 2 numbers instead of 5.*truth|truth.*holds 2 numbers instead of 5"):
        from_columns(table, "regression", 5)


def test_a_missing_column_and_an_unknown_kind_are_named() -> None:
    with pytest.raises(DataError, match="lacks column sums"):
        from_columns(pd.DataFrame({"row": [1]}), "pixel_regression", 1)
    with pytest.raises(UsageError, match="unknown task kind 'poetry'"):
        from_columns(pd.DataFrame(), "poetry", 1)
