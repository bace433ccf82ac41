"""Pictures of patches: every modality, honest colours, nothing almost black."""

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from fake_store import CROPS, DRONE, THERMAL, FakeStore

from eofuse.data.store import Store
from eofuse.data.store.pack import pack, pack_source
from eofuse.errors import UsageError
from eofuse.modalities import (
    BEN_GE_MODALITIES,
    ELEVATION,
    SEASON,
    SENTINEL1,
    SENTINEL2,
    WORLDCOVER,
    Channel,
    Kind,
    Modality,
)
from eofuse.reports.figures.patch import patch_facts, patch_panels, show_patch
from eofuse.reports.figures.rendering import NO_DATA, raster_panels
from fake_source import GREENNESS, SCENES, FakeSource


def fake_store(**options: object) -> Store:
    return cast(Store, FakeStore(["S2A_one", "S2A_two", "S2B_three"], **options))  # type: ignore[arg-type]


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_shows_all_modalities_and_facts(tmp_path: Path) -> None:
    figure = show_patch(fake_store(), "S2A_one", tmp_path / "patch.png")
    shown = texts(figure)
    for words in (
        "S2A_one",
        "scene scene_0",
        "true colour",
        "Sentinel-1",
        "Elevation",
        "WorldCover",
        "climate zone",
        "°C",
    ):
        assert words in shown
    assert "[simulated]" not in shown
    assert (tmp_path / "patch.png").read_bytes().startswith(b"\x89PNG")


def test_the_labels_of_a_table_are_told() -> None:
    store = fake_store()
    store.provenance = {"labels": {"crop_type": "class", "tags": "list", "yield": "number"}}
    row = pd.DataFrame({"crop_type": ["wheat"] * 3, "tags": [["dry", "steep"]] * 3, "yield": [None, None, 2.5]})
    store.index = store.index.join(row)
    facts = patch_facts(store, 0)
    assert ("crop type", "wheat") in facts
    assert ("tags", "dry; steep") in facts
    assert "yield" not in dict(facts)


def test_simulated_patches_are_marked() -> None:
    assert "[simulated]" in texts(show_patch(fake_store(simulated=True), "S2A_one"))


def test_absent_modalities_say_so() -> None:
    store = fake_store()
    assert [panel.title for panel in patch_panels(store, 1) if panel.pixels is None] == ["Sentinel-1 GRD"]
    assert ("era-5 weather", "absent") in patch_facts(store, 1)
    assert "absent" in texts(show_patch(store, "S2A_two"))


def test_series_are_drawn_channel_by_channel_and_say_when_that_was(tmp_path: Path) -> None:
    source = FakeSource(patches=4, modalities=(GREENNESS, SEASON), absent={"greenness": {2}})
    store = pack_source(source, tmp_path / "flat.store", workers=1)
    shown = texts(show_patch(store, "patch_1"))
    for words in ("Greenness", "ndvi: ", "ndwi: ", "2016-"):
        assert words in shown
    assert "absent" in texts(show_patch(store, "patch_2"))


def test_an_image_series_is_one_picture_of_its_dates_in_the_same_colours(tmp_path: Path) -> None:
    source = FakeSource(patches=4, modalities=(SCENES,), size=16, absent={"scenes": {2}})
    store = pack_source(source, tmp_path / "scenes.store", workers=1)
    counts = store.index["times.scenes"].map(len)
    row = int(counts.argmax())
    (panel,) = patch_panels(store, row)
    assert panel.pixels is not None
    assert panel.frames == counts[row] > 1
    across = int(np.ceil(np.sqrt(panel.frames)))
    assert panel.pixels.shape[1] == across * 17 - 1
    assert f"{panel.frames} dates, 2016" in panel.caption
    (absent,) = patch_panels(store, 2)
    assert absent.pixels is None
    assert "dates, 2016" in texts(show_patch(store, store.index["patch_id"][row], tmp_path / "patch.png"))


def test_an_unknown_patch_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'S2A_two'"):
        show_patch(fake_store(), "S2A_twa")


def picture(dtype: str, *names: str, scale: float = 1.0) -> Modality:
    return Modality("photo", Kind.RASTER, tuple(Channel(name) for name in names), "Photo", dtype, scale)


@pytest.mark.parametrize("names", [("B04", "B03", "B02"), ("red", "green", "blue"), ("B04", "B03", "B02", "B08")])
def test_pictures_of_bytes_are_shown_as_they_are(names: tuple[str, ...]) -> None:
    values = np.random.default_rng(0).integers(20, 97, (len(names), 8, 8), dtype=np.uint8)
    panel = raster_panels(picture("uint8", *names), values)[0]
    assert panel.pixels is not None
    np.testing.assert_array_equal(panel.pixels, values[:3].transpose(1, 2, 0))
    assert "reflectance" not in panel.caption


def test_values_that_can_be_no_reflectance_are_not_called_so() -> None:
    values = np.random.default_rng(0).integers(200, 3000, (3, 8, 8), dtype=np.uint16)
    assert "reflectance" not in raster_panels(picture("uint16", "B04", "B03", "B02"), values)[0].caption
    scaled = picture("uint16", "B04", "B03", "B02", scale=1e-4)
    assert "reflectance 0 to 0.30" in raster_panels(scaled, values)[0].caption


def test_other_sensors_are_shown() -> None:
    store = fake_store(modalities=(DRONE, THERMAL, CROPS))
    panels = {panel.title: panel for panel in patch_panels(store, 0)}
    assert panels["<Drone> & co"].caption == "c0, c1, c2; 2nd to 98th percentile"
    thermal = panels["thermal"].pixels
    assert thermal is not None
    assert (thermal[..., 0] == thermal[..., 2]).all()
    assert {label.split()[0] for _, label in panels["crops"].legend} <= {"wheat", "maize"}
    show_patch(store, "S2A_one")


@pytest.mark.parametrize("reflectance", [150, 400, 1500, 5000, 12000])
def test_true_colour_is_neither_black_nor_blown_out(reflectance: int) -> None:
    noise = np.random.default_rng(0).normal(1, 0.1, (12, 32, 32))
    panel = raster_panels(SENTINEL2, (reflectance * noise).astype(np.uint16))[0]
    assert panel.pixels is not None
    assert 70 < panel.pixels.mean() < 250


def test_ordinary_patches_share_one_stretch() -> None:
    noise = np.random.default_rng(0).normal(1, 0.1, (12, 32, 32))
    captions = {raster_panels(SENTINEL2, (value * noise).astype(np.uint16))[0].caption for value in (800, 1200, 2000)}
    assert captions == {"B04, B03, B02; reflectance 0 to 0.30"}


def test_pixels_without_data_are_grey() -> None:
    values = np.full((12, 8, 8), 1000, dtype=np.uint16)
    values[:, :4] = 0
    panel = raster_panels(SENTINEL2, values)[0]
    assert panel.pixels is not None
    assert (panel.pixels[:4] == NO_DATA).all()
    assert not (panel.pixels[4:] == NO_DATA).any()


def test_all_without_data_is_no_error() -> None:
    for modality, value in ((SENTINEL2, 0), (ELEVATION, -32768), (WORLDCOVER, 0), (SENTINEL1, np.nan)):
        values = np.full((len(modality.channels), 8, 8), value, dtype=modality.dtype)
        for panel in raster_panels(modality, values):
            assert panel.pixels is not None
            assert (panel.pixels == NO_DATA).all()


def test_bands_are_found_by_name_not_position() -> None:
    values = np.random.default_rng(1).integers(0, 3000, (12, 8, 8)).astype(np.uint16)
    order = ["B12", "B04", "B02", "B03"]
    chosen = SENTINEL2.select(order)
    picked = values[[SENTINEL2.channel_index(name) for name in order]]
    first, second = raster_panels(SENTINEL2, values)[0].pixels, raster_panels(chosen, picked)[0].pixels
    assert first is not None
    assert second is not None
    assert (first == second).all()


def test_land_cover_has_its_legend_colours_most_frequent_first() -> None:
    values = np.full((1, 10, 10), 10, dtype=np.uint8)
    values[0, 0, :3] = 80
    panel = raster_panels(WORLDCOVER, values)[0]
    assert panel.legend == (("#006400", "tree cover 97 %"), ("#0064c8", "permanent water bodies 3 %"))
    assert panel.pixels is not None
    assert tuple(panel.pixels[5, 5]) == (0x00, 0x64, 0x00)


def test_flat_ground_looks_flat_and_slopes_are_lit_from_the_north_west() -> None:
    flat = raster_panels(ELEVATION, np.full((1, 40, 40), 100, dtype=np.int16))[0]
    assert flat.pixels is not None
    assert len(np.unique(flat.pixels.reshape(-1, 3), axis=0)) == 1
    rows, columns = np.mgrid[:60, :60]
    hill = (600 - 8 * np.hypot(rows - 30, columns - 30)).astype(np.int16)
    lit = raster_panels(ELEVATION, hill[None])[0]
    assert lit.pixels is not None
    assert lit.pixels[20, 20].mean() > 1.3 * lit.pixels[40, 40].mean()
    assert lit.ramp is not None
    assert (lit.ramp.low, lit.ramp.high) == (hill.min(), hill.max())


def test_real_patches_are_shown(ben_real_40: Path, tmp_path: Path) -> None:
    store = pack(ben_real_40, tmp_path / "store", workers=1)
    for row in range(len(store)):
        true_colour = patch_panels(store, row)[0].pixels
        assert true_colour is not None
        assert true_colour.mean() > 50
    facts = dict(patch_facts(store, 0))
    assert facts["labels (19)"] == "Pastures"
    assert facts["climate zone"] == "Cfb warm summer (15)"
    show_patch(store, store.index["patch_id"].iloc[0], tmp_path / "patch.png")


def test_ben_ge_modalities_without_pixels_are_facts() -> None:
    store = fake_store(
        modalities=tuple(modality for modality in BEN_GE_MODALITIES if modality.name in ("season", "weather"))
    )
    assert patch_panels(store, 0) == []
    assert "temperature s2" in texts(show_patch(store, "S2A_one"))
