"""How a model that started from trained weights goes on: `FineTuning`, a mode of `StartOptions`.

What started fresh, and the heads, always learn at the full rate. Of what was loaded, each layer has a distance from the heads (1 for
the last), and a mode is a rule on distances: how large a layer's learning rate is, and at which step it learns. Both are functions of
the step, so that a run that goes on after an interruption goes on to the same bits. A layer that does not learn is in evaluation mode:
its batch norms keep the statistics that they came with.

Sources: layer-wise decay as in BEiT (Bao et al., ICLR 2022), gradual unfreezing as in ULMFiT (Howard & Ruder, ACL 2018), LoRA (Hu et
al., ICLR 2022).
"""

import math

import pandas as pd
from torch import nn

from eofuse.learning.transfer import StartOptions
from eofuse.models.lora import add_low_rank
from eofuse.models.model import Model

LOADED = ("loaded", "mapped", "random")


class FineTuning:
    """Which layers of a model learn, when, and how fast.

    Args:
        model: as it started; what never learns is frozen here, and for `lora` its attention layers get their change.
        options: the mode.
        table: the mapping of each tensor, see `start_from`.
        seed: fixes the first low-rank weights.

    Raises:
        UsageError: if the mode is `lora` and no attention layer was loaded.
    """

    def __init__(self, model: Model, options: StartOptions, table: pd.DataFrame, seed: int) -> None:
        self.options = options
        loaded = set(table.loc[table["status"].isin(LOADED), "tensor"])
        away = {name: distance for name, distance in model.distances().items() if name in loaded}
        self.depth = max(away.values(), default=0)
        self._distances = {parameter: away.get(name, 0) for name, parameter in model.named_parameters()}
        self._modules = _distances_of_modules(model, away)
        self._reach = -1
        if options.mode in ("linear_probe", "lora"):
            for parameter, distance in self._distances.items():
                parameter.requires_grad_(distance == 0)
        if options.mode == "lora":
            add_low_rank(model, loaded, options.rank, options.alpha, seed)

    def scale(self, parameter: nn.Parameter) -> float:
        """What the learning rate of a parameter is multiplied by."""
        if self.options.mode != "layer_decay":
            return 1.0
        return float(self.options.decay ** self._distances.get(parameter, 0))

    def set_step(self, step: int, steps: int) -> None:
        """Lets those layers learn that learn at a step, counted from 0."""
        reach = self.reach(step, steps)
        if reach == self._reach:
            return
        self._reach = reach
        if self.options.mode == "unfreeze":
            for parameter, distance in self._distances.items():
                parameter.requires_grad_(distance <= reach)
        for module, distance in self._modules.items():
            module.training = distance <= reach

    def reach(self, step: int, steps: int) -> int:
        """The largest distance from the heads at which a layer learns at a step."""
        if self.options.mode in ("linear_probe", "lora"):
            return 0
        whole = self.options.unfrozen_at * steps
        if self.options.mode != "unfreeze" or step >= whole:
            return self.depth
        return math.floor(self.depth * step / whole)


def _distances_of_modules(model: Model, away: dict[str, int]) -> dict[nn.Module, int]:
    """The smallest distance of a tensor inside each module of the fusion; that of what surrounds it, of one without tensors."""
    names = [name for name in model.state_dict() if name.startswith("fusion.")]
    found: dict[str, int] = {}
    modules = {}
    for path, module in model.fusion.named_modules(prefix="fusion"):
        inside = [away.get(name, 0) for name in names if name.startswith(f"{path}.")]
        found[path] = min(inside) if inside else found[path.rpartition(".")[0]]
        modules[module] = found[path]
    return modules
