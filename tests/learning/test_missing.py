"""Runs on patches that lack inputs: every strategy goes on, what was learned from gaps helps, and the reader is told."""

import numpy as np
import pandas as pd
import pytest
import torch

from eofuse.config import merge, parse_options
from eofuse.data.loading import Loader
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError
from eofuse.inference.predict import loader_for, predict_store
from eofuse.learning import run as runs
from eofuse.learning.evaluate import evaluate
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import model_spec, prepare
from eofuse.modalities import ELEVATION, SENTINEL1
from eofuse.models.fusion import FUSIONS
from eofuse.studies.plan import plan_study
from fake_source import FakeSource, MappedSource

STRATEGIES = {name: {"strategy": name} for name in FUSIONS} | {"shared": {"strategy": "late", "weights": "shared"}}


class TwoSigns(FakeSource):
    """The label shows plainly in Sentinel-1, and faintly in the elevation."""

    def signal(self, modality, row, raster):
        strength = {"s1": 6, "elevation": 300}.get(modality.name, 0)
        return raster + strength * self.index["label"].iloc[row]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gaps")


@pytest.fixture(scope="module")
def halved(folder):
    """Half of the patches lack Sentinel-1, a third the elevation, and every sixth has the season only."""
    absent = {"s1": set(range(0, 60, 2)), "elevation": set(range(0, 60, 3))}
    return pack_source(MappedSource(patches=60, size=32, absent=absent), folder / "halved.store", workers=1)


@pytest.fixture(scope="module")
def whole(folder):
    return pack_source(TwoSigns(patches=120), folder / "whole.store", workers=1)


def options(store, **changes) -> RunOptions:
    base = {
        "data": {"store": str(store.path)},
        "inputs": ["s1", "elevation", "season"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "late", "encoder": "test_resnet", "missing": "token"},
        "train": {"steps": 3, "batch_size": 8, "evaluations": 1, "learning_rate": 0.003},
    }
    return parse_options(RunOptions, merge(base, changes))


def train(folder, recipe: RunOptions) -> runs.Run:
    runs.start_run(recipe, folder)
    runs.train_run(folder, tensorboard=False)
    return runs.test_run(folder)


@pytest.mark.parametrize("name", STRATEGIES)
def test_patches_that_lack_an_input_are_learned_from_and_tested(name, halved, tmp_path):
    inputs = ["s1"] if name == "single" else ["s1", "elevation", "season"]
    run = train(tmp_path, options(halved, inputs=inputs, fusion=STRATEGIES[name]))
    used = prepare(halved, run.options).usable.sum()
    assert used == (30 if name == "single" else 60)
    assert np.isfinite(run.result["score"])


@pytest.mark.parametrize("strategy", ["early", "late", "decision"])
def test_maps_and_numbers_of_patches_that_lack_an_input_are_scored_and_predicted(strategy, halved, tmp_path):
    tasks = {"worldcover": {"network": "fpn"}, "value": None}
    run = train(tmp_path / "run", options(halved, task=None, tasks=tasks, fusion={"strategy": strategy}))
    scores = evaluate(run.folder)
    assert set(scores["target"]) == set(tasks)
    assert scores.loc[scores["metric"].isin(["miou", "rmse"]), "value"].notna().all()
    table = predict_store(run.folder / "model", halved, maps=tmp_path / "maps")
    assert table["predicted"].all()
    no_pixels = np.arange(60) % 6 == 0
    shares = table[[column for column in table if column.startswith("worldcover.share.")]].sum(axis=1, skipna=False)
    assert shares[no_pixels].isna().all()
    np.testing.assert_allclose(shares[~no_pixels], 1)
    assert table["value"].notna().all()


def accuracy(run: runs.Run, store, *absent: str) -> float:
    prepared = prepare(store, run.options)
    gone = dict.fromkeys(absent, np.zeros(len(store), dtype=bool))
    loader = Loader(store, run.options.inputs, {"label": prepared.tasks[0].target}, present=gone)
    batch = loader.read(prepared.rows["test"])
    told = run.model().predict(batch.inputs, batch.present)["label"].argmax(1)
    return float((told == batch.targets["label"]).float().mean())


@pytest.mark.parametrize("strategy", ["attention", "middle"])
def test_half_precision_learns_from_gaps_and_pseudo_labels(strategy, halved, tmp_path):
    changes = {"fusion": {"strategy": strategy}, "labels": {"amount": 2}, "unlabelled": {"threshold": 0.51}}
    first = []
    for precision in ("float32", "bfloat16"):
        run = train(tmp_path / precision, options(halved, train={"precision": precision, "device": "cpu"}, **changes))
        losses = pd.read_csv(run.folder / "losses.csv")
        assert np.isfinite(losses.to_numpy()).all()
        assert (losses["sure"] > 0).any()
        assert run.model().fusion.tokens.state_dict()
        first.append(losses["loss"][0])
    assert first[0] == pytest.approx(first[1], rel=0.05)
    assert first[0] != first[1]


class RoughAndSmooth(FakeSource):
    """Sentinel-1 of one class is rough and that of the other smooth, about one mean; the elevation of the first is higher.

    So what a model that knows no gaps makes of absent radar, its mean everywhere, looks like the smooth class.
    """

    def signal(self, modality, row, raster):
        label = self.index["label"].iloc[row]
        return -12 + (raster + 12) * (1 + 4 * label) if modality.name == "s1" else raster + 400 * label


def test_a_model_that_saw_gaps_loses_less_when_a_modality_is_absent(tmp_path):
    """The mean over two seeds; on test patches half of which are smooth, so that one who takes all for smooth loses half."""
    source = RoughAndSmooth(patches=120, modalities=(SENTINEL1, ELEVATION))
    store = pack_source(source, tmp_path / "rough.store", workers=1)
    variants = {"naive": {"fusion": {"missing": "exclude"}}, "ready": {"augment": {"drop_modalities": 0.4}}}
    lost: dict[str, list[float]] = {name: [] for name in variants}
    for name, variant in variants.items():
        for seed in (0, 1):
            budget = {"seed": seed, "train": {"steps": 24, "batch_size": 16}}
            recipe = options(store, **merge(budget, {"inputs": ["s1", "elevation"], **variant}))
            runs.start_run(recipe, tmp_path / f"{name}{seed}")
            run = runs.train_run(tmp_path / f"{name}{seed}", tensorboard=False)
            lost[name].append(accuracy(run, store) - accuracy(run, store, "s1"))
    assert np.mean(lost["naive"]) > 0.3
    assert np.mean(lost["ready"]) < 0.15


def test_dropped_modalities_are_absent_to_the_model(whole):
    prepared = prepare(whole, options(whole, augment={"drop_modalities": 0.5}))
    recipe = options(whole, augment={"drop_modalities": 0.5})
    batch = prepared.loader(recipe).read(prepared.rows["train"])
    torch.manual_seed(0)
    present = torch.stack(list(prepared.augmentation(recipe)(batch).present.values()))
    assert 0.3 < present.float().mean() < 0.8
    assert present.any(0).all()
    assert torch.stack(list(batch.present.values())).all()


class TestPreparation:
    def test_patches_with_one_input_are_used_only_if_something_stands_for_the_others(self, halved):
        complete = (np.arange(60) % 2 > 0) & (np.arange(60) % 3 > 0)
        assert prepare(halved, options(halved)).usable.all()
        without = prepare(halved, options(halved, fusion={"missing": "exclude"}))
        assert np.array_equal(without.usable, complete)
        assert without.excluded == {"lacks an input modality": 40}

    def test_the_reader_is_told_how_many_are_left_out(self, halved, tmp_path):
        run = train(tmp_path / "run", options(halved, fusion={"missing": "exclude"}))
        said = "Patches left out: 40 of 60: 40 (lacks an input modality; s1: 30, elevation: 20)."
        assert said in run.notes()

    def test_tokens_are_named_where_no_patch_has_every_input(self, tmp_path):
        source = FakeSource(patches=30, absent={"s1": set(range(15)), "elevation": set(range(15, 30))})
        store = pack_source(source, tmp_path / "apart.store", workers=1)
        with pytest.raises(DataError, match=r"30 lacks an input modality.*fusion.missing: token"):
            prepare(store, options(store, inputs=["s1", "elevation"], fusion={"missing": "exclude"}))

    def test_patches_without_any_input_are_left_out(self, halved):
        prepared = prepare(halved, options(halved, inputs=["s1", "elevation"]))
        assert prepared.excluded == {"lacks all inputs": 10}

    def test_what_is_required_must_be_there_all_the_same(self, halved):
        prepared = prepare(halved, options(halved, data={"require": ["s1"]}))
        assert prepared.excluded == {"lacks an input modality": 30}

    def test_the_reader_is_told_what_lacks(self, halved, whole):
        prepared = prepare(halved, options(halved))
        counts = {part: sum(row % 2 == 0 for row in rows) for part, rows in prepared.rows.items()}
        said = f"s1 (training {counts['train']} of {len(prepared.rows['train'])}, test {counts['test']} of"
        assert any(
            warning.startswith("Some patches lack an input: ") and said in warning for warning in prepared.warnings
        )
        assert not any("lack an input" in warning for warning in prepare(whole, options(whole)).warnings)

    def test_the_reader_is_told_of_tokens_that_no_patch_trains(self, whole):
        said = "Every training and test patch has s1, elevation, season: their tokens are untrained"
        assert any(warning.startswith(said) for warning in prepare(whole, options(whole)).warnings)
        for recipe in (options(whole, augment={"drop_modalities": 0.1}), options(whole, fusion={"missing": "exclude"})):
            assert "untrained" not in " ".join(prepare(whole, recipe).warnings)

    @pytest.mark.parametrize("lacking", ["train", "test"])
    def test_the_reader_is_told_what_can_not_be_learned(self, lacking, whole, tmp_path):
        rows = set(prepare(whole, options(whole)).rows[lacking].tolist())
        store = pack_source(TwoSigns(patches=120, absent={"s1": rows}), tmp_path / "gaps.store", workers=1)
        recipe = options(store)
        said = " ".join(prepare(store, recipe).warnings)
        if lacking == "train":
            assert "No training patch has s1: its encoder is untrained." in said
            assert model_spec(prepare(store, recipe), recipe).statistics.mean["s1"] == [1.0, 1.0]
        else:
            assert "its token is untrained" in said
            dropping = prepare(store, options(store, augment={"drop_modalities": 0.1}))
            assert "untrained" not in " ".join(dropping.warnings)


class NoVH(TwoSigns):
    """VH of every fourth patch is empty."""

    def signal(self, modality, row, raster):
        raster = super().signal(modality, row, raster)
        if modality.name == "s1" and row % 4 == 0:
            raster[1] = np.nan
        return raster


@pytest.fixture(scope="module")
def without_vh(folder):
    return pack_source(NoVH(patches=120), folder / "vh.store", workers=1)


class TestEmptyBands:
    def test_a_patch_with_an_empty_band_is_used_unless_that_counts_as_a_gap(self, without_vh):
        strict = {"data": {"empty_bands": "absent"}}
        assert prepare(without_vh, options(without_vh, fusion={"missing": "exclude"})).usable.all()
        assert prepare(without_vh, options(without_vh, fusion={"missing": "exclude"}, **strict)).usable.sum() == 90
        prepared = prepare(without_vh, options(without_vh, **strict))
        assert prepared.usable.all()
        assert prepared.loader(options(without_vh, **strict)).read(np.array([3, 4])).present["s1"].tolist() == [
            True,
            False,
        ]

    def test_the_model_treats_them_the_same_when_it_predicts(self, without_vh, tmp_path):
        recipe = options(without_vh, data={"empty_bands": "absent"}, inputs=["s1", "elevation"])
        run = train(tmp_path, recipe)
        assert run.model().spec.empty_bands == "absent"
        assert np.array_equal(loader_for(run.model(), without_vh).present("s1"), np.arange(120) % 4 > 0)

    def test_a_channel_without_any_value_in_training_is_named(self, tmp_path):
        class NoRadar(TwoSigns):
            def signal(self, modality, row, raster):
                if modality.name == "s1":
                    raster[1] = np.nan
                return raster

        store = pack_source(NoRadar(patches=60), tmp_path / "empty.store", workers=1)
        with pytest.raises(DataError, match=r"no training patch has a value of 's1\.VH'"):
            model_spec(prepare(store, options(store)), options(store))


def test_a_study_and_a_run_on_chosen_channels_use_the_same_patches(recipe, tmp_path):
    class NoCoast(FakeSource):
        def signal(self, modality, row, raster):
            if modality.name == "s2" and row % 2:
                raster[0] = 0
            return raster

    store = pack_source(NoCoast(patches=60, absent={"s2": {4}}), tmp_path / "coast.store", workers=1)
    values = {**recipe, "data": {"store": str(store.path), "empty_bands": "absent"}, "inputs": {"s2": ["B02", "B3"]}}
    study = {"baseline": "rgb", "seeds": [0], "variants": {"rgb": {}, "both": {"inputs": {"s2": ["B4"], "s1": None}}}}
    plan = plan_study({**values, "study": study})
    alone = prepare(store, parse_options(RunOptions, values))
    for options in plan.variants.values():
        prepared = prepare(store, options)
        assert np.array_equal(prepared.usable, alone.usable)
        assert (prepared.excluded, prepared.lacking) == ({"lacks an input modality": 1}, {"s2": 1})
