"""The page about collecting says what the spec takes."""

import re
from pathlib import Path

import yaml

from eofuse.config import parse_options
from eofuse.data.collect.presets import CATALOGUES, MASKS, SIGNERS
from eofuse.data.collect.spec import (
    CollectLayer,
    CollectSpec,
    LabelOptions,
    MaskOptions,
    NetworkOptions,
    PatchOptions,
    TimeOptions,
)
from eofuse.data.specs.layers import LayerSpec

PAGE = (Path(__file__).parents[3] / "docs" / "collect.md").read_text(encoding="utf-8")


def test_every_key_is_on_the_page():
    kinds = [CollectSpec, LabelOptions, PatchOptions, TimeOptions, MaskOptions, NetworkOptions]
    names = {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}
    names |= CollectLayer.model_fields.keys() - LayerSpec.model_fields.keys()
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    written = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    assert names - written == set()


def test_specs_of_the_page_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        spec = parse_options(CollectSpec, yaml.safe_load(block))
        assert {layer.stac for layer in spec.modalities.values()} <= {*CATALOGUES, None}


def test_what_has_a_name_is_on_the_page():
    assert [name for name in (*CATALOGUES, *MASKS) if f"`{name}`" not in PAGE] == []
    assert set(SIGNERS) == {"planetary_computer"}
