"""Simulated annotation within a study: the labels that an amount has more than the one before it are picked by the run with that one.

Every method starts from the same draw, the smallest amount, so its runs there are the same and are run once. From then on each
round waits for the one before it: the run of the same variant, seed and fold puts the hidden training labels into an order (see
`eofuse.learning.annotation`), and the next run is trained from the start on the first of it.
"""

from collections.abc import Mapping

from eofuse.errors import UsageError
from eofuse.learning.options import RunOptions
from eofuse.studies.axes import AxesOptions

PICKING = "picking by "
"""How the name of a job begins that picks labels for the next amount, by the run in its folder."""


def drawn(options: RunOptions) -> RunOptions:
    """A recipe with a draw of labels in place of picked ones."""
    return options.model_copy(update={"labels": options.labels.model_copy(update={"picked_by": None})})


def check_picking(axes: AxesOptions, variants: Mapping[str, RunOptions]) -> None:
    """Raises a `UsageError` if variants pick labels, and there are no amounts that follow each other."""
    amounts = axes.label_amounts or []
    for name, options in variants.items():
        if options.labels.picked_by and (len(amounts) < 2 or any(isinstance(amount, int) for amount in amounts)):
            fix = "give study.label_amounts with two fractions or more"
            raise UsageError("labels are picked from one amount to the next", where=f"study.variants.{name}", fix=fix)
