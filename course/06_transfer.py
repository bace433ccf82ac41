# %% [markdown]
# # 6. Transfer learning
#
# Somebody has trained a network on many labels. You have few. Transfer learning starts from the weights of that network instead
# of random numbers. It works if three things fit: the **architecture**, the **inputs** band by band, and the **task**, roughly.
# The first is checked by shapes. The second is not: a network does not know what its channels mean, so it is the silent mistake
# of Earth observation. Photographs always have red, green and blue; sensors do not.
#
# ## What you will learn
#
# - what a file of weights holds, and what it does not;
# - why bands must be matched by name, and what happens if they are matched by position;
# - how to read what was loaded, mapped, started fresh, or left over;
# - how to fine-tune with few labels: everything, only the head, or slowly towards the input;
# - why a run refuses weights that have seen its test patches.

# %% [markdown]
# ## The data
#
# The truth should be known, so this chapter plants it. Fields lie in rows, whose spacing tells the crop. Only the **near
# infrared** (B08) shows it. **Red** (B04) shows stripes as well, but those of last year's crop: a trap. The fields are
# **simulated**, and prove nothing about the Earth.

# %%
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import timm
import torch
from torch.nn.functional import cross_entropy

import eofuse
from eofuse.modalities import Channel, Kind, Modality

work = Path("course-data")  # everything this chapter writes is in here
shutil.rmtree(work / "ch06", ignore_errors=True)  # what an earlier execution left
torch.set_num_threads(1)

# %%
PERIODS, SIDE = {"rye": 4, "maize": 5, "beet": 7}, 24  # pixels


def field(crop, last_crop, random):
    """The bands of a field, as reflectance."""
    y, x = np.mgrid[:SIDE, :SIDE]

    def rows(name):
        return 0.05 * np.sin(
            2 * np.pi * (y if random.integers(2) else x) / PERIODS[name] + random.uniform(0, 2 * np.pi)
        )

    bands = {"B08": 0.4 + rows(crop), "B04": 0.2 + rows(last_crop), "B05": np.full((SIDE, SIDE), 0.3)}
    return {name: values + random.normal(0, 0.05, values.shape) for name, values in bands.items()}


# %%
def fields(bands, count, seed):
    """Twelve fields a farm."""
    random = np.random.default_rng(seed)
    for number in range(count):
        crop = list(PERIODS)[number % 3]
        values = field(crop, random.choice(list(PERIODS)), random)
        camera = np.stack([values[name] for name in bands])
        yield {"id": f"{seed}-{number}", "camera": camera, "scene": f"farm-{seed}-{number // 12}", "crop": crop}


# %% [markdown]
# Two campaigns. The **archive** has 600 labelled fields and two bands, red first. **Mine** has another camera: near infrared
# first, red last, and between them a band that the archive lacks. Mine has 18 labels.


# %%
def campaign(name, bands, count, seed):
    """The store of a campaign."""
    camera = Modality("camera", Kind.RASTER, tuple(Channel(band, unit="reflectance") for band in bands))
    options = {"name": name, "simulated": True, "labels": {"crop": "class"}}
    return eofuse.write_store(fields(bands, count, seed), [camera], work / f"ch06/{name}.store", **options)


archive = campaign("archive", ["B04", "B08"], 600, seed=0)
mine = campaign("mine", ["B08", "B05", "B04"], 480, seed=1)

# %%
figure, axes = plt.subplots(1, 5, figsize=(10, 2.5), layout="constrained")
at = 0
for store in (archive, mine):
    for channel, values in zip(store.modality("camera").channels, store[0]["camera"], strict=True):
        axes[at].imshow(values, cmap="gray", vmin=values.mean() - 0.15, vmax=values.mean() + 0.15)
        axes[at].set(title=f"{store.path.stem}: {channel.name}", xticks=[], yticks=[])
        at += 1
plt.show()

# %% [markdown]
# ## The weights of somebody else
#
# Somebody trained a small ResNet (`test_resnet`) of [timm](https://github.com/huggingface/pytorch-image-models) on the archive, in
# plain PyTorch, and left a file. Let us be that somebody.

# %%
mean, std = torch.tensor([0.2, 0.4]), torch.tensor([0.06, 0.06])  # of red and near infrared


def logits_of(network, batch):
    return network((batch["camera"] - mean[:, None, None]) / std[:, None, None])


torch.manual_seed(0)
network = timm.create_model("test_resnet", in_chans=2, num_classes=3)
optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
train = archive.dataset(inputs=["camera"], target="crop", part="train")
for _ in range(8):
    for batch in train.loader(32, shuffle=True):
        loss = cross_entropy(logits_of(network, batch), batch["target"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()

# %%
test = archive.dataset(inputs=["camera"], target="crop", part="test")
network.eval()
with torch.no_grad():
    batch = next(iter(test.loader(len(test))))
    right = (logits_of(network, batch).argmax(1) == batch["target"]).float().mean().item()
torch.save(network.state_dict(), work / "ch06/archive.pt")
print(f"{right:.0%} of {len(test)} test fields of the archive are right")
for name, tensor in list(network.state_dict().items())[:4]:
    print(f"{name:20} {tuple(tensor.shape)}")
assert right > 0.9

# %% [markdown]
# The first tensor is the first layer: 16 filters × **2 bands** × 3 × 3 pixels. Nothing in the file says which band is which, nor
# by which mean and deviation the values were standardised. Without that knowledge, weights are useless. It must come along, in a
# README or beside the file; eofuse keeps it inside of every model that it saves.
#
# ## Start from it
#
# The recipe says what the file does not: `bands`, `mean`, `std`. With `mode: linear_probe` the encoder stays as it is, and only the
# head learns.


# %%
def recipe(start=None, seed=0, amount=6, steps=100):
    """Learns the crop of my fields from so many labels a class."""
    values = {
        "data": {"store": str(mine.path)},
        "inputs": ["camera"],
        "split": {"fractions": [0.4, 0.1, 0.5]},
        "task": {"target": "crop", "metric": "accuracy"},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "labels": {"amount": amount},
        "train": {"steps": steps, "batch_size": 16, "evaluations": 4, "learning_rate": 0.003},
        "seed": seed,
    }
    return values | ({"start": start} if start else {})


weights = {"from": str(work / "ch06/archive.pt"), "mean": mean.tolist(), "std": std.tolist()}
by_name = {**weights, "bands": ["B04", "B08"], "mode": "linear_probe"}
run = eofuse.train(recipe(by_name), to=work / "ch06/by name-0")
run.transfer().style.hide()

# %% [markdown]
# Read the table row by row:
#
# - **mapped**: of the first layer, the columns of B04 and B08 went where my camera has these bands. B05 is not known to the
#   weights: it gets the mean of the known ones, and all are scaled by 2/3, so that equal values in all bands give what they gave
#   before.
# - **loaded**: all other layers of the encoder, as they are.
# - **fresh**: the head. It starts from random numbers, and learns my classes.
# - **left over**: the head of the archive's network is not used.
#
# If an encoder of another kind is named, nothing fits, and that is an error, not a silent random start.

# %%
table = run.transfer().set_index("part")["status"]
assert set(table["encoder"]) == {"mapped", "loaded"}
assert table["head of crop"] == "fresh"
for note in run.start_notes():
    print("note:", note.replace(f"{work.resolve()}/", ""))

# %% [markdown]
# The note is about what a file can't tell: from which patches it has learned. We come back to it.
#
# ## By name, or by position?
#
# What happens if the first band of the file goes to my first band, and the second to my second, as `load_state_dict` would do? We
# say so by naming the archive's bands falsely. And beside both: no transfer at all. Three ways, two seeds, 18 labelled fields
# each.

# %%
by_position = {**weights, "bands": ["B08", "B05"], "mode": "linear_probe"}


def accuracy(name, start, seed, **options):
    """Accuracy on my test fields, with its 95 % interval over farms."""
    run = eofuse.train(recipe(start, seed, **options), to=work / f"ch06/{name}-{seed}")
    scores = eofuse.evaluate(run.folder).query("predictor == 'run' and metric == 'accuracy'")
    return {"start": name, "seed": seed, **scores.iloc[0][["value", "low", "high", "n_test"]]}


starts = {"random": None, "by position": by_position, "by name": by_name}
found = pd.DataFrame([accuracy(name, start, seed) for name, start in starts.items() for seed in (0, 1)])
found.round(2)


# %%
def draw(found, title):
    """Accuracies with intervals, by start."""
    names = list(found["start"].unique())
    axis = plt.figure(figsize=(7, 3), layout="constrained").subplots()
    place = found["start"].map(names.index) + 0.12 * found["seed"]
    axis.errorbar(
        place, found["value"], [found["value"] - found["low"], found["high"] - found["value"]], fmt="o", capsize=3
    )
    axis.axhline(1 / 3, color="gray", linestyle=":", label="guessing")
    axis.set(xticks=np.arange(len(names)) + 0.06, xticklabels=names, ylim=(0.2, 1.02), title=title)
    axis.set_ylabel("accuracy on test fields\n(95 % interval over farms)")
    axis.legend(loc="center right")
    plt.show()


draw(found, "18 labelled fields: from where does it start?")
means = found.groupby("start")["value"].mean()
assert means["by name"] > 0.9
assert means["by position"] < 0.55

# %% [markdown]
# By position, the filters that look for this year's rows look at an empty band, and those that learned to ignore red now look at
# the near infrared. The network loads without any error, trains without any error, and is worth nothing. By name, 18 labels are
# enough.
#
# On your own data you will not know the truth beforehand. So check the *transfer table*, not the loss.
#
# ## How much should learn?
#
# `linear_probe` keeps the encoder and trains the head. `full` trains everything. `layer_decay` trains everything, but each layer
# more slowly than the one after it, so that what is general stays.

# %%
modes = {mode: {**by_name, "mode": mode} for mode in ("full", "layer_decay")}
tuned = pd.DataFrame([accuracy(mode, start, seed) for mode, start in modes.items() for seed in (0, 1)])
probe = found[found["start"] == "by name"].assign(start="linear_probe")
tuned = pd.concat([probe, tuned], ignore_index=True)
draw(tuned, "18 labelled fields: what learns?")
assert (tuned["value"] > 0.8).all()

# %% [markdown]
# All three work here, because the task is the same and the fields look alike. In general: the fewer labels, and the more alike
# the tasks, the less should move. With many labels `full` is right, since what is different can then be learned. The choice is
# one for validation: put the modes into a study as variants.
#
# And with all 192 labels? The random start gets four times the steps, too.

# %%
gain_few = means["by name"] - means["random"]
rich = pd.DataFrame(
    [
        accuracy("random, 192 labels", None, 0, amount=1.0, steps=400),
        accuracy("full, 192 labels", modes["full"], 0, amount=1.0),
    ]
)
gain_many = rich["value"].diff().iloc[-1]
print(rich.round(2).to_string(index=False))
print(f"gain with 18 labels: {gain_few:.2f}; with 192: {gain_many:.2f}")
assert gain_many < gain_few

# %% [markdown]
# The gain shrinks as labels grow. **Transfer replaces labels and steps**: what the archive's 420 labels taught need not be
# learned again. Its worth is what you would have had to label. With still more labels it falls to nothing, as [chapter
# 7](07_self_supervised.py) shows. [Chapter 8](08_label_efficiency.py) draws that curve.
#
# ## Have the weights seen the test?
#
# Weights that have learned from your test patches give scores that mean nothing. It happens easily: a colleague pretrains on
# "all" data, you split it later. Every model that eofuse saves lists the patches that it and its ancestors have learned from.
# Suppose that we start from a run on my own fields, and split them anew:

# %%
from eofuse.errors import UsageError

again = recipe({"from": str(run.folder)}) | {"split": {"fractions": [0.4, 0.1, 0.5], "split_seed": 5}}
try:
    eofuse.train(again, to=work / "ch06/leaky")
except UsageError as error:
    print(error)
else:
    raise AssertionError("weights that have seen the test patches were taken")

# %% [markdown]
# ## What we saw
#
# - A file of weights holds tensors. Which bands they expect, and in which unit, must come along.
# - Matched by name, weights of another camera gave over 90 % with 18 labels (planted fields, 2 seeds, 240 test fields); matched
#   by position they were worth about as little as random ones.
# - The transfer table says of every part whether it was loaded, mapped, fresh or left over. Look at it first.
# - With few labels let little move. With more labels and steps the gain shrank.
# - Weights that have seen test patches are refused. Of files from elsewhere nobody knows it, and the run says so.
#
# Real weights for Sentinel-2 and others come from timm and torchgeo (`start: {from:
# "torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO"}`); they are downloaded once, so this chapter does without. Weights of your own,
# without labels, are made in [chapter 7](07_self_supervised.py).

# %% [markdown]
# ## Exercises
#
# ### Exercise 1: Map a first layer by hand
#
# Build the first layer for my three bands from the archive's two, by name, with the mean for the unknown band and the factor 2/3.
# Check the sentence "equal values in all bands give what they gave before".

# %% tags=["hide-cell"]
old = network.state_dict()["conv1.0.weight"]  # (16, 2, 3, 3), for B04 and B08
known = {"B04": old[:, 0], "B08": old[:, 1]}
new = torch.stack([known.get(band, old.mean(dim=1)) for band in ("B08", "B05", "B04")], dim=1) * 2 / 3
grey = torch.rand(1, 1, 8, 8)
before = torch.nn.functional.conv2d(grey.expand(1, 2, 8, 8), old)
after = torch.nn.functional.conv2d(grey.expand(1, 3, 8, 8), new)
print(f"largest difference: {(before - after).abs().max():.1e}")
assert torch.allclose(before, after, atol=1e-5)

# %% [markdown]
# ### Exercise 2: Forget the unit
#
# Somebody stored the archive as integers: reflectance × 10,000. Your colleague gives `mean: [2000, 4000]` and `std: [600, 600]`
# with the file, and your store has reflectance. What happens to a linear probe, and why is there no error?

# %% tags=["hide-cell"]
forgotten = {**by_name, "mean": [2000.0, 4000.0], "std": [600.0, 600.0]}
wrong = accuracy("wrong unit", forgotten, 0)
print(f"accuracy {wrong['value']:.2f} ({wrong['low']:.2f} to {wrong['high']:.2f})")
assert wrong["value"] < 0.6
# (0.4 - 4000) / 600 is about -6.7 for every pixel: the network sees one grey. Both numbers are legal, so nothing complains. Physical
# units in the store, with scale and offset, are what prevents it.

# %% [markdown]
# ### Exercise 3: Is it the weights, or the architecture?
#
# A linear probe on an encoder with *random* weights is the control that every claim of transfer needs. Make random weights of the
# same network, save them, and start from them. What do 18 labels give?

# %% tags=["hide-cell"]
torch.manual_seed(1)
torch.save(timm.create_model("test_resnet", in_chans=2, num_classes=3).state_dict(), work / "ch06/untrained.pt")
control = accuracy("untrained", {**by_name, "from": str(work / "ch06/untrained.pt")}, 0)
print(f"frozen random encoder: {control['value']:.2f} ({control['low']:.2f} to {control['high']:.2f})")
assert control["value"] < means["by name"] - 0.2
# The gain over this is due to what was learned. Studies make this control by themselves.

# %% [markdown]
# ## What to read
#
# - Yosinski et al. (2014), *How transferable are features in deep neural networks?*
# - Howard & Ruder (2018), *Universal language model fine-tuning for text classification* (gradual unfreezing); Bao et al. (2022),
#   *BEiT* (layer-wise decay).
# - Corley et al. (2024), *Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters*.
# - In this documentation: [every key of `start`](../docs/recipes.md#start), [how weights are mapped](../docs/method.md), and
#   [a training loop of your own](../docs/python.md#a-training-loop-of-your-own).
