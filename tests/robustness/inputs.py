"""Small inputs of the commands, made by the commands themselves when one is needed first: `made(world, "a.store")`."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import World
from .commands import eofuse, survivors

DATA = """
data: {store: MADE/a.store, crop: 16}
split: {protocol: random, fractions: [0.5, 0.2, 0.3]}
"""
TEXTS = {
    "run.yaml": f"""
name: run
{DATA}
inputs: [s1, s2]
task: {{target: dominant_land_cover}}
fusion: {{strategy: late, encoder: test_resnet}}
labels: {{amount: 0.3}}
train: {{steps: 6, batch_size: 4, evaluations: 3}}
""",
    "maps.yaml": f"""
name: maps
{DATA}
inputs: [s2]
task: {{target: worldcover}}
fusion: {{strategy: single, encoder: test_resnet}}
train: {{steps: 2, batch_size: 4, evaluations: 1}}
""",
    "pretraining.yaml": f"""
name: pretraining
{DATA}
inputs: [s1, s2]
pretrain: {{method: cross_modal, monitor: dominant_land_cover}}
fusion: {{strategy: late, encoder: test_resnet}}
train: {{steps: 4, batch_size: 4, evaluations: 2}}
""",
    "study.yaml": f"""
name: study
{DATA}
task: {{target: dominant_land_cover}}
fusion: {{encoder: test_resnet}}
train: {{steps: 2, batch_size: 4, evaluations: 1}}
study:
  baseline: optical
  seeds: [0]
  replicates: 100
  controls: false
  search: {{learning_rates: [0.001]}}
  variants:
    optical: {{inputs: [s2], fusion: {{strategy: single}}}}
    radar: {{inputs: [s1], fusion: {{strategy: single}}}}
""",
    "scenes.yaml": """
name: scenes
root: MADE/a
modalities:
  elevation: {files: "dem/{scene}_dem.tif"}
  land_cover: {files: "esaworldcover/{scene}_esaworldcover.tif"}
""",
    "map.yaml": """
name: map
root: MADE/b
modalities:
  s2: {files: "sentinel-2/{scene}/{scene}_{band}.tif"}
""",
    "table/plots.csv": "plot,lon,lat,biomass\n"
    + "".join(f"p{n},{8 + n / 50},47.{n:02d},{n * 3.7:.1f}\n" for n in range(40)),
}
"""File → content; MADE stands for the folder of all inputs."""

ONE = ["--workers", "1"]
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "a": ([], ["simulate", "a", "--patches", "20", "--scenes", "4", "--seed", "1", *ONE]),
    "b": ([], ["simulate", "b", "--patches", "6", "--scenes", "2", "--seed", "2", *ONE]),
    "a.store": (["a"], ["pack", "a", "a.store", *ONE]),
    "b.store": (["b"], ["pack", "b", "b.store", *ONE]),
    "run": (["run.yaml"], ["train", "run.yaml", "--to", "run"]),
    "maps": (["maps.yaml"], ["train", "maps.yaml", "--to", "maps"]),
    "pretraining": (["pretraining.yaml"], ["pretrain", "pretraining.yaml", "--to", "pretraining"]),
    "study": (["study.yaml"], ["study", "study.yaml", "--to", "study", *ONE]),
}
"""Input → those that it needs, and the command that makes it."""


def made(world: World, name: str) -> Path:
    """The path of an input, which is made the first time."""
    folder = world.root / "made"
    if name in TEXTS:
        for other in re.findall(r"MADE/([\w.]+)", TEXTS[name]):
            made(world, other)
        return world.made(name, lambda path: write(path, TEXTS[name].replace("MADE", str(folder))))
    needed, argv = COMMANDS[name]
    for other in needed:
        made(world, other)
    return world.made(name, lambda path: _run(argv, path))


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def raster(
    path: Path, values: Any, place: tuple[float, float, float], crs: str | None = "EPSG:32633", **options: Any
) -> None:
    import rasterio
    from affine import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    left, top, pixel = place
    profile = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "crs": crs,
        "transform": Affine(pixel, 0, left, 0, -pixel, top),
    }
    profile |= {"count": len(values), "height": values.shape[1], "width": values.shape[2], **options}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)


def _run(argv: Sequence[str], path: Path) -> None:
    """Runs a command beside the path that it makes."""
    ended = eofuse(argv, path.parent, limit_s=300)
    if ended.status != 0 or survivors():
        shutil.rmtree(path, ignore_errors=True)
        raise AssertionError(f"{' '.join(argv)}: {ended.status}\n{ended.output}\n{ended.error}")
