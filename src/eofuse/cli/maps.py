"""Commands about maps: of scenes, where to look for reference labels, and what areas and accuracies follow from them."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from eofuse.cli.output import carry_out, show, show_json
from eofuse.errors import UsageError
from eofuse.words import counted

if TYPE_CHECKING:
    import pandas as pd


def run_map(arguments: argparse.Namespace) -> None:
    """Does `eofuse map`."""
    from eofuse.maps.make import MapOptions, map_scenes

    if arguments.value and not arguments.layer:
        fix = "name a table in the spec: see docs/scenes.md, Values of a scene"
        raise UsageError("--value belongs to --layer", where="map", fix=fix)
    if arguments.layer and (arguments.scenes or arguments.overrides):
        raise UsageError("give either a spec of scenes or --layer", where="map")
    own = {
        "model": arguments.run,
        "layers": _pairs(arguments.layer, "--layer s2='S2/*.tif'") or None,
        "values": _pairs(arguments.value, "--value weather=280.5,3"),
        "options": MapOptions(**{field.name: getattr(arguments, field.name) for field in fields(MapOptions)}),
    }
    maps = carry_out(map_scenes, arguments, "mapping", "rows of windows", **own)
    if arguments.json:
        show_json({"maps": maps})
        return
    for done in maps:
        for note in done.notes:
            show(f"note: {done.scene}: {note}")
    for done in maps:
        for path in done.files:
            show(path)


def _pairs(words: Sequence[str], example: str) -> dict[str, str]:
    """Paths, or values, by name; `example` shows the option."""
    option, pairs = example.partition(" ")[0], {}
    for word in words:
        name, found, given = word.partition("=")
        if not found or not name or not given:
            what = "path" if option == "--layer" else "value"
            raise UsageError(f"'{word}' is no name={what}", where=option, fix=f"write {example}")
        if name in pairs:
            raise UsageError(f"'{name}' is given twice", where=option, fix="give each input once")
        pairs[name] = given
    return pairs


def run_sample(arguments: argparse.Namespace) -> None:
    """Does `eofuse sample`."""
    from eofuse.areas.sample import sample_map
    from eofuse.terminal import plain_table

    own = {"path": arguments.map, "n": arguments.count}
    drawn = carry_out(sample_map, arguments, "reading the map", "rows", **own)
    if arguments.json:
        show_json(vars(drawn))
        return
    for note in drawn.notes:
        show(f"note: {note}")
    plain_table("Strata", drawn.strata.assign(hectares=drawn.strata["hectares"].map("{:,.1f}".format)))
    show(f"frame: {drawn.frame}")
    show(
        f"{drawn.points}: {counted(int(drawn.strata['points'].sum()), 'point')} for the labeller, column '{drawn.label}' is empty"
    )
    show(f"{drawn.design}: the design, which the labeller must not see; keep it beside the points")
    show(f"next: label them, then eofuse area {arguments.map} {drawn.points} --label {drawn.label}")


def run_area(arguments: argparse.Namespace) -> None:
    """Does `eofuse area`."""
    from eofuse.areas.estimate import estimate_area
    from eofuse.areas.output import PAGE, as_json
    from eofuse.areas.page import answer
    from eofuse.terminal import plain_table

    output = arguments.output or Path(f"{arguments.points.stem}-areas")
    own = {"path": arguments.map, "output": output}
    found = carry_out(estimate_area, arguments, "reading the map", "rows", **own)
    if arguments.json:
        show_json({**as_json(found), "output": output})
        return
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
