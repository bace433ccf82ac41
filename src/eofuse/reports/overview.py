"""Several targets at one look: each against the constant predictor, and learning together against learning apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from eofuse.reports.chapter import anchor
from eofuse.reports.tables import Difference, LeaderboardRow, differences, final_cells, leaderboard_rows, words
from eofuse.reports.wording import MetricWords, class_title, listing
from eofuse.studies.results import StudyResults


@dataclass(frozen=True)
class Line:
    """One variant on one target."""

    target: str
    anchor: str
    kind: str
    metric: MetricWords
    row: LeaderboardRow
    constant: LeaderboardRow | None
    gain: Difference | None
    verdict: str
    control: LeaderboardRow | None


@dataclass(frozen=True)
class TwinLine:
    """One target of a variant that learns several, beside the variant that learns it alone."""

    target: str
    metric: MetricWords
    together: LeaderboardRow
    alone: LeaderboardRow
    difference: Difference | None
    verdict: str


@dataclass(frozen=True)
class Twins:
    """A variant that learns several targets beside those that learn one each.

    `parameters` and `seconds` of a run are those of the one, and of the `others` together.
    """

    together: str
    lines: tuple[TwinLine, ...]
    parameters: tuple[float, float]
    seconds: tuple[float, float]
    others: int


def overview(views: Sequence[StudyResults]) -> list[Line]:
    """Of each target the best variant and those that stand for learning together, against the constant predictor."""
    followed = {*_everywhere(views)[:1], *(entry["together"] for entry in views[0].summary.get("twins", ()))}
    lines: list[Line] = []
    for results in views:
        rows = leaderboard_rows(results)
        variants = [row for row in rows if row.role == "variant"]
        shown = [row for position, row in enumerate(variants) if position == 0 or row.variant in followed]
        lines.extend(_line(results, rows, row) for row in shown)
    return lines


def overview_answer(views: Sequence[StudyResults]) -> Markup:
    """The answer for all targets in one paragraph: who does best on all, and whether it beats the constant predictor."""
    everywhere = _everywhere(views)
    names = [class_title(results.summary["target"]) for results in views]
    if not everywhere:
        return Markup("The study has {} targets, {}; no variant learns all of them.").format(len(views), listing(names))
    name = everywhere[0]
    lines = [line for line in overview(views) if line.row.variant == name]
    if len(everywhere) == 1:
        sentence = Markup("<strong>{}</strong> learns all {} targets, {}.").format(name, len(views), listing(names))
    else:
        sentence = Markup(
            "Of {} variants that learn all {} targets ({}), <strong>{}</strong> has the best mean rank."
        ).format(len(everywhere), len(views), listing(names), name)
    gains = {class_title(line.target): (line.gain, line.metric) for line in lines if line.gain is not None}
    if not gains:
        return sentence + Markup(" It was not compared with the constant predictor.")
    beaten = [target for target, (gain, metric) in gains.items() if gain.is_better(metric)]
    if len(beaten) == len(views):
        verdict = Markup("It beats the constant predictor distinguishably on all of them")
    elif beaten:
        others = listing([target for target in names if target not in beaten])
        verdict = Markup(
            "It beats the constant predictor distinguishably on {} of {} ({}), <strong>not on {}</strong>"
        ).format(len(beaten), len(views), listing(beaten), others)
    else:
        verdict = Markup("It beats the constant predictor distinguishably on <strong>none</strong> of them")
    changes = "; ".join(f"{target} {_gain_words(*gain)}" for target, gain in gains.items())
    answer = sentence + Markup(" ") + verdict + Markup(". Differences to it: {}.").format(changes)
    ahead = [
        f"{line.control.variant} on {class_title(line.target)}"
        for line in lines
        if line.control is not None and _is_ahead(line.control, line)
    ]
    if not ahead:
        return answer
    return answer + Markup(" <strong>But a control scores better: {}.</strong>").format(listing(ahead))


def twins(views: Sequence[StudyResults]) -> list[Twins]:
    """Each variant that learns several targets beside its single-task twins."""
    by_target = {results.summary["target"]: results for results in views}
    found = []
    for entry in views[0].summary.get("twins", ()):
        together = entry["together"]
        lines = [
            line
            for target, alone in entry["alone"].items()
            if target in by_target
            for line in _twin_lines(by_target[target], together, alone)
        ]
        counts = {variant["name"]: float(variant["parameters"]) for variant in views[0].summary["variants"]}
        others = list(dict.fromkeys(entry["alone"].values()))
        parameters = counts.get(together, math.nan), sum(counts.get(name, math.nan) for name in others)
        seconds = _seconds(views[0], together), sum(_seconds(views[0], name) for name in others)
        if lines:
            found.append(Twins(together, tuple(lines), parameters, seconds, len(others)))
    return found


def _everywhere(views: Sequence[StudyResults]) -> list[str]:
    """Variants that learn every target, that with the best mean rank first."""
    ranks: dict[str, list[int]] = {}
    for results in views:
        for row in leaderboard_rows(results):
            if row.rank is not None:
                ranks.setdefault(row.variant, []).append(row.rank)
    complete = {name: sum(found) for name, found in ranks.items() if len(found) == len(views)}
    return sorted(complete, key=lambda name: complete[name])


def _line(results: StudyResults, rows: Sequence[LeaderboardRow], row: LeaderboardRow) -> Line:
    metric = words(results, results.summary["metric"])
    constant = next((other for other in rows if other.role == "constant"), None)
    gain = differences(results, metric.name, constant.variant).get(row.variant) if constant else None
    target = results.summary["target"]
    kind = results.kind.words
    verdict = _verdict(gain, metric, "yes", "no")
    controls = [other for other in rows if other.role != "variant" and not math.isnan(other.mean)]
    best = (min if metric.lower_is_better else max)(controls, key=lambda other: other.mean, default=None)
    return Line(target, anchor(target), kind, metric, row, constant, gain, verdict, best)


def _is_ahead(control: LeaderboardRow, line: Line) -> bool:
    return control.mean < line.row.mean if line.metric.lower_is_better else control.mean > line.row.mean


def _twin_lines(results: StudyResults, together: str, alone: str) -> list[TwinLine]:
    metric = words(results, results.summary["metric"])
    rows = {row.variant: row for row in leaderboard_rows(results) if row.role == "variant"}
    if together not in rows or alone not in rows:
        return []
    difference = differences(results, metric.name, alone).get(together)
    verdict = _verdict(difference, metric, "together", "apart")
    return [TwinLine(results.summary["target"], metric, rows[together], rows[alone], difference, verdict)]


def _verdict(difference: Difference | None, metric: MetricWords, better: str, worse: str) -> str:
    if difference is None:
        return "not compared"
    if not difference.distinguishable:
        return "undecided"
    return better if difference.is_better(metric) else worse


def _gain_words(gain: Difference, metric: MetricWords) -> str:
    value = f"{metric.title} {metric.signed(gain.value)} {metric.unit}".rstrip()
    if math.isnan(gain.low):
        return f"{value} (no interval can be given)"
    return f"{value} (95 % interval {metric.signed_interval(gain.low, gain.high)})"


def _seconds(results: StudyResults, variant: str) -> float:
    cells = final_cells(results, variant)
    return float(cells["seconds"].mean()) if len(cells) else math.nan
