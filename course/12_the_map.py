# %% [markdown]
# # 12. The map: what it shows, and what it measures
#
# A map is a prediction for every pixel of a scene. It looks like a measurement. This chapter makes one, looks at how
# sure the model is and where it is wrong, and then asks the question for which most maps are made: *how many hectares?*
#
# ## What you will learn
#
# - How a model maps a whole scene, and what its confidence and the disagreement of its seeds show.
# - Why counting pixels gives the wrong area, and by how much here.
# - How a probability sample of labelled points gives areas with intervals: by hand, then by eofuse.
# - What the map adds to the points, and what neither of them can tell.

# %% [markdown]
# ## The data
#
# The truth should be known everywhere, so this chapter plants it: **simulated** land of forest, field and marsh, which
# proves nothing about the Earth. Marsh is what somebody wants to protect, so the training sites were chosen where there
# is much of it. That is how most training data come about.

# %%
import json
import os
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio
import torch
from matplotlib.colors import ListedColormap
from rasterio.transform import from_origin

import eofuse
from eofuse.errors import EofuseError
from eofuse.modalities import Category, Channel, Kind, Modality

work = Path("course-data/ch12")  # everything this chapter writes is in here
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
torch.set_num_threads(1)
_ = os.environ.pop("FORCE_COLOR", None)  # commands in a notebook write plain text

# %%
NAMES = {1: "forest", 2: "field", 3: "marsh", 4: "quarry"}
COLOURS = {1: "#358221", 2: "#ffdb5c", 3: "#1a5bab", 4: "#a0522d"}
REFLECTANCE = np.array([[0.04, 0.30], [0.08, 0.33], [0.05, 0.24], [0.20, 0.27]])  # red and near infrared of each class


def hills(random, height, width):
    """Smooth random heights, (height, width)."""
    rough = torch.from_numpy(random.normal(size=(1, 1, height // 12 + 2, width // 12 + 2)))
    return torch.nn.functional.interpolate(rough, size=(height, width), mode="bicubic")[0, 0].numpy()


def land(seed, height, width, marsh):
    """Classes (height, width), of which `marsh` is the share of marsh; reflectance (2, height, width)."""
    random = np.random.default_rng(seed)
    wet, tilled = hills(random, height, width), hills(random, height, width)
    cover = np.where(tilled > np.quantile(tilled, 0.6), 2, 1)
    cover[wet > np.quantile(wet, 1 - marsh)] = 3
    return cover.astype("uint8"), see(cover, random)


def see(cover, random):
    """What the sensor sees of the classes: reflectance with the variety of each pixel, and noise of the whole place."""
    pixels = REFLECTANCE[cover - 1].transpose(2, 0, 1) + random.normal(0, 0.03, (2, *cover.shape))
    return (pixels * random.normal(1, 0.04, (2, 1, 1))).astype("float32")


# %%
camera = Modality("camera", Kind.RASTER, (Channel("red", unit="reflectance"), Channel("nir", unit="reflectance")))
known = tuple(Category(code, NAMES[code], COLOURS[code]) for code in (1, 2, 3))  # nobody labelled a quarry
labels = Modality("cover", Kind.RASTER, (Channel("cover"),), dtype="uint8", nodata=0, categories=known)


def patches(sites=16):
    """Nine patches of 32 × 32 pixels a site; a third of the ground is marsh."""
    for site in range(sites):
        classes, reflectance = land(site, 96, 96, marsh=0.33)
        for number, (row, column) in enumerate(np.ndindex(3, 3)):
            window = np.s_[32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
            yield {
                "id": f"{site}-{number}",
                "scene": f"site-{site}",
                "transform": (10, 0, 500_000 + 320 * column, 0, -10, 5_000_000 + 5_000 * site - 320 * row),
                "crs": "EPSG:32633",
                "camera": reflectance[:, *window],
                "cover": classes[None, *window],
            }


store = eofuse.write_store(patches(), [camera, labels], work / "sites.store", name="sites", simulated=True)
eofuse.show_grid(store, 4)

# %% [markdown]
# ## Three models
#
# A study of one variant and three seeds: three models that learned the same patches from other starts. On test sites,
# which are like the training sites, they do well.

# %%
recipe = {
    "name": "cover",
    "data": {"store": str(store.path)},
    "inputs": ["camera"],
    "split": {"protocol": "scene", "fractions": [0.5, 0.2, 0.3]},
    "task": {"target": "cover", "metric": "accuracy"},
    "fusion": {"strategy": "single"},
    "train": {"steps": 50, "batch_size": 16, "evaluations": 3},
    "study": {
        "baseline": "camera",
        "seeds": [0, 1, 2],
        "controls": False,
        "search": {"learning_rates": [0.003]},
        "variants": {"camera": {}},
    },
}
study = eofuse.study(recipe, to=work / "study", workers=1)
board = study.leaderboard("accuracy")
board[["variant", "role", "mean", "seed_sd", "low", "high", "n_test", "n_scenes"]].round(3)

# %% [markdown]
# ## The scene
#
# A new scene, 240 × 360 pixels of 10 m. Marsh is rare here: one pixel in sixteen. And there is something that no label
# knows: a quarry.

# %%
truth, reflectance = land(100, 240, 360, marsh=1 / 16)
truth[150:190, 40:100] = 4
reflectance = see(truth, np.random.default_rng(101))
place = {"crs": "EPSG:32633", "transform": from_origin(400_000, 5_300_000, 10, 10)}
with rasterio.open(work / "scene.tif", "w", "GTiff", 360, 240, 2, dtype="float32", **place) as file:
    file.write(reflectance)
    file.descriptions = ("red", "nir")

# %% language="bash"
# cd course-data/ch12
# eofuse map study --layer camera=scene.tif -o maps/scene.tif --probabilities --uncertainty -q
# ls maps


# %%
def read(name, band=1):
    """A band of one of the files."""
    with rasterio.open(work / "maps" / name) as file:
        return file.read(band)


mapped, confidence = read("scene.tif"), read("scene.confidence.tif")
entropy, disagreement = read("scene.uncertainty.tif"), read("scene.uncertainty.tif", 2)
right = mapped == truth
figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.6), layout="constrained")
legend = ListedColormap([COLOURS[code] for code in NAMES])
for panel, values, title in zip(axes[0], (truth, mapped), ("truth (nobody has this)", "map"), strict=True):
    classes = panel.imshow(values, cmap=legend, vmin=0.5, vmax=4.5, interpolation="nearest")
    panel.set_title(title)
figure.colorbar(classes, ax=axes[0], ticks=list(NAMES)).ax.set_yticklabels(NAMES.values())
for panel, values, title in zip(axes[1], (confidence, disagreement), ("confidence", "disagreement"), strict=True):
    picture = panel.imshow(values, cmap="viridis")
    panel.set_title(title)
    figure.colorbar(picture, ax=panel, label="per cent")
for panel in axes.flat:
    panel.set(xticks=[], yticks=[])
print(f"{right.mean():.0%} of the pixels are right")

# %% [markdown]
# **Confidence** is the probability of the class, the mean of three models. **Disagreement** is what they have apart: each
# may be sure, and each of something else. (It is the mutual information between model and class, in per cent of the
# largest possible.) Both mark the borders of the classes, where single pixels of both sides look alike. Now the quarry:

# %%
quarry = truth == 4
where = {"right": right, "wrong": ~right & ~quarry, "quarry": quarry}
seen = pd.DataFrame(
    {name: [confidence[here].mean(), disagreement[here].mean(), here.sum()] for name, here in where.items()},
    index=["confidence (%)", "disagreement (%)", "pixels"],
).T
seen.round(0)

# %% tags=["remove-cell"]
assert right.mean() > 0.85
assert seen.loc["quarry", "disagreement (%)"] > 1.2 * seen.loc["wrong", "disagreement (%)"]
assert seen.loc["quarry", "confidence (%)"] > seen.loc["wrong", "confidence (%)"] - 10

# %% [markdown]
# The map says *field* there, and now and then *marsh*: a model can only say what it learned to say. Every pixel of the
# quarry is wrong, and the confidence is no lower than where the map is wrong elsewhere. The three models, which agree on
# what they were taught, disagree here. So look at the disagreement before you believe a map. But it is a hint, no alarm
# that always rings: when we trained with batches of 8 in place of 16, the same three seeds were 84 % sure of the quarry,
# and disagreed by 15 %, hardly more than where they are wrong elsewhere.
#
# ## How many hectares?
#
# A pixel is a hundredth of a hectare here. Counting is one line:

# %%
pixels = pd.DataFrame({name: [(mapped == code).sum(), (truth == code).sum()] for code, name in NAMES.items()}).T / 100
pixels.columns = ["counted_ha", "true_ha"]
pixels["off"] = (pixels["counted_ha"] / pixels["true_ha"] - 1).map("{:+.0%}".format)
pixels.round(1)

# %% tags=["remove-cell"]
assert pixels.loc["marsh", "counted_ha"] > 1.05 * pixels.loc["marsh", "true_ha"]
assert pixels.loc["field", "counted_ha"] > 1.03 * pixels.loc["field", "true_ha"]

# %% [markdown]
# Nine of ten pixels are right, and there is too much marsh. Errors would have to cancel, and nothing makes them do so: a
# rare class loses few pixels to the common ones and gains many from them. The training sites, a third of them marsh,
# push the same way. And no better validation would have told, since the validation sites are like the training sites.
#
# The count has no interval, either. More pixels would not help: its error is no chance that averages out.
#
# ## A sample, by hand
#
# What is valid is a **probability sample**: pixels drawn at random by a known rule, and labelled by somebody who looks
# at better imagery or at the ground. The map is not wasted: it says where to draw. Its classes are **strata**. Each gets
# some of the points, so that the rare class is seen, too. `eofuse sample maps/scene.tif -n 200 -o points.csv` is, from
# Python:

# %%
drawn = eofuse.sample_map(work / "maps/scene.tif", work / "points.csv", n=200)
drawn.strata.round(2)

# %%
pd.read_csv(work / "points.csv").head(3)

# %% [markdown]
# The labeller gets places and an empty column, and not what the map says: whoever knows it tends to agree with it. What
# the map says, and the chance with which each point was drawn, lie in `points.design.json`. Here the truth is known, and
# does the labeller's work. A real one also finds what the map does not know, such as the quarry.


# %%
def label(name):
    """Labels the points of a sample; returns them with their strata."""
    points = pd.read_csv(work / f"{name}.csv")
    design = json.loads((work / f"{name}.design.json").read_text())
    at = pd.DataFrame(design["points"]).set_index("id").loc[points["id"]]
    points["class"] = [NAMES[code] for code in truth[at["row"], at["column"]]]
    points.to_csv(work / f"{name}.csv", index=False)
    return points.assign(stratum=at["stratum"].to_numpy())


points = label("points")
pd.crosstab(points["stratum"], points["class"])

# %% [markdown]
# Read a row: of the points that are marsh on the map, so many are forest. In each stratum, the **share** of a class
# among its points estimates its share of the stratum's area. The areas of the strata are known exactly: there the map's
# pixels may be counted. So the area of a class is the sum of share × area over the strata, and its variance is that of
# the shares.


# %%
def by_hand(points, hectares):
    """Area of each class and its standard error; `hectares` of each stratum."""
    area, variance = pd.Series(0.0, NAMES.values()), pd.Series(0.0, NAMES.values())
    for stratum, labelled in points.groupby("stratum"):
        share = labelled["class"].value_counts(normalize=True).reindex(list(NAMES.values()), fill_value=0)
        area += hectares[stratum] * share
        variance += hectares[stratum] ** 2 * share * (1 - share) / (len(labelled) - 1)
    return pd.DataFrame({"area_ha": area, "error_ha": np.sqrt(variance)})


own = by_hand(points, drawn.strata.set_index("name")["hectares"])
own.round(1)

# %% [markdown]
# That is the estimator of Olofsson et al. (2014), in seven lines. `eofuse area maps/scene.tif points.csv` does the same,
# and adds what is tedious by hand: intervals that hold where errors are rare, accuracies, a report.

# %%
found = eofuse.estimate_area(work / "maps/scene.tif", work / "points.csv", classes=NAMES)
table = found.classes.set_index("class")
assert np.allclose(table["area_ha"], own["area_ha"], rtol=0.01)
assert np.allclose(table["area_error_ha"], own["error_ha"], rtol=0.05)
table[["mapped_ha", "area_ha", "area_low_ha", "area_high_ha", "points"]].assign(true_ha=pixels["true_ha"]).round(1)

# %% [markdown]
# The quarry has an area, although the map has no such class: the labels decide, the map only says where to look.
#
# ## A thousand samples
#
# One sample proves nothing. As the truth is known, we can draw a thousand, label them, and look at all the answers.

# %%
random = np.random.default_rng(0)
places = {code: np.flatnonzero(mapped == code) for code in (1, 2, 3)}  # pixels of each stratum
sizes = dict(zip(places, drawn.strata["points"], strict=True))
answers = np.zeros((1_000, 5))
for answer in answers:
    for code, n in sizes.items():
        labels_of_points = truth.ravel()[random.choice(places[code], n, replace=False)]
        answer += len(places[code]) / 100 * np.bincount(labels_of_points, minlength=5) / n

# %%
figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.8), layout="constrained")
for axis, code in zip(axes, (1, 2, 3), strict=True):
    axis.hist(answers[:, code], bins=30, color="0.7")
    axis.axvline(pixels["true_ha"].iloc[code - 1], color="k", label="truth")
    axis.axvline(pixels["counted_ha"].iloc[code - 1], color="tab:red", linestyle="--", label="counted")
    axis.set(title=NAMES[code], xlabel="hectares", yticks=[])
axes[0].set_ylabel("samples of 200 points")
_ = axes[0].legend()

# %% tags=["remove-cell"]
middle, spread = answers.mean(axis=0)[1:], answers.std(axis=0)[1:]
assert (abs(middle - pixels["true_ha"]) < 4 * spread / np.sqrt(len(answers))).all()

# %% [markdown]
# Each answer is off by chance, and their mean is the truth: the estimator is **unbiased**, however bad the map is. The
# red line is off, and stays off. A better map makes the grey heap narrower; only labels put it into the right place.
#
# ## With the map's help
#
# The map knows more than a class: it has the *probability* of each class at every pixel. Where they say much about the
# labels, they can narrow the interval without deciding anything: the **model-assisted** estimate takes their sum over
# the whole map, and corrects it by how far they are off at the labelled points. It needs `--probabilities`.

# %%
helped = table.loc[["forest", "field", "marsh"]]
widths = pd.DataFrame(
    {
        "points alone": helped["area_high_ha"] - helped["area_low_ha"],
        "with probabilities": helped["assisted_high_ha"] - helped["assisted_low_ha"],
        "worth labels": helped["worth_labels"],
    }
)
print("width of the 95 % interval in hectares")
widths.round(1)

# %% tags=["remove-cell"]
assert (widths["with probabilities"] < 1.05 * widths["points alone"]).all()
assert widths["worth labels"].max() > 10

# %% [markdown]
# *Worth labels* says how many more points would have narrowed the interval as much. Where probabilities are rubbish, the
# estimate finds that at the points, and gives them no weight: then it is the first estimate again.
#
# ## What can't be concluded
#
# The output says it by itself:

# %%
for caution in [*found.cautions, *found.notes]:
    print("-", caution)

# %% [markdown]
# And beyond these: a part of the scene (one valley, one district) has too few points for a number of its own. Another
# map, or the same one next year, needs its own labels. A label that is wrong counts as truth (exercise 3).
#
# ## A real scene
#
# All of this was planted. Here is a map of real pixels, a Sentinel-2 scene of TerraMesh (CC-BY-SA-4.0), by a model that
# learned from 27 small patches, seven of them from this scene (squares):
#
# ![A Sentinel-2 scene, a reference map, the map that eofuse made, and its confidence](../docs/map.png)
#
# 70 % of the pixels agree with the reference, which is itself a map with errors. How many hectares of each class are
# there? From this picture nobody can tell. It would take two hundred points and a day of labelling.
#
# ## What we saw
#
# - A study maps a scene with all its seeds. Confidence shows where the classes meet. Disagreement can show what the models
#   were never taught, and can miss it.
# - Counting pixels was off for marsh and field, and nothing in the map tells by how much.
# - Points that are drawn at random and labelled give areas with intervals, also of a class that the map lacks. A thousand
#   samples had the truth as their mean.
# - The map's probabilities narrow the intervals. The labels decide.
#
# ## Exercises
#
# ### Exercise 1: along the road
#
# Nobody likes to walk into a marsh. Label 200 pixels within 300 m of a road that runs through the middle of the scene
# (row 120), and estimate the shares of the classes from them. What does `eofuse area` say to such points?

# %% tags=["hide-cell"]
strip = truth[90:150].ravel()
answers_by_road = [np.bincount(random.choice(strip, 200), minlength=5)[1:] / 200 * truth.size / 100 for _ in range(200)]
road = pixels[["true_ha"]].assign(by_road=np.mean(answers_by_road, axis=0))
print(road.round(1))
convenient = pd.read_csv(work / "points.csv").assign(id=[f"road-{n}" for n in range(200)])
convenient.to_csv(work / "road.csv", index=False)
try:
    eofuse.estimate_area(work / "maps/scene.tif", work / "road.csv")
except EofuseError as error:
    print(str(error).replace(f"{Path.cwd()}/", ""))
assert (abs(road["by_road"] / road["true_ha"] - 1) > 0.1).any()
# The mean of many such samples is not the truth: more points along the road only make the wrong answer surer.

# %% [markdown]
# ### Exercise 2: a rare class
#
# Draw 200 points with `allocation="equal"`, and with `by="none"` (all pixels alike). How many points fall on mapped
# marsh, and how wide is its interval?

# %% tags=["hide-cell"]
rare = {}
for name, how in {"default": {}, "equal": {"allocation": "equal"}, "alike": {"by": "none"}}.items():
    eofuse.sample_map(work / "maps/scene.tif", work / f"{name}.csv", n=200, **how)
    label(name)
    marsh = (
        eofuse.estimate_area(work / "maps/scene.tif", work / f"{name}.csv", classes=NAMES)
        .classes.set_index("class")
        .loc["marsh"]
    )
    rare[name] = {"points labelled marsh": marsh["points"], "width (ha)": marsh["area_high_ha"] - marsh["area_low_ha"]}
print(pd.DataFrame(rare).T.round(1))
assert rare["alike"]["width (ha)"] > 1.2 * rare["default"]["width (ha)"]
assert (
    rare["alike"]["points labelled marsh"]
    < rare["default"]["points labelled marsh"]
    < rare["equal"]["points labelled marsh"]
)
# Strata send points to the rare class: drawn alike, it has ten points, and a much wider interval. Equal shares give it twice as many
# as the default, and hardly a narrower interval: what is left to chance is the marsh that hides in the large strata.

# %% [markdown]
# ### Exercise 3: a labeller who errs
#
# Suppose that the labeller takes 5 % of the forest for marsh. By how much does the area of marsh grow, on average? Think
# first: how large is 5 % of the forest beside the marsh?

# %% tags=["hide-cell"]
forest, marsh = pixels.loc[["forest", "marsh"], "true_ha"]
print(f"5 % of the forest: {0.05 * forest:.0f} ha; marsh: {marsh:.0f} ha, so it grows by {0.05 * forest / marsh:.0%}")
assert 0.05 * forest > 0.3 * marsh
# A small error of the labels in a common class is a large one in a rare class. No interval holds it. Let two people label some points.

# %% [markdown]
# ## What to read
#
# - P. Olofsson et al., *Good practices for estimating area and assessing accuracy of land change*, 2014; S. V. Stehman,
#   *Estimating area and map accuracy for stratified random sampling when the strata are different from the map classes*,
#   2014.
# - C.-E. Särndal, B. Swensson, J. Wretman, *Model assisted survey sampling*, 1992; A. N. Angelopoulos et al., *PPI++:
#   efficient prediction-powered inference*, 2023.
# - B. Lakshminarayanan et al., *Simple and scalable predictive uncertainty estimation using deep ensembles*, 2017.
# - [Map a region](../docs/maps.md), [estimate areas](../docs/areas.md): every option, and how labelling is done in QGIS.
