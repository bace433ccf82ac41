# %% [markdown]
# # 2. The data: modalities, tasks, leaks
#
# Before a model there is a look at the data: what each sensor shows, what could be learned, and how a test could
# deceive.
#
# ## What you will learn
#
# - What the modalities of ben-ge are, in which units, and how they look.
# - What statistics and maps of a dataset tell before any training.
# - The four kinds of task, and what their labels are as tensors.
# - How a random split leaks scenes, measured as a number.

# %% [markdown]
# ## The data
#
# Again the **simulated** patches of [chapter 1](01_supervised_pipeline.py). With a store of ben-ge-800 on your
# disk, the assignment of `store` becomes `store = eofuse.open_store("ben-ge-800.store")`, and everything below stays.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

import eofuse
from eofuse.errors import UsageError

work = Path("course-data")  # everything this chapter writes is in here
store = eofuse.pack(eofuse.simulate(work / "ben-ge", patches=480, scenes=96, seed=1), work / "ben-ge.store")
print(len(store), "simulated patches:", ", ".join(store.modalities))

# %% [markdown]
# ## One patch, all modalities
#
# A **modality** is one kind of data about a place: what a sensor measured, a map, a number. ben-ge has seven of them
# for each patch. They are *co-registered*: pixel (60, 60) of the radar and of the optical image are the same square of
# ground.

# %%
counts = store.index[["worldcover_fraction.tree_cover", "worldcover_fraction.cropland"]]
mixed = counts.min(axis=1).idxmax()  # the patch with most of both
eofuse.show_patch(store, store.index["patch_id"][mixed])

# %%
rows = []
for name, modality in store.modalities.items():
    units = sorted({channel.unit or "none" for channel in modality.channels})
    shape = store[0][name].shape
    rows.append({"modality": name, "kind": str(modality.kind), "shape": shape, "units": ", ".join(units)})
pd.DataFrame(rows)

# %% [markdown]
# - **Sentinel-2** measures reflected sunlight in twelve bands, from blue to short-wave infrared. It sees what plants
#   and soils look like, but no ground below clouds.
# - **Sentinel-1** sends microwaves and measures what comes back, in decibels. It sees roughness, moisture and
#   buildings, day and night, through clouds.
# - **Elevation** in metres, and **land cover** from ESA WorldCover, a class a pixel.
# - **Weather** and **season** are numbers for the whole patch, and **climate zone** is a class for the whole patch.
#
# ## Statistics
#
# `describe_store` counts and measures the dataset. Values are in physical units. Look for what can't be: reflectance
# far above 1, heights below the sea.

# %%
description = eofuse.describe_store(store)
channels = description.channels
channels.drop(columns="empty").round(3)

# %% [markdown]
# Nothing here is wrong: reflectance above 1 is cloud, −1 m is a plain at sea level, and backscatter far above 0 dB is a
# building that mirrors the beam. Modalities have scales of their own: decibels around −13, metres around 350,
# reflectance around 0.2. That is why each channel is standardised before a network sees it. Bands of one sensor
# resemble each other, too. How much?

# %%
sample = store.read("s2", range(0, len(store), 4))[:, :, ::10, ::10].astype(float)
correlation = np.corrcoef(sample.swapaxes(0, 1).reshape(12, -1))
names = store.modality("s2").channel_names
figure, axes = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
picture = axes.imshow(correlation, vmin=0, vmax=1)
axes.set_xticks(range(12), names, rotation=90)
axes.set_yticks(range(12), names)
figure.colorbar(picture, label="correlation")
blue, red, infrared = (names.index(name) for name in ("B02", "B04", "B08"))
assert correlation[blue, red] > 0.8 > correlation[red, infrared] > 0

# %% [markdown]
# Visible bands say nearly the same. The step from red (B04) to near infrared (B08) says something new: there green
# leaves are bright.
#
# ## Classes
#
# Some classes are rare, and some come from few scenes. A class of two scenes can't be learned *and* tested on other
# scenes.

# %%
classes = description.classes
zones = classes[classes["target"] == "climate_zone"].sort_values("patches")
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.barh(zones["class"], zones["patches"])
for row, (patches, scenes) in enumerate(zip(zones["patches"], zones["scenes"], strict=True)):
    axes.text(patches + 2, row, f"{scenes} scenes", va="center")
axes.set(xlabel="patches", xlim=(0, zones["patches"].max() * 1.2))
assert zones["patches"].max() > 5 * zones["patches"].min()  # unbalanced

# %% [markdown]
# With such shares, a model that always says the commonest zone is right for a quarter of the patches. Accuracy rewards
# that, **macro F1**, the mean of the F1 scores of the classes, does not. eofuse ranks by macro F1 unless told
# otherwise.
#
# ## Maps
#
# Where are the patches? A dot is a patch; the colour is its climate zone.

# %%
index = store.index
zone = store.modality("climate_zone").categories
colours = {category.code: category.colour for category in zone}
figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
for category in zone:
    here = index[index["climate_zone.climatezone"] == category.code]
    if len(here):
        axes.scatter(
            here["lon"], here["lat"], s=14, c=category.colour, edgecolors="k", linewidths=0.3, label=category.name
        )
axes.set(xlabel="degrees east", ylabel="degrees north", title=f"{len(store)} patches")
_ = figure.legend(loc="outside right upper")

# %% [markdown]
# Patches lie in a few regions, and within them in **scenes**: images that were taken at one moment, and from which several
# patches were cut.

# %%
scenes = index.groupby("scene").agg(
    patches=("patch_id", "size"),
    seasons=("season.season_s2", "nunique"),
    longitudes=("lon", np.ptp),
)
print(f"{len(scenes)} scenes of {scenes['patches'].median():.0f} patches (median)")
print("different values of season within a scene:", scenes["seasons"].max())
assert scenes["seasons"].max() == 1

# %% [markdown]
# ## Leaks
#
# Season is one number that follows from the date. Can it tell the climate zone? In nature it can't: every zone has
# every season. Let the simplest model try, the nearest neighbour: it looks up the training patch with the most similar
# season and repeats its zone.


# %%
from sklearn.neighbors import KNeighborsClassifier


def season_tells_zone(protocol, seed):
    """Accuracy of the nearest neighbour in season, share of the commonest zone, test patches."""
    split = {"protocol": protocol, "split_seed": seed}
    options = {"inputs": ["season"], "target": "climate_zone", "split": split}
    train, test = (next(iter(store.dataset(part=part, **options).loader(len(store)))) for part in ("train", "test"))
    neighbour = KNeighborsClassifier(1).fit(train["season"], train["target"])
    accuracy = neighbour.score(test["season"], test["target"])
    return accuracy, test["target"].bincount().max().item() / len(test["target"]), len(test["target"])


# %%
rows = [(protocol, seed, *season_tells_zone(protocol, seed)) for protocol in ("random", "scene") for seed in range(3)]
leak = pd.DataFrame(rows, columns=["split", "seed", "accuracy", "commonest zone", "test patches"])
leak.round(2)

# %% tags=["remove-cell"]
means = leak.groupby("split")["accuracy"].mean()
assert means["random"] > 0.7
assert means["scene"] < 0.35

# %% [markdown]
# With a random split the nearest neighbour is right for most test patches. It did not learn climate. It recognised the
# *scene*: each test patch has sisters of the same minute among the training patches. When whole scenes are kept
# together, nothing remains. It is even worse than the commonest zone, as it should be for a number that tells nothing.
#
# So a random split would reward a network for learning scenes by heart: their date, haze, light and neighbours.
# `describe_store` counts for each way of splitting which test patches share a scene with training patches, or lie next
# to one:

# %%
table = {name: (each.test_patches, each.sharing_scene, each.adjacent) for name, each in description.leakage.items()}
pd.DataFrame(table, index=["test patches", "sharing a scene", "adjacent"]).T

# %% [markdown]
# The default of eofuse is `scene`. `blocks` keeps places together, which suits repeated images of one place. The
# dataset's published lists are random by patch, and leak. So is the split of the tutorial from which [this
# course](../docs/course.md) grew.
#
# ## The four kinds of task
#
# A target is what is predicted. Any modality can be one, and so can what follows from it. As a tensor, a label is

# %%
targets = {
    "classification": "climate_zone",  # one class a patch
    "several classes": "land_cover_above",  # any number of classes a patch
    "regression": "mean_elevation",  # a number a patch
    "segmentation": "worldcover",  # a class a pixel
    "detection": {"target": "regions", "classes": ["permanent_water_bodies"], "smallest": 40},  # boxes
}
batches = {}
for kind, target in targets.items():
    dataset = store.dataset(inputs=["s2"], target=target, part="train")
    batches[kind] = next(iter(dataset.loader(batch_size=16)))
    print(f"{kind:16} {len(dataset.classes):2} names, labels of 16 patches: {tuple(batches[kind]['target'].shape)}")

# %% [markdown]
# Four kinds: **classification** (one class, or several), **regression**, **segmentation** and **object detection**. The
# first two say something about a patch, the third about each pixel, the last where things are. Several classes are a row
# of zeros and ones, one for each class. A box is five numbers: left, top, right, bottom in pixels, and the number of its
# class. Patches with fewer boxes than others are filled up with boxes of class −1; `smallest` leaves out what has fewer
# pixels. Labels of pixels are the most expensive to make, and boxes come next.

# %%
boxed = batches["detection"]
number = int(np.argmax([(boxes[:, 4] >= 0).sum() for boxes in boxed["target"]]))  # the patch with the most boxes
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
red, green, blue = (names.index(name) for name in ("B04", "B03", "B02"))
left.imshow((boxed["s2"][number][[red, green, blue]].float().permute(1, 2, 0) / 1500).clamp(0, 1))
for x0, y0, x1, y1, label in boxed["target"][number].tolist():
    if label >= 0:  # the others fill up the tensor
        left.add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="yellow", linewidth=2))
left.set_title("Sentinel-2 and boxes of water")
palette = ListedColormap([category.colour for category in store.modality("worldcover").categories])
right.imshow(
    batches["segmentation"]["target"][number], cmap=palette, vmin=0, vmax=palette.N - 1, interpolation="nearest"
)
right.set_title("Classes of the pixels")
for axes in (left, right):
    axes.set(xlabel="column (10 m)", ylabel="row (10 m)")

# %% [markdown]
# ## What may be an input?
#
# Land cover shares follow from the land cover map. A model that gets the map as input and predicts the shares would be
# perfect and useless. eofuse refuses it:

# %%
recipe = {
    "data": {"store": str(store.path), "crop": 32},
    "inputs": ["s2", "worldcover"],
    "task": {"target": "land_cover_fractions"},
    "train": {"steps": 1},
}
try:
    eofuse.train(recipe, to=work / "ch02")
except UsageError as error:
    print(error)

# %% [markdown]
# ## What we saw
#
# - Seven modalities with different units, sizes and knowledge; bands of one sensor overlap much in what they say.
# - Classes are unbalanced and come in scenes. Patches of a scene share date, weather and place.
# - A number that says nothing of climate "predicts" climate under a random split. Kept apart by scenes, it does not.
# - A target decides the kind of task, and must not follow from an input.
#
# ## Exercises
#
# ### Exercise 1: weather
#
# Repeat the nearest neighbour with *weather* in place of season. In nature weather tells something of climate. How much
# of the accuracy under a random split is leak? (Standardise the columns, which have different units.)

# %% tags=["hide-cell"]
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

for protocol in ("random", "scene"):
    options = {"inputs": ["weather"], "target": "climate_zone", "split": {"protocol": protocol}}
    train, test = (next(iter(store.dataset(part=part, **options).loader(len(store)))) for part in ("train", "test"))
    neighbour = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(train["weather"], train["target"])
    print(protocol, round(neighbour.score(test["weather"], test["target"]), 2))
# The difference of the two is the leak: most of it. With scenes apart, the nearest neighbour is below the commonest zone of
# this split (0.32, the table above): from so few scenes, it does not find what weather tells of climate.

# %% [markdown]
# ### Exercise 2: can pixels leak, too?
#
# Use the mean of each Sentinel-2 band over the patch. Is the leak smaller than that of season? Why?

# %% tags=["hide-cell"]
for protocol in ("random", "scene"):
    options = {"inputs": ["s2"], "target": "climate_zone", "split": {"protocol": protocol}}
    train, test = (next(iter(store.dataset(part=part, **options).loader(len(store)))) for part in ("train", "test"))
    neighbour = make_pipeline(StandardScaler(), KNeighborsClassifier(1))
    neighbour.fit(train["s2"].float().mean(dim=(2, 3)), train["target"])
    print(protocol, round(neighbour.score(test["s2"].float().mean(dim=(2, 3)), test["target"]), 2))
# Smaller, not zero: patches of a scene have different ground but one light and one haze.
# A deep network finds more of that than a mean does.

# %% [markdown]
# ### Exercise 3: a page for your data
#
# `eofuse.data_card(store, path)` writes a page about a store: maps, histograms, and what to fix first. Write it and
# read its first chapter.

# %% tags=["hide-cell"]
page = eofuse.data_card(store, work / "ch02-card.html")
print("written:", page.name)
# Nothing has to be fixed. Three things are to be looked at: classes that the test lacks, that the validation lacks, and that are rare.

# %% [markdown]
# ## What to read
#
# - M. Mommert et al., *ben-ge: extending BigEarthNet with geographical and environmental data*, 2023: the dataset.
# - D. R. Roberts et al., *Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
#   structure*, 2017.
# - S. Kapoor, A. Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*, 2023.
# - [Data and stores](../docs/data.md), and the splits in [Recipes](../docs/recipes.md#split).
