"""Commands about maps: where to look for reference labels, and what areas and accuracies follow from them."""

import argparse

from eofuse.cli.output import show, show_json
from eofuse.words import counted


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
