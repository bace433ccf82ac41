# %% [markdown]
# # 7. Self-supervised learning
#
# Archives are full of patches without labels. Self-supervised learning invents a task whose answer is in the data: *find the
# radar image of this optical image*, *fill the hole*, *tell the region*. Nobody needs to label anything. The network that solves
# this **pretext** has learned to see; its head is thrown away, and its encoder starts a training with few labels.
#
# ## What you will learn
#
# - five pretexts: contrast between views, across modalities, masking, geographic clusters, inpainting;
# - how to look at a pretext: matching accuracy, reconstructions, accuracy of the regions;
# - how to transfer an encoder, and which controls a claim needs;
# - why a solved pretext is no proof of a useful encoder.

# %% [markdown]
# ## The data
#
# The patches here are **simulated**: they look plausible, and prove nothing about the Earth. With a store of ben-ge-800 on your disk,
# the assignment of `store` becomes `store = eofuse.open_store("ben-ge-800.store")`, and everything below stays.

# %%
import shutil
from pathlib import Path

import eofuse

work = Path("course-data")  # everything this chapter writes is in here
store = eofuse.pack(eofuse.simulate(work / "ben-ge", patches=480, scenes=96, seed=1), work / "ben-ge.store")
print(f"{len(store)} patches: {', '.join(store.modalities)}")

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.cluster import KMeans
from torch.nn.functional import cross_entropy, normalize

from eofuse.pictures import reconstruction_of_pretraining

torch.set_num_threads(1)
shutil.rmtree(work / "ch07", ignore_errors=True)  # what an earlier execution left

# %% [markdown]
# ## Contrast
#
# Two views of a patch should have similar vectors, and views of different patches should not. Views are two augmentations of one
# image (SimCLR), or two *sensors* that saw the same ground. The loss is a classification: which of the n second vectors belongs
# to this first one? It is a few lines:


# %%
def contrast(first, second, temperature=0.1):
    """Contrastive loss (InfoNCE) between two views: (n, width) each; row i of both is the same patch."""
    similarity = normalize(first) @ normalize(second).T / temperature  # (n, n) of cosines
    same = torch.arange(len(first))
    return (cross_entropy(similarity, same) + cross_entropy(similarity.T, same)) / 2


torch.manual_seed(0)
vectors, others = torch.randn(32, 64), torch.randn(32, 64)
for name, second in {"the same patches": vectors + 0.1 * torch.randn(32, 64), "unrelated": others}.items():
    print(f"{name:17} loss {contrast(vectors, second):.2f}")
print(f"{'guessing':17} loss {np.log(32):.2f} (log of 32)")
assert contrast(vectors, vectors) < 0.1 < contrast(vectors, others)

# %% [markdown]
# The loss can also be made small by nonsense, for instance by a corner mark that both views share. So views must differ in all
# that does not matter. Two sensors do so by nature: clouds, speckle and gain differ, the ground is the same. That is why contrast
# **across modalities** is strong in Earth observation.
#
# ## Across modalities: find the radar image of this optical image
#
# A pretraining is a recipe with `pretrain` in place of a task.

# %%
base = {
    "data": {"store": str(store.path), "crop": 32},
    "inputs": ["s1", "s2"],
    "fusion": {"strategy": "late"},
    "train": {"steps": 40, "batch_size": 32, "evaluations": 4, "learning_rate": 0.003},
}
across = eofuse.pretrain(base | {"pretrain": {"method": "cross_modal"}}, to=work / "ch07/across")
seen = across.evaluations
patches = len(store.dataset(inputs=["s1", "s2"], part="validation"))
seen[["step", "loss", "matching_top1", "matching_top5"]].round(2)

# %%
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for top, colour in ((1, "tab:blue"), (5, "tab:orange")):
    axis.plot(seen["step"], seen[f"matching_top{top}"], marker="o", color=colour, label=f"among the {top} nearest")
    axis.axhline(top / patches, color=colour, linestyle=":", label=f"by chance: {top} in {patches}")
axis.set(xlabel="step", ylabel="validation patches whose\nother sensor is found", ylim=0)
axis.legend()
plt.show()
assert seen["matching_top5"].max() > 2 * 5 / patches

# %% [markdown]
# The patches are of other scenes than those from which it learned, and neither sensor tells the other's values. What both share
# is the ground. So the network has learned something about the ground. What, and whether it is what *you* need, this number does
# not say.
#
# ## Masking: reconstruct what is hidden
#
# Half of the blocks of a patch are hidden, and the network reconstructs them from the rest (masked autoencoding). It must learn
# what grows beside what.

# %%
masked = {
    "inputs": {"s2": ["B04", "B03", "B02", "B08"]},
    "fusion": {"strategy": "single"},
    "pretrain": {"method": "masked", "mask": 0.5, "block": 6},
    "data": {"store": str(store.path), "crop": 48},
    "train": {"steps": 60, "batch_size": 16, "evaluations": 1, "learning_rate": 0.003},
}
hidden = eofuse.pretrain(masked, to=work / "ch07/masked")
reconstruction_of_pretraining(hidden, most=2)

# %% [markdown]
# After 60 steps it has the colours and not the edges. That is little training: the published masked autoencoder (He et
# al. 2022) saw a million times as many images. Its strength is scale; here it is a picture.
#
# ## Geographic clusters: where on Earth is this?
#
# Places are free labels. Patches are clustered by place, and the network tells the region of a patch (Ayush et al. 2021). Here
# are the regions of the training patches:

# %%
train = store.dataset(inputs=["s2"], part="train")
places = store.index.loc[train.rows, ["lon", "lat"]].to_numpy()
clusters = KMeans(8, n_init=10, random_state=0).fit(places)
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.scatter(places[:, 0], places[:, 1], c=clusters.labels_, cmap="tab10", s=18)
axis.set(
    xlabel="longitude (degrees)", ylabel="latitude (degrees)", title=f"{len(places)} training patches in 8 regions"
)
plt.show()

# %%
regions = eofuse.pretrain(base | {"pretrain": {"method": "clusters", "clusters": 8}}, to=work / "ch07/regions")
right = regions.evaluations["pretext_accuracy"]
others = store.index.loc[store.dataset(inputs=["s2"], part="validation").rows, ["lon", "lat"]].to_numpy()
commonest = np.bincount(clusters.predict(others)).max() / len(others)
print(f"validation patches in the right region: {right.max():.0%} at best, {right.iloc[-1]:.0%} at the end")
print(f"by chance 1 in 8 (12 %); always the commonest region: {commonest:.0%} of {len(others)} patches")
error = np.sqrt(commonest * (1 - commonest) / len(others))
assert right.iloc[-1] < commonest + 2 * error  # not more than the commonest region explains

# %% [markdown]
# Chance is the wrong thing to compare with: regions are not equally large. Beside the commonest region, nothing shows that this short
# training has learned the pretext. It can be learned where regions differ in climate, relief and light. It is a weak teacher where
# land looks the same everywhere, and it also learns what is true of one scene only: the weather of that day.
#
# ## Does it transfer? An experiment with a known truth
#
# Now labels come in. We plant fields that two sensors see: rows whose spacing is the crop. Each sensor adds nuisances of its own:
# brightness, channel offsets, noise. So the crop is **what both sensors share**, and contrast across them must find it. Only 12
# fields are labelled.

# %%
PERIODS, SIDE = (3.0, 4.5, 7.0, 11.0), 24  # pixels


def seen_by_sensor(rows, channels, random):
    """What a sensor with so many channels sees of rows on the ground: with its own brightness, offsets and noise."""
    nuisance = random.normal() + random.normal(size=(channels, 1, 1))
    return 1.5 * rows + 0.5 * nuisance + random.normal(size=(channels, SIDE, SIDE))


def fields(count=600):
    """Twelve fields a farm, three of each crop."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        phase = random.uniform(0, 2 * np.pi)
        rows = np.sin(2 * np.pi * (y if random.integers(2) else x) / PERIODS[number % 4] + phase)
        radar = -12 + 3 * seen_by_sensor(rows, 2, random)  # dB
        optical = np.clip(3000 + 400 * seen_by_sensor(rows, 12, random), 1, 10000).astype("uint16")
        words = {"scene": f"farm-{number // 12}", "crop": "ABCD"[number % 4]}
        yield {"id": f"field-{number}", "s1": radar, "s2": optical, **words}


# %%
options = {"name": "fields", "simulated": True, "labels": {"crop": "class"}}
planted = eofuse.write_store(fields(), ["s1", "s2"], work / "ch07/fields.store", **options)
figure, axes = plt.subplots(2, 4, figsize=(8, 4.2), layout="constrained")
for column in range(4):
    for line, name in enumerate(("s1", "s2")):
        axes[line, column].imshow(planted[column][name][0], cmap="gray")
        axes[line, column].set(xticks=[], yticks=[], title=f"crop {'ABCD'[column]}, {planted.modality(name).title}")
plt.show()

# %% [markdown]
# Two pretrainings, and the **control** without which no claim holds: an encoder of the same kind with random weights (a
# pretraining of one step at a rate of nearly 0).

# %%
common = {
    "data": {"store": str(planted.path)},
    "inputs": ["s1", "s2"],
    "split": {"fractions": [0.5, 0.1, 0.4]},
    "fusion": {"strategy": "late"},
}
pretexts = {
    "random weights": ("simclr", 1, 1e-9),
    "contrast of views": ("simclr", 40, 0.003),
    "across modalities": ("cross_modal", 100, 0.003),
}
for name, (method, steps, rate) in pretexts.items():
    budget = {"steps": steps, "batch_size": 32, "evaluations": 1, "learning_rate": rate}
    eofuse.pretrain(common | {"pretrain": {"method": method}, "train": budget}, to=work / f"ch07/{name}")

# %% [markdown]
# Each encoder is frozen, and a head learns from 12 labelled fields (`linear_probe`). Two draws of the labels each. Beside them:
# the whole network from scratch with the same labels.


# %%
def accuracy(name, seed, *, amount=3, steps=40, mode="linear_probe"):
    """Accuracy on the test fields, with its 95 % interval over farms, after so many labels a class."""
    recipe = common | {
        "task": {"target": "crop", "metric": "accuracy"},
        "labels": {"amount": amount},
        "train": {"steps": steps, "batch_size": 12, "evaluations": 3, "learning_rate": 0.003},
        "seed": seed,
    }
    recipe["labels"]["seed"] = seed
    if name in pretexts:
        recipe["start"] = {"from": str(work / f"ch07/{name}"), "mode": mode}
    run = eofuse.train(recipe, to=work / f"ch07/{name}-{mode}-{amount}-{seed}")
    scores = eofuse.evaluate(run.folder).query("predictor == 'run' and metric == 'accuracy'")
    return {"start": name, "labels": amount, "seed": seed, **scores.iloc[0][["value", "low", "high", "n_test"]]}


few = pd.DataFrame([accuracy(name, seed) for name in ("from scratch", *pretexts) for seed in (0, 1)])
few.round(2)

# %%
names = list(few["start"].unique())
axis = plt.figure(figsize=(8, 3), layout="constrained").subplots()
place = few["start"].map(names.index) + 0.12 * few["seed"]
axis.errorbar(place, few["value"], [few["value"] - few["low"], few["high"] - few["value"]], fmt="o", capsize=3)
axis.axhline(0.25, color="gray", linestyle=":", label="guessing")
axis.set(xticks=np.arange(len(names)) + 0.06, xticklabels=names, ylim=(0.1, 1))
axis.set_ylabel("accuracy with 12 labels\n(95 % interval over farms)")
axis.legend(loc="upper left")
plt.show()

# %%
mean = few.groupby("start")["value"].mean()
print(mean.round(2).to_string())
assert mean["across modalities"] > mean["random weights"] + 0.2
assert mean["across modalities"] > mean["from scratch"] + 0.2

# %% [markdown]
# Contrast across the sensors finds what they share, and the planted truth is that this is the crop. Contrast of augmented views
# had 40 steps here, and its gain over random weights is small or none: look at the intervals before you believe it. Its two views
# share the sensor's nuisances too, so these count as "the same patch", and it needs more steps. Scratch shows what 12 labels
# teach without any pretraining.
#
# And with all 300 labels, everything trained?

# %%
many = pd.DataFrame(
    [accuracy(name, 0, amount=1.0, steps=50, mode="full") for name in ("from scratch", "across modalities")]
)
print(many[["start", "value", "low", "high", "n_test"]].round(2).to_string(index=False))
gain_few = mean["across modalities"] - mean["from scratch"]
gain_many = many["value"].diff().iloc[-1]
print(f"gain with 12 labels {gain_few:+.2f}, with 300 labels {gain_many:+.2f}")
assert gain_many < gain_few - 0.15

# %% [markdown]
# The more labels, the less pretraining is worth: the shape to expect on real data, too. And a frozen *random* encoder is often better
# than one thinks, so always show that control.
#
# ## In practice
#
# ```bash
# eofuse pretrain recipes/pretrain_s1_s2.yaml --store ben-ge-800.store --to my-encoders
# eofuse train recipes/land_cover.yaml fusion.strategy=late start.from=my-encoders labels.amount=0.1 --to my-few
# ```
#
# Keep `data` and `split` of both recipes alike: a pretraining never reads test patches, and a run refuses encoders that have.

# %% [markdown]
# ## What we saw
#
# - A pretext is a task whose answer is in the data. Contrast asks which belong together, masking and inpainting ask what is
#   hidden, clusters ask where.
# - Each can be looked at: matching accuracy against chance, reconstructions, accuracy of the regions against the commonest one. They
#   show whether something was learned, not that it is useful.
# - On planted fields with 12 labels, contrast across sensors was far above random weights and scratch, because what the sensors
#   share *is* the label there. With 300 labels the gain shrank.
# - On your data the shared part may be another. Test by transfer, with few labels, against the frozen random encoder.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: Temperature
#
# What does the temperature do? Compute the contrastive loss of slightly noisy pairs for temperatures of 1, 0.1 and 0.01, and
# compare it to guessing.

# %% tags=["hide-cell"]
noisy = vectors + 0.5 * torch.randn(32, 64)
of_temperature = {temperature: contrast(vectors, noisy, temperature).item() for temperature in (1, 0.1, 0.01)}
for temperature, loss in of_temperature.items():
    print(f"temperature {temperature:4}: loss {loss:.3f} (guessing {np.log(32):.2f})")
assert of_temperature[1] > of_temperature[0.1] > of_temperature[0.01]
# Cosines lie between -1 and 1. Divided by 1 they hardly tell apart 32 candidates, so the loss stays high however good the vectors are.
# A low temperature looks at the nearest candidates only, and is hard on false neighbours: two patches of the same class, say.

# %% [markdown]
# ### Exercise 2: Inpainting
#
# Inpainting (Pathak et al. 2016) hides the middle of a patch. Pretrain with it for 40 steps and look at the reconstruction. What
# does the network paint into the hole?

# %% tags=["hide-cell"]
inpainting = masked | {"pretrain": {"method": "inpainting"}, "train": masked["train"] | {"steps": 40}}
hole = eofuse.pretrain(inpainting, to=work / "ch07/inpainting")
losses = hole.curves().query("metric == 'loss' and split == 'train'")["value"]
print(f"loss {losses.iloc[:5].mean():.2f} → {losses.iloc[-5:].mean():.2f}")
assert losses.iloc[-5:].mean() < losses.iloc[:5].mean()
reconstruction_of_pretraining(hole, most=2)
# A mean colour: with an error of squares or absolute values, the safest guess of many possible fillings is their middle.

# %% [markdown]
# ### Exercise 3: A pretext that can't teach
#
# Our planted fields look the same in every region. Give each farm a place, pretrain by `clusters`, and compare the accuracy on
# validation with chance. What do you expect of its transfer?


# %% tags=["hide-cell"]
def placed():
    """The same fields, on farms that lie far apart."""
    for number, sample in enumerate(fields()):
        farm = number // 12
        yield sample | {"lon": 5.0 + farm % 10, "lat": 45.0 + farm // 10}


farms = eofuse.write_store(placed(), ["s1", "s2"], work / "ch07/placed.store", **options)
lost = {
    "data": {"store": str(farms.path)},
    "pretrain": {"method": "clusters", "clusters": 5},
    "train": {"steps": 60, "batch_size": 32, "evaluations": 1, "learning_rate": 0.003},
}
found = eofuse.pretrain(common | lost, to=work / "ch07/lost").evaluations["pretext_accuracy"].iloc[-1]
print(f"regions right on validation: {found:.0%}; by chance 1 in 5")
assert found < 0.45
# Nothing in the pixels tells the region, so all that can be learned is noise. An encoder that learned nothing about fields transfers
# no better than a random one.

# %% [markdown]
# ## What to read
#
# - Chen et al. (2020), *A simple framework for contrastive learning of visual representations* (SimCLR).
# - Scheibenreif et al. (2022), *Self-supervised vision transformers for land-cover segmentation and classification* (contrast of
#   Sentinel-1 and Sentinel-2).
# - He et al. (2022), *Masked autoencoders are scalable vision learners*; Bachmann et al. (2022), *MultiMAE*.
# - Ayush et al. (2021), *Geography-aware self-supervised learning*; Pathak et al. (2016), *Context encoders*.
# - In this documentation: [all pretraining methods](../docs/recipes.md#pretrain), [learn from few labels](../docs/few_labels.md),
#   and [how they are done](../docs/method.md).
