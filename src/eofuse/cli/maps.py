"""Commands about maps: where to look for reference labels, and what areas and accuracies follow from them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eofuse.cli.output import show, show_json
from eofuse.words import counted

if TYPE_CHECKING:
    import pandas as pd


def run_sample(arguments: argparse.Namespace) -> int:
    """Does `eofuse sample`."""
    from eofuse.areas.sample import sample_map
    from eofuse.terminal import plain_table, progress_bar

    with progress_bar("reading the map", "rows") as progress:
        drawn = sample_map(
            arguments.map,
            arguments.output,
            arguments.count,
            by=arguments.by,
            allocation=arguments.allocation,
            smallest=arguments.smallest,
            seed=arguments.seed,
            label=arguments.label,
            with_training_areas=arguments.with_training_areas,
            classes=arguments.classes,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    if arguments.json:
        show_json(vars(drawn))
        return 0
    for note in drawn.notes:
        show(f"note: {note}")
    plain_table("Strata", drawn.strata.assign(hectares=drawn.strata["hectares"].map("{:,.1f}".format)))
    show(f"frame: {drawn.frame}")
    show(
        f"{drawn.points}: {counted(int(drawn.strata['points'].sum()), 'point')} for the labeller, column '{drawn.label}' is empty"
    )
    show(f"{drawn.design}: the design, which the labeller must not see; keep it beside the points")
    show(f"next: label them, then eofuse area {arguments.map} {drawn.points} --label {drawn.label}")
    return 0


def run_area(arguments: argparse.Namespace) -> int:
    """Does `eofuse area`."""
    from eofuse.areas.estimate import estimate_area
    from eofuse.areas.output import PAGE, as_json
    from eofuse.areas.page import answer
    from eofuse.terminal import plain_table, progress_bar

    output = arguments.output or Path(f"{arguments.points.stem}-areas")
    with progress_bar("reading the map", "rows") as progress:
        found = estimate_area(
            arguments.map,
            arguments.points,
            arguments.label,
            output=output,
            as_random=arguments.as_random,
            classes=arguments.classes,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    if arguments.json:
        show_json({**as_json(found), "output": output})
        return 0
    for caution in found.cautions:
        show(f"note: {caution}")
    for title, table in (
        ("Areas in hectares", _areas(found.classes)),
        ("Accuracies in % of the area", _accuracies(found.classes)),
    ):
        plain_table(title, table)
    show(answer(found))
    for note in found.notes:
        show(f"note: {note}")
    show(f"frame: {found.frame}")
    show(output / PAGE)
    return 0


def _areas(classes: "pd.DataFrame") -> "pd.DataFrame":
    """Areas with their intervals, for the terminal."""
    table = classes[["class"]].assign(map=classes["mapped_ha"].map(_short))
    for title, name in (("estimated", "area"), ("with map", "assisted")):
        if f"{name}_ha" in classes:
            ends = zip(classes[f"{name}_low_ha"], classes[f"{name}_high_ha"], strict=True)
            table[title] = classes[f"{name}_ha"].map(_short)
            table["95 %" + " " * (name == "assisted")] = [f"{_short(low)}–{_short(high)}" for low, high in ends]
    if "worth_labels" in classes:
        table["worth labels"] = classes["worth_labels"].round().astype(int)
    return table


def _accuracies(classes: "pd.DataFrame") -> "pd.DataFrame":
    """User's and producer's accuracies with their intervals, for the terminal."""
    from eofuse.reports.wording import between, number

    table = classes[["class"]].copy()
    for title, name in (("user's", "users"), ("producer's", "producers")):
        ends = zip(classes[f"{name}_low"], classes[f"{name}_high"], strict=True)
        table[title] = [number(100 * each, 1) for each in classes[name]]
        table["95 %" + " " * (name == "producers")] = [between(100 * low, 100 * high, 1) for low, high in ends]
    return table.assign(labels=classes["points"])


def _short(hectares: float) -> str:
    return f"{hectares:,.{0 if hectares >= 100 else 1 if hectares >= 10 else 2}f}"
