"""The report: self-contained, well-formed, complete, escaped, and honest about what it lacks."""

import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fake_store import DRONE, FakeStore
from fake_study import VARIANTS, write_study

from eofuse.data.store import Store
from eofuse.modalities import BEN_GE_MODALITIES
from eofuse.reports.html import write_report
from eofuse.studies.results import StudyResults, read_results
from undrawn import undraw

VOID = {"meta", "link", "img", "source", "br"}
BANNER = "Simulated data: these numbers say nothing about the real world."
KINDS = ("single_label", "multi_label", "regression", "segmentation", "pixel_regression", "detection")
SECTIONS = ("leaderboard", "differences", "curves", "classes", "patches", "data", "method", "cost", "reproduce")


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] or "" for found, attributes in self.tags if found == tag and name in attributes]


def store_of(results: StudyResults, **options: Any) -> Store:
    ids = results.predictions.drop_duplicates("patch_id").sort_values("row")["patch_id"].tolist()
    return cast(Store, FakeStore(ids, **options))


def report(folder: Path, task_kind: str = "single_label", with_store: bool = False, **options: Any) -> str:
    """A report without pictures of patches on two variants and one seed, unless told otherwise: quick to draw."""
    options = {"variants": VARIANTS[:2], "seeds": (0,), "n_test": 30} | options
    results = read_results(write_study(folder / "study", task_kind, **options))
    path = write_report(results, store_of(results) if with_store else None, folder / "report.html")
    return path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    undraw(monkeypatch)


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A report with everything, of every kind of task; that of the first kind is drawn."""
    folder = tmp_path_factory.mktemp("whole")
    options: dict[str, Any] = {"n_test": 40, "variants": VARIANTS[:3], "seeds": (0, 1)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param != KINDS[0]:
            undraw(monkeypatch)
        return request.param, report(folder, request.param, with_store=True, **options)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of three targets, learned together and apart."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        undraw(monkeypatch)
        return report(
            tmp_path_factory.mktemp("several"), with_store=True, kinds=("segmentation", "single_label", "regression"),
            twins=True, n_test=24,
        )  # fmt: skip


def test_is_well_formed_and_has_every_section(whole: tuple[str, str]) -> None:
    page = Page(whole[1])
    assert [name for name in page.attributes("section", "id") if name in SECTIONS] == list(SECTIONS)
    assert {f"#{name}" for name in SECTIONS} <= set(page.attributes("a", "href"))
    assert ("confidence" in page.attributes("section", "id")) is (whole[0] != "detection")


def test_every_target_has_its_chapter_with_every_section(several: str) -> None:
    page = Page(several)
    ids = page.attributes("section", "id")
    assert len(set(ids)) == len(ids)
    for target in ("worldcover", "dominant-land-cover", "mean-elevation"):
        prefix = f"target-{target}"
        assert prefix in page.attributes("div", "id")
        for name in ("leaderboard", "differences", "curves", "classes", "confidence", "patches"):
            assert f"{prefix}-{name}" in ids
    targets = {*ids, *page.attributes("div", "id")}
    assert {link[1:] for link in page.attributes("a", "href") if link != "explore.html"} <= targets
    assert [name for name in ids if name in SECTIONS] == ["data", "method", "cost", "reproduce"]


def test_several_targets_are_compared_with_the_constant_predictor_first(several: str) -> None:
    page = Page(several)
    assert "It beats the constant predictor distinguishably on all of them" in page.text
    assert page.text.index("All targets at one look") < page.text.index("Leaderboard")
    assert "Together or apart: s2" in page.text
    assert "One model for all targets beside 3 models for one target each" in page.text


def test_headings_of_chapters_are_in_order(several: str) -> None:
    headings = [int(tag[1]) for tag, _ in Page(several).tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(headings))


def test_refers_to_nothing_outside_itself(whole: tuple[str, str]) -> None:
    page = Page(whole[1])
    sources = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "srcset", "href")
    ]
    assert sources
    outside = [value for value in sources if not str(value).startswith(("data:", "#"))]
    assert outside == ["explore.html"]  # which the command before it writes
    assert "@import" not in whole[1]
    assert not re.search(r"url\(", whole[1])
    assert not page.attributes("script", "src")
    assert not any(tag in ("script", "iframe", "object", "embed") for tag, _ in page.tags)


def test_is_accessible(whole: tuple[str, str]) -> None:
    page = Page(whole[1])
    assert page.attributes("html", "lang") == ["en"]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(image.get("alt") for image in images)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(headings))


def test_stays_small(whole: tuple[str, str]) -> None:
    assert len(whole[1]) < 3_000_000


def pictures(html: str, start: str) -> int:
    return sum(alt.startswith(start) for alt in Page(html).attributes("img", "alt"))


def test_confusion_matrices_are_for_one_class_a_patch_or_pixel(whole: tuple[str, str]) -> None:
    task_kind, html = whole
    assert pictures(html, "Confusion matrix") == (3 if task_kind in ("single_label", "segmentation") else 0)


def test_probabilities_have_a_reliability_picture_and_numbers_a_coverage(whole: tuple[str, str]) -> None:
    task_kind, html = whole
    has_probabilities = task_kind in ("single_label", "multi_label", "segmentation")
    assert pictures(html, "Reliability of") == (3 if has_probabilities else 0)
    text = Page(html).text
    assert ("Error before calibration" in text) is has_probabilities
    assert ("Its guarantee needs exchangeable scenes" in text) is (task_kind in ("regression", "pixel_regression"))


def test_numbers_a_patch_are_plotted_against_the_truth(whole: tuple[str, str]) -> None:
    assert pictures(whole[1], "Predicted against true") == (whole[0] == "regression")


def test_every_variant_is_compared_with_the_controls(tmp_path: Path) -> None:
    text = Page(report(tmp_path, "segmentation", n_test=10)).text
    section = text[text.index("Differences to the controls") : text.rindex("Learning curves")]
    assert section.count("constant") == section.count("per pixel: s2") == 2


def test_numbers_have_their_unit(whole: tuple[str, str]) -> None:
    assert ("RMSE (m) ↓" in Page(whole[1]).text) is (whole[0] in ("regression", "pixel_regression"))


def test_shows_patches_with_every_modality_and_what_was_predicted(whole: tuple[str, str]) -> None:
    task_kind, html = whole
    page = Page(html)
    assert sum("card" in name for name in page.attributes("article", "class")) == 8
    shown = [alt for alt in page.attributes("img", "alt") if " of patch " in alt]
    titles = {
        "segmentation": ("True", "Predicted", "Where it is wrong"),
        "pixel_regression": ("True", "Predicted", "Predicted − true", "ESA WorldCover"),
        "detection": ("Boxes on Sentinel-2 L2A true colour", "Sentinel-2 L2A near infrared", "ESA WorldCover"),
    }.get(task_kind, ("Sentinel-2 L2A true colour", "Elevation", "ESA WorldCover"))
    for title in (*titles, "Sentinel-1 GRD"):
        assert any(alt.startswith(f"{title} of") for alt in shown)


def test_without_maps_the_prediction_is_called_absent(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", "segmentation", n_test=8, variants=VARIANTS[:1], seeds=(0,)))
    shutil.rmtree(results.folder / "cells")
    page = Page(write_report(results, store_of(results), tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "absent" in page.text
    assert not any(alt.startswith("Where it is wrong") for alt in page.attributes("img", "alt"))


def test_maps_of_a_crop_are_shown_beside_the_same_pixels(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_test": 8, "variants": VARIANTS[:1], "seeds": (0,), "changes": {"crop": 24}}
    results = read_results(write_study(tmp_path / "study", "pixel_regression", **options))
    for path in results.folder.glob("cells/*/maps/*.npy"):
        np.save(path, np.load(path)[:, :, 8:32, 8:32])
    assert (
        "Predicted − true"
        in Page(write_report(results, store_of(results), tmp_path / "report.html").read_text(encoding="utf-8")).text
    )


def test_names_leakage_cost_and_recipe(whole: tuple[str, str]) -> None:
    text = Page(whole[1]).text
    assert "Share a scene with training" in text
    assert f"{10 if whole[0] == 'segmentation' else 9} final runs and 9 further runs" in text
    assert "eofuse study demo.yaml" in text
    assert "strategies: [single, early, late_separate, late_shared]" in text
    assert "0a1b2c3d4e5f" in text


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of few simulated patches, with warnings, patches left out and an unknown neighbourhood, without the store."""
    changes = {
        "excluded": {"lacks an input modality": 1111, "has no label (crop)": 13},
        "lacking": {"s2.B09 without a value": 1110, "s1": 2},
        "stored": 5000,
        "leakage": [{"protocol": "scene", "test_patches": 12, "sharing_scene": 0, "adjacent": None}],
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        undraw(monkeypatch)
        return report(
            tmp_path_factory.mktemp("doubtful"), simulated=True, n_test=12, n_scenes=3, changes=changes,
            warnings=("One run did not converge.",),
        )  # fmt: skip


def test_simulated_data_get_a_banner(doubtful: str) -> None:
    assert BANNER in doubtful


def test_real_data_get_no_banner(whole: tuple[str, str]) -> None:
    assert BANNER not in whole[1]


def test_without_the_store_it_says_that_there_are_no_pictures(doubtful: str) -> None:
    page = Page(doubtful)
    assert "was not at hand when this report was written, so there are no pictures" in page.text
    assert not any(" of patch " in alt for alt in page.attributes("img", "alt"))


def test_a_store_that_changed_is_not_pictured(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=30, variants=VARIANTS[:1], seeds=(0,)))
    store = store_of(results, fingerprint="another")
    page = Page(write_report(results, store, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "The store has changed since the study ran" in page.text
    assert not any(" of patch " in alt for alt in page.attributes("img", "alt"))


def test_a_tiny_test_set_is_warned_of(doubtful: str) -> None:
    text = Page(doubtful).text
    assert "One run did not converge." in text
    assert "The test set is small: 12 patches from 3 scenes. Numbers from so few prove nothing" in text


def test_what_is_left_out_and_why_is_said_at_the_top(doubtful: str) -> None:
    top = doubtful.split('id="leaderboard"')[0]
    said = (
        "Patches left out: 1,124 of 5,000: 1,111 (lacks an input modality; s2.B09 without a value: 1,110, s1: 2), "
        "13 (has no label (crop))."
    )
    assert said in Page(top.split("<nav")[0] + "</header></body></html>").text


def test_a_large_test_set_with_many_seeds_is_not_warned_of(tmp_path: Path) -> None:
    page = report(tmp_path, n_test=120, n_scenes=30, seeds=(0, 1, 2))
    assert "The test set is small" not in page
    assert "how much chance in training moves the scores" not in page


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script> & \"co\""
    variants = ((evil, "single", ["<s2>"], 0.0), ("b", "early", ["s2"], 0.3))
    html = report(
        tmp_path, n_test=30, title=evil, variants=variants, classes=("<b>forest", "a&b", "water"), warnings=(evil,),
        patch_ids=[f"<i>patch {i}" for i in range(30)],
        changes={"recipe": evil, "command": evil, "excluded": {evil: 3}},
    )  # fmt: skip
    page = Page(html)
    assert not any(tag in ("script", "b", "i", "s2") for tag, _ in page.tags)
    assert evil in page.text
    assert "<b>forest" in page.text


def test_modalities_of_other_sensors_are_pictured(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=8, variants=VARIANTS[:1], seeds=(0,)))
    store = store_of(results, modalities=(DRONE, BEN_GE_MODALITIES[0]), size=360)
    page = Page(write_report(results, store, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert any(alt.startswith("<Drone> & co of patch") for alt in page.attributes("img", "alt"))


def test_an_unknown_neighbourhood_is_called_unknown(doubtful: str) -> None:
    assert "0 (0 %)unknown" in Page(doubtful).text


def test_scenes_that_are_not_known_are_not_counted(tmp_path: Path) -> None:
    unknown = {"patches": 30, "scenes": 0, "blocks": 0, "unknown": 30}
    text = Page(report(tmp_path, n_test=30, changes={"known_scenes": {"test": unknown}})).text
    assert "30 test patches from scenes that are not known" in text
    assert "test patches from 30 scenes" not in text


def test_a_study_of_one_variant_and_one_seed_is_reported(tmp_path: Path) -> None:
    text = Page(report(tmp_path, variants=VARIANTS[:1])).text
    assert "It is the only variant; nothing was compared." in text


def test_the_same_study_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    first, again = (report(tmp_path / name, n_test=8, variants=VARIANTS[:1]) for name in "ab")
    assert first == again


def test_an_older_report_is_replaced(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=20, variants=VARIANTS[:1], seeds=(0,)))
    target = tmp_path / "deep" / "report.html"
    target.parent.mkdir()
    target.write_text("old")
    assert write_report(results, None, target) == target
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
