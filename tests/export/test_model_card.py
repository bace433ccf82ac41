"""The model card says what the run recorded and what `evaluate` computes."""

import re

import pytest
from pandas.testing import assert_frame_equal

from eofuse.cli import main
from eofuse.data.download import download
from eofuse.errors import DataError
from eofuse.export.publish import publish_model
from eofuse.learning.evaluate import evaluate
from eofuse.trained import open_run
from range_server import RangeServer


def test_the_card_has_data_scores_with_intervals_calibration_and_limits(trained, capsys):
    assert main(["card", str(trained.folder)]) == 0
    text = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert "simulated data" in text
    assert "| s1 | raster | VV, VH |" in text
    for part in ("train", "validation", "test"):
        assert re.search(rf"^\| {part} \| \d+ \| \d+ scenes \|$", text, flags=re.MULTILINE)
    scores = evaluate(trained.folder)
    rows = re.findall(r"^\| label \|.*(?:this model|always the same answer).*$", text, flags=re.MULTILINE)
    assert len(rows) == scores["value"].notna().sum()
    assert all(note in text for note in trained.notes())
    assert "at the temperature" in text
    assert "eofuse.open_run" in text
    assert main(["card", str(trained.folder)]) == 0  # an older card is replaced


def test_a_file_that_is_no_card_is_not_replaced(trained, tmp_path, capsys):
    mine = tmp_path / "README.md"
    mine.write_text("# my project")
    assert main(["card", str(trained.folder), "-o", str(mine)]) == 2
    assert "is no model card" in capsys.readouterr().err
    assert mine.read_text() == "# my project"


def test_a_published_model_is_downloaded_and_predicts_the_same(trained, tmp_path, capsys):
    words = ["publish", str(trained.folder), str(tmp_path / "site"), "--as", "model", "--licence", "MIT"]
    assert main(words) == 0, capsys.readouterr()
    server = RangeServer(tmp_path / "site")
    folder = download(server.url, tmp_path / "to")
    server.close()
    expected, found = (open_run(each).predict(trained.options.data.store) for each in (trained.folder, folder))
    assert_frame_equal(found, expected)
    assert "Licence of this model: MIT." in (folder / "README.md").read_text(encoding="utf-8")
    assert not [path for path in folder.rglob("*") if path.name.startswith(("checkpoint", "events"))]


def test_a_published_model_has_its_scores_also_if_nobody_evaluated_it_before(trained, tmp_path):
    (trained.folder / "evaluation.csv").unlink(missing_ok=True)
    folder = publish_model(trained.folder, tmp_path / "site")
    assert (folder / "evaluation.csv").read_bytes() == (trained.folder / "evaluation.csv").read_bytes()


@pytest.mark.parametrize("name", ["split.parquet", "environment.json"])
def test_a_run_with_a_damaged_record_is_not_published(trained, tmp_path, name):
    (trained.folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=f"{name}: is damaged"):
        publish_model(trained.folder, tmp_path / "site")
    assert not list(tmp_path.glob("site*"))
