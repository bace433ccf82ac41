"""What fewer labels cost: curves over the number of labels, and how many each method needs to match the baseline that has them all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from eofuse.reports.cautions import efficiency_caution
from eofuse.reports.figures.label_curves import Curve, Point, efficiency_figure
from eofuse.reports.pictures import Picture, wide_and_narrow
from eofuse.reports.tables import Difference, words
from eofuse.reports.wording import MetricWords, count, listing, share
from eofuse.studies.results import StudyResults


@dataclass(frozen=True)
class NeededRow:
    """How many labels one method needs to match the baseline with the most.

    All but the seconds is in words: `start` is empty for untrained weights, `picked_by` for a draw; `reached` is the share of the
    resampled test sets in which the goal is reached. `pretraining` are the seconds of one, `seconds` those of a run with all labels.
    """

    variant: str
    role: str
    start: str
    picked_by: str
    is_baseline: bool
    needed: str
    interval: str
    factor: str
    factor_interval: str
    reached: str
    pretraining: float | None
    seconds: float

    @property
    def together(self) -> float:
        """Seconds of a pretraining and a run."""
        return self.seconds + (self.pretraining or 0.0)


@dataclass(frozen=True)
class AmountRow:
    """One method with one amount of labels."""

    labels: int
    variant: str
    role: str
    mean: float
    low: float
    high: float
    seed_sd: float
    to_baseline: Difference | None
    to_full: Difference | None


@dataclass(frozen=True)
class Efficiency:
    """What the page says of fewer labels.

    `amounts` are numbers of labels and how the recipe names them, ascending; every run also uses the labels of `validation` patches.
    """

    answer: Markup
    amounts: tuple[tuple[int, str], ...]
    full: int
    validation: int
    curves: Picture
    needed: tuple[NeededRow, ...]
    rows: tuple[AmountRow, ...]
    grouped: bool
    picks: bool
    worth: tuple[Markup, ...] = ()


def efficiency(results: StudyResults, palette: Sequence[str]) -> Efficiency | None:
    """The chapter on fewer labels, None for a study with one amount."""
    if len(results.amounts) < 2:
        return None
    metric = words(results, results.summary["metric"])
    curves = _curves(results, metric)
    amounts = tuple((entry["labels"], amount_words(entry["amount"])) for entry in results.summary["label_amounts"])
    needs = results.over_labels.efficiency
    needs = needs.assign(is_control=needs["role"] != "variant")
    needs = needs.sort_values(["is_control", "needed", "low", "variant"])  # variants before controls, few labels first
    rows = [_needed(results, line) for line in needs.to_dict("records")]
    draw = partial(efficiency_figure, curves, metric, results.summary["baseline"], palette)
    listed = "; ".join(
        f"{curve.variant} " + ", ".join(f"{metric.write(point.mean)} with {point.labels}" for point in curve.points)
        for curve in curves
        if curve.role == "variant"
    )
    return Efficiency(
        answer=_answer(results, rows, metric),
        amounts=amounts,
        full=results.amounts[-1],
        validation=int(results.summary["patches"].get("validation", 0)),
        curves=wide_and_narrow(draw, f"Curves of {metric.title} against the number of labels: {listed}."),
        needed=tuple(rows),
        rows=tuple(_amount_rows(results, metric)),
        grouped=bool(results.summary.get("labels_grouped")),
        picks=any(row.picked_by for row in rows),
        worth=tuple(_worth(each, results.amounts) for each in results.summary.get("worth", ())),
    )


def amount_words(amount: float) -> str:
    """An amount of labels as people say it: 10 %, 20 a class, all."""
    if isinstance(amount, int):
        return f"{amount} a class"
    return "all" if amount == 1 else f"{100 * amount:g} %"


def labels_words(labels: float, tried: Sequence[int]) -> str:
    """A number of labels that is needed, with its limits: ≤ 5, 48, not reached."""
    if math.isnan(labels):
        return "–"
    if math.isinf(labels):
        return "not reached"
    return f"≤ {tried[0]:,}" if labels <= tried[0] else count(labels)


def interval_words(low: float, high: float, tried: Sequence[int]) -> str:
    """The interval of a number of labels: 34 to 80, 34 to not reached, not reached."""
    if math.isnan(low) or math.isnan(high):
        return "no interval can be given"
    if math.isinf(low):
        return "not reached"
    if high <= tried[0]:
        return f"≤ {tried[0]:,}"
    return f"{labels_words(low, tried)} to {labels_words(high, tried)}"


def factor_words(labels: float, tried: Sequence[int]) -> str:
    """How many times fewer labels than the most: 10×, ≥ 96×; a dash where the goal is not reached."""
    if not math.isfinite(labels):
        return "–"
    return f"{'≥ ' if labels <= tried[0] else ''}{times(tried[-1] / labels)}×"


def factor_interval_words(low: float, high: float, tried: Sequence[int]) -> str:
    """The interval of that factor: 6–14, up to 14; empty where there is none."""
    if not math.isfinite(low) or math.isnan(high):
        return ""
    most = f"{'≥ ' if low <= tried[0] else ''}{times(tried[-1] / low)}"
    if math.isinf(high):
        return f"up to {most}" if low > tried[0] else "open"
    if high <= tried[0]:
        return most
    return f"{times(tried[-1] / high)} to {most}"


def times(factor: float) -> str:
    """A factor with two digits, whole from 10."""
    return f"{factor:.0f}" if factor >= 10 else f"{factor:.2g}"


def _needed(results: StudyResults, line: dict[Any, Any]) -> NeededRow:
    tried = results.amounts
    name = line["variant"]
    described: dict[str, Any] = next(entry for entry in results.summary["variants"] if entry["name"] == name)
    cells = results.over_labels.cells
    own = cells[(cells["variant"] == name) & (cells["role"] != "search") & (cells["n_labels"] == tried[-1])]
    start = described.get("pretraining")
    before = cells[(cells["variant"] == start) & (cells["role"] == "pretraining")]
    return NeededRow(
        variant=name,
        role=line["role"],
        start=described.get("start") or "",
        picked_by=described.get("picked_by") or "",
        is_baseline=name == results.summary["baseline"],
        needed=labels_words(line["needed"], tried),
        interval=interval_words(line["low"], line["high"], tried),
        factor=factor_words(line["needed"], tried),
        factor_interval=factor_interval_words(line["low"], line["high"], tried),
        reached="–" if math.isnan(line["reached"]) else share(line["reached"], 1),
        pretraining=float(before["seconds"].mean()) if start else None,
        seconds=float(own["seconds"].mean()),
    )


def _worth(found: Mapping[str, Any], tried: Sequence[int]) -> Markup:
    """How many labels published weights are worth, in a sentence."""
    twin = Markup("the same network with random weights and {} labels").format(count(found["with"]))
    if found["needed"] is None:
        return Markup(
            "<strong>{}</strong> does not reach {} with any amount tried: its weights are worth no label."
        ).format(found["variant"], twin)
    needed, low, high = (math.inf if found[name] is None else float(found[name]) for name in ("needed", "low", "high"))
    saved, least, most = (max(0, round(found["with"] - min(each, found["with"]))) for each in (needed, high, low))
    open_ended = "at least " if needed <= tried[0] else ""
    worth = Markup("its weights are worth <strong>{}{} labels</strong> (95 % interval: {} to {}{})").format(
        open_ended, count(saved), count(least), count(most), " or more" if low <= tried[0] else ""
    )
    return Markup("<strong>{}</strong> matches {} with {} labels: {}.").format(
        found["variant"], twin, labels_words(needed, tried), worth
    )


def _curves(results: StudyResults, metric: MetricWords) -> list[Curve]:
    """Variants, then controls, each with its points."""
    board = results.over_labels.leaderboard
    board = board[board["metric"] == metric.name].sort_values("n_labels")
    curves = []
    for (variant, role), lines in board.groupby(["variant", "role"], sort=False):
        points = tuple(
            Point(int(line["n_labels"]), line["mean"], line["low"], line["high"]) for line in lines.to_dict("records")
        )
        curves.append(Curve(str(variant), str(role), points))
    return sorted(curves, key=lambda curve: curve.role != "variant")


def _amount_rows(results: StudyResults, metric: MetricWords) -> list[AmountRow]:
    """Every method with every amount: few labels first, variants before controls, best first."""
    over = results.over_labels
    board = over.leaderboard[over.leaderboard["metric"] == metric.name]
    board = board.assign(is_control=board["role"] != "variant")
    board = board.sort_values(["n_labels", "is_control", "mean"], ascending=[True, True, metric.lower_is_better])
    comparisons = over.comparisons
    to_baseline = comparisons[
        (comparisons["metric"] == metric.name) & (comparisons["baseline"] == results.summary["baseline"])
    ]
    to_full = over.to_full[over.to_full["metric"] == metric.name]
    return [
        AmountRow(
            labels=int(line["n_labels"]),
            **{name: line[name] for name in ("variant", "role", "mean", "low", "high", "seed_sd")},
            to_baseline=_difference(to_baseline, line),
            to_full=_difference(to_full, line),
        )
        for line in board.to_dict("records")
    ]


def _difference(table: pd.DataFrame, line: dict[Any, Any]) -> Difference | None:
    found = table[(table["variant"] == line["variant"]) & (table["n_labels"] == line["n_labels"])]
    if found.empty or line["role"] != "variant":
        return None
    return Difference.of(found.iloc[0])


def _answer(results: StudyResults, rows: Sequence[NeededRow], metric: MetricWords) -> Markup:
    """Who needs how many labels to match the baseline with all of them."""
    baseline, full = results.summary["baseline"], results.amounts[-1]
    board = results.leaderboard
    goal = board[(board["variant"] == baseline) & (board["metric"] == metric.name)]["mean"]
    others = [row for row in rows if row.role == "variant" and not row.is_baseline]
    if goal.empty or not others:
        return Markup("Scores with fewer labels; no other variant was compared with the baseline.")
    sentences = [
        Markup("The goal is <strong>{}</strong> with {} labels: {} {}.").format(
            baseline, count(full), metric.title, metric.quantity(float(goal.iloc[0]))
        )
    ]
    reaching = [row for row in others if row.factor != "–"]
    if reaching:
        best = reaching[0]
        spread = f" (interval: {best.factor_interval})" if best.factor_interval else ""
        sentences.append(
            Markup("<strong>{}</strong> matches it with {} labels (95 % interval: {}), {} fewer{}.").format(
                best.variant, best.needed, best.interval, best.factor, spread
            )
        )
    missing = [row.variant for row in others if row.factor == "–"]
    if missing:
        who = listing(missing) if len(missing) <= 3 else f"{len(missing)} variants"
        verb = "does" if len(missing) == 1 else "do"
        sentences.append(Markup("{} {} <strong>not reach it</strong> with any amount tried.").format(who, verb))
    concerned = [baseline, *(row.variant for row in reaching[:1])]
    if caution := efficiency_caution(results, concerned):
        sentences.append(Markup("<strong>{}</strong>").format(caution))
    return Markup(" ").join(sentences)
