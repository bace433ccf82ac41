"""The modalities that eofuse knows by name: those of the ben-ge family, and embeddings of others."""

from eofuse.modalities.base import Category, Channel, Kind, Modality


def _band(name: str, resolution_m: float, *aliases: str) -> Channel:
    return Channel(name, aliases, "reflectance", resolution_m)


SENTINEL2 = Modality(
    name="s2",
    kind=Kind.RASTER,
    title="Sentinel-2 L2A",
    channels=(
        _band("B01", 60, "B1"),
        _band("B02", 10, "B2"),
        _band("B03", 10, "B3"),
        _band("B04", 10, "B4"),
        _band("B05", 20, "B5"),
        _band("B06", 20, "B6"),
        _band("B07", 20, "B7"),
        _band("B08", 10, "B8"),
        _band("B8A", 20, "B8a"),
        _band("B09", 60, "B9"),
        _band("B11", 20),
        _band("B12", 20),
    ),
    dtype="uint16",
    scale=1e-4,
    valid_range=(0.0, 1.6),
    nodata=0,
)
"""Sentinel-2 surface reflectance (L2A): uint16 reflectance × 10,000 in the data, reflectance in physical units."""

SENTINEL1 = Modality(
    name="s1",
    kind=Kind.RASTER,
    title="Sentinel-1 GRD",
    channels=(Channel("VV", unit="dB", resolution_m=10), Channel("VH", unit="dB", resolution_m=10)),
    dtype="float32",
    valid_range=(-35.0, 10.0),
)
"""Sentinel-1 backscatter in decibels."""

ELEVATION = Modality(
    name="elevation",
    kind=Kind.RASTER,
    title="Elevation",
    channels=(Channel("elevation", ("dem",), "m", 30),),
    dtype="int16",
    valid_range=(-430.0, 8850.0),
    nodata=-32768,
)
"""Height above sea level in metres (Copernicus DEM GLO-30 in ben-ge)."""

WORLDCOVER = Modality(
    name="worldcover",
    kind=Kind.RASTER,
    title="ESA WorldCover",
    channels=(Channel("map", unit="class", resolution_m=10),),
    dtype="uint8",
    nodata=0,
    categories=(
        Category(10, "tree_cover", "#006400"),
        Category(20, "shrubland", "#ffbb22"),
        Category(30, "grassland", "#ffff4c"),
        Category(40, "cropland", "#f096ff"),
        Category(50, "built-up", "#fa0000"),
        Category(60, "bare/sparse_vegetation", "#b4b4b4"),
        Category(70, "snow_and_ice", "#f0f0f0"),
        Category(80, "permanent_water_bodies", "#0064c8"),
        Category(90, "herbaceous_wetland", "#0096a0"),
        Category(95, "mangroves", "#00cf75"),
        Category(100, "moss_and_lichen", "#fae6a0"),
    ),
)
"""ESA WorldCover 10 m land cover, with the codes and legend colours of the product user manual (Zanaga et al. 2021)."""

WEATHER = Modality(
    name="weather",
    kind=Kind.VECTOR,
    title="ERA-5 weather",
    channels=(
        Channel("atmpressure_level", unit="mbar"),
        Channel("temperature_s2", unit="K"),
        Channel("temperature_s1", unit="K"),
        Channel("wind-u_s2", unit="m/s"),
        Channel("wind-u_s1", unit="m/s"),
        Channel("wind-v_s2", unit="m/s"),
        Channel("wind-v_s1", unit="m/s"),
        Channel("relhumidity_s2", unit="%"),
        Channel("relhumidity_s1", unit="%"),
    ),
)
"""ERA-5 reanalysis at the patch (Hersbach et al. 2020): pressure level, then each variable at each sensor's time."""

SEASON = Modality(
    name="season",
    kind=Kind.VECTOR,
    title="Season",
    channels=(Channel("season_s2"), Channel("season_s1")),
    valid_range=(0.0, 1.0),
)
"""Season of each sensor's acquisition: 1 at the summer solstice, 0 at the winter solstice."""

CLIMATE_ZONE = Modality(
    name="climate_zone",
    kind=Kind.CATEGORY,
    title="Climate zone",
    channels=(Channel("climatezone", unit="class"),),
    dtype="uint8",
    categories=(
        Category(0, "water only", "#c8dcf0"),
        Category(7, "Csa hot dry summer", "#ffff00"),
        Category(8, "Csb warm dry summer", "#c8c800"),
        Category(9, "Csc cold dry summer", "#969600"),
        Category(14, "Cfa hot summer", "#c8ff50"),
        Category(15, "Cfb warm summer", "#64ff50"),
        Category(16, "Cfc cold summer", "#32c800"),
        Category(18, "Dsb warm dry summer", "#c800c8"),
        Category(25, "Dfa hot summer", "#00ffff"),
        Category(26, "Dfb warm summer", "#37c8ff"),
        Category(27, "Dfc cold summer", "#007d7d"),
        Category(29, "ET tundra", "#b2b2b2"),
    ),
)
"""Köppen–Geiger zone, the twelve codes of Beck et al. 2018 that occur in ben-ge, with that paper's colours."""

BEN_GE_MODALITIES = (SENTINEL2, SENTINEL1, ELEVATION, WORLDCOVER, WEATHER, CLIMATE_ZONE, SEASON)
"""Every modality of the ben-ge family."""

ALPHAEARTH = Modality(
    name="alphaearth",
    kind=Kind.RASTER,
    title="AlphaEarth Foundations",
    channels=tuple(Channel(f"A{number:02d}", resolution_m=10) for number in range(64)),
    valid_range=(-1.0, 1.0),
    embedding="alphaearth",
    attribution="The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and Google DeepMind (CC BY 4.0).",
)
"""Yearly embeddings of the Earth's surface, vectors of length 1 (Brown et al. 2025, arXiv 2507.22291)."""

TESSERA = Modality(
    name="tessera",
    kind=Kind.RASTER,
    title="Tessera",
    channels=tuple(Channel(f"T{number:03d}", resolution_m=10) for number in range(128)),
    embedding="tessera",
)
"""Yearly embeddings of series of Sentinel-1 and Sentinel-2, as numbers (Feng et al. 2025, arXiv 2506.20380)."""

KNOWN_MODALITIES = (*BEN_GE_MODALITIES, ALPHAEARTH, TESSERA)
"""Those that a spec can name, or be `like`."""
