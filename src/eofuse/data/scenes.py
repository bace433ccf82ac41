"""What is known of the scenes of patches: the acquisitions or sites whose patches are alike and belong on one side of a split.

The index's column `scene` names the scene of each patch, or nothing where it is not known. `scene_kind` says what the name stands for:
`given` (the data name it), or `place` (nothing named it, and a spatial block of 50 km stands in for it).

Where patches are left out or kept together by scene, a patch of unknown scene is a unit of its own: that is what can be done, not what
is known. `scenes_of` counts the ones and the others, and its words say which is which.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.words import counted

SCENE_KIND = "scene_kind"
GIVEN, PLACE = "given", "place"
STAND_IN_KM = 50
FEW_SCENES = 20


def units(index: pd.DataFrame) -> npt.NDArray[Any]:
    """What is kept or left out as a whole: the scene of each patch, or the patch itself where no scene is known, (patches,) of text.

    Args:
        index: an index, or any table with `patch_id` and `scene`.
    """
    return np.asarray(index["scene"].where(index["scene"].notna(), index["patch_id"]).to_numpy(dtype=object))


@dataclass(frozen=True)
class Scenes:
    """How many scenes some patches come from, as far as that is known.

    Attributes:
        patches: the patches.
        scenes: scenes that the data name.
        blocks: spatial blocks that stand in for scenes.
        unknown: patches whose scene is not known.
    """

    patches: int
    scenes: int
    blocks: int = 0
    unknown: int = 0

    @property
    def units(self) -> int:
        """Scenes, blocks, and patches by themselves."""
        return self.scenes + self.blocks + self.unknown

    @property
    def words(self) -> str:
        """`23 scenes`, `5 blocks of 50 km in place of scenes`, `scenes that are not known`, or what there is of these."""
        if self.unknown and not self.scenes + self.blocks:
            return "scenes that are not known"
        found = []
        if self.scenes or not self.blocks + self.unknown:
            found.append(counted(self.scenes, "scene"))
        if self.blocks:
            found.append(f"{counted(self.blocks, 'block')} of {STAND_IN_KM} km in place of scenes")
        if self.unknown:
            found.append(f"{counted(self.unknown, 'patch', 'patches')} of unknown scene")
        return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)

    @property
    def note(self) -> str:
        """What intervals over scenes mean where scenes are not known, else ""."""
        said = []
        if self.unknown:
            of = "the patches" if self.unknown == self.patches else f"{self.unknown:,} of {self.patches:,} patches"
            said.append(f"the scene of {of} is not known: they are taken as independent, which is not known either")
        if self.blocks:
            said.append(f"blocks of {STAND_IN_KM} km stand in for scenes that the data do not name")
        return "; ".join(said)

    @property
    def is_few(self) -> bool:
        """Whether they are known to be too few for more than rough intervals."""
        return not self.unknown and self.units < FEW_SCENES


def scenes_of(index: pd.DataFrame) -> Scenes:
    """Counts the scenes of the patches of an index."""
    known = index["scene"].notna()
    is_block = known & (index[SCENE_KIND] == PLACE) if SCENE_KIND in index.columns else known & False
    named, blocks = (index["scene"][which].nunique() for which in (known & ~is_block, is_block))
    return Scenes(len(index), int(named), int(blocks), int((~known).sum()))


def with_kinds(index: pd.DataFrame, provenance: Mapping[str, Any]) -> pd.DataFrame:
    """The index of a store of schema 1 or 2, in which made-up scenes looked like others, with what is known of them.

    Args:
        index: as it was stored.
        provenance: of the store, which says where the scenes of a table came from.
    """
    words = list(_words_on_scenes(provenance))
    scene = index["scene"].astype(object)
    if not words or any("itself" in each or "themselves" in each for each in words):
        scene = scene.where(scene != index["patch_id"], None)
    is_block = np.zeros(len(index), dtype=bool)
    if any("spatial blocks" in each for each in words):
        only = len(words) == 1 and "column" not in words[0] and "parts" not in provenance
        is_block = np.array([only or bool(re.fullmatch(r"b-?\d+_-?\d+", str(name))) for name in scene], dtype=bool)
    kind = pd.Series([PLACE if block else GIVEN for block in is_block], dtype=object, index=index.index)
    kind = kind.where(scene.notna(), None)
    return index.assign(scene=scene.where(scene.notna(), None), scene_kind=kind)


def _words_on_scenes(provenance: Mapping[str, Any]) -> Iterator[str]:
    """What a table, or each of several, said of its scenes."""
    if "table" in provenance:
        yield str(provenance["table"].get("scenes", ""))
    for part in provenance.get("parts", ()):
        yield from _words_on_scenes(part.get("provenance", {}))
