"""Recipes are strict: what is misspelt, doubled or of the wrong kind is named with its path."""

import itertools
import re
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from eofuse.config import Options, apply_overrides, merge, parse_options, parse_yaml, read_yaml, write_yaml
from eofuse.errors import UsageError
from eofuse.words import is_control


class Inner(Options):
    strategy: str = "early"
    steps: int = Field(default=1, ge=1)


class Outer(Options):
    fusion: Inner = Inner()
    named: dict[str, Inner] = Field(default={})


def test_an_unknown_key_names_its_path_and_the_nearest():
    with pytest.raises(UsageError, match=r"recipe\.yaml: fusion\.stratgy: unknown key; did you mean 'strategy'\?"):
        parse_options(Outer, {"fusion": {"stratgy": "late"}}, "recipe.yaml")


def test_an_unknown_key_inside_a_mapping_of_options_is_found_too():
    with pytest.raises(UsageError, match=r"named\.a\.stepss: unknown key; did you mean 'steps'"):
        parse_options(Outer, {"named": {"a": {"stepss": 1}}})


def test_a_wrong_value_is_shown():
    with pytest.raises(UsageError, match=r"fusion\.steps: .*given: 0"):
        parse_options(Outer, {"fusion": {"steps": 0}})


def test_all_problems_are_told_at_once():
    with pytest.raises(UsageError) as caught:
        parse_options(Outer, {"fusion": {"stratgy": "late", "steps": 0}})
    assert "fusion.stratgy" in str(caught.value)
    assert "fusion.steps" in str(caught.value)


def test_a_duplicate_key_names_its_line():
    with pytest.raises(UsageError, match="line 3: duplicate key 'seed'"):
        parse_yaml("seed: 1\nname: a\nseed: 2\n", "recipe.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3.0e-4", 0.0003),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12", 12),
        ("1.5", 1.5),
        ("B1", "B1"),
    ],
)
def test_numbers_and_words_are_read_as_people_mean_them(text, value):
    parsed = parse_yaml(f"key: {text}")["key"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_yaml_can_not_run_code():
    with pytest.raises(UsageError, match="not valid YAML"):
        parse_yaml("key: !!python/object/apply:os.getcwd []")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_yaml(path) == {"name": "x"}


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: can't be read"):
        read_yaml(tmp_path / "none.yaml")


letters = st.characters(codec="utf-8").filter(lambda letter: not is_control(letter))
words = st.text(letters, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(words, values, max_size=4))
def test_what_is_written_is_read_back(content):
    assert parse_yaml(write_yaml(content)) == content


def test_overrides_reach_into_sections_and_keep_the_rest():
    changed = apply_overrides({"train": {"steps": 1, "seed": 2}}, ["train.steps=500", "task.target=clc19"])
    assert changed == {"train": {"steps": 500, "seed": 2}, "task": {"target": "clc19"}}


def test_a_word_without_equals_is_no_override():
    with pytest.raises(UsageError, match="write key=value"):
        apply_overrides({}, ["steps"])


def test_merging_replaces_lists_and_joins_mappings():
    assert merge({"a": {"b": [1, 2], "c": 3}}, {"a": {"b": [4]}}) == {"a": {"b": [4], "c": 3}}


class Choice(Options):
    kind: Literal["class", "number"]


class Several(Options):
    labels: dict[str, Literal["class", "number"] | Choice] = Field(default={})
    columns: str | tuple[str, ...] | dict[str, tuple[str, ...]] | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"labels": {"a": 1}},
            "labels.a: 1 is not valid; valid: class, number, or must be a section of keys (given: 1)",
        ),
        ({"labels": {"a": {"kind": "clas"}}}, "labels.a.kind: 'clas' is not valid; did you mean 'class'?"),
        ({"labels": {"a": {"knd": "class", "kind": "class"}}}, "labels.a.knd: unknown key; did you mean 'kind'?"),
        ({"labels": {1: "class"}}, "labels.1: must be text (given: 1)"),
        (
            {"columns": 3},
            "columns: must be text (given: 3), or must be a list (given: 3), or must be a mapping of keys to values (given: 3)",
        ),
        ({"columns": ["a", 3]}, "columns.1: must be text (given: 3)"),
    ],
)
def test_of_a_key_with_several_sorts_of_values_no_name_of_a_type_is_shown(values, message):
    with pytest.raises(UsageError) as caught:
        parse_options(Several, values)
    assert str(caught.value) == message


def every_group(group=Options):
    for kind in group.__subclasses__():
        yield kind
        yield from every_group(kind)


ODD = [
    None,
    "",
    0,
    -1,
    float("nan"),
    float("inf"),
    10**30,
    "x" * 900,
    [],
    [None],
    [[1]],
    {},
    {"a": 1},
    {1: 2},
    {"a": {"b": [1]}},
]


def test_no_odd_value_of_any_key_shows_a_library():
    import eofuse.data.sources.table.spec
    import eofuse.data.store.cut
    import eofuse.recipe  # noqa: F401 (all options are loaded)

    for kind in every_group():
        for key, value in itertools.product(kind.model_fields, ODD):
            try:
                parse_options(kind, {key: value})
            except UsageError as error:
                said = str(error)
                assert not re.search(r"constrained|function-|literal\[|union\[|pydantic|Value error|\n", said), (
                    key,
                    said,
                )
                assert len(said) < 2000, (kind, key)


def test_of_very_many_wrong_values_the_first_are_named():
    class Names(Options):
        names: tuple[str, ...]

    with pytest.raises(UsageError, match=r"names\.0: must be text .* and 9,950 more$"):
        parse_options(Names, {"names": [0] * 10_000})


@pytest.mark.parametrize("values", [{"name": "\x1b[31m"}, {"name": ["\0"]}, {"\x9b": 1}, {"a": {"b": ("\ud800",)}}])
def test_values_from_python_hold_no_control_characters_either(values):
    with pytest.raises(UsageError, match="holds a control character"):
        parse_options(Options, values)
