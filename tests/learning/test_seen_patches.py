"""A run does not start from a pretraining that has seen its test patches or its target."""

import pandas as pd
import pytest

from eofuse.config import parse_options, write_yaml
from eofuse.errors import UsageError
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare, refuse_seen
from eofuse.learning.transfer import StartOptions


@pytest.fixture
def prepared(recipe, planted_store):
    return prepare(planted_store, parse_options(RunOptions, recipe))


def pretraining(folder, patch_ids, inputs) -> StartOptions:
    folder.mkdir()
    pd.DataFrame({"patch_id": patch_ids}).to_parquet(folder / "patches.parquet")
    (folder / "recipe.yaml").write_text(write_yaml({"inputs": dict.fromkeys(inputs)}))
    return StartOptions.model_validate({"from": str(folder)})


def test_patches_that_the_run_trains_on_may_have_been_seen(prepared, tmp_path):
    ids = prepared.store.index["patch_id"]
    refuse_seen(prepared, pretraining(tmp_path / "same", ids.iloc[prepared.rows["train"]], ["s1"]))


def test_test_patches_may_not(prepared, tmp_path):
    start = pretraining(tmp_path / "other", prepared.store.index["patch_id"], ["s1"])
    with pytest.raises(UsageError, match="test patches were seen in the pretraining"):
        refuse_seen(prepared, start)


def test_what_the_target_derives_from_may_not(recipe, planted_store, tmp_path):
    options = parse_options(RunOptions, {**recipe, "task": {"target": "climate_zone"}})
    prepared = prepare(planted_store, options)
    ids = planted_store.index["patch_id"].iloc[prepared.rows["train"]]
    with pytest.raises(UsageError, match="saw 'climate_zone'"):
        refuse_seen(prepared, pretraining(tmp_path / "leaky", ids, ["s1", "climate_zone"]))
