"""The report of a study: one HTML file that needs no network, no script and no other file.

`write_report` builds it: answer and cautions, a chapter for each target, then data, method, cost and recipe.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse.data.store import Store
from eofuse.data.store.gaps import left_out_words
from eofuse.files import write_text
from eofuse.reports import wording
from eofuse.reports.answer import cautions
from eofuse.reports.cards import missing_store
from eofuse.reports.chapter import chapter
from eofuse.reports.classes import MOST_VARIANT_PICTURES
from eofuse.reports.figures.places import places_figure
from eofuse.reports.figures.splits import leakage_figure, leakage_words
from eofuse.reports.overview import overview, overview_answer, twins
from eofuse.reports.page import render_page
from eofuse.reports.pictures import Picture, picture, wide_and_narrow
from eofuse.studies.results import StudyResults


def write_report(results: StudyResults, store: Store | None, path: str | Path) -> Path:
    """Writes the report of a study, with all its targets, as one self-contained HTML file.

    Args:
        results: the finished study, as any of its targets sees it.
        store: the store that it ran on, for pictures of patches; without it the report says that they are left out.
        path: the file to write; an older one is replaced when the new one is complete.

    Returns:
        The path of the report.
    """
    path = Path(path)
    write_text(path, render_page("report.html", _context(results, store)))
    return path


def _context(results: StudyResults, store: Store | None) -> dict[str, Any]:
    views = [results.of(target) for target in results.targets]
    chapters = [chapter(view, store, is_only=len(views) == 1) for view in views]
    several = len(views) > 1
    return {
        "summary": views[0].summary,
        "chapters": chapters,
        "several": several,
        "answer": overview_answer(views) if several else chapters[0]["answer"],
        "overview": overview(views) if several else [],
        "twins": twins(views) if several else [],
        "left_out": left_out_words(
            results.summary["excluded"], results.summary.get("lacking", {}), results.summary.get("stored")
        ),
        "cautions": list(dict.fromkeys(text for view in views for text in cautions(view))),
        "roles": wording.ROLES,
        "control_roles": {row.role for one in chapters for row in one["rows"]},
        "most_pictures": MOST_VARIANT_PICTURES,
        "metrics_explained": _metrics(chapters),
        "places": _places_picture(views, store),
        "leakage": _leakage_picture(results),
        "cost": _cost(results),
        "split_options": {
            key: value for key, value in results.summary["split"].items() if key != "protocol" and value is not None
        },
    }


def _metrics(chapters: Sequence[dict[str, Any]]) -> list[wording.MetricWords]:
    """Every further metric of any target that needs an explanation, once."""
    found: dict[tuple[str, str], wording.MetricWords] = {}
    for one in chapters:
        for metric in (one["metric"], *one["other_metrics"]) if len(chapters) > 1 else one["other_metrics"]:
            if metric.meaning:
                found.setdefault((metric.name, metric.meaning), metric)
    return list(found.values())


def _places_picture(views: Sequence[StudyResults], store: Store | None) -> Picture | None:
    if store is None or missing_store(views[0], store):
        return None
    rows = sorted({int(row) for view in views for row in view.predictions["row"].unique()})
    figure = places_figure(store.index, rows)
    alt = "Map of the patches by longitude and latitude; test patches in colour."
    return None if figure is None else picture(figure, alt)


def _leakage_picture(results: StudyResults) -> Picture | None:
    leakage = results.summary["leakage"]
    if not leakage:
        return None
    protocol = results.summary["split"].get("protocol", "")
    return wide_and_narrow(lambda width: leakage_figure(leakage, protocol, width), leakage_words(leakage))


def _cost(results: StudyResults) -> dict[str, Any]:
    """What each variant, control and pretraining cost with all amounts of labels, and all together."""
    cells = results.over_labels.cells
    pretraining = cells[cells["role"] == "pretraining"]
    final_runs = cells[~cells["role"].isin(["search", "pretraining"])]
    search = cells[(cells["role"] == "search") & ~cells["cell"].isin(final_runs["cell"])]
    lines = []
    for described in results.summary["variants"]:
        final = final_runs[final_runs["variant"] == described["name"]]
        lines.append(_cost_line(described, final, search[search["variant"] == described["name"]]))
    for name, runs in pretraining.groupby("variant", sort=False):
        described = {"name": f"pretraining {name}", "role": "pretraining"}
        described |= {key: float(runs[key].iloc[0]) for key in ("parameters", "learning_rate")}
        lines.append(_cost_line(described, runs, search.iloc[:0]))
    lines.sort(key=lambda line: line["role"] != "variant")
    return {
        "lines": lines,
        "runs": len(final_runs),
        "pretraining_runs": len(pretraining),
        "pretraining_seconds": float(pretraining["seconds"].sum()),
        "search_runs": len(search),
        "search_seconds": float(search["seconds"].sum()),
        "seconds": float(final_runs["seconds"].sum() + search["seconds"].sum() + pretraining["seconds"].sum()),
    }


def _cost_line(described: Mapping[str, Any], final: pd.DataFrame, searched: pd.DataFrame) -> dict[str, Any]:
    """What the final runs and the search of one variant cost, or of a control or pretraining."""
    return {
        "variant": described["name"],
        "role": described["role"],
        "encoder": described.get("encoder") or wording.MISSING,
        "parameters": described.get("parameters"),
        "learning_rate": described.get("learning_rate"),
        "runs": len(final),
        "seconds": float(final["seconds"].mean()) if len(final) else None,
        "search_runs": len(searched),
        "search_seconds": float(searched["seconds"].sum()),
        "total_seconds": float(searched["seconds"].sum() + final["seconds"].sum()),
    }
