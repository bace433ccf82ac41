"""The data card as a page: self-contained, escaped, complete for every kind of store."""

import re
from pathlib import Path

import numpy as np
import pytest

import eofuse
from eofuse.data.store.pack import pack_source
from eofuse.errors import DataError, UsageError
from eofuse.modalities import CLIMATE_ZONE, ELEVATION, SEASON, SENTINEL1, SENTINEL2
from eofuse.reports import data_card
from eofuse.reports.figures import histograms
from fake_source import FakeSource, MappedSource

SECTIONS = ("first", "map", "split", "labels", "presence", "channels", "duplicates", "origin")


def card_of(folder: Path, source: FakeSource, **options: str) -> str:
    store = pack_source(source, folder / "s.store", workers=1, overwrite=True)
    return eofuse.data_card(store, folder / "card.html", **options).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    source = MappedSource(patches=60, modalities=(SENTINEL1,), name="my <data>", absent={"s1": {1, 9}})
    return card_of(tmp_path_factory.mktemp("card"), source)


def test_every_section_is_there_and_linked_to(page: str) -> None:
    for name in SECTIONS:
        assert f'<section id="{name}">' in page
        assert f'href="#{name}"' in page


def test_it_needs_nothing_from_elsewhere(page: str) -> None:
    assert set(re.findall(r'(?:src|srcset)="(data:[a-z/+]+|[^"]*)', page)) == {"data:image/svg+xml"}
    assert re.findall(r'href="(?!#|data:)([^"]*)', page) == ["explore.html"]  # which the command before it writes
    assert "<script" not in page


def test_names_are_escaped(page: str) -> None:
    assert "my &lt;data&gt;" in page
    assert "<data>" not in page


def test_simulated_data_carry_a_banner(page: str, tmp_path: Path) -> None:
    assert "Simulated data" in page
    assert "Simulated data" not in card_of(tmp_path, FakeSource(patches=40, simulated=False, modalities=(SEASON,)))


def test_the_headline_counts_what_is_to_be_fixed(page: str, tmp_path: Path) -> None:
    assert "Nothing has to be fixed" in page
    leaky = card_of(tmp_path, FakeSource(patches=60, modalities=(SEASON,)), protocol="random")
    assert "1 thing to fix before results can be trusted" in leaky
    assert "<code>split: {protocol: scene}</code>" in leaky


def test_the_same_store_gives_the_same_page(tmp_path: Path) -> None:
    pages = {card_of(tmp_path, FakeSource(patches=40, size=4, modalities=(SENTINEL1,))) for _ in range(2)}
    assert len(pages) == 1


def test_a_store_without_rasters_places_and_labels_has_a_card(tmp_path: Path) -> None:
    source = FakeSource(patches=40, modalities=(SEASON,))
    source.index[["lon", "lat"]] = np.nan
    page = card_of(tmp_path, source)
    assert "The store holds no places." in page
    assert "No labels were found." in page


def test_more_channels_than_fit_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (data_card, histograms):
        monkeypatch.setattr(module, "MOST_PANELS", 2)
    source = FakeSource(patches=40, size=4, modalities=(SENTINEL2,))
    assert "The first 2 of 12 channels." in card_of(tmp_path, source)


@pytest.mark.parametrize("target", ["worldcover", "elevation"])
def test_every_kind_of_target_can_be_shown(tmp_path: Path, target: str) -> None:
    source = MappedSource(patches=40, modalities=(ELEVATION,))
    assert f"Labels: {target}" in card_of(tmp_path, source, target=target)


def test_what_can_not_be_shown_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'label'"):
        card_of(tmp_path, FakeSource(patches=40, modalities=(CLIMATE_ZONE,)), target="lable")
    with pytest.raises(DataError, match="scene split leaves no"):
        card_of(tmp_path, FakeSource(patches=10, modalities=(CLIMATE_ZONE,)), protocol="scene")
