"""How honest a split is: the share of test patches with a training patch in the same scene or next to them."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from eofuse.reports.figures.style import new_figure, quiet_rows, styled
from eofuse.reports.wording import share, shorten

SAME_SCENE = "#D55E00"
ADJACENT = "#E69F00"


@styled
def leakage_figure(leakage: Sequence[dict[str, Any]], chosen: str, width: float = 7.6) -> Figure:
    """Two bars a protocol: test patches that share a scene with training, and those that lie next to a training patch.

    Args:
        leakage: `summary["leakage"]`, counts of test patches by split protocol.
        chosen: the protocol of this study, written in bold.
        width: in inches.
    """
    figure = new_figure(width, len(leakage) * 0.62 + 1.0)
    axes = figure.add_subplot()
    for position, entry in enumerate(leakage):
        for shift, key, colour in ((-0.19, "sharing_scene", SAME_SCENE), (0.19, "adjacent", ADJACENT)):
            whole = entry["test_patches"]
            percent = 100 * entry[key] / whole if whole and entry[key] is not None else 0.0
            axes.barh(position + shift, percent, height=0.34, color=colour)
            axes.annotate(
                "unknown" if entry[key] is None else share(entry[key], whole),
                (percent, position + shift),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
    axes.set_yticks(range(len(leakage)), [shorten(str(entry["protocol"]), 28) for entry in leakage])
    for label, entry in zip(axes.get_yticklabels(), leakage, strict=True):
        label.set_fontweight("bold" if entry["protocol"] == chosen else "normal")
    axes.set_ylim(len(leakage) - 0.5, -0.5)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel("per cent of test patches")
    quiet_rows(axes)
    axes.bar(0, 0, color=SAME_SCENE, label="share a scene with training")
    axes.bar(0, 0, color=ADJACENT, label="lie next to a training patch")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2 if width > 5 else 1)
    return figure
