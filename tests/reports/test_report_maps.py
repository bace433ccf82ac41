"""Maps and boxes in pictures: the right colours at the right pixels."""

import numpy as np
from fake_store import CROPS
from matplotlib.colors import to_rgb

from eofuse.modalities import WORLDCOVER, Category, Channel, Kind, Modality
from eofuse.reports.figures.boxes import boxes_figure
from eofuse.reports.figures.maps import RIGHT, WRONG, class_colours, class_panels, number_panels
from eofuse.reports.figures.rendering import NO_DATA


def test_land_cover_has_the_colours_of_its_legend() -> None:
    names = [category.name for category in WORLDCOVER.categories]
    assert class_colours(names, WORLDCOVER) == [category.colour for category in WORLDCOVER.categories]


def test_classes_without_colours_of_their_own_can_be_told_apart() -> None:
    grey = Modality("map", Kind.RASTER, (Channel("map"),), categories=tuple(Category(i, f"c{i}") for i in range(12)))
    for classes, modality in ((["a", "b", "c"], None), ([f"c{i}" for i in range(12)], grey)):
        assert len(set(class_colours(classes, modality))) == len(classes)


def test_wrong_pixels_are_marked_and_unlabelled_ones_are_grey() -> None:
    truth = np.array([[0, 1], [1, 255]], dtype=np.uint8)
    predicted = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    true, given, wrong = class_panels(truth, predicted, ["wheat", "maize"], class_colours(["wheat", "maize"], CROPS))
    assert true.pixels is not None
    assert given.pixels is not None
    assert wrong.pixels is not None
    assert tuple(true.pixels[0, 0]) == tuple(np.round(255 * np.array(to_rgb("#ffcc00"))))
    assert (true.pixels[1, 1] == NO_DATA).all()
    assert tuple(wrong.pixels[0, 1]) == WRONG
    assert tuple(wrong.pixels[0, 0]) == tuple(wrong.pixels[1, 0]) == RIGHT
    assert (wrong.pixels[1, 1] == NO_DATA).all()
    assert wrong.caption == "red: 33 % of the pixels with a label"
    assert [label for _, label in true.legend] == ["maize 50 %", "wheat 25 %"]


def test_true_and_predicted_numbers_share_a_ramp_and_the_error_is_centred() -> None:
    truth = np.linspace(100, 200, 64).reshape(8, 8)
    truth[0, 0] = np.nan
    true, given, error = number_panels(truth, truth + 10.0, "elevation", "m")
    assert true.ramp == given.ramp
    assert error.ramp is not None
    assert error.ramp.low == -error.ramp.high
    assert true.pixels is not None
    assert (true.pixels[0, 0] == NO_DATA).all()
    assert true.title == "True elevation"


def test_maps_without_any_truth_are_no_error() -> None:
    panels = number_panels(np.full((4, 4), np.nan), np.zeros((4, 4)), "", "")
    assert all(panel.pixels is not None for panel in panels)
    labels = class_panels(np.full((4, 4), 255, dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8), ["a"], ["#000000"])
    assert labels[2].caption == "red: – % of the pixels with a label"


def test_boxes_lie_at_their_pixels_true_ones_solid_predicted_ones_dashed() -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    figure = boxes_figure(pixels, np.array([[1, 2, 5, 8, 0]]), np.array([[10, 3, 20, 9]]), [1], [0.7])
    true, predicted = figure.axes[0].patches
    assert true.get_linestyle() == "solid" or true.get_linestyle() == "-"
    assert predicted.get_linestyle() not in ("solid", "-")
    assert true.get_bbox().bounds == (1, 2, 4, 6)
    assert predicted.get_bbox().bounds == (10, 3, 10, 6)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.70"]
