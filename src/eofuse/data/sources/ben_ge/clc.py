"""The CORINE Land Cover names of BigEarthNet: 43 level-3 classes, and the 19 classes into which they are grouped.

The grouping is that of Sumbul et al., "BigEarthNet-MM", IEEE GRSM 9(3), 2021: 32 of the 43 classes make up the 19; the
other 11 (`CLC_DROPPED`) are too small or too vague at 10 m, and a patch that has only these has no label of the 19.
"""

from collections.abc import Iterable

_LAND_WITH_NATURE = "Land principally occupied by agriculture, with significant areas of natural vegetation"

CLC_GROUPS: dict[str, tuple[str, ...]] = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Industrial or commercial units": ("Industrial or commercial units",),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards",
        "Fruit trees and berry plantations",
        "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Pastures": ("Pastures",),
    "Complex cultivation patterns": ("Complex cultivation patterns",),
    _LAND_WITH_NATURE: (_LAND_WITH_NATURE,),
    "Agro-forestry areas": ("Agro-forestry areas",),
    "Broad-leaved forest": ("Broad-leaved forest",),
    "Coniferous forest": ("Coniferous forest",),
    "Mixed forest": ("Mixed forest",),
    "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
    "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Beaches, dunes, sands": ("Beaches, dunes, sands",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}
"""The 19 classes, in their usual order, and the classes of the 43 that each unites."""

CLC43: tuple[str, ...] = (
    "Continuous urban fabric",
    "Discontinuous urban fabric",
    "Industrial or commercial units",
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Non-irrigated arable land",
    "Permanently irrigated land",
    "Rice fields",
    "Vineyards",
    "Fruit trees and berry plantations",
    "Olive groves",
    "Pastures",
    "Annual crops associated with permanent crops",
    "Complex cultivation patterns",
    _LAND_WITH_NATURE,
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland",
    "Moors and heathland",
    "Sclerophyllous vegetation",
    "Transitional woodland/shrub",
    "Beaches, dunes, sands",
    "Bare rock",
    "Sparsely vegetated areas",
    "Burnt areas",
    "Inland marshes",
    "Peatbogs",
    "Salt marshes",
    "Salines",
    "Intertidal flats",
    "Water courses",
    "Water bodies",
    "Coastal lagoons",
    "Estuaries",
    "Sea and ocean",
)
"""The 43 class names, in the order of their CORINE codes (111 to 523, without 335 glaciers)."""

CLC19: tuple[str, ...] = tuple(CLC_GROUPS)
"""The 19 class names."""

CLC43_TO_CLC19: dict[str, str] = {member: group for group, members in CLC_GROUPS.items() for member in members}
"""The class of the 19 to which a class of the 43 belongs; the 11 dropped ones are no key."""

CLC_DROPPED: tuple[str, ...] = tuple(name for name in CLC43 if name not in CLC43_TO_CLC19)
"""The 11 classes of the 43 that belong to none of the 19."""


def group_labels(labels_43: Iterable[str]) -> list[str]:
    """The classes of the 19 that follow from these of the 43, in the usual order; empty if there are none."""
    groups = {CLC43_TO_CLC19[name] for name in labels_43 if name in CLC43_TO_CLC19}
    return [name for name in CLC19 if name in groups]
