# %% [markdown]
# # 3. Data fusion
#
# Radar sees what light does not. So a network that gets both should know more. Where should their tensors meet? This is
# the lab of the [tutorial](../docs/course.md) from which this course grew: a baseline, early fusion, early fusion with
# blow-up patches, late fusion, and late fusion with shared weights.
#
# ## What you will learn
#
# - The five networks as small modules: where the tensors of the sensors meet.
# - The same five as strategies of a recipe.
# - Why a ranking on 100 test patches and one seed is noise, and how large the noise is.
# - How to compare in earnest: a study with seeds, controls, intervals and paired differences.

# %% [markdown]
# ## The data
#
# The **simulated** patches of [chapter 1](01_supervised_pipeline.py). With a store of ben-ge-800 on your disk, the
# assignment of `store` becomes `store = eofuse.open_store("ben-ge-800.store")`, and everything below stays. The task is
# the tutorial's: the climate zone of a patch.

# %%
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import eofuse

work = Path("course-data")  # everything this chapter writes is in here
store = eofuse.pack(eofuse.simulate(work / "ben-ge", patches=480, scenes=96, seed=1), work / "ben-ge.store")
print(len(store), "simulated patches:", ", ".join(store.modalities))
shutil.rmtree(work / "ch03", ignore_errors=True)  # runs from the last time
torch.set_num_threads(1)

# %% [markdown]
# We read each part once, cut out 32 × 32 pixels, and standardise every channel by the training patches. `s2` has 12
# channels, `s1` has 2, and `season` is two numbers a patch: the season of each image, from 0 in midwinter to 1 in
# midsummer.

# %%
split = {"protocol": "scene", "fractions": [0.6, 0.1, 0.3]}
options = {"inputs": ["s2", "s1", "season"], "target": "climate_zone", "split": split}
parts = {part: store.dataset(part=part, **options) for part in ("train", "test")}
classes = parts["train"].classes
data = {part: next(iter(dataset.loader(batch_size=len(dataset)))) for part, dataset in parts.items()}
for batch in data.values():
    for name in ("s2", "s1"):
        batch[name] = batch[name][..., 44:76, 44:76].float()
for name in ("s2", "s1"):
    mean = data["train"][name].mean(dim=(0, 2, 3), keepdim=True)
    deviation = data["train"][name].std(dim=(0, 2, 3), keepdim=True)
    for batch in data.values():
        batch[name] = (batch[name] - mean) / deviation
print({part: tuple(batch["s2"].shape) for part, batch in data.items()})

# %% [markdown]
# ## Five networks
#
# All share one building block: an **encoder** turns an image of any number of channels into a vector of 64 numbers, the
# **features**. A linear layer, the **head**, turns features into logits.


# %%
def block(channels_in, channels_out):
    """Halves the map and looks for patterns."""
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride=2), nn.BatchNorm2d(channels_out), nn.ReLU())


def trunk():
    """What follows the first block: maps become a vector."""
    return nn.Sequential(block(32, 64), block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def encoder(channels):
    """An image with so many channels → 64 features."""
    return nn.Sequential(block(channels, 32), trunk())


# %% [markdown]
# **Baseline**: Sentinel-2 alone.


# %%
class Single(nn.Module):
    """One sensor."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder(12)
        self.head = nn.Linear(64, len(classes))

    def forward(self, batch):
        """s2 (B, 12, H, W) → logits (B, classes)."""
        return self.head(self.encoder(batch["s2"]))


# %% [markdown]
# **Early fusion**: the images are joined along the channels, before the network. From the first convolution on, a
# filter can see optical and radar at once. It needs images on one grid.


# %%
class Early(nn.Module):
    """The sensors meet in the input."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder(14)
        self.head = nn.Linear(64, len(classes))

    def forward(self, batch):
        """(B, 12, H, W) and (B, 2, H, W) → (B, 14, H, W) → logits."""
        return self.head(self.encoder(torch.cat([batch["s2"], batch["s1"]], dim=1)))


# %% [markdown]
# **Early fusion with blow-up patches**: season is a number, not an image. To join it with images, it is "blown up": an
# image in which every pixel has this number.


# %%
class EarlyBlowUp(Early):
    """Numbers of the patch enter as constant planes."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder(16)

    def forward(self, batch):
        """season (B, 2) → (B, 2, H, W), joined with the images: (B, 16, H, W)."""
        height, width = batch["s2"].shape[-2:]
        planes = batch["season"][:, :, None, None].expand(-1, -1, height, width)
        return self.head(self.encoder(torch.cat([batch["s2"], batch["s1"], planes], dim=1)))


# %% [markdown]
# **Late fusion**: each sensor has an encoder of its own, and their *features* meet. The sensors may have other grids
# and sizes. Encoders can be trained apart, on other data.


# %%
class Late(nn.Module):
    """The sensors meet as vectors."""

    def __init__(self):
        super().__init__()
        self.optical, self.radar = encoder(12), encoder(2)
        self.head = nn.Linear(64 + 64, len(classes))

    def forward(self, batch):
        """Two times (B, 64) → (B, 128) → logits."""
        return self.head(torch.cat([self.optical(batch["s2"]), self.radar(batch["s1"])], dim=1))


# %% [markdown]
# **Late fusion with shared weights**: images of 12 and of 2 channels can't pass the same first layer. So each has a
# first block of its own, and both pass one trunk. It has half the parameters, and the trunk learns from twice as many
# images.


# %%
class LateShared(nn.Module):
    """The sensors meet as vectors, made by one trunk."""

    def __init__(self):
        super().__init__()
        self.optical, self.radar, self.trunk = block(12, 32), block(2, 32), trunk()
        self.head = nn.Linear(64 + 64, len(classes))

    def forward(self, batch):
        """A first block each, one trunk, two times (B, 64) → logits."""
        maps = torch.cat([self.optical(batch["s2"]), self.radar(batch["s1"])], dim=0)  # (2 B, 32, H, W)
        optical, radar = self.trunk(maps).chunk(2)
        return self.head(torch.cat([optical, radar], dim=1))


# %%
networks = {
    "S2": Single,
    "early": Early,
    "early + season": EarlyBlowUp,
    "late": Late,
    "late, shared": LateShared,
}
few = {name: data["train"][name][:4] for name in ("s2", "s1", "season")}
sizes = {}
for name, network in networks.items():
    assert network()(few).shape == (4, len(classes))
    sizes[name] = sum(parameter.numel() for parameter in network().parameters())
    print(f"{name:15} {sizes[name]:7,} parameters")
assert sizes["late"] > 1.8 * sizes["S2"] > 1.5 * sizes["late, shared"]

# %% [markdown]
# ## Training them
#
# The loop of chapter 1, on tensors in memory. Three seeds each: another start, another order of the patches, nothing
# else.


# %%
def accuracy_of(network, seed, epochs=5):
    """Trains, and gives the share of test patches that are right."""
    torch.manual_seed(seed)
    model, train = network(), data["train"]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(epochs):
        for rows in torch.randperm(len(train["target"])).split(32):
            batch = {name: train[name][rows] for name in ("s2", "s1", "season")}
            loss = nn.functional.cross_entropy(model(batch), train["target"][rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        return (model(data["test"]).argmax(dim=1) == data["test"]["target"]).float().mean().item()


# %%
seeds = [0, 1, 2]
accuracy = pd.DataFrame(
    {name: [accuracy_of(network, seed) for seed in seeds] for name, network in networks.items()},
    index=[f"seed {seed}" for seed in seeds],
).T
n_test = len(data["test"]["target"])
accuracy.round(2)

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for row, name in enumerate(accuracy.index):
    axes.plot(accuracy.loc[name], [row] * len(seeds), "o")
axes.set_yticks(range(len(accuracy)), accuracy.index)
axes.invert_yaxis()
_ = axes.set(xlabel=f"accuracy on {n_test} simulated test patches; a dot is a seed", xlim=(0, 1))

# %%
orders = {seed: " > ".join(accuracy[seed].sort_values(ascending=False).index) for seed in accuracy}
for seed, order in orders.items():
    print(f"{seed}: {order}")
assert len(set(orders.values())) > 1

# %% [markdown]
# With another seed there is another order. Whoever trains once sees one of these lists, and can write a paper about it.
#
# ## How large is the noise?
#
# Seeds are one source of chance. The other is the choice of test patches. If n independent patches are right with
# probability p, the share that is right has a standard error of the root of p (1 − p) / n. For 100 patches that is five
# points.
#
# The tutorial's lab had 100 test patches and one seed. Its results on ben-ge-800, after five epochs:

# %%
tutorial = pd.Series({"S2": 0.45, "early": 0.34, "early + season": 0.39, "late": 0.41})
error = np.sqrt(tutorial * (1 - tutorial) / 100)
figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
axes.errorbar(tutorial, range(4), xerr=1.96 * error, fmt="o")
axes.set_yticks(range(4), tutorial.index)
axes.invert_yaxis()
axes.set(xlabel="accuracy of the tutorial's lab, 100 test patches, 95 % intervals", xlim=(0, 1))
assert (tutorial - 1.96 * error).max() < (tutorial + 1.96 * error).min()  # all of them overlap

# %% [markdown]
# All intervals overlap. Turn the question round: suppose that the four networks were *equally good*, right for 40 % of
# the patches. How often would the best and the worst of them be eleven points apart, as above, by chance alone?

# %%
generator = np.random.default_rng(0)
labs = generator.binomial(100, 0.4, size=(100_000, 4))  # 100,000 labs with four equal networks each
apart = (labs.max(axis=1) - labs.min(axis=1) >= 11).mean()
print(f"eleven points apart in {apart:.0%} of the labs")
assert 0.3 < apart < 0.6

# %% [markdown]
# In nearly every second lab. So the tutorial's numbers tell nothing about the order. (Networks that are tested on the
# *same* patches differ a little less than that, since patches that are easy for one are easy for the other. That is why
# eofuse compares them patch by patch.)
#
# Patches of one scene are not independent, so the true noise is larger. And its split was random, so test patches had
# sisters among the training patches ([chapter 2](02_the_data.py)).
#
# ## As strategies
#
# In a recipe the five networks are five words. The section `study` makes a comparison of them: the same budget and the
# same search for each, several seeds, and *controls*: the constant predictor, and each network with its encoders frozen
# at random weights. The baseline is what the others are compared with.

# %%
recipe = {
    "name": "fusion",
    "data": {"store": str(store.path), "crop": 32},
    "split": split,
    "task": {"target": "climate_zone"},
    "train": {"steps": 40, "batch_size": 16, "evaluations": 2},
    "study": {
        "baseline": "S2",
        "seeds": [0, 1],
        "search": {"learning_rates": [0.003]},
        "variants": {
            "S2": {"inputs": ["s2"], "fusion": {"strategy": "single"}},
            "early": {"inputs": ["s2", "s1"], "fusion": {"strategy": "early"}},
            "early + season": {"inputs": ["s2", "s1", "season"], "fusion": {"strategy": "early"}},
            "late": {"inputs": ["s2", "s1"], "fusion": {"strategy": "late"}},
            "late, shared": {"inputs": ["s2", "s1"], "fusion": {"strategy": "late", "weights": "shared"}},
        },
    },
}

# %%
study = eofuse.study(recipe, to=work / "ch03" / "study", workers=1)
columns = ["variant", "role", "mean", "seed_sd", "low", "high", "n_seeds", "n_test", "n_scenes", "difference", "p_holm"]
study.leaderboard()[columns].round(2)

# %% tags=["remove-cell"]
board = study.leaderboard()
scores = board[board["role"] == "variant"]
assert scores["low"].max() < scores["high"].min()  # all intervals overlap
assert board.set_index("role").loc["constant", "mean"] < scores["mean"].min()

# %% [markdown]
# How to read it. `mean` is the macro F1 over seeds, `low` and `high` are the 95 % interval over test *scenes*,
# `difference` is to the baseline, paired by patch, and `p_holm` is corrected for the number of comparisons. All
# intervals of the five networks overlap: with these few simulated patches, and this short training, nothing can be said
# about the order, and the table says so. Look at the controls: a linear model on *frozen random* encoders is as good as
# many of the trained networks. That does not mean that training is useless. It means that 40 steps were too few, and
# that without this row nobody would have known.
#
# ## The lab at full size
#
# The same recipe at full size, `recipes/tutorial_fusion.yaml`, was run on 800 simulated patches of 120 × 120 pixels,
# twice: with the tutorial's own protocol (its split, five epochs), and with whole scenes kept apart and a longer
# training. It takes an hour on one core, so the results lie beside this chapter as a table:
# [03_full_size.csv](03_full_size.csv). These commands made it:
#
# ```bash
# eofuse simulate bg800 --patches 800 --scenes 100 --seed 42
# eofuse pack bg800 bg800.store
# eofuse study recipes/tutorial_fusion.yaml --store bg800.store --to own 'study.search.learning_rates=[0.001]' \
#     split.protocol=tutorial train.steps=95 train.evaluations=5 train.patience=5
# eofuse study recipes/tutorial_fusion.yaml --store bg800.store --to honest 'study.search.learning_rates=[0.001]' \
#     'study.seeds=[0,1]' train.steps=400 train.evaluations=16 train.patience=6
# ```
#
# To save time, these commands change the recipe that is shipped: one learning rate for all, a shorter training and, with
# scenes kept apart, two seeds. The column `n_seeds` says how many seeds a row has.

# %%
full = pd.read_csv("03_full_size.csv")
shown = full[full["metric"] == "accuracy"].set_index(["protocol", "variant"])
shown[["role", "mean", "low", "high", "seed_sd", "p_holm", "n_seeds", "n_test", "n_scenes"]].round(2)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, sharex=True, layout="constrained")
for panel, (protocol, rows) in zip(
    axes, full[full["metric"] == "macro_f1"].groupby("protocol", sort=False), strict=True
):
    for role, colour in {"variant": "C0", "frozen_random": "0.6"}.items():
        some = rows[rows["role"] == role].sort_values("variant")
        places = np.arange(len(some)) + (0.2 if role == "frozen_random" else 0)
        widths = [some["mean"] - some["low"], some["high"] - some["mean"]]
        panel.errorbar(some["mean"], places, xerr=widths, fmt="o", color=colour, label=role.replace("_", " "))
    panel.set_yticks(range(5), sorted(rows.loc[rows["role"] == "variant", "variant"]))
    panel.set(
        title=f"{protocol}: {rows['n_test'].iloc[0]} test patches",
        xlabel="macro F1 (simulated), 95 % intervals",
        xlim=(0, 1),
    )
_ = axes[1].legend(fontsize="small", loc="lower right")

# %% tags=["remove-cell"]
macro = full[full["metric"] == "macro_f1"].set_index(["protocol", "role", "variant"])
leaky, apart = macro.loc["tutorial's protocol"], macro.loc["scenes apart"]
assert leaky.loc["frozen_random", "mean"].mean() > leaky.loc["variant", "mean"].mean() + 0.05
assert (leaky.loc["frozen_random", "mean"] > apart.loc["frozen_random", "mean"]).all()
with_season = "early S1+S2+season (frozen random)"
assert apart.loc["frozen_random", "mean"].idxmin() == with_season
assert leaky.loc["frozen_random", "mean"].idxmax() == with_season
assert full["p_holm"].min() > 0.05
assert all(
    group["low"].max() < group["high"].min() for _, group in macro.xs("variant", level="role").groupby("protocol")
)

# %% [markdown]
# Three things can be read from it.
#
# - **No difference to S2 is distinguishable**, in either protocol: every corrected p (`p_holm`) is above 0.05, and the
#   intervals of the five networks overlap. The networks have an order in the table, and it tells nothing. That is a
#   result: these 800 simulated patches can't rank five fusions.
# - **Five epochs are not enough.** Under the tutorial's protocol, a linear model on frozen random encoders beats the
#   trained networks on average. A training that does not beat its own random start has not begun to pay.
# - **The leak is visible.** All random encoders fall when scenes are kept apart. (A part of it can be other test patches:
#   the constant has another score, too.) By macro F1, the one with season falls from the best to the worst: season names
#   the scene (chapter 2), which helps as long as the scene is among the training patches, and misleads when it is not.
#
# None of it says anything about the Earth: the data are simulated. What carries over is the way of asking. The report
# of the second study begins with the answer in words, and with what speaks against it:
#
# ![The first page of the report of this study](03_report.png)
#
# ## What we saw
#
# - Early fusion joins images, late fusion joins vectors, blow-up patches make images of numbers, and shared weights
#   halve late fusion.
# - The order of five networks changed with the seed. With 100 test patches, four equal networks look eleven points
#   apart in nearly every second lab.
# - A study gives each the same chance, and shows intervals, paired differences and controls. Often its honest answer
#   is: these data can't tell.
#
# ## Exercises
#
# ### Exercise 1: middle fusion
#
# Let the sensors meet in the middle: a first block each, maps joined along the channels, then one trunk for 64
# channels. Where is it in the table?


# %% tags=["hide-cell"]
class Middle(nn.Module):
    """The sensors meet as maps."""

    def __init__(self):
        super().__init__()
        self.optical, self.radar = block(12, 32), block(2, 32)
        self.trunk = nn.Sequential(block(64, 64), block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, len(classes))

    def forward(self, batch):
        """Two times (B, 32, H, W) → (B, 64, H, W) → logits."""
        return self.head(self.trunk(torch.cat([self.optical(batch["s2"]), self.radar(batch["s1"])], dim=1)))


print("middle:", [round(accuracy_of(Middle, seed), 2) for seed in seeds])
# Somewhere among the others. In a recipe it is `fusion: {strategy: middle}`.

# %% [markdown]
# ### Exercise 2: how many test patches?
#
# Two networks are right for 45 % and for 41 % of the patches. How many independent test patches are needed until a
# difference of four points is twice its standard error, if both are tested on patches of their own?

# %% tags=["hide-cell"]
variance = 0.45 * 0.55 + 0.41 * 0.59
needed = variance * (2 / 0.04) ** 2
print(f"about {needed:,.0f} patches for each network")
assert 1_000 < needed < 1_500
# On the same patches fewer are enough, because what is hard for both cancels. Patches of one scene count less than independent ones.

# %% [markdown]
# ## What to read
#
# - J. Ngiam et al., *Multimodal deep learning*, 2011. D. Hong et al., *More diverse means better: multimodal deep
#   learning meets remote-sensing imagery classification*, 2021.
# - X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, 2021: which chance a comparison has
#   to cover.
# - A. Colin Cameron, D. L. Miller, *A practitioner's guide to cluster-robust inference*, 2015: why patches of a scene
#   are not independent.
# - [Choose a fusion strategy](../docs/strategies.md) and [Method](../docs/method.md).
