"""A small store that a foundation model takes: two classes of Sentinel-2 spectra, dates, and gaps in Sentinel-1."""

import numpy as np

from eofuse.data.store.write import write_store
from eofuse.modalities import SENTINEL1, SENTINEL2

OPTICAL = SENTINEL2.select(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))
SPECTRUM = np.array([800, 900, 1000, 1500, 2200, 2500, 2400, 2700, 2200, 1400])[:, None, None]


def samples(count=36):
    random = np.random.default_rng(0)
    for number in range(count):
        slope = 1 + (number % 2 - 0.5) * np.linspace(-1, 1, 10)[:, None, None]
        yield {
            "id": f"p{number}",
            "scene": f"s{number // 3}",
            "time": f"2020-{1 + number % 7:02d}-10",
            "lon": 9.0 + number / 10,
            "lat": 47.0 + number % 2,
            "s2": (SPECTRUM * slope + random.normal(0, 300, (10, 8, 8))).clip(1).astype(np.uint16),
            **({"s1": random.normal(-12, 4, (2, 8, 8)).astype(np.float32)} if number % 5 else {}),
            "label": "ab"[number % 2],
        }


def small_store(path):
    return write_store(samples(), (OPTICAL, SENTINEL1), path, name="a")
