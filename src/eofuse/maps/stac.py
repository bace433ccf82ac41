"""A STAC item beside a map (https://stacspec.org, 1.1.0) with the extensions projection, raster, classification and processing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from shapely import MultiPolygon, Polygon, box, set_precision
from shapely.affinity import translate
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from eofuse import __version__
from eofuse.data.reading.grid import Grid, transform_places
from eofuse.data.store.georeference import named_crs
from eofuse.files import write_text
from eofuse.maps.products import MapFile
from eofuse.stac import CLASSIFICATION, STAC_VERSION, class_objects

EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    CLASSIFICATION,
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
XML = "application/xml"
GEOPACKAGE = "application/geopackage+sqlite3"
POINTS = 8
"""Points along a side of the footprint."""


def write_item(
    path: Path,
    grid: Grid,
    rasters: Sequence[tuple[str, Path, MapFile, Grid]],
    styles: Sequence[tuple[str, Path]],
    shapes: Sequence[tuple[str, Path]],
    properties: Mapping[str, Any],
    model: str,
) -> None:
    """Writes the item of a map.

    Args:
        path: of the item.
        grid: of the scene.
        rasters: key, path, content and grid of each GeoTIFF.
        styles: key and path of each style for QGIS.
        shapes: key and path of each GeoPackage.
        properties: besides those of the extensions, with `datetime`.
        model: folder of the model, or what predicts in words.
    """
    outline, bounds = _outline(grid)
    assets: dict[str, Any] = {key: _asset(file, raster, own) for key, file, raster, own in rasters}
    for key, file in styles:
        assets[key] = {"href": f"./{quote(file.name)}", "type": XML, "title": "style for QGIS", "roles": ["metadata"]}
    for key, file in shapes:
        assets[key] = {"href": f"./{quote(file.name)}", "type": GEOPACKAGE, "roles": ["data"]}
    item = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": EXTENSIONS,
        "id": path.stem,
        "geometry": outline,
        **({"bbox": bounds} if bounds else {}),
        "properties": {
            **properties,
            "processing:software": {"eofuse": __version__},
            "processing:level": "L4",
            **_projection(grid),
        },
        "links": [{"rel": "derived_from", "href": model, "title": "the model"}],
        "assets": assets,
    }
    write_text(path, json.dumps(item, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _projection(grid: Grid) -> dict[str, Any]:
    code = grid.crs.to_epsg()
    system = (
        {"proj:code": f"EPSG:{code}"}
        if code
        else {"proj:code": None, "proj:wkt2": grid.crs.to_wkt(version="WKT2_2019")}
    )
    return {**system, "proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform[:6])}


def _asset(file: Path, raster: MapFile, grid: Grid) -> dict[str, Any]:
    bands = []
    for number, name in enumerate(raster.bands):
        nodata: float | str = "nan" if np.isnan(raster.nodata) else raster.nodata
        band: dict[str, Any] = {"name": name, "data_type": raster.dtype, "nodata": nodata}
        if raster.unit:
            band["unit"] = raster.unit
        if raster.scale != 1:
            band["raster:scale"] = raster.scale
        tags = raster.band_tags[number] if raster.band_tags else {}
        names = {int(tag.removeprefix("class_")): label for tag, label in tags.items() if tag.startswith("class_")}
        if names:
            colours = {code: "#{:02x}{:02x}{:02x}".format(*rgb) for code, rgb in raster.colours.items()}
            band["classification:classes"] = class_objects(names, colours)
        bands.append(band)
    return {"href": f"./{quote(file.name)}", "type": COG, "roles": ["data"], "bands": bands, **_projection(grid)}


def _outline(grid: Grid) -> tuple[dict[str, Any] | None, list[float] | None]:
    """The footprint in longitude and latitude as a GeoJSON geometry, and its bounding box (RFC 7946); None where it has none.

    Across the antimeridian it comes in two parts. Around a pole it is all that lies beyond the lowest latitude.
    """
    steps = np.linspace(0, 1, POINTS, endpoint=False)
    across, down = steps * grid.width, steps * grid.height
    edge = [
        *((0.0, y) for y in down),
        *((x, float(grid.height)) for x in across),
        *((float(grid.width), grid.height - y) for y in down),
        *((grid.width - x, 0.0) for x in across),
    ]
    wgs84 = named_crs("EPSG:4326")
    lon, lat = transform_places(grid.crs, wgs84, *np.array([grid.place_of(x, y) for x, y in edge]).T)
    valid = np.isfinite(lon) & np.isfinite(lat)
    if valid.sum() < 3:
        return None, None
    lon, lat = lon[valid], lat[valid].clip(-90, 90)
    for pole in (90.0, -90.0):
        x, y = transform_places(wgs84, grid.crs, [0.0], [pole])
        column, row = grid.pixel_at(float(x[0]), float(y[0]))
        if not grid.crs.is_geographic and 0 <= column <= grid.width and 0 <= row <= grid.height:
            low, high = sorted((float((lat.min if pole > 0 else lat.max)()), pole))
            return mapping(box(-180, low, 180, high)), [-180.0, low, 180.0, high]
    lon = np.degrees(np.unwrap(np.radians(lon)))  # continuous
    lon -= 360 * np.floor((lon.min() + 180) / 360)
    whole = Polygon(np.column_stack([lon, lat])).buffer(0)
    parts = [whole.intersection(box(-180, -90, 180, 90)), translate(whole, -360).intersection(box(-180, -90, 180, 90))]
    parts = [orient(part) for part in parts if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        return None, None
    west, east = parts[0].bounds[0], parts[-1].bounds[2]
    bounds = [west, float(lat.min()), east, float(lat.max())]
    found = set_precision(parts[0] if len(parts) == 1 else MultiPolygon(parts), 1e-7)
    return mapping(found), [round(each, 7) for each in bounds]
