"""Evidence that is mostly zeros: kept without them, the same numbers in every use."""

import numpy as np
import pandas as pd
import pytest

from eofuse.errors import DataError
from eofuse.evaluation.evidence import from_columns, joined, to_columns
from eofuse.evaluation.metrics import METRICS, Metric, metrics_of, scores, sums_of
from eofuse.evaluation.metrics.segmentation import PixelTotals, patch_counts
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.resampling import Resampling
from eofuse.evaluation.sparse import SparseRows, concatenated
from eofuse.kinds import SEGMENTATION
from eofuse.records import read_table, write_table

CLASSES, PATCHES = 4, 30


@pytest.fixture
def dense():
    """Evidence of some maps, with its zeros; the last patch has no pixel."""
    generator = np.random.default_rng(0)
    shapes = SEGMENTATION.evidence_shapes(CLASSES)
    evidence = {name: generator.poisson(0.7, (PATCHES, *shape)) for name, shape in shapes.items()}
    evidence["reliability"] = evidence["reliability"] * generator.random((PATCHES, 1, 1, 1))
    return {
        name: np.where(np.arange(PATCHES).reshape(-1, *[1] * (a.ndim - 1)) < 29, a, 0) for name, a in evidence.items()
    }


@pytest.fixture
def sparse(dense):
    """The same without zeros."""
    return {name: SparseRows.of(array) for name, array in dense.items()}


def test_rows_are_chosen_joined_and_filled_up_as_those_of_arrays(dense):
    array = dense["confusion"]
    rows = SparseRows.of(array)
    for chosen in (slice(3, 9), np.array([29, 2, 2]), np.arange(PATCHES) % 3 == 0):
        np.testing.assert_array_equal(rows[chosen], array[chosen])
    np.testing.assert_array_equal(concatenated([rows[:4], array[4:10], rows[10:]]), array)


def test_a_table_keeps_them(dense, sparse, tmp_path):
    write_table(pd.DataFrame({"row": range(PATCHES), **to_columns(sparse)}), tmp_path / "table.parquet")
    table = read_table(tmp_path / "table.parquet", "")
    back = from_columns(table[table["row"] % 2 == 0], SEGMENTATION, CLASSES)
    for name, array in dense.items():
        np.testing.assert_array_equal(back[name], array[::2])


def test_tables_of_older_runs_which_have_the_zeros_go_with_newer_ones(dense, sparse):
    tables = [pd.DataFrame(to_columns(evidence)) for evidence in (dense, sparse)]
    back = from_columns(joined(tables, SEGMENTATION, CLASSES), SEGMENTATION, CLASSES)
    for name, array in dense.items():
        np.testing.assert_array_equal(back[name], np.concatenate([array, array]))


def test_a_place_outside_of_its_row_is_an_error(sparse):
    with pytest.raises(DataError, match="place"):
        from_columns(pd.DataFrame(to_columns(sparse)), SEGMENTATION, CLASSES - 1)


def test_intervals_from_sums_over_scenes_are_those_from_patches(dense, sparse):
    def score(evidence, weights=None):
        return scores(metrics_of(SEGMENTATION), PixelTotals(SEGMENTATION, evidence, weights))

    scenes, patches = np.arange(PATCHES) % 7, np.arange(PATCHES)
    whole, summed = (
        Predictions(dense, scenes, patches),
        Predictions(sparse, scenes, patches, sums=sums_of(SEGMENTATION)),
    )
    assert len(summed.evidence["confusion"]) == 7
    expected, found = (Resampling(score, 50) for _ in range(2))
    for name, summary in expected.summarise([whole]).items():
        assert vars(found.summarise([summed])[name]) == pytest.approx(vars(summary), nan_ok=True), name
        np.testing.assert_allclose(
            found.replicate([summed])[name].replicates, expected.replicate([whole])[name].replicates
        )


def test_a_metric_that_needs_single_patches_keeps_them(monkeypatch):
    assert sums_of(SEGMENTATION) == ("confusion", "boundary", "reliability")
    mine = Metric("mine", "mine", "", lambda kind: kind.is_map, lambda totals: np.zeros(len(totals.weights)))
    monkeypatch.setitem(METRICS._things, "mine", mine)
    assert sums_of(SEGMENTATION) == ()


def test_counts_of_patches_are_those_of_their_confusions(dense, sparse):
    hits, support, found = patch_counts(sparse["confusion"])
    np.testing.assert_array_equal(hits, np.diagonal(dense["confusion"], axis1=1, axis2=2))
    np.testing.assert_array_equal(support, dense["confusion"].sum(axis=2))
    np.testing.assert_array_equal(found, dense["confusion"].sum(axis=1))
