"""A STAC item beside a map (https://stacspec.org, 1.1.0) with the extensions projection, raster, classification and processing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eofuse import __version__
from eofuse.data.reading.grid import Grid, transform_places
from eofuse.data.store.georeference import named_crs
from eofuse.files import write_text
from eofuse.maps.products import MapFile

VERSION = "1.1.0"
EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOPACKAGE = "application/geopackage+sqlite3"
POINTS = 8
"""Points along a side of the footprint."""


def write_item(
    path: Path,
    grid: Grid,
    rasters: Sequence[tuple[str, Path, MapFile, Grid]],
    shapes: Sequence[tuple[str, Path]],
    properties: Mapping[str, Any],
    model: str,
) -> None:
    """Writes the item of a map.

    Args:
        path: of the item.
        grid: of the scene.
        rasters: key, path, content and grid of each GeoTIFF.
        shapes: key and path of each GeoPackage.
        properties: besides those of the extensions, with `datetime`.
        model: folder of the model, or what predicts in words.
    """
    outline = _outline(grid)
    places = np.array(outline)
    assets: dict[str, Any] = {key: _asset(file, raster, own, path) for key, file, raster, own in rasters}
    for key, file in shapes:
        assets[key] = {"href": f"./{file.name}", "type": GEOPACKAGE, "roles": ["data"]}
    item = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": EXTENSIONS,
        "id": path.stem,
        "geometry": {"type": "Polygon", "coordinates": [outline]},
        "bbox": [*places.min(axis=0).tolist(), *places.max(axis=0).tolist()],
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
    system = {"proj:code": f"EPSG:{code}"} if code else {"proj:code": None, "proj:wkt2": grid.crs.to_wkt()}
    return {**system, "proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform[:6])}


def _asset(file: Path, raster: MapFile, grid: Grid, item: Path) -> dict[str, Any]:
    bands = []
    for number, name in enumerate(raster.bands):
        nodata: float | str = "nan" if np.isnan(raster.nodata) else raster.nodata
        band: dict[str, Any] = {"name": name, "data_type": raster.dtype, "nodata": nodata}
        if raster.unit:
            band["unit"] = raster.unit
        if raster.scale != 1:
            band["raster:scale"] = raster.scale
        tags = raster.band_tags[number] if raster.band_tags else {}
        classes = [
            {
                "value": int(tag.removeprefix("class_")),
                "name": str(label),
                "color_hint": "{:02X}{:02X}{:02X}".format(*raster.colours[int(tag.removeprefix("class_"))]),
            }
            for tag, label in tags.items()
            if tag.startswith("class_")
        ]
        if classes:
            band["classification:classes"] = classes
        bands.append(band)
    href = f"./{file.name}" if file.parent == item.parent else str(file)
    return {"href": href, "type": COG, "roles": ["data"], "bands": bands, **_projection(grid)}


def _outline(grid: Grid) -> list[list[float]]:
    """The footprint in longitude and latitude, counterclockwise, closed."""
    steps = np.linspace(0, 1, POINTS, endpoint=False)
    across, down = steps * grid.width, steps * grid.height
    corners = [
        *((0.0, y) for y in down),
        *((x, float(grid.height)) for x in across),
        *((float(grid.width), grid.height - y) for y in down),
        *((grid.width - x, 0.0) for x in across),
    ]
    places = np.array([grid.place_of(x, y) for x, y in corners])
    lon, lat = transform_places(grid.crs, named_crs("EPSG:4326"), *places.T)
    valid = np.isfinite(lon) & np.isfinite(lat)
    ring = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(lon[valid], lat[valid], strict=True)]
    return [*ring, ring[0]]
