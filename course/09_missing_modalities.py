# %% [markdown]
# # 9. Missing modalities, and what each is worth
#
# Sensors fail, clouds cover, archives have gaps. A model that needs all its inputs is useless on the patches that lack one. A
# model that can do without answers a second question on the way: *what is each sensor worth?* This chapter trains such a model on
# data whose answer we can compute with pencil and paper, and compares.
#
# ## What you will learn
#
# - why zeros in place of a missing sensor are a silent error;
# - how a learned token and dropped modalities make a model that can do without;
# - what a Shapley value is, and how it differs from "what is lost without it";
# - when such numbers mean nothing.

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
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from eofuse.errors import EofuseError
from eofuse.modalities import Channel, Kind, Modality

shutil.rmtree(work / "ch09", ignore_errors=True)  # what an earlier execution left

# %% [markdown]
# ## A zero is a value
#
# The easy way is to fill zeros. But zero means something: 0 dB of backscatter is a strong echo, 0 m is sea level, and 0 in the
# season is midwinter. Where does a zero lie among the true values of Sentinel-1?

# %%
radar = store.read("s1", range(100))[:, 0].ravel()  # VV, dB
figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
axis.hist(radar, bins=100, range=(-35, 5), density=True)
axis.axvline(0, color="tab:red", label="a missing value as 0")
axis.set(xlabel="backscatter VV (dB)", ylabel="density")
axis.legend()
plt.show()
brighter = (radar < 0).mean()
print(f"0 dB is brighter than {brighter:.1%} of all true pixels")
assert brighter > 0.95

# %% [markdown]
# A network that gets zeros sees a city of steel. In eofuse a missing modality is *not encoded*: the store says of every patch
# what is present, only present patches pass an encoder, and for the others a **learned token** stands in place of the features.
# Where features are joined, the network is given what is present.
#
# ## Planted sensors
#
# Fields are wet or dry, and bare or green: four states. What each sensor sees, we decide:
#
# | | wet or dry | bare or green |
# |---|---|---|
# | radar (`s1`) | yes | no |
# | thermal camera | yes, the same | no |
# | optical (`s2`) | no | yes |
# | elevation | no | no |

# %%
SIDE = 12  # pixels
thermal = Modality("thermal", Kind.RASTER, (Channel("temperature", unit="K"),), "Thermal camera")


def fields(count=400):
    """Eight fields a farm, two of each state."""
    random = np.random.default_rng(0)
    for number in range(count):
        wet, green = number % 2, number // 2 % 2
        noise = {bands: random.normal(size=(bands, SIDE, SIDE)) for bands in (1, 2, 12)}
        yield {
            "id": f"field-{number}",
            "s1": -14 + 5 * wet + 3 * noise[2],
            "thermal": 300 - 6 * wet + 3 * noise[1],
            "s2": np.clip(2000 + 900 * green + 500 * noise[12], 1, 10000).astype("uint16"),
            "elevation": np.round(500 + 20 * random.normal(size=(1, SIDE, SIDE))).astype("int16"),
            "scene": f"farm-{number // 8}",
            "state": f"{'wet' if wet else 'dry'} and {'green' if green else 'bare'}",
        }


inputs = ["s1", "thermal", "s2", "elevation"]
options = {"name": "fields", "simulated": True, "labels": {"state": "class"}}
planted = eofuse.write_store(fields(), ["s1", thermal, "s2", "elevation"], work / "ch09/fields.store", **options)
print(planted.index["state"].value_counts().to_string())

# %% [markdown]
# ## A model that can do without
#
# Two keys: `fusion.missing: token`, and `augment.drop_modalities`, which takes modalities away at random in training, so that the
# tokens learn. Beside it the model that never saw anything missing.


# %%
def train(name, seed, **changes):
    recipe = {
        "data": {"store": str(planted.path)},
        "inputs": inputs,
        "split": {"fractions": [0.5, 0.1, 0.4]},
        "task": {"target": "state", "metric": "accuracy"},
        "fusion": {"strategy": "late"},
        "train": {"steps": 40, "batch_size": 24, "evaluations": 1, "learning_rate": 0.003},
        "seed": seed,
    }
    return eofuse.train(recipe | changes, to=work / f"ch09/{name}-{seed}")


saw = {"fusion": {"strategy": "late", "missing": "token"}, "augment": {"drop_modalities": 0.4}}
runs = {
    (name, seed): train(name, seed, **changes)
    for name, changes in {"needs all": {}, "can do without": saw}.items()
    for seed in (0, 1)
}
for (name, seed), run in runs.items():
    print(
        f"{name:15} seed {seed}: accuracy {run.test['state']['accuracy']:.2f} with everything, {len(run.predictions())} test fields"
    )
assert all(run.test["state"]["accuracy"] > 0.95 for run in runs.values())

# %% [markdown]
# With everything present they are alike. Now a store arrives without Sentinel-2 and without the thermal camera:

# %%
test_ids = runs["needs all", 0].split().query("part == 'test'")["patch_id"].tolist()
poor = eofuse.subset(planted.path, work / "ch09/poor.store", ids=test_ids, modalities=["s1", "elevation"])
truth = poor.index.set_index("patch_id")["state"]
for name in ("needs all", "can do without"):
    try:
        predicted = runs[name, 0].predict(poor).set_index("patch_id")["state"]
    except EofuseError as error:
        print(f"{name}: {error}".replace(f"{work.resolve()}/", ""))
    else:
        moisture = (predicted.str[:3] == truth.str[:3]).mean()
        whole = (predicted == truth).mean()
        print(
            f"{name}: {len(predicted)} test fields; wet or dry right in {moisture:.0%}, the whole state in {whole:.0%}"
        )
assert moisture > 0.9
assert 0.35 < whole < 0.65

# %% [markdown]
# The first model refuses. The second predicts what the radar can tell, wet or dry, and guesses between bare and green. (We look at
# test fields. Training fields it knows by heart, and would recognise some by their elevation.)
#
# ## What is each sensor worth? With pencil and paper
#
# The accuracy of a perfect reader of a set of sensors is easy to compute here: ¼ for guessing among four states, doubled for
# each of the two questions that the set answers.


# %%
def accuracy_of(present):
    """What a perfect reader of these sensors reaches."""
    moisture = bool({"s1", "thermal"} & set(present))
    return 0.25 * 2 ** (moisture + ("s2" in present))


for present in ([], ["s1"], ["s1", "thermal"], ["s1", "s2"], inputs):
    print(f"{', '.join(present) or 'nothing':30} {accuracy_of(present):.2f}")

# %% [markdown]
# Two ways to say what a sensor is worth:
#
# - **Drop one**: what is lost when this sensor alone is missing. The radar: nothing, because the thermal camera tells the same.
#   And the thermal camera: nothing, because of the radar. Are both worthless?
# - The **Shapley value**: add the sensors one after the other, in every order; a sensor's value is the mean of what it adds when
#   its turn comes. Two sensors that tell the same share its worth, and the values of all sum to the whole gain.

# %%
orders = list(permutations(inputs))
expected = dict.fromkeys(inputs, 0.0)
for order in orders:
    for place, name in enumerate(order):
        added = accuracy_of(order[: place + 1]) - accuracy_of(order[:place])
        expected[name] += added / len(orders)
drop_one = {name: accuracy_of(inputs) - accuracy_of([other for other in inputs if other != name]) for name in inputs}
theory = pd.DataFrame({"shapley": expected, "drop_one": drop_one})
theory.round(3)

# %%
assert abs(sum(expected.values()) - (1 - 0.25)) < 1e-9  # all that is gained over guessing
assert abs(expected["s1"] - 1 / 6) < 1e-9
assert abs(expected["s2"] - 5 / 12) < 1e-9

# %% [markdown]
# ## And measured
#
# `attribute` evaluates a run on its test patches with every set of sensors, and does the same sum.


# %%
def worth(attribution):
    """Shapley values and losses, with 95 % intervals over farms."""
    table = attribution.table.query("metric == 'accuracy' and kind in ['shapley', 'drop_one']")
    return table.set_index(["kind", "name"])


attributions = {key: eofuse.attribute(run.folder, repeats=1) for key, run in runs.items()}
found = {key: worth(attribution) for key, attribution in attributions.items()}
pd.DataFrame({f"{name}, seed {seed}": table["value"] for (name, seed), table in found.items()}).assign(
    theory=[theory.loc[name, kind] for kind, name in found["needs all", 0].index]
).round(2)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, kind in zip(axes, ("shapley", "drop_one"), strict=True):
    for shift, seed in ((-0.12, 0), (0.12, 1)):
        rows = found["can do without", seed].loc[kind].loc[inputs]
        ends = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
        axis.errorbar(np.arange(4) + shift, rows["value"], ends, fmt="o", capsize=3, label=f"measured, seed {seed}")
    axis.scatter(range(4), theory.loc[inputs, kind], marker="_", s=900, color="black", label="theory")
    axis.set(title=kind, xticks=range(4), xticklabels=inputs)
axes[0].set_ylabel("accuracy")
axes[1].legend()
plt.show()

# %%
for seed in (0, 1):
    measured = found["can do without", seed]["value"]
    for kind in ("shapley", "drop_one"):
        assert (measured[kind] - theory[kind]).abs().max() < 0.08, "measured as computed"

# %% [markdown]
# The model that can do without gives the numbers that we computed, for both seeds. The other model never learned what to do
# without a sensor; its numbers tell how it extrapolates, differ more between seeds, and the output says so:

# %%
for warning in attributions["needs all", 0].warnings:
    print("-", warning)

# %% [markdown]
# ## On the simulated ben-ge
#
# Land cover from four modalities. Here nobody knows the truth beforehand.

# %%
recipe = {
    "data": {"store": str(store.path), "crop": 32},
    "inputs": ["s1", "s2", "elevation", "season"],
    "task": {"target": "dominant_land_cover"},
    "fusion": {"strategy": "late", "missing": "token"},
    "augment": {"drop_modalities": 0.3, "turns": True},
    "train": {"steps": 30, "batch_size": 24, "evaluations": 1, "learning_rate": 0.003},
}
run = eofuse.train(recipe, to=work / "ch09/land-cover")
attribution = eofuse.attribute(run.folder, metric="accuracy", repeats=1)
shown = attribution.table.query("metric == 'accuracy' and kind == 'shapley'")
shown[["name", "value", "low", "high", "n_test", "n_scenes"]].round(2)

# %%
axis = plt.figure(figsize=(6, 2.6), layout="constrained").subplots()
axis.errorbar(
    shown["value"],
    shown["name"],
    xerr=[shown["value"] - shown["low"], shown["high"] - shown["value"]],
    fmt="o",
    capsize=3,
)
axis.axvline(0, color="gray", linewidth=0.5)
axis.set(xlabel="Shapley value: accuracy (95 % interval over 19 scenes)")
axis.invert_yaxis()
plt.show()
widths = shown["high"] - shown["low"]
assert widths.max() > 0.1, "nineteen scenes tell little"
for warning in attribution.warnings:
    print("-", warning)

# %% [markdown]
# The intervals are wide and overlap: 96 test patches of 19 scenes can't rank these sensors, and neither could we if we trained
# longer. Read the warnings, above all that about the season: all patches of a scene share it, so a model could learn scenes by
# heart. More test scenes are what would help.
#
# Mind what such numbers are: worth *to this model, on these patches, for this target*. They are no property of a sensor.

# %% [markdown]
# ## What we saw
#
# - Filling zeros invents data. A missing modality is a state of its own, with a learned token.
# - A model must have seen missing modalities in training to do without them.
# - Sensors that tell the same are each worth nothing by *drop one*, and share the worth by Shapley. On planted data the measured
#   values were those that we computed.
# - On 96 test patches the intervals were too wide to rank sensors. Then say so.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: Take away the twin
#
# Without the thermal camera, what are the Shapley values of the other three? Compute them first.

# %% tags=["hide-cell"]
rest = ["s1", "s2", "elevation"]
values = dict.fromkeys(rest, 0.0)
for order in permutations(rest):
    for place, name in enumerate(order):
        values[name] += (accuracy_of(order[: place + 1]) - accuracy_of(order[:place])) / 6
print({name: round(value, 3) for name, value in values.items()})
assert abs(values["s1"] - 0.375) < 1e-9
assert abs(values["s2"] - 0.375) < 1e-9
# Radar and optical are now alike: each answers one of two questions. The radar's worth was never low; it was shared.

# %% [markdown]
# ### Exercise 2: When the sum matters
#
# With only radar, accuracy rises from 0.25 to 0.5. With optical present, radar raises it from 0.5 to 1. Why is the same answer
# worth more in company? What would a sum of questions answered (0, 1, 2) say instead?

# %% tags=["hide-cell"]
alone = accuracy_of(["s1"]) - accuracy_of([])
together = accuracy_of(["s1", "s2"]) - accuracy_of(["s2"])
print(f"radar adds {alone:.2f} alone, {together:.2f} beside optical")
assert together == 2 * alone
# To name the state, both answers must be right, so accuracies multiply. Counted as questions answered, radar would add one in both
# cases. A worth depends on the metric: choose it before you look.

# %% [markdown]
# ### Exercise 3: Clouds
#
# Take away Sentinel-2 of the test fields in which it is "cloudy": a random 30 %. How accurate is the model that can do without, on
# cloudy and on clear fields? (`run.predict` takes a dictionary of arrays as well as a store: `{name: store.read(name, rows)}`. Leave
# out what is missing.)

# %% tags=["hide-cell"]
model = runs["can do without", 0]
split = model.split().query("part == 'test'")
rows = split["row"].to_numpy()
cloudy = np.random.default_rng(0).random(len(rows)) < 0.3
truth = planted.index["state"].to_numpy()[rows]
right = np.zeros(len(rows), dtype=bool)
for clouds, names in {False: inputs, True: ["s1", "thermal", "elevation"]}.items():
    chosen = cloudy == clouds
    arrays = {name: planted.read(name, rows[chosen]) for name in names}
    right[chosen] = model.predict(arrays)["state"].to_numpy() == truth[chosen]
for words, chosen in {"clear": ~cloudy, "cloudy": cloudy}.items():
    print(f"{words:7} {right[chosen].mean():.2f} of {chosen.sum()} fields right")
assert right[~cloudy].mean() > 0.95
assert 0.3 < right[cloudy].mean() < 0.7
# About a half under clouds: wet or dry is still known, green is a guess. No error and no zero.

# %% [markdown]
# ## What to read
#
# - Shapley (1953), *A value for n-person games*; Lundberg & Lee (2017), *A unified approach to interpreting model predictions*.
# - Neverova et al. (2016), *ModDrop: adaptive multi-modal gesture recognition*.
# - Hooker, Mentch & Zhou (2021), *Unrestricted permutation forces extrapolation*.
# - In this documentation: [work with missing sensors](../docs/missing.md), [gaps](../docs/recipes.md#gaps), and
#   [what a modality is worth](../docs/method.md).
