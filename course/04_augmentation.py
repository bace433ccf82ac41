# %% [markdown]
# # 4. Augmentation
#
# Labels are expensive, pixels are cheap. Augmentation changes training patches in ways that do not change their label, so that a
# network sees more than was labelled. It encodes knowledge: *what may vary without changing the answer*. If that knowledge is wrong,
# augmentation teaches an error. This chapter shows both on data whose truth we know.
#
# ## What you will learn
#
# - why every raster, map and box of a patch must be transformed by the same geometry;
# - why radar, optical bands and heights each need a noise of their own;
# - when turning patches helps, when it does nothing, and when it destroys the label;
# - how to switch augmentation on in a recipe, and how to look at what it does.

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

shutil.rmtree(work / "ch04", ignore_errors=True)  # what an earlier execution left
built = store.index["worldcover_fraction.built-up"]
patch_id = store.index["patch_id"][(built - 0.3).abs().argmin()]  # a village, about a third built up
patch = store[patch_id]
print(patch_id, {name: patch[name].shape for name in ("s2", "s1", "worldcover")})

# %% [markdown]
# ## One geometry for everything
#
# A flip is one line of NumPy. The label of a *patch* (say, "cropland") stays the same. The label of each *pixel* moves with the
# pixels. So the land-cover map must be flipped as the image is. Here is the mistake, and the right way.

# %%
s2 = store.modality("s2")
colour = np.stack([patch["s2"][s2.channel_index(band)] for band in ("B04", "B03", "B02")], axis=-1)
colour = np.clip(colour * s2.scale / 0.2, 0, 1)  # 20 % reflectance is white
land_cover = patch["worldcover"][0]

figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
pairs = {
    "as it is": (colour, land_cover),
    "image flipped, map not: wrong": (colour[:, ::-1], land_cover),
    "both flipped: right": (colour[:, ::-1], land_cover[:, ::-1]),
}
for axis, (title, (image, classes)) in zip(axes, pairs.items(), strict=True):
    axis.imshow(image)
    axis.contour(classes == 50, [0.5], colors="red", linewidths=0.8)  # 50: built-up
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The red line is the outline of *built-up* in the map. eofuse draws one geometry for each patch and applies it to all rasters, maps
# and boxes. Turns and flips only move pixels, so we can check it exactly: after the same turn, each land-cover pixel still has the
# reflectance that it had before.

# %%
draws = eofuse.augment_patch(store, patch_id, {"turns": True}, draws=8, seed=0)
red = s2.channel_index("B04")
before = sorted(zip(land_cover.ravel(), patch["s2"][red].ravel(), strict=True))
for draw in draws:
    after = sorted(zip(draw["worldcover"][0].ravel(), draw["s2"][red].ravel(), strict=True))
    assert after == before  # the same pairs of class and reflectance, at other places

# %% [markdown]
# ## Radiometry: a noise for each sensor
#
# Values vary too, and each sensor has its own reasons:
#
# - **Sentinel-2** measures reflectance. Haze and calibration change it by a factor, more in the blue: `gain`, `haze`.
# - **Sentinel-1** is coherent. Its noise is *speckle*: the power is multiplied by a random factor of mean 1. In decibels that
#   is no longer a noise of mean 0, so it must be drawn in linear power.
# - **Elevation** has errors of some metres, added: `height_noise`.
# - A **class map** has no radiometry: code 50 is not "more" than code 40.
#
# `speckle` is a number of *looks*: so many independent measurements were averaged, and fewer looks are more noise. Which channels get
# which noise follows from their *unit* in the store: reflectance, dB, m.

# %%
eofuse.show_augmented(
    store, patch_id, {"speckle": 4, "gain": 0.2, "haze": 0.05}, modalities=["s2", "s1"], draws=3, seed=1
)

# %%
draws = eofuse.augment_patch(store, patch_id, {"speckle": 4}, draws=20, seed=0, modalities=["s1"])
decibels = np.stack([patch["s1"], *(draw["s1"] for draw in draws)])  # first the patch itself
power = 10 ** (decibels / 10)
gain_of_power = power[1:].mean() / power[0].mean()
shift_of_decibels = decibels[1:].mean() - decibels[0].mean()
print(f"mean power: factor {gain_of_power:.3f}; mean of the decibels: {shift_of_decibels:+.2f} dB")
assert abs(gain_of_power - 1) < 0.02
assert shift_of_decibels < -0.3

# %% [markdown]
# The mean *power* stays; the mean of the *decibels* falls, because the logarithm weighs dark speckles more. Adding Gaussian noise to
# decibels would have changed the measured energy.

# %% [markdown]
# ## Does it help? An experiment with a known truth
#
# We plant a truth. (`write_store` makes a store of samples that Python yields: dictionaries with an id, an array for each modality, a
# scene and the labels.) Fields lie in rows. Two things are labelled: how far the rows are apart (**spacing**: narrow or wide) and
# where they run (**direction**). Turning a field keeps its spacing, and changes its direction. So we know beforehand what turns
# should do: help for the first label, and ruin the second.

# %%
from eofuse.modalities import Channel, Kind, Modality

SIDE = 24  # pixels
camera = Modality("camera", Kind.RASTER, (Channel("red", unit="reflectance"), Channel("nir", unit="reflectance")))


def fields(count=480):
    """Fields of two spacings and two directions; eight of each farm."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        period, along_x = (4, 6)[number % 2], number // 2 % 2  # each farm has all four kinds twice
        rows = np.sin(2 * np.pi * (y if along_x else x) / period + random.uniform(0, 2 * np.pi))
        values = np.stack([0.2 + 0.04 * rows, 0.4 - 0.05 * rows]) + random.normal(0, 0.06, (2, SIDE, SIDE))
        words = {"spacing": "narrow" if period == 4 else "wide", "direction": "east-west" if along_x else "north-south"}
        yield {"id": f"field-{number}", "camera": values, "scene": f"farm-{number // 8}", **words}


# %%
labels = {"spacing": "class", "direction": "class"}
planted = eofuse.write_store(
    fields(), [camera], work / "ch04/fields.store", name="fields", simulated=True, labels=labels
)

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
kinds = planted.index.groupby(["spacing", "direction"]).head(1).sort_values(["spacing", "direction"])
for axis, (row, field) in zip(axes, kinds.iterrows(), strict=True):
    picture = axis.imshow(planted[row]["camera"][1], cmap="gray", vmin=0.2, vmax=0.6)
    axis.set(title=f"{field['spacing']}, {field['direction']}", xticks=[], yticks=[])
figure.colorbar(picture, ax=axes, label="reflectance (near infrared)", shrink=0.8)
plt.show()

# %% [markdown]
# Now four recipes: each label with and without turns, two seeds each, with **12 labels a class**. Nothing else differs.


# %%
def accuracy(target, turns, amount, seed):
    """Trains one network; accuracy on the test fields, with its 95 % interval over farms."""
    recipe = {
        "data": {"store": str(planted.path)},
        "inputs": ["camera"],
        "split": {"fractions": [0.4, 0.1, 0.5]},
        "task": {"target": target, "metric": "accuracy"},
        "fusion": {"strategy": "single"},
        "labels": {"amount": amount},
        "augment": {"turns": turns},
        "train": {"steps": 80, "batch_size": 12, "evaluations": 4, "learning_rate": 0.003},
        "seed": seed,
    }
    run = eofuse.train(recipe, to=work / f"ch04/{target}-{turns}-{amount}-{seed}")
    scores = eofuse.evaluate(run.folder)
    return scores[(scores["predictor"] == "run") & (scores["metric"] == "accuracy")].iloc[0]


rows = [
    {
        "label": target,
        "turns": turns,
        "seed": seed,
        **accuracy(target, turns, 12, seed)[["value", "low", "high", "n_test"]],
    }
    for target in ("spacing", "direction")
    for turns in (False, True)
    for seed in (0, 1)
]
few = pd.DataFrame(rows)
few.round(2)

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for axis, (target, of_target) in zip(axes, few.groupby("label", sort=False), strict=True):
    middle = of_target["turns"] + 0.1 * of_target["seed"]
    below, above = of_target["value"] - of_target["low"], of_target["high"] - of_target["value"]
    axis.errorbar(middle, of_target["value"], [below, above], fmt="o", capsize=3)
    axis.axhline(0.5, color="gray", linestyle=":", label="guessing")
    axis.set(title=f"label: {target}", xticks=[0.05, 1.05], xticklabels=["as they are", "turned"], ylim=(0.3, 1.02))
axes[0].set_ylabel("accuracy on test fields\n(95 % interval over farms, 2 seeds)")
axes[1].legend()
plt.show()

# %%
score = few.pivot(index=["label", "seed"], columns="turns", values="value")
gain = score[True] - score[False]
print(gain.round(2).to_string())
assert (gain["spacing"] > 0.1).all(), "turns help where they keep the label"
assert (score[True]["direction"] < 0.7).all()
assert (gain["direction"] < -0.2).all(), "and ruin it where they change it"

# %% [markdown]
# Both predictions come true. With turns, 24 labelled fields act like many more for *spacing*. For *direction*, a turned field keeps
# the label of the field that it was: half of the training labels are wrong, and nothing is left from which to learn. What remains is
# near guessing: a little above, because validation keeps the luckiest moment of a training that sways this way and that.
#
# And with many labels?

# %%
many = {turns: accuracy("spacing", turns, 1.0, 0) for turns in (False, True)}
for turns, found in many.items():
    print(
        f"turns {turns!s:5}: {found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f}), all training fields labelled"
    )
assert abs(many[True]["value"] - many[False]["value"]) < 0.06, "no gain where the data teach it already"

# %% [markdown]
# With every training field labelled, the network learns from the data alone that direction does not matter. Augmentation replaces
# labels; where there are enough of them it adds nothing. This is the shape to expect on real data: gains at few labels, little at
# many.

# %% [markdown]
# ## In a recipe
#
# `augment: light` turns patches and adds mild noise: a safe start for land cover. `augment: strong` also crops, hides parts, drops
# bands and mixes patches. Single operations change the preset named among them:
#
# ```yaml
# augment: {preset: light, cut_out: 0.1}
# ```

# %%
eofuse.show_augmented(store, patch_id, "strong", modalities=["s2", "worldcover"], draws=4, seed=3)

# %% [markdown]
# The same picture on the command line: `eofuse show ben-ge.store PATCH_ID --augment strong`. Grey areas are hidden: they count as
# missing, and their map pixels have no label. Some draws are mixed with another patch (MixUp, CutMix). Validation and test patches
# are never augmented.
#
# ## What we saw
#
# - Rasters, maps and boxes of a patch share one geometry, or the labels are wrong.
# - Noise follows the physics of the sensor. Speckle multiplies power, and keeps its mean.
# - On planted fields with 24 labels, turns raised the accuracy for a label that they keep, and brought a label that they change down
#   to guessing. With all labels they changed nothing.
# - So ask of every augmentation: *would the label still be right?* The sun's and the radar's look direction do not turn with a patch,
#   and a crop can leave out the very house that gave the patch its label.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: MixUp in three lines
#
# MixUp (Zhang et al. 2018) trains on weighted means of two patches, and on the weighted mean of their *losses*. Mix a patch of water
# with one of a town, a third to two thirds, and show it. Why are losses mixed, and not class numbers?

# %% tags=["hide-cell"]
water, town = (
    store[store.index[f"worldcover_fraction.{name}"].argmax()]["s2"] for name in ("permanent_water_bodies", "built-up")
)
share = 1 / 3
mixed = share * water + (1 - share) * town
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for axis, (title, values) in zip(axes, {"water": water, "town": town, "a third water": mixed}.items(), strict=True):
    image = np.stack([values[s2.channel_index(band)] for band in ("B04", "B03", "B02")], axis=-1) * s2.scale
    axis.imshow(np.clip(image / 0.3, 0, 1))
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
# loss = share * cross_entropy(logits, water) + (1 - share) * cross_entropy(logits, town)
# The mean of two class numbers would be the number of another class: classes have no order.

# %% [markdown]
# ### Exercise 2: Which turns would keep the direction?
#
# Direction is ruined by turns of 90°. Which of the eight turns and flips of a square keep *east-west* east-west? Check it on a
# planted field: along which axis do the values change more?


# %% tags=["hide-cell"]
def runs_east_west(values):
    """Whether values change more from row to row than from column to column."""
    smooth_rows, smooth_columns = values.mean(axis=1), values.mean(axis=0)
    return smooth_rows.std() > smooth_columns.std()


field = planted[int(np.flatnonzero(planted.index["direction"] == "east-west")[0])]["camera"][1]
turned = {
    f"turned by {90 * quarter}°{', flipped' if flip else ''}": np.rot90(field[:, ::-1] if flip else field, quarter)
    for quarter in range(4)
    for flip in (False, True)
}
keeps = {name: bool(runs_east_west(values)) for name, values in turned.items()}
print(pd.Series(keeps))
assert all(kept == ("90" not in name and "270" not in name) for name, kept in keeps.items())
# Half turns and flips keep it; quarter turns do not. An augmentation of flips alone would be right for both labels.

# %% [markdown]
# ### Exercise 3: How much speckle is too much?
#
# Speckle with few *looks* is strong. Draw a patch with 20, 4 and 1 looks, and measure the standard deviation that each adds, in dB.

# %% tags=["hide-cell"]
for looks in (20, 4, 1):
    draw = eofuse.augment_patch(store, patch_id, {"speckle": looks}, seed=0, modalities=["s1"])[0]["s1"]
    print(f"{looks:2} looks: {(draw - patch['s1']).std():.1f} dB")
one_look = (draw - patch["s1"]).std()
assert 4.5 < one_look < 6.5  # theory: 5.6 dB, the deviation of an exponential variable in dB
# Water and land differ by some 10 dB, kinds of crop by 1 to 2 dB: with one look, single pixels tell nothing of crops.

# %% [markdown]
# ## What to read
#
# - Shorten & Khoshgoftaar (2019), *A survey on image data augmentation for deep learning*.
# - Goodman (1976), *Some fundamental properties of speckle*.
# - DeVries & Taylor (2017), *Improved regularization of convolutional neural networks with cutout*; Zhang et al. (2018), *mixup*; Yun
#   et al. (2019), *CutMix*.
# - In this documentation: [every key of `augment`](../docs/recipes.md#augment), and [how each is done](../docs/method.md).
