"""How often intervals and p values over scenes are wrong, by simulation: eofuse's method beside others.

    python benchmarks/intervals.py [--simulations 2000] [--metrics accuracy rmse] [--bootstrap]

Scenes differ in difficulty, classes and size (equal; lognormal, most within 1 : 30; geometric, exactly 1 : 30), and patches of a scene
resemble each other. Two models share the difficulty of a scene and err in ways of their own besides. Every metric follows from sums
over scenes, so thousands of test sets are judged at once. Of each cell is printed how often, in %,

- `pair`: two equally good models are called different: false positives at 0.05;
- `null`: a model exactly as good as the constant prediction is called different from it;
- `gain`: the interval of a model's gain over the constant prediction misses the true gain;
- `score`: the interval of a model's score misses the true score;
- `power`: a better model is called different from the other.

The standard error of a printed share near 5 % is 0.5 % with 2,000 simulations. Macro averages go over the classes that a test set
shows, so with few scenes they are biased, whatever the method.

Methods: `eofuse` (`eofuse.evaluation.intervals.jackknife`); `t(n-1)`, the plain jackknife; `CR2-BM`, the Satterthwaite degrees of
freedom of Bell and McCaffrey (2002) for scenes as the only source of chance; `CR3`, without the factor; `signs`, the exact
sign-flip test of the contributions of scenes (up to 12 of them); with `--bootstrap`, `percentile`, the expanded percentile interval
(Hesterberg 2015) of 400 draws, on 500 of the simulations.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as student_t

from eofuse.evaluation.intervals import jackknife

SCENES = (5, 8, 12, 25, 60)
SIZES = ("equal", "lognormal", "geometric")
PATCHES = 20
"""Of a scene, on average."""

Array = np.ndarray

SHARES = np.array([0.35, 0.25, 0.16, 0.12, 0.08, 0.04])
_CLASSES = len(SHARES)
_CONFUSED = np.tile(SHARES, (_CLASSES, 1)) * (1 - np.eye(_CLASSES))
_CONFUSED /= _CONFUSED.sum(1, keepdims=True)
_BINS = 32


def sizes(kind: str, simulations: int, scenes: int, random: np.random.Generator) -> Array:
    """Patches of each scene, (simulations, scenes)."""
    if kind == "equal":
        return np.full((simulations, scenes), PATCHES)
    if kind == "geometric":
        growing = 30 ** (np.arange(scenes) / (scenes - 1))
        return np.tile(np.maximum(1, np.round(growing / growing.mean() * PATCHES)).astype(int), (simulations, 1))
    drawn = np.exp(random.normal(0, 0.85, (simulations, scenes)))
    return np.maximum(1, np.round(0.7 * PATCHES * drawn)).astype(int)


def draw_classes(patches: Array, random: np.random.Generator, better: float = 0.0) -> Array:
    """Counts by class: true ones, then right and predicted ones of model 0, model 1 and the constant prediction."""
    mixes = random.gamma(3 * SHARES, size=(*patches.shape, _CLASSES)) + 1e-9
    true = random.multinomial(patches, mixes / mixes.sum(-1, keepdims=True))
    difficulty = random.normal(0, 1, (*patches.shape, 1))
    parts = [true]
    for model in range(2):
        own = random.normal(0, 0.7, (*patches.shape, 1)) + (better if model == 0 else 0)
        right = random.binomial(true, expit(np.linspace(1.2, -0.2, _CLASSES) + difficulty + own))
        wrong = random.multinomial(true - right, _CONFUSED).sum(-2)
        parts += [right, right + wrong]
    always = np.zeros_like(true)
    always[..., 0] = patches
    return np.concatenate([*parts, np.minimum(true, always), always], -1).astype(float)


def draw_numbers(patches: Array, random: np.random.Generator, better: float = 0.0) -> Array:
    """Patches, sum and sum of squares of the truth, squared errors of model 0, model 1 and the constant prediction."""
    mean, noise = random.normal(0, 1, patches.shape), 0.7
    total = random.normal(patches * mean, noise * np.sqrt(patches))
    within = np.where(patches > 1, noise**2 * random.chisquare(np.maximum(patches - 1, 1)), 0)
    squares = within + total**2 / patches
    spread = 0.6 * np.exp(random.normal(0, 0.4, patches.shape))
    errors = []
    for model in range(2):
        bias = random.normal(0, 0.5, patches.shape) * (1 - (better if model == 0 else 0))
        errors.append(spread**2 * random.noncentral_chisquare(patches, patches * (bias / spread) ** 2))
    constant = 0.1
    errors.append(squares - 2 * constant * total + patches * constant**2)
    return np.stack([patches, total, squares, *errors], -1).astype(float)


def draw_scores(patches: Array, random: np.random.Generator, better: float = 0.0) -> Array:
    """Positive and negative patches by falling score of model 0, model 1 and the constant prediction."""
    positive = random.binomial(patches, random.beta(1, 2, patches.shape))
    difficulty, edges = random.normal(0, 0.5, patches.shape), np.linspace(-3, 4, _BINS - 1)
    parts = []
    for model in range(2):
        lift = 1 + difficulty + random.normal(0, 0.4, patches.shape) + (better if model == 0 else 0)
        offset = random.normal(0, 0.4, patches.shape)
        for count, mean in ((positive, lift + offset), (patches - positive, offset)):
            below = norm.cdf(edges - mean[..., None])
            ends = np.zeros((*patches.shape, 1)), np.ones((*patches.shape, 1))
            shares = np.clip(np.diff(np.concatenate([ends[0], below, ends[1]], -1), axis=-1), 0, 1)
            parts.append(random.multinomial(count, shares / shares.sum(-1, keepdims=True))[..., ::-1])
    alike = np.zeros((2, *patches.shape, _BINS))
    alike[0, ..., 0], alike[1, ..., 0] = positive, patches - positive
    return np.concatenate([*parts, *alike], -1).astype(float)


def _divide(numerator: Array, denominator: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _counts(sums: Array, model: int) -> tuple[Array, Array, Array]:
    parts = np.split(sums, sums.shape[-1] // _CLASSES, -1)
    return parts[0], parts[1 + 2 * model], parts[2 + 2 * model]


def _macro(values: Array, true: Array) -> Array:
    return _divide(np.where(true > 0, values, 0).sum(-1), (true > 0).sum(-1))


def accuracy(sums: Array, model: int) -> Array:
    true, right, _ = _counts(sums, model)
    return _divide(right.sum(-1), true.sum(-1))


def macro_f1(sums: Array, model: int) -> Array:
    true, right, predicted = _counts(sums, model)
    return _macro(_divide(2 * right, true + predicted), true)


def balanced_accuracy(sums: Array, model: int) -> Array:
    true, right, _ = _counts(sums, model)
    return _macro(_divide(right, true), true)


def miou(sums: Array, model: int) -> Array:
    true, right, predicted = _counts(sums, model)
    return _macro(_divide(right, true + predicted - right), true)


def rmse(sums: Array, model: int) -> Array:
    return np.sqrt(_divide(np.maximum(sums[..., 3 + model], 0), sums[..., 0]))


def r2(sums: Array, model: int) -> Array:
    return 1 - _divide(sums[..., 3 + model], sums[..., 2] - _divide(sums[..., 1] ** 2, sums[..., 0]))


def average_precision(sums: Array, model: int) -> Array:
    positive, negative = np.split(sums, 6, -1)[2 * model : 2 * model + 2]
    found = positive.cumsum(-1)
    precision = _divide(found, found + negative.cumsum(-1))
    return _divide(np.where(positive > 0, positive * precision, 0).sum(-1), found[..., -1])


@dataclass(frozen=True)
class Metric:
    """A metric: how its scenes are drawn, and what it is of their sums, for each model; `better` makes model 0 better."""

    draw: Callable[..., Array]
    of: Callable[[Array, int], Array]
    better: float
    lower_is_better: bool = False


METRICS = {
    "accuracy": Metric(draw_classes, accuracy, 0.9),
    "macro_f1": Metric(draw_classes, macro_f1, 0.9),
    "balanced_accuracy": Metric(draw_classes, balanced_accuracy, 0.9),
    "miou": Metric(draw_classes, miou, 0.9),
    "rmse": Metric(draw_numbers, rmse, 0.6, lower_is_better=True),
    "r2": Metric(draw_numbers, r2, 0.6),
    "average_precision": Metric(draw_scores, average_precision, 0.9),
}


def population(metric: Metric, better: float = 0.0, scenes: int = 40_000) -> Array:
    """True values of model 0, model 1 and the constant prediction."""
    sums = metric.draw(np.full((1, scenes), PATCHES), np.random.default_rng(1), better).sum(1)
    return np.array([metric.of(sums, model)[0] for model in range(3)])


def no_better_than_constant(metric: Metric) -> tuple[float, float]:
    """The strength at which model 0 is as good as the constant prediction, and what difference remains."""
    low, high = -6.0, 1.0
    for _ in range(14):
        strength = (low + high) / 2
        values = population(metric, strength, 20_000)
        gain = (values[0] - values[2]) * (-1 if metric.lower_is_better else 1)
        low, high = (low, strength) if gain > 0 else (strength, high)
    values = population(metric, strength)
    return strength, values[0] - values[2]


Method = Callable[[Array, Array, Array, Array], Array]
"""(estimates, without each scene, shares, true value) → whether the interval misses it, (simulations,)."""


def by_t(estimate: Array, error: Array, freedom: Array, true: float) -> Array:
    return np.abs(estimate - true) > student_t.ppf(0.975, freedom) * error


def eofuse(estimate: Array, without: Array, shares: Array, true: float) -> Array:
    return by_t(estimate, *jackknife(estimate, without, shares), true)


def plain(estimate: Array, without: Array, shares: Array, true: float) -> Array:
    scenes = without.shape[-1]
    error = np.sqrt((scenes - 1) / scenes * ((without - estimate[:, None]) ** 2).sum(-1))
    return by_t(estimate, error, np.float64(scenes - 1), true)


def without_factor(estimate: Array, without: Array, shares: Array, true: float) -> Array:
    error = np.sqrt(((without - estimate[:, None]) ** 2).sum(-1))
    return by_t(estimate, error, jackknife(estimate, without, shares)[1], true)


def bell_mccaffrey(estimate: Array, without: Array, shares: Array, true: float) -> Array:
    error, _ = jackknife(estimate, without, shares)
    factors = shares**2 / (1 - shares)
    total = factors.sum(-1, keepdims=True)
    half = total * shares / 2 - factors
    trace = (factors + 2 * half * shares).sum(-1)
    squares = (factors**2 + 4 * factors * half * shares).sum(-1)
    squares += 2 * ((half**2).sum(-1) * (shares**2).sum(-1) + (half * shares).sum(-1) ** 2)
    return by_t(estimate, error, trace**2 / squares, true)


def signs(estimate: Array, without: Array, shares: Array, true: float) -> Array:
    scenes = without.shape[-1]
    if scenes > 12:
        return np.full(len(estimate), np.nan)
    flips = np.array(list(product((1, -1), repeat=scenes)))
    contributions = (1 - shares) * (estimate[:, None] - without) + shares * (estimate - true)[:, None]
    sums = np.abs(contributions @ flips.T)
    return (sums >= np.abs(estimate - true)[:, None] - 1e-12).mean(-1) < 0.05


METHODS: dict[str, Method] = {
    "eofuse": eofuse,
    "t(n-1)": plain,
    "CR2-BM": bell_mccaffrey,
    "CR3": without_factor,
    "signs": signs,
}


def percentile(sums: Array, value: Callable[[Array], Array], true: float, random: np.random.Generator) -> Array:
    """Whether expanded percentile intervals of 400 draws of the scenes miss the true value, on 500 of the simulations."""
    scenes = sums.shape[1]
    level = 2 * norm.cdf(student_t.ppf(0.975, scenes - 1) * np.sqrt(scenes / (scenes - 1))) - 1
    draws = random.multinomial(scenes, np.full(scenes, 1 / scenes), size=400).astype(float)
    missed = []
    for part in np.array_split(sums[:500], 10):
        low, high = np.nanquantile(value(draws @ part), [(1 - level) / 2, (1 + level) / 2], axis=-1)
        missed.append((true < low) | (true > high))
    return np.concatenate(missed)


def cells(
    name: str,
    simulations: int,
    scenes: tuple[int, ...] = SCENES,
    kinds: tuple[str, ...] = SIZES,
    bootstrap: bool = False,
) -> Iterator[dict[str, object]]:
    """A row a number of scenes, kind of sizes and method, with the shares of misses by question."""
    metric = METRICS[name]
    random = np.random.default_rng(0)
    true = population(metric)
    strength, remaining = no_better_than_constant(metric)

    def difference(first: int, second: int) -> Callable[[Array], Array]:
        return lambda sums: metric.of(sums, first) - metric.of(sums, second)

    questions: dict[str, tuple[float, Callable[[Array], Array], float]] = {
        "pair": (0.0, difference(0, 1), 0.0),
        "null": (strength, difference(0, 2), remaining),
        "gain": (0.0, difference(0, 2), true[0] - true[2]),
        "score": (0.0, lambda sums: metric.of(sums, 0), true[0]),
        "power": (metric.better, difference(0, 1), 0.0),
    }
    for kind in kinds:
        for count in scenes:
            patches = sizes(kind, simulations, count, random)
            shares = patches / patches.sum(-1, keepdims=True)
            drawn = {better: metric.draw(patches, random, better) for better in (0.0, strength, metric.better)}
            found: dict[str, dict[str, float]] = {}
            for question, (better, value, wanted) in questions.items():
                sums = drawn[better]
                total = sums.sum(1)
                estimate, without = value(total), value(total[:, None] - sums)
                for method, misses in METHODS.items():
                    missed = misses(estimate, without, shares, wanted)
                    found.setdefault(method, {})[question] = float(np.mean(missed))
                if bootstrap:
                    missed = percentile(sums, value, wanted, random)
                    found.setdefault("percentile", {})[question] = float(missed.mean())
            for method, rates in found.items():
                yield {"metric": name, "sizes": kind, "scenes": count, "method": method, **rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--metrics", nargs="+", choices=list(METRICS), default=list(METRICS))
    parser.add_argument("--bootstrap", action="store_true")
    arguments = parser.parse_args()
    started = time.perf_counter()
    names = ("pair", "null", "gain", "score", "power")
    print(f"{'metric':18}{'sizes':11}{'scenes':>6}  {'method':11}" + "".join(f"{name:>7}" for name in names))
    for name in arguments.metrics:
        for row in cells(name, arguments.simulations, bootstrap=arguments.bootstrap):
            rates = "".join(f"{100 * row[question]:7.1f}" for question in names)
            print(f"{row['metric']:18}{row['sizes']:11}{row['scenes']:6}  {row['method']:11}{rates}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
