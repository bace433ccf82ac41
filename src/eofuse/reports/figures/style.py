"""The look of all pictures: colours that colour-blind people can tell apart, one font, quiet axes; their encoding."""

import base64
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from eofuse.words import NO_XML

INK = "#1f2933"
QUIET = "#66727f"
RULE = "#d9dee3"
CONTROL = "#8a949e"

VARIANT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The Okabe–Ito palette (Okabe & Ito 2008) without its yellow, which is too faint on white."""

MARKERS = ("o", "s", "D", "^", "v", "P", "X")

PART_COLOURS = {"train": "#0072B2", "validation": "#009E73", "test": "#D55E00"}
"""Colours of the parts of a split, of the same palette."""

OTHER_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Fonts for letters that the others lack, where the system has one of them."""

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans", *OTHER_SCRIPTS],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a name with $ is a name
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "eofuse",
}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def styled(draw: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Runs a drawing function with the style of eofuse, and restores the settings of the caller."""

    @wraps(draw)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return run


class Picture(Figure):
    """A figure that notebooks show, whether or not they imported `matplotlib.pyplot`."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        write_png(self, stream, dots_per_inch=100)
        return stream.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that finds room for its labels by itself."""
    return Picture(figsize=(width, height), layout="constrained")


def variant_colours(variants: Sequence[str]) -> dict[str, str]:
    """A colour for each variant, the same in every picture that is given the same names."""
    return {name: VARIANT_COLOURS[position % len(VARIANT_COLOURS)] for position, name in enumerate(variants)}


def variant_markers(variants: Sequence[str]) -> dict[str, str]:
    """A marker for each variant; with the colours, 49 can be told apart."""
    size = len(VARIANT_COLOURS)
    return {
        name: MARKERS[(position % size + position // size) % len(MARKERS)] for position, name in enumerate(variants)
    }


def quiet_rows(axes: Axes) -> None:
    """Leaves a vertical grid only: for plots with one row a name."""
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def frame(axes: Axes) -> None:
    """Leaves a thin frame only: for pictures."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=RULE)


def beside(axes: Axes, text: str, place: tuple[float, float], points: float = 4, **style: Any) -> None:
    """Writes a text so many points right of a place, at its height."""
    axes.annotate(text, place, **{"xytext": (points, 0), "textcoords": "offset points", "va": "center", **style})


def right_of_plot(axes: Axes, text: str, row: float, points: float = 8, **style: Any) -> None:
    """Writes a value right of the plot, at the height of a row."""
    style = {"xycoords": axes.get_yaxis_transform(), "color": QUIET, "annotation_clip": False, **style}
    beside(axes, text, (1, row), points, **style)


def name_parts(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """A legend above the plot."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=columns)


@styled
def svg_data_uri(figure: Figure) -> str:
    """The figure as an SVG in a `data:` address; the same figure gives the same text."""
    stream = io.BytesIO()
    metadata: Any = {"Date": None, "Creator": None}
    with _letters_may_lack(), _laid_out(figure):
        figure.savefig(stream, format="svg", metadata=metadata)
    text = stream.getvalue().decode("utf-8").translate(NO_XML)
    return _data_uri("image/svg+xml", text.encode())


def png_data_uri(pixels: np.ndarray) -> str:
    """(H, W, 3) bytes as a PNG in a `data:` address."""
    stream = io.BytesIO()
    metadata: Any = {"Software": None}
    image.imsave(stream, np.ascontiguousarray(pixels), format="png", metadata=metadata)
    return _data_uri("image/png", stream.getvalue())


def write_png(figure: Figure, target: Any, dots_per_inch: int = 150) -> None:
    """Writes the figure as PNG to a path or stream."""
    with mpl.rc_context(STYLE), _letters_may_lack():
        figure.savefig(target, format="png", dpi=dots_per_inch, metadata={"Software": None})


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Finds room for the labels of a figure, for which matplotlib would draw all of it once more."""
    FigureCanvasSVG(figure)  # measures text as it draws it
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


@contextmanager
def _letters_may_lack() -> Iterator[None]:
    """Draws letters that no font has as boxes, without a warning of the library for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
