"""Families of comparisons: p values are corrected for all that answer one question, by each metric."""

import numpy as np
import pandas as pd
import pytest

from eofuse.evaluation.intervals import holm
from eofuse.studies.families import corrected


def test_p_values_are_corrected_within_family_and_metric():
    table = pd.DataFrame(
        {
            "family": ["controls", "controls", "baseline", "controls", "baseline"],
            "metric": ["accuracy", "accuracy", "accuracy", "mAP", "accuracy"],
            "p": [0.01, 0.04, 0.03, 0.02, np.nan],
        }
    )
    found = corrected(table, "family")
    assert found["p_holm"].tolist() == pytest.approx([0.02, 0.04, 0.03, 0.02, np.nan], nan_ok=True)
    assert "family" not in found


def test_without_families_all_rows_are_one():
    table = pd.DataFrame({"metric": ["accuracy"] * 3, "p": [0.01, 0.02, 0.03]})
    assert corrected(table)["p_holm"].tolist() == pytest.approx(holm([0.01, 0.02, 0.03]))


def test_a_table_without_rows_stays_without():
    assert list(corrected(pd.DataFrame(columns=["metric", "p"]))) == ["metric", "p", "p_holm"]
