"""The fuzzer spoils files in many ways, and in the same ways again."""

import json
import random
import struct

import pytest
import yaml

from .mutations import CHANGES, change_file, change_value, hostile, nested, to_json, to_yaml

CONTENT = {"name": "a", "numbers": [1, 2.5, None], "inner": {"deep": [{"x": True}]}}
FILES = {
    ".json": to_json(CONTENT),
    ".geojson": to_json(CONTENT),
    ".claim": to_json(CONTENT),
    ".yaml": to_yaml(CONTENT),
    ".csv": b"id,value\na,1\nb,2\n",
    ".txt": b"a\nb\n",
    ".tif": b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 33550, 12, 1, 40) + bytes(40),
    ".npy": b"\x93NUMPY\x01\x00\x36\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}" + bytes(24),
    ".safetensors": struct.pack("<Q", 2) + b"{}",
    ".parquet": bytes(range(200)),
}


def changes(suffix: str, seeds: range) -> list[bytes]:
    return [change_file(FILES[suffix], suffix, random.Random(seed))[0] for seed in seeds]


def test_every_way_of_change_is_tried_here():
    assert set(CHANGES) <= set(FILES)


@pytest.mark.parametrize("suffix", FILES)
def test_a_seed_spoils_a_file_in_the_same_way_again(suffix):
    assert changes(suffix, range(30)) == changes(suffix, range(30))


@pytest.mark.parametrize("suffix", FILES)
def test_seeds_spoil_a_file_in_different_ways(suffix):
    assert len(set(changes(suffix, range(60)))) > 20


def test_values_are_written_as_they_are():
    assert json.loads(to_json(CONTENT)) == CONTENT
    assert yaml.safe_load(to_yaml(CONTENT)) == CONTENT


def test_what_is_nested_deeply_is_spoilt_once_more():
    deep = {"a": nested(700)}
    assert change_value(deep, random.Random(0))[0] != deep


def test_a_hostile_value_is_a_new_one_each_time():
    values = [hostile(random.Random(seed)) for seed in range(300)]
    containers = [id(value) for value in values if isinstance(value, list | dict)]
    assert len(set(containers)) == len(containers) > 20
