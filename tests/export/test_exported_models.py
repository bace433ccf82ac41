"""Exported models predict as eofuse does, where there is no eofuse; what has no fixed graph is refused before anything is written."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
import pytest
import torch
from onnxruntime import InferenceSession
from pystac.extensions.mlm import MLMExtension
from torch import nn

import eofuse
from eofuse.cli import main
from eofuse.errors import DataError, UsageError
from eofuse.export import write
from eofuse.export.description import describe, stac_item
from eofuse.export.graph import PredictStored, output_name
from eofuse.export.samples import random_inputs
from eofuse.export.write import write_graph
from eofuse.inference.ensemble import Ensemble
from eofuse.kinds import KINDS
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1, Kind
from eofuse.models.encoders import ENCODERS, Encoder
from eofuse.models.features import Features, FeatureSizes
from eofuse.models.fusion import FUSIONS, FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics
from eofuse.tasks import TASKS
from fake_source import GREENNESS, SCENES
from forked import forked

PROJECT = Path(__file__).parents[2]
INPUTS = ([SEASON, CLIMATE_ZONE], [SENTINEL1, SEASON], [SEASON])
"""A strategy takes the first of these that it can."""


class Coarse(Encoder):
    """A convolution, so that graphs are small."""

    kinds = (Kind.RASTER,)

    def __init__(self, modalities, pixels=False):
        super().__init__(modalities, pixels)
        self.layer = nn.Conv2d(sum(modality.width for modality in modalities), 16, 2, 2)
        self.sizes, self.pad_to = FeatureSizes(16, [16], [2]), 2

    def forward(self, values):
        level = self.layer(values)
        return Features(level.mean((2, 3)), [level], [2])


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr(ENCODERS, "_things", {**dict(ENCODERS), "coarse": Coarse})


def head(kind: str, **more) -> HeadSpec:
    """A calibrated head of a kind."""
    found = KINDS[kind]
    network = next(iter(TASKS[kind].networks), "")
    numbers = {"mean": (300.0, -1.0), "std": (90.0, 0.1), "unit": "m"} if found.is_numbers else {"temperature": 1.7}
    return HeadSpec(found, ("one", "two"), network=network, **numbers, **more)


def spec_of(modalities, kinds, **fusion) -> ModelSpec:
    numeric = [modality for modality in modalities if not modality.is_categorical]
    mean, std = ({each.name: [value] * len(each.channels) for each in numeric} for value in (0.3, 0.2))
    quantiles = {each.name: [[0.0, 0.2, 0.4, 0.9]] * len(each.channels) for each in numeric}
    heads = {kind: head(kind) for kind in kinds}
    options = FusionOptions.model_validate({"encoder": "coarse", **fusion})
    return ModelSpec(tuple(modalities), options, heads, ChannelStatistics(mean, std, quantiles), (4, 4))


def model_of(strategy: str, kinds, sets=INPUTS, **fusion):
    """A model of a strategy with random weights."""
    for modalities in sets:
        try:
            return build_model(spec_of(modalities, kinds, strategy=strategy, **fusion), seed=1).eval()
        except UsageError as error:
            refused = error
    raise refused


def written(models, path: Path) -> Path:
    """The file of some models; beside it inputs, and what eofuse predicts of them."""
    ensemble = Ensemble(models)
    write_graph(ensemble, path, describe(ensemble.spec, [], "a test", simulated=True))
    inputs = random_inputs(ensemble.spec, 5)
    predicted = ensemble.predict(inputs)
    named = {output_name(name, each): predicted[name].numpy() for name, each in ensemble.spec.heads.items()}
    np.savez(path.with_suffix(".in.npz"), **{name: values.numpy() for name, values in inputs.items()})
    np.savez(path.with_suffix(".out.npz"), **named)
    return path


COMPARE = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "eofuse"]:
    del sys.modules[name]
sys.modules["eofuse"] = None
from pathlib import Path
import numpy as np

def compare(path, run):
    inputs, expected = (np.load(path.with_suffix(end)) for end in (".in.npz", ".out.npz"))
    for count in (5, 1):
        for name, values in run({each: inputs[each][:count] for each in inputs.files}).items():
            scale = np.array([90, 0.1]).reshape(2, *(1,) * (values.ndim - 2)) if name.endswith("numbers") else 1
            np.testing.assert_allclose(values / scale, expected[name][:count] / scale, atol=1e-4, err_msg=path)
"""
IN_ONNXRUNTIME = """
sys.modules["torch"] = None
import onnxruntime
for path in Path(folder).glob("*.onnx"):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    compare(path, lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))
"""
IN_TORCH = """
import torch
for path in Path(folder).glob("*.pt2"):
    module = torch.export.load(path).module()
    compare(path, lambda inputs: module({name: torch.from_numpy(values) for name, values in inputs.items()}))
"""


def without_eofuse(code: str, folder: Path) -> None:
    """Compares the files of a folder in a process that can't import eofuse."""
    process = forked(exec, compile(COMPARE + code, "without eofuse", "exec"), {"folder": str(folder)})
    process.join()
    assert process.exitcode == 0


def test_every_strategy_predicts_alike_where_there_is_no_eofuse(tmp_path):
    for strategy in FUSIONS:
        written([model_of(strategy, ["single_label"])], tmp_path / f"{strategy}.pt2")
    without_eofuse(IN_TORCH, tmp_path)


def test_every_kind_predicts_alike_where_there_is_no_eofuse(tmp_path):
    kinds = [name for name, kind in KINDS.items() if not kind.is_boxes]
    written([model_of("single", kinds, [[SENTINEL1]])], tmp_path / "kinds.onnx")
    without_eofuse(IN_ONNXRUNTIME, tmp_path)


def test_several_runs_of_a_study_are_averaged_inside():
    ensemble = Ensemble([build_model(spec_of([SEASON], ["regression"]), seed=seed).eval() for seed in (1, 2)])
    inputs = random_inputs(ensemble.spec, 3)
    (found,), (expected,) = PredictStored(ensemble)(inputs).values(), ensemble.predict(inputs).values()
    torch.testing.assert_close(found, expected)


def test_a_patch_with_an_empty_band_has_no_prediction_where_it_counts_as_a_gap(tmp_path):
    spec = replace(spec_of([SENTINEL1], ["single_label"], strategy="single"), empty_bands="absent")
    network = PredictStored(Ensemble([build_model(spec, seed=0)]))
    inputs = random_inputs(spec, 3)
    inputs["s1"][1, 0] = torch.nan
    inputs["s1"][2, 1] = 0.0  # no backscatter is 0 dB throughout
    (found,) = network(inputs).values()
    assert found.isnan().all(1).tolist() == [False, True, True]


@pytest.mark.parametrize(("file", "name"), [("2 models.onnx", "eofuse-2-models"), ("fields.pt2", "fields")])
def test_the_item_keeps_the_rules_of_stac_and_of_the_extension_for_models(file, name):
    kinds = [each for each, kind in KINDS.items() if not kind.is_boxes]
    modalities = [SENTINEL1, SEASON, CLIMATE_ZONE, GREENNESS]
    spec = spec_of(modalities, kinds, strategy="late")
    values = stac_item(Path(file), describe(spec, [], "a test", simulated=True), spec, parameters=10)
    pystac.Item.from_dict({**values, "stac_extensions": []}).validate()

    found = values["properties"]
    assert found["mlm:name"] == name
    assert found["mlm:framework"] in ("ONNX", "PyTorch")
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["mlm:framework_version"])
    described = {band["name"] for band in found["bands"]}
    assert {"VV", "VH"} <= described
    for entry, modality in zip(found["mlm:input"], modalities, strict=True):
        order, shape = entry["input"]["dim_order"], entry["input"]["shape"]
        assert shape == [-1, *modality.shape((4, 4))]
        assert len(set(order)) == len(shape)
        assert ("bands" in order) == bool(entry["bands"])
        assert set(entry["bands"]) <= described
        assert not entry["bands"] or shape[order.index("bands")] == len(entry["bands"])
    for entry in found["mlm:output"]:
        assert len(entry["result"]["dim_order"]) == len(entry["result"]["shape"])
        for each in entry.get("classification:classes", []):
            assert type(each["value"]) is int
            assert each["description"]
    asset = values["assets"]["model"]
    assert asset["roles"] == ["mlm:model"]
    assert asset["mlm:artifact_type"]


@pytest.mark.parametrize(
    ("modalities", "kind", "fusion", "reason"),
    [
        ([SCENES], "single_label", {"strategy": "single"}, "how many dates are encoded"),
        ([SENTINEL1], "detection", {"strategy": "single", "encoder": "test_resnet"}, "how many a detector looks at"),
        ([SEASON, CLIMATE_ZONE], "single_label", {"strategy": "late", "missing": "token"}, "encodes patches in groups"),
        ([SENTINEL1], "single_label", {"strategy": "single", "encoder": "galileo:nano"}, "what patches lack"),
    ],
)
def test_what_has_no_fixed_graph_is_refused_with_the_reason(modalities, kind, fusion, reason, tmp_path):
    spec = replace(spec_of(modalities, [kind], **fusion), patch_size=(32, 32))
    with pytest.raises(UsageError, match=reason):
        write_graph(Ensemble([build_model(spec, seed=0)]), tmp_path / "model.pt2", {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_predicts_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_difference", lambda *arguments: 0.01)
    with pytest.raises(DataError, match="something else than the model"):
        written([build_model(spec_of([SEASON], ["single_label"]), seed=0)], tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("model.pt", "end the name in .onnx or .pt2"), ("", "unknown kind")])
def test_a_wrong_name_is_refused_before_anything_is_read(name, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        eofuse.export_model(tmp_path / "no run", tmp_path / name)


def test_a_missing_library_is_named_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'eofuse\[export\]'"):
        eofuse.export_model(tmp_path / "no run", tmp_path / "model.onnx")


def test_a_run_exported_by_the_command_predicts_as_eofuse_predict_by_the_code_of_the_page(
    trained_once, planted_store, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained_once), "model.onnx", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["checked"] == "patches of planted.store and random values"
    assert said["difference"] < 1e-4
    page = (PROJECT / "docs/export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    np.save("patches.npy", planted_store.read("s1", np.arange(7)))
    blocked = "import sys\nsys.modules['eofuse'] = sys.modules['torch'] = None\n"
    save = "\nnp.save('found.npy', probabilities)"
    done = subprocess.run([sys.executable, "-c", blocked + code + save], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "s1 float32 ['VV', 'VH']" in done.stdout
    assert [value.shape for value in InferenceSession("model.onnx").get_inputs()] == [["batch", 2, 16, 16]]
    table = eofuse.open_run(trained_once).predict(planted_store)
    expected = table[["label.p.0", "label.p.1"]].to_numpy()[:7]
    np.testing.assert_allclose(np.load("found.npy"), expected, atol=1e-4)

    item = pystac.Item.from_dict(json.loads((tmp_path / "model.onnx.json").read_text()))
    model = MLMExtension.ext(item)
    assert (model.mlm_name, model.tasks) == ("model", ["scene-classification"])
    assert (model.input[0].bands, model.input[0].input.shape) == (["VV", "VH"], [-1, 2, 16, 16])
    assert model.output[0].result.shape == [-1, 2]
    assert item.assets["model"].href == "./model.onnx"
    assert str(trained_once.parent) not in json.dumps(item.to_dict())
    assert b"/src/eofuse/" not in (tmp_path / "model.onnx").read_bytes()
