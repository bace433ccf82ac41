"""How honest a split is: the share of test patches with a training patch in the same scene or next to them."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from eofuse.reports.figures.style import beside, name_parts, new_figure, quiet_rows, styled
from eofuse.reports.wording import share, shorten

BARS = (
    ("sharing_scene", "#D55E00", "share a scene with training"),
    ("same_ground", "#CC79A7", "cover ground of a training patch"),
    ("adjacent", "#E69F00", "lie next to a training patch"),
)
"""Key, colour and words of each sort of leakage."""


@styled
def leakage_figure(leakage: Sequence[dict[str, Any]], chosen: str, width: float = 7.6) -> Figure:
    """Bars for each protocol: test patches that share a scene or ground with training, or lie next to a training patch.

    Args:
        leakage: `summary["leakage"]`, counts of test patches by split protocol.
        chosen: the protocol of this study, written in bold.
        width: in inches.
    """
    sorts = [sort for sort in BARS if any(sort[0] in entry for entry in leakage)]
    figure = new_figure(width, len(leakage) * 0.31 * len(sorts) + 1.2)
    axes = figure.add_subplot()
    for position, entry in enumerate(leakage):
        for number, (key, colour, _) in enumerate(sorts):
            whole, count = entry["test_patches"], entry.get(key)
            shift = (number - (len(sorts) - 1) / 2) * 0.76 / len(sorts)
            percent = 100 * count / whole if whole and count is not None else 0.0
            axes.barh(position + shift, percent, height=0.68 / len(sorts), color=colour)
            beside(axes, "unknown" if count is None else share(count, whole), (percent, position + shift))
    axes.set_yticks(range(len(leakage)), [shorten(str(entry["protocol"]), 28) for entry in leakage])
    for label, entry in zip(axes.get_yticklabels(), leakage, strict=True):
        label.set_fontweight("bold" if entry["protocol"] == chosen else "normal")
    axes.set_ylim(len(leakage) - 0.5, -0.5)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel("per cent of test patches")
    quiet_rows(axes)
    for _, colour, words in sorts:
        axes.bar(0, 0, color=colour, label=words)
    name_parts(figure, axes, 3 if width > 5 else 1)
    return figure


def leakage_words(leakage: Sequence[dict[str, Any]]) -> str:
    """Counts of test patches that leak, by split protocol."""
    found = {
        entry["protocol"]: ", ".join(
            f"{'unknown how many' if entry.get(key) is None else share(entry[key], entry['test_patches'])} {words}"
            for key, _, words in BARS
        )
        for entry in leakage
    }
    named = "; ".join(f"{protocol}: {words}" for protocol, words in found.items())
    return f"Bars by split protocol. {named}."
