"""The chapter of one target: answer, leaderboard, differences, curves, classes, confidence, patches."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from eofuse.data.store import Store
from eofuse.reports.answer import answer, part_scenes
from eofuse.reports.cards import example_cards
from eofuse.reports.classes import MOST_VARIANT_PICTURES, by_class
from eofuse.reports.confidence import intervals, reliability
from eofuse.reports.figures.curves import common_limits, curves_figure, validation_metric
from eofuse.reports.figures.leaderboard import differences_figure, leaderboard_figure
from eofuse.reports.figures.style import variant_colours
from eofuse.reports.label_efficiency import efficiency
from eofuse.reports.missing import remains, worth
from eofuse.reports.pictures import Picture, picture, wide_and_narrow
from eofuse.reports.questions import answers
from eofuse.reports.tables import Difference, LeaderboardRow, differences, final_cells, leaderboard_rows, words
from eofuse.reports.wording import MetricWords
from eofuse.studies.results import StudyResults


@dataclass(frozen=True)
class Gain:
    """The paired difference of a variant to a control."""

    variant: str
    control: LeaderboardRow
    difference: Difference


def chapter(results: StudyResults, store: Store | None, *, is_only: bool) -> dict[str, Any]:
    """What `chapter.html` shows of the target whose view `results` is.

    Args:
        results: the study.
        store: the store that it ran on, if it is at hand.
        is_only: whether the study has no other target; else the ids of the sections have a prefix.
    """
    summary = results.summary
    metric = words(results, summary["metric"])
    rows = leaderboard_rows(results)
    ranked = [row.variant for row in rows if row.role == "variant"]
    compared = [row for row in rows if row.difference is not None]
    everywhere = [entry["name"] for entry in summary["variants"] if entry["role"] == "variant"]
    palette = ranked if is_only else everywhere
    few, paragraph = efficiency(results, palette), answer(results)
    if few is not None:
        paragraph = Markup("{} With {:,} labels: {}").format(few.answer, few.full, paragraph)
    return {
        "prefix": "" if is_only else f"{anchor(summary['target'])}-",
        "summary": summary,
        "kind": results.kind.words,
        "scenes": {part: part_scenes(results, part).words for part in summary["patches"]},
        "metric": metric,
        "other_metrics": [words(results, name) for name in summary["metrics"] if name != metric.name],
        "answer": paragraph,
        "questions": answers(results),
        "rows": rows,
        "ranked": ranked,
        "leaderboard": _leaderboard_picture(results, rows, palette, metric) if rows else None,
        "efficiency": few,
        "compared": compared,
        "differences": _differences_picture(results, compared, palette, metric) if compared else None,
        "gains": control_gains(results, rows, metric),
        "remains": remains(results, ranked, palette),
        "worth": worth(results, ranked),
        "curves": _curve_pictures(results, ranked, palette),
        "by_class": by_class(results, ranked, palette),
        "reliability": reliability(results, ranked, palette),
        "intervals": intervals(results, ranked),
        "cards": example_cards(results, store, ranked[0], 4 if is_only else 3) if ranked else None,
    }


def control_gains(results: StudyResults, rows: Sequence[LeaderboardRow], metric: MetricWords) -> list[Gain]:
    """Differences to each control that was compared, variants by rank: to frozen random encoders, their own variant's."""
    gains: list[Gain] = []
    for control in rows:
        if control.role != "variant":
            found = differences(results, metric.name, control.variant)
            ranked = [row.variant for row in rows if row.role == "variant"]
            gains.extend(Gain(name, control, found[name]) for name in ranked if name in found)
    return gains


def anchor(target: str) -> str:
    """The id of a target's chapter."""
    return "target-" + (re.sub(r"[^a-z0-9]+", "-", target.lower()).strip("-") or "x")


def _leaderboard_picture(
    results: StudyResults, rows: Sequence[LeaderboardRow], palette: Sequence[str], metric: MetricWords
) -> Picture:
    scores = "; ".join(f"{row.variant} {metric.quantity(row.mean)}" for row in rows)
    draw = partial(leaderboard_figure, rows, results.results, metric, palette)
    return wide_and_narrow(draw, f"Dots with intervals, best first, controls last: {scores}.")


def _differences_picture(
    results: StudyResults, compared: Sequence[LeaderboardRow], palette: Sequence[str], metric: MetricWords
) -> Picture:
    baseline = results.summary["baseline"]
    values = "; ".join(f"{row.variant} {metric.signed(row.difference.value)}" for row in compared if row.difference)
    draw = partial(differences_figure, compared, metric, baseline, palette)
    return wide_and_narrow(draw, f"Differences to {baseline} with intervals: {values}.")


def _curve_pictures(results: StudyResults, ranked: Sequence[str], palette: Sequence[str]) -> list[Picture]:
    followed = validation_metric(results.curves, results.summary["metric"])
    metric = None if followed is None else words(results, followed)
    limits = common_limits(results.curves, ranked, followed)
    colours = variant_colours(palette)
    pictures = []
    for name in ranked[:MOST_VARIANT_PICTURES]:
        curves = results.curves[results.curves["variant"] == name]
        if curves.empty:
            continue
        figure = curves_figure(curves, final_cells(results, name), name, colours[name], metric, limits)
        pictures.append(picture(figure, f"Learning curves of {name}: training loss and validation metric by step."))
    return pictures
