"""Exchanges between processes through which gradients pass, for `eofuse.ranks`."""

from typing import Any

import torch
from torch import Tensor

from eofuse import ranks


class Summed(torch.autograd.Function):
    """The sum over the processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The sum, in every process."""
        return ranks.sum_in_place(values.detach().clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Every process's result depends on the values of each."""
        return ranks.sum_in_place(gradients[0].contiguous().clone())


class Gathered(torch.autograd.Function):
    """The rows of all processes, in their order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The rows, in every process: a sum of what is zero outside the own stretch."""
        place = ranks.place()
        counts = torch.zeros(place.size, dtype=torch.int64, device=values.device)
        counts[place.rank] = len(values)
        found = ranks.sum_in_place(counts).tolist()
        begin = sum(found[: place.rank])
        ctx.stretch = slice(begin, begin + len(values))
        everything = values.new_zeros(sum(found), *values.shape[1:])
        everything[ctx.stretch] = values.detach()
        return ranks.sum_in_place(everything)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Every process's result depends on the rows of each."""
        return ranks.sum_in_place(gradients[0].contiguous().clone())[ctx.stretch]
