"""How sure one can be of a metric and of a difference: seeds averaged, scenes resampled, families of tests corrected.

`Predictions` holds what one trained run said about its test patches. `Bootstrap` resamples scenes and gives a `Summary`
of some runs or a paired `Comparison` of two sets of runs; it keeps what it computed, so many summaries and comparisons
of one study should share one. `summarise` and `compare` do the same once. The intervals and p values of replicates are in
`intervals`.

What is estimated: the metric, averaged over training seeds (for one seed: the mean of its folds' metrics), on new
scenes of the kind that were tested. Patches of one scene share date, place and sensor state, so whole scenes are drawn
with replacement, never single patches (cluster bootstrap: Field and Welsh 2007, J. R. Stat. Soc. B 69(3)). All runs see
the same draws, which pairs the comparisons. Intervals are percentiles, expanded for the number of scenes; they hold the
trained models fixed: what another seed would change is `Summary.seed_sd`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eofuse.errors import DataError, UsageError
from eofuse.evaluation.intervals import bootstrap_interval, expanded_level, expanded_p, two_sided_p
from eofuse.evaluation.weighting import FloatArray

Evidence = Mapping[str, NDArray[Any]]
"""Arrays with a row a patch, from which metrics follow (see `eofuse.evaluation.evidence`)."""

MetricFunction = Callable[[Evidence, Any], dict[str, Any]]
"""(evidence, weights) → metric name → value; weights None or (R, N)."""

FEW_SCENES = 20
"""With fewer scenes than this, intervals and p-values of the cluster bootstrap are rough."""

_ROUNDING = 1e-12  # a smaller difference comes from the order of a sum
_CHUNK_BYTES = 100e6
_COPIES = 6  # arrays of the size of the weights that a metric function holds at its peak


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one run said about its test patches.

    Attributes:
        evidence: by name, (N, …).
        scenes: (N,) scene of each patch.
        patch_ids: (N,) without repetition.
        seed: the training seed.
        fold: number of the fold of a cross-validation, 0 without one.
    """

    evidence: Evidence
    scenes: NDArray[Any]
    patch_ids: NDArray[Any]
    seed: int = 0
    fold: int = 0
    test_set: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", {name: np.asarray(array) for name, array in self.evidence.items()})
        for name in ("scenes", "patch_ids"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        for name, array in {**self.evidence, "scenes": self.scenes}.items():
            if len(array) != len(self.patch_ids):
                raise UsageError(f"{name} has {len(array)} rows, patch_ids {len(self.patch_ids)}")
        identifiers = sorted(str(identifier) for identifier in self.patch_ids.tolist())
        if len(set(identifiers)) != len(identifiers):
            twice = Counter(identifiers).most_common(1)[0][0]
            raise DataError(f"patch {twice} occurs more than once", where=f"seed {self.seed}, fold {self.fold}")
        digest = hashlib.sha256("\n".join(identifiers).encode()).hexdigest()
        object.__setattr__(self, "test_set", digest)


@dataclass(frozen=True)
class Summary:
    """A metric of some runs of one variant.

    Attributes:
        mean: over seeds.
        seed_sd: sample standard deviation between seeds; NaN for a single seed.
        low: lower end of the interval of the mean over seeds, from resampled scenes; NaN for a single scene.
        high: its upper end.
        n_seeds: number of seeds.
        n_test: distinct test patches.
        n_scenes: distinct test scenes.
        warning: why the interval should not be trusted, or None.
    """

    mean: float
    seed_sd: float
    low: float
    high: float
    n_seeds: int
    n_test: int
    n_scenes: int
    warning: str | None


@dataclass(frozen=True)
class Comparison:
    """A metric of a variant minus that of a baseline, on the same test patches.

    Attributes:
        difference: between the means over seeds.
        low: lower end of its interval, from resampled scenes; NaN for a single scene.
        high: its upper end.
        p: two-sided p-value of no difference, before any correction for many comparisons; NaN for a single scene.
        n_seeds: seeds of the variant.
        n_test: distinct test patches.
        n_scenes: distinct test scenes.
        warning: why interval and p should not be trusted, or None.
    """

    difference: float
    low: float
    high: float
    p: float
    n_seeds: int
    n_test: int
    n_scenes: int
    warning: str | None


@dataclass(frozen=True, eq=False)
class Replicated:
    """A metric of some runs of one variant, averaged over seeds, on the test patches and in each replicate.

    Attributes:
        value: on the test patches as they are.
        replicates: (R,).
        n_scenes: distinct test scenes.
    """

    value: float
    replicates: FloatArray
    n_scenes: int


def cluster_weights(groups: ArrayLike, replicates: int, seed: int) -> NDArray[np.int64]:
    """How often each row counts when groups are drawn with replacement, as many as there are.

    Args:
        groups: (N,) group (scene) of each row.
        replicates: R.
        seed: of the draws.

    Returns:
        (R, N) integers; rows of one group share their value.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    drawn: NDArray[np.int64] = _draws(len(names), replicates, seed)[:, codes].astype(np.int64)
    return drawn


def few_scenes_warning(scenes: int) -> str | None:
    """What to tell a reader if the test set has too few scenes for its intervals, else None."""
    if scenes >= FEW_SCENES:
        return None
    if scenes < 2:
        return f"{scenes} test scene: no interval and no p-value can be given; test on more scenes"
    return f"only {scenes} test scenes (fewer than {FEW_SCENES}): intervals and p values are rough; test on more scenes"


def seed_averaged(runs: Sequence[Predictions], values: Sequence[Any]) -> FloatArray:
    """Mean over seeds of the mean over each seed's folds of one value, or one array of replicates (R,), for each run.

    NaN entries (a fold of which a replicate drew no scene) are left out of their mean.
    """
    return _mean_of_numbers(list(_by_seed(runs, values).values()))


def summarise(
    runs: Sequence[Predictions], metric_function: MetricFunction, replicates: int = 2000, seed: int = 0
) -> dict[str, Summary]:
    """Metric name → summary of some runs of one variant; see `Bootstrap.summarise`."""
    return Bootstrap(metric_function, replicates, seed).summarise(runs)


def compare(
    runs: Sequence[Predictions],
    baseline_runs: Sequence[Predictions],
    metric_function: MetricFunction,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Metric name → comparison of a variant with a baseline; see `Bootstrap.compare`."""
    return Bootstrap(metric_function, replicates, seed).compare(runs, baseline_runs)


class Bootstrap:
    """Resamples scenes; keeps the replicate values of each run that it has seen.

    Args:
        metric_function: gives all metrics of evidence under many weightings.
        replicates: how many times scenes are drawn.
        seed: of the draws.
        level: of the intervals.
    """

    def __init__(
        self, metric_function: MetricFunction, replicates: int = 2000, seed: int = 0, level: float = 0.95
    ) -> None:
        if replicates < 1:
            raise UsageError("at least one replicate is needed", where="replicates")
        self.metric_function = metric_function
        self.replicates = replicates
        self.seed = seed
        self.level = level
        self._scene_draws: dict[int, NDArray[np.uint16]] = {}
        self._points: dict[Predictions, dict[str, float]] = {}
        self._values: dict[tuple[Predictions, tuple[str, ...]], dict[str, FloatArray]] = {}

    def summarise(self, runs: Sequence[Predictions]) -> dict[str, Summary]:
        """Metric name → mean over seeds, spread between seeds and interval of the mean.

        Raises:
            UsageError: if there are no runs, or two of one seed and fold.
        """
        _check_runs(runs)
        points, values, scenes = self._metrics_of(runs, runs)
        result = {}
        for name in points[0]:
            by_seed = _by_seed(runs, [point[name] for point in points])
            between = np.array([float(value) for value in by_seed.values()])
            replicated = seed_averaged(runs, [value[name] for value in values])
            low, high = self._interval(replicated, scenes)
            result[name] = Summary(
                mean=float(_mean_of_numbers(list(by_seed.values()))),
                seed_sd=float(between.std(ddof=1)) if len(between) > 1 else float("nan"),
                low=low,
                high=high,
                n_seeds=len(by_seed),
                n_test=_count_patches(runs),
                n_scenes=len(scenes),
                warning=few_scenes_warning(len(scenes)),
            )
        return result

    def compare(self, runs: Sequence[Predictions], baseline_runs: Sequence[Predictions]) -> dict[str, Comparison]:
        """Metric name → difference between the means over seeds of a variant and a baseline, with interval and p-value.

        The p-value is never below 2^(1−scenes): as extreme a sign pattern arises that often by chance, so that few
        scenes that happen to agree do not look certain.

        Raises:
            UsageError: if a side has no runs, or two of one seed and fold, or the sides were not tested on the same
                patches.
        """
        _check_runs(runs)
        _check_runs(baseline_runs)
        _check_same_patches(runs, baseline_runs)
        together = [*runs, *baseline_runs]
        points, values, scenes = self._metrics_of(runs, together)
        baseline_points, baseline_values, _ = self._metrics_of(baseline_runs, together)
        result = {}
        for name in points[0]:
            point = seed_averaged(runs, [value[name] for value in points])
            baseline_point = seed_averaged(baseline_runs, [value[name] for value in baseline_points])
            replicated = seed_averaged(runs, [value[name] for value in values])
            differences = replicated - seed_averaged(baseline_runs, [value[name] for value in baseline_values])
            differences[np.abs(differences) < _ROUNDING] = 0.0
            low, high = self._interval(differences, scenes)
            fewest = 2.0 ** (1 - len(scenes))
            result[name] = Comparison(
                difference=float(point - baseline_point),
                low=low,
                high=high,
                p=max(expanded_p(two_sided_p(differences), len(scenes)), fewest) if len(scenes) > 1 else float("nan"),
                n_seeds=len({run.seed for run in runs}),
                n_test=_count_patches(runs),
                n_scenes=len(scenes),
                warning=few_scenes_warning(len(scenes)),
            )
        return result

    def replicate(self, runs: Sequence[Predictions], sharing: Sequence[Predictions] = ()) -> dict[str, Replicated]:
        """Metric name → its mean over seeds with the replicates of that mean, for what no summary holds.

        Args:
            runs: of one variant.
            sharing: other runs whose scenes are drawn along, so that their replicates go with these.

        Raises:
            UsageError: if there are no runs, or two of one seed and fold.
        """
        _check_runs(runs)
        points, values, scenes = self._metrics_of(runs, [*runs, *sharing])
        return {
            name: Replicated(
                float(seed_averaged(runs, [point[name] for point in points])),
                seed_averaged(runs, [value[name] for value in values]),
                len(scenes),
            )
            for name in points[0]
        }

    def _interval(self, values: FloatArray, scenes: tuple[str, ...]) -> tuple[float, float]:
        if len(scenes) < 2:
            return float("nan"), float("nan")
        return bootstrap_interval(values, expanded_level(self.level, len(scenes)))

    def _metrics_of(
        self, runs: Sequence[Predictions], sharing_scenes: Sequence[Predictions]
    ) -> tuple[list[dict[str, float]], list[dict[str, FloatArray]], tuple[str, ...]]:
        """Each run's metrics, its replicate values under draws of the scenes of the sharing runs, and those scenes."""
        scenes = tuple(sorted({str(scene) for run in sharing_scenes for scene in np.unique(run.scenes).tolist()}))
        for run in runs:
            if run not in self._points:
                self._points[run] = self.metric_function(run.evidence, None)
            if (run, scenes) not in self._values:
                self._values[run, scenes] = self._replicate(run, scenes)
        return [self._points[run] for run in runs], [self._values[run, scenes] for run in runs], scenes

    def _replicate(self, run: Predictions, scenes: tuple[str, ...]) -> dict[str, FloatArray]:
        """A run's metrics (R,) in each replicate, computed in chunks that bound the memory."""
        if len(scenes) not in self._scene_draws:
            self._scene_draws[len(scenes)] = _draws(len(scenes), self.replicates, self.seed)
        draws = self._scene_draws[len(scenes)]
        codes = np.searchsorted(np.array(scenes), run.scenes.astype(str)) if len(scenes) else np.zeros(0, dtype=np.intp)
        values: dict[str, list[FloatArray]] = defaultdict(list)
        for rows in _chunks(self.replicates, len(codes)):
            weights = draws[rows][:, codes].astype(np.float64)
            for name, chunk in self.metric_function(run.evidence, weights).items():
                values[name].append(np.asarray(chunk, dtype=np.float64))
        return {name: np.concatenate(chunks) for name, chunks in values.items()}


def _draws(groups: int, replicates: int, seed: int) -> NDArray[np.uint16]:
    """How often each of the groups is drawn, (R, groups)."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros((replicates, groups), dtype=np.uint16)
    if groups:
        for rows in _chunks(replicates, groups):
            count = rows.stop - rows.start
            drawn[rows] = generator.multinomial(groups, np.full(groups, 1 / groups), size=count)
    return drawn


def _chunks(replicates: int, columns: int) -> Iterator[slice]:
    """Slices of the replicates such that an array over a slice's replicates and the columns stays small."""
    size = max(1, int(_CHUNK_BYTES // (8 * _COPIES * max(1, columns))))
    for start in range(0, replicates, size):
        yield slice(start, min(start + size, replicates))


def _by_seed(runs: Sequence[Predictions], values: Sequence[Any]) -> dict[int, FloatArray]:
    """Mean over each seed's folds."""
    folds: dict[int, list[Any]] = defaultdict(list)
    for run, value in zip(runs, values, strict=True):
        folds[run.seed].append(value)
    return {seed: _mean_of_numbers(of_seed) for seed, of_seed in sorted(folds.items())}


def _mean_of_numbers(values: Sequence[Any]) -> FloatArray:
    """Mean over the first axis without NaN entries; NaN where there is nothing else."""
    stacked = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(stacked)
    counts = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    mean: FloatArray = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
    return mean


def _count_patches(runs: Sequence[Predictions]) -> int:
    distinct = {run.test_set: run.patch_ids for run in runs}
    return len(np.unique(np.concatenate(list(distinct.values()))))


def _check_runs(runs: Sequence[Predictions]) -> None:
    if not runs:
        raise UsageError("no runs to evaluate")
    (seed, fold), times = Counter((run.seed, run.fold) for run in runs).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{times} runs have seed {seed} and fold {fold}", fix="give one run a seed and fold")


def _check_same_patches(runs: Sequence[Predictions], baseline_runs: Sequence[Predictions]) -> None:
    """Pairing needs equal test sets seed by seed or, if the seeds differ, the same test sets for all of them."""
    designs: list[dict[int, list[str]]] = []
    for side in (runs, baseline_runs):
        design: dict[int, list[str]] = defaultdict(list)
        for run in side:
            design[run.seed].append(run.test_set)
        designs.append({seed: sorted(sets) for seed, sets in design.items()})
    if designs[0] == designs[1]:
        return
    if len({tuple(sets) for design in designs for sets in design.values()}) > 1:
        raise UsageError(
            "the runs were not tested on the same patches as the baseline's",
            fix="compare runs of the same splits, seeds and folds",
        )
