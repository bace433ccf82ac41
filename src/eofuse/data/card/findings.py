"""What to fix first: the problems that a data card shows, the worst first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from eofuse.data.card.describe import DataCard
from eofuse.data.scenes import STAND_IN_KM, scenes_of
from eofuse.data.splits.comparison import less_leaky
from eofuse.data.store import Store
from eofuse.errors import MOST_NAMES
from eofuse.modalities import Kind

Weight = Literal["fix", "look", "know"]

WEIGHTS: tuple[Weight, ...] = ("fix", "look", "know")
"""Wrong results without it; may be wrong; good to know."""

WORDS = {"train": "training", "validation": "validation", "test": "test"}

FEW_SCENES = 10
FEW_PATCHES = 10
UNEVEN = 0.1
ADJACENT = 0.05
BAD_BAND = 0.01
ONE_CLASS = 0.8


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        weight: "fix" if results would be wrong, "look" if they may be, "know" if nothing is to be done.
        what: what is the matter.
        fix: what to do about it.
        section: the part of the card that shows it.
    """

    weight: Weight
    what: str
    fix: str
    section: str


def findings(store: Store, card: DataCard) -> list[Finding]:
    """Every problem of a store under a split, the worst first."""
    found = [
        *_duplicates(card),
        *_leakage(store, card),
        *_classes(card),
        *_bands(store, card),
        *_presence(store, card),
        *_scenes(store, card),
        *_facts(store, card),
    ]
    return sorted(found, key=lambda finding: WEIGHTS.index(finding.weight))


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 or not share else "less than 1 %"


def _patches(count: int) -> str:
    return "1 patch" if count == 1 else f"{count:,} patches"


def _duplicates(card: DataCard) -> Iterator[Finding]:
    for found in card.duplicates:
        is_picture = found.name not in card.scans or len(card.scans[found.name].modality.channels) > 1
        for pairs, words in ((found.same, "the same"), (found.alike, "nearly the same")):
            torn = found.across(card.part, pairs)
            if len(torn):
                count = len(np.unique(torn[:, 0]))
                verb = "is" if count == 1 else "are"
                of = "validation or test"
                what = f"{_patches(count)} of {of} {verb} {words} as one of an earlier part ({found.name})"
                fix = "leave one of each pair out with `eofuse subset`; what is on both sides is known before it is tested"
                yield Finding("fix" if is_picture else "look", what, fix, "duplicates")
            elif len(pairs):
                what = f"{_patches(len(np.unique(pairs)))} have a copy in their own part ({found.name}, {words})"
                yield Finding("know", what, "copies count twice; leave them out if that is not meant", "duplicates")


def _leakage(store: Store, card: DataCard) -> Iterator[Finding]:
    found = card.leakage
    if found.sharing_scene:
        share = _percent(found.sharing_scene, found.test_patches)
        what = f"{share} of the test patches share a scene with training ({card.protocol} split)"
        advice = _advice(card, "sharing_scene", "add scenes: scores of scenes that were not seen will be lower")
        yield Finding("fix", what, advice, "split")
    if found.same_ground:
        what = f"{_percent(found.same_ground, found.test_patches)} of the test patches cover ground of a training patch"
        advice = _advice(card, "same_ground", "set `split.buffer`, which leaves such patches out")
        yield Finding("fix", f"{what} ({card.protocol} split)", advice, "split")
    if found.adjacent and found.adjacent > ADJACENT * found.test_patches:
        share = _percent(found.adjacent, found.test_patches)
        what = f"{share} of the test patches lie next to a training patch ({card.protocol} split)"
        advice = _advice(card, "adjacent", "set `split.buffer` (metres) to leave neighbours out")
        yield Finding("look", what, f"{advice} if results are to hold elsewhere", "split")
    if card.instead:
        fix = "add scenes; results of this split say little about other scenes"
        what = f"it can't be split by scene: {card.instead}; the card shows a {card.protocol} split"
        yield Finding("look", what, fix, "split")
    if found.adjacent is None:
        what = "no place is known, so that neighbours on both sides of the split can't be seen"
        yield Finding("look", what, "give `lon` and `lat`, or keep neighbours in one scene", "map")


def _advice(card: DataCard, sort: str, otherwise: str) -> str:
    """To take another protocol, if it was measured to leak less, else something else."""
    better = less_leaky(card.protocols, card.leakage, sort)
    return otherwise if better is None else f"split by {better}: `split: {{protocol: {better}}}`"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    joint = "; " if any("," in name for name in names) else ", "
    return joint.join(name.replace("_", " ") for name in names[:MOST_NAMES]) + more


def _classes(card: DataCard) -> Iterator[Finding]:
    target = card.balance
    if target is None:
        yield Finding("know", "no labels were found", "name a target with `--target`", "labels")
        return
    for part, count in target.labelled.items():
        if not count:
            what = f"no {WORDS[part]} patch has the label {target.target}"
            yield Finding("fix", what, "choose another split or target", "labels")
    table = target.classes
    if table.empty:
        return
    train, test = table["train"], table["test"]
    cases: tuple[tuple[str, Weight, pd.Series, str], ...] = (
        ("train", "fix", test, "choose another `split_seed`, or join the class with another: it can't be learned"),
        ("test", "look", train, "choose another `split_seed`: a class that is not tested is not scored"),
        ("validation", "look", train, "choose another `split_seed`: the choice of a model does not see it"),
    )
    for part, weight, others, fix in cases:
        if lacking := [str(name) for name in table.index[(table[part] == 0) & (others > 0)]]:
            classes = "1 class is" if len(lacking) == 1 else f"{len(lacking)} classes are"
            yield Finding(weight, f"{classes} missing in {WORDS[part]}: {_names(lacking)}", fix, "labels")
    rare = [str(name) for name in table.index[(train > 0) & (train < FEW_PATCHES)]]
    if rare and target.counted == "patches":
        fix = "collect more, or join them with others; their scores will be uncertain"
        yield Finding("look", f"fewer than {FEW_PATCHES} training patches: {_names(rare)}", fix, "labels")
    top = train.max() / max(target.labelled["train"] if target.counted == "patches" else train.sum(), 1)
    if not target.several and top > ONE_CLASS:
        what = f"{100 * top:.0f} % of the training {target.counted} are {_names([str(train.idxmax())])}"
        fix = "judge by macro F1, not accuracy; `train.sampling: balanced` helps rare classes"
        yield Finding("look", what, fix, "labels")


def _bands(store: Store, card: DataCard) -> Iterator[Finding]:
    bands = card.bands
    dead = bands[(bands["empty"] == bands["patches"]) | bands["value"].notna()]
    for name, rows in dead.groupby("modality", sort=False):
        several = len(rows) > 1
        what = f"{name}: {', '.join(rows['channel'])} {'hold' if several else 'holds'} no data, or one value everywhere"
        fix = f"leave {'them' if several else 'it'} out of `inputs`: a constant can't help"
        yield Finding("fix", what, fix, "channels")
    rest = bands.drop(dead.index)
    for kind, words in (("empty", "hold no data"), ("constant", "hold one value in every pixel")):
        some = rest[rest[kind] > BAD_BAND * rest["patches"]]
        for name, rows in some.groupby("modality", sort=False):
            modality = store.modalities[str(name)]
            if kind == "constant" and (modality.kind is not Kind.RASTER or len(modality.channels) == 1):
                continue  # flat ground and open water are no defect of a height map
            worst = rows.iloc[int(rows[kind].argmax())]
            share = _percent(int(worst[kind]), int(worst["patches"]))
            what = f"{name}: bands {words} in up to {share} of the patches that have it ({', '.join(rows['channel'])})"
            yield Finding("look", what, "look at some with `eofuse show`; leave bad patches or bands out", "channels")


def _presence(store: Store, card: DataCard) -> Iterator[Finding]:
    sizes = {name: len(rows) for name, rows in card.split.parts().items()}
    shares = card.presence / list(sizes.values())
    for name, row in shares.iterrows():
        if row.max() - row.min() > UNEVEN:
            told = ", ".join(f"{100 * value:.0f} % of {WORDS[str(part)]}" for part, value in row.items())
            what = f"{name} is there unevenly: {told}"
            yield Finding("look", what, "choose another split; a model may read absence as a sign", "presence")
        elif (lacking := len(store) - int(store.present(str(name)).sum())) > 0:
            what = f"{lacking:,} of {len(store):,} patches ({_percent(lacking, len(store))}) are without {name}"
            yield Finding("know", what, "runs that need it leave them out, unless the recipe allows gaps", "presence")


def _scenes(store: Store, card: DataCard) -> Iterator[Finding]:
    whole, test = scenes_of(store.index), card.scenes["test"]
    if whole.unknown:
        of = "the patches" if whole.unknown == len(store) else f"{whole.unknown:,} of {len(store):,} patches"
        what = f"the scene of {of} is not known: as far as anyone knows, a split by scene is a random one for them"
        fix = "pack with `scene`, the column with what samples share (acquisition, site, field)"
        yield Finding("look", what, fix, "split")
    if whole.blocks:
        what = f"blocks of {STAND_IN_KM} km stand in for scenes that the data do not name"
        yield Finding("know", what, "pack with `scene`, if there is a column with what samples share", "split")
    if not test.unknown and test.units < FEW_SCENES:
        what = f"the test patches come from {test.words} only"
        fix = (
            "patches of a scene are alike: expect wide intervals, or test on every scene once with `split: {folds: 5}`"
        )
        yield Finding("look", what, fix, "split")


def _facts(store: Store, card: DataCard) -> Iterator[Finding]:
    if card.looked_at < len(store):
        what = (
            f"of {len(store):,} patches, {card.looked_at:,} drawn at random were looked at: copies of others go unseen"
        )
        yield Finding("know", what, "look at parts of the store on their own", "duplicates")
    if target := card.balance:
        of_split = int((card.part >= 0).sum())
        lacking = of_split - sum(target.labelled.values())
        if lacking:
            what = f"{lacking:,} of {of_split:,} patches ({_percent(lacking, of_split)}) are without the label {target.target}"
            yield Finding("know", what, "runs leave them out; pretraining can use them", "labels")
    if aside := store.provenance.get("set_aside"):
        what = f"{_patches(aside)} were set aside as bad when the store was packed"
        yield Finding("know", what, "see `set_aside.csv`", "split")
