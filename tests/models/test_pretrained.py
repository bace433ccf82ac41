"""Weights from everywhere: what fits is taken, by name and with its normalisation; what does not is said."""

import json
import sys
from enum import Enum
from types import ModuleType, SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from eofuse.errors import DataError, UsageError
from eofuse.kinds import SINGLE_LABEL
from eofuse.modalities import SEASON, SENTINEL1, SENTINEL2, WEATHER, WORLDCOVER
from eofuse.models.artifact import save_model
from eofuse.models.model import Model, build_model
from eofuse.models.pretrained import WeightOptions, load_source, map_weights
from eofuse.models.pretrained.source import model_source
from fake_source import GREENNESS

L1C = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8a", "B9", "B10", "B11", "B12"]
MEAN, STD = [0.01 * (i + 1) for i in range(13)], [0.02 + 0.01 * i for i in range(13)]
STRATEGIES = ["early", "late", "middle", "decision"]


def network(channels: int = 3, name: str = "test_resnet", seed: int = 0, **arguments) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        created = timm.create_model(name, in_chans=channels, **arguments)
        for buffer in created.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
        return created


def statuses(rows) -> dict[str, int]:
    return {status: sum(row.status == status for row in rows) for status in {row.status for row in rows}}


def model(make_spec, modalities, seed=5, **fusion) -> Model:
    return build_model(make_spec(modalities, 32, **fusion), seed=seed)


def trained(make_spec, modalities, seed=1, **fusion) -> Model:
    """Stands for a trained model: all of its tensors differ from fresh ones."""
    made = model(make_spec, modalities, seed, **fusion)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point() and not name.startswith("normaliser"):
            tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.1)
    return made


@pytest.fixture
def l1c_file(tmp_path):
    """A network over the thirteen L1C bands, and its file with a sidecar."""
    net = network(13)
    save_file(net.state_dict(), tmp_path / "l1c.safetensors")
    (tmp_path / "l1c.json").write_text(json.dumps({"bands": L1C, "mean": MEAN, "std": STD}))
    return net, tmp_path / "l1c.safetensors"


def test_a_model_gives_what_the_network_gives_with_its_missing_band_at_the_mean(l1c_file, make_spec):
    net, path = l1c_file
    order = list(reversed(SENTINEL2.channel_names))
    ours = model(make_spec, [SENTINEL2.select(order)], strategy="single").eval()
    map_weights(ours, load_source(str(path), "test_resnet", WeightOptions()))
    values = torch.rand(2, 12, 32, 32, generator=torch.Generator().manual_seed(3)) * 0.5
    stored = (values * 1e4).round().clamp(min=1).to(torch.uint16)
    reflectance = stored.float() * 1e-4
    columns = []
    for name, mean, std in zip(L1C, MEAN, STD, strict=True):
        where = None if name == "B10" else SENTINEL2.select(order).channel_index(name)
        columns.append(torch.zeros(2, 32, 32) if where is None else (reflectance[:, where] - mean) / std)
    with torch.no_grad():
        theirs = net.eval().forward_features(torch.stack(columns, 1)).mean((2, 3))
        torch.testing.assert_close(ours.features({"s2": stored})[0].vector, theirs, atol=1e-5, rtol=1e-5)


def test_every_tensor_on_either_side_is_in_the_table(l1c_file, make_spec):
    net, path = l1c_file
    ours = model(make_spec, [SENTINEL2, SENTINEL1], strategy="late")
    rows = map_weights(ours, load_source(str(path), "test_resnet", WeightOptions()))
    assert {row.tensor for row in rows if row.tensor} == set(ours.state_dict())
    told = {row.source.partition("[")[0] for row in rows}
    assert set(net.state_dict()) <= told
    left = {row.source for row in rows if row.status == "left over"}
    assert left == {f"{first_name(net)}[B10]", "fc.weight", "fc.bias"}
    assert all(row.status == "fresh" for row in rows if row.tensor.startswith("fusion.encoders.s1."))


def test_bands_in_the_recipe_take_the_place_of_those_beside_the_file(l1c_file, make_spec):
    _, path = l1c_file
    ours = model(make_spec, [SENTINEL2], strategy="single")
    with pytest.raises(UsageError, match="its first layer takes 13 channels, and 12 bands are named"):
        map_weights(
            ours, load_source(str(path), "test_resnet", WeightOptions(bands=L1C[:12], mean=MEAN[:12], std=STD[:12]))
        )


def test_a_file_that_does_not_say_its_bands_is_an_error(tmp_path):
    save_file(network().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="does not say what its channels are"):
        load_source(str(tmp_path / "w.safetensors"), "test_resnet", WeightOptions())


def test_a_checkpoint_with_a_prefix_and_a_projection_is_read(tmp_path, make_spec):
    net = network(2)
    content = {f"backbone.{name}": tensor for name, tensor in net.state_dict().items()} | {"projection": torch.ones(3)}
    torch.save({"state_dict": content, "epoch": 3}, tmp_path / "w.pth")
    ours = model(make_spec, [SENTINEL1], strategy="single")
    rows = map_weights(ours, load_source(str(tmp_path / "w.pth"), "test_resnet", WeightOptions(bands=["VH", "VV"])))
    assert torch.equal(first_layer(ours), net.state_dict()[first_name(net)][:, [1, 0]])
    assert any(row.source == "projection" and row.status == "left over" for row in rows)
    assert ours.spec.statistics.mean["s1"] == [0.1, 0.1]


def test_a_file_of_two_networks_needs_a_prefix(tmp_path):
    content = {f"{p}.{n}": t for p in ("encoder_q", "encoder_k") for n, t in network(2).state_dict().items()}
    save_file({name: tensor.clone() for name, tensor in content.items()}, tmp_path / "w.safetensors")
    options = WeightOptions(bands=["VV", "VH"])
    with pytest.raises(DataError, match="holds several networks"):
        load_source(str(tmp_path / "w.safetensors"), "test_resnet", options)
    named = options.model_copy(update={"prefix": "encoder_q."})
    assert load_source(str(tmp_path / "w.safetensors"), "test_resnet", named).parts


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickled_network_is_refused_with_what_to_save_instead(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(
        DataError, match=r"object of torch\.nn\S+Linear.*; save the tensors alone: torch\.save\(network"
    ) as caught:
        load_source(str(tmp_path / "whole.pt"), "test_resnet", WeightOptions(bands=["VV"]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["", "timm:test_resnet.r160_in1k", "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"])
def test_a_file_that_would_execute_code_is_refused(tmp_path, capsys, request, name, zipped):
    if name.startswith("torchgeo"):
        request.getfixturevalue("torchgeo")
    evil = str(tmp_path / "evil.pth")
    torch.save({"conv1.weight": Payload()}, evil, _use_new_zipfile_serialization=zipped)
    options = WeightOptions(bands=["VV"], file=evil if name else None)
    with pytest.raises(DataError, match="can't be read as weights"):
        load_source(name or evil, "test_resnet", options)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"model": {"a": [torch.zeros(2)]}}, {3: torch.zeros(2)}])
def test_a_file_of_something_else_than_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(DataError, match="something else than tensors by name"):
        load_source(str(tmp_path / "odd.pth"), "test_resnet", WeightOptions(bands=["VV"]))


def first_name(net) -> str:
    return next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"


def first_layer(model) -> torch.Tensor:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d)).weight.detach()


@pytest.mark.parametrize("encoder", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet"])
def test_a_timm_name_starts_the_bands_of_the_same_colours(tmp_path, make_spec, encoder):
    net = network(3, encoder)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    ours = model(make_spec, [SENTINEL2], strategy="single", encoder=encoder)
    tag = timm.models.get_arch_pretrained_cfgs(encoder)
    name = next(iter(tag))
    rows = map_weights(ours, load_source(f"timm:{name}", encoder, WeightOptions(file=str(tmp_path / "w.safetensors"))))
    source = net.state_dict()[first_name(net)]
    weight = first_layer(ours)
    for band, column in (("B04", 0), ("B03", 1), ("B02", 2)):
        torch.testing.assert_close(weight[:, SENTINEL2.channel_index(band)], source[:, column] * 3 / 12)
    encoder_rows = [row for row in rows if row.part == "encoder"]
    assert statuses(encoder_rows).get("mapped") == 1
    assert "fresh" not in statuses(encoder_rows)
    assert any("photographs" in row.note for row in rows if row.part == "normalisation")


def test_rgb_inputs_take_a_timm_network_as_it_is(tmp_path, make_spec):
    net = network(3)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    ours = model(make_spec, [SENTINEL2.select(["B04", "B03", "B02"])], strategy="single")
    options = WeightOptions(file=str(tmp_path / "w.safetensors"))
    rows = map_weights(ours, load_source("timm:test_resnet.r160_in1k", "test_resnet", options))
    assert {row.status for row in rows if row.part == "encoder"} == {"loaded"}
    ours.eval()
    values = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        vector = ours.fusion({"s2": values})[0].vector
        torch.testing.assert_close(vector, net.eval().forward_features(values).mean((2, 3)))


def test_a_wrong_timm_name_is_an_error():
    with pytest.raises(UsageError, match=r"timm has no weights 'resnet18\.nonsense'"):
        load_source("timm:resnet18.nonsense", "resnet18", WeightOptions())


@pytest.fixture
def torchgeo(monkeypatch):
    """A stand-in for torchgeo with weights of each sensor."""
    net = network(13)

    class Normalize(nn.Module):
        def __init__(self, mean, std):
            super().__init__()
            self.mean, self.std = mean, std

    def weight(bands, transforms, **meta):
        state = net.state_dict()
        return SimpleNamespace(
            meta={"model": "test_resnet", "bands": bands, **meta},
            transforms=transforms,
            get_state_dict=lambda **_: state,
        )

    class Weights(Enum):
        SENTINEL2_ALL_MOCO = weight(L1C, nn.Sequential(nn.Identity(), Normalize([0], [10000])))
        LANDSAT_MOCO = weight(L1C, nn.Sequential(Normalize([0], [255])))

    def get_weight(name):
        try:
            return Weights[name.rpartition(".")[2]].value
        except KeyError:
            raise ValueError(f"{name} is not a valid WeightsEnum") from None

    package, models = ModuleType("torchgeo"), ModuleType("torchgeo.models")
    models.get_weight = get_weight
    monkeypatch.setitem(sys.modules, "torchgeo", package)
    monkeypatch.setitem(sys.modules, "torchgeo.models", models)
    return net


def test_a_torchgeo_name_brings_bands_and_normalisation(torchgeo, make_spec):
    ours = model(make_spec, [SENTINEL2], strategy="single")
    rows = map_weights(
        ours, load_source("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", "test_resnet", WeightOptions())
    )
    where = [L1C.index(name) for name in ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8a", "B9", "B11", "B12"]]
    assert torch.equal(first_layer(ours), torchgeo.state_dict()[first_name(torchgeo)][:, where])
    assert ours.spec.statistics.mean["s2"] == [0.0] * 12
    assert ours.spec.statistics.std["s2"] == pytest.approx([1.0] * 12)
    assert ours.normaliser.get_buffer("s2_std").tolist() == pytest.approx([1.0] * 12)
    assert any("B10" in row.source for row in rows if row.status == "left over")


def test_bands_of_another_sensor_are_not_taken_for_those_of_sentinel_2(torchgeo):
    with pytest.raises(UsageError, match="of another sensor"):
        load_source("torchgeo:ResNet18_Weights.LANDSAT_MOCO", "test_resnet", WeightOptions())


def test_unknown_torchgeo_weights_and_a_missing_torchgeo_are_errors(torchgeo, monkeypatch):
    with pytest.raises(UsageError, match="torchgeo has no weights"):
        load_source("torchgeo:Nonsense", "test_resnet", WeightOptions())
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    with pytest.raises(UsageError, match=r"eofuse\[torchgeo\]"):
        load_source("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", "test_resnet", WeightOptions())


@pytest.mark.parametrize(
    "name", ["timm:vit_base_patch16_224.mae", "torchgeo:ScaleMAE_ViTLarge16_Weights.FMOW_RGB_SCALEMAE"]
)
def test_weights_whose_licence_forbids_commercial_use_are_taken_only_if_the_use_is_none(name, tmp_path):
    file = str(tmp_path / "none.pth")
    with pytest.raises(UsageError, match=r"licence \([CcBbYyNn-]+4\.0\) forbids commercial use.*non_commercial: true"):
        load_source(name, "", WeightOptions(file=file))
    with pytest.raises((DataError, UsageError), match=r"can't be read as weights|torchgeo"):
        load_source(name, "", WeightOptions(file=file, non_commercial=True))


def test_torchgeos_models_of_several_sensors_are_named(torchgeo):
    with pytest.raises(UsageError, match=r"model of several sensors.*embed --with dofa:base --weights FILE"):
        load_source("torchgeo:DOFABase16_Weights.DOFA_MAE", "", WeightOptions())


@pytest.mark.parametrize("strategy", ["single", *STRATEGIES])
def test_a_model_of_ours_is_taken_over_to_the_bit(make_spec, make_inputs, strategy, tmp_path):
    modalities = [SENTINEL2] if strategy == "single" else [SENTINEL2, SENTINEL1, WORLDCOVER, WEATHER]
    source = trained(make_spec, modalities, strategy=strategy).eval()
    save_model(source, tmp_path / "run" / "model")
    ours = model(make_spec, modalities, strategy=strategy).eval()
    rows = map_weights(ours, load_source(str(tmp_path / "run"), "test_resnet", WeightOptions()))
    assert statuses(rows) == {"loaded": len(ours.state_dict())}
    inputs = make_inputs(modalities, 32)
    with torch.no_grad():
        assert all(torch.equal(ours(inputs)[name], output) for name, output in source(inputs).items())


@pytest.mark.parametrize("numbers", ["linear", "piecewise"])
@pytest.mark.parametrize("strategy", ["single", *STRATEGIES])
def test_a_model_of_series_and_numbers_is_taken_over_to_the_bit(make_spec, make_inputs, strategy, numbers):
    modalities = [GREENNESS] if strategy == "single" else [GREENNESS, SEASON]
    origin = trained(make_spec, modalities, strategy=strategy, numbers=numbers)
    ours = model(make_spec, modalities, strategy=strategy, numbers=numbers)
    rows = map_weights(ours, model_source(origin, "trained"))
    assert {row.tensor for row in rows if row.tensor} == set(ours.state_dict())
    assert all(row.status == "loaded" for row in rows if not row.tensor.startswith("normaliser."))
    inputs = make_inputs(modalities, 32)
    for target, expected in origin.predict(inputs).items():
        assert torch.equal(ours.predict(inputs)[target], expected)


@pytest.mark.parametrize("to", STRATEGIES)
@pytest.mark.parametrize("origin", STRATEGIES)
def test_every_fusion_starts_from_every_other(make_spec, origin, to):
    source = trained(make_spec, [SENTINEL2, SENTINEL1], strategy=origin)
    ours = model(make_spec, [SENTINEL1, SENTINEL2, SEASON], strategy=to)
    rows = map_weights(ours, model_source(source, "source"))
    encoders = [row for row in rows if row.tensor and ("s1" in row.part or "s2" in row.part or row.part == "encoder")]
    assert encoders
    assert all(row.status in ("loaded", "mapped") for row in encoders)
    assert {row.tensor for row in rows if row.tensor} == set(ours.state_dict())
    told = {name for row in rows for name in row.source.partition("[")[0].split(" + ")}
    assert {name for name in source.state_dict() if not name.startswith("normaliser")} <= told


def test_an_early_encoder_takes_the_first_layers_side_by_side_and_one_trunk(make_spec):
    source = trained(make_spec, [SENTINEL2, SENTINEL1], strategy="late")
    state = source.state_dict()
    for trunk, taken in ((None, "s2"), ("s1", "s1")):
        ours = model(make_spec, [SENTINEL2, SENTINEL1], strategy="early")
        map_weights(ours, model_source(source, "source"), trunk)
        name = next(
            name for name in state if name.startswith("fusion.encoders.s2.") and state[name].shape[1:2] == (12,)
        )
        rest = name.removeprefix("fusion.encoders.s2.")
        stems = torch.cat([state[f"fusion.encoders.{modality}.{rest}"] for modality in ("s2", "s1")], 1)
        early = ours.state_dict()
        assert torch.equal(early[f"fusion.encoder.{rest}"], stems)
        for key, tensor in ours.fusion.encoder.state_dict().items():
            if key != rest:
                assert torch.equal(tensor, state[f"fusion.encoders.{taken}.{key}"])


def test_encoders_of_late_fusion_take_their_columns_of_an_early_first_layer(make_spec, make_inputs):
    source = trained(make_spec, [SENTINEL2, SENTINEL1], strategy="early").eval()
    ours = model(make_spec, [SENTINEL1, SENTINEL2], strategy="late").eval()
    map_weights(ours, model_source(source, "source"))
    values = ours.normaliser(make_inputs([SENTINEL2, SENTINEL1], 32))
    with torch.no_grad():
        alone = ours.fusion.encoders["s2"](values["s2"]).vector
        silent = source.fusion({"s2": values["s2"], "s1": torch.zeros_like(values["s1"])})[0].vector
        torch.testing.assert_close(alone, silent)


def test_a_new_modality_starts_fresh_beside_those_that_are_known(make_spec):
    source = trained(make_spec, [SENTINEL2, SENTINEL1], strategy="late")
    ours = model(make_spec, [SENTINEL2, SEASON, SENTINEL1], strategy="late")
    fresh = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    map_weights(ours, model_source(source, "source"))
    state, width = ours.state_dict(), source.fusion.encoders["s2"].sizes.vector
    joined, there = state["fusion.join.layers.0.weight"], source.state_dict()["fusion.join.layers.0.weight"]
    assert torch.equal(joined[:, :width], there[:, :width])
    assert torch.equal(joined[:, -width:], there[:, width:])
    assert torch.equal(joined[:, width:-width], fresh["fusion.join.layers.0.weight"][:, width:-width])
    for name in state:
        if name.startswith("fusion.encoders.season."):
            assert torch.equal(state[name], fresh[name])


def test_a_shared_trunk_starts_from_the_modality_that_is_named(make_spec):
    source = trained(make_spec, [SENTINEL2, SENTINEL1], strategy="decision")
    ours = model(make_spec, [SENTINEL2, SENTINEL1], strategy="late", weights="shared")
    map_weights(ours, model_source(source, "source"), "s1")
    key = next(name for name in ours.fusion.trunk.encoder.state_dict())
    assert torch.equal(
        ours.state_dict()[f"fusion.trunk.encoder.{key}"], source.state_dict()[f"fusion.encoders.s1.{key}"]
    )


def test_an_unknown_modality_takes_a_trunk_only_where_one_is_named(make_spec):
    source = trained(make_spec, [SENTINEL2], strategy="single")
    for trunk, expected in ((None, {"fresh"}), ("s2", {"loaded", "fresh"})):
        ours = model(make_spec, [SENTINEL2, SENTINEL1], strategy="decision")
        rows = map_weights(ours, model_source(source, "source"), trunk)
        found = [row for row in rows if row.part == "encoders.s1"]
        assert {row.status for row in found} == expected
        assert sum(row.status == "fresh" for row in found) == (1 if trunk else len(found))
    with pytest.raises(UsageError, match="no encoder of 's3'"):
        map_weights(model(make_spec, [SENTINEL2], strategy="single"), model_source(source, "source"), "s3")


def test_the_normalisation_of_the_weights_comes_along_for_the_channels_that_match(make_spec):
    source = build_model(make_spec([SENTINEL2.select(["B04", "B08"])], 32, strategy="single"), seed=0)
    source.spec.statistics.mean["s2"][:] = [0.3, 0.4]
    ours = model(make_spec, [SENTINEL2.select(["B02", "B8", "B4"]), SENTINEL1], strategy="early")
    rows = map_weights(ours, model_source(source, "source"))
    assert ours.spec.statistics.mean == {"s2": [0.1, 0.4, 0.3], "s1": [0.1, 0.1]}
    torch.testing.assert_close(ours.normaliser.get_buffer("s2_mean"), torch.tensor([0.1, 0.4, 0.3]))
    notes = {row.tensor: row.note for row in rows}
    assert notes["normaliser.s2_mean"] == "by the training patches: B02"


def test_nothing_in_common_is_an_error(make_spec):
    source = trained(make_spec, [SENTINEL1], strategy="single")
    with pytest.raises(UsageError, match=r"no tensor fits: the weights see s1\.VV, s1\.VH; the model sees s2\.B01"):
        map_weights(model(make_spec, [SENTINEL2], strategy="single"), model_source(source, "source"))


def test_another_encoder_is_an_error(make_spec):
    source = trained(make_spec, [SENTINEL2], strategy="single", encoder="resnet10t")
    with pytest.raises(UsageError, match="'resnet10t', and the model has 'test_resnet'"):
        map_weights(model(make_spec, [SENTINEL2], strategy="single"), model_source(source, "source"))


@pytest.mark.parametrize("encoder", ["repvgg_a0", "fastvit_t8"])
def test_an_encoder_with_several_first_layers_takes_only_the_same_channels(make_spec, encoder):
    rgb = SENTINEL2.select(["B04", "B03", "B02"])
    source = model_source(model(make_spec, [rgb], strategy="single", encoder=encoder), "source")
    map_weights(model(make_spec, [rgb], strategy="single", encoder=encoder), source)
    for other in (SENTINEL2, SENTINEL2.select(["B02", "B03", "B04"])):
        with pytest.raises(UsageError, match="not one convolution over its channels"):
            map_weights(model(make_spec, [other], strategy="single", encoder=encoder), source)


def test_a_head_of_other_classes_starts_fresh(make_spec):
    source = trained(make_spec, [SENTINEL2], strategy="single")
    spec = make_spec([SENTINEL2], 32, strategy="single")
    spec.heads["zone"] = type(spec.heads["zone"])(SINGLE_LABEL, ("south", "north"))
    rows = map_weights(build_model(spec, seed=2), model_source(source, "source"))
    parts = {row.part: row for row in rows}
    assert parts["head of zone"].status == "fresh"
    assert "other values" in parts["head of zone"].note
    assert parts["head of land_cover"].status == "loaded"


def test_layers_are_counted_from_the_heads(make_spec):
    found = model(make_spec, [SENTINEL2, SENTINEL1, SEASON], strategy="late").distances()
    assert min(found.values()) == 1
    assert found["fusion.join.layers.0.weight"] == 1
    first = next(name for name in found if name.startswith("fusion.encoders.s2."))
    assert found[first] == max(found.values()) > 3
    vit = model(make_spec, [SENTINEL2], strategy="single", encoder="test_vit").distances()
    assert vit["fusion.encoder.body.network.patch_embed.proj.weight"] == max(vit.values())
    assert vit["fusion.encoder.body.network.blocks.5.attn.qkv.weight"] == 1
    assert vit["fusion.encoder.body.network.blocks.0.attn.qkv.weight"] == 6
    assert vit["fusion.encoder.body.network.norm.weight"] == 1
