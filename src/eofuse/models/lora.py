"""LoRA: attention layers that learn a low-rank change of their weights (Hu et al., ICLR 2022); `add_low_rank`, `merged`.

The layer computes with the changed weight, not with a second path beside it, so that a model with the change merged into its
weights predicts the same bits.
"""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from eofuse.errors import UsageError
from eofuse.models.model import Model

PARTS = {"qkv": 3, "to_qkv": 3, "kv": 2}
"""Names of layers that are several in one → how many."""


class LowRank(nn.Module):
    """A weight plus a change of low rank, which is zero at first; of several weights in one, each has a change of its own.

    Args:
        weight: (outputs, inputs).
        rank: of each change.
        alpha: a change counts alpha / rank times.
        generator: of the first numbers.
        parts: weights of equal size, one below another: queries, keys and values of an attention.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator, parts: int = 1) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        down = torch.randn(parts, rank, inputs, generator=generator) / inputs**0.5
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(parts, outputs // parts, rank, device=weight.device))
        self.factor = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, (outputs, inputs)."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.factor * (self.up @ self.down).flatten(0, 1)


def add_low_rank(model: Model, loaded: Collection[str], rank: int, alpha: float, seed: int) -> None:
    """Gives the linear layers of attention a low-rank change, which alone learns: queries, keys and values one each.

    Layers that did not come from trained weights (`loaded`) stay as they are; the change counts alpha / rank times.

    Raises:
        UsageError: if no attention layer was loaded.
    """
    generator = torch.Generator().manual_seed(seed)
    layers: dict[nn.Linear, int] = {}
    for path, module in model.named_modules():
        attention = "Attention" in type(module).__name__ or path.rpartition(".")[2].startswith("attn")
        if attention and not isinstance(module, nn.Linear):
            inside = [
                (f"{path}.{name}", layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)
            ]
            layers |= {
                layer: PARTS.get(name.rpartition(".")[2], 1) for name, layer in inside if f"{name}.weight" in loaded
            }
    if not layers:
        what = f"the encoder '{model.spec.fusion.encoder}' has no attention layers that were loaded"
        fix = "choose another mode, or a transformer such as vit_tiny_patch16_224"
        raise UsageError(what, where="start.mode", fix=fix)
    for layer, parts in layers.items():
        layer.weight.requires_grad_(False)
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha, generator, parts))


def merged(model: Model) -> Model:
    """The model with the changes in its weights, as an ordinary one: itself where there are none, else a copy."""
    if not any(parametrize.is_parametrized(module) for module in model.modules()):
        return model
    plain = copy.deepcopy(model)
    layer: Any
    for layer in plain.modules():
        if parametrize.is_parametrized(layer):
            weight = layer.weight.detach()
            # torch's own removal would change the class, which the copy has in common with the model
            layer.__class__ = parametrize.type_before_parametrizations(layer)
            del layer.parametrizations
            layer.register_parameter("weight", nn.Parameter(weight))
    return plain
