"""The explorer's page of a store and of a run: what is in it, how large it is, and what is refused."""

import base64
import json
import re
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import eofuse
from eofuse.cli import main
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.explorer.columns import Sort, column_of
from eofuse.explorer.pictures import thumbnails
from eofuse.explorer.projection import project
from eofuse.explorer.subject import open_subject
from eofuse.explorer.write import as_script, packed, packed_numbers
from eofuse.modalities import Channel, Kind, Modality
from fake_source import SCENES, FakeSource


def data_of(path: Path) -> dict[str, Any]:
    """What a page shows."""
    found = re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


@pytest.fixture(scope="module")
def written(planted_store: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The page that the command writes of a store, and what it prints."""
    page = tmp_path_factory.mktemp("explored") / "e.html"
    with redirect_stdout(StringIO()) as printed:
        assert main(["explore", str(planted_store.path), "-o", str(page), "-q"]) == 0
    return page, printed.getvalue()


@pytest.fixture(scope="module")
def of_store(written: tuple[Path, str]) -> dict[str, Any]:
    return data_of(written[0])


@pytest.fixture(scope="module")
def of_run(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return data_of(eofuse.explore(trained_once, tmp_path_factory.mktemp("explored") / "e.html").path)


def names(data: dict[str, Any]) -> list[str]:
    return [column["name"] for column in data["columns"]]


def test_a_store_shows_every_patch_with_map_embedding_and_pictures(of_store: dict[str, Any]) -> None:
    assert len(of_store["ids"]) == 120
    assert of_store["map"]["known"] == of_store["embedding"]["known"] == 120
    assert "bands of" in of_store["embedding"]["words"]
    assert len(of_store["large"]) == 120
    assert {"label", "scene", "split"} <= set(names(of_store))
    assert of_store["sets"] == []
    assert of_store["simulated"] is True


def test_the_command_says_what_is_on_the_page(written: tuple[Path, str]) -> None:
    page, printed = written
    assert f"{page}: 120 patches, {page.stat().st_size / 1e6:.1f} MB" in printed


def test_a_run_shows_its_test_predictions_and_the_features_of_its_encoders(
    of_run: dict[str, Any], trained_once: Path
) -> None:
    run = eofuse.open_run(trained_once)
    tested = run.predictions()
    (only,) = of_run["sets"]
    assert [column["name"] for column in only["columns"]] == [
        "right or wrong",
        "error",
        "confidence",
        "predicted",
        "true",
    ]
    assert of_run["setRows"] == [packed(tested["row"].to_numpy())]
    right = np.mean(np.stack(tested["probabilities"]).argmax(axis=1) == tested["truth"])
    assert only["columns"][0]["values"] == packed(
        (np.stack(tested["probabilities"]).argmax(axis=1) != tested["truth"]).to_numpy().astype(int)
    )
    assert 0 < right <= 1
    assert "features of the encoders of the run" in of_run["embedding"]["words"]
    assert names(of_run)[0] == "part in the run"
    assert of_run["canSuggest"] is True


def test_validation_and_test_patches_of_a_run_are_held_out(of_run: dict[str, Any], trained_once: Path) -> None:
    split = eofuse.open_run(trained_once).split()
    assert of_run["heldOut"] == packed(split["part"].isin(["validation", "test"]).to_numpy().astype(np.uint8))


def test_damaged_parts_of_a_run_are_an_error(trained_once: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_once, tmp_path / "run")
    split = pd.read_parquet(run / "split.parquet")
    (run / "split.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"split\.parquet: is damaged"):
        open_subject(run).part()
    split.assign(patch_id="elsewhere").to_parquet(run / "split.parquet")
    with pytest.raises(DataError, match="names patches that are not in the store"):
        open_subject(run).part()


def test_pictures_fill_the_page_up_to_its_size(planted_store: Any, tmp_path: Path) -> None:
    done = eofuse.explore(planted_store.path, tmp_path / "small.html", megabytes=0.25)
    assert done.size < 250_000
    assert 0 < len(data_of(done.path)["large"]) < 120


def test_a_store_without_pixels_or_places_is_shown_by_its_columns(tmp_path: Path) -> None:
    samples = ({"id": f"a{row}", "numbers": np.array([row, row % 3.0]), "label": row % 2} for row in range(12))
    numbers = Modality("numbers", Kind.VECTOR, (Channel("a"), Channel("b")))
    store = eofuse.write_store(samples, [numbers], tmp_path / "a.store", name="a", labels={"label": "class"})
    data = data_of(eofuse.explore(store.path, tmp_path / "a.html").path)
    assert data["map"] is None
    assert data["embedding"]["known"] == 12
    assert data["thumbnails"]["side"] == 0


def test_patches_that_lack_a_modality_are_shown_without_it(tmp_path: Path) -> None:
    store = pack_source(FakeSource(patches=20, absent={"s2": {3}}), tmp_path / "s.store", workers=1)
    data = data_of(eofuse.explore(store.path, tmp_path / "s.html").path)
    panels = data["large"]["3"]["panels"]
    assert [panel["title"] for panel in panels if "picture" not in panel] == [
        "Sentinel-2 L2A true colour",
        "Sentinel-2 L2A near infrared",
    ]


def test_a_store_that_has_changed_since_the_run_is_refused(trained: Any, tmp_path: Path) -> None:
    other = pack_source(FakeSource(patches=10), tmp_path / "other.store", workers=1)
    with pytest.raises(DataError, match="has changed since"):
        eofuse.explore(trained.folder, tmp_path / "e.html", store=other.path)


def test_what_is_not_there_is_refused_with_what_is(planted_store: Any, trained_once: Path, tmp_path: Path) -> None:
    for path, options, words in (
        (planted_store.path, {"variant": "s2"}, "among the runs of a study"),
        (planted_store.path, {"target": "label"}, "is for a run or study"),
        (planted_store.path, {"features": "bandz"}, "did you mean 'bands'"),
        (trained_once, {"target": "labels"}, "did you mean 'label'"),
        (planted_store.path, {"megabytes": 0}, "positive"),
        (planted_store.path, {"projection": "tsne"}, "no projection"),
    ):
        with pytest.raises(UsageError, match=re.escape(words)):
            eofuse.explore(path, tmp_path / "e.html", **options)
    with pytest.raises(DataError, match="not a store"):
        eofuse.explore(trained_once / "model", tmp_path / "e.html")


def test_umap_that_is_not_installed_is_named_with_its_extra(planted_store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("eofuse.explorer.projection.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape("pip install 'eofuse[explore]'")):
        project(open_subject(planted_store.path), method="umap")


def test_columns_of_dates_lists_and_flags_are_recognised() -> None:
    dates = column_of("time", pd.Series(["2017-06-13T10:10:31", None]))
    lists = column_of("labels", pd.Series([["b", "a"], []]))
    flags = column_of("cloudy", pd.Series([True, False]))
    assert dates is not None
    assert dates.sort is Sort.DATE
    assert np.floor(dates.values[0]) == 17330
    assert lists is not None
    assert (lists.sort, lists.names, lists.values.tolist()) == (Sort.LIST, ("a", "b"), [1, 0])
    assert flags is not None
    assert flags.names == ("no", "yes")
    assert column_of("names", pd.Series([f"patch {row}" for row in range(100)])) is None


def test_many_numbers_are_kept_to_a_65000th_of_their_range() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    values[7] = np.nan
    told = packed_numbers(values)
    codes = np.frombuffer(base64.b64decode(told["data"]), "<u2")
    back = np.where(codes == told["nothing"], np.nan, told["low"] + codes * told["step"])
    assert np.isnan(back[7])
    assert np.nanmax(np.abs(back - values)) <= np.ptp(values[np.isfinite(values)]) / 65_000


def test_data_can_not_end_their_script() -> None:
    assert "<" not in as_script({"a": "</script><!--"})
    assert json.loads(as_script({"a": "</script>&"})) == {"a": "</script>&"}


def test_a_series_of_images_is_shown_by_a_date_in_its_middle(tmp_path: Path) -> None:
    store = pack_source(FakeSource(patches=8, modalities=(SCENES,)), tmp_path / "s.store", workers=1)
    order = np.arange(8)
    found = thumbnails(store, order, 1e5)
    assert found.places.tolist() == order.tolist()
    assert found.title == "Scenes"
