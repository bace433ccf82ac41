"""The moving average of the weights of a training: `WeightAverage` (`train.average`).

After step t the average a of each weight w becomes d·a + (1 − d)·w. The decay d is the option, or (1 + t) / (10 + t) where that is
less, so that a short training forgets its beginning, too. The average is what validation scores and what is kept; the optimiser goes
on with the weights themselves (Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; Tarvainen & Valpola 2017,
https://arxiv.org/abs/1703.01780).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The averages of a module's floating-point weights and buffers, as the means of batch norms; what is frozen stays what it is.

    Args:
        module: whose weights are averaged, from those that it has now on.
        decay: share of the average that stays in a step, in the long run.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.averages = {name: each.clone() for name, each in self._weights().items()}

    def update(self, step: int) -> None:
        """Takes in the weights that the module has after so many steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = self._weights()
        for sort in {(each.dtype, each.device) for each in weights.values()}:
            alike = [name for name, each in weights.items() if (each.dtype, each.device) == sort]
            averages, current = ([values[name] for name in alike] for values in (self.averages, weights))
            get_ema_multi_avg_fn(decay)(averages, current, None)  # type: ignore[no-untyped-call]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the averages in the block, and its own weights after it, to the bit."""
        own = {name: each.clone() for name, each in self._weights().items()}
        self.put()
        try:
            yield
        finally:
            self._copy(own)

    def put(self) -> None:
        """Gives the module the averages in place of its weights."""
        self._copy(self.averages)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Takes the averages of a checkpoint.

        Raises:
            KeyError: if one of a weight is missing.
        """
        self.averages = {name: averages[name] for name in self.averages}

    def _weights(self) -> dict[str, Tensor]:
        return {name: each for name, each in self.module.state_dict().items() if each.is_floating_point()}

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, each in self._weights().items():
            each.copy_(values[name])
