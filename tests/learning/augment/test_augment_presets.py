"""Presets and options: what they set, that they are seeded, and that runs with them resume to the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fake_batch import KINDS, MODALITIES, fake_batch
from torch.utils._python_dispatch import TorchDispatchMode

from eofuse import recipe as recipes
from eofuse.config import merge, parse_options, read_yaml
from eofuse.data.store.pack import pack_source
from eofuse.errors import UsageError
from eofuse.learning.augment import PRESETS, AugmentOptions, dropping, geometry, make_augmentation, patches
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import prepare, rehearse
from fake_source import SCENES, MappedSource


def tensors(batch) -> dict[str, torch.Tensor]:
    return {**batch.inputs, **batch.targets, **{f"known {name}": values for name, values in batch.valid.items()}}


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()


def test_none_does_nothing():
    batch = fake_batch()
    after = make_augmentation(AugmentOptions(), MODALITIES, KINDS)(batch)
    assert all(values is tensors(batch)[name] for name, values in tensors(after).items())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_the_batch_itself_stays_as_it_is(preset):
    augment = make_augmentation(AugmentOptions(preset=preset), MODALITIES, KINDS)
    batch, untouched = fake_batch(), fake_batch()
    for seed in range(6):
        augment(batch, torch.manual_seed(seed))
        assert all(same(values, tensors(untouched)[name]) for name, values in tensors(batch).items())


@pytest.mark.parametrize("preset", ["light", "strong"])
def test_the_same_seed_gives_the_same_bits_from_either_generator(preset):
    augment = make_augmentation(AugmentOptions(preset=preset), MODALITIES, KINDS)
    batch = fake_batch()
    torch.manual_seed(7)
    first, second = augment(batch), augment(batch)
    again = augment(batch, torch.Generator().manual_seed(7))
    assert all(same(values, tensors(again)[name]) for name, values in tensors(first).items())
    assert not all(same(values, tensors(second)[name]) for name, values in tensors(first).items())


def test_a_preset_can_be_named_alone_or_changed():
    alone = parse_options(RunOptions, {**minimal(), "augment": "strong"}).augment
    assert alone == AugmentOptions(**PRESETS["strong"], preset="strong")
    changed = parse_options(RunOptions, {**minimal(), "augment": {"preset": "light", "cut_out": 0.1}}).augment
    assert (changed.turns, changed.gain, changed.cut_out) == (True, 0.05, 0.1)
    single = parse_options(RunOptions, {**minimal(), "augment": {"turns": True}}).augment
    assert single == AugmentOptions(turns=True)


def minimal() -> dict:
    return {"data": {"store": "any"}, "inputs": ["s1"], "task": {"target": "label"}}


def test_every_option_is_documented_with_its_presets():
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text().split("## augment\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    documented = {name.strip("` "): row for row in rows for name in row[0].split(",")}
    assert set(documented) == set(AugmentOptions.model_fields)
    for column, preset in ((2, "light"), (3, "strong")):
        told = {}
        for row in rows:
            names, values = ([word.strip("` ") for word in cell.split(",")] for cell in (row[0], row[column]))
            values = values * len(names) if len(values) == 1 else values
            told.update({name: yaml.safe_load(value) for name, value in zip(names, values, strict=True) if value})
        assert told == PRESETS[preset]


def test_strong_has_every_operation_but_those_on_dates():
    off, strong = AugmentOptions(), AugmentOptions(preset="strong")
    unchanged = {name for name in AugmentOptions.model_fields if getattr(off, name) == getattr(strong, name)}
    assert unchanged == {"resampled", "drop_dates", "shift_dates"}


@pytest.mark.parametrize(
    ("augment", "words"),
    [("lihgt", "did you mean 'light'"), ({"turn": True}, "did you mean 'turns'"), ({"crop": 0}, "augment.crop")],
)
def test_a_wrong_word_names_the_nearest(augment, words):
    with pytest.raises(UsageError, match=words):
        parse_options(RunOptions, {**minimal(), "augment": augment})


def test_a_run_that_would_mix_boxes_is_refused_before_it_starts(tmp_path):
    store = pack_source(MappedSource(patches=60, size=32), tmp_path / "mapped.store", workers=1)
    values = {
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "task": {"target": "regions", "classes": ["permanent_water_bodies"]},
        "augment": {"mixup": 0.2},
    }
    options = parse_options(RunOptions, values)
    with pytest.raises(UsageError, match="augment: boxes"):
        rehearse(prepare(store, options), options)


class Interrupted(BaseException):
    """Stands for a kill at some step."""


def test_an_interrupted_run_goes_on_to_the_same_bits(recipe, tmp_path):
    """With every operation."""
    values = merge(
        recipe,
        {
            "augment": "strong",
            "train": {"steps": 4, "batch_size": 8, "evaluations": 2},
            "inputs": ["s1", "s2"],
            "fusion": {"strategy": "early"},
        },
    )
    whole = recipes.train(values, to=tmp_path / "whole")
    assert read_yaml(whole.folder / "recipe.yaml")["augment"]["preset"] == "strong"

    def stop(done, total, words):
        if done == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        recipes.train(values, to=tmp_path / "again", progress=stop)
    again = recipes.resume(tmp_path / "again")
    for name in ("model/model.safetensors", "losses.csv", "evaluations.csv", "test.json"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    plain = recipes.train(
        merge(values, {"augment": "none", "train": {"steps": 1, "evaluations": 1}}), to=tmp_path / "plain"
    )
    assert not (whole.folder / "losses.csv").read_bytes().startswith((plain.folder / "losses.csv").read_bytes())


TASKS = {
    "multi_label": {"target": "land_cover_above", "threshold": 0.15},
    "regression": {"target": "value"},
    "segmentation": {"target": "worldcover"},
    "pixel_regression": {"target": "elevation"},
    "detection": {"target": "regions", "classes": ["permanent_water_bodies"]},
}


@pytest.fixture(scope="module")
def mapped_store(tmp_path_factory):
    return pack_source(MappedSource(patches=60, size=32), tmp_path_factory.mktemp("mapped") / "mapped.store", workers=1)


@pytest.mark.parametrize("kind", TASKS)
def test_every_kind_of_task_trains_with_strong(kind, mapped_store, tmp_path):
    values = {
        "data": {"store": str(mapped_store.path)},
        "inputs": ["s1", "s2", "season"],
        "split": {"fractions": [0.6, 0.2, 0.2]},
        "task": TASKS[kind],
        "augment": "strong",
        "train": {"steps": 2, "batch_size": 8, "evaluations": 1},
    }
    run = recipes.train(values, to=tmp_path / "run")
    assert run.result["steps"] == 2


@pytest.fixture
def at_once(monkeypatch):
    """A function after which operations are one kernel for all patches, as on a device."""

    def change() -> None:
        for module in (patches, geometry, dropping):
            monkeypatch.setattr(module, "is_looped", lambda device: False)

    return change


@pytest.mark.parametrize("preset", ["light", "strong"])
@pytest.mark.parametrize("seed", range(4))
def test_one_kernel_for_all_patches_does_what_a_loop_over_them_does(at_once, preset, seed):
    """But for resampled numbers, which are always divided by their weights there."""
    batch = fake_batch(8, 16)
    batch.inputs["s2"][3, :, 2:5] = 0
    batch.inputs["scenes"] = torch.from_numpy(
        np.random.default_rng(seed).integers(1, 900, (8, 5, 2, 16, 16), np.uint16)
    )
    batch.inputs[SCENES.times_key] = torch.arange(5.0).repeat(8, 1)
    batch.present["scenes"] = batch.present["s2"]
    augment = make_augmentation(AugmentOptions(preset=preset), {**MODALITIES, "scenes": SCENES}, KINDS)
    looped = augment(batch, torch.manual_seed(seed))
    at_once()
    for one, other in zip(augment(batch, torch.manual_seed(seed)).tensors(), looped.tensors(), strict=True):
        if one.dtype == torch.float32 and preset == "strong":
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3, equal_nan=True)
        else:
            assert one.numpy().tobytes() == other.numpy().tobytes()


class Launches(TorchDispatchMode):
    """Counts operations, most of which would be a kernel each."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("preset", "most"), [("light", 150), ("strong", 700)])
def test_a_device_gets_no_more_kernels_of_more_patches(at_once, preset, most):
    at_once()
    augment = make_augmentation(AugmentOptions(preset=preset), MODALITIES, KINDS)
    with Launches() as launches:
        augment(fake_batch(64, 8), torch.manual_seed(0))
    assert launches.count < most
