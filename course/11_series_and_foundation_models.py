# %% [markdown]
# # 11. Series of images, and models that have seen the Earth
#
# Two kinds of knowledge lie outside of one image and a few labels. *Time*: a field that is green in May and brown in
# July is another crop than one that is brown in May. *Other data*: a **foundation model** has learned from millions of
# patches that are not yours. This chapter uses both, each beside the control that shows what it is worth.
#
# ## What you will learn
#
# - how a series of images is stored when each patch has other dates, and some pixels are hidden by cloud;
# - why the mean over the dates forgets what matters, and attention with dates does not;
# - how the vectors of a frozen network become a modality, and which head needs few labels;
# - why every pretrained network stands beside its *random twin*;
# - what to ask of foreign weights before you believe them.

# %% [markdown]
# ## A season
#
# The fields are planted, so that the truth is known: **simulated**, and they prove nothing about the Earth. Three crops
# grow alike, but green up in spring, in summer, or in autumn. Fields are seen on eight random days each, and a third of
# the images is clouded.

# %%
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import eofuse
from eofuse.modalities import Channel, Kind, Modality

work = Path("course-data")  # everything this chapter writes is in here
shutil.rmtree(work / "ch11", ignore_errors=True)  # what an earlier execution left

# %%
SIDE = 12  # pixels
GREENING = {"spring wheat": 120, "maize": 180, "late cabbage": 240}  # day of the year at which a crop is greenest


def season(crop, random):
    """The cloudless days of a field, and red and near infrared on each: (dates, 2, SIDE, SIDE)."""
    days = np.sort(random.choice(np.arange(60, 300, 5), 8, replace=False))
    days = days[random.random(8) > 1 / 3] if random.random() < 0.95 else days
    days = days if len(days) else np.array([180])
    green = np.exp(-0.5 * ((days - GREENING[crop]) / 30) ** 2)[:, None, None]  # from 0 to 1
    bands = np.stack([0.15 - 0.1 * green, 0.25 + 0.2 * green], axis=1)
    return days, bands + random.normal(0, 0.03, (len(days), 2, SIDE, SIDE))


def fields(count=360):
    """Twelve fields a farm, four of each crop."""
    random = np.random.default_rng(0)
    for number in range(count):
        crop = list(GREENING)[number % 3]
        days, images = season(crop, random)
        times = [str(np.datetime64("2024-01-01") + int(day)) for day in days]
        yield {
            "id": f"field-{number}",
            "series": images,
            "series.times": times,
            "scene": f"farm-{number // 12}",
            "crop": crop,
        }


# %% [markdown]
# `steps` says how many dates a field has at most. Shorter series take no room: the dates of all fields lie back to
# back.

# %%
channels = (Channel("B04", unit="reflectance"), Channel("B08", unit="reflectance"))
series = Modality("series", Kind.IMAGE_SERIES, channels, steps=8, dated=True)
store = eofuse.write_store(
    fields(), [series], work / "ch11/season.store", name="season", simulated=True, labels={"crop": "class"}
)
dates = np.isfinite(store.times("series", range(len(store)))).sum(axis=1)
print(f"{len(store)} fields with {dates.min()} to {dates.max()} dates, {dates.mean():.1f} on average")

# %% [markdown]
# One field of each crop, near infrared over the year. Each dot is an image that somebody can look at; the line is the
# mean of its pixels.

# %%
axis = plt.figure(figsize=(8, 3), layout="constrained").subplots()
for row, crop in enumerate(GREENING):
    days = store.times("series", [row])[0] - np.datetime64("2024-01-01").astype("datetime64[D]").astype(int)
    infrared = store.read("series", [row])[0, :, 1].mean(axis=(1, 2))
    axis.plot(days, infrared, "o-", label=crop)
axis.set(xlabel="day of 2024", ylabel="near infrared (reflectance)", title="Three fields")
axis.legend()
plt.show()

# %% [markdown]
# A batch has as many dates as its longest series. What fills the others up has no time (NaN): it is **padding**, not an
# image. An image that is black everywhere, but has a time, is data.

# %%
batch = next(iter(store.dataset(inputs=["series"], target="crop", part="train").loader(batch_size=4)))
print("images:", tuple(batch["series"].shape))
print("times: ", tuple(batch["series.times"].shape), "of which padding:", int(batch["series.times"].isnan().sum()))

# %% [markdown]
# ## Three ways to join the dates
#
# Each date passes the same small network. Then its vectors are joined: by their **mean**, by their **maximum**, or by
# **attention** that sees the day of each (Garnot & Landrieu 2020). Mean and maximum are the controls: they do not see
# *when* a date was.


# %%
def accuracy(name, values):
    """Accuracy on the test fields, with its 95 % interval over farms."""
    run = eofuse.train(values, to=work / "ch11" / name)
    scores = eofuse.evaluate(run.folder).query("predictor == 'run' and metric == 'accuracy'")
    return {"way": name, **scores.iloc[0][["value", "low", "high", "n_test"]]}


def season_recipe(temporal):
    return {
        "data": {"store": str(store.path)},
        "inputs": ["series"],
        "split": {"fractions": [0.5, 0.1, 0.4]},
        "task": {"target": "crop", "metric": "accuracy"},
        "fusion": {"strategy": "single", "encoder": "test_resnet", "temporal": temporal},
        "train": {"steps": 60, "batch_size": 16, "evaluations": 3, "learning_rate": 0.003},
    }


found = pd.DataFrame([accuracy(temporal, season_recipe(temporal)) for temporal in ("mean", "max", "attention")])
found.round(2)

# %%
value = found.set_index("way")["value"]
assert value["attention"] > 0.85
assert value["attention"] > value["mean"] + 0.15

# %% [markdown]
# All three crops are green once. The mean and the maximum know *how green* a field became; only attention knows *when*.
# On real fields the gain is smaller, since crops also differ on single dates, and `recipes/phenology.yaml` measures it
# against one good date as well.
#
# Nothing here depends on the order in which the dates are given, or on how many a batch is filled up with. That is not
# self-evident: a network over "channel 1 to 16" would take the third date of one field for the same time as the third
# date of another.

# %% [markdown]
# ## A model that has seen other fields
#
# Now the other kind of knowledge. A real foundation model such as [Galileo](https://arxiv.org/abs/2502.09356) has
# learned from millions of patches, and its weights have to be fetched. So that this chapter runs at once, we make a
# small one: a network that has learned to tell *nine* kinds of texture from 900 labelled patches of an archive. Then
# come fields with *three other* kinds, and very few labels.

# %%
camera = Modality("camera", Kind.RASTER, (Channel("B08", unit="reflectance"),))


def texture(period, slope, random):
    """Rows at a distance of so many pixels, more or less oblique: (1, 24, 24)."""
    y, x = np.mgrid[:24, :24]
    rows = np.sin(2 * np.pi * (y + slope * x) / period + random.uniform(0, 2 * np.pi))
    return (0.3 + 0.05 * rows + random.normal(0, 0.1, (24, 24)))[None]


def textures(name, kinds, count, seed):
    """The store of patches with these kinds of rows."""
    random = np.random.default_rng(seed)
    patches = (
        {"id": f"{name}-{n}", "camera": texture(*kinds[n % len(kinds)], random), "scene": f"{name}-{n // 12}"}
        | {"kind": "period {}, slope {}".format(*kinds[n % len(kinds)])}
        for n in range(count)
    )
    options = {"name": name, "simulated": True, "labels": {"kind": "class"}}
    return eofuse.write_store(patches, [camera], work / f"ch11/{name}.store", **options)


archive = textures("archive", [(period, slope) for period in (3, 5, 8) for slope in (-1, 0, 2)], 900, seed=1)
mine = textures("mine", [(4, 1), (6, 1), (6, -2)], 480, seed=2)  # no kind of the archive

# %%
model = eofuse.train(
    {
        "data": {"store": str(archive.path)},
        "inputs": ["camera"],
        "task": {"target": "kind"},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "augment": "light",
        "train": {"steps": 200, "batch_size": 32, "evaluations": 2, "learning_rate": 0.003},
    },
    to=work / "ch11/pretrained",
)

# %% [markdown]
# `embed` computes one vector a patch, once, and writes them into a store as a modality of its own: `eofuse embed
# mine.store --with course-data/ch11/pretrained -o embedded.store` in a terminal. All that works on numbers then works
# on them. Beside them it writes the vectors of the **random twin**: the same network before it learned anything.

# %%
embedded = eofuse.embed(mine.path, work / "ch11/embedded.store", model=str(work / "ch11/pretrained"))
vectors = [name for name in embedded.modalities if name != "camera"]
for name in vectors:
    print(f"{name}: {embedded.read(name, [0]).shape[1]} numbers a patch")

# %% [markdown]
# ## Few labels, and a head that needs few
#
# With two labels a class, a network that learns step by step has little to go by. On vectors that stay as they are, a
# head can be *fitted*: a logistic regression, whose strength validation chooses (`task.head: linear`). A network from
# scratch is the control that looks at the pixels.


# %%
def few(name, seed, **options):
    """Learns my kinds from two labels each."""
    values = {
        "data": {"store": str(embedded.path)},
        "split": {"fractions": [0.4, 0.1, 0.5]},
        "task": {"target": "kind", "metric": "accuracy", "head": "linear"},
        "fusion": {"strategy": "single", "encoders": dict.fromkeys(vectors, "identity")},
        "labels": {"amount": 2, "seed": seed},
        "train": {"steps": 60, "batch_size": 6, "evaluations": 3, "learning_rate": 0.003},
        "seed": seed,
    }
    return accuracy(f"{name} {seed}", values | options) | {"way": name, "seed": seed}


scratch = {
    "inputs": ["camera"],
    "task": {"target": "kind", "metric": "accuracy"},
    "fusion": {"strategy": "single", "encoder": "test_resnet"},
}
ways = {"from scratch": scratch, "random twin": {"inputs": vectors[1:]}, "pretrained": {"inputs": vectors[:1]}}
results = pd.DataFrame([few(name, seed, **options) for name, options in ways.items() for seed in range(2)])
results[["way", "seed", "value", "low", "high", "n_test"]].round(2)

# %%
means = results.groupby("way")["value"].mean()
axis = plt.figure(figsize=(7, 3), layout="constrained").subplots()
names = list(ways)
axis.scatter(results["way"].map(names.index) + 0.08 * results["seed"], results["value"])
axis.axhline(1 / 3, color="gray", linestyle=":", label="guessing")
axis.set(
    xticks=range(3), xticklabels=names, ylim=(0.2, 1), ylabel="accuracy on test fields", title="Two labels a class"
)
axis.legend()
plt.show()
assert means["pretrained"] > means["random twin"] + 0.1
assert means["pretrained"] > means["from scratch"] + 0.1

# %% [markdown]
# The pretrained vectors know textures that the network never saw, since it had to tell others. Here the twin is no
# better than guessing. Often it is better: a random network is an encoder, too, and what it reaches must be subtracted
# before somebody says what pretraining is worth. **The worth of weights is the difference to the twin, on your data.**
#
# ## With a real foundation model
#
# Two things change, the name of the model and its weights, which you fetch from the authors' page:
#
# ```bash
# eofuse embed --list
# eofuse embed ben-ge-800.store --with galileo:nano --weights galileo/nano -o embedded.store
# ```
#
# On a hundred patches of EuroSAT (real, 13 bands, 20 test patches, five draws of the labels), Galileo-nano with the
# fitted head reached an accuracy of .72 [.54, .90] with five labels a class, its random twin .49 [.28, .70], and a
# network from scratch .50 [.31, .69]; paired with its twin, it gained .23 [.07, .39]. On tables with weather and place,
# such models added nothing that could be distinguished from chance. [The guide](../docs/foundation.md) has the whole
# table, and how a run fine-tunes such a model.
#
# Ask of any such weights:
#
# 1. **Which channels, in which unit?** Reflectance instead of digital numbers cost Galileo 15 points on EuroSAT,
#    without an error in most libraries. Here each channel needs a unit, and values far from those of the pretraining
#    are refused.
# 2. **What have they seen?** Places of your test patches perhaps; then the score is too good. Nobody can tell for
#    published weights.
# 3. **Do they know the place?** A model that is given longitude and latitude can recognise a site, and fails on the
#    next one.
# 4. **Which licence?** `embed` prints it, and the store keeps it.
#
# ## Have they seen the test?
#
# For a model of your own the second question has an answer. The pretrained run knows which patches it has learned from,
# and so do its vectors. If the archive's own patches become a test, they are refused.

# %%
from eofuse.errors import UsageError

own = eofuse.embed(archive.path, work / "ch11/archive-embedded.store", model=str(work / "ch11/pretrained"), twin=False)
leaky = {
    "data": {"store": str(own.path)},
    "inputs": vectors[:1],
    "split": {"fractions": [0.4, 0.1, 0.5], "split_seed": 5},
    "task": {"target": "kind", "head": "linear"},
    "fusion": {"strategy": "single", "encoders": {vectors[0]: "identity"}},
}
try:
    eofuse.train(leaky, to=work / "ch11/leaky")
except UsageError as error:
    print(error)
else:
    raise AssertionError("vectors that have seen the test patches were taken")

# %% [markdown]
# ## What we saw
#
# - A series of images has its own dates for each patch. Dates travel with the images, and padding is marked, never
#   guessed.
# - On planted fields that only time tells apart, attention over dated images was far ahead of mean and maximum (144
#   test fields, one seed).
# - Vectors of a frozen network, with a head fitted in one go, did with two labels a class (240 test fields, two draws).
# - The random twin is the control. What a network from scratch reaches is the other one.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: Without the days
#
# Give attention the same images in the same order, but days that say nothing: 1 June, 2 June, and so on. What is left
# of its lead?

# %% tags=["hide-cell"]


def undated():
    for sample in fields():
        yield sample | {"series.times": [f"2024-06-{day + 1:02}" for day in range(len(sample["series.times"]))]}


plain = eofuse.write_store(
    undated(), [series], work / "ch11/undated.store", name="undated", simulated=True, labels={"crop": "class"}
)
values = season_recipe("attention")
values["data"] = {"store": str(plain.path)}
without_days = accuracy("attention without days", values)
print(f"{without_days['value']:.2f} ({without_days['low']:.2f} to {without_days['high']:.2f})")
assert without_days["value"] < value["attention"] - 0.2
# Nothing: attention is not magic, it needs to know when. Dates in the wrong year, or lost in a file name, cost just as much.

# %% [markdown]
# ### Exercise 2: More labels
#
# Train the network from scratch with all 192 labels. How far is the pretrained one with six still ahead?

# %% tags=["hide-cell"]
many = few("from scratch, all labels", 0, **scratch, labels={"amount": 1.0}, train={"steps": 150, "batch_size": 16})
print(f"from scratch with all labels {many['value']:.2f}, pretrained with two a class {means['pretrained']:.2f}")
# Transfer replaces labels: with enough of them, there is less to replace. Chapter 8 draws the whole curve.

# %% [markdown]
# ### Exercise 3: Another head
#
# `task.head` can be `linear`, `nearest_mean` or `neighbours`. Does `nearest_mean` do better with two labels a class than
# `linear`? Compare over more than one draw of the labels.

# %% tags=["hide-cell"]
nearest = {"target": "kind", "metric": "accuracy", "head": "nearest_mean"}
heads = [few("nearest mean", seed, inputs=vectors[:1], task=nearest) for seed in range(2)]
print(pd.DataFrame(heads)[["way", "seed", "value", "low", "high"]].round(2).to_string(index=False))
# Compare draw by draw with the table above. The intervals overlap: two draws don't make a law.

# %% [markdown]
# ## What to read
#
# - Garnot & Landrieu (2020), *Lightweight temporal self-attention for classifying satellite image time series*; (2021),
#   *Panoptic segmentation of satellite image time series with convolutional temporal attention networks* (U-TAE).
# - Tseng et al. (2025), *Galileo: learning global and local features of many remote sensing modalities*; Tseng et al.
#   (2023), *Lightweight, pre-trained transformers for remote sensing timeseries* (Presto).
# - In this documentation: [series of images](../docs/image_series.md), [foundation models](../docs/foundation.md).
