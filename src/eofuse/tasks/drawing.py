"""`Draw`: a sample of bounded size out of a stream whose length is not known, such as the labelled pixels of many patches."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def evenly_spaced(rows: Indices, most: int) -> Indices:
    """At most so many of the rows."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


class Draw:
    """At most so many units of a stream, each of them equally likely; all of them, if there are no more.

    Every unit gets a random key, and those with the smallest keys are kept (Efraimidis & Spirakis 2006, with equal weights). The draw
    depends on the seed and the number of units alone, not on how the stream is cut into batches.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most = most
        self._generator = np.random.default_rng([seed, 29])
        self._keys = np.zeros(0)

    def candidates(self, count: int) -> Indices:
        """Which of the next `count` units of the stream are among those with the smallest keys so far, ascending."""
        keys = self._generator.random(count)
        together = np.concatenate([self._keys, keys])
        limit = np.partition(together, self.most - 1)[self.most - 1] if len(together) > self.most else np.inf
        chosen = np.flatnonzero(keys <= limit)
        self._keys = np.concatenate([self._keys, keys[chosen]])
        return chosen

    def kept(self) -> Indices:
        """Which of all candidates so far, one batch behind the other, are drawn in the end, ascending."""
        if len(self._keys) <= self.most:
            return np.arange(len(self._keys))
        return np.sort(np.argpartition(self._keys, self.most - 1)[: self.most])
