# %% [markdown]
# # 10. Your own data: from a table to a map
#
# You have a folder of images and a table. This chapter goes all the way: a description, a store, a study, and a map of a
# whole scene. The commands are those that you would type in a terminal.
#
# ## What you will learn
#
# - How a table becomes a store: `init` proposes, you decide, `check` finds what is wrong, `pack` reads.
# - How the study of chapter 3 runs on it.
# - How a model maps a whole scene.

# %% [markdown]
# ## The data
#
# Data of your own would lie on your disk. Here we write some: **simulated** valleys of water, forest and fields, seen
# by an optical sensor with three bands and by a radar. Forest and fields look nearly alike to the optical sensor, and
# differ for the radar by 5 decibels. With ben-ge-800 this chapter is not needed:
# `eofuse.open_store("ben-ge-800.store")` opens what was packed.

# %%
import os
import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio
import torch
from rasterio.transform import from_origin

import eofuse

work = Path("course-data") / "ch10"  # everything this chapter writes is in here
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
_ = os.environ.pop("FORCE_COLOR", None)  # commands in a notebook write plain text


# %%
def valley(seed, side):
    """Classes (side, side): 1 water, 2 forest, 3 field; reflectance (3, side, side); decibels (1, side, side)."""
    generator = np.random.default_rng(seed)
    hills = torch.from_numpy(generator.normal(size=(1, 3, side // 8, side // 8)))
    smooth = torch.nn.functional.interpolate(hills, size=(side, side), mode="bicubic")
    cover = smooth[0].argmax(dim=0).numpy() + 1
    reflectance = np.array([[0.05, 0.04, 0.03], [0.04, 0.07, 0.30], [0.05, 0.08, 0.32]])[cover - 1].transpose(2, 0, 1)
    optical = reflectance * generator.normal(1, 0.1, (3, 1, 1)) + generator.normal(0, 0.02, (3, side, side))
    radar = np.array([-20, -8, -13])[cover - 1] + generator.normal(0, 2.5, (side, side))
    return cover.astype("uint8")[None], optical.astype("float32"), radar.astype("float32")[None]


def write(path, values, left, top):
    """Writes a GeoTIFF with pixels of 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32632", "transform": from_origin(left, top, 10, 10)}
    bands, height, width = values.shape
    with rasterio.open(path, "w", "GTiff", width, height, bands, dtype=values.dtype, **place) as file:
        file.write(values)


# %% [markdown]
# Twelve sites with nine patches of 32 × 32 pixels each. The table has a row a patch: its name, its site, and paths.
# Somebody has drawn the land cover of each pixel: these are the labels.

# %%
rows = []
for site in range(12):
    layers = dict(zip(("cover", "optical", "radar"), valley(site, 96), strict=True))
    for number, (row, column) in enumerate(np.ndindex(3, 3)):
        paths = {layer: f"{layer}/{site:02}-{number}.tif" for layer in layers}
        window = np.s_[:, 32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
        for layer, values in layers.items():
            write(work / paths[layer], values[window], 600_000 + 320 * column, 5_000_000 + 3000 * site - 320 * row)
        rows.append({"id": f"{site:02}-{number}", "site": f"site-{site:02}", **paths})
table = pd.DataFrame(rows)
table.to_csv(work / "samples.csv", index=False)
table.head(3)

# %% [markdown]
# ## Describe
#
# `init` looks at the table and the files, and writes a first **spec**: a YAML file that says what the columns are.

# %% language="bash"
# cd course-data/ch10
# eofuse init samples.csv -o first.yaml
# cat first.yaml

# %% [markdown]
# It found the name, the site, and three columns with paths. It can't know what you know: what the bands are, in which
# unit, and that `cover` is a map of classes. So the spec is edited. `scene` is what splits keep together: here the site.

# %%
_ = (work / "samples.yaml").write_text("""\
name: valleys
root: .
table: samples.csv
id: id
scene: site
simulated: true
modalities:
  optical: {kind: raster, files: "{optical}", bands: [green, red, nir], unit: reflectance}
  radar: {kind: raster, files: "{radar}", bands: [VH], unit: dB}
  cover:
    files: "{cover}"
    categories:
      1: {name: water, colour: "#1a5bab"}
      2: {name: forest, colour: "#358221"}
      3: {name: field, colour: "#ffdb5c"}
""")

# %% [markdown]
# ## Check and pack
#
# `check` reads every file and names each problem with its row. `pack` makes the store.

# %% language="bash"
# cd course-data/ch10
# eofuse check samples.yaml -q
# eofuse pack samples.yaml valleys.store -q
# eofuse describe valleys.store

# %%
store = eofuse.open_store(work / "valleys.store")
eofuse.show_grid(store, 6)

# %% [markdown]
# ## One model
#
# The task: the class of each pixel, that is segmentation. A run of a few seconds shows that data and recipe fit
# together. In a terminal it is `eofuse train course-data/ch10/cover.yaml --to course-data/ch10/run`.

# %%
_ = (work / "cover.yaml").write_text("""\
name: cover
data: {store: course-data/ch10/valleys.store}
inputs: [optical]
split: {protocol: scene, fractions: [0.5, 0.2, 0.3]}
task: {target: cover}
fusion: {strategy: single}
train: {steps: 10, batch_size: 8, evaluations: 2, learning_rate: 0.003}
""")

# %%
eofuse.train(work / "cover.yaml", to=work / "run")

# %% [markdown]
# ## A study
#
# Does the radar help? A section `study` asks that: two variants, two seeds, the same sites for testing. Each variant
# has its own inputs and strategy.

# %%
_ = (work / "study.yaml").write_text("""\
name: cover
data: {store: course-data/ch10/valleys.store}
split: {protocol: scene, fractions: [0.5, 0.2, 0.3]}
task: {target: cover}
train: {steps: 40, batch_size: 8, evaluations: 2}
study:
  title: Does the radar help?
  baseline: optical
  seeds: [0, 1]
  search: {learning_rates: [0.003]}
  variants:
    optical: {inputs: [optical], fusion: {strategy: single}}
    optical + radar: {inputs: [optical, radar], fusion: {strategy: early}}
""")

# %% language="bash"
# eofuse study course-data/ch10/study.yaml --to course-data/ch10/study --workers 1 -q

# %%
study = eofuse.open_study(work / "study")
board = study.leaderboard("miou")
board[["variant", "role", "mean", "low", "high", "n_seeds", "n_test", "n_scenes", "difference", "p_holm"]].round(3)

# %% tags=["remove-cell"]
scores = board[board["role"] == "variant"].set_index("variant")
assert scores.loc["optical + radar", "difference"] > 0.05
assert scores.loc["optical + radar", "low"] > scores.loc["optical", "mean"]
pixels = board[board["role"] == "per_pixel"].set_index("variant")["mean"]
assert pixels["per pixel: optical, radar"] > scores.loc["optical", "mean"] + 0.03
assert scores.loc["optical + radar", "mean"] < pixels["per pixel: optical, radar"] + 0.03

# %% [markdown]
# Yes, for these simulated valleys, and for a known reason: we made forest and fields look alike to the optical sensor.
#
# Read the controls, too. *per pixel* is a linear model that sees one pixel at a time. With the radar it beats the
# network that has none, and the network with radar is not better than it: after 40 steps, seeing neighbours has brought
# nothing. Here a second sensor is worth more than a network. Whoever shows networks only, does not notice. The test has
# four sites, and the command says that this is few. `study.report()` gives the path of the report with all pictures.
#
# ## A map
#
# A model is made for places without labels. A new valley, 192 × 192 pixels, which no training has seen:

# %%
truth, optical, radar = valley(100, 192)
write(work / "new" / "optical.tif", optical, 700_000, 5_100_000)
write(work / "new" / "radar.tif", radar, 700_000, 5_100_000)

# %% language="bash"
# cd course-data/ch10
# eofuse map study --layer optical=new/optical.tif --layer radar=new/radar.tif -o maps/valley.tif -q
# ls maps

# %% [markdown]
# The study's best variant by validation mapped the scene, with all its seeds. The map opens in QGIS with names and
# colours. Beside it lies a map of the model's confidence.

# %%
with rasterio.open(work / "maps" / "valley.tif") as file:
    mapped = file.read(1)
with rasterio.open(work / "maps" / "valley.confidence.tif") as file:
    confidence = file.read(1, masked=True)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
colours = plt.matplotlib.colors.ListedColormap(["#1a5bab", "#358221", "#ffdb5c"])
for panel, values, title in zip(axes, (truth[0], mapped), ("truth (nobody has this)", "map"), strict=False):
    panel.imshow(values, cmap=colours, vmin=1, vmax=3, interpolation="nearest")
    panel.set_title(title)
picture = axes[2].imshow(confidence, cmap="viridis", vmin=30, vmax=100)
axes[2].set_title("confidence")
figure.colorbar(picture, label="per cent")
for panel in axes:
    panel.set(xlabel="column (10 m)", ylabel="row (10 m)")
right = (mapped == truth[0]).mean()
print(f"{right:.0%} of the pixels are right")
assert right > 0.8

# %% [markdown]
# How much forest is there? It is tempting to count. [Chapter 12](12_the_map.py) shows why that is wrong, and what to do.
#
# ## What we saw
#
# - A spec says what the columns of a table are. `init` proposes, and you decide what no program can know.
# - Sites are scenes: what lies together stays together in a split.
# - The study answered a question with intervals and controls, and its best variant, chosen on validation, made the map.
#
# ## Exercises
#
# ### Exercise 1: find the mistake
#
# Delete one file, and give a label the code 7. What does `check` say?

# %% tags=["hide-cell"]
broken = work / "broken"
shutil.copytree(work / "cover", broken / "cover")
for name in ("optical", "radar", "samples.csv", "samples.yaml"):
    (broken / name).symlink_to((work / name).resolve())
(broken / "cover" / "03-1.tif").unlink()
write(broken / "cover" / "04-2.tif", np.full((1, 32, 32), 7, dtype="uint8"), 600_640, 5_012_000)
result = subprocess.run(["eofuse", "check", str(broken / "samples.yaml"), "-q"], capture_output=True, text=True)
print((result.stdout + result.stderr).replace(f"{Path.cwd()}/", ""))
assert result.returncode != 0

# %% [markdown]
# ### Exercise 2: without the radar
#
# Map the valley with the other variant (`--variant optical`; in Python, `eofuse.map_scenes` takes `variant`). Which classes
# does it take for each other?

# %% tags=["hide-cell"]
layers = {"optical": str(work / "new" / "optical.tif")}
eofuse.map_scenes(work / "study", output=work / "maps" / "optical.tif", layers=layers, variant="optical")
with rasterio.open(work / "maps" / "optical.tif") as file:
    alone = file.read(1)
names = pd.Series({1: "water", 2: "forest", 3: "field"})
print(
    pd.crosstab(names[truth.ravel()].to_numpy(), names[alone.ravel()].to_numpy(), rownames=["truth"], colnames=["map"])
)
assert (alone == truth[0]).mean() < right
# Forest and field, as planted: to the optical sensor they look nearly alike.

# %% [markdown]
# ## What to read
#
# - G. Wilson et al., *Good enough practices in scientific computing*, 2017: how to keep a folder of data.
# - [Bring a table](../docs/tables.md), [Bring scenes](../docs/scenes.md), [Map a region](../docs/maps.md).
