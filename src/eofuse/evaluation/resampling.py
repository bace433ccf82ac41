"""How sure one can be of a metric and of a difference: seeds averaged, scenes left out or drawn again.

`Resampling` leaves out scenes and gives a `Summary` of some
runs or a paired `Comparison` of two sets of runs; it keeps what it computed, so many summaries and comparisons of one study should
share one. How intervals and p values follow is in `intervals`.

What is estimated: the metric, averaged over training seeds (for one seed: the mean of its folds' metrics), on new
scenes of the kind that were tested. Patches of one scene share date, place and sensor state, so the unit is the scene, never the
patch: the standard error is that of the jackknife that leaves out one scene after the other (delete-one-cluster jackknife). All runs
leave out the same scenes, which pairs the comparisons. Intervals hold the trained models fixed: what another seed would change is
`Summary.seed_sd`.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eofuse.errors import UsageError
from eofuse.evaluation.intervals import Design, Inference, infer
from eofuse.evaluation.metrics import bounds
from eofuse.evaluation.predictions import Predictions
from eofuse.evaluation.weighting import Evidence, FloatArray

MetricFunction = Callable[[Evidence, Any], dict[str, Any]]
"""(evidence, weights) → metric name → value; weights None or (R, N)."""

Scenes = tuple[str, ...]  # their names, in order

FEW_SCENES = 20
"""With fewer scenes than this, intervals and p values are wide and rough."""

MOST_GROUPS = 500
"""More scenes than these are left out in as many groups of about equal size."""

_CHUNK_BYTES = 100e6
_COPIES = 6  # arrays of the size of the weights that a metric function holds at its peak


class Result:
    """A number with its interval over scenes, as a row of a table."""

    def columns(self) -> dict[str, Any]:
        """Its values by name, but for the warning."""
        return {name: value for name, value in vars(self).items() if name != "warning"}


@dataclass(frozen=True)
class Summary(Result):
    """A metric of some runs of one variant.

    Attributes:
        mean: over seeds.
        seed_sd: sample standard deviation between seeds; NaN for a single seed.
        low: lower end of the interval of the mean over seeds, over scenes; NaN where none can be given.
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
class Comparison(Result):
    """A metric of a variant minus that of a baseline, on the same test patches: `difference` between the means over seeds.

    `p` is the two-sided p value of no difference, before any correction for many comparisons, NaN where none can be given; the rest is
    as in `Summary`, with the seeds of the variant.
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
    """A metric of some runs of one variant, averaged over seeds: on the test patches, and in each draw of their scenes, (R,)."""

    value: float
    replicates: FloatArray


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A metric of some runs of one variant, averaged over seeds: on the test patches, and without each of their scenes, (n,).

    `design` is how large a part each scene is, or each group of scenes where there are very many; `n_scenes` counts the scenes.
    """

    value: float
    without: FloatArray
    design: Design
    n_scenes: int


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


class Resampling:
    """Leaves scenes out, or draws them again; keeps the values of each run that it has seen.

    Args:
        metric_function: gives all metrics of evidence under many weightings.
        replicates: how many times `replicate` draws scenes.
        seed: of the draws.
    """

    def __init__(self, metric_function: MetricFunction, replicates: int = 2000, seed: int = 0) -> None:
        if replicates < 1:
            raise UsageError("at least one replicate is needed", where="replicates")
        self.metric_function = metric_function
        self.replicates = replicates
        self.seed = seed
        self._draws: dict[int, NDArray[np.uint16]] = {}
        self._points: dict[Predictions, dict[str, float]] = {}
        self._values: dict[tuple[Predictions, Scenes, str], dict[str, FloatArray]] = {}

    def summarise(self, runs: Sequence[Predictions]) -> dict[str, Summary]:
        """Metric name → mean over seeds, spread between seeds and interval of the mean.

        Raises:
            UsageError: if there are no runs, or two of one seed and fold.
        """
        result = {}
        for name, found in self.leave_out(runs).items():
            by_seed = _by_seed(runs, [self._points[run][name] for run in runs])
            between = np.array([float(value) for value in by_seed.values()])
            seed_sd = float(between.std(ddof=1)) if len(between) > 1 else float("nan")
            inference = self._infer(found.value, found.without, found, bounds(name))
            sizes = len(by_seed), *_sizes(runs, found)
            result[name] = Summary(found.value, seed_sd, inference.low, inference.high, *sizes)
        return result

    def compare(self, runs: Sequence[Predictions], baseline_runs: Sequence[Predictions]) -> dict[str, Comparison]:
        """Metric name → difference between the means over seeds of a variant and a baseline, with interval and p value.

        Both come from one t statistic: p is below 0.05 just where the interval excludes 0.

        Raises:
            UsageError: if a side has no runs, or two of one seed and fold, or the sides were not tested on the same
                patches.
        """
        _check_runs(runs)
        _check_runs(baseline_runs)
        _check_same_patches(runs, baseline_runs)
        result = {}
        ours, theirs = self.leave_out(runs), self.leave_out(baseline_runs)
        for name, found in ours.items():
            difference = found.value - theirs[name].value
            without = found.without - theirs[name].without
            low, high = bounds(name)
            inference = self._infer(difference, without, found, (low - high, high - low))
            sizes = len({run.seed for run in runs}), *_sizes(runs, found)
            result[name] = Comparison(difference, inference.low, inference.high, inference.p, *sizes)
        return result

    def _infer(self, estimate: float, without: FloatArray, of: LeftOut, limits: tuple[float, float]) -> Inference:
        return infer(estimate, without, of.design, bounds=limits, scale=of.value)

    def leave_out(self, runs: Sequence[Predictions]) -> dict[str, LeftOut]:
        """Metric name → its mean over seeds, as it is and without each scene.

        Raises:
            UsageError: if there are no runs, or two of one seed and fold.
        """
        _check_runs(runs)
        scenes = _scenes_of(runs)
        groups = _groups_of_scenes(runs, scenes)
        numbers = np.arange(groups.max(initial=0) + 1)
        averaged = self._averaged(runs, scenes, "left out", groups != numbers[:, None])
        design = _design(runs, scenes, groups)
        return {name: LeftOut(*values, design, len(scenes)) for name, values in averaged.items()}

    def replicate(self, runs: Sequence[Predictions], sharing: Sequence[Predictions] = ()) -> dict[str, Replicated]:
        """Metric name → its mean over seeds with the same when as many scenes as there are are drawn with replacement.

        Args:
            runs: of one variant.
            sharing: other runs whose scenes are drawn along, so that their replicates go with these.

        Raises:
            UsageError: if there are no runs, or two of one seed and fold.
        """
        _check_runs(runs)
        scenes = _scenes_of([*runs, *sharing])
        if len(scenes) not in self._draws:
            self._draws[len(scenes)] = _draws(len(scenes), self.replicates, self.seed)
        averaged = self._averaged(runs, scenes, "drawn", self._draws[len(scenes)])
        return {name: Replicated(*values) for name, values in averaged.items()}

    def _averaged(
        self, runs: Sequence[Predictions], scenes: Scenes, how: str, weights: NDArray[Any]
    ) -> dict[str, tuple[float, FloatArray]]:
        """Metric name → its mean over seeds, as it is and (R,) under R weightings of the scenes, (R, scenes)."""
        found = [self._weighted(run, scenes, how, weights) for run in runs]
        return {
            name: (
                float(seed_averaged(runs, [self._points[run][name] for run in runs])),
                seed_averaged(runs, [values[name] for values in found]),
            )
            for name in self._points[runs[0]]
        }

    def _weighted(self, run: Predictions, scenes: Scenes, how: str, weights: NDArray[Any]) -> dict[str, FloatArray]:
        """The metrics (R,) of a run under R weightings of the scenes, (R, scenes), computed in chunks that bound the memory."""
        if run not in self._points:
            self._points[run] = self.metric_function(run.evidence, None)
        if (run, scenes, how) not in self._values:
            codes = _codes(run.units, scenes)
            chunks = [
                self.metric_function(run.evidence, weights[rows][:, codes].astype(np.float64))
                for rows in _chunks(len(weights), len(codes))
            ]
            self._values[run, scenes, how] = {
                name: np.concatenate([np.asarray(chunk[name], dtype=np.float64) for chunk in chunks])
                for name in (chunks[0] if chunks else ())
            }
        return self._values[run, scenes, how]


def _scenes_of(runs: Sequence[Predictions]) -> Scenes:
    """Names of the scenes of all runs."""
    return tuple(sorted({str(scene) for run in runs for scene in np.unique(run.scenes).tolist()}))


def _codes(of: NDArray[Any], scenes: Scenes) -> NDArray[np.intp]:
    """Place of each row's scene among the scenes, (N,)."""
    return np.searchsorted(np.array(scenes), of.astype(str)) if len(scenes) else np.zeros(0, dtype=np.intp)


def _groups_of_scenes(runs: Sequence[Predictions], scenes: Scenes) -> NDArray[np.intp]:
    """Number of the group with which each scene is left out: its own, but of more than `MOST_GROUPS` scenes that of its like.

    The largest scenes are dealt first, each to the group with the fewest patches so far.
    """
    if len(scenes) <= MOST_GROUPS:
        return np.arange(len(scenes))
    sizes = np.zeros(len(scenes), dtype=np.int64)
    for run in {run.test_set: run for run in runs}.values():
        sizes += np.bincount(_codes(run.scenes, scenes), minlength=len(scenes))
    groups = np.empty(len(scenes), dtype=np.intp)
    filled = [(0, group) for group in range(MOST_GROUPS)]
    for scene in np.argsort(-sizes, kind="stable").tolist():
        patches, group = heapq.heappop(filled)
        groups[scene] = group
        heapq.heappush(filled, (patches + int(sizes[scene]), group))
    return groups


def _design(runs: Sequence[Predictions], scenes: Scenes, groups: NDArray[np.intp]) -> Design:
    """How large a part of the test patches each group of scenes is, over the folds and seeds of the runs."""
    count = int(groups.max(initial=-1)) + 1
    shares, leverages, folds = [], [], Counter[int]()
    for run in runs:
        share = np.bincount(groups[_codes(run.scenes, scenes)], minlength=count) / max(len(run.scenes), 1)
        several = (share > 0).sum() > 1
        folds[run.seed] += int(several)
        shares.append(share)
        leverages.append(np.where(several & (share > 0), share, np.nan))
    overall = seed_averaged(runs, shares)
    leverage = _mean_of_numbers(leverages)  # a fold of one scene is left out as a whole
    return Design(overall, np.where(np.isnan(leverage), overall, leverage), max(1, *folds.values()))


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
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def _sizes(runs: Sequence[Predictions], of: LeftOut) -> tuple[int, int, str | None]:
    """Distinct test patches, distinct scenes, and a warning of few scenes."""
    patches = np.unique(np.concatenate([run.patch_ids for run in {run.test_set: run for run in runs}.values()]))
    return len(patches), of.n_scenes, few_scenes_warning(of.n_scenes)


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
        fix = "compare runs of the same splits, seeds and folds"
        raise UsageError("the runs were not tested on the same patches as the baseline's", fix=fix)
