"""The CORINE Land Cover names of BigEarthNet: 43 level-3 classes, and the 19 classes into which they are grouped.

The grouping is that of Sumbul et al., "BigEarthNet-MM", IEEE GRSM 9(3), 2021: 32 of the 43 classes make up the 19; the
other 11 are too small or too vague at 10 m, and a patch that has only these has no label of the 19.
"""

from collections.abc import Iterable

_LAND_WITH_NATURE = "Land principally occupied by agriculture, with significant areas of natural vegetation"

GROUP_OF: dict[str, str | None] = {
    "Continuous urban fabric": "Urban fabric",
    "Discontinuous urban fabric": "Urban fabric",
    "Industrial or commercial units": "Industrial or commercial units",
    "Road and rail networks and associated land": None,
    "Port areas": None,
    "Airports": None,
    "Mineral extraction sites": None,
    "Dump sites": None,
    "Construction sites": None,
    "Green urban areas": None,
    "Sport and leisure facilities": None,
    "Non-irrigated arable land": "Arable land",
    "Permanently irrigated land": "Arable land",
    "Rice fields": "Arable land",
    "Vineyards": "Permanent crops",
    "Fruit trees and berry plantations": "Permanent crops",
    "Olive groves": "Permanent crops",
    "Pastures": "Pastures",
    "Annual crops associated with permanent crops": "Permanent crops",
    "Complex cultivation patterns": "Complex cultivation patterns",
    _LAND_WITH_NATURE: _LAND_WITH_NATURE,
    "Agro-forestry areas": "Agro-forestry areas",
    "Broad-leaved forest": "Broad-leaved forest",
    "Coniferous forest": "Coniferous forest",
    "Mixed forest": "Mixed forest",
    "Natural grassland": "Natural grassland and sparsely vegetated areas",
    "Moors and heathland": "Moors, heathland and sclerophyllous vegetation",
    "Sclerophyllous vegetation": "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland/shrub": "Transitional woodland, shrub",
    "Beaches, dunes, sands": "Beaches, dunes, sands",
    "Bare rock": None,
    "Sparsely vegetated areas": "Natural grassland and sparsely vegetated areas",
    "Burnt areas": None,
    "Inland marshes": "Inland wetlands",
    "Peatbogs": "Inland wetlands",
    "Salt marshes": "Coastal wetlands",
    "Salines": "Coastal wetlands",
    "Intertidal flats": None,
    "Water courses": "Inland waters",
    "Water bodies": "Inland waters",
    "Coastal lagoons": "Marine waters",
    "Estuaries": "Marine waters",
    "Sea and ocean": "Marine waters",
}
"""The 43 class names, in the order of their CORINE codes (111 to 523, without 335 glaciers) → the class of the 19, if any."""

CLC43: tuple[str, ...] = tuple(GROUP_OF)
"""The 43 class names."""

CLC19: tuple[str, ...] = tuple(dict.fromkeys(group for group in GROUP_OF.values() if group is not None))
"""The 19 class names, in their usual order."""


def group_labels(labels_43: Iterable[str]) -> list[str]:
    """The classes of the 19 that follow from these of the 43, in the usual order; empty if there are none."""
    groups = {GROUP_OF.get(name) for name in labels_43}
    return [name for name in CLC19 if name in groups]
