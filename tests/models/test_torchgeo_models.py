"""CROMA, DOFA, Panopticon and Copernicus-FM: what torchgeo's own networks make of whole patches; and gaps and sizes, beyond these."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import eofuse
from eofuse.data.store.write import write_store
from eofuse.errors import DataError, UsageError
from eofuse.kinds import KINDS
from eofuse.learning.transfer import StartOptions, start_from
from eofuse.modalities import PLACE, SENTINEL1, SENTINEL2
from eofuse.models.encoders import ENCODERS
from eofuse.models.foundation import Sample, build_foundation, torchgeo_tokens
from eofuse.models.foundation.copernicus_fm import CopernicusFM
from eofuse.models.foundation.croma import Croma
from eofuse.models.foundation.dofa import Dofa
from eofuse.models.foundation.galileo import Size
from eofuse.models.foundation.panopticon import Panopticon
from eofuse.models.fusion import FusionOptions
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec, build_model
from eofuse.models.normalisation import ChannelStatistics

NAMES = ("croma", "dofa", "panopticon", "copernicus_fm")
needs_torchgeo = pytest.mark.usefixtures("_small")


@pytest.fixture
def _small(monkeypatch):
    """The networks in small: of few layers, and of positions of two by two tokens."""
    pytest.importorskip("torchgeo.models", reason="torchgeo is not installed")
    import torchgeo.models.panopticon as panopticon

    for model in (Dofa, CopernicusFM, Croma):
        monkeypatch.setitem(model.SIZES, "base", Size(64, 4, 16))
    monkeypatch.setattr(torchgeo_tokens.TorchgeoModel, "GRID", 2)
    monkeypatch.setattr(Panopticon, "PRETRAINED_PIXELS", 28)
    options = {"depth": 4, "embed_dim": 48, "num_heads": 2, "num_classes": 0}
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, img_size=28, **options))
    monkeypatch.setattr(panopticon, "Panopticon", partial(panopticon.Panopticon, attn_dim=48, embed_dim=48))


def sample(count=3, side=16, **changes):
    """Patches whose values look like those of the pretraining, of all channels."""
    generator = torch.Generator().manual_seed(0)
    known = {**torchgeo_tokens.RADAR, **torchgeo_tokens.OPTICAL}
    values = {
        name: mean + deviation * torch.randn(count, side, side, generator=generator)
        for name, (mean, deviation) in known.items()
    }
    return Sample({**values, **changes}, torch.full((count,), -1))


def stirred(name, seed=0):
    """A model none of whose tensors is constant, as biases and class tokens are at first."""
    model = build_foundation(name, seed)
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(seed + index)
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


def standard(batch, names):
    known = {**torchgeo_tokens.RADAR, **torchgeo_tokens.OPTICAL}
    return torch.stack([(batch.values[name] - known[name][0]) / known[name][1] for name in names], 1)


OPTICAL = tuple(torchgeo_tokens.OPTICAL)
ALL = (*torchgeo_tokens.RADAR, *OPTICAL)


@needs_torchgeo
@torch.inference_mode()
def test_whole_patches_give_dofas_own_vectors():
    model, batch = stirred("dofa"), sample(side=32)
    waves = [3.75, 3.75, *(torchgeo_tokens.WAVELENGTHS_NM[name] / 1000 for name in OPTICAL)]
    model.network.fc_norm = torch.nn.LayerNorm(64, eps=1e-6)
    expected = model.network.forward_features(standard(batch, ALL), waves)
    torch.testing.assert_close(model.embed(batch, 16).pooled, expected, atol=1e-5, rtol=0)


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize("is_placed", [True, False])
def test_whole_patches_give_copernicus_fms_own_vectors(is_placed):
    model, batch = stirred("copernicus_fm"), sample(side=32)
    places = torch.tensor([[9.0, 47.0], [10.0, -3.0], [-70.0, 5.0]]) if is_placed else torch.full((3, 2), torch.nan)
    batch = Sample(batch.values, batch.months, places)
    metadata = torch.cat([places, torch.full((3, 1), torch.nan), torch.full((3, 1), 0.16**2)], 1)
    waves = [5e7, 5e7, *map(float, torchgeo_tokens.WAVELENGTHS_NM.values())]
    widths = [1e9, 1e9, *map(float, torchgeo_tokens.BANDWIDTHS_NM.values())]
    model.network.fc_norm = torch.nn.LayerNorm(64)
    expected = model.network.forward_features(standard(batch, ALL), metadata, waves, widths, kernel_size=16)
    torch.testing.assert_close(model.embed(batch, 16).pooled, expected, atol=1e-5, rtol=0)


@needs_torchgeo
@torch.inference_mode()
def test_whole_patches_give_panopticons_own_vectors():
    model, batch = stirred("panopticon"), sample(side=28)
    ids = torch.tensor([-1.0, -2.0, *torchgeo_tokens.WAVELENGTHS_NM.values()]).repeat(3, 1)
    expected = model.network.forward_features({"imgs": standard(batch, ALL), "chn_ids": ids})[:, 0]
    torch.testing.assert_close(model.embed(batch, 14).pooled, expected, atol=1e-5, rtol=0)


@needs_torchgeo
@torch.inference_mode()
def test_whole_patches_give_cromas_own_vectors():
    import torchgeo.models.croma as croma

    model, batch = stirred("croma"), sample(side=24)
    own = croma.CROMA(encoder_dim=64, encoder_depth=4, num_heads=16, image_size=24)
    own.load_state_dict({**model.network.state_dict(), "attn_bias": own.attn_bias})
    radar, optical = (((standard(batch, names) + 2) / 4).clamp(0, 1) for names in (ALL[:2], OPTICAL))
    expected = own(x_sar=radar, x_optical=optical)
    found = model.embed(batch, 8)
    torch.testing.assert_close(found.pooled, expected["joint_GAP"], atol=1e-5, rtol=0)
    means = torch.stack([expected[f"{name}_GAP"] for name in ("sar", "optical", "joint")], 1)
    torch.testing.assert_close(found.means, means, atol=1e-5, rtol=0)


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_pixel_hides_its_token_whatever_the_others_hold(name):
    model, batch = stirred(name), sample()
    gaps = {**batch.values, "B4": batch.values["B4"].clone()}
    gaps["B4"][0, 1, 2] = torch.nan
    other = {**gaps, "B3": gaps["B3"].clone()}
    other["B3"][0, :8, :8] += 500
    first, second, whole = (model.pyramid(Sample(values, batch.months), 8) for values in (gaps, other, batch.values))
    for one, two in zip([first[0].pooled, *first[1]], [second[0].pooled, *second[1]], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    assert not torch.allclose(first[0].pooled[0], whole[0].pooled[0], atol=1e-4)
    torch.testing.assert_close(first[0].pooled[1:], whole[0].pooled[1:], atol=1e-5, rtol=0)
    assert [level.shape for level in first[1]] == [(3, model.width, 2, 2)] * 4
    assert all(level[0, :, 0, 0].eq(0).all() and level[0, :, 1, 1].ne(0).any() for level in first[1])
    assert first[0].tokens[:, -1].tolist() == [3, 4, 4]


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_samples_that_lack_a_sensor_are_seen_without_it(name):
    model, batch = stirred(name), sample()
    lacking = {each: values.clone() for each, values in batch.values.items()}
    for each in torchgeo_tokens.RADAR:
        lacking[each][1] = torch.nan
    found = model.embed(Sample(lacking, batch.months), 8).pooled
    optical = Sample({each: batch.values[each] for each in OPTICAL}, batch.months)
    expected = model.embed(optical, 8).pooled
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[[0, 2]], model.embed(batch, 8).pooled[[0, 2]], atol=1e-5, rtol=0)


@needs_torchgeo
@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_nothing_at_all_is_zeros(name):
    batch = sample()
    nothing = {each: torch.full_like(values, torch.nan) for each, values in batch.values.items()}
    found, maps = stirred(name).pyramid(Sample(nothing, batch.months), 8)
    assert not any(each.any() for each in (found.pooled, found.tokens, found.means, *maps))


@needs_torchgeo
@pytest.mark.parametrize("name", NAMES)
def test_the_published_files_are_loaded_and_those_of_others_are_not(name, tmp_path):
    model = stirred(name, seed=3)
    tensors = {key.removeprefix("network."): tensor for key, tensor in model.state_dict().items()}
    if name == "croma":  # a state dictionary for each part
        parts = {part: {} for part in ("s1_encoder", "s1_GAP_FFN", "s2_encoder", "s2_GAP_FFN", "joint_encoder")}
        for key, tensor in tensors.items():
            part, _, own = key.partition(".")
            parts[part][own] = tensor
        path = tmp_path / "CROMA_base-0238d814.pt"
        torch.save(parts, path)
    else:
        path = (
            tmp_path
            / {
                "dofa": "dofa_base_patch16_224-a0275954.pth",
                "panopticon": "panopticon_vitb14_teacher.pth",
                "copernicus_fm": "CopernicusFM_ViT_base_varlang-085350e4.pth",
            }[name]
        )
        torch.save({**tensors, "mask_token": torch.zeros(1)}, path)
    read = build_foundation(name)
    assert read.load(tmp_path) == path
    with torch.inference_mode():
        torch.testing.assert_close(read.embed(sample(), 8).pooled, model.embed(sample(), 8).pooled)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="another network than"):
        read.load(tmp_path / "other.safetensors")
    encoder = ENCODERS[name]((SENTINEL2,))
    assert set(encoder.published()) == {f"network.{key}" for key in model.state_dict()}


def run_model(modalities, name, **fusion):
    neutral = {each.name: [1.0] * len(each.channels) for each in modalities}
    options = FusionOptions(strategy="late", joint={name: [each.name for each in modalities]}, **fusion)
    heads = {"cover": HeadSpec(KINDS["segmentation"], ("a", "b"), network="unet")}
    spec = ModelSpec(tuple(modalities), options, heads, ChannelStatistics(neutral, neutral), (16, 16))
    return build_model(spec, seed=0)


@needs_torchgeo
@pytest.mark.parametrize("name", NAMES)
def test_as_an_encoder_it_takes_stored_values_and_serves_pixels(name):
    model = run_model((SENTINEL2, SENTINEL1), name)
    inputs = {
        "s2": torch.randint(500, 4000, (2, 12, 16, 16)).to(torch.uint16),
        "s1": torch.randn(2, 2, 16, 16) * 4 - 12,
    }
    present = {"s2": torch.tensor([True, True]), "s1": torch.tensor([False, True])}
    logits = model(inputs, present)["cover"]
    assert logits.shape == (1, 2, 2, 16, 16)
    logits.square().sum().backward()
    assert model.spec.context == ()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    layers = next(iter(model.fusion.encoders.values())).layer_numbers()
    assert max(layers.values()) >= 4


@needs_torchgeo
def test_the_place_reaches_only_the_model_that_sees_it():
    options = {"foundation": {"place": True}}
    assert run_model((SENTINEL2,), "copernicus_fm", **options).spec.context == (PLACE,)
    assert run_model((SENTINEL2,), "dofa", **options).spec.context == ()


@needs_torchgeo
def test_croma_needs_all_optical_bands_and_squares():
    ten = SENTINEL2.select(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))
    with pytest.raises(UsageError, match="CROMA takes none of these channels without B1, B9"):
        run_model((ten,), "croma")
    with pytest.raises(UsageError, match="CROMA takes squares, not 2 × 1 tokens"):
        stirred("croma").embed(Sample({n: v[:, :, :8] for n, v in sample().values.items()}, torch.zeros(3)), 8)


@needs_torchgeo
def test_start_from_a_file_by_its_published_name(tmp_path):
    tensors = {key.removeprefix("network."): tensor for key, tensor in stirred("dofa", 5).state_dict().items()}
    torch.save(tensors, tmp_path / "dofa_base_patch16_224-a0275954.pth")
    model = run_model((SENTINEL2,), "dofa")
    table = start_from(model, StartOptions(**{"from": str(tmp_path / "dofa_base_patch16_224-a0275954.pth")}))
    assert set(table.loc[table["tensor"].str.contains("network"), "status"]) == {"loaded"}


@needs_torchgeo
def test_a_store_is_embedded_without_dates_by_a_file_of_the_published_name(tmp_path):
    random = np.random.default_rng(0)
    patches = ({"id": f"p{n}", "s2": random.integers(500, 4000, (12, 16, 16)).astype(np.uint16)} for n in range(3))
    store = write_store(patches, [SENTINEL2], tmp_path / "a.store", name="a")
    model = stirred("dofa", seed=2)
    tensors = {key.removeprefix("network."): tensor for key, tensor in model.state_dict().items()}
    torch.save(tensors, tmp_path / "dofa_base_patch16_224-a0275954.pth")
    options = {"model": "dofa", "weights": tmp_path, "patch": 8}
    found = eofuse.embed(store.path, tmp_path / "b.store", **options)
    stored = torch.from_numpy(store.read("s2", range(3)).astype(np.float32))
    with torch.inference_mode():
        expected = model.embed(
            Sample(dict(zip(OPTICAL, stored.unbind(1), strict=True)), torch.full((3,), -1)), 8
        ).pooled
    np.testing.assert_allclose(found.read("dofa", range(3)), expected, atol=1e-4)
    facts = found.embeddings("dofa")[0]
    assert (facts["month"], facts["weights"]["licence"]) == (None, "CC-BY-4.0")
    cells = eofuse.embed(store.path, tmp_path / "c.store", **options, pool="tokens", twin=False)
    assert cells.read("dofa", [0]).shape == (1, 64, 2, 2)
    with pytest.raises(UsageError, match="--place: DOFA does not see the place"):
        eofuse.embed(store.path, tmp_path / "d.store", **options, place=True)


def test_without_torchgeo_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchgeo.models.dofa", None)
    with pytest.raises(UsageError, match=r"pip install 'eofuse\[torchgeo\]'"):
        build_foundation("dofa")
