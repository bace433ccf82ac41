# %% [markdown]
# # 8. Label efficiency, and which patches next
#
# Labels cost days. Two questions decide how many days: *how many labels does this method need?* and *which patches should be
# labelled next?* The first is answered by a curve, the second by the model itself, with care.
#
# ## What you will learn
#
# - how to draw a label-efficiency curve with nested subsets, and to read off how many labels a method saves;
# - four ways to choose the next patches: at random, by uncertainty, by diversity, and by a mix;
# - how each can be fooled, on data whose truth we know;
# - how to close the loop: label, train, ask again.

# %% [markdown]
# ## The data
#
# This chapter plants what it wants to find, so that the truth is known: **simulated** fields that prove nothing about the Earth. On
# your data, put your store, inputs and target into the recipes.

# %%
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import eofuse
from eofuse.modalities import Channel, Kind, Modality

work = Path("course-data")  # everything this chapter writes is in here
shutil.rmtree(work / "ch08", ignore_errors=True)  # what an earlier execution left

# %% [markdown]
# ## The curve
#
# The planted fields of [chapter 4](04_augmentation.py): rows of two spacings, in two directions; the spacing is the label. There
# turning the patches helped. *How many labels is that worth?*

# %%
SIDE = 24  # pixels
camera = Modality("camera", Kind.RASTER, (Channel("B04", unit="reflectance"), Channel("B08", unit="reflectance")))


def picture(period, random):
    """A field with rows at this period, in one of two directions."""
    y, x = np.mgrid[:SIDE, :SIDE]
    rows = np.sin(2 * np.pi * (y if random.integers(2) else x) / period + random.uniform(0, 2 * np.pi))
    return np.stack([0.2 + 0.04 * rows, 0.4 - 0.05 * rows]) + random.normal(0, 0.06, (2, SIDE, SIDE))


def fields(count=480):
    """Eight fields a farm, four of each spacing."""
    random = np.random.default_rng(0)
    for number in range(count):
        camera = picture((4, 6)[number % 2], random)
        spacing = ("narrow", "wide")[number % 2]
        yield {"id": f"field-{number}", "camera": camera, "scene": f"farm-{number // 8}", "spacing": spacing}


options = {"name": "fields", "simulated": True, "labels": {"spacing": "class"}}
planted = eofuse.write_store(fields(), [camera], work / "ch08/fields.store", **options)

# %% [markdown]
# A study with `label_amounts` trains every variant with each amount. Counts are labels a class.

# %%
recipe = {
    "name": "labels",
    "data": {"store": str(planted.path)},
    "inputs": ["camera"],
    "split": {"fractions": [0.4, 0.1, 0.5]},
    "task": {"target": "spacing", "metric": "accuracy"},
    "fusion": {"strategy": "single"},
    "train": {"steps": 60, "batch_size": 16, "evaluations": 4},
    "study": {
        "baseline": "as they are",
        "seeds": [0, 1],
        "label_amounts": [4, 12, 1.0],
        "search": {"learning_rates": [0.003]},
        "controls": False,
        "variants": {"as they are": {}, "turned": {"augment": {"turns": True}}},
    },
}
study = eofuse.study(recipe, to=work / "ch08/study", workers=1)

# %% [markdown]
# Which fields are labelled? Subsets drawn anew for each amount would add chance to every point of the curve. So the training
# patches are put in **one order**, and a subset is its beginning: smaller subsets lie in larger ones, and classes keep their
# shares. Each seed has an order of its own, so the spread over seeds holds the luck of the draw. `split.parquet` of the study
# names them all:

# %%
split = pd.read_parquet(study.folder / "split.parquet").query("part == 'train' and seed == 0")
subsets = {amount: set(rows["patch_id"]) for amount, rows in split.groupby("n_labels")}
spacing = planted.index.set_index("patch_id")["spacing"]
for amount, chosen in subsets.items():
    print(f"{amount:3} labels:", spacing[sorted(chosen)].value_counts().to_dict())
assert subsets[8] < subsets[24] < subsets[192]  # nested

# %%
scores = pd.concat(
    [
        study.results.at(amount).leaderboard.query("metric == 'accuracy'").assign(labels=amount)
        for amount in (8, 24, 192)
    ]
)
scores[["variant", "labels", "mean", "low", "high", "seed_sd", "n_test", "n_scenes"]].round(2)

# %%
axis = plt.figure(figsize=(6, 3.3), layout="constrained").subplots()
for name, rows in scores.groupby("variant"):
    axis.errorbar(
        rows["labels"],
        rows["mean"],
        [rows["mean"] - rows["low"], rows["high"] - rows["mean"]],
        marker="o",
        capsize=3,
        label=name,
    )
axis.axhline(0.5, color="gray", linestyle=":", label="guessing")
axis.set(xscale="log", xticks=[8, 24, 192], xticklabels=[8, 24, 192], xlabel="labelled training fields")
axis.set(ylabel="accuracy (95 % interval\nover farms, mean of 2 seeds)", ylim=(0.4, 1.02))
axis.legend(loc="lower right")
plt.show()

# %%
accuracy = scores.pivot(index="labels", columns="variant", values="mean")
gain = accuracy["turned"] - accuracy["as they are"]
print(gain.round(2).to_string())
assert gain[24] > 0.08
assert accuracy["turned"][8] > accuracy["as they are"][24]
assert abs(gain[192]) < 0.1

# %% [markdown]
# Read the curve **sideways**: not "how much better at 24 labels", but "how many labels does the other need to be as good". Here 8
# labels with turns are worth more than 24 without: turning saves two labels of three. The report of the study has this number with
# its interval in the chapter *Label efficiency*, for every variant. A gain in accuracy is hard to value; labels saved are days.
#
# Three honest habits: every amount has its own validation of the learning rate in a real study (`search`), the labels of
# the validation patches are counted as labels, and five seeds or more are used, because small subsets vary.

# %% [markdown]
# ## Which patches next?
#
# Now a harvest campaign. Nearly all fields are *narrow* or *wide*; one in fifteen is a **vineyard**, whose rows lie farther
# apart. And one field in twenty-five is under **cloud**: bright, and useless to label. Of 432 training fields, 17 are labelled.
# You may label 24 more.


# %%
def campaign(count=720):
    """Twelve fields a farm; few are vineyards, few lie under clouds."""
    random = np.random.default_rng(0)
    for number in range(count):
        crop = "vineyard" if random.random() < 0.07 else ("narrow", "wide")[number % 2]
        cloudy = random.random() < 0.04
        camera = picture({"narrow": 4, "wide": 6, "vineyard": 9}[crop], random)
        if cloudy:
            camera = 0.7 + random.normal(0, 0.05, (2, 1, 1)) + random.normal(0, 0.06, camera.shape)
        yield {
            "id": f"field-{number}",
            "camera": camera,
            "scene": f"farm-{number // 12}",
            "crop": crop,
            "cloudy": cloudy,
        }


options = {"name": "campaign", "simulated": True, "labels": {"crop": "class"}}
region = eofuse.write_store(campaign(), [camera], work / "ch08/campaign.store", **options)
truth = region.index.set_index("patch_id")
print(truth["crop"].value_counts().to_string(), f"\nunder cloud: {truth['cloudy'].sum()} of {len(truth)}")


# %%
def train(name, labels, seed):
    """A run with these labels."""
    recipe = {
        "data": {"store": str(region.path)},
        "inputs": ["camera"],
        "split": {"fractions": [0.6, 0.1, 0.3]},
        "task": {"target": "crop"},
        "fusion": {"strategy": "single"},
        "augment": {"turns": True},
        "labels": labels,
        "train": {"steps": 80, "batch_size": 16, "evaluations": 4, "learning_rate": 0.003},
        "seed": seed,
    }
    return eofuse.train(recipe, to=work / f"ch08/{name}-{seed}")


first = {seed: train("first", {"amount": 0.04, "seed": seed}, seed) for seed in (0, 1)}
for seed, run in first.items():
    known = run.split().query("part == 'train'")["patch_id"]
    print(f"seed {seed}: {len(known)} labelled, {(truth['crop'][known] == 'vineyard').sum()} of them vineyards")

# %% [markdown]
# `suggest` ranks the fields whose labels the run does not know. On the command line: `eofuse suggest RUN STORE -n 24`.
#
# | `by` | takes first |
# |---|---|
# | `uncertainty` | what the model is least sure of |
# | `diversity` | what lies farthest, in the model's eyes, from all that is labelled or was taken before |
# | `mix` (default) | both high |
# | `random` | a draw: what the others must beat |
#
# Since the truth is planted, we can look at what each way finds.


# %%
def suggestions(by, seed, count=24):
    """The next fields to be labelled."""
    found = eofuse.suggest(first[seed].folder, region, count, by=by, output=work / f"ch08/next-{by}-{seed}", seed=seed)
    return found.table["patch_id"].tolist()


WAYS = ("random", "uncertainty", "diversity", "mix")
picked = {(by, seed): suggestions(by, seed) for by in WAYS for seed in (0, 1)}
found = (
    pd.DataFrame(
        {
            "vineyards": {key: (truth["crop"][ids] == "vineyard").sum() for key, ids in picked.items()},
            "under cloud": {key: truth["cloudy"][ids].sum() for key, ids in picked.items()},
        }
    )
    .groupby(level=0)
    .mean()
    .loc[list(WAYS)]
)
found

# %%
axis = found.plot.bar(figsize=(6, 3), rot=0, ylabel="of 24 suggestions\n(mean of 2 seeds)")
plt.show()
assert found["vineyards"]["uncertainty"] > 2 * found["vineyards"]["random"]
assert found["under cloud"]["diversity"] > 3 * max(found["under cloud"]["random"], 1)
assert found["vineyards"]["mix"] < found["vineyards"]["uncertainty"]
assert found["under cloud"]["mix"] < found["under cloud"]["diversity"]

# %% [markdown]
# **Uncertainty** finds the rare class: the model has hardly seen vineyards, and is unsure of them. **Diversity** finds the clouds:
# nothing is farther from the labelled fields. That is no error of the method; they *are* different. It shows why you look at the
# pictures before you send somebody out. **Mix** is a compromise: fewer vineyards than uncertainty, fewer clouds than diversity. It is
# the default because on data of your own you don't know which of both misleads. (`suggest` also writes a contact sheet,
# `suggestions.png`, which brightens each picture by itself; here all have one scale, so that clouds are white.)

# %%
figure, axes = plt.subplots(3, 8, figsize=(9, 3.6), layout="constrained")
for axis, patch in zip(axes.flat, picked["diversity", 0], strict=True):
    axis.imshow(region[patch]["camera"][0], cmap="gray", vmin=0, vmax=0.8)
    axis.set(xticks=[], yticks=[])
figure.suptitle(
    "the 24 fields that diversity takes first: reflectance in red, from 0 (black) to 0.8 (white)", fontsize=9
)
plt.show()

# %% [markdown]
# ## Close the loop
#
# We play the annotator: the suggested labels are revealed, and training starts anew with 41 labels. `labels.order` names the
# patches in the order in which they were labelled.


# %%
def train_on(ids, by, seed):
    """A run with exactly these labels."""
    order = work / f"ch08/order-{by}-{seed}.csv"
    pd.DataFrame({"patch_id": ids}).to_csv(order, index=False)
    trainable = (first[seed].split()["part"].isin(["train", "unlabelled"])).sum()
    return train(f"second-{by}", {"order": str(order), "amount": len(ids) / trainable}, seed)


rows = []
for seed, run in first.items():
    known = run.split().query("part == 'train'")["patch_id"].tolist()
    rows.append(
        {
            "labels": f"{len(known)}, as they came",
            "seed": seed,
            "balanced accuracy": run.test["crop"]["balanced_accuracy"],
        }
    )
    for by in ("random", "uncertainty"):
        again = train_on(known + picked[by, seed], by, seed)
        score = again.test["crop"]["balanced_accuracy"]
        rows.append({"labels": f"{len(known) + 24}, by {by}", "seed": seed, "balanced accuracy": score})
loop = pd.DataFrame(rows).pivot(index="labels", columns="seed", values="balanced accuracy")
loop.round(2)

# %%
better = loop.loc["41, by uncertainty"] - loop.loc["41, by random"]
print(
    f"by uncertainty rather than at random: {better.mean():+.2f} (mean of 2 seeds, {len(first[0].predictions())} test fields)"
)
assert better.mean() > 0.03
assert loop.loc["41, by random", 1] < loop.loc["17, as they came", 1]

# %% [markdown]
# *Balanced accuracy* is the mean over classes of the share that is right, so vineyards count a third. With the same number of labels,
# those that the model suggested teach the rare class, and those drawn at random hardly show it. (More labels at random can even give
# a worse run, as with seed 1: a training on 41 fields is a matter of luck.) On your data this is no law. Uncertainty also asks for
# what can't be told at all: label noise, mixed pixels, borders. So the control *random* belongs into every comparison; a study does
# all of it by itself, with labels that are known (`recipes/annotation.yaml`):
#
# ```yaml
# study:
#   baseline: random
#   label_amounts: [0.05, 0.1, 0.15, 0.2]
#   variants:
#     random: {labels: {picked_by: random}}
#     uncertainty: {labels: {picked_by: uncertainty}}
# ```

# %% [markdown]
# ## What we saw
#
# - Subsets of labels are nested, and the curve is read sideways: labels saved.
# - On planted fields, turning the patches was worth many labels at 8 and 24 of them, and nothing at 192.
# - Uncertainty found the planted rare class, diversity the planted clouds. Look before you label.
# - Chosen labels were worth more than random ones here (2 seeds, simulated). Elsewhere: measure, beside random.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: Uncertainty by hand
#
# The uncertainty of `suggest` is the entropy of the predicted probabilities, divided by the largest possible. Compute it for the
# probabilities (1, 0, 0), (0.5, 0.5, 0) and (⅓, ⅓, ⅓). Which of them would a *margin* (largest minus second probability) rank
# alike?


# %% tags=["hide-cell"]
def entropy(probabilities):
    p = np.array(probabilities)
    return float(-(p * np.log(np.where(p > 0, p, 1))).sum() / np.log(len(p)))


for p in ((1, 0, 0), (0.5, 0.5, 0), (1 / 3, 1 / 3, 1 / 3)):
    first_two = sorted(p)[::-1][:2]
    print(f"entropy {abs(entropy(p)):.2f}, margin {first_two[0] - first_two[1]:.2f}")
assert entropy((1, 0, 0)) < entropy((0.5, 0.5, 0)) < entropy((1 / 3, 1 / 3, 1 / 3))
# The margin is 0 for the last two: it sees no difference between two and three candidates.

# %% [markdown]
# ### Exercise 2: Filter first
#
# Clouds are bright. Leave fields with a mean reflectance in red above 0.5 out of the candidates, and count again what diversity
# finds. (Make a store of the clear training fields with `eofuse.subset`, or take the first 24 clear ones of a longer list.)

# %% tags=["hide-cell"]
red = region.read("camera", range(len(region)))[:, 0].mean(axis=(1, 2))
bright = pd.Series(red > 0.5, index=region.index["patch_id"])
longer = suggestions("diversity", 0, count=80)
clear = [patch for patch in longer if not bright[patch]][:24]
vineyards = (truth["crop"][clear] == "vineyard").sum()
print(f"{truth['cloudy'][clear].sum()} under cloud, {vineyards} vineyards of {len(clear)}")
assert truth["cloudy"][clear].sum() == 0
# A cheap rule that knows the physics beats a clever one that does not. In eofuse: flags in the index and `data.exclude`.

# %% [markdown]
# ### Exercise 3: The luck of the draw
#
# How different are two draws of labels? Compare the 17 labelled fields of both seeds: how many do they share, and how far apart
# are the scores that they gave?

# %% tags=["hide-cell"]
draws = [set(run.split().query("part == 'train'")["patch_id"]) for run in first.values()]
shared = len(draws[0] & draws[1])
scores_of_draws = [run.test["crop"]["balanced_accuracy"] for run in first.values()]
print(f"{shared} of {len(draws[0])} shared; balanced accuracy {scores_of_draws[0]:.2f} and {scores_of_draws[1]:.2f}")
assert shared < len(draws[0]) / 2
# Such differences come from the labels, not from the method. That is why one seed proves nothing with few labels.

# %% [markdown]
# ## What to read
#
# - Settles (2009), *Active learning literature survey*; Sener & Savarese (2018), *Active learning for convolutional neural
#   networks: a core-set approach*.
# - Sechidis, Tsoumakas & Vlahavas (2011), *On the stratification of multi-label data* (the order of the labels).
# - In this documentation: [learn from few labels](../docs/few_labels.md), [labels](../docs/recipes.md#labels),
#   [which patches next](../docs/recipes.md#which-patches-next).
