"""A season of Sentinel-2 over the simulated fields, whose crops only the season tells apart.

A patch with fields has a main crop, which four of five of its parcels carry: `spring`, `summer` or `autumn`. All three green up and
ripen in the same way, 50 days one after the other, shifted by some days in each scene and parcel. The same values occur in all of
them, so that the mean over the dates tells nothing; a date in the middle of the season tells `summer` from the others, which are then
alike. Dates are irregular, other ones in each scene. Clouds hide pixels (0), and whole dates of a patch, which have no files.

Beside the folders of ben-ge stand
`season/<patch>/<date>_<band>.tif` (three bands of 60 × 60 pixels of 20 m), `summer/<patch>_<band>.tif`
with the date nearest to the middle of the season, `season.csv` with crops and scenes, and `season.yaml`, the spec that packs them.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from eofuse.simulation import figures as f
from eofuse.simulation.geotiff import write_geotiff
from eofuse.simulation.noise import smooth_noise
from eofuse.simulation.scenes import Scene
from eofuse.simulation.sky import surface_state

BANDS = ("B04", "B08", "B11")
PEAKS = {"spring": 125, "summer": 175, "autumn": 225}
"""Day of the year on which a crop is greenest."""

TABLE, SPEC, SEASON, SUMMER = "season.csv", "season.yaml", "season", "summer"
FOLDERS = (SEASON, SUMMER)
FIRST_DAY, LAST_DAY = 60, 300
GROWTH_DAYS = 32
LEAST_FIELDS = 0.15
MOST_CLOUD = 0.5
PIXEL_M = 20

_PLACES = [f.BANDS.index(name) for name in BANDS]
_GREEN, _DORMANT, _ = f.spectra()[:, :, _PLACES]
_CROPLAND = (f.WINTER_CROP, f.SUMMER_CROP, f.PASTURE, f.ORCHARD)
_COLUMNS = ("patch_id", "scene", "lon", "lat", "crop")

Row = dict[str, Any]


def season_dates(scene: Scene, count: int, rng: np.random.Generator) -> list[datetime]:
    """The dates of a scene, rising: evenly spaced from March to October, each moved by some days."""
    gap = (LAST_DAY - FIRST_DAY) / count
    days = FIRST_DAY + gap * (np.arange(count) + rng.uniform(0.1, 0.9, count))
    return [datetime(scene.time_s2.year, 1, 1) + timedelta(days=int(day) - 1) for day in days]


def write_season(
    folder: Path,
    scene: Scene,
    dates: Sequence[datetime],
    patch_id: str,
    corner: tuple[float, float],
    surface: np.ndarray,
    parcel: np.ndarray,
    traits: np.ndarray,
    rng: np.random.Generator,
) -> Row | None:
    """Writes the season of a patch.

    Args:
        folder: of the simulation.
        scene: of the patch.
        dates: of the scene.
        patch_id: of the patch.
        corner: easting and northing of its upper left corner.
        surface: (120, 120) surfaces.
        parcel: (120, 120) rows of `traits`.
        traits: (parcels, 4) standard normal numbers.
        rng: the patch's own randomness.

    Returns:
        Its row of the table but for place; None if it has too few fields, or every date is cloudy: nothing is then written.
    """
    surface, parcel = surface[::2, ::2], parcel[::2, ::2]
    fields = np.isin(surface, _CROPLAND)
    if fields.mean() < LEAST_FIELDS:
        return None
    names = list(PEAKS)
    crop = int(rng.integers(len(names)))
    others = rng.integers(len(names), size=len(traits))
    crops = np.where(rng.random(len(traits)) < 0.8, crop, others)
    peak = np.array(list(PEAKS.values()))[crops] + 5 * traits[:, 2] + _shift(scene)
    written: dict[datetime, np.ndarray] = {}
    for date in dates:
        bands = _reflectance(scene, date, surface, fields, peak[parcel], traits[parcel], rng)
        if (bands == 0).all(0).mean() <= MOST_CLOUD:
            written[date] = bands
    if not written:
        return None
    (folder / SEASON / patch_id).mkdir()
    for date, bands in written.items():
        for name, band in zip(BANDS, bands, strict=True):
            path = f"{folder}/{SEASON}/{patch_id}/{date:%Y-%m-%d}_{name}.tif"
            write_geotiff(path, band, scene.epsg, *corner, PIXEL_M)
    middle = min(written, key=lambda date: abs(date.timetuple().tm_yday - PEAKS["summer"]))
    for name, band in zip(BANDS, written[middle], strict=True):
        write_geotiff(f"{folder}/{SUMMER}/{patch_id}_{name}.tif", band, scene.epsg, *corner, PIXEL_M)
    return {"crop": names[crop], "scene": f"{scene.satellite_s2}_{scene.time_s2:%Y%m%dT%H%M%S}_T{scene.tile}"}


def _shift(scene: Scene) -> float:
    """Days by which the season of a scene is late."""
    return float(np.random.default_rng([scene.number, 6]).normal(0, 6))


def _reflectance(
    scene: Scene,
    date: datetime,
    surface: np.ndarray,
    fields: np.ndarray,
    peak: np.ndarray,
    traits: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The bands of a date, (3, 60, 60) uint16 reflectance × 10,000, 0 under clouds."""
    day = date.timetuple().tm_yday
    state = surface_state(replace(scene, time_s2=date), scene.elevation_m, np.random.default_rng([scene.number, day]))
    green = np.exp(-(((day - peak) / GROWTH_DAYS) ** 2))[..., None]
    crops = _DORMANT[f.SUMMER_CROP] * (1 - green) + _GREEN[f.SUMMER_CROP] * green
    values = np.where(fields[..., None], crops, state.mean[:, _PLACES][surface])
    values = values * (1 + 0.06 * traits[..., :1] + 0.05 * rng.standard_normal(values.shape, np.float32))
    veil = smooth_noise(rng, (surface.shape[0], surface.shape[1]), (30, 12, 5), 0.5) + rng.normal(-0.6, 0.9)
    values = values + 500 * np.clip(veil, 0, 1)[..., None] + rng.normal(0, 30)
    stored = np.clip(np.rint(values), 1, 20_000).astype(np.uint16)
    stored[veil > 0.6] = 0
    return np.moveaxis(stored, -1, 0)


def write_season_table(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes table and spec of all patches that have a season."""
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if "crop" in row)
    bands = ", ".join(BANDS)
    spec = f"""name: {name} season
simulated: true
table: {TABLE}
id: patch_id
scene: scene
lon: lon
lat: lat
labels: {{crop: class}}
modalities:
  s2_season:
    title: Sentinel-2, a season
    files: "{SEASON}/{{patch_id}}/{{date}}_{{band}}.tif"
    date: all
    bands: [{bands}]
    like: s2
  s2_summer:
    title: Sentinel-2, one date
    files: "{SUMMER}/{{patch_id}}_{{band}}.tif"
    bands: [{bands}]
    like: s2
"""
    (folder / SPEC).write_text(spec, encoding="utf-8")
