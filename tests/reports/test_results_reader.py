"""The folder of a study is read whole or refused with a message that names the file."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_study import write_study

from eofuse.errors import DataError
from eofuse.studies.results import COLUMNS, read_results


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study") / "study", n_test=20)


@pytest.fixture
def folder(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


def test_reads_the_summary_and_every_table(folder: Path) -> None:
    results = read_results(str(folder))
    assert results.summary["metric"] == "macro_f1"
    assert results.folder == folder
    for name, columns in COLUMNS.items():
        assert set(columns) <= set(getattr(results, name).columns)
        assert len(getattr(results, name))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such study folder"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["summary.json", *(f"{table}.parquet" for table in COLUMNS)])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: the file is missing"):
        read_results(folder)


@pytest.mark.parametrize("name", ["summary.json", "results.parquet"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}: is damaged"):
        read_results(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    del summary["baseline"]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="lacks baseline"):
        read_results(folder)


def test_an_unknown_task_kind_is_refused(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text()) | {"task_kind": "poetry"}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="unknown task kind 'poetry'"):
        read_results(folder)


def test_a_missing_column_is_named(folder: Path) -> None:
    table = pd.read_parquet(folder / "comparisons.parquet").drop(columns="p_holm")
    table.to_parquet(folder / "comparisons.parquet")
    with pytest.raises(DataError, match="lacks column p_holm"):
        read_results(folder)
