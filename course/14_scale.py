# %% [markdown]
# # 14. Scale: more patches, more processes, more machines
#
# ben-ge has 590,326 patches, and a study can have a thousand runs. What took a minute in this course then takes days, or
# the same minute: it depends on what grows. This chapter measures what costs time, and spreads the work without
# changing the numbers.
#
# ## What you will learn
#
# - What the time of a step is made of, and how to estimate an epoch and a study before you start them.
# - How a batch that does not fit into memory is cut into parts, and why the gradient stays the same.
# - How several processes train one model, and how a study is spread over a cluster.
# - What a killed study loses, and what stays constant as the data grow.

# %% [markdown]
# ## The data
#
# The planted fields of [chapter 4](04_augmentation.py): rows of two spacings, in two directions. They are
# **simulated**, and small, so that this chapter can measure large things in seconds.

# %%
import json
import resource
import shutil
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import timm
import torch
from torch.nn.functional import cross_entropy

import eofuse
from eofuse.modalities import Channel, Kind, Modality

work = Path("course-data/ch14")  # everything this chapter writes is in here
shutil.rmtree(work, ignore_errors=True)
torch.set_num_threads(1)

# %%
SIDE = 32  # pixels
camera = Modality("camera", Kind.RASTER, (Channel("red", unit="reflectance"), Channel("nir", unit="reflectance")))


def fields(count):
    """Eight fields a farm, four of each spacing."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        rows = np.sin(2 * np.pi * (y if random.integers(2) else x) / (4, 6)[number % 2] + random.uniform(0, 2 * np.pi))
        values = np.stack([0.2 + 0.04 * rows, 0.4 - 0.05 * rows]) + random.normal(0, 0.05, (2, SIDE, SIDE))
        spacing = ("narrow", "wide")[number % 2]
        yield {"id": f"field-{number}", "camera": values, "scene": f"farm-{number // 8}", "spacing": spacing}


def write(count):
    """A store of so many fields."""
    options = {"name": "fields", "simulated": True, "labels": {"spacing": "class"}}
    return eofuse.write_store(fields(count), [camera], work / f"{count}.store", **options)


store = write(240)

# %% [markdown]
# ## What a step costs
#
# A training step reads a batch, and passes it forward and backward. How long does that take for batches of other sizes?
# We take the fastest of several tries, since a slow try only says that the machine had something else to do.


# %%
def fastest(action, tries=5):
    """Seconds of the fastest of several tries."""
    taken = []
    for _ in range(tries):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return min(taken)


torch.manual_seed(0)
network = timm.create_model("test_resnet", in_chans=2, num_classes=2)
train = store.dataset(inputs=["camera"], target="spacing", part="train")


def step(size):
    """Forward and backward of a batch; returns the action."""
    batch = next(iter(train.loader(size)))
    return lambda: cross_entropy(network(batch["camera"]), batch["target"]).backward()


sizes = [4, 16, 64]
seconds = pd.DataFrame(
    {
        "reading": [fastest(lambda size=size: next(iter(train.loader(size)))) for size in sizes],
        "forward and backward": [fastest(step(size)) for size in sizes],
    },
    index=pd.Index(sizes, name="batch"),
)
(1000 * seconds).round(1).add_suffix(" (ms)")

# %%
a_patch, fixed = np.polyfit(sizes, seconds.sum(axis=1), 1)
patches = 590_326
print(f"a step: {1000 * max(fixed, 0):.1f} ms, and {1000 * a_patch:.2f} ms a patch")
print(f"an epoch of {patches:,} such patches: {patches * a_patch / 60:.0f} minutes on this core")
print(f"of 120 × 120 pixels, 14 times as many: {14 * patches * a_patch / 3600:.1f} hours")
assert seconds["forward and backward"][64] > seconds["forward and backward"][4]

# %% [markdown]
# A step has a fixed price and a price a patch. Small batches pay the fixed one more often; that is why GPUs want large
# ones. And the price a patch grows with its *pixels*. So the cheapest way to scale is to look at smaller images, if the
# task allows it: `data: {crop: 48}`. The next one is a smaller network. Only then come more machines.
#
# ## A batch that does not fit
#
# What needs memory in training is not the weights, but what the forward pass keeps for the backward pass. We can count
# it:


# %%
def kept(rows):
    """Megabytes that a forward pass of these patches keeps for the backward pass."""
    total = 0

    def note(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(rows)
    return total / 1e6


batch = next(iter(train.loader(64)))
for size in (16, 32, 64):
    print(f"batch of {size}: {kept(batch['camera'][:size]):.1f} MB")
few, some, many = (kept(batch["camera"][:size]) for size in (16, 32, 64))
assert abs((many - some) / (some - few) - 2) < 0.1

# %% [markdown]
# Twice the batch, nearly twice the memory (the weights are in it, and do not grow). Is there a way to have the gradient
# of 64 patches with the memory of 32? The loss is a mean over patches, and so is its gradient. So pass half of the batch,
# keep the gradient, pass the other half, and add up. (`test_convnext` has no batch normalisation, which would look at one
# half at a time.)


# %%
def gradient_of(network, parts):
    """The gradient of the mean loss, from so many parts of the batch one after another."""
    network.zero_grad()
    for images, labels in zip(batch["camera"].chunk(parts), batch["target"].chunk(parts), strict=True):
        (cross_entropy(network(images), labels) / parts).backward()  # adds to what is there
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


plain = timm.create_model("test_convnext", in_chans=2, num_classes=2)
whole, in_parts = gradient_of(plain, 1), gradient_of(plain, 4)
print(f"largest difference: {(whole - in_parts).abs().max():.1e}, largest entry: {whole.abs().max():.1e}")
assert torch.allclose(whole, in_parts, atol=1e-5)

# %% [markdown]
# The rest is rounding. In a recipe this is `train.accumulate`: so many parts, one after another.
#
# ## Several processes, one model
#
# If parts can pass one after another, they can pass side by side: each process has the model and a part of every batch,
# and the gradients are added up over the processes before each step. That is `train.devices`, here two processes on
# CPUs. On the command line: `eofuse train recipe.yaml train.devices=2`.

# %%
recipe = {
    "data": {"store": str(store.path)},
    "inputs": ["camera"],
    "split": {"fractions": [0.5, 0.2, 0.3]},
    "task": {"target": "spacing", "metric": "accuracy"},
    "fusion": {"strategy": "single", "encoder": "test_convnext"},
    "train": {"steps": 8, "batch_size": 32, "evaluations": 1, "optimizer": "sgd", "learning_rate": 0.01},
}
losses = {}
for name, how in {"one process": {}, "in two parts": {"accumulate": 2}, "two processes": {"devices": 2}}.items():
    train_as = recipe["train"] | {"device": "cpu"} | how
    run = eofuse.train(recipe | {"train": train_as}, to=work / name)
    losses[name] = pd.read_csv(run.folder / "losses.csv", index_col="step")["loss"]
losses = pd.DataFrame(losses)
losses.tail(4)

# %%
apart = losses.sub(losses["one process"], axis=0).abs().max()
print("largest difference to one process:", apart.drop("one process").map("{:.0e}".format).to_dict())
assert apart.max() < 1e-4

# %% [markdown]
# The same losses, to rounding. That is not self-evident. The parts of a batch may hold unequal numbers of labelled pixels;
# the order of the patches, augmentation and dropout must not depend on the number of processes; the best step must be
# chosen once. [Train on several devices](../docs/several_devices.md) says what is equal to what, and what is not: batch
# normalisation sees a part of the batch.
#
# Two processes need a sum of all gradients in each step, and ten seconds to begin. For networks as small as ours they
# are slower than one. They pay where a step takes long.
#
# ## A study: many runs
#
# Runs of a study need nothing of each other, so a study is spread run by run, and this costs nothing between them. Only
# a few have to wait: a final run for the search of its learning rate, a run for its pretraining.

# %%
_ = (work / "study.yaml").write_text("""\
name: turns
data: {store: course-data/ch14/240.store}
inputs: [camera]
split: {fractions: [0.5, 0.2, 0.3]}
task: {target: spacing, metric: accuracy}
fusion: {strategy: single}
train: {steps: 15, batch_size: 16, evaluations: 1}
study:
  baseline: as they are
  seeds: [0, 1]
  controls: false
  search: {learning_rates: [0.003]}
  variants:
    as they are: {}
    turned: {augment: {turns: true}}
""")
began = time.perf_counter()
study = eofuse.study(work / "study.yaml", to=work / "study", workers=1)
took = time.perf_counter() - began
runs = pd.read_parquet(study.folder / "cells.parquet")
print(f"{len(runs)} runs: {runs['seconds'].sum():.1f} s of training, {took:.1f} s in all")


# %% [markdown]
# Most of that was no training: a process has to begin, and the report with its pictures is written. These are prices of
# the study, not of the patches. With runs of ten minutes nobody notices them. What then counts is how the runs are
# shared out:


# %%
def bound(work_s, chain_s, workers):
    """Seconds that no schedule can beat: the work shared out, or the longest chain of runs that wait for each other."""
    return max(work_s / workers, chain_s)


hours = 1_000 * 10 / 60  # a thousand runs of ten minutes
workers = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
axes = plt.figure(figsize=(6, 3.2), layout="constrained").subplots()
for chain, words in ((0.17, "none waits"), (0.33, "each waits for a search"), (1.0, "pretraining first")):
    axes.plot(workers, [bound(hours, chain, count) for count in workers], marker=".", label=words)
axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="hours, at least", title="1,000 runs of ten minutes")
_ = axes.legend()

# %% [markdown]
# More workers help until the longest chain is all that is left. eofuse begins the runs with the longest chain behind
# them first, and comes within some 5 % of this bound ([what was measured](../docs/scaling.md#what-to-expect)).
#
# Where the runs are done is one word. The recipe, the folder and the tables stay the same, to the byte:
#
# ```bash
# eofuse study study.yaml                                                     # processes of this machine
# eofuse study study.yaml --on ray --resources address=auto,gpus=1            # a cluster of Ray
# eofuse study study.yaml --on slurm --resources partition=gpu,hours=4,gpus=1 # a cluster of Slurm
# ```
#
# A test of eofuse does the same study on this machine, on Ray, and by Slurm's local stand-in, kills a worker on the way,
# and compares the bytes of the tables. Here we do the unfriendliest part ourselves.
#
# ## Killed
#
# Clusters kill: time limits, preemption, somebody's hand. We begin the study in another process, wait until its first
# run is done, and kill it, without a chance to tidy up.

# %%
killed = work / "killed"
command = ["eofuse", "study", str(work / "study.yaml"), "--to", str(killed), "--workers", "1", "-q"]
process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while process.poll() is None and not list(killed.glob("cells/*/result.json")):
    time.sleep(0.05)
process.kill()
process.wait()
done = [path.parent for path in killed.glob("cells/*/result.json")]
kept_since = {path.name: (path / "result.json").stat().st_mtime_ns for path in done}
claim = json.loads((work / ".killed.claim").read_text())
print(
    f"killed with {len(done)} of {len(runs)} runs done; it left a claim: process {claim['process']}, since {claim['since']}"
)

# %% [markdown]
# The same command goes on. Runs that are done are kept, and one that was cut short begins at its last checkpoint.

# %%
again = eofuse.study(work / "study.yaml", to=killed, workers=1)
for path in done:
    assert (path / "result.json").stat().st_mtime_ns == kept_since[path.name]  # it was not done anew
tables = ("results", "leaderboard", "comparisons", "curves", "split")
equal = {
    name: (killed / f"{name}.parquet").read_bytes() == (study.folder / f"{name}.parquet").read_bytes()
    for name in tables
}
print(equal)
assert all(equal.values())

# %% [markdown]
# The tables are those of the study that nobody disturbed, byte for byte. That is possible because nothing depends on
# when something ran: the order of the patches, augmentation and dropout follow from the seed and the step alone.
#
# Two people may start one study at once, on two machines that see the folder. A **claim**, a small file beside the study
# and beside each run, says who is at work. It is touched every ten seconds. That of a dead process is taken over: at once
# on its own machine, elsewhere when it was not touched for a minute. The other of two living ones is told who is first.
#
# ## 590,326 patches
#
# What grows with the data, and what does not? Two stores, one of them ten times the other.

# %%
large = write(2_400)
rows = []
for each in (store, large):
    order = np.random.default_rng(0).permutation(len(each))[:64]
    size = sum(path.stat().st_size for path in each.path.rglob("*.npy"))
    rows.append(
        {
            "patches": len(each),
            "on disk (MB)": size / 1e6,
            "open (ms)": 1000 * fastest(lambda each=each: eofuse.open_store(each.path), tries=3),
            "read 64 (ms)": 1000 * fastest(lambda each=each, order=order: each.read("camera", order)),
        }
    )
pd.DataFrame(rows).set_index("patches").round(2)

# %%
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for begin in range(0, len(large), 64):
    large.read("camera", range(begin, min(begin + 64, len(large))))
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
print(
    f"an epoch over the large store: {rows[1]['on disk (MB)']:.0f} MB read, the peak of memory rose by {grown:.0f} MB"
)

# %% [markdown]
# The disk grows with the patches; the time to read a batch does not, since a patch is found by its number in a file that
# is mapped into memory. Memory does not have to hold the data: pages that were read are the system's to give up.
#
# Measured on a store with as many patches as ben-ge ([Performance](../docs/performance.md#as-many-patches-as-ben-ge)):
#
# | | grows with the patches? | at 590,326 |
# |---|---|---|
# | disk | yes | 250 GB at 120 × 120 pixels |
# | opening the store, reading its index | yes, slowly | 3 s |
# | splitting by scene, with the count of what leaks | yes | 5 s |
# | a step of training | no | as here |
# | looks at validation while training | no: 4,000 patches, evenly over classes and scenes | as with 4,000 |
# | test, with intervals | yes, once | by sums a scene |
# | memory | the index only | 2 GB |
#
# And the labels? With 590,326 of them, most of what this course taught for few labels is worth little
# ([chapter 8](08_label_efficiency.py)). Splits, controls and intervals are worth as much as ever: a large test with two
# scenes is still a test with two scenes.
#
# ## What we saw
#
# - A step has a fixed price and a price a patch, and the second grows with the pixels. From both follow an epoch and a study.
# - Gradients of parts add up. So a batch can pass in parts or in processes, with the same losses to rounding.
# - A study is spread run by run. It is bounded by its work and by its longest chain.
# - A study that was killed went on to the same bytes.
# - Reading and stepping do not get slower with more patches. Disk, index and the test do grow.
#
# ## Exercises
#
# ### Exercise 1: how many cards?
#
# A study has five variants, each with a search of three learning rates and five seeds; a run takes 40 minutes. You have
# it until tomorrow at nine, in 14 hours. How many cards do you ask for? (The winner of the search is one of the final runs.)

# %% tags=["hide-cell"]
runs_in_all = 5 * (3 + 5 - 1)
for cards in (1, 2, 4, 8):
    print(f"{cards} cards: {1.05 * bound(runs_in_all * 40, 2 * 40, cards) / 60:.1f} hours")
assert 1.05 * bound(runs_in_all * 40, 80, 2) / 60 < 14 < 1.05 * bound(runs_in_all * 40, 80, 1) / 60
# Two. With eight it would be done in three hours; no number of cards makes it less than 80 minutes.

# %% [markdown]
# ### Exercise 2: batch normalisation in parts
#
# Repeat the experiment with `gradient_of` on `test_resnet`, which has batch normalisation. Is the gradient of four parts
# still that of the whole?

# %% tags=["hide-cell"]
network.train()
whole, in_parts = gradient_of(network, 1), gradient_of(network, 4)
off = (whole - in_parts).norm() / whole.norm()
print(f"the gradient is off by {off:.0%} of its length")
assert off > 0.05
# No: each part is standardised by its own mean and deviation. It is not wrong, but another training. Parts of eight patches or
# more, or a network without batch normalisation, keep close to the whole.

# %% [markdown]
# ## What to read
#
# - P. Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017: what changes with large batches.
# - S. Li et al., *PyTorch distributed: experiences on accelerating data parallel training*, 2020.
# - R. L. Graham, *Bounds on multiprocessing timing anomalies*, 1969: how far a schedule can be from the best.
# - [From a laptop to a cluster](../docs/scaling.md), [train on several devices](../docs/several_devices.md),
#   [performance](../docs/performance.md).
