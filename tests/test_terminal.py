"""What the terminal shows: counts in words, no empty tables, no intervals that are not known."""

import math

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from eofuse.data.card.describe import describe_store
from eofuse.data.store.pack import pack_source
from eofuse.terminal import description_tables, scores_tables
from eofuse.words import counted
from fake_source import GREENNESS, FakeSource


def shown(parts) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 scenes"), (1, "1 scene"), (2, "2 scenes"), (1200, "1,200 scenes")]
)
def test_one_is_counted_as_one(number, words):
    assert counted(number, "scene") == words


def test_the_test_set_is_counted_and_an_unknown_interval_is_a_dash():
    row = {"target": "moisture", "predictor": "model", "metric": "rmse", "value": 1.0, "unit": "%"}
    nothing = {"low": math.nan, "high": math.nan, "n_test": 1, "n_scenes": 1}
    text = shown(scores_tables(pd.DataFrame([row | nothing])))
    assert "moisture: 1 test patch from 1 scene " in text
    assert "nan" not in text


def test_a_store_without_classes_has_no_table_of_them(tmp_path):
    class Numbers(FakeSource):
        def plant(self):
            self.index = self.index.assign(label=range(self.patches))

    store = pack_source(Numbers(patches=20, modalities=(GREENNESS,)), tmp_path / "numbers.store", workers=1)
    tables = [part for part in description_tables(store, describe_store(store)) if isinstance(part, Table)]
    assert "Modalities" in [table.title for table in tables]
    assert all(table.row_count for table in tables)
