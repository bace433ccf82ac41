"""Pictures hold any letters, and say nothing on the terminal."""

import io
import warnings

import pytest

from eofuse.reports.figures.style import new_figure, svg_data_uri, write_png


@pytest.mark.parametrize("save", [lambda figure: write_png(figure, io.BytesIO()), svg_data_uri])
def test_letters_that_no_font_has_give_no_warning(save):
    figure = new_figure(2, 1)
    figure.add_subplot().set_title("森林 ᚠ 🛰")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(figure)


def test_a_notebook_shows_a_figure_by_itself():
    assert new_figure(2, 1)._repr_png_().startswith(b"\x89PNG")
