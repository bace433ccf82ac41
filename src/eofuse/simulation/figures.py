"""Rounded figures of surfaces as Sentinel-2 and Sentinel-1 see them, most of them measured on real pixels.

How they were got: pixels of two public sets were grouped by their labels and by simple spectral rules (NDVI, near
infrared and red limits), and the mean and the two leading principal components (eigenvector × standard deviation) of
the 12 bands, and the mean of VV and VH, were taken per group and rounded to two or three digits. No pixel is kept.

- BigEarthNet (CDLA-Permissive-1.0), from 40 patches of 14,400 pixels: conifers (18,570 pixels, summer; 12,978,
  spring), broad leaves (22,329), pasture (13,634, June; 10,029, February), growing crop (26,126), bare field (11,527,
  June and August; 3,730, February), dry grass and stubble (13,231), agroforest (1,130), heath (11,683), open sea
  (57,600), lakes (10,032), young forest (8,322), leafless mixed land (9,560), open snow (13,091), snow under trees
  (34,320), cloud (3,768).
- TerraMesh (CC-BY-SA-4.0), from 4 sites of 50,176 pixels with the 9-class land cover map (1 water, 2 trees, 3 flooded
  vegetation, 4 crops, 5 built, 6 bare, 7 snow and ice, 9 rangeland): built (11,742), bare sand (3,316), flooded
  vegetation (90), permanent snow (50,176). One site's reflectances carried the offset of +1000 of newer processing,
  which was taken off.

Not measured: the means of lichen, bare rock, river and green heath and the components of bare rock and wetland (neither
set shows them alone; set by hand between measured groups); the components of orchards are those of leafless mixed land.
Backscatter means are rounded from the groups above, and averaged where a surface had several (broad leaves, grass,
fields); those of dense buildings, roads, bare rock, river and lichen were set by hand, buildings above and roads below
the mean of built pixels. The gain with moisture and, in `sensors`, the spread of VV and VH and their correlation are
choices for all surfaces together, near the 2 to 4 dB seen in the groups. Speckle: 4.4 looks, the number of the
Sentinel-1 GRD product in interferometric wide swath.
"""

import numpy as np

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

SURFACES = (
    "sea",
    "lake",
    "river",
    "conifer",
    "broadleaf",
    "young_forest",
    "shrub",
    "pasture",
    "natural_grass",
    "winter_crop",
    "summer_crop",
    "orchard",
    "built",
    "bare",
    "ice",
    "wetland",
    "lichen",
    "road",
)
"""What covers the ground, finer than the land cover map."""

SEA, LAKE, RIVER, CONIFER, BROADLEAF, YOUNG_FOREST, SHRUB, PASTURE, NATURAL_GRASS = range(9)
WINTER_CROP, SUMMER_CROP, ORCHARD, BUILT, BARE, ICE, WETLAND, LICHEN, ROAD = range(9, 18)

LOOKS = 4.4
"""Equivalent number of looks of the speckle."""

MEAN = {
    "sea": (170, 190, 190, 130, 110, 80, 80, 80, 70, 40, 50, 50),
    "lake": (110, 170, 190, 120, 140, 160, 190, 180, 180, 320, 130, 90),
    "river": (300, 340, 480, 370, 380, 300, 310, 280, 280, 310, 170, 120),
    "conifer": (120, 220, 370, 270, 660, 1720, 2030, 2170, 2240, 2260, 1250, 650),
    "conifer_w": (150, 220, 350, 270, 630, 1450, 1680, 1800, 1870, 1900, 1280, 680),
    "broadleaf": (210, 180, 410, 200, 700, 2940, 3720, 3930, 3960, 3850, 1660, 720),
    "leafless": (160, 290, 520, 630, 910, 1490, 1700, 1840, 1900, 1850, 1990, 1290),
    "young": (200, 370, 570, 580, 1040, 1890, 2170, 2350, 2450, 2440, 2080, 1210),
    "shrub": (120, 190, 420, 400, 800, 1600, 1820, 2000, 2020, 2000, 1500, 850),
    "heath": (50, 100, 320, 260, 630, 1350, 1510, 1670, 1660, 1630, 1130, 610),
    "pasture": (390, 360, 780, 470, 1380, 3730, 4540, 4700, 4940, 4890, 2370, 1210),
    "pasture_w": (240, 300, 560, 430, 1080, 2560, 2960, 3260, 3230, 3140, 1860, 1040),
    "dry": (420, 550, 900, 1350, 1650, 1910, 2130, 2240, 2470, 2440, 3490, 2340),
    "crop": (310, 300, 710, 350, 1190, 3950, 4850, 5070, 5140, 4930, 2030, 970),
    "bare_field": (680, 940, 1400, 1620, 1980, 2630, 2860, 2900, 2990, 3110, 2970, 2410),
    "bare_field_w": (450, 610, 840, 1060, 1410, 1730, 1880, 2070, 2100, 2130, 2580, 1860),
    "agro": (260, 210, 440, 570, 990, 1660, 1960, 2070, 2280, 2240, 2210, 1290),
    "built": (390, 500, 630, 760, 1010, 1570, 1810, 2000, 2050, 2060, 1990, 1460),
    "sand": (1770, 2310, 2810, 3130, 3420, 3440, 3540, 3700, 3710, 3190, 4490, 4150),
    "rock": (800, 960, 1200, 1400, 1600, 1750, 1850, 1950, 2000, 1950, 2300, 2000),
    "ice": (6350, 6290, 5630, 5760, 5950, 5970, 5820, 6240, 5690, 5590, 960, 1010),
    "flooded": (290, 340, 440, 470, 730, 1230, 1380, 1530, 1570, 1620, 1280, 830),
    "lichen": (420, 580, 830, 1000, 1300, 1750, 1900, 2050, 2150, 2150, 2350, 1550),
}
"""Reflectance × 10,000 of the 12 bands by group; `_w` is winter or early spring."""

COMPONENTS = {
    "sea": (
        (7, 5, 7, 7, 7, 7, 7, 6, 6, 6, 6, 5),
        (-2, -5, -5, -2, -1, 1, 1, 1, 2, 3, 4, 3),
    ),
    "lake": (
        (6, 6, 12, 5, 6, 8, 9, 8, 9, 24, 5, 4),
        (4, 6, 11, 5, 5, 5, 6, 5, 5, -18, 0, 1),
    ),
    "conifer": (
        (1, 2, 5, 4, 11, 20, 22, 23, 25, 18, 22, 11),
        (2, 2, 4, 6, 11, -5, -10, -11, -9, -6, 25, 15),
    ),
    "broadleaf": (
        (0, 1, 2, 0, 6, 44, 60, 60, 63, 50, 23, 9),
        (1, 1, 2, 1, 2, 4, 5, 20, 4, -38, 0, 1),
    ),
    "young": (
        (3, 7, 10, 12, 17, 30, 35, 39, 38, 30, 30, 19),
        (4, 2, 2, 5, 6, -6, -8, -8, -7, -5, 20, 18),
    ),
    "shrub": (
        (3, 7, 13, 12, 24, 41, 44, 50, 49, 33, 46, 27),
        (3, 4, 3, 7, 5, -9, -11, -14, -10, -1, 26, 20),
    ),
    "pasture": (
        (-2, -3, -2, -9, -3, 53, 80, 83, 81, 62, -4, -8),
        (5, 9, 13, 15, 23, 7, -2, 1, 3, 2, 37, 26),
    ),
    "dry": (
        (8, 17, 24, 38, 39, 34, 35, 38, 38, 27, 64, 49),
        (0, 2, 3, 1, 2, 11, 13, 14, 12, 6, -22, -15),
    ),
    "crop": (
        (-2, -2, 0, -4, 0, 43, 67, 57, 66, 63, 0, -3),
        (0, 3, 5, 5, 11, 0, -9, -14, -4, 28, 16, 9),
    ),
    "agro": (
        (7, 13, 20, 24, 28, 31, 32, 35, 32, 19, 41, 32),
        (5, 6, 7, 12, 8, -12, -18, -22, -20, -12, 25, 26),
    ),
    "built": (
        (4, 16, 19, 26, 27, 24, 25, 31, 28, 15, 53, 49),
        (-4, -8, -7, -13, -10, 17, 25, 34, 28, 16, -19, -25),
    ),
    "sand": (
        (47, 71, 77, 85, 83, 78, 77, 76, 76, 56, 98, 124),
        (22, -10, -12, -11, -6, -4, -3, -7, -2, 59, -1, 0),
    ),
    "rock": (
        (24, 32, 38, 42, 42, 40, 40, 40, 40, 34, 50, 50),
        (22, -10, -12, -11, -6, -4, -3, -7, -2, 20, -1, 0),
    ),
    "ice": (
        (165, 242, 235, 256, 247, 230, 219, 245, 214, 162, 36, 39),
        (78, -34, -41, -49, 28, 23, 20, -60, 18, 70, 5, 6),
    ),
    "flooded": (
        (6, 10, 14, 13, 20, 38, 42, 52, 45, 30, 31, 18),
        (1, 3, 2, 6, 8, 5, 4, -20, 7, 1, 11, 10),
    ),
    "barefield": (
        (10, 16, 26, 34, 42, 49, 51, 55, 54, 44, 70, 63),
        (5, 6, 7, 13, 12, -12, -17, -11, -18, -23, 16, 25),
    ),
}
"""The two leading principal components by group, reflectance × 1,000 per standard deviation."""

APPEARANCE: dict[str, tuple[str, str, str, str]] = {
    "sea": ("sea", "sea", "sea", "sea"),
    "lake": ("lake", "lake", "lake", "lake"),
    "river": ("river", "river", "river", "lake"),
    "conifer": ("conifer", "conifer_w", "conifer_w", "conifer"),
    "broadleaf": ("broadleaf", "leafless", "agro", "broadleaf"),
    "young_forest": ("young", "young", "agro", "young"),
    "shrub": ("shrub", "heath", "agro", "shrub"),
    "pasture": ("pasture", "pasture_w", "dry", "pasture"),
    "natural_grass": ("pasture_w", "dry", "dry", "dry"),
    "winter_crop": ("crop", "bare_field_w", "dry", "crop"),
    "summer_crop": ("crop", "bare_field_w", "bare_field", "crop"),
    "orchard": ("agro", "leafless", "agro", "agro"),
    "built": ("built", "built", "built", "built"),
    "bare": ("rock", "rock", "sand", "rock"),
    "ice": ("ice", "ice", "ice", "ice"),
    "wetland": ("flooded", "heath", "agro", "flooded"),
    "lichen": ("lichen", "lichen", "dry", "rock"),
    "road": ("built", "built", "built", "built"),
}
"""Groups of each surface: green, dormant and dry mean, and components."""

BACKSCATTER = {
    "sea": (-21.0, -28.5, 0),
    "lake": (-20.5, -26.0, 0),
    "river": (-18.5, -24.0, 0),
    "conifer": (-9.7, -15.0, 0.6),
    "broadleaf": (-9.0, -14.7, 0.7),
    "young_forest": (-10.7, -16.3, 0.8),
    "shrub": (-12.0, -18.0, 1.0),
    "pasture": (-11.6, -17.6, 1.6),
    "natural_grass": (-12.3, -18.4, 1.5),
    "winter_crop": (-12.6, -18.3, 1.6),
    "summer_crop": (-10.8, -17.0, 1.6),
    "orchard": (-11.3, -17.4, 1.2),
    "built": (-7.5, -15.0, 0.2),
    "bare": (-13.5, -20.5, 0.8),
    "ice": (-14.3, -21.7, 0.4),
    "wetland": (-11.0, -17.6, 0.9),
    "lichen": (-13.2, -19.8, 1.0),
    "road": (-14.5, -21.5, 0.2),
}
"""VV and VH in dB and the gain of VV in dB from dry to wet ground."""

CLOUD = (5130, 5180, 5170, 5120, 5650, 6140, 6300, 6670, 6400, 10050, 5580, 4570)
"""Reflectance × 10,000 of thick cloud."""

SNOW = (6060, 6710, 6490, 6600, 6810, 6770, 6490, 6810, 6210, 5770, 500, 500)
"""Reflectance × 10,000 of open seasonal snow."""

HAZE = (900, 780, 640, 500, 430, 380, 350, 320, 300, 260, 120, 80)
"""Reflectance × 10,000 that a haze of depth 1 adds: a choice, falling with wavelength as scattering does."""


def spectra() -> np.ndarray:
    """Mean reflectance × 10,000, (3 states: green, dormant, dry; 18 surfaces; 12 bands), float32."""
    return np.array([[MEAN[APPEARANCE[name][state]] for name in SURFACES] for state in range(3)], np.float32)


def components() -> np.ndarray:
    """Components of each surface, reflectance × 10,000 a standard deviation, (2, 18 surfaces, 12 bands), float32."""
    return (
        np.array([[COMPONENTS[APPEARANCE[name][3]][axis] for name in SURFACES] for axis in range(2)], np.float32) * 10
    )


def backscatter() -> np.ndarray:
    """VV dB, VH dB and moisture gain in dB, (18 surfaces, 3), float32."""
    return np.array([BACKSCATTER[name] for name in SURFACES], np.float32)
