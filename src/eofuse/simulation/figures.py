"""Rounded figures of surfaces as Sentinel-2 and Sentinel-1 see them, most of them measured on real pixels.

`surfaces.csv` has a row for each thing that covers the ground, finer than the land cover map: the groups of pixels whose means it has
when it is green, dormant and dry, that of its components, VV and VH in dB, and the gain of VV in dB from dry to wet ground.
`spectra.csv` has the 12 bands of Sentinel-2 for each group: the mean as reflectance × 10,000 (`_w` is winter or early spring), and the
two leading principal components as reflectance × 1,000 per standard deviation. Then come, as reflectance × 10,000, thick cloud, open
seasonal snow, and what a haze of depth 1 adds: a choice, falling with wavelength as scattering does.

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

from pathlib import Path

import numpy as np
import pandas as pd

_SURFACES = pd.read_csv(Path(__file__).with_name("surfaces.csv"), index_col="surface")
_SPECTRA = pd.read_csv(Path(__file__).with_name("spectra.csv"), index_col=["figure", "group"], keep_default_na=False)

BANDS: tuple[str, ...] = tuple(_SPECTRA.columns)
SURFACES: tuple[str, ...] = tuple(_SURFACES.index)

SEA, LAKE, RIVER, CONIFER, BROADLEAF, YOUNG_FOREST, SHRUB, PASTURE, NATURAL_GRASS = range(9)
WINTER_CROP, SUMMER_CROP, ORCHARD, BUILT, BARE, ICE, WETLAND, LICHEN, ROAD = range(9, 18)

LOOKS = 4.4
"""Equivalent number of looks of the speckle."""


def _bands(figure: str, groups: str) -> np.ndarray:
    """A figure of the groups that a column names, (18 surfaces, 12 bands), float32."""
    return _SPECTRA.loc[figure].loc[_SURFACES[groups]].to_numpy(np.float32)


def spectra() -> np.ndarray:
    """Mean reflectance × 10,000, (3 states: green, dormant, dry; 18 surfaces; 12 bands), float32."""
    return np.stack([_bands("mean", state) for state in ("green", "dormant", "dry")])


def components() -> np.ndarray:
    """Components of each surface, reflectance × 10,000 a standard deviation, (2, 18 surfaces, 12 bands), float32."""
    return np.stack([_bands(f"{which} component", "components") * 10 for which in ("first", "second")])


def backscatter() -> np.ndarray:
    """VV dB, VH dB and moisture gain in dB, (18 surfaces, 3), float32."""
    return _SURFACES[["vv_db", "vh_db", "moisture_gain_db"]].to_numpy(np.float32)


def veil(name: str) -> np.ndarray:
    """Reflectance × 10,000 of `cloud` or `snow`, or what `haze` adds, (12 bands,), float32."""
    return _SPECTRA.xs(name).to_numpy(np.float32).ravel()
