"""CORINE-like labels of a patch: what an interpreter with a coarse mapping unit would write, with mistakes."""

import numpy as np

from eofuse.simulation import figures as f
from eofuse.simulation.scenes import Scene

_MIXED_FARMING = "Land principally occupied by agriculture, with significant areas of natural vegetation"
_NEIGHBOURS = {
    "Coniferous forest": "Mixed forest",
    "Broad-leaved forest": "Mixed forest",
    "Mixed forest": "Transitional woodland/shrub",
    "Pastures": "Complex cultivation patterns",
    "Non-irrigated arable land": "Complex cultivation patterns",
    "Complex cultivation patterns": _MIXED_FARMING,
    "Natural grassland": "Pastures",
    "Moors and heathland": "Natural grassland",
    "Transitional woodland/shrub": "Moors and heathland",
    "Discontinuous urban fabric": "Industrial or commercial units",
    "Inland marshes": "Natural grassland",
}
"""What each label is mistaken for."""


def land_labels(scene: Scene, surface: np.ndarray, parcel: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Labels of the 43-class nomenclature of BigEarthNet, sorted; at least one."""
    share = np.bincount(surface.ravel(), minlength=len(f.SURFACES)) / surface.size
    threshold = float(np.clip(rng.normal(0.07, 0.015), 0.03, 0.12))
    normals = scene.climate(scene.elevation_m)
    dry, cool = normals.dry_summer > 0.5, normals.mean < 9
    labels: dict[str, float] = {
        "Sea and ocean": share[f.SEA],
        "Water bodies": share[f.LAKE],
        "Water courses": share[f.RIVER] * 1.3,
        "Coniferous forest": share[f.CONIFER],
        "Broad-leaved forest": share[f.BROADLEAF],
        "Mixed forest": 1.4 * min(share[f.CONIFER], share[f.BROADLEAF]),
        "Transitional woodland/shrub": share[f.YOUNG_FOREST] + (0 if dry else 0.4 * share[f.SHRUB]),
        "Sclerophyllous vegetation" if dry else "Moors and heathland": share[f.SHRUB]
        + (0 if dry else 0.5 * share[f.LICHEN]),
        "Natural grassland": share[f.NATURAL_GRASS],
        "Pastures": share[f.PASTURE],
        "Permanently irrigated land": share[f.SUMMER_CROP] if dry else 0.0,
        "Non-irrigated arable land": share[f.WINTER_CROP] + (0 if dry else share[f.SUMMER_CROP]),
        "Peatbogs" if cool else "Salt marshes" if scene.at_coast else "Inland marshes": 1.2 * share[f.WETLAND],
        "Beaches, dunes, sands" if scene.at_coast else "Bare rock": share[f.BARE] + share[f.ICE],
        "Sparsely vegetated areas": share[f.LICHEN] + 0.5 * share[f.BARE] * (not scene.at_coast),
        "Continuous urban fabric" if share[f.BUILT] > 0.5 else "Discontinuous urban fabric": share[f.BUILT],
    }
    orchard = ("Agro-forestry areas", "Olive groves", "Vineyards", "Fruit trees and berry plantations")
    labels[orchard[int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1) if dry else (0.0, 0.0, 0.5, 0.5)))]] = share[f.ORCHARD]
    farmed = share[[f.PASTURE, f.WINTER_CROP, f.SUMMER_CROP, f.ORCHARD]]
    wild = share[[f.CONIFER, f.BROADLEAF, f.SHRUB, f.NATURAL_GRASS, f.WETLAND]].sum()
    small = np.unique(parcel).size / 60
    labels["Complex cultivation patterns"] = float(np.sort(farmed)[-2]) * min(1.0, 0.5 * small)
    labels[_MIXED_FARMING] = 0.6 * min(float(farmed.sum()), wild)
    chosen = {name for name, amount in labels.items() if amount > threshold}
    if not chosen:
        chosen = {max(labels, key=lambda name: labels[name])}
    return sorted(_mistake(chosen, rng))


def _mistake(chosen: set[str], rng: np.random.Generator) -> set[str]:
    """The labels with some dropped and some taken for a neighbour."""
    result = set()
    for name in sorted(chosen):
        luck = rng.random()
        if luck < 0.05:
            continue
        result.add(_NEIGHBOURS.get(name, name) if luck < 0.13 else name)
    return result or chosen
