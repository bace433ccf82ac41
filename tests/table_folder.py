"""A small table with rasters beside it, for tests of the table source."""

import numpy as np
import pandas as pd
import rasterio
import yaml
from affine import Affine

from eofuse.data.sources.table.source import open_table_spec


class TableFolder:
    """A folder with a table `samples.csv`, files `optical/<id>.tif` of three bands, and the spec of them."""

    def __init__(self, path, rows=6):
        self.path = path
        names = [f"p{number}" for number in range(rows)]
        self.table = pd.DataFrame(
            {
                "id": names,
                "site": [f"site_{number // 2}" for number in range(rows)],
                "split": (["train", "val", "test"] * rows)[:rows],
                "lon": 8.0 + np.arange(rows) / 10,
                "lat": 47.0,
                "temperature": np.arange(rows) + 0.5,
                "rain": np.arange(rows) * 2.0,
                "soil": (["clay", "sand"] * rows)[:rows],
                "ndvi_t0": 0.1,
                "ndvi_t1": 0.2,
                "ndvi_t2": 0.3,
                "label": (["a", "b"] * rows)[:rows],
            }
        )
        self.spec = {
            "name": "mine",
            "table": "samples.csv",
            "id": "id",
            "scene": "site",
            "split": "split",
            "lon": "lon",
            "lat": "lat",
            "labels": {"label": "class"},
            "modalities": {
                "optical": {
                    "kind": "raster",
                    "files": "optical/{id}.tif",
                    "bands": ["red", "green", "blue"],
                    "dtype": "uint16",
                }
            },
        }
        for number, name in enumerate(names):
            self.write(f"optical/{name}.tif", np.full((3, 8, 8), 100 * (number + 1), np.uint16))

    def write(self, path, values, *, pixel=10.0, corner=(500000.0, 5200000.0), crs="EPSG:32632", **profile):
        """Writes a GeoTIFF of (bands, height, width)."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        size = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
        place = {} if crs is None else {"crs": crs, "transform": Affine(pixel, 0, corner[0], 0, -pixel, corner[1])}
        with rasterio.open(file, "w", driver="GTiff", **size, **place, **profile) as dataset:
            dataset.write(values)

    def only(self, **modalities):
        """Sets the modalities."""
        self.spec["modalities"] = modalities
        return self

    def save(self):
        """Writes table and spec; gives the path of the spec."""
        self.table.to_csv(self.path / "samples.csv", index=False)
        spec = self.path / "spec.yaml"
        spec.write_text(yaml.safe_dump(self.spec, sort_keys=False))
        return spec

    def open(self, *overrides):
        return open_table_spec(self.save(), overrides)
