"""The report of a study: one HTML file that needs no network, no script and no other file.

`write_report` builds it: answer, leaderboard, differences, curves, classes, patches, data, method, cost, recipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from eofuse.data.store import Store
from eofuse.evaluation.classification import confusion_matrix
from eofuse.files import write_text
from eofuse.reports import wording
from eofuse.reports.answer import answer, cautions
from eofuse.reports.examples import Example, choose_examples
from eofuse.reports.figures.confusion import confusion_figure
from eofuse.reports.figures.curves import common_limits, curves_figure, validation_metric
from eofuse.reports.figures.leaderboard import differences_figure, leaderboard_figure
from eofuse.reports.figures.patch import patch_panels
from eofuse.reports.figures.per_class import class_support, per_class_figure
from eofuse.reports.figures.places import places_figure
from eofuse.reports.figures.rendering import Panel, ramp_colours
from eofuse.reports.figures.splits import leakage_figure
from eofuse.reports.figures.style import VARIANT_COLOURS, png_data_uri, svg_data_uri, variant_colours
from eofuse.reports.tables import LeaderboardRow, final_cells, leaderboard_rows
from eofuse.studies.results import StudyResults

WIDE, NARROW = 9.2, 3.9
MOST_VARIANT_PICTURES = 12
LARGEST_PATCH_PICTURE = 160


@dataclass(frozen=True)
class Picture:
    """A picture in the page: a wide form, a narrow one for phones where that differs, and its words."""

    source: str
    alt: str
    narrow: str | None = None


@dataclass(frozen=True)
class PanelPicture:
    """One modality of a patch in the page; `source` is None where the patch lacks it."""

    title: str
    source: str | None
    caption: str
    legend: tuple[tuple[str, str], ...]
    gradient: str
    low: str
    high: str


@dataclass(frozen=True)
class ExampleCard:
    """A test patch with its prediction and pictures."""

    example: Example
    panels: tuple[PanelPicture, ...]


def write_report(results: StudyResults, store: Store | None, path: str | Path) -> Path:
    """Writes the report of a study as one self-contained HTML file.

    Args:
        results: the finished study.
        store: the store that it ran on, for pictures of patches; without it the report says that they are left out.
        path: the file to write; an older one is replaced when the new one is complete.

    Returns:
        The path of the report.
    """
    path = Path(path)
    environment = Environment(
        loader=PackageLoader("eofuse.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        wording.number,
        wording.signed,
        wording.p_value,
        wording.share,
        wording.count,
        wording.millions,
        wording.duration,
        wording.energy,
        wording.learning_rate,
        wording.class_title,
        wording.plural,
    ):
        environment.filters[function.__name__] = function
    write_text(path, environment.get_template("report.html").render(_context(results, store)))
    return path


def _context(results: StudyResults, store: Store | None) -> dict[str, Any]:
    rows = leaderboard_rows(results)
    ranked = [row.variant for row in rows if row.role == "variant"]
    right, wrong, patches_note = _examples(results, store, ranked[0]) if ranked else ([], [], "")
    return {
        "summary": results.summary,
        "metric": wording.metric_words(results.summary["metric"]),
        "metric_words": wording.metric_words,
        "roles": wording.ROLES,
        "single_label": results.summary["task_kind"] == "single_label",
        "answer": answer(results),
        "cautions": cautions(results),
        "rows": rows,
        "ranked": ranked,
        "leaderboard": _leaderboard_picture(results, rows, ranked) if rows else None,
        "compared": [row for row in rows if row.difference is not None],
        "differences": _differences_picture(results, rows, ranked),
        "curves": _curve_pictures(results, ranked),
        "confusions": _confusion_pictures(results, ranked),
        "most_pictures": MOST_VARIANT_PICTURES,
        "per_class": _per_class_picture(results, ranked),
        "class_table": _class_table(results, ranked[0]) if ranked else [],
        "right": right,
        "wrong": wrong,
        "patches_note": patches_note,
        "places": _places_picture(results, store),
        "leakage": _leakage_picture(results),
        "cost": _cost(results, rows),
        "split_options": {
            key: value for key, value in results.summary["split"].items() if key != "protocol" and value is not None
        },
    }


def _picture(wide: Figure, alt: str, narrow: Figure | None = None) -> Picture:
    return Picture(svg_data_uri(wide), alt, None if narrow is None else svg_data_uri(narrow))


def _leaderboard_picture(results: StudyResults, rows: Sequence[LeaderboardRow], ranked: Sequence[str]) -> Picture:
    metric = results.summary["metric"]
    wide, narrow = (leaderboard_figure(rows, results.results, metric, ranked, width) for width in (WIDE, NARROW))
    scores = "; ".join(f"{row.variant} {wording.number(row.mean)}" for row in rows)
    return _picture(wide, f"Dots with intervals, best first, controls last: {scores}.", narrow)


def _differences_picture(
    results: StudyResults, rows: Sequence[LeaderboardRow], ranked: Sequence[str]
) -> Picture | None:
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return None
    metric, baseline = results.summary["metric"], results.summary["baseline"]
    wide, narrow = (differences_figure(compared, metric, baseline, ranked, width) for width in (WIDE, NARROW))
    values = "; ".join(f"{row.variant} {wording.signed(row.difference.value)}" for row in compared if row.difference)
    return _picture(wide, f"Differences to {baseline} with intervals: {values}.", narrow)


def _curve_pictures(results: StudyResults, ranked: Sequence[str]) -> list[Picture]:
    metric = validation_metric(results.curves, results.summary["metric"])
    limits = common_limits(results.curves, ranked, metric)
    colours = variant_colours(ranked)
    pictures = []
    for name in ranked[:MOST_VARIANT_PICTURES]:
        curves = results.curves[results.curves["variant"] == name]
        if curves.empty:
            continue
        figure = curves_figure(curves, final_cells(results, name), name, colours[name], metric, limits)
        pictures.append(_picture(figure, f"Learning curves of {name}: training loss and validation metric by step."))
    return pictures


def _confusion_pictures(results: StudyResults, ranked: Sequence[str]) -> list[Picture]:
    if results.summary["task_kind"] != "single_label":
        return []
    classes = results.summary["classes"]
    pictures = []
    for name in ranked[:MOST_VARIANT_PICTURES]:
        chosen = results.predictions[results.predictions["variant"] == name]
        if chosen.empty:
            continue
        counts = confusion_matrix(chosen["truth"].to_numpy(dtype=int), np.stack(list(chosen["probabilities"])))
        hits = wording.share(float(np.trace(counts)), float(counts.sum()))
        figure = confusion_figure(counts, classes, name)
        pictures.append(_picture(figure, f"Confusion matrix of {name}: {hits} of predictions on the diagonal."))
    return pictures


def _class_metric(results: StudyResults) -> str:
    return "average_precision" if results.summary["metric"] == "mAP" else "f1"


def _per_class_picture(results: StudyResults, ranked: Sequence[str]) -> Picture | None:
    if not ranked or not (results.per_class["support"] > 0).any():
        return None
    shown, metric, classes = ranked[: len(VARIANT_COLOURS)], _class_metric(results), results.summary["classes"]
    wide, narrow = (per_class_figure(results.per_class, classes, metric, shown, width) for width in (WIDE, NARROW))
    title = wording.metric_words(metric).title
    return _picture(
        wide, f"{title} of each class under each variant, and the number of test patches of the class.", narrow
    )


def _class_table(results: StudyResults, variant: str) -> list[dict[str, Any]]:
    """Scores of each class under one variant, means over seeds, most frequent class first."""
    chosen = results.per_class[results.per_class["variant"] == variant]
    if chosen.empty:
        return []
    scores = chosen.pivot_table(index="class", columns="metric", values="value", aggfunc="mean", dropna=False)
    support = class_support(chosen).reindex(results.summary["classes"]).fillna(0)
    support = support.sort_values(ascending=False, kind="stable")
    columns = ("f1", "precision", "recall", "average_precision")
    return [
        {"class": name, "support": count}
        | {column: float(scores[column].get(name, np.nan)) if column in scores else float("nan") for column in columns}
        for name, count in support.items()
    ]


def _examples(
    results: StudyResults, store: Store | None, variant: str
) -> tuple[list[ExampleCard], list[ExampleCard], str]:
    right, wrong = choose_examples(results, variant)
    note = ""
    if store is None:
        place = results.summary["store_path"]
        note = f"The store ({place}) was not at hand when this report was written, so there are no pictures."
    elif store.fingerprint != results.summary["fingerprint"]:
        note = "The store has changed since the study ran (its fingerprint differs), so there are no pictures."
    shown = None if note else store
    return [_card(shown, example) for example in right], [_card(shown, example) for example in wrong], note


def _card(store: Store | None, example: Example) -> ExampleCard:
    if store is None:
        return ExampleCard(example, ())
    panels = patch_panels(store, store.row_of(example.patch_id))
    return ExampleCard(example, tuple(_panel_picture(panel) for panel in panels))


def _panel_picture(panel: Panel) -> PanelPicture:
    gradient, low, high = "", "", ""
    if panel.ramp:
        gradient = f"linear-gradient(to right, {', '.join(to_hex(colour) for colour in ramp_colours(panel.ramp))})"
        low, high = (f"{wording.number(value, 0)} {panel.ramp.unit}" for value in (panel.ramp.low, panel.ramp.high))
    source = None if panel.pixels is None else png_data_uri(_reduce(panel.pixels, keep_colours=bool(panel.legend)))
    return PanelPicture(panel.title, source, panel.caption, panel.legend, gradient, low, high)


def _reduce(pixels: np.ndarray, *, keep_colours: bool) -> np.ndarray:
    """Fewer pixels for the page: block means, or every n-th pixel where colours are a legend's."""
    height, width = pixels.shape[:2]
    factor = -(-max(height, width) // LARGEST_PATCH_PICTURE)
    if factor == 1:
        return pixels
    if keep_colours:
        return pixels[::factor, ::factor]
    blocks = pixels[: height // factor * factor, : width // factor * factor]
    blocks = blocks.reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(np.round(blocks.mean(axis=(1, 3))).astype(np.uint8))


def _places_picture(results: StudyResults, store: Store | None) -> Picture | None:
    if store is None or store.fingerprint != results.summary["fingerprint"]:
        return None
    rows = results.predictions["row"].unique().astype(int)
    figure = places_figure(store.index, rows)
    return (
        None
        if figure is None
        else _picture(figure, "Map of the patches by longitude and latitude; test patches in colour.")
    )


def _leakage_picture(results: StudyResults) -> Picture | None:
    leakage = results.summary["leakage"]
    if not leakage:
        return None
    wide, narrow = (
        leakage_figure(leakage, results.summary["split"].get("protocol", ""), width) for width in (WIDE, NARROW)
    )
    words = "; ".join(
        f"{entry['protocol']}: {wording.share(entry['sharing_scene'], entry['test_patches'])} share a scene with "
        f"training, {wording.share(entry['adjacent'], entry['test_patches'])} lie next to a training patch"
        for entry in leakage
    )
    return _picture(wide, f"Bars by split protocol. {words}.", narrow)


def _cost(results: StudyResults, rows: Sequence[LeaderboardRow]) -> dict[str, Any]:
    cells = results.cells
    final_runs = cells[cells["role"] != "search"]
    search = cells[(cells["role"] == "search") & ~cells["cell"].isin(final_runs["cell"])]
    lines = []
    for row in rows:
        final = final_cells(results, row.variant)
        searched = search[search["variant"] == row.variant]
        lines.append(
            {
                "row": row,
                "runs": len(final),
                "search_runs": len(searched),
                "search_seconds": float(searched["seconds"].sum()),
                "total_seconds": float(searched["seconds"].sum() + final["seconds"].sum()),
            }
        )
    return {
        "lines": lines,
        "runs": len(final_runs),
        "search_runs": len(search),
        "search_seconds": float(search["seconds"].sum()),
        "seconds": float(final_runs["seconds"].sum() + search["seconds"].sum()),
    }
