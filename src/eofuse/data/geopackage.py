"""Shapes written as a GeoPackage (`write_geopackage`); the same shapes give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from shapely import to_wkb
from shapely.geometry.base import BaseGeometry

from eofuse.data.reading.grid import Grid
from eofuse.data.store.georeference import crs_name
from eofuse.files import replacing

WRITTEN = "2000-01-01T00:00:00Z"
"""Date that GeoPackages bear."""


def write_geopackage(
    path: Path, layer: str, geometries: Sequence[BaseGeometry], columns: Mapping[str, Any], grid: Grid, kind: str
) -> None:
    """Writes shapes, made in memory: GDAL hides why it can't write.

    Args:
        path: of the file.
        layer: name of the layer.
        geometries: in the reference system of the grid.
        columns: arrow arrays with a value for each, by name.
        grid: of the map.
        kind: of the geometries, `Point` or `Polygon`.
    """
    table = pa.table({"geometry": pa.array(to_wkb(np.array(geometries, dtype=object)), pa.binary()), **columns})
    written = io.BytesIO()
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": WRITTEN})
    try:
        pyogrio.write_arrow(
            table,
            written,
            layer=layer,
            driver="GPKG",
            geometry_name="geometry",
            geometry_type=kind,
            crs=crs_name(grid.crs),
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
    with replacing(path) as temporary:
        temporary.write_bytes(written.getbuffer())
