"""What each modality is worth to a trained run; a signal that only Sentinel-1 holds."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from eofuse.cli import main
from eofuse.config import merge, parse_options
from eofuse.data.store.pack import pack_source
from eofuse.learning import attribution as attributions
from eofuse.learning import missing
from eofuse.learning import run as runs
from eofuse.learning.options import RunOptions
from eofuse.terminal import attribution_tables
from fake_source import MODALITIES, MappedSource, PlantedSource

FAIR = {"target": "label", "metric": "balanced_accuracy"}
"""A metric under which guesses are worth no more than the constant prediction."""

GAPS = {"fusion": {"strategy": "late", "missing": "token"}, "augment": {"drop_modalities": 0.3}}


def trained(folder, store, inputs, **changes):
    values = {
        "data": {"store": str(store.path)},
        "inputs": inputs,
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "late", "encoder": "test_resnet"},
        "train": {"steps": 40, "batch_size": 16, "evaluations": 2, "learning_rate": 0.003},
    }
    runs.start_run(parse_options(RunOptions, merge(values, changes)), folder)
    runs.train_run(folder, tensorboard=False)
    return runs.test_run(folder)


@pytest.fixture(scope="module")
def run(planted_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attribution") / "run"
    return trained(folder, planted_store, ["s1", "elevation", "season"], **GAPS, task=FAIR)


@pytest.fixture(scope="module")
def found(run):
    return attributions.attribute(run.folder, repeats=2)


def rows(found, kind, target="label"):
    metric = found.facts["targets"][target]["metric"]
    table = found.table[(found.table["kind"] == kind) & (found.table["metric"] == metric)]
    return table.set_index("name")


def base(found, target="label"):
    """The ranking metric of the whole, and of the constant predictor."""
    facts = found.facts["targets"][target]
    return facts["whole"][facts["metric"]], facts["constant"][facts["metric"]]


def test_what_is_noise_is_worth_zero_and_what_holds_the_signal_nearly_all(found):
    shapley, (whole, constant) = rows(found, "shapley"), base(found)
    gain = whole - constant
    assert whole > 0.9
    for noise in ("elevation", "season"):
        assert shapley.loc[noise, "low"] <= 0 <= shapley.loc[noise, "high"]
    assert shapley.loc["s1", "low"] > 0.7 * gain
    assert shapley["value"].sum() == pytest.approx(gain, abs=1e-9)


def test_the_empty_set_is_the_constant_predictor_and_the_whole_the_run_itself(run, found):
    from eofuse.learning.evaluate import evaluate

    scores = evaluate(run.folder).set_index(["predictor", "metric"])["value"]
    assert base(found) == pytest.approx(tuple(scores[:, "balanced_accuracy"][["run", "constant"]]), abs=1e-12)


def test_taking_away_or_permuting_what_holds_the_signal_loses_it(found):
    assert rows(found, "drop_one").loc["s1", "low"] > 0.2
    bands = rows(found, "band")["value"]
    assert set(bands.index) == {"s1.VV", "s1.VH", "elevation.elevation"}
    assert bands[["s1.VV", "s1.VH"]].max() > 0.05
    assert abs(bands["elevation.elevation"]) < 0.1
    assert rows(found, "permutation").index.tolist() == ["season"]
    assert rows(found, "permutation").loc["season", "low"] <= 0.02


def test_the_files_hold_what_was_found(run, found):
    table = pd.read_csv(run.folder / attributions.TABLE_FILE)
    pd.testing.assert_frame_equal(table.drop(columns="unit"), found.table.drop(columns="unit"), check_dtype=False)
    about = json.loads((run.folder / attributions.FACTS_FILE).read_text())
    assert about["subsets"] == 8
    assert about["exact"]
    assert (table["n_scenes"] > 1).all()


def test_the_same_seed_gives_the_same_numbers(run, found):
    again = attributions.attribute(run.folder, repeats=2)
    pd.testing.assert_frame_equal(again.table, found.table)


def test_guesses_that_beat_the_constant_predictor_are_warned_of(found, planted_store, tmp_path):
    assert not any("guesses" in warning for warning in found.warnings)
    trained(tmp_path / "run", planted_store, ["season"], train={"steps": 2, "evaluations": 1})
    told = attributions.attribute(tmp_path / "run", repeats=1)
    assert any("guesses" in warning for warning in told.warnings)


def test_a_model_that_saw_gaps_is_not_warned_of_and_one_that_saw_none_is(found, planted_store, tmp_path):
    assert not any("never saw gaps" in warning for warning in found.warnings)
    trained(tmp_path / "run", planted_store, ["s1", "elevation"], train={"steps": 2, "evaluations": 1})
    told = attributions.attribute(tmp_path / "run", repeats=1)
    assert any("never saw gaps" in warning for warning in told.warnings)


def test_a_patch_whose_empty_band_is_a_gap_gives_no_values_to_others(tmp_path):
    class NoVH(PlantedSource):
        def signal(self, modality, row, raster):
            if modality.name == "s1" and row % 4 == 0:
                raster[1] = np.nan
            return raster

    store = pack_source(NoVH(patches=60), tmp_path / "store", workers=1)
    gaps = {"data": {"empty_bands": "absent"}, "fusion": {"missing": "token"}}
    trained(tmp_path / "run", store, ["s1", "elevation"], **gaps, train={"steps": 2, "evaluations": 1})
    tested = missing.open_tested(tmp_path / "run")
    test = tested.prepared.rows["test"]
    givers = attributions._Input("band", "s1", "VV").givers(tested, [0, 0])[test]
    assert (test % 4 == 0).any()
    assert (givers[test % 4 > 0] % 4 > 0).all()
    assert missing.never_lacked(tested.run.options, tested.prepared) == ["elevation"]
    told = attributions._warnings(tested, {"label": "accuracy"}, 30)
    assert any(warning.startswith("Every training patch has elevation: ") for warning in told)


class SceneSource(PlantedSource):
    """The season is the same throughout a scene, and another one in each."""

    def plant(self):
        self.index["season.season_s2"] = (np.arange(self.patches) // 5) / 100
        self.index["season.season_s1"] = self.index["season.season_s2"]
        self.fingerprint += "scenes"


def test_a_scalar_that_tells_scenes_is_warned_of(tmp_path):
    modalities = tuple(modality for modality in MODALITIES if modality.name != "s2")
    store = pack_source(SceneSource(patches=60, modalities=modalities), tmp_path / "store", workers=1)
    trained(tmp_path / "run", store, ["s1", "season"], train={"steps": 2, "evaluations": 1})
    told = attributions.attribute(tmp_path / "run", repeats=1)
    assert any("'season' tells the scene" in warning for warning in told.warnings)


def test_patches_that_lack_a_modality_go_on_lacking_it_and_what_has_nothing_gets_the_constant(tmp_path):
    source = PlantedSource(patches=60, absent={"elevation": set(range(0, 60, 2))})
    store = pack_source(source, tmp_path / "store", workers=1)
    trained(tmp_path / "run", store, ["s1", "elevation"], **GAPS, train={"steps": 2, "evaluations": 1})
    missing.test_without(tmp_path / "run", [frozenset({"s1"}), frozenset({"elevation"})])
    tested = missing.open_tested(tmp_path / "run")
    table = missing.read_without(tmp_path / "run", frozenset({"s1"}), "label")
    lacking = ~store.present("elevation")[table["row"]]
    said = np.stack(table["probabilities"])
    assert lacking.any()
    assert not lacking.all()
    assert np.allclose(said[lacking], tested.tasks[0].constant)
    assert not np.allclose(said[~lacking], tested.tasks[0].constant)
    whole = missing.read_without(tmp_path / "run", frozenset(), "label")
    alone = missing.read_without(tmp_path / "run", frozenset({"elevation"}), "label")
    assert np.allclose(np.stack(whole["probabilities"])[lacking], np.stack(alone["probabilities"])[lacking], atol=1e-5)


def test_what_was_predicted_without_a_modality_is_kept(run):
    taken = [frozenset({"season"})]
    missing.test_without(run.folder, taken)
    file = missing.without_file(run.folder, taken[0], "label")
    before = file.stat().st_mtime_ns
    missing.test_without(run.folder, taken)
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "task",
    [
        {"target": "value"},
        {"target": "worldcover"},
        {"target": "regions", "classes": ["permanent_water_bodies"], "network": "fcos"},
    ],
    ids=lambda task: task["target"],
)
def test_every_kind_of_target_can_be_attributed(task, mapped_store, tmp_path):
    small = {"task": task, "train": {"steps": 2, "evaluations": 1}}
    if task["target"] == "worldcover":
        small["fusion"] = {"strategy": "decision"}
    trained(tmp_path / "run", mapped_store, ["s1", "elevation"], **small)
    found = attributions.attribute(tmp_path / "run", repeats=1)
    whole, constant = base(found, task["target"])
    sign = -1 if task["target"] == "value" else 1
    total = rows(found, "shapley", task["target"])["value"].sum()
    assert total == pytest.approx(sign * (whole - constant), abs=1e-9)


@pytest.fixture(scope="module")
def mapped_store(tmp_path_factory):
    return pack_source(MappedSource(patches=40, size=32), tmp_path_factory.mktemp("mapped") / "mapped.store", workers=1)


def test_the_command_prints_a_table_and_draws_a_picture(run, capsys):
    assert main(["attribute", str(run.folder), "--repeats", "1", "--metric", "accuracy"]) == 0
    told = capsys.readouterr().out
    assert "accuracy" in told
    assert "Shapley value" in told
    assert "35 of them for testing" in told
    assert (run.folder / "attribution.png").stat().st_size > 10_000


def test_long_names_leave_numbers_whole_in_a_narrow_terminal():
    name = "a_modality_with_a_long_name.and_a_long_channel[m]"
    row = {"target": "t", "kind": "band", "name": name, "metric": "rmse", "value": 0.123, "low": -0.5, "high": 0.75}
    table = pd.DataFrame([{**row, "spread": 0.01, "n_test": 9, "n_scenes": 3, "unit": ""}])
    facts = {"t": {"metric": "rmse", "whole": {"rmse": 1.0}, "constant": {"rmse": 2.0}}}
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(*attribution_tables(table, facts))
    told = console.export_text()
    assert "+0.123" in told
    assert "-0.500 to +0.750" in told
    assert "0.010" in told
    assert "[m]" in told
    assert "…" not in told


def test_an_unknown_metric_names_the_nearest(run, capsys):
    assert main(["attribute", str(run.folder), "--metric", "acuracy"]) == 2
    assert "did you mean 'accuracy'" in capsys.readouterr().err
