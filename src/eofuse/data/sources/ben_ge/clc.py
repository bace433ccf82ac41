"""The CORINE Land Cover names of BigEarthNet: 43 level-3 classes, and the 19 classes into which they are grouped.

The grouping is that of Sumbul et al., "BigEarthNet-MM", IEEE GRSM 9(3), 2021: 32 of the 43 classes make up the 19; the
other 11 are too small or too vague at 10 m, and a patch that has only these has no label of the 19.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

with Path(__file__).with_name("clc.csv").open(encoding="utf-8") as _file:
    GROUP_OF: dict[str, str | None] = {row["name"]: row["group"] or None for row in csv.DictReader(_file)}
"""The 43 class names, in the order of their CORINE codes (111 to 523, without 335 glaciers) → the class of the 19, if any."""

CLC43: tuple[str, ...] = tuple(GROUP_OF)
"""The 43 class names."""

CLC19: tuple[str, ...] = tuple(dict.fromkeys(group for group in GROUP_OF.values() if group is not None))
"""The 19 class names, in their usual order."""


def group_labels(labels_43: Iterable[str]) -> list[str]:
    """The classes of the 19 that follow from these of the 43, in the usual order; empty if there are none."""
    groups = {GROUP_OF.get(name) for name in labels_43}
    return [name for name in CLC19 if name in groups]
