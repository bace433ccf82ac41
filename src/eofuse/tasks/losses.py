"""Losses of maps and numbers: `segmentation_loss`, `regression_loss`, `composition_loss`.

All take raw outputs with a leading axis of heads, compute in float32 whatever the precision of the model, and are means over the
heads and over what is known. What is not known has no influence at all, neither on the value nor on the gradient; where nothing is
known, the loss is 0 with a gradient of zeros.

The losses of segmentation-models-pytorch are not used: its dice divides by all classes, not by those that occur (so that a batch
with 2 of 11 classes has at most a loss of 2/11), and takes 3.5 times as long; its focal loss is that of independent sigmoids, which
is not cross-entropy at gamma 0, and is NaN where every pixel is ignored.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from eofuse import ranks
from eofuse.data.targets import IGNORE


def segmentation_loss(
    names: Sequence[str],
    logits: Tensor,
    truth: Tensor,
    known: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Sum of losses between class logits and a map of classes.

    Args:
        names: keys of `SEGMENTATION_LOSSES`.
        logits: (heads, B, K, H, W).
        truth: (B, H, W) uint8 class numbers, `IGNORE` where a pixel has none.
        known: (B,) bool, the patches whose map is known.
        class_weights: (K,), by which cross-entropy and focal loss weigh the pixels; dice weighs classes equally as it is.
        smoothing: share of the truth that cross-entropy spreads over all classes.
    """
    counted = known[:, None, None] & (truth != IGNORE)
    classes = truth.long().masked_fill(~counted, IGNORE)
    log_probabilities = logits.float().masked_fill(~counted[:, None], 0.0).log_softmax(2)
    weights = None if class_weights is None else class_weights.to(logits.device, torch.float32)
    losses = SEGMENTATION_LOSSES | {"cross_entropy": partial(cross_entropy, smoothing=smoothing)}
    return torch.stack([losses[name](log_probabilities, classes, weights) for name in names]).sum()


def cross_entropy(
    log_probabilities: Tensor, truth: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Weighted cross-entropy, summed over the pixels that have a class and divided by their number."""
    losses = _surprise(log_probabilities, truth, class_weights)
    if smoothing:
        weights = 1.0 if class_weights is None else class_weights[:, None, None]
        spread = -(log_probabilities * weights).mean(2) * (truth != IGNORE)
        losses = (1 - smoothing) * losses + smoothing * spread.flatten(0, 1)
    return _mean_of_pixels(losses, truth)


def focal(log_probabilities: Tensor, truth: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Focal loss: cross-entropy times (1 - p)^gamma, where p is the probability of the true class.

    Pixels that are easy count less. The class weights are the paper's alpha; `gamma` is 0 for cross-entropy, otherwise at least 1.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, in its softmax form.
    """
    surprise = _surprise(log_probabilities, truth)
    weighted = surprise if class_weights is None else _surprise(log_probabilities, truth, class_weights)
    return _mean_of_pixels((-torch.expm1(-surprise)).pow(gamma) * weighted, truth)


def dice(log_probabilities: Tensor, truth: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Soft dice loss: 1 - 2 Σpt / (Σp + Σt) of each class over the whole batch, averaged over the classes that occur in it.

    Every class weighs the same, however rare it is: class weights are not used.

    Source: Milletari, Navab, Ahmadi, V-Net, 3DV 2016, whose denominator has squares of p and t; without them, as is usual.
    """
    probabilities = log_probabilities.exp()
    classes = torch.arange(probabilities.shape[2], device=truth.device)
    is_class = truth[:, None] == classes[:, None, None]
    hits = (probabilities * is_class).sum((1, 3, 4))
    predicted = (probabilities * (truth != IGNORE)[:, None]).sum((1, 3, 4))
    true = is_class.sum((0, 2, 3))
    if ranks.are_together():
        heads = len(hits)
        sums = ranks.summed(torch.cat([hits, predicted, true[None].to(hits)]))
        hits, predicted, true = sums[:heads], sums[heads:-1], sums[-1]
    occurs = true > 0
    scores = 2 * hits / torch.where(occurs, predicted + true, 1.0)
    return ((1 - scores) * occurs).sum(1).mean() / occurs.sum().clamp(min=1)


def _surprise(log_probabilities: Tensor, truth: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """-log p of each pixel's class, weighted, 0 where it has none: (heads * B, H, W)."""
    patches = log_probabilities.flatten(0, 1)
    heads = truth.repeat(log_probabilities.shape[0], 1, 1)
    return functional.nll_loss(patches, heads, weight=class_weights, ignore_index=IGNORE, reduction="none")


def _mean_of_pixels(losses: Tensor, truth: Tensor) -> Tensor:
    """Sum of (heads * B, H, W) losses over the number of pixels that have a class, in all heads."""
    heads = losses.shape[0] // truth.shape[0]
    return losses.sum() / (heads * (truth != IGNORE).sum()).clamp(min=1)


SEGMENTATION_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
}
"""Functions of log probabilities (heads, B, K, H, W), truth (B, H, W) int64, `IGNORE` where a pixel has no class, and weights (K,)."""

REGRESSION_LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}
"""Of single numbers; `huber` (Huber 1964) is ½e² up to an error of 1 and |e| - ½ beyond."""


def regression_loss(name: str, output: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean loss of numbers over heads and known entries.

    Args:
        name: key of `REGRESSION_LOSSES`.
        output: (heads, B, D) or (heads, B, D, H, W), standardised.
        truth: the same without heads, standardised; NaN entries are not known.
        known: bool, the leading axes of the truth: (B,) for whole patches, (B, D) for numbers, or all of them.
    """
    counted = known.reshape(known.shape + (1,) * (truth.ndim - known.ndim)) & ~truth.isnan()
    values = output.float().masked_fill(~counted, 0.0)
    wanted = truth.float().masked_fill(~counted, 0.0).expand(values.shape)
    losses = REGRESSION_LOSSES[name](values, wanted, reduction="none")
    return losses.sum() / (output.shape[0] * counted.sum()).clamp(min=1)


def composition_loss(name: str, logits: Tensor, shares: Tensor, known: Tensor) -> Tensor:
    """Mean loss of shares that sum to 1, over heads and known patches.

    `cross_entropy` is -Σ share · log softmax, whose least value is the entropy of the shares, not 0. The others are
    `regression_loss` between softmax and shares. Shares are not standardised and differ by at most 1, where `huber` is half of `mse`.

    Args:
        name: `cross_entropy` or key of `REGRESSION_LOSSES`.
        logits: (heads, B, D).
        shares: (B, D); a patch with a NaN is not known.
        known: (B,) bool, the patches whose shares are known.
    """
    counted = (known & ~shares.isnan().any(1))[:, None]
    values = logits.float().masked_fill(~counted, 0.0)
    wanted = shares.float().masked_fill(~counted, 0.0)
    if name != "cross_entropy":
        return regression_loss(name, values.softmax(2), wanted, counted[:, 0])
    return -(wanted * values.log_softmax(2)).sum() / (logits.shape[0] * counted.sum()).clamp(min=1)
