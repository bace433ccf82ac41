"""Foundation models of ours make of known inputs what the original code makes of them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eofuse.models.foundation import Sample, build_foundation
from eofuse.models.foundation.derived import unit_sphere
from eofuse.models.foundation.presto import GROUPS

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(scope="module")
def galileo():
    model = build_foundation("galileo:nano")
    model.load(WEIGHTS)
    return model


@pytest.mark.parametrize(("case", "patch"), [("all_p4_t3", 4), ("gaps_p8_t2", 8), ("pixel_p1_t6", 1)])
def test_galileos_tokens_are_those_of_the_original(galileo, case, patch):
    known = load_file(WEIGHTS / "galileo_reference.safetensors")
    names = ("space_time", "space", "time", "static")
    values = {name: known[f"{case}.{name}"] for name in names}
    visible = {name: known[f"{case}.{name}_mask"] == 0 for name in names}
    for name in ("space_time", "space"):
        visible[name] = visible[name][:, ::patch, ::patch]
    with torch.no_grad():
        tokens = galileo.encoder(values, visible, known[f"{case}.months"], patch)
    for name in names:
        torch.testing.assert_close(
            tokens[name][visible[name]], known[f"{case}.out_{name}"][visible[name]], atol=1e-5, rtol=0
        )
    total = sum(each.flatten(1, -2).sum(1) for each in tokens.values())
    mean = total / sum(each.flatten(1).sum(1) for each in visible.values())[:, None]
    torch.testing.assert_close(mean, known[f"{case}.vector"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [4, 8])
def test_galileos_vectors_of_real_chips_are_those_of_the_original(galileo, patch):
    known = load_file(WEIGHTS / "galileo_eurosat.safetensors")
    bands = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    batch = Sample(dict(zip(bands, known["s2_dn"].unbind(1), strict=True)), known["months"][:, 0])
    with torch.no_grad():
        found = galileo.embed(batch, patch)
    torch.testing.assert_close(found.pooled, known[f"vector_p{patch}"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["all_t5", "no_s1_t12", "gap_t4", "sensors_t3"])
def test_prestos_vectors_are_those_of_the_original(case):
    model = build_foundation("presto")
    model.load(WEIGHTS)
    known = {k.removeprefix(f"{case}."): v for k, v in load_file(WEIGHTS / "presto_reference.safetensors").items()}
    hidden = known["mask"].split([len(group) for group in GROUPS.values()], dim=-1)
    visible = torch.stack([each.amax(dim=-1) == 0 for each in hidden], dim=-1)
    months = (known["start_month"][:, None] + torch.arange(visible.shape[1])) % 12
    places = unit_sphere(known["latlon"].flip(1))
    with torch.no_grad():
        tokens, seen = model.encoder(known["x"], visible, months, places, known["dynamic_world"])
        total = sum(each.sum(dim=1) for each in tokens.values())
        vector = model.encoder.norm(total / sum(each.sum(dim=1) for each in seen.values())[:, None])
    torch.testing.assert_close(vector, known["vector"], atol=1e-5, rtol=0)
