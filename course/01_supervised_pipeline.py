# %% [markdown]
# # 1. The supervised pipeline by hand
#
# A network learns from labelled patches in a loop that fits on one page. You write that loop once, so that you know
# what every later chapter leaves to the library.
#
# ## What you will learn
#
# - What a batch is, and what happens in one training step: forward, loss, backpropagation, update.
# - How to read the curves of training and validation, and how overfitting looks.
# - What early stopping does, and why the test patches are looked at once.
# - How the same training is a recipe and one call of eofuse.

# %% [markdown]
# ## The data
#
# The course works on **simulated** patches in the layout of the ben-ge datasets: satellite images of 120 × 120 pixels
# of 10 m, with labels. They are good for learning the craft. No number in this course says anything about the Earth.
#
# `simulate` writes the patches, which takes half a minute, and `pack` makes a *store* of them, which is fast to read. What
# exists already is not made again. With a store of ben-ge-800 on your disk, the assignment of `store` becomes `store =
# eofuse.open_store("ben-ge-800.store")`, and everything below stays.

# %%
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import eofuse

work = Path("course-data")  # everything this chapter writes is in here
store = eofuse.pack(eofuse.simulate(work / "ben-ge", patches=480, scenes=96, seed=1), work / "ben-ge.store")
print(len(store), "simulated patches:", ", ".join(store.modalities))
shutil.rmtree(work / "ch01", ignore_errors=True)  # runs from the last time

# %%
torch.set_num_threads(1)  # the same numbers on every machine
eofuse.show_grid(store, 8, by="dominant_land_cover")

# %% [markdown]
# The task: say which land cover fills most of a patch, from Sentinel-2. That is **single-label classification**: one
# class a patch.
#
# Patches are split into three parts: half, a fifth, three tenths. (We drew six such splits and took the one whose parts
# have the most similar shares of classes. That was before any training.) From
# *training* patches the network learns. On *validation* patches we watch it, and choose. *Test* patches say at the end
# how good it is. Whole scenes go to one part, since patches of one scene resemble each other (chapter 2 shows how
# much).

# %%
split = {"protocol": "scene", "fractions": [0.5, 0.2, 0.3], "split_seed": 3}
options = {"inputs": ["s2"], "target": "dominant_land_cover", "split": split}
train, validation, test = (store.dataset(part=part, **options) for part in ("train", "validation", "test"))
classes = train.classes
print(len(train), len(validation), len(test), "patches of", len(classes), "possible classes")

# %% [markdown]
# ## A batch
#
# A network does not see one patch after the other, but some at once: a **batch**. It is a tensor with the axes *(patch,
# band, row, column)*, and a number for the class of each patch.

# %%
batch = next(iter(train.loader(batch_size=16)))
print("s2:", tuple(batch["s2"].shape), batch["s2"].dtype)
print("target:", batch["target"].tolist())
print("first patch:", classes[batch["target"][0]])

# %% [markdown]
# The values are what the sensor gave: whole numbers, 10,000 times the reflectance. Networks learn best from numbers
# around 0 with a deviation around 1. So each band is **standardised** with the mean and deviation of the *training*
# patches. Using the other parts here would let them leak into the training.
#
# To be fast, we use the middle 48 × 48 pixels.


# %%
def pixels(batch):
    """Reflectance of the middle of the patches, (patches, bands, 48, 48)."""
    return batch["s2"][..., 36:84, 36:84].float() / 10_000


everything = pixels(next(iter(train.loader(batch_size=len(train)))))
mean = everything.mean(dim=(0, 2, 3), keepdim=True)
deviation = everything.std(dim=(0, 2, 3), keepdim=True)
names = store.modality("s2").channel_names
print("mean reflectance:", ", ".join(f"{name} {value:.2f}" for name, value in zip(names, mean.flatten(), strict=True)))

# %% [markdown]
# ## A network
#
# Three convolutions, each of which halves the size of the map, look for patterns. The average over the map turns the
# patterns into one vector a patch, and a linear layer turns the vector into one number a class: the **logits**. The
# largest logit is the prediction. *Batch normalisation* standardises every channel of a map over the batch, which makes
# training faster and steadier. In evaluation mode it uses the means and deviations of the training instead.


# %%
def make_network(seed=0, batch_norm=True):
    """A small convolutional network: 12 bands in, a logit for each class out."""
    torch.manual_seed(seed)
    layers = []
    for channels_in, channels_out in [(12, 32), (32, 64), (64, 64)]:
        layers.append(nn.Conv2d(channels_in, channels_out, 3, stride=2))
        layers += [nn.BatchNorm2d(channels_out), nn.ReLU()] if batch_norm else [nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(classes)))


network = make_network()
print(sum(parameter.numel() for parameter in network.parameters()), "parameters")

# %% [markdown]
# ## One step
#
# 1. **Forward**: the batch passes the network and becomes logits.
# 2. **Loss**: one number says how wrong they are. *Cross-entropy* is the negative logarithm of the probability that the
#    network gives the true class. A network that knows nothing gives each of eleven classes a probability of 1/11. Its
#    loss is log 11 = 2.4.
# 3. **Backpropagation**: `backward` computes for each parameter in which direction the loss falls.
# 4. **Update**: the optimiser moves each parameter a little in that direction. The *learning rate*, `lr`, says how far.

# %%
optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
losses = []
for _ in range(20):
    logits = network((pixels(batch) - mean) / deviation)  # forward
    loss = nn.functional.cross_entropy(logits, batch["target"])  # loss
    optimiser.zero_grad()
    loss.backward()  # backpropagation
    optimiser.step()  # update
    losses.append(loss.item())
print(f"loss on this batch: {losses[0]:.2f} before, {losses[-1]:.2f} after 20 steps")
assert abs(losses[0] - np.log(len(classes))) < 0.6  # it knows nothing at first
assert losses[-1] < losses[0] - 0.3  # and learns this batch

# %% [markdown]
# ## The training loop
#
# Learning one batch by heart is easy. Training shows *all* batches again and again. One pass over the training patches
# is an **epoch**. Patches are shuffled in each epoch, so that batches differ. After each epoch we look at the
# validation patches, in evaluation mode and without gradients: nothing is learned from them. The optimiser is *Adam*,
# which adapts the length of the step to each parameter.


# %%
def look(network, dataset):
    """Loss, and the predicted and true class of every patch of a dataset."""
    network.eval()
    with torch.no_grad():
        batches = list(dataset.loader(batch_size=64))
        logits = torch.cat([network((pixels(batch) - mean) / deviation) for batch in batches])
    truth = torch.cat([batch["target"] for batch in batches])
    return nn.functional.cross_entropy(logits, truth).item(), logits.argmax(dim=1), truth


# %%
def fit(network, dataset, epochs, rate=0.003):
    """Trains; returns a row an epoch (training loss, validation loss, validation accuracy) and the weights after each epoch."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    history, weights = [], []
    for _ in range(epochs):
        network.train()
        losses = []
        for batch in dataset.loader(batch_size=32, shuffle=True):
            loss = nn.functional.cross_entropy(network((pixels(batch) - mean) / deviation), batch["target"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        validation_loss, predicted, truth = look(network, validation)
        history.append((np.mean(losses), validation_loss, (predicted == truth).float().mean().item()))
        weights.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
    return np.array(history), weights


# %% [markdown]
# That is all. `fit` and `look` are thirty lines, and every training in this course does what they do.

# %%
network = make_network()
history, weights = fit(network, train, epochs=14)
best_of_all = weights[int(history[:, 1].argmin())]  # for later
print(f"validation accuracy after 14 epochs: {history[-1, 2]:.2f} ({len(validation)} patches)")


# %%
def draw(history, title):
    """The course of a training: losses on the left, accuracy on the right."""
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, history[:, 0], label="training")
    left.plot(epochs, history[:, 1], label="validation")
    left.set(xlabel="epoch", ylabel="loss", title=title, ylim=(0, None))
    left.legend()
    right.plot(epochs, history[:, 2], color="C1")
    right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))


draw(history, f"{len(train)} training patches")
assert history[-1, 0] < history[0, 0] - 0.4  # the training loss falls

# %% [markdown]
# ## Overfitting
#
# Labels are expensive. What if there are 48 labelled patches only? We train longer, so that the network sees each of
# them 60 times. We leave out batch normalisation, which protects a little from what comes now.

# %%
few = store.dataset(inputs=["s2"], target="dominant_land_cover", rows=train.rows[:48])
history, weights = fit(make_network(batch_norm=False), few, epochs=60)
draw(history, f"{len(few)} training patches")
assert history[-1, 0] < 0.4  # it knows the training patches by heart …
assert history[-1, 1] > 1.5 * history[:, 1].min()  # … while the validation loss has risen

# %% [markdown]
# The training loss goes on falling, towards zero: 60,000 parameters can learn 48 patches by heart. The validation loss
# falls first and then rises. From there on the network learns what is true of these 48 patches only. That is
# **overfitting**, and only the validation curve shows it.
#
# ## Early stopping
#
# So we keep the weights of the epoch with the lowest validation loss. With *patience* one also stops the training when
# there was no better epoch for some time.

# %%
best = int(history[:, 1].argmin())
test_losses = {}
for name, epoch in {"best epoch": best, "last epoch": len(history) - 1}.items():
    network = make_network(batch_norm=False)
    network.load_state_dict(weights[epoch])
    loss, predicted, truth = look(network, test)
    test_losses[name] = loss
    print(
        f"{name} ({epoch + 1}): test loss {loss:.2f}, {int((predicted == truth).sum())} of {len(truth)} test patches right"
    )
assert test_losses["best epoch"] < test_losses["last epoch"]

# %% [markdown]
# By the number of right patches the last epoch can be the better one: the loss also counts how sure the network is, and a
# handful of so few patches is chance. So stop by the score that you care about; in eofuse that is `task.metric`.
#
# The choice was made on the validation patches, so the lowest validation loss is too good: it is the best of 60. The
# test patches take no part in any choice, here and below. That is what "the test is looked at once" means: whoever tries
# ten settings and reports the best test score has turned the test patches into validation patches.
#
# More data is the better cure. The next chapters are about what to do when there is none: augmentation, other tasks,
# pretrained weights.
#
# ## Where is it wrong?
#
# One number hides which classes are confused. The **confusion matrix** counts patches by true class (row) and predicted
# class (column). Right ones are on the diagonal. We take the network that learned from all training patches, at its
# best epoch.

# %%
network = make_network()
network.load_state_dict(best_of_all)
_, predicted, truth = look(network, test)
counts = np.zeros((len(classes), len(classes)), dtype=int)
np.add.at(counts, (truth, predicted), 1)

# %%
from eofuse.reports.figures.confusion import confusion_figure

seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))  # classes that occur
confusion_figure(counts[np.ix_(seen, seen)], [classes[number] for number in seen], "Test patches")

# %% [markdown]
# How sure can we be of the accuracy? Of n patches a share p is right. If patches were independent, the standard error
# would be the root of p (1 − p) / n. A constant answer, always the commonest class, is the score to beat.

# %%
accuracy = np.trace(counts) / counts.sum()
error = np.sqrt(accuracy * (1 - accuracy) / counts.sum())
commonest = look(network, train)[2].bincount().argmax()  # of the training patches
constant = counts[commonest].sum() / counts.sum()
print(
    f"accuracy {accuracy:.2f} ± {1.96 * error:.2f} ({counts.sum()} simulated test patches); constant answer {constant:.2f}"
)
assert accuracy > constant + 0.03

# %% [markdown]
# Patches of a scene are *not* independent, so even this interval is too narrow. eofuse computes intervals over scenes.
#
# ## The same by eofuse
#
# A **recipe** says what you did above: the data, the inputs, the split, the task, the budget. `train` runs the loop,
# keeps the weights with the best validation score, and looks at the test patches once.

# %%
recipe = {
    "data": {"store": str(store.path), "crop": 48},
    "inputs": ["s2"],
    "split": split,
    "task": {"target": "dominant_land_cover", "metric": "accuracy"},
    "fusion": {"strategy": "single"},
    "train": {"epochs": 10, "evaluations": 5, "learning_rate": 0.003},
}

# %%
run = eofuse.train(recipe, to=work / "ch01" / "s2")
scores = eofuse.evaluate(run.folder)
pictures = eofuse.show_run(run.folder)
table = scores[scores["metric"].isin(["accuracy", "macro_f1"])]
table[["predictor", "metric", "value", "low", "high", "n_test", "n_scenes"]].round(2)

# %% [markdown]
# The interval is over scenes. It is wider than the one above, and it is the honest one. The *constant* predictor stands
# beside it as a control. (`macro_f1` counts all classes alike; chapter 2 explains it.)
#
# The pictures are the ones that you drew by hand, and test patches with truth and prediction:

# %%
from IPython.display import Image, display

for path in pictures.paths:
    display(Image(path))

# %% tags=["remove-cell"]
row = scores[(scores["predictor"] == "run") & (scores["metric"] == "accuracy")].iloc[0]
independent = np.sqrt(row["value"] * (1 - row["value"]) / row["n_test"])
assert row["high"] - row["low"] > 2 * 1.96 * independent  # the interval over scenes is wider

# %% [markdown]
# ## What we saw
#
# - A training step is forward, loss, backpropagation, update. Epochs repeat it over shuffled batches.
# - The training loss goes on falling. Only validation patches show when a network stops learning what is true elsewhere.
# - Validation chooses, the test takes no part in a choice, and its score has an interval and a control beside it.
# - A recipe says the same, and `eofuse.train` does it.
#
# ## Exercises
#
# ### Exercise 1: the learning rate
#
# Train for three epochs with rates of 0.00001, 0.003 and 3. What do the losses say?

# %% tags=["hide-cell"]
for rate in (0.00001, 0.003, 3):
    course, _ = fit(make_network(), train, epochs=3, rate=rate)
    print(f"rate {rate}: training loss {course[0, 0]:.2f} → {course[-1, 0]:.2f}, validation {course[-1, 1]:.2f}")
# Too small: hardly anything is learned in three epochs. Too large: steps jump over the valley, and the loss explodes.
# The rate is the first thing to search, and each network needs its own.

# %% [markdown]
# ### Exercise 2: forget to standardise
#
# Give the network plain reflectance: set the mean to 0 and the deviation to 1. Batch normalisation in the network
# repairs a part of it. Train the same network without `nn.BatchNorm2d`, with and without standardised bands.

# %% tags=["hide-cell"]
kept = mean, deviation
standardised, _ = fit(make_network(batch_norm=False), train, epochs=4, rate=0.001)
mean, deviation = torch.zeros(1), torch.ones(1)
plain, _ = fit(make_network(batch_norm=False), train, epochs=4, rate=0.001)
mean, deviation = kept
print(f"training loss: standardised {standardised[-1, 0]:.2f}, plain reflectance {plain[-1, 0]:.2f}")
assert standardised[-1, 0] < plain[-1, 0]

# %% [markdown]
# ### Exercise 3: change one line of the recipe
#
# What does the recipe's network gain from radar? Add `s1` to the inputs, with `"strategy": "early"`, and compare the
# intervals. Can you say which is better?

# %% tags=["hide-cell"]
both = {**recipe, "inputs": ["s2", "s1"], "fusion": {"strategy": "early"}}
other = eofuse.evaluate(eofuse.train(both, to=work / "ch01" / "s2-s1").folder)
for name, each in {"s2": scores, "s2 + s1": other}.items():
    row = each[(each["predictor"] == "run") & (each["metric"] == "accuracy")].iloc[0]
    print(f"{name}: accuracy {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
# One seed and overlapping intervals: no. Chapter 3 shows how to compare in earnest.

# %% [markdown]
# ## What to read
#
# - I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning*, 2016, chapters 5 to 8: capacity, overfitting,
#   regularisation, optimisation.
# - D. P. Kingma, J. Ba, *Adam: a method for stochastic optimization*, 2015. S. Ioffe, C. Szegedy, *Batch
#   normalization*, 2015.
# - L. Prechelt, *Early stopping: but when?*, 1998.
# - [From Python](../docs/python.md#a-training-loop-of-your-own): your own loop on `Store.dataset`.
#   [Recipes](../docs/recipes.md#train): every option of the training.
