"""A small class map with known truth: files as `eofuse map` writes them, and labels of any points."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.transform import Affine, from_origin

NAMES = {1: "water", 3: "open_forest", 4: "crops"}
SHARES = (0.6, 0.3, 0.1)
UTM = from_origin(500_000, 5_000_000, 10, 10)


@dataclass
class FakeMap:
    """A map and what is true on its ground, as codes (height, width); 255 where there is no class."""

    path: Path
    mapped: np.ndarray
    truth: np.ndarray
    transform: Affine

    def label(self, points: Path, column: str = "class", keep=lambda name: True) -> Path:
        """Writes the true names into a GeoJSON of points, as a labeller would."""
        design = json.loads(points.with_name(f"{points.stem}.design.json").read_text())
        true = {each["id"]: NAMES[int(self.truth[each["row"], each["column"]])] for each in design["points"]}
        content = json.loads(points.read_text())
        for feature in content["features"]:
            name = feature["properties"]["id"]
            feature["properties"][column] = true[name] if keep(name) else None
        points.write_text(json.dumps(content))
        return points


def write_map(
    folder: Path,
    size: tuple[int, int] = (90, 80),
    *,
    crs: str | None = "EPSG:32633",
    transform: Affine = UTM,
    accuracy: float = 0.85,
    tags: dict[str, str] | None = None,
    beside: bool = True,
    seed: int = 0,
) -> FakeMap:
    """Writes `map.tif`, and with `beside` its confidence and probabilities, which know where the map is likely to be wrong."""
    random = np.random.default_rng(seed)
    codes = np.array(list(NAMES), dtype=np.uint8)
    truth = codes[random.choice(len(codes), size, p=SHARES)]
    right = random.beta(8 * accuracy, 8 * (1 - accuracy), size)
    others = random.choice(codes, size)
    mapped = np.where(random.random(size) < right, truth, others).astype(np.uint8)
    mapped[:4] = truth[:4] = 255
    path = folder / "map.tif"
    profile = {"driver": "GTiff", "height": size[0], "width": size[1], "crs": crs, "transform": transform}
    with rasterio.open(path, "w", count=1, dtype="uint8", nodata=255, **profile) as file:
        file.write(mapped, 1)
        file.update_tags(
            eofuse_map="class", target="land_cover", **({"learned_from": "unknown"} if tags is None else tags)
        )
        file.update_tags(1, **{f"class_{code}": name for code, name in NAMES.items()})
    if beside:
        valid = mapped != 255
        with rasterio.open(folder / "map.confidence.tif", "w", count=1, dtype="uint8", nodata=255, **profile) as file:
            file.write(np.where(valid, np.round(100 * right), 255).astype(np.uint8), 1)
        probabilities = np.stack([np.where(mapped == code, right, (1 - right) / 2) for code in codes])
        stored = np.where(valid, np.round(1e4 * probabilities), 65535).astype(np.uint16)
        with rasterio.open(
            folder / "map.probabilities.tif", "w", count=3, dtype="uint16", nodata=65535, **profile
        ) as file:
            file.write(stored)
            file.scales = (1e-4,) * 3
            for number, code in enumerate(codes.tolist(), start=1):
                file.update_tags(number, code=str(code))
    return FakeMap(path, mapped, truth, transform)


def write_learned(folder: Path, boxes: list[tuple[float, float, float, float]], crs: str = "EPSG:32633") -> Path:
    """Writes `map.learned.gpkg` with boxes of west, south, east and north."""
    path = folder / "map.learned.gpkg"
    shapes = np.array(shapely.to_wkb(shapely.box(*np.array(boxes).T)), dtype=object)
    pyogrio.raw.write(path, shapes, [], [], driver="GPKG", geometry_type="Polygon", crs=crs)
    return path
