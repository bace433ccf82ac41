"""Damaged files of a run are one clear error, or change nothing that is shown."""

import json
import shutil

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.cli import main
from eofuse.errors import DataError, EofuseError
from eofuse.learning.curves import EVALUATIONS_FILE
from eofuse.learning.facts import SHAPES, TEST_FILE, read_facts, write_facts
from eofuse.learning.outputs import predictions_file
from eofuse.learning.run import open_run
from eofuse.learning.split_table import SPLIT_FILE, learned_from, read_split
from eofuse.records import read_record, read_table, sealed, write_table

FILES = ("data.json", "result.json", "test.json", "calibration.json", "evaluations.csv", "split.parquet", "recipe.yaml")
PREDICTIONS = "predictions/label.parquet"
MODEL = ("model/model.json", "model/model.safetensors")
WRITTEN = sorted(set(SHAPES) - {"logged.json"})
"""Files of facts that a run without loggers has."""


def read_all(folder):
    run = open_run(folder)
    run.notes()
    run.predictions()
    run.model()
    read_split(folder)
    learned_from([folder])


@settings(max_examples=30)
@given(data=st.data())
def test_no_damage_ends_in_anything_but_one_clear_error(trained_once, tmp_path_factory, data):
    folder = shutil.copytree(
        trained_once, tmp_path_factory.mktemp("run") / "run", ignore=shutil.ignore_patterns("tensorboard")
    )
    path = folder / data.draw(st.sampled_from((*FILES, PREDICTIONS, *MODEL)))
    content = path.read_bytes()
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=5)) + content[end:])
    try:
        read_all(folder)
    except EofuseError as error:
        assert error.where  # noqa: PT017


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["", "label", "x"]),
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["label", "kind", "x"]), parts, max_size=3)
    ),
    max_leaves=5,
)


def places(values, within=()):
    """Where values lie within others."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        yield (*within, key)
        yield from places(value, (*within, key))


@settings(max_examples=40)
@given(data=st.data())
def test_values_of_another_type_are_one_clear_error(trained_once, tmp_path_factory, data):
    folder = shutil.copytree(
        trained_once, tmp_path_factory.mktemp("run") / "run", ignore=shutil.ignore_patterns("tensorboard")
    )
    path = folder / data.draw(st.sampled_from([name for name in WRITTEN if name != "environment.json"]))
    values = json.loads(path.read_text())
    del values["digest"]  # as in runs of older versions
    where = data.draw(st.sampled_from([(), *places(values)]))
    new = data.draw(VALUES)
    if where:
        part = values
        for key in where[:-1]:
            part = part[key]
        if data.draw(st.booleans()):
            part[where[-1]] = new
        else:
            del part[where[-1]]
    path.write_text(json.dumps(values if where else new))
    try:
        read_all(folder)
    except DataError as error:
        assert path.name in error.where  # noqa: PT017


@pytest.mark.parametrize("name", WRITTEN)
def test_a_changed_digit_is_found(trained, name):
    text = (trained.folder / name).read_text()
    digit = max(place for place, letter in enumerate(text) if letter.isdigit())
    (trained.folder / name).write_text(f"{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}")
    with pytest.raises(DataError, match="digest differs"):
        read_facts(trained.folder, name)


def test_a_target_may_have_the_name_of_the_digest(tmp_path):
    scores = {"digest": {"r2": 0.5}}
    write_facts(tmp_path, TEST_FILE, scores)
    assert read_facts(tmp_path, TEST_FILE) == scores


@pytest.mark.parametrize("content", ["3", "[]", "{}", '{"label": 1}', '{"label": {"macro_f1": "high"}}', "{", "\xff"])
def test_a_test_of_another_type_is_named(trained, capsys, content):
    (trained.folder / "test.json").write_bytes(content.encode("latin-1"))
    assert main(["evaluate", str(trained.folder)]) == 1
    assert "test.json: " in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "step\n1\n", "step,macro_f1\na,b\n", "\xff\xfe"])
def test_damaged_curves_are_named(trained, content):
    (trained.folder / EVALUATIONS_FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"evaluations\.csv: (is damaged|lacks column)"):
        trained.notes()


def test_a_changed_page_of_a_table_is_found(tmp_path):
    path = tmp_path / "table.parquet"
    table = pd.DataFrame({"a": [0.123456, 0.654321] * 500})
    write_table(table, path)
    pd.testing.assert_frame_equal(read_table(path, "again", ("a",)), table)
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"table\.parquet: is damaged.*; again"):
        read_table(path, "again")


@pytest.mark.parametrize("file", [SPLIT_FILE, PREDICTIONS])
def test_any_changed_byte_of_a_table_of_a_run_is_found(trained, file):
    path = trained.folder / file
    content = path.read_bytes()
    for place in range(0, len(content), 7):  # headers, pages, statistics, keys
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DataError, match="is damaged"):
            read_table(path, "again")
    path.write_bytes(content)
    read_table(path, "again")


def test_a_table_of_an_older_version_is_read(tmp_path):
    table = pd.DataFrame({"a": [0.5, 1.5]})
    table.to_parquet(tmp_path / "table.parquet", index=False, write_page_checksum=True)
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet", "again"), table)


def test_a_sealed_record_that_changed_is_found(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(sealed({"a": 1, "b": [1.5, None]}), indent=3))
    assert read_record(path, dict, "again") == {"a": 1, "b": [1.5, None]}
    whole = path.read_text()
    for changed in (whole.replace("1.5", "2.5"), json.dumps({**json.loads(whole), "digest": [0]})):
        path.write_text(changed)
        with pytest.raises(DataError, match="has changed since it was written"):
            read_record(path, dict, "again")


def test_a_missing_table_of_a_run_is_named(trained):
    predictions_file(trained.folder, "label").unlink()
    with pytest.raises(DataError, match=r"label\.parquet: the file is missing"):
        trained.predictions()
