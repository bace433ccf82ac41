"""What the report says of absent modalities: what remains without each, and what each is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.evaluation.metrics import rewards_guessing
from eofuse.files import file_name, replacing
from eofuse.kinds import KINDS
from eofuse.reports.figures.attribution import Bar, Panel, Remaining, attribution_figure, without_figure
from eofuse.reports.figures.style import write_png
from eofuse.reports.pictures import Picture, wide_and_narrow
from eofuse.reports.tables import Difference, words
from eofuse.reports.wording import MetricWords, class_title, metric_words
from eofuse.studies.results import StudyResults

TITLES = {
    "shapley": "Modalities",
    "permutation": "Swapped among scenes: what is lost",
    "band": "Bands swapped among patches: what is lost",
}
"""Titles of a run's panels, by question."""


@dataclass(frozen=True)
class RemainsRow:
    """One variant without one modality."""

    shown: Remaining
    saw_gaps: bool
    difference: Difference


@dataclass(frozen=True)
class Remains:
    """What remains when a modality is away."""

    picture: Picture
    rows: tuple[RemainsRow, ...]


@dataclass(frozen=True)
class WorthRow:
    """What one modality is worth to one variant."""

    variant: str
    name: str
    saw_gaps: bool
    shapley: Bar
    drop_one: Bar
    spread: float


@dataclass(frozen=True)
class Worth:
    """What modalities are worth.

    `gains` has the metric of the constant predictor and of the whole. Drawn orders have a sampling error.
    """

    picture: Picture
    rows: tuple[WorthRow, ...]
    gains: tuple[tuple[str, float, float], ...]
    drawn: bool
    guessing: bool


def remains(results: StudyResults, ranked: Sequence[str], palette: Sequence[str]) -> Remains | None:
    """What remains of each variant without each modality, None if the study did not ask."""
    metric = words(results, results.summary["metric"])
    table = results.without[results.without["metric"] == metric.name]
    if table.empty:
        return None
    board = results.leaderboard[results.leaderboard["metric"] == metric.name]
    whole = board[board["role"] == "variant"].set_index("variant")["mean"]
    constant = board[board["role"] == "constant"]["mean"]
    names = list(dict.fromkeys(table["without"]))
    lines = sorted(
        table.to_dict("records"), key=lambda line: (names.index(line["without"]), ranked.index(line["variant"]))
    )
    rows = []
    for line in lines:
        shown = Remaining(
            **{name: line[name] for name in ("variant", "without", "mean", "low", "high")},
            whole=float(whole[line["variant"]]),
        )
        difference = Difference.of({**line, "low": line["difference_low"], "high": line["difference_high"]})
        rows.append(RemainsRow(shown, bool(line["saw_gaps"]), difference))
    scores = "; ".join(
        f"{row.shown.variant} without {row.shown.without} {metric.write(row.shown.mean)}" for row in rows
    )
    level = float(constant.iloc[0]) if len(constant) else None
    draw = partial(without_figure, [row.shown for row in rows], metric, palette, level)
    return Remains(wide_and_narrow(draw, f"Scores with a modality taken away: {scores}."), tuple(rows))


def worth(results: StudyResults, ranked: Sequence[str]) -> Worth | None:
    """What each modality is worth to each variant, None if the study did not ask."""
    metric = words(results, results.summary["metric"])
    table = results.attribution[results.attribution["metric"] == metric.name]
    if table.empty:
        return None
    rows, gains, panels = [], [], []
    for variant in (name for name in ranked if name in set(table["variant"])):
        own = table[table["variant"] == variant]
        first = own.iloc[0]
        gains.append((variant, float(first["constant"]), float(first["whole"])))
        named = _bars(own, ("shapley", "drop_one"))
        spread = own[own["kind"] == "shapley"].set_index("name")["spread"]
        for name, (shapley, drop_one) in named.items():
            rows.append(WorthRow(variant, name, bool(first["saw_gaps"]), shapley, drop_one, float(spread[name])))
        panels.append(Panel(variant + ("" if first["saw_gaps"] else " (never saw gaps)"), tuple(named.items())))
    listed = "; ".join(f"{row.name} {metric.signed(row.shapley.value)} ({row.variant})" for row in rows)
    picture = wide_and_narrow(partial(attribution_figure, panels, metric), f"Bars of Shapley values: {listed}.")
    drawn = any(row.spread > 0 for row in rows)
    return Worth(picture, tuple(rows), tuple(gains), drawn, rewards_guessing(metric.name))


def _bars(table: pd.DataFrame, kinds: Sequence[str]) -> dict[str, tuple[Bar, ...]]:
    """Bars by name, in the order of the table."""
    found: dict[str, tuple[Bar, ...]] = {}
    chosen = table[table["kind"].isin(kinds)].sort_values("kind", key=lambda kind: kind.map(kinds.index))
    for line in chosen.to_dict("records"):
        bar = Bar(line["kind"], line["value"], line["low"], line["high"])
        found[line["name"]] = (*found.get(line["name"], ()), bar)
    return found


def write_run_pictures(table: pd.DataFrame, targets: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Writes `attribution.png` into a run's folder, or `attribution_<target>.png` for each of several targets.

    Args:
        table: as `eofuse.learning.attribution` has it.
        targets: facts about each target, as it has them.
        folder: of the run.
    """
    paths = []
    for target, facts in targets.items():
        own = table[(table["target"] == target) & (table["metric"] == facts["metric"])]
        kinds = {"shapley": ("shapley", "drop_one"), "permutation": ("permutation",), "band": ("band",)}
        metric = run_metric(own, facts)
        whole, constant = (metric.quantity(facts[which][metric.name]) for which in ("whole", "constant"))
        about = {"shapley": f" for {class_title(target)}: {metric.title} {whole}, constant predictor {constant}"}
        panels = [
            Panel(TITLES[kind] + about.get(kind, ""), tuple(bars.items()))
            for kind, both in kinds.items()
            if (bars := _bars(own, both))
        ]
        path = folder / ("attribution.png" if len(targets) == 1 else f"attribution_{file_name(target)}.png")
        with replacing(path) as temporary:
            write_png(attribution_figure(panels, metric, 8.4), temporary)
        paths.append(path)
    return paths


def run_metric(table: pd.DataFrame, facts: Mapping[str, Any]) -> MetricWords:
    """Words for the metric of a run's target."""
    largest = max(abs(facts[which][facts["metric"]]) for which in ("whole", "constant"))
    return metric_words(facts["metric"], KINDS.get(facts["kind"]), str(table["unit"].iloc[0]), largest)
