"""What each of several modalities is worth to a metric: Shapley values, and what is lost when one is taken away.

The game: the value of a subset of the modalities is the metric of what is predicted from them alone, and the value of none is
that of the constant predictor. A modality's Shapley value is its mean contribution over all orders in which the modalities can be
added (Shapley 1953, A Value for n-Person Games), so the values sum to what the whole model gains over the constant predictor. Up to
6 modalities, all subsets are evaluated; of more, orders are drawn, each with its reverse (Castro et al. 2009; Mitchell
et al. 2022, JMLR 23). Contributions are signed so that positive means that it helps, for errors too.

The same scenes are left out for every subset, so the intervals of values and differences are paired. Nothing here knows a
model: `attribute_gain` takes the metric of each subset, as it is and without each scene (`Resampling.leave_out`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from eofuse.errors import UsageError
from eofuse.evaluation.intervals import infer
from eofuse.evaluation.metrics import lower_is_better
from eofuse.evaluation.resampling import LeftOut
from eofuse.evaluation.weighting import FloatArray

MOST_EXACT = 6
"""With more modalities than this, orders are drawn instead of all subsets being evaluated."""

ORDERS = 32
"""Orders that are drawn, half of them the reverse of the others."""

Subset = frozenset[str]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over scenes; both ends are NaN where none can be given."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Worth:
    """What a modality is worth; positive is better.

    Attributes:
        name: of the modality.
        shapley: its Shapley value.
        sampling_error: standard error from drawing orders, 0 where all subsets were evaluated.
        drop_one: what is lost when it alone is taken away.
    """

    name: str
    shapley: Estimate
    sampling_error: float
    drop_one: Estimate


@dataclass(frozen=True)
class Attribution:
    """What each modality is worth to a metric.

    The Shapley values sum to `whole` − `constant`; of an error, to the reverse.
    """

    whole: float
    constant: float
    worths: tuple[Worth, ...]


class Game:
    """Which subsets are evaluated, and how contributions follow from their values.

    Args:
        names: the players.
        seed: of the orders that are drawn where there are many players.
        orders: how many are drawn; an odd one is rounded up.

    Attributes:
        subsets: those that are evaluated: the empty one first, that of all last.
        is_exact: whether they are all that there are.

    Raises:
        UsageError: if there is no player.
    """

    def __init__(self, names: Sequence[str], seed: int = 0, orders: int = ORDERS) -> None:
        if not names:
            raise UsageError("there is no modality to be judged")
        self.names = tuple(names)
        self.is_exact = len(names) <= MOST_EXACT
        self._orders = [] if self.is_exact else _antithetic_orders(self.names, seed, orders)
        self.subsets = all_subsets(self.names) if self.is_exact else _subsets_of(self._orders, self.names)
        self._place = {subset: place for place, subset in enumerate(self.subsets)}
        self._weights = self._exact_weights()[None] if self.is_exact else self._drawn_weights()

    def shapley(self, values: FloatArray) -> FloatArray:
        """Shapley values (…, players) from the values of the subsets, (…, subsets)."""
        result: FloatArray = values @ self._weights.mean(0).T
        return result

    def sampling_error(self, values: FloatArray) -> FloatArray:
        """Standard errors (players,) of the Shapley values from the drawn orders, given the values of the subsets."""
        if self.is_exact:
            return np.zeros(len(self.names))
        pairs = (self._weights[0::2] + self._weights[1::2]) / 2 @ values
        error: FloatArray = pairs.std(0, ddof=1) / math.sqrt(len(pairs))
        return error

    def drop_one(self, values: FloatArray) -> FloatArray:
        """What all players have more than all but one, (…, players)."""
        without = [self._place[frozenset(self.names) - {name}] for name in self.names]
        return values[..., -1:] - values[..., without]

    def _exact_weights(self) -> FloatArray:
        count = len(self.names)
        weights = np.zeros((count, len(self.subsets)))
        for player, name in enumerate(self.names):
            for place, subset in enumerate(self.subsets):
                others = len(subset - {name})
                share = 1 / (count * math.comb(count - 1, others))
                weights[player, place] = share if name in subset else -share
        return weights

    def _drawn_weights(self) -> FloatArray:
        weights = np.zeros((len(self._orders), len(self.names), len(self.subsets)))
        for number, order in enumerate(self._orders):
            before: Subset = frozenset()
            for name in order:
                player = self.names.index(name)
                weights[number, player, self._place[before]] -= 1
                before |= {name}
                weights[number, player, self._place[before]] += 1
        return weights


def all_subsets(names: Sequence[str]) -> list[Subset]:
    """Every subset, smaller ones first."""
    return [frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]


def _antithetic_orders(names: Sequence[str], seed: int, orders: int) -> list[tuple[str, ...]]:
    generator = np.random.default_rng(seed)
    found: list[tuple[str, ...]] = []
    for _ in range(max((orders + 1) // 2, 2)):
        order = tuple(names[place] for place in generator.permutation(len(names)).tolist())
        found += [order, order[::-1]]
    return found


def _subsets_of(orders: Sequence[tuple[str, ...]], names: Sequence[str]) -> list[Subset]:
    """Subsets that the orders pass, and those without one."""
    passed = {frozenset(order[:size]) for order in orders for size in range(len(names) + 1)}
    passed |= {frozenset(names) - {name} for name in names}
    return sorted(passed, key=lambda subset: (len(subset), sorted(subset)))


def attribute_gain(game: Game, found: Sequence[LeftOut], metric: str) -> Attribution:
    """What each modality is worth to a metric.

    `found` has the metric from each of the game's subsets alone; from none, of the constant prediction.
    """
    sign = -1.0 if lower_is_better(metric) else 1.0
    points = sign * np.array([each.value for each in found])
    without = sign * np.stack([each.without for each in found], -1)
    shapley = estimates(game.shapley(points), game.shapley(without), found[-1])
    drop_one = estimates(game.drop_one(points), game.drop_one(without), found[-1])
    errors = game.sampling_error(points).tolist()
    return Attribution(found[-1].value, found[0].value, tuple(map(Worth, game.names, shapley, errors, drop_one)))


def estimates(points: FloatArray, without: FloatArray, whole: LeftOut) -> list[Estimate]:
    """Estimates from values (K,) and what they are without each scene, (n, K), with intervals over the scenes of the whole."""
    found = []
    for point, column in zip(points.tolist(), without.T, strict=True):
        inference = infer(point, column, whole.design, scale=whole.value)
        found.append(Estimate(point, inference.low, inference.high))
    return found
