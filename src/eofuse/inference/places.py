"""Where on the Earth the pixels of a patch lie (`grid_of`)."""

import numpy as np
from rasterio.errors import CRSError

from eofuse.data.reading.grid import Grid, transform_places
from eofuse.data.store import Store, Window, georeference
from eofuse.errors import DataError


def grid_of(store: Store, row: int, window: Window | None = None) -> Grid | None:
    """The pixel grid of a patch, or None if the store does not know where its pixels lie.

    Raises:
        DataError: if the coordinate reference system of the patch is not known.
    """
    try:
        grid = georeference.grid_of(store.index, row)
    except CRSError as error:
        patch = store.index.iloc[row]
        where = f"{store.path}, patch {patch['patch_id']}"
        raise DataError(f"unknown coordinate reference system '{patch['crs']}' ({error})", where=where) from None
    if grid is None or window is None:
        return grid
    return grid.window(window.left, window.top, window.width, window.height)


def unplaced_note(store: Store) -> str:
    """What to say where maps can't be georeferenced, "" if all can."""
    count = int((~georeference.has_grid(store.index)).sum())
    return f"{georeference.unplaced(count, len(store))}: their maps have no georeference" if count else ""


def lon_lat(grid: Grid, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Longitude and latitude (WGS 84) of points given as column and row."""
    places = [grid.place_of(column, row) for column, row in points]
    found = transform_places(grid.crs, georeference.named_crs("EPSG:4326"), *np.array(places).T)
    return list(zip(*(each.tolist() for each in found), strict=True))
